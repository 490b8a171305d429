// The paper ticket: on a roll of 80 or 58 mm or on A4, with its number, the way to its page, and an honest time.
import { h, kept } from "./dom.js";
import { outlook } from "./states.js";
import { date, holdName, language, moment, rupiah, t, time } from "./words.js";

/** What a citizen is told stands in one place: paper and receipt say it in the ticket page's words. */
const few = (language === "en" ? await import("./few-en.js") : await import("./few-id.js")).default;

/** Longest wait for the ticket's QR picture. */
const PICTURE_MS = 3000;

export const papers = ["receipt", "narrow", "sheet"];
export const paper = () => (papers.includes(kept.get("paper")) ? kept.get("paper") : "receipt");
export const choosePaper = (name) => kept.set("paper", name);

/** Whether an order's state is one that must be explained to whoever paid. */
export const isTold = (order) => !order.holding && ["unknown", "attention", "rejected", "cancelled"].includes(order.state);

/** How an order stands, for whoever paid: a headline, and what it means for them. */
export function honestWords(order) {
  if (order.holding) return [few[`hold.${holdName(order.holding)}`].replace("{since}", moment(order.holding.since)), t("print.safe")];
  if (isTold(order)) return [few[order.state], few[`${order.state}.more`]];
  if (order.state === "completed") return [t("print.done"), ""];
  if (order.state === "queued") return [order.position ? outlook(order) : few["eta.none"], ""];
  return [few.working, ""];
}

let printing = null;

/** Lay the ticket out and open the printer's dialog. Asked twice, as by a double click, it is one ticket: a second dialog
 * would find the ticket gone and print the page, with all the names on it. Another order's waits until this one is out. */
export function printTicket(order) {
  if (printing?.id === order.id) return printing.out;
  const before = printing?.out ?? Promise.resolve();
  const mine = { id: order.id };
  mine.out = before.catch(() => {}).then(() => layOut(order)).then(() => window.print()).finally(() => {
    if (printing === mine) printing = null;
  });
  printing = mine;
  return mine.out;
}

async function layOut(order) {
  document.querySelector(".print")?.remove();
  const url = new URL(order.ticket.url, location.href).href;
  const qr = h("img.qr", { src: `/v1/tickets/${order.ticket.token}/qr`, alt: url });
  const [headline, more] = honestWords(order);
  const sheet = h("section.print", { "data-paper": paper() },
    h("p.print-brand", {}, t("print.title")),
    h("p.print-label", {}, t("print.number")),
    h("p.print-number", {}, String(order.ticket.number)),
    h("p.print-when", {}, `${order.office} · ${date(order.created_at)}, ${time(order.created_at)}`),
    h("p.print-honest", {}, headline),
    more ? h("p.print-honest", {}, more) : null,
    qr,
    h("p.print-url", {}, t("print.follow"), h("br"), url),
    ["rejected", "cancelled"].includes(order.state) ? null : h("p.print-small", {}, t("print.fee", { amount: rupiah(10000) })),
  );
  document.body.append(sheet);
  document.body.dataset.print = paper();
  // What is printed next by the browser's own menu is the page again.
  addEventListener("afterprint", () => {
    sheet.remove();
    delete document.body.dataset.print;
  }, { once: true });
  // Without the picture the address is still there to be typed: a line that hangs does not keep the ticket.
  await Promise.race([qr.decode().catch(() => {}), new Promise((resolve) => setTimeout(resolve, PICTURE_MS))]);
}
