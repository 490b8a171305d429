// A dialog that asks for what a decision needs, the reason first: who decides says why, and it goes on record.
import { ruleWords } from "./api.js";
import { h, icon } from "./dom.js";
import { Fields, ruled } from "./fields.js";
import { t } from "./words.js";

let dialogs = 0;

/** Ask; `send(values)` does it and may throw an error with `words`. Resolves true once it is done, false if not. */
export function ask({ title, text, fields = [], confirm, danger = false, send }) {
  return new Promise((resolve) => {
    dialogs += 1;
    const own = new Fields();
    const message = h("div", { role: "alert" });
    const made = fields.map((field) => (field.options ? own.select(field.path, field) : own.text(field.path, field)));
    const reason = own.text("reason", { label: t("ask.reason"), hint: t("ask.reason.hint"), maxlength: "128", required: true });
    const button = h(danger ? "button.danger" : "button.primary", { type: "submit" }, confirm);
    const no = h("button.plain", { type: "button", on: { click: () => dialog.close() } }, t("ask.no"));
    // What is on its way can not be called back: it must not look as if it were.
    const busy = (isBusy) => {
      button.disabled = no.disabled = isBusy;
      // A disabled button loses the focus, and with it the dialog the keys that it has to refuse.
      if (isBusy) own.input("reason").focus();
    };
    const stay = (event) => no.disabled && (event.type === "cancel" || event.key === "Escape") && event.preventDefault();
    const heading = `ask-title-${dialogs}`;
    let done = false;
    const dialog = h("dialog", { "aria-labelledby": heading, on: { keydown: stay, cancel: stay, close: () => { dialog.remove(); resolve(done); } } },
      h("form", { novalidate: true, on: { submit: async (event) => {
        event.preventDefault();
        const values = Object.fromEntries(own.paths.map((path) => [path, own.get(path).trim()]));
        const wrong = [...fields.filter((field) => field.fault?.(values[field.path], values)).map((field) => [field.path, field.fault(values[field.path], values)])];
        if (values.reason === "") wrong.push(["reason", ruled("missing")]);
        if (wrong.length) return own.show(wrong);
        busy(true);
        try {
          await send(values);
          done = true;
          dialog.close();
        } catch (error) {
          const strangers = own.show((error.errors ?? []).map((e) => [e.field, ruleWords(e)]));
          message.replaceChildren(h("div.notice.bad", {}, icon("warn"), h("p", {}, strangers.join(" ") || error.words || t("problem.unreachable"))));
        } finally {
          busy(false);
        }
      } } },
      h("h2", { id: heading }, title), text ? h("p.soft", {}, text) : null, message, ...made, reason,
      h("div.buttons.end", {}, no, button)));
    document.body.append(dialog);
    dialog.showModal();
    (fields.length ? own.input(fields[0].path) : own.input("reason")).focus();
  });
}

/** Asked before what can not be taken back; true only for the button that says so. A scanner's Enter says no. */
export function confirmed({ title, text = "", yes }) {
  return new Promise((resolve) => {
    dialogs += 1;
    const heading = `ask-title-${dialogs}`;
    let agreed = false;
    const end = (answer) => { agreed = answer; dialog.close(); };
    const button = (kind, answer, words) => h(kind, { type: "button", on: { click: () => end(answer) } }, words);
    const dialog = h("dialog.confirm", { "aria-labelledby": heading, on: { close: () => { dialog.remove(); resolve(agreed); } } },
      h("div.inside", {}, h("h2", { id: heading }, title), text ? h("p.soft", {}, text) : null,
        h("div.buttons.end", {}, button("button", false, t("confirm.no")), button("button.primary", true, yes))));
    document.body.append(dialog);
    dialog.showModal();
  });
}
