"""Figures of stations: where they are, and how well each is followed.

Each returns a matplotlib Axes and shows or saves nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from gssm.errors import RequestError, SamplesError
from gssm.models.ensemble import TARGET
from gssm.training.figure_parts import (
    BLACK,
    BLUE,
    FONT_SIZE,
    GREEN,
    LABELS,
    LIGHT,
    ORANGE,
    PURPLE,
    SKY,
    VERMILION,
    YELLOW,
    by_station,
    colour_bar,
    metric_label,
    need,
    new_axes,
    numbers,
    scores_of,
    title_of,
    write_box,
    written,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.collections import PathCollection

# Networks beyond these colours share the last, grey one.
NETWORK_COLOURS = (BLUE, ORANGE, GREEN, VERMILION, SKY, PURPLE, YELLOW, BLACK)
# Distances of a graticule, of which the first with at most `LINES` lines is drawn.
STEPS = (0.5, 1, 2, 5, 10, 20, 30, 60)
LINES = 7
# Areas of the markers of few rows, in legends, and of the most rows, points².
SMALL, TYPICAL, LARGE = 14.0, 36.0, 110.0
# What a perfect score is one of, has these colours at every model.
UNIT_METRICS = ("r", "spearman", "anomaly_r", "r2", "kge", "coverage")


def plot_stations(
    table: pd.DataFrame,
    colour_by: str | None = None,
    *,
    column: str = TARGET,
    ax: Axes | None = None,
    legend: bool = True,
) -> Axes:
    """Draw the stations on longitude and latitude, their area by their number of rows.

    There is a graticule and no coastline: gssm neither ships nor downloads one.

    Parameters
    ----------
    table
        Samples (`gssm.read_samples`), predictions (`gssm.cross_validate`), or a row per
        station (`gssm.training.evaluate.station_table`); with latitude and longitude.
    colour_by
        ``"network"``; or a score of `gssm.training.evaluate.station_table`, such as
        ``"r"``, of a table that has predictions (or this column): a station of fewer than
        20 rows is left white. One colour by default.
    column
        The prediction that the metric scores.
    ax
        Axes to draw on; new ones by default.
    legend
        Draw the legend and the colour bar.

    Raises
    ------
    SamplesError
        The table has no place of any station, or not what to colour by.
    RequestError
        Nothing can be coloured by that.
    """
    if colour_by not in (None, "network", *LABELS):
        names = ", ".join(map(repr, ("network", *LABELS)))
        raise RequestError(f"stations cannot be coloured by {colour_by!r}; use one of {names}.")
    stations = by_station(table, column)
    need(stations, ("latitude", "longitude"), "a table with the place of each station")
    if colour_by is not None:
        need(stations, (colour_by,), "predictions from gssm.cross_validate, or leave colour_by out")
    if colour_by in LABELS:
        scores_of(stations, colour_by)
    places = np.isfinite(numbers(stations, "latitude")) & np.isfinite(
        numbers(stations, "longitude")
    )
    if not places.any():
        raise SamplesError(
            "no station has a latitude and a longitude (empty or all NaN); give their places."
        )
    # The large ones first, so that they hide no small one.
    stations = stations[places].sort_values("N", ascending=False, kind="stable")
    ax = new_axes(ax, 8, 4.5)
    area = _areas(stations["N"].to_numpy(np.float64), float(stations["N"].max()))
    if colour_by is None:
        _points(ax, stations, area, color=BLUE)
    elif colour_by == "network":
        _by_network(ax, stations, area)
    else:
        _by_metric(ax, stations, area, colour_by, legend)
    _graticule(ax, stations)
    if legend:
        _legend(ax, stations)
    rows = int(stations["N"].sum())
    ax.set_title(f"{len(stations):,} station{'s'[: len(stations) != 1]}, {rows:,} rows")
    return ax


def _areas(count: Any, most: float) -> Any:
    return SMALL + (LARGE - SMALL) * count / most


def _points(
    ax: Axes, stations: pd.DataFrame, area: NDArray[np.float64], **style: Any
) -> PathCollection:
    return ax.scatter(
        stations["longitude"],
        stations["latitude"],
        s=area,
        edgecolors=BLACK,
        linewidths=0.4,
        alpha=0.85,
        zorder=2,
        **style,
    )


def _by_network(ax: Axes, stations: pd.DataFrame, area: NDArray[np.float64]) -> None:
    counts = stations["network"].value_counts()
    names = [str(name) for name in counts.sort_index().sort_values(ascending=False).index]
    shown = names if len(names) <= len(NETWORK_COLOURS) else names[: len(NETWORK_COLOURS) - 1]
    for name, colour in zip(shown, NETWORK_COLOURS, strict=False):
        rows = (stations["network"] == name).to_numpy()
        _points(ax, stations[rows], area[rows], color=colour)
        _legend_entry(ax, f"{name} ({rows.sum()})", TYPICAL, colour)
    others = ~stations["network"].isin(shown).to_numpy()
    if others.any():
        label = f"{len(names) - len(shown)} other networks ({others.sum()})"
        _points(ax, stations[others], area[others], color=LIGHT)
        _legend_entry(ax, label, TYPICAL, LIGHT)


def _by_metric(
    ax: Axes, stations: pd.DataFrame, area: NDArray[np.float64], metric: str, legend: bool
) -> None:
    values = scores_of(stations, metric)
    known = np.isfinite(values)
    low, high = (0.0, 1.0) if metric in UNIT_METRICS else np.nanquantile(values, [0.02, 0.98])
    cmap = "viridis"
    if metric == "bias":  # its zero is the middle
        high = max(abs(low), abs(high))
        low, cmap = -high, "PuOr"
    if (~known).any():
        _points(ax, stations[~known], area[~known], color="white")
        _legend_entry(ax, f"no {metric} ({np.count_nonzero(~known)})", TYPICAL, "white")
    image = _points(
        ax, stations[known], area[known], c=values[known], cmap=cmap, vmin=low, vmax=high
    )
    if legend:
        ends = (values[known].min() < low, values[known].max() > high)
        extend = {(0, 0): "neither", (1, 0): "min", (0, 1): "max", (1, 1): "both"}[ends]
        colour_bar(ax, image, f"{metric_label(metric)} of the station", extend)


def _graticule(ax: Axes, stations: pd.DataFrame) -> None:
    latitude, longitude = stations["latitude"], stations["longitude"]
    spans = [_span(longitude, 180), _span(latitude, 90)]
    ax.set(xlim=spans[0], ylim=spans[1], xlabel="longitude", ylabel="latitude")
    for axis, (low, high), letters in zip((ax.xaxis, ax.yaxis), spans, ("WE", "SN"), strict=True):
        step = next((s for s in STEPS if (high - low) / s <= LINES), STEPS[-1])
        ticks = np.arange(np.ceil(low / step), np.floor(high / step) + 1) * step
        axis.set_ticks(ticks, [_degrees(tick, letters) for tick in ticks])
    # A degree of longitude is as long as it is in the middle of the map.
    ax.set_aspect(1 / np.cos(np.deg2rad(np.clip(np.mean(spans[1]), -75, 75))))
    ax.grid(color=LIGHT, linewidth=0.7, zorder=0)
    ax.set_axisbelow(True)


def _span(degrees: pd.Series[Any], most: float) -> tuple[float, float]:
    margin = max(1.0, 0.06 * float(np.ptp(degrees)))
    return max(-most, degrees.min() - margin), min(most, degrees.max() + margin)


def _degrees(value: float, letters: str) -> str:
    letter = "" if value in (0, 180, -180) else letters[int(value > 0)]
    return f"{abs(round(value, 1)):g}°{letter}"


def _legend_entry(ax: Axes, label: str, area: float, colour: str) -> None:
    """Name a colour or an area, apart from the stations, whose areas differ."""
    ax.scatter([], [], s=area, color=colour, edgecolors=BLACK, linewidths=0.4, label=label)


def _legend(ax: Axes, stations: pd.DataFrame) -> None:
    from matplotlib.transforms import offset_copy

    counts = sorted({int(n) for n in np.quantile(stations["N"], [0, 0.5, 1])})
    for count in counts:
        area = _areas(np.float64(count), float(stations["N"].max()))
        _legend_entry(ax, f"N {count:,}", float(area), LIGHT)
    # Below the name of the axis, however high the map is.
    below = offset_copy(ax.transAxes, fig=ax.get_figure(root=True), y=-32, units="points")
    ax.legend(
        fontsize=FONT_SIZE,
        loc="upper center",
        bbox_to_anchor=(0.5, 0),
        bbox_transform=below,
        ncols=4,
        frameon=False,
    )


def plot_skill_by_station(
    table: pd.DataFrame, metric: str = "r", *, column: str = TARGET, ax: Axes | None = None
) -> Axes:
    """Draw the metric of every station, sorted, with its median and quartiles.

    Parameters
    ----------
    table
        Predictions (`gssm.cross_validate`), or what `station_table` makes of them.
    metric
        A score of `gssm.training.evaluate.station_table`; stations of fewer than 20 rows
        have none.
    column
        The prediction that is scored.
    ax
        Axes to draw on; new ones by default.

    Raises
    ------
    SamplesError
        The table has no such metric at any station.
    RequestError
        There is no such metric.
    """
    if metric not in LABELS:
        names = ", ".join(map(repr, LABELS))
        raise RequestError(f"there is no metric {metric!r}; use one of {names}.")
    stations = by_station(table, column)
    values = np.sort(scores_of(stations, metric))
    values = values[np.isfinite(values)]
    ax = new_axes(ax, 4, 4.5)
    low, middle, high = np.quantile(values, [0.25, 0.5, 0.75])
    ax.axvspan(low, high, color=SKY, alpha=0.25, linewidth=0)
    ax.axvline(middle, color=BLUE, linewidth=1.2)
    ax.plot(values, np.arange(1, values.size + 1), "o", color=BLACK, markersize=3)
    low, middle, high = (written(value, metric) for value in (low, middle, high))
    write_box(
        ax, f"median {middle}\nIQR {low} to {high}\n{values.size:,} of {len(stations):,} stations"
    )
    ax.set(
        title=f"{title_of(column)} by station",
        xlabel=f"{metric_label(metric)} of the station",
        ylabel="stations, lowest first",
        ylim=(0, values.size + 1),
    )
    return ax
