/** Predictions: offered for a date that is not computed, run, followed and cancelled. */

import * as api from "./api.js";
import { allDates, inWords } from "./dates.js";
import { $, h, say, tell } from "./dom.js";
import * as format from "./format.js";
import { areaOf, boxArea, boxOf } from "./geo.js";
import { store } from "./state.js";

const FINAL = ["done", "failed", "cancelled"];
const TEXTS = {
  queued: "waiting",
  running: "running",
  done: "done",
  failed: "failed",
  cancelled: "cancelled",
};
// Milliseconds between looks at all of them.
const AGAIN = 4000;
const mine = new Set(); // jobs of this page, whose result is shown when it is there
// One at most: a browser has six connections to a server, for all of its pages.
let stream = null;
const unheard = new Set(); // jobs whose stream the server closed
let timer = 0;
let wasBusy = false;
let openDataset = async () => {};

function put(job) {
  const { jobs } = store.get();
  const others = jobs.filter((other) => other.id !== job.id);
  store.set({ jobs: [job, ...others].sort((a, b) => (a.created < b.created ? 1 : -1)) });
}

/** Follow what has not ended: one of this page by its events, the others by a look at times. */
function attend({ jobs }) {
  for (const job of jobs) if (FINAL.includes(job.state) && mine.has(job.id)) end(job);
  const open = document.hidden ? [] : jobs.filter((job) => !FINAL.includes(job.state));
  const own = open.filter((job) => mine.has(job.id) && !unheard.has(job.id));
  const next = own.find((job) => job.state === "running") ?? own.at(-1);
  if (stream?.id !== next?.id) {
    stream?.events.close();
    stream = next ? { id: next.id, events: listen(next) } : null;
  }
  clearTimeout(timer);
  if (open.length > (stream ? 1 : 0)) timer = setTimeout(look, AGAIN);
}

function listen({ id }) {
  const events = api.jobEvents(id);
  events.addEventListener("progress", (event) => put(JSON.parse(event.data)));
  events.addEventListener("error", () => {
    // The browser tries again by itself, unless the server has closed for good.
    if (events.readyState !== EventSource.CLOSED) return;
    unheard.add(id);
    look();
  });
  return events;
}

async function look() {
  const jobs = await api.jobs().catch(() => null);
  if (jobs && JSON.stringify(jobs) !== JSON.stringify(store.get().jobs)) store.set({ jobs });
  else attend(store.get());
}

function end(job) {
  say(`The prediction is ${TEXTS[job.state]}.`);
  mine.delete(job.id);
  if (job.state === "done" && job.dataset) openDataset(job.dataset, job.date);
}

async function run(date, place) {
  tell($("predict-problem"), null);
  const area = place.type === "polygon" ? { geometry: place.geometry } : { bbox: boxOf(place) };
  try {
    const job = await api.createJob({ ...area, date: date.id });
    mine.add(job.id);
    put(job);
    say("The prediction was asked for.");
  } catch (error) {
    tell($("predict-problem"), error.message);
  }
}

async function remove(job) {
  tell($("predict-problem"), null);
  try {
    await api.removeJob(job.id);
    if (!FINAL.includes(job.state)) return;
    const { jobs, datasets, dataset } = store.get();
    store.set({ jobs: jobs.filter((other) => other.id !== job.id) });
    // Its result is gone as well.
    const left = datasets.filter((one) => one.id !== job.dataset);
    if (dataset === job.dataset && left.length) await openDataset(left[0].id, null);
    else store.set({ datasets: left });
  } catch (error) {
    tell($("predict-problem"), error.message);
  }
}

function row(job) {
  const ended = FINAL.includes(job.state);
  const share = job.chunks_total ? job.chunks_done / job.chunks_total : 0;
  const progress = h("progress", { max: 1, "aria-label": `Progress of ${job.title}` });
  if (job.state === "running" && job.chunks_total) progress.value = share;
  const count = job.chunks_total ? `${job.chunks_done} of ${job.chunks_total} chunks` : "";
  return h(
    "li",
    { class: `job ${job.state}`, "data-job": job.id, "data-state": job.state },
    h(
      "div",
      { class: "job-head" },
      h("b", {}, job.title),
      h("span", { class: "tag" }, TEXTS[job.state]),
    ),
    h(
      "p",
      { class: "note" },
      [format.area(boxArea(job.bbox)), ended ? "" : count, ended ? "" : job.message]
        .filter(Boolean)
        .join(" · "),
    ),
    ended ? null : progress,
    ended && job.message
      ? h("p", { class: job.state === "failed" ? "problem" : "note" }, job.message)
      : null,
    h(
      "div",
      { class: "row" },
      job.state === "done" && job.dataset
        ? h("button", { type: "button", onclick: () => openDataset(job.dataset, job.date) }, "Show")
        : null,
      h(
        "button",
        { type: "button", class: "quiet", onclick: () => remove(job) },
        ended ? "Remove" : "Cancel",
      ),
    ),
  );
}

/** What is offered for the chosen date and place, or what is missing for it. */
function offer(state) {
  const brief = "A prediction computes a map for a date that the archive lacks.";
  if (!state.catalog) {
    return [
      h("p", { class: "note" }, brief),
      h(
        "button",
        { type: "button", disabled: !state.place, onclick: () => store.set({ catalog: true }) },
        "Look for dates",
      ),
      state.place
        ? null
        : h("p", { class: "note" }, "Choose a place first: a point, a box or a polygon."),
    ];
  }
  if (!state.place)
    return [
      h("p", { class: "note" }, `${brief} Choose a place first: a point, a box or a polygon.`),
    ];
  const date = allDates(state).find((found) => found.id === state.date);
  if (!date || date.computed)
    return [
      h(
        "p",
        { class: "note" },
        "Choose a date that is not computed yet; in the list it has an open circle.",
      ),
    ];
  const { place, limits } = state;
  const km2 = place.type === "point" ? boxArea(boxOf(place)) : areaOf(place);
  const most = limits?.job_km2;
  const large = most && km2 > most;
  const what =
    place.type === "point"
      ? "A box of 2 km around the point"
      : place.type === "box"
        ? "The box"
        : "The polygon";
  return [
    h("p", {}, inWords(date), "."),
    h(
      "p",
      { class: large ? "problem" : "note" },
      `${what}: ${format.area(km2)}${most ? ` of at most ${most} km²` : ""}.`,
      place.type === "point"
        ? " Draw a box for another area."
        : large
          ? " Draw a smaller one."
          : "",
    ),
    h(
      "button",
      {
        type: "button",
        id: "predict-run",
        class: "primary",
        disabled: Boolean(large || date.reason),
        onclick: () => run(date, place),
      },
      "Run prediction",
    ),
  ];
}

function showOffer(state) {
  const section = $("section-predict");
  section.hidden = !(state.detail?.catalog || state.jobs.length);
  const parts = state.detail?.catalog
    ? offer(state)
    : [h("p", { class: "note" }, "Predictions are asked for on the dataset of an archive.")];
  $("predict-offer").replaceChildren(...parts.filter(Boolean));
  if (document.getElementById("predict-run")) section.open = true;
}

function showJobs({ jobs }) {
  const focus = document.activeElement?.closest?.("[data-job]")?.dataset.job;
  const text = focus ? document.activeElement.textContent : "";
  $("jobs").replaceChildren(...jobs.map(row));
  // The row was made anew: keep the place of who uses keys.
  if (focus) {
    const buttons = [...document.querySelectorAll(`[data-job="${CSS.escape(focus)}"] button`)];
    (buttons.find((button) => button.textContent === text) ?? buttons[0])?.focus();
  }
  const count = (...states) => jobs.filter((job) => states.includes(job.state)).length;
  const parts = [
    [count("running"), "running"],
    [count("queued"), "waiting"],
  ].filter(([number]) => number);
  if (!parts.length && jobs.length) parts.push([jobs.length, "ended"]);
  $("predict-brief").textContent = parts.map((part) => part.join(" ")).join(", ");
  // Once only: who closes it means it.
  const isBusy = count("running", "queued") > 0;
  if (isBusy && !wasBusy) $("section-predict").open = true;
  wasBusy = isBusy;
}

/** @param {(dataset: string, date: string|null) => Promise<void>} open shows a dataset */
export async function startJobs(open) {
  openDataset = open;
  store.on(
    ["detail", "place", "date", "dates", "catalog", "catalogDates", "period", "limits"],
    showOffer,
  );
  store.on(["jobs"], (state) => {
    showJobs(state);
    showOffer(state);
    attend(state);
  });
  document.addEventListener("visibilitychange", () =>
    document.hidden ? attend(store.get()) : look(),
  );
  await look();
}
