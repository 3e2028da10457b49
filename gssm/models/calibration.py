"""Prediction intervals: how far the truth may lie from a prediction, learnt from unseen stations.

Split conformal prediction (Lei et al. 2018, doi 10.1080/01621459.2017.1307116) with a
scale that follows the prediction: errors at wet places are larger than at dry ones.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from gssm.errors import BundleError

Float32Array = NDArray[np.float32]


@dataclass(frozen=True)
class Intervals:
    """Half-width of the prediction interval as a function of the prediction.

    Parameters
    ----------
    level
        Share of unseen truths that the interval is meant to hold, such as 0.9.
    predicted
        Predictions (m3 m-3), increasing.
    half_width
        Half-widths there (m3 m-3); linear in between, constant beyond.
    """

    level: float
    predicted: tuple[float, ...]
    half_width: tuple[float, ...]

    def __post_init__(self) -> None:
        """Refuse knots between which nothing can be interpolated."""
        knots, widths = np.asarray(self.predicted), np.asarray(self.half_width)
        sound = (
            knots.ndim == 1
            and 0 < knots.size == widths.size
            and bool(np.isfinite(knots).all() and (np.diff(knots) > 0).all())
            and bool(np.isfinite(widths).all() and (widths >= 0).all())
            and 0 < self.level < 1
        )
        if not sound:
            raise BundleError(
                "the model's calibration has no increasing predictions with a half-width each; "
                "take an intact copy of the bundle."
            )

    def widths(self, predicted: ArrayLike) -> Float32Array:
        """Half-width of the interval around each prediction (m3 m-3); NaN for NaN."""
        values = np.asarray(predicted, dtype=np.float64)
        return np.interp(values, self.predicted, self.half_width).astype(np.float32)

    def to_dict(self) -> dict[str, Any]:
        """Return plain JSON types."""
        return {
            "level": self.level,
            "predicted": list(self.predicted),
            "half_width": list(self.half_width),
        }

    @classmethod
    def from_dict(cls, record: Mapping[str, Any]) -> Intervals:
        """Inverse of `to_dict`."""
        return cls(float(record["level"]), tuple(record["predicted"]), tuple(record["half_width"]))
