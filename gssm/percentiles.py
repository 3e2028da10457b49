"""Percentiles and spread of many short series, exactly and fast."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gssm import schema

Array = NDArray[Any]
Float32Array = NDArray[np.float32]

# Fewer values than this tell neither the dry nor the wet end.
MIN_COUNT = 8
PERCENTILES = np.array([int(s[1:]) for s in schema.HISTORY_STATISTICS if s != "sd"]) / 100


def statistics(rows: Array, min_count: int = MIN_COUNT) -> Float32Array:
    """Percentiles and standard deviation of every row, NaN left out.

    Parameters
    ----------
    rows
        Values (pixels, times), in any order of times.
    min_count
        Rows with fewer values are NaN.

    Returns
    -------
    ndarray
        float32 of shape (statistics, pixels), in the order of
        `gssm.schema.HISTORY_STATISTICS`. Percentiles are linear between the nearest
        values, as numpy's; the standard deviation is of the population.
    """
    # Sorting puts NaN last. A copy in C order, so that every row lies in one piece.
    ordered = np.array(rows, np.float32, order="C")
    ordered.sort(axis=1)
    result = np.empty((len(schema.HISTORY_STATISTICS), len(ordered)), np.float32)
    _compiled()(ordered, PERCENTILES, min_count, result)
    return result


def _of_sorted(
    ordered: Float32Array, percentiles: NDArray[np.float64], least: int, result: Float32Array
) -> None:
    for row in range(ordered.shape[0]):
        count = ordered.shape[1]
        while count > 0 and np.isnan(ordered[row, count - 1]):
            count -= 1
        if count < least:
            result[:, row] = np.nan
            continue
        for index in range(percentiles.size):
            place = percentiles[index] * (count - 1)
            below = int(place)
            low = np.float64(ordered[row, below])
            high = np.float64(ordered[row, min(below + 1, count - 1)])
            result[index, row] = low + (place - below) * (high - low)
        total = 0.0
        for index in range(count):
            total += ordered[row, index]
        squares = 0.0
        for index in range(count):
            squares += (ordered[row, index] - total / count) ** 2
        result[percentiles.size, row] = np.sqrt(squares / count)


@cache
def _compiled() -> Callable[..., None]:
    import numba

    try:
        compiled: Callable[..., None] = numba.njit(nogil=True, cache=True)(_of_sorted)
    # numba raises this where neither the package nor the home folder can be written.
    except RuntimeError:
        compiled = numba.njit(nogil=True)(_of_sorted)
    return compiled
