// Language and light or dark, the same two controls on every page.
import { h, kept } from "./dom.js";
import { language, t } from "./words.js";

export function languageSwitch() {
  const other = language === "en" ? "id" : "en";
  // Named in the language that it leads to.
  return h(
    "button.plain.compact",
    { type: "button", lang: other, "data-switch": "language", on: { click: () => { kept.set("language", other); location.reload(); } } },
    other === "en" ? "English" : "Indonesia",
  );
}

const NEXT = { auto: "light", light: "dark", dark: "auto" };

export function themeSwitch() {
  const button = h("button.plain.compact", { type: "button", "data-switch": "theme" });
  const show = () => {
    const now = document.documentElement.dataset.theme ?? "auto";
    button.textContent = t(`theme.${now}`);
  };
  button.addEventListener("click", () => {
    const next = NEXT[document.documentElement.dataset.theme ?? "auto"];
    kept.set("theme", next === "auto" ? null : next);
    if (next === "auto") delete document.documentElement.dataset.theme;
    else document.documentElement.dataset.theme = next;
    show();
  });
  show();
  return button;
}
