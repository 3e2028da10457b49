/** Degrees along the edges of the map, as on the frame of a printed sheet. */

import { $, h } from "./dom.js";

const STEPS = [30, 20, 10, 5, 2, 1, 0.5, 0.2, 0.1, 0.05, 0.02, 0.01, 0.005, 0.002, 0.001];

const CORNER = 60; // pixels, where two texts would meet

function texts(low, high, pixels, letters) {
  const step = STEPS.findLast((s) => (pixels * s) / (high - low) >= 90) ?? STEPS[0];
  const digits = Math.max(0, Math.ceil(-Math.log10(step) - 1e-9));
  const found = [];
  for (let n = Math.ceil(low / step); n * step <= high; n += 1) {
    const place = n * step;
    const value = letters === "EW" ? ((((place + 180) % 360) + 360) % 360) - 180 : place;
    const text = `${Math.abs(value).toFixed(digits)}°`;
    found.push([place, Math.abs(value) < 1e-9 ? text : `${text} ${letters[value < 0 ? 1 : 0]}`]);
  }
  return found.slice(0, 40);
}

function draw(map) {
  const box = map.getBounds();
  const { clientWidth, clientHeight } = map.getContainer();
  const marks = [];
  for (const [lng, text] of texts(box.getWest(), box.getEast(), clientWidth, "EW")) {
    const { x } = map.project([lng, box.getNorth()]);
    if (x < CORNER || x > clientWidth - 30) continue;
    const mark = h("span", { class: "x" }, text);
    mark.style.left = `${x}px`;
    marks.push(mark);
  }
  for (const [lat, text] of texts(box.getSouth(), box.getNorth(), clientHeight, "NS")) {
    const { y } = map.project([box.getWest(), lat]);
    if (y < 26 || y > clientHeight - 10) continue;
    const mark = h("span", { class: "y" }, text);
    mark.style.top = `${y}px`;
    marks.push(mark);
  }
  $("frame").replaceChildren(...marks);
}

/** @param {any} map */
export function startFrame(map) {
  let asked = false;
  const later = () => {
    if (asked) return;
    asked = true;
    requestAnimationFrame(() => {
      asked = false;
      draw(map);
    });
  };
  map.on("move", later);
  map.on("resize", later);
  map.once("load", later);
}
