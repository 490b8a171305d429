// The offices with orders that are not done, the most first: some of them, those that are looked for, or all in a box that scrolls.
import { h, setText, tableHead } from "./dom.js";
import { count, t } from "./words.js";

const SHOWN = 12;

export class Offices {
  #offices = [];
  #all = false;

  constructor() {
    const about = t("offices.find");
    this.filter = h("input", {
      type: "text", id: "office-filter", autocomplete: "off", spellcheck: "false", "aria-label": about, placeholder: about,
      on: { input: () => this.#draw() },
    });
    this.rows = h("tbody");
    this.more = h("button.compact", { type: "button", id: "office-all", on: { click: () => { this.#all = !this.#all; this.#draw(); } } });
    this.box = h("div.scroll.offices", { tabindex: "0", role: "group", "aria-labelledby": "offices-title" },
      h("table", {},
        tableHead(t("offices.office"), { kind: "number", words: t("offices.waiting") }, t("offices.share")),
        this.rows));
    this.parts = [this.filter, this.box, h("p", {}, this.more)];
  }

  update(byOffice) {
    this.#offices = Object.entries(byOffice).filter(([, waiting]) => waiting > 0).sort((a, b) => b[1] - a[1]);
    this.#draw();
  }

  #draw() {
    const wanted = this.filter.value.trim().toUpperCase();
    const most = Math.max(1, ...this.#offices.map(([, waiting]) => waiting));
    const found = this.#offices.filter(([office]) => office.toUpperCase().includes(wanted));
    const shown = this.#all ? found : found.slice(0, SHOWN);
    this.rows.replaceChildren(...shown.map(([office, waiting]) => {
      const length = h("i.length");
      length.style.width = `${(waiting / most) * 100}%`;
      return h("tr", {}, h("th", { scope: "row" }, office), h("td.number", {}, count(waiting)), h("td.share", {}, length));
    }));
    if (found.length === 0) this.rows.append(h("tr", {}, h("td", { colspan: "3" }, t(wanted ? "offices.unfound" : "offices.none"))));
    this.filter.hidden = this.#offices.length <= SHOWN;
    this.more.hidden = found.length <= SHOWN;
    setText(this.more, this.#all ? t("offices.fewer") : t("offices.all", { n: count(found.length) }));
  }
}
