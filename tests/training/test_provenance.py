from __future__ import annotations

import shlex
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from gssm.physics import WaterCloud
from gssm.schema import SPECS, FeatureSpec
from gssm.training.presets import PRESETS, make_recipe
from gssm.training.provenance import Request, describe_training
from gssm.training.samples import concat_samples, read_samples
from gssm.training.sources import CONTENT
from gssm.training.train import train
from sample_tables import simulated_samples


@pytest.fixture
def samples(tmp_path: Path) -> pd.DataFrame:
    simulated_samples().to_parquet(tmp_path / "made_up.parquet")
    return read_samples(tmp_path / "made_up.parquet")


def training(samples: pd.DataFrame, *, evaluate: bool = True, **options: Any) -> dict[str, Any]:
    given = {"spec": "l2", "preset": "default", "members": None, "water_cloud": None, "seed": 0}
    networks = tuple(options.pop("networks", ()))
    recipe = make_recipe(**{**given, **options})
    described = describe_training(samples, samples, recipe, Request(networks, evaluate))
    found: dict[str, Any] = described["training"]
    return found


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({}, ""),
        ({"networks": ["NETA", "NET B"]}, "--networks 'NETA,NET B' "),
        ({"spec": "l2-history", "seed": 3}, "--spec l2-history --seed 3 "),
        ({"spec": SPECS["paper33"]}, "--spec paper33 "),
        ({"preset": "tiny"}, "--preset tiny "),
        ({"preset": PRESETS["tiny"]}, "--preset tiny "),  # its values have a name
        ({"members": ["tabnet", "xgboost", "random_forest"], "water_cloud": WaterCloud()}, ""),
    ],
)
def test_a_command_says_all_that_a_command_can(
    samples: pd.DataFrame, options: dict[str, Any], words: str
) -> None:
    command = training(samples, **options)["command"]
    assert command == f"gssm train made_up.parquet {words}--out <folder>"


BEYOND: dict[str, dict[str, Any]] = {
    "members": {"members": ["xgboost"]},
    "water_cloud": {"water_cloud": WaterCloud(floor_db=-60)},
    "evaluate": {"evaluate": False},
    "spec": {"spec": FeatureSpec("mine", ("vv_db", "vh_db"))},
    "spec of a known name": {"spec": FeatureSpec("l2", ("vv_db", "vh_db"))},
    "networks": {"networks": ["NET,A"]},
}


@pytest.mark.parametrize("case", BEYOND)
def test_what_no_command_can_say_is_said_in_python(samples: pd.DataFrame, case: str) -> None:
    command = training(samples, **BEYOND[case])["command"]
    first, *lines = command.splitlines()
    name = case.partition(" ")[0]
    assert first == f"# Trained from Python: the command gssm train has no options for {name}."
    assert lines[-2] == "samples = gssm.read_samples('made_up.parquet')"
    (value,) = BEYOND[case].values()
    given = tuple(value) if isinstance(value, list) else value
    assert lines[-1] == f"model = gssm.train(samples, {name}={given!r})"


def test_hyper_parameters_without_a_name_can_come_from_a_file_too(samples: pd.DataFrame) -> None:
    own = replace(PRESETS["tiny"], blanked_copies=5)
    command = training(samples, preset=own)["command"]
    assert command.startswith("# In Python, or by the command gssm train with a file of this")
    assert "preset=Preset(random_forest=ForestParams(trees=5" in command


def test_the_python_of_a_manifest_remakes_the_model(
    samples: pd.DataFrame, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tiny = PRESETS["tiny"]
    model = train(
        samples,
        spec=FeatureSpec("mine", ("vv_soil", "vh_soil", "s2_ndvi")),
        preset=replace(tiny, xgboost=replace(tiny.xgboost, rounds=7)),
        networks="NETA",
        members="xgboost",
        water_cloud=WaterCloud(a_vv=(0.1, 0.2), floor_db=-60),
        seed=5,
        evaluate=False,
    )
    monkeypatch.chdir(tmp_path)
    made: dict[str, Any] = {}
    exec(model.provenance["training"]["command"], made)
    assert made["model"].sha256 == model.sha256


def test_a_name_with_spaces_is_one_word(tmp_path: Path) -> None:
    simulated_samples().to_parquet(tmp_path / "all of it.parquet")
    command = training(read_samples(tmp_path / "all of it.parquet"))["command"]
    assert shlex.split(command)[:3] == ["gssm", "train", "all of it.parquet"]


def unchanged(samples: pd.DataFrame) -> pd.DataFrame:
    """Neither the index nor a column that no model reads matters, nor a filter of nothing."""
    return samples[samples["vv"] > 0].set_index(samples["station"]).assign(note="fine")


def test_a_table_as_it_was_read_has_the_hash_of_its_file(samples: pd.DataFrame) -> None:
    for table in (samples, unchanged(samples)):
        found = training(table)
        assert found["table"] == "made_up.parquet"
        assert found["table_sha256"] == samples.attrs["source"]["sha256"]
        assert found["tables"] == [samples.attrs["source"]]


CHANGES = {
    "rows left out": lambda t: t[t["network"] == "NETA"],
    "a value": lambda t: t.assign(vv=t["vv"].where(t.index != 7, np.float32(0.1))),
    "a column": lambda t: t.drop(columns="dsm"),
    "a feature": lambda t: t.assign(vv_soil=np.float32(-9)),
    "the order": lambda t: t.iloc[::-1],
    "a station": lambda t: t.assign(station=t["station"].replace("st1", "st2")),
}


@pytest.mark.parametrize("case", CHANGES)
def test_a_table_that_was_changed_claims_no_file(samples: pd.DataFrame, case: str) -> None:
    found = training(CHANGES[case](samples))
    assert found["table"] == "made_up.parquet, changed after it was read"
    assert found["table_sha256"] is None
    assert found["tables"] == [{**samples.attrs["source"], "changed": True}]
    command = "gssm train <made_up.parquet, changed after it was read> --out <folder>"
    assert found["command"] == command
    told = training(CHANGES[case](samples), members=["xgboost"])["command"]
    assert "samples = ...  # made_up.parquet, changed after it was read" in told


def test_the_rows_of_a_network_are_the_files_own(samples: pd.DataFrame) -> None:
    model = train(samples, preset="tiny", members="xgboost", networks="NETA", evaluate=False)
    found = model.provenance["training"]
    assert found["rows"] == 120
    assert found["table_sha256"] == samples.attrs["source"]["sha256"]


def test_a_table_of_several_names_them_and_what_was_changed(samples: pd.DataFrame) -> None:
    other = samples.assign(station=samples["station"] + "b", longitude=20.0)
    whole = concat_samples([samples, other])
    found = training(whole)
    assert [table.get("changed") for table in found["tables"]] == [None, True]
    assert found["table"] == "made_up.parquet + made_up.parquet, changed after it was read"
    assert found["table_sha256"] is None
    same = concat_samples([samples, samples])
    assert "changed" not in training(same)["table"]
    assert [t.get("changed") for t in training(same.iloc[1:])["tables"]] == [True, True]
    # One alone is put together too: of another level it would lack columns.
    assert training(concat_samples([samples]))["table_sha256"] is None


def test_a_table_of_no_file(samples: pd.DataFrame) -> None:
    found = training(simulated_samples())
    assert (found["table"], found["table_sha256"], found["tables"]) == (None, None, [])
    assert found["command"] == "gssm train <table> --out <folder>"
    unknown = samples.copy()
    del unknown.attrs[CONTENT]  # nobody can say whether it was changed
    assert training(unknown)["table_sha256"] is None
