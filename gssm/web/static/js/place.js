/** The place of the panel: tools, coordinates to type, and what is wrong with them. */

import { $, say, tell } from "./dom.js";
import * as format from "./format.js";
import { areaOf, degreesOf, readPolygon } from "./geo.js";
import { store } from "./state.js";

const TOOLS = ["point", "box", "polygon"];
const EDGES = ["west", "south", "east", "north"];
let form = "point"; // which inputs are seen

function showForm(type) {
  form = type;
  for (const tool of TOOLS) $(`inputs-${tool}`).hidden = tool !== type;
}

function number(id, limit, negative) {
  const value = degreesOf($(id).value, limit, negative);
  $(id).setAttribute("aria-invalid", String(value === null));
  return value;
}

/** The place that was typed; throws a sentence. */
function typed() {
  if (form === "polygon") return { type: "polygon", geometry: readPolygon($("corners").value) };
  if (form === "point") {
    const [lat, lon] = [number("lat", 90, "s"), number("lon", 180, "w")];
    if (lat === null)
      throw new Error("The latitude is no number from −90 to 90; give one such as 50.85.");
    if (lon === null)
      throw new Error("The longitude is no number from −180 to 180; give one such as 3.05.");
    return { type: "point", lon, lat };
  }
  const bbox = EDGES.map((edge, n) => number(edge, n % 2 ? 90 : 180, "sw"));
  if (bbox.includes(null))
    throw new Error(
      "An edge of the box is no number of degrees; give west, south, east and north.",
    );
  if (bbox[0] >= bbox[2] || bbox[1] >= bbox[3])
    throw new Error("The box has no area; west must be less than east, and south less than north.");
  return { type: "box", bbox };
}

function showPlace({ place }) {
  $("place-clear").hidden = !place;
  tell($("place-problem"), null);
  if (!place) {
    $("place-brief").textContent = "none";
    return;
  }
  showForm(place.type);
  if (place.type === "point") {
    $("lat").value = place.lat.toFixed(5);
    $("lon").value = place.lon.toFixed(5);
    $("place-brief").textContent = format.coordinates(place.lon, place.lat);
  } else {
    $("place-brief").textContent = format.area(areaOf(place));
    if (place.type === "box")
      EDGES.forEach((edge, n) => ($(edge).value = place.bbox[n].toFixed(5)));
    else $("corners").value = cornersOf(place.geometry);
  }
}

function cornersOf({ type, coordinates }) {
  if (type !== "Polygon" || coordinates.length > 1) return JSON.stringify({ type, coordinates });
  return coordinates[0]
    .slice(0, -1)
    .map((point) => point.map((v) => Number(v.toFixed(5))).join(" "))
    .join(", ");
}

/** @param {(place: any) => void} goTo brings a place into sight */
export function startPlace(goTo) {
  for (const tool of TOOLS) {
    $(`tool-${tool}`).addEventListener("click", () => {
      showForm(tool);
      store.set({ tool });
    });
  }
  store.on(["tool"], ({ tool, place }) => {
    for (const name of TOOLS) $(`tool-${name}`).setAttribute("aria-pressed", String(name === tool));
    if (tool === "point" && place) showForm(place.type);
  });
  $("place-form").addEventListener("submit", (event) => {
    event.preventDefault();
    try {
      const place = typed();
      tell($("place-problem"), null);
      store.set({ place, tool: "point" });
      goTo(place);
    } catch (error) {
      tell($("place-problem"), error.message);
    }
  });
  $("place-clear").addEventListener("click", () => {
    store.set({ place: null });
    for (const id of ["lat", "lon", ...EDGES, "corners"]) $(id).value = "";
    showForm("point");
    say("No place is chosen.");
    $("tool-point").focus();
  });
  store.on(["place"], showPlace);
}
