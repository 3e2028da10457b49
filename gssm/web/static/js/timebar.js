/** All dates along a line of time: a slider below the map. */

import { allDates, choose, chosen, inWords, step } from "./dates.js";
import { $, h, s } from "./dom.js";
import * as format from "./format.js";
import { store } from "./state.js";
import { ticks } from "./ticks.js";

const MARGIN = 12;
const KEYS = {
  ArrowLeft: -1,
  ArrowDown: -1,
  ArrowRight: 1,
  ArrowUp: 1,
  PageDown: -10,
  PageUp: 10,
  Home: -1e9,
  End: 1e9,
};

/** First and last time of the line. */
function span(dates) {
  const times = dates.map((date) => Date.parse(date.time));
  const [first, last] = [Math.min(...times), Math.max(...times)];
  const pad = Math.max((last - first) * 0.02, 86_400_000);
  return [first - pad, last + pad];
}

function draw(state) {
  const strip = $("strip");
  const dates = allDates(state);
  const [width, high] = [strip.clientWidth, strip.clientHeight];
  strip.replaceChildren();
  if (!dates.length || width < 40) return;
  const [first, last] = span(dates);
  const x = (time) => MARGIN + ((time - first) / (last - first)) * (width - 2 * MARGIN);
  const base = high - 17;
  const marks = (computed) =>
    dates
      .filter((date) => date.computed === computed)
      .map((date) => `M${x(Date.parse(date.time)).toFixed(1)} ${base}v${computed ? -13 : -8}`)
      .join("");
  const svg = s(
    "svg",
    { width, height: high, "aria-hidden": "true" },
    s("path", { class: "axis", d: `M${MARGIN} ${base + 0.5}H${width - MARGIN}` }),
    ...ticks(first, last, width).map(([time, text]) =>
      s(
        "g",
        {},
        s("path", { class: "axis", d: `M${x(time).toFixed(1)} ${base}v4` }),
        s("text", { x: x(time).toFixed(1), y: high - 3, "text-anchor": "middle" }, text),
      ),
    ),
    s("path", { class: "lacking", d: marks(false) }),
    s("path", { class: "computed", d: marks(true) }),
  );
  const mark = (id, name) => {
    const date = dates.find((found) => found.id === id);
    if (!date) return;
    const at = x(Date.parse(date.time)).toFixed(1);
    svg.append(
      s("path", { class: `mark ${name}`, d: `M${at} ${base + 3}V3` }),
      s("circle", { class: `mark ${name}`, cx: at, cy: 5, r: 4 }),
    );
  };
  if (state.dateB) mark(state.dateB, "b");
  mark(state.date, "a");
  strip.append(svg);
}

function describe(state) {
  const dates = allDates(state);
  const place = dates.findIndex((date) => date.id === state.date);
  const date = chosen(state);
  const strip = $("strip");
  strip.setAttribute("aria-valuemax", String(Math.max(0, dates.length - 1)));
  strip.setAttribute("aria-valuenow", String(Math.max(0, place)));
  strip.setAttribute("aria-valuetext", date ? inWords(date) : "no date");
  $("date-before").disabled = place <= 0;
  $("date-after").disabled = place < 0 || place >= dates.length - 1;
  if (!date) {
    $("date-now").replaceChildren(h("b", {}, state.dates ? "No date" : "Loading …"));
    return;
  }
  const time = format.timeOf(date.time);
  const ages = `S2 ${format.age(date.s2_age)} · Landsat ${format.age(date.landsat_age)}`;
  $("date-now").replaceChildren(
    h("b", {}, `${format.weekday(time)} ${format.day(time)}`),
    h("span", {}, `${format.clock(time)} UTC`),
    h("small", {}, date.computed ? ages : "not computed yet"),
  );
}

/** The date nearest to a place along the strip. */
function nearest(event) {
  const dates = allDates();
  if (!dates.length) return null;
  const box = $("strip").getBoundingClientRect();
  const [first, last] = span(dates);
  const time =
    first + ((event.clientX - box.left - MARGIN) / (box.width - 2 * MARGIN)) * (last - first);
  const apart = (date) => Math.abs(Date.parse(date.time) - time);
  return dates.reduce((best, date) => (apart(date) < apart(best) ? date : best)).id;
}

export function startTimebar() {
  const strip = $("strip");
  const keys = ["dates", "catalogDates", "catalog", "period", "date", "dateB"];
  store.on(keys, (state) => {
    draw(state);
    describe(state);
  });
  new ResizeObserver(() => draw(store.get())).observe(strip);
  $("date-before").addEventListener("click", () => step(-1));
  $("date-after").addEventListener("click", () => step(1));
  strip.addEventListener("keydown", (event) => {
    if (!(event.key in KEYS)) return;
    event.preventDefault();
    step(KEYS[event.key]);
  });
  const pick = (event) => {
    const id = nearest(event);
    if (id && id !== store.get().date) choose(id);
  };
  strip.addEventListener("pointerdown", (event) => {
    strip.setPointerCapture(event.pointerId);
    pick(event);
  });
  strip.addEventListener("pointermove", (event) => {
    if (event.buttons && strip.hasPointerCapture(event.pointerId)) pick(event);
  });
}
