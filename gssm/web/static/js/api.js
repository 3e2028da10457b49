/** Calls of the API. A problem (RFC 9457) becomes an `ApiError` whose message is its detail. */

const ROOT = new URL("api/v1/", document.baseURI);

export class ApiError extends Error {
  /** @param {string} message @param {number} status */
  constructor(message, status) {
    super(message);
    this.status = status;
  }
}

/** An address of the API; parameters that are null or empty are left out.
 * @param {string} path @param {Record<string, any>} [parameters] */
export function address(path, parameters = {}) {
  const url = new URL(path, ROOT);
  for (const [name, value] of Object.entries(parameters)) {
    if (value !== null && value !== undefined && value !== "")
      url.searchParams.set(name, String(value));
  }
  return url.href;
}

/** Ask, and refuse what is no success.
 * @param {string} url @param {RequestInit} [init] @returns {Promise<Response>} */
export async function ask(url, init = {}) {
  let response;
  try {
    response = await fetch(url, { credentials: "same-origin", ...init });
  } catch (error) {
    if (error instanceof DOMException && error.name === "AbortError") throw error;
    throw new ApiError("The server cannot be reached; check the connection and try again.", 0);
  }
  if (response.ok) return response;
  const problem = await response.json().catch(() => ({}));
  const sentence =
    problem.detail || problem.title || `The server answered with error ${response.status}.`;
  throw new ApiError(capital(sentence), response.status);
}

const capital = (text) => text.charAt(0).toUpperCase() + text.slice(1);
const json = async (url, init) => (await ask(url, init)).json();
const post = (path, body, signal) =>
  ask(address(path), {
    method: "POST",
    headers: { "Content-Type": "application/json" },
    body: JSON.stringify(body),
    signal,
  });
const posted = async (path, body, signal) => (await post(path, body, signal)).json();
const of = (dataset) => `datasets/${encodeURIComponent(dataset)}`;

export const landing = () => json(ROOT.href.replace(/\/$/, ""));
export const datasets = async () => (await json(address("datasets"))).datasets;
export const dataset = (id, signal) => json(address(of(id)), { signal });
export const colormaps = () => json(address("colormaps"));
export const legend = (id, parameters, signal) =>
  json(address(`${of(id)}/legend`, parameters), { signal });
export const point = (id, parameters, signal) =>
  json(address(`${of(id)}/point`, parameters), { signal });
export const dates = async (id, parameters, signal) =>
  (await json(address(`${of(id)}/dates`, parameters), { signal })).dates;
export const catalogDates = async (parameters, signal) =>
  (await json(address("catalog/dates", parameters), { signal })).dates;
export const pointSeries = (id, parameters, signal) =>
  json(address(`${of(id)}/series`, parameters), { signal });
export const areaSeries = (id, body, signal) => posted(`${of(id)}/series`, body, signal);
/** The series of an area as a file. */
export const seriesTable = (id, body) => post(`${of(id)}/series`, body);
export const statistics = (id, body, signal) => posted(`${of(id)}/statistics`, body, signal);
export const seriesFile = (id, parameters) =>
  address(`${of(id)}/series`, { ...parameters, format: "csv" });
export const downloadAddress = (id, parameters) => address(`${of(id)}/download`, parameters);

export const jobs = async () => {
  const found = await json(address("jobs"));
  return found.jobs ?? found;
};
export const createJob = (body) => posted("jobs", body);
export const removeJob = (id) =>
  ask(address(`jobs/${encodeURIComponent(id)}`), { method: "DELETE" });
export const jobEvents = (id) => new EventSource(address(`jobs/${encodeURIComponent(id)}/events`));

/** Template of tiles of a variable on a date, for MapLibre.
 * @param {string} id @param {string} variable @param {string} date
 * @param {Record<string, any>} parameters */
export function tiles(id, variable, date, parameters) {
  const sharp = devicePixelRatio > 1 ? "@2x" : "";
  // The braces of the template must not be escaped.
  const path = address(`${of(id)}/tiles/${variable}/${encodeURIComponent(date)}/`);
  const query = new URL(address("", parameters)).search;
  return `${path}{z}/{x}/{y}${sharp}.png${query}`;
}

/** One task at a time: a new one aborts the one before, whose result is dropped.
 * @returns {(task: (signal: AbortSignal) => Promise<any>) => Promise<any>} */
export function latest() {
  let controller = new AbortController();
  return async (task) => {
    controller.abort();
    controller = new AbortController();
    const { signal } = controller;
    try {
      const result = await task(signal);
      return signal.aborted ? undefined : result;
    } catch (error) {
      if (signal.aborted) return undefined;
      throw error;
    }
  };
}
