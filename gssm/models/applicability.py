"""Area of applicability: how unlike all training samples a pixel is.

The dissimilarity index (DI) of Meyer and Pebesma 2021 (doi 10.1111/2041-210X.13650):
distance to the nearest training sample, in features standardised and weighted by their
importance, over the mean distance between training samples. What exceeds the upper
whisker of the samples' own DI, each measured against the other cross-validation folds
alone, is outside.

Cheap, since every pixel is scored. Features that hold the last 1 % of the weighted
variance leave the distance. K-means divides the samples into cells and each cell into
members; up to `MEMBERS` samples, they are the members. The nearest member is found exactly: a
pixel looks into the cells by the distance to the box around their members, and into none whose
box is farther than the nearest member so far. The threshold is measured by the same means, with
what members in the place of samples add to a distance.

Missing is not unlike: a missing feature adds nothing to the distance, as if the pixel
had the value of whichever sample it is compared with, and the quality flags say that
it is missing. A sample stands at the training mean where it has a gap: adding nothing
there, it would pass for everything.

Never seen is unlike: the index alone lets a value 20 standard deviations away pass in a
feature of little importance. So what lies beyond all samples counts too, and reaches the
threshold after `BEYOND` standard deviations. Within their range it changes nothing.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gssm.errors import BundleError, CubeError, SamplesError
from gssm.models.nearest import FAR, ZERO, boxes, compiled_search, condense
from gssm.models.tensors import Buffer, views

Float32Array = NDArray[np.float32]

# Measured, with so few features and members: stations held out and the pixels of a real scene
# rank as by the exact index (correlation 0.94 to 0.99) and about 99 of 100 get the same decision,
# at more than a million pixels a second and thread.
SHARE = 0.99
# Stands in every bundle, from when a pixel looked into so many cells and no more.
PROBES = 3
# Rows whose pairs give the mean distance. It is only the unit of the index: the
# threshold has the same.
PAIR_ROWS = 2048
# As far as the scaling of TabNet lets an input go from the mean of all.
BEYOND = 5.0
# Smaller deviations are none: their reciprocals would not be float32.
TINY = 1e-20

ARRAYS = ("center", "scale", "low", "high", "beyond", "cells", "references")


@dataclass(frozen=True, eq=False)
class Applicability:
    """The training samples as references, and how far from them is too far.

    Parameters
    ----------
    center, scale
        float32 (k,): mean of each feature; importance over standard deviation over mean
        distance, 0 for a feature that is not among the `used` ones of the distance.
    low, high, beyond
        float32 (k,): range of each feature, and dissimilarity per unit beyond it, 0 for
        a feature without importance.
    cells
        float32 (used + 1, c): centre of each cell, and a row of zeros that fills passes.
    references
        float32 (c, used + 1, m): the members of each cell, in the same way.
    threshold
        Largest dissimilarity inside the area of applicability.
    probes
        Of the format of bundles, as `cells` are; the search reads neither.
    """

    center: Float32Array
    scale: Float32Array
    low: Float32Array
    high: Float32Array
    beyond: Float32Array
    cells: Float32Array
    references: Float32Array
    threshold: float
    probes: int = PROBES

    def dissimilarity(self, features: Float32Array) -> Float32Array:
        """Dissimilarity index, float32 (n,), never NaN, for float32 features (n, k).

        A value that is not finite is missing and adds nothing; a row without any value
        has dissimilarity 0. The same to the last bit for any division into blocks.

        Raises
        ------
        CubeError
            The features are not those of the training.
        """
        features = np.ascontiguousarray(features, dtype=np.float32)
        if features.ndim != 2 or features.shape[1] != self.center.size:
            raise CubeError(
                f"features have shape {features.shape} and the area of applicability reads "
                f"{self.center.size} columns; build them with the model's own spec."
            )
        distance: Float32Array = compiled_search()(features, self.searched)[0]
        return distance

    @cached_property
    def searched(self) -> tuple[Float32Array, ...]:
        """What the compiled search reads of it."""
        own = (self.center, self.scale, self.low, self.high, self.beyond)
        return (*own, *boxes(self.references), self.references)

    def outside(self, features: Float32Array) -> NDArray[np.bool_]:
        """Tell rows outside the area of applicability, bool (n,), for features (n, k)."""
        return np.asarray(self.dissimilarity(features) > np.float32(self.threshold))

    @property
    def params(self) -> dict[str, Any]:
        """Plain JSON: the numbers that are not in the bytes."""
        return {"threshold": self.threshold, "probes": self.probes}

    def to_bytes(self) -> bytes:
        """Return the arrays as safetensors."""
        from safetensors.numpy import save

        return bytes(save({name: getattr(self, name) for name in ARRAYS}))

    @classmethod
    def from_bytes(cls, data: Buffer, params: Mapping[str, Any]) -> Applicability:
        """Inverse of `to_bytes`; arrays that would lead a search astray are refused."""
        loaded = views(data)
        # Copies: an array that cannot be written would be compiled for once more.
        arrays = {name: np.array(loaded[name]) for name in ARRAYS}
        area = cls(**arrays, threshold=float(params["threshold"]), probes=int(params["probes"]))
        area._check()
        return area

    def _check(self) -> None:
        arrays = [getattr(self, name) for name in ARRAYS]
        sound = all(a.dtype == np.float32 and bool(np.isfinite(a).all()) for a in arrays)
        rows, count = int(np.count_nonzero(self.scale > 0)) + 1, self.references.shape[:1]
        shaped = (
            all(a.shape == (self.center.size,) for a in arrays[:5])
            and self.cells.shape == (rows, *count)
            and self.references.shape[1:2] == (rows,)
            and self.references.ndim == 3
            and min(rows - 1, self.references.size, self.probes) > 0
        )
        if not (sound and shaped and 0 <= self.threshold < np.inf):
            raise BundleError(
                "the area of applicability of this model is damaged; take an intact copy of the "
                "bundle."
            )


def fit(
    features: Float32Array, importances: NDArray[Any], folds: NDArray[Any], *, seed: int = 0
) -> Applicability:
    """Learn the area of applicability of a model from the samples it was trained on.

    Parameters
    ----------
    features
        float32 (n, k), NaN where missing. Give the samples as they are rather than
        copies with gaps made on purpose: a gap makes a sample stand at the mean.
    importances
        (k,), not negative, in any unit: how much the model relies on each feature.
    folds
        Integer (n,): the cross-validation fold of each row.
    seed
        Of the choice of references; the same seed gives the same area.

    Raises
    ------
    SamplesError
        The shapes do not fit, there are fewer than two folds, an importance is negative
        or not finite, all are zero, or no feature of any importance varies.
    """
    features = np.ascontiguousarray(features, dtype=np.float32)
    importances, folds = np.asarray(importances, dtype=np.float64), np.asarray(folds)
    _check_training(features, importances, folds)
    center, deviation, low, high = _statistics(features)
    per_unit = 1 / np.where(deviation > 0, deviation, np.inf)
    weight = _leading(np.where(deviation > 0, importances / importances.max(), 0))
    scale = (weight * per_unit).astype(np.float32)
    unit = _mean_distance(_points(features, center, scale), seed)
    if unit == 0:
        raise SamplesError(
            "no feature of any importance varies between the samples; check the features and "
            "their importances."
        )
    scale = (scale / unit).astype(np.float32)
    points = _points(features, center, scale)

    def build(rows: NDArray[np.bool_]) -> Applicability:
        learned = condense(points[rows], seed)
        return Applicability(center, scale, low, high, np.zeros_like(low), *learned, threshold=0.0)

    own = np.empty(len(points), dtype=np.float32)
    for fold in np.unique(folds):
        own[folds == fold] = build(folds != fold).dissimilarity(features[folds == fold])
    threshold = _upper_whisker(own)
    beyond = np.where(importances > 0, threshold / BEYOND * per_unit, 0).astype(np.float32)
    return replace(build(np.ones(len(own), bool)), threshold=threshold, beyond=beyond)


def _check_training(
    features: Float32Array, importances: NDArray[np.float64], folds: NDArray[Any]
) -> None:
    rows, columns = features.shape[:1], features.shape[1:]
    if features.ndim != 2 or folds.shape != rows or importances.shape != columns:
        raise SamplesError(
            f"features have shape {features.shape}, importances {importances.shape} and folds "
            f"{folds.shape}; give an importance for each column and a fold for each row."
        )
    if not np.issubdtype(folds.dtype, np.integer) or np.unique(folds).size < 2:
        raise SamplesError(
            f"the folds are {np.unique(folds).size} different values of type {folds.dtype}; give "
            "each row the integer of its fold, of at least 2 folds."
        )
    if not np.isfinite(importances).all() or importances.min() < 0 or importances.max() == 0:
        raise SamplesError(
            "the importances of the features are all zero, or one is negative or not finite; give "
            "those of the fitted model."
        )


def _statistics(
    features: Float32Array,
) -> tuple[Float32Array, NDArray[np.float64], Float32Array, Float32Array]:
    """Mean, standard deviation, least and largest of what is known of each feature."""
    known = np.isfinite(features)
    count = np.maximum(known.sum(axis=0), 1)
    values = np.where(known, features, 0).astype(np.float64)
    mean = values.sum(axis=0) / count
    deviation = np.sqrt((np.where(known, values - mean, 0) ** 2).sum(axis=0) / count)
    center = mean.astype(np.float32)
    low = np.where(known, features, center).min(axis=0)
    high = np.where(known, features, center).max(axis=0)
    # A feature that never varied gives no measure of how far another value is. Equal
    # numbers have no deviation: the sum of so few float32 is exact in float64.
    return center, np.where(deviation > TINY, deviation, 0), low, high


def _leading(weight: NDArray[np.float64]) -> NDArray[np.float64]:
    """Weights of the features that hold `SHARE` of the weighted variance, 0 for others."""
    order = np.argsort(-weight, kind="stable")
    variance = np.cumsum((weight[order] / (weight.max() or 1)) ** 2)
    last = int(np.searchsorted(variance, SHARE * variance[-1]))
    return np.where(np.isin(np.arange(weight.size), order[: last + 1]), weight, 0)


def _points(features: Float32Array, center: Float32Array, scale: Float32Array) -> Float32Array:
    """Rows in the space of the distance, (n, used); a gap stands at the mean."""
    used = np.flatnonzero(scale)
    known = np.isfinite(features[:, used])
    # As in the search, so that a sample is at distance 0 from itself.
    scaled = (np.where(known, features[:, used], center[used]) - center[used]) * scale[used]
    return np.where(known, np.clip(scaled, -FAR, FAR), ZERO)


def _mean_distance(points: Float32Array, seed: int) -> float:
    """Mean distance of two samples, from all pairs of at most `PAIR_ROWS` rows."""
    if len(points) > PAIR_ROWS:
        rng = np.random.default_rng(seed)
        points = points[rng.choice(len(points), PAIR_ROWS, replace=False)]
    exact = points.astype(np.float64)
    total = 0.0
    for row in range(1, len(exact)):
        total += float(np.sqrt(((exact[:row] - exact[row]) ** 2).sum(axis=1)).sum())
    return total / (len(exact) * (len(exact) - 1) / 2)


def _upper_whisker(values: Float32Array) -> float:
    """75th percentile and 1.5 times the interquartile range, at most the largest value."""
    lower, upper = np.quantile(values.astype(np.float64), [0.25, 0.75])
    return float(min(upper + 1.5 * (upper - lower), values.max()))
