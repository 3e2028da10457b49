from __future__ import annotations

import datetime as dt
from typing import Any

import numpy as np
import pandas as pd
import pytest

from gssm.errors import RequestError
from gssm.request import check_bbox, check_datetime, check_window, sides_of_180, span

NAN, INF = float("nan"), float("inf")


@pytest.mark.parametrize(
    ("bbox", "reason"),
    [
        ((4, 50, 3, 51), "west > east"),
        ((3, 51, 4, 50), "south > north"),
        ((170, 0, -170, 1), "west > east"),  # 20 degrees across the 180th meridian
        ((190, 0, -175, 1), "west > east"),
        ((3.1, 50, 3.0, 51), "west > east"),
        ((181, 0, 182, 1), "outside the world"),
        ((-182, 0, -181, 1), "outside the world"),
        ((-361, 0, -179, 1), "outside the world"),
        ((175, 0, 185.1, 1), "more than 5 degrees"),
        ((179, 1, -179, 1), "zero area"),
        ((180, 0, -180, 1), "zero area"),
        ((0, -91, 1, 0), "outside the world"),
        ((0, 89, 1, 90.5), "outside the world"),
        ((3, 50, 3, 51), "zero area"),
        ((3, 50, 4, 50), "zero area"),
        ((0, 0, 5.01, 1), "more than 5 degrees"),
        ((0, 0, 1, 5.01), "more than 5 degrees"),
        ((NAN, 0, 1, 1), "not finite"),
        ((0, 0, INF, 1), "not finite"),
        ((0, 0, 1), "not four numbers"),
        ((0, 0, 0, 1, 1, 1), "not four numbers"),
        ("3,50,4,51", "not four numbers"),
        ("abcd", "not four numbers"),
        (None, "not four numbers"),
        (5, "not four numbers"),
    ],
)
def test_bbox_refused(bbox: Any, reason: str) -> None:
    with pytest.raises(RequestError, match=reason):
        check_bbox(bbox)


@pytest.mark.parametrize(
    "bbox", [(3, 50, 4, 51), [3, 50, 4, 51], np.array([3, 50, 4, 51]), ("3", "50", "4", "51")]
)
def test_bbox_accepted(bbox: Any) -> None:
    assert check_bbox(bbox) == (3.0, 50.0, 4.0, 51.0)


@pytest.mark.parametrize(
    ("given", "kept", "sides"),
    [
        ((179, -17, -179, -16), (179, -17, -179, -16), 2),
        ((179, -17, 181, -16), (179, -17, -179, -16), 2),
        ((-181, -17, -179, -16), (179, -17, -179, -16), 2),
        ((180, -17, 181, -16), (-180, -17, -179, -16), 1),
        ((180, -17, -179, -16), (-180, -17, -179, -16), 1),
        ((179, -17, -180, -16), (179, -17, 180, -16), 1),
        ((179, -17, 180, -16), (179, -17, 180, -16), 1),
        ((-180, -17, -179, -16), (-180, -17, -179, -16), 1),
        ((-3, 50, 2, 51), (-3, 50, 2, 51), 1),
    ],
)
def test_bbox_across_the_180th_meridian(given: Any, kept: Any, sides: int) -> None:
    box = check_bbox(given)
    assert box == kept
    assert check_bbox(box) == box
    parts = sides_of_180(box)
    assert len(parts) == sides
    assert all(-180 <= west < east <= 180 for west, _, east, _ in parts)
    assert {part[1::2] for part in parts} == {(-17, -16) if given[1] == -17 else (50, 51)}
    assert sum(east - west for west, _, east, _ in parts) == (given[2] - given[0]) % 360


def test_bbox_of_five_degrees_is_the_widest() -> None:
    assert check_bbox((0, 0, 5, 5)) == (0, 0, 5, 5)


@pytest.mark.parametrize(
    ("datetime", "start", "end"),
    [
        ("2018-05-01/2018-09-30", "2018-05-01", "2018-09-30T23:59:59.999999999"),
        ("2018-05-01 / 2018-05-02", "2018-05-01", "2018-05-02T23:59:59.999999999"),
        ("2018-05-01", "2018-05-01", "2018-05-01T23:59:59.999999999"),
        ("2020-02", "2020-02-01", "2020-02-29T23:59:59.999999999"),
        ("2018", "2018-01-01", "2018-12-31T23:59:59.999999999"),
        ("2018-05-01/2018-06", "2018-05-01", "2018-06-30T23:59:59.999999999"),
        ("2018-05-01T06:00/2018-05-01T18:00:00Z", "2018-05-01T06:00", "2018-05-01T18:00"),
        ("2018-05-01T06:00+02:00/2018-05-02", "2018-05-01T04:00", "2018-05-02T23:59:59.999999999"),
        (("2018-05-01", "2018-05-02"), "2018-05-01", "2018-05-02T23:59:59.999999999"),
        ([dt.date(2018, 5, 1)] * 2, "2018-05-01", "2018-05-01T23:59:59.999999999"),
        (dt.date(2018, 5, 1), "2018-05-01", "2018-05-01T23:59:59.999999999"),
        (np.datetime64("2018-05-01"), "2018-05-01", "2018-05-01T23:59:59.999999999"),
        (pd.Period("2018-05"), "2018-05-01", "2018-05-31T23:59:59.999999999"),
        (pd.Timestamp("2018-05-01T06:00"), "2018-05-01T06:00", "2018-05-01T06:00"),
        (
            (dt.datetime(2018, 5, 1, tzinfo=dt.UTC), pd.Timestamp("2018-05-02", tz="Asia/Tokyo")),
            "2018-05-01",
            "2018-05-01T15:00",
        ),
    ],
)
def test_datetime_counts_whole_days_in_utc(datetime: Any, start: str, end: str) -> None:
    assert check_datetime(datetime) == (pd.Timestamp(start), pd.Timestamp(end))


@pytest.mark.parametrize(
    ("datetime", "said"),
    [
        ("2023-06", "2023-06-01/2023-06-30"),
        ("2023-06-20", "2023-06-20/2023-06-20"),
        ("2023-06-20T17:40", "2023-06-20T17:40/2023-06-20T17:40"),
        (("2023-06-03", pd.Timestamp("2023-06-27")), "2023-06-03T00:00/2023-06-27T00:00"),
    ],
)
def test_a_span_says_the_clock_where_days_are_not_whole(datetime, said):
    assert span(check_datetime(datetime)) == said


@pytest.mark.parametrize(
    ("datetime", "reason"),
    [
        ("2018-09-30/2018-05-01", "before it starts.*swap"),
        ("2018-05-01/..", "open end"),
        ("../2018-05-01", "open end"),
        ("2018-05-01/", "open end"),
        ("/2018-05-01", "open end"),
        ("", "open end"),
        (None, "open end"),
        (("2018-05-01", None), "open end"),
        ((pd.NaT, pd.NaT), "open end"),
        ("garbage", "not a date"),
        ("2018-13-01", "not a date"),
        ("2018-02-30", "not a date"),
        ("2018-05-01T25:00", "not a date"),
        ("05-01-2018", "not a date"),  # of January or of May
        (("2018-05-01", 2018), "not a date"),  # a number is nanoseconds to pandas
        (20180501, "not a date"),
        (slice("2018-05-01", "2018-06-01"), "not a date"),
        ("2018-05-01/2018-05-02/2018-05-03", "not 'start/end'"),
        ([], "not 'start/end'"),
    ],
)
def test_datetime_refused(datetime: Any, reason: str) -> None:
    with pytest.raises(RequestError, match=reason):
        check_datetime(datetime)


@pytest.mark.parametrize(
    ("window", "hours"),
    [
        ("3D", 72),
        ("36h", 36),
        ("0D", 0),
        ("3 days", 72),
        (pd.Timedelta("3D"), 72),
        (dt.timedelta(days=3), 72),
        (np.timedelta64(3, "D"), 72),
    ],
)
def test_window_accepted(window: Any, hours: int) -> None:
    assert check_window(window) == pd.Timedelta(hours=hours)


@pytest.mark.parametrize("window", ["garbage", "", "3", 3, 2.5, None, "NaT", pd.NaT, [1], NAN])
def test_window_without_a_unit_or_meaning_refused(window: Any) -> None:
    with pytest.raises(RequestError, match="not a duration; use '3D'"):
        check_window(window)


def test_negative_window_refused() -> None:
    with pytest.raises(RequestError, match="negative"):
        check_window("-1D")
