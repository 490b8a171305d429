// The form at the counter. Enter goes to the next empty field, and sends when none is left: as a scanner does it.
// What is typed is kept as it is typed, with the key under which it will be sent, however often the page is left.
import { Problem, ruleWords, upload } from "./api.js";
import * as db from "./db.js";
import { h, icon, kept } from "./dom.js";
import { dateHint, Fields, ruled } from "./fields.js";
import { Chooser, Placing } from "./placing.js";
import { Aside, Receipt } from "./receipt.js";
import * as rules from "./rules.js";
import { Twice } from "./twice.js";
import { count, t } from "./words.js";

/** Fields that stay from one order to the next. */
const STAY = ["document.type_code", "document.date", "taxpayer.identity_type"];
/** A second click of one double click, on a form that was just sent. */
const DOUBLE_MS = 800;
const KEEP_MS = 150;
const UPLOAD_AGAIN_MS = 5000;

export class Counter {
  #outbox;
  #fields = new Fields();
  #kind = "purchase";
  #draft;
  #key = db.randomKey();
  #paper = null; // {name, pdf?, id?, pages?}
  #twice;
  #sending = Promise.resolve(); // One order after the other, in the order of their Enter.
  #sentAt = 0;
  #day = ""; // The day that the form was dated with by itself.
  #keepTimer = 0;
  #uploadTimer = 0;

  constructor(outbox) {
    this.#outbox = outbox;
    this.placing = new Placing(() => this.#keep());
    this.chooser = new Chooser((file) => this.takePdf(file));
    this.message = h("div", { role: "alert" });
    this.unkept = h("div", { role: "status" });
    this.aside = new Aside();
    this.receipt = new Receipt(outbox, (key) => this.#refused(key));
    this.#twice = new Twice(outbox);
    this.element = this.#build();
    addEventListener("online", () => this.#upload());
    addEventListener("session-back", () => this.#upload());
  }

  // ---- the form

  #build() {
    const f = this.#fields;
    const kind = (name, hotkey) => h("label", {},
      h("input", { type: "radio", name: "kind", value: name, checked: name === this.#kind, on: { change: () => this.setKind(name) } }),
      h("span", {}, t(`kind.${name}.do`), h("kbd", {}, hotkey)));
    this.kinds = h("fieldset.segments", {}, h("legend.unseen", {}, t("form.kind")), kind("purchase", "F2"), kind("affix", "F4"));
    this.affix = h("div.affix", { hidden: true }, this.chooser.element, this.placing.element);
    const identityHint = (value) => {
      const digits = rules.tidyIdentity(value).length;
      return f.paths.includes("taxpayer.identity_type") && f.get("taxpayer.identity_type") === "KTP" && digits > 0 && digits !== 16 ? t("form.digits", { n: count(digits) }) : "";
    };
    const deadlineHint = (value) => (value.trim() === "" ? t("form.deadline.hint") : dateHint(value));
    const types = h("div.pair.narrow-first", {},
      f.select("taxpayer.identity_type", { label: t("field.identity_type"), options: rules.IDENTITY_TYPES.map((name) => [name, t(`identity.${name}`)]) }),
      f.text("taxpayer.identity_number", { label: t("field.identity_number"), hint: identityHint, inputmode: "text", required: true }));
    this.more = h("details.more", {}, h("summary", {}, t("form.more")),
      f.text("document.filename", { label: t("field.filename"), hint: t("form.filename.hint") }),
      h("div.pair", {},
        f.text("reference", { label: t("field.reference") }),
        f.text("deadline", { label: t("field.deadline"), hint: deadlineHint })));
    this.source = h("div.pair", { hidden: true },
      f.text("serial_number", { label: t("field.serial"), hint: t("form.serial.hint") }),
      f.text("purchase_order_id", { label: t("field.purchase"), hint: t("form.purchase.hint") }));
    this.more.append(this.source);
    this.send = h("button.primary", { type: "submit" }, t("form.send"), h("kbd", {}, "F9"));
    this.form = h("form", { novalidate: true, autocomplete: "off", "aria-labelledby": "form-title", on: {
      submit: (event) => { event.preventDefault(); this.submit(); },
      input: () => this.#keep(),
      focusin: () => this.#date(),
      keydown: (event) => this.#enter(event),
    } },
      this.aside.element, this.unkept, this.message,
      h("fieldset", {}, h("legend", {}, t("form.taxpayer")), types, f.text("taxpayer.name", { label: t("field.name"), required: true, autocapitalize: "words" })),
      h("fieldset", {}, h("legend", {}, t("form.document")),
        h("div.pair", {},
          f.text("document.number", { label: t("field.number"), required: true }),
          f.text("document.date", { label: t("field.date"), hint: dateHint, required: true, inputmode: "numeric" })),
        f.text("document.type_code", { label: t("field.type_code"), hint: t("form.type.hint"), required: true }), this.more),
      h("div.buttons.send", {}, this.send, h("button.plain", { type: "button", on: { click: () => this.clear() } }, t("form.clear")), h("span.small.soft", {}, t("form.enter"))),
      this.receipt.element);
    this.#reset();
    return h("section.card.counter", { "aria-labelledby": "form-title" },
      h("header", {}, h("h1", { id: "form-title" }, t("form.title")), this.kinds),
      h("div.inside.halves", {}, this.affix, this.form));
  }

  setKind(kind) {
    this.#kind = kind;
    for (const input of this.kinds.querySelectorAll("input")) input.checked = input.value === kind;
    this.affix.hidden = this.source.hidden = kind !== "affix";
    this.element?.classList.toggle("with-paper", kind === "affix");
    document.querySelector("main")?.classList.toggle("with-paper", kind === "affix");
    this.#keep();
  }

  focus() {
    const first = this.#kind === "affix" && this.#paper === null ? this.chooser : this.#firstEmpty();
    (first ?? this.send).focus();
  }

  #firstEmpty(after = null) {
    const needed = ["taxpayer.identity_number", "taxpayer.name", "document.number", "document.date", "document.type_code"].map((path) => this.#fields.input(path));
    const from = after === null ? 0 : needed.indexOf(after) + 1;
    return [...needed.slice(from), ...needed.slice(0, from)].find((input) => input !== after && input.value.trim() === "") ?? null;
  }

  #enter(event) {
    if (event.key !== "Enter" || event.isComposing || !(event.target instanceof HTMLInputElement) || event.target.type !== "text") return;
    event.preventDefault();
    if (event.repeat) return;
    if (event.ctrlKey || event.metaKey) return this.submit();
    const next = event.target.value.trim() === "" ? null : this.#firstEmpty(event.target);
    if (next) next.focus();
    else this.submit();
  }

  // ---- the paper

  async takePdf(file) {
    this.#paper = { name: file.name, pdf: file };
    if (this.#kind !== "affix") this.setKind("affix");
    this.#fields.set("document.filename", file.name);
    this.#showPaper(t("pdf.sending"));
    await this.#keepNow();
    await this.#upload();
  }

  async #upload() {
    clearTimeout(this.#uploadTimer);
    const paper = this.#paper;
    if (paper === null || paper.id) return;
    try {
      const made = await upload(paper.pdf);
      if (this.#paper !== paper) return;
      this.#paper = { name: paper.name, id: made.id, pages: made.pages };
      this.#showPaper(t("pdf.pages", { n: count(made.pages) }));
      this.#keep();
      await this.placing.open(made.id, made.pages);
    } catch (error) {
      if (this.#paper !== paper) return;
      if (error instanceof Problem && !error.passing && error.status !== 401) {
        this.#paper = null;
        if (this.#fields.get("document.filename") === paper.name) this.#fields.set("document.filename", "");
        this.placing.blank("");
        this.#showPaper(`${paper.name}: ${error.words}`, true);
        this.#keep();
        return;
      }
      this.#showPaper(t("pdf.waiting"));
      this.placing.blank(t("place.blank"));
      this.#uploadTimer = setTimeout(() => this.#upload(), UPLOAD_AGAIN_MS);
    }
  }

  #showPaper(note, wrong = false) {
    this.chooser.show(this.#paper?.name ?? "", note, wrong);
  }

  // ---- what is kept

  /** Take up what was being typed when the page was left, or begin anew. */
  async restore() {
    let drafts = [];
    try {
      drafts = await db.all("drafts");
    } catch (error) {
      this.#showUnkept(error);
    }
    for (const draft of drafts) {
      if (draft.office === this.office && (await db.hold(`antrean-draft-${draft.id}`))) return this.#takeUp(draft);
    }
    this.#newDraft();
  }

  #takeUp(draft) {
    this.#draft = draft.id;
    this.#key = draft.key;
    for (const [path, value] of Object.entries(draft.values)) if (this.#fields.input(path)) this.#fields.set(path, value);
    this.#paper = draft.paper;
    if (draft.placement) this.placing.value = draft.placement;
    this.#unfold();
    this.setKind(draft.kind);
    if (this.#paper?.id) {
      this.#showPaper(t("pdf.pages", { n: count(this.#paper.pages) }));
      this.placing.open(this.#paper.id, this.#paper.pages);
    } else if (this.#paper) {
      this.#showPaper(t("pdf.waiting"));
      this.#upload();
    }
  }

  /** What is filled in is seen. */
  #unfold() {
    this.more.open = ["document.filename", "reference", "deadline", "serial_number", "purchase_order_id"].some((path) => this.#fields.get(path) !== "");
  }

  #newDraft() {
    this.#draft = db.randomKey();
    db.hold(`antrean-draft-${this.#draft}`);
  }

  #keep() {
    clearTimeout(this.#keepTimer);
    this.#keepTimer = setTimeout(() => this.#keepNow(), KEEP_MS);
  }

  #typed() {
    const values = Object.fromEntries(this.#fields.paths.map((path) => [path, this.#fields.get(path)]));
    return { id: this.#draft, office: this.office, key: this.#key, kind: this.#kind, values, paper: this.#paper, placement: this.placing.value };
  }

  /** Keep what is typed; false where this computer does not. */
  async #keepNow() {
    clearTimeout(this.#keepTimer);
    if (this.#draft === undefined) return true;
    try {
      await (this.#isFresh() ? db.remove("drafts", this.#draft) : db.put("drafts", this.#typed()));
      this.#showUnkept(null);
      return true;
    } catch (error) {
      this.#showUnkept(error);
      return false;
    }
  }

  #showUnkept(error) {
    if (error !== null && !(error instanceof db.NotKept)) throw error;
    const wanted = error === null ? 0 : 1;
    if (this.unkept.children.length === wanted) return; // Not read out again at every key.
    this.unkept.replaceChildren(...(wanted ? [h("div.notice.held", {}, icon("warn"), h("p", {}, t("kept.not.draft")))] : []));
  }

  /** Signed out: nothing of this form is kept any more. */
  leave() {
    clearTimeout(this.#keepTimer);
    this.#draft = undefined;
  }

  #reset() {
    for (const path of this.#fields.paths) if (!STAY.includes(path)) this.#fields.set(path, "");
    if (this.#fields.get("document.date").trim() === "") this.#fields.set("document.date", this.#day);
    if (this.#fields.get("document.type_code").trim() === "") this.#fields.set("document.type_code", kept.get("type") ?? "4b");
    this.#paper = null;
    this.#key = db.randomKey();
    this.#showPaper("");
    this.placing.blank("");
    this.more.open = false;
    this.message.replaceChildren();
    this.#date();
  }

  /** A page left open over night must not date the next day's papers with the day before; what a clerk wrote stays. */
  #date() {
    const today = rules.shownDate(rules.localToday());
    if (today === this.#day || !this.#isFresh()) return;
    const input = this.#fields.input("document.date");
    if (input.value.trim() === this.#day) this.#fields.set("document.date", today);
    if (input === document.activeElement) input.select(); // What is typed there replaces it.
    this.#day = today;
  }

  clear() {
    this.#reset();
    this.#keepNow();
    this.focus();
  }

  /** Put an order's data into the form, never over what is being typed; whether it was free. */
  #fill(body, { pdf, pages }) {
    if (!this.#isFresh()) {
      this.#say(t("form.taken"));
      this.message.scrollIntoView({ block: "nearest" });
      return false;
    }
    this.#reset();
    for (const [path, value] of Object.entries(rules.typedOf(body))) this.#fields.set(path, value ?? "");
    this.#unfold();
    this.setKind(body.kind);
    if (body.placement) this.placing.value = body.placement;
    if (pdf) this.takePdf(new File([pdf], body.document.filename, { type: "application/pdf" }));
    else if (body.document_id) {
      this.#paper = { name: body.document.filename, id: body.document_id, pages: pages ?? body.placement.page };
      this.#showPaper(t("pdf.pages", { n: count(this.#paper.pages) }));
      this.placing.open(this.#paper.id, this.#paper.pages);
    }
    return true;
  }

  /** The data of an order that the central server refused, for a new one; what it hides is typed again. */
  reuse(order) {
    // An SN that came from a purchase is on record with it, and the form takes one of the two.
    const serial = order.purchase_order_id ? null : order.serial_number;
    if (!this.#fill({ ...order, serial_number: serial }, {})) return;
    this.#twice.forget(order.id);
    this.#keep();
    if (rules.isMasked(order.taxpayer)) this.#say(t("refused.masked"), "held");
    this.focus();
  }

  /** An order that the gateway refused, back in the form to be corrected. */
  async fix(entry) {
    if (!this.#fill(entry.body, entry)) return;
    if (await this.#keepNow()) await this.#outbox.drop(entry.key);
    this.#refusal(entry.problem);
  }

  // ---- sending

  #faults(body) {
    const written = { date: this.#fields.get("document.date"), deadline: this.#fields.get("deadline") };
    return Object.entries(rules.orderFaults(body, written)).map(([path, rule]) => [path, ruled(rule)]);
  }

  /** Take the order out of the form at once: what is typed from now on, by hand or scanner, belongs to the next. */
  submit() {
    if (Date.now() - this.#sentAt < DOUBLE_MS && this.#isFresh()) return;
    const body = rules.orderOf((path) => this.#fields.get(path), { kind: this.#kind, placement: this.placing.value, documentId: this.#paper?.id });
    const faults = this.#faults(body), unchosen = this.#kind === "affix" && this.#paper === null;
    if (faults.length > 0 || unchosen) {
      this.#say("");
      this.#fields.show(faults);
      if (unchosen) {
        this.#showPaper(t("pdf.missing"), true);
        this.chooser.focus();
      }
      return;
    }
    this.#fields.clearAll();
    this.#say("");
    this.#keepNow();
    const taken = { body, draft: this.#typed(), at: document.activeElement };
    kept.set("type", body.document.type_code);
    this.#reset();
    this.#newDraft();
    this.#sentAt = Date.now();
    this.focus();
    this.#sending = this.#sending.catch(() => {}).then(() => this.#place(taken));
  }

  async #place(taken) {
    const { body, draft } = taken;
    const pdf = body.kind === "affix" && !draft.paper.id ? draft.paper.pdf : null;
    const mark = await this.#twice.mark(body);
    if (!(await this.#twice.isMeant(mark))) return this.#putBack(taken);
    try {
      // The draft is gone in the step that keeps the order: a reload finds the one or the other, never both.
      await this.#outbox.add([{ key: draft.key, body, pdf, pages: draft.paper?.pages }], draft.id);
    } catch (error) {
      if (!(error instanceof db.NotKept)) throw error;
      return this.#putBack(taken, t("kept.not"));
    }
    this.#twice.note(mark, draft.key);
    this.receipt.expect(draft.key);
  }

  /** What was not sent goes back into the form, or beside it where the next order is begun. */
  #putBack({ body, draft, at }, why = "") {
    if (this.#isFresh()) {
      this.#takeUp(draft);
      this.#say(why);
      return at.focus();
    }
    const takeUp = () => {
      const free = this.#isFresh();
      if (free) this.#takeUp(draft);
      else this.#say(t("form.taken"));
      return free;
    };
    this.aside.add(body, why || t("kept.aside"), { takeUp, drop: () => db.remove("drafts", draft.id).catch(() => {}) });
  }

  /** The order just sent was refused: back into the form where nothing else is in it, else it waits in the list. */
  async #refused(key) {
    const entry = (await this.#outbox.entries()).find((kept) => kept.key === key);
    if (entry === undefined) return this.receipt.clear(); // Another tab has it in hand.
    if (!this.#isFresh()) return this.receipt.refused();
    this.receipt.clear();
    await this.fix(entry);
  }

  #isFresh() {
    return this.#paper === null && this.#fields.paths.every((path) => STAY.includes(path) || this.#fields.get(path).trim() === "");
  }

  #refusal(problem) {
    const errors = problem.errors.map((error) => [error.field, ruleWords(error)]);
    const strangers = this.#fields.show(errors);
    const general = errors.length === 0 || problem.kind !== "validation" ? [t(`problem.${problem.kind}`)] : [];
    this.#say([...general, ...strangers].join(" ") || t("form.look"));
  }

  #say(words, tone = "bad") {
    this.message.replaceChildren(...(words ? [h(`div.notice.${tone}`, {}, icon("warn"), h("p", {}, words))] : []));
  }
}
