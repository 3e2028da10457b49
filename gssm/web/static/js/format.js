/** Numbers, dates and places as text; times are UTC everywhere. */

export const UNITS = "m³ m⁻³";
const UTC = { timeZone: "UTC" };
const DAY = new Intl.DateTimeFormat("en-GB", {
  ...UTC,
  day: "numeric",
  month: "short",
  year: "numeric",
});
const WEEKDAY = new Intl.DateTimeFormat("en-GB", { ...UTC, weekday: "short" });
const CLOCK = new Intl.DateTimeFormat("en-GB", { ...UTC, hour: "2-digit", minute: "2-digit" });
const NUMBER = new Intl.NumberFormat("en-GB", { maximumFractionDigits: 0 });

/** Units of CF as they are printed. @param {string} units */
export function printed(units) {
  return units === "1" ? "" : units.replace("m3 m-3", UNITS);
}

/** The time of a date's id, or of an ISO time. @param {string} text @returns {Date} */
export function timeOf(text) {
  const parts = /^(\d{4})(\d\d)(\d\d)T(\d\d)(\d\d)(\d\d)Z$/.exec(text);
  return new Date(
    parts ? `${parts[1]}-${parts[2]}-${parts[3]}T${parts[4]}:${parts[5]}:${parts[6]}Z` : text,
  );
}

export const day = (time) => DAY.format(time);
export const weekday = (time) => WEEKDAY.format(time);
export const clock = (time) => CLOCK.format(time);
export const stamp = (time) => `${day(time)}, ${clock(time)} UTC`;
/** YYYY-MM-DD. @param {Date} time */
export const isoDay = (time) => time.toISOString().slice(0, 10);

/** Soil moisture, three decimals: the error is larger than the fourth. */
export const moisture = (value) => (value === null || value === undefined ? "–" : value.toFixed(3));
export const whole = (value) => NUMBER.format(value);
export const percent = (share) =>
  share > 0 && share < 0.01 ? "< 1 %" : `${Math.round(100 * share)} %`;

/** An age in days; after the radar it has a plus. @param {number|null} days */
export function age(days) {
  if (days === null || days === undefined) return "–";
  const text = Math.abs(days).toFixed(1);
  return `${text === "0.0" ? "" : days < 0 ? "−" : "+"}${text} d`;
}

/** The same as words. @param {number|null} days @param {string} what */
export function ageInWords(days, what) {
  if (days === null || days === undefined) return `no ${what}`;
  const text = Math.abs(days).toFixed(1);
  if (text === "0.0") return `${what} at the same time`;
  return `${what} ${text} days ${days < 0 ? "before" : "after"} the radar`;
}

/** Degrees with a letter. @param {number} value @param {string} positive @param {string} negative */
const degrees = (value, positive, negative, digits) =>
  `${Math.abs(value).toFixed(digits)}° ${value < 0 ? negative : positive}`;

export function coordinates(lon, lat, digits = 4) {
  return `${degrees(lat, "N", "S", digits)}, ${degrees(lon, "E", "W", digits)}`;
}

export function area(km2) {
  if (km2 < 0.1) return `${(100 * km2).toFixed(km2 < 0.01 ? 2 : 1)} ha`;
  return `${km2 < 10 ? km2.toFixed(2) : whole(km2)} km²`;
}

export function bytes(count) {
  return count < 1e6
    ? `${Math.max(1, Math.round(count / 1e3))} kB`
    : `${(count / 1e6).toFixed(1)} MB`;
}

export const words = (name) => name.replaceAll("_", " ");

const ORBITS = { ascending: "ascending", descending: "descending" };
/** Direction and track of a pass. @param {{orbit_state: string|null, relative_orbit: number|null}} pass */
export function orbit(pass, short = false) {
  const state = ORBITS[pass.orbit_state];
  const arrow = state === "ascending" ? "↑" : state === "descending" ? "↓" : "";
  const track = pass.relative_orbit ?? "–";
  return short ? `${arrow} ${track}` : `${state ?? "unknown"} orbit ${track}`;
}

/** sentinel-1a as Sentinel-1A. @param {string|null} name */
export function platform(name) {
  return name
    ? name.replace(/^sentinel-1(.?)$/i, (_, letter) => `Sentinel-1${letter.toUpperCase()}`)
    : "Sentinel-1";
}
