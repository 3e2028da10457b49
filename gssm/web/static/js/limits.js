/** What the data can and cannot say, whom they come from, and how to cite them. */

import { $, h, toast } from "./dom.js";
import { printed } from "./format.js";
import { store } from "./state.js";

const SOURCES = [
  ["Contains modified Copernicus Sentinel data", "https://dataspace.copernicus.eu/"],
  ["Landsat courtesy of the U.S. Geological Survey", "https://www.usgs.gov/landsat-missions"],
  ["Outlines: Natural Earth", "https://www.naturalearthdata.com/"],
];

const link = ([text, href]) => h("a", { href, rel: "noopener" }, text);

function credits() {
  const parts = SOURCES.flatMap((source, n) => (n ? [" · ", link(source)] : [link(source)]));
  return [...parts, "."];
}

/** Plain sentences, in plain words, first what a reader must know. */
function sentences(detail) {
  return h(
    "ul",
    { class: "plain" },
    ...detail.limitations.map((sentence) => h("li", {}, sentence)),
  );
}

async function copy(text) {
  try {
    await navigator.clipboard.writeText(text);
    toast("Copied.");
  } catch {
    toast("The browser does not allow copying; select the text instead.");
  }
}

function about({ detail, limits }) {
  const fact = (name, value) => (value ? [h("dt", {}, name), h("dd", {}, value)] : []);
  return [
    h("h3", {}, "What the map cannot tell"),
    sentences(detail),
    h("h3", {}, "What it shows"),
    h(
      "dl",
      {},
      ...detail.variables.flatMap(({ title, units, range }) => {
        const unit = printed(units);
        return fact(
          title,
          unit ? `${unit}, shown from ${range[0]} to ${range[1]}` : "see the legend",
        );
      }),
    ),
    h("h3", {}, "Citation"),
    h("p", { class: "citation" }, detail.citation),
    h("button", { type: "button", onclick: () => copy(detail.citation) }, "Copy citation"),
    h("h3", {}, "Licence and sources"),
    h("p", {}, detail.licence),
    h("p", {}, ...credits()),
    limits ? h("h3", {}, "Limits of this server") : null,
    limits
      ? h(
          "dl",
          {},
          ...fact("Area of a series or download", `${limits.box_km2} km²`),
          ...fact("Area of a prediction", `${limits.job_km2} km²`),
          ...fact("Period of a download", `${limits.download_days} days`),
        )
      : null,
  ].filter(Boolean);
}

export function startLimits() {
  $("credits").replaceChildren(...credits());
  store.on(["detail"], ({ detail }) => {
    if (!detail) return;
    $("limits").replaceChildren(
      sentences(detail),
      h(
        "button",
        { type: "button", class: "quiet", onclick: openAbout },
        "Citation, licence and more",
      ),
    );
  });
  const dialog = $("about");
  function openAbout() {
    const state = store.get();
    if (!state.detail) return;
    $("about-body").replaceChildren(...about(state));
    dialog.showModal();
  }
  $("about-open").addEventListener("click", openAbout);
  $("about-close").addEventListener("click", () => dialog.close());
  dialog.addEventListener("click", (event) => {
    if (event.target === dialog) dialog.close();
  });
}
