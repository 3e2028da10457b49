"""Area of applicability: how unlike all training samples a pixel is.

The dissimilarity index (DI) of Meyer and Pebesma 2021 (doi 10.1111/2041-210X.13650):
distance to the nearest training sample, in features standardised and weighted by their
importance, over the mean distance between training samples. What exceeds the upper
whisker of the samples' own DI, each measured against the other cross-validation folds
alone, is outside.

Cheap, since every pixel is scored. Features that hold the last 1 % of the weighted
variance leave the distance. K-means divides the samples into cells and each cell into
members, and a pixel looks into its nearest cells only; up to `MEMBERS` samples, they are
the members. The threshold is measured by the same means, with what they add to a distance.

Missing is not unlike: a missing feature adds nothing to the distance, as if the pixel
had the value of whichever sample it is compared with, and the quality flags say that
it is missing. A sample stands at the training mean where it has a gap: adding nothing
there, it would pass for everything.

Never seen is unlike: the index alone lets a value 20 standard deviations away pass in a
feature of little importance. So what lies beyond all samples counts too, and reaches the
threshold after `BEYOND` standard deviations. Within their range it changes nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gssm.errors import BundleError, CubeError, SamplesError
from gssm.models.tensors import Buffer, views

Float32Array = NDArray[np.float32]
Integers = NDArray[np.int64]

# Measured: stations held out and the pixels of a real scene rank as by the exact index
# (correlation 0.94 to 0.99) and about 99 of 100 get the same decision, at more than a
# million pixels a second and thread.
SHARE = 0.99
CELLS = 96
MEMBERS = 48
PROBES = 3
# Rounds of k-means; more change nothing that can be seen.
ROUNDS = 10
# Rows whose pairs give the mean distance. It is only the unit of the index: the
# threshold has the same.
PAIR_ROWS = 2048
# As far as the scaling of TabNet lets an input go from the mean of all.
BEYOND = 5.0

# Features per pass over the sums of the search.
PASS = 4
ZERO = np.float32(0)
# Further away along a feature is equally far: squares stay finite.
FAR = np.float32(1e6)
# Smaller deviations are none: their reciprocals would not be float32.
TINY = 1e-20
LARGEST = np.int32(np.iinfo(np.int32).max)

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
        Number of nearest cells that a pixel looks into.
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
        arrays = (getattr(self, name) for name in ARRAYS)
        distance: Float32Array = _compiled()(features, *arrays, self.probes)[0]
        return distance

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
        learned = _references(points[rows], seed)
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


def _references(points: Float32Array, seed: int) -> tuple[Float32Array, Float32Array]:
    """Cells (used + 1, c) and their members (c, used + 1, m) for points (n, used)."""
    rng = np.random.default_rng(seed)
    centers, label = _k_means(points, min(CELLS, -(-len(points) // MEMBERS)), rng)
    found = np.unique(label)
    members = [_k_means(points[label == cell], MEMBERS, rng)[0] for cell in found]
    widest = max(len(rows) for rows in members)
    # A cell of few members repeats them, which changes no minimum.
    filled = np.stack([np.resize(rows, (widest, rows.shape[1])).T for rows in members])
    cells = np.pad(centers[found].T, ((0, 1), (0, 0)))
    return np.ascontiguousarray(cells), np.pad(filled, ((0, 0), (0, 1), (0, 0)))


def _k_means(
    points: Float32Array, count: int, rng: np.random.Generator
) -> tuple[Float32Array, Integers]:
    """Centres (count, used) and the centre of each point; few points are their own centres.

    By the compiled search, whose sums have one order: unlike a library's k-means, the
    result depends on no thread and no BLAS.
    """
    if len(points) <= count:
        return points, np.arange(len(points), dtype=np.int64)
    centers = points[np.sort(rng.choice(len(points), count, replace=False))]
    for _ in range(ROUNDS):
        label = _nearest(points, centers)
        size = np.bincount(label, minlength=count)[:, None]
        columns = [np.bincount(label, weights=column, minlength=count) for column in points.T]
        mean = np.stack(columns, axis=1) / np.maximum(size, 1)
        centers = np.where(size > 0, mean, centers).astype(np.float32)
    return centers, _nearest(points, centers)


def _nearest(points: Float32Array, centers: Float32Array) -> Integers:
    zero, one = np.zeros(points.shape[1], np.float32), np.ones(points.shape[1], np.float32)
    cells = np.ascontiguousarray(np.pad(centers.T, ((0, 1), (0, 0))))
    alone = np.ascontiguousarray(cells.T[:, :, None])
    nearest: Integers = _compiled()(points, zero, one, zero, zero, zero, cells, alone, 1)[1]
    return nearest


# Compiled. Each sum runs over the features in their order, whatever the block. The bits
# of floats that are not negative sort as integers do, whose minimum is fast.
def _search(
    features: Float32Array,
    center: Float32Array,
    scale: Float32Array,
    low: Float32Array,
    high: Float32Array,
    beyond: Float32Array,
    cells: Float32Array,
    references: Float32Array,
    probes: int,
) -> tuple[Float32Array, Integers]:
    """Dissimilarity and index of the nearest cell, for each row."""
    used, count = cells.shape[0] - 1, cells.shape[1]
    distance, cell = np.empty(len(features), np.float32), np.empty(len(features), np.int64)
    to_cells, to_members = np.empty(count, np.float32), np.empty(references.shape[2], np.float32)
    cell_bits = to_cells.view(np.int32)
    known, value = np.empty(used + PASS, np.int64), np.empty(used + PASS, np.float32)
    for row in range(len(features)):
        size, column, excess = 0, 0, ZERO
        for k in range(center.size):
            x = features[row, k]
            if np.isfinite(x):
                if x < low[k] or x > high[k]:
                    excess += min(max(low[k] - x, x - high[k]) * beyond[k], FAR) ** 2
                known[size] = column
                value[size] = min(max((x - center[k]) * scale[k], -FAR), FAR)
                size += scale[k] > 0
            column += scale[k] > 0
        while size % PASS:  # zero, as the last row of cells and references
            known[size], value[size] = used, ZERO
            size += 1
        least, refs, total = LARGEST, cells, to_cells
        for step in range(min(probes, count) + 1):
            if step > 0:
                near, nearest = 0, cell_bits[0]
                for j in range(count):
                    nearest = min(nearest, cell_bits[j])
                while cell_bits[near] != nearest:
                    near += 1
                cell_bits[near] = LARGEST
                cell[row] = near if step == 1 else cell[row]
                refs, total = references[near], to_members
            total[:] = 0
            for i in range(0, size, PASS):
                a, b = refs[known[i]], refs[known[i + 1]]
                c, d = refs[known[i + 2]], refs[known[i + 3]]
                p, q, r, s = value[i], value[i + 1], value[i + 2], value[i + 3]
                for j in range(total.size):
                    begun = total[j] + (p - a[j]) ** 2 + (q - b[j]) ** 2
                    total[j] = begun + (r - c[j]) ** 2 + (s - d[j]) ** 2
            if step > 0:
                bits = total.view(np.int32)
                for j in range(bits.size):
                    least = min(least, bits[j])
        distance.view(np.int32)[row] = least
        distance[row] = np.sqrt(distance[row] + excess)
    return distance, cell


@cache
def _compiled() -> Callable[..., Any]:
    # Here, not above: numba takes longer to import than most scripts to run.
    from gssm.models.compiled import compiled

    return compiled(_search)
