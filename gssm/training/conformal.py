"""Out-of-fold errors -> prediction intervals that hold at stations nobody has seen."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from gssm.models.calibration import Intervals

Float64Array = NDArray[np.float64]

LEVEL = 0.9
# Classes of predictions, each with as many rows as the others, that get a scale of their own.
CLASSES = 5
# Fewer rows in a class would measure a handful of stations.
ROWS_OF_A_CLASS = 50
DIGITS = 6


def fit_intervals(
    observed: NDArray[Any],
    predicted: NDArray[Any],
    groups: NDArray[Any],
    level: float = LEVEL,
) -> Intervals:
    """Learn the half-width that holds `level` of the truths.

    Parameters
    ----------
    observed, predicted
        Out of fold, (n,), m3 m-3: no row of a group may have taught its own prediction.
    groups
        Station (or row) of each pair, (n,).
    level
        Share of truths wanted inside.

    Returns
    -------
    Intervals

    Notes
    -----
    The promise is for a moment at a new station, each as likely as another, so the rows of
    each station weigh as much together as those of any other (hierarchical conformal
    prediction, Lee, Barber and Willett 2023, arXiv:2306.06342). At one new station the
    share may be far from `level`. Rows of one station share their error, so that what
    counts is the number of groups: the level asked of the errors is raised from `level` to
    ``level * (1 + 1 / groups)``, the finite-sample correction of split conformal prediction
    with groups in the place of rows. The scale, the quantile of the absolute error within
    classes of the prediction, is learnt from the same rows; five numbers from thousands of
    rows change the coverage little.
    """
    pairs = np.isfinite(observed) & np.isfinite(predicted)
    error = np.abs(np.asarray(observed, np.float64) - predicted)[pairs]
    value = np.asarray(predicted, np.float64)[pairs]
    _, group, sizes = np.unique(np.asarray(groups)[pairs], return_inverse=True, return_counts=True)
    weight = 1 / sizes[group]
    knots, scale = _scale(value, error, weight, level)
    relative = error / np.interp(value, knots, scale)
    factor = _quantile(relative, weight, min(level * (1 + 1 / len(sizes)), 1.0))
    return Intervals(
        level,
        tuple(round(float(knot), DIGITS) for knot in knots),
        tuple(round(float(factor * size), DIGITS) for size in scale),
    )


def _scale(
    value: Float64Array, error: Float64Array, weight: Float64Array, level: float
) -> tuple[Float64Array, Float64Array]:
    """Median prediction, and quantile of the absolute error, of each class of predictions."""
    classes = int(np.clip(len(value) // ROWS_OF_A_CLASS, 1, CLASSES))
    parts = np.array_split(np.argsort(value, kind="stable"), classes)
    knots = np.array([np.median(value[part]) for part in parts])
    scale = np.array([_quantile(error[part], weight[part], level) for part in parts])
    # Predictions that repeat can give two classes one median; a perfect one, no error.
    distinct = np.append(True, np.diff(np.round(knots, DIGITS)) > 0)
    return knots[distinct], np.maximum(scale[distinct], 10.0**-DIGITS)


def _quantile(value: Float64Array, weight: Float64Array, level: float) -> float:
    """Smallest value below or at which lies at least this share of the weight."""
    order = np.argsort(value, kind="stable")
    share = np.cumsum(weight[order])
    # The sum of the weights is exact to a few digits less than the numbers are.
    reached = np.searchsorted(share, (level - 1e-12) * share[-1])
    return float(value[order][min(int(reached), len(value) - 1)])
