"""Skill of a prediction: every metric is ``f(observed, predicted) -> float``.

Pairs with a NaN on either side are left out. A metric that the remaining pairs
cannot define (no pair, or no variance where it divides by one) is NaN.
Definitions: GSSM-10 paper eqs 11-14, with R² as 1 - SSE / SST; Gupta et al. 2009
(doi 10.1016/j.jhydrol.2009.08.003) for KGE; Gruber et al. 2020
(doi 10.1016/j.rse.2020.111806) for anomalies.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import ArrayLike, NDArray

Floats = NDArray[np.float64]
Pairs = tuple[Floats, Floats]

# Width of the window whose mean is taken away to leave anomalies.
ANOMALY_DAYS = 35
# Fewer pairs in a window give no mean to differ from; fewer anomalies no correlation.
ANOMALY_PAIRS = 3
_HALF_WINDOW = np.timedelta64(ANOMALY_DAYS * 12, "h")
# Anomalies of soil moisture this small are rounding.
_NO_ANOMALY = 1e-9


def bias(observed: ArrayLike, predicted: ArrayLike) -> float:
    """Mean of predicted minus observed (eq. 12)."""
    o, p = _pairs(observed, predicted)
    return float(np.mean(p - o)) if o.size else float("nan")


def rmse(observed: ArrayLike, predicted: ArrayLike) -> float:
    """Root mean square error (eq. 13)."""
    o, p = _pairs(observed, predicted)
    return float(np.sqrt(np.mean((p - o) ** 2))) if o.size else float("nan")


def ubrmse(observed: ArrayLike, predicted: ArrayLike) -> float:
    """Unbiased root mean square error, ``sqrt(rmse² - bias²)`` (eq. 14)."""
    o, p = _pairs(observed, predicted)
    return float(np.std(p - o)) if o.size else float("nan")


def r2(observed: ArrayLike, predicted: ArrayLike) -> float:
    """Coefficient of determination, ``1 - SSE / SST`` (eq. 11)."""
    o, p = _pairs(observed, predicted)
    if not _varies(o):
        return float("nan")
    return float(1 - np.sum((p - o) ** 2) / np.sum((o - o.mean()) ** 2))


def r(observed: ArrayLike, predicted: ArrayLike) -> float:
    """Pearson correlation."""
    o, p = _pairs(observed, predicted)
    if not (_varies(o) and _varies(p)):
        return float("nan")
    return float(np.corrcoef(o, p)[0, 1])


def spearman(observed: ArrayLike, predicted: ArrayLike) -> float:
    """Spearman's rank correlation; equal values share their mean rank."""
    o, p = _pairs(observed, predicted)
    return r(_ranks(o), _ranks(p))


def kge(observed: ArrayLike, predicted: ArrayLike) -> float:
    """Kling-Gupta efficiency: correlation, ratio of spreads and ratio of means."""
    o, p = _pairs(observed, predicted)
    correlation = r(o, p)
    if np.isnan(correlation) or o.mean() == 0:
        return float("nan")
    spread, centre = p.std() / o.std(), p.mean() / o.mean()
    return float(1 - np.sqrt((correlation - 1) ** 2 + (spread - 1) ** 2 + (centre - 1) ** 2))


METRICS: dict[str, Callable[[ArrayLike, ArrayLike], float]] = {
    "bias": bias,
    "rmse": rmse,
    "ubrmse": ubrmse,
    "r2": r2,
    "r": r,
    "spearman": spearman,
    "kge": kge,
}


def anomaly_r(observed: ArrayLike, predicted: ArrayLike, time: ArrayLike) -> float:
    """Pearson correlation of short-term anomalies at one place (Gruber et al. 2020).

    The anomaly of a pair is its value minus the mean of all pairs whose time lies within
    17.5 days before or after, both ends and the pair itself included: a centred 35-day
    moving mean. A window of fewer than 3 pairs gives no anomaly, and fewer than 3
    anomalies, or none that varies, no correlation: NaN.

    Parameters
    ----------
    observed, predicted
        (n,), in one unit; observations and predictions of one place.
    time
        (n,) moments, in any order; a pair without one (NaT) is left out.
    """
    o, p, moments = _timed_pairs(observed, predicted, time)
    first = np.searchsorted(moments, moments - _HALF_WINDOW, side="left")
    last = np.searchsorted(moments, moments + _HALF_WINDOW, side="right")
    known = last - first >= ANOMALY_PAIRS
    if np.count_nonzero(known) < ANOMALY_PAIRS:
        return float("nan")
    anomalies = [_anomalies(values, first, last)[known] for values in (o, p)]
    if min(np.ptp(values) for values in anomalies) < _NO_ANOMALY:
        return float("nan")
    return r(*anomalies)


def percentile_interval(
    resampled: ArrayLike, level: float = 0.95, axis: int = 0
) -> tuple[Floats, Floats]:
    """Lower and upper end of the central interval that holds `level` of the values.

    The percentile interval of a bootstrap (Efron and Tibshirani 1993, chapter 13).

    Parameters
    ----------
    resampled
        A statistic of each resample along `axis`; NaN, where a resample could not
        define it, is left out. All NaN gives NaN.
    level
        Between 0 and 1.
    axis
        That of the resamples.
    """
    values = np.asarray(resampled, dtype=np.float64)
    # An all-NaN column is an answer here, not the warning that numpy makes of it.
    empty = np.isnan(values).all(axis=axis, keepdims=True)
    tail = (1 - level) / 2
    ends = np.nanquantile(np.where(empty, 0.0, values), [tail, 1 - tail], axis=axis)
    low, high = np.where(np.squeeze(empty, axis=axis), np.nan, ends)
    return np.asarray(low), np.asarray(high)


def _varies(values: Floats) -> bool:
    # The standard deviation of equal numbers need not be exactly zero, and that of
    # different ones can be too small for a float.
    return bool(values.size > 1 and np.ptp(values) > 0 and values.std() > 0)


def _ranks(values: Floats) -> Floats:
    _, inverse, counts = np.unique(values, return_inverse=True, return_counts=True)
    return np.asarray((np.cumsum(counts) - (counts - 1) / 2)[inverse], dtype=np.float64)


def _anomalies(values: Floats, first: NDArray[np.intp], last: NDArray[np.intp]) -> Floats:
    # Sums of small numbers: constant values have anomalies of exactly zero.
    centred = values - values[0]
    sums = np.concatenate([[0.0], np.cumsum(centred)])
    return np.asarray(centred - (sums[last] - sums[first]) / (last - first))


def _timed_pairs(
    observed: ArrayLike, predicted: ArrayLike, time: ArrayLike
) -> tuple[Floats, Floats, NDArray[np.datetime64]]:
    """Complete pairs in the order of their times."""
    o, p = _both(observed, predicted)
    moments = np.asarray(time, dtype="datetime64[ns]").ravel()
    if moments.shape != o.shape:
        raise ValueError(
            f"observed has {o.size} values and time has {moments.size}; give one of each per row."
        )
    keep = np.flatnonzero(np.isfinite(o) & np.isfinite(p) & ~np.isnat(moments))
    order = keep[np.argsort(moments[keep], kind="stable")]
    return o[order], p[order], moments[order]


def _pairs(observed: ArrayLike, predicted: ArrayLike) -> Pairs:
    o, p = _both(observed, predicted)
    keep = np.isfinite(o) & np.isfinite(p)
    return o[keep], p[keep]


def _both(observed: ArrayLike, predicted: ArrayLike) -> Pairs:
    o = np.asarray(observed, dtype=np.float64).ravel()
    p = np.asarray(predicted, dtype=np.float64).ravel()
    if o.shape != p.shape:
        raise ValueError(
            f"observed has {o.size} values and predicted has {p.size}; give one of each per row."
        )
    return o, p
