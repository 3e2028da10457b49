/** Layers of a dataset on a map, and the controls of their sight and opacity. */

import * as api from "./api.js";
import { $, h } from "./dom.js";
import { store } from "./state.js";

/** From the ground up. */
const ORDER = ["true_color", "soil_moisture", "soil_moisture_uncertainty", "quality_flag"];
const NAMES = {
  true_color: "True colour (Sentinel-2)",
  soil_moisture: "Soil moisture",
  soil_moisture_uncertainty: "Uncertainty",
  quality_flag: "Quality flags",
};

/** Whether a dataset has tiles of a variable. */
export function has(detail, variable) {
  if (variable === "true_color") return detail.true_color;
  return detail.variables.some((found) => found.name === variable);
}

/** Parameters of the colours of a variable: only soil moisture has a choice. */
export function colorsOf(state, variable) {
  if (variable !== "soil_moisture") return {};
  const [min, max] = state.range ?? [null, null];
  return { colormap: state.colormap, min, max };
}

/** Template of the tiles that a map shows of a variable on a date, or null.
 * @param {typeof import("./state.js").DEFAULTS} state */
function template(state, variable, date) {
  const { detail, layers } = state;
  if (!detail || !layers[variable].on || !has(detail, variable)) return null;
  const still = variable === "true_color";
  if (!still && !(date && state.dates?.some((found) => found.id === date))) return null;
  const parameters = { ...colorsOf(state, variable), version: detail.version };
  return api.tiles(detail.id, variable, still ? "latest" : date, parameters);
}

// Templates by map and variable: a source has none to show before it is loaded. And sources of
// which a tile failed: MapLibre never asks for that again, whatever template comes.
const [shown, failed] = [new WeakMap(), new WeakMap()];

/** Bring a map to what the state says; `date` is the one of this map. */
export function applyLayers(map, state, date) {
  if (!failed.has(map)) {
    failed.set(map, new Set());
    map.on("error", ({ sourceId }) => sourceId && failed.get(map).add(sourceId));
  }
  const before = shown.get(map) ?? {};
  const now = {};
  // The uppermost first, so that its tiles are asked for before those that it covers.
  for (const variable of [...ORDER].reverse()) {
    const tiles = template(state, variable, date);
    if (before[variable] && isOther(before[variable], tiles, failed.get(map).has(variable))) {
      failed.get(map).delete(variable);
      map.removeLayer(variable);
      map.removeSource(variable);
      before[variable] = null;
    }
    if (!tiles) continue;
    now[variable] = tiles;
    if (!before[variable]) add(map, variable, tiles, state.detail);
    // The map of before stays until that of the new date is there: no flash between dates.
    else if (before[variable] !== tiles) map.getSource(variable).setTiles([tiles]);
    map.setPaintProperty(variable, "raster-opacity", state.layers[variable].opacity);
  }
  shown.set(map, now);
}

/** Whether a source of one template cannot go on with another. */
const isOther = (before, tiles, hasFailed) =>
  !tiles || originOf(before) !== originOf(tiles) || (hasFailed && before !== tiles);

/** Dataset and version of a template: of an old version tiles are missing without an error. */
const originOf = (tiles) => tiles.split("/tiles/")[0] + new URL(tiles).searchParams.get("version");

function add(map, variable, tiles, detail) {
  const { minzoom, maxzoom, bbox } = detail;
  const bounds = bbox ? { bounds: bbox } : {};
  map.addSource(variable, {
    type: "raster",
    tiles: [tiles],
    tileSize: 256,
    minzoom,
    maxzoom,
    ...bounds,
  });
  const paint = {
    // A pixel of the map stays a pixel: nothing is made up between them.
    "raster-resampling": variable === "true_color" ? "linear" : "nearest",
    "raster-fade-duration": 0,
  };
  const above = ORDER.slice(ORDER.indexOf(variable) + 1).find((name) => map.getLayer(name));
  map.addLayer({ id: variable, type: "raster", source: variable, paint }, above ?? "footprint");
}

/** Rows of the panel: a checkbox and an opacity for each layer. */
function rows(state) {
  return [...ORDER]
    .reverse()
    .filter((name) => has(state.detail, name))
    .map((name) => {
      const layer = state.layers[name];
      const change = (patch) => {
        const { layers } = store.get();
        store.set({ layers: { ...layers, [name]: { ...layers[name], ...patch } } });
      };
      const percent = h(
        "output",
        { class: "percent", for: `opacity-${name}` },
        `${Math.round(100 * layer.opacity)} %`,
      );
      return h(
        "div",
        { class: "layer", "data-layer": name },
        h(
          "label",
          { class: "check" },
          h("input", {
            type: "checkbox",
            id: `layer-${name}`,
            checked: layer.on,
            onchange: (event) => change({ on: event.target.checked }),
          }),
          h("span", {}, NAMES[name]),
        ),
        h("input", {
          type: "range",
          id: `opacity-${name}`,
          min: 0,
          max: 100,
          step: 5,
          value: Math.round(100 * layer.opacity),
          "aria-label": `Opacity of ${NAMES[name]}`,
          oninput: (event) => {
            percent.value = `${event.target.value} %`;
            change({ opacity: Number(event.target.value) / 100 });
          },
        }),
        percent,
      );
    });
}

export function startLayers() {
  store.on(["detail"], (state) => {
    if (state.detail) $("layers").replaceChildren(...rows(state));
  });
  store.on(["layers", "detail"], (state) => {
    for (const name of ORDER) {
      const box = document.getElementById(`layer-${name}`);
      if (!box) continue;
      box.checked = state.layers[name].on;
      const slider = $(`opacity-${name}`);
      if (document.activeElement !== slider)
        slider.value = Math.round(100 * state.layers[name].opacity);
      slider.disabled = !state.layers[name].on;
    }
    const shown = ORDER.filter(
      (name) => state.layers[name].on && state.detail && has(state.detail, name),
    );
    $("layers-brief").textContent = shown.length === 1 ? NAMES[shown[0]] : `${shown.length} shown`;
  });
}
