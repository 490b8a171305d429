// What stands around every page behind a sign-in: the bar at the top, and the form before there is a session.
import { speakFor } from "./api.js";
import { off } from "./clock.js";
import { $, h, setText } from "./dom.js";
import * as sessions from "./session.js";
import { languageSwitch, themeSwitch } from "./tools.js";
import { span, t } from "./words.js";

function bar(session, page, leaving, left) {
  const link = (href, key) => h("a", { href, "aria-current": page === key ? "page" : false }, t(`nav.${key}`));
  const logo = document.querySelector('link[rel="icon"]').href;
  const bar = h("header.bar", {}, h("a.skip", { href: "#main" }, t("skip")),
    h("a.brand", { href: page === "ops" ? "/ops" : "/" }, h("img", { src: logo, alt: "" }), "Antrean"));
  if (session?.role === "ops") bar.append(h("nav", { "aria-label": t("nav") }, link("/ops", "ops"), link("/", "counter")));
  bar.append(h("span.spread"));
  const tools = h("div.tools", {}, h("span", { id: "line", role: "status" }));
  if (session) tools.append(h("span.small.soft", { id: "who" }, t(`role.${session.role}`), " · ", h("b", {}, session.office)));
  tools.append(languageSwitch(), themeSwitch());
  if (session) {
    tools.append(h("button.plain.compact", { type: "button", id: "sign-out", on: { click: async () => {
      if (leaving && !(await leaving())) return;
      try {
        await sessions.signOut(session);
      } catch (error) {
        return alert(error.words ?? t("problem.unreachable"));
      }
      left();
    } } }, t("login.leave")));
  }
  bar.append(tools);
  return bar;
}

/** A word where this computer's clock is wrong: what it writes elsewhere, on paper too, is wrong with it. */
function clockNotice() {
  const notice = h("p.told.clock.small", { role: "status" });
  const say = () => setText(notice, off() === 0 ? "" : t(off() > 0 ? "clock.ahead" : "clock.behind", { span: span(Math.round(Math.abs(off()) / 60_000) * 60) }));
  addEventListener("clock", say);
  say();
  return notice;
}

/**
 * Draw the page: `render(main, session)` for those whose role is in `roles`; the sign-in form for all others.
 * `leaving()`: whether to sign out; `clear()`: once that is done, here or in another tab.
 */
export function start(page, roles, render, { leaving = null, clear = null } = {}) {
  const session = sessions.current();
  const left = async () => {
    await clear?.();
    location.reload();
  };
  document.title = `${t(`nav.${page}`)} · Antrean`;
  const main = h("main", { id: "main", tabindex: "-1" });
  document.body.replaceChildren(bar(session, page, leaving, left), clockNotice(), main);
  if (session === null) {
    const form = sessions.signInForm(() => location.reload(), { title: t(`login.${page}`), hint: t(`login.${page}.hint`) });
    main.className = "login";
    main.append(h("div.card", {}, form));
    $("#key").focus();
    addEventListener("storage", () => sessions.current() && location.reload()); // Signed in in another tab.
    return;
  }
  speakFor(session);
  sessions.watch(session, left);
  addEventListener("session-ended", () => {
    sessions.forget(session);
    sessions.signInAgain(session);
  });
  if (!roles.includes(session.role)) {
    main.className = "login";
    const [href, key] = session.role === "ops" ? ["/ops", "ops"] : ["/", "counter"];
    main.append(h("div.card", {}, h("div.inside", {},
      h("h1", {}, t(`role.not.${page}`)),
      h("p", {}, t(`role.not.${page}.more`, { role: t(`role.${session.role}`).toLowerCase() })),
      h("p", {}, h("a", { href }, t(`nav.${key}`))))));
    return;
  }
  render(main, session);
}
