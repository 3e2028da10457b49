"""The zones of UTM as MGRS cuts them, and what of a square lies in its zone.

Zones are those of the Military Grid Reference System (NGA.STND.0037, Universal Grids and
Grid Reference Systems, 2014): 6 degrees wide from 80 degrees south to 84 north, apart from
31V to 32V and 31X to 37X around Norway and Svalbard. Meridians and parallels belong to the
zone east and the band north of them.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator
from typing import Any

import numpy as np

from gssm.request import Bbox

Array = np.ndarray[Any, Any]
# South, as 0 or 1; row of squares from the (false) origin northwards; column from easting 0.
Cell = tuple[int, int, int]
Window = tuple[int, int, int, int]  # first row, end of rows, first column, end of columns

SIDE, PIXEL, PIXELS = 100_000, 10, 10_000  # metres, metres, pixels along a side

# Bands of 8 degrees from 80 S, the last of 12.
BANDS = "CDEFGHJKLMNPQRSTUVWX"
EDGES = np.append(np.arange(-80.0, 73.0, 8.0), 84.0)
EQUATOR = BANDS.index("N")
# West and east of the zones that are not 6 degrees wide; None: there is no such zone.
EXCEPTIONS: dict[tuple[int, str], tuple[int, int] | None] = {
    (31, "V"): (0, 3),
    (32, "V"): (3, 12),
    (31, "X"): (0, 9),
    (32, "X"): None,
    (33, "X"): (9, 21),
    (34, "X"): None,
    (35, "X"): (21, 33),
    (36, "X"): None,
    (37, "X"): (33, 42),
}

# Bounds of windows are widened by 0.1 mm before they decide for all pixels.
MARGIN = 1e-9  # degrees
LEAF = 64  # pixels; windows as small are decided pixel by pixel


@functools.cache
def limits() -> tuple[Array, Array]:
    """West and east of zones in degrees, by zone (1 to 60) and band; empty where there is none."""
    first = np.arange(61.0) * 6 - 186
    wests = np.repeat(first[:, None], len(BANDS), axis=1)
    easts = wests + 6
    wests[0], easts[0] = np.inf, -np.inf
    for (zone, band), meridians in EXCEPTIONS.items():
        west, east = meridians or (np.inf, -np.inf)
        wests[zone, BANDS.index(band)], easts[zone, BANDS.index(band)] = west, east
    return wests, easts


def band_of(lat: Any) -> Any:
    """Index of the band of latitudes: -1 south of the first, 20 from 84 degrees on."""
    return np.searchsorted(EDGES, lat, side="right") - 1


def wrapped(lon: Any) -> Any:
    """Longitude from -180 up to, and without, 180, of one from -540 to 540; exact at its ends."""
    lon = np.where(lon < -180, lon + 360, lon)
    return np.where(lon >= 180, lon - 360, lon)[()]


def in_zone(zone: int, lon: Array, lat: Array) -> Array:
    """Tell which places lie in a zone. One function of the place alone: no place has two."""
    wests, easts = limits()
    band, lon = band_of(lat), wrapped(lon)
    there = (band >= 0) & (band < len(BANDS))
    band = np.where(there, band, 0)
    inside: Array = there & (wests[zone][band] <= lon) & (lon < easts[zone][band])
    return inside


def epsg_of(zone: int, south: bool) -> int:
    """Return the EPSG code of a zone of UTM, WGS 84."""
    return (32700 if south else 32600) + zone


@functools.cache
def transformer(epsg: int, *, inverse: bool) -> Any:
    """Return what takes degrees to metres, or back; safe to share between threads."""
    from pyproj import Transformer

    source, target = "EPSG:4326", f"EPSG:{epsg}"
    source, target = (target, source) if inverse else (source, target)
    return Transformer.from_crs(source, target, always_xy=True)


def degrees(zone: int, south: bool, bounds: Bbox) -> Bbox:
    """Exact bounds in degrees; west below -180 or east beyond 180 where they cross it.

    Longitude grows with easting, and so does its distance from the central meridian with
    that from the equator; latitude falls with distance from the central meridian: on one
    side of both, extremes lie at corners. The central meridian is an edge between squares.
    """
    left, bottom, right, top = bounds
    lon, lat = transformer(epsg_of(zone, south), inverse=True).transform(
        np.array([left, left, right, right]), np.array([bottom, top, bottom, top])
    )
    central = zone * 6 - 183
    lon = central + (lon - central + 180) % 360 - 180
    return float(lon.min()), float(lat.min()), float(lon.max()), float(lat.max())


@functools.lru_cache(maxsize=4096)
def exists(zone: int, cell: Cell) -> bool:
    """Tell whether a square owns any pixel."""
    every = decisions(zone, cell, (0, PIXELS, 0, PIXELS))
    return any(np.any(value) for _, value in every)


def decisions(zone: int, cell: Cell, window: Window) -> Iterator[tuple[Window, bool | Array]]:
    """Cut a window of pixels until bounds decide for a part, or it is small: all its pixels.

    The decision for the whole window, where there is one, is the only one.
    """
    top, bottom, left, right = window
    south = bool(cell[0])
    x0, y0 = cell[2] * SIDE + PIXEL / 2, (cell[1] + 1) * SIDE - PIXEL / 2  # centre of the first
    x, y = x0 + PIXEL * np.arange(left, right), y0 - PIXEL * np.arange(top, bottom)
    decided = _decided(zone, degrees(zone, south, (x[0], y[-1], x[-1], y[0])))
    height, width = bottom - top, right - left
    if decided is not None:
        yield window, decided
    elif max(height, width) <= LEAF:
        mesh = np.meshgrid(x, y)
        to_degrees = transformer(epsg_of(zone, south), inverse=True)
        yield window, in_zone(zone, *to_degrees.transform(*mesh))
    else:
        for a, b in _halves(top, bottom):
            for c, d in _halves(left, right):
                yield from decisions(zone, cell, (a, b, c, d))


def _halves(start: int, stop: int) -> list[tuple[int, int]]:
    middle = (start + stop) // 2
    return [(start, stop)] if stop - start <= LEAF else [(start, middle), (middle, stop)]


def _decided(zone: int, bounds: Bbox) -> bool | None:
    """Tell whether all (True) or no (False) places within bounds lie in a zone."""
    west, south, east, north = np.array(bounds) + np.array([-1, -1, 1, 1]) * MARGIN
    low, high = int(band_of(south)), int(band_of(north))
    part = slice(max(low, 0), min(high, len(BANDS) - 1) + 1)
    wests, easts = (meridians[zone][part] for meridians in limits())
    if np.all((wests > east) | (easts <= west)):
        return False
    within = low >= 0 and high < len(BANDS)
    return True if within and np.all((wests <= west) & (east < easts)) else None
