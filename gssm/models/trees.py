"""Tree ensembles in eight bytes a node, as the compiled loops of `gssm.models.traverse` read them.

A node is two int32. Of an inner node the first is the key of its threshold and the second
says where its children are (they lie side by side, left before right) and which column it
reads; of a leaf the first holds the bits of its value and the second is 0. Every question
is ``key(x) > threshold``, then right: a float32 as an integer of the same order
(`order_keys`) also has room on both sides of the infinities for NaN, so that one integer
comparison sends each number, infinity and missing value where the training library does.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gssm.errors import BundleError

Integers = NDArray[np.int32]

# Bits of a node's second integer: the column, twice the feature and 1 more where NaN goes
# left; then the place of the left child in the tree.
COLUMN_BITS = 9
COLUMN = (1 << COLUMN_BITS) - 1
MAX_FEATURES = 1 << (COLUMN_BITS - 1)
MAX_NODES = 1 << (31 - COLUMN_BITS)
# Nodes looked at together when columns are noted.
PART = 1 << 20

# What turns the bits of a negative float32 into an integer of the same order, and back.
FLIP = np.int32(0x7FFFFFFF)


@dataclass(frozen=True, eq=False)
class Trees:
    """All trees of an ensemble, one after the other.

    Parameters
    ----------
    nodes
        int32 (n, 2), as above; may be memory-mapped.
    starts
        int64 (trees + 1,), where each tree begins (its root) and the last one ends.
    """

    nodes: Integers
    starts: NDArray[np.int64]
    columns: NDArray[np.bool_] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        """Note the columns that are read."""
        # Read-only and plain arrays wherever they come from: one type, compiled once.
        for name in ("nodes", "starts"):
            array = np.asarray(getattr(self, name)).view()
            array.flags.writeable = False
            object.__setattr__(self, name, array)
        columns = np.zeros(COLUMN + 1, bool)
        for begin in range(0, len(self.nodes), PART):  # not one more array of all nodes
            meta = self.nodes[begin : begin + PART, 1]
            columns[meta[meta != 0] & COLUMN] = True
        object.__setattr__(self, "columns", columns)

    @property
    def arrays(self) -> dict[str, NDArray[Any]]:
        """What is stored; `from_arrays` is the inverse."""
        return {"nodes": self.nodes, "starts": self.starts}

    @property
    def features(self) -> int:
        """Number of features that a row must have."""
        return (int(np.flatnonzero(self.columns).max(initial=-2)) >> 1) + 1


def order_keys(values: NDArray[np.floating[Any]]) -> Integers:
    """Return float32 values as int32 of the same order; both zeros are one, NaN is no number."""
    bits = (np.asarray(values, np.float32) + np.float32(0)).view(np.int32)
    return np.asarray(bits ^ ((bits >> 31) & FLIP))


def pack(
    feature: NDArray[np.integer[Any]],
    key: Integers,
    left: NDArray[np.integer[Any]],
    right: NDArray[np.integer[Any]],
    missing_left: NDArray[np.integer[Any]],
    value: NDArray[np.float32],
    roots: NDArray[np.integer[Any]],
) -> Trees:
    """Pack flat arrays of nodes.

    Parameters
    ----------
    feature
        The column that a node asks for; negative at a leaf.
    key
        int32, the largest key (`order_keys`) that goes left.
    left, right
        Index of the children in these arrays, behind their parent and in the same tree.
    missing_left
        1 where NaN goes left.
    value
        float32, the prediction of each leaf.
    roots
        Index of each tree's root, its first node; ascending from 0.

    Raises
    ------
    BundleError
        The arrays are no set of trees, or larger than a node can say.
    """
    arrays: tuple[NDArray[Any], ...] = (feature, key, left, right, missing_left, value)
    _require(all(array.shape == feature.shape == (feature.size,) for array in arrays))
    stops = np.append(roots[1:], feature.size).astype(np.int64)
    _require(roots.ndim == 1 and roots.size > 0 and bool(roots[0] == 0) and feature.size > 0)
    _require(bool(np.all(stops > roots)) and bool(feature.max() < MAX_FEATURES))
    nodes = np.empty((feature.size, 2), np.int32)
    starts = np.zeros(roots.size + 1, np.int64)
    for tree, (root, stop) in enumerate(zip(roots.tolist(), stops.tolist(), strict=True)):
        packed = _pack_tree(root, *(array[root:stop] for array in arrays))
        starts[tree + 1] = starts[tree] + len(packed)
        nodes[starts[tree] : starts[tree + 1]] = packed
    return Trees(nodes[: starts[-1]], starts)


def from_arrays(arrays: Mapping[str, NDArray[Any]]) -> Trees:
    """Return trees of the arrays ``nodes`` and ``starts`` if every walk through them ends.

    Raises
    ------
    BundleError
        The arrays are no set of trees; those of `pack` always are.
    """
    _require("nodes" in arrays and "starts" in arrays)
    nodes, starts = arrays["nodes"], arrays["starts"]
    _require(nodes.dtype == np.int32 and nodes.ndim == 2 and nodes.shape[1] == 2)
    _require(starts.dtype == np.int64 and starts.ndim == 1 and starts.size > 1)
    _require(bool(starts[0] == 0 and starts[-1] == len(nodes) and np.all(np.diff(starts) > 0)))
    for start, stop in zip(starts[:-1].tolist(), starts[1:].tolist(), strict=True):
        inner = np.flatnonzero(nodes[start:stop, 1])
        child = nodes[start:stop, 1][inner] >> COLUMN_BITS
        # Pairs behind their parents, each place but the root's taken once.
        _require(bool(np.all(child > inner)) and stop - start == 1 + 2 * inner.size)
        _require(np.array_equal(np.sort(child), 1 + 2 * np.arange(inner.size)))
    return Trees(nodes, starts)


def _pack_tree(
    root: int,
    feature: NDArray[np.integer[Any]],
    key: Integers,
    left: NDArray[np.integer[Any]],
    right: NDArray[np.integer[Any]],
    missing_left: NDArray[np.integer[Any]],
    value: NDArray[np.float32],
) -> Integers:
    inner = np.flatnonzero(feature >= 0)
    first = 1 + 2 * np.arange(inner.size)  # new places of the left children
    size = 1 + 2 * inner.size
    _require(size <= MAX_NODES)
    place = np.full(feature.size, -1)
    place[0] = 0
    for side, at in ((left, first), (right, first + 1)):
        child = side[inner].astype(np.int64) - root
        # Behind their parent and inside their tree: a traversal always ends, and never outside.
        _require(bool(np.all((child > inner) & (child < feature.size))))
        place[child] = at
    kept = np.flatnonzero(place >= 0)
    _require(kept.size == size)  # no child has two parents
    packed = np.zeros((size, 2), np.int32)
    packed[place[kept], 0] = np.ascontiguousarray(value, np.float32).view(np.int32)[kept]
    column = 2 * feature[inner].astype(np.int32) + (missing_left[inner] != 0)
    packed[place[inner], 0] = key[inner]
    packed[place[inner], 1] = (first << COLUMN_BITS) | column
    return packed


def _require(sound: bool) -> None:
    if not sound:
        raise BundleError(
            "the trees of this model are damaged, not a set of trees, or too large; "
            "take an intact copy of the bundle."
        )
