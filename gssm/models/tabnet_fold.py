"""A trained TabNet as the fewest matrix products that give the same numbers.

In evaluation batch normalisation is linear and goes into the weights before it. Of the last
layer of each step only what the next one reads is computed.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    import torch

Float32Array = NDArray[np.float32]
State = Mapping[str, NDArray[Any]]

# Added to variances by torch's batch normalisation.
EPSILON = 1e-5
RESIDUAL = np.float32(np.sqrt(0.5))
ENCODER = "tabnet.encoder"


@dataclass(frozen=True, eq=False)
class Dense:
    """A gated linear layer: ``glu(x @ weight + bias)``, added to `x` where it is a residual.

    Parameters
    ----------
    weight, bias
        float32 (inputs, 2 outputs) and (2 outputs,).
    residual
        Where in its inputs those lie that are added to its outputs; None for the first.
    """

    weight: torch.Tensor
    bias: torch.Tensor
    residual: slice | None


@dataclass(frozen=True, eq=False)
class Folded:
    """The network without its normalisations.

    Parameters
    ----------
    gain, offset
        First normalisation, of the inputs, float32 (inputs,).
    first
        Layers from the inputs to the first attention.
    steps
        Of each step, weight and bias of the attention, and layers behind it.
    decide
        Width of the part of a step's output that decides; the rest attends.
    final
        Weights of the sum of decisions, (decide, 1).
    """

    gain: Float32Array
    offset: Float32Array
    first: tuple[Dense, ...]
    steps: tuple[tuple[torch.Tensor, torch.Tensor, tuple[Dense, ...]], ...]
    decide: int
    gamma: float
    final: torch.Tensor

    def predict(self, inputs: torch.Tensor) -> torch.Tensor:
        """Standardised prediction (n,) for inputs (n, k), as `standardize` makes them."""
        import torch

        from gssm.models.tabnet_kernels import attend

        attention = _transform(inputs, self.first)
        prior, masked = torch.ones_like(inputs), torch.empty_like(inputs)
        decided = inputs.new_zeros((len(inputs), self.decide))
        for weight, bias, layers in self.steps:
            logits = torch.addmm(bias, attention, weight)
            arrays = [tensor.numpy() for tensor in (logits, prior, inputs)]
            attend(*arrays, np.float32(self.gamma), masked.numpy())
            output = _transform(masked, layers)
            decided += output[:, : self.decide].relu()
            attention = output[:, self.decide :]
        return (decided @ self.final)[:, 0]


def _transform(values: torch.Tensor, layers: tuple[Dense, ...]) -> torch.Tensor:
    import torch

    for layer in layers:
        gated = torch.nn.functional.glu(torch.addmm(layer.bias, values, layer.weight))
        if layer.residual is not None:
            gated.add_(values[:, layer.residual]).mul_(float(RESIDUAL))
        values = gated
    return values


def fold(state: State, shape: Mapping[str, Any], inputs: int) -> Folded:
    """Fold a state of `pytorch_tabnet.tab_network.TabNet`.

    Parameters
    ----------
    state
        Its state dict.
    shape
        ``n_d``, ``n_a``, ``n_steps``, ``gamma``, ``n_independent`` and ``n_shared``.
    inputs
        Number of inputs.

    Raises
    ------
    KeyError, ValueError
        The state has not this shape, or is not finite.
    """
    import torch

    decide, steps = int(shape["n_d"]), int(shape["n_steps"])
    width = decide + int(shape["n_a"])
    gain, offset = _normalization(state, f"{ENCODER}.initial_bn", inputs)
    behind = []
    for step in range(steps):
        attention = f"{ENCODER}.att_transformers.{step}"
        weight, bias = _linear(state, attention, (inputs, width - decide))
        # Nothing attends to the last step.
        used = slice(0, width) if step < steps - 1 else slice(0, decide)
        layers = _layers(state, f"{ENCODER}.feat_transformers.{step}", shape, inputs, used)
        behind.append((weight, bias, layers))
    first = _layers(state, f"{ENCODER}.initial_splitter", shape, inputs, slice(decide, width))
    final = _array(state, "tabnet.final_mapping.weight", (1, decide))
    return Folded(
        gain,
        offset,
        first,
        tuple(behind),
        decide,
        float(shape["gamma"]),
        torch.from_numpy(np.ascontiguousarray(final.T)),
    )


def _layers(
    state: State, name: str, shape: Mapping[str, Any], inputs: int, used: slice
) -> tuple[Dense, ...]:
    """Gated layers of one feature transformer; of the last, only the outputs that are used."""
    width = int(shape["n_d"]) + int(shape["n_a"])
    blocks = (("shared", int(shape["n_shared"])), ("specifics", int(shape["n_independent"])))
    names = [f"{name}.{block}.glu_layers.{i}" for block, count in blocks for i in range(count)]
    layers = []
    for number, layer in enumerate(names):
        weight, bias = _linear(state, layer, (2 * width, inputs if number == 0 else width))
        kept = used if number == len(names) - 1 else slice(0, width)
        columns = np.r_[kept, slice(kept.start + width, kept.stop + width)]
        layers.append(
            Dense(
                weight[:, columns].contiguous(),
                bias[columns].contiguous(),
                None if number == 0 else kept,
            )
        )
    return tuple(layers)


def _linear(state: State, name: str, shape: tuple[int, int]) -> tuple[torch.Tensor, torch.Tensor]:
    """Weight (inputs, outputs) and bias (outputs,) of a linear layer and its normalisation."""
    import torch

    gain, offset = _normalization(state, f"{name}.bn.bn", shape[0])
    weight = _array(state, f"{name}.fc.weight", shape).astype(np.float64) * gain[:, None]
    folded = np.ascontiguousarray(weight.T.astype(np.float32))
    return torch.from_numpy(folded), torch.from_numpy(offset)


def _normalization(state: State, name: str, size: int) -> tuple[Float32Array, Float32Array]:
    parts = ("weight", "bias", "running_mean", "running_var")
    weight, bias, mean, variance = (
        _array(state, f"{name}.{part}", (size,)).astype(np.float64) for part in parts
    )
    if not (variance >= 0).all():
        raise ValueError(f"{name} has a negative variance")
    gain = weight / np.sqrt(variance + EPSILON)
    return gain.astype(np.float32), (bias - mean * gain).astype(np.float32)


def _array(state: State, name: str, shape: tuple[int, ...]) -> NDArray[Any]:
    array = np.asarray(state[name])
    if array.shape != shape or not np.isfinite(array).all():
        raise ValueError(f"{name} is {array.shape} and not {shape}, or is not finite")
    return array
