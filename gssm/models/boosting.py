"""Gradient-boosted trees, trained by XGBoost.

Saved as packed trees, which compiled loops traverse, beside XGBoost's own UBJ, from which
they can be checked and which any tool for such models reads. No pickle, and XGBoost itself
is needed to train only.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from gssm.errors import BundleError
from gssm.models import ubj
from gssm.models.tensors import Buffer, views
from gssm.models.trees import Trees, from_arrays, order_keys, pack

if TYPE_CHECKING:
    import xgboost

Float32Array = NDArray[np.float32]


@dataclass(frozen=True)
class BoostingParams:
    """Hyper-parameters, as XGBoost defines them."""

    rounds: int = 200
    max_depth: int = 6
    learning_rate: float = 0.03
    subsample: float = 0.6
    colsample_bytree: float = 0.3
    min_child_weight: float = 50.0
    reg_lambda: float = 5.0


@dataclass(frozen=True, eq=False)
class Boosting:
    """Boosted trees.

    Parameters
    ----------
    trees
        Of which the sum is the prediction.
    base
        What the sum begins with (m3 m-3).
    ubj
        The model as XGBoost saves it.
    """

    trees: Trees
    base: float
    ubj: Buffer = field(repr=False)

    @cached_property
    def booster(self) -> xgboost.Booster:
        """The same model as XGBoost's own object, for one thread."""
        import xgboost

        booster = xgboost.Booster()
        booster.load_model(bytearray(self.ubj))
        # Once, here: set_param is not safe while other threads use the booster.
        booster.set_param({"nthread": 1})
        return booster

    def predict(self, features: Float32Array) -> Float32Array:
        """Prediction, float32 (n,), for float32 features (n, k); NaN is missing."""
        # Here, not above: numba takes longer to import than most scripts to run.
        from gssm.models.traverse import sums

        # float32 from tree to tree, as XGBoost adds.
        return np.asarray(sums(self.trees, features, self.base, np.float32))

    def gains(self, features: int) -> NDArray[np.float64]:
        """Mean gain of the splits on each of so many features, (features,); 0 if never used."""
        gains = np.zeros(features)
        for name, gain in self.booster.get_score(importance_type="gain").items():
            gains[int(name.removeprefix("f"))] = gain
        return gains

    @property
    def params(self) -> dict[str, Any]:
        """Plain JSON: what the sum begins with."""
        return {"base": self.base}

    def to_bytes(self) -> bytes:
        """Return the trees and the UBJ as safetensors."""
        from safetensors.numpy import save

        return bytes(save(self.trees.arrays | {"ubj": np.frombuffer(self.ubj, np.uint8)}))

    @classmethod
    def from_bytes(cls, data: Buffer, params: Mapping[str, Any]) -> Boosting:
        """Inverse of `to_bytes`; what would lead a traversal astray is refused."""
        arrays = views(data)
        return cls(from_arrays(arrays), float(params["base"]), arrays["ubj"].data)


def from_ubj(data: bytes) -> Boosting:
    """Read a model as XGBoost saves it.

    Raises
    ------
    BundleError
        The bytes are damaged, or the model is no plain regression by trees.
    """
    # A UBJ model is an object; anything else is not worth reading.
    if not data.startswith(b"{"):
        raise BundleError(
            "the XGBoost member of this model is not UBJ; take an intact copy of the bundle."
        )
    return Boosting(*read_trees(data), data)


def read_trees(data: bytes) -> tuple[Trees, float]:
    """Read the trees of a UBJ model of XGBoost, and what their sum begins with.

    Raises
    ------
    BundleError
        The bytes are damaged, or the model is no plain regression by trees.
    """
    model = ubj.decode(data)
    try:
        learner = model["learner"]
        booster, shape = learner["gradient_booster"], learner["learner_model_param"]
        trees = booster["model"]["trees"]
        plain = (
            booster["name"] == "gbtree"
            and learner["objective"]["name"] == "reg:squarederror"
            and int(shape.get("num_target", 1)) == 1
            and len(trees) > 0
            and not any(len(tree["categories"]) for tree in trees)
        )
        base = float(str(shape["base_score"]).strip("[]"))
        packed = _pack(trees) if plain else None
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise BundleError(
            f"the XGBoost member of this model lacks what a model has ({error!r}); "
            "take an intact copy of the bundle."
        ) from error
    if packed is None:
        raise BundleError(
            "the XGBoost member of this model is not a regression by numeric trees "
            "(gbtree, reg:squarederror, one target); train it with gssm.train."
        )
    return packed, base


def _pack(trees: list[dict[str, Any]]) -> Trees:
    columns = {
        name: np.concatenate([np.asarray(tree[name]) for tree in trees])
        for name in (
            *("left_children", "right_children", "split_indices"),
            *("split_conditions", "default_left"),
        )
    }
    sizes = [len(tree["left_children"]) for tree in trees]
    roots = np.concatenate([[0], np.cumsum(sizes)[:-1]])
    # Children are counted within their tree, and a leaf has none.
    shift = np.repeat(roots, sizes)
    leaf = columns["left_children"] < 0
    conditions = columns["split_conditions"].astype(np.float32)
    return pack(
        feature=np.where(leaf, -1, columns["split_indices"]),
        # Strictly below the condition goes left: the largest key that does is one less.
        key=order_keys(conditions) - np.int32(1),
        left=columns["left_children"] + shift,
        right=columns["right_children"] + shift,
        missing_left=columns["default_left"],
        value=conditions,
        roots=roots,
    )


def fit(
    features: Float32Array, target: Float32Array, params: BoostingParams, seed: int
) -> Boosting:
    """Train on float32 features (n, k), NaN for missing, and target (n,)."""
    import xgboost

    matrix = xgboost.DMatrix(features, label=target, missing=np.nan, nthread=1)
    options = {
        "objective": "reg:squarederror",
        "tree_method": "hist",
        "max_depth": params.max_depth,
        "learning_rate": params.learning_rate,
        "subsample": params.subsample,
        "colsample_bytree": params.colsample_bytree,
        "min_child_weight": params.min_child_weight,
        "reg_lambda": params.reg_lambda,
        "seed": seed,
        # One thread: sums in one order, the same trees on every machine of a kind.
        "nthread": 1,
        "verbosity": 0,
    }
    booster = xgboost.train(options, matrix, num_boost_round=params.rounds)
    return from_ubj(bytes(booster.save_raw("ubj")))
