"""The nearest of many points: k-means condenses them, an exact search looks through boxes."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

Float32Array = NDArray[np.float32]
Integers = NDArray[np.int64]

CELLS = 96
MEMBERS = 48
# Rounds of k-means; more change nothing that can be seen.
ROUNDS = 10

# Features per pass over the sums of the search.
PASS = 4
ZERO = np.float32(0)
# Further away along a feature is equally far: squares stay finite.
FAR = np.float32(1e6)
LARGEST = np.int32(np.iinfo(np.int32).max)


def condense(points: Float32Array, seed: int) -> tuple[Float32Array, Float32Array]:
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
    own = (zero, one, zero, zero, zero, cells, cells, alone)
    nearest: Integers = compiled_search()(points, own)[1]
    return nearest


def boxes(references: Float32Array) -> tuple[Float32Array, Float32Array]:
    """Least and largest of the members of each cell, float32 (used + 1, c) each."""
    least, largest = references.min(axis=2).T, references.max(axis=2).T
    return np.ascontiguousarray(least), np.ascontiguousarray(largest)


# Compiled. Each sum runs over the features in their order, whatever the block; and so does that
# of a box, which is therefore never more than that of a member, to the last bit. The bits of
# floats that are not negative sort as integers do, whose minimum is fast.
def _search(
    features: Float32Array, area: tuple[Float32Array, ...]
) -> tuple[Float32Array, Integers]:
    """Dissimilarity and index of the cell with the nearest box, for each row."""
    center, scale, low, high, beyond, least, largest, references = area
    used, count = least.shape[0] - 1, least.shape[1]
    distance, cell = np.empty(len(features), np.float32), np.empty(len(features), np.int64)
    to_boxes, to_members = np.empty(count, np.float32), np.empty(references.shape[2], np.float32)
    box_bits, member_bits = to_boxes.view(np.int32), to_members.view(np.int32)
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
        while size % PASS:  # zero, as the last row of boxes and references
            known[size], value[size] = used, ZERO
            size += 1
        to_boxes[:] = 0
        for i in range(0, size, PASS):
            p, q, r, s = value[i], value[i + 1], value[i + 2], value[i + 3]
            a, b, c, d = known[i], known[i + 1], known[i + 2], known[i + 3]
            for j in range(count):
                begun = to_boxes[j] + max(least[a, j] - p, p - largest[a, j], ZERO) ** 2
                begun = begun + max(least[b, j] - q, q - largest[b, j], ZERO) ** 2
                begun = begun + max(least[c, j] - r, r - largest[c, j], ZERO) ** 2
                to_boxes[j] = begun + max(least[d, j] - s, s - largest[d, j], ZERO) ** 2
        nearest, cell[row] = LARGEST, -1
        while True:
            bound, box = box_bits[0], 0
            for j in range(count):
                bound = min(bound, box_bits[j])
            if bound >= nearest:
                break
            while box_bits[box] != bound:
                box += 1
            box_bits[box] = LARGEST
            cell[row] = box if cell[row] < 0 else cell[row]
            m = references[box]
            to_members[:] = 0
            for i in range(0, size, PASS):
                p, q, r, s = value[i], value[i + 1], value[i + 2], value[i + 3]
                e, f, g, h = m[known[i]], m[known[i + 1]], m[known[i + 2]], m[known[i + 3]]
                for j in range(to_members.size):
                    begun = to_members[j] + (p - e[j]) ** 2 + (q - f[j]) ** 2
                    to_members[j] = begun + (r - g[j]) ** 2 + (s - h[j]) ** 2
            for j in range(member_bits.size):
                nearest = min(nearest, member_bits[j])
        distance.view(np.int32)[row] = nearest
        distance[row] = np.sqrt(distance[row] + excess)
    return distance, cell


@cache
def compiled_search() -> Callable[..., Any]:
    """Return `_search`, compiled."""
    # Here, not above: numba takes longer to import than most scripts to run.
    from gssm.models.compiled import compiled

    return compiled(_search)
