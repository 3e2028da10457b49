"""Shuffled groups of features: what is lost, by members whose answer is known."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd
import pytest

from gssm.errors import RequestError, SamplesError
from gssm.models.ensemble import Model
from gssm.models.table import feature_matrix
from gssm.physics import WaterCloud
from gssm.schema import SPECS, FeatureSpec
from gssm.training import importance
from gssm.training.fitting import fit_members
from gssm.training.importance import (
    GROUPS,
    OTHER,
    feature_groups,
    permutation_importance,
    single_features,
)
from gssm.training.presets import make_recipe
from sample_tables import simulated_samples

SPEC = FeatureSpec("few", ("vv_db", "vh_db", "s2_b4", "dsm"))


@dataclass
class Linear:
    """A member that is a weighted sum of its features, and keeps what it was asked."""

    weights: tuple[float, ...]
    seen: list[np.ndarray] = field(default_factory=list)

    @property
    def params(self) -> dict[str, Any]:
        return {}

    def predict(self, features: np.ndarray) -> np.ndarray:
        self.seen.append(features)
        return (features @ np.array(self.weights)).astype(np.float32)

    def to_bytes(self) -> bytes:
        return b""


def linear_model(**weights: tuple[float, ...]) -> Model:
    members = {name: Linear(values) for name, values in weights.items()}
    return Model(members, dict.fromkeys(members, 1.0), SPEC, WaterCloud())


def test_increase_is_that_of_a_feature_whose_values_come_from_elsewhere() -> None:
    samples = simulated_samples(stations=40, each=50)
    band = samples["s2_b4"].to_numpy(np.float64)
    samples["soil_moisture"] = np.clip(0.5 * band, 0, 1)
    model = linear_model(random_forest=(0, 0, 0.5, 0), xgboost=(0, 0, 0, 0))
    table = permutation_importance(model, samples, repeats=5)
    # Shuffled values are independent: the squared error grows by 2 w² var(x), from 0.
    expected = np.sqrt(2) * 0.5 * band.std()
    assert table.loc["Sentinel-2", "random_forest"] == pytest.approx(expected, rel=0.05)
    assert table.attrs["rmse"]["random_forest"] == pytest.approx(0, abs=1e-6)
    # What a member does not read costs it nothing, exactly.
    assert (table.drop("Sentinel-2")[["random_forest", "soil_moisture"]] == 0).all(axis=None)
    assert (table["xgboost"] == 0).all()
    assert table.index[0] == "Sentinel-2"
    assert table.index.name == "group"
    # The ensemble is half of each.
    half = np.sqrt(np.mean((0.25 * band - 0.5 * band) ** 2))
    assert table.attrs["rmse"]["soil_moisture"] == pytest.approx(half, rel=1e-4)


def test_table_has_members_then_the_ensemble_with_spreads() -> None:
    model = linear_model(random_forest=(0.01, 0, 0.2, 0), xgboost=(0, 0.01, 0, 0.0001))
    table = permutation_importance(model, simulated_samples(), repeats=2, seed=3)
    assert list(table.columns) == [
        *("features", "random_forest", "xgboost", "soil_moisture"),
        *("random_forest_sd", "xgboost_sd", "soil_moisture_sd"),
    ]
    assert dict(table["features"]) == {"radar": 2, "Sentinel-2": 1, "terrain": 1}
    assert table["soil_moisture"].is_monotonic_decreasing
    assert (table.filter(like="_sd") >= 0).all(axis=None)
    assert table.loc["radar", "xgboost_sd"] > 0  # the shuffles differ
    assert {k: table.attrs[k] for k in ("rows", "repeats", "seed")} == {
        "rows": 240,
        "repeats": 2,
        "seed": 3,
    }


def test_a_group_moves_together_and_alone() -> None:
    samples = simulated_samples()
    before = samples.copy()
    model = linear_model(xgboost=(0.01, 0.01, 0.1, 0.001))
    permutation_importance(model, samples, {"radar": ["vv_db", "vh_db"]}, repeats=3)
    pd.testing.assert_frame_equal(samples, before)
    features = feature_matrix(samples, SPEC)
    first, *shuffled = model.members["xgboost"].seen
    assert len(shuffled) == 3  # one score of all members per shuffle
    np.testing.assert_array_equal(first, features)
    for matrix in shuffled:
        np.testing.assert_array_equal(matrix[:, 2:], features[:, 2:])
        assert not np.array_equal(matrix[:, :2], features[:, :2])
        assert sorted(map(tuple, matrix[:, :2])) == sorted(map(tuple, features[:, :2]))
    assert not np.array_equal(shuffled[0], shuffled[1])


def test_the_seed_decides_and_many_rows_are_sampled(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importance, "MAX_ROWS", 100)
    samples = simulated_samples()
    model = linear_model(xgboost=(0.01, 0.01, 0.1, 0.001))
    table = permutation_importance(model, samples, seed=1)
    pd.testing.assert_frame_equal(table, permutation_importance(model, samples, seed=1))
    assert not table.equals(permutation_importance(model, samples, seed=2))
    assert table.attrs["rows"] == 100
    assert {len(matrix) for matrix in model.members["xgboost"].seen} == {100}


@pytest.mark.parametrize("name", SPECS)
def test_every_feature_is_in_one_group(name: str) -> None:
    spec = SPECS[name]
    grouped = [feature for group in feature_groups(spec).values() for feature in group]
    assert sorted(grouped) == sorted(spec.features)
    assert OTHER not in feature_groups(spec)
    alone = single_features(spec)
    assert list(alone) == list(spec.features)
    assert all(members == (feature,) for feature, members in alone.items())


def test_groups_are_those_of_the_sensors_and_leave_none_out() -> None:
    groups = feature_groups(SPECS["l2-history"])
    assert list(groups) == [n for n in GROUPS if n != "location"]
    assert groups["radar soil"] == ("vv_soil", "vh_soil")
    assert groups["Landsat thermal"] == ("landsat_b10",)
    assert {"vv_db_p05", "vh_soil_sd", "vv_soil_position"} <= set(groups["history radar"])
    assert {"s2_ndvi_p95", "landsat_b10_position"} <= set(groups["history optical"])
    assert feature_groups(SPECS["paper33"])["location"] == ("latitude", "longitude")
    own = FeatureSpec("own", ("vv_db", "soil_moisture"))
    assert feature_groups(own) == {"radar": ("vv_db",), OTHER: ("soil_moisture",)}


def test_radar_matters_most_where_only_radar_tells() -> None:
    samples = simulated_samples(stations=12, each=60)
    held_out = samples["station"].isin(["st2", "st5", "st8"])
    recipe = make_recipe("l2", "tiny", ("xgboost",), None, 0)
    members = fit_members(samples[~held_out], recipe, lambda line: None)
    model = Model(members, {"xgboost": 1.0}, recipe.spec, recipe.water_cloud)
    table = permutation_importance(model, samples[held_out])
    assert table.index[0] == "radar"
    others = table["soil_moisture"].drop(["radar", "radar soil"])  # the same images
    assert table.loc["radar", "soil_moisture"] > 10 * others.max()
    single = permutation_importance(
        model, samples[held_out], single_features(model.spec), repeats=1
    )
    assert len(single) == len(model.spec.features)
    assert (single["features"] == 1).all()
    assert single.index[0] == "vv_db"


def test_what_cannot_be_asked_is_refused() -> None:
    model, samples = linear_model(xgboost=(0, 0, 0, 0)), simulated_samples()
    with pytest.raises(RequestError, match="names 's2_b5', which the model does not read"):
        permutation_importance(model, samples, {"red": ["s2_b4", "s2_b5"]})
    with pytest.raises(RequestError, match=r"group 'red' is 's2_b4'; give a list"):
        permutation_importance(model, samples, {"red": "s2_b4"})
    with pytest.raises(RequestError, match="group 'none' is"):
        permutation_importance(model, samples, {"none": []})
    with pytest.raises(RequestError, match="names no group"):
        permutation_importance(model, samples, {})
    with pytest.raises(RequestError, match="repeats is 0"):
        permutation_importance(model, samples, repeats=0)
    with pytest.raises(SamplesError, match="no rows"):
        permutation_importance(model, samples.iloc[:0])
    with pytest.raises(SamplesError, match="soil_moisture is NaN"):
        permutation_importance(model, samples.assign(soil_moisture=np.nan))
