"""Products and measurements on the same rows: matched in time, with what was left out."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from gssm.compare.observations import OBSERVED, PLACE, daily_means, nearest_in_time, places
from gssm.compare.sources import Source
from gssm.errors import EmptySearchError, RequestError
from gssm.request import check_window
from gssm.training.uscrn import GOOD

# What `window` may be besides a duration: means of UTC days, compared day by day.
DAILY = "daily"

Pairs = tuple[pd.DataFrame, dict[str, int]]


def pair(rows: pd.DataFrame, sources: Sequence[Source], window: str) -> Pairs:
    """Put all products beside the measurements, on rows that have every one of them.

    Where a product has a value for each row of the table (a column, a model), these rows are
    compared, and products on a grid give the value nearest in time. Where all are on a grid,
    the dates of the first at each station are compared: each with the measurement, and with
    the value of every other product, that is nearest in time; a measurement that is nearest to
    several dates counts once, with the nearest of them. ``"daily"`` compares means of UTC days
    instead. A measurement that a table holds twice counts once.

    Parameters
    ----------
    rows
        As from `gssm.compare.observations.observations`.
    sources
        The products, the one that is compared first.
    window
        Largest time between two that are matched, such as ``"12h"``; or ``"daily"``.

    Returns
    -------
    tuple
        `PLACE`, ``observed`` and a column for each product (m3 m-3, no NaN), sorted by
        station and time; and the rows left out by reason, each counted once. Reasons that
        begin with "rows" and the pairs together are all that could be compared.

    Raises
    ------
    RequestError
        The window is no duration.
    EmptySearchError
        No row has all of them; the sentence counts the reasons.
    """
    tolerance = None if window == DAILY else _tolerance(window)
    dropped: dict[str, int] = {}
    good = rows["good"].to_numpy()
    if (~good).any():
        dropped[f"rows whose measurement is not flagged {GOOD}"] = int((~good).sum())
    again = rows["again"].to_numpy()
    if again.any():
        dropped["rows that repeat a measurement"] = int(again.sum())
    good = good & ~again
    row_wise = any(source.by_row is not None for source in sources)
    if tolerance is None:
        table = _by_day(rows, sources, good, dropped)
    elif row_wise:
        table = _by_row(rows, sources, tolerance, good, dropped)
    else:
        table = _by_first(rows[good], sources, tolerance, window, dropped)
    for source in sources:
        dropped |= {reason: count for reason, count in source.notes.items() if count}
    if table.empty:
        told = ", ".join(f"{reason}: {count:,}" for reason, count in dropped.items())
        raise EmptySearchError(
            f"no row has a measurement and a value of every product ({told or 'nothing matched'}); "
            "check places and dates, or widen the window."
        )
    names = [source.name for source in sources]
    shown = [name for name in PLACE if name in table]
    ordered = table.sort_values(["station", "time"], kind="stable", ignore_index=True)
    return ordered[[*shown, OBSERVED, *names]], dropped


def _tolerance(window: str) -> pd.Timedelta:
    try:
        return check_window(window)
    except RequestError as error:
        raise RequestError(
            f"window {window!r} is no time between two values; give '12h', say, or "
            f"{DAILY!r} for means of UTC days."
        ) from error


def _by_row(
    rows: pd.DataFrame,
    sources: Sequence[Source],
    window: pd.Timedelta,
    good: NDArray[np.bool_],
    dropped: dict[str, int],
) -> pd.DataFrame:
    """Rows of the table that have a value of every product."""
    table, kept = rows.copy(), good.copy()
    for source in sources:
        for reason, where in source.excluded.items():
            _leave_out(dropped, reason, kept, where)
        if source.by_row is not None:
            table[source.name] = source.by_row
        else:
            assert source.by_time is not None
            table[source.name] = _nearest(rows, source.by_time, window)
        missing = ~np.isfinite(table[source.name].to_numpy(np.float64))
        _leave_out(dropped, f"rows without a value of {source.name}", kept, missing)
    return table[kept]


def _leave_out(
    dropped: dict[str, int],
    reason: str,
    kept: NDArray[np.bool_],
    where: NDArray[np.bool_],
) -> None:
    """Take rows out, and count those that were still in."""
    count = int((kept & where).sum())
    if count:
        dropped[reason] = dropped.get(reason, 0) + count
    kept &= ~where


def _nearest(rows: pd.DataFrame, series: pd.DataFrame, window: pd.Timedelta) -> NDArray[np.float64]:
    return nearest_in_time(rows, series, "value", window)["value"].to_numpy(np.float64)


def _by_first(
    rows: pd.DataFrame,
    sources: Sequence[Source],
    window: pd.Timedelta,
    told: str,
    dropped: dict[str, int],
) -> pd.DataFrame:
    """Dates of the first product, with the nearest measurement and values of the others."""
    first, *others = sources
    assert first.by_time is not None
    table = first.by_time.rename(columns={"value": first.name}).reset_index(drop=True)
    matched = nearest_in_time(table, rows, OBSERVED, window)
    table[OBSERVED] = matched["value"].to_numpy()
    kept = np.ones(len(table), dtype=np.bool_)
    missing = ~np.isfinite(table[OBSERVED].to_numpy(np.float64))
    _leave_out(dropped, f"rows of {first.name} without a measurement within {told}", kept, missing)
    # An hourly product must not make 24 rows of one measurement a day.
    shared = _farther(table["station"], matched)
    reason = f"rows of {first.name} that share a measurement with a row nearer to it"
    _leave_out(dropped, reason, kept, shared)
    for source in others:
        assert source.by_time is not None
        table[source.name] = _nearest(table, source.by_time, window)
        missing = ~np.isfinite(table[source.name].to_numpy(np.float64))
        _leave_out(dropped, f"rows without a value of {source.name} within {told}", kept, missing)
    return table[kept].merge(places(rows), left_on="station", right_index=True, how="left")


def _farther(stations: pd.Series[Any], matched: pd.DataFrame) -> NDArray[np.bool_]:
    """Whether another row of the station is nearer to the same entry; of two as near, the first."""
    told = matched.assign(station=stations.to_numpy(object), away=matched["offset_hours"].abs())
    in_order = told.sort_values("away", kind="stable")
    return np.asarray(in_order.duplicated(["station", "at"]).sort_index())


def _by_day(
    rows: pd.DataFrame,
    sources: Sequence[Source],
    good: NDArray[np.bool_],
    dropped: dict[str, int],
) -> pd.DataFrame:
    """Days of each station that have a measurement and a value of every product."""
    kept = good.copy()
    for source in sources:
        for reason, where in source.excluded.items():
            _leave_out(dropped, reason, kept, where)
    table = daily_means(rows[kept], OBSERVED)
    there = np.ones(len(table), dtype=np.bool_)
    for source in sources:
        if source.by_row is not None:
            by_row = rows[kept].assign(value=source.by_row[kept]).dropna(subset="value")
            means = daily_means(by_row, "value")
        else:
            assert source.by_time is not None
            means = daily_means(source.by_time, "value")
        named = means.rename(columns={"value": source.name})
        table = table.merge(named, on=["station", "time"], how="left")
        missing = ~np.isfinite(table[source.name].to_numpy(np.float64))
        _leave_out(dropped, f"days without a value of {source.name}", there, missing)
    return table[there].merge(places(rows), left_on="station", right_index=True, how="left")
