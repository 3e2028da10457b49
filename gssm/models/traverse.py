"""Exact sums of `gssm.models.trees.Trees` over many rows at once; imports numba.

Walking a deep tree row by row costs a memory access and a mispredicted branch per level.
Here 64 rows walk as the bits of one word. The rows of a chunk are put in an order in which
neighbours take the same way (`gssm.models.grouping`), and their keys laid out so that 64
rows of a column lie side by side. Each tree is cut to what the chunk can reach. Then
`GROUP` words go down it together: at a node that the range of their keys decides nothing
is compared, at any other one comparison of 64 keys parts each word in two. Nobody follows
a branch that no row takes, so the work is that of the distinct ways, not of the rows.
Nothing is approximated, and the values are added tree by tree, so that the sum of a row
does not depend on the rows around it.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from gssm.models.compiled import compiled
from gssm.models.grouping import group
from gssm.models.lanes import LANES, above, add_where, lowest_bit, peek, poke
from gssm.models.trees import COLUMN, COLUMN_BITS, FLIP, Trees

# See there; changed with it, this module is compiled anew.
COMPILED_IN = "29f98dd7"

Float32Array = NDArray[np.float32]
Integers = NDArray[np.int32]
Places = NDArray[np.int64]
Masks = NDArray[np.uint64]

# Rows that are grouped together and that trees are cut for: their keys are some 10 MB.
CHUNK = 65_536
# Words that walk together, at most the bits of an integer: their keys stay in the cache.
GROUP = 32
GROUP_ROWS = GROUP * LANES
# Nodes of the trees that are cut before the groups walk them: they stay in the cache.
BATCH = 1 << 15

LOWEST = np.int32(np.iinfo(np.int32).min)
HIGHEST = np.int32(np.iinfo(np.int32).max)
NONE, ONE = np.uint64(0), np.uint64(1)
ALL = ~NONE


def sums(trees: Trees, features: Float32Array, initial: float, dtype: Any) -> NDArray[Any]:
    """Add the values of the trees to `initial`, in their order and the precision of `dtype`.

    Parameters
    ----------
    trees
        The ensemble.
    features
        float32 (n, k), NaN where missing; infinities are numbers.
    initial
        What each sum begins with.
    dtype
        float32 or float64.

    Returns
    -------
    ndarray
        (n,) of `dtype`; the sum of a row depends on that row only, to the last bit.

    Raises
    ------
    ValueError
        The features are no matrix, or have fewer columns than the trees read.
    """
    features = np.ascontiguousarray(features, dtype=np.float32).view()
    features.flags.writeable = False  # one type, compiled once
    if features.ndim != 2 or features.shape[1] < trees.features:
        raise ValueError(
            f"features have shape {features.shape} and the trees read column "
            f"{trees.features - 1}; give the columns of the model's own spec."
        )
    result = np.empty(len(features), dtype)
    for start in range(0, len(features), CHUNK):
        rows = features[start : start + CHUNK]
        order = group(trees, rows)
        slots, width = _slots(trees, rows)
        words = -(-len(rows) // LANES)
        groups = -(-words // GROUP)
        keys = _aligned(groups * width * GROUP_ROWS, np.int32)
        low, high = (np.empty((groups, width), np.int32) for _ in range(2))
        total = _aligned(words * LANES, dtype)
        total[:] = initial
        _lay_out(rows, order, slots, width, words, keys)
        _find_ranges(keys, words, low, high)
        _score(trees.nodes.reshape(-1), trees.starts, slots, keys, low, high, total)
        result[start : start + CHUNK][order] = total[: len(rows)]
    return result


def _slots(trees: Trees, rows: Float32Array) -> tuple[Integers, int]:
    """Give each column that is read a slot; both of a feature are one if no row lacks it."""
    slots = np.full(COLUMN + 1, -1, np.int32)
    count = 0
    with np.errstate(invalid="ignore", over="ignore"):
        gaps = np.isnan(rows.sum(axis=0))  # or infinities of both signs, which cost a column
    for column in np.flatnonzero(trees.columns).tolist():
        if column % 2 and slots[column - 1] >= 0 and not gaps[column // 2]:
            slots[column] = slots[column - 1]
        else:
            slots[column] = count
            count += 1
    return slots, count


def _aligned(size: int, dtype: Any) -> NDArray[Any]:
    """Return an array that begins with a line of the cache, so that no vector lies across two."""
    length = size * np.dtype(dtype).itemsize
    memory = np.empty(length + 64, np.uint8)
    skipped = -memory.ctypes.data % 64
    return memory[skipped : skipped + length].view(dtype)


@compiled
def _lay_out(
    rows: Float32Array, order: Integers, slots: Integers, width: int, words: int, keys: Integers
) -> None:
    """Write the keys as (groups, width, GROUP, LANES); the last word repeats its last row."""
    values, lane = rows.reshape(-1), np.empty(LANES, np.int64)
    for word in range(words):
        for i in range(LANES):
            lane[i] = rows.shape[1] * order[min(word * LANES + i, order.size - 1)]
        place = (word // GROUP * width * GROUP + word % GROUP) * LANES
        for column in range(slots.size):
            slot = slots[column]
            # One slot for both sides of a feature only where nothing is missing.
            if slot < 0 or (column % 2 == 1 and slot == slots[column - 1]):
                continue
            missing = LOWEST if column % 2 == 1 else HIGHEST
            begin = place + slot * GROUP_ROWS
            for i in range(LANES):
                x = peek(values, peek(lane, i) + column // 2) + np.float32(0)  # one zero
                bits = np.float32(x).view(np.int32)
                key = bits ^ ((bits >> np.int32(31)) & FLIP)
                poke(keys, begin + i, key if x == x else missing)


@compiled
def _find_ranges(keys: Integers, words: int, low: Integers, high: Integers) -> None:
    """Write the lowest and the highest key of each group in each column."""
    groups, width = low.shape
    for g in range(groups):
        for slot in range(width):
            begin = (g * width + slot) * GROUP_ROWS
            least, most = HIGHEST, LOWEST
            for i in range(min(GROUP, words - g * GROUP) * LANES):
                key = peek(keys, begin + i)
                least = min(least, key)
                most = max(most, key)
            low[g, slot], high[g, slot] = least, most


@compiled
def _cut(
    nodes: Integers,
    start: int,
    slots: Integers,
    low: Integers,
    high: Integers,
    cut: Integers,
    begin: int,
    pending: Places,
) -> tuple[int, int]:
    """Copy what keys from `low` to `high` can reach of a tree; return its size and depth."""
    size, depth, count = 1, 0, 1
    pending[0, 0], pending[0, 1], pending[0, 2] = 0, 0, 0
    while count > 0:
        count -= 1
        node, place, level = pending[count, 0], pending[count, 1], pending[count, 2]
        depth = max(depth, level)
        while True:
            key, meta = nodes[2 * (start + node)], nodes[2 * (start + node) + 1]
            child = meta >> COLUMN_BITS
            slot = slots[meta & COLUMN]
            if child == 0 or (low[slot] <= key and high[slot] > key):
                break
            node = child + (high[slot] > key)
        cut[2 * (begin + place)], cut[2 * (begin + place) + 1] = key, 0
        if child > 0:
            cut[2 * (begin + place) + 1] = (size << COLUMN_BITS) | slot
            for side in range(2):
                pending[count, 0], pending[count, 1] = child + 1 - side, size + 1 - side
                pending[count, 2] = level + 1
                count += 1
            size += 2
    return size, depth


@compiled
def _part(
    keys: Integers, column: int, key: int, masks: Masks, row: int, top: int, here: np.uint64
) -> tuple[np.uint64, np.uint64]:
    """Leave the rows that go left in the masks at `row` and write the others to `top`.

    Returns the words that have any to the left, and to the right.
    """
    lefts, rights = NONE, NONE
    while here != NONE:
        word = lowest_bit(here)
        bit = here & (NONE - here)
        here ^= bit
        mask = peek(masks, row + word)
        right = mask & above(keys, column + word * LANES, key)
        left = mask ^ right
        # Where they are written does not depend on the comparison: the next need not wait.
        poke(masks, row + word, left)
        poke(masks, top + word, right)
        lefts |= bit if left != NONE else NONE
        rights |= bit if right != NONE else NONE
    return lefts, rights


@compiled
def _walk(
    nodes: Integers,
    root: int,
    keys: Integers,
    first: int,
    low: Integers,
    high: Integers,
    total: NDArray[Any],
    later: Places,
    sets: Masks,
    masks: Masks,
) -> None:
    """Add the values of one tree to the sums of a group, whose keys begin at `first`.

    The rows at the present node: `here` has a bit for each word that has any, and the
    masks of these words are among the `GROUP` masks that begin at `row`. Those that wait
    are before `top`; their nodes are in `later`, their words in `sets`.
    """
    here = ALL >> np.uint64(64 - total.size // LANES)
    for word in range(GROUP):
        poke(masks, word, ALL)
    row, top, count, node = 0, GROUP, 0, root
    while True:
        key, meta = peek(nodes, 2 * node), peek(nodes, 2 * node + 1)
        child = root + (meta >> COLUMN_BITS)
        if child == root:
            while here != NONE:
                word = lowest_bit(here)
                here &= here - ONE
                add_where(total, word * LANES, peek(masks, row + word), key)
            if count == 0:
                break
            count -= 1
            node, row = peek(later, 2 * count), peek(later, 2 * count + 1)
            here = peek(sets, count)
            top = row + GROUP
            continue
        slot = meta & COLUMN
        if peek(low, slot) > key:
            node = child + 1
            continue
        if peek(high, slot) <= key:
            node = child
            continue
        column = first + slot * GROUP_ROWS
        lefts, rights = _part(keys, column, key, masks, row, top, here)
        if lefts == NONE:
            node, here, row = child + 1, rights, top
            top += GROUP
            continue
        if rights != NONE:
            poke(later, 2 * count, child + 1)
            poke(later, 2 * count + 1, top)
            poke(sets, count, rights)
            count += 1
            top += GROUP
        node, here = child, lefts


@compiled
def _score(
    nodes: Integers,
    starts: Places,
    slots: Integers,
    keys: Integers,
    low: Integers,
    high: Integers,
    total: NDArray[Any],
) -> None:
    """Add the values of all trees to `total`, whose rows are ordered as the keys."""
    groups, width = low.shape
    least, most = np.empty(width, np.int32), np.empty(width, np.int32)
    for slot in range(width):
        least[slot], most[slot] = low[:, slot].min(), high[:, slot].max()
    trees, largest = starts.size - 1, 1
    for tree in range(trees):
        largest = max(largest, starts[tree + 1] - starts[tree])
    cut = np.empty(2 * (min(BATCH, nodes.size // 2) + largest), np.int32)
    roots, pending = np.empty(trees, np.int64), np.empty((largest // 2 + 2, 3), np.int64)
    later, sets, masks = np.empty(0, np.int64), np.empty(0, np.uint64), np.empty(0, np.uint64)
    begun = 0
    while begun < trees:
        done, size, depth = begun, 0, 0
        while done < trees and size < BATCH:
            roots[done] = size
            more, levels = _cut(nodes, starts[done], slots, least, most, cut, size, pending)
            size, depth, done = size + more, max(depth, levels), done + 1
        if sets.size < depth + 1:
            # On its way down, a group leaves at most one set of masks at each node.
            later, sets = np.empty(2 * (depth + 1), np.int64), np.empty(depth + 1, np.uint64)
            masks = np.empty((depth + 2) * GROUP, np.uint64)
        for g in range(groups):
            rows = total[g * GROUP_ROWS : (g + 1) * GROUP_ROWS]
            first = g * width * GROUP_ROWS
            for tree in range(begun, done):
                _walk(cut, roots[tree], keys, first, low[g], high[g], rows, later, sets, masks)
        begun = done
