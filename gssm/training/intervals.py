"""How sure a score is: bootstrap intervals that resample whole stations.

Rows of one station share its soil, its sensor and its error, so that thousands of rows
carry the information of the few stations behind them. So stations are drawn, with
replacement, and every row of a drawn station counts (the cluster bootstrap; Davison and
Hinkley 1997, section 3.8). Stations that share a network or a valley are taken for
independent, which they are not quite: an interval is, if anything, too narrow.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from gssm.errors import RequestError
from gssm.metrics import percentile_interval
from gssm.models.ensemble import TARGET, UNCERTAINTY
from gssm.training.evaluate import (
    STATION_METRICS,
    complete_pairs,
    prediction_columns,
    skill_table,
    station_medians,
    station_table,
)

Floats = NDArray[np.float64]

RESAMPLES = 500
# So few stations say next to nothing of how others differ.
MIN_STATIONS = 5

# Variance of soil moisture (m6 m-6) below which it is rounding.
NO_VARIANCE = 1e-12
# Sums over the rows of a station, from which every pooled metric follows; observed and
# predicted are counted from their own mean, so that squares lose no digits.
SUMS = ("n", "error", "error²", "o", "p", "o²", "p²", "o·p", "inside", "bounded")
Sums = dict[str, Floats]


def with_intervals(
    predicted: pd.DataFrame,
    columns: Sequence[str] | None = None,
    *,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> pd.DataFrame:
    """Scores of predicted columns, each with its 95 % interval.

    Parameters
    ----------
    predicted
        As from `gssm.cross_validate`: station, observed and predictions (m3 m-3).
    columns
        The predictions; the members and the ensemble by default.
    resamples
        How often as many stations as there are are drawn.
    seed
        Of the draws: the same seed gives the same intervals, and the same draws for
        every column that has pairs at the same stations.

    Returns
    -------
    pandas.DataFrame
        `gssm.training.evaluate.skill_table`, each of `POOLED` and the medians over
        stations followed by ``<score>_low`` and ``<score>_high``: the percentile
        interval, NaN where there are fewer than `MIN_STATIONS` stations (of enough rows,
        for a median). Spearman's correlation and KGE have none.

    Raises
    ------
    SamplesError
        A column is missing, or there is no prediction.
    RequestError
        There are fewer than 2 resamples.
    """
    names = prediction_columns(predicted, columns)
    ends = {}
    for name in names:
        values = _resampled(predicted, name, resamples, seed)
        ends[name] = {
            end: float(value)
            for score in values
            for end, value in zip(_ends_of(score), percentile_interval(values[score]), strict=True)
        }
    return _interleaved(skill_table(predicted, names), pd.DataFrame.from_dict(ends, orient="index"))


def differences(
    predicted: pd.DataFrame,
    others: Sequence[str],
    column: str = TARGET,
    *,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> pd.DataFrame:
    """Tell by how much one prediction's scores exceed those of others, on the same rows.

    Parameters
    ----------
    predicted
        As for `with_intervals`.
    others
        The predictions to compare with.
    column
        The prediction that is compared.
    resamples, seed
        As for `with_intervals`. Both predictions see the same draws of stations, so that
        what is hard for both cancels: two intervals may overlap where that of the
        difference excludes zero.

    Returns
    -------
    pandas.DataFrame
        A row for each of `others`. Columns: ``N`` rows and ``stations`` that have both;
        each score of `POOLED` (without coverage) and each median over stations, as score
        of `column` minus that of the other, with ``<score>_low`` and ``<score>_high``.

    Raises
    ------
    SamplesError
        A column is missing.
    RequestError
        There are fewer than 2 resamples.
    """
    prediction_columns(predicted, [column, *others])
    rows: dict[str, dict[str, float]] = {}
    ends: dict[str, dict[str, float]] = {}
    for other in others:
        known = np.isfinite(predicted[[column, other]].to_numpy(np.float64)).all(axis=1)
        both = predicted[known]
        mine, its = (skill_table(both, [name]) for name in (column, other))
        one, two = (_resampled(both, name, resamples, seed) for name in (column, other))
        rows[other] = {name: mine[name].iloc[0] for name in ("N", "stations")}
        ends[other] = {}
        for score in [name for name in one if name != "coverage"]:
            rows[other][score] = float(mine[score].iloc[0] - its[score].iloc[0])
            interval = percentile_interval(one[score] - two[score])
            ends[other] |= dict(zip(_ends_of(score), map(float, interval), strict=True))
    return _interleaved(*(pd.DataFrame.from_dict(part, orient="index") for part in (rows, ends)))


def _interleaved(scores: pd.DataFrame, ends: pd.DataFrame) -> pd.DataFrame:
    ordered: list[str] = []
    for score in map(str, scores.columns):
        ordered += [score, *(end for end in _ends_of(score) if end in ends)]
    return scores.join(ends)[ordered]


def _ends_of(score: str) -> tuple[str, str]:
    return f"{score}_low", f"{score}_high"


def _resampled(
    predicted: pd.DataFrame, column: str, resamples: int, seed: int
) -> dict[str, Floats]:
    """Scores of every resample, (resamples,), all NaN where there are too few stations."""
    if resamples < 2:
        raise RequestError(f"{resamples} resamples give no interval; use some hundreds.")
    pairs = complete_pairs(predicted, column)
    medians = station_medians(station_table(predicted, column))
    count = len(medians)
    draws = np.random.default_rng(seed).integers(0, max(count, 1), (resamples, count))
    nothing = np.full(resamples, np.nan)
    pooled = dict.fromkeys(POOLED, nothing)
    if count >= MIN_STATIONS:
        pooled = _pooled(_station_sums(pairs), draws)
    values = {
        name: v for name, v in pooled.items() if name != "coverage" or UNCERTAINTY in predicted
    }
    for score in STATION_METRICS:
        known = medians[score].to_numpy(np.float64)
        values[score] = nothing
        if np.count_nonzero(~np.isnan(known)) >= MIN_STATIONS:
            values[score] = pd.DataFrame(known[draws]).median(axis=1).to_numpy()
    return values


def _station_sums(pairs: pd.DataFrame) -> Floats:
    """Add up the rows of each station: (stations, sums)."""
    observed, predicted = (pairs[name].to_numpy() for name in ("observed", "predicted"))
    error = predicted - observed
    o, p = observed - observed.mean(), predicted - predicted.mean()
    width = pairs["uncertainty"].to_numpy() if "uncertainty" in pairs else np.full(len(o), np.nan)
    rows = [np.ones(len(o)), error, error**2, o, p, o**2, p**2, o * p]
    rows += [np.abs(error) <= width, np.isfinite(width)]
    table = pd.DataFrame(dict(zip(SUMS, rows, strict=True)), dtype=np.float64)
    return table.groupby(pairs["station"].to_numpy()).sum().to_numpy()


def _pooled(sums: Floats, draws: NDArray[np.int64]) -> dict[str, Floats]:
    """Pooled metrics of every resample; no row is touched again."""
    resamples, count = draws.shape
    cells = draws + np.arange(resamples)[:, None] * count
    times = np.bincount(cells.ravel(), minlength=resamples * count).reshape(resamples, count)
    drawn = dict(zip(SUMS, (times.astype(np.float64) @ sums).T, strict=True))
    # What a resample cannot define is NaN.
    with np.errstate(divide="ignore", invalid="ignore"):
        return {name: metric(drawn) for name, metric in POOLED.items()}


def _bias(s: Sums) -> Floats:
    return s["error"] / s["n"]


def _ubrmse(s: Sums) -> Floats:
    # Rounding must not leave a negative variance of a constant error.
    return np.sqrt(np.maximum(s["error²"] / s["n"] - _bias(s) ** 2, 0))


def _variance(s: Sums, name: str) -> Floats:
    variance = s[f"{name}²"] / s["n"] - (s[name] / s["n"]) ** 2
    return np.where(variance > NO_VARIANCE, variance, np.nan)


def _r(s: Sums) -> Floats:
    covariance = s["o·p"] / s["n"] - s["o"] * s["p"] / s["n"] ** 2
    return np.asarray(covariance / np.sqrt(_variance(s, "o") * _variance(s, "p")))


# As in `gssm.metrics`, from the sums of a resample.
POOLED: dict[str, Callable[[Sums], Floats]] = {
    "bias": _bias,
    "rmse": lambda s: np.sqrt(s["error²"] / s["n"]),
    "ubrmse": _ubrmse,
    "r2": lambda s: 1 - s["error²"] / s["n"] / _variance(s, "o"),
    "r": _r,
    "coverage": lambda s: s["inside"] / s["bounded"],
}
