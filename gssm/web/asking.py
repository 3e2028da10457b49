"""What a client asks -> a checked box, polygon, period or point, within the limits.

Numbers are read more strictly than Python reads them: digits of other scripts, blanks,
underscores, nan and inf are refused.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from typing import Any

import pandas as pd

from gssm.archive.polygons import area_of
from gssm.errors import RequestError
from gssm.request import WIDEST_BBOX_DEGREES, Bbox, check_bbox, check_datetime
from gssm.web.problems import TooMuchError

NUMBER = re.compile(r"[+-]?(?:\d{1,20}(?:\.\d{0,20})?|\.\d{1,20})(?:[eE][+-]?\d{1,3})?", re.ASCII)
# A date, a month, a year or a time; or the id of a date.
MOMENT = re.compile(
    r"\d{4}(?:-\d\d(?:-\d\d(?:T\d\d:\d\d(?::\d\d(?:\.\d{1,6})?)?(?:Z|[+-]\d\d:\d\d)?)?)?)?"
    r"|\d{8}T\d{6}Z",
    re.ASCII,
)
# Id of a date; what a dataset takes for one.
PASS = re.compile(r"\d{8}T\d{6}Z", re.ASCII)
DATE = re.compile(r"\d{8}T\d{6}Z|\d{4}-\d\d-\d\d|latest", re.ASCII)
# Beyond, no satellite has looked, and times of nanoseconds end.
FIRST_YEAR, LAST_YEAR = 1900, 2200
# Of a sphere with the area of the earth (WGS 84), km.
AUTHALIC_RADIUS = 6371.0072


def number_of(text: str, name: str) -> float:
    """Read a number of a parameter.

    Raises
    ------
    RequestError
        It is none, or not finite.
    """
    if not NUMBER.fullmatch(text) or not math.isfinite(float(text)):
        raise RequestError(f"{name} {text[:40]!r} is no number; write it like 4.5.")
    return float(text)


def date_of(text: str) -> str:
    """Read the id of a date, a day, or ``latest``.

    Raises
    ------
    RequestError
        It is none of these.
    """
    if not DATE.fullmatch(text):
        raise RequestError(
            f"date {text[:40]!r} is none; give an id that the dates of the dataset list, such as "
            "20240103T172233Z, a day, such as 2024-01-03, or latest."
        )
    if text[0].isdecimal():
        _check_year(text, "date")
    return text


def _check_year(moment: str, name: str) -> None:
    if not FIRST_YEAR <= int(moment[:4]) <= LAST_YEAR:
        raise RequestError(
            f"{name} {moment!r} lies beyond the years {FIRST_YEAR} to {LAST_YEAR}; give one in "
            "which satellites fly."
        )


def box_of(text: str | Sequence[float]) -> Bbox:
    """Read ``west,south,east,north`` in degrees.

    Raises
    ------
    RequestError
        These are no four numbers, or they are no box in the world.
    """
    if not isinstance(text, str):
        return check_bbox(text)
    parts = text.split(",")
    if len(parts) != 4:
        raise RequestError(
            f"bbox {text[:80]!r} is not four numbers; write west,south,east,north in degrees, "
            "like 4.5,51.40,4.6,51.42."
        )
    west, south, east, north = (number_of(part.strip(" "), "bbox") for part in parts)
    return check_bbox((west, south, east, north))


def box_km2(box: Bbox) -> float:
    """Area of a box in degrees (km2)."""
    west, south, east, north = box
    width = math.radians((east - west) % 360 or 360)
    height = math.sin(math.radians(north)) - math.sin(math.radians(south))
    return AUTHALIC_RADIUS**2 * width * height


def area_km2(area: Any) -> float:
    """Area of polygons in degrees (km2)."""
    from pyproj import Geod

    square_metres, _ = Geod(ellps="WGS84").geometry_area_perimeter(area)
    return abs(square_metres) / 1e6


def check_area(km2: float, most: float) -> None:
    """Refuse an area above the limit."""
    if km2 > most:
        raise TooMuchError(
            f"the area has {_km2(km2)} km2, and at most {_km2(most)} km2 are served at once; ask "
            "for a smaller one, or for parts of it."
        )


def _km2(area: float) -> str:
    return f"{area:,.0f}" if area >= 10 else f"{area:.3g}"


def polygons_of(geometry: dict[str, Any], *, most_vertices: int, most_km2: float) -> Any:
    """Read a Polygon or MultiPolygon of GeoJSON as shapely has it.

    Raises
    ------
    RequestError
        It is no valid area in degrees.
    TooMuchError
        It has too many vertices, or is too large.
    """
    import shapely

    rings = _rings(geometry)
    vertices = sum(len(ring) for ring in rings)
    if vertices > most_vertices:
        raise TooMuchError(
            f"the geometry has {vertices} vertices, and at most {most_vertices} are read; simplify "
            "it."
        )
    for ring in rings:
        if ring[0][:2] != ring[-1][:2]:
            raise RequestError(
                f"the geometry has a ring that begins at {_shown(ring[0])} and ends at "
                f"{_shown(ring[-1])}; end each ring where it begins."
            )
        for longitude, latitude, *_ in ring:
            if not (-180 <= longitude <= 180 and -90 <= latitude <= 90):
                raise RequestError(
                    f"the geometry has a vertex at ({longitude:g}, {latitude:g}), which is not on "
                    "earth; give longitude (-180 to 180) first, then latitude, in degrees."
                )
    shape = shapely.geometry.shape(geometry)
    if not shape.is_valid:
        raise RequestError(
            f"the geometry is not valid ({shapely.is_valid_reason(shape)}); repair it, so that no "
            "ring crosses itself or another."
        )
    area = area_of(geometry)
    west, south, east, north = area.bounds
    if max(east - west, north - south) > WIDEST_BBOX_DEGREES:
        raise TooMuchError(
            f"the geometry spans {east - west:.3g} x {north - south:.3g} degrees, and at most "
            f"{WIDEST_BBOX_DEGREES:g} are served at once; ask for its parts."
        )
    check_area(area_km2(area), most_km2)
    return area


def _rings(geometry: dict[str, Any]) -> list[Any]:
    parts = geometry["coordinates"]
    return list(parts) if geometry["type"] == "Polygon" else [r for part in parts for r in part]


def _shown(position: Sequence[float]) -> str:
    return f"({position[0]:g}, {position[1]:g})"


def period_of(text: str, most_days: int) -> tuple[pd.Timestamp, pd.Timestamp]:
    """Read a period: ``start/end``, a day, a month, a year, a time or the id of a date.

    Raises
    ------
    RequestError
        It is none of these.
    TooMuchError
        It is too long.
    """
    parts = text.split("/")
    if len(parts) > 2 or not all(MOMENT.fullmatch(part) for part in parts):
        raise RequestError(
            f"datetime {text[:60]!r} is no period; write 2023-06-01/2023-06-30, 2023-06 or "
            "2023-06-01T05:47:12Z."
        )
    for part in parts:
        _check_year(part, "datetime")
    start, end = check_datetime("/".join(_plain(part) for part in parts))
    check_period(start, end, most_days)
    return start, end


def _plain(moment: str) -> str:
    """Return a time as ISO 8601 has it, of the id of a date."""
    if "T" in moment and "-" not in moment[:8]:
        return f"{moment[:4]}-{moment[4:6]}-{moment[6:11]}:{moment[11:13]}:{moment[13:]}"
    return moment


def check_period(start: pd.Timestamp, end: pd.Timestamp, most_days: int) -> None:
    """Refuse a period above the limit."""
    days = (end - start) / pd.Timedelta(days=1)
    if days > most_days:
        raise TooMuchError(
            f"the period has {math.ceil(days)} days, and at most {most_days} are served at once; "
            "give a shorter datetime."
        )
