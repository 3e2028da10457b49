"""Skill of a prediction: every metric is ``f(observed, predicted) -> float``.

Pairs with a NaN on either side are left out. A metric that the remaining pairs
cannot define (no pair, or no variance where it divides by one) is NaN.
Definitions: GSSM-10 paper eqs 11-14, with R² as 1 - SSE / SST; Gupta et al. 2009
(doi 10.1016/j.jhydrol.2009.08.003) for KGE.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import ArrayLike, NDArray

Pairs = tuple[NDArray[np.float64], NDArray[np.float64]]


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
    total = np.sum((o - o.mean()) ** 2) if o.size else 0.0
    return float(1 - np.sum((p - o) ** 2) / total) if total > 0 else float("nan")


def r(observed: ArrayLike, predicted: ArrayLike) -> float:
    """Pearson correlation."""
    o, p = _pairs(observed, predicted)
    if o.size < 2 or o.std() == 0 or p.std() == 0:
        return float("nan")
    return float(np.corrcoef(o, p)[0, 1])


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
    "kge": kge,
}


def _pairs(observed: ArrayLike, predicted: ArrayLike) -> Pairs:
    o = np.asarray(observed, dtype=np.float64).ravel()
    p = np.asarray(predicted, dtype=np.float64).ravel()
    if o.shape != p.shape:
        raise ValueError(
            f"observed has {o.size} values and predicted has {p.size}; give one of each per row."
        )
    keep = np.isfinite(o) & np.isfinite(p)
    return o[keep], p[keep]
