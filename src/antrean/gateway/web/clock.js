// What time it is by the gateway. The clock of a counter's computer may be hours or days off: today's list would be
// empty, and a session would seem over before it began.
import { kept } from "./dom.js";

/** Less than this is the way of an answer, or nothing that anybody would notice. */
const SLACK_MS = 60_000;
let offMs = Number(kept.get("clock")) || 0;

/** Now, in ms since the epoch. */
export const now = () => Date.now() - offMs;

/** By how much this computer's clock is ahead of the gateway's, in ms; 0 where it is right. */
export const off = () => offMs;

/** Learn from the Date of an answer to a request of `sentAt` (`Date.now()`, ms). */
export function compare(answer, sentAt) {
  const seen = Date.now() - Date.parse(answer.headers.get("Date"));
  // An answer that was long on its way, as over a night with the lid shut, does not know what time it is now.
  if (Number.isNaN(seen) || Math.abs(Date.now() - sentAt) > SLACK_MS) return;
  const found = Math.abs(seen) < SLACK_MS ? 0 : seen;
  // The header has whole seconds, and an answer's way differs: only what is really another clock is noted.
  if (Math.abs(found - offMs) < SLACK_MS) return;
  offMs = found;
  kept.set("clock", found === 0 ? null : String(found));
  dispatchEvent(new CustomEvent("clock"));
}
