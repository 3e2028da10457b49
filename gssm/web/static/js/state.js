/** One store of what the page shows, and its part that stands in the address.
 *
 * The part after # holds what somebody else needs to see the same view; it is never sent to the
 * server. What is fetched (datasets, dates, jobs) lies in the same store, but not in the address.
 */

import { bounds, round } from "./geo.js";

/** @typedef {{on: boolean, opacity: number}} Layer */
const LAYERS = {
  true_color: { on: true, opacity: 1 },
  soil_moisture: { on: true, opacity: 1 },
  soil_moisture_uncertainty: { on: false, opacity: 1 },
  quality_flag: { on: false, opacity: 1 },
};

export const DEFAULTS = {
  // In the address.
  dataset: null,
  date: null,
  dateB: null,
  swipe: 0.5,
  view: null,
  place: null,
  period: null,
  layers: LAYERS,
  colormap: null,
  range: null,
  catalog: false,
  // Fetched, or passing.
  limits: null,
  datasets: [],
  detail: null,
  dates: null,
  datesOf: null, // the dataset and place whose dates those are
  catalogDates: null,
  colormaps: null,
  legends: {},
  jobs: [],
  tool: "point",
  series: null,
};

/** @param {typeof DEFAULTS} initial */
function createStore(initial) {
  let state = { ...initial };
  /** @type {{keys: string[], run: Function}[]} */
  const subscribers = [];
  let changed = new Set();

  function notify() {
    const keys = changed;
    changed = new Set();
    for (const { keys: wanted, run } of subscribers) {
      if (wanted.some((key) => keys.has(key))) run(state, keys);
    }
  }

  return {
    get: () => state,
    /** Merge; subscribers are called once for all changes of a task. */
    set(patch) {
      const different = Object.keys(patch).filter((key) => !same(state[key], patch[key]));
      if (!different.length) return;
      state = { ...state, ...patch };
      if (!changed.size) queueMicrotask(notify);
      for (const key of different) changed.add(key);
    },
    /** Wait until the state is such, at most so many milliseconds. */
    until(isSuch, milliseconds) {
      return new Promise((resolve) => {
        const timer = setTimeout(resolve, milliseconds);
        const look = () => {
          if (!isSuch(state)) return;
          clearTimeout(timer);
          resolve();
        };
        subscribers.push({ keys: Object.keys(state), run: look });
        look();
      });
    },
    /** Call when one of the keys changed, the first time with the state as it is, if that differs
     * from the beginning: a part that starts late misses nothing. */
    on(keys, run) {
      subscribers.push({ keys, run });
      const late = keys.filter((key) => state[key] !== DEFAULTS[key]);
      if (late.length) queueMicrotask(() => run(state, new Set(late)));
    },
  };
}

const same = (a, b) =>
  a === b || (isSmall(a) && isSmall(b) && JSON.stringify(a) === JSON.stringify(b));
const isSmall = (value) =>
  value !== null && typeof value === "object" && !Array.isArray(value) && !value.rows;

const numbers = (text, count) => {
  const found = text.split(/[,/]/).map(Number);
  return found.length === count && found.every(Number.isFinite) ? found : null;
};
const matching = (pattern) => (text) => (pattern.test(text) ? text : null);
const NAME = matching(/^[A-Za-z0-9_-]{1,64}$/);
const DATE = matching(/^\d{8}T\d{6}Z$/);

/** What stands in the address: its name, the key of the state, how it is written and read.
 * @type {[string, string, (value: any) => string|null, (text: string) => any][]} */
const FIELDS = [
  ["dataset", "dataset", String, NAME],
  ["date", "date", String, DATE],
  ["compare", "dateB", String, DATE],
  ["swipe", "swipe", (v) => (v === 0.5 ? null : v.toFixed(2)), (t) => clamp(Number(t))],
  [
    "map",
    "view",
    ({ zoom, lat, lng }) => [round(zoom, 2), round(lat, 5), round(lng, 5)].join("/"),
    readView,
  ],
  ["place", "place", writePlace, readPlace],
  ["period", "period", ({ from, to }) => `${from ?? ""}/${to ?? ""}`, readPeriod],
  ["layers", "layers", writeLayers, readLayers],
  ["colors", "colormap", String, NAME],
  ["range", "range", (v) => v.join(","), readRange],
  ["catalog", "catalog", (v) => (v ? "1" : null), (t) => t === "1"],
];

const clamp = (value) => (value >= 0 && value <= 1 ? value : 0.5);
const isOnEarth = ([west, south, east, north]) =>
  west >= -180 && east <= 180 && south >= -90 && north <= 90;

/** Ends of the colours as the panel takes them, too. */
export const isRange = ([low, high]) => low >= 0 && high <= 1 && high - low >= 0.001;

function readRange(text) {
  const range = numbers(text, 2);
  return range && isRange(range) ? range : null;
}

function readView(text) {
  const [zoom, lat, lng] = numbers(text, 3) ?? [];
  return zoom >= 0 && zoom <= 24 && Math.abs(lat) <= 90 && Math.abs(lng) <= 540
    ? { zoom, lat, lng }
    : null;
}

function writePlace(place) {
  if (place.type === "point") return `point:${round(place.lon, 5)},${round(place.lat, 5)}`;
  if (place.type === "box") return `box:${place.bbox.map((v) => round(v, 5)).join(",")}`;
  const { type, coordinates } = place.geometry;
  const polygons = type === "Polygon" ? [coordinates] : coordinates;
  const ring = (points) => points.map((p) => `${round(p[0], 5)} ${round(p[1], 5)}`).join(",");
  return `polygon:${polygons.map((rings) => rings.map(ring).join("!")).join("*")}`;
}

function readPlace(text) {
  const [type, rest = ""] = text.split(/:(.*)/s);
  if (type === "point") {
    const [lon, lat] = numbers(rest, 2) ?? [];
    return Math.abs(lon) <= 180 && Math.abs(lat) <= 90 ? { type, lon, lat } : null;
  }
  if (type === "box") {
    const bbox = numbers(rest, 4);
    const isBox = bbox && bbox[0] < bbox[2] && bbox[1] < bbox[3] && isOnEarth(bbox);
    return isBox ? { type, bbox } : null;
  }
  if (type !== "polygon") return null;
  const ring = (points) => points.split(",").map((point) => point.split(" ").map(Number));
  const polygons = rest.split("*").map((rings) => rings.split("!").map(ring));
  const geometry =
    polygons.length === 1
      ? { type: "Polygon", coordinates: polygons[0] }
      : { type: "MultiPolygon", coordinates: polygons };
  const whole = polygons
    .flat()
    .every((points) => points.length > 3 && points.every((p) => p.length === 2));
  const box = bounds(geometry);
  return whole && box.every(Number.isFinite) && isOnEarth(box) ? { type, geometry } : null;
}

function readPeriod(text) {
  const [from, to] = text.split("/").map((part) => (/^\d{4}-\d\d-\d\d$/.test(part) ? part : null));
  return from || to ? { from: from ?? null, to: to ?? null } : null;
}

function writeLayers(layers) {
  const text = Object.entries(layers)
    .filter(([, layer]) => layer.on)
    .map(([name, layer]) => `${name}:${Math.round(100 * layer.opacity)}`)
    .join(",");
  return text === "true_color:100,soil_moisture:100" ? null : text || "none";
}

function readLayers(text) {
  const layers = Object.fromEntries(
    Object.entries(LAYERS).map(([name, layer]) => [name, { ...layer, on: false }]),
  );
  for (const part of text.split(",")) {
    const [name, percent] = part.split(":");
    const opacity = Number(percent ?? 100) / 100;
    if (name in layers && opacity >= 0 && opacity <= 1) layers[name] = { on: true, opacity };
  }
  return layers;
}

/** The part of the state that an address names. @param {string} hash */
export function readAddress(hash) {
  const given = new URLSearchParams(hash.replace(/^#/, ""));
  const state = {};
  for (const [name, key, , read] of FIELDS) {
    const text = given.get(name);
    const value = text === null ? null : read(text);
    if (value !== null) state[key] = value;
  }
  return state;
}

/** The address of a state, from # on. @param {typeof DEFAULTS} state */
export function writeAddress(state) {
  const parts = [];
  for (const [name, key, write] of FIELDS) {
    const value = state[key] === null ? null : write(state[key]);
    // Readable: the characters that an address may hold after # stay as they are.
    if (value !== null)
      parts.push(
        `${name}=${encodeURIComponent(value).replace(/%(2F|3A|2C)/gi, decodeURIComponent)}`,
      );
  }
  return parts.length ? `#${parts.join("&")}` : "";
}

/** Name of what dates are asked of: a dataset and a place. */
export const keyOf = ({ dataset, place }) => JSON.stringify([dataset, place]);

/** Keys that stand in the address. */
export const ADDRESSED = FIELDS.map(([, key]) => key);

export const store = createStore({ ...DEFAULTS, ...readAddress(location.hash) });
