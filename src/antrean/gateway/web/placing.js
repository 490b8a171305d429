// The paper and its stamp: a file is chosen; then a page's picture, and a box on it that mouse, finger and arrow keys
// move.
import { call } from "./api.js";
import { h, icon, setText } from "./dom.js";
import { count, t } from "./words.js";

const A4 = [0, 0, 595, 842];
const STEP = 2, STRIDE = 20, SIDE_MIN = 40, SIDE_MAX = 240, MARGIN = 24;
const POINTS_PER_MM = 72 / 25.4;
const PICTURE_PX = 900;

/** Where a PDF is chosen, by hand or by dropping it there; `take(file)`. */
export class Chooser {
  constructor(take) {
    this.input = h("input", { type: "file", id: "pdf", accept: "application/pdf,.pdf", "aria-describedby": "pdf-note", on: { change: () => {
      if (this.input.files[0]) take(this.input.files[0]);
      this.input.value = ""; // Else the same file, mended, could not be chosen again.
    } } });
    this.name = h("b");
    this.note = h("span.small", { id: "pdf-note", role: "status" });
    const over = (is) => this.element.classList.toggle("over", is);
    this.element = h("div.drop", { on: {
      dragover: (event) => { event.preventDefault(); over(true); },
      dragleave: () => over(false),
      drop: (event) => {
        event.preventDefault();
        over(false);
        if (event.dataTransfer.files[0]) take(event.dataTransfer.files[0]);
      },
    } }, h("label", { for: "pdf" }, icon("send"), " ", t("pdf.drop")), this.input, this.name, this.note);
  }

  /** The file that is chosen, "" for none, and what is to be said about it. */
  show(name, note, wrong) {
    setText(this.name, name);
    setText(this.note, note);
    this.element.classList.toggle("wrong", wrong);
    this.element.classList.toggle("full", name !== "");
  }

  focus() {
    this.input.focus();
  }
}

export class Placing {
  /** `changed()` after every move by a person. */
  constructor(changed) {
    this.changed = changed;
    this.at = { page: 1, x: 400, y: 60, width: 90, height: 90 };
    this.pages = 1;
    this.box = A4;
    this.rotation = 0;
    this.documentId = null;
    this.canvas = h("canvas", { role: "img", "aria-label": "" });
    this.stamp = h("div.stamp", {
      tabindex: "0", role: "application", "aria-roledescription": t("place.stamp"), "aria-describedby": "place-help",
      on: { keydown: (event) => this.#key(event), pointerdown: (event) => this.#grab(event) },
    }, h("span", {}, t("place.stamp")));
    this.sheet = h("div.sheet", { on: { pointerdown: (event) => this.#jump(event) } }, this.canvas, this.stamp);
    this.where = h("output.small", { role: "status" });
    this.pageText = h("span.number");
    this.back = h("button.compact", { type: "button", "aria-label": t("place.back"), on: { click: () => this.show(this.at.page - 1) } }, "‹");
    this.next = h("button.compact", { type: "button", "aria-label": t("place.next"), on: { click: () => this.show(this.at.page + 1) } }, "›");
    const corner = (name, arrow, x, y) => h("button.compact", { type: "button", "aria-label": t(`place.${name}`), title: t(`place.${name}`), on: { click: () => this.#corner(x, y) } }, arrow);
    this.note = h("p.small.soft");
    this.element = h("div.placing", {},
      h("div.buttons", {}, this.back, this.pageText, this.next, h("span.spread"),
        h("span.corners", {}, corner("tl", "↖", 0, 1), corner("tr", "↗", 1, 1), corner("bl", "↙", 0, 0), corner("br", "↘", 1, 0))),
      this.sheet,
      h("p.small.soft", { id: "place-help" }, icon("info"), " ", t("place.help")),
      this.where, this.note);
    this.#draw();
  }

  /** A document that the gateway has. */
  async open(documentId, pages) {
    this.documentId = documentId;
    this.pages = pages;
    setText(this.note, "");
    await this.show(Math.min(this.at.page, pages));
  }

  /** A document that is not sent yet: an empty sheet stands for it. */
  blank(note) {
    Object.assign(this, { documentId: null, pages: 1, box: A4, rotation: 0 });
    this.at.page = 1;
    setText(this.note, note);
    this.canvas.width = 595;
    this.canvas.height = 842;
    this.#draw();
  }

  async show(page) {
    if (page < 1 || page > this.pages) return;
    this.at.page = page;
    this.#draw();
    if (this.documentId === null) return;
    const asked = `${this.documentId} ${page}`;
    this.asked = asked;
    try {
      const answer = await call("GET", `/v1/documents/${this.documentId}/pages/${page}.png?width=${PICTURE_PX}`, { raw: true });
      const picture = await createImageBitmap(await answer.blob());
      if (this.asked !== asked) return;
      this.box = answer.headers.get("X-Page-Box").split(" ").map(Number);
      this.rotation = Number(answer.headers.get("X-Page-Rotation"));
      this.canvas.width = picture.width;
      this.canvas.height = picture.height;
      this.canvas.getContext("2d").drawImage(picture, 0, 0);
      this.canvas.setAttribute("aria-label", t("place.page", { page: count(page), pages: count(this.pages) }));
      this.sheet.dataset.page = String(page);
    } catch {
      setText(this.note, t("place.unseen"));
    }
    this.#inside();
    this.#draw();
    this.changed();
  }

  get value() {
    const { page, x, y, width, height } = this.at;
    return { page, x: round(x), y: round(y), width: round(width), height: round(height) };
  }

  set value(at) {
    this.at = { ...at };
    this.#draw();
  }

  // ---- inside

  get #size() {
    return [this.box[2] - this.box[0], this.box[3] - this.box[1]];
  }

  get #seenSize() {
    return this.rotation % 180 ? this.#size.reverse() : this.#size;
  }

  /** From points on the page as it lies in the file to shares of the picture, as a reader sees it. */
  #seen() {
    const [w, hgt] = this.#size;
    const u = this.at.x - this.box[0], v = this.at.y - this.box[1], { width, height } = this.at;
    switch (this.rotation) {
      case 90: return [v / hgt, u / w, height / hgt, width / w];
      case 180: return [(w - u - width) / w, v / hgt, width / w, height / hgt];
      case 270: return [(hgt - v - height) / hgt, (w - u - width) / w, height / hgt, width / w];
      default: return [u / w, (hgt - v - height) / hgt, width / w, height / hgt];
    }
  }

  /** A step to the right and down, as seen, in points of the page. */
  #turned(right, down) {
    switch (this.rotation) {
      case 90: return [down, right];
      case 180: return [-right, down];
      case 270: return [-down, -right];
      default: return [right, -down];
    }
  }

  #draw() {
    const [left, top, width, height] = this.#seen();
    const [w, hgt] = this.#seenSize;
    this.sheet.style.setProperty("--ratio", w / hgt);
    Object.assign(this.stamp.style, { left: `${left * 100}%`, top: `${top * 100}%`, width: `${width * 100}%`, height: `${height * 100}%` });
    setText(this.pageText, t("place.page", { page: count(this.at.page), pages: count(this.pages) }));
    this.back.disabled = this.at.page <= 1;
    this.next.disabled = this.at.page >= this.pages;
    const mm = (points) => count(Math.round(points / POINTS_PER_MM) || 0); // no "-0"
    const words = t("place.at", { left: mm(left * w), bottom: mm((1 - top - height) * hgt), side: mm(this.at.width) });
    setText(this.where, words);
    this.stamp.setAttribute("aria-label", words);
  }

  #inside() {
    const [x0, y0, x1, y1] = this.box;
    const side = Math.min(this.at.width, x1 - x0, y1 - y0);
    this.at.width = this.at.height = side;
    this.at.x = Math.min(Math.max(this.at.x, x0), x1 - side);
    this.at.y = Math.min(Math.max(this.at.y, y0), y1 - side);
  }

  #move(right, down) {
    const [dx, dy] = this.#turned(right, down);
    this.at.x += dx;
    this.at.y += dy;
    this.#moved();
  }

  #moved() {
    this.#inside();
    this.#draw();
    this.changed();
  }

  #corner(right, up) {
    const [w, hgt] = this.#seenSize;
    const [left, top, width, height] = this.#seen();
    const wantedLeft = right ? w - MARGIN - width * w : MARGIN;
    const wantedTop = up ? MARGIN : hgt - MARGIN - height * hgt;
    this.#move(wantedLeft - left * w, wantedTop - top * hgt);
  }

  #key(event) {
    const step = event.shiftKey ? STRIDE : STEP;
    const moves = { ArrowLeft: [-step, 0], ArrowRight: [step, 0], ArrowUp: [0, -step], ArrowDown: [0, step] };
    if (moves[event.key]) this.#move(...moves[event.key]);
    else if (event.key === "PageDown") this.show(this.at.page + 1);
    else if (event.key === "PageUp") this.show(this.at.page - 1);
    else if (event.key === "+" || event.key === "=" || event.key === "-") {
      const side = this.at.width + (event.key === "-" ? -STEP * 2 : STEP * 2);
      this.at.width = this.at.height = Math.min(Math.max(side, SIDE_MIN), SIDE_MAX);
      this.#moved();
    } else return;
    event.preventDefault();
  }

  #scale() {
    return this.#seenSize[0] / this.canvas.clientWidth;
  }

  #grab(event) {
    event.preventDefault();
    event.stopPropagation();
    this.stamp.focus();
    this.stamp.setPointerCapture(event.pointerId);
    let [x, y] = [event.clientX, event.clientY];
    const move = (next) => {
      const scale = this.#scale();
      this.#move((next.clientX - x) * scale, (next.clientY - y) * scale);
      [x, y] = [next.clientX, next.clientY];
    };
    const end = () => this.stamp.removeEventListener("pointermove", move);
    this.stamp.addEventListener("pointermove", move);
    this.stamp.addEventListener("pointerup", end, { once: true });
    this.stamp.addEventListener("pointercancel", end, { once: true });
  }

  /** A click beside the box brings it there. */
  #jump(event) {
    const frame = this.stamp.getBoundingClientRect();
    const scale = this.#scale();
    this.#move((event.clientX - frame.left - frame.width / 2) * scale, (event.clientY - frame.top - frame.height / 2) * scale);
    this.stamp.focus();
  }
}

const round = (value) => Math.round(value * 100) / 100;
