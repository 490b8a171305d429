// Many orders from a file: every row is checked here first; what is right is sent, what is wrong can be taken back
// as a file, corrected, and brought again without ordering anything twice.
import { NotKept } from "./db.js";
import { h, icon, setText, tableHead } from "./dom.js";
import { ruled } from "./fields.js";
import { read, write } from "./csv.js";
import { count, many, t } from "./words.js";

const SHOWN_MAX = 200, SAME_MAX = 20;

export function openBatch(outbox) {
  const dialog = h("dialog.wide.batch", { "aria-labelledby": "batch-title", on: { close: () => dialog.remove() } });
  const input = h("input", { type: "file", id: "csv", accept: ".csv,text/csv", on: {
    click: () => { input.value = ""; }, // Else the same file, corrected, could not be chosen again.
    change: () => input.files[0] && take(input.files[0]),
  } });
  const result = h("div.result", { "aria-live": "polite" });
  const close = () => dialog.close();

  async function take(file) {
    let bytes, text;
    try {
      bytes = await file.arrayBuffer();
    } catch {
      return refuse("batch.unread"); // Moved, deleted, too big, or on a stick that was pulled out.
    }
    try {
      text = new TextDecoder("utf-8", { fatal: true }).decode(bytes);
    } catch {
      text = new TextDecoder("windows-1252").decode(bytes); // What an older spreadsheet writes.
    }
    try {
      show(file.name, read(text));
    } catch (error) {
      refuse(error.message);
    }
  }

  const refuse = (why) => result.replaceChildren(h("div.notice.bad", {}, icon("warn"), h("p", {}, t(why))));

  function show(name, { headings, separator, rows }) {
    const bad = rows.filter((row) => Object.keys(row.faults).length > 0);
    const good = rows.filter((row) => Object.keys(row.faults).length === 0);
    // Most often a row that was copied by mistake, and a stamp costs money: none is sent that nobody asked for.
    const again = good.filter((row) => row.same !== null);
    const also = h("input", { type: "checkbox", id: "csv-same", on: { change: () => setText(send, many("batch.send", wanted().length)) } });
    const wanted = () => good.filter((row) => also.checked || row.same === null);
    const send = h("button.primary", { type: "button", disabled: good.length === 0, on: { click: () => sendRows(wanted()) } }, many("batch.send", wanted().length));
    const back = h("button", { type: "button", hidden: bad.length === 0, on: { click: () => save(name, write(headings, separator, bad.map((row) => row.cells))) } }, t("batch.back"));
    const pairs = again.slice(0, SAME_MAX).map((row) => `${count(row.line)} = ${count(row.same)}`).join(", ");
    result.replaceChildren(
      h("p.counts", {}, h("b", {}, name), h("span.state.good", {}, icon("done"), many("batch.good", good.length)),
        bad.length ? h("span.state.bad", {}, icon("stop"), many("batch.bad", bad.length)) : null),
      again.length ? h("div.notice.held", {}, icon("ask"), h("p", {}, many("batch.same", again.length), ` ${pairs}${again.length > SAME_MAX ? ", …" : ""}. `,
        h("label.check", { for: "csv-same" }, also, t("batch.same.also")))) : "",
      h("div.buttons", {}, send, back),
      bad.length ? h("p.soft", {}, t("batch.bad.more")) : h("p.soft", {}, t("batch.good.more")),
      bad.length ? h("div.scroll", { tabindex: "0", role: "region", "aria-label": t("batch.table") }, h("table", {},
        tableHead({ kind: "number", words: t("batch.line") }, t("list.who"), t("batch.why")),
        h("tbody", {}, ...bad.slice(0, SHOWN_MAX).map((row) => h("tr", {},
          h("th.number", { scope: "row" }, count(row.line)),
          h("td", {}, row.order.taxpayer.name || "–", h("br"), h("span.small.soft", {}, row.order.document.number || "–")),
          h("td", {}, h("ul", {}, ...Object.entries(row.faults).map(([field, rule]) => h("li", {}, h("b", {}, t(`field.${field.split(".").pop()}`)), `: ${ruled(rule)}`)))))))),
      ) : "");
  }

  async function sendRows(rows) {
    const keys = new Map(rows.map((row) => [row.key, row]));
    const numbers = [], cancelled = [];
    let refused = 0, known = 0;
    const progress = h("progress", { max: String(rows.length), value: "0", "aria-label": t("batch.sending") });
    const words = h("p", { role: "status" }, t("batch.sending"));
    const done = h("button.primary", { type: "button", on: { click: close } }, t("close"));
    // With a key that follows from the row's own, so that the file brought once more finds these orders as well.
    const again = h("button", { type: "button", hidden: true, on: { click: () => sendRows(cancelled.map((row) => ({ ...row, key: `${row.key}r` }))) } });
    const listen = ({ detail }) => {
      const row = keys.get(detail.key);
      if (!keys.delete(detail.key)) return;
      if (detail.problem) refused += 1;
      else if (detail.replayed && detail.order.state === "cancelled") cancelled.push(row);
      else if (detail.replayed) known += 1;
      else numbers.push(detail.order.ticket.number);
      progress.value = rows.length - keys.size;
      setText(words, keys.size > 0 ? t("batch.progress", { n: count(rows.length - keys.size), all: count(rows.length) }) : outcome(numbers, { known, cancelled: cancelled.length, refused }));
      again.hidden = keys.size > 0 || cancelled.length === 0;
      setText(again, many("batch.again", cancelled.length));
    };
    outbox.addEventListener("result", listen);
    dialog.addEventListener("close", () => outbox.removeEventListener("result", listen));
    result.replaceChildren(words, progress, h("p.soft", {}, t("batch.close")), h("div.buttons", {}, done, again));
    done.focus();
    try {
      await outbox.add(rows.map((row) => ({ key: row.key, body: row.order, pdf: null })), null);
    } catch (error) {
      if (!(error instanceof NotKept)) throw error;
      outbox.removeEventListener("result", listen);
      result.replaceChildren(h("div.notice.bad", { role: "alert" }, icon("warn"), h("p", {}, t("kept.not.batch"))));
    }
  }

  dialog.append(h("div.inside", {},
    h("h2", { id: "batch-title" }, t("batch.title")),
    h("p.soft", {}, t("batch.about"), " ", h("a", { href: new URL("template.csv", import.meta.url).pathname, download: "antrean-contoh.csv" }, t("batch.template"))),
    h("div.field", {}, h("label", { for: "csv" }, t("batch.file")), input),
    result,
    h("div.buttons.end", {}, h("button.plain", { type: "button", on: { click: close } }, t("close")))));
  document.body.append(dialog);
  dialog.showModal();
}

/** What became of all rows: made anew, and how many of them were there before, cancelled since, or refused. */
function outcome(numbers, others) {
  const made = numbers.length === 1 ? "batch.done.one" : "batch.done";
  const said = [
    numbers.length ? t(made, { n: count(numbers.length), first: String(Math.min(...numbers)), last: String(Math.max(...numbers)) }) : t("batch.done.none"),
    ...Object.entries(others).map(([what, n]) => (n ? many(`batch.${what}`, n) : "")),
  ];
  return said.filter(Boolean).join(" ");
}

function save(name, text) {
  const url = URL.createObjectURL(new Blob([text], { type: "text/csv" }));
  h("a", { href: url, download: name.replace(/(\.csv)?$/i, "-salah.csv") }).click();
  setTimeout(() => URL.revokeObjectURL(url), 10_000);
}
