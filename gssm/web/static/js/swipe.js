/** Two dates side by side: a second map under the right of a handle. */

import { allDates, inWords } from "./dates.js";
import { $, options, say } from "./dom.js";
import { showPlace } from "./draw.js";
import * as format from "./format.js";
import { applyLayers } from "./layers.js";
import { during, follow } from "./loading.js";
import { createMap, showFootprint, viewOf } from "./map.js";
import { store } from "./state.js";

const KEYS = {
  ArrowLeft: -0.02,
  ArrowDown: -0.02,
  ArrowRight: 0.02,
  ArrowUp: 0.02,
  PageDown: -0.1,
  PageUp: 0.1,
  Home: -1,
  End: 1,
};
let second = null;

/** The date to compare with at first: the one before. */
function other(state) {
  const dates = allDates(state).filter((date) => date.computed);
  const here = dates.findIndex((date) => date.id === state.date);
  return (dates[here - 1] ?? dates[here + 1] ?? dates[0])?.id ?? null;
}

async function open(map) {
  second ??= createMap($("map-b"), viewOf(map), { interactive: false }).then((made) => {
    const track = () => made.jumpTo({ center: map.getCenter(), zoom: map.getZoom() });
    map.on("move", track);
    map.on("resize", () => made.resize());
    follow(made);
    track();
    return made;
  });
  return second;
}

function place(share) {
  $("map-b").style.clipPath = `inset(0 0 0 ${100 * share}%)`;
  $("swipe").style.setProperty("--at", `${100 * share}%`);
  const handle = $("swipe-handle");
  const percent = Math.round(100 * share);
  handle.setAttribute("aria-valuenow", String(percent));
  handle.setAttribute(
    "aria-valuetext",
    `${percent} % of the width: left ${$("swipe-a").textContent}, right ${$("swipe-b").textContent}`,
  );
}

async function show(map, state) {
  const on = Boolean(state.dateB);
  $("compare").checked = on;
  $("compare-row").hidden = !on;
  $("swipe").hidden = !on;
  $("map-b").hidden = !on;
  if (!on) return;
  const label = (id) => (id ? format.stamp(format.timeOf(id)) : "no date");
  $("swipe-a").textContent = label(state.date);
  $("swipe-b").textContent = label(state.dateB);
  place(state.swipe);
  const made = await during(open(map));
  made.resize();
  const now = store.get();
  if (now.detail) showFootprint(made, now.detail);
  showPlace(made, now.place);
  applyLayers(made, now, now.dateB);
}

function choices(state) {
  const dates = allDates(state)
    .filter((date) => date.computed)
    .reverse();
  options(
    $("date-b"),
    dates.map((date) => ({
      value: date.id,
      label: `${format.stamp(format.timeOf(date.time))}, ${format.orbit(date, true)}`,
    })),
    state.dateB,
  );
  $("compare").disabled = dates.length < 2 && !state.dateB;
}

/** The second map if there is one. */
export const secondMap = () => second;

/** @param {any} map */
export function startSwipe(map) {
  store.on(["dates", "period", "dateB", "catalog"], choices);
  store.on(
    ["dateB", "date", "dates", "place", "swipe", "layers", "detail", "colormap", "range"],
    (state) => show(map, state),
  );
  $("compare").addEventListener("change", (event) =>
    store.set({ dateB: event.target.checked ? other(store.get()) : null }),
  );
  $("date-b").addEventListener("change", (event) => {
    store.set({ dateB: event.target.value });
    const date = allDates().find((found) => found.id === event.target.value);
    if (date) say(`Right: ${inWords(date)}`);
  });
  $("compare-swap").addEventListener("click", () => {
    const { date, dateB } = store.get();
    store.set({ date: dateB, dateB: date });
  });
  const handle = $("swipe-handle");
  const to = (share) => store.set({ swipe: Math.min(1, Math.max(0, Number(share.toFixed(3)))) });
  handle.addEventListener("keydown", (event) => {
    if (!(event.key in KEYS)) return;
    event.preventDefault();
    to(store.get().swipe + KEYS[event.key]);
  });
  handle.addEventListener("pointerdown", (event) => {
    event.preventDefault();
    handle.focus({ preventScroll: true });
    handle.setPointerCapture(event.pointerId);
  });
  handle.addEventListener("pointermove", (event) => {
    if (!handle.hasPointerCapture(event.pointerId)) return;
    const box = $("stage").getBoundingClientRect();
    to((event.clientX - box.left) / box.width);
  });
}
