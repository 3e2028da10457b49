"""Which numbers soil moisture can have."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

# m3 m-3, with what errors of a product may add below 0; beyond lie fill values, stored integers
# and percent.
LEAST, MOST = -0.1, 1.0
REMEDY = "mask its fill value, apply its scale_factor, or divide percent by 100"


def impossible(values: NDArray[Any]) -> NDArray[Any]:
    """Return the numbers among values (m3 m-3) that no soil moisture has; NaN is no number.

    Parameters
    ----------
    values
        Of any shape.

    Returns
    -------
    numpy.ndarray
        Of one dimension; empty where all is well.
    """
    wrong: NDArray[Any] = values[np.isfinite(values) & ((values < LEAST) | (values > MOST))]
    return wrong
