// What machines write down (why a breaker moved, why an order needs a person), in the reader's language. It is kept
// in English in the record; a sentence that is not known here is shown as it is, and marked as English.
import { h } from "./dom.js";
import { count, has, t } from "./words.js";

/** Sentences without numbers, by the key of their words. */
const FIXED = {
  "the trial call failed": "trial_failed",
  "the trial call was slow": "trial_slow",
  "the trial call was answered": "trial_answered",
  "The uploaded PDF is gone.": "document_gone",
  "its serial number stands in our books with another order": "taken",
  "accepted": "accepted",
  "asking for a serial number": "asking",
  "bought": "bought",
  "being stamped": "stamping",
  "done": "done",
  "withdrawn": "withdrawn",
  "withdrawn at the counter": "withdrawn",
  "an SN from the pool": "pool",
  "its worker went away": "worker_gone",
  "the record stands otherwise than its worker left it": "record_otherwise",
  "answered late": "late",
  "found on the account's list": "found",
  "its personal data can not be decrypted": "unreadable",
  "the upstream's quota is used up": "quota",
  "the stamped PDF was not in order": "unsound",
  "the document store is not available": "no_store",
  "personal data erased, its time is over": "erased",
  "personal data erased by": "erased_by",
  "put back by ops": "put_back",
  "deadline moved by ops": "moved",
  "balance watch": "balance_watch",
  "The account's list, which may know of them, can not be read": "list_unread",
  "the account's list or balance cannot be read": "account_unread",
  "the upstream answered with another order's SN": "foreign",
  "the upstream did not answer in time": "timeout",
  "the connection to the upstream broke": "broke",
  "the upstream is too busy": "busy",
  "the upstream does not take connections": "no_connections",
  "the upstream refuses connections": "refuses",
  "the upstream does not take our token": "token",
  "the upstream refuses our login": "login",
};
const COUNTED = [
  [/^(\d+) connections in a row were refused$/, "refused"],
  [/^(\d+) calls in a row failed$/, "failed_in_row"],
  [/^(\d+) of (\d+) calls failed$/, "failed"],
  [/^(\d+) of (\d+) calls were slow$/, "slow"],
  [/^the account's list was too long to read to its end \((\d+) rows\)$/, "list_long"],
  [/^not on the account's list, but (\d+) stamps left the balance that no purchase explains$/, "unnamed"],
  [/^not on the account's list, but (\d+) stamps left the balance that no purchase explains; a top-up since then hides whether one does by now$/, "unnamed_topup"],
  [/^not on the account's list \((\d+) rows read\): not bought$/, "absent"],
  [/^(\d+) stamps left the account that no order explains; purchases stop until ops decide$/, "balance"],
  [/^(\d+) serial numbers on the account's list are of orders that are not in these books: was a backup restored\?$/, "strange"],
  [/^the upstream answered with something unreadable \(status (\d+)\)$/, "garbled"],
  [/^the upstream answered without a result code \(status (\d+)\)$/, "no_code"],
];
/** Who decided, and why in their own words. */
const DECIDED = /^(personal data erased by )?((?:ops|cli|terminal|supervisor)(?::[^\s:]+)?): (.*)$/s;
/** An error's code or the head of a longer sentence, and what follows it. */
const HEADED = /^([^:]+): (.+)$/s;

/** A sentence, or several of them, in the reader's language; null where one of them is not known here. */
function known(text) {
  if (Object.hasOwn(FIXED, text)) return t(`evidence.${FIXED[text]}`);
  for (const [form, key] of COUNTED) {
    const found = form.exec(text);
    if (found) return t(`evidence.${key}`, { a: count(Number(found[1])), b: count(Number(found[2])) });
  }
  const sentences = text.split(/\. (?=[A-Z0-9])/);
  const said = sentences.length > 1 ? sentences.map(known) : [null];
  return said.includes(null) ? null : said.join(". ").replaceAll("?. ", "? ");
}

export function evidence(text) {
  const sentence = known(text);
  if (sentence !== null) return sentence;
  const decided = DECIDED.exec(text);
  if (decided) {
    const [, erased, actor, why] = decided;
    return `${erased ? `${t("evidence.erased_by")} ` : ""}${actor}: ${known(why) ?? why}`;
  }
  const headed = HEADED.exec(text);
  const head = headed && (has(`error.${headed[1]}`) ? t(`error.${headed[1]}`) : known(headed[1]));
  if (head) return h("span", {}, head, ": ", evidence(headed[2]));
  return h("span", { lang: "en" }, text);
}

/** The same as text alone, for a place inside of another sentence. */
export const evidenceWords = (text) => known(text) ?? text;

/** What an error code means, or the error's own words. */
export const errorWords = (error) => (has(`error.${error.code}`) ? t(`error.${error.code}`) : evidenceWords(error.message));

/** How a refund stands in the history of a refused order: who did it, and why. */
const REFUND = /^(ops|cli)(:[^\s:]+)?: /;

/** A refused order's money: "none" was paid here where it brought its own SN; else it is "owed" until a refund is on
 * record, and then "given" back. */
export function moneyOf(order) {
  if (order.serial_number !== null) return "none";
  return order.history.some((line) => line.state === "rejected" && REFUND.test(line.note)) ? "given" : "owed";
}
