// The ticket page: shows what came with the page, then asks again by itself, seldom when far from the front.
import { compare, now } from "./clock.js";
import { $, h, setText } from "./dom.js";
import { languageSwitch, themeSwitch } from "./tools.js";
import { holdName, language, many, moment, momentS, range, t } from "./words.js";

const token = location.pathname.split("/").pop();
const ENDED = new Set(["completed", "rejected", "cancelled"]);
const WORKING = new Set(["buying", "bought", "stamping"]);
/** Seconds between two questions: near the front, far from it, while everything waits for the central server. */
const NEAR_S = 5, FAR_S = 20, HELD_S = 30, FAILED_S_MAX = 120;
/** An answer that takes longer, in ms, is none. */
const ANSWER_MS = 6000;

let ticket = JSON.parse($("#ticket").dataset.ticket);
let knownAt = ticket === null ? null : now();
let failures = 0;
let timer = 0;

function words() {
  if (ticket === null) return { headline: t("asking"), more: "", eta: "", tone: "" };
  const { state, holding, ahead, eta } = ticket;
  if (holding && !ENDED.has(state)) {
    const place = ahead === null ? "" : ahead === 0 ? t("hold.first") : many("hold.place", ahead);
    return { headline: t(`hold.${holdName(holding)}`, { since: moment(holding.since) }), more: t("hold.more"), eta: place, tone: "held" };
  }
  if (state === "queued") {
    const headline = ahead ? many("ahead", ahead) : t("next");
    return { headline, more: eta ? "" : t("eta.none"), eta: eta ? t("eta", { range: range(eta.earliest, eta.latest) }) : "", tone: "" };
  }
  // What was ready once is not there any more.
  if (state === "completed" && ticket.erased) return { headline: t(state), more: t("erased.more"), eta: "", tone: "" };
  const name = WORKING.has(state) ? "working" : state;
  const tone = state === "completed" ? "good" : state === "rejected" ? "bad" : "";
  return { headline: t(name), more: t(`${name}.more`), eta: "", tone };
}

function steps() {
  if (ticket === null || ["rejected", "cancelled"].includes(ticket.state)) return [];
  const at = ticket.state === "queued" ? 0 : ticket.state === "completed" ? 3 : 1;
  return ["accepted", "bought", "done"].map((name, index) =>
    h(index < at || (index === 0 && at === 0) ? "li.past" : index === at ? "li.now" : "li", index === at ? { "aria-current": "step" } : {}, t(`step.${name}`)),
  );
}

let drawn = "";

function show() {
  const { headline, more, eta, tone } = words();
  document.title = `${ticket ? `${ticket.number} · ${headline}` : t("title", { number: "" })} · Antrean`;
  setText($("#label"), t("number"));
  if (ticket !== null) setText($("#number"), String(ticket.number));
  $("#number").classList.toggle("long", $("#number").textContent.length > 4);
  setText($("#headline"), headline);
  setText($("#more"), more);
  setText($("#eta"), eta);
  $("#eta").classList.toggle("held", tone === "held");
  $(".slip").className = `slip ${tone}`;
  $(".slip").classList.toggle("stale", failures > 0);
  const state = ticket?.state ?? "";
  if (state !== drawn) {
    $("#steps").replaceChildren(...steps());
    drawn = state;
  }
  const at = knownAt === null ? "" : momentS(knownAt);
  if (knownAt === null && failures === 0) setText($("#foot"), "");
  else if (failures > 0) setText($("#foot"), knownAt === null ? t("offline.never") : t("offline", { time: at }));
  else {
    const since = ticket ? t("since", { time: moment(ticket.created_at) }) : "";
    const updated = ENDED.has(state) ? "" : t("updated", { time: at });
    setText($("#foot"), [since, updated].filter(Boolean).join(" · "));
  }
}

async function ask() {
  // An old phone has no AbortSignal.timeout.
  const abort = new AbortController();
  const limit = setTimeout(() => abort.abort(), ANSWER_MS);
  const sentAt = Date.now();
  try {
    const answer = await fetch(`/v1/tickets/${token}`, { headers: { "Accept-Language": language }, signal: abort.signal });
    if (!answer.ok) throw new Error(String(answer.status));
    ticket = await answer.json();
    compare(answer, sentAt);
    knownAt = now();
    failures = 0;
  } catch {
    failures += 1;
  } finally {
    clearTimeout(limit);
  }
  show();
}

function pauseS() {
  if (failures > 0) return Math.min(FAILED_S_MAX, NEAR_S * 2 ** (failures - 1));
  if (ticket === null) return NEAR_S;
  if (ticket.holding) return HELD_S;
  return (ticket.ahead ?? 0) > 20 ? FAR_S : NEAR_S;
}

/** The next question; spread a little, so that a hall full of phones does not ask in one breath. */
function plan() {
  clearTimeout(timer);
  if (document.hidden || (ticket !== null && ENDED.has(ticket.state))) return;
  timer = setTimeout(async () => { await ask(); plan(); }, pauseS() * 1000 * (0.85 + 0.3 * Math.random()));
}

async function askNow() {
  if (document.hidden || (ticket !== null && ENDED.has(ticket.state))) return plan();
  await ask();
  plan();
}

function offerSharing() {
  const button = $("#share");
  setText(button, t("share"));
  button.hidden = !(navigator.share || navigator.clipboard);
  button.addEventListener("click", async () => {
    const shared = { title: document.title, url: location.href };
    try {
      if (navigator.share) return await navigator.share(shared);
      await navigator.clipboard.writeText(location.href);
      setText(button, t("copied"));
    } catch {
      // Closed without sharing: nothing to say.
    }
  });
}

$("#still").remove(); // From here on it keeps itself up to date.
$("#tools").append(languageSwitch(), themeSwitch());
document.addEventListener("visibilitychange", askNow);
addEventListener("online", askNow);
addEventListener("offline", () => {
  if (ticket !== null && ENDED.has(ticket.state)) return;
  failures = Math.max(failures, 1);
  show();
});
offerSharing();
show();
if (ticket === null) askNow();
else plan();
