"""Out-of-fold predictions -> weights of the members on the simplex."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import combinations
from typing import Any

import numpy as np
from numpy.typing import NDArray

Float64Array = NDArray[np.float64]

# Draws of stations over which the weights are averaged.
DRAWS = 200
DIGITS = 6


def ensemble_weights(
    predictions: Mapping[str, NDArray[Any]],
    observed: NDArray[Any],
    groups: NDArray[Any],
) -> dict[str, float]:
    """Mean of the best weights over draws of stations with replacement.

    Parameters
    ----------
    predictions
        Out-of-fold predictions by member, each (n,).
    observed
        The truth, (n,).
    groups
        Station (or row) of each, (n,); whole groups are drawn.

    Returns
    -------
    dict
        By member, sum 1, to six digits.

    Notes
    -----
    A few dozen stations decide little: the one best point of the simplex lies on an edge
    as often as not, and on another one without two of the stations. Bagging (Breiman 1996,
    doi 10.1007/BF00058655) keeps each member with the share of the draws that want it.
    """
    names = list(predictions)
    moments = _moments(predictions, observed, groups)
    stations = len(moments)
    # The same draws at every call: equal inputs have equal weights.
    draws = np.random.default_rng(0).multinomial(
        stations, np.full(stations, 1 / stations), size=DRAWS
    )
    best = np.mean([_best(np.tensordot(draw, moments, axes=1)) for draw in draws], axis=0)
    # Six digits say all, and do not change with the order of a library's sums.
    return {name: round(float(weight), DIGITS) for name, weight in zip(names, best, strict=True)}


def simplex_weights(
    predictions: Mapping[str, NDArray[Any]], observed: NDArray[Any]
) -> dict[str, float]:
    """Non-negative weights with sum 1 that minimise the squared error.

    Parameters
    ----------
    predictions
        Out-of-fold predictions by member, each (n,).
    observed
        The truth, (n,).

    Notes
    -----
    The optimum of a convex problem on a simplex lies inside one of its faces. A few
    members have few faces, so each is solved exactly and the best is taken.
    """
    whole = _moments(predictions, observed, np.zeros(len(observed), np.int64))[0]
    return {name: float(weight) for name, weight in zip(predictions, _best(whole), strict=True)}


def _moments(
    predictions: Mapping[str, NDArray[Any]], observed: NDArray[Any], groups: NDArray[Any]
) -> Float64Array:
    """Sum the products of the members' errors in each group, (groups, members, members)."""
    truth = np.asarray(observed, np.float64)
    errors = np.stack([np.asarray(values, np.float64) - truth for values in predictions.values()])
    _, group = np.unique(groups, return_inverse=True)
    products = (errors[:, None] * errors[None]).reshape(len(errors) ** 2, -1)
    sums = np.stack([np.bincount(group, weights=product) for product in products], axis=1)
    return np.asarray(sums.reshape(-1, len(errors), len(errors)), np.float64)


def _best(moments: Float64Array) -> Float64Array:
    members = len(moments)
    best, best_error = np.full(members, 1 / members), np.inf
    for size in range(1, members + 1):
        for face in combinations(range(members), size):
            inner = np.linalg.pinv(moments[np.ix_(face, face)]).sum(axis=1)
            if inner.sum() <= 0 or (inner < 0).any():
                continue
            weights = np.zeros(members)
            weights[list(face)] = inner / inner.sum()
            error = float(weights @ moments @ weights)
            if error < best_error:
                best, best_error = weights, error
    return best
