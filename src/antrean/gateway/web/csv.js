// A list of orders as a spreadsheet saves it: commas, semicolons or tabs, quotes, a byte-order mark, dates and
// headings in Indonesian or English. Pure: text in, rows with their faults out.
import * as rules from "./rules.js";

export const ROWS_MAX = 5000;

const HEADINGS = {
  type_code: ["jenis_dokumen", "kode_jenis", "type_code"],
  number: ["nomor_dokumen", "no_dokumen", "number", "document_number"],
  date: ["tanggal", "tanggal_dokumen", "date"],
  filename: ["nama_berkas", "berkas", "filename"],
  identity_type: ["jenis_identitas", "identity_type"],
  identity_number: ["nomor_identitas", "nik", "no_identitas", "identity_number"],
  name: ["nama", "nama_lengkap", "name"],
  deadline: ["tenggat", "batas_waktu", "deadline"],
  reference: ["referensi", "reference"],
};
const NEEDED = ["number", "date", "identity_number", "name"];

/** Cells of a CSV text (RFC 4180, with the separator that its first line uses most). */
export function cells(text) {
  const clean = text.replace(/^\uFEFF/, "");
  const head = clean.split(/\r?\n/, 1)[0];
  const separator = [";", ",", "\t"].map((mark) => [head.split(mark).length, mark]).sort((a, b) => b[0] - a[0])[0][1];
  const rows = [];
  let row = [], cell = "", quoted = false;
  for (let at = 0; at < clean.length; at++) {
    const mark = clean[at];
    if (quoted) {
      if (mark !== '"') cell += mark;
      else if (clean[at + 1] === '"') { cell += '"'; at++; }
      else quoted = false;
    } else if (mark === '"' && cell === "") quoted = true;
    else if (mark === separator) { row.push(cell); cell = ""; }
    else if (mark === "\n") { row.push(cell.replace(/\r$/, "")); rows.push(row); row = []; cell = ""; }
    else cell += mark;
  }
  if (cell !== "" || row.length > 0) rows.push([...row, cell.replace(/\r$/, "")]);
  return { separator, rows };
}

/** `{rows: [{line, order, faults, cells, same}], headings, separator}`; throws Error with a key of words for the whole file. */
export function read(text) {
  const { separator, rows } = cells(text);
  const [headings = [], ...lines] = rows;
  const places = {};
  headings.forEach((heading, index) => {
    const name = heading.trim().toLowerCase().replace(/[\s-]+/g, "_");
    const found = Object.keys(HEADINGS).find((key) => HEADINGS[key].includes(name));
    if (found !== undefined) places[found] ??= index;
  });
  if (NEEDED.some((key) => places[key] === undefined)) throw new Error("batch.headings");
  const filled = lines.map((line, index) => ({ line: index + 2, cells: line })).filter((row) => row.cells.some((cell) => cell.trim() !== ""));
  if (filled.length === 0) throw new Error("batch.empty");
  if (filled.length > ROWS_MAX) throw new Error("batch.many");
  const seen = new Map();
  return { headings, separator, rows: filled.map((row) => readRow(row, places, seen)) };
}

function readRow({ line, cells: found }, places, seen) {
  const cell = (key, fallback = "") => {
    const text = places[key] === undefined ? "" : rules.tidy(found[places[key]] ?? "");
    return text === "" ? fallback : text;
  };
  const number = cell("number");
  const identity = cell("identity_number").replace(/^'/, "");
  const order = {
    kind: "purchase",
    document: { type_code: cell("type_code", "4b"), number, date: rules.parseDate(cell("date")), filename: cell("filename", rules.filenameFor(number)) },
    taxpayer: { identity_type: cell("identity_type", "KTP").toUpperCase(), identity_number: rules.tidyIdentity(identity), name: rules.tidyName(cell("name")) },
  };
  if (cell("reference")) order.reference = cell("reference");
  const deadline = rules.parseDate(cell("deadline"));
  if (deadline) order.deadline = `${deadline}T23:59:00+07:00`;
  const faults = rules.orderFaults(order, { date: cell("date"), deadline: cell("deadline") });
  // A spreadsheet that took the number for an amount has thrown its last digits away.
  if (/^\d+([.,]\d+)?E\+\d+$/i.test(identity)) faults["taxpayer.identity_number"] = "spreadsheet";
  const same = JSON.stringify(order);
  const [first, times] = seen.get(same) ?? [null, 0];
  seen.set(same, [first ?? line, times + 1]);
  return { line, order, faults, cells: found, same: first, key: `csv-${digest(same)}-${times + 1}` };
}

/** The same row has the same key, so a file that is corrected and sent again orders only what is new in it. */
function digest(text) {
  return [1, 2, 3].map((seed) => half(text, seed)).join("");
}

// cyrb53: not for secrets; two rows with one digest would be told apart by the gateway, which compares the orders.
function half(text, seed) {
  let a = 0xdeadbeef ^ seed, b = 0x41c6ce57 ^ seed;
  for (let at = 0; at < text.length; at++) {
    const code = text.charCodeAt(at);
    a = Math.imul(a ^ code, 2654435761);
    b = Math.imul(b ^ code, 1597334677);
  }
  a = Math.imul(a ^ (a >>> 16), 2246822507) ^ Math.imul(b ^ (b >>> 13), 3266489909);
  b = Math.imul(b ^ (b >>> 16), 2246822507) ^ Math.imul(a ^ (a >>> 13), 3266489909);
  return (4294967296 * (2097151 & b) + (a >>> 0)).toString(36);
}

/** Rows as a file of the same kind, to be corrected and brought again. */
export function write(headings, separator, rows) {
  const quote = (cell) => (/["\r\n]/.test(cell) || cell.includes(separator) ? `"${cell.replace(/"/g, '""')}"` : cell);
  return `\uFEFF${[headings, ...rows].map((row) => row.map(quote).join(separator)).join("\r\n")}\r\n`;
}
