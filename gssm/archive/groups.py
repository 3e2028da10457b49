"""The Zarr group of one square: its arrays, coordinates and attributes."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from itertools import product
from typing import Any

import numpy as np
import zarr
from odc.geo.geobox import GeoBox
from odc.geo.xr import xr_coords

from gssm.archive import encoding
from gssm.archive.ledger import Index, Row
from gssm.archive.overviews import BLOCK, LEVELS, overview_grid
from gssm.archive.overviews import NAMES as OVERVIEW_VARIABLES
from gssm.archive.packing import PACKINGS
from gssm.archive.tiles import Square
from gssm.archive.zones import PIXELS

# Of a whole square; overviews, of which a map shows a few, have those of a map.
PIXEL_VARIABLES = tuple(PACKINGS)
OVERVIEW_CHUNK = BLOCK
# Numbers in a row of a coordinate along time: ten years of all orbits in one read.
TIME_CHUNK = 4096
DIMENSIONS = ("time", "y", "x")
ORBIT_STATES = ("ascending", "descending")
PLATFORMS = ("sentinel-1a", "sentinel-1b", "sentinel-1c", "sentinel-1d")
# Along time: dtype, and attributes.
ALONG_TIME: dict[str, tuple[str, dict[str, Any]]] = {
    "time": (
        "int64",
        {
            "standard_name": "time",
            "long_name": "Sentinel-1 acquisition, its first slice over the square (UTC)",
            "units": encoding.TIME_ENCODING["units"],
            "calendar": encoding.TIME_ENCODING["calendar"],
            "axis": "T",
        },
    ),
    "relative_orbit": ("int16", {"long_name": "relative orbit of Sentinel-1", "units": "1"}),
    "orbit_state": (
        "int8",
        {
            "long_name": "direction of the orbit",
            "flag_values": list(range(len(ORBIT_STATES))),
            "flag_meanings": " ".join(ORBIT_STATES),
        },
    ),
    "platform": (
        "int8",
        {
            "long_name": "platform of Sentinel-1",
            "flag_values": list(range(len(PLATFORMS))),
            "flag_meanings": " ".join(PLATFORMS),
        },
    ),
}
UNKNOWN = -1


def create_group(root: zarr.Group, square: Square, chunk: int) -> zarr.Group:
    """Make the group of a square, with no date in it."""
    group = root.create_group(
        square.group, attributes={**encoding.product_attrs(), "mgrs_square": square.name}
    )
    for name, (dtype, attrs) in ALONG_TIME.items():
        group.create_array(
            name,
            shape=(0,),
            chunks=(TIME_CHUNK,),
            dtype=dtype,
            dimension_names=("time",),
            attributes=attrs,
        )
    create_place(group, square.grid)
    for name, (dimensions, values, attrs) in encoding.depth_coordinates().items():
        create_coordinate(group, name, dimensions, values, attrs)
    _create_pixels(group, PIXEL_VARIABLES, (PIXELS, PIXELS), chunk)
    for level in LEVELS:
        grid = overview_grid(square.grid, level)
        overview = group.create_group(f"overviews/{level}")
        create_place(overview, grid)
        _create_pixels(overview, OVERVIEW_VARIABLES, tuple(grid.shape), OVERVIEW_CHUNK)
    return group


def create_place(group: zarr.Group, grid: GeoBox) -> None:
    """Write the coordinates of a grid: y, x and the reference system."""
    for name, coordinate in xr_coords(grid).items():
        attrs = {**coordinate.attrs, **encoding.COORDINATE_ATTRS.get(str(name), {})}
        create_coordinate(group, str(name), coordinate.dims, coordinate.values, attrs)


def create_coordinate(
    group: zarr.Group, name: str, dimensions: Sequence[Any], values: Any, attrs: dict[str, Any]
) -> None:
    """Write the values of a coordinate, in one chunk."""
    content = np.asarray(values)
    array = group.create_array(
        name,
        shape=content.shape,
        chunks=content.shape,
        dtype=content.dtype,
        dimension_names=tuple(map(str, dimensions)),
        attributes=attrs,
    )
    array[...] = content


def _create_pixels(
    group: zarr.Group, names: Sequence[str], shape: tuple[int, ...], chunk: int
) -> None:
    for name in names:
        how = PACKINGS[name]
        attrs = {**encoding.variable_attrs(name), "grid_mapping": "spatial_ref"}
        if how.scale is not None:
            attrs |= {"scale_factor": how.scale, "add_offset": 0.0}
        attrs["_FillValue"] = how.fill
        group.create_array(
            name,
            shape=(0, *shape),
            chunks=(1, *(min(chunk, size) for size in shape)),
            dtype=how.dtype,
            fill_value=how.fill,
            dimension_names=DIMENSIONS,
            attributes=attrs,
        )


def pixel_arrays(group: zarr.Group) -> Iterator[zarr.Array[Any]]:
    """Every array ``(time, y, x)`` of a square, overviews among them."""
    for name in PIXEL_VARIABLES:
        yield array(group, name)
    for level in LEVELS:
        for name in OVERVIEW_VARIABLES:
            yield array(group, f"overviews/{level}/{name}")


def array(group: zarr.Group, path: str) -> zarr.Array[Any]:
    """Return the array under a path."""
    found = group[path]
    assert isinstance(found, zarr.Array)
    return found


def set_date(group: zarr.Group, place: int, row: Row) -> None:
    """Write the coordinates of one date; the arrays grow by one where it is the next."""
    values = {
        "time": row.time,
        "relative_orbit": row.relative_orbit,
        "orbit_state": code(row.orbit_state, ORBIT_STATES),
        "platform": code(row.platform, PLATFORMS),
    }
    for name, value in values.items():
        along_time = array(group, name)
        if place == along_time.shape[0]:
            along_time.resize((place + 1,))
        along_time[place] = value
    for pixels in pixel_arrays(group):
        if place == pixels.shape[0]:
            pixels.resize((place + 1, *pixels.shape[1:]))


def code(word: str, words: Sequence[str]) -> int:
    """Return the number of a word in a list, -1 if it is none of it."""
    return words.index(word) if word in words else UNKNOWN


def times(group: zarr.Group) -> Any:
    """Seconds since 1970 of every date, in the order of the store."""
    return array(group, "time")[:]


def chunk_keys(group: zarr.Group, coverage: Iterable[Index], place: int) -> Iterator[str]:
    """Key in the store of every chunk that a date with this coverage can have."""
    covered = sorted(coverage)
    for pixels in pixel_arrays(group):
        sizes = zip(pixels.shape[1:], pixels.chunks[1:], strict=True)
        of_overview = product(*(range(math.ceil(size / chunk)) for size, chunk in sizes))
        places = covered if "/overviews/" not in pixels.path else of_overview
        yield from (f"{pixels.path}/c/{place}/{row}/{column}" for row, column in places)
