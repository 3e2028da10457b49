"""A comparison in the shape of the paper's Tables 4 and 5, and as text."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from gssm.training.evaluate import MIN_STATION_ROWS

if TYPE_CHECKING:
    from gssm.compare.report import Comparison

# Columns of Table 4 in its order. Table 5 has no R², "sensitive to data distribution" with
# its 14 pairs; here as with a station of so few rows.
COLUMNS = {
    "r2": "R²",
    "bias": "Bias (m³/m³)",
    "rmse": "RMSE (m³/m³)",
    "ubrmse": "ubRMSE (m³/m³)",
}
MIN_PAIRS = MIN_STATION_ROWS
IN_SITU = "in situ soil moisture observations"
# What pooled scores hide, below the table: how well a place is followed.
BY_STATION = {
    "station_r": "r",
    "station_ubrmse": "ubRMSE",
    "station_bias": "absolute bias",
    "station_anomaly_r": "anomaly r",
}
NONE = "–"


def paper_table(comparison: Comparison) -> pd.DataFrame:
    """Return the columns of the paper's Table 4, a row per product.

    Returns
    -------
    pandas.DataFrame
        Index ``Product``; R² (NaN under `MIN_PAIRS` pairs, as in Table 5), bias, RMSE and
        ubRMSE.
    """
    table = comparison.table[list(COLUMNS)].rename(columns=COLUMNS).rename_axis("Product")
    if len(comparison.pairs) < MIN_PAIRS:
        table[COLUMNS["r2"]] = np.nan
    return table


def as_text(comparison: Comparison) -> str:
    """Return the caption, the table with its intervals, and what was left out."""
    lines = [caption(comparison), "", *_aligned(_cells(comparison))]
    if len(comparison.pairs) < MIN_PAIRS:
        lines += ["", f"R² is not given for fewer than {MIN_PAIRS} pairs."]
    lines += ["", _interval_note(comparison), "", *_aligned(_station_cells(comparison))]
    if len(comparison.differences):
        lines += ["", *_difference_lines(comparison)]
    lines += ["", *_dropped_lines(comparison)]
    return "\n".join(lines)


def caption(comparison: Comparison) -> str:
    """Return what the paper's captions say: products, number of measurements and stations."""
    *first, last = comparison.products
    names = f"{', '.join(first)} and {last}" if first else last
    count, stations = len(comparison.pairs), comparison.pairs["station"].nunique()
    times = comparison.pairs["time"]
    of_cells = comparison.reference != IN_SITU
    places = "cell" if of_cells else "station"
    what = f"values of {comparison.reference}" if of_cells else IN_SITU
    return (
        f"{'Comparison' if of_cells else 'Validation'} of {names} using {count:,} {what} of "
        f"{stations:,} {places}{'s'[: stations != 1]}, {times.min():%Y-%m-%d} to "
        f"{times.max():%Y-%m-%d}."
    )


def _cells(comparison: Comparison) -> list[list[str]]:
    head = ["Product", *COLUMNS.values()]
    rows = [head]
    for name in comparison.products:
        scores = _scores(comparison, name)
        few = len(comparison.pairs) < MIN_PAIRS
        values = [NONE if few and score == "r2" else _number(scores[score]) for score in COLUMNS]
        ends = [NONE if few and score == "r2" else _interval(scores, score) for score in COLUMNS]
        rows += [[name, *values], ["", *ends]]
    return rows


def _station_cells(comparison: Comparison) -> list[list[str]]:
    used = int(comparison.table["stations_used"].iloc[0])
    head = [f"median of {used} stations", *BY_STATION.values()]
    rows = [head]
    for name in comparison.products:
        scores = _scores(comparison, name)
        rows.append([name, *(_number(scores[score]) for score in BY_STATION)])
        rows.append(["", *(_interval(scores, score) for score in BY_STATION)])
    return rows


def _scores(comparison: Comparison, name: str) -> pd.Series[Any]:
    return comparison.table.T[name]


def _difference_lines(comparison: Comparison) -> list[str]:
    first = comparison.products[0]
    lines = []
    for other, scores in comparison.differences.iterrows():
        told = "; ".join(
            f"{label.split(' ')[0]} {_number(scores[score], sign=True)} {_interval(scores, score)}"
            for score, label in COLUMNS.items()
            if score != "r2" or len(comparison.pairs) >= MIN_PAIRS
        )
        lines.append(f"{first} minus {other}: {told}")
    return lines


def _interval_note(comparison: Comparison) -> str:
    if comparison.table["rmse_low"].notna().all():
        return "[ ]: 95 % interval from resampling stations."
    return "No intervals: there are too few stations to resample."


def _dropped_lines(comparison: Comparison) -> list[str]:
    if not comparison.dropped:
        return ["Nothing was left out."]
    counts = [f"  {count:,} {reason}" for reason, count in comparison.dropped.items()]
    return ["Left out:", *counts]


def _number(value: float, *, sign: bool = False) -> str:
    if not np.isfinite(value):
        return NONE
    return f"{_rounded(value, 4):{'+' if sign else ''}.4f}"


def _rounded(value: float, digits: int) -> float:
    return round(float(value), digits) + 0.0  # never -0.000


def _interval(scores: pd.Series[Any], score: str) -> str:
    low, high = scores.get(f"{score}_low", np.nan), scores.get(f"{score}_high", np.nan)
    if not (np.isfinite(low) and np.isfinite(high)):
        return ""
    return f"[{_rounded(low, 3):.3f}, {_rounded(high, 3):.3f}]"


def _aligned(rows: list[list[str]]) -> list[str]:
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    lines = []
    for row in rows:
        first, *others = (
            cell.ljust(width) if not column else cell.rjust(width)
            for column, (cell, width) in enumerate(zip(row, widths, strict=True))
        )
        line = "  ".join([first, *others]).rstrip()
        if line:
            lines.append(line)
    return lines
