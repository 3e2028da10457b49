"""Random Forest as flat arrays.

Trained by scikit-learn, exported to arrays, saved as safetensors and traversed by
compiled loops: no pickle, no scikit-learn version to match, one thread.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from gssm.models.trees import Trees, order_keys, pack

if TYPE_CHECKING:
    from sklearn.ensemble import RandomForestRegressor
    from sklearn.tree import DecisionTreeRegressor

Float32Array = NDArray[np.float32]

LEAF = -1


@dataclass(frozen=True)
class ForestParams:
    """Hyper-parameters, as scikit-learn's `RandomForestRegressor` defines them."""

    trees: int = 100
    max_depth: int | None = None
    min_samples_split: int = 2
    min_samples_leaf: int = 20
    max_features: float = 0.33
    max_samples: float | None = None


@dataclass(frozen=True, eq=False)
class Forest:
    """All trees of a forest, node by node, one tree after the other.

    Parameters
    ----------
    feature
        int16, the column that the node splits on; -1 at a leaf.
    threshold
        float32, a value up to and including it goes left.
    left, right
        int32, index of the child in these arrays; -1 at a leaf.
    missing_left
        uint8, 1 where NaN goes left.
    value
        float32, the prediction of the node (m3 m-3).
    roots
        int32, index of each tree's root.
    """

    feature: NDArray[np.int16]
    threshold: NDArray[np.float32]
    left: NDArray[np.int32]
    right: NDArray[np.int32]
    missing_left: NDArray[np.uint8]
    value: NDArray[np.float32]
    roots: NDArray[np.int32]

    trees: Trees = field(init=False, repr=False)

    def __post_init__(self) -> None:
        """Pack the trees; arrays that are none are refused."""
        arrays = {item.name: getattr(self, item.name) for item in STORED}
        key = order_keys(arrays.pop("threshold"))
        object.__setattr__(self, "trees", pack(key=key, **arrays))

    def predict(self, features: Float32Array) -> Float32Array:
        """Mean of the trees, float32 (n,), for float32 features (n, k); NaN is missing."""
        # Here, not above: numba takes longer to import than most scripts to run.
        from gssm.models.traverse import sums

        total = sums(self.trees, features, 0.0, np.float64)
        return np.asarray(total / self.roots.size, np.float32)

    @property
    def params(self) -> dict[str, Any]:
        """Plain JSON: what the bytes alone do not say (nothing)."""
        return {}

    def to_bytes(self) -> bytes:
        """Return the arrays as safetensors."""
        from safetensors.numpy import save

        return bytes(save({item.name: getattr(self, item.name) for item in STORED}))

    @classmethod
    def from_bytes(cls, data: bytes, params: Mapping[str, Any]) -> Forest:
        """Inverse of `to_bytes`; arrays that would lead a traversal astray are refused."""
        from safetensors.numpy import load

        arrays = load(data)
        return cls(**{item.name: arrays[item.name] for item in STORED})


# What is stored, under these names.
STORED = tuple(item for item in fields(Forest) if item.init)


def fit(features: Float32Array, target: Float32Array, params: ForestParams, seed: int) -> Forest:
    """Train a forest on float32 features (n, k), NaN for missing, and target (n,)."""
    from sklearn.ensemble import RandomForestRegressor

    options = asdict(params)
    forest = RandomForestRegressor(
        n_estimators=options.pop("trees"),
        random_state=seed,
        # Each tree has its own seed: the number of threads does not change the result.
        n_jobs=2,
        **options,
    )
    return from_sklearn(forest.fit(features, target))


def from_sklearn(forest: RandomForestRegressor) -> Forest:
    """Export a fitted single-output scikit-learn forest."""
    trees = [_export(estimator) for estimator in forest.estimators_]
    sizes = [tree["feature"].size for tree in trees]
    roots = np.concatenate([[0], np.cumsum(sizes)[:-1]]).astype(np.int32)
    for tree, root in zip(trees, roots, strict=True):
        for side in ("left", "right"):
            tree[side] = np.where(tree[side] == LEAF, LEAF, tree[side] + root).astype(np.int32)
    merged = {name: np.concatenate([tree[name] for tree in trees]) for name in trees[0]}
    return Forest(**merged, roots=roots)


def _export(estimator: DecisionTreeRegressor) -> dict[str, NDArray[Any]]:
    tree = estimator.tree_
    leaf = tree.children_left == LEAF
    return {
        "feature": np.where(leaf, LEAF, tree.feature).astype(np.int16),
        "threshold": round_down(np.where(leaf, 0.0, tree.threshold)),
        "left": tree.children_left.astype(np.int32),
        "right": tree.children_right.astype(np.int32),
        "missing_left": tree.missing_go_to_left.astype(np.uint8),
        "value": tree.value[:, 0, 0].astype(np.float32),
    }


def round_down(threshold: NDArray[np.float64]) -> Float32Array:
    """Largest float32 not above each value.

    scikit-learn compares float32 features with float64 thresholds by ``<=``; with the
    threshold rounded down, every float32 feature takes the same side.
    """
    rounded = threshold.astype(np.float32)
    above = rounded.astype(np.float64) > threshold
    return np.where(above, np.nextafter(rounded, np.float32(-np.inf)), rounded)
