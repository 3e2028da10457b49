"""Intervals of statistics of a series, whose neighbours in time are alike."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from gssm.metrics import percentile_interval

Floats = NDArray[np.float64]

RESAMPLES = 1000
# Rows in a block: five passes of one orbit are 30 days, three times the days in which an
# antecedent precipitation index falls to a third.
BLOCK = 5


def block_draws(
    rows: int, *, block: int = BLOCK, resamples: int = RESAMPLES, seed: int = 0
) -> NDArray[np.int64]:
    """Draw rows in blocks of neighbours, (resamples, rows).

    The circular block bootstrap (Politis and Romano 1992): blocks begin anywhere and go on
    from the first row after the last, so that every row is drawn equally often.
    """
    rng = np.random.default_rng(seed)
    length = max(1, min(block, rows))
    blocks = -(-rows // length)
    starts = rng.integers(0, rows, (resamples, blocks, 1))
    drawn = (starts + np.arange(length)) % rows
    return np.asarray(drawn.reshape(resamples, -1)[:, :rows], dtype=np.int64)


def interval(
    statistic: Callable[[NDArray[np.int64]], float], draws: NDArray[np.int64]
) -> tuple[float, float]:
    """Return the ends of the 95 % interval of a statistic of drawn rows; NaN if there is none."""
    if draws.shape[1] == 0:
        return float("nan"), float("nan")
    low, high = percentile_interval([statistic(rows) for rows in draws])
    return float(low), float(high)
