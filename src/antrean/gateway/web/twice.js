// The same payer and paper twice on one day: most often one order typed again, and a stamp costs money. What is
// remembered is a salted hash, in this tab's memory alone.
import * as db from "./db.js";

export class Twice {
  #salt = db.randomKey();
  #seen = new Map(); // hash → {day, key, number}

  constructor(outbox) {
    outbox.addEventListener("result", ({ detail }) => {
      for (const [hash, order] of this.#seen) {
        if (order.key !== detail.key) continue;
        if (detail.order) order.number = detail.order.ticket.number;
        else this.#seen.delete(hash);
      }
    });
  }

  /** A name for what makes two orders the same; null where that can not be told. */
  async mark({ taxpayer, document: paper, serial_number: serial, purchase_order_id: purchase }) {
    // A bought stamp is put on its paper by a second order, rightly. Without https a browser gives no hashes.
    if (serial || purchase || !crypto.subtle) return null;
    const text = `${this.#salt} ${taxpayer.identity_number} ${paper.number.toUpperCase()}`;
    const bytes = new Uint8Array(await crypto.subtle.digest("SHA-256", new TextEncoder().encode(text)));
    return Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
  }

  /** Today's earlier order with this mark, or null; its `number` is null while it has none. */
  find(mark) {
    const order = this.#seen.get(mark);
    return order?.day === new Date().toDateString() ? order : null;
  }

  note(mark, key) {
    if (mark !== null) this.#seen.set(mark, { day: new Date().toDateString(), key, number: null });
  }
}
