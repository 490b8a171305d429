// The breakers: each with its state in force, its numbers, what it did as a band over time, and the hand on it.
import { call } from "./api.js";
import { ask } from "./asking.js";
import { now } from "./clock.js";
import { h, icon, setText } from "./dom.js";
import { evidence } from "./evidence.js";
import { count, moment, shortMoment, span, t } from "./words.js";

export const HOURS = [1, 6, 24, 72];
const LOOKS = { closed: ["good", "done"], open: ["held", "hold"], half_open: ["", "work"] };
const FORCED_S = [600, 1800, 3600, 4 * 3600, 24 * 3600];

export function breakerChip(state) {
  const [tone, picture] = LOOKS[state];
  return h(`span.state${tone ? `.${tone}` : ""}`, {}, icon(picture), t(`breaker.${state}`));
}

/** Parts of [from, to] in ms with the state in force, the oldest first, from changes that are newest first. */
export function parts(changes, state, from, to) {
  const found = [];
  let end = to, now = state;
  for (const change of changes) {
    const at = Date.parse(change.at);
    if (at <= from) break;
    found.unshift({ state: now, from: at, to: end });
    [end, now] = [at, change.from_state];
  }
  found.unshift({ state: now, from, to: end });
  return found.filter((part) => part.to > part.from);
}

export class Breakers {
  constructor(changed) {
    this.changed = changed;
    this.hours = 6;
    const options = HOURS.map((n) => h("option", { value: String(n), selected: n === this.hours }, t("band.hours", { n: count(n) })));
    const choose = () => {
      this.hours = Number(this.select.value);
      this.drawBands();
    };
    this.select = h("select", { id: "hours", "aria-label": t("band.span"), on: { change: choose } }, ...options);
    this.cards = {};
    this.history = {};
    this.now = {};
    this.body = h("div.breakers");
    this.element = h("section.card", { "aria-labelledby": "breakers-title" },
      h("header", {}, h("h2", { id: "breakers-title" }, t("breakers.title")), h("span.spread"), this.legend(), this.select),
      h("div.inside", {}, this.body));
  }

  legend() {
    return h("span.legend", {}, ...["closed", "half_open", "open"].map((state) => h("span.small", {}, h("i.swatch", { data: { state } }), t(`breaker.${state}`))));
  }

  update(breakers) {
    this.now = breakers;
    for (const [name, breaker] of Object.entries(breakers)) {
      const card = (this.cards[name] ??= this.#card(name));
      card.chip.replaceChildren(breakerChip(breaker.state), h("span.small.soft", {}, t("breaker.since", { since: moment(breaker.since) })));
      const facts = breaker.calls_in_window === 0 ? [t("breaker.calls.none")] : [
        t("breaker.calls", { n: count(breaker.calls_in_window) }),
        t("breaker.failed", { share: count(Math.round(breaker.failure_rate * 100)) }),
        t("breaker.slow", { share: count(Math.round(breaker.slow_rate * 100)) }),
      ];
      if (breaker.next_probe_at) facts.push(t("breaker.probe", { s: span((Date.parse(breaker.next_probe_at) - now()) / 1000) }));
      setText(card.facts, facts.join(" · "));
      const forced = breaker.override;
      // Why it was forced is said with who did.
      card.why.replaceChildren(...(breaker.reason && breaker.state !== "closed" && !forced ? [evidence(breaker.reason)] : []));
      setText(card.forced, forced ? t("breaker.forced", { state: t(`breaker.${forced.state}`), actor: forced.actor, until: moment(forced.expires_at), reason: forced.reason }) : "");
      card.forced.hidden = !forced;
      card.lift.hidden = !forced;
    }
    this.drawBands();
  }

  setHistory(history) {
    this.history = history;
    this.drawBands();
  }

  drawBands() {
    const to = now(), from = to - this.hours * 3600_000;
    for (const [name, card] of Object.entries(this.cards)) {
      const found = parts(this.history[name] ?? [], this.now[name].state, from, to);
      card.band.replaceChildren(...found.map((part) => {
        const piece = h("i", { data: { state: part.state }, title: `${t(`breaker.${part.state}`)}, ${shortMoment(part.from)} – ${shortMoment(part.to)}` });
        piece.style.flexGrow = String(part.to - part.from);
        return piece;
      }));
      const away = found.filter((part) => part.state !== "closed");
      const lost = away.reduce((sum, part) => sum + (part.to - part.from) / 1000, 0);
      const words = away.length ? t("band.words", { n: count(away.filter((part) => part.state === "open").length), span: span(lost) }) : t("band.none");
      card.band.setAttribute("aria-label", `${t(`breaker.name.${name}`)}: ${words}`);
      setText(card.words, `${t("band.hours", { n: count(this.hours) })}: ${words}`);
    }
  }

  #card(name) {
    const card = {
      chip: h("p.chips"), facts: h("p.small.soft.number"), why: h("p.small"), forced: h("p.small.forced", { hidden: true }),
      band: h("div.band", { role: "img" }), words: h("p.small.soft"),
      lift: h("button.compact", { type: "button", hidden: true, on: { click: () => this.#lift(name) } }, t("breaker.lift")),
    };
    this.body.append(h("article.breaker", { data: { breaker: name } },
      h("div.breaker-head", {}, h("h3", {}, t(`breaker.name.${name}`)), card.chip, h("span.spread"),
        h("button.compact", { type: "button", "aria-label": `${t("breaker.force")}: ${t(`breaker.name.${name}`)}`, on: { click: () => this.#force(name) } }, t("breaker.force")), card.lift),
      card.forced, card.band, card.words, card.facts, card.why));
    return card;
  }

  async #force(name) {
    const state = this.now[name].state === "closed" ? "open" : "closed";
    const done = await ask({
      title: `${t("breaker.force")}: ${t(`breaker.name.${name}`)}`,
      text: t("breaker.force.more"),
      fields: [
        { path: "state", label: t("breaker.to"), options: ["open", "closed"].sort((a) => (a === state ? -1 : 1)).map((s) => [s, t(`breaker.${s}`)]) },
        { path: "expires_in_s", label: t("breaker.for"), options: FORCED_S.map((s) => [String(s), span(s)]) },
      ],
      confirm: t("breaker.force"),
      send: (values) => call("PUT", `/v1/ops/breaker/${name}/override`, { json: { state: values.state, reason: values.reason, expires_in_s: Number(values.expires_in_s) } }),
    });
    if (done) this.changed();
  }

  async #lift(name) {
    const done = await ask({
      title: `${t("breaker.lift")}: ${t(`breaker.name.${name}`)}`,
      text: t("breaker.lift.more"),
      confirm: t("breaker.lift"),
      send: ({ reason }) => call("DELETE", `/v1/ops/breaker/${name}/override`, { json: { reason } }),
    });
    if (done) this.changed();
  }
}
