/** What the colours mean: of each layer that is seen, as the server says. */

import * as api from "./api.js";
import { $, h, options } from "./dom.js";
import * as format from "./format.js";
import { colorsOf, has } from "./layers.js";
import { isRange, store } from "./state.js";

const SHOWN = ["soil_moisture", "soil_moisture_uncertainty", "quality_flag"];
const only = Object.fromEntries(SHOWN.map((name) => [name, api.latest()]));
const known = new Map();

/** Colour of a value by a legend, as the map has it. @param {any} legend @param {number} value */
export function colorOf(legend, value) {
  const entries = legend?.entries ?? [];
  if (!entries.length) return "currentColor";
  const inside =
    legend.type === "classes"
      ? entries.findLast((entry) => value >= entry.from)
      : entries.reduce((best, entry) =>
          Math.abs(entry.from - value) < Math.abs(best.from - value) ? entry : best,
        );
  return (inside ?? entries[0]).color;
}

async function load(state) {
  if (!state.detail) return;
  const wanted = SHOWN.filter(
    (name) => has(state.detail, name) && (state.layers[name].on || name === "soil_moisture"),
  );
  for (const variable of wanted) {
    const parameters = { variable, ...colorsOf(state, variable) };
    const key = JSON.stringify([state.detail.id, parameters]);
    try {
      if (!known.has(key)) {
        const found = await only[variable]((signal) =>
          api.legend(state.detail.id, parameters, signal),
        );
        if (!found) continue;
        known.set(key, found);
      }
      store.set({ legends: { ...store.get().legends, [variable]: known.get(key) } });
    } catch {
      // The map has its colours all the same; a range that is wrong is told by the tiles.
    }
  }
}

/** Ends of a row of colours: the border between each two classes, in as many digits as needed. */
function scale(legend) {
  const { entries, type } = legend;
  const ends =
    type === "classes"
      ? [...entries.map((entry) => entry.from), entries.at(-1).to]
      : entries.map((entry) => entry.from);
  const every = entries.length > 6 ? 2 : 1;
  const strip = h(
    "div",
    { class: `swatches ${type}` },
    ...entries.map(({ color, label }) => h("i", { color, title: label })),
  );
  if (type === "ramp")
    strip.style.background = `linear-gradient(to right, ${entries.map((entry) => entry.color).join(", ")})`;
  const labels = h(
    "div",
    { class: `ends ${type}` },
    ...ends.map((value, n) => {
      const seen = n % every === 0 || n === ends.length - 1;
      // What lies beyond has the colour of the end.
      const text = `${Number(value.toFixed(3))}${n === ends.length - 1 ? "+" : ""}`;
      return h("span", {}, seen ? text : "");
    }),
  );
  return [strip, labels];
}

function block(legend, opacity) {
  const units =
    legend.units && legend.units !== "1"
      ? h("span", { class: "units" }, format.printed(legend.units))
      : null;
  const body =
    legend.type === "flags"
      ? [
          h(
            "ul",
            { class: "flags" },
            ...legend.entries.map(({ color, label }) => h("li", {}, h("i", { color }), label)),
          ),
        ]
      : scale(legend);
  const faded =
    opacity < 1 ? h("span", { class: "units" }, ` at ${Math.round(100 * opacity)} %`) : null;
  return h("div", { class: "legend-block" }, h("h3", {}, legend.title, " ", units, faded), ...body);
}

function showLegend(state) {
  const seen = SHOWN.filter((name) => state.layers[name].on && state.legends[name]);
  const sources = h("p", { class: "sources" }, "Copernicus · USGS · Natural Earth");
  const blocks = seen.map((name) => block(state.legends[name], state.layers[name].opacity));
  $("legend").replaceChildren(
    h("div", { class: "legend-scroll", tabindex: blocks.length > 1 ? 0 : null }, ...blocks),
    sources,
  );
}

function startColors() {
  store.on(["colormaps", "colormap"], ({ colormaps, colormap }) => {
    if (!colormaps) return;
    const labels = colormaps.colormaps.map(({ name, title }) => ({ value: name, label: title }));
    options($("colormap"), labels, colormap ?? colormaps.default);
  });
  $("colormap").addEventListener("change", ({ target }) => {
    const standard = store.get().colormaps?.default;
    store.set({ colormap: target.value === standard ? null : target.value });
  });
  const own = () =>
    store.get().detail?.variables.find((v) => v.name === "soil_moisture")?.range ?? [0, 0.5];
  const change = () => {
    const range = ["range-min", "range-max"].map((id) => Number($(id).value.replace(",", ".")));
    const wrong = !range.every(Number.isFinite) || !isRange(range);
    for (const id of ["range-min", "range-max"]) $(id).setAttribute("aria-invalid", String(wrong));
    if (wrong) return;
    store.set({ range: range.join() === own().join() ? null : range });
  };
  $("range-min").addEventListener("change", change);
  $("range-max").addEventListener("change", change);
  store.on(["detail", "range"], ({ range }) => {
    const [low, high] = range ?? own();
    $("range-min").value = String(low);
    $("range-max").value = String(high);
  });
}

export function startLegend() {
  store.on(["detail", "colormap", "range", "layers"], load);
  store.on(["legends", "layers", "detail"], showLegend);
  startColors();
}
