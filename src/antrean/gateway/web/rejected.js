// Orders that the central server refused: their money is with us until somebody has given it back, and says so.
import { call } from "./api.js";
import { ask } from "./asking.js";
import { h, setText } from "./dom.js";
import { errorWords, moneyOf } from "./evidence.js";
import { many, moment, t } from "./words.js";

const PAGE = 100;

export class Rejected {
  #count = 0;
  #asked = null; // The latest question: of a double click's two the first is not heard.

  constructor(changed) {
    this.changed = changed;
    this.words = h("span");
    this.list = h("ul.rejected");
    this.older = h("button.compact", { type: "button", hidden: true, on: { click: () => this.#load(this.cursor) } }, t("list.more"));
    this.element = h("details", { id: "rejected", hidden: true, on: { toggle: () => this.element.open && this.#load() } }, h("summary.small", {}, this.words), this.list, this.older);
  }

  update(count) {
    this.element.hidden = count === 0;
    setText(this.words, many("rejected.orders", count));
    if (count !== this.#count && this.element.open) this.#load();
    this.#count = count;
  }

  async #load(cursor = null) {
    const mine = (this.#asked = {});
    try {
      const answer = await call("GET", `/v1/orders?state=rejected&limit=${PAGE}${cursor ? `&cursor=${cursor}` : ""}`);
      if (mine !== this.#asked) return;
      const rows = answer.orders.filter((order) => moneyOf(order) === "owed").map((order) => this.#row(order));
      if (cursor === null) this.list.replaceChildren();
      this.list.append(...rows);
      this.cursor = answer.next_cursor;
      this.older.hidden = this.cursor === null;
      if (!this.list.children.length && this.cursor === null) this.list.append(h("li.small.soft", {}, t("rejected.none")));
    } catch (error) {
      if (mine === this.#asked && error.status !== 401) this.list.replaceChildren(h("li.small", { role: "alert" }, error.words ?? t("problem.unreachable")));
    }
  }

  #row(order) {
    const title = `${t("order.title", { number: order.ticket.number })}, ${order.office}`;
    return h("li", { data: { rejected: order.id } },
      h("p.small", {}, h("b", {}, title), ` · ${moment(order.updated_at)}`, order.error ? h("span.soft", {}, " · ", errorWords(order.error)) : null),
      h("button.compact", { type: "button", on: { click: () => this.#refund(order, title) } }, t("decision.refund")));
  }

  async #refund(order, title) {
    const done = await ask({
      title: `${t("decision.refund")}: ${title}`,
      text: t("decision.refund.more"),
      confirm: t("decision.refund"),
      send: ({ reason }) => call("POST", `/v1/orders/${order.id}/refund`, { json: { reason } }),
    });
    if (!done) return;
    this.changed();
    await this.#load();
    // The row is gone, and its button with it: the keyboard goes on with the next.
    if (document.activeElement === document.body) (this.list.querySelector("button") ?? this.element.firstChild).focus();
  }
}
