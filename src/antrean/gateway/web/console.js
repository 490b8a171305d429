// The counter console: the form, the office's list, and a word about the central server when it is down.
import { openBatch } from "./batch.js";
import { Counter } from "./counter.js";
import * as db from "./db.js";
import { $, h, icon } from "./dom.js";
import { OrderList } from "./orders.js";
import { Outbox } from "./outbox.js";
import { start } from "./shell.js";
import { holdName, many, moment, t, today } from "./words.js";

let outbox = null, counter = null;

/** Orders that are not sent yet stay on this computer: whoever leaves should know. */
async function leaving() {
  const entries = await outbox.entries().catch(() => []);
  return entries.length === 0 || confirm(many("unsent.leaving", entries.length));
}

/** A draft should not stay. */
async function clear() {
  counter.leave();
  const drafts = await db.all("drafts").catch(() => []);
  for (const draft of drafts) await db.remove("drafts", draft.id).catch(() => {});
}

async function render(main, session) {
  main.className = "console";
  outbox = new Outbox(session.office);
  const notice = h("div.situation", { role: "status" });
  let reached = true, ended = false;
  const line = (isReached) => {
    reached = isReached;
    showLine();
    if (isReached) outbox.nudge();
  };
  const ending = (isEnded) => {
    ended = isEnded;
    showLine();
  };
  const showLine = () => {
    const off = !reached || navigator.onLine === false;
    const bad = off ? "line.off" : ended ? "line.ended" : "";
    const at = $("#line");
    if ((at.dataset.bad ?? "") !== bad) at.replaceChildren(...(bad ? [h("span.state.held", {}, icon("hold"), t(bad))] : []));
    at.dataset.bad = bad;
  };
  let held = "";
  const holding = (found) => {
    const mark = found ? `${today()} ${holdName(found)} ${found.since}` : "";
    if (mark === held) return;
    held = mark;
    notice.replaceChildren(...(found ? [h("div.notice.held", {}, icon("hold"), h("p", {}, h("b", {}, t(`holding.${holdName(found)}`, { since: moment(found.since) })), " ", t("holding.more")))] : []));
  };
  counter = new Counter(outbox);
  counter.office = session.office;
  const list = new OrderList(outbox, { names: session.role === "supervisor", fix: (entry) => counter.fix(entry), reuse: (order) => counter.reuse(order), line, holding, seen: (orders) => counter.receipt.follow(orders) });
  outbox.addEventListener("line", ({ detail }) => line(detail.reached));
  addEventListener("session-ended", () => ending(true));
  addEventListener("session-back", () => ending(false));
  addEventListener("offline", showLine);
  addEventListener("online", () => line(true));
  const batch = h("button.compact", { type: "button", id: "batch", on: { click: () => openBatch(outbox) } }, t("batch.open"));
  list.element.querySelector("header").append(batch);
  main.append(notice, counter.element, list.element);
  addEventListener("keydown", (event) => {
    if (document.querySelector("dialog[open]") || event.repeat || event.altKey || event.ctrlKey || event.metaKey) return;
    const keys = {
      F2: () => { counter.setKind("purchase"); counter.focus(); },
      F4: () => { counter.setKind("affix"); $("#pdf").focus(); },
      F8: () => counter.receipt.print(),
      F9: () => counter.submit(),
    };
    if (!keys[event.key]) return;
    event.preventDefault();
    keys[event.key]();
  });
  // Dropped beside the form, a file would replace the page and everything on it.
  addEventListener("dragover", (event) => event.preventDefault());
  addEventListener("drop", (event) => event.preventDefault());
  list.start();
  await counter.restore();
  counter.focus();
  outbox.kick();
}

start("counter", ["terminal", "supervisor"], render, { leaving, clear });
