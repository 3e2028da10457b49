from __future__ import annotations

from dataclasses import replace

import dask
import numpy as np
import pandas as pd
import pytest

from gssm.errors import GssmWarning
from gssm.models.boosting import BoostingParams
from gssm.schema import REFERENCES
from gssm.training import crossval, fitting
from gssm.training.crossval import cross_validate
from gssm.training.presets import PRESETS
from gssm.training.protocols import PROTOCOLS
from sample_tables import simulated_samples

QUICK = ("random_forest", "xgboost")


@pytest.fixture(scope="module")
def samples() -> pd.DataFrame:
    table = simulated_samples()
    return table.set_axis(table.index[::-1] // 2)  # neither sorted nor unique


@pytest.fixture(scope="module")
def predicted(samples: pd.DataFrame) -> pd.DataFrame:
    return cross_validate(samples, preset="tiny", members=QUICK)


def test_every_row_is_predicted_once_in_its_place(
    samples: pd.DataFrame, predicted: pd.DataFrame
) -> None:
    assert list(predicted.columns) == [
        *("network", "station", "time", "latitude", "longitude"),
        *("fold", "observed", "random_forest", "xgboost", "soil_moisture"),
        *("soil_moisture_uncertainty", "outside_applicability"),
    ]
    assert list(predicted.index) == list(samples.index)
    np.testing.assert_array_equal(predicted["observed"], samples["soil_moisture"])
    assert predicted.notna().all(axis=None)
    assert sorted(predicted["fold"].unique()) == [0, 1, 2, 3, 4]


def test_no_station_is_on_both_sides(monkeypatch: pytest.MonkeyPatch) -> None:
    """Watch every fit, the inner ones too, beside what is predicted after it."""
    trained: list[set[str]] = []
    real_fit, real_matrix = crossval.fit_members, crossval.feature_matrix
    monkeypatch.setattr(crossval, "applicable", lambda *_: None)  # features of training rows

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
    cross_validate(simulated_samples(), preset="tiny", members=("xgboost",))
    each = PROTOCOLS["station"].inner_folds + 1
    assert len(trained) == len(checked) == 5 * each

    # In a fold: inner fits (their matrix is made before each), then the outer one.
    for last in range(each - 1, 5 * each, each):
        outer_train, outer_test = trained[last], checked[last]
        assert not outer_train & outer_test
        for inner in range(last - each + 1, last):
            assert not trained[inner] & checked[inner]
            assert not (trained[inner] | checked[inner]) & outer_test


def test_the_same_on_dask_as_one_after_the_other() -> None:
    samples = simulated_samples()
    options = {"preset": "tiny", "folds": 3, "members": ("tabnet",)}
    plain = cross_validate(samples, **options)
    with dask.config.set(scheduler="threads", num_workers=2):
        pd.testing.assert_frame_equal(plain, cross_validate(samples, **options))


@pytest.mark.parametrize("protocol", ["network", "time", "holdout"])
def test_every_protocol_runs(protocol: str) -> None:
    samples = simulated_samples()
    predicted = cross_validate(samples, protocol=protocol, preset="tiny", folds=2, members=QUICK)
    assert predicted.attrs["protocol"] == protocol
    assert 0 < len(predicted) <= len(samples)
    assert predicted["soil_moisture"].notna().all()
    assert predicted["soil_moisture_uncertainty"].gt(0).all()
    positions = samples.index.get_indexer(predicted.index)
    assert list(positions) == sorted(positions)


def test_importance_is_of_held_out_rows_by_sensor(predicted: pd.DataFrame) -> None:
    importance = pd.DataFrame.from_dict(predicted.attrs["importance"], orient="index")
    assert {"random_forest", "xgboost", "soil_moisture"} <= set(importance.columns)
    # Only the radar of the simulated table knows the moisture.
    assert importance["soil_moisture"].idxmax().lower().startswith("radar")


def test_every_fit_of_a_history_spec_has_references_that_no_label_changes(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    real_fit, taught = crossval.fit_members, []

    def fit(samples: pd.DataFrame, *rest: object) -> object:
        taught.append(samples[list(REFERENCES)])
        return real_fit(samples, *rest)

    monkeypatch.setattr(crossval, "fit_members", fit)
    samples = simulated_samples()
    other = samples.assign(soil_moisture=samples["soil_moisture"].to_numpy()[::-1])
    for table in (samples, other):
        cross_validate(table, spec="l2-history", preset="tiny", folds=2, members=("xgboost",))
    half = len(taught) // 2
    for ours, theirs in zip(taught[:half], taught[half:], strict=True):
        assert ours["vv_db_p50"].notna().all()
        pd.testing.assert_frame_equal(ours, theirs)


def test_rows_that_a_map_leaves_blank_neither_teach_nor_count() -> None:
    samples = simulated_samples().reset_index(drop=True)
    spoilt = samples.copy()
    spoilt.loc[5, "vv"] = np.nan
    with pytest.warns(GssmWarning, match=r"1 of the \d+ rows are left out.*no radar: 1"):
        predicted = cross_validate(spoilt, preset="tiny", folds=2, members=("xgboost",))
    assert predicted.attrs["left_out"] == 1
    assert predicted.attrs["left_out_why"] == {"no radar": 1}
    again = cross_validate(samples.drop(index=5), preset="tiny", folds=2, members=("xgboost",))
    pd.testing.assert_frame_equal(predicted, again)


def test_a_table_of_another_level_is_warned_of() -> None:
    samples = simulated_samples()
    samples.attrs["level"] = "l1"
    with pytest.warns(GssmWarning, match="l1 reflectance and the spec 'l2' is of l2"):
        cross_validate(samples, preset="tiny", folds=2, members=("xgboost",))


def test_a_booster_that_finds_nothing_and_infinite_values_are_survived() -> None:
    samples = simulated_samples()
    samples.loc[3, "s2_b4"] = np.inf
    constant = replace(PRESETS["tiny"], xgboost=BoostingParams(rounds=2, min_child_weight=1e6))
    for preset in ("tiny", constant):
        predicted = cross_validate(samples, preset=preset, folds=2, members=QUICK)
        assert predicted["soil_moisture"].notna().all()


def test_random_protocol_shares_stations() -> None:
    samples = simulated_samples()
    predicted = cross_validate(samples, protocol="random", preset="tiny", members=QUICK, folds=2)
    assert predicted.groupby("station")["fold"].nunique().max() == 2


def test_same_name_in_two_networks_is_two_stations() -> None:
    table = pd.DataFrame({"network": ["A", "B"], "station": "x"})
    assert list(fitting.station_keys(table)) == ["A/x", "B/x"]
