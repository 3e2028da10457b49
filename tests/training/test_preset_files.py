from __future__ import annotations

import json
import math
import sys
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, get_args, get_type_hints

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gssm.errors import RequestError, StoreExistsError, StoreWriteError
from gssm.training.preset_files import load_preset, save_preset
from gssm.training.presets import PRESETS, RANGES, Preset, Range


def values(hint: Any, allowed: Range) -> st.SearchStrategy[Any]:
    """Every value that a hyper-parameter may have."""
    kinds = get_args(hint) or (hint,)
    if int in kinds:
        found: st.SearchStrategy[Any] = st.integers(int(allowed.low), 10**6)
    else:
        top = min(allowed.high, sys.float_info.max)
        found = st.floats(allowed.low, top, exclude_min=allowed.above)
    return st.none() | found if type(None) in kinds else found


def records(kind: type) -> st.SearchStrategy[Any]:
    given = {
        name: records(hint) if hint in RANGES else values(hint, RANGES[kind][name])
        for name, hint in get_type_hints(kind).items()
    }
    return st.builds(kind, **given)


def has_layers(preset: Preset) -> bool:
    return preset.tabnet.n_independent + preset.tabnet.n_shared > 0


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=50)
@given(preset=records(Preset).filter(has_layers))
def test_what_is_saved_is_read_again(tmp_path: Path, preset: Preset) -> None:
    save_preset(tmp_path / "preset.json", preset, overwrite=True)
    assert load_preset(tmp_path / "preset.json") == preset
    assert [path.name for path in tmp_path.iterdir()] == ["preset.json"]


@pytest.mark.parametrize("name", list(PRESETS))
def test_named_presets_round_trip(tmp_path: Path, name: str) -> None:
    save_preset(tmp_path / "preset.json", PRESETS[name])
    assert load_preset(tmp_path / "preset.json") == PRESETS[name]


def content(**changes: Any) -> dict[str, Any]:
    return {"format": "gssm-preset", "version": 1, **asdict(PRESETS["tiny"]), **changes}


TABNET = asdict(PRESETS["tiny"].tabnet)


@pytest.mark.parametrize(
    ("found", "message"),
    [
        (content(speed=3), r"has 'speed', which this gssm does not know; mend the file"),
        (content(tabnet={**TABNET, "depth": 3}), r"preset.json: tabnet .* has 'depth', which"),
        (content(tabnet={"n_d": 3}), "lacks 'batch_size', 'decay', .* which this gssm needs"),
        (content(tabnet=[1, 2]), "tabnet is no TabNetParams: it lacks"),
        (content(tabnet={**TABNET, "n_d": 3.0}), "n_d is 3.0, which is not int; mend it"),
        (content(tabnet={**TABNET, "gamma": "1.3"}), "gamma is '1.3', which is not float"),
        (content(tabnet={**TABNET, "gamma": None}), "gamma is None, which is not float"),
        (content(blanked_copies=True), "blanked_copies is True, which is not int"),
        (content(tabnet={**TABNET, "epochs": 0}), r"tabnet.epochs of preset.json is 0; give a wh"),
        (content(window_days=-1), "window_days of preset.json is -1.0; give a number of at least"),
        (content(version=2), "version 2 and this gssm reads version 1"),
        ({"trees": 5}, "is no preset of gssm; give a file written by save_preset"),
        ([1], "is no preset of gssm"),
    ],
)
def test_what_is_no_preset_is_refused(tmp_path: Path, found: Any, message: str) -> None:
    path = tmp_path / "preset.json"
    path.write_text(json.dumps(found))
    with pytest.raises(RequestError, match=message):
        load_preset(path)


@pytest.mark.parametrize("value", [math.nan, -1.0, "3"])
def test_what_could_not_be_read_again_is_not_saved(tmp_path: Path, value: Any) -> None:
    wrong = replace(PRESETS["tiny"], window_days=value)
    with pytest.raises(RequestError, match="window_days of the preset is"):
        save_preset(tmp_path / "preset.json", wrong)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("data", [b"{", b"\xff\xfe", b'{"format": NaN}'])
def test_what_is_not_json_is_refused(tmp_path: Path, data: bytes) -> None:
    path = tmp_path / "preset.json"
    path.write_bytes(data)
    with pytest.raises(RequestError, match=r"preset.json is not JSON"):
        load_preset(path)


def test_paths(tmp_path: Path) -> None:
    with pytest.raises(RequestError, match=r"cannot be read .No such file"):
        load_preset(tmp_path / "none.json")
    with pytest.raises(StoreWriteError, match=r"cannot be written to .* choose another path"):
        save_preset(tmp_path / "none" / "preset.json", PRESETS["tiny"])
    path = tmp_path / "preset.json"
    save_preset(path, PRESETS["tiny"])
    other = replace(PRESETS["tiny"], blanked_copies=3)
    with pytest.raises(StoreExistsError, match="exists; choose another path or pass overwrite"):
        save_preset(path, other)
    assert load_preset(path) == PRESETS["tiny"]
    save_preset(path, other, overwrite=True)
    assert load_preset(path) == other
    with pytest.raises(StoreWriteError, match="cannot be written"):
        save_preset(tmp_path, other, overwrite=True)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["preset.json"]
