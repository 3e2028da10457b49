/** Outlines of Natural Earth, unpacked from TopoJSON, which MapLibre does not read. */

const FILE = new URL("../vendor/world-atlas/countries-50m.json", import.meta.url);

/** Land, coasts and borders as GeoJSON. */
export async function outline() {
  const response = await fetch(FILE);
  if (!response.ok) throw new Error("the outline of the world is missing");
  const topology = await response.json();
  const arcs = topology.arcs.map((arc) => unpacked(arc, topology.transform));
  const uses = new Uint8Array(arcs.length);
  for (const country of topology.objects.countries.geometries) {
    for (const number of country.arcs.flat(Infinity)) uses[number < 0 ? ~number : number] += 1;
  }
  const line = (numbers) =>
    numbers.flatMap((number, place) => {
      const arc = number < 0 ? arcs[~number].toReversed() : arcs[number];
      return place ? arc.slice(1) : arc;
    });
  const land = topology.objects.land.geometries[0].arcs.map((polygon) =>
    polygon.map((ring) => closed(unwrapped(line(ring)))),
  );
  return {
    type: "FeatureCollection",
    features: [
      feature("land", "MultiPolygon", land),
      // A line that two countries share is a border, any other a coast.
      feature("coast", "MultiLineString", arcs.filter((_, n) => uses[n] === 1).map(unwrapped)),
      feature(
        "border",
        "MultiLineString",
        arcs.filter((_, n) => uses[n] > 1),
      ),
    ],
  };
}

function unpacked(arc, { scale, translate }) {
  let [x, y] = [0, 0];
  return arc.map(([dx, dy]) => {
    x += dx;
    y += dy;
    return [x * scale[0] + translate[0], y * scale[1] + translate[1]];
  });
}

/** Points without jumps across 180 degrees: beyond it they go on, and the map repeats. */
function unwrapped(points) {
  let turn = 0;
  return points.map(([lng, lat], n) => {
    const step = n ? lng - points[n - 1][0] : 0;
    if (Math.abs(step) > 180) turn -= 360 * Math.sign(step);
    return [lng + turn, lat];
  });
}

/** A ring around a pole (Antarctica) does not close: it goes along the edge of the map. */
function closed(ring) {
  const [first, last] = [ring[0], ring[ring.length - 1]];
  if (Math.abs(last[0] - first[0]) < 180) return ring;
  return [...ring, [last[0], -90], [first[0], -90], first];
}

const feature = (kind, type, coordinates) => ({
  type: "Feature",
  properties: { kind },
  geometry: { type, coordinates },
});
