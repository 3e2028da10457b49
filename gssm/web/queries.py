"""Values and series of points and areas of a dataset, as the API says them.

All of it reads the version of the dataset that is given, whole, however often the archive
changes meanwhile. What may take long asks a `Watch` whether somebody still waits.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Sequence
from functools import lru_cache
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from gssm import quality
from gssm.archive import groups
from gssm.archive.packing import NOT_COMPUTED
from gssm.archive.points import MEANINGS, meanings, pixels_at, read_pixels
from gssm.archive.polygons import FLAGS, area_series
from gssm.archive.reading import refuse_empty_place
from gssm.archive.snapshots import Snapshot, squares_in
from gssm.archive.tiles import Square, square_at
from gssm.archive.timeline import Timeline, read_timeline
from gssm.archive.troubles import archiving
from gssm.errors import EmptySearchError
from gssm.pairing import SAME_PASS
from gssm.web.asking import check_period
from gssm.web.colors import FLAG_COLORS
from gssm.web.datasets import Dataset, find_date
from gssm.web.lanes import Watch

UNITS = "m3 m-3"
# Digits after the point: those of what is stored, and more for means.
DIGITS = {
    "soil_moisture": 4,
    "soil_moisture_uncertainty": 4,
    "s2_age": 2,
    "landsat_age": 2,
}
MEAN_DIGITS = 6
# Dates that are read before somebody is asked whether to go on.
DATES = 64
DESCRIPTIONS = {flag.meaning: flag.title for flag in FLAG_COLORS}
Period = tuple[pd.Timestamp, pd.Timestamp] | None


def to_json(content: Any) -> bytes:
    """Write what an endpoint answers; NaN is an error here, not null."""
    return json.dumps(content, allow_nan=False, ensure_ascii=False, separators=(",", ":")).encode()


def number(value: Any, digits: int) -> float | None:
    """Return a number as JSON has it: rounded, None for NaN."""
    found = float(value)
    return round(found, digits) if math.isfinite(found) else None


def iso(time: Any) -> str:
    """Return a time, UTC, in ISO 8601."""
    return f"{pd.Timestamp(time):%Y-%m-%dT%H:%M:%SZ}"


def point(dataset: Dataset, lon: float, lat: float, date: str) -> dict[str, Any]:
    """Return the pixel that holds a place, on a date; of a day the last pass that shows it.

    Raises
    ------
    EmptySearchError
        The dataset has nothing there, or the pixel was not computed on that date.
    RequestError
        The place lies beyond the squares of UTM.
    UnknownDateError
        There is no such date.
    """
    passes = find_date(dataset, date)
    square = _square_at(dataset, lon, lat)
    places = _places(dataset, square)
    chosen = np.array([n for n in sorted(passes) if places[n] >= 0], np.int64)
    values = _read(dataset, square, places[chosen], lon, lat)
    computed = np.flatnonzero(values["quality_flag"] != NOT_COMPUTED)
    if not len(computed):
        raise EmptySearchError(
            f"the pixel at ({lon:g}, {lat:g}) was not computed on {date}; ask for another date of "
            "this place."
        )
    last = computed[-1]
    passage = int(chosen[last])
    moisture, width, *ages = (number(values[name][last], DIGITS[name]) for name in DIGITS)
    flags = int(values["quality_flag"][last])
    return {
        "lon": lon,
        "lat": lat,
        "date": dataset.ids[passage],
        "time": iso(_moment(dataset, square, passage)),
        "soil_moisture": moisture,
        "soil_moisture_uncertainty": width,
        "interval": _interval(moisture, width),
        "quality_flag": flags,
        "flags": [
            {"name": flag.meaning, "description": DESCRIPTIONS[flag.meaning]}
            for flag in quality.FLAGS
            if flags & flag.mask
        ],
        "s2_age": ages[0],
        "landsat_age": ages[1],
        **{name: values[0] for name, values in _orbits(dataset.timeline, [passage]).items()},
        "square": square.name,
        "units": UNITS,
    }


def _interval(moisture: float | None, width: float | None) -> list[float] | None:
    """Bounds of the 90 % prediction interval, of which the uncertainty is half the width."""
    if moisture is None or width is None:
        return None
    return [round(max(0.0, moisture - width), 4), round(moisture + width, 4)]


def point_rows(
    watch: Watch, dataset: Dataset, lon: float, lat: float, period: Period, most_days: int
) -> pd.DataFrame:
    """Return all dates of the pixel that holds a place, as `gssm.point_series` does.

    Raises
    ------
    EmptySearchError
        The dataset has nothing there, or no date in the period.
    TooMuchError
        No period is given, and that of the dataset is too long.
    """
    square = _square_at(dataset, lon, lat)
    timeline = read_timeline(dataset.snapshot, [square], period_over(dataset, [square], period))
    _check_span(timeline, period, most_days)
    places = timeline.places[0]
    parts = []
    for start in range(0, len(places), DATES):
        watch.check()
        parts.append(_read(dataset, square, places[start : start + DATES], lon, lat))
    values = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
    columns: dict[str, Any] = {}
    for name in groups.PIXEL_VARIABLES:
        columns[name] = values[name]
        if name == "quality_flag":
            columns[MEANINGS] = meanings(values[name])
    columns |= {**timeline.coordinates(), "square": square.name}
    table = pd.DataFrame(columns, index=timeline.times.rename("time"))
    shown: pd.DataFrame = table.loc[values["quality_flag"] != NOT_COMPUTED]
    return shown


def area_rows(
    watch: Watch, dataset: Dataset, area: Any, period: Period, most_days: int
) -> pd.DataFrame:
    """Return all dates of an area, as `gssm.polygon_series` does.

    Raises
    ------
    RequestError
        The area cannot serve.
    EmptySearchError
        The dataset has nothing there, no date in the period, or no pixel in the area.
    TooMuchError
        No period is given, and that of the dataset is too long.
    """
    squares = squares_in(dataset.snapshot, area)
    spans = [period]  # without squares that says what there is instead
    if squares:
        there = period_over(dataset, squares, period)
        timeline = read_timeline(dataset.snapshot, squares, there)
        _check_span(timeline, period, most_days)
        spans = list(_spans(timeline.times))
    tables = []
    for span in spans:
        watch.check()
        tables.append(area_series(dataset.url, area, span, dataset.snapshot.id))
    table: pd.DataFrame = pd.concat([one for one in tables if len(one)] or tables[:1])
    return table


def period_over(dataset: Dataset, squares: Sequence[Square], period: Period) -> Period:
    """Return a period as some squares have it.

    The slices of a pass come to one square after the other, and its id has the time of the
    first of all: a period holds a pass by its id, and this one by the time over the squares.
    """
    if period is None:
        return None
    start, end = period
    times = dataset.timeline.times
    keep = np.asarray((times >= start) & (times <= end))
    if start == end and not keep.any():  # a later slice: the first may have come since
        keep = np.asarray((times < start) & (start - times <= SAME_PASS))
    seconds = [s for s, is_in in zip(_seconds(dataset, squares), keep, strict=True) if is_in]
    known = [one for one in seconds if one is not None]
    if not known:
        return period  # of which the archive says that there is nothing
    return pd.Timestamp(min(known), unit="s"), pd.Timestamp(max(known), unit="s")


def _check_span(timeline: Timeline, period: Period, most_days: int) -> None:
    if period is None:
        check_period(timeline.times[0], timeline.times[-1], most_days)


def _spans(times: pd.DatetimeIndex) -> Iterator[Period]:
    """Periods of some dates each; a period holds a pass by its time, whole."""
    for first in range(0, len(times), DATES):
        part = times[first : first + DATES]
        yield part[0], part[-1]


def _square_at(dataset: Dataset, lon: float, lat: float) -> Square:
    square = square_at(lon, lat)
    if square not in dataset.squares:
        refuse_empty_place(dataset.snapshot, f"the place ({lon:g}, {lat:g})")
    return square


def _places(dataset: Dataset, square: Square) -> NDArray[np.int64]:
    """Place along a square's time of each pass, -1 where it has none."""
    found: NDArray[np.int64] = dataset.timeline.places[dataset.squares.index(square)]
    return found


def _moment(dataset: Dataset, square: Square, passage: int) -> pd.Timestamp:
    """Time at which a pass came to a square."""
    place = int(_places(dataset, square)[passage])
    return pd.Timestamp(int(stored_times(dataset.snapshot, square)[place]), unit="s")


@lru_cache(maxsize=1024)
def stored_times(snapshot: Snapshot, square: Square) -> NDArray[np.int64]:
    """Read the times of a square, in seconds since 1970, in the order of the store."""
    with archiving(snapshot.archive.url):
        return np.asarray(snapshot.array(square, "time")[:], np.int64)


def _read(
    dataset: Dataset, square: Square, places: NDArray[np.int64], lon: float, lat: float
) -> dict[str, NDArray[Any]]:
    """Values of the pixel that holds a place, (date,) for each variable."""
    pixels = pixels_at(square, np.array([lon]), np.array([lat]))
    values = read_pixels(dataset.snapshot, square, places, pixels)
    return {name: array[:, 0] for name, array in values.items()}


def _orbits(timeline: Timeline, passes: Sequence[int]) -> dict[str, list[Any]]:
    """Orbit and platform of passes, None where unknown."""
    table = timeline.table.iloc[list(passes)]
    return {
        "relative_orbit": [
            None if v == groups.UNKNOWN else int(v) for v in table["relative_orbit"]
        ],
        "orbit_state": [_word(v, groups.ORBIT_STATES) for v in table["orbit_state"]],
        "platform": [_word(v, groups.PLATFORMS) for v in table["platform"]],
    }


def _word(code: Any, words: Sequence[str]) -> str | None:
    return None if code == groups.UNKNOWN else words[int(code)]


def point_record(dataset: Dataset, lon: float, lat: float, table: pd.DataFrame) -> dict[str, Any]:
    """Return the series of a point as JSON has it."""
    square = _square_at(dataset, lon, lat)
    rows = [
        {
            **_row(row),
            **{name: number(row[name], digits) for name, digits in DIGITS.items()},
            "quality_flag": int(row["quality_flag"]),
            MEANINGS: row[MEANINGS],
            "square": row["square"],
        }
        for row in _records(dataset, [square], table)
    ]
    return {**_head(dataset), "lon": lon, "lat": lat, "rows": rows}


def area_record(dataset: Dataset, area: Any, table: pd.DataFrame) -> dict[str, Any]:
    """Return the series of an area as JSON has it."""
    means = ("soil_moisture", "soil_moisture_std", "soil_moisture_uncertainty", *_AGES)
    rows = [
        {
            **_row(row),
            **{name: number(row[name], MEAN_DIGITS) for name in means},
            **{name: int(row[name]) for name in ("pixels", "computed", "valid")},
            "share_valid": number(row["share_valid"], MEAN_DIGITS),
            "flags": {name: number(row[f"share_{name}"], MEAN_DIGITS) for name in FLAGS},
        }
        for row in _records(dataset, squares_in(dataset.snapshot, area), table)
    ]
    return {**_head(dataset), "rows": rows}


_AGES = ("s2_age", "landsat_age")


def _head(dataset: Dataset) -> dict[str, Any]:
    return {"dataset": dataset.id, "version": dataset.version, "units": UNITS}


def _records(
    dataset: Dataset, squares: Sequence[Square], table: pd.DataFrame
) -> Iterator[dict[str, Any]]:
    """Rows of a series, with the id of the pass that each is of."""
    ids = _ids(dataset, squares)
    seconds = table.index.to_numpy("datetime64[s]").astype(np.int64)
    records = table.reset_index().to_dict("records")
    for second, record in zip(seconds, records, strict=True):
        yield {**{str(name): v for name, v in record.items()}, "date": ids.get(int(second))}


def _row(row: dict[str, Any]) -> dict[str, Any]:
    orbit = int(row["relative_orbit"])
    return {
        "date": row["date"],
        "time": iso(row["time"]),
        "relative_orbit": None if orbit == groups.UNKNOWN else orbit,
        "orbit_state": row["orbit_state"] or None,
        "platform": row["platform"] or None,
    }


def _ids(dataset: Dataset, squares: Sequence[Square]) -> dict[int, str]:
    """Id of each pass by the second at which it came to one of some squares."""
    found = zip(_seconds(dataset, squares), dataset.ids, strict=True)
    return {second: name for second, name in found if second is not None}


def _seconds(dataset: Dataset, squares: Sequence[Square]) -> list[int | None]:
    """Second at which each pass came to the first of some squares; None if to none."""
    late = np.iinfo(np.int64).max
    first = np.full(len(dataset.ids), late)
    for square in squares:
        places, times = _places(dataset, square), stored_times(dataset.snapshot, square)
        np.minimum(first, np.where(places >= 0, times[places], late), out=first)
    return [None if second == late else second for second in first.tolist()]
