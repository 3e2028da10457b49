import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from gssm import metrics

OBSERVED = [0.10, 0.20, 0.30, 0.40]
PREDICTED = [0.15, 0.20, 0.35, 0.40]


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("bias", 0.025),
        ("rmse", np.sqrt(0.00125)),
        ("ubrmse", 0.025),
        ("r2", 1 - 0.005 / 0.05),
        # sums of products of deviations: 0.045 (o p), 0.05 (o o), 0.0425 (p p)
        ("r", 0.045 / np.sqrt(0.05 * 0.0425)),
        # ratio of spreads sqrt(0.0425 / 0.05), ratio of means 0.275 / 0.25
        ("kge", 1 - np.sqrt((0.976187 - 1) ** 2 + (0.921954 - 1) ** 2 + 0.1**2)),
    ],
)
def test_by_hand(name, expected):
    assert metrics.METRICS[name](OBSERVED, PREDICTED) == pytest.approx(expected, abs=1e-6)


def test_missing_pairs_are_left_out():
    assert metrics.rmse([0.1, np.nan, 0.3], [0.2, 0.2, np.nan]) == pytest.approx(0.1)


@pytest.mark.parametrize("name", metrics.METRICS)
def test_nothing_to_compare_is_nan(name):
    assert np.isnan(metrics.METRICS[name]([np.nan], [1.0]))


@pytest.mark.parametrize("name", ["r2", "r", "kge"])
def test_no_variance_is_nan(name):
    assert np.isnan(metrics.METRICS[name]([0.2, 0.2], [0.1, 0.3]))


def test_different_lengths_are_refused():
    with pytest.raises(ValueError, match="2 values and predicted has 3"):
        metrics.bias([1, 2], [1, 2, 3])


@given(arrays(float, 20, elements=st.floats(0, 1)), arrays(float, 20, elements=st.floats(0, 1)))
def test_rmse_splits_into_bias_and_ubrmse(observed, predicted):
    squared = metrics.bias(observed, predicted) ** 2 + metrics.ubrmse(observed, predicted) ** 2
    assert metrics.rmse(observed, predicted) ** 2 == pytest.approx(squared, abs=1e-12)
