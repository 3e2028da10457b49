/** The dates of the archive and those of the catalogue that are not computed yet, as a list. */

import * as api from "./api.js";
import { $, h, say, tell } from "./dom.js";
import * as format from "./format.js";
import { placeQuery } from "./geo.js";
import { keyOf, store } from "./state.js";

const DAYS = 86_400_000;
// A pass has the time of its first slice, which over a small place may be a later one.
const SAME_PASS = 10 * 60_000;
const onlyDates = api.latest();
const onlyCatalog = api.latest();

/** @typedef {{id: string, time: string, computed: boolean, s2_age: number|null,
 * landsat_age: number|null, relative_orbit: number|null, orbit_state: string|null,
 * platform: string|null, provisional?: boolean, reason?: string}} PassDate */

/** Dates of both kinds in order of time, within the period. @returns {PassDate[]} */
export function allDates(state = store.get()) {
  const computed = (state.dates ?? []).map((date) => ({ ...date, computed: true }));
  const lacking = (state.catalog ? (state.catalogDates ?? []) : [])
    .filter((date) => !computed.some((other) => samePass(date, other)))
    .map((date) => ({ ...date, computed: false }));
  return [...computed, ...lacking]
    .filter((date) => within(date.time, state.period))
    .sort((a, b) => (a.time < b.time ? -1 : 1));
}

function samePass(a, b) {
  const apart = Math.abs(Date.parse(a.time) - Date.parse(b.time));
  return (
    apart <= SAME_PASS &&
    (a.relative_orbit ?? b.relative_orbit) === (b.relative_orbit ?? a.relative_orbit)
  );
}

/** Whether a time lies in the period that was chosen. */
export function within(time, period) {
  const day = time.slice(0, 10);
  return !period || ((!period.from || day >= period.from) && (!period.to || day <= period.to));
}

/** The chosen date with all that is known of it, or undefined. */
export function chosen(state = store.get(), id = state.date) {
  return (
    allDates(state).find((date) => date.id === id) ??
    (state.dates ?? [])
      .filter((date) => date.id === id)
      .map((date) => ({ ...date, computed: true }))[0]
  );
}

/** Choose the date so many places later. @param {number} steps */
export function step(steps) {
  const dates = allDates();
  if (!dates.length) return;
  const { date } = store.get();
  const here = dates.findIndex((found) => found.id === date);
  const next = here < 0 ? dates.length - 1 : Math.min(dates.length - 1, Math.max(0, here + steps));
  choose(dates[next].id);
}

export function choose(id) {
  store.set({ date: id });
  const date = chosen(store.get(), id);
  if (date) say(inWords(date));
}

/** A date as a sentence. @param {PassDate} date */
export function inWords(date) {
  const parts = [
    format.stamp(format.timeOf(date.time)),
    format.orbit(date),
    format.ageInWords(date.s2_age, "Sentinel-2"),
    format.ageInWords(date.landsat_age, "Landsat"),
  ];
  if (date.provisional) parts.push("provisional");
  if (!date.computed)
    parts.push(date.reason ? `cannot be computed: ${date.reason}` : "not computed yet");
  return parts.join(", ");
}

/** Ask for the dates of the dataset and place. */
export async function loadDates(state) {
  if (!state.dataset) return;
  tell($("dates-problem"), null);
  $("dates").setAttribute("aria-busy", "true");
  try {
    const found = await onlyDates((signal) =>
      api.dates(state.dataset, placeQuery(state.place), signal),
    );
    if (!found) return;
    store.set({ dates: found, datesOf: keyOf(state), date: kept(found) });
  } catch (error) {
    store.set({ dates: [], datesOf: keyOf(state) });
    tell($("dates-problem"), error.message);
  }
  $("dates").removeAttribute("aria-busy");
}

/** The chosen date if there is one, or the newest. */
function kept(found) {
  const { date, period, catalog } = store.get();
  const shown = found.filter((one) => within(one.time, period));
  if (date && (catalog || found.some((one) => one.id === date))) return date;
  return (shown.at(-1) ?? found.at(-1))?.id ?? null;
}

/** The period in which the catalogue is asked: what was chosen, or the months around the end. */
function catalogPeriod({ period, detail, limits }) {
  const longest = (limits?.catalog_days ?? 366) - 1;
  const now = Date.now();
  const end = period?.to
    ? Date.parse(period.to)
    : Math.min(now, (detail?.end ? Date.parse(detail.end) : now) + 30 * DAYS);
  const earliest = end - longest * DAYS;
  const start = Math.max(earliest, period?.from ? Date.parse(period.from) : end - 90 * DAYS);
  const text = (time) => format.isoDay(new Date(time));
  return {
    from: text(start),
    to: text(end),
    cut: Boolean(period?.from) && Date.parse(period.from) < earliest,
  };
}

async function loadCatalog(state) {
  const offered = Boolean(state.detail?.catalog);
  $("catalog-row").hidden = !offered;
  $("catalog").checked = state.catalog;
  $("catalog").disabled = !state.place;
  $("catalog-note").textContent = state.place ? "" : "choose a place first";
  if (!offered || !state.catalog || !state.place) {
    store.set({ catalogDates: null });
    return;
  }
  const { from, to, cut } = catalogPeriod(state);
  $("catalog-note").textContent = "asking the catalogue …";
  try {
    const found = await onlyCatalog((signal) =>
      api.catalogDates({ ...placeQuery(state.place), datetime: `${from}/${to}` }, signal),
    );
    if (!found) return;
    store.set({ catalogDates: found });
    const span = `${format.day(new Date(from))} to ${format.day(new Date(to))}`;
    $("catalog-note").textContent = `${span}${cut ? ", as a year is asked at most" : ""}`;
  } catch (error) {
    store.set({ catalogDates: [] });
    $("catalog-note").textContent = "";
    tell($("dates-problem"), error.message);
  }
}

// The signs of a row are for eyes; readers of the screen hear a sentence.
const hidden = { "aria-hidden": "true" };

function row(date, state) {
  const time = format.timeOf(date.time);
  const tags = [];
  if (date.reason) tags.push(h("span", { class: "tag" }, "no map"));
  if (date.provisional) tags.push(h("span", { class: "tag" }, "prov."));
  return h(
    "div",
    {
      role: "option",
      id: `date-${date.id}`,
      "data-date": date.id,
      class: date.computed ? "date" : "date lacking",
      "aria-selected": String(date.id === state.date),
      title: date.reason,
    },
    h("span", { class: "unseen" }, inWords(date)),
    h(
      "span",
      { class: "when", ...hidden },
      h("i", { class: "dot" }),
      h("b", {}, format.day(time)),
      h("span", {}, format.clock(time)),
      ...tags,
    ),
    h("span", hidden, format.orbit(date, true)),
    h("span", hidden, format.age(date.s2_age)),
    h("span", hidden, format.age(date.landsat_age)),
  );
}

/** What the signs of the list mean. */
function note(dates, lacking) {
  const parts = ["Days from the radar to the optical images: the nearer, the better."];
  if (dates.some((date) => date.provisional))
    parts.push(" prov.: provisional, as a better image may still come.");
  if (lacking)
    parts.unshift(
      h(
        "span",
        { class: "signs" },
        h("i", { class: "dot" }),
        "computed ",
        h("i", { class: "dot open" }),
        "not computed yet",
      ),
    );
  return parts;
}

function showList(state) {
  const list = $("dates");
  const dates = allDates(state).reverse();
  list.replaceChildren(...dates.map((date) => row(date, state)));
  if (!dates.length && state.dates) {
    const where = state.place ? "at this place" : "in this dataset";
    list.append(
      h("p", { class: "empty" }, `No date ${where}${state.period ? " in this period" : ""}.`),
    );
  }
  const lacking = dates.filter((date) => !date.computed).length;
  $("dates-note").replaceChildren(...note(dates, lacking));
  $("dates-brief").textContent = state.dates
    ? `${dates.length - lacking}${lacking ? ` + ${lacking} not computed` : ""}`
    : "";
  showChosen(state);
}

function showChosen(state) {
  const list = $("dates");
  for (const option of list.querySelectorAll("[role=option]")) {
    const here = option.dataset.date === state.date;
    option.setAttribute("aria-selected", String(here));
    if (here) reveal(list, option);
  }
  if (document.getElementById(`date-${state.date}`))
    list.setAttribute("aria-activedescendant", `date-${state.date}`);
  else list.removeAttribute("aria-activedescendant");
}

/** Scroll the list alone, not what lies around it. */
function reveal(list, option) {
  const top = option.offsetTop - list.offsetTop;
  if (top < list.scrollTop) list.scrollTop = top;
  else if (top + option.offsetHeight > list.scrollTop + list.clientHeight) {
    list.scrollTop = top + option.offsetHeight - list.clientHeight;
  }
}

const KEYS = {
  ArrowDown: -1,
  ArrowUp: 1,
  PageDown: -10,
  PageUp: 10,
  Home: Infinity,
  End: -Infinity,
};

function startPeriod() {
  const change = () => {
    const [from, to] = [$("from").value || null, $("to").value || null];
    if (from && to && from > to) {
      tell($("dates-problem"), "The period ends before it begins; change one of its dates.");
      return;
    }
    tell($("dates-problem"), null);
    store.set({ period: from || to ? { from, to } : null });
  };
  $("from").addEventListener("change", change);
  $("to").addEventListener("change", change);
  $("period-clear").addEventListener("click", () => store.set({ period: null }));
  store.on(["period"], ({ period }) => {
    $("from").value = period?.from ?? "";
    $("to").value = period?.to ?? "";
    $("period-clear").hidden = !period;
  });
}

export function startDates() {
  store.on(["dataset", "place"], loadDates);
  store.on(["detail", "place", "catalog", "period"], loadCatalog);
  store.on(["dates", "catalogDates", "period", "catalog"], showList);
  store.on(["date"], showChosen);
  startPeriod();
  $("catalog").addEventListener("change", (event) => store.set({ catalog: event.target.checked }));
  const list = $("dates");
  list.addEventListener("click", (event) => {
    const option = event.target.closest("[role=option]");
    if (option) choose(option.dataset.date);
  });
  list.addEventListener("keydown", (event) => {
    if (!(event.key in KEYS)) return;
    event.preventDefault();
    step(Math.max(-1e9, Math.min(1e9, KEYS[event.key])));
  });
}
