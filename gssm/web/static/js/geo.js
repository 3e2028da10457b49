/** Places: areas, boxes, polygons; degrees, longitude first. */

const EARTH = 6371.0088; // mean radius, km
const RADIANS = Math.PI / 180;
const KM_PER_DEGREE = EARTH * RADIANS;

/** @typedef {{type: "point", lon: number, lat: number}} PointPlace */
/** @typedef {{type: "box", bbox: number[]}} BoxPlace */
/** @typedef {{type: "polygon", geometry: any}} PolygonPlace */
/** @typedef {PointPlace|BoxPlace|PolygonPlace} Place */

/** A box of so many kilometres around a point. @returns {number[]} */
function boxAround(lon, lat, kilometres) {
  const high = kilometres / 2 / KM_PER_DEGREE;
  const wide = high / Math.cos(lat * RADIANS);
  return [lon - wide, lat - high, lon + wide, lat + high].map((v) => round(v, 5));
}

export const round = (value, digits) => Number(value.toFixed(digits));

/** Area of a box on the sphere, km². @param {number[]} bbox */
export function boxArea([west, south, east, north]) {
  return (
    EARTH ** 2 * (east - west) * RADIANS * (Math.sin(north * RADIANS) - Math.sin(south * RADIANS))
  );
}

/** Area of a ring on the sphere, km² (Chamberlain and Duquette 2007). */
function ringArea(ring) {
  let sum = 0;
  for (let i = 0; i < ring.length - 1; i += 1) {
    const [a, b] = [ring[i], ring[i + 1]];
    sum += (b[0] - a[0]) * RADIANS * (2 + Math.sin(a[1] * RADIANS) + Math.sin(b[1] * RADIANS));
  }
  return Math.abs((sum * EARTH ** 2) / 2);
}

const polygonsOf = (geometry) =>
  geometry.type === "Polygon" ? [geometry.coordinates] : geometry.coordinates;

function polygonArea(geometry) {
  return polygonsOf(geometry).reduce(
    (sum, [outer, ...holes]) => sum + ringArea(outer) - holes.reduce((s, r) => s + ringArea(r), 0),
    0,
  );
}

export function bounds(geometry) {
  const points = polygonsOf(geometry).flat(2);
  const [x, y] = [points.map((p) => p[0]), points.map((p) => p[1])];
  return [Math.min(...x), Math.min(...y), Math.max(...x), Math.max(...y)];
}

function boxPolygon([west, south, east, north]) {
  const ring = [
    [west, south],
    [east, south],
    [east, north],
    [west, north],
    [west, south],
  ];
  return { type: "Polygon", coordinates: [ring] };
}

/** Geometry of a place as GeoJSON. @param {Place} place */
export function geometryOf(place) {
  if (place.type === "point") return { type: "Point", coordinates: [place.lon, place.lat] };
  return place.type === "box" ? boxPolygon(place.bbox) : place.geometry;
}

/** Area of a place in km²; a point has none. @param {Place} place */
export function areaOf(place) {
  if (place.type === "point") return 0;
  return place.type === "box" ? boxArea(place.bbox) : polygonArea(place.geometry);
}

/** Box of a place; around a point one of 2 km. @param {Place} place */
export function boxOf(place, kilometres = 2) {
  if (place.type === "point") return boxAround(place.lon, place.lat, kilometres);
  return place.type === "box" ? place.bbox : bounds(place.geometry).map((v) => round(v, 5));
}

/** Parameters by which the API is asked for a place. @param {Place|null} place */
export function placeQuery(place) {
  if (!place) return {};
  if (place.type === "point") return { lon: place.lon, lat: place.lat };
  return { bbox: boxOf(place).join(",") };
}

/** Part that two boxes share, or null. */
export function overlap(a, b) {
  const box = [
    Math.max(a[0], b[0]),
    Math.max(a[1], b[1]),
    Math.min(a[2], b[2]),
    Math.min(a[3], b[3]),
  ];
  return box[0] < box[2] && box[1] < box[3] ? box : null;
}

/** A number of degrees as people write it: 50.85, 50,85, 50.85 N, 3.05° W.
 * @param {string} text @param {number} limit @param {string} negative letters of negative degrees */
export function degreesOf(text, limit, negative) {
  const parts = /^\s*([-−+]?\d+(?:[.,]\d+)?)\s*°?\s*([nsewNSEW])?\s*$/.exec(text);
  if (!parts) return null;
  const sign = parts[2] && negative.includes(parts[2].toLowerCase()) ? -1 : 1;
  const value = sign * Number(parts[1].replace(",", ".").replace("−", "-"));
  return Math.abs(value) <= limit ? value : null;
}

/** Polygons of typed corners ("lon lat, lon lat, …") or of GeoJSON; throws a sentence.
 * @param {string} text */
export function readPolygon(text) {
  const trimmed = text.trim();
  if (!trimmed) throw new Error("Give the corners as longitude and latitude, or GeoJSON.");
  const geometry = trimmed.startsWith("{") ? fromGeojson(trimmed) : fromCorners(trimmed);
  const [west, south, east, north] = bounds(geometry);
  if (
    ![west, south, east, north].every(Number.isFinite) ||
    west < -180 ||
    east > 180 ||
    south < -90 ||
    north > 90
  ) {
    throw new Error(
      "A corner is outside 180° W to 180° E or 90° S to 90° N; give longitude first.",
    );
  }
  return geometry;
}

function fromCorners(text) {
  const ring = text
    .split(/[,;\n]+/)
    .filter((part) => part.trim())
    .map((part) => part.trim().split(/\s+/).map(Number));
  if (ring.some((corner) => corner.length !== 2 || !corner.every(Number.isFinite))) {
    throw new Error(
      "A corner is no pair of numbers; give longitude and latitude, with a comma between corners.",
    );
  }
  if (ring.length < 3) throw new Error("A polygon needs three corners at least.");
  const [first, last] = [ring[0], ring[ring.length - 1]];
  if (first[0] !== last[0] || first[1] !== last[1]) ring.push(first);
  return { type: "Polygon", coordinates: [ring] };
}

function fromGeojson(text) {
  let found;
  try {
    found = JSON.parse(text);
  } catch {
    throw new Error("This is no GeoJSON: it cannot be parsed.");
  }
  const geometries = (found.features?.map((f) => f.geometry) ?? [found.geometry ?? found]).filter(
    (g) => g?.type === "Polygon" || g?.type === "MultiPolygon",
  );
  if (!geometries.length) throw new Error("The GeoJSON holds no polygon.");
  const flat = geometries
    .flatMap(polygonsOf)
    .map((polygon) => polygon.map((ring) => ring.map((p) => [p[0], p[1]])));
  return flat.length === 1
    ? { type: "Polygon", coordinates: flat[0] }
    : { type: "MultiPolygon", coordinates: flat };
}
