"""Tiles across the border of two UTM zones: each pixel from the zone that it lies in, no gaps.

Where grids of two zones meet at an angle, a place closer to the border than 7.1 m can lie in a
pixel that its square does not own. As for `gssm.point_series` such a place has the value of the
nearest pixel that the zone owns.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from gssm.archive.mosaic import NEIGHBOURS
from gssm.archive.zones import BANDS, PIXEL, band_of, in_zone, limits, transformer
from gssm.request import Bbox
from gssm.web.warping import MERCATOR

if TYPE_CHECKING:
    from gssm.web.windows import Window

# Metres from a border within which a place can lie in a pixel of which the centre is across.
NEAR = 8.0
METRES_PER_DEGREE = 110_574.0  # of a meridian at the equator, where they are fewest


def is_within(zone: int, box: Bbox) -> bool:
    """Tell whether a box in degrees, west < east, lies in a zone, clear of its borders."""
    west, south, east, north = box
    lon_margin, lat_margin = _margins(max(abs(south), abs(north)))
    low, high = band_of(np.array([south - lat_margin, north + lat_margin]))
    part = slice(max(int(low), 0), min(int(high), len(BANDS) - 1) + 1)
    wests, easts = (meridians[zone][part] for meridians in limits())
    return bool((wests <= west - lon_margin).all() and (east + lon_margin <= easts).all())


def _margins(latitude: float) -> tuple[float, float]:
    """Degrees of longitude and latitude that are `NEAR` metres."""
    of_latitude = NEAR / METRES_PER_DEGREE
    return of_latitude / max(np.cos(np.radians(latitude)), 0.05), of_latitude


def mend(layer: NDArray[np.uint8], zone: int, window: Window, bounds: Bbox) -> None:
    """Empty the pixels of a tile that lie in other zones, and fill those beside the border.

    Parameters
    ----------
    layer
        ``(y, x)`` or ``(band, y, x)``: the window of the zone on the tile; changed in place.
    zone
        Which.
    window
        Of the zone.
    bounds
        Left, bottom, right and top of the tile in Web Mercator.
    """
    lons, lats = _centres(bounds, layer.shape[-1])
    ours = in_zone(zone, lons[None, :], lats[:, None])
    layer[..., ~ours] = 0
    empty = ours & ((layer == 0) if layer.ndim == 2 else ~layer.any(axis=0))
    rows, columns = np.nonzero(empty & _near(zone, lons, lats))
    if rows.size:
        layer[..., rows, columns] = _nearest(zone, window, lons[columns], lats[rows])


def _centres(bounds: Bbox, size: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Longitudes of the columns and latitudes of the rows of a tile."""
    left, bottom, right, top = bounds
    share = (np.arange(size) + 0.5) / size
    x, y = left + share * (right - left), top - share * (top - bottom)
    lons, lats = transformer(MERCATOR, inverse=True).transform(x, y)
    return np.asarray(lons), np.asarray(lats)


def _near(zone: int, lons: NDArray[np.float64], lats: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Tell which pixels lie near the border of a zone."""
    lon_margin, lat_margin = _margins(float(np.abs(lats).max()))
    inside = np.ones((len(lats), len(lons)), bool)
    for a in (-lon_margin, lon_margin):
        for b in (-lat_margin, lat_margin):
            inside &= in_zone(zone, (lons + a)[None, :], (lats + b)[:, None])
    return ~inside


def _nearest(
    zone: int, window: Window, lons: NDArray[np.float64], lats: NDArray[np.float64]
) -> NDArray[np.uint8]:
    """Values at places of the nearest pixel of 10 m that the zone owns; 0 where there is none."""
    x, y = transformer(window.epsg, inverse=False).transform(lons, lats)
    row, column = np.floor(-np.asarray(y) / PIXEL), np.floor(np.asarray(x) / PIXEL)
    left = np.ones(len(row), bool)
    for down, across in NEIGHBOURS:
        i, j = row[left] + down, column[left] + across
        centres = transformer(window.epsg, inverse=True).transform(
            (j + 0.5) * PIXEL, -(i + 0.5) * PIXEL
        )
        owned = in_zone(zone, *map(np.asarray, centres))
        at = np.flatnonzero(left)[owned]
        row[at], column[at] = i[owned], j[owned]
        left[at] = False
        if not left.any():
            break
    height, width = window.values.shape[-2:]
    i = np.floor(((row + 0.5) * PIXEL + window.top) / window.step).astype(np.int64)
    j = np.floor(((column + 0.5) * PIXEL - window.left) / window.step).astype(np.int64)
    there = ~left & (i >= 0) & (i < height) & (j >= 0) & (j < width)
    values = np.zeros((*window.values.shape[:-2], len(row)), np.uint8)
    values[..., there] = window.values[..., i[there], j[there]]
    return values
