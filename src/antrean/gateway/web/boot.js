// Before the first paint: the reader's own choice of language and of light or dark. Runs as a plain script.
"use strict";
(() => {
  const root = document.documentElement;
  const kept = (name) => {
    try {
      return localStorage.getItem(`antrean.${name}`);
    } catch {
      return null; // Storage may be forbidden; the page works without.
    }
  };
  if (kept("language") === "en") root.lang = "en";
  const theme = kept("theme");
  if (theme === "light" || theme === "dark") root.dataset.theme = theme;
})();
