"""The area that an archive covers: four numbers or a file -> a shape in degrees."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import shapely
from shapely.geometry.base import BaseGeometry

from gssm.catalogs import Bbox
from gssm.errors import RequestError
from gssm.request import sides_of_180

# What a file may state of its coordinates and mean degrees, longitude first (RFC 7946).
DEGREES = ("CRS84", "OGC:CRS84", "EPSG:4326", "EPSG::4326", "OGC:1.3:CRS84")
POLYGONS = ("Polygon", "MultiPolygon")


def area_of_box(bbox: Sequence[float | str]) -> BaseGeometry:
    """Return a box of any size, west, south, east, north in degrees, as a shape.

    Across the 180th meridian west is larger than east, and the shape has two parts.

    Raises
    ------
    RequestError
        These are no four numbers, or they lie outside the world.
    """
    try:
        west, south, east, north = (float(value) for value in bbox)
    except (TypeError, ValueError):
        raise RequestError(
            f"{bbox!r} is not an area; give west, south, east, north in degrees, or a GeoJSON file."
        ) from None
    inside = -180 <= west <= 180 and -180 <= east <= 180 and -90 <= south < north <= 90
    if not inside or west == east:
        raise RequestError(
            f"the area ({west:g}, {south:g}, {east:g}, {north:g}) is no box in the world; give "
            "west, south, east, north, longitudes -180 to 180 and south below north."
        )
    return in_degrees((west, south, east, north))


def in_degrees(box: Bbox) -> BaseGeometry:
    """Return a box as a shape between -180 and 180 degrees, in two parts across 180."""
    return shapely.union_all([shapely.box(*side) for side in sides_of_180(box)])


def read_area(words: str | Path) -> BaseGeometry:
    """Read an area: ``"W S E N"`` in degrees, or the path of a GeoJSON file of polygons.

    Raises
    ------
    RequestError
        It is neither, or the file holds no polygons in degrees.
    """
    numbers = str(words).replace(",", " ").split()
    path = Path(words).expanduser()
    if not path.is_file():
        if len(numbers) == 4:
            return area_of_box(numbers)
        raise RequestError(
            f"there is no area {str(words)!r}: it is neither a file nor four numbers; give "
            "'W S E N' in degrees, or the path of a GeoJSON file."
        )
    try:
        content = json.loads(path.read_text())
        refuse_other_crs(path, content)
        shapes = [shapely.geometry.shape(one) for one in geometries(content)]
    except RequestError:
        raise
    except Exception as error:  # shapely refuses a broken geometry in many ways
        raise RequestError(
            f"{path} is not a readable GeoJSON file ({type(error).__name__}: {error}); give one "
            "with polygons in degrees."
        ) from error
    return checked(path, shapes)


def geometries(content: Any) -> Iterable[Any]:
    """Return the geometries of a FeatureCollection, a Feature, a collection or a bare geometry."""
    kind = content.get("type")
    if kind == "FeatureCollection":
        return [g for feature in content["features"] for g in geometries(feature)]
    if kind == "Feature":
        return [] if content["geometry"] is None else geometries(content["geometry"])
    if kind == "GeometryCollection":
        return [g for one in content["geometries"] for g in geometries(one)]
    return [content]


def refuse_other_crs(path: Path, content: Any) -> None:
    """Refuse GeoJSON that states coordinates other than degrees."""
    stated = ((content.get("crs") or {}).get("properties") or {}).get("name", "CRS84")
    if not str(stated).upper().endswith(DEGREES):
        raise RequestError(
            f"{path} has coordinates in {stated}, and GeoJSON has degrees; convert it to EPSG:4326 "
            "(`ogr2ogr -t_srs EPSG:4326`)."
        )


def checked(path: Path, shapes: Sequence[BaseGeometry]) -> BaseGeometry:
    """Return the union of polygons in degrees, or refuse what else they are."""
    other = next((s.geom_type for s in shapes if s.geom_type not in POLYGONS), None)
    if other is not None or not shapes:
        raise RequestError(f"{path} holds {other or 'nothing'}; give polygons.")
    area = shapely.union_all([shapely.make_valid(shape) for shape in shapes])
    west, south, east, north = area.bounds if not area.is_empty else (0, 0, 0, 0)
    if not (-180 <= west < east <= 180 and -90 <= south < north <= 90):
        raise RequestError(
            f"{path} spans ({west:g}, {south:g}, {east:g}, {north:g}), which is no area in "
            "degrees; give longitudes -180 to 180 (cut in two at the 180th meridian) and latitudes "
            "-90 to 90."
        )
    return area
