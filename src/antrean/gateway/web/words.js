// The reader's language: one dictionary each, chosen by hand, Indonesian unless English was asked for.
// Dates and numbers follow the language; times are those of the reader's own zone.
import { now } from "./clock.js";

export const language = document.documentElement.lang === "en" ? "en" : "id";
// The ticket page has few words, and they travel alone: it is read on a cheap phone's credit.
const few = document.documentElement.dataset.words === "few";
const words = await dictionary();

async function dictionary() {
  if (few) return (language === "en" ? await import("./few-en.js") : await import("./few-id.js")).default;
  return (language === "en" ? await import("./en.js") : await import("./id.js")).default;
}

const locale = language === "en" ? "en-GB" : "id-ID";

/** The words for a key, with {names} filled in. A key without words is a mistake, and shows itself. */
export function t(key, values = {}) {
  const found = words[key];
  if (found === undefined) return key;
  return found.replace(/\{(\w+)\}/g, (_, name) => values[name] ?? "");
}

export const has = (key) => key in words;

/** The name of what holds orders back, as the dictionaries know it: a server that operators keep away from is not down. */
export const holdName = ({ reason, forced }) => (forced ? `${reason}.forced` : reason);

const number = new Intl.NumberFormat(locale);
const clock = new Intl.DateTimeFormat(locale, { hour: "2-digit", minute: "2-digit", hourCycle: "h23" });
const clockS = new Intl.DateTimeFormat(locale, { hour: "2-digit", minute: "2-digit", second: "2-digit", hourCycle: "h23" });
const day = new Intl.DateTimeFormat(locale, { weekday: "long", day: "numeric", month: "long" });
const dayYear = new Intl.DateTimeFormat(locale, { weekday: "long", day: "numeric", month: "long", year: "numeric" });
const shortDay = new Intl.DateTimeFormat(locale, { day: "numeric", month: "short" });
const shortDayYear = new Intl.DateTimeFormat(locale, { day: "numeric", month: "short", year: "numeric" });

export const count = (value) => number.format(value);
export const rupiah = (value) => `Rp\u00a0${number.format(value)}`;
export const time = (value) => clock.format(new Date(value));
export const timeS = (value) => clockS.format(new Date(value));
export const date = (value) => dayYear.format(new Date(value));

/** The day it is now, by which what was drawn with times is told from what would be drawn. */
export const today = () => new Date(now()).toDateString();

export const isToday = (value) => new Date(value).toDateString() === today();

const isThisYear = (value) => new Date(value).getFullYear() === new Date(now()).getFullYear();
const dayWords = (value) => (isThisYear(value) ? day : dayYear).format(new Date(value));

/** A moment as people say it: the time alone today, else with the day, and with the year of another year. */
export function moment(value) {
  return isToday(value) ? time(value) : `${dayWords(value)}, ${time(value)}`;
}

/** The same to the second. */
export function momentS(value) {
  return isToday(value) ? timeS(value) : `${dayWords(value)}, ${timeS(value)}`;
}

export function shortMoment(value) {
  return isToday(value) ? time(value) : `${(isThisYear(value) ? shortDay : shortDayYear).format(new Date(value))}, ${time(value)}`;
}

/** "10.20 – 10.45", a single moment where both are in one minute. */
export function range(earliest, latest) {
  if (time(earliest) === time(latest) && Math.abs(new Date(latest) - new Date(earliest)) < 60_000) return moment(latest);
  if (isToday(earliest) && isToday(latest)) return `${time(earliest)} – ${time(latest)}`;
  return `${moment(earliest)} – ${moment(latest)}`;
}

const dayThere = new Intl.DateTimeFormat(locale, { weekday: "long", day: "numeric", month: "long", year: "numeric", timeZone: "Asia/Jakarta" });
const clockThere = new Intl.DateTimeFormat(locale, { hour: "2-digit", minute: "2-digit", hourCycle: "h23", timeZone: "Asia/Jakarta" });
const LAST_MINUTE = clockThere.format(new Date("2024-09-10T23:59:00+07:00"));

/** A deadline is a day's in western Indonesia, as it was typed: east of it that day's last minute lies in the next day. */
export function deadline(value) {
  const at = new Date(value), clock = clockThere.format(at);
  return clock === LAST_MINUTE ? dayThere.format(at) : `${dayThere.format(at)}, ${clock} WIB`;
}

/** A span of time in its two largest parts. */
export function span(seconds) {
  const s = Math.max(0, Math.round(seconds));
  const parts = [[Math.floor(s / 86400), "d"], [Math.floor((s % 86400) / 3600), "h"], [Math.floor((s % 3600) / 60), "m"], [s % 60, "s"]];
  const first = parts.findIndex(([value]) => value > 0);
  if (first < 0) return t("span.s", { n: "0" });
  return parts
    .slice(first, first + 2)
    .filter(([value], at) => value > 0 || at === 0)
    .map(([value, unit]) => t(`span.${unit}`, { n: count(value) }))
    .join(" ");
}

/** How an amount of something is said. Indonesian has one form; English has two. */
export function many(key, n) {
  const form = n === 1 && has(`${key}.one`) ? `${key}.one` : key;
  return t(form, { n: count(n) });
}
