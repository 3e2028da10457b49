"""Gradient-boosted trees: XGBoost, saved as UBJ and read without pickle."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from gssm.errors import BundleError

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


@dataclass(frozen=True)
class Boosting:
    """A booster, kept with the bytes that it was read from."""

    ubj: bytes = field(repr=False)
    booster: xgboost.Booster = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        """Read the bytes."""
        import xgboost

        # A UBJ model is an object; anything else never reaches XGBoost's readers.
        if not self.ubj.startswith(b"{"):
            raise BundleError(
                "the XGBoost member of this model is not UBJ; take an intact copy of the bundle."
            )
        booster = xgboost.Booster()
        booster.load_model(bytearray(self.ubj))
        # Once, here: set_param is not safe while other threads predict, and Dask owns
        # the cores.
        booster.set_param({"nthread": 1})
        object.__setattr__(self, "booster", booster)

    def predict(self, features: Float32Array) -> Float32Array:
        """Prediction, float32 (n,), for float32 features (n, k); NaN is missing."""
        features = np.ascontiguousarray(features, dtype=np.float32)
        return np.asarray(self.booster.inplace_predict(features), dtype=np.float32)

    def gains(self, features: int) -> NDArray[np.float64]:
        """Mean gain of the splits on each of so many features, (features,); 0 if never used."""
        gains = np.zeros(features)
        for name, gain in self.booster.get_score(importance_type="gain").items():
            gains[int(name.removeprefix("f"))] = gain
        return gains

    @property
    def params(self) -> dict[str, Any]:
        """Plain JSON: what the bytes alone do not say (nothing)."""
        return {}

    def to_bytes(self) -> bytes:
        """Return the model as UBJ."""
        return self.ubj

    @classmethod
    def from_bytes(cls, data: bytes, params: Mapping[str, Any]) -> Boosting:
        """Inverse of `to_bytes`."""
        return cls(data)


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
    return Boosting(bytes(booster.save_raw("ubj")))
