"""Whether the map gets wetter with rain: against an index of the rain before, by orbit."""

from __future__ import annotations

import numpy as np
import pandas as pd

from gssm.checks.resampling import block_draws, interval
from gssm.metrics import spearman

# Fewer rows than this give no rank correlation worth printing.
MIN_ROWS = 10


def rain_response(
    means: pd.DataFrame, index: pd.Series[float], *, resamples: int, seed: int
) -> pd.DataFrame:
    """Return Spearman's correlation of mean moisture with an index of rain, by orbit.

    Parameters
    ----------
    means
        By time: ``relative_orbit``, ``soil_moisture`` (m3 m-3), and ``vv`` (dB) or NaN; see
        `gssm.checks.means.area_means`.
    index
        As from `gssm.checks.rain.antecedent_precipitation`.

    Returns
    -------
    pandas.DataFrame
        A row per relative orbit: ``N``, ``spearman`` with its 95 % interval (``_low``,
        ``_high``; blocks of neighbouring dates are resampled), ``vv`` the same of raw VV on
        the same rows, and ``difference``, the first minus the second, with its own interval. Rows
        without VV are left out of all of them where 10 have it.
    """
    table = means.assign(api=index.reindex(pd.DatetimeIndex(means.index).normalize()).to_numpy())
    usable = table.dropna(subset=["soil_moisture", "api"])
    rows = {}
    for orbit, group in usable.groupby("relative_orbit"):
        both = group.dropna(subset=["vv"])
        compared = both if len(both) >= MIN_ROWS else group.assign(vv=np.nan)
        if len(compared) >= MIN_ROWS:
            rows[int(str(orbit))] = _of_orbit(compared.sort_index(), resamples, seed)
    columns = ["N", *(f"{n}{e}" for n in SCORES for e in ("", "_low", "_high"))]
    return pd.DataFrame.from_dict(rows, orient="index", columns=columns).rename_axis("orbit")


SCORES = ("spearman", "vv", "difference")


def _of_orbit(group: pd.DataFrame, resamples: int, seed: int) -> list[float]:
    api, moisture, vv = (
        group[name].to_numpy(np.float64) for name in ("api", "soil_moisture", "vv")
    )
    draws = block_draws(len(group), resamples=resamples, seed=seed)
    has_radar = bool(np.isfinite(vv).all())

    def of_moisture(rows: np.ndarray) -> float:
        return spearman(api[rows], moisture[rows])

    def of_radar(rows: np.ndarray) -> float:
        return spearman(api[rows], vv[rows]) if has_radar else float("nan")

    def difference(rows: np.ndarray) -> float:
        return of_moisture(rows) - of_radar(rows)

    found: list[float] = [len(group)]
    every = np.arange(len(group))
    for score in (of_moisture, of_radar, difference):
        found += [score(every), *interval(score, draws)]
    return found
