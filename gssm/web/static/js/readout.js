/** What is known of a place on one date, as text. */

import { h } from "./dom.js";
import * as format from "./format.js";
import { colorOf } from "./legend.js";

const fact = (name, ...value) => [h("dt", {}, name), h("dd", {}, ...value)];

/** A bar with the colours of the map, the value and its interval. */
function gauge(legend, value, interval) {
  if (!legend?.entries.length) return null;
  const { entries } = legend;
  const [low, high] = [entries[0].from, entries.at(-1).to];
  const at = (v) => `${100 * Math.min(1, Math.max(0, (v - low) / (high - low)))}%`;
  const range = h("i", { class: "interval" });
  range.style.left = at(interval?.[0] ?? value);
  range.style.right = `calc(100% - ${at(interval?.[1] ?? value)})`;
  const needle = h("i", { class: "needle" });
  needle.style.left = at(value);
  return h(
    "div",
    { class: "gauge", "aria-hidden": "true" },
    h("div", { class: "swatches" }, ...entries.map((entry) => h("i", { color: entry.color }))),
    range,
    needle,
    h("div", { class: "gauge-ends" }, h("span", {}, String(low)), h("span", {}, String(high))),
  );
}

const big = (value, units) =>
  h(
    "p",
    { class: "value" },
    h("b", {}, format.moisture(value)),
    " ",
    h("span", { class: "units" }, format.printed(units)),
  );

/** Readout of a point. @param {any} point @param {any} legend */
export function pointReadout(point, legend) {
  const parts = [];
  if (point.soil_moisture === null) parts.push(h("p", { class: "value none" }, "No value"));
  else {
    const { interval } = point;
    parts.push(big(point.soil_moisture, point.units));
    parts.push(
      h(
        "p",
        { class: "between" },
        interval
          ? `90 % interval ${format.moisture(interval[0])} to ${format.moisture(interval[1])}`
          : "The model gives no interval",
      ),
    );
    parts.push(gauge(legend, point.soil_moisture, interval));
  }
  const flags = point.flags.length
    ? h(
        "ul",
        { class: "flag-list" },
        ...point.flags.map(({ name, description }) =>
          h(
            "li",
            {},
            h("b", {}, format.words(name)),
            description ? h("span", {}, description) : null,
          ),
        ),
      )
    : "none";
  parts.push(
    h(
      "dl",
      {},
      ...fact(
        "Radar",
        `${format.stamp(format.timeOf(point.time))}, ${format.platform(point.platform)}, ${format.orbit(point)}`,
      ),
      ...fact(
        "Optical",
        `${format.ageInWords(point.s2_age, "Sentinel-2")}; ${format.ageInWords(point.landsat_age, "Landsat")}`,
      ),
      ...fact("Flags", flags),
      ...fact("Square", `${point.square}, pixel of 10 m`),
    ),
  );
  return parts;
}

/** Bars of a histogram in the colours of the map. */
function histogram({ edges, counts }, legend) {
  const most = Math.max(1, ...counts);
  const last = counts.findLastIndex((count) => count > 0);
  const shown = Math.max(20, last + 1);
  const bars = counts.slice(0, shown).map((count, n) => {
    const middle = (edges[n] + edges[n + 1]) / 2;
    const bar = h("i", {
      color: colorOf(legend, middle),
      title: `${edges[n].toFixed(3)} to ${edges[n + 1].toFixed(3)}: ${format.whole(count)} pixels`,
    });
    bar.style.height = `${(100 * count) / most}%`;
    return bar;
  });
  return h(
    "div",
    { class: "histogram", "aria-hidden": "true" },
    h("div", { class: "bars" }, ...bars),
    h(
      "div",
      { class: "gauge-ends" },
      h("span", {}, String(edges[0])),
      h("span", {}, String(Number(edges[shown]?.toFixed(3) ?? edges.at(-1)))),
    ),
  );
}

const share = ([name, part]) =>
  h("li", {}, h("span", {}, format.words(name)), h("span", {}, format.percent(part)));

/** Readout of an area. @param {any} found statistics @param {any} legend @param {string} date */
export function areaReadout(found, legend, date) {
  const { percentiles } = found;
  const flags = Object.entries(found.flags)
    .filter(([, share]) => share > 0)
    .sort((a, b) => b[1] - a[1]);
  const parts =
    found.mean === null
      ? [h("p", { class: "value none" }, "No value")]
      : [
          big(found.mean, found.units),
          h(
            "p",
            { class: "between" },
            `mean of the area; half of its pixels from ${format.moisture(percentiles.p25)} to ${format.moisture(percentiles.p75)}`,
          ),
          histogram(found.histogram, legend),
        ];
  const width =
    found.mean_uncertainty === null
      ? "–"
      : `± ${format.moisture(found.mean_uncertainty)} at a pixel`;
  parts.push(
    h(
      "dl",
      {},
      ...fact("Date", format.stamp(format.timeOf(date))),
      ...fact(
        "Pixels",
        `${format.whole(found.valid)} of ${format.whole(found.pixels)} with a value`,
      ),
      ...fact("Median", format.moisture(found.median)),
      ...fact(
        "5 to 95 %",
        `${format.moisture(percentiles.p5)} to ${format.moisture(percentiles.p95)}`,
      ),
      ...fact("Spread", `${format.moisture(found.std)} (standard deviation)`),
      ...fact(
        "Interval",
        h(
          "span",
          { title: "Errors of neighbours go together: the mean is hardly surer than a pixel." },
          `${width} (90 %)`,
        ),
      ),
      ...fact("Flags", flags.length ? h("ul", { class: "shares" }, ...flags.map(share)) : "none"),
    ),
  );
  return parts;
}

/** Rows of a series as a table, newest first. @param {import("./chart.js").ChartRow[]} rows */
export function table(rows, selected, onPick) {
  const head = ["Date, UTC", "Soil moisture", "90 % interval", "Sentinel-2", "Landsat", "Flags"];
  return h(
    "table",
    {},
    h(
      "caption",
      { class: "unseen" },
      `Soil moisture in ${format.UNITS}; ages in days from the radar`,
    ),
    h("thead", {}, h("tr", {}, ...head.map((text) => h("th", { scope: "col" }, text)))),
    h(
      "tbody",
      {},
      ...rows
        .toReversed()
        .map((row) =>
          h(
            "tr",
            { "aria-current": row.date === selected ? "date" : null },
            h(
              "th",
              { scope: "row" },
              h(
                "button",
                { type: "button", class: "link", onclick: () => onPick(row.date) },
                format.stamp(format.timeOf(row.time)),
              ),
            ),
            h("td", {}, format.moisture(row.value)),
            h(
              "td",
              {},
              row.low === null ? "–" : `${format.moisture(row.low)} – ${format.moisture(row.high)}`,
            ),
            h("td", {}, format.age(row.s2_age)),
            h("td", {}, format.age(row.landsat_age)),
            h("td", {}, row.flags || "none"),
          ),
        ),
    ),
  );
}
