// Today's orders of the office: a list that moves by itself, with what is not sent yet on top.
import { call, ruleWords } from "./api.js";
import { confirmed } from "./asking.js";
import { now } from "./clock.js";
import { $, h, icon, place, setText, tableHead } from "./dom.js";
import { outlook, placeOf, refusedWords, stateChip, stateOf } from "./states.js";
import { count, deadline, holdName, isToday, many, moment, shortMoment, t, today } from "./words.js";
import { choosePaper, paper, papers, printTicket } from "./printing.js";

const SOON_MS = 60, BUSY_MS = 2500, CALM_MS = 10_000, FAILED_MS = 15_000;
/** A gateway that takes long to answer has many who ask: the list waits so many times as long, up to CALM_MS. */
const TIMES_ITS_ANSWER = 10;
const SHOWN = 100, FOUND = 50;
/** Of many orders a search looks at a part in one call: it goes on by itself where nothing is found, but not for ever. */
const SEARCH_CALLS = 10;
/** Found or opened orders, beyond the list, that are asked about in one look. */
const FOLLOWED = 4;
/** How often those of before, that lie beyond the list and are not done, are looked for among all orders. */
const OLDER_MS = 60_000;
const OLDER_PAGES = 10;

export class OrderList {
  #outbox;
  #fix;
  #rows = new Map();
  #orders = [];
  #timer = 0;
  #body = h("tbody");
  #limit = SHOWN;
  #asking = false;
  #again = false;
  #kept = null; // {limit, tag, orders, cursor, holding}: what the server answered last, and the name that it gave it
  #left = false; // More of them are on the server.
  #older = []; // Not done, and older than what is loaded.
  #olderLeft = false; // There are more of these than are looked for.
  #olderAt = -OLDER_MS;
  #knownAt = null; // When the server last told how they stand.
  #found = null; // {orders, cursor}: what a search of all orders brought
  #lookedAt = new Map(); // id → when it was asked about beside the list
  opened = null; // The order in the dialog.

  /** `fix(entry)`: put a refused entry back into the form; `reuse(order)`: the same with an order's data. `names`: whether names come whole, and can be searched. */
  constructor(outbox, { names, fix, reuse, line, holding, seen }) {
    this.#outbox = outbox;
    this.#fix = fix;
    this.reuse = reuse;
    this.line = line;
    this.seen = seen;
    this.holding = holding;
    const about = names ? t("list.search") : t("list.search.masked");
    this.search = h("input", { type: "text", id: "search", autocomplete: "off", placeholder: about, title: about, "aria-label": about, on: {
      input: () => this.#searchHere(),
      keydown: (event) => event.key === "Enter" && !event.isComposing && this.#searchAll(),
    } });
    this.summary = h("p.small.soft", { role: "status" });
    this.empty = h("p.empty", { hidden: true }, t("list.empty"));
    this.more = h("button.compact", { type: "button", hidden: true, on: { click: () => this.#showMore() } }, t("list.more"));
    this.all = h("button.compact", { type: "button", id: "search-all", hidden: true, on: { click: () => this.#searchAll() } }, t("list.all"));
    this.note = h("span.small.soft", { role: "status" });
    this.unsent = h("div.unsent", { hidden: true });
    this.aged = h("p.told.aged.small", { role: "status" });
    this.element = h("section.card.list", { "aria-labelledby": "list-title" },
      h("header", {}, h("h2", { id: "list-title" }, t("list.title")), this.summary, h("span.spread"), this.search),
      this.unsent, this.aged,
      h("div.scroll", { tabindex: "0", role: "region", "aria-label": t("list.table") },
        h("table", {},
          tableHead({ kind: "number", words: t("list.number") }, t("list.who"), t("list.state"), t("list.time"), h("span.unseen", {}, t("list.actions"))),
          this.#body),
        this.empty),
      h("div.inside.tail.buttons", {}, this.more, this.all, this.note));
    outbox.addEventListener("change", () => this.#drawUnsent());
    // A batch brings a hundred answers in one breath: the list is asked for once.
    outbox.addEventListener("result", () => {
      clearTimeout(this.#timer);
      this.#timer = setTimeout(() => this.refresh(), SOON_MS);
    });
    document.addEventListener("visibilitychange", () => !document.hidden && this.refresh());
    addEventListener("session-back", () => this.refresh());
    addEventListener("online", () => this.refresh());
  }

  start() {
    this.#drawUnsent();
    return this.refresh();
  }

  get latest() {
    return this.#orders[0] ?? null;
  }

  find(id) {
    return [...this.#orders, ...(this.#found?.orders ?? [])].find((order) => order.id === id) ?? null;
  }

  /** Ask now; while an answer is on its way, once more after it: it may be older than what one wants to see. */
  async refresh() {
    if (this.#asking) {
      this.#again = true;
      return;
    }
    this.#asking = true;
    try {
      do {
        this.#again = false;
        await this.#ask();
      } while (this.#again);
    } finally {
      this.#asking = false;
    }
  }

  async #ask() {
    clearTimeout(this.#timer);
    let pause = FAILED_MS;
    try {
      await this.#follow();
      const began = performance.now();
      const { orders: found, cursor, holding } = await this.#newest();
      const took = performance.now() - began;
      if (cursor === null) [this.#older, this.#olderLeft] = [[], false];
      else if (performance.now() - this.#olderAt >= OLDER_MS) await this.#askOlder();
      const loaded = new Set(found.map((order) => order.id));
      this.#orders = [...found.filter(isOfToday), ...this.#older.filter((order) => !loaded.has(order.id))];
      this.#left = cursor !== null && found.length > 0 && isOfToday(found.at(-1));
      this.#knownAt = now();
      this.#draw();
      this.#sayAge(false);
      this.seen(this.#orders);
      this.line(true);
      // The clerk is told of an outage before the first order meets it.
      this.holding(this.#orders.find((order) => order.holding)?.holding ?? holding ?? null);
      pause = [...this.#orders, ...(this.#found?.orders ?? [])].some((order) => !isEnded(order)) ? Math.min(CALM_MS, Math.max(BUSY_MS, TIMES_ITS_ANSWER * took)) : CALM_MS;
    } catch (error) {
      if (error.status === 401) return;
      this.line(error.status !== undefined);
      this.#sayAge(true);
    }
    clearTimeout(this.#timer);
    if (!document.hidden) this.#timer = setTimeout(() => this.refresh(), pause);
  }

  /** The newest orders, a page at a time; those of before where the server says that nothing changed since. */
  async #newest() {
    const limit = this.#limit;
    const path = `/v1/orders?limit=${Math.min(limit, 500)}`;
    let tag = null;
    const heard = (answer) => { tag = answer.headers.get("ETag"); };
    const headers = this.#kept?.limit === limit ? { "If-None-Match": this.#kept.tag } : {};
    let page = await call("GET", path, { headers, heard });
    if (page === null) return this.#kept;
    const orders = [...page.orders];
    // A page may bring nothing and have others behind it: of an archive of all offices a part is looked at in one call.
    while (page.next_cursor && page.orders.length > 0 && orders.length < limit && isOfToday(orders.at(-1))) {
      page = await call("GET", `${path}&cursor=${page.next_cursor}`);
      orders.push(...page.orders);
    }
    const newest = { limit, tag, orders, cursor: page.next_cursor, holding: page.holding };
    this.#kept = tag && newest; // A gateway of before this gives it no name.
    return newest;
  }

  /** One that has waited for a person for days must not fall off the list behind all that was done since. */
  async #askOlder() {
    this.#olderAt = performance.now();
    const older = [];
    let cursor = null;
    try {
      for (let page = 0; page < OLDER_PAGES && (page === 0 || cursor); page += 1) {
        const answer = await call("GET", `/v1/orders?state=open&limit=${SHOWN}${cursor ? `&cursor=${cursor}` : ""}`);
        older.push(...answer.orders);
        cursor = answer.next_cursor;
      }
    } catch (error) {
      // A gateway of before this list knows no such state: the rest of the list goes on.
      if (error.status === 422) return;
      throw error;
    }
    this.#older = older;
    this.#olderLeft = cursor !== null;
  }

  /** What was found among all orders, or is opened, moves on too: those that wait longest for a look, a few at a time. */
  async #follow() {
    const listed = new Set(this.#orders.map((order) => order.id));
    const beside = [...(this.#found?.orders ?? []), this.opened].filter((order) => order && !isEnded(order) && !listed.has(order.id));
    const ids = [...new Set(beside.map((order) => order.id))].sort((one, other) => (this.#lookedAt.get(one) ?? 0) - (this.#lookedAt.get(other) ?? 0));
    for (const id of this.#lookedAt.keys()) if (!ids.includes(id)) this.#lookedAt.delete(id);
    await Promise.all(ids.slice(0, FOLLOWED).map(async (id) => {
      this.#lookedAt.set(id, performance.now());
      try {
        this.#renew(await call("GET", `/v1/orders/${id}`));
      } catch (error) {
        if (error.status === 401) throw error; // What can not be told of one holds up no list.
      }
    }));
  }

  /** A list that does not move must not look like one that does. */
  #sayAge(old) {
    const words = !old ? "" : this.#knownAt === null ? t("list.never") : t("list.aged", { time: moment(this.#knownAt) });
    setText(this.aged, words);
  }

  #searchHere() {
    this.#found = null;
    setText(this.note, "");
    this.#draw();
  }

  /** Search all orders of the office, on the server; with a cursor, the next page. */
  async #searchAll(cursor = null) {
    const text = this.search.value.trim();
    if (text === "") return;
    const before = cursor ? this.#found.orders : [];
    try {
      let page = { orders: [], next_cursor: cursor };
      for (let calls = 0; calls === 0 || (calls < SEARCH_CALLS && page.orders.length === 0 && page.next_cursor); calls += 1) {
        page = await call("POST", "/v1/search", { json: { text, cursor: page.next_cursor, limit: FOUND } });
        if (this.search.value.trim() !== text) return; // Typed on meanwhile.
      }
      this.#found = { orders: [...before, ...page.orders], cursor: page.next_cursor };
      setText(this.note, "");
    } catch (error) {
      // A gateway of before the search knows no such address, or takes its last part for an order's name.
      setText(this.note, [404, 405].includes(error.status) ? t("list.all.missing") : (error.words ?? t("problem.unreachable")));
    }
    this.#draw();
  }

  #showMore() {
    if (this.#found) return this.#searchAll(this.#found.cursor);
    this.#limit = Math.max(this.#limit, this.#orders.length) + SHOWN * 2; // Those of before that are not done are shown already.
    return this.refresh();
  }

  /** The dialog of an order is closed: the keyboard goes on where it was opened, though its row was drawn anew. */
  closed(id) {
    this.opened = null;
    if (document.activeElement === document.body) this.#rows.get(id)?.element.querySelector("[data-action=open]").focus();
  }

  /** An order that changed by what was done here. */
  put(changed) {
    this.#renew(changed);
    this.#draw();
  }

  #renew(changed) {
    for (const orders of [this.#orders, this.#older, this.#found?.orders ?? []]) {
      const at = orders.findIndex((order) => order.id === changed.id);
      if (at >= 0) orders[at] = changed;
    }
    if (this.opened?.id === changed.id) this.opened = changed;
  }

  #draw() {
    const wanted = this.search.value.trim().toLowerCase();
    const shown = this.#found ? this.#found.orders.map((order) => this.find(order.id)) : this.#orders.filter((order) => wanted === "" || searchable(order).includes(wanted));
    const rows = [];
    for (const order of shown) {
      const mark = standOf(order);
      let row = this.#rows.get(order.id);
      if (row === undefined) {
        row = { mark: "", version: null, element: h("tr", { "data-order": order.id }), outlook: h("span.small.soft.outlook") };
        this.#rows.set(order.id, row);
      }
      // While a line is worked off every place in it changes at every look: thousands of rows are not drawn anew for that.
      setText(row.outlook, placeOf(order));
      if (row.mark !== mark) this.#fill(row, order, mark);
      rows.push(row.element);
    }
    place(this.#body, rows);
    this.#forgetRows();
    this.#say(wanted, rows.length);
    this.drawOpened?.();
  }

  /** The page stays open for days: rows of orders that fell off the list go. */
  #forgetRows() {
    const known = new Set([...this.#orders, ...(this.#found?.orders ?? [])].map((order) => order.id));
    for (const id of this.#rows.keys()) if (!known.has(id)) this.#rows.delete(id);
  }

  /** What the list holds, and what else there is. */
  #say(wanted, shown) {
    const loaded = this.#orders.length;
    const open = this.#orders.filter((order) => !isEnded(order)).length;
    const all = this.#found;
    if (all) setText(this.summary, many("list.all.count", shown) + (all.cursor ? "+" : ""));
    else setText(this.summary, `${this.#left ? t("list.count.more", { n: count(loaded) }) : many("list.count", loaded)} · ${t("list.open", { n: count(open) + (this.#olderLeft ? "+" : "") })}`);
    this.empty.hidden = shown > 0 || (this.#knownAt === null && !all);
    setText(this.empty, all ? t(all.cursor ? "list.all.far" : "list.all.none") : wanted ? many("list.none", loaded) : t("list.empty"));
    this.more.hidden = all ? all.cursor === null : !this.#left;
    this.all.hidden = all !== null || wanted === "" || shown > 0;
  }

  #fill(row, order, mark) {
    const held = row.element.contains(document.activeElement) ? document.activeElement.dataset.action : null;
    const number = String(order.ticket.number);
    const opens = h("button.plain.compact.ticket", {
      type: "button", "data-action": "open", "aria-label": t("list.open.label", { number }), on: { click: () => showOrder(this, order.id) },
    }, number);
    row.element.replaceChildren(
      h("th.number", { scope: "row" }, opens),
      h("td", {}, h("span.who", {}, nameOf(order)), h("span.small.soft", {}, order.kind === "affix" ? `${order.document.number} · PDF` : order.document.number)),
      h("td", {}, stateChip(stateOf(order)), row.outlook),
      h("td", {}, h("time", { datetime: order.created_at }, shortMoment(order.created_at))),
      h("td.actions", {}, ...actions(order, () => this.find(order.id) ?? order)),
    );
    if (row.version !== null && row.version !== order.version) {
      row.element.classList.remove("moved");
      void row.element.offsetWidth;
      row.element.classList.add("moved");
    }
    row.mark = mark;
    row.version = order.version;
    if (held) row.element.querySelector(`[data-action="${held}"]`)?.focus();
  }

  async #drawUnsent() {
    let entries;
    try {
      entries = await this.#outbox.entries();
    } catch {
      this.unsent.hidden = false;
      return this.unsent.replaceChildren(h("p", {}, h("b", {}, t("kept.unread"))));
    }
    this.unsent.hidden = entries.length === 0;
    const refused = entries.filter((entry) => entry.status === "refused");
    const waiting = entries.filter((entry) => entry.status === "waiting");
    const parts = [];
    if (waiting.length > 0) {
      parts.push(h("p", {}, stateChip("unsent"), " ", h("b", {}, many("unsent.count", waiting.length)), " ", h("span.small", {}, t("unsent.more"))));
      const named = waiting.slice(0, 8).map(({ body, created }) => `${body.taxpayer.name} · ${body.document.number} · ${shortMoment(created)}`);
      parts.push(h("ul", {}, ...named.map((words) => h("li.small", {}, words))));
    }
    for (const entry of refused.slice(0, 20)) parts.push(this.#refused(entry));
    this.unsent.replaceChildren(...parts);
  }

  #refused(entry) {
    const why = entry.problem.errors.length ? entry.problem.errors.map(ruleWords).join("; ") : t(`problem.${entry.problem.kind}`);
    return h("p.refused", {}, stateChip("refused"), " ", h("b", {}, entry.body.taxpayer.name), ` · ${entry.body.document.number} · ${why} `,
      h("button.compact", { type: "button", on: { click: () => this.#fix(entry) } }, t("unsent.fix")),
      h("button.plain.compact", { type: "button", on: { click: () => this.#outbox.drop(entry.key) } }, t("unsent.drop")));
  }
}

/** Changes with all that is shown of an order but its place in line. */
const standOf = (order) => `${today()} ${order.version} ${order.holding && holdName(order.holding)}`;
/** Changes with everything that is shown of an order. */
const markOf = (order) => `${standOf(order)} ${order.position} ${order.eta?.latest}`;
const isEnded = (order) => ["completed", "rejected", "cancelled"].includes(order.state);
/** An older one is shown as long as it is not at its end, and on the day of that: it was waited for. */
const isOfToday = (order) => isToday(order.created_at) || !isEnded(order) || isToday(order.updated_at);
const nameOf = (order) => order.taxpayer?.name ?? t("order.erased");
const searchable = (order) => `${order.ticket.number} ${nameOf(order)} ${order.document.number} ${order.serial_number ?? ""} ${order.reference ?? ""}`.toLowerCase();

/** `latest()`: the order as it stands when its ticket is printed. */
function actions(order, latest) {
  const found = [];
  const save = (part, download) => h("a.button.compact", { href: `/v1/orders/${order.id}/${part}`, download, "data-action": part }, t(`order.${part}`));
  if (order.document_url) found.push(save("document", `${order.document.filename.replace(/\.pdf$/i, "")}-bermeterai.pdf`));
  else if (order.qr_url) found.push(save("qr", `${order.serial_number}.png`));
  found.push(h("button.plain.compact", { type: "button", "data-action": "print", on: { click: () => printTicket(latest()) } }, t("order.print")));
  return found;
}

/** One order over the page, drawn anew with the list: what is shown, printed and offered is how it stands now. */
function showOrder(list, id) {
  let order = null, mark = "";
  $("dialog.order")?.remove();
  const close = () => dialog.close();
  const options = papers.map((name) => h("option", { value: name, selected: name === paper() }, t(`paper.${name}`)));
  const chosen = h("select", { id: "paper", on: { change: (event) => choosePaper(event.target.value) } }, ...options);
  const inside = h("div.live");
  const closed = () => {
    dialog.remove();
    list.closed(id);
  };
  const dialog = h("dialog.order", { "aria-labelledby": "order-title", on: { close: closed } },
    h("div.inside", {}, inside, h("div.field.paper", {}, h("label", { for: "paper" }, t("paper")), chosen)));
  const draw = () => {
    order = list.opened = list.find(id) ?? list.opened; // One that fell off the list is asked about by itself.
    if (markOf(order) === mark) return;
    mark = markOf(order);
    const held = inside.contains(document.activeElement) ? document.activeElement.dataset.action : null;
    inside.replaceChildren(...orderParts(order, { cancel: () => cancel(list, order, close), again: () => { close(); list.reuse(order); }, close }));
    if (held) (inside.querySelector(`[data-action="${held}"]`) ?? $('[data-action="close"]', inside)).focus();
  };
  list.drawOpened = () => dialog.isConnected && draw();
  draw();
  document.body.append(dialog);
  dialog.showModal();
}

function orderParts(order, on) {
  const facts = [
    ["order.who", order.taxpayer ? `${order.taxpayer.name} · ${order.taxpayer.identity_type} ${order.taxpayer.identity_number}` : nameOf(order)],
    ["order.paper", order.taxpayer ? `${order.document.number} · ${order.document.filename}` : order.document.number],
    ["order.serial", order.serial_number],
    ["order.reference", order.reference],
    ["order.deadline", order.deadline && deadline(order.deadline)],
  ];
  const refused = order.state === "rejected";
  const again = refused && order.taxpayer !== null; // Nothing is left of one that was erased.
  const button = (kind, action, key, click) => h(kind, { type: "button", "data-action": action, on: { click } }, t(key));
  const link = (action, key, href) => h("a.button", { href, target: "_blank", rel: "noopener", "data-action": action }, t(key));
  return [
    h("h2", { id: "order-title" }, t("order.title", { number: order.ticket.number }), " ", stateChip(stateOf(order))),
    refused ? h("div.notice.bad", {}, icon("stop"), h("p", {}, refusedWords(order))) : "",
    order.taxpayer ? "" : h("p.soft", {}, t("problem.erased")),
    outlook(order) ? h("p.soft", {}, refused ? t("refused.why", { why: outlook(order) }) : outlook(order)) : "",
    h("dl.facts", {}, ...facts.filter(([, value]) => value).flatMap(([key, value]) => [h("dt", {}, t(key)), h("dd", {}, value)])),
    h("ol.history", {}, ...order.history.map((line) => h("li", {}, h("time.small.soft", { datetime: line.at }, shortMoment(line.at)), t(`state.${line.state}`)))),
    ...(order.qr_url ? [h("img.picture", { src: `/v1/orders/${order.id}/qr`, alt: t("order.picture") })] : []),
    h("div.buttons", {},
      again ? button("button.primary", "again", "refused.again", on.again) : null,
      button(refused ? "button" : "button.primary", "print", "order.print", () => printTicket(order)),
      order.document_url ? link("show", "order.show", `/v1/orders/${order.id}/document?inline=1`) : null,
      ...actions(order, () => order).slice(0, -1),
      link("page", "order.page", order.ticket.url),
      order.state === "queued" ? button("button", "cancel", "order.cancel", on.cancel) : null,
      button("button.plain", "close", "close", on.close)),
  ];
}

async function cancel(list, order, close) {
  if (!(await confirmed({ title: t("cancel.title", { number: order.ticket.number }), text: t("cancel.more"), yes: t("order.cancel") }))) return;
  try {
    list.put(await call("POST", `/v1/orders/${order.id}/cancel`));
  } catch (error) {
    alert(error.words ?? t("problem.unreachable"));
  }
  close();
  list.refresh();
}
