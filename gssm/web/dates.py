"""Dates of a dataset: which show a place, and which one a name means."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from gssm.archive.area import in_degrees
from gssm.archive.groups import UNKNOWN
from gssm.archive.ledger import Index
from gssm.archive.points import pixels_at
from gssm.archive.tiles import Square, chunks_over, square_at, squares_over
from gssm.errors import GssmError, RequestError
from gssm.pairing import SAME_PASS
from gssm.request import check_bbox, check_datetime
from gssm.web.extents import held

if TYPE_CHECKING:
    from gssm.web.datasets import Dataset

PASS, DAY = "%Y%m%dT%H%M%SZ", "%Y-%m-%d"
PASS_ID = re.compile(r"\d{8}T\d{6}Z", re.ASCII)
DAY_ID = re.compile(r"\d{4}-\d{2}-\d{2}", re.ASCII)
LATEST = "latest"


class UnknownDateError(GssmError, LookupError):
    """A dataset has no such date."""


@dataclass(frozen=True)
class PassRecord:
    """One date of a dataset.

    Attributes
    ----------
    id
        Name: its time as ``YYYYMMDDTHHMMSSZ``.
    time
        Of its first slice, UTC.
    relative_orbit, orbit_state, platform
        Of Sentinel-1; None where unknown.
    provisional
        A better optical image may still come.
    s2_age, landsat_age
        Mean days from the radar to the optical images; None where unknown.
    """

    id: str
    time: pd.Timestamp
    relative_orbit: int | None
    orbit_state: str | None
    platform: str | None
    provisional: bool
    s2_age: float | None
    landsat_age: float | None


def find_date(dataset: Dataset, text: str) -> tuple[int, ...]:
    """Return the numbers of passes that a date names, each to lay on top of those before.

    Parameters
    ----------
    dataset
        Which.
    text
        Name of a pass, ``20240103T172233Z`` (also the time of a later slice of it: the first
        may have come since); a day, ``2024-01-03``, for all passes that begin on it; or
        ``latest``.

    Raises
    ------
    RequestError
        It is no date.
    UnknownDateError
        The dataset has no such pass, or none on that day.
    """
    if text == LATEST and dataset.ids:
        return (len(dataset.ids) - 1,)
    found = dataset.numbers.get(text)
    if found is not None:
        return found
    if PASS_ID.fullmatch(text):
        moment = _moment(text, PASS)
        behind = moment - dataset.timeline.times
        near = np.flatnonzero((behind > pd.Timedelta(0)) & (behind <= SAME_PASS))
        if len(near) == 1:
            return (int(near[0]),)
    elif DAY_ID.fullmatch(text):
        _moment(text, DAY)
    elif text != LATEST:
        raise RequestError(
            f"date {text!r} is none; give the id of a date, such as 20240103T172233Z, a day, such "
            "as 2024-01-03, or latest."
        )
    span = f"from {dataset.start:%Y-%m-%d} to {dataset.end:%Y-%m-%d}" if dataset.ids else "at all"
    raise UnknownDateError(
        f"dataset {dataset.id} has no date {text}; its {len(dataset.ids)} are {span}: choose one "
        "that its dates list."
    )


def _moment(text: str, form: str) -> pd.Timestamp:
    try:
        return pd.to_datetime(text, format=form)
    except ValueError as error:
        raise RequestError(f"date {text!r} is no day of the calendar; correct it.") from error


def dates_of(dataset: Dataset, place: Any = None, datetime: Any = None) -> list[PassRecord]:
    """Return the passes that show something of a place, in order of time.

    Parameters
    ----------
    dataset
        Which.
    place
        Longitude and latitude of a point, or west, south, east and north of a box, or a shapely
        Polygon, in degrees; by default everywhere.
    datetime
        As for `gssm.search`; by default all.

    Returns
    -------
    list of PassRecord
        A pass over several squares once, with what holds for the squares of the place; empty
        where nothing was computed.

    Raises
    ------
    RequestError
        The place or the span of time cannot serve.
    """
    chosen = _chunks(dataset, place)
    keep = np.zeros(len(dataset.ids), bool)
    for square, chunks in chosen.items():
        known, at = held(dataset.snapshot, square), dataset.timeline.places[dataset.order[square]]
        some = slice(None) if chunks is None else [i * known.side + j for i, j in chunks]
        keep |= (at >= 0) & np.asarray(known.covered[:, some].any(axis=1))[at]
    if datetime is not None:
        start, end = check_datetime(datetime)
        keep &= np.asarray((dataset.timeline.times >= start) & (dataset.timeline.times <= end))
    return [_record(dataset, int(number), list(chosen)) for number in np.flatnonzero(keep)]


def _chunks(dataset: Dataset, place: Any) -> dict[Square, Sequence[Index] | None]:
    """Squares of a dataset in a place, and chunks of each; None for all."""
    if place is None:
        return dict.fromkeys(dataset.squares)
    chunk = dataset.snapshot.archive.chunk
    if not hasattr(place, "geom_type") and len(place) == 2:
        lon, lat = (float(value) for value in place)
        square = square_at(lon, lat)
        if square not in dataset.order:
            return {}
        (row,), (column,) = pixels_at(square, np.array([lon]), np.array([lat]))
        return {square: [(int(row) // chunk, int(column) // chunk)]}
    area = place if hasattr(place, "geom_type") else in_degrees(check_bbox(place))
    over = [square for square in squares_over(area) if square in dataset.order]
    return {square: chunks_over(square, area, chunk) for square in over}


def _record(dataset: Dataset, number: int, squares: Sequence[Square]) -> PassRecord:
    """Record of a pass over some squares: ages are means over their pixels with a value."""
    provisional, ages, weights = False, [], []
    for square in squares:
        at = int(dataset.timeline.places[dataset.order[square], number])
        if at >= 0:
            known = held(dataset.snapshot, square)
            provisional |= bool(known.provisional[at])
            ages.append(known.ages[at])
            weights.append(max(int(known.valued[at]), 1))
    orbit = int(dataset.coordinates["relative_orbit"][number])
    s2_age, landsat_age = (_mean(of_one, weights) for of_one in np.transpose(ages))
    return PassRecord(
        id=dataset.ids[number],
        time=dataset.timeline.times[number],
        relative_orbit=None if orbit == UNKNOWN else orbit,
        orbit_state=str(dataset.coordinates["orbit_state"][number]) or None,
        platform=str(dataset.coordinates["platform"][number]) or None,
        provisional=provisional,
        s2_age=s2_age,
        landsat_age=landsat_age,
    )


def _mean(values: NDArray[np.float64], weights: Sequence[int]) -> float | None:
    known = np.isfinite(values)
    return (
        float(np.average(values[known], weights=np.array(weights)[known])) if known.any() else None
    )
