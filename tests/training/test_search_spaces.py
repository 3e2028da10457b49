from __future__ import annotations

from dataclasses import fields, replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gssm.errors import RequestError
from gssm.models.ensemble import KINDS
from gssm.training.presets import PRESETS
from gssm.training.search_spaces import (
    PARAMS,
    SPACES,
    Between,
    OneOf,
    distributions,
    inside,
    resolve_spaces,
)


@pytest.mark.parametrize("member", list(KINDS))
def test_a_search_can_begin_with_the_default_preset(member: str) -> None:
    start = getattr(PRESETS["default"], member)
    values = inside(start, SPACES[member])
    assert values is not None
    assert replace(start, **values) == start


@pytest.mark.parametrize("member", list(KINDS))
def test_tables_name_hyper_parameters_once(member: str) -> None:
    names = [parameter.name for parameter in SPACES[member]]
    assert len(set(names)) == len(names)
    assert set(names) <= {field.name for field in fields(PARAMS[member])}
    assert resolve_spaces({member: SPACES[member]}) == {member: SPACES[member]}


@settings(max_examples=20)
@given(seed=st.integers(0, 2**32 - 1), member=st.sampled_from(list(KINDS)))
def test_what_is_drawn_lies_inside_and_is_of_its_kind(seed: int, member: str) -> None:
    import optuna

    sampler = optuna.samplers.TPESampler(seed=seed)
    study = optuna.create_study(sampler=sampler, storage=optuna.storages.InMemoryStorage())
    drawn = study.ask(distributions(SPACES[member])).params
    params = replace(getattr(PRESETS["default"], member), **drawn)
    assert inside(params, SPACES[member]) == drawn
    whole = {field.name for field in fields(params) if field.type == "int"}
    assert all(isinstance(value, int) == (name in whole) for name, value in drawn.items())


def test_limits_and_choices() -> None:
    space = (Between("max_depth", 2, 4), Between("subsample", 0.5, 1), OneOf("rounds", (5, 9)))
    start = PARAMS["xgboost"](max_depth=4, subsample=1, rounds=9)
    assert inside(start, space) == {"max_depth": 4, "subsample": 1.0, "rounds": 9}
    for outside in ({"max_depth": 5}, {"max_depth": None}, {"subsample": 0.4}, {"rounds": 6}):
        assert inside(replace(start, **outside), space) is None
    assert inside(PARAMS["xgboost"](reg_lambda=1.5), (Between("reg_lambda", 1, 2),)) is None


def test_members_in_the_order_of_their_columns() -> None:
    assert resolve_spaces(None) == SPACES
    assert list(resolve_spaces(["tabnet", "random_forest"])) == ["random_forest", "tabnet"]
    own = {"xgboost": [Between("rounds", 1, 5)], "random_forest": [Between("trees", 1, 5)]}
    assert resolve_spaces(own) == {
        "random_forest": (Between("trees", 1, 5),),
        "xgboost": (Between("rounds", 1, 5),),
    }


@pytest.mark.parametrize(
    ("members", "message"),
    [
        (["forest"], r"names 'forest'; use some of 'random_forest', 'xgboost', 'tabnet'"),
        ([], "names none; use some of"),
        ({"xgboost": ()}, "space of xgboost is empty or names"),
        ({"xgboost": (Between("rounds", 1, 2),) * 2}, "twice; name each once"),
        ({"xgboost": (Between("trees", 1, 2),)}, "xgboost has no hyper-parameter 'trees'; use"),
        ({"xgboost": (Between("rounds", 5, 2),)}, "rounds of xgboost ends at 2 before it begins"),
        ({"xgboost": (Between("rounds", 0, 2, log=True),)}, "begins at 0, which has no logarithm"),
        ({"xgboost": (Between("rounds", 1.5, 2.0),)}, "only whole numbers will do"),
        ({"random_forest": (Between("max_depth", 1, 2.5),)}, "only whole numbers will do"),
        ({"xgboost": (Between("subsample", 0.1, float("nan")),)}, "not made of finite numbers"),
        ({"xgboost": (OneOf("subsample", ("all",)),)}, "not made of finite numbers"),  # type: ignore[arg-type]
        ({"xgboost": (OneOf("subsample", ()),)}, "subsample of xgboost has no value"),
    ],
)
def test_spaces_that_would_mislead_are_refused(members: object, message: str) -> None:
    with pytest.raises(RequestError, match=message):
        resolve_spaces(members)  # type: ignore[arg-type]
