"""Figures of a comparison: a scatter and a map of the stations, a panel for each product."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from gssm.compare.paper import IN_SITU
from gssm.errors import RequestError
from gssm.training.evaluate import MIN_STATION_ROWS, station_table
from gssm.training.figure_parts import LABELS, SOIL_MOISTURE_UNITS, metric_label, scores_of
from gssm.training.figure_skill import plot_scatter
from gssm.training.figure_stations import UNIT_METRICS, plot_stations

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from gssm.compare.report import Comparison

PANELS_ACROSS = 3
# Of the stations' scores, what the colours span; what lies beyond has the last colour.
TAILS = (0.02, 0.98)
# Inches of a map; one that is wider than so many times its height has a row of its own.
MAP_WIDTH = 5.2
WIDE = 1.8


def draw_scatter(comparison: Comparison) -> Figure:
    """Draw every product against the same measurements, a panel each."""
    figure, axes = _panels(len(comparison.products), 4.6, 3.9)
    for ax, name in zip(axes, comparison.products, strict=True):
        plot_scatter(comparison.pairs, name, ax=ax)
        ax.set_title(name)
        if comparison.reference != IN_SITU:
            ax.set_xlabel(f"{comparison.reference} ({SOIL_MOISTURE_UNITS})")
    return figure


def draw_map(comparison: Comparison, metric: str = "r") -> Figure:
    """Draw a metric of every product at each station, in one scale of colours.

    Raises
    ------
    RequestError
        There is no such metric.
    SamplesError
        No station has rows enough for it.
    """
    known = [name for name in LABELS if name != "coverage"]
    if metric not in known:
        names = ", ".join(map(repr, known))
        raise RequestError(f"there is no metric {metric!r} to map; use one of {names}.")
    tables = {name: station_table(comparison.pairs, name) for name in comparison.products}
    scored = {name: table[np.isfinite(scores_of(table, metric))] for name, table in tables.items()}
    values = np.concatenate([table[metric].to_numpy(np.float64) for table in scored.values()])
    low, high = _scale(values, metric)
    width, height, across = _shape(comparison.pairs)
    figure, axes = _panels(len(tables), width, height, across)
    for ax, (name, table) in zip(axes, scored.items(), strict=True):
        plot_stations(table, metric, ax=ax, legend=False)
        _colour_alike(ax, low, high)
        ax.set_title(f"{name}: {_count(len(table), len(tables[name]))}")
    _shared_bar(figure, axes, values, (low, high), metric)
    return figure


def _count(scored: int, known: int) -> str:
    if scored == known:
        return f"{known:,} station{'s'[: known != 1]}"
    return f"{scored:,} of {known:,} stations ({MIN_STATION_ROWS} pairs or more)"


def _shape(pairs: pd.DataFrame) -> tuple[float, float, int]:
    """Width and height of a panel in inches, and how many stand side by side."""
    spans = [max(float(np.ptp(pairs[n])) * 1.12, 2.0) for n in ("longitude", "latitude")]
    middle = np.clip((pairs["latitude"].max() + pairs["latitude"].min()) / 2, -75, 75)
    ratio = spans[0] * np.cos(np.deg2rad(middle)) / spans[1]
    if ratio > WIDE:
        return MAP_WIDTH * 1.6, MAP_WIDTH * 1.6 / min(ratio, 4) + 0.6, 1
    return MAP_WIDTH, min(MAP_WIDTH / ratio, 1.3 * MAP_WIDTH) + 0.6, PANELS_ACROSS


def _panels(
    count: int, width: float, height: float, most_across: int = PANELS_ACROSS
) -> tuple[Figure, list[Axes]]:
    from matplotlib.figure import Figure

    down = -(-count // most_across)
    across = -(-count // down)
    figure = Figure(figsize=(width * across, height * down), layout="compressed")
    axes = list(figure.subplots(down, across, squeeze=False).flat)
    for ax in axes[count:]:
        ax.set_visible(False)
    return figure, axes[:count]


def _scale(values: NDArray[np.float64], metric: str) -> tuple[float, float]:
    if metric in UNIT_METRICS:
        return 0.0, 1.0
    low, high = (float(v) for v in np.quantile(values, TAILS))
    if metric == "bias":  # its zero is the middle
        high = max(abs(low), abs(high))
        low = -high
    return low, high


def _colour_alike(ax: Axes, low: float, high: float) -> None:
    for collection in ax.collections:
        if collection.get_array() is not None:
            collection.set_clim(low, high)


def _shared_bar(
    figure: Figure,
    axes: list[Axes],
    values: NDArray[np.float64],
    scale: tuple[float, float],
    metric: str,
) -> None:
    image = next(c for c in axes[0].collections if c.get_array() is not None)
    ends = (bool(values.min() < scale[0]), bool(values.max() > scale[1]))
    extend = {(False, False): "neither", (True, False): "min", (False, True): "max"}
    figure.colorbar(
        image,
        ax=axes,
        label=f"{metric_label(metric)} of the station",
        extend=extend.get(ends, "both"),
        shrink=0.9,
        aspect=30,
        pad=0.02,
    )
