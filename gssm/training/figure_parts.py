"""What the figures of skill share: colours, axes, checked pairs, metrics per station."""

from __future__ import annotations

from difflib import get_close_matches
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from gssm import metrics
from gssm.errors import RequestError, SamplesError
from gssm.models.ensemble import TARGET
from gssm.training.evaluate import MIN_STATION_ROWS, complete_pairs, station_table
from gssm.training.fitting import station_keys

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.cm import ScalarMappable

# Okabe and Ito's palette, told apart with any colour vision.
BLUE, ORANGE, GREEN, PURPLE = "#0072b2", "#e69f00", "#009e73", "#cc79a7"
SKY, VERMILION, YELLOW, BLACK = "#56b4e9", "#d55e00", "#f0e442", "#000000"
GREY, LIGHT = "#6e6e6e", "#d9d9d9"
SOIL_MOISTURE_UNITS = "m³ m⁻³"
FONT_SIZE = 9
# A box of numbers hides no grid line half-way.
BOX = {"boxstyle": "round,pad=0.35", "facecolor": "white", "edgecolor": LIGHT, "alpha": 0.9}

# How a metric is written: its label and whether it has the units of soil moisture.
LABELS: dict[str, tuple[str, bool]] = {
    "r2": ("R²", False),
    "r": ("r", False),
    "spearman": ("Spearman's r", False),
    "anomaly_r": ("anomaly r", False),
    "coverage": ("coverage", False),
    "kge": ("KGE", False),
    "rmse": ("RMSE", True),
    "ubrmse": ("ubRMSE", True),
    "bias": ("bias", True),
}


def metric_label(name: str) -> str:
    """Name of a metric with its units, as on an axis."""
    label, has_units = LABELS[name]
    return f"{label} ({SOIL_MOISTURE_UNITS})" if has_units else label


def metric_text(pairs: pd.DataFrame, names: tuple[str, ...], between: str = "\n") -> str:
    """Metrics of the pairs, such as ``"R² 0.52"`` and ``"bias -0.010"``."""
    parts = []
    for name in names:
        value = metrics.METRICS[name](pairs["observed"], pairs["predicted"])
        parts.append(f"{LABELS[name][0]} {written(value, name)}")
    return between.join(parts)


def written(value: float, metric: str) -> str:
    """Write a metric: three digits where it has units, two where not; never ``-0.000``."""
    digits = 3 if LABELS[metric][1] else 2
    return f"{round(value, digits) + 0.0:.{digits}f}"


def title_of(column: str) -> str:
    """Title of a prediction column."""
    return "ensemble" if column == TARGET else column.replace("_", " ")


def new_axes(ax: Axes | None, width: float, height: float) -> Axes:
    """Return the axes given, or new ones of a size in inches."""
    if ax is not None:
        return ax
    # Here, so that drawing on given axes chooses no backend.
    import matplotlib.pyplot as plt

    # Compressed, since maps and squares do not fill the figure.
    return plt.subplots(figsize=(width, height), layout="compressed")[1]


def write_box(ax: Axes, text: str, x: float = 0.03, y: float = 0.97) -> None:
    """Write numbers into a corner: the upper left, or that of a fraction above one half."""
    ax.text(
        x,
        y,
        text,
        transform=ax.transAxes,
        ha="right" if x > 0.5 else "left",
        va="top" if y > 0.5 else "bottom",
        fontsize=FONT_SIZE,
        bbox=BOX,
    )


def colour_bar(ax: Axes, image: ScalarMappable, label: str, extend: str = "neither") -> None:
    """Draw a colour bar as high as the axes, whatever their aspect."""
    beside = ax.inset_axes((1.02, 0, 0.04, 1))
    ax.figure.colorbar(image, cax=beside, label=label, extend=extend)


def need(table: pd.DataFrame, names: tuple[str, ...], fix: str) -> None:
    """Refuse a table that lacks a column.

    Raises
    ------
    SamplesError
        It does, or is no table.
    """
    if not isinstance(table, pd.DataFrame):
        raise SamplesError(f"the table to draw is a {type(table).__name__}; give {fix}.")
    missing = [name for name in names if name not in table]
    if missing:
        raise SamplesError(
            f"the table to draw has no column {', '.join(map(repr, missing))}; give {fix}."
        )


def numbers(table: pd.DataFrame, name: str) -> NDArray[np.float64]:
    """Return a column as float64.

    Raises
    ------
    SamplesError
        It holds something else.
    """
    try:
        return np.asarray(table[name].to_numpy(np.float64))
    except (ValueError, TypeError) as error:
        raise SamplesError(
            f"column {name!r} of the table to draw holds no numbers; name another or mend it."
        ) from error


CROSS_VALIDATED = "what gssm.cross_validate returns"


def pairs_of(predicted: pd.DataFrame, column: str) -> pd.DataFrame:
    """Return the rows of `gssm.training.evaluate.complete_pairs`, of which there must be one.

    Raises
    ------
    SamplesError
        A column is missing or holds no numbers, or there is no such row.
    """
    need(predicted, ("station", "observed"), CROSS_VALIDATED)
    for name in ("observed", column):
        if name in predicted:
            numbers(predicted, name)
    pairs = complete_pairs(predicted, column)
    if pairs.empty:
        raise SamplesError(
            f"no row has both an observed value and {column!r} (empty or all NaN); check the "
            "filter that made the table."
        )
    return pairs


def by_station(table: pd.DataFrame, column: str = TARGET) -> pd.DataFrame:
    """Return one row per station, from rows of predictions, of samples, or of stations.

    Parameters
    ----------
    table
        Predicted rows (with ``observed``), which `station_table` scores; samples, of
        which ``N`` counts the rows; or what `station_table` made (with ``N``), as it is.
    column
        The prediction that is scored.

    Returns
    -------
    pandas.DataFrame
        Index ``station`` ("network/station"); N; scores; network, latitude and longitude
        (median) where the table has them.
    """
    need(table, (), "samples, predictions or a table of stations")
    if "N" in table:
        return table
    need(table, ("station",), f"samples from gssm.read_samples or {CROSS_VALIDATED}")
    if "observed" in table:
        pairs_of(table, column)
        return station_table(table, column)
    groups = table.groupby(station_keys(table).to_numpy())
    stations = pd.DataFrame({"N": groups.size()})
    for name in ("latitude", "longitude"):
        if name in table:
            stations[name] = groups[name].median()
    if "network" in table:
        stations["network"] = groups["network"].first().astype(str)
    return stations.rename_axis("station")


def scores_of(stations: pd.DataFrame, metric: str) -> NDArray[np.float64]:
    """Return a metric of each station, NaN for one of few rows.

    Raises
    ------
    SamplesError
        The table lacks the metric, or no station has one.
    """
    need(stations, (metric,), "predictions from gssm.cross_validate")
    enough = stations["N"].to_numpy() >= MIN_STATION_ROWS
    values = np.where(enough, numbers(stations, metric), np.nan)
    if not np.isfinite(values).any():
        raise SamplesError(
            f"no station has a {metric}; give stations with {MIN_STATION_ROWS} rows or more, "
            "observed and predicted, that differ."
        )
    return values


def find_station(keys: pd.Series[Any], station: str) -> str:
    """Key of a station, given whole ("network/station") or by a name that only one has.

    Raises
    ------
    RequestError
        None has it, or several have.
    """
    known = sorted(set(keys.astype(str)))
    if station in known:
        return station
    named = [key for key in known if key.rpartition("/")[2] == station]
    if len(named) == 1:
        return named[0]
    if named:
        raise RequestError(
            f"station {station!r} is in several networks; name one of "
            f"{', '.join(map(repr, named))}."
        )
    near = _nearest_names(known, station) or known[:3]
    raise RequestError(
        f"there is no station {station!r} in the table; the nearest names are "
        f"{', '.join(map(repr, near)) or 'none'}."
    )


def _nearest_names(known: list[str], station: str) -> list[str]:
    """Keys most like a name, with or without the network, whatever the case."""
    by_text = {key.lower(): key for key in known}
    by_text |= {key.rpartition("/")[2].lower(): key for key in known}
    close = get_close_matches(str(station).lower(), list(by_text), n=5, cutoff=0.5)
    return list(dict.fromkeys(by_text[text] for text in close))[:3]
