"""Random Forest, trained by scikit-learn.

Packed, saved as safetensors and traversed by compiled loops: no pickle, no scikit-learn
version to match, one thread.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from gssm.models.tensors import Buffer, views
from gssm.models.trees import Trees, from_arrays, order_keys, pack

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
    """Trees of which the mean is the prediction."""

    trees: Trees

    def predict(self, features: Float32Array) -> Float32Array:
        """Mean of the trees, float32 (n,), for float32 features (n, k); NaN is missing."""
        # Here, not above: numba takes longer to import than most scripts to run.
        from gssm.models.traverse import sums

        total = sums(self.trees, features, 0.0, np.float64)
        return np.asarray(total / (self.trees.starts.size - 1), np.float32)

    @property
    def params(self) -> dict[str, Any]:
        """Plain JSON: what the bytes alone do not say (nothing)."""
        return {}

    def to_bytes(self) -> bytes:
        """Return the trees as safetensors."""
        from safetensors.numpy import save

        return bytes(save(self.trees.arrays))

    @classmethod
    def from_bytes(cls, data: Buffer, params: Mapping[str, Any]) -> Forest:
        """Inverse of `to_bytes`; what would lead a traversal astray is refused."""
        return cls(from_arrays(views(data)))


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
    roots = np.concatenate([[0], np.cumsum(sizes)[:-1]])
    for tree, root in zip(trees, roots, strict=True):
        for side in ("left", "right"):
            tree[side] = np.where(tree[side] == LEAF, LEAF, tree[side] + root)
    return from_nodes(
        **{name: np.concatenate([tree[name] for tree in trees]) for name in trees[0]}, roots=roots
    )


def from_nodes(
    feature: NDArray[np.integer[Any]],
    threshold: Float32Array,
    left: NDArray[np.integer[Any]],
    right: NDArray[np.integer[Any]],
    missing_left: NDArray[np.integer[Any]],
    value: Float32Array,
    roots: NDArray[np.integer[Any]],
) -> Forest:
    """Make a forest of flat arrays, as `gssm.models.trees.pack` reads them.

    A value goes left up to and including `threshold`.
    """
    key = order_keys(threshold)
    return Forest(pack(feature, key, left, right, missing_left, value, roots))


def _export(estimator: DecisionTreeRegressor) -> dict[str, NDArray[Any]]:
    tree = estimator.tree_
    leaf = tree.children_left == LEAF
    return {
        "feature": np.where(leaf, LEAF, tree.feature).astype(np.int16),
        "threshold": round_down(np.where(leaf, 0.0, tree.threshold)),
        "left": tree.children_left,
        "right": tree.children_right,
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
