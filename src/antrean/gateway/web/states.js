// An order's state in a word, a picture and a colour; and what it waits for.
import { h, icon } from "./dom.js";
import { errorWords, moneyOf } from "./evidence.js";
import { count, holdName, moment, range, t } from "./words.js";

const LOOKS = {
  queued: ["", "wait"],
  buying: ["", "work"],
  unknown: ["held", "ask"],
  bought: ["", "work"],
  stamping: ["", "work"],
  completed: ["good", "done"],
  rejected: ["bad", "stop"],
  cancelled: ["quiet", "stop"],
  attention: ["bad", "person"],
  held: ["held", "hold"],
  unsent: ["held", "send"],
  refused: ["bad", "stop"],
};

export function stateChip(name) {
  const [tone, picture] = LOOKS[name];
  return h(`span.state${tone ? `.${tone}` : ""}`, {}, icon(picture), t(`state.${name}`));
}

export const toneOf = (name) => LOOKS[name][0];
export const stateOf = (order) => (order.holding ? "held" : order.state);

/** Its place in line, for a list that says elsewhere why all of it waits. */
export function placeOf(order) {
  return order.holding ? (order.position ? t("order.position", { n: count(order.position) }) : "") : outlook(order);
}

/** When it will be done, or why nobody can say. */
export function outlook(order) {
  if (order.holding) return t(`holding.${holdName(order.holding)}`, { since: moment(order.holding.since) });
  if (order.state === "queued" && order.position) {
    const place = t("order.position", { n: count(order.position) });
    return order.eta ? `${place} · ${range(order.eta.earliest, order.eta.latest)}` : place;
  }
  if (order.error) return errorWords(order.error);
  return "";
}

/** What the clerk does about a refused order. */
export const refusedWords = (order) => t(`refused.${moneyOf(order)}`);
