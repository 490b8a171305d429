"use strict";

const POLL_MS = 1000;

const HELP = {
  down: "503 untuk setiap panggilan / 503 for every call",
  refuse: "sambungan langsung diputus (RST) / connection reset",
  hang: "tidak menjawab sampai dicabut / never answers until lifted",
  slow: "jawaban terlambat / answers late",
  error: "status HTTP; commit: dikerjakan dulu / carried out first",
  lost_answer: "dikerjakan (SN terjual), jawaban hilang / sold, answer lost",
  late_answer: "dikerjakan, jawaban terlambat / sold, answer late",
  garbage: "HTTP 200 berisi HTML / HTTP 200 with HTML",
  half_json: "HTTP 200, JSON terpotong / cut JSON",
  quota_end: "kuota habis: 93 / quota used up",
  token_end: "semua token mati sekarang / all tokens die now",
  capacity: "batas beban; collapse: roboh bila didorong 20 % lebih / falls over when pushed",
  one_slot: "satu per satu, yang lain ditolak / one at a time",
  retry_after: "429 dengan Retry-After",
  sn_unusable: "stempel dijawab 97 atau 92",
  reject: "generate ditolak / generate rejected",
  list_lag: "daftar SN tertinggal / SN list lags",
  balance_drift: "saldo berkurang tanpa penjualan / balance drops without a sale",
};

const BOOKS = [
  ["quota_left", "Sisa kuota", "left"],
  ["sold", "Terjual", "sold"],
  ["stamped", "Dibubuhkan", "stamped"],
  ["stamps_repeated", "Dibubuhkan ulang, berkas sama", "same file again"],
  ["sold_twice", "Berkas yang terjual dua kali", "sold twice"],
  ["seeded", "SN tanpa pesanan", "without order"],
  ["drift", "Selisih saldo buatan", "drift"],
];

const byId = (id) => document.getElementById(id);
let kinds = {};
let callKinds = [];
let drawnFaults = "";
let drawnModes = "";

function element(tag, text, attributes = {}) {
  const made = document.createElement(tag);
  if (text !== null) made.textContent = text;
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
  return made;
}

function english(text) {
  return element("span", text, { lang: "en" });
}

async function ask(method, path, body) {
  const options = { method };
  if (body !== undefined) {
    options.headers = { "Content-Type": "application/json" };
    options.body = JSON.stringify(body);
  }
  const response = await fetch(path, options);
  const answer = await response.json();
  if (!response.ok) throw new Error(answer.error || `HTTP ${response.status}`);
  return answer;
}

async function act(method, path, body) {
  byId("fault-error").textContent = "";
  try {
    await ask(method, path, body);
  } catch (error) {
    byId("fault-error").textContent = error.message;
  }
  await refresh();
}

function showBooks(state) {
  const rows = [];
  for (const [name, text, short] of BOOKS) {
    const term = element("dt", `${text} `);
    term.append(english(short));
    const value = element("dd", state[name].toLocaleString("id-ID"));
    if (name === "sold_twice" && state[name] > 0) value.className = "bad";
    rows.push(term, value);
  }
  byId("books").replaceChildren(...rows);
  if (byId("quota").value === "") byId("quota").value = state.quota_left;
}

function showOutage(outage) {
  const text = outage.on
    ? `MATI (${outage.mode}) sejak ${new Date(outage.since * 1000).toLocaleTimeString("id-ID")} / down`
    : "Berjalan / up";
  const line = byId("outage-state");
  if (line.textContent !== text) line.textContent = text;
  line.className = outage.on ? "bad" : "good";
}

function showFaults(faults) {
  const drawing = JSON.stringify(faults);
  if (drawing === drawnFaults) return;
  drawnFaults = drawing;
  const fixed = new Set(["id", "kind", "scope", "rate", "duration_s", "since", "expires_at", "hits"]);
  const focused = document.activeElement?.dataset?.fault;
  const rows = faults.map((fault) => {
    const row = document.createElement("tr");
    const scope = fault.scope === "*" ? "semua / all" : fault.scope.join(", ");
    const values = Object.entries(fault)
      .filter(([name, value]) => !fixed.has(name) && value !== null)
      .map(([name, value]) => `${name}=${value}`);
    if (fault.expires_at !== null) {
      values.push(`sampai ${new Date(fault.expires_at * 1000).toLocaleTimeString("id-ID")}`);
    }
    row.append(
      element("th", fault.kind, { scope: "row" }),
      element("td", scope),
      element("td", String(fault.rate), { class: "number" }),
      element("td", values.join(", ")),
      element("td", String(fault.hits), { class: "number" }),
    );
    const lift = element("button", "Cabut ", { type: "button", "data-fault": fault.id });
    lift.append(english("Lift"), element("span", ` ${fault.kind}`, { class: "hidden" }));
    lift.addEventListener("click", () => act("DELETE", `/_sim/faults/${fault.id}`));
    const cell = document.createElement("td");
    cell.append(lift);
    row.append(cell);
    return row;
  });
  if (rows.length === 0) {
    const row = document.createElement("tr");
    row.append(element("td", "Tidak ada / none", { colspan: "6" }));
    rows.push(row);
  }
  byId("faults").replaceChildren(...rows);
  if (focused) document.querySelector(`[data-fault="${focused}"]`)?.focus();
}

function showCalls(calls) {
  const columns = ["total", "since_reset", "during_outage", "in_flight", "max_in_flight"];
  const rows = callKinds.map((kind) => {
    const row = document.createElement("tr");
    row.append(element("th", kind, { scope: "row" }));
    for (const column of columns) {
      row.append(element("td", calls[column][kind].toLocaleString("id-ID"), { class: "number" }));
    }
    return row;
  });
  byId("calls").replaceChildren(...rows);
}

function showModes(modes) {
  const drawing = JSON.stringify(modes);
  if (drawing === drawnModes) return;
  drawnModes = drawing;
  for (const [name, value] of Object.entries(modes)) byId(`mode-${name}`).value = value;
}

async function refresh() {
  const line = byId("connection");
  let text = "Terhubung / connected";
  try {
    const state = await ask("GET", "/_sim/state");
    showBooks(state);
    showOutage(state.outage);
    showFaults(state.faults);
    showCalls(state.calls);
    showModes(state.modes);
    line.className = "good";
  } catch {
    text = "Simulator tidak menjawab / not reachable";
    line.className = "bad";
  }
  if (line.textContent !== text) line.textContent = text;
}

function showKind() {
  const name = byId("kind").value;
  const kind = kinds[name];
  byId("kind-help").textContent = HELP[name] ?? "";
  const fields = [];
  for (const [param, about] of Object.entries(kind.params)) {
    const id = `param-${param}`;
    let field;
    if (about.choices.length > 0) {
      field = element("select", null, { id });
      for (const choice of about.choices) field.append(element("option", choice, { value: choice }));
      field.value = about.default;
    } else if (about.type === "boolean") {
      field = element("input", null, { id, type: "checkbox" });
      field.checked = about.default;
    } else {
      const number = about.type !== "text";
      field = element("input", null, { id, type: number ? "number" : "text" });
      if (number) field.step = about.type === "integer" ? "1" : "any";
      field.value = about.default ?? "";
    }
    field.dataset.type = about.type;
    fields.push(element("label", param, { for: id }), field);
  }
  byId("params").replaceChildren(...fields);
  const all = kind.scope.includes("*");
  for (const box of byId("scope").querySelectorAll("input")) box.checked = all || kind.scope.includes(box.value);
}

function readFault() {
  const fault = { kind: byId("kind").value, rate: Number(byId("rate").value) };
  if (byId("duration").value !== "") fault.duration_s = Number(byId("duration").value);
  const boxes = [...byId("scope").querySelectorAll("input")];
  const chosen = boxes.filter((box) => box.checked).map((box) => box.value);
  fault.scope = chosen.length === boxes.length ? "*" : chosen;
  for (const field of byId("params").querySelectorAll("input, select")) {
    const name = field.id.slice("param-".length);
    if (field.dataset.type === "boolean") fault[name] = field.checked;
    else if (field.value !== "") fault[name] = field.dataset.type === "text" ? field.value : Number(field.value);
  }
  return fault;
}

async function start() {
  const about = await ask("GET", "/_sim/fault-kinds");
  kinds = about.kinds;
  callKinds = about.calls;
  byId("kind").replaceChildren(...Object.keys(kinds).map((name) => element("option", name, { value: name })));
  byId("scope").replaceChildren(
    ...callKinds.map((name) => {
      const label = element("label", null);
      label.append(element("input", null, { type: "checkbox", value: name }), ` ${name}`);
      return label;
    }),
  );
  const shapes = await ask("GET", "/_sim/modes");
  for (const [name, choices] of Object.entries(shapes.choices)) {
    const select = element("select", null, { id: `mode-${name}` });
    for (const choice of choices) select.append(element("option", choice, { value: choice }));
    select.addEventListener("change", () => act("PUT", "/_sim/modes", { [name]: select.value }));
    byId("modes").append(element("label", name, { for: `mode-${name}` }), select);
  }
  byId("kind").addEventListener("change", showKind);
  showKind();
  byId("fault-form").addEventListener("submit", (event) => {
    event.preventDefault();
    act("POST", "/_sim/faults", readFault());
  });
  byId("quota-form").addEventListener("submit", (event) => {
    event.preventDefault();
    act("PUT", "/_sim/quota", { quota: Number(byId("quota").value) });
  });
  byId("outage-on").addEventListener("click", () =>
    act("PUT", "/_sim/outage", { on: true, mode: byId("outage-mode").value }),
  );
  byId("outage-off").addEventListener("click", () => act("DELETE", "/_sim/outage"));
  byId("lift-all").addEventListener("click", () => act("DELETE", "/_sim/faults"));
  byId("seed-serial").addEventListener("click", () => act("POST", "/_sim/seed-serial", {}));
  byId("reset-counters").addEventListener("click", () => act("POST", "/_sim/reset", {}));
  for (;;) {
    await refresh();
    await new Promise((resolve) => setTimeout(resolve, POLL_MS));
  }
}

start();
