// Calls to the gateway with the session's cookie. Two ways to fail: it answered with a problem, or nothing is known.
import { compare } from "./clock.js";
import { has, language, t } from "./words.js";

/** The gateway said no, and why. */
export class Problem extends Error {
  constructor(status, body) {
    super(body?.detail ?? String(status));
    this.status = status;
    this.kind = String(body?.type ?? "").split("/").pop() || "internal-error";
    this.errors = body?.errors ?? [];
  }

  /** Whether the same request may go through later. */
  get passing() {
    return this.status >= 500 || this.status === 429 || this.status === 408;
  }

  get words() {
    return has(`problem.${this.kind}`) ? t(`problem.${this.kind}`) : t("problem.other");
  }
}

/** No answer: whether anything happened is not known, so the same key must be used again. */
export class Unreachable extends Error {}

const TIMEOUT_MS = 20_000;
let owner = null;

/** From now on every call says whose page this is: the cookie, which all tabs share, may become another office's. */
export function speakFor(session) {
  owner = `${session.role}:${session.office}`;
}

/** One call. Answers JSON, null where there is none (204, 304), or the Response where `raw`; `heard(answer)` first. Throws
 * Problem, Unreachable. */
export async function call(method, path, { json, body, type, headers = {}, raw = false, heard, timeoutMs = TIMEOUT_MS } = {}) {
  const abort = new AbortController();
  const timer = setTimeout(() => abort.abort(), timeoutMs);
  const given = { "X-Antrean-Page": "1", "Accept-Language": language, ...headers };
  if (owner !== null) given["X-Antrean-Session-Of"] = owner;
  if (json !== undefined) given["Content-Type"] = "application/json";
  if (type) given["Content-Type"] = type;
  const sentAt = Date.now();
  try {
    const answer = await fetch(path, {
      method,
      headers: given,
      body: json === undefined ? body : JSON.stringify(json),
      credentials: "same-origin",
      signal: abort.signal,
    });
    compare(answer, sentAt);
    if (answer.ok) heard?.(answer);
    if (answer.status === 304 || answer.status === 204) return null;
    if (answer.ok) return raw ? answer : await answer.json();
    const problem = new Problem(answer.status, await answer.json().catch(() => null));
    if (answer.status === 401 && path !== "/v1/session") dispatchEvent(new CustomEvent("session-ended"));
    throw problem;
  } catch (error) {
    if (error instanceof Problem) throw error;
    throw new Unreachable(error.message);
  } finally {
    clearTimeout(timer);
  }
}

/** Send a paper; answers what the gateway made of it. */
export async function upload(pdf) {
  const made = await call("POST", "/v1/documents", { body: pdf, type: "application/pdf", timeoutMs: 60_000 });
  if (typeof made?.id !== "string") throw new Unreachable("no answer of the gateway's");
  return made;
}

/** The words for one field's error, ours where we have them. */
export function ruleWords(error) {
  return has(`rule.${error.rule}`) ? t(`rule.${error.rule}`) : error.message;
}
