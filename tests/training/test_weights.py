from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gssm.training.weights import ensemble_weights, simplex_weights


def test_simplex_weights_find_the_best_mean() -> None:
    rng = np.random.default_rng(0)
    truth = rng.normal(size=500)
    good, bad = truth + rng.normal(0, 0.1, 500), truth + rng.normal(0, 0.2, 500)
    weights = simplex_weights({"a": good, "b": bad}, truth)
    assert sum(weights.values()) == pytest.approx(1, abs=1e-12)
    assert weights["a"] == pytest.approx(0.8, abs=0.04)  # inverse variances: 0.04 to 0.01
    # A member that only an extrapolating, negative weight could use gets none.
    assert simplex_weights({"a": good, "b": 3 * good + 1}, truth) == {"a": 1.0, "b": 0.0}


def test_many_stations_settle_the_weights_and_few_do_not() -> None:
    rng = np.random.default_rng(1)
    truth = rng.normal(size=3000)
    members = {"a": truth + rng.normal(0, 0.1, 3000), "b": truth + rng.normal(0, 0.2, 3000)}
    settled = ensemble_weights(members, truth, np.arange(3000))
    assert settled == pytest.approx(simplex_weights(members, truth), abs=0.005)
    # Four stations, each of which one member has quite wrong: neither may take all.
    group = np.repeat(np.arange(4), 750)
    shift = np.where(group < 2, 0.3, 0.0)
    members = {"a": truth + shift, "b": truth + 0.3 - shift + 0.02}
    unsettled = ensemble_weights(members, truth, group)
    assert 0.3 < unsettled["a"] < 0.7


@settings(max_examples=30)  # each solves hundreds of small problems
@given(st.integers(1, 4), st.integers(1, 30), st.integers(0, 2**32 - 1))
def test_any_weights_lie_on_the_simplex_and_repeat(members: int, rows: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    predicted = {str(m): rng.normal(size=rows) for m in range(members)}
    truth, group = rng.normal(size=rows), rng.integers(0, 5, rows)
    weights = ensemble_weights(predicted, truth, group)
    assert sum(weights.values()) == pytest.approx(1, abs=1e-5)
    assert min(weights.values()) >= 0
    assert ensemble_weights(predicted, truth, group) == weights
