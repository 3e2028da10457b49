"""A trained TabNet as the fewest matrix products that give the same numbers.

In evaluation batch normalisation is linear and goes into the weights before it. Of the last
layer of each step only what the next one reads is kept.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gssm.models.tabnet_network import used_of

Float32Array = NDArray[np.float32]
State = Mapping[str, NDArray[Any]]

# Added to variances by torch's batch normalisation.
EPSILON = 1e-5
ENCODER = "tabnet.encoder"


def fold(state: State, shape: Mapping[str, Any]) -> dict[str, Float32Array]:
    """Fold a state of `pytorch_tabnet.tab_network.TabNet`.

    Parameters
    ----------
    state
        Its state dict.
    shape
        ``n_d``, ``n_a``, ``n_steps``, ``n_independent`` and ``n_shared``.

    Returns
    -------
    dict
        Arrays by name, as `gssm.models.tabnet_network.build` reads them.
    """
    decide, width = int(shape["n_d"]), int(shape["n_d"]) + int(shape["n_a"])
    tensors = dict(_normalization(state, f"{ENCODER}.initial_bn"))
    tensors["final"] = np.ascontiguousarray(state["tabnet.final_mapping.weight"][0])
    first = f"{ENCODER}.initial_splitter"
    tensors |= _layers(state, first, shape, "first", slice(decide, width))
    for step in range(int(shape["n_steps"])):
        into = f"step.{step}"
        tensors |= _linear(state, f"{ENCODER}.att_transformers.{step}", into, slice(None))
        transformer = f"{ENCODER}.feat_transformers.{step}"
        tensors |= _layers(state, transformer, shape, into, used_of(step, shape))
    return tensors


def _layers(
    state: State, name: str, shape: Mapping[str, Any], into: str, used: slice
) -> dict[str, Float32Array]:
    """Gated layers of one feature transformer; of the last, only the outputs that are used."""
    width = int(shape["n_d"]) + int(shape["n_a"])
    blocks = (("shared", int(shape["n_shared"])), ("specifics", int(shape["n_independent"])))
    names = [f"{name}.{block}.glu_layers.{i}" for block, count in blocks for i in range(count)]
    tensors: dict[str, Float32Array] = {}
    for number, layer in enumerate(names):
        kept = used if number == len(names) - 1 else slice(0, width)
        columns = np.r_[kept, slice(kept.start + width, kept.stop + width)]
        tensors |= _linear(state, layer, f"{into}.{number}", columns)
    return tensors


def _linear(
    state: State, name: str, into: str, columns: slice | NDArray[np.int64]
) -> dict[str, Float32Array]:
    """Weight (inputs, outputs) and bias (outputs,) of a linear layer and its normalisation."""
    norm = _normalization(state, f"{name}.bn.bn")
    weight = state[f"{name}.fc.weight"].astype(np.float64) * norm["gain"][:, None]
    return {
        f"{into}.weight": np.ascontiguousarray(weight.T.astype(np.float32)[:, columns]),
        f"{into}.bias": np.ascontiguousarray(norm["offset"][columns]),
    }


def _normalization(state: State, name: str) -> dict[str, Float32Array]:
    weight, bias, mean, variance = (
        state[f"{name}.{part}"].astype(np.float64)
        for part in ("weight", "bias", "running_mean", "running_var")
    )
    gain = weight / np.sqrt(variance + EPSILON)
    return {
        "gain": gain.astype(np.float32),
        "offset": (bias - mean * gain).astype(np.float32),
    }
