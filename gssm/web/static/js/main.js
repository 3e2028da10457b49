/** The page: one store, one map, and the parts that listen to the one and draw on the other. */

import * as api from "./api.js";
import { loadDates, startDates } from "./dates.js";
import { $, debounce, h, say, tell, toast } from "./dom.js";
import { startDownload } from "./download.js";
import { outOfSight, showPlace, startDraw } from "./draw.js";
import * as format from "./format.js";
import { startFrame } from "./frame.js";
import { boxOf } from "./geo.js";
import { startJobs } from "./jobs.js";
import { applyLayers, startLayers } from "./layers.js";
import { startLegend } from "./legend.js";
import { startLimits } from "./limits.js";
import { follow, timeFirst } from "./loading.js";
import {
  addControls,
  createMap,
  fit,
  fitting,
  loadMapLibre,
  showFootprint,
  viewOf,
} from "./map.js";
import { startPlace } from "./place.js";
import { startResult } from "./result.js";
import { narrow, setSheet, startSheet } from "./sheet.js";
import { ADDRESSED, DEFAULTS, readAddress, store, writeAddress } from "./state.js";
import { secondMap, startSwipe } from "./swipe.js";
import { startTheme } from "./theme.js";
import { startTimebar } from "./timebar.js";

const onlyDetail = api.latest();
// Milliseconds for which the map waits for what it shows first.
const PATIENCE = 3000;
// Milliseconds between looks for a newer version of what is shown.
const RENEW = 60_000;
const NO_MAP =
  "The map needs WebGL, which this browser does not offer; dates, numbers and downloads work without.";

/** The list of datasets, and which of them is chosen. */
async function loadDatasets() {
  const [datasets, landing] = await Promise.all([api.datasets(), api.landing().catch(() => null)]);
  const { dataset } = store.get();
  if (!datasets.length) throw new api.ApiError("This server has no dataset yet.", 0);
  const known = datasets.some((one) => one.id === dataset);
  const standard = datasets.find((one) => one.kind === "archive") ?? datasets[0];
  if (dataset && !known)
    toast(`There is no dataset ${dataset} any more; ${standard.title} is shown.`);
  if (landing) {
    document.title = landing.title;
    $("title").textContent = landing.title.replace(/^gssm: /, "");
    $("title").title = landing.title;
  }
  store.set({ datasets, limits: landing?.limits ?? null, dataset: known ? dataset : standard.id });
}

async function loadDetail({ dataset }) {
  if (!dataset) return;
  tell($("dataset-error"), null);
  try {
    const detail = await onlyDetail((signal) => api.dataset(dataset, signal));
    if (detail) store.set({ detail });
  } catch (error) {
    tell($("dataset-error"), error.message);
  }
}

/** Look for the newest version of the dataset: old ones are served for some minutes only. */
async function renew() {
  const { dataset, detail } = store.get();
  if (document.hidden || detail?.kind !== "archive") return;
  const found = await api.dataset(dataset).catch(() => null);
  if (!found || store.get().detail !== detail || found.version === detail.version) return;
  store.set({ detail: found });
  loadDates(store.get());
}

/** Show another dataset, with the dates and the colours of its own. */
async function openDataset(id, date = null) {
  store.set({ datasets: await api.datasets().catch(() => store.get().datasets) });
  store.set({
    dataset: id,
    date,
    dateB: null,
    detail: null,
    dates: null,
    datesOf: null,
    catalogDates: null,
    period: null,
  });
}

function showDatasets({ datasets, dataset, detail }) {
  const kinds = [
    ["archive", "Archives"],
    ["job", "Predictions"],
  ];
  const groups = kinds
    .map(([kind, label]) => [label, datasets.filter((one) => one.kind === kind)])
    .filter(([, some]) => some.length);
  const option = ({ id, title }) => h("option", { value: id }, title);
  $("dataset").replaceChildren(
    ...(groups.length > 1
      ? groups.map(([label, some]) => h("optgroup", { label }, ...some.map(option)))
      : datasets.map(option)),
  );
  if (dataset) $("dataset").value = dataset;
  const found = detail?.id === dataset ? detail : datasets.find((one) => one.id === dataset);
  $("dataset-facts").textContent = found ? factsOf(found) : "";
}

function factsOf({ dates, start, end, squares }) {
  const count = `${format.whole(dates)} ${dates === 1 ? "date" : "dates"}`;
  const span = start
    ? `${format.day(format.timeOf(start))} – ${format.day(format.timeOf(end))}`
    : null;
  const where = squares.length > 3 ? `${squares.length} squares` : squares.join(", ");
  return [count, span, where].filter(Boolean).join(" · ");
}

function goTo(map, place) {
  if (outOfSight(map, place)) fit(map, boxOf(place, 4));
}

/** Move a place that the result would cover out from under it. */
function uncover(map, place) {
  if (!place || $("result").hidden) return;
  if (narrow.matches) {
    showBetween(map, place);
    return;
  }
  const [card, stage] = [$("result"), $("stage")].map((element) => element.getBoundingClientRect());
  const [west, south, east, north] = boxOf(place, 0.02);
  const [low, high] = [map.project([west, south]), map.project([east, north])];
  const free = card.top - stage.top;
  if (low.y < free - 10 || low.x > card.right - stage.left || free < 100) return;
  const still = matchMedia("(prefers-reduced-motion: reduce)").matches;
  if (low.y - high.y > free - 60 && place.type !== "point") {
    const padding = { top: 40, left: 60, right: 60, bottom: stage.bottom - card.top + 20 };
    map.fitBounds(
      [
        [west, south],
        [east, north],
      ],
      { padding, animate: !still, duration: 300 },
    );
  } else map.panBy([0, (low.y + high.y) / 2 - free / 2], { animate: !still, duration: 300 });
}

/** On a phone, bring a place to the middle of what the sheet left of the map. */
function showBetween(map, place) {
  map.resize();
  const [west, south, east, north] = boxOf(place, 0.02);
  const [low, high] = [map.project([west, south]), map.project([east, north])];
  const [stage, cards] = [$("stage"), $("timebar")].map((e) => e.getBoundingClientRect());
  const free = cards.top - stage.top;
  if (high.y > 40 && low.y < free - 20 && low.x > 20 && high.x < stage.width - 20) return;
  const middle = [(low.x + high.x - stage.width) / 2, (low.y + high.y - free) / 2];
  map.panBy(middle, { animate: false });
}

/** Show what the address says; what it does not name is as at first. */
function readHash(map) {
  const given = readAddress(location.hash);
  if (writeAddress(store.get()) === location.hash) return;
  const { dataset } = store.get();
  if (given.dataset && given.dataset !== dataset)
    store.set({ detail: null, dates: null, datesOf: null, catalogDates: null });
  const { layers, colormap, range, swipe, catalog } = DEFAULTS;
  const cleared = {
    date: null,
    dateB: null,
    place: null,
    period: null,
    layers,
    colormap,
    range,
    swipe,
    catalog,
  };
  store.set({ ...cleared, dataset, ...given });
  if (given.view) map.jumpTo({ center: [given.view.lng, given.view.lat], zoom: given.view.zoom });
}

function startAddress(map) {
  const write = debounce(
    () =>
      history.replaceState(
        null,
        "",
        `${location.pathname}${location.search}${writeAddress(store.get())}`,
      ),
    100,
  );
  store.on(ADDRESSED, write);
  map.on("moveend", () => store.set({ view: viewOf(map) }));
  window.addEventListener("hashchange", () => readHash(map));
  $("copy-link").addEventListener("click", async () => {
    const url = `${location.origin}${location.pathname}${writeAddress({ ...store.get(), view: viewOf(map) })}`;
    try {
      await navigator.clipboard.writeText(url);
      toast("The link to this view was copied.");
    } catch {
      history.replaceState(null, "", url);
      toast("The address of the page is the link to this view.");
    }
  });
}

function startMap(map) {
  let fitted = null;
  const { view } = store.get(); // of the address; later ones are where the user went
  const apply = () => {
    const state = store.get();
    applyLayers(map, state, state.date);
  };
  const enter = ({ detail }) => {
    if (!detail) return;
    showFootprint(map, detail);
    const { place } = store.get();
    if (fitted !== detail.id && detail.bbox && !(fitted === null && view)) {
      if (fitted !== null || !store.get().dates) fit(map, detail.bbox, fitted !== null);
      if (place) goTo(map, place);
      // A frame later the result has its size.
      requestAnimationFrame(() => uncover(map, place));
    }
    fitted = detail.id;
  };
  store.on(["detail"], enter);
  store.on(["detail", "dates", "date", "layers", "colormap", "range"], apply);
  enter(store.get());
  apply();
  showPlace(map, store.get().place);
}

/** The map, where it begins: with the dataset in sight, whose first tiles it asks for at once. */
async function makeMap() {
  const { view } = store.get();
  const seen = ({ detail, dates }) => detail && dates;
  // Meanwhile the library comes.
  await Promise.all([loadMapLibre(), store.until(seen, PATIENCE)]);
  const bbox = view ? null : store.get().detail?.bbox;
  const [bounds, fitBoundsOptions] = bbox ? fitting($("map"), bbox) : [];
  return createMap($("map"), view, bbox ? { bounds, fitBoundsOptions } : {});
}

function startParts(map) {
  if (map) {
    follow(map);
    timeFirst(map);
    startMap(map);
    addControls(map);
    startFrame(map);
    startDraw(map);
    startSwipe(map);
    startAddress(map);
    store.on(["place"], ({ place }) => {
      if (place && narrow.matches && document.documentElement.dataset.sheet === "low")
        setSheet("half");
      requestAnimationFrame(() => uncover(map, place));
    });
  }
  startPlace((place) => map && goTo(map, place));
  startDownload(map);
}

async function start() {
  startTheme();
  startSheet();
  store.on(["dataset"], loadDetail);
  store.on(["datasets", "dataset", "detail"], showDatasets);
  startDates();
  const loading = loadDatasets().catch((error) => {
    tell($("dataset-error"), error.message);
    store.set({ dates: [] });
  });
  const making = makeMap();
  for (const startPart of [startTimebar, startLayers, startLegend, startLimits, startResult])
    startPart();
  $("dataset").addEventListener("change", ({ target }) => openDataset(target.value));
  await loading;
  const map = await making.catch((error) => {
    tell($("hint"), /webgl/i.test(error.message) ? NO_MAP : error.message);
    return null;
  });
  startParts(map);
  globalThis.gssm = { store, map, secondMap };
  say(map ? "The map is ready." : NO_MAP);
  // What is not needed at first sight.
  if (map)
    await Promise.race([
      new Promise((resolve) => map.once("idle", resolve)),
      new Promise((resolve) => setTimeout(resolve, PATIENCE)),
    ]);
  startJobs(openDataset);
  setInterval(renew, RENEW);
  document.addEventListener("visibilitychange", renew);
  store.set({ colormaps: await api.colormaps().catch(() => null) });
}

start();
