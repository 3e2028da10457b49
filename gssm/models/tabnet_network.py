"""A folded TabNet: few matrix products by BLAS, the rest by compiled loops; without torch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Float32Array = NDArray[np.float32]
Tensors = Mapping[str, Float32Array]


@dataclass(frozen=True, eq=False)
class Dense:
    """A gated linear layer: ``glu(x @ weight + bias)``.

    Parameters
    ----------
    weight, bias
        float32 (inputs, 2 outputs) and (2 outputs,).
    residual
        From which of its inputs on it adds these to its outputs, and scales the sum by the
        root of one half; -1 where it adds none.
    """

    weight: Float32Array
    bias: Float32Array
    residual: int


@dataclass(frozen=True, eq=False)
class Step:
    """A step of decision: what it attends to, and what it makes of it.

    Parameters
    ----------
    weight, bias
        Of the attention, float32 (attending, inputs) and (inputs,).
    layers
        Behind the masked inputs.
    """

    weight: Float32Array
    bias: Float32Array
    layers: tuple[Dense, ...]


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
        In their order.
    final
        Weights of the sum of decisions, (decide,). So many outputs of a step decide, and
        the rest attends.
    gamma
        How much an input may be attended to again.
    """

    gain: Float32Array
    offset: Float32Array
    first: tuple[Dense, ...]
    steps: tuple[Step, ...]
    final: Float32Array
    gamma: float

    def predict(self, inputs: Float32Array) -> Float32Array:
        """Standardised prediction (n,) for inputs (n, k), as `standardize` makes them."""
        from gssm.models.tabnet_kernels import attend, decide

        attention = _transform(inputs, self.first)
        prior, masked = np.ones_like(inputs), np.empty_like(inputs)
        total = np.zeros(len(inputs), np.float32)
        for step in self.steps:
            logits = attention @ step.weight
            attend(logits, step.bias, prior, inputs, np.float32(self.gamma), masked)
            output = _transform(masked, step.layers)
            decide(output, self.final, total)
            attention = output[:, self.final.size :]
        return total


def _transform(values: Float32Array, layers: tuple[Dense, ...]) -> Float32Array:
    from gssm.models.tabnet_kernels import gate

    for layer in layers:
        gated = np.empty((len(values), layer.bias.size // 2), np.float32)
        gate(values @ layer.weight, layer.bias, values, layer.residual, gated)
        values = gated
    return values


def build(tensors: Tensors, shape: Mapping[str, Any], inputs: int) -> Folded:
    """Put a network together from what `gssm.models.tabnet_fold.fold` returns.

    Parameters
    ----------
    tensors
        Its arrays by name; the large ones are used in place, mapped from disk or not.
    shape
        ``n_d``, ``n_a``, ``n_steps``, ``gamma``, ``n_independent`` and ``n_shared``.
    inputs
        Number of inputs.

    Raises
    ------
    KeyError, ValueError
        The arrays have not this shape, or are not finite.
    """
    decide, attend, steps = (int(shape[name]) for name in ("n_d", "n_a", "n_steps"))
    count = int(shape["n_shared"]) + int(shape["n_independent"])

    def layers(name: str, used: slice) -> tuple[Dense, ...]:
        parts = []
        for number in range(count):
            begin = 0 if number < count - 1 else used.start
            end = decide + attend if number < count - 1 else used.stop
            size = (inputs if number == 0 else decide + attend, 2 * (end - begin))
            weight, bias = _linear(tensors, f"{name}.{number}", size)
            parts.append(Dense(weight, bias, -1 if number == 0 else begin))
        return tuple(parts)

    behind = []
    for step in range(steps):
        weight, bias = _linear(tensors, f"step.{step}", (attend, inputs))
        behind.append(Step(weight, bias, layers(f"step.{step}", used_of(step, shape))))
    return Folded(
        _own(tensors, "gain", (inputs,)),
        _own(tensors, "offset", (inputs,)),
        layers("first", slice(decide, decide + attend)),
        tuple(behind),
        _own(tensors, "final", (decide,)),
        float(shape["gamma"]),
    )


def used_of(step: int, shape: Mapping[str, Any]) -> slice:
    """Return which outputs of a step are read: nothing attends to the last one's."""
    last = step == int(shape["n_steps"]) - 1
    return slice(0, int(shape["n_d"]) + (0 if last else int(shape["n_a"])))


def _linear(
    tensors: Tensors, name: str, shape: tuple[int, int]
) -> tuple[Float32Array, Float32Array]:
    weight = _checked(tensors, f"{name}.weight", shape)
    return weight, _own(tensors, f"{name}.bias", shape[1:])


def _own(tensors: Tensors, name: str, shape: tuple[int, ...]) -> Float32Array:
    # What compiled loops read can be written, whether it was mapped or not: one type.
    return _checked(tensors, name, shape).copy()


def _checked(tensors: Tensors, name: str, shape: tuple[int, ...]) -> Float32Array:
    array = tensors[name]
    if array.shape != shape or array.dtype != np.float32 or not np.isfinite(array).all():
        raise ValueError(f"{name} is {array.dtype} {array.shape} and not {shape}, or not finite")
    return array
