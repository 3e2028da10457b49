"""The compiled traversal against a plain one, and against the libraries that grow trees."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numba
import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from sklearn.ensemble import RandomForestRegressor

from gssm.errors import BundleError
from gssm.models import boosting, forest, grouping, lanes, traverse, trees
from gssm.models.compiled import compiled

Float32Array = NDArray[np.float32]

# Values that features and thresholds share, so that many rows lie exactly on a split.
TIES = np.array([-np.inf, -3e38, -1.5, -1e-40, -0.0, 0.0, 1e-40, 0.1, 2, 3e38, np.inf], np.float32)


def grow(seed: int, count: int = 20, features: int = 5, depth: int = 9) -> dict[str, Any]:
    """Random trees that no library grew: all thresholds and sides, single leaves among them."""
    rng = np.random.default_rng(seed)
    nodes: list[list[float]] = []
    roots = []

    def branch(level: int) -> int:
        at = len(nodes)
        nodes.append([-1, 0, -1, -1, 0, rng.normal()])
        if level < depth and rng.random() < 0.8:
            threshold = rng.choice(TIES) if rng.random() < 0.5 else rng.normal()
            nodes[at][:2] = [rng.integers(features), threshold]
            nodes[at][2], nodes[at][3] = branch(level + 1), branch(level + 1)
            nodes[at][4] = rng.integers(2)
        return at

    for _ in range(count):
        roots.append(len(nodes))
        branch(0)
    names = ("feature", "threshold", "left", "right", "missing_left", "value")
    kinds = (np.int16, np.float32, np.int32, np.int32, np.uint8, np.float32)
    columns = zip(names, zip(*nodes, strict=True), kinds, strict=True)
    arrays = {name: np.array(column).astype(kind) for name, column, kind in columns}
    return arrays | {"roots": np.array(roots, np.int32)}


def draw(seed: int, rows: int, features: int = 5) -> Float32Array:
    """Rows with ties, infinities and gaps."""
    rng = np.random.default_rng(seed)
    drawn = np.where(
        rng.random((rows, features)) < 0.5,
        rng.choice(TIES, (rows, features)),
        rng.normal(size=(rows, features)),
    )
    return np.where(rng.random((rows, features)) < 0.2, np.nan, drawn).astype(np.float32)


def walk(arrays: dict[str, Any], rows: Float32Array) -> NDArray[np.float64]:
    """Values of the trees, (trees, n), as the definition of the arrays says."""
    feature, threshold = arrays["feature"], arrays["threshold"]
    values = []
    for root in arrays["roots"]:
        at = np.full(len(rows), root)
        while np.any(inner := feature[at] >= 0):
            x = rows[np.arange(len(rows)), np.maximum(feature[at], 0)]
            left = np.where(np.isnan(x), arrays["missing_left"][at] == 1, x <= threshold[at])
            at = np.where(inner, np.where(left, arrays["left"][at], arrays["right"][at]), at)
        values.append(arrays["value"][at])
    return np.array(values, np.float64)


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("rows", [1, 2, 63, 64, 65, 3000])
def test_sums_equal_trees_walked_row_by_row(seed: int, rows: int) -> None:
    grown, features = grow(seed), draw(seed, rows)
    values, packed = walk(grown, features), forest.from_nodes(**grown).trees
    total = np.zeros(rows)
    single = np.full(rows, 0.2, np.float32)
    for value in values:
        total += value
        single += value.astype(np.float32)
    np.testing.assert_array_equal(traverse.sums(packed, features, 0.0, np.float64), total)
    np.testing.assert_array_equal(traverse.sums(packed, features, 0.2, np.float32), single)


def test_trees_of_one_leaf_need_no_column() -> None:
    leaf = np.array([-1, -1])
    only = trees.pack(
        feature=leaf,
        key=np.zeros(2, np.int32),
        left=leaf,
        right=leaf,
        missing_left=np.zeros(2, np.int32),
        value=np.array([0.5, 0.25], np.float32),
        roots=np.array([0, 1]),
    )
    assert only.features == 0
    assert (
        traverse.sums(only, np.zeros((700, 0), np.float32), 1.0, np.float64).tolist()
        == [1.75] * 700
    )


def test_chain_deeper_than_any_recursion() -> None:
    depth = 3000
    index = np.arange(2 * depth + 1)
    inner = (index % 2 == 0) & (index < 2 * depth)
    chain = forest.from_nodes(
        feature=np.where(inner, 0, -1).astype(np.int16),
        threshold=(index // 2).astype(np.float32),
        left=np.where(inner, index + 1, -1).astype(np.int32),
        right=np.where(inner, index + 2, -1).astype(np.int32),
        missing_left=np.zeros(index.size, np.uint8),
        value=(index // 2).astype(np.float32),
        roots=np.zeros(1, np.int32),
    )
    rows = np.random.default_rng(0).permutation(depth + 1).astype(np.float32)[:, None]
    np.testing.assert_array_equal(chain.predict(rows), rows[:, 0])


GROWN = forest.from_nodes(**grow(11, count=30))
ROWS = draw(11, 5000)
WHOLE = GROWN.predict(ROWS)


@settings(max_examples=25)
@given(st.lists(st.integers(0, len(ROWS)), max_size=4), st.integers(0, 1000))
@example([1, 64, 4095], 0)
def test_a_row_is_the_same_in_any_block_and_order(cuts: list[int], seed: int) -> None:
    order = np.random.default_rng(seed).permutation(len(ROWS))
    blocks = np.split(ROWS[order], sorted(cuts))
    parts = np.concatenate([GROWN.predict(block) for block in blocks])
    np.testing.assert_array_equal(parts, WHOLE[order])


def test_chunks_join(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(traverse, "CHUNK", 1000)
    np.testing.assert_array_equal(GROWN.predict(ROWS), WHOLE)


def test_order_does_not_matter(monkeypatch: pytest.MonkeyPatch) -> None:
    order = grouping.group(GROWN.trees, ROWS)
    assert not np.array_equal(order, np.arange(len(ROWS)))
    np.testing.assert_array_equal(np.sort(order), np.arange(len(ROWS)))
    monkeypatch.setattr(traverse, "group", lambda _, rows: np.arange(len(rows), dtype=np.int32))
    np.testing.assert_array_equal(GROWN.predict(ROWS), WHOLE)


def test_rows_may_be_any_view() -> None:
    np.testing.assert_array_equal(GROWN.predict(ROWS[::3]), WHOLE[::3])
    np.testing.assert_array_equal(GROWN.predict(np.asfortranarray(ROWS)), WHOLE)
    np.testing.assert_array_equal(GROWN.predict(ROWS.astype(np.float64)), WHOLE)
    frozen = ROWS.copy()
    frozen.flags.writeable = False
    np.testing.assert_array_equal(GROWN.predict(frozen), WHOLE)
    assert ROWS.flags.writeable


def test_nodes_may_be_memory_mapped(tmp_path: object) -> None:
    path = f"{tmp_path}/nodes"
    GROWN.trees.nodes.tofile(path)
    mapped = np.memmap(path, np.int32, "r").reshape(-1, 2)
    again = trees.Trees(mapped, GROWN.trees.starts)
    assert np.shares_memory(again.nodes, mapped)
    np.testing.assert_array_equal(
        traverse.sums(again, ROWS, 0.0, np.float64),
        traverse.sums(GROWN.trees, ROWS, 0.0, np.float64),
    )


def test_eight_threads_at_once() -> None:
    with ThreadPoolExecutor(8) as pool:
        for result in pool.map(GROWN.predict, [ROWS] * 16):
            np.testing.assert_array_equal(result, WHOLE)


def test_no_rows() -> None:
    assert GROWN.predict(np.empty((0, 5), np.float32)).shape == (0,)


@pytest.mark.parametrize("shape", [(3, 4), (5,), (1, 2, 5)])
def test_other_shapes_are_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="columns of the model's own spec"):
        GROWN.predict(np.zeros(shape, np.float32))


@pytest.mark.parametrize("gaps", [0.0, 0.3])
def test_forest_sends_rows_where_scikit_learn_does(gaps: float) -> None:
    rng = np.random.default_rng(3)
    features = (rng.integers(0, 12, (900, 6)) / np.float32(7)).astype(np.float32)
    target = features[:, 0] * 0.1 + rng.normal(0, 0.05, 900)
    features[rng.random(features.shape) < gaps] = np.nan
    fitted = RandomForestRegressor(30, min_samples_leaf=2, random_state=0).fit(features, target)
    flat = forest.from_sklearn(fitted)
    rows = np.concatenate([features, draw(5, 4000, 6)])
    # scikit-learn refuses infinities at its gate; its trees do not.
    expected = np.mean([tree.tree_.predict(rows)[:, 0] for tree in fitted.estimators_], axis=0)
    np.testing.assert_allclose(flat.predict(rows), expected, atol=1e-6)


@pytest.mark.parametrize("options", [{"max_depth": 3}, {"max_depth": 12, "min_child_weight": 1}])
@pytest.mark.parametrize("gaps", [0.0, 0.3])
def test_boosting_equals_xgboost_to_the_last_bit(options: dict[str, int], gaps: float) -> None:
    rng = np.random.default_rng(4)
    features = (rng.integers(0, 30, (900, 6)) / np.float32(7)).astype(np.float32)
    target = (0.2 + features[:, 0] * 0.03 + rng.normal(0, 0.05, 900)).astype(np.float32)
    features[rng.random(features.shape) < gaps] = np.nan
    params = boosting.BoostingParams(rounds=60, learning_rate=0.3, reg_lambda=0, **options)
    member = boosting.fit(features, target, params, 0)
    # Thresholds as features: what is exactly on a split goes right.
    model = boosting.ubj.decode(member.ubj)["learner"]["gradient_booster"]["model"]
    splits = np.concatenate([tree["split_conditions"] for tree in model["trees"]])
    drawn = draw(6, 4000, 6)
    rows = np.concatenate([features, rng.choice(splits, (4000, 6)), drawn]).astype(np.float32)
    rows = rows[~np.isinf(rows).any(axis=1)]  # XGBoost refuses them
    expected = member.booster.inplace_predict(rows)
    np.testing.assert_array_equal(member.predict(rows), expected)


def test_infinity_is_beyond_all_numbers_for_boosting() -> None:
    rng = np.random.default_rng(7)
    features = rng.normal(size=(500, 3)).astype(np.float32)
    params = boosting.BoostingParams(rounds=20, min_child_weight=1)
    member = boosting.fit(features, features[:, 0] * np.float32(0.1), params, 0)
    far = np.where(features > 0, 3e38, -3e38).astype(np.float32)
    infinite = np.where(features > 0, np.inf, -np.inf).astype(np.float32)
    np.testing.assert_array_equal(member.predict(infinite), member.predict(far))


def test_boosting_of_another_kind_is_refused() -> None:
    import xgboost

    rng = np.random.default_rng(8)
    features = rng.normal(size=(200, 3)).astype(np.float32)
    matrix = xgboost.DMatrix(features, label=(features[:, 0] > 0).astype(np.float32))
    for options in ({"objective": "binary:logistic"}, {"booster": "gblinear"}):
        other = xgboost.train({**options, "nthread": 1}, matrix, num_boost_round=2)
        with pytest.raises(BundleError, match="XGBoost member"):
            boosting.from_ubj(bytes(other.save_raw("ubj")))


def test_compiled_loops_know_what_they_were_compiled_with() -> None:
    # numba's cache does not see a change in lanes.py or trees.py: quote its digest anew.
    assert traverse.COMPILED_IN == grouping.COMPILED_IN == lanes.digest()


def test_loops_compile_where_no_folder_can_be_written(monkeypatch: pytest.MonkeyPatch) -> None:
    real = numba.njit

    def refuse(*args: object, cache: bool = False, **options: object) -> object:
        if cache:
            raise RuntimeError("cannot cache function: no locator available")
        return real(*args, **options)

    monkeypatch.setattr(numba, "njit", refuse)

    @compiled
    def double(x: int) -> int:
        return 2 * x

    assert double(3) == 6
