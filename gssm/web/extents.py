"""Where a dataset has something: chunks that were computed, footprints, zooms of maps."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from itertools import product
from typing import Any

import numpy as np
import shapely
from numpy.typing import NDArray

from gssm.archive.acquisitions import DONE
from gssm.archive.ledger import Index, Row, from_bytes
from gssm.archive.snapshots import Snapshot
from gssm.archive.tiles import Square
from gssm.archive.troubles import archiving
from gssm.archive.zones import (
    BANDS,
    EDGES,
    PIXEL,
    PIXELS,
    band_of,
    limits,
    transformer,
    wrapped,
)
from gssm.request import Bbox

# Squares that one tile may show, each a read; the lowest zoom follows from it.
MOST_SQUARES = 64
# Below it a square is some pixels of a map: a footprint tells more.
LOWEST_ZOOM = 3
# Latitude of a map in Web Mercator ends here (degrees).
MERCATOR_EDGE = 85.0511
# Metres between vertices of a footprint: what is straight in UTM bends by 2 m in degrees.
STEP = 10_000.0


@dataclass(frozen=True, eq=False)
class Held:
    """What the ledger of a square says of its dates.

    Attributes
    ----------
    covered
        bool (dates, chunks), in the order of the store: chunks of the square that were
        computed, row by row.
    valued
        Pixels with a value.
    provisional
        As of `gssm.archive.ledger.Row`.
    ages
        (dates, 2): mean days to Sentinel-2 and Landsat; NaN where unknown.
    side
        Chunks along a side of the square.
    """

    covered: NDArray[np.bool_]
    valued: NDArray[np.int64]
    provisional: NDArray[np.bool_]
    ages: NDArray[np.float64]
    side: int

    @property
    def chunks(self) -> frozenset[Index]:
        """Chunks that were computed on any date."""
        every = np.flatnonzero(self.covered.any(axis=0))
        return frozenset((int(n) // self.side, int(n) % self.side) for n in every)


@lru_cache(maxsize=1024)
def held(snapshot: Snapshot, square: Square) -> Held:
    """Read the ledger of a square."""
    with archiving(snapshot.archive.url):
        rows = from_bytes(np.asarray(snapshot.array(square, DONE)[...], np.uint8))
        times = np.asarray(snapshot.array(square, "time")[:], np.int64)
    by_time: dict[int, Row] = {row.time: row for row in rows}
    every = [by_time.get(int(moment)) for moment in times]
    side = PIXELS // snapshot.archive.chunk
    covered = np.zeros((len(times), side * side), bool)
    for date, row in enumerate(every):
        # A date without a line of its own may have any chunk.
        covered[date, [i * side + j for i, j in row.coverage] if row else slice(None)] = True
    ages = [(_age(row, "s2_age"), _age(row, "landsat_age")) for row in every]
    return Held(
        covered,
        np.array([row.valued if row else 0 for row in every], np.int64),
        np.array([row is not None and row.provisional for row in every], bool),
        np.array(ages, np.float64).reshape(-1, 2),
        side,
    )


def _age(row: Row | None, name: str) -> float:
    age = getattr(row, name, None)
    return np.nan if age is None else float(age)


def box(square: Square) -> Bbox:
    """Box in degrees of what a square can own: west < east, as zones end at 180."""
    west, south, east, north = square.footprint
    bands = np.clip(band_of(np.array([south, north])), 0, len(BANDS) - 1)
    part = slice(int(bands[0]), int(bands[1]) + 1)
    wests, easts = (meridians[square.zone][part] for meridians in limits())
    first, last = float(wests.min()), float(easts.max())
    # As far from the middle of the zone as it is, whatever the turn.
    middle = square.zone * 6 - 183
    west, east = (middle + wrapped(lon - middle) for lon in (west, east))
    return max(west, first), max(south, EDGES[0]), min(east, last), min(north, EDGES[-1])


def footprint(computed: Mapping[Square, Iterable[Index]], chunk: int) -> dict[str, Any]:
    """GeoJSON MultiPolygon, in degrees, of the ground of chunks that their squares own.

    Parameters
    ----------
    computed
        Rows and columns of chunks, by square.
    chunk
        Pixels along a side of a chunk.
    """
    parts = [_ground(square, list(chunks), chunk) for square, chunks in computed.items() if chunks]
    merged = shapely.union_all(parts, grid_size=1e-7) if parts else shapely.MultiPolygon()
    polygons = [p for p in shapely.get_parts(merged) if p.geom_type == "Polygon"]
    rings = [
        [np.round(ring.coords, 6).tolist() for ring in (polygon.exterior, *polygon.interiors)]
        for polygon in map(shapely.geometry.polygon.orient, polygons)
    ]
    return {"type": "MultiPolygon", "coordinates": rings}


def _ground(square: Square, chunks: list[Index], chunk: int) -> Any:
    left, _, _, top = square.bounds
    size = chunk * PIXEL
    rows, columns = np.array(sorted(chunks)).T
    west, north = left + columns * size, top - rows * size
    metres = shapely.union_all(shapely.box(west, north - size, west + size, north))
    metres = shapely.segmentize(metres.simplify(0), STEP)
    middle = square.zone * 6 - 183

    def to_degrees(xy: NDArray[Any]) -> NDArray[Any]:
        lon, lat = transformer(square.epsg, inverse=True).transform(xy[:, 0], xy[:, 1])
        return np.column_stack([middle + (lon - middle + 180) % 360 - 180, lat])

    return shapely.intersection(shapely.transform(metres, to_degrees), _zone(square))


def _zone(square: Square) -> Any:
    """Polygon in degrees of the zone of a square, in the bands that it reaches."""
    _, south, _, north = square.footprint
    low, high = np.clip(band_of(np.array([south, north])), 0, len(BANDS) - 1)
    wests, easts = limits()
    bands = [b for b in range(low, high + 1) if wests[square.zone, b] < easts[square.zone, b]]
    return shapely.union_all(
        [
            shapely.box(wests[square.zone, b], EDGES[b], easts[square.zone, b], EDGES[b + 1])
            for b in bands
        ]
    )


def bounds(multipolygon: Mapping[str, Any]) -> Bbox | None:
    """West, south, east and north of a GeoJSON MultiPolygon; None of an empty one."""
    every = [point for polygon in multipolygon["coordinates"] for point in polygon[0]]
    if not every:
        return None
    (west, south), (east, north) = np.min(every, axis=0), np.max(every, axis=0)
    return float(west), float(south), float(east), float(north)


def lowest_zoom(boxes: NDArray[np.float64], most: int = MOST_SQUARES) -> int:
    """Return the lowest zoom at which no tile of Web Mercator meets more boxes than `most`.

    Parameters
    ----------
    boxes
        West, south, east and north in degrees; (boxes, 4).
    """
    from rio_tiler.constants import WEB_MERCATOR_TMS

    zoom = LOWEST_ZOOM
    while zoom < WEB_MERCATOR_TMS.maxzoom:
        met: Counter[tuple[int, int]] = Counter()
        for west, south, east, north in boxes:
            south, north = np.clip([south, north], -MERCATOR_EDGE, MERCATOR_EDGE)
            first = WEB_MERCATOR_TMS.tile(west, north, zoom)
            last = WEB_MERCATOR_TMS.tile(min(east, 179.999999), south, zoom)
            met.update(product(range(first.x, last.x + 1), range(first.y, last.y + 1)))
        if max(met.values(), default=0) <= most:
            break
        zoom += 1
    return zoom


def native_zoom(boxes: NDArray[np.float64]) -> int:
    """Return the lowest zoom at which a pixel of a tile of 256 is nowhere larger than 10 m."""
    from rio_tiler.constants import WEB_MERCATOR_TMS

    if not len(boxes):
        return LOWEST_ZOOM
    south, north = boxes[:, 1].min(), boxes[:, 3].max()
    lowest = 0.0 if south <= 0 <= north else min(abs(south), abs(north))
    # Scale of Mercator: a metre on the map is cos(latitude) on the ground.
    resolution = PIXEL / np.cos(np.radians(lowest))
    return int(WEB_MERCATOR_TMS.zoom_for_res(resolution, zoom_level_strategy="upper"))
