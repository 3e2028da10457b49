"""Loose input of a user -> a checked bounding box, date range and window."""

from __future__ import annotations

import datetime as dt
import math
import re
from collections.abc import Iterable, Sequence
from numbers import Real
from typing import Any

import numpy as np
import pandas as pd

from gssm.errors import RequestError

Bbox = tuple[float, float, float, float]
DateRange = tuple[pd.Timestamp, pd.Timestamp]

WIDEST_BBOX_DEGREES = 5.0
LONGEST_WINDOW = pd.Timedelta("366D")


def check_bbox(bbox: Sequence[float | str]) -> Bbox:
    """Return ``(west, south, east, north)`` in degrees, or refuse it with the reason.

    A box across the 180th meridian may be given with west > east or beyond 180; it is
    returned with west > east, and `sides_of_180` splits it.
    """
    try:
        west, south, east, north = (float(value) for value in bbox)
    except (TypeError, ValueError):
        raise RequestError(
            f"bbox {bbox!r} is not four numbers; give west, south, east, north in degrees "
            "(in the shell with blanks between them, no commas)."
        ) from None
    shown = f"bbox ({west:g}, {south:g}, {east:g}, {north:g})"
    if not all(map(math.isfinite, (west, south, east, north))):
        raise RequestError(f"{shown} holds a value that is not finite; give degrees.")
    inside = (-180 <= west <= 180 and east <= 360) or (-180 <= east <= 180 and west >= -360)
    if not (inside and -90 <= south <= 90 >= north >= -90):
        raise RequestError(
            f"{shown} lies outside the world; longitudes are -180 to 180 (beyond only where the "
            "box crosses the 180th meridian) and latitudes -90 to 90."
        )
    width = east - west if west <= east else (east - west) % 360
    if west > east and width > WIDEST_BBOX_DEGREES:
        raise RequestError(
            f"{shown} has west > east; swap them (only a box across the 180th meridian has "
            f"west > east, and at most {WIDEST_BBOX_DEGREES:g} degrees of width)."
        )
    if south > north:
        raise RequestError(f"{shown} has south > north; the order is west, south, east, north.")
    if width == 0 or south == north:
        raise RequestError(f"{shown} has zero area; give a box at least one pixel wide.")
    if width > WIDEST_BBOX_DEGREES or north - south > WIDEST_BBOX_DEGREES:
        raise RequestError(
            f"{shown} is more than {WIDEST_BBOX_DEGREES:g} degrees wide or high, past what one "
            "UTM zone can show; split it into smaller boxes."
        )
    if -180 <= west < east <= 180:
        return west, south, east, north
    west = (west + 180) % 360 - 180
    east = west + width
    return west, south, east if east <= 180 else east - 360, north


def sides_of_180(bbox: Bbox) -> tuple[Bbox, ...]:
    """Return a box as boxes with west < east: two where it crosses the 180th meridian."""
    west, south, east, north = bbox
    if west < east:
        return (bbox,)
    return (west, south, 180.0, north), (-180.0, south, east, north)


def check_datetime(datetime: Any) -> DateRange:
    """Return first and last moment (UTC) of ``"start/end"``, a date, a month or a pair.

    A date without a clock time counts whole: ``"2018-05-01/2018-09-30"`` includes the
    last day of September.
    """
    parts = datetime.split("/") if isinstance(datetime, str) else datetime
    parts = list(parts) if isinstance(parts, Iterable) else [parts]
    if len(parts) == 1:
        parts = parts * 2
    if len(parts) != 2:
        raise RequestError(
            f"datetime {datetime!r} is not 'start/end'; use '2018-05-01/2018-09-30'."
        )
    start, end = _moment(parts[0], last=False), _moment(parts[1], last=True)
    if start > end:
        raise RequestError(
            f"datetime {datetime!r} ends ({end:%Y-%m-%d}) before it starts ({start:%Y-%m-%d}); "
            "swap the two dates."
        )
    return start, end


def span(dates: DateRange) -> str:
    """Return ``"2018-05-01/2018-09-30"``, with clock times where days are not whole."""
    start, end = dates
    is_whole = start == start.normalize() and end.ceil("s") == end.normalize() + pd.Timedelta("1D")
    how = "%Y-%m-%d" if is_whole else "%Y-%m-%dT%H:%M"
    return f"{start:{how}}/{end:{how}}"


def check_percent(name: str, value: float) -> None:
    """Refuse what is not a percentage."""
    if not isinstance(value, (int, float)) or not 0 <= value <= 100:
        raise RequestError(f"{name} {value!r} is not a percentage; give a number from 0 to 100.")


def check_window(window: str | pd.Timedelta) -> pd.Timedelta:
    """Return the largest time between radar and optical image, such as ``"3D"``."""
    # A bare number would be nanoseconds to pandas.
    text = str(window)
    try:
        delta = pd.Timedelta(text) if re.search("[A-Za-z:]", text) else pd.NaT
    except ValueError:
        delta = pd.NaT
    if pd.isna(delta):
        raise RequestError(f"window {window!r} is not a duration; use '3D' or '36h'.")
    if delta < pd.Timedelta(0):
        raise RequestError(f"window {window!r} is negative; use '3D' for three days either way.")
    if delta > LONGEST_WINDOW:
        raise RequestError(
            f"window {window!r} is longer than {LONGEST_WINDOW.days} days; use '3D' for three "
            "days either way."
        )
    return delta


def _moment(text: Any, *, last: bool) -> pd.Timestamp:
    if text is None or text is pd.NaT or text in ("", ".."):
        raise RequestError("datetime has an open end; give both a start and an end date.")
    whole_day = isinstance(text, dt.date) and not isinstance(text, dt.datetime)
    stated = str(text).strip() if whole_day or isinstance(text, (str, np.datetime64)) else text
    try:
        if isinstance(stated, Real) or (isinstance(stated, str) and not re.match(r"\d{4}", stated)):
            raise ValueError  # '05-01-2018' is May or January; 2018 would be nanoseconds
        if isinstance(stated, str) and "T" not in stated and ":" not in stated:
            stated = pd.Period(stated)
        if isinstance(stated, pd.Period):
            return stated.end_time if last else stated.start_time
        moment = pd.Timestamp(stated)
    except (ValueError, TypeError):
        raise RequestError(
            f"datetime part {text!r} is not a date; use 'YYYY-MM-DD' or an ISO 8601 time."
        ) from None
    return moment.tz_convert("UTC").tz_localize(None) if moment.tzinfo else moment
