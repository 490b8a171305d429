// Signing in and out. The cookie is out of a script's reach; what is kept here says only whose it is and until when,
// so that no call is made before there is a session.
import { call, Problem } from "./api.js";
import { now } from "./clock.js";
import { h, kept } from "./dom.js";
import { t } from "./words.js";

/** Tells the other tabs who signed out. */
const channel = new BroadcastChannel("antrean-session");

export function current() {
  const text = kept.get("session");
  if (text === null) return null;
  const session = JSON.parse(text);
  return Date.parse(session.expires_at) > now() ? session : null;
}

export async function signIn(key) {
  const session = await call("POST", "/v1/session", { headers: { Authorization: `Bearer ${key}` } });
  kept.set("session", JSON.stringify(session));
  return session;
}

const isSame = (one, other) => one.office === other.office && one.role === other.role;

export async function signOut(mine) {
  try {
    await call("DELETE", "/v1/session");
  } catch (error) {
    if (error.status !== 401) throw error; // The session lives on, and must be seen to.
  }
  forget(mine);
  channel.postMessage({ office: mine.office, role: mine.role });
}

/** This page's session is over; one that somebody else began in another tab is not. */
export function forget(mine) {
  const session = current();
  if (session === null || isSame(session, mine)) kept.set("session", null);
}

/** What other tabs do to the session of this page: `left()` when it was signed out there. */
export function watch(mine, left) {
  channel.onmessage = ({ data }) => isSame(data, mine) && left();
  addEventListener("storage", (event) => {
    const session = event.key === null || event.key === "antrean.session" ? current() : null;
    if (session === null) return;
    if (!isSame(session, mine)) signInAgain(mine);
    else if (document.querySelector("dialog.again")) dispatchEvent(new CustomEvent("session-back"));
  });
}

/** The form to sign in with; `done(session)` is called once. */
export function signInForm(done, { title, hint }) {
  const input = h("input", {
    type: "password", id: "key", name: "key", autocomplete: "current-password", required: true, spellcheck: "false",
    "aria-describedby": "key-hint key-error",
  });
  const error = h("p.error", { id: "key-error", role: "alert" });
  const field = h("div.field", {}, h("label", { for: "key" }, t("login.key")), input, h("p.hint", { id: "key-hint" }, hint), error);
  const button = h("button.primary", { type: "submit" }, t("login.enter"));
  let busy = false;
  const say = (words) => {
    error.textContent = words;
    input.select();
  };
  const form = h("form", {
    on: {
      async submit(event) {
        event.preventDefault();
        if (busy) return;
        const key = input.value.replace(/\s+/g, "");
        // No key has such a character, and a header that has one can not be sent.
        error.textContent = key === "" ? t("rule.missing") : /[^\x21-\x7e]/.test(key) ? t("login.wrong") : "";
        field.classList.toggle("wrong", error.textContent !== "");
        if (error.textContent !== "") return input.select();
        busy = true;
        try {
          const session = await signIn(key);
          input.value = "";
          if (current() === null) return say(t("login.unkept"));
          done(session);
        } catch (failure) {
          say(!(failure instanceof Problem) ? t("problem.unreachable") : failure.status === 401 ? t("login.wrong") : failure.words);
        } finally {
          busy = false;
          field.classList.toggle("wrong", error.textContent !== "");
        }
      },
    },
  }, h("h1", {}, title), field, button);
  return form;
}

/** The form over the page, when a session ends while something is typed: the page stays as it is. */
export function signInAgain(before) {
  if (document.querySelector("dialog.again")) return;
  const dialog = h("dialog.again", { "aria-label": t("login.again"), on: {
    cancel: (event) => event.preventDefault(),
    // A browser closes at a second Escape all the same.
    close: () => dialog.isConnected && dialog.showModal(),
  } });
  dialog.append(signInForm((session) => {
    if (!isSame(session, before)) return location.reload();
    dispatchEvent(new CustomEvent("session-back"));
  }, { title: t("login.again"), hint: t("login.again.hint", { office: before.office }) }));
  addEventListener("session-back", () => {
    dialog.close();
    dialog.remove();
  }, { once: true });
  document.body.append(dialog);
  dialog.showModal();
}
