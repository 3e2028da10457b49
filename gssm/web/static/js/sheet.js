/** On a phone the panel is a sheet below the map, of three heights. */

import { $ } from "./dom.js";

const HEIGHTS = ["low", "half", "full"];
const TEXTS = { low: "Show the controls", half: "Controls", full: "Controls" };
export const narrow = matchMedia("(max-width: 760px)");

const height = () => document.documentElement.dataset.sheet ?? "low";

export function setSheet(name) {
  document.documentElement.dataset.sheet = name;
  $("grip").setAttribute("aria-expanded", String(name !== "low"));
  $("grip-text").textContent = TEXTS[name];
}

/** Where the result stands: over the map, or on a phone at the top of the sheet. */
function placeResult() {
  const result = $("result");
  if (narrow.matches) $("sections").prepend(result);
  else $("overlay").insertBefore(result, $("legend"));
}

export function startSheet() {
  const grip = $("grip");
  let start = null;
  grip.addEventListener("pointerdown", (event) => {
    start = { y: event.clientY, moved: false };
    grip.setPointerCapture(event.pointerId);
  });
  grip.addEventListener("pointermove", (event) => {
    if (!start || Math.abs(event.clientY - start.y) < 24) return;
    const place = HEIGHTS.indexOf(height()) + (event.clientY < start.y ? 1 : -1);
    setSheet(HEIGHTS[Math.min(2, Math.max(0, place))]);
    start = { y: event.clientY, moved: true };
  });
  grip.addEventListener("click", () => {
    const dragged = start?.moved;
    start = null;
    if (!dragged) setSheet(height() === "low" ? "half" : "low");
  });
  grip.addEventListener("keydown", (event) => {
    const step = { ArrowUp: 1, ArrowDown: -1 }[event.key];
    if (!step) return;
    event.preventDefault();
    setSheet(HEIGHTS[Math.min(2, Math.max(0, HEIGHTS.indexOf(height()) + step))]);
  });
  narrow.addEventListener("change", placeResult);
  placeResult();
  setSheet("low");
}
