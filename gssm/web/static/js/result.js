/** What the archive says of a place: the value of the date, and the series of all dates. */

import * as api from "./api.js";
import { createChart } from "./chart.js";
import { choose, chosen, within } from "./dates.js";
import { $, debounce, h, icon, say, tell } from "./dom.js";
import { save } from "./download.js";
import * as format from "./format.js";
import { areaOf, geometryOf } from "./geo.js";
import { areaReadout, pointReadout, table } from "./readout.js";
import { keyOf, store } from "./state.js";
import { onTheme } from "./theme.js";

const onlyValue = api.latest();
const onlySeries = api.latest();
const VALUE_KEEPS = 0.5; // of the pixels, from which on a flag marks the date of an area
let chart = null;
let parts = null;
let readout = null; // makes the text of the value by a legend

/** The frame of the card, once. */
function build() {
  const close = h(
    "button",
    {
      type: "button",
      class: "icon",
      "aria-label": "Close the result",
      onclick: () => store.set({ place: null }),
    },
    icon("close"),
  );
  const csv = h(
    "button",
    { type: "button", class: "quiet", id: "series-csv", onclick: saveCsv },
    "CSV",
  );
  const png = h(
    "button",
    { type: "button", class: "quiet", id: "series-png", onclick: savePng },
    "PNG",
  );
  parts = {
    title: h("h2", { id: "result-title" }),
    problem: h("p", { class: "problem", role: "alert", hidden: true }),
    readout: h("div", { class: "readout", id: "readout", "aria-live": "polite" }),
    chart: h("div", { class: "chart", id: "chart", role: "img" }),
    hover: h("p", { class: "note hover", "aria-hidden": "true" }),
    table: h(
      "details",
      { class: "table", id: "series-table" },
      h("summary", {}, "Table"),
      h("div", { class: "scroll" }),
    ),
    seriesProblem: h("p", { class: "problem", role: "alert", hidden: true }),
    csv,
    png,
  };
  parts.keys = h(
    "p",
    { class: "keys", "aria-hidden": "true" },
    h("span", {}, h("i", { class: "key dot" }), "value"),
    h("span", {}, h("i", { class: "key open" }), "flagged"),
    h("span", {}, h("i", { class: "key band" }), h("span", { class: "band-text" })),
    h("span", {}, h("i", { class: "key cross" }, "×"), "no value"),
  );
  parts.series = h(
    "div",
    { class: "series" },
    h(
      "div",
      { class: "series-head" },
      h("h3", {}, "All dates, ", h("span", { class: "units" }, format.UNITS)),
      h("div", { class: "tools" }, csv, png),
    ),
    parts.seriesProblem,
    parts.chart,
    h("div", { class: "series-foot" }, parts.keys, parts.hover),
    parts.table,
  );
  $("result").replaceChildren(
    h("div", { class: "result-head" }, parts.title, close),
    parts.problem,
    h("div", { class: "result-body" }, parts.readout, parts.series),
  );
}

/** A row of the API as the chart has it. */
function chartRow(row) {
  const { soil_moisture: value, soil_moisture_uncertainty: width } = row;
  const known = value !== null && width !== null;
  const flags =
    row.quality_flag_meanings !== undefined
      ? format.words(row.quality_flag_meanings.trim().split(/\s+/).filter(Boolean).join(", "))
      : Object.entries(row.flags)
          .filter(([, share]) => share >= VALUE_KEEPS)
          .map(([name]) => format.words(name))
          .join(", ");
  return {
    date: row.date,
    time: row.time,
    value,
    flags,
    low: known ? Math.max(0, value - width) : null,
    high: known ? value + width : null,
    s2_age: row.s2_age,
    landsat_age: row.landsat_age,
  };
}

/** Whether the dates of the place are known: where there are none nothing more is asked. */
const isReady = (state) =>
  state.place && state.detail && state.dates && state.datesOf === keyOf(state);

/** Chart and table of a place. */
async function loadSeries(state) {
  if (!isReady(state)) return;
  tell(parts.seriesProblem, null);
  if (!state.dates.length) {
    store.set({ series: { rows: [], units: "" } });
    return;
  }
  parts.chart.setAttribute("aria-busy", "true");
  const datetime = datetimeOf(state);
  try {
    const found = await onlySeries((signal) =>
      state.place.type === "point"
        ? api.pointSeries(
            state.dataset,
            { lon: state.place.lon, lat: state.place.lat, datetime },
            signal,
          )
        : api.areaSeries(
            state.dataset,
            { geometry: geometryOf(state.place), ...(datetime ? { datetime } : {}) },
            signal,
          ),
    );
    if (!found) return;
    store.set({ series: { rows: found.rows.map(chartRow), units: found.units } });
  } catch (error) {
    store.set({ series: { rows: [], units: "" } });
    tell(parts.seriesProblem, error.message);
  }
  parts.chart.removeAttribute("aria-busy");
}

/** A period as the API wants it, with both ends; of an open one the dataset has the other. */
function datetimeOf({ period, detail }) {
  if (!period) return null;
  const [start, end] = [detail?.start, detail?.end].map((time) => time?.slice(0, 10));
  const [from, to] = [period.from ?? start, period.to ?? end];
  return `${from < to ? from : to}/${to}`;
}

async function showSeries(state) {
  chart?.destroy();
  chart = null;
  const rows = (state.series?.rows ?? []).filter((row) => within(row.time, state.period));
  parts.series.hidden = !state.place || (!rows.length && parts.seriesProblem.hidden);
  for (const button of [parts.csv, parts.png]) button.disabled = !rows.length;
  parts.chart.hidden = parts.keys.hidden = parts.table.hidden = !rows.length;
  parts.hover.textContent = "";
  // Errors of neighbours go together: a mean is hardly surer than one of its pixels.
  parts.keys.querySelector(".band-text").textContent =
    state.place?.type === "point" ? "90 % interval" : "90 % interval of a pixel";
  showTable(state);
  if (!rows.length) return;
  const options = {
    legend: state.legends.soil_moisture,
    selected: state.date,
    onPick: choose,
    onHover: hover,
  };
  const made = await createChart(parts.chart, rows, options).catch(() => null);
  if (!made) {
    tell(
      parts.seriesProblem,
      "The chart library could not be loaded; the table has the same numbers.",
    );
    return;
  }
  if (store.get().series !== state.series || chart) {
    made.destroy(); // another place was chosen meanwhile
    return;
  }
  chart = made;
  const values = rows.filter((row) => row.value !== null);
  parts.chart.setAttribute("aria-label", summary(rows, values));
}

function summary(rows, values) {
  if (!values.length) return `Chart of ${rows.length} dates, none with a value.`;
  const numbers = values.map((row) => row.value);
  return (
    `Chart of soil moisture on ${rows.length} dates, ${values.length} with a value, from ` +
    `${format.moisture(Math.min(...numbers))} to ${format.moisture(Math.max(...numbers))} ${format.UNITS}. The table below has all numbers.`
  );
}

function showTable(state) {
  if (!parts.table.open) return;
  const rows = (state.series?.rows ?? []).filter((row) => within(row.time, state.period));
  parts.table.querySelector(".scroll").replaceChildren(table(rows, state.date, choose));
}

function hover(row) {
  parts.hover.textContent = row
    ? `${format.day(format.timeOf(row.time))}: ${format.moisture(row.value)}${row.low === null ? "" : ` (${format.moisture(row.low)}–${format.moisture(row.high)})`}${row.flags ? `, ${row.flags}` : ""}`
    : "";
}

/** The value of the chosen date. */
async function loadValue(state) {
  if (!isReady(state)) return;
  tell(parts.problem, null);
  const date = chosen(state);
  if (!date || !date.computed) {
    onlyValue(async () => undefined); // what is under way is of another date
    readout = null;
    const text = date
      ? "This date is not computed yet; run a prediction for it."
      : "No map of this dataset shows this place.";
    parts.readout.replaceChildren(h("p", { class: "empty" }, text));
    return;
  }
  parts.readout.setAttribute("aria-busy", "true");
  const { place, dataset } = state;
  try {
    const found = await onlyValue((signal) =>
      place.type === "point"
        ? api.point(dataset, { lon: place.lon, lat: place.lat, date: date.id }, signal)
        : api.statistics(
            dataset,
            {
              ...(place.type === "box" ? { bbox: place.bbox } : { geometry: place.geometry }),
              date: date.id,
            },
            signal,
          ),
    );
    if (!found) return;
    readout = (legend) =>
      place.type === "point" ? pointReadout(found, legend) : areaReadout(found, legend, date.time);
    showReadout(store.get());
  } catch (error) {
    readout = null;
    parts.readout.replaceChildren();
    tell(parts.problem, error.message);
  }
  parts.readout.removeAttribute("aria-busy");
}

/** The value again in other colours. */
function showReadout({ legends }) {
  if (readout) parts.readout.replaceChildren(...readout(legends.soil_moisture).filter(Boolean));
}

function showCard({ place }) {
  readout = null;
  $("result").hidden = !place;
  if (!place) {
    onlySeries(async () => undefined);
    onlyValue(async () => undefined);
    store.set({ series: null });
    return;
  }
  parts.title.textContent =
    place.type === "point"
      ? format.coordinates(place.lon, place.lat, 5)
      : `${place.type === "box" ? "Box" : "Polygon"} of ${format.area(areaOf(place))}`;
  parts.readout.replaceChildren(h("p", { class: "empty" }, "Asking the archive …"));
}

const fileName = (ending) => {
  const { dataset, place } = store.get();
  const where =
    place.type === "point" ? `${place.lat.toFixed(5)}_${place.lon.toFixed(5)}` : place.type;
  return `gssm-${dataset}-${where}.${ending}`;
};

async function saveCsv() {
  const { dataset, place } = store.get();
  const datetime = datetimeOf(store.get());
  try {
    const response =
      place.type === "point"
        ? await api.ask(api.seriesFile(dataset, { lon: place.lon, lat: place.lat, datetime }))
        : await api.seriesTable(dataset, {
            geometry: geometryOf(place),
            format: "csv",
            ...(datetime ? { datetime } : {}),
          });
    save(await response.blob(), fileName("csv"));
    say("The table was saved.");
  } catch (error) {
    tell(parts.seriesProblem, error.message);
  }
}

async function savePng() {
  if (!chart) return;
  save(await chart.png(`Soil moisture, ${parts.title.textContent}`), fileName("png"));
  say("The chart was saved.");
}

export function startResult() {
  build();
  store.on(["place"], showCard);
  store.on(
    ["datesOf", "detail", "date", "catalogDates"],
    debounce(() => loadValue(store.get()), 60),
  );
  store.on(
    ["datesOf", "period", "detail"],
    debounce(() => loadSeries(store.get()), 60),
  );
  store.on(["series"], showSeries);
  store.on(["legends"], (state) => {
    if (!state.place) return;
    showReadout(state);
    showSeries(state);
  });
  store.on(["date"], (state) => {
    chart?.select(state.date);
    showTable(state);
  });
  parts.table.addEventListener("toggle", () => showTable(store.get()));
  onTheme(() => showSeries(store.get()));
  new ResizeObserver(debounce(() => chart?.resize(), 50)).observe(parts.chart);
}
