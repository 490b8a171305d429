// What a person types, made into what the gateway takes; and its rules for it, so that an error shows at once.
// The gateway checks again: it decides. A test holds these rules against its own.
import { now } from "./clock.js";

const PROVINCES = [[11, 21], [31, 36], [51, 53], [61, 65], [71, 76], [81, 82], [91, 97]];
const MONTH_DAYS = [31, 29, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31];
const MONTHS = {
  jan: 1, feb: 2, peb: 2, mar: 3, apr: 4, mei: 5, may: 5, jun: 6, jul: 7, agu: 8, agt: 8, ags: 8, aug: 8, sep: 9, okt: 10, oct: 10, nov: 11, nop: 11, des: 12, dec: 12,
};
export const IDENTITY_TYPES = ["KTP", "NPWP", "PASSPORT", "KITAS", "KITAP"];

/** The rule that an identity number breaks, or null. */
export function identityFault(type, number) {
  if (type === "KTP") return nikFault(number);
  if (type === "NPWP") return /^\d{15,16}$/.test(number) ? null : "npwp-digits";
  return /^[A-Z0-9]{5,20}$/.test(number) ? null : "alphanumeric";
}

function nikFault(nik) {
  if (!/^\d{16}$/.test(nik)) return "nik-digits";
  const part = (from, to) => Number(nik.slice(from, to));
  const province = part(0, 2);
  if (!PROVINCES.some(([low, high]) => low <= province && province <= high) || part(2, 4) === 0 || part(4, 6) === 0) return "nik-region";
  const day = part(6, 8) > 40 ? part(6, 8) - 40 : part(6, 8);
  const days = MONTH_DAYS[part(8, 10) - 1];
  if (days === undefined || day < 1 || day > days) return "nik-birth-date";
  return part(12, 16) === 0 ? "nik-serial" : null;
}

/** As scanned or copied: spaces, dots, dashes and what nobody sees fall away, letters become capitals. */
export const tidyIdentity = (text) => text.replace(/[\s.\p{Pd}\p{Cf}\u2212]/gu, "").toUpperCase();
export const tidy = (text) => text.replace(/\p{Cf}/gu, "").replace(/\s+/g, " ").trim();
/** A word processor's dashes are the one on the keyboard. */
export const tidyName = (text) => tidy(text).replace(/[\p{Pd}\u2212]/gu, "-");

/** Before a date, and no part of it: "Rabu, 4 September 2024". */
const DAY_NAME = /^(?:sen|sel|rab|kam|jum|sab|min|aha|mon|tue|wed|thu|fri|sat|sun)[a-z'’]*[.,\s]+(?=\d)/;

/** Year, month and day as written; null where the text has no date's form. */
function dateParts(text) {
  const clean = text.trim().toLowerCase().replace(DAY_NAME, "");
  let found;
  if ((found = /^(\d{4})[./-](\d{1,2})[./-](\d{1,2})$/.exec(clean))) return [+found[1], +found[2], +found[3]];
  if ((found = /^(\d{1,2})[\s./-](\d{1,2})[\s./-](\d{2}|\d{4})$/.exec(clean)) || (found = /^(\d{2})(\d{2})(\d{4})$/.exec(clean))) {
    return [fullYear(found[3]), +found[2], +found[1]];
  }
  if ((found = /^(\d{1,2})[\s./-]+([a-z]{3,9})[\s./-]+(\d{2}|\d{4})$/.exec(clean))) {
    const month = MONTHS[found[2].slice(0, 3)];
    return month === undefined ? null : [fullYear(found[3]), month, +found[1]];
  }
  return null;
}

const fullYear = (text) => (text.length === 2 ? 2000 + Number(text) : Number(text));

/** A date as people write it here (4/9/2024, 04-09-24, 04092024, 4 Sept. 2024, 2024/9/4) as YYYY-MM-DD; null for none. */
export function parseDate(text) {
  const parts = dateParts(text);
  if (parts === null) return null;
  const [year, month, day] = parts;
  const made = new Date(Date.UTC(year, month - 1, day));
  if (made.getUTCMonth() !== month - 1 || made.getUTCDate() !== day || year < 1000) return null;
  return made.toISOString().slice(0, 10);
}

/** Why a text that is no date is none: its form, or a day that no calendar has. */
const noDate = (text) => (dateParts(text) === null ? "date-form" : "date-real");

/** Why a document's date, as written, is not taken; or null. */
function dateFault(text) {
  const iso = parseDate(text);
  if (iso === null) return noDate(text);
  const tomorrow = new Date(now() + 24 * 3600 * 1000).toISOString().slice(0, 10);
  return iso < "1945-01-01" || iso > tomorrow ? "date-range" : null;
}

export function localToday() {
  const today = new Date(now());
  return `${today.getFullYear()}-${String(today.getMonth() + 1).padStart(2, "0")}-${String(today.getDate()).padStart(2, "0")}`;
}

/** As a clerk reads it: 04/09/2024. */
export const shownDate = (iso) => iso.split("-").reverse().join("/");

const CONTROL = /\p{C}/u;

/** Field → rule, for what one order says, its dates as they were `written`; empty where all is well. In the order of the
 * form: a list of faults is read from the top. */
export function orderFaults(order, written) {
  const faults = {};
  const { document: paper, taxpayer } = order;
  if (!IDENTITY_TYPES.includes(taxpayer.identity_type)) faults["taxpayer.identity_type"] = "identity-type";
  else if (taxpayer.identity_number === "") faults["taxpayer.identity_number"] = "missing";
  else {
    const fault = identityFault(taxpayer.identity_type, taxpayer.identity_number);
    if (fault !== null) faults["taxpayer.identity_number"] = fault;
  }
  text(faults, "taxpayer.name", taxpayer.name, 128);
  text(faults, "document.number", paper.number, 64);
  const date = dateFault(written.date);
  if (date !== null) faults["document.date"] = date;
  if (!/^[A-Za-z0-9]{1,8}$/.test(paper.type_code)) faults["document.type_code"] = paper.type_code === "" ? "missing" : "type-code-form";
  text(faults, "document.filename", paper.filename, 128);
  if (/[/\\]/.test(paper.filename)) faults["document.filename"] = "filename";
  if (order.reference) text(faults, "reference", order.reference, 128);
  if (written.deadline.trim() !== "" && !order.deadline) faults.deadline = noDate(written.deadline);
  return faults;
}

function text(faults, field, value, max) {
  if (value.trim() === "") faults[field] = "missing";
  else if (value.length > max) faults[field] = "string-too-long";
  else if (CONTROL.test(value)) faults[field] = "printable";
}

/** The order that the form says; `typed(path)` is what stands in a field. */
export function orderOf(typed, { kind, placement, documentId }) {
  const number = tidy(typed("document.number"));
  const deadline = parseDate(typed("deadline"));
  const order = {
    kind,
    document: { type_code: typed("document.type_code").trim(), number, date: parseDate(typed("document.date")), filename: tidy(typed("document.filename")) || filenameFor(number) },
    taxpayer: { identity_type: typed("taxpayer.identity_type"), identity_number: tidyIdentity(typed("taxpayer.identity_number")), name: tidyName(typed("taxpayer.name")) },
  };
  const reference = tidy(typed("reference"));
  if (reference) order.reference = reference;
  // A day's deadline is its last minute, in western Indonesia as everywhere in the product.
  if (deadline) order.deadline = `${deadline}T23:59:00+07:00`;
  if (kind === "affix") {
    order.placement = placement;
    if (documentId) order.document_id = documentId;
    for (const path of ["serial_number", "purchase_order_id"]) if (tidy(typed(path))) order[path] = tidy(typed(path));
  }
  return order;
}

/** The day of a moment in western Indonesia, whatever zone it is written in. */
const dayOf = (moment) => new Date(Date.parse(moment) + 7 * 3600 * 1000).toISOString().slice(0, 10);

/** Whether a payer's number and name are shown with stars in them, as an order shows them to a counter. */
export const isMasked = (taxpayer) => taxpayer.identity_number.includes("*");

/** The way back: field → what a clerk would type for this order; nothing for what it hides. */
export function typedOf({ document: paper, taxpayer, reference, deadline, serial_number, purchase_order_id }) {
  const seen = (words) => (isMasked(taxpayer) ? "" : words);
  return {
    "taxpayer.identity_type": taxpayer.identity_type, "taxpayer.identity_number": seen(taxpayer.identity_number), "taxpayer.name": seen(taxpayer.name),
    "document.number": paper.number, "document.date": shownDate(paper.date), "document.type_code": paper.type_code, "document.filename": paper.filename,
    reference, deadline: deadline && shownDate(dayOf(deadline)), serial_number, purchase_order_id,
  };
}

/** A file name for a paper that has none: its number, without what a file name can not hold. */
export const filenameFor = (number) => `${number.replace(/[/\\:*?"<>|\s]+/g, "-").slice(0, 120) || "dokumen"}.pdf`;
