/** Labels of a line of time: days, weeks, months or years. */

import * as format from "./format.js";

const YEAR = 365.25 * 86_400_000;

/** Round times between two, as many as there is room for, each with a text.
 * @param {number} first @param {number} last @param {number} width pixels between them
 * @returns {[number, string][]} */
export function ticks(first, last, width) {
  const most = Math.max(2, Math.floor(width / 70));
  const found = [];
  const units = [
    [86_400_000, "day"],
    [7 * 86_400_000, "week"],
    [YEAR / 12, "month"],
    [YEAR / 4, "quarter"],
    [YEAR, "year"],
    [5 * YEAR, "lustrum"],
  ];
  const [, unit] = units.find(([length]) => (last - first) / length <= most) ?? units.at(-1);
  const time = new Date(first);
  time.setUTCHours(0, 0, 0, 0);
  if (unit === "week") time.setUTCDate(time.getUTCDate() - ((time.getUTCDay() + 6) % 7));
  if (["month", "quarter", "year", "lustrum"].includes(unit)) time.setUTCDate(1);
  if (["year", "lustrum"].includes(unit)) time.setUTCMonth(0);
  if (unit === "quarter") time.setUTCMonth(3 * Math.floor(time.getUTCMonth() / 3));
  while (time.getTime() < last && found.length < 200) {
    if (time.getTime() > first) found.push([time.getTime(), label(time, unit)]);
    if (unit === "day") time.setUTCDate(time.getUTCDate() + 1);
    else if (unit === "week") time.setUTCDate(time.getUTCDate() + 7);
    else
      time.setUTCMonth(time.getUTCMonth() + { month: 1, quarter: 3, year: 12, lustrum: 60 }[unit]);
  }
  return found;
}

function label(time, unit) {
  if (unit === "year" || unit === "lustrum") return String(time.getUTCFullYear());
  const [number, month, year] = format.day(time).split(" ");
  if (unit === "day" || unit === "week") return `${number} ${month}`;
  return month === "Jan" ? year : month;
}
