// The same payer and paper twice on one day: most often one order typed again, and a stamp costs money. What is
// remembered is a salted hash, in this tab's memory alone.
import { confirmed } from "./asking.js";
import { now } from "./clock.js";
import * as db from "./db.js";
import { isToday, t } from "./words.js";

export class Twice {
  #salt = db.randomKey();
  #seen = new Map(); // hash → {at, key, number, id}

  constructor(outbox) {
    outbox.addEventListener("result", ({ detail }) => {
      for (const [hash, order] of this.#seen) {
        if (order.key !== detail.key) continue;
        if (detail.order) Object.assign(order, { number: detail.order.ticket.number, id: detail.order.id });
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

  /** Whether no order of today has this mark, or the clerk says that another one is wanted. */
  isMeant(mark) {
    const earlier = this.#seen.get(mark);
    if (earlier === undefined || !isToday(earlier.at)) return true;
    const title = earlier.number === null ? t("twice.unsent") : t("twice", { number: earlier.number });
    return confirmed({ title, yes: t("twice.yes") });
  }

  /** This order came to nothing: the same once more is no mistake. */
  forget(id) {
    for (const [hash, order] of this.#seen) if (order.id === id) this.#seen.delete(hash);
  }

  note(mark, key) {
    for (const [hash, order] of this.#seen) if (!isToday(order.at)) this.#seen.delete(hash);
    if (mark !== null) this.#seen.set(mark, { at: now(), key, number: null });
  }
}
