"""Dates of single pixels of an archive."""

from __future__ import annotations

import os
import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
import zarr
from numpy.typing import ArrayLike, NDArray

from gssm import quality
from gssm.archive.groups import PIXEL_VARIABLES
from gssm.archive.mosaic import decode
from gssm.archive.packing import NOT_COMPUTED
from gssm.archive.reading import refuse_empty_place
from gssm.archive.snapshots import Snapshot, open_snapshot
from gssm.archive.tiles import Square, owned, square_at
from gssm.archive.timeline import Timeline, read_timeline
from gssm.archive.troubles import archiving
from gssm.archive.zones import PIXEL, PIXELS, transformer
from gssm.errors import EmptySearchError, GssmWarning, RequestError

PLACE = ["point", "longitude", "latitude"]
MEANINGS = "quality_flag_meanings"
# Chunks that are fetched and decoded at once: of a store in the cloud each waits some tens of
# milliseconds; in memory they are as many times two megabytes.
AT_ONCE = 32


def point_series(
    url: str | os.PathLike[str],
    lon: float | Sequence[float],
    lat: float | Sequence[float],
    *,
    datetime: Any = None,
    version: Any = None,
) -> pd.DataFrame:
    """Read all dates of the pixels that hold points.

    Parameters
    ----------
    url
        Of the archive.
    lon, lat
        Longitude and latitude in degrees (WGS 84): two numbers, or two sequences of one length.
    datetime
        As of `gssm.open_archive`; by default all dates.
    version
        As of `gssm.open_archive`; by default the newest.

    Returns
    -------
    pandas.DataFrame
        Index ``time`` (UTC, without a zone, in order), a row for each date on which the pixel
        was computed, with or without a value: ``soil_moisture`` and
        ``soil_moisture_uncertainty`` (m3 m-3, NaN without a value), ``quality_flag`` and
        ``quality_flag_meanings`` (names of the flags that are set, joined by ``|``),
        ``s2_age`` and ``landsat_age`` (days), ``relative_orbit``, ``orbit_state``,
        ``platform`` and ``square``. Of sequences each row begins with the number of its
        ``point`` and its ``longitude`` and ``latitude``, and rows are ordered by point, then
        time. Empty, with a warning, where the pixel was computed on no date.

    Raises
    ------
    RequestError
        Points that are no places, or lie beyond 80 degrees south or 84 degrees north.
    EmptySearchError
        The archive has no square with any of the points, or no date in the span; where it has
        some of the points, a warning names the others.
    ArchiveError
        There is no archive, or it cannot be read.
    """
    lons, lats = _check_points(lon, lat)
    squares = [square_at(x, y) for x, y in zip(lons, lats, strict=True)]
    snapshot = open_snapshot(url, version)
    root = snapshot.root
    with archiving(snapshot.archive.url):
        groups = {square for square in set(squares) if square.group in root}
        known = {square for square in groups if snapshot.array(square, "time").shape[0]}
    if not known:
        refuse_empty_place(snapshot, f"the place ({lons[0]:g}, {lats[0]:g})")
    _warn_of_absent(snapshot, squares, known, lons, lats)
    frames = _frames(snapshot, squares, known, lons, lats, datetime)
    table: pd.DataFrame = pd.concat([frames[number] for number in sorted(frames)])
    if not len(table):
        warnings.warn(
            f"archive {snapshot.archive.url} has dates of {min(known).name}, but the pixel was "
            "computed on none of them.",
            GssmWarning,
            stacklevel=2,
        )
    table.attrs = {"archive": snapshot.archive.url, "archive_version": snapshot.id}
    is_one = np.ndim(lon) == 0 and np.ndim(lat) == 0
    shown: pd.DataFrame = table.drop(columns=PLACE) if is_one else table
    return shown


def _check_points(lon: ArrayLike, lat: ArrayLike) -> tuple[NDArray[Any], NDArray[Any]]:
    try:
        lons, lats = (np.atleast_1d(np.asarray(v, np.float64)) for v in (lon, lat))
    except (TypeError, ValueError):
        lons = lats = np.empty((0, 0))
    if lons.ndim != 1 or lons.shape != lats.shape or not lons.size:
        raise RequestError(
            f"lon {lon!r} and lat {lat!r} are no points; give two numbers in degrees, or two "
            "sequences of the same length."
        )
    return lons, lats


def _warn_of_absent(
    snapshot: Snapshot,
    squares: Sequence[Square],
    known: set[Square],
    lons: NDArray[Any],
    lats: NDArray[Any],
) -> None:
    absent = [number for number, square in enumerate(squares) if square not in known]
    if absent:
        n = absent[0]
        warnings.warn(
            f"{len(absent)} point(s) left out: archive {snapshot.archive.url} has no square of "
            f"theirs, such as {squares[n].name} of point {n} ({lons[n]:g}, {lats[n]:g}).",
            GssmWarning,
            stacklevel=3,
        )


def _frames(
    snapshot: Snapshot,
    squares: Sequence[Square],
    known: set[Square],
    lons: NDArray[Any],
    lats: NDArray[Any],
    datetime: Any,
) -> dict[int, pd.DataFrame]:
    """Table of each point, by its number; each chunk is read once, for all points in it."""
    frames: dict[int, pd.DataFrame] = {}
    out_of_span = []
    for square in sorted(known):
        numbers = [n for n, other in enumerate(squares) if other == square]
        try:
            timeline = read_timeline(snapshot, [square], datetime)
        except EmptySearchError as error:
            out_of_span.append(error)
            continue
        pixels = pixels_at(square, lons[numbers], lats[numbers])
        values = read_pixels(snapshot, square, timeline.places[0], pixels)
        for column, number in enumerate(numbers):
            place = {"point": number, "longitude": lons[number], "latitude": lats[number]}
            of_one = {name: array[:, column] for name, array in values.items()}
            frames[number] = _frame(timeline, of_one, place, square)
    if not frames:
        raise out_of_span[0]
    return frames


def _frame(
    timeline: Timeline, values: dict[str, NDArray[Any]], place: dict[str, Any], square: Square
) -> pd.DataFrame:
    columns: dict[str, Any] = dict(place)
    for name in PIXEL_VARIABLES:
        columns[name] = values[name]
        if name == "quality_flag":
            columns[MEANINGS] = meanings(values[name])
    columns |= {**timeline.coordinates(), "square": square.name}
    frame = pd.DataFrame(columns, index=timeline.times.rename("time"))
    shown: pd.DataFrame = frame.loc[values["quality_flag"] != NOT_COMPUTED]
    return shown


def meanings(flags: NDArray[Any]) -> NDArray[Any]:
    """Names of the flags that are set, joined by a bar."""
    known = {
        int(value): "|".join(f.meaning for f in quality.FLAGS if int(value) & f.mask)
        for value in np.unique(flags)
    }
    return np.array([known[int(value)] for value in flags], object)


def pixels_at(
    square: Square, lons: NDArray[Any], lats: NDArray[Any]
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Row and column of the pixels of a square that hold places of it.

    At the border of a zone a place can lie in a pixel whose centre is across: there it is the
    nearest that the square owns.
    """
    left, _, _, top = square.bounds
    x, y = transformer(square.epsg, inverse=False).transform(lons, lats)
    across, down = (np.asarray(x) - left) / PIXEL, (top - np.asarray(y)) / PIXEL
    rows, columns = (np.clip(np.floor(v), 0, PIXELS - 1).astype(np.int64) for v in (down, across))
    for n, (row, column) in enumerate(zip(rows, columns, strict=True)):
        near = [slice(max(int(v) - 1, 0), min(int(v) + 2, PIXELS)) for v in (row, column)]
        ours = owned(square, near[0], near[1])
        if ours is None or ours[row - near[0].start, column - near[1].start] or not ours.any():
            continue
        i, j = np.nonzero(ours)
        away = np.hypot(i + near[0].start + 0.5 - down[n], j + near[1].start + 0.5 - across[n])
        nearest = int(np.argmin(away))
        rows[n], columns[n] = i[nearest] + near[0].start, j[nearest] + near[1].start
    return rows, columns


def read_pixels(
    snapshot: Snapshot,
    square: Square,
    places: NDArray[np.int64],
    pixels: tuple[NDArray[np.int64], NDArray[np.int64]],
    names: Sequence[str] = PIXEL_VARIABLES,
) -> dict[str, NDArray[Any]]:
    """Read pixels of dates of a square: variables as ``(date, pixel)``, physical."""
    rows, columns = (np.broadcast_to(v, (len(places), len(v))) for v in pixels)
    times = np.broadcast_to(places[:, None], rows.shape)
    values = {}
    with archiving(snapshot.archive.url), zarr.config.set({"async.concurrency": AT_ONCE}):
        for name in names:
            packed = snapshot.array(square, name).vindex[times, rows, columns]
            values[name] = decode(name, np.asarray(packed))
    return values
