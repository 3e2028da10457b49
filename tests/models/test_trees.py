"""Packing of trees, and the reading of UBJ."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gssm.errors import BundleError
from gssm.models import boosting, trees, ubj

FLOATS = st.floats(width=32, allow_nan=False)


@given(FLOATS, FLOATS)
def test_keys_are_ordered_as_the_numbers(a: float, b: float) -> None:
    first, second = trees.order_keys(np.array([a, b], np.float32)).tolist()
    assert (first < second, first == second) == (a < b, a == b)


def test_keys_leave_room_for_missing_on_both_sides() -> None:
    low, high = trees.order_keys(np.array([-np.inf, np.inf])).tolist()
    assert np.iinfo(np.int32).min < low - 1
    assert high < np.iinfo(np.int32).max


def stump() -> dict[str, Any]:
    """Two trees: one of three nodes, and a leaf."""
    return {
        "feature": np.array([1, -1, -1, -1]),
        "key": trees.order_keys(np.array([0.5, 0, 0, 0])),
        "left": np.array([1, -1, -1, -1]),
        "right": np.array([2, -1, -1, -1]),
        "missing_left": np.array([1, 0, 0, 0]),
        "value": np.array([0, 1, 2, 3], np.float32),
        "roots": np.array([0, 3]),
    }


def test_packed_trees_say_what_they_read() -> None:
    packed = trees.pack(**stump())
    assert packed.starts.tolist() == [0, 3, 4]
    assert packed.features == 2
    assert np.flatnonzero(packed.columns).tolist() == [3]  # feature 1, missing to the left
    assert packed.nodes[:, 0][1:].copy().view(np.float32).tolist() == [1, 2, 3]
    assert packed.nodes.nbytes == 8 * 4
    assert not packed.nodes.flags.writeable


def test_nodes_without_a_parent_are_dropped() -> None:
    arrays = stump()
    for name in ("feature", "left", "right"):
        arrays[name] = np.append(arrays[name], -1)
    for name in ("key", "missing_left", "value"):
        arrays[name] = np.append(arrays[name], arrays[name][-1:])
    assert trees.pack(**arrays).starts.tolist() == [0, 3, 4]


DAMAGE: dict[str, tuple[str, Any]] = {
    "child is itself": ("left", [0, -1, -1, -1]),
    "child outside": ("right", [9, -1, -1, -1]),
    "child of another tree": ("right", [3, -1, -1, -1]),
    "child twice": ("right", [1, -1, -1, -1]),
    "child negative": ("left", [-1, -1, -1, -1]),
    "lengths differ": ("value", np.zeros(3, np.float32)),
    "not flat": ("missing_left", np.zeros((4, 1), int)),
    "no roots": ("roots", np.empty(0, int)),
    "root outside": ("roots", [0, 4]),
    "root negative": ("roots", [-1, 3]),
    "first root is not the first node": ("roots", [3]),
    "roots not ascending": ("roots", [0, 0]),
    "feature too large": ("feature", [trees.MAX_FEATURES, -1, -1, -1]),
}


@pytest.mark.parametrize("case", DAMAGE)
def test_what_is_no_set_of_trees_is_refused(case: str) -> None:
    name, value = DAMAGE[case]
    with pytest.raises(BundleError, match="not a set of trees"):
        trees.pack(**{**stump(), name: np.asarray(value)})


def test_packed_trees_read_back() -> None:
    packed = trees.pack(**stump())
    again = trees.from_arrays(packed.arrays)
    np.testing.assert_array_equal(again.nodes, packed.nodes)
    np.testing.assert_array_equal(again.columns, packed.columns)


STORED_DAMAGE: dict[str, dict[str, Any]] = {
    "child is itself": {"nodes": [[0, 0 << 9 | 2], [1, 0], [2, 0]]},
    "child outside": {"nodes": [[0, 3 << 9 | 2], [1, 0], [2, 0]]},
    "child of another tree": {"nodes": [[0, 3 << 9], [1, 0], [2, 0], [3, 0]], "starts": [0, 3, 4]},
    "child negative": {"nodes": [[0, -512], [1, 0], [2, 0]]},
    "child twice": {"nodes": [[0, 1 << 9], [0, 3 << 9], [0, 3 << 9], [1, 0], [2, 0]]},
    "node without a parent": {"nodes": [[0, 0], [1, 0]]},
    "start outside": {"starts": [0, 4]},
    "start not first": {"starts": [1, 3]},
    "starts not ascending": {"starts": [0, 3, 3]},
    "no starts": {"starts": [0]},
    "starts of another type": {"starts": np.array([0, 3], np.int32)},
    "nodes of another type": {"nodes": np.zeros((3, 2), np.float32)},
    "nodes flat": {"nodes": np.zeros(3, np.int32)},
}


@pytest.mark.parametrize("case", STORED_DAMAGE)
def test_stored_arrays_that_are_no_trees_are_refused(case: str) -> None:
    sound = {"nodes": [[0, 1 << 9 | 2], [1, 0], [2, 0]], "starts": [0, 3]}
    types = {"nodes": np.int32, "starts": np.int64}

    def arrays(values: dict[str, Any]) -> dict[str, Any]:
        return {
            name: value if isinstance(value, np.ndarray) else np.array(value, types[name])
            for name, value in values.items()
        }

    trees.from_arrays(arrays(sound))
    damaged = sound | STORED_DAMAGE[case]
    if "starts" not in STORED_DAMAGE[case]:
        damaged["starts"] = [0, len(damaged["nodes"])]
    with pytest.raises(BundleError, match="not a set of trees"):
        trees.from_arrays(arrays(damaged))
    with pytest.raises(BundleError, match="not a set of trees"):
        trees.from_arrays({})


@pytest.fixture(scope="module")
def member() -> boosting.Boosting:
    rng = np.random.default_rng(0)
    features = rng.normal(size=(300, 4)).astype(np.float32)
    params = boosting.BoostingParams(rounds=5, min_child_weight=1)
    return boosting.fit(features, features[:, 0], params, 0)


def test_ubj_says_what_json_says(member: boosting.Boosting) -> None:
    def plain(value: Any) -> Any:
        if isinstance(value, dict):
            return {name: plain(entry) for name, entry in value.items()}
        if isinstance(value, np.ndarray):
            return plain(value.tolist())
        return [plain(entry) for entry in value] if isinstance(value, list) else value

    decoded = plain(ubj.decode(member.ubj))
    expected = json.loads(bytes(member.booster.save_raw("json")))
    for tree in (*tree_list(decoded), *tree_list(expected)):
        for name, values in tree.items():
            if isinstance(values, list):
                tree[name] = np.array(values, np.float32).tolist()  # JSON has more digits
    assert decoded == expected


def tree_list(model: Any) -> list[dict[str, Any]]:
    return list(model["learner"]["gradient_booster"]["model"]["trees"])


@pytest.mark.parametrize(
    ("data", "value"),
    [
        (b"i\xff", -1),
        (b"[U\x07TFZ]", [7, True, False, None]),
        (b"[#i\x02i\x01i\x02", [1, 2]),
        (b"{i\x01aSi\x02hi}", {"a": "hi"}),
        (b"D\x3f\xf8\0\0\0\0\0\0", 1.5),
    ],
)
def test_ubj_values(data: bytes, value: Any) -> None:
    assert ubj.decode(data) == value


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"x",
        b"[",
        b"{",
        b"{i\x01a",
        b"Si\x09short",
        b"Si\xffx",
        b"[$S#i\x01",
        b"[$d#i\x09\0",
        b"[$i",
        b"[" * 5000,
        b"i",
        b"[#L\x7f\xff\xff\xff\xff\xff\xff\xff",
        b"Si\x01\xff",
        b"{Z}",
        b"[$d#S",
    ],
)
def test_damaged_ubj_is_refused(data: bytes) -> None:
    with pytest.raises(BundleError, match="not UBJ"):
        ubj.decode(data)


@pytest.mark.parametrize("keep", [2, 100, 1000, -1])
def test_a_member_cut_short_is_refused(member: boosting.Boosting, keep: int) -> None:
    with pytest.raises(BundleError, match="XGBoost member"):
        boosting.from_ubj(member.ubj[:keep])


def test_a_model_without_its_parts_is_refused() -> None:
    with pytest.raises(BundleError, match="lacks what a model has"):
        boosting.from_ubj(b"{i\x07learner{}}")
