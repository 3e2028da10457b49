from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from gssm.errors import RequestError, SamplesError
from gssm.training import crossval, fitting
from gssm.training.crossval import assign_folds, cross_validate, station_groups
from gssm.training.evaluate import evaluate, skill_table
from gssm.training.train import train
from sample_tables import simulated_samples

QUICK = ("random_forest", "xgboost")


def test_every_row_is_predicted_once_in_its_place() -> None:
    samples = simulated_samples()
    samples.index = samples.index[::-1] // 2  # neither sorted nor unique
    predicted = cross_validate(samples, preset="tiny", members=QUICK)
    assert list(predicted.columns) == [
        *("station", "fold", "observed", "random_forest", "xgboost", "soil_moisture")
    ]
    assert list(predicted.index) == list(samples.index)
    np.testing.assert_array_equal(predicted["observed"], samples["soil_moisture"])
    assert predicted.notna().all(axis=None)
    assert sorted(predicted["fold"].unique()) == [0, 1, 2, 3, 4]


def test_no_station_is_on_both_sides(monkeypatch: pytest.MonkeyPatch) -> None:
    """Watch every fit, the inner ones too, beside what is predicted after it."""
    trained: list[set[str]] = []
    real_fit, real_matrix = crossval.fit_members, crossval.feature_matrix

    def places(samples: pd.DataFrame) -> set[str]:
        # The last station stands next to the first and counts as the same place.
        return set(samples["station"].replace("st7", "st0"))

    def fit(samples: pd.DataFrame, *rest: object) -> object:
        trained.append(places(samples))
        return real_fit(samples, *rest)

    def matrix(samples: pd.DataFrame, *rest: object) -> object:
        checked.append(places(samples))
        return real_matrix(samples, *rest)

    checked: list[set[str]] = []
    monkeypatch.setattr(crossval, "fit_members", fit)
    monkeypatch.setattr(crossval, "feature_matrix", matrix)
    cross_validate(simulated_samples(), preset="tiny", members=QUICK)
    assert len(trained) == len(checked) == 5 * 3

    # In a fold: two inner fits (their matrix is made before each), then the outer one.
    for start in range(0, 15, 3):
        outer_train, outer_test = trained[start + 2], checked[start + 2]
        assert not outer_train & outer_test
        for inner in (start, start + 1):
            assert not trained[inner] & checked[inner]
            assert not (trained[inner] | checked[inner]) & outer_test


def test_random_protocol_shares_stations_and_scores_higher() -> None:
    samples = simulated_samples()
    predicted = cross_validate(samples, protocol="random", preset="tiny", members=QUICK, folds=2)
    assert predicted.groupby("station")["fold"].nunique().max() == 2


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


def test_same_name_in_two_networks_is_two_stations() -> None:
    table = pd.DataFrame({"network": ["A", "B"], "station": "x"})
    assert list(fitting.station_keys(table)) == ["A/x", "B/x"]


def test_folds_are_seeded_balanced_and_enough() -> None:
    groups = np.repeat(np.arange(20), np.arange(1, 21))
    fold = assign_folds(groups, 5, seed=0)
    np.testing.assert_array_equal(fold, assign_folds(groups, 5, seed=0))
    assert not np.array_equal(fold, assign_folds(groups, 5, seed=1))
    assert np.bincount(fold).min() > 0.5 * np.bincount(fold).max()
    with pytest.raises(SamplesError, match="2 independent stations or rows for 5 folds"):
        assign_folds(np.array([1, 1, 2]), 5, seed=0)


def test_unknown_protocol_lists_those_available() -> None:
    with pytest.raises(RequestError, match="'lunar'; use one of 'station', 'random'"):
        cross_validate(simulated_samples(), protocol="lunar")


def test_evaluate_has_a_row_per_member_and_one_for_the_ensemble() -> None:
    samples = simulated_samples()
    model = train(samples, preset="tiny", members=QUICK, evaluate=False)
    table = evaluate(model, samples)
    assert list(table.index) == [*QUICK, "soil_moisture"]
    assert list(table.columns) == [
        *("N", "stations", "bias", "rmse", "ubrmse", "r2", "r", "kge"),
        *("station_r", "station_ubrmse"),
    ]
    assert (table["N"] == len(samples)).all()
    assert (table["stations"] == 8).all()
    assert evaluate(model, samples.iloc[:3]).loc["soil_moisture", "N"] == 3
    with pytest.raises(SamplesError, match="no rows"):
        evaluate(model, samples.iloc[:0])


def test_skill_table_by_hand() -> None:
    predicted = pd.DataFrame(
        {
            "station": ["a"] * 3 + ["b"] * 3,
            "observed": [0.1, 0.2, 0.3, 0.2, 0.3, 0.4],
            "soil_moisture": [0.2, 0.3, 0.4, 0.4, 0.3, 0.2],
        }
    )
    row = skill_table(predicted).loc["soil_moisture"]
    assert row["bias"] == pytest.approx(0.05)
    assert row["station_r"] == pytest.approx(0.0)  # median of +1 and -1
    assert row["station_ubrmse"] == pytest.approx(np.sqrt(2 * 0.2**2 / 3) / 2)
    with_gap = predicted.assign(soil_moisture=[0.2, 0.3, 0.4, *[np.nan] * 3])
    assert skill_table(with_gap).loc["soil_moisture", ["N", "stations"]].tolist() == [3, 1]


@pytest.mark.filterwarnings("error")
def test_skill_of_one_row_is_undefined_not_an_error() -> None:
    one = pd.DataFrame({"station": ["a"], "observed": [0.1], "soil_moisture": [0.2]})
    row = skill_table(one).loc["soil_moisture"]
    assert row["rmse"] == pytest.approx(0.1)
    assert np.isnan(row["station_r"])
