from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gssm.errors import BundleError
from gssm.models.calibration import Intervals
from gssm.training.conformal import fit_intervals


def _stations(rng: np.random.Generator, stations: int, each: int = 40) -> tuple[np.ndarray, ...]:
    """Predictions whose error grows with them and is shared by the rows of a station."""
    group = np.repeat(np.arange(stations), each)
    predicted = rng.uniform(0.05, 0.4, group.size)
    shared = rng.normal(0, 1, stations)[group]
    error = 0.2 * predicted * (0.7 * shared + 0.7 * rng.normal(0, 1, group.size))
    return predicted + error, predicted, group


def test_intervals_hold_what_they_promise_at_unseen_stations() -> None:
    rng = np.random.default_rng(0)
    covered = []
    for _ in range(30):
        intervals = fit_intervals(*_stations(rng, 100))
        observed, predicted, _ = _stations(rng, 100)
        covered.append(np.mean(np.abs(observed - predicted) <= intervals.widths(predicted)))
    assert 0.89 <= np.mean(covered) <= 0.93  # the mean of thirty, each with an sd near 0.015


def test_width_follows_the_error() -> None:
    observed, predicted, group = _stations(np.random.default_rng(1), 200)
    intervals = fit_intervals(observed, predicted, group)
    dry, wet = intervals.widths([0.06, 0.39])
    assert wet > 3 * dry
    assert intervals.widths([-1.0, 5.0]) == pytest.approx(
        intervals.half_width[:: len(intervals.half_width) - 1]
    )
    assert np.isnan(intervals.widths([np.nan]))


def test_few_groups_ask_for_more() -> None:
    """Ten rows of one station say as little as one."""
    observed, predicted, group = _stations(np.random.default_rng(2), 6)
    by_station = fit_intervals(observed, predicted, group)
    by_row = fit_intervals(observed, predicted, np.arange(group.size))
    assert np.mean(by_station.half_width) > np.mean(by_row.half_width)


def test_a_station_with_many_rows_counts_like_any_other() -> None:
    rng = np.random.default_rng(3)
    sizes = np.array([2000, *[50] * 39])
    group = np.repeat(np.arange(sizes.size), sizes)
    predicted = rng.uniform(0.1, 0.3, group.size)
    # The long series errs by far less than the others.
    error = rng.normal(0, 1, group.size) * np.where(group == 0, 0.005, 0.05)
    half = np.mean(fit_intervals(predicted + error, predicted, group).half_width)
    assert half == pytest.approx(1.645 * 0.05, rel=0.1)


@given(
    st.lists(
        st.tuples(st.floats(0, 1, width=32), st.floats(0, 1, width=32)), min_size=1, max_size=200
    )
)
def test_any_pairs_give_a_sound_interval(pairs: list[tuple[float, float]]) -> None:
    observed, predicted = np.array(pairs).T
    intervals = fit_intervals(observed, predicted, np.arange(len(pairs)))
    assert Intervals.from_dict(intervals.to_dict()) == intervals
    assert np.isfinite(intervals.widths(predicted)).all()


@pytest.mark.parametrize(
    ("level", "knots", "widths"),
    [
        (0.9, (), ()),
        (0.9, (0.2, 0.1), (0.1, 0.1)),
        (0.9, (0.1,), (0.1, 0.2)),
        (0.9, (0.1, 0.2), (0.1, -0.1)),
        (0.9, (0.1, float("nan")), (0.1, 0.1)),
        (1.0, (0.1,), (0.1,)),
    ],
)
def test_damaged_intervals_are_refused(
    level: float, knots: tuple[float, ...], widths: tuple[float, ...]
) -> None:
    with pytest.raises(BundleError, match="calibration"):
        Intervals(level, knots, widths)
