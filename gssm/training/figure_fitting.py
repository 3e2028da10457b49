"""Figures of fitting: what a model relies on, and how its tuning went.

Each returns a matplotlib Axes and shows or saves nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from gssm.errors import SamplesError
from gssm.models.ensemble import KINDS, TARGET
from gssm.training.figure_parts import (
    BLACK,
    BLUE,
    FONT_SIZE,
    GREY,
    LIGHT,
    ORANGE,
    SOIL_MOISTURE_UNITS,
    VERMILION,
    need,
    new_axes,
    numbers,
    title_of,
    write_box,
)
from gssm.training.importance import SPREAD

if TYPE_CHECKING:
    from matplotlib.axes import Axes


def importance_columns(table: pd.DataFrame) -> list[str]:
    """Members that a table has importances of, then the ensemble."""
    return [name for name in (*KINDS, TARGET) if name in table]


def plot_importance(
    table: pd.DataFrame,
    column: str = TARGET,
    *,
    most: int = 20,
    order: list[str] | None = None,
    ax: Axes | None = None,
) -> Axes:
    """Draw how much the error grows when a group of features is shuffled.

    Parameters
    ----------
    table
        As from `gssm.training.importance.permutation_importance`.
    column
        A member, or ``"soil_moisture"`` (the ensemble).
    most
        Draw at most so many groups, the most important ones.
    order
        Names of the groups from above, so that several figures can share them; by
        default the most important one is above.
    ax
        Axes to draw on; new ones by default.

    Raises
    ------
    SamplesError
        The table has no importances of that column, or they are all NaN.
    """
    need(table, (), "what permutation_importance returns")
    if column not in table:
        raise SamplesError(
            f"the table has no importances of {column!r}; choose one of "
            f"{', '.join(map(repr, importance_columns(table))) or 'its columns'}."
        )
    values = pd.Series(numbers(table, column), index=table.index.astype(str)).dropna()
    if values.empty:
        raise SamplesError(f"no group has an importance in {column!r} (empty or all NaN).")
    spread = pd.Series(0.0, index=values.index)
    if column + SPREAD in table:
        spread = pd.Series(numbers(table, column + SPREAD), index=table.index.astype(str))
    names = list(values.sort_values(ascending=False, kind="stable").index)
    names = [name for name in (order or names) if name in values.index][:most]
    ax = new_axes(ax, 5.5, 1.2 + 0.27 * len(names))
    colours = [BLUE if values[name] > 0 else LIGHT for name in names]
    ax.barh(names, values[names], xerr=spread[names], color=colours, ecolor=GREY, height=0.7)
    ax.axvline(0, color=BLACK, linewidth=0.8)
    ax.set_ylim(len(names) - 0.4, -0.6)
    ax.locator_params(axis="x", nbins=4)
    ax.set_title(title_of(column))
    ax.set_xlabel(f"increase in RMSE ({SOIL_MOISTURE_UNITS})")
    errors, rows = table.attrs.get("rmse", {}), table.attrs.get("rows")
    if column in errors:
        write_box(ax, f"RMSE {errors[column]:.3f}\nN {rows:,}", x=0.97, y=0.03)
    return ax


def plot_history(trials: pd.DataFrame, *, maximize: bool = False, ax: Axes | None = None) -> Axes:
    """Draw the value of every trial of a tuning, and the best so far.

    Parameters
    ----------
    trials
        Columns number, value and state (``"COMPLETE"``, ``"PRUNED"``, ``"FAIL"`` ...), as
        from ``optuna.Study.trials_dataframe()``.
    maximize
        A higher value is better.
    ax
        Axes to draw on; new ones by default.

    Raises
    ------
    SamplesError
        A column is missing, or no trial is complete with a value.
    """
    need(trials, ("number", "value", "state"), "optuna's Study.trials_dataframe()")
    number, value = numbers(trials, "number"), numbers(trials, "value")
    order = np.argsort(number, kind="stable")
    number, value = number[order], value[order]
    state = trials["state"].astype(str).to_numpy()[order]
    complete = (state == "COMPLETE") & np.isfinite(value)
    if not complete.any():
        raise SamplesError(
            f"none of the {len(trials)} trials is complete with a value; tune for longer."
        )
    best = np.maximum if maximize else np.minimum
    so_far = best.accumulate(value[complete])
    ax = new_axes(ax, 6, 3.5)
    pruned = state == "PRUNED"
    for name, rows, marker, colour in (
        ("complete", complete, "o", BLUE),
        ("pruned, value so far", pruned & np.isfinite(value), "x", GREY),
        ("pruned before a value", pruned & ~np.isfinite(value), "|", GREY),
        ("failed or unfinished", ~complete & ~pruned, "|", VERMILION),
    ):
        if not rows.any():
            continue
        points = ax.plot(number[rows], value[rows], marker, color=colour, markersize=5)[0]
        points.set_label(f"{name} ({rows.sum()})")
        if marker == "|":  # without a value: on the lower edge
            points.set_data(number[rows], np.zeros(rows.sum()))
            points.set(transform=ax.get_xaxis_transform(), clip_on=False, markersize=9)
    last = max(number.max(), number[complete][-1])
    ax.step(
        [*number[complete], last],
        [*so_far, so_far[-1]],
        where="post",
        color=ORANGE,
        label=f"best so far ({so_far[-1]:.4g})",
    )
    ax.set(title=f"{len(trials):,} trials", xlabel="trial", ylabel="value")
    ax.legend(fontsize=FONT_SIZE, framealpha=0.9)
    return ax
