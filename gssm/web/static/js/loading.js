/** Whether maps are being loaded: for eyes, for readers of the screen and for tests. */

import { $, toast } from "./dom.js";

const maps = new Set();
let opening = 0;
let told = "";
let timer = 0;
const AGAIN = 500; // milliseconds

function show() {
  const busy = opening > 0 || [...maps].some((map) => !map.areTilesLoaded());
  $("busy").hidden = !busy;
  document.body.dataset.map = busy ? "loading" : "idle";
  // Of tiles that do not come (an error, 404) no event tells.
  clearTimeout(timer);
  if (busy) timer = setTimeout(show, AGAIN);
}

/** Follow a map from now on. @param {any} map */
export function follow(map) {
  maps.add(map);
  map.on("sourcedataloading", show);
  map.on("idle", show);
  map.on("error", ({ error }) => {
    const sentence = error?.status ? "A part of the map could not be loaded." : error?.message;
    if (sentence && sentence !== told) toast(sentence);
    told = sentence ?? "";
  });
  show();
}

/** Say that maps are loading until something has ended. @param {Promise<any>} ending */
export async function during(ending) {
  opening += 1;
  show();
  try {
    return await ending;
  } finally {
    opening -= 1;
    show();
  }
}

/** Note when the first date was seen (milliseconds), for those who measure. @param {any} map */
export function timeFirst(map) {
  const look = () => {
    if (!map.getSource("soil_moisture") || !map.isSourceLoaded("soil_moisture")) return;
    document.body.dataset.first = String(Math.round(performance.now()));
    map.off("render", look);
  };
  map.on("render", look);
}
