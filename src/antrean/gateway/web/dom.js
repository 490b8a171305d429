// Elements without strings of HTML: what came from outside can only ever be text.

/** `h("p.soft", {title: "…", on: {click}}, "text", child)`. */
export function h(what, props = {}, ...children) {
  const [tag, ...classes] = what.split(".");
  const made = document.createElement(tag);
  if (classes.length) made.className = classes.join(" ");
  for (const [name, value] of Object.entries(props)) {
    if (name === "on") {
      for (const [event, listener] of Object.entries(value)) made.addEventListener(event, listener);
    } else if (name === "data") {
      Object.assign(made.dataset, value);
    } else if (value === true) {
      made.setAttribute(name, "");
    } else if (value !== false && value !== null && value !== undefined) {
      made.setAttribute(name, value);
    }
  }
  made.append(...children.flat().filter((child) => child !== null && child !== undefined && child !== false));
  return made;
}

/** A table's head: for each column its words, or `{kind, words}` with the class that its cells have. */
export function tableHead(...columns) {
  const cells = columns.map((column) => {
    const { kind, words } = column.kind ? column : { kind: null, words: column };
    return h(kind ? `th.${kind}` : "th", { scope: "col" }, words);
  });
  return h("thead", {}, h("tr", {}, ...cells));
}

export const $ = (selector, root = document) => root.querySelector(selector);

const SVG = "http://www.w3.org/2000/svg";

export function svg(tag, attributes = {}, ...children) {
  const made = document.createElementNS(SVG, tag);
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
  made.append(...children);
  return made;
}

const PATHS = {
  done: "M3 8.5l3.2 3.2L13 5",
  wait: "M8 4.2V8l2.6 1.6M8 1.8a6.2 6.2 0 1 0 0 12.4A6.2 6.2 0 0 0 8 1.8Z",
  work: "M13.5 8A5.5 5.5 0 1 1 11 3.4M13.5 2v3.5H10",
  hold: "M5.5 3.5v9M10.5 3.5v9",
  ask: "M5.6 6a2.4 2.4 0 1 1 3.6 2.1c-.8.5-1.2.9-1.2 1.9M8 12.8v.2",
  stop: "M4 4l8 8M12 4l-8 8",
  person: "M8 8.2a2.9 2.9 0 1 0 0-5.8 2.9 2.9 0 0 0 0 5.8ZM2.8 14a5.2 5.2 0 0 1 10.4 0",
  warn: "M8 5.5v3.6M8 11.4v.2M8 1.8L15 14H1L8 1.8Z",
  send: "M8 13V3M4 7l4-4 4 4",
  info: "M8 7.2v4M8 4.6v.2M8 1.8a6.2 6.2 0 1 0 0 12.4A6.2 6.2 0 0 0 8 1.8Z",
};

/** A picture that stands beside words, never instead of them. */
export function icon(name) {
  return svg(
    "svg",
    { viewBox: "0 0 16 16", "aria-hidden": "true", fill: "none", stroke: "currentColor", "stroke-width": "1.8", "stroke-linecap": "round", "stroke-linejoin": "round" },
    svg("path", { d: PATHS[name] }),
  );
}

/** Change a text only where it differs, so that nothing is read out twice. */
export function setText(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

/** Put children in order without touching those that stand where they should: focus and reading are not disturbed. */
export function place(parent, wanted) {
  const keep = new Set(wanted);
  for (const child of [...parent.children]) if (!keep.has(child)) child.remove();
  wanted.forEach((element, index) => {
    if (parent.children[index] !== element) parent.insertBefore(element, parent.children[index] ?? null);
  });
}

export const kept = {
  get(name) {
    try {
      return localStorage.getItem(`antrean.${name}`);
    } catch {
      return null;
    }
  },
  set(name, value) {
    try {
      if (value === null) localStorage.removeItem(`antrean.${name}`);
      else localStorage.setItem(`antrean.${name}`, value);
    } catch {
      // Without storage the choice holds until the page is left.
    }
  },
};
