"""Figures of predicted rows: scatter, time series of a station, calibration.

Each draws what `gssm.cross_validate` returns on a matplotlib Axes, returns that, and
shows or saves nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from statistics import NormalDist
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from gssm.errors import RequestError, SamplesError
from gssm.models.ensemble import TARGET, UNCERTAINTY
from gssm.training.conformal import LEVEL
from gssm.training.evaluate import MIN_STATION_ROWS, complete_pairs
from gssm.training.figure_parts import (
    BLUE,
    CROSS_VALIDATED,
    FONT_SIZE,
    GREY,
    ORANGE,
    SOIL_MOISTURE_UNITS,
    VERMILION,
    colour_bar,
    find_station,
    metric_text,
    need,
    new_axes,
    numbers,
    pairs_of,
    title_of,
    write_box,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes

# Side of a square of the scatter figure, and its smallest extent.
BIN = 0.01
EXTENT = 0.5
# A line across a longer gap would show what nobody measured.
GAP = pd.Timedelta(days=60)
# More points than this are small ones.
MANY = 300
OUTSIDE = "outside_applicability"
ASKED = f"{100 * LEVEL:g} %"
# Levels of the reliability curve, and classes of the prediction, all with as many rows.
LEVELS = (*(percent / 100 for percent in range(5, 100, 5)), 0.98)
CLASSES = 10
# Fewer rows in a class, or of a station in a class, would show what chance does.
ROWS_OF_A_CLASS = 20
ROWS_OF_A_STATION = 5


def plot_scatter(
    predicted: pd.DataFrame,
    column: str = TARGET,
    *,
    ax: Axes | None = None,
    legend: bool = True,
) -> Axes:
    """Draw predicted against observed: samples per square of 0.01 m3 m-3, in log colours.

    Parameters
    ----------
    predicted
        As from `gssm.cross_validate`.
    column
        A member, ``"soil_moisture"`` (the ensemble), or any other prediction in the table.
    ax
        Axes to draw on; new ones by default.
    legend
        Draw the colour bar.

    Raises
    ------
    SamplesError
        The column is missing, or no row has both values.
    """
    from matplotlib.colors import LogNorm

    pairs = pairs_of(predicted, column)
    values = pairs[["observed", "predicted"]].to_numpy(np.float64)
    low = min(0.0, BIN * np.floor(values.min() / BIN))
    # A value on the outermost edge would lie outside but for one more square.
    high = max(EXTENT, BIN * (np.floor(values.max() / BIN) + 1))
    edges = np.linspace(low, high, round((high - low) / BIN) + 1)
    counts = np.histogram2d(values[:, 0], values[:, 1], bins=[edges, edges])[0]
    decade = 10.0 ** max(1, np.ceil(np.log10(counts.max())))
    ax = new_axes(ax, 5.4, 4.5)
    image = ax.pcolormesh(
        edges,
        edges,
        np.ma.masked_equal(counts.T, 0),
        norm=LogNorm(1, decade),
        cmap="viridis",
        rasterized=True,
    )
    ax.axline((0, 0), slope=1, color=VERMILION, linewidth=1.2, label="1:1")
    if legend:
        colour_bar(ax, image, f"samples per ({BIN} {SOIL_MOISTURE_UNITS})²")
    stations = pairs["station"].nunique()
    counted = f"N {len(pairs):,}\n{stations:,} station{'s'[: stations != 1]}"
    write_box(ax, f"{metric_text(pairs, ('r2', 'rmse', 'ubrmse', 'bias'))}\n{counted}")
    ax.set(
        title=title_of(column),
        xlabel=f"observed ({SOIL_MOISTURE_UNITS})",
        ylabel=f"predicted ({SOIL_MOISTURE_UNITS})",
        xlim=(low, high),
        ylim=(low, high),
        aspect="equal",
    )
    ax.locator_params(nbins=6)
    return ax


def plot_series(
    predicted: pd.DataFrame,
    station: str,
    column: str = TARGET,
    *,
    ax: Axes | None = None,
    legend: bool = True,
) -> Axes:
    """Draw what a station measured and what was predicted there, over time.

    A prediction outside the area of applicability has a hollow marker; no line crosses a
    gap of more than 60 days.

    Parameters
    ----------
    predicted
        As from `gssm.cross_validate`, with ``time``; the 90 % interval is drawn around the
        ensemble if the table has ``soil_moisture_uncertainty``.
    station
        ``"network/station"``, or the station alone if no other has that name.
    column
        The prediction to draw.
    ax
        Axes to draw on; new ones by default.
    legend
        Draw the legend.

    Raises
    ------
    SamplesError
        A column is missing, or no row of the station has both values.
    RequestError
        There is no such station, or several.
    """
    need(predicted, ("time", "station", "observed"), f"{CROSS_VALIDATED} from samples with time")
    key = find_station(predicted["station"], station)
    rows = predicted[predicted["station"].astype(str) == key].sort_values("time", kind="stable")
    pairs = pairs_of(rows, column)
    time = pd.to_datetime(rows["time"]).to_numpy("datetime64[ns]")
    observed, value = numbers(rows, "observed"), numbers(rows, column)
    known = column == TARGET and UNCERTAINTY in rows
    width = numbers(rows, UNCERTAINTY) if known else np.full(len(rows), np.nan)
    outside = _outside(rows)

    ax = new_axes(ax, 9, 3)
    breaks = np.flatnonzero(np.diff(time) > GAP) + 1

    def broken(values: NDArray[np.float64]) -> NDArray[np.float64]:
        return np.insert(values, breaks, np.nan)

    moments = np.insert(time, breaks, time[breaks - 1])
    if np.isfinite(width).any():
        low, high = broken(value - width), broken(value + width)
        ax.fill_between(
            moments, low, high, color=BLUE, alpha=0.18, linewidth=0, label=f"{ASKED} interval"
        )
    ax.plot(moments, broken(observed), color=GREY, linewidth=0.7)
    size = 3.5 if len(rows) <= MANY else 2.0
    ax.plot(time, observed, "o", color=GREY, markersize=size, label="observed")
    ax.plot(moments, broken(value), color=BLUE, linewidth=1)
    ax.plot(time[~outside], value[~outside], "o", color=BLUE, markersize=size, label="predicted")
    if outside.any():
        hollow = ax.plot(time[outside], value[outside], "o", color=BLUE, markersize=size + 1)[0]
        hollow.set(markerfacecolor="white", markeredgewidth=1.0, label="outside applicability")
    _finish_series(ax, f"{key}: {_of_series(pairs)}", legend)
    return ax


def _of_series(pairs: pd.DataFrame) -> str:
    return f"{metric_text(pairs, ('r', 'ubrmse', 'bias'), ', ')}, N {len(pairs):,}"


def _outside(rows: pd.DataFrame) -> NDArray[np.bool_]:
    if OUTSIDE not in rows:
        return np.zeros(len(rows), bool)
    return np.asarray(rows[OUTSIDE].fillna(False), dtype=bool)


def _finish_series(ax: Axes, title: str, legend: bool) -> None:
    from matplotlib.dates import AutoDateLocator, ConciseDateFormatter

    locator = AutoDateLocator()  # type: ignore[no-untyped-call]
    ax.xaxis.set_major_locator(locator)
    ax.xaxis.set_major_formatter(ConciseDateFormatter(locator))  # type: ignore[no-untyped-call]
    # Negative soil moisture there is none, though an interval may reach below; above
    # what is drawn the legend has its place.
    ax.set_ylim(0, ax.dataLim.y1 * 1.25)
    ax.set_ylabel(f"soil moisture ({SOIL_MOISTURE_UNITS})")
    ax.set_title(title, fontsize=FONT_SIZE + 1)
    if legend:
        ax.legend(ncols=4, fontsize=FONT_SIZE, loc="upper right", framealpha=0.9)


def plot_calibration(
    predicted: pd.DataFrame, by: str = "level", *, ax: Axes | None = None, legend: bool = True
) -> Axes:
    """Draw how many truths the prediction intervals hold, pooled and over stations.

    Parameters
    ----------
    predicted
        As from `gssm.cross_validate`, with ``soil_moisture_uncertainty``, learnt without
        the row's own station: otherwise the figure flatters.
    by
        ``"level"``: share held against the level asked. Only the 90 % interval is stored
        and has a marker; the curve is what a user gets who reads the others off it as if
        errors were normal, half-width times ``z(level) / z(0.9)``. ``"prediction"``:
        share held by the 90 % interval in ten classes of the predicted value.
    ax
        Axes to draw on; new ones by default.
    legend
        Draw the legend.

    Raises
    ------
    SamplesError
        A column is missing, or no row has an interval and an observed value.
    RequestError
        There is no such `by`.
    """
    if by not in CALIBRATIONS:
        raise RequestError(
            f"there is no calibration by {by!r}; use {' or '.join(map(repr, CALIBRATIONS))}."
        )
    need(predicted, (UNCERTAINTY,), f"{CROSS_VALIDATED}, with the intervals")
    with_interval = predicted[np.isfinite(numbers(predicted, UNCERTAINTY))]
    if with_interval.empty:
        raise SamplesError(
            f"{UNCERTAINTY} is NaN in every row; calibrate the intervals before drawing them."
        )
    pairs = pairs_of(with_interval, TARGET)
    outside = complete_pairs(with_interval[_outside(with_interval)], TARGET)
    ax = new_axes(ax, 5.4, 4.5)
    CALIBRATIONS[by](ax, pairs)
    _write_coverage(ax, pairs, outside)
    ax.set(title=f"calibration by {by}", ylabel="share of observations inside")
    if legend:
        ax.legend(loc="lower right", fontsize=FONT_SIZE, framealpha=0.9)
    return ax


def _held(pairs: pd.DataFrame, level: float = LEVEL) -> NDArray[np.bool_]:
    """Rows whose truth lies inside the interval, scaled to a level as if errors were normal."""
    normal = NormalDist()
    factor = normal.inv_cdf((1 + level) / 2) / normal.inv_cdf((1 + LEVEL) / 2)
    error = (pairs["predicted"] - pairs["observed"]).abs()
    return np.asarray(error <= factor * pairs["uncertainty"])


def _by_level(ax: Axes, pairs: pd.DataFrame) -> None:
    held = pd.DataFrame({level: _held(pairs, level) for level in LEVELS})
    low, high = _quartiles(held, pairs["station"], MIN_STATION_ROWS).to_numpy()
    ax.plot([0, 1], [0, 1], "--", color=GREY, linewidth=1, label="as asked")
    _draw_quartiles(ax, LEVELS, low, high)
    ax.plot(LEVELS, held.mean(), color=BLUE, label="pooled, scaled as normal")
    share = _held(pairs).mean()
    ax.plot(LEVEL, share, "o", color=ORANGE, markersize=8, label=f"stored, {ASKED}")
    ax.set(xlabel="level asked", xlim=(0, 1), ylim=(0, 1), aspect="equal")


def _by_prediction(ax: Axes, pairs: pd.DataFrame) -> None:
    classes = int(np.clip(len(pairs) // ROWS_OF_A_CLASS, 1, CLASSES))
    parts = np.array_split(np.argsort(pairs["predicted"].to_numpy(), kind="stable"), classes)
    middle, share, spread = [], [], []
    for part in parts:
        rows = pairs.iloc[part]
        held = pd.DataFrame({LEVEL: _held(rows)})
        middle.append(rows["predicted"].median())
        share.append(held[LEVEL].mean())
        spread.append(_quartiles(held, rows["station"], ROWS_OF_A_STATION)[LEVEL].to_numpy())
    low, high = np.transpose(spread)
    ax.axhline(LEVEL, linestyle="--", color=GREY, linewidth=1, label=f"as asked, {ASKED}")
    _draw_quartiles(ax, middle, low, high)
    ax.plot(middle, share, "o-", color=BLUE, label=f"pooled, {classes} classes")
    ax.set(xlabel=f"predicted ({SOIL_MOISTURE_UNITS})", ylim=(0, 1.02))


def _quartiles(held: pd.DataFrame, station: pd.Series[str], rows: int) -> pd.DataFrame:
    """Lower and upper quartile, over stations of enough rows, of the share they hold."""
    groups = held.groupby(station.to_numpy())
    return groups.mean()[groups.size() >= rows].quantile([0.25, 0.75])


def _draw_quartiles(
    ax: Axes, x: Sequence[float], low: NDArray[np.float64], high: NDArray[np.float64]
) -> None:
    if np.isfinite(low).any():
        ax.fill_between(x, low, high, color=BLUE, alpha=0.18, linewidth=0, label="station IQR")


def _write_coverage(ax: Axes, pairs: pd.DataFrame, outside: pd.DataFrame) -> None:
    held = pd.DataFrame({LEVEL: _held(pairs)})
    low, high = _quartiles(held, pairs["station"], MIN_STATION_ROWS)[LEVEL]
    lines = [f"{ASKED} interval holds {held[LEVEL].mean():.3f}"]
    if np.isfinite(low):
        lines.append(f"station IQR {low:.2f} to {high:.2f}")
    lines.append(f"mean half-width {pairs['uncertainty'].mean():.3f} {SOIL_MOISTURE_UNITS}")
    if len(outside):
        lines.append(f"outside applicability {_held(outside).mean():.3f}")
    lines.append(f"N {len(pairs):,}, {pairs['station'].nunique():,} stations")
    corner = (0.03, 0.97) if ax.get_xlim() == (0, 1) else (0.03, 0.03)
    write_box(ax, "\n".join(lines), *corner)


CALIBRATIONS: dict[str, Callable[[Axes, pd.DataFrame], None]] = {
    "level": _by_level,
    "prediction": _by_prediction,
}
