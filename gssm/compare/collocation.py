"""Triple collocation: errors of three sources, none of which is the truth.

Of three sources with errors that are independent of each other and of the truth, and each
linear in the truth, the covariances tell each one's error: in the notation of Gruber et al.
2016 (doi 10.1016/j.jag.2015.09.002), eqs 13 to 15, with Q_XY the covariance of X and Y,

    error variance of X     Q_XX - Q_XY Q_XZ / Q_YZ
    signal-to-noise of X    10 log10 of (Q_XY Q_XZ / Q_YZ) over the error variance, in dB
    factor of Y to X        Q_XZ / Q_YZ

and the correlation of X with the truth (extended triple collocation, McColl et al. 2014, doi
10.1002/2014GL061322, eq. 9) is the root of Q_XY Q_XZ / (Q_XX Q_YZ).

Whether errors are independent nobody can see from the numbers: two products of one sensor, or
a model and a product that it has assimilated, or one trained on the stations that are the
third, are not.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations_with_replacement

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from gssm.compare.observations import OBSERVED
from gssm.compare.options import check_draws
from gssm.errors import RequestError, SamplesError
from gssm.metrics import percentile_interval
from gssm.training.intervals import MIN_STATIONS, RESAMPLES

Floats = NDArray[np.float64]

# Fewer rows make estimates that tell nothing (Zwieback et al. 2012, doi 10.5194/npg-19-69-2012).
MIN_ROWS = 100
# A station of fewer adds its noise but hardly a covariance.
MIN_STATION_ROWS = 10
SCORES = ("error_std", "snr_db", "r_truth", "factor")
_PAIRS = list(combinations_with_replacement(range(3), 2))


def triple_collocation(
    pairs: pd.DataFrame,
    systems: Sequence[str],
    *,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> pd.DataFrame:
    """Estimate the random errors of three sources, from how they vary at each station.

    Covariances are those within stations (each source less its mean there), added up over
    the stations: a source may be biased at every place in another way. Error variances and
    factors are taken to be the same at all of them.

    Parameters
    ----------
    pairs
        As of a `gssm.compare.report.Comparison`: ``station`` and the sources, on the same rows.
    systems
        Three of its columns, such as ``("observed", "gssm", "era5")``, with errors that have
        nothing to do with each other. Factors are to the first.
    resamples, seed
        Of the bootstrap: whole stations are drawn, or, of fewer than 5 stations, the rows of
        each, whose errors then pass for independent in time. ``attrs["resampled"]`` says which.

    Returns
    -------
    pandas.DataFrame
        A row per source: ``N`` rows, ``stations``; ``error_std`` (in its own units, m3 m-3),
        ``snr_db``, ``r_truth`` (correlation with the unknown truth) and ``factor`` (what to
        multiply its variations with to have those of the first), each followed by
        ``<score>_low`` and ``<score>_high``, the 95 % percentile interval. NaN where the
        covariances allow no such error: one is not positive, or an error variance is negative.

    Raises
    ------
    RequestError
        These are not three different sources, or there are fewer than 2 resamples.
    SamplesError
        A column is missing, or there are fewer than 100 rows of stations with 10 or more.
    """
    check_draws(resamples, seed)
    names = _check(pairs, systems)
    sums, counts, values, stations = _station_sums(pairs, names)
    drawn = _draw(sums, values, stations, resamples, seed)
    best = _estimates(sums.sum(axis=0)[None])
    table: dict[str, dict[str, float]] = {}
    samples = _estimates(drawn)
    for number, name in enumerate(names):
        row: dict[str, float] = {"N": int(counts.sum()), "stations": len(counts)}
        for score in SCORES:
            low, high = percentile_interval(samples[score][:, number])
            row[score] = float(best[score][0, number])
            row |= {f"{score}_low": float(low), f"{score}_high": float(high)}
        table[name] = row
    found = pd.DataFrame.from_dict(table, orient="index").rename_axis("source")
    found = found.astype({"N": int, "stations": int})
    found.attrs["resampled"] = "stations" if len(counts) >= MIN_STATIONS else "rows"
    return found


def _check(pairs: pd.DataFrame, systems: Sequence[str]) -> list[str]:
    names = list(systems) if isinstance(systems, (list, tuple)) else [str(systems)]
    if len(names) != 3 or len(set(map(str, names))) != 3:
        raise RequestError(
            f"triple collocation needs three different sources, not {names!r}; give two products "
            f"and {OBSERVED!r}, or three products."
        )
    missing = [name for name in ("station", *names) if name not in pairs]
    if missing:
        raise SamplesError(
            f"the pairs have no column {', '.join(map(repr, missing))}; give those of a comparison "
            "that has all three sources."
        )
    texts = [name for name in names if not pd.api.types.is_numeric_dtype(pairs[name])]
    if texts:
        raise SamplesError(
            f"column {texts[0]!r} of the pairs holds no numbers; name a product, or {OBSERVED!r}."
        )
    return names


def _station_sums(
    pairs: pd.DataFrame, names: list[str]
) -> tuple[Floats, Floats, Floats, NDArray[np.intp]]:
    """Add up products of variations by station, (stations, 7): six products and the freedom.

    Returned with the rows of each station, the variations and the station of each of them.
    """
    values = pairs[names].to_numpy(np.float64)
    known = np.isfinite(values).all(axis=1)
    keys = pairs["station"].astype(str).to_numpy()[known]
    values = values[known]
    station, _, sizes = np.unique(keys, return_inverse=True, return_counts=True)
    large = np.isin(keys, station[sizes >= MIN_STATION_ROWS])
    values, keys = values[large], keys[large]
    if len(values) < MIN_ROWS:
        raise SamplesError(
            f"triple collocation has {len(values)} rows of stations with {MIN_STATION_ROWS} or "
            f"more, and fewer than {MIN_ROWS} tell nothing; give longer series."
        )
    _, number, counts = np.unique(keys, return_inverse=True, return_counts=True)
    means = np.stack([np.bincount(number, column) for column in values.T], axis=1) / counts[:, None]
    centred = values - means[number]
    return _sums(centred, number, len(counts)), counts.astype(np.float64), centred, number


def _sums(centred: Floats, number: NDArray[np.intp], stations: int) -> Floats:
    products = [
        np.bincount(number, centred[:, i] * centred[:, j], minlength=stations) for i, j in _PAIRS
    ]
    freedom = np.bincount(number, minlength=stations) - 1.0
    return np.stack([*products, freedom], axis=1)


def _draw(
    sums: Floats, centred: Floats, number: NDArray[np.intp], resamples: int, seed: int
) -> Floats:
    """Add up the sums of every resample, (resamples, 7)."""
    rng = np.random.default_rng(seed)
    count = len(sums)
    if count >= MIN_STATIONS:
        return np.asarray(sums[rng.integers(0, count, (resamples, count))].sum(axis=1))
    drawn = np.zeros((resamples, 7))
    for station in range(count):
        own = centred[number == station]
        for resample in range(resamples):
            rows = own[rng.integers(0, len(own), len(own))]
            rows = rows - rows.mean(axis=0)
            drawn[resample] += _sums(rows, np.zeros(len(rows), np.intp), 1)[0]
    return drawn


def _estimates(sums: Floats) -> dict[str, Floats]:
    """Scores of each set of sums, (sets, 3), by name."""
    freedom = sums[:, 6]
    q = np.empty((len(sums), 3, 3))
    for (i, j), column in zip(_PAIRS, sums.T[:6], strict=True):
        q[:, i, j] = q[:, j, i] = column / freedom
    covariances = np.stack([q[:, 0, 1], q[:, 0, 2], q[:, 1, 2]], axis=1)
    # Sources that do not rise and fall together have no truth in common.
    common = (covariances > 0).all(axis=1)
    found = {score: np.full((len(sums), 3), np.nan) for score in SCORES}
    with np.errstate(divide="ignore", invalid="ignore"):
        for x in range(3):
            y, z = (n for n in range(3) if n != x)
            signal = np.where(common, q[:, x, y] * q[:, x, z] / q[:, y, z], np.nan)
            variance = q[:, x, x] - signal
            possible = variance >= 0
            found["error_std"][:, x] = np.sqrt(np.where(possible, variance, np.nan))
            found["snr_db"][:, x] = 10 * np.log10(np.where(variance > 0, signal / variance, np.nan))
            found["r_truth"][:, x] = np.sqrt(np.where(possible, signal / q[:, x, x], np.nan))
            third = 1 if x == 2 else 2
            scale = np.ones(len(sums)) if x == 0 else q[:, 0, third] / q[:, x, third]
            found["factor"][:, x] = np.where(common, scale, np.nan)
    return found
