"""The folded network against the one that was trained."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gssm.errors import BundleError
from gssm.models import tabnet
from gssm.models.tabnet import TabNet, TabNetParams

SHAPES = (
    {"n_shared": 1, "n_independent": 1, "n_steps": 3},
    {"n_shared": 2, "n_independent": 2, "n_steps": 2, "n_d": 6, "n_a": 3},
    {"n_shared": 0, "n_independent": 2, "n_steps": 1},
    {"n_shared": 2, "n_independent": 0, "n_steps": 2},
    {"n_shared": 1, "n_independent": 0, "n_steps": 2, "n_d": 2, "n_a": 5},
)


def _table(rows: int = 600) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    features = rng.normal(size=(rows, 7)).astype(np.float32)
    target = (0.2 + 0.05 * features[:, 0] + 0.03 * features[:, 1] ** 2).astype(np.float32)
    features[rng.random(features.shape) < 0.1] = np.nan
    return features, target


def _params(shape: dict[str, int]) -> TabNetParams:
    return TabNetParams(epochs=2, batch_size=128, virtual_batch_size=64, **shape)


def _fit(shape: dict[str, int]) -> TabNet:
    return tabnet.fit(*_table(), _params(shape), seed=0)


def _stock(member: TabNet, state: Mapping[str, np.ndarray], features: np.ndarray) -> np.ndarray:
    """What pytorch_tabnet computes, in its own evaluation mode."""
    import torch
    from pytorch_tabnet.tab_network import TabNet as Network

    size = member.scaling.input_dim
    network = Network(
        size,
        1,
        virtual_batch_size=1 << 30,
        group_attention_matrix=torch.eye(size),
        **{name: member.shape[name] for name in tabnet.SHAPE},
    )
    network.load_state_dict({n: torch.from_numpy(np.array(v)) for n, v in state.items()})
    with torch.inference_mode():
        output, _ = network.eval()(torch.from_numpy(member.scaling.inputs(features)))
    mean, scale = member.scaling.target
    return output[:, 0].numpy() * scale + mean


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_folded_network_predicts_what_it_was_folded_from(shape: dict[str, int]) -> None:
    member = _fit(shape)
    state = tabnet.train_network(member.scaling, *_table(), _params(shape), seed=0)
    features, _ = _table(1500)
    features[0] = np.nan
    features[1] = np.inf
    features[2] = -1e30
    np.testing.assert_allclose(member.predict(features), _stock(member, state, features), atol=3e-6)
    again = TabNet.from_bytes(member.to_bytes(), member.params)
    np.testing.assert_array_equal(again.predict(features), member.predict(features))


def test_a_pixel_has_one_value_wherever_it_lies() -> None:
    member = _fit(SHAPES[0])
    features, _ = _table(3000)
    whole = member.predict(features)
    for part in (slice(0, 1), slice(17, 1043), slice(1023, 2049), slice(2999, 3000)):
        np.testing.assert_array_equal(member.predict(features[part]), whole[part])
    assert member.predict(features[:0]).shape == (0,)


@settings(max_examples=60)
@given(st.integers(1, 40), st.integers(0, 2**32 - 1), st.sampled_from([0.01, 1.0, 100.0]))
def test_attention_is_the_projection_onto_the_simplex(size: int, seed: int, spread: float) -> None:
    from gssm.models.tabnet_kernels import attend

    rng = np.random.default_rng(seed)
    logits = (spread * rng.normal(size=(5, size))).astype(np.float32)
    prior = rng.uniform(0.1, 1.3, logits.shape).astype(np.float32)
    weighted, before = logits * prior, prior.copy()
    mask = np.empty_like(logits)
    attend(logits, np.zeros(size, np.float32), prior, np.ones_like(logits), np.float32(1.3), mask)
    # The usual algorithm, by sorting (Martins and Astudillo 2016, algorithm 1).
    ordered = -np.sort(-weighted.astype(np.float64), axis=1)
    excess = np.cumsum(ordered, axis=1) - 1
    support = (ordered * np.arange(1, size + 1) > excess).sum(axis=1)
    threshold = excess[np.arange(5), support - 1] / support
    expected = np.maximum(weighted - threshold[:, None], 0)
    np.testing.assert_allclose(mask, expected, atol=2e-6 * max(1.0, spread))
    np.testing.assert_allclose(prior, before * (1.3 - mask), rtol=1e-5, atol=1e-6)


@settings(max_examples=60)
@given(
    st.integers(1, 40),
    st.sampled_from([-1, 0, 3]),
    st.integers(0, 2**32 - 1),
    st.sampled_from([0.01, 3.0, 60.0, 1e4]),
)
def test_gates_are_as_exact_as_float32(width: int, start: int, seed: int, spread: float) -> None:
    from gssm.models.tabnet_kernels import gate

    rng = np.random.default_rng(seed)
    gates = (spread * rng.normal(size=(5, 2 * width))).astype(np.float32)
    bias = rng.normal(size=2 * width).astype(np.float32)
    values = rng.normal(size=(5, width + 3)).astype(np.float32)
    found = np.empty((5, width), np.float32)
    gate(gates, bias, values, start, found)
    linear, gating = np.split((gates + bias).astype(np.float64), 2, axis=1)
    expected = linear / (1 + np.exp(np.clip(-gating, -600, 600)))
    if start >= 0:
        expected = (expected + values[:, start : start + width]) * np.sqrt(0.5)
    np.testing.assert_allclose(found, expected, rtol=1e-6, atol=1e-6)


def test_weights_that_are_not_finite_are_refused() -> None:
    member = _fit(SHAPES[0])
    name = "step.0.weight"
    broken = {**member.tensors, name: np.full_like(member.tensors[name], np.nan)}
    with pytest.raises(BundleError, match="do not fit its shape"):
        TabNet(member.scaling, broken, member.shape)
