"""The compiled traversal of a `gssm.models.forest.Forest`; imports numba."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numba
import numpy as np
from numpy.typing import NDArray

# Rows that walk one tree together: the tree and their sums (32 kB) stay in the cache.
BLOCK = 4096


def _traverse(
    features: NDArray[np.float32],
    feature: NDArray[np.int16],
    threshold: NDArray[np.float32],
    left: NDArray[np.int32],
    right: NDArray[np.int32],
    missing_left: NDArray[np.uint8],
    value: NDArray[np.float32],
    roots: NDArray[np.int32],
) -> NDArray[np.float32]:
    rows = features.shape[0]
    result = np.empty(rows, dtype=np.float32)
    total = np.empty(BLOCK, dtype=np.float64)
    for start in range(0, rows, BLOCK):
        stop = min(start + BLOCK, rows)
        total[:] = 0
        for root in roots:
            for row in range(start, stop):
                node = root
                column = feature[node]
                while column >= 0:
                    x = features[row, column]
                    if np.isnan(x):
                        node = left[node] if missing_left[node] else right[node]
                    elif x <= threshold[node]:
                        node = left[node]
                    else:
                        node = right[node]
                    column = feature[node]
                total[row - start] += value[node]
        for row in range(start, stop):
            result[row] = total[row - start] / roots.size
    return result


def _compiled() -> Callable[..., Any]:
    try:
        return numba.njit(nogil=True, cache=True)(_traverse)
    # numba raises this where neither the package nor the home folder can be written.
    except RuntimeError:
        return numba.njit(nogil=True)(_traverse)


traverse = _compiled()
