/** Light, dark or as the system; and colours of the style sheet for what is drawn on canvases. */

import { $, say } from "./dom.js";

const KEY = "gssm-theme";
const NEXT = { auto: "light", light: "dark", dark: "auto" };
const NAMES = { auto: "as the system", light: "light", dark: "dark" };
const listeners = [];

/** Call after each change of theme. @param {() => void} run */
export const onTheme = (run) => listeners.push(run);

/** A colour of the style sheet (a custom property) as rgb(…). @param {string} name */
export function color(name) {
  probe.style.color = `var(${name})`;
  return getComputedStyle(probe).color;
}

const probe = document.createElement("i");
probe.hidden = true;
document.documentElement.append(probe);

const current = () => document.documentElement.dataset.theme ?? "auto";

function choose(theme) {
  if (theme === "auto") delete document.documentElement.dataset.theme;
  else document.documentElement.dataset.theme = theme;
  try {
    localStorage.setItem(KEY, theme);
  } catch {
    // Storage is forbidden: the choice lasts as long as the page.
  }
  name();
  for (const run of listeners) run();
}

function name() {
  const label = `Theme: ${NAMES[current()]}`;
  $("theme").setAttribute("aria-label", label);
  $("theme").title = label;
}

export function startTheme() {
  name();
  $("theme").addEventListener("click", () => {
    choose(NEXT[current()]);
    say(`Theme: ${NAMES[current()]}`);
  });
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () =>
    listeners.forEach((run) => run()),
  );
}
