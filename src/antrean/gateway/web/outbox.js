// Orders on their way: kept on this computer first, sent by one tab at a time, repeated with the same key until
// the gateway has answered. An answer that never came costs nothing: the same key is the same order.
import { call, Problem, Unreachable, upload } from "./api.js";
import { now } from "./clock.js";
import * as db from "./db.js";

const BATCH_MAX = 100;
const PAUSE_MIN_MS = 1000, PAUSE_MAX_MS = 30_000;
/** Longest wait for one answer: a call that the network swallowed is repeated. */
const ANSWER_MS = 15_000;

/** Something between here and the gateway may answer anything; an order is forgotten here only once it is there. */
function mustBeOrder(status, order) {
  if (status !== 202 || typeof order?.id !== "string" || order.ticket?.number === undefined) throw new Unreachable("no order came back");
}

/** Events: `change` (what is kept changed), `result` (detail: key, order or problem, replayed), `rekeyed` (detail: from,
 * to), `line` (detail: reached, ended: whether signing in is needed). */
export class Outbox extends EventTarget {
  #office;
  #channel;
  #running = null;
  #again = false;
  #timer = 0;
  #failures = 0;
  #down = false; // Whether the last try ended in silence, and not with a paper of its own.

  constructor(office) {
    super();
    this.#office = office;
    this.#channel = new BroadcastChannel(`antrean-${office}`);
    this.#channel.onmessage = ({ data }) => {
      this.#emit(data.type, data.detail);
      if (data.type === "change") this.kick(); // The tab that kept it may be closed before it is sent.
    };
    addEventListener("online", () => this.kick());
    addEventListener("session-back", () => this.kick());
    document.addEventListener("visibilitychange", () => !document.hidden && this.nudge());
  }

  /** All that is kept for this office, the oldest first. */
  async entries() {
    const all = await db.all("outbox");
    return all.filter((entry) => entry.office === this.#office).sort((a, b) => a.created - b.created || a.row - b.row);
  }

  /** Keep orders durably, then send them. */
  async add(entries, draftId) {
    await db.submit(entries.map((entry, row) => ({ office: this.#office, created: now(), row, status: "waiting", ...entry })), draftId);
    this.#tell("change");
    this.kick();
  }

  async drop(key) {
    await db.remove("outbox", key);
    this.#tell("change");
  }

  /** Send now what waits. */
  kick() {
    clearTimeout(this.#timer);
    this.#timer = 0;
    if (this.#running) {
      this.#again = true;
      return;
    }
    this.#running = db.alone("antrean-sender", () => this.#send()).catch((error) => {
      if (!(error instanceof db.NotKept)) throw error;
      this.#later(); // The storage may be well again.
    }).finally(() => {
      this.#running = null;
      if (this.#again) {
        this.#again = false;
        this.kick();
      }
    });
  }

  /** The gateway was reached just now: send what waits, unless it asked for patience. */
  nudge() {
    if (this.#running === null && (this.#timer === 0 || this.#down)) this.kick();
  }

  /** One round: what has no paper first, then paper by paper. What fails waits, and holds up nothing behind it. */
  async #send() {
    const failed = new Set();
    let reached = false, last = null;
    for (;;) {
      const waiting = (await this.entries()).filter((entry) => entry.status === "waiting" && !failed.has(entry.key));
      if (waiting.length === 0) break;
      const bare = waiting.filter((entry) => !entry.pdf).slice(0, BATCH_MAX);
      const now = bare.length > 0 ? bare : waiting.slice(0, 1);
      try {
        if (now.length > 1) await this.#sendMany(now);
        else await this.#sendOne(now[0]);
        this.#failures = 0;
        reached = true;
        this.#tell("line", { reached, ended: false });
      } catch (error) {
        if (!(error instanceof Problem || error instanceof Unreachable)) throw error;
        last = error;
        for (const entry of now) failed.add(entry.key);
        this.#down = error instanceof Unreachable && bare.length > 0;
        if (error.status === 401 || this.#down) break; // Nothing else would go.
      }
    }
    if (last === null) return;
    this.#failures += 1;
    this.#tell("line", { reached: reached || last instanceof Problem, ended: last.status === 401 });
    this.#later();
  }

  #later() {
    clearTimeout(this.#timer);
    const pause = Math.min(PAUSE_MAX_MS, PAUSE_MIN_MS * 2 ** Math.max(0, this.#failures - 1));
    this.#timer = setTimeout(() => this.kick(), pause * (0.75 + Math.random() / 2));
  }

  async #sendOne(entry) {
    try {
      if (entry.pdf) {
        const document = await upload(entry.pdf);
        entry = { ...entry, pdf: null, pages: document.pages, body: { ...entry.body, document_id: document.id } };
        await db.put("outbox", entry);
      }
      let status = 0, replayed = false;
      const heard = (answer) => {
        status = answer.status;
        replayed = answer.headers.has("Idempotent-Replayed");
      };
      const order = await call("POST", "/v1/orders", { json: entry.body, headers: { "Idempotency-Key": entry.key }, heard, timeoutMs: ANSWER_MS });
      mustBeOrder(status, order);
      await this.#settle([[entry, order, replayed]], []);
    } catch (error) {
      if (!(error instanceof Problem) || error.passing || error.status === 401) throw error;
      await this.#settle([], [[entry, error]]);
    }
  }

  async #sendMany(entries) {
    const orders = entries.map((entry) => ({ ...entry.body, idempotency_key: entry.key }));
    const results = (await call("POST", "/v1/batches", { json: { orders }, timeoutMs: 60_000 }))?.results;
    if (results?.length !== entries.length) throw new Unreachable("no answer of the gateway's");
    const accepted = [], refused = [];
    let passing = null;
    for (const [index, result] of results.entries()) {
      if (!(result.status >= 400)) {
        mustBeOrder(result.status, result.order);
        accepted.push([entries[index], result.order, result.replayed]);
        continue;
      }
      const problem = new Problem(result.status, result.problem);
      if (problem.passing) passing = problem;
      else refused.push([entries[index], problem]);
    }
    await this.#settle(accepted, refused);
    if (passing) throw passing;
  }

  async #settle(accepted, refused) {
    const gone = accepted.map(([entry]) => entry.key);
    const kept = [], told = [], rekeyed = [];
    for (const [entry, { kind, errors, status }] of refused) {
      if (kind === "idempotency-key-reused") {
        // Another order was made with this key (a copied tab); of this one nothing was made.
        const key = db.randomKey();
        gone.push(entry.key);
        kept.push({ ...entry, key });
        rekeyed.push({ from: entry.key, to: key });
      } else {
        const problem = { kind, errors, status };
        kept.push({ ...entry, status: "refused", problem });
        told.push({ key: entry.key, problem });
      }
    }
    await db.settle(gone, kept);
    for (const detail of rekeyed) this.#tell("rekeyed", detail);
    for (const [entry, order, replayed] of accepted) this.#tell("result", { key: entry.key, order, replayed });
    for (const detail of told) this.#tell("result", detail);
    this.#tell("change");
  }

  #tell(type, detail = null) {
    this.#emit(type, detail);
    this.#channel.postMessage({ type, detail });
  }

  #emit(type, detail) {
    this.dispatchEvent(new CustomEvent(type, { detail }));
  }
}
