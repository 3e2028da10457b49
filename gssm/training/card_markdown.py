"""Pieces of the Markdown of a model card: cells, numbers, tables, sections."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

Record = Mapping[str, Any]

# How a score is written: its label, the digits after the point, and what it is.
SCORES: dict[str, tuple[str, int, str]] = {
    "r2": ("R²", 2, "1 − SSE/SST over all rows; mixes places and times"),
    "rmse": ("RMSE", 3, "root mean square error, m³ m⁻³"),
    "bias": ("bias", 3, "mean of predicted minus observed, m³ m⁻³"),
    "ubrmse": ("ubRMSE", 3, "RMSE without the bias, m³ m⁻³"),
    "r": ("r", 2, "Pearson correlation over all rows"),
    "spearman": ("Spearman ρ", 2, "rank correlation over all rows"),
    "kge": ("KGE", 2, "Kling-Gupta efficiency over all rows"),
    "station_r": ("station r", 2, "median station's correlation in time"),
    "station_ubrmse": ("station ubRMSE", 3, "median station's ubRMSE, m³ m⁻³"),
    "station_bias": ("station bias", 3, "median station's absolute bias, m³ m⁻³"),
    "station_anomaly_r": (
        "station anomaly r",
        2,
        "median station's correlation of anomalies from a 35-day moving mean",
    ),
    "coverage": ("coverage", 2, "share of truths inside the prediction interval"),
}
NOTHING = "–"


def section(title: str, lines: Sequence[str]) -> str:
    """Heading and lines."""
    return "\n".join([f"## {title}", "", *lines])


def facts(title: str, known: Mapping[str, Any]) -> str:
    """Section with a table of what is known; empty if nothing is."""
    rows = [[cell(name), cell(value)] for name, value in known.items() if value is not None]
    return section(title, table(["", ""], rows)) if rows else ""


def table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    """Lines of a table; the texts in it must be cells already."""
    lines = [header, ["---"] * len(header), *rows]
    return [f"| {' | '.join(line)} |" for line in lines]


def labels(names: Sequence[str]) -> list[str]:
    """Names of scores, as heads of columns."""
    return [SCORES[name][0] for name in names]


def scores(row: Record, names: Sequence[str]) -> list[str]:
    """Scores of a row, as cells."""
    return [score(row, name) for name in names]


def score(row: Record, name: str) -> str:
    """Write a score, with its interval if it has one."""
    digits = SCORES[name][1]
    low, high = (row.get(f"{name}_{end}") for end in ("low", "high"))
    value = number(row.get(name), digits)
    if low is None or high is None:
        return value
    return f"{value} [{number(low, digits)}, {number(high, digits)}]"


def number(value: float | None, digits: int) -> str:
    """Write a number with so many digits after the point; a dash for none."""
    if value is None:
        return NOTHING
    # Adding zero turns a rounded -0.0 into 0.0.
    return f"{round(value, digits) + 0.0:.{digits}f}"


def cell(text: object) -> str:
    """Write a text as one line that cannot break a table, nor pass for code or HTML."""
    words = " ".join(str(text).split())
    return words.replace("|", "\\|").replace("<", "&lt;").replace("`", "'")
