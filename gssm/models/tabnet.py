"""TabNet (Arik and Pfister 2021, doi 10.1609/aaai.v35i8.16826).

Trained by pytorch_tabnet, the only user of torch; folded, and saved as safetensors and
plain JSON. Neither ``torch.load`` nor pytorch_tabnet's own archive, both of which unpickle,
is used.
"""

from __future__ import annotations

import threading
import warnings
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gssm.errors import BundleError
from gssm.models.blas import single_thread
from gssm.models.tabnet_network import Folded, build
from gssm.models.tensors import Buffer, views

Float32Array = NDArray[np.float32]

# Standard deviations beyond which an input says no more; a cloud that slipped through
# a mask is 20 away and would throw a network anywhere.
CLIP = 5.0
# Two features are missing together if they differ in that at so few rows: each indicator
# is one more input to attend to, and a sensor's bands would bring a dozen that say the same.
TOGETHER = 0.1
# Rows per forward pass, always just so many: for other shapes BLAS sums in another
# order, and the value of a pixel would depend on the chunk that it is in. Large enough
# that two threads seldom wait for the interpreter's lock (1.7 times the speed of one,
# with 1024 rows 1.5).
BATCH = 4096
# torch has one random generator per process: two fits in threads would share it.
_FITTING = threading.Lock()
# What fixes the network's layers; all that a manifest can say of it.
SHAPE = ("n_d", "n_a", "n_steps", "gamma", "n_independent", "n_shared")


@dataclass(frozen=True)
class TabNetParams:
    """Hyper-parameters, as pytorch_tabnet defines them, and the training schedule."""

    n_d: int = 8
    n_a: int = 8
    n_steps: int = 3
    gamma: float = 1.3
    n_independent: int = 1
    n_shared: int = 1
    lambda_sparse: float = 1e-4
    learning_rate: float = 0.01
    decay: float = 0.9
    weight_decay: float = 0.0
    epochs: int = 20
    batch_size: int = 1024
    virtual_batch_size: int = 128


@dataclass(frozen=True, eq=False)
class Scaling:
    """How raw features become inputs of the network, learned from training rows only.

    Parameters
    ----------
    median, mean, scale
        Per feature, float32 (k,): what replaces NaN, and the standardisation.
    indicators
        int64, features that can be missing, one of those that are missing together: each
        adds an input, 1 where missing.
    target
        Mean and standard deviation of the target (m3 m-3), float32 (2,).
    """

    median: Float32Array
    mean: Float32Array
    scale: Float32Array
    indicators: NDArray[np.int64]
    target: Float32Array

    @classmethod
    def learn(cls, features: Float32Array, target: Float32Array) -> Scaling:
        """Learn from raw features (n, k) and target (n,)."""
        missing = np.isnan(features)
        known = ~missing.all(axis=0)
        median = np.zeros(features.shape[1], dtype=np.float32)
        median[known] = np.nanmedian(features[:, known], axis=0)
        filled = np.where(missing, median, features).astype(np.float64)
        scale = filled.std(axis=0)
        return cls(
            median=median,
            mean=filled.mean(axis=0).astype(np.float32),
            scale=np.where(scale > 0, scale, 1).astype(np.float32),
            # A feature that is always missing says nothing by being so.
            indicators=_distinct(missing, np.flatnonzero(missing.any(axis=0) & known)),
            target=np.array([target.mean(), target.std()], dtype=np.float32),
        )

    def inputs(self, features: Float32Array) -> Float32Array:
        """Return float32 (n, input_dim) without NaN for raw features (n, k)."""
        missing = np.isnan(features)
        filled = np.where(missing, self.median, features)
        scaled = np.clip((filled - self.mean) / self.scale, -CLIP, CLIP)
        return np.concatenate([scaled, missing[:, self.indicators]], axis=1, dtype=np.float32)

    @property
    def input_dim(self) -> int:
        """Number of inputs of the network."""
        return int(self.median.size + self.indicators.size)


def _distinct(missing: NDArray[np.bool_], features: NDArray[np.int64]) -> NDArray[np.int64]:
    """Of features that are missing together (the bands of a sensor), keep the first."""
    kept: list[int] = []
    for feature in features:
        if all(np.mean(missing[:, feature] != missing[:, k]) > TOGETHER for k in kept):
            kept.append(int(feature))
    return np.array(kept, dtype=np.int64)


@dataclass(frozen=True, eq=False)
class TabNet:
    """A trained network with its scaling.

    Parameters
    ----------
    scaling
        Raw features to inputs.
    tensors
        The network's arrays, as `gssm.models.tabnet_fold.fold` returns them.
    shape
        Arguments of `pytorch_tabnet.tab_network.TabNet` that fix its layers (`SHAPE`).
    """

    scaling: Scaling
    tensors: Mapping[str, Float32Array]
    shape: Mapping[str, Any]
    network: Folded = field(init=False, repr=False)

    def __post_init__(self) -> None:
        """Build the network, which also checks that its weights have its shape."""
        try:
            network = build(self.tensors, self.shape, self.scaling.input_dim)
        except (LookupError, TypeError, ValueError) as error:
            raise BundleError(
                "the weights of the TabNet member do not fit its shape in the manifest; "
                "take an intact copy of the bundle."
            ) from error
        object.__setattr__(self, "network", network)

    def predict(self, features: Float32Array) -> Float32Array:
        """Prediction, float32 (n,), for float32 features (n, k); NaN is missing."""
        # Here, not above: numba takes longer to import than most scripts to run.
        from gssm.models.tabnet_kernels import standardize

        features = np.ascontiguousarray(features, dtype=np.float32)
        result = np.empty(len(features), dtype=np.float32)
        known, network = self.scaling, self.network
        mean, scale = known.target
        learnt = (known.median, known.mean, known.scale, np.float32(CLIP), known.indicators)
        inputs = np.zeros((BATCH, known.input_dim), np.float32)
        with single_thread():
            for start in range(0, len(features), BATCH):
                rows = features[start : start + BATCH]
                standardize(rows, *learnt, network.gain, network.offset, inputs[: len(rows)])
                output = network.predict(inputs)
                result[start : start + BATCH] = output[: len(rows)] * scale + mean
        return result

    @property
    def params(self) -> dict[str, Any]:
        """Plain JSON: the shape of the network, which the bytes alone do not say."""
        return dict(self.shape)

    def to_bytes(self) -> bytes:
        """Return network and scaling as safetensors."""
        from safetensors.numpy import save

        tensors: dict[str, Any] = {f"network.{name}": v for name, v in self.tensors.items()}
        tensors |= {f"scaling.{name}": value for name, value in vars(self.scaling).items()}
        return bytes(save(tensors))

    @classmethod
    def from_bytes(cls, data: Buffer, params: Mapping[str, Any]) -> TabNet:
        """Inverse of `to_bytes`."""
        parts: dict[str, dict[str, Any]] = {"network": {}, "scaling": {}}
        for name, array in views(data).items():
            part, _, key = name.partition(".")
            parts[part][key] = array
        # Copies of what is small: compiled loops take arrays that can be written.
        scaling = Scaling(**{name: array.copy() for name, array in parts["scaling"].items()})
        return cls(scaling, parts["network"], params)


def fit(features: Float32Array, target: Float32Array, params: TabNetParams, seed: int) -> TabNet:
    """Train on float32 features (n, k), NaN for missing, and target (n,).

    A fixed number of epochs with a decaying learning rate: early stopping would need
    rows to stop on, and the paper's stopped on the rows that it was scored on.
    """
    from gssm.models.tabnet_fold import fold

    scaling = Scaling.learn(features, target)
    shape = {name: getattr(params, name) for name in SHAPE}
    state = train_network(scaling, features, target, params, seed)
    return TabNet(scaling, fold(state, shape), shape)


def train_network(
    scaling: Scaling, features: Float32Array, target: Float32Array, params: TabNetParams, seed: int
) -> dict[str, NDArray[Any]]:
    """Train as `fit` does; return the state of `pytorch_tabnet.tab_network.TabNet`."""
    import torch

    mean, scale = scaling.target
    scaled = ((target - mean) / scale).astype(np.float32)[:, None]
    with _FITTING:
        threads = torch.get_num_threads()
        torch.set_num_threads(1)  # sums in one order, so that the seed decides everything
        try:
            with torch.random.fork_rng(devices=[]):
                return _train(scaling.inputs(features), scaled, params, seed)
        finally:
            torch.set_num_threads(threads)


def _train(
    inputs: Float32Array, target: Float32Array, params: TabNetParams, seed: int
) -> dict[str, NDArray[Any]]:
    import torch

    with warnings.catch_warnings():
        # pytorch_tabnet imports from a place that SciPy has deprecated.
        warnings.filterwarnings("ignore", "Please import `spmatrix`", DeprecationWarning)
        from pytorch_tabnet.tab_model import TabNetRegressor

    options = asdict(params)
    epochs, virtual = options.pop("epochs"), options.pop("virtual_batch_size")
    # A table smaller than a batch would otherwise leave no batch at all.
    batch = min(options.pop("batch_size"), len(inputs))
    optimizer = {"lr": options.pop("learning_rate"), "weight_decay": options.pop("weight_decay")}
    decay = options.pop("decay")
    regressor = TabNetRegressor(
        **options,
        seed=seed,
        optimizer_params=optimizer,
        scheduler_fn=torch.optim.lr_scheduler.ExponentialLR,
        scheduler_params={"gamma": decay},
        device_name="cpu",
        verbose=0,
    )
    with warnings.catch_warnings():
        # pytorch_tabnet says so at every fit without a validation set; none is wanted.
        warnings.filterwarnings("ignore", message="No early stopping will be performed")
        regressor.fit(
            inputs,
            target,
            max_epochs=epochs,
            patience=0,
            batch_size=batch,
            virtual_batch_size=min(virtual, batch),
            compute_importance=False,
        )
    state = regressor.network.state_dict()
    return {name: tensor.detach().numpy().copy() for name, tensor in state.items()}
