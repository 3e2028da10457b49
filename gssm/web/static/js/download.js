/** A part of the dataset as a file: GeoTIFF, NetCDF, Zarr or a table. */

import * as api from "./api.js";
import { allDates } from "./dates.js";
import { $, options, say, tell } from "./dom.js";
import * as format from "./format.js";
import { boxArea, boxOf, overlap } from "./geo.js";
import { boundsOf } from "./map.js";
import { store } from "./state.js";

const FORMATS = [
  { value: "cog", label: "GeoTIFF (cloud-optimised)" },
  { value: "netcdf", label: "NetCDF (CF)" },
  { value: "zarr", label: "Zarr (zipped)" },
  { value: "csv", label: "CSV, a row for each pixel" },
];
const VARIABLES = [
  { value: "soil_moisture", label: "Soil moisture" },
  { value: "soil_moisture_uncertainty", label: "Uncertainty" },
  { value: "quality_flag", label: "Quality flags" },
  { value: "", label: "All, with ages" },
];
const PIXEL_KM2 = 1e-4;
let controller = null;

/** Box of the download, or null: that of the place, or of what the map shows. */
function boxNow(map, state) {
  if ($("download-area").value === "place" && state.place) return boxOf(state.place);
  if (!map) return state.detail?.bbox ?? null;
  return state.detail?.bbox ? overlap(boundsOf(map), state.detail.bbox) : boundsOf(map);
}

function datesNow(state) {
  const computed = allDates(state).filter((date) => date.computed);
  return $("download-dates").value === "all"
    ? computed
    : computed.filter((date) => date.id === state.date);
}

function showChoices(state) {
  const areas = [{ value: "view", label: "What the map shows" }];
  if (state.place)
    areas.unshift({
      value: "place",
      label:
        state.place.type === "point"
          ? "2 km around the point"
          : state.place.type === "box"
            ? "The box"
            : "Box around the polygon",
    });
  const keep = $("download-area").value;
  options(
    $("download-area"),
    areas,
    areas.some((one) => one.value === keep) && keep !== "view" ? keep : areas[0].value,
  );
  const all = allDates(state).filter((date) => date.computed).length;
  const many = $("download-dates").value;
  options(
    $("download-dates"),
    [
      { value: "one", label: state.date ? format.stamp(format.timeOf(state.date)) : "no date" },
      { value: "all", label: `All ${all} of the list` },
    ],
    many || "one",
  );
}

function showSize(map, state) {
  const box = boxNow(map, state);
  const dates = datesNow(state);
  $("download-go").disabled = controller !== null || !box || !dates.length;
  const [sentence, large] = sizeOf(box, dates.length, mostOf(state.limits));
  $("download-size").textContent = sentence;
  $("download-size").classList.toggle("warn", large);
}

/** Limits of a download; a table has fewer pixels. */
function mostOf(limits) {
  if (!limits || $("download-format").value !== "csv") return limits;
  return { ...limits, download_pixels: Math.min(limits.download_pixels, limits.csv_rows) };
}

/** How much a download is as a sentence, and whether the server refuses it. */
function sizeOf(box, dates, limits) {
  if (!box) return ["The map shows nothing of this dataset.", false];
  if (!dates) return ["This date is not computed, so there is nothing to download.", false];
  const km2 = boxArea(box);
  const pixels = (km2 / PIXEL_KM2) * dates;
  const count = pixels < 1e6 ? format.whole(pixels) : `${(pixels / 1e6).toFixed(1)} million`;
  const size = `${format.area(km2)}, about ${count} pixels of 10 m.`;
  if (!limits || (km2 <= limits.box_km2 && pixels <= limits.download_pixels)) return [size, false];
  const most = [
    `${format.whole(limits.box_km2)} km²`,
    `${format.whole(limits.download_pixels / 1e6)} million pixels`,
  ].join(" and ");
  const less = dates > 1 ? "a smaller area or fewer dates" : "a smaller area";
  return [`${size} The server gives at most ${most}: choose ${less}.`, true];
}

function parameters(map, state) {
  const dates = datesNow(state);
  const period = dates.length === 1 ? dates[0].id : `${dates[0].time}/${dates.at(-1).time}`;
  return {
    bbox: boxNow(map, state)
      .map((v) => Number(v.toFixed(6)))
      .join(","),
    datetime: period,
    format: $("download-format").value,
    variable: $("download-variable").value,
  };
}

/** The file as it comes, with how much is there. */
async function received(response, tellBytes) {
  const parts = [];
  let count = 0;
  const reader = response.body.getReader();
  for (;;) {
    const { done, value } = await reader.read();
    if (done) return new Blob(parts, { type: response.headers.get("Content-Type") ?? "" });
    parts.push(value);
    count += value.length;
    tellBytes(count);
  }
}

export function save(blob, name) {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(blob);
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 60_000);
}

const nameOf = (response) =>
  /filename="?([^";]+)"?/.exec(response.headers.get("Content-Disposition") ?? "")?.[1];

async function download(map) {
  const state = store.get();
  const status = $("download-state");
  controller = new AbortController();
  tell($("download-problem"), null);
  $("download-cancel").hidden = false;
  status.textContent = "The server writes the file …";
  showSize(map, state);
  try {
    const given = parameters(map, state);
    const response = await api.ask(api.downloadAddress(state.dataset, given), {
      signal: controller.signal,
    });
    const blob = await received(
      response,
      (count) => (status.textContent = `${format.bytes(count)} received`),
    );
    save(blob, nameOf(response) ?? `${state.dataset}-${given.format}`);
    status.textContent = `Saved, ${format.bytes(blob.size)}.`;
  } catch (error) {
    const cancelled = controller.signal.aborted;
    status.textContent = cancelled ? "Cancelled." : "";
    if (!cancelled)
      tell($("download-problem"), error.message ?? "The download broke off; try again.");
    else say("The download was cancelled.");
  }
  controller = null;
  $("download-cancel").hidden = true;
  showSize(map, store.get());
}

/** @param {any} map or null, where there is none */
export function startDownload(map) {
  options($("download-format"), FORMATS);
  options($("download-variable"), VARIABLES);
  const size = () => showSize(map, store.get());
  store.on(["place", "dates", "date", "period", "detail", "limits", "catalogDates"], (state) => {
    showChoices(state);
    size();
  });
  map?.on("moveend", size);
  for (const id of ["download-area", "download-dates", "download-format", "download-variable"])
    $(id).addEventListener("change", size);
  $("download-form").addEventListener("submit", (event) => {
    event.preventDefault();
    download(map);
  });
  $("download-cancel").addEventListener("click", () => controller?.abort());
}
