// Signing in and out. The cookie is out of a script's reach; what is kept here says only whose it is and until when,
// so that no call is made before there is a session.
import { call, Problem } from "./api.js";
import { h, kept } from "./dom.js";
import { t } from "./words.js";

export function current() {
  const text = kept.get("session");
  if (text === null) return null;
  const session = JSON.parse(text);
  return Date.parse(session.expires_at) > Date.now() ? session : null;
}

export async function signIn(key) {
  const session = await call("POST", "/v1/session", { headers: { Authorization: `Bearer ${key}` } });
  kept.set("session", JSON.stringify(session));
  return session;
}

export async function signOut() {
  try {
    await call("DELETE", "/v1/session");
  } catch (error) {
    if (!(error instanceof Problem)) throw error; // Not reached: the session lives on, and must be seen to.
  }
  kept.set("session", null);
}

export function forget() {
  kept.set("session", null);
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
          done(session);
        } catch (failure) {
          error.textContent = !(failure instanceof Problem) ? t("problem.unreachable") : failure.status === 401 ? t("login.wrong") : failure.words;
          input.select();
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
  const dialog = h("dialog.again", { "aria-label": t("login.again") });
  dialog.append(signInForm((session) => {
    if (session.office !== before.office || session.role !== before.role) return location.reload();
    dialog.close();
    dialog.remove();
    dispatchEvent(new CustomEvent("session-back"));
  }, { title: t("login.again"), hint: t("login.again.hint", { office: before.office }) }));
  dialog.addEventListener("cancel", (event) => event.preventDefault());
  document.body.append(dialog);
  dialog.showModal();
}
