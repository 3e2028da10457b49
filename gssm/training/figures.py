"""Figures of skill, and the PNG files of a model card.

The functions ``plot_...`` return a matplotlib Axes and show or save nothing.
`card_figures` draws on figures of its own, without pyplot, so that no backend is chosen
and no figure left open.
"""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import pandas as pd

from gssm.errors import RequestError
from gssm.models.ensemble import TARGET, UNCERTAINTY
from gssm.training.evaluate import MIN_STATION_ROWS, prediction_columns, station_table
from gssm.training.figure_fitting import importance_columns, plot_history, plot_importance
from gssm.training.figure_parts import need
from gssm.training.figure_skill import plot_calibration, plot_scatter, plot_series
from gssm.training.figure_stations import plot_skill_by_station, plot_stations

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = [
    "card_figures",
    "plot_calibration",
    "plot_history",
    "plot_importance",
    "plot_scatter",
    "plot_series",
    "plot_skill_by_station",
    "plot_stations",
]

DOTS_PER_INCH = 110
# The first of these is the protocol that the card draws most of: what a map can expect.
PREFERRED = ("station", "network")
# Ranks of the stations whose series are drawn: a poor, a middling and a good one.
RANKS = (0.1, 0.5, 0.9)


def card_figures(
    predicted: Mapping[str, pd.DataFrame],
    importance: pd.DataFrame | None = None,
    *,
    stations: Sequence[str] | None = None,
) -> dict[str, bytes]:
    """Draw the figures of a model card.

    Parameters
    ----------
    predicted
        What `gssm.cross_validate` returns, by protocol. The station protocol is drawn in
        full (or the network protocol, or the first), of the others the ensemble.
    importance
        As from `gssm.training.importance.permutation_importance`.
    stations
        Whose series to draw; by default those at the 10th, 50th and 90th percentile of
        the correlation, among the half of the stations with the most rows.

    Returns
    -------
    dict
        PNG files by name: ``card_scatter.png``; ``card_stations.png`` where the table has
        latitude and longitude; ``card_series.png`` where it has time;
        ``card_calibration.png`` where it has intervals; ``card_importance.png`` if given.
        The same bytes for the same tables and matplotlib, whatever its settings.

    Raises
    ------
    RequestError
        There is no protocol, or no such station.
    SamplesError
        A table has no predictions.

    Notes
    -----
    Series and scatter show measured values: give stations whose terms allow that.
    """
    import matplotlib as mpl

    if not predicted:
        raise RequestError("there are no predictions to draw; give those of one protocol at least.")
    main = next((name for name in PREFERRED if name in predicted), next(iter(predicted)))
    table = predicted[main]
    with mpl.rc_context():
        mpl.rcdefaults()  # what the caller set for a notebook would change the bytes
        figures = {"card_scatter.png": _scatter(predicted, main)}
        if _has_values(table, "latitude") and _has_values(table, "longitude"):
            figures["card_stations.png"] = _stations(table)
        if _has_values(table, "time"):
            figures["card_series.png"] = _series(table, stations)
        if _has_values(table, UNCERTAINTY):
            figures["card_calibration.png"] = _calibration(table)
        if importance is not None:
            figures["card_importance.png"] = _importance(importance)
        return {name: _png(figure) for name, figure in figures.items()}


def _has_values(table: pd.DataFrame, name: str) -> bool:
    return name in table and bool(table[name].notna().any())


def _new_figure(width: float, height: float) -> Figure:
    from matplotlib.figure import Figure

    return Figure(figsize=(width, height), layout="compressed")


def _png(figure: Figure) -> bytes:
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    FigureCanvasAgg(figure)
    data = io.BytesIO()
    # Without the version of matplotlib, which is not part of the picture.
    figure.savefig(data, format="png", dpi=DOTS_PER_INCH, metadata={"Software": None})
    return data.getvalue()


def _scatter(predicted: Mapping[str, pd.DataFrame], main: str) -> Figure:
    """Members and ensemble of the main protocol, then the ensemble of the others."""
    panels = [(main, column) for column in prediction_columns(predicted[main])]
    panels += [(name, TARGET) for name in predicted if name != main]
    down = -(-len(panels) // 4)
    across = -(-len(panels) // down)
    figure = _new_figure(4.2 * across, 3.5 * down)
    axes = figure.subplots(down, across, squeeze=False).flat
    for ax, (protocol, column) in zip(axes, panels, strict=False):
        plot_scatter(predicted[protocol], column, ax=ax)
        ax.set_title(f"{ax.get_title()}, protocol {protocol}")
    for ax in axes[len(panels) :]:
        ax.set_visible(False)
    return figure


def _stations(table: pd.DataFrame) -> Figure:
    figure = _new_figure(11.5, 4.2)
    scores = station_table(table)
    if not scores.loc[scores["N"] >= MIN_STATION_ROWS, "r"].notna().any():
        plot_stations(table, ax=figure.subplots())  # too few rows, or all alike
        return figure
    left, right = figure.subplots(1, 2, width_ratios=(2.8, 1))
    plot_stations(table, "r", ax=left)
    plot_skill_by_station(table, "r", ax=right)
    return figure


def _series(table: pd.DataFrame, stations: Sequence[str] | None) -> Figure:
    names = list(stations) if stations else _at_ranks(table)
    figure = _new_figure(10, 2.6 * len(names))
    axes = figure.subplots(len(names), 1, squeeze=False)[:, 0]
    for ax, name in zip(axes, names, strict=True):
        plot_series(table, name, ax=ax)
    return figure


def _at_ranks(table: pd.DataFrame) -> list[str]:
    """Stations at fixed ranks of the correlation, so that nobody picks the good ones."""
    scores = station_table(table)
    long = scores[scores["N"] >= max(scores["N"].median(), MIN_STATION_ROWS)]
    ranked = long["r"].dropna().sort_values(kind="stable").index
    ranked = ranked if len(ranked) else scores.index
    return list(dict.fromkeys(str(ranked[round(rank * (len(ranked) - 1))]) for rank in RANKS))


def _calibration(table: pd.DataFrame) -> Figure:
    figure = _new_figure(9.5, 4.4)
    left, right = figure.subplots(1, 2)
    plot_calibration(table, "level", ax=left)
    plot_calibration(table, "prediction", ax=right)
    return figure


def _importance(table: pd.DataFrame) -> Figure:
    need(table, (TARGET,), "what permutation_importance returns")
    columns = importance_columns(table)
    best = table[TARGET].sort_values(ascending=False)
    order = [str(name) for name in best.index]
    figure = _new_figure(2 + 2.7 * len(columns), 1.3 + 0.27 * min(len(order), 20))
    axes = figure.subplots(1, len(columns), sharex=True, sharey=True, squeeze=False).flat
    for ax, column in zip(axes, columns, strict=True):
        plot_importance(table, column, order=order, ax=ax)
    return figure
