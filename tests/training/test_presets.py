from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import fields, replace
from typing import Any, get_type_hints

import numpy as np
import pytest

from gssm.errors import RequestError
from gssm.models.boosting import BoostingParams
from gssm.models.ensemble import KINDS
from gssm.models.forest import ForestParams
from gssm.models.tabnet import TabNetParams
from gssm.physics import WaterCloud
from gssm.schema import SPECS
from gssm.training.crossval import cross_validate
from gssm.training.presets import CUSTOM, PRESETS, RANGES, Preset, Recipe, make_recipe
from gssm.training.train import train
from gssm.training.tune import tune
from sample_tables import simulated_samples

TINY = PRESETS["tiny"]


def recipe(**options: Any) -> Recipe:
    given = {"spec": "l2", "preset": "tiny", "members": None, "water_cloud": None, "seed": 0}
    return make_recipe(**{**given, **options})


def changed(path: str, value: Any) -> Preset:
    """Return the tiny preset with one value changed, such as of ``xgboost.rounds``."""
    member, _, name = path.rpartition(".")
    if not member:
        return replace(TINY, **{name: value})
    return replace(TINY, **{member: replace(getattr(TINY, member), **{name: value})})


def paths() -> Iterator[tuple[str, type, str]]:
    """Every hyper-parameter: where it is, the record that has it, its name."""
    for name, hint in get_type_hints(Preset).items():
        if hint in RANGES:
            yield from ((f"{name}.{field.name}", hint, field.name) for field in fields(hint))
        else:
            yield name, Preset, name


def test_every_hyper_parameter_has_a_range() -> None:
    for kind in (ForestParams, BoostingParams, TabNetParams):
        assert set(RANGES[kind]) == {field.name for field in fields(kind)}
    assert set(RANGES[Preset]) | set(KINDS) == {field.name for field in fields(Preset)}


@pytest.mark.parametrize("name", list(PRESETS))
def test_named_presets_are_within_it_and_unchanged(name: str) -> None:
    params = recipe(preset=name).params
    assert params == PRESETS[name]
    assert repr(params) == repr(PRESETS[name])  # a whole number stays one, in a manifest too


@pytest.mark.parametrize(("path", "kind", "name"), list(paths()))
def test_what_is_out_of_range_or_no_number_is_refused(path: str, kind: type, name: str) -> None:
    allowed = RANGES[kind][name]
    outside = [allowed.low - 1, -1, math.nan, math.inf, "100", True, [1], 1j]
    outside += [allowed.high + 0.5] if allowed.high < math.inf else []
    outside += [allowed.low] if allowed.above else []
    for value in outside:
        with pytest.raises(RequestError, match=f"^{path} of the preset is .*; give a") as caught:
            recipe(preset=changed(path, value))
        assert len(str(caught.value).splitlines()) == 1


@pytest.mark.parametrize(
    ("path", "value", "says"),
    [
        ("random_forest.trees", 0, "is 0; give a whole number of at least 1."),
        ("random_forest.trees", 2.5, "is 2.5; give a whole number of at least 1."),
        ("random_forest.max_depth", 0, "is 0; give a whole number of at least 1 or None."),
        ("xgboost.learning_rate", -1, "is -1; give a number above 0 and up to 1."),
        ("xgboost.max_depth", 0, "is 0; give a whole number of at least 1."),
        ("xgboost.max_depth", None, "is None; give a whole number of at least 1."),
        ("xgboost.subsample", 2, "is 2; give a number above 0 and up to 1."),
        ("xgboost.min_child_weight", math.nan, "is nan; give a number of at least 0."),
        ("tabnet.epochs", 0, "is 0; give a whole number of at least 1."),
        ("tabnet.batch_size", 0, "is 0; give a whole number of at least 2."),
        ("window_days", -3.0, "is -3.0; give a number of at least 0."),
        ("blanked_copies", -1, "is -1; give a whole number of at least 0."),
        ("blanked_copies", True, "is True; give a whole number of at least 0."),
        ("station_shrinkage", 1.5, "is 1.5; give a number from 0 to 1."),
        ("station_shrinkage", "0.5", "is '0.5'; give a number from 0 to 1."),
        ("tabnet", None, "is None; give a TabNetParams."),
    ],
)
def test_the_sentence_names_the_field_the_value_and_what_is_allowed(
    path: str, value: Any, says: str
) -> None:
    with pytest.raises(RequestError) as caught:
        recipe(preset=changed(path, value))
    assert str(caught.value) == f"{path} of the preset {says}"


def test_every_way_to_a_fit_checks_the_preset() -> None:
    samples, wrong = simulated_samples(), changed("random_forest.trees", 0)
    for verb in (train, cross_validate, tune):
        with pytest.raises(RequestError, match=r"random_forest\.trees of the preset is 0"):
            verb(samples, preset=wrong)


def test_a_network_without_layers_is_refused() -> None:
    none = replace(TINY, tabnet=replace(TINY.tabnet, n_independent=0, n_shared=0))
    with pytest.raises(RequestError, match="both 0, which leaves no layer"):
        recipe(preset=none)
    recipe(preset=replace(TINY, tabnet=replace(TINY.tabnet, n_independent=0)))


def test_numbers_of_numpy_become_pythons_own() -> None:
    forest = replace(TINY.random_forest, trees=np.int64(7), max_samples=np.float32(0.5))
    params = recipe(preset=replace(TINY, random_forest=forest, window_days=np.float64(2))).params
    assert type(params.random_forest.trees) is int
    assert type(params.random_forest.max_samples) is float
    assert type(params.window_days) is float
    # To scikit-learn 1 would be a single column.
    share = recipe(preset=changed("random_forest.max_features", 1)).params.random_forest
    assert type(share.max_features) is float
    assert type(recipe(seed=np.int64(3)).seed) is int


@pytest.mark.parametrize("preset", ["huge", {}, None, [], TINY.xgboost])
def test_what_is_no_preset_is_refused(preset: Any) -> None:
    with pytest.raises(RequestError, match=r"there is no preset .*; use one of 'default'"):
        recipe(preset=preset)


@pytest.mark.parametrize(
    ("members", "chosen"),
    [
        (None, tuple(KINDS)),
        ("xgboost", ("xgboost",)),
        (["tabnet", "random_forest"], ("random_forest", "tabnet")),
        ({"xgboost": 1}, ("xgboost",)),
    ],
)
def test_members_by_name(members: Any, chosen: tuple[str, ...]) -> None:
    assert recipe(members=members).members == chosen


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"members": "svm"}, "members names 'svm'; use some of 'random_forest', 'xgboost'"),
        ({"members": []}, "members names none; use some of"),
        ({"members": 5}, "members is 5; give a name, or a list of names"),
        ({"members": [["xgboost"]]}, r"members is \[\['xgboost'\]\]; give a name"),
        ({"seed": "a"}, "seed is 'a'; use a whole number from 0 to 2147483647"),
        ({"seed": 1.5}, "seed is 1.5; use"),
        ({"seed": True}, "seed is True; use"),
        ({"seed": None}, "seed is None; use"),
        ({"seed": 2**31}, "seed is 2147483648; use"),
        ({"water_cloud": 0}, r"water_cloud is 0; give a gssm\.WaterCloud"),
    ],
)
def test_options_that_cannot_be_served(options: dict[str, Any], says: str) -> None:
    with pytest.raises(RequestError, match=says):
        recipe(**options)


def test_a_recipe_has_all_that_was_asked_for() -> None:
    water = WaterCloud(floor_db=-60)
    asked = recipe(spec="paper33", preset=changed("blanked_copies", 5), water_cloud=water, seed=4)
    params = replace(TINY, blanked_copies=5)
    assert asked == Recipe(SPECS["paper33"], CUSTOM, params, tuple(KINDS), water, 4)
    assert recipe().water_cloud == WaterCloud()
