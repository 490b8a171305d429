// Fields of a form: label, input, hint and the error beside it, by the name that the API gives the field.
import { h, setText } from "./dom.js";
import { parseDate } from "./rules.js";
import { date, t } from "./words.js";

export class Fields {
  #all = new Map();

  /** A text field; `path` is the API's name. `hint`: words, or a function of the value. */
  text(path, { label, hint = "", value = "", ...attributes }) {
    return this.#add(path, h("input", { type: "text", autocomplete: "off", spellcheck: "false", value, ...attributes }), label, hint);
  }

  select(path, { label, hint = "", options, ...attributes }) {
    return this.#add(path, h("select", attributes, ...options.map(([value, words]) => h("option", { value }, words))), label, hint);
  }

  #add(path, input, label, hint) {
    const id = path.replace(/\./g, "-");
    Object.assign(input, { id, name: path });
    input.setAttribute("aria-describedby", `${id}-hint ${id}-error`);
    const hintLine = h("p.hint", { id: `${id}-hint` });
    const error = h("p.error", { id: `${id}-error`, hidden: true });
    const element = h("div.field", { data: { field: path } }, h("label", { for: id }, label), input, hintLine, error);
    const field = { path, input, element, error, hintLine, hint };
    this.#all.set(path, field);
    input.addEventListener("input", () => {
      this.clear(path);
      this.refresh(path);
    });
    this.refresh(path);
    return element;
  }

  get(path) {
    return this.#all.get(path).input.value;
  }

  set(path, value) {
    this.#all.get(path).input.value = value ?? "";
    this.clear(path);
    this.refresh(path);
  }

  input(path) {
    return this.#all.get(path)?.input;
  }

  get paths() {
    return [...this.#all.keys()];
  }

  refresh(path) {
    const field = this.#all.get(path);
    const words = typeof field.hint === "function" ? field.hint(field.input.value) : field.hint;
    setText(field.hintLine, words);
    field.hintLine.hidden = words === "";
  }

  clear(path) {
    this.#mark(this.#all.get(path), "");
  }

  clearAll() {
    for (const field of this.#all.values()) this.#mark(field, "");
  }

  /** Show errors by path; answers those that belong to no field here. The first field at fault gets the focus, and
   * none stays folded away. */
  show(errors) {
    this.clearAll();
    const strangers = [];
    let first = null;
    for (const [path, words] of errors) {
      const field = this.#all.get(path);
      if (field === undefined) {
        strangers.push(words);
        continue;
      }
      this.#mark(field, words);
      const folded = field.input.closest("details");
      if (folded) folded.open = true;
      first ??= field.input;
    }
    first?.focus();
    first?.select?.();
    return strangers;
  }

  #mark(field, words) {
    setText(field.error, words);
    field.error.hidden = words === "";
    field.element.classList.toggle("wrong", words !== "");
    if (words) field.input.setAttribute("aria-invalid", "true");
    else field.input.removeAttribute("aria-invalid");
  }
}

/** What stands under a date: how it is understood, or how to write one. */
export function dateHint(value) {
  const iso = parseDate(value);
  return iso === null ? t("form.date.hint") : date(`${iso}T12:00:00`);
}

export const ruled = (rule) => t(`rule.${rule}`);
