/** The series of a place by uPlot, which is loaded with the first one. */

import { colorOf } from "./legend.js";
import * as format from "./format.js";
import { color } from "./theme.js";
import { ticks } from "./ticks.js";

const VENDOR = new URL("../vendor/uplot/", import.meta.url);
let library = null;

function loadUplot() {
  library ??= (() => {
    const sheet = document.createElement("link");
    sheet.rel = "stylesheet";
    sheet.href = new URL("uPlot.min.css", VENDOR).href;
    document.head.append(sheet);
    return import(new URL("uPlot.esm.js", VENDOR).href).then((module) => module.default);
  })();
  return library;
}

/** @typedef {{date: string, time: string, value: number|null, low: number|null, high: number|null,
 * flags: string, s2_age: number|null, landsat_age: number|null}} ChartRow */

const FONT = "11px system-ui, sans-serif";

/** Draw a chart.
 * @param {HTMLElement} container @param {ChartRow[]} rows in order of time
 * @param {{legend: any, selected: string|null, onPick: (date: string) => void,
 *   onHover: (row: ChartRow|null) => void}} options
 * @returns {Promise<{select: (date: string|null) => void, resize: () => void,
 *   destroy: () => void, png: (title: string) => Promise<Blob>}>} */
export async function createChart(container, rows, options) {
  const uPlot = await loadUplot();
  let { selected } = options;
  const data = [
    rows.map((row) => Date.parse(row.time) / 1000),
    rows.map((row) => row.high),
    rows.map((row) => row.low),
    rows.map((row) => row.value),
  ];
  const highest = Math.max(0.5, ...rows.map((row) => row.high ?? row.value ?? 0));
  const ink = color("--muted");
  const axis = {
    stroke: ink,
    font: FONT,
    grid: { stroke: color("--line"), width: 1 },
    ticks: { stroke: color("--line"), width: 1, size: 4 },
  };
  const size = () => ({
    width: Math.max(200, container.clientWidth),
    height: Math.max(120, container.clientHeight),
  });

  const chart = new uPlot(
    {
      ...size(),
      tzDate: (seconds) => uPlot.tzDate(new Date(1000 * seconds), "Etc/UTC"),
      legend: { show: false },
      padding: [10, 12, 0, 0],
      scales: { x: { time: true, range: padded }, y: { range: [0, Math.ceil(highest * 20) / 20] } },
      cursor: {
        drag: { x: true, y: false },
        points: { show: false },
        y: false,
        focus: { prox: 30 },
      },
      axes: [
        {
          ...axis,
          size: 24,
          splits: (plot, _, low, high) => labels(plot, low, high).map(([time]) => time / 1000),
          values: (plot) =>
            labels(plot, plot.scales.x.min, plot.scales.x.max).map(([, text]) => text),
        },
        {
          ...axis,
          size: 42,
          gap: 4,
          space: 34,
          values: (_, ticks) => ticks.map((v) => v.toFixed(2)),
        },
      ],
      series: [
        {},
        { stroke: "transparent", points: { show: false } },
        { stroke: "transparent", points: { show: false } },
        { stroke: color("--ink"), width: 1.25, spanGaps: true, points: { show: false } },
      ],
      bands: [{ series: [1, 2], fill: color("--band") }],
      hooks: {
        draw: [(plot) => mark(plot, rows, data, options.legend, selected)],
        setCursor: [
          (plot) =>
            options.onHover(
              plot.cursor.idx === null || plot.cursor.left < 0 ? null : rows[plot.cursor.idx],
            ),
        ],
      },
    },
    data,
    container,
  );

  let down = null;
  chart.over.addEventListener("pointerdown", (event) => (down = event.clientX));
  chart.over.addEventListener("click", (event) => {
    // The end of a drag, which zooms, picks nothing.
    if (down !== null && Math.abs(event.clientX - down) > 4) return;
    const { idx } = chart.cursor;
    if (idx !== null && idx !== undefined && rows[idx]) options.onPick(rows[idx].date);
  });

  return {
    select(date) {
      selected = date;
      chart.redraw(false);
    },
    resize: () => chart.setSize(size()),
    destroy: () => chart.destroy(),
    png: (title) => image(chart, title),
  };
}

const labels = (plot, low, high) =>
  ticks(1000 * low, 1000 * high, plot.bbox.width / devicePixelRatio);

/** A little room on either side, so that the outer points are whole. */
function padded(_, low, high) {
  const room = Math.max((high - low) * 0.03, 86_400);
  return [low - room, high + room];
}

/** Points in the colours of the map: flagged ones open, dates without a value as crosses below. */
function mark(plot, rows, data, legend, selected) {
  const { ctx } = plot;
  const ratio = devicePixelRatio;
  const { left, top, width, height } = plot.bbox;
  ctx.save();
  ctx.beginPath();
  ctx.rect(left, top - 6 * ratio, width, height + 12 * ratio);
  ctx.clip();
  rows.forEach((row, n) => {
    const x = plot.valToPos(data[0][n], "x", true);
    if (row.date === selected) line(ctx, x, top, top + height, ratio);
  });
  rows.forEach((row, n) => {
    const x = plot.valToPos(data[0][n], "x", true);
    if (x < left - 10 || x > left + width + 10) return;
    if (row.value === null) cross(ctx, x, top + height - 6 * ratio, ratio);
    else
      dot(ctx, x, plot.valToPos(row.value, "y", true), row, legend, ratio, row.date === selected);
  });
  ctx.restore();
}

function line(ctx, x, from, to, ratio) {
  ctx.strokeStyle = color("--accent-strong");
  ctx.lineWidth = 1.5 * ratio;
  ctx.beginPath();
  ctx.moveTo(x, from);
  ctx.lineTo(x, to);
  ctx.stroke();
}

function cross(ctx, x, y, ratio) {
  ctx.strokeStyle = color("--muted");
  ctx.lineWidth = 1.25 * ratio;
  const r = 3 * ratio;
  ctx.beginPath();
  ctx.moveTo(x - r, y - r);
  ctx.lineTo(x + r, y + r);
  ctx.moveTo(x + r, y - r);
  ctx.lineTo(x - r, y + r);
  ctx.stroke();
}

function dot(ctx, x, y, row, legend, ratio, isSelected) {
  ctx.beginPath();
  ctx.arc(x, y, (isSelected ? 5.5 : 4) * ratio, 0, 2 * Math.PI);
  ctx.fillStyle = row.flags ? color("--panel") : colorOf(legend, row.value);
  ctx.fill();
  ctx.lineWidth = (row.flags ? 2 : 1) * ratio;
  ctx.strokeStyle = isSelected
    ? color("--accent-strong")
    : row.flags
      ? colorOf(legend, row.value)
      : color("--ink");
  ctx.stroke();
}

/** The chart with a title and its units as an image. */
function image(plot, title) {
  const ratio = devicePixelRatio;
  const head = 30 * ratio;
  const canvas = document.createElement("canvas");
  canvas.width = plot.ctx.canvas.width;
  canvas.height = plot.ctx.canvas.height + head;
  const ctx = canvas.getContext("2d");
  ctx.fillStyle = color("--panel");
  ctx.fillRect(0, 0, canvas.width, canvas.height);
  ctx.drawImage(plot.ctx.canvas, 0, head);
  ctx.fillStyle = color("--ink");
  ctx.font = `${12 * ratio}px system-ui, sans-serif`;
  ctx.fillText(`${title}, ${format.UNITS}; band: 90 % interval`, 10 * ratio, 20 * ratio);
  return new Promise((resolve) => canvas.toBlob(resolve, "image/png"));
}
