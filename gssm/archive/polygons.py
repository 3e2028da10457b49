"""Dates of an area of an archive: means over its pixels, in bounded memory."""

from __future__ import annotations

import os
import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import islice
from pathlib import Path
from threading import Lock
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from gssm import quality
from gssm.archive.area import area_of_box, checked, geometries, read_area, refuse_other_crs
from gssm.archive.ledger import Index
from gssm.archive.packing import PACKINGS
from gssm.archive.pieces import pieces, shapes_of
from gssm.archive.reading import refuse_empty_place
from gssm.archive.snapshots import Snapshot, open_snapshot, squares_in
from gssm.archive.tiles import Square, chunk_grid, chunk_window, chunks_over, owned, squares_over
from gssm.archive.timeline import Timeline, read_timeline
from gssm.archive.troubles import archiving
from gssm.archive.zones import BANDS, EQUATOR
from gssm.errors import EmptySearchError, GssmWarning, RequestError

# Dates of one chunk that are one task, and tasks that are planned together: a graph stays
# small however large the area.
DATES, TASKS = 16, 512
# rasterio silences a warning of its own meanwhile, which is for all threads or for none.
RASTERIZING = Lock()
# What is added up over pixels: integers as they are stored, so that sums are exact and the same
# in any order.
COUNTS = ("computed", "valid", "with_uncertainty", "with_s2", "with_landsat")
SUMS = ("moisture", "squares", "uncertainty", "s2_age", "landsat_age")
FLAGS = tuple(flag.meaning for flag in quality.FLAGS)
STATISTICS = (*COUNTS, *SUMS, *FLAGS)


def polygon_series(
    url: str | os.PathLike[str],
    geometry: Any,
    *,
    datetime: Any = None,
    version: Any = None,
) -> pd.DataFrame:
    """Read the mean over an area of every date.

    Pixels count whole, if their centres lie inside; each place has one owner, so that areas
    over several squares or zones count no pixel twice. The area is read in pieces by Dask, on
    all cores or on the cluster whose client is active.

    Parameters
    ----------
    url
        Of the archive.
    geometry
        Polygons in degrees: of shapely, as GeoJSON (a dict), or the path of a GeoJSON file; or
        a box, west, south, east, north.
    datetime
        As of `gssm.open_archive`; by default all dates.
    version
        As of `gssm.open_archive`; by default the newest.

    Returns
    -------
    pandas.DataFrame
        Index ``time`` (UTC, without a zone, in order), a row for each pass of which a pixel of
        the area was computed: ``soil_moisture``, mean over the pixels with a value (m3 m-3);
        ``soil_moisture_std`` of them (divided by their number);
        ``soil_moisture_uncertainty``, mean of theirs, which is no smaller for many pixels, as
        errors of neighbours go together; ``pixels`` in the area, those ``computed`` and those
        ``valid``; ``share_valid`` of all pixels of the area; ``s2_age`` and ``landsat_age``,
        means in days; ``share_…`` for each flag, of the computed pixels; ``relative_orbit``,
        ``orbit_state`` and ``platform``. Empty, with a warning, where nothing of the area was
        computed on any date.

    Raises
    ------
    RequestError
        The geometry is no area in degrees, or holds no centre of a pixel.
    EmptySearchError
        The archive has nothing there, or no date in the span.
    ArchiveError
        There is no archive, or it cannot be read.
    """
    area = area_of(geometry)
    table = area_series(url, area, datetime, version)
    if not len(table):
        warnings.warn(
            f"archive {table.attrs['archive']} has dates there, but nothing of the area "
            f"{_shown(area)} was computed on any of them.",
            GssmWarning,
            stacklevel=2,
        )
    return table


def area_series(
    url: str | os.PathLike[str], area: Any, datetime: Any, version: Any
) -> pd.DataFrame:
    """Return `polygon_series` of a shape in degrees; empty without a word."""
    snapshot = open_snapshot(url, version)
    squares = squares_in(snapshot, area)
    if not squares:
        refuse_empty_place(snapshot, f"the area {_shown(area)}")
    timeline = read_timeline(snapshot, squares, datetime)
    pixels, sums = _add_up(snapshot, squares, timeline, area)
    if not pixels:
        raise EmptySearchError(
            f"the area {_shown(area)} holds no centre of a pixel of 10 m; give a larger one, or "
            "use gssm.point_series."
        )
    table = _table(timeline, pixels, sums)
    table.attrs = {"archive": snapshot.archive.url, "archive_version": snapshot.id}
    return table


def area_of(geometry: Any) -> Any:
    """Return polygons in degrees, as shapely has them, of what a user gave."""
    import shapely

    name = Path("the geometry")
    if isinstance(geometry, (str, Path)):
        return read_area(geometry)
    if isinstance(geometry, (Sequence, np.ndarray)) and len(geometry) == 4:
        return area_of_box(list(geometry))
    geometry = getattr(geometry, "__geo_interface__", geometry)
    try:
        refuse_other_crs(name, geometry)
        shapes = [shapely.force_2d(shapely.geometry.shape(g)) for g in geometries(geometry)]
    except RequestError:
        raise
    except Exception as error:  # shapely refuses what is no geometry in many ways
        raise RequestError(
            f"{str(geometry)[:60]!r} is no geometry; give polygons of shapely, GeoJSON, the path "
            "of a GeoJSON file, or west, south, east, north in degrees."
        ) from error
    return checked(name, shapes)


def _shown(area: Any) -> str:
    return f"within ({', '.join(f'{value:g}' for value in area.bounds)})"


@dataclass(frozen=True)
class Part:
    """Some dates of the part of an area in one chunk; picklable, as a task is.

    Parameters
    ----------
    snapshot, square, index
        Chunk of a square.
    pieces
        Polygons in metres of its zone, as WKB.
    places
        Of the dates, along the square's time.
    """

    snapshot: Snapshot
    square: Square
    index: Index
    pieces: tuple[bytes, ...]
    places: tuple[int, ...]


def _add_up(
    snapshot: Snapshot, squares: Sequence[Square], timeline: Timeline, area: Any
) -> tuple[int, NDArray[np.int64]]:
    """Pixels of an area, and sums over them (pass, statistic)."""
    from dask.base import compute
    from dask.delayed import delayed

    sums = np.zeros((len(timeline.times), len(STATISTICS)), np.int64)
    pixels = 0
    jobs = _parts(snapshot, squares, timeline, area)
    while batch := list(islice(jobs, TASKS)):
        tasks = [delayed(sums_of, pure=False)(part) for _, part in batch]
        results = compute(*tasks)
        for (passes, _), (number, found) in zip(batch, results, strict=True):
            sums[passes] += found
            # All dates of a chunk have the same pixels: its first task counts them.
            pixels += number * (passes.start == 0)
    return pixels, sums


def _parts(
    snapshot: Snapshot, squares: Sequence[Square], timeline: Timeline, area: Any
) -> Iterator[tuple[Any, Part]]:
    import shapely

    shapes = shapes_of(area)
    # Squares that the archive lacks have pixels of the area, too.
    for square in squares_over(area):
        stored = timeline.places[[n for n, other in enumerate(squares) if other == square]]
        south, band = square.band < "N", BANDS.index(square.band)
        bands = [
            b for b in range(max(band - 1, 0), min(band + 2, len(BANDS))) if (b < EQUATOR) == south
        ]
        inside = [piece for _, _, piece in pieces(shapes, [(square.zone, b) for b in bands])]
        for index in chunks_over(square, area, snapshot.archive.chunk):
            box = shapely.box(*chunk_grid(square, index, snapshot.archive.chunk).boundingbox.bbox)
            cut = [shapely.intersection(piece, box) for piece in inside]
            written = tuple(shapely.to_wkb(piece) for piece in cut if piece.area)
            for start in range(0, len(timeline.times), DATES):
                places = tuple(int(v) for v in stored[:, start : start + DATES].reshape(-1))
                if start == 0 or any(place >= 0 for place in places):
                    passes = slice(start, start + len(places))
                    yield passes, Part(snapshot, square, index, written, places)


def sums_of(part: Part) -> tuple[int, NDArray[np.int64]]:
    """Count the pixels of a part, and add up over them: (date, statistic)."""
    window, mask = _inside(part.square, part.index, part.snapshot.archive.chunk, part.pieces)
    sums = np.zeros((len(part.places), len(STATISTICS)), np.int64)
    if not mask.any():
        return 0, sums
    with archiving(part.snapshot.archive.url):
        for number, place in enumerate(part.places):
            if place >= 0:
                sums[number] = _sums_of_date(part, place, window, mask)
    return int(mask.sum()), sums


@lru_cache(maxsize=64)
def _inside(
    square: Square, index: Index, chunk: int, pieces: tuple[bytes, ...]
) -> tuple[tuple[slice, slice], NDArray[np.bool_]]:
    """Smallest window of a square around the pixels of a part, and which they are in it."""
    import shapely
    from rasterio.features import rasterize

    rows, columns = chunk_window(index, chunk)
    grid = chunk_grid(square, index, chunk)
    shapes = [shapely.from_wkb(piece) for piece in pieces]
    mask = np.zeros(grid.shape, bool)
    if shapes:
        with RASTERIZING:
            burnt = rasterize(shapes, grid.shape, transform=grid.affine, dtype="uint8")
        ours = owned(square, rows, columns)
        mask = burnt.astype(bool) if ours is None else (burnt == 1) & ours
    if not mask.any():
        return (rows, columns), mask
    spans = []
    for axis in (1, 0):
        there = np.flatnonzero(mask.any(axis=axis))
        spans.append(slice(int(there[0]), int(there[-1]) + 1))
    starts = zip((rows.start, columns.start), spans, strict=True)
    window = [slice(origin + span.start, origin + span.stop) for origin, span in starts]
    return (window[0], window[1]), mask[spans[0], spans[1]]


def _sums_of_date(
    part: Part, place: int, window: tuple[slice, slice], mask: NDArray[np.bool_]
) -> NDArray[np.int64]:
    def read(name: str) -> tuple[NDArray[Any], NDArray[np.int64]]:
        """Which pixels of the mask have a number, and those as integers."""
        stored = part.snapshot.array(part.square, name)[(place, *window)]
        packed = np.asarray(stored)[mask]
        there = packed != PACKINGS[name].fill
        return there, packed[there].astype(np.int64)

    computed, flags = read("quality_flag")
    sums = dict.fromkeys(STATISTICS, 0)
    if not computed.any():  # an empty chunk is fast
        return np.zeros(len(STATISTICS), np.int64)
    moisture = read("soil_moisture")[1]
    sums |= {"computed": len(flags), "valid": len(moisture)}
    sums |= {"moisture": int(moisture.sum()), "squares": int((moisture**2).sum())}
    for name, count, total in (
        ("soil_moisture_uncertainty", "with_uncertainty", "uncertainty"),
        ("s2_age", "with_s2", "s2_age"),
        ("landsat_age", "with_landsat", "landsat_age"),
    ):
        numbers = read(name)[1]
        sums |= {count: len(numbers), total: int(numbers.sum())}
    combinations, times = np.unique(flags, return_counts=True)
    for flag in quality.FLAGS:
        sums[flag.meaning] = int(times[combinations & flag.mask > 0].sum())
    return np.array([sums[name] for name in STATISTICS], np.int64)


def _table(timeline: Timeline, pixels: int, sums: NDArray[np.int64]) -> pd.DataFrame:
    shown = timeline.select(sums[:, STATISTICS.index("computed")] > 0)
    kept = sums[sums[:, STATISTICS.index("computed")] > 0]
    of: Mapping[str, NDArray[Any]] = {n: kept[:, i] for i, n in enumerate(STATISTICS)}
    step = {name: how.scale or 1.0 for name, how in PACKINGS.items()}
    moisture = step["soil_moisture"]
    # In whole numbers of any size, as the difference of squares is small beside them.
    n, total, squares = (of[name].astype(object) for name in ("valid", "moisture", "squares"))
    spread = _ratio((n * squares - total**2).astype(np.float64), of["valid"].astype(float) ** 2)
    width = _ratio(of["uncertainty"], of["with_uncertainty"])
    columns: dict[str, Any] = {
        "soil_moisture": _ratio(of["moisture"], of["valid"]) * moisture,
        "soil_moisture_std": np.sqrt(spread) * moisture,
        "soil_moisture_uncertainty": width * step["soil_moisture_uncertainty"],
        "pixels": np.full(len(kept), pixels, np.int64),
        "computed": of["computed"],
        "valid": of["valid"],
        "share_valid": of["valid"] / pixels,
        "s2_age": _ratio(of["s2_age"], of["with_s2"]) * step["s2_age"],
        "landsat_age": _ratio(of["landsat_age"], of["with_landsat"]) * step["landsat_age"],
        **{f"share_{name}": _ratio(of[name], of["computed"]) for name in FLAGS},
        **shown.coordinates(),
    }
    return pd.DataFrame(columns, index=shown.times.rename("time"))


def _ratio(total: NDArray[Any], number: NDArray[Any]) -> NDArray[np.float64]:
    """Quotient, NaN of nothing."""
    quotient = np.full(len(total), np.nan)
    np.divide(total, number, out=quotient, where=number > 0)
    return quotient
