/** Choosing a place on the map: a click, a drawn box or polygon; by pointer, touch and keys. */

import { $, say, tell } from "./dom.js";
import { bounds, round } from "./geo.js";
import { boundsOf, show } from "./map.js";
import { store } from "./state.js";

const TOUCH = matchMedia("(pointer: coarse)");
const HINTS = {
  box: "Drag a box on the map. Escape ends.",
  polygon: "Set corners; a double click or Enter ends the polygon, Escape drops it.",
};
const CLOSE = 12; // pixels from the first corner that close a polygon

/** @param {any} map */
export function startDraw(map) {
  /** @type {number[][]} */
  let corners = [];
  let start = null;
  const canvas = map.getCanvas();

  let finished = 0;
  const finish = (place) => {
    corners = [];
    start = null;
    finished = performance.now();
    store.set({ place, tool: "point" });
  };
  const cancel = () => {
    corners = [];
    start = null;
    showPlace(map, store.get().place);
    store.set({ tool: "point" });
  };
  const at = ({ lngLat }) => [round(lngLat.wrap().lng, 5), round(lngLat.lat, 5)];
  const boxTo = (end) => [
    Math.min(start[0], end[0]),
    Math.min(start[1], end[1]),
    Math.max(start[0], end[0]),
    Math.max(start[1], end[1]),
  ];

  const begin = (event) => {
    if (store.get().tool !== "box" || event.originalEvent.touches?.length > 1) return;
    event.preventDefault(); // the map stays where it is
    start = at(event);
  };
  const move = (event) => {
    const { tool } = store.get();
    if (tool === "box" && start) show(map, "place", ring(boxTo(at(event))));
    if (tool === "polygon" && corners.length) show(map, "place", sketch([...corners, at(event)]));
  };
  const end = (event) => {
    if (store.get().tool !== "box" || !start) return;
    const bbox = boxTo(at(event));
    start = null;
    if (bbox[0] < bbox[2] && bbox[1] < bbox[3]) finish({ type: "box", bbox });
  };
  map.on("mousedown", begin);
  map.on("touchstart", begin);
  map.on("mousemove", move);
  map.on("touchmove", move);
  map.on("mouseup", end);
  map.on("touchend", end);

  const close = () => {
    if (corners.length < 3) {
      say("A polygon needs three corners at least.");
      return;
    }
    finish({
      type: "polygon",
      geometry: { type: "Polygon", coordinates: [[...corners, corners[0]]] },
    });
  };
  const corner = (event) => {
    const first = corners.length > 2 ? map.project(corners[0]) : null;
    if (first && Math.hypot(first.x - event.point.x, first.y - event.point.y) < CLOSE) {
      close();
      return;
    }
    const point = at(event);
    const before = corners.at(-1);
    if (before && before[0] === point[0] && before[1] === point[1]) return; // of a double click
    corners.push(point);
    show(map, "place", sketch(corners));
    say(`${corners.length} corners`);
  };
  map.on("click", (event) => {
    const { tool } = store.get();
    if (tool === "polygon") corner(event);
    // Not the second half of a double click that ended a polygon.
    else if (tool === "point" && performance.now() - finished > 350) {
      const [lon, lat] = at(event);
      finish({ type: "point", lon, lat });
    }
  });
  map.on("dblclick", (event) => {
    if (store.get().tool !== "polygon") return;
    event.preventDefault(); // no zoom
    close();
  });

  // By keys: the arrows move the map below a cross, Enter takes what is under it.
  canvas.addEventListener("keydown", (event) => {
    if (event.key !== "Enter" && event.key !== " ") return;
    event.preventDefault();
    const centre = map.getCenter().wrap();
    const place = { lngLat: centre, point: map.project(centre) };
    const { tool } = store.get();
    if (tool === "polygon") {
      if (event.key === "Enter" && corners.length > 2) close();
      else corner(place);
    } else if (tool === "box") {
      if (start) end(place);
      else start = at(place);
    } else finish({ type: "point", lon: at(place)[0], lat: at(place)[1] });
  });
  canvas.addEventListener("focus", () => ($("cross").hidden = !canvas.matches(":focus-visible")));
  canvas.addEventListener("blur", () => ($("cross").hidden = true));
  document.addEventListener("keydown", (event) => {
    if (event.key === "Escape" && store.get().tool !== "point") cancel();
  });

  const hint = ({ tool, place }) => {
    const first = `${TOUCH.matches ? "Tap" : "Click"} a place for its soil moisture on all dates.`;
    tell($("hint"), HINTS[tool] ?? (place ? null : first));
  };
  hint(store.get());
  store.on(["tool", "place"], hint);
  store.on(["tool"], ({ tool }) => {
    corners = [];
    start = null;
    canvas.classList.toggle("drawing", tool !== "point");
    if (tool === "polygon") map.doubleClickZoom.disable();
    else map.doubleClickZoom.enable();
  });
  store.on(["place"], ({ place }) => showPlace(map, place));
}

/** Draw a place; of a point nothing but its mark. */
export function showPlace(map, place) {
  if (!place) show(map, "place", null);
  else if (place.type === "point")
    show(map, "place", { type: "Point", coordinates: [place.lon, place.lat] });
  else show(map, "place", place.type === "box" ? ring(place.bbox) : place.geometry);
}

const ring = ([west, south, east, north]) => ({
  type: "Polygon",
  coordinates: [
    [
      [west, south],
      [east, south],
      [east, north],
      [west, north],
      [west, south],
    ],
  ],
});

const sketch = (points) =>
  points.length > 2
    ? { type: "Polygon", coordinates: [[...points, points[0]]] }
    : { type: "LineString", coordinates: points.length > 1 ? points : [points[0], points[0]] };

/** Whether a place is out of what a map shows. */
export function outOfSight(map, place) {
  const [west, south, east, north] = boundsOf(map);
  const box =
    place.type === "point"
      ? [place.lon, place.lat, place.lon, place.lat]
      : place.type === "box"
        ? place.bbox
        : bounds(place.geometry);
  return box[0] < west || box[1] < south || box[2] > east || box[3] > north;
}
