"""Put rows that take the same way through trees next to each other; imports numba.

A tree is walked once per group of rows, so the fewer of its splits part a group the better.
Rows are halved at the median of one feature after the other, down to a word of 64 rows:
always of the feature whose splits part most of the rows at hand. How many that are is
counted on a sample of rows that walk a sample of trees, as a cumulative histogram per
feature; the spread of the rows on that scale is what a split of theirs would save.
The order changes the speed only.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from gssm.models.compiled import compiled
from gssm.models.lanes import LANES
from gssm.models.trees import COLUMN, COLUMN_BITS, FLIP, Trees

# See there; changed with it, this module is compiled anew.
COMPILED_IN = "29f98dd7"

Float32Array = NDArray[np.float32]
Integers = NDArray[np.int32]
Places = NDArray[np.int64]

# Below so many rows, an order costs more than it saves.
FEWEST = 8 * LANES
SAMPLE_ROWS = 512
SAMPLE_TREES = 32
# Rows looked at to choose the feature that halves a part.
LOOKED_AT = 16
BINS = 64
LAST = np.float32(BINS - 0.001)
# Further away is equally far: differences stay finite.
FAR = np.float32(1e30)
# Features below this share of all splitting are left out.
SMALL = 0.02


def group(trees: Trees, rows: Float32Array) -> NDArray[np.int32]:
    """Return the order of float32 rows (n, k), int32 (n,)."""
    branched = np.flatnonzero(np.diff(trees.starts) > 1)
    if len(rows) < FEWEST or branched.size == 0:
        return np.arange(len(rows), dtype=np.int32)
    probes = branched[:: -(-branched.size // SAMPLE_TREES)]
    sample = np.ascontiguousarray(rows[:: -(-len(rows) // SAMPLE_ROWS)])
    low, high = _range(sample)
    weight = _splitting(trees.nodes.reshape(-1), trees.starts, probes, sample, low, high)
    used = np.flatnonzero(weight.sum(axis=1) > SMALL * weight.sum())
    if used.size == 0:
        return np.arange(len(rows), dtype=np.int32)
    scale = np.zeros((used.size, BINS + 1), np.float32)
    np.cumsum(weight[used], axis=1, out=scale[:, 1:])
    placed = _place(rows, used, low, high, scale)
    return np.asarray(_halve(placed))


def _range(sample: Float32Array) -> tuple[Float32Array, Float32Array]:
    """Second lowest and highest percent of each feature; 0 of one without numbers."""
    values = np.sort(np.where(np.isfinite(sample), sample, np.inf), axis=0)
    last = np.maximum(np.isfinite(values).sum(axis=0) - 1, 0)
    ends = [values[(share * last).astype(int), np.arange(last.size)] for share in (0.02, 0.98)]
    low, high = (np.where(np.isfinite(end), np.clip(end, -FAR, FAR), 0) for end in ends)
    return low.astype(np.float32), high.astype(np.float32)


@compiled
def _bin(x: np.float32, low: np.float32, high: np.float32) -> np.float32:
    """Place of a value in the bins, as a fraction of bins."""
    place = (x - low) * (np.float32(BINS) / (high - low)) if high > low else np.float32(0)
    # What is no number (0 times infinity) is not above 0 either.
    return min(place, LAST) if place > 0 else np.float32(0)


@compiled
def _splitting(
    nodes: Integers,
    starts: Places,
    probes: Places,
    sample: Float32Array,
    low: Float32Array,
    high: Float32Array,
) -> Float32Array:
    """Rows that splits of each feature part from the others, by bin of the threshold."""
    weight = np.zeros((sample.shape[1], BINS), np.float32)
    for probe in probes:
        start = starts[probe]
        counts = np.zeros(starts[probe + 1] - start, np.int32)
        for row in range(sample.shape[0]):
            node = np.int64(0)
            while True:
                counts[node] += 1
                key, meta = nodes[2 * (start + node)], nodes[2 * (start + node) + 1]
                if meta == 0:
                    break
                column = meta & COLUMN
                x = sample[row, column >> 1] + np.float32(0)
                bits = np.float32(x).view(np.int32)
                above = (bits ^ ((bits >> np.int32(31)) & FLIP)) > key
                right = above if x == x else column % 2 == 0
                node = np.int64((meta >> COLUMN_BITS) + right)
        for place in range(counts.size):
            key, meta = nodes[2 * (start + place)], nodes[2 * (start + place) + 1]
            if meta == 0 or counts[place] == 0:
                continue
            child, k = meta >> COLUMN_BITS, (meta & COLUMN) >> 1
            bits = np.int32(key ^ ((key >> np.int32(31)) & FLIP))
            at = _bin(bits.view(np.float32), low[k], high[k])
            weight[k, int(at)] += min(counts[child], counts[child + 1])
    return weight


@compiled
def _place(
    rows: Float32Array, used: Places, low: Float32Array, high: Float32Array, scale: Float32Array
) -> Float32Array:
    """Place rows on the scales of their splits, (features used, n); missing lies beyond all."""
    count = rows.shape[0]
    placed = np.empty((used.size, count), np.float32)
    for begin in range(0, count, LANES):  # a few rows at a time, which stay in the cache
        for i in range(used.size):
            k = used[i]
            beyond = np.float32(1.25) * scale[i, BINS]
            for row in range(begin, min(begin + LANES, count)):
                x = rows[row, k]
                at = _bin(x if x == x else high[k], low[k], high[k])
                j = np.int32(at)
                value = scale[i, j] + (at - j) * (scale[i, j + 1] - scale[i, j])
                placed[i, row] = value if x == x else beyond
    return placed


@compiled
def _part(values: Float32Array, order: Integers, begin: int, stop: int, middle: int) -> None:
    """Reorder so that nothing before `middle` is above what follows it (quickselect)."""
    low, high = begin, stop - 1
    while high > low:
        a, b, c = values[order[low]], values[order[(low + high) >> 1]], values[order[high]]
        pivot = max(min(a, b), min(max(a, b), c))
        i, j = low, high
        while i <= j:
            while values[order[i]] < pivot:
                i += 1
            while values[order[j]] > pivot:
                j -= 1
            if i <= j:
                order[i], order[j] = order[j], order[i]
                i += 1
                j -= 1
        if middle <= j:
            high = j
        elif middle >= i:
            low = i
        else:
            break


@compiled
def _halve(placed: Float32Array) -> Integers:
    """Order the rows: halves of halves, down to words."""
    order = np.arange(placed.shape[1]).astype(np.int32)
    pending = np.empty((64, 2), np.int64)
    pending[0, 0], pending[0, 1] = 0, order.size
    count = 1
    while count > 0:
        count -= 1
        begin, stop = pending[count, 0], pending[count, 1]
        words = (stop - begin + LANES - 1) // LANES
        if words < 2:
            continue
        step = max(1, (stop - begin) // LOOKED_AT)
        best, widest = 0, np.float32(-1)
        for k in range(placed.shape[0]):
            total, squares, rows = np.float32(0), np.float32(0), np.float32(0)
            for i in range(begin, stop, step):
                x = placed[k, order[i]]
                total, squares, rows = total + x, squares + x * x, rows + 1
            spread = squares / rows - (total / rows) ** 2
            if spread > widest:
                best, widest = k, spread
        middle = begin + words // 2 * LANES
        _part(placed[best], order, begin, stop, middle)
        pending[count, 0], pending[count, 1] = begin, middle
        pending[count + 1, 0], pending[count + 1, 1] = middle, stop
        count += 2
    return order
