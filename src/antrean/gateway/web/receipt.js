// What became of the order that was sent last: on its way, kept on this computer, accepted with its number, refused.
import { h, icon } from "./dom.js";
import { honestWords, isTold, printTicket } from "./printing.js";
import { outlook, refusedWords, stateOf, toneOf } from "./states.js";
import { t, today } from "./words.js";

/** Longest wait for an answer before the clerk reads that the order is kept here; the answer is shown when it comes. */
const WAIT_MS = 2500;

export class Receipt {
  #key = null;
  #timer = 0;
  #sentAt = 0;
  #order = null;
  #day = ""; // When it was drawn: a time of yesterday is said with its day.

  /** `refused(key)`: the gateway took the order that is waited for as wrong. */
  constructor(outbox, refused) {
    this.element = h("div.receipt", { role: "status" });
    outbox.addEventListener("result", ({ detail }) => {
      if (detail.key !== this.#key) return;
      this.#wait(null);
      if (detail.order) this.show(detail.order);
      else refused(detail.key);
    });
    outbox.addEventListener("rekeyed", ({ detail }) => {
      if (detail.from === this.#key) this.#key = detail.to;
    });
    outbox.addEventListener("line", ({ detail }) => this.#key && (detail.ended || !detail.reached) && this.#unsent(detail.ended));
  }

  #wait(key) {
    clearTimeout(this.#timer);
    this.#key = key;
  }

  /** The order with this key is on its way. */
  expect(key) {
    this.#wait(key);
    this.#timer = setTimeout(() => this.#unsent(), WAIT_MS);
    this.#sentAt = Date.now();
    this.#order = null;
    this.#say("", "work", h("p", {}, t("receipt.sending")));
  }

  #unsent(ended = false) {
    clearTimeout(this.#timer);
    const more = t(ended ? "receipt.ended" : "receipt.unsent.more");
    if (this.element.querySelector(".held span")?.textContent === more) return; // Not read out again at every try.
    this.#say("held", "send", h("p", {}, h("b", {}, t("receipt.unsent")), " ", h("span", {}, more)));
  }

  refused() {
    this.#say("bad", "stop", h("p", {}, h("b", {}, t("receipt.refused")), " ", t("receipt.refused.more")));
  }

  clear() {
    this.element.replaceChildren();
  }

  #say(tone, picture, words) {
    this.element.replaceChildren(h(`div.notice${tone ? `.${tone}` : ""}`, {}, icon(picture), words));
    this.#inSight();
  }

  show(order) {
    const again = this.#order?.id === order.id;
    this.#order = order;
    this.#day = today();
    const [headline, more] = receiptWords(order);
    const tone = isTold(order) ? toneOf(stateOf(order)) : "good";
    const focused = again && this.element.contains(document.activeElement);
    this.element.replaceChildren(h(`div.slip.${tone}`, {},
      h("p", {}, h("span.small", {}, t("receipt.number")), h("span.figure", {}, String(order.ticket.number))),
      h("p.grow", {}, h("b", {}, headline), more ? h("span.small", {}, more) : null),
      h("button", { type: "button", on: { click: () => this.print() } }, t("order.print"), h("kbd", {}, "F8"))));
    if (focused) this.element.querySelector("button").focus();
    if (!again) this.#inSight();
  }

  /** A late answer moves nothing under what is being typed. */
  #inSight() {
    if (Date.now() - this.#sentAt < WAIT_MS) this.element.scrollIntoView({ block: "nearest" });
  }

  /** Keep it true to what the list knows of its order. */
  follow(orders) {
    const before = this.#order;
    const now = before && orders.find((order) => order.id === before.id);
    if (now && (this.#day !== today() || now.version !== before.version || now.position !== before.position || now.holding?.text !== before.holding?.text || !now.eta !== !before.eta)) this.show(now);
  }

  print() {
    if (this.#order) printTicket(this.#order);
  }
}

/** Headline, and what is told below it. */
function receiptWords(order) {
  if (order.state === "rejected") return [t("state.rejected"), refusedWords(order)];
  if (isTold(order)) return honestWords(order);
  const state = order.state === "queued" ? "" : t(`state.${order.state}`);
  return [t(order.holding ? "receipt.held" : "receipt.accepted"), outlook(order) || state];
}

/** An order that was neither sent nor kept while the form already holds the next one: named, to be taken up again. */
export class Aside {
  element = h("div.aside", { role: "status" });

  /** `takeUp()`: whether it is back in the form; `drop()`: it is not wanted. */
  add({ taxpayer, document: paper }, why, { takeUp, drop }) {
    const notice = h("div.notice.bad", {}, icon("warn"),
      h("p", {}, h("b", {}, `${taxpayer.name} · ${paper.number}`), " ", why, " ",
        h("button.compact", { type: "button", on: { click: () => takeUp() && notice.remove() } }, t("unsent.fix")),
        h("button.plain.compact", { type: "button", on: { click: () => { notice.remove(); drop(); } } }, t("unsent.drop"))));
    this.element.append(notice);
  }
}
