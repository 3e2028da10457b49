"""An archive as a lazy dataset: squares merged, passes merged, dates in order."""

from __future__ import annotations

import math
import os
from collections.abc import Iterable, Sequence
from functools import cache
from typing import Any, NoReturn

import dask.array as da
import numpy as np
import xarray as xr
from affine import Affine
from numpy.typing import NDArray
from odc.geo.geobox import GeoBox
from odc.geo.xr import xr_coords

from gssm import quality
from gssm.archive import encoding
from gssm.archive.area import in_degrees
from gssm.archive.groups import PIXEL_VARIABLES
from gssm.archive.ledger import Index
from gssm.archive.mosaic import Mosaic, Plane, Warped, plane_of
from gssm.archive.packing import NOT_COMPUTED, NOT_COMPUTED_MEANING
from gssm.archive.snapshots import Snapshot, coverage, open_snapshot, squares_in
from gssm.archive.tiles import Square
from gssm.archive.timeline import Timeline, read_timeline
from gssm.archive.zones import PIXEL, PIXELS
from gssm.catalogs import Bbox
from gssm.errors import EmptySearchError, RequestError
from gssm.request import check_bbox

# Pixel of a CRS in degrees, of which 12 000 make one: 9.3 m north to south, as of WorldCover.
DEGREES_PER_PIXEL = 1 / 12_000
# Longest side of a dataset in pixels; more is a mistake in the resolution.
MOST_PIXELS = 10_000_000


def open_archive(
    url: str | os.PathLike[str],
    bbox: Sequence[float] | None = None,
    datetime: Any = None,
    *,
    variables: Iterable[str] | None = None,
    crs: Any = None,
    resolution: float | None = None,
    version: Any = None,
) -> xr.Dataset:
    """Open an archive as a lazy dataset.

    Parameters
    ----------
    url
        Of the archive: a folder, ``s3://bucket/path``, ``gs://…`` or ``az://…``.
    bbox
        West, south, east, north in degrees, at most 5 degrees wide (across the 180th meridian
        west > east); by default all squares of the archive. Pixels are kept whose centres lie
        in its rectangle in the CRS of the dataset.
    datetime
        As for `gssm.search`: ``"2018-05-01/2018-09-30"``, a date, a month or a pair; by
        default all dates.
    variables
        Some of ``soil_moisture``, ``soil_moisture_uncertainty``, ``quality_flag``, ``s2_age``
        and ``landsat_age``; by default all.
    crs
        CRS of the dataset, such as ``"EPSG:3035"``; by default the UTM zone of the squares,
        which must then be one. In another CRS every pixel has the values of the nearest in
        the archive: none is mixed of several, so that each keeps its own flags.
    resolution
        Side of a pixel in units of `crs`; by default 10 m, or 1/12 000 degree.
    version
        Id of a snapshot, a tag, or a time (UTC), for the archive as it was then; by default
        the newest.

    Returns
    -------
    xarray.Dataset
        Dask arrays ``(time, y, x)``, chunks as stored, nothing read but the dates: float32
        with NaN where there is no value (m3 m-3; ages in days), and ``quality_flag`` uint16,
        where a pixel that was never computed has the flag ``not_computed`` (32768) alone.
        Slices of one pass over several squares are one date, at the time of the first. A date
        is left out if no chunk (10 km) that the box touches was computed. The attribute
        ``archive_version`` is the snapshot: `open_archive` with it gives the same again.

    Raises
    ------
    RequestError
        The request cannot be served, such as a box over two zones without `crs`.
    EmptySearchError
        The archive has nothing there and then; the sentence says what it has.
    ArchiveError
        There is no archive, or it cannot be read.
    """
    box = None if bbox is None else check_bbox(bbox)
    names = _check_variables(variables)
    opened = open_snapshot(url, version)
    squares = squares_in(opened, None if box is None else in_degrees(box))
    if not squares:
        refuse_empty_place(opened, "the archive" if box is None else f"bbox {_shown(box)}")
    grid, planes = _layout(opened, squares, box, crs, resolution)
    squares = [square for _, members in planes for square in members]
    timeline = _select(opened, squares, planes, datetime)
    lazy = {name: _lazy(opened, name, planes, timeline, grid) for name in names}
    return _dataset(opened, squares, grid or planes[0][0].grid, timeline, lazy)


Planes = list[tuple[Plane, tuple[Square, ...]]]


def _check_variables(variables: Iterable[str] | None) -> list[str]:
    names = list(PIXEL_VARIABLES if variables is None else variables)
    wrong = [name for name in names if name not in PIXEL_VARIABLES]
    if isinstance(variables, str) or wrong or not names:
        what = repr(variables) if isinstance(variables, str) or not names else repr(wrong[0])
        raise RequestError(
            f"variables {what}: give a list of some of {', '.join(PIXEL_VARIABLES)}."
        )
    return list(dict.fromkeys(names))


def _shown(box: Bbox) -> str:
    return f"({', '.join(f'{value:g}' for value in box)})"


def refuse_empty_place(snapshot: Snapshot, place: str) -> NoReturn:
    """Say that there is nothing in a place, and what the archive has instead."""
    there = squares_in(snapshot)
    some = ", ".join(square.name for square in there[:5])
    more = f" and {len(there) - 5} more" if len(there) > 5 else ""
    has = f"it has {some}{more}; give a place in these" if there else "it has no date at all yet"
    raise EmptySearchError(f"archive {snapshot.archive.url} holds nothing of {place}: {has}.")


def _layout(
    snapshot: Snapshot, squares: list[Square], box: Bbox | None, crs: Any, resolution: float | None
) -> tuple[GeoBox | None, Planes]:
    """Grid in another CRS, None in that of the only zone; and the part of each zone it needs."""
    zones: dict[int, list[Square]] = {}
    for square in squares:
        zones.setdefault(square.epsg, []).append(square)
    wanted = None if crs is None else _check_crs(crs)
    if wanted is None and len(zones) > 1:
        shares = ", ".join(
            f"EPSG:{e} ({', '.join(s.name for s in z[:4])})" for e, z in zones.items()
        )
        raise RequestError(
            f"{'the archive' if box is None else f'bbox {_shown(box)}'} has squares of several UTM "
            f"zones: {shares}; give crs='EPSG:{max(zones, key=lambda e: len(zones[e]))}' or "
            "another one for all, or a smaller bbox."
        )
    is_own = wanted is None or (len(zones) == 1 and wanted == _crs(f"EPSG:{next(iter(zones))}"))
    if is_own and resolution in (None, PIXEL):
        (members,) = zones.values()
        plane = plane_of(members)
        cropped = plane if box is None else _cropped(plane, box)
        return None, [(cropped, tuple(members))]
    wanted = wanted or _crs(f"EPSG:{next(iter(zones))}")
    grid = _grid_in(wanted, squares, box, resolution)
    return grid, [(plane_of(members), tuple(members)) for members in zones.values()]


def _crs(crs: Any) -> Any:
    from odc.geo import CRS

    return CRS(str(crs) if not isinstance(crs, (str, int, CRS)) else crs)


def _check_crs(crs: Any) -> Any:
    try:
        found = _crs(crs)
    except Exception as error:  # of PROJ, odc or pyproj, by what was given
        raise RequestError(f"crs {crs!r} is no CRS; give a code such as 'EPSG:3035'.") from error
    if not (found.geographic or found.projected):
        raise RequestError(f"crs {crs!r} is no CRS of maps; give one such as 'EPSG:3035'.")
    return found


def _cropped(plane: Plane, box: Bbox) -> Plane:
    """Rows and columns of a plane whose centres lie in the bounds of a box, at least one."""
    left, bottom, right, top = projected_bounds(f"EPSG:{plane.epsg}", box)
    rows = _inside(-top / PIXEL - plane.top, -bottom / PIXEL - plane.top, plane.height)
    columns = _inside(left / PIXEL - plane.left, right / PIXEL - plane.left, plane.width)
    return Plane(
        plane.epsg,
        plane.top + rows.start,
        plane.left + columns.start,
        rows.stop - rows.start,
        columns.stop - columns.start,
    )


def _inside(start: float, stop: float, size: int) -> slice:
    """Pixels whose centres lie from start to stop; of less than a pixel, the one it lies in."""
    first = min(max(math.ceil(start - 0.5), 0), size - 1)
    last = max(math.ceil(stop - 0.5), 0)
    return slice(first, min(max(last, first + 1), size))


def projected_bounds(crs: Any, box: Bbox) -> Bbox:
    """Left, bottom, right, top in a CRS of a box in degrees, its bent edges included."""
    from pyproj import Transformer

    west, south, east, north = box
    east = east if west <= east else east + 360
    if _crs(crs).geographic:
        return west, south, east, north
    to_crs = Transformer.from_crs("EPSG:4326", str(crs), always_xy=True)
    left, bottom, right, top = to_crs.transform_bounds(west, south, east, north, densify_pts=21)
    return left, bottom, right, top


def _grid_in(
    crs: Any, squares: Sequence[Square], box: Bbox | None, resolution: float | None
) -> GeoBox:
    """Grid in a CRS, edges at multiples of the resolution."""
    step = resolution or (DEGREES_PER_PIXEL if crs.geographic else PIXEL)
    if not (isinstance(step, (int, float)) and math.isfinite(step) and step > 0):
        raise RequestError(f"resolution {resolution!r} is no size of a pixel; give {PIXEL}, say.")
    boxes = [box] if box is not None else _footprints(squares)
    bounds = np.array([projected_bounds(crs, one) for one in boxes])
    edges = np.array([*bounds[:, :2].min(axis=0), *bounds[:, 2:].max(axis=0)])
    if not np.isfinite(edges).all():
        raise RequestError(f"crs {crs} does not reach the place that is asked for; give another.")
    left, bottom, right, top = (math.ceil(edge / step - 0.5) for edge in edges)
    height, width = max(top - bottom, 1), max(right - left, 1)
    if max(height, width) > MOST_PIXELS:
        raise RequestError(
            f"a resolution of {step:g} in {crs} makes {height} x {width} pixels; give it in the "
            "units of the CRS, or a smaller bbox."
        )
    affine = Affine(step, 0, left * step, 0, -step, (bottom + height) * step)
    return GeoBox((height, width), affine, crs)


def _footprints(squares: Sequence[Square]) -> list[Bbox]:
    """Boxes of squares in degrees, by whole turns on the side of the first."""
    boxes = []
    for square in squares:
        west, south, east, north = square.footprint
        turn = 360 * round((squares[0].footprint[0] - west) / 360)
        boxes.append((west + turn, south, east + turn + (360 if east < west else 0), north))
    return boxes


def _select(snapshot: Snapshot, squares: list[Square], planes: Planes, datetime: Any) -> Timeline:
    """Dates of a span of time on which something of the planes was computed."""
    timeline = read_timeline(snapshot, squares, datetime)
    needed = [
        _chunks(plane, square, snapshot.archive.chunk)
        for plane, members in planes
        for square in members
    ]
    keep = np.zeros(len(timeline.times), bool)
    for square, places, chunks in zip(squares, timeline.places, needed, strict=True):
        keep |= _computed(snapshot, square, places, chunks)
    if not keep.any():
        raise EmptySearchError(
            f"archive {snapshot.archive.url} has {len(keep)} dates of {squares[0].name} then, but "
            "none shows the box; give a larger bbox, or more of datetime."
        )
    return timeline.select(keep)


def _chunks(plane: Plane, square: Square, chunk: int) -> frozenset[Index] | None:
    """Chunks of a square in a plane; None for all of them."""
    for _, inside, _ in plane.parts([square], plane.whole):
        spans = [range(part.start // chunk, -(-part.stop // chunk)) for part in inside]
        if all(len(span) == PIXELS // chunk for span in spans):
            return None
        return frozenset((i, j) for i in spans[0] for j in spans[1])
    return frozenset()


def _computed(
    snapshot: Snapshot, square: Square, places: NDArray[np.int64], chunks: frozenset[Index] | None
) -> NDArray[np.bool_]:
    """Tell which dates of a square have one of the chunks."""
    there: NDArray[np.bool_] = places >= 0
    if chunks is None or not there.any():
        return there
    covered = coverage(snapshot, square)
    stored = np.asarray(snapshot.array(square, "time")[:])
    touches = [not chunks.isdisjoint(covered.get(int(t), chunks)) for t in stored]
    found: NDArray[np.bool_] = there & np.array(touches, bool)[places]
    return found


def _lazy(
    snapshot: Snapshot, name: str, planes: Planes, timeline: Timeline, grid: GeoBox | None
) -> da.Array:
    first = 0
    mosaics = []
    for plane, squares in planes:
        places = timeline.places[first : first + len(squares)]
        first += len(squares)
        mosaics.append(Mosaic(snapshot, name, squares, places, plane))
    source = mosaics[0] if grid is None else Warped(grid, tuple(mosaics))
    origin = (0, 0) if grid is not None else (planes[0][0].top, planes[0][0].left)
    sides = zip(source.shape[1:], origin, strict=True)
    chunks = ((1,) * source.shape[0], *(_sizes(n, at, snapshot.archive.chunk) for n, at in sides))
    shown = (*(plane for plane, _ in planes), str(grid and (grid.affine, grid.crs, grid.shape)))
    token = dask_token(snapshot.id, snapshot.archive.url, name, shown, timeline)
    array: da.Array = da.from_array(
        source,
        chunks,
        name=f"{name}-{token}",
        asarray=False,
        meta=np.empty((0, 0, 0), source.dtype),
    )
    return array


def dask_token(snapshot: str, url: str, name: str, shown: Any, timeline: Timeline) -> str:
    """Name of what an array holds: the same for the same pixels of the same version."""
    from dask.base import tokenize

    times = timeline.table["time"].to_numpy()
    return str(tokenize(snapshot, url, name, str(shown), times, timeline.places))


def _sizes(size: int, start: int, chunk: int) -> tuple[int, ...]:
    """Sizes of chunks of a row of pixels of which the first is at a place of the plane."""
    first = min(size, chunk - start % chunk)
    rest = size - first
    return (first, *([chunk] * (rest // chunk)), *([rest % chunk] if rest % chunk else []))


def _dataset(
    snapshot: Snapshot,
    squares: Sequence[Square],
    grid: GeoBox,
    timeline: Timeline,
    lazy: dict[str, da.Array],
) -> xr.Dataset:
    along_time = timeline.coordinates()
    coordinates: dict[str, Any] = {
        "time": ("time", timeline.times.to_numpy("datetime64[ns]"), _attrs("time")),
        **_place_coordinates(grid),
        **{name: ("time", values, _attrs(name)) for name, values in along_time.items()},
        **encoding.depth_coordinate(),
    }
    variables = {name: (("time", "y", "x"), array, _attrs(name)) for name, array in lazy.items()}
    attrs = {
        **encoding.product_attrs(),
        "archive": snapshot.archive.url,
        "archive_version": snapshot.id,
        "mgrs_squares": " ".join(square.name for square in squares),
    }
    return xr.Dataset(variables, coordinates, attrs)


def _place_coordinates(grid: GeoBox) -> dict[str, Any]:
    """Coordinates ``y``, ``x`` (named so in degrees too) and ``spatial_ref`` of a grid."""
    assert grid.crs is not None
    found = {}
    for name, coordinate in xr_coords(grid, dims=("y", "x")).items():
        known = {} if grid.crs.geographic else encoding.COORDINATE_ATTRS.get(str(name), {})
        attrs = {**coordinate.attrs, **known}
        if name != "spatial_ref":
            attrs.pop("crs", None)
        found[str(name)] = (coordinate.dims, coordinate.values, attrs)
    return found


@cache
def flag_attrs() -> dict[str, Any]:
    """CF attributes of the flags as they are read: those of the product and `not_computed`."""
    attrs = encoding.variable_attrs("quality_flag")
    masks = [*(flag.mask for flag in quality.FLAGS), NOT_COMPUTED]
    meanings = f"{attrs['flag_meanings']} {NOT_COMPUTED_MEANING}"
    return {**attrs, "flag_masks": np.array(masks, np.uint16), "flag_meanings": meanings}


def _attrs(name: str) -> dict[str, Any]:
    attrs = dict(flag_attrs()) if name == "quality_flag" else encoding.variable_attrs(name)
    if name == "time":  # which xarray writes by itself
        attrs.pop("units_metadata", None)
    return attrs
