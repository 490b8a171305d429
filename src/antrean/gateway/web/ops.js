// The dashboard of operations: what needs a person, how the queue stands and went, the breakers, offices, money.
import { call } from "./api.js";
import { ask } from "./asking.js";
import { Attention } from "./attention.js";
import { Breakers } from "./breakers.js";
import { Chart } from "./chart.js";
import { now } from "./clock.js";
import { $, h, icon, setText, tableHead } from "./dom.js";
import { evidenceWords } from "./evidence.js";
import { dateHint, ruled } from "./fields.js";
import { Offices } from "./offices.js";
import { Rejected } from "./rejected.js";
import * as rules from "./rules.js";
import { start } from "./shell.js";
import { count, deadline, holdName, many, moment, momentS, rupiah, span, t, today } from "./words.js";

const QUICK_MS = 2000, SLOW_MS = 10_000;
/** An answer that takes longer is none: what is shown would look as if it were of now. */
const LOOK = { timeoutMs: 6000 };
const PARTS = ["stamped", "bought_unused", "refunded", "held"];
const STATES = ["queued", "buying", "unknown", "bought", "stamping", "attention", "completed", "rejected", "cancelled"];
const MISSES_SHOWN = 8;

function figure(key) {
  const value = h("dd.number");
  const note = h("dd.small.soft.number");
  return { element: h("div.figure-box", { data: { figure: key } }, h("dt", {}, t(`figure.${key}`)), value, note), set: (text, more = "") => { setText(value, text); setText(note, more); } };
}

class Dashboard {
  constructor(main) {
    this.main = main;
    this.attention = new Attention(() => this.quick());
    this.breakers = new Breakers(() => { this.quick(); this.slow(); });
    this.situation = h("div.situation", { role: "status" });
    this.pause = h("button.compact", { type: "button", id: "pause", on: { click: () => this.#pause() } });
    this.figures = Object.fromEntries(["open", "oldest", "pace", "flight", "empty", "miss"].map((key) => [key, figure(key)]));
    this.backlogChart = new Chart({ title: t("chart.open"), series: [{ name: t("chart.open.short"), key: "open", area: true }] });
    this.paceChart = new Chart({ title: t("chart.pace"), series: [{ name: t("chart.pace.short"), key: "completed_per_minute" }, { name: t("chart.limit.short"), key: "limit" }] });
    this.offices = new Offices();
    this.rejected = new Rejected(() => this.run());
    this.states = h("tbody");
    this.money = h("tbody");
    this.moneyCheck = h("p.small");
    this.misses = h("ul.misses");
    this.missCard = h("section.card", { "aria-labelledby": "miss-title", hidden: true }, h("header", {}, h("h2", { id: "miss-title" }, t("miss.title"))), h("div.inside", {}, this.misses));
    const card = (id, ...inside) => h("section.card", { "aria-labelledby": `${id}-title` },
      h("header", {}, h("h2", { id: `${id}-title` }, t(`${id}.title`))),
      h("div.inside", {}, ...inside));
    const chart = (key, element) => h("section.card", { "aria-label": t(key) }, h("div.inside", {}, element));
    const rows = (body, name, number) => h("div.scroll", {},
      h("table", {}, tableHead(t(name), { kind: "number", words: t(number) }), body));
    main.append(
      h("div.ops-head", {}, h("h1", {}, t("ops.title")), h("span.spread"), this.pause,
        h("button.compact", { type: "button", id: "deadlines", on: { click: () => this.#deadlines() } }, t("deadlines.open"))),
      this.attention.element,
      this.situation,
      h("dl.figures", {}, ...Object.values(this.figures).map((f) => f.element)),
      h("div.charts", {}, chart("chart.open", this.backlogChart.element), chart("chart.pace", this.paceChart.element)),
      this.breakers.element,
      this.missCard,
      h("div.thirds", {},
        card("offices", ...this.offices.parts),
        card("states", rows(this.states, "states.state", "states.orders")),
        card("money", rows(this.money, "money.account", "money.amount"), this.moneyCheck, this.rejected.element,
          h("p", {}, h("a", { href: "/v1/ops/ledger.csv", download: "" }, t("money.csv")), " · ",
            h("a", { href: "/v1/ops/ledger.csv?separator=semicolon", download: "" }, t("money.excel"))))),
    );
    document.addEventListener("visibilitychange", () => !document.hidden && this.run());
    addEventListener("session-back", () => this.run());
    addEventListener("offline", () => this.#line(false));
    addEventListener("online", () => this.run());
  }

  run() {
    this.quick();
    this.slow();
  }

  async quick() {
    clearTimeout(this.quickTimer);
    try {
      const [{ breakers }, backlog, attention] = await Promise.all(["breaker", "backlog", "attention"].map((what) => call("GET", `/v1/ops/${what}`, LOOK)));
      this.breakers.update(breakers);
      this.attention.update(attention, backlog.by_state.attention ?? 0);
      this.#situation(backlog, breakers);
      this.#backlog(backlog);
      this.#line(true);
    } catch (error) {
      if (error.status === 401) return;
      this.#line(false, error.status);
    }
    clearTimeout(this.quickTimer);
    if (!document.hidden) this.quickTimer = setTimeout(() => this.quick(), QUICK_MS);
  }

  async slow() {
    clearTimeout(this.slowTimer);
    try {
      const [history, trend, ledger] = await Promise.all(["breaker/history?limit=1000", "trend", "ledger?limit=1"].map((what) => call("GET", `/v1/ops/${what}`, LOOK)));
      this.breakers.setHistory(history.breakers);
      this.backlogChart.update(trend.samples);
      this.paceChart.update(trend.samples);
      this.#money(ledger);
    } catch (error) {
      if (error.status === 401) return;
      // The quick look, which goes on, says that nothing is reached.
    }
    clearTimeout(this.slowTimer);
    if (!document.hidden) this.slowTimer = setTimeout(() => this.slow(), SLOW_MS);
  }

  /** `status`: of an answer that is none of use; without one nothing answered. */
  #line(reached, status) {
    const at = $("#line");
    if (reached) this.knownAt = now();
    const off = t(this.knownAt ? "line.off" : "line.never");
    const why = status === undefined ? off : t("line.fault", { status });
    const words = reached ? "" : this.knownAt ? `${why} · ${t("line.known", { time: momentS(this.knownAt) })}` : why;
    if (at.textContent === words) return;
    this.main.classList.toggle("stale", !reached);
    at.replaceChildren(...(reached ? [] : [h("span.state.held", {}, icon("hold"), words)]));
  }

  /** What keeps the queue back, and what is as it is by force: a breaker forced to run lets calls fail and holds nothing. */
  #situation({ holds, workers }, breakers) {
    this.paused = holds.some((hold) => hold.reason === "paused");
    setText(this.pause, t(this.paused ? "pause.off" : "pause.on"));
    const forced = Object.entries(breakers)
      .filter(([, breaker]) => breaker.override)
      .map(([name, { override }]) =>
        t(`forced.${override.state}`, { name: t(`breaker.name.${name}`), until: moment(override.expires_at) }));
    const mark = JSON.stringify([today(), workers === 0, holds.map((hold) => [hold.reason, hold.forced, hold.since, hold.orders]), forced]);
    if (mark === this.situationMark) return;
    this.situationMark = mark;
    const notice = (kind, sign, words) => h(`div.notice.${kind}`, {}, icon(sign), h("p", {}, h("b", {}, words)));
    const notices = [
      ...(workers === 0 ? [notice("bad", "warn", t("ops.idle"))] : []),
      ...holds.map((hold) => this.#hold(hold)),
      ...forced.map((words) => notice("held", "warn", words)),
    ];
    this.situation.replaceChildren(...(notices.length ? notices : [notice("good", "done", t("ops.well"))]));
  }

  #backlog(backlog) {
    const stands = backlog.holds.length > 0 || backlog.workers === 0;
    const f = this.figures;
    const pace = backlog.completed_per_minute;
    f.open.set(count(backlog.open), backlog.held ? t("figure.held", { n: count(backlog.held) }) : "");
    f.oldest.set(backlog.oldest_age_s === null ? "–" : span(backlog.oldest_age_s));
    f.pace.set(count(Math.round(pace)), t("figure.pace.unit"));
    f.flight.set(count(backlog.claimed), t("figure.flight.calls", { n: count(backlog.in_flight), limit: count(backlog.concurrency_limit) }));
    // Those that wait for a person are not moved by any pace.
    const moving = backlog.open - (backlog.by_state.attention ?? 0);
    const emptyMs = (moving / pace) * 60_000;
    if (moving <= 0) f.empty.set(t("figure.empty.now"));
    else if (stands || pace < 0.5) f.empty.set("–", t("figure.empty.unknown"));
    else f.empty.set(span(emptyMs / 1000), t("figure.empty.at", { at: moment(now() + emptyMs) }));
    const missing = backlog.will_miss_orders;
    // Of what stands still nobody knows when it is done: what is due soon is counted, and none of it is no promise.
    if (stands) f.miss.set(missing ? count(missing) : "–", t(missing ? "figure.miss.least" : "figure.miss.unknown"));
    else f.miss.set(count(missing), t(missing ? "figure.miss.some" : "figure.miss.none"));
    f.miss.element.classList.toggle("wrong", missing > 0);
    this.#misses(backlog.will_miss);
    this.offices.update(backlog.by_office);
    this.rejected.update(backlog.by_state.rejected ?? 0);
    const states = STATES.filter((state) => backlog.by_state[state]);
    this.states.replaceChildren(...states.map((state) => h("tr", {},
      h("th", { scope: "row" }, t(`state.${state}`)),
      h("td.number", {}, count(backlog.by_state[state])))));
    if (!this.states.children.length) this.states.append(h("tr", {}, h("td", { colspan: "2" }, t("states.none"))));
  }

  #misses(misses) {
    this.missCard.hidden = misses.length === 0;
    const groups = grouped(misses);
    this.misses.replaceChildren(...groups.slice(0, MISSES_SHOWN).map((miss) => h("li", {}, h("b", {}, miss.office), h("span", {}, missWords(miss)))));
    if (groups.length > MISSES_SHOWN) this.misses.append(h("li.soft", {}, t("miss.more", { n: count(groups.length - MISSES_SHOWN) })));
  }

  #money({ totals_idr: totals, difference_idr: difference }) {
    this.money.replaceChildren(
      h("tr.sum", {}, h("th", { scope: "row" }, t("money.paid")), h("td.number", {}, rupiah(totals.paid))),
      ...PARTS.map((part) => h("tr", {}, h("th", { scope: "row" }, t(`money.${part}`)), h("td.number", {}, rupiah(totals[part])))));
    this.moneyCheck.replaceChildren(difference === 0
      ? h("span.state.good", {}, icon("done"), t("money.right"))
      : h("span.state.bad", {}, icon("warn"), t("money.wrong", { amount: rupiah(difference) })));
  }

  async #pause() {
    if (this.paused) await ask({ title: t("pause.off"), text: t("pause.off.more"), confirm: t("pause.off"), send: ({ reason }) => call("DELETE", "/v1/ops/pause", { json: { reason } }) });
    else await ask({ title: t("pause.on"), text: t("pause.on.more"), confirm: t("pause.on"), send: ({ reason }) => call("PUT", "/v1/ops/pause", { json: { reason } }) });
    this.quick();
  }

  #hold({ reason, forced, since, orders, detail, actor }) {
    const why = detail ? ` ${t("hold.why", { detail: evidenceWords(detail), actor: evidenceWords(actor) })}` : "";
    return h("div.notice.held", {}, icon("hold"),
      h("p", {}, h("b", {}, t(`holding.${holdName({ reason, forced })}`, { since: moment(since) })), " ", many("hold.orders", orders), why),
      reason === "balance_unexplained"
        ? h("button.compact", { type: "button", on: { click: () => this.#explained() } }, t("hold.explained"))
        : null);
  }

  async #explained() {
    await ask({
      title: t("hold.explained"), text: t("hold.explained.more"), confirm: t("hold.explained"),
      send: ({ reason }) => call("DELETE", "/v1/ops/holds/balance_unexplained", { json: { reason } }),
    });
    this.quick();
  }

  async #deadlines() {
    let moved = null;
    const day = (path, label) => ({
      path, label, hint: dateHint, fault: (value) => (rules.parseDate(value) === null ? ruled("date-form") : null),
    });
    const office = { path: "office", label: t("deadlines.office"), hint: t("deadlines.office.hint") };
    const done = await ask({
      title: t("deadlines.open"), text: t("deadlines.more"), confirm: t("deadlines.do"),
      fields: [day("from", t("deadlines.from")), day("to", t("deadlines.to")), office],
      send: async (values) => {
        const [from, to] = [values.from, values.to].map(rules.parseDate);
        moved = await call("POST", "/v1/ops/deadlines", { json: { from, to, office: values.office || null, reason: values.reason } });
      },
    });
    if (!done) return;
    this.said?.remove();
    this.said = h("div.notice.good", { role: "status" }, icon("done"), h("p", {}, many("deadlines.moved", moved.moved)));
    $(".ops-head").after(this.said);
    this.quick();
  }
}

/** Those of one office and one deadline together; the latest of them says when all are done. */
function grouped(misses) {
  const groups = new Map();
  for (const miss of misses) {
    const key = `${miss.office} ${miss.deadline}`;
    const known = groups.get(key);
    if (known === undefined) groups.set(key, { ...miss });
    else {
      known.orders += miss.orders;
      known.expected_at = known.expected_at !== null && miss.expected_at !== null && miss.expected_at > known.expected_at ? miss.expected_at : known.expected_at;
    }
  }
  return [...groups.values()];
}

const missWords = (miss) => [
  many("miss.orders", miss.orders),
  t("miss.deadline", { at: deadline(miss.deadline) }),
  miss.expected_at === null ? t("miss.unknown") : t("miss.expected", { at: moment(miss.expected_at) }),
].join(" · ");

function render(main) {
  main.className = "ops";
  new Dashboard(main).run();
}

start("ops", ["ops"], render);
