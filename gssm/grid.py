"""A place on earth -> the pixel grid of its cube (an odc-geo ``GeoBox``)."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from odc.geo.geobox import GeoBox

from gssm.catalogs import Bbox
from gssm.describe import Observation
from gssm.errors import RequestError
from gssm.request import check_bbox

UTM_SOUTH, UTM_NORTH = -80, 84
# Metres; the sensors see 10, and a box of 5 degrees is 500 km wide.
FINEST_PIXEL, COARSEST_PIXEL = 1, 100_000


def make_grid(bbox: Bbox, resolution: float = 10) -> GeoBox:
    """Grid of a box in the UTM zone of its centre, edges at multiples of the resolution.

    UTM is defined from 80 degrees south to 84 degrees north. A box with west > east
    crosses the 180th meridian.
    """
    from pyproj import Transformer

    if not (
        isinstance(resolution, (int, float, np.number))
        and math.isfinite(resolution)
        and FINEST_PIXEL <= resolution <= COARSEST_PIXEL
    ):
        raise RequestError(
            f"resolution {resolution!r} is not a pixel size from {FINEST_PIXEL} to "
            f"{COARSEST_PIXEL} m; give metres, such as 10."
        )
    west, south, east, north = bbox
    if south < UTM_SOUTH or north > UTM_NORTH:
        raise RequestError(
            f"bbox {bbox} reaches beyond {UTM_SOUTH} or {UTM_NORTH} degrees, where UTM ends; "
            "move the box, or give open_cube a grid of your own, such as one of EPSG:5041 (north) "
            "or EPSG:5042 (south)."
        )
    east = east if west <= east else east + 360
    zone = int(((west + east) / 2 + 180) // 6) % 60 + 1
    epsg = (32600 if south + north >= 0 else 32700) + zone
    to_utm = Transformer.from_crs("EPSG:4326", f"EPSG:{epsg}", always_xy=True)
    left, bottom, right, top = to_utm.transform_bounds(west, south, east, north, densify_pts=21)
    # A millionth of a pixel of tolerance: a box that lies on the grid must not gain a row.
    snap = [
        math.floor(left / resolution + 1e-6),
        math.floor(bottom / resolution + 1e-6),
        math.ceil(right / resolution - 1e-6),
        math.ceil(top / resolution - 1e-6),
    ]
    bounds = tuple(value * resolution for value in snap)
    assert len(bounds) == 4
    return GeoBox.from_bbox(bounds, crs=f"EPSG:{epsg}", resolution=resolution, tight=True)


def grid_epsg(grid: GeoBox) -> int:
    """EPSG code of a north-up, square, projected grid in metres, or why it cannot serve."""
    epsg = grid.crs.to_epsg() if grid.crs is not None and grid.crs.projected else None
    x, y = grid.resolution.xy
    if not grid.axis_aligned or x <= 0 or abs(x + y) > 1e-6 * abs(x):
        raise RequestError(
            f"the grid has pixels of ({x:g}, {y:g}) m; give a north-up grid with square pixels, "
            "such as GeoBox.from_bbox(bounds, crs, resolution=10)."
        )
    if epsg is None:
        raise RequestError(
            f"the grid has the CRS {grid.crs}; give a projected one with an EPSG code and metres, "
            "such as a UTM zone."
        )
    return int(epsg)


def geographic_bounds(epsg: int, bounds: Bbox) -> Bbox:
    """West, south, east, north in degrees of projected bounds, their bent edges included."""
    from rasterio.warp import transform_bounds

    west, south, east, north = transform_bounds(f"EPSG:{epsg}", "EPSG:4326", *bounds)
    return west, south, east, north


def intersects(a: Bbox, b: Bbox) -> bool:
    """Tell whether two boxes in degrees touch; one with west > east crosses 180 degrees."""
    if a[1] > b[3] or a[3] < b[1]:
        return False
    return any(
        a_west <= b_east and b_west <= a_east
        for a_west, a_east in _spans(a)
        for b_west, b_east in _spans(b)
    )


def _spans(box: Bbox) -> list[tuple[float, float]]:
    west, east = box[0], box[2]
    return [(west, east)] if west <= east else [(west, 180.0), (-180.0, east)]


def stated_bbox(items: Any, described: Sequence[Observation]) -> Bbox:
    """Box that the search was made for, else what all Sentinel-1 footprints cover."""
    stated = getattr(items, "extra_fields", {}).get("gssm:bbox")
    if stated:
        return check_bbox(stated)
    boxes = np.array([o.footprint for o in described if o.role == "sentinel1"])
    west, east = _joined(boxes[:, 0], boxes[:, 2])
    return check_bbox((west, boxes[:, 1].min(), east, boxes[:, 3].max()))


def _joined(west: Any, east: Any) -> tuple[float, float]:
    """West and east of all footprints, of which some may lie beyond the 180th meridian.

    The narrower span is meant: with longitudes from -180 on, or from 0 on.
    """
    width = np.where(west <= east, east - west, east - west + 360)
    firsts = (west, np.where(west < 0, west + 360, west))
    spans = [(float(first.min()), float((first + width).max())) for first in firsts]
    (a, b), (c, d) = spans
    return (c, d) if d - c < b - a - 1e-9 else (a, b)
