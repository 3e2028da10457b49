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
        # ranks 1 2 3 4 in both
        ("spearman", 1.0),
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


@pytest.mark.parametrize("name", ["r2", "r", "spearman", "kge"])
def test_no_variance_is_nan(name):
    assert np.isnan(metrics.METRICS[name]([0.2, 0.2], [0.1, 0.3]))
    # Seven times 0.1: the standard deviation in floating point is 1e-17, not zero.
    assert np.isnan(metrics.METRICS[name](np.full(7, 0.1), np.linspace(0.1, 0.3, 7)))


@pytest.mark.parametrize("name", ["r", "spearman", "kge"])
def test_constant_prediction_has_no_correlation(name):
    assert np.isnan(metrics.METRICS[name](np.linspace(0.1, 0.3, 7), np.full(7, 0.1)))
    assert metrics.r2([0.1, 0.2, 0.3], [0.2, 0.2, 0.2]) == pytest.approx(0.0)


def test_different_lengths_are_refused():
    with pytest.raises(ValueError, match="2 values and predicted has 3"):
        metrics.bias([1, 2], [1, 2, 3])


@given(arrays(float, 20, elements=st.floats(0, 1)), arrays(float, 20, elements=st.floats(0, 1)))
def test_rmse_splits_into_bias_and_ubrmse(observed, predicted):
    squared = metrics.bias(observed, predicted) ** 2 + metrics.ubrmse(observed, predicted) ** 2
    assert metrics.rmse(observed, predicted) ** 2 == pytest.approx(squared, abs=1e-12)


METRIC = st.sampled_from(sorted(metrics.METRICS))
MOISTURE = arrays(float, 12, elements=st.floats(0.01, 0.6))


@given(METRIC, MOISTURE, MOISTURE, st.randoms(use_true_random=False))
def test_the_order_of_the_pairs_does_not_matter(name, observed, predicted, random):
    order = random.sample(range(12), 12)
    metric = metrics.METRICS[name]
    there, back = metric(observed, predicted), metric(observed[order], predicted[order])
    np.testing.assert_allclose(back, there, rtol=1e-6, atol=1e-9)


def test_spearman_is_that_of_scipy():
    from scipy.stats import spearmanr

    rng = np.random.default_rng(0)
    observed = rng.integers(0, 9, 60) / 10  # ties
    predicted = np.exp(observed) + rng.integers(0, 4, 60) / 10
    expected = spearmanr(observed, predicted).statistic
    assert metrics.spearman(observed, predicted) == pytest.approx(expected, abs=1e-12)
    assert metrics.spearman([0.1, 0.2, 0.3, np.nan], [1, 8, 27, 5]) == pytest.approx(1.0)


DAY = np.datetime64("2020-01-01")


def days(*numbers):
    return DAY + (np.array(numbers) * 24).astype("timedelta64[h]")


def naive_anomaly_r(observed, predicted, time):
    """As the docstring says, one pair after the other."""
    hours = (time - DAY) / np.timedelta64(1, "h")
    anomalies = []
    for here in hours:
        near = np.abs(hours - here) <= 17.5 * 24
        if near.sum() >= 3:
            anomalies.append([x[hours == here][0] - x[near].mean() for x in (observed, predicted)])
    return metrics.r(*np.array(anomalies).T) if len(anomalies) >= 3 else np.nan


def test_anomalies_by_hand():
    # One window: each mean is that of all four, so that the anomaly correlation is r.
    time = days(0, 5, 10, 17)
    expected = metrics.r(OBSERVED, PREDICTED)
    assert metrics.anomaly_r(OBSERVED, PREDICTED, time) == pytest.approx(expected)
    # A prediction that follows the season alone, in steps, has no anomalies at all.
    later = days(0, 5, 10, 100, 105, 110)
    observed = [0.10, 0.12, 0.11, 0.30, 0.33, 0.31]
    season = [0.1, 0.1, 0.1, 0.3, 0.3, 0.3]
    assert metrics.r(observed, season) > 0.98
    assert np.isnan(metrics.anomaly_r(observed, season, later))
    # Anomalies (-1, 1, 0) and (-4, 5, -1) / 300 against those times two and minus one.
    assert metrics.anomaly_r(observed, 1 - 2 * np.array(observed), later) == pytest.approx(-1)


def test_the_window_holds_both_of_its_ends():
    # 17.5 days on either side of the middle; the outer two see one neighbour only.
    time = days(0, 17.5, 35)
    assert np.isnan(metrics.anomaly_r([0.1, 0.3, 0.2], [0.1, 0.3, 0.2], time))
    # Two more beside each end give every pair its three.
    time = days(0, 0.5, 17.5, 34.5, 35)
    values = np.array([0.1, 0.2, 0.4, 0.2, 0.3])
    assert metrics.anomaly_r(values, values, time) == pytest.approx(1)
    assert np.isnan(metrics.anomaly_r(values, values, days(0, 0.5, 18.5, 36.5, 37)))


@given(
    st.lists(st.integers(0, 200 * 24), min_size=1, max_size=40, unique=True),
    st.integers(0, 2**32 - 1),
)
def test_anomalies_are_those_of_the_definition(hours, seed):
    rng = np.random.default_rng(seed)
    observed, predicted = rng.uniform(0, 0.5, (2, len(hours)))
    time = DAY + np.array(hours).astype("timedelta64[h]")
    expected = naive_anomaly_r(observed, predicted, time)
    np.testing.assert_allclose(metrics.anomaly_r(observed, predicted, time), expected, atol=1e-9)


def test_anomalies_leave_out_what_is_missing():
    time = days(0, 5, 10, 17, 11, 12)
    time[4] = "NaT"
    observed, predicted = [*OBSERVED, 9.0, np.nan], [*PREDICTED, -9.0, 0.5]
    expected = metrics.r(OBSERVED, PREDICTED)
    assert metrics.anomaly_r(observed, predicted, time) == pytest.approx(expected)
    assert np.isnan(metrics.anomaly_r([], [], []))
    with pytest.raises(ValueError, match="2 values and time has 1"):
        metrics.anomaly_r([1, 2], [1, 2], time[:1])


def test_percentile_interval():
    values = np.column_stack([np.arange(101.0), np.full(101, np.nan)])
    values[0, 0] = np.nan  # 1 to 100 are left
    low, high = metrics.percentile_interval(values, level=0.9)
    np.testing.assert_allclose(low, [5.95, np.nan])
    np.testing.assert_allclose(high, [95.05, np.nan])
