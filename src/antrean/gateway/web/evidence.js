// What machines write down (why a breaker moved, why an order needs a person), in the reader's language. It is kept
// in English in the record; a sentence that is not known here is shown as it is, and marked as English.
import { h } from "./dom.js";
import { count, has, t } from "./words.js";

const SENTENCES = [
  [/^(\d+) connections in a row were refused$/, "evidence.refused"],
  [/^(\d+) calls in a row failed$/, "evidence.failed_in_row"],
  [/^(\d+) of (\d+) calls failed$/, "evidence.failed"],
  [/^(\d+) of (\d+) calls were slow$/, "evidence.slow"],
  [/^the trial call failed$/, "evidence.trial_failed"],
  [/^the trial call was slow$/, "evidence.trial_slow"],
  [/^the trial call was answered$/, "evidence.trial_answered"],
  [/^the account's list was too long to read to its end \((\d+) rows\)$/, "evidence.list_long"],
  [/^not on the account's list, but (\d+) stamps left the balance that no purchase explains$/, "evidence.unnamed"],
  [/^not on the account's list \((\d+) rows read\): not bought$/, "evidence.absent"],
  [/^The uploaded PDF is gone\.$/, "evidence.document_gone"],
];

export function evidence(text) {
  for (const [form, key] of SENTENCES) {
    const found = form.exec(text);
    if (found) return t(key, { a: count(Number(found[1])), b: count(Number(found[2])) });
  }
  return h("span", { lang: "en" }, text);
}

/** What an error code means, or the error's own words. */
export const errorWords = (error) => (has(`error.${error.code}`) ? t(`error.${error.code}`) : error.message);
