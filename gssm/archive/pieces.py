"""An area in degrees, cut at the zones of UTM, and what of it lies in owned pixels."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import shapely
from shapely.affinity import translate

from gssm.archive.zones import (
    EDGES,
    EQUATOR,
    PIXEL,
    Array,
    epsg_of,
    in_zone,
    limits,
    transformer,
)
from gssm.errors import RequestError

# A straight line of 0.01 degrees bends by at most 0.012 m in UTM: d² R sin(φ) cos(φ) / 8, d in
# radians. What overlaps by less on average does not count.
STEP, TOUCH = 0.01, 0.02


def shapes_of(area: Any) -> list[Any]:
    """Return an area as polygons in degrees that together have it between -180 and 180."""
    shapes = [area] if isinstance(area, shapely.Geometry) else _boxes(area)
    for shape in shapes:
        if shape.geom_type not in ("Polygon", "MultiPolygon") or shape.is_empty:
            raise RequestError(
                f"area covers no ground, for it is {'empty' if shape.is_empty else 'no polygon'} "
                f"({shape.geom_type}); give a Polygon or MultiPolygon in degrees."
            )
        if not shape.is_valid:
            raise RequestError(
                f"area is not a valid {shape.geom_type} ({shapely.is_valid_reason(shape)}); repair "
                "it, for instance with shapely.make_valid."
            )
        west, south, east, north = shape.bounds
        if not (-360 <= west < east <= 360 and -90 <= south < north <= 90):
            raise RequestError(
                f"area reaches from ({west:g}, {south:g}) to ({east:g}, {north:g}), which is not "
                "on earth; give longitudes and latitudes in degrees."
            )
        if south < EDGES[0] or north > EDGES[-1]:
            raise RequestError(
                f"area reaches from {south:g} to {north:g} degrees of latitude, beyond 80 south or "
                "84 north, where UTM ends and the archive with it; cut it there."
            )
    flat = [shapely.force_2d(shape) for shape in shapes]
    moved = [translate(shape, by) for shape in flat for by in (-360, 360)]
    return flat + [shape for shape in moved if shape.bounds[0] < 180 and shape.bounds[2] > -180]


def _boxes(bbox: Any) -> list[Any]:
    """Boxes of west, south, east, north in degrees: two across the 180th meridian."""
    try:
        west, south, east, north = (float(value) for value in bbox)
    except (TypeError, ValueError):
        raise RequestError(
            f"area {bbox!r} is neither four numbers nor a polygon; give west, south, east, north "
            "in degrees, or a shapely Polygon."
        ) from None
    if not (np.isfinite([west, south, east, north]).all() and south < north and west != east):
        raise RequestError(
            f"area ({west:g}, {south:g}, {east:g}, {north:g}) covers no ground; give west, south, "
            "east, north in degrees, south < north."
        )
    if west < east:
        return [shapely.box(west, south, east, north)]
    if not -180 <= east < west <= 180 or east - west + 360 > 180:
        raise RequestError(
            f"area ({west:g}, {south:g}, {east:g}, {north:g}) has west > east; swap them (only a "
            "box across the 180th meridian has west > east, at most 180 degrees of width)."
        )
    sides = [(west, south, 180.0, north), (-180.0, south, east, north)]
    return [shapely.box(*side) for side in sides if side[0] < side[2]]


def polygons(shape: Any) -> Any:
    """Return the polygons in a geometry as one, or None where there are none."""
    parts = shapely.get_parts(shapely.get_parts(shape))
    parts = parts[shapely.area(parts) > 0]
    return shapely.multipolygons(parts) if len(parts) else None


def pieces(
    shapes: Sequence[Any], places: Sequence[tuple[int, int]]
) -> Iterator[tuple[int, int, Any]]:
    """Cut shapes at zones and bands: zone, index of the band, and polygons in UTM metres."""
    wests, easts = limits()
    places = [(zone, band) for zone, band in places if wests[zone, band] < easts[zone, band]]
    zones, bands = np.array(places, int).reshape(-1, 2).T
    cuts = shapely.box(wests[zones, bands], EDGES[bands], easts[zones, bands], EDGES[bands + 1])
    for shape in shapes:
        shapely.prepare(shape)
        for i in np.flatnonzero(shapely.intersects(shape, cuts)):
            zone, band = places[i]
            piece = polygons(shapely.intersection(shape, cuts[i]))
            if piece is None:
                continue
            to_metres = transformer(epsg_of(zone, band < EQUATOR), inverse=False)
            piece = shapely.transform(
                shapely.segmentize(piece, STEP), to_metres.transform, interleaved=False
            )
            piece = polygons(piece if piece.is_valid else shapely.make_valid(piece))
            if piece is not None:
                yield zone, band, piece


def overlaps(zone: int, band: int, piece: Any, boxes: Array) -> Array:
    """Tell which boxes of whole pixels own a pixel that overlaps a piece of their zone (UTM)."""
    shapely.prepare(piece)
    hits: Array = shapely.contains_properly(piece, boxes)
    doubtful = np.flatnonzero(shapely.intersects(piece, boxes) & ~hits)
    parts = shapely.intersection(piece, boxes[doubtful])
    thick = 2 * shapely.area(parts) > TOUCH * shapely.length(parts)
    doubtful, parts = doubtful[thick], parts[thick]
    inner = shapely.get_coordinates(shapely.point_on_surface(parts))
    hits[doubtful] = _owned_at(zone, band, inner)
    for i, part in zip(doubtful[~hits[doubtful]], parts[~hits[doubtful]], strict=True):
        # A sliver at the border of the zone: all pixels along its outline.
        outline = shapely.get_coordinates(shapely.segmentize(part, PIXEL / 4))
        low, high = np.reshape(shapely.bounds(boxes[i]), (2, 2))
        outline = np.clip(outline, low + PIXEL / 2, high - PIXEL / 2)
        hits[i] = bool(_owned_at(zone, band, outline).any())
    return hits


def _owned_at(zone: int, band: int, points: Array) -> Array:
    """Tell whether the pixels at points (n, 2) in UTM metres lie in the zone by their centres."""
    x, y = (np.floor(points / PIXEL) * PIXEL + PIXEL / 2).T
    return in_zone(zone, *transformer(epsg_of(zone, band < EQUATOR), inverse=True).transform(x, y))
