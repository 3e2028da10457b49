/** The map: MapLibre without a service of tiles or fonts, its ground and its controls. */

import { color, onTheme } from "./theme.js";
import { outline } from "./outline.js";

const VENDOR = new URL("../vendor/maplibre-gl/", import.meta.url);
const NOTHING = { type: "FeatureCollection", features: [] };
let library = null;

/** Load MapLibre: its build that needs no blob: in the Content-Security-Policy. */
export function loadMapLibre() {
  library ??= new Promise((resolve, reject) => {
    const script = document.createElement("script");
    script.src = new URL("maplibre-gl-csp.js", VENDOR).href;
    script.onload = () => {
      globalThis.maplibregl.setWorkerUrl(new URL("maplibre-gl-csp-worker.js", VENDOR).href);
      resolve(globalThis.maplibregl);
    };
    script.onerror = () => reject(new Error("The map library could not be loaded."));
    document.head.append(script);
  });
  return library;
}

const LABEL =
  "Map. The arrow keys move it, plus and minus zoom, Enter takes the place under the cross.";
// The outline is for orientation only: the first map goes before.
const later = (run) =>
  globalThis.requestIdleCallback
    ? requestIdleCallback(run, { timeout: 1500 })
    : setTimeout(run, 300);

const ground = () => ({
  version: 8,
  sources: {
    world: { type: "geojson", data: NOTHING, tolerance: 0.3, maxzoom: 10 },
    footprint: { type: "geojson", data: NOTHING },
    spot: { type: "geojson", data: NOTHING },
    place: { type: "geojson", data: NOTHING },
  },
  layers: [
    // Lines of 1:50 million are some kilometres off: near by they would mislead.
    { id: "water", type: "background", paint: {} },
    {
      id: "land",
      type: "fill",
      source: "world",
      filter: ["==", ["get", "kind"], "land"],
      paint: {},
    },
    {
      id: "coast",
      type: "line",
      source: "world",
      maxzoom: 10,
      filter: ["==", ["get", "kind"], "coast"],
      paint: { "line-width": 0.8 },
    },
    {
      id: "border",
      type: "line",
      source: "world",
      maxzoom: 10,
      filter: ["==", ["get", "kind"], "border"],
      paint: { "line-width": 0.8, "line-dasharray": [4, 2] },
    },
    { id: "footprint", type: "line", source: "footprint", paint: { "line-width": 1 } },
    // Where a dataset is, as long as its outline is too small to be seen.
    {
      id: "spot",
      type: "circle",
      source: "spot",
      paint: { "circle-radius": 9, "circle-stroke-width": 2.5, "circle-opacity": 0 },
    },
    // Lines only: a tint would change the colours that the legend explains.
    {
      id: "place-case",
      type: "line",
      source: "place",
      filter: ["!=", ["geometry-type"], "Point"],
      paint: { "line-width": 4.5 },
    },
    {
      id: "place-line",
      type: "line",
      source: "place",
      filter: ["!=", ["geometry-type"], "Point"],
      paint: { "line-width": 2 },
    },
    {
      id: "place-point",
      type: "circle",
      source: "place",
      filter: ["==", ["geometry-type"], "Point"],
      paint: { "circle-radius": 6, "circle-stroke-width": 2.5 },
    },
  ],
});

/** Colours of the ground: layer, property, custom property of the style sheet. */
const PAINT = [
  ["water", "background-color", "--map-water"],
  ["land", "fill-color", "--map-land"],
  ["coast", "line-color", "--map-coast"],
  ["border", "line-color", "--map-border"],
  ["footprint", "line-color", "--map-footprint"],
  ["spot", "circle-stroke-color", "--accent-strong"],
  ["place-case", "line-color", "--map-case"],
  ["place-line", "line-color", "--accent-strong"],
  ["place-point", "circle-color", "--accent-strong"],
  ["place-point", "circle-stroke-color", "--map-case"],
];

function painted(style) {
  for (const [id, property, name] of PAINT) {
    style.layers.find((layer) => layer.id === id).paint[property] = color(name);
  }
  return style;
}

/** A map in a container, whose ground is there.
 * @param {HTMLElement} container @param {any} view centre and zoom, or null
 * @param {any} [extra] more options of MapLibre */
export async function createMap(container, view, extra = {}) {
  const maplibregl = await loadMapLibre();
  const map = new maplibregl.Map({
    container,
    style: painted(ground()),
    center: view ? [view.lng, view.lat] : [10, 30],
    zoom: view ? view.zoom : 1.2,
    maxZoom: 18,
    attributionControl: false,
    dragRotate: false,
    pitchWithRotate: false,
    touchPitch: false,
    rollEnabled: false,
    fadeDuration: 0,
    maxTileCacheSize: 200,
    refreshExpiredTiles: false,
    ...extra,
  });
  map.touchZoomRotate.disableRotation();
  map.keyboard.disableRotation();
  onTheme(() =>
    PAINT.forEach(([id, property, name]) => map.setPaintProperty(id, property, color(name))),
  );
  map.getCanvas().setAttribute("aria-label", LABEL);
  map.once("load", () =>
    later(async () => {
      const world = await outline().catch(() => NOTHING);
      map.getSource("world")?.setData(world);
    }),
  );
  await new Promise((resolve) => map.once("style.load", resolve));
  return map;
}

export async function addControls(map) {
  const maplibregl = await loadMapLibre();
  map.addControl(new maplibregl.NavigationControl({ showCompass: false }), "top-right");
  map.addControl(new maplibregl.ScaleControl({ maxWidth: 110, unit: "metric" }), "top-right");
}

/** What the map shows: centre and zoom. */
export function viewOf(map) {
  const { lng, lat } = map.getCenter().wrap();
  return { zoom: map.getZoom(), lat, lng };
}

export function boundsOf(map) {
  const box = map.getBounds();
  return [box.getWest(), box.getSouth(), box.getEast(), box.getNorth()];
}

/** Room below a map that cards lie over; on a narrow one also less room beside. */
function margins(container) {
  const box = container.getBoundingClientRect();
  const narrow = box.width < 640;
  const cards = (narrow ? ["legend", "timebar"] : ["timebar"]).map((id) =>
    document.getElementById(id).getBoundingClientRect(),
  );
  const top = Math.min(box.bottom, ...cards.filter((card) => card.height).map((card) => card.top));
  // Where little would be left, the cards may cover some.
  const bottom = Math.min(box.bottom - top + 16, box.height / 2);
  return narrow ? { bottom, top: 30, left: 24, right: 24 } : { bottom };
}

/** A box as MapLibre has it, and how it is fitted beside what lies over the map. */
export function fitting(container, [west, south, east, north]) {
  const padding = { top: 40, left: 60, right: 60, ...margins(container) };
  return [
    [
      [west, south],
      [east, north],
    ],
    { padding, maxZoom: 15.5 },
  ];
}

/** Move so that a box is seen. */
export function fit(map, bbox, animate = true) {
  const still = !animate || matchMedia("(prefers-reduced-motion: reduce)").matches;
  const [bounds, options] = fitting(map.getContainer(), bbox);
  map.fitBounds(bounds, { ...options, animate: !still, duration: 600 });
}

/** The outline of a dataset; from far away a ring around it. @param {any} map @param {any} detail */
export function showFootprint(map, { footprint, bbox }) {
  show(map, "footprint", footprint);
  const [west, south, east, north] = bbox ?? [0, 0, 0, 0];
  show(
    map,
    "spot",
    bbox ? { type: "Point", coordinates: [(west + east) / 2, (south + north) / 2] } : null,
  );
  const degrees = Math.max(east - west, north - south, 1e-4);
  // The world is 512 pixels wide at zoom 0.
  map.setLayerZoomRange(
    "spot",
    0,
    Math.min(22, Math.max(0, Math.log2((18 * 360) / (512 * degrees)))),
  );
}

/** GeoJSON of a source, or nothing. @param {any} map @param {string} source @param {any} geometry */
export function show(map, source, geometry) {
  map
    .getSource(source)
    ?.setData(geometry ? { type: "Feature", properties: {}, geometry } : NOTHING);
}
