// What needs a person: each order with the evidence and the decisions that are possible for it.
import { call } from "./api.js";
import { ask } from "./asking.js";
import { h, icon, place, setText } from "./dom.js";
import { errorWords, evidence, evidenceWords } from "./evidence.js";
import { count, deadline, many, moment, shortMoment, t, today } from "./words.js";

/** What a line of the history says beside its state, where it says more than that. */
function noteOf({ state, note }) {
  if (!note || evidenceWords(note).toLowerCase() === t(`state.${state}`).toLowerCase()) return null;
  return h("span.soft", {}, " · ", evidence(note));
}

export class Attention {
  #cases = new Map(); // id → {mark, element}

  constructor(changed) {
    this.changed = changed;
    this.title = h("h2", { id: "attention-title" });
    this.list = h("ol.cases");
    this.element = h("section.card.attention", { "aria-labelledby": "attention-title", hidden: true }, h("header", {}, icon("person"), this.title), this.list);
  }

  /** `all`: how many they are, of whom the longest waiting come. */
  update({ orders }, all) {
    this.element.hidden = orders.length === 0;
    setText(this.title, many("attention.title", Math.max(all, orders.length)));
    const before = this.#cases;
    this.#cases = new Map(orders.map((order) => [order.id, this.#drawn(order, before.get(order.id))]));
    place(this.list, [...this.#cases.values()].map(({ element }) => element));
  }

  /** A case that did not change stays as it is, with what is unfolded in it and has the focus. */
  #drawn(order, before) {
    const mark = `${today()} ${order.version}`;
    return before?.mark === mark ? before : { mark, element: this.#case(order) };
  }

  #case(order) {
    const since = order.history.filter((line) => line.state === "attention").at(-1)?.at ?? order.updated_at;
    const facts = [
      ["attention.office", `${order.office} · ${t("order.title", { number: order.ticket.number })}`],
      ["attention.serial", order.serial_number ?? t("attention.serial.none")],
      ["attention.calls", count(order.attempts)],
      ["attention.deadline", order.deadline ? deadline(order.deadline) : null],
    ];
    return h("li.case", { data: { case: order.id } },
      h("div", {},
        h("p", {}, h("b", {}, order.error ? errorWords(order.error) : t("attention.unknown"))),
        // Where the code has no words of its own, the message was the heading.
        order.error && evidenceWords(order.error.message) !== errorWords(order.error) ? h("p.small", {}, evidence(order.error.message)) : null,
        h("p.small.soft", {}, t("attention.since", { since: moment(since) })),
        h("dl.facts", {}, ...facts.filter(([, value]) => value !== null).flatMap(([key, value]) => [h("dt", {}, t(key)), h("dd", {}, value)])),
        h("details", {}, h("summary.small", {}, t("attention.history", { n: count(order.history.length) })),
          h("ol.history", {}, ...order.history.map((line) => h("li.small", {}, h("time.soft", { datetime: line.at }, shortMoment(line.at)), h("span", {}, t(`state.${line.state}`), noteOf(line))))))),
      h("div.buttons", {}, ...order.decisions.map((decision) => h("button.compact", { type: "button", on: { click: () => this.#decide(order, decision) } }, t(`decision.${decision}`)))));
  }

  async #decide(order, decision) {
    const done = await ask({
      title: `${t(`decision.${decision}`)}: ${t("order.title", { number: order.ticket.number })}, ${order.office}`,
      text: t(`decision.${decision}.${decision === "cancel" && order.stamped_perhaps ? "perhaps" : "more"}`),
      confirm: t(`decision.${decision}`),
      send: ({ reason }) => decision === "refund" || decision === "cancel"
        ? call("POST", `/v1/orders/${order.id}/${decision}`, { json: { reason } })
        : call("POST", `/v1/orders/${order.id}/replay`, { json: { reason, decision } }),
    });
    if (!done) return;
    await this.changed();
    // What was decided is gone, and its button with it: the keyboard goes on with the next.
    if (document.activeElement === document.body) this.list.querySelector("button")?.focus();
  }
}
