from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from gssm.errors import RequestError, SamplesError
from gssm.training.protocols import PROTOCOLS, assign_folds, split, station_groups
from sample_tables import simulated_samples

# Two networks for two folds; every other protocol takes them too.
FOLDS = 2


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_splits_are_seeded_and_share_no_row(protocol: str) -> None:
    samples = simulated_samples()
    first, again = (split(samples, protocol, FOLDS, seed=3) for _ in range(2))
    for part, same in zip(first, again, strict=True):
        np.testing.assert_array_equal(part.train, same.train)
        np.testing.assert_array_equal(part.test, same.test)
        assert not np.intersect1d(part.train, part.test).size
        assert part.train.size
        assert part.test.size
    held_out = np.concatenate([part.test for part in first])
    assert len(np.unique(held_out)) == len(held_out)
    if protocol in ("station", "network", "random"):
        assert sorted(held_out) == list(range(len(samples)))


@pytest.mark.parametrize("protocol", [n for n, p in PROTOCOLS.items() if p.separates])
def test_no_place_is_on_both_sides(protocol: str) -> None:
    """The last station is next to the first, and of the other network."""
    samples = simulated_samples()
    assert samples.groupby("station")["network"].first()[["st0", "st7"]].nunique() == 2
    places = station_groups(samples)
    for part in split(samples, protocol, FOLDS, seed=0):
        assert not np.intersect1d(places[part.train], places[part.test]).size


def test_the_leak_test_can_fail() -> None:
    """A random split puts every station on both sides."""
    places = station_groups(simulated_samples())
    (part, *_) = split(simulated_samples(), "random", FOLDS, seed=0)
    assert np.intersect1d(places[part.train], places[part.test]).size == len(np.unique(places))


def test_networks_are_held_out_whole() -> None:
    samples = simulated_samples()
    for part in split(samples, "network", FOLDS, seed=0):
        train, test = (set(samples["network"].iloc[rows]) for rows in (part.train, part.test))
        assert not train & test
    with pytest.raises(SamplesError, match=r"2 networks for 3 folds; .* or 2 folds\."):
        split(samples, "network", 3, seed=0)
    with pytest.raises(SamplesError, match=r"at least 2 networks, and the samples.* have 1;"):
        split(samples.assign(network="NETA"), "network", 2, seed=0)
    with pytest.raises(SamplesError, match="no column 'network'"):
        split(samples.drop(columns="network"), "network", 2, seed=0)


def test_time_goes_forward_and_keeps_moments_together() -> None:
    samples = simulated_samples()
    times = samples["time"].to_numpy()
    parts = split(samples, "time", 4, seed=0)
    for part in parts:
        assert times[part.train].max() < times[part.test].min()
    assert [len(part.train) for part in parts] == sorted(len(part.train) for part in parts)
    with pytest.raises(SamplesError, match="too few moments"):
        split(samples.assign(time=pd.Timestamp("2020-01-01")), "time", 2, seed=0)
    with pytest.raises(SamplesError, match="no column 'time'"):
        split(samples.drop(columns="time"), "time", 2, seed=0)


def test_a_row_without_a_time_is_in_no_season() -> None:
    samples = simulated_samples()
    gaps = samples.assign(time=samples["time"].where(samples.index > 2))
    with pytest.raises(SamplesError, match=r"time is missing in 3 of 240 rows.*dropna"):
        split(gaps, "time", 2, seed=0)
    assert len(split(gaps, "station", 2, seed=0)) == 2
    with pytest.raises(SamplesError, match="'time' of the samples table holds what is no time"):
        split(samples.assign(time="x"), "time", 2, seed=0)
    with pytest.raises(SamplesError, match=r"\(1\) for 1 fold forward in time; give a longer"):
        split(samples.assign(time=pd.Timestamp("2020-01-01")), "time", 1, seed=0)


@pytest.mark.parametrize("folds", ["5", 2.0, True, None, 0, -1])
@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_folds_that_are_no_number_of_folds_are_refused(protocol: str, folds: object) -> None:
    with pytest.raises(RequestError, match=r"folds is .*; give a whole number of at least [12]\."):
        split(simulated_samples(), protocol, folds, seed=0)  # type: ignore[arg-type]


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_the_fewest_folds(protocol: str) -> None:
    least = PROTOCOLS[protocol].least_folds
    assert len(split(simulated_samples(), protocol, np.int64(least), seed=0)) == least
    if least > 1:
        with pytest.raises(RequestError, match="folds is 1; give a whole number of at least 2"):
            split(simulated_samples(), protocol, 1, seed=0)


def test_hold_out_is_a_fifth_once() -> None:
    (part,) = split(simulated_samples(), "holdout", 5, seed=0)
    assert len(part.test) == round(0.2 * 240)
    assert len(part.train) == 240 - len(part.test)


def test_unknown_protocol_lists_those_available() -> None:
    with pytest.raises(RequestError, match=r"'lunar'; use one of 'station', 'network', 'time'"):
        split(simulated_samples(), "lunar", 5, seed=0)
    with pytest.raises(RequestError, match="there is no protocol None"):
        split(simulated_samples(), None, 5, seed=0)  # type: ignore[arg-type]


def test_neighbours_share_a_group() -> None:
    samples = simulated_samples()
    groups = pd.Series(station_groups(samples)).groupby(samples["station"]).unique()
    assert groups["st0"] == groups["st7"]  # 0.0005 degrees apart
    assert groups["st0"] != groups["st1"]
    chain = pd.DataFrame(
        {
            "station": list("abcd"),
            "latitude": [0.0, 0.015, 0.030, 1.0],  # a-b and b-c are within 2 km, a-c are not
            "longitude": 0.0,
        }
    )
    assert list(station_groups(chain)) == [0, 0, 0, 3]
    assert list(station_groups(chain.drop(columns="latitude"))) == [0, 1, 2, 3]


def test_folds_are_seeded_balanced_and_enough() -> None:
    groups = np.repeat(np.arange(20), np.arange(1, 21))
    fold = assign_folds(groups, 5, seed=0)
    np.testing.assert_array_equal(fold, assign_folds(groups, 5, seed=0))
    assert not np.array_equal(fold, assign_folds(groups, 5, seed=1))
    assert np.bincount(fold).min() > 0.5 * np.bincount(fold).max()
    with pytest.raises(SamplesError, match="2 independent stations or rows for 5 folds"):
        assign_folds(np.array([1, 1, 2]), 5, seed=0)


@pytest.mark.parametrize(
    ("groups", "says"),
    [
        ([], r"at least 2 independent stations or rows, and .* have 0; give more of them\."),
        ([1, 1], r"at least 2 independent stations or rows, and .* have 1; give more of them\."),
        ([1, 2], r"have 2 independent .* for 5 folds; give more of them, or 2 folds\."),
        ([1, 2, 3], r"have 3 independent .* for 5 folds; give more of them, or 2 to 3 folds\."),
    ],
)
def test_too_few_groups_are_told_as_many_folds_as_there_can_be(
    groups: list[int], says: str
) -> None:
    with pytest.raises(SamplesError, match=says):
        assign_folds(np.array(groups, dtype=np.int64), 5, seed=0)
