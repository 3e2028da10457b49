from __future__ import annotations

import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from sklearn.ensemble import RandomForestRegressor

from gssm.errors import BundleError
from gssm.models import boosting, forest, tabnet
from gssm.models.ensemble import KINDS, Member

Table = tuple[NDArray[np.float32], NDArray[np.float32]]

TINY_TABNET = tabnet.TabNetParams(
    n_d=4, n_a=4, n_steps=2, epochs=2, batch_size=64, virtual_batch_size=32
)
FITS = {
    "random_forest": lambda x, y, seed: forest.fit(
        x, y, forest.ForestParams(trees=7, min_samples_leaf=3), seed
    ),
    "xgboost": lambda x, y, seed: boosting.fit(
        x, y, boosting.BoostingParams(rounds=8, max_depth=3, min_child_weight=1), seed
    ),
    "tabnet": lambda x, y, seed: tabnet.fit(x, y, TINY_TABNET, seed),
}


@pytest.fixture(scope="module")
def table() -> Table:
    rng = np.random.default_rng(0)
    features = rng.normal(size=(400, 6)).astype(np.float32)
    target = (0.2 + 0.05 * features[:, 0] + 0.02 * features[:, 1]).astype(np.float32)
    features[rng.random(features.shape) < 0.15] = np.nan
    features[:, 5] = np.nan  # a sensor that this table never saw
    return features, target


@pytest.fixture(scope="module", params=FITS)
def named_member(request: pytest.FixtureRequest, table: Table) -> tuple[str, Member]:
    return request.param, FITS[request.param](*table, 0)


def test_member_survives_its_bytes(named_member: tuple[str, Member], table: Table) -> None:
    name, member = named_member
    again = KINDS[name].from_bytes(member.to_bytes(), member.params)
    predicted = again.predict(table[0])
    assert predicted.dtype == np.float32
    assert predicted.shape == (400,)
    np.testing.assert_array_equal(predicted, member.predict(table[0]))
    assert again.to_bytes() == member.to_bytes()


def test_member_is_the_same_for_the_same_seed(
    named_member: tuple[str, Member], table: Table
) -> None:
    name, member = named_member
    assert FITS[name](*table, 0).to_bytes() == member.to_bytes()
    assert FITS[name](*table, 1).to_bytes() != member.to_bytes()


def test_member_gives_the_same_in_blocks_and_threads(
    named_member: tuple[str, Member], table: Table
) -> None:
    _, member = named_member
    features = np.tile(table[0], (30, 1))
    blocks = np.array_split(features, 7)
    with ThreadPoolExecutor(4) as pool:
        in_blocks = np.concatenate(list(pool.map(member.predict, blocks)))
    np.testing.assert_allclose(in_blocks, member.predict(features), atol=1e-6)


def test_member_predicts_where_everything_is_missing(named_member: tuple[str, Member]) -> None:
    _, member = named_member
    assert np.isfinite(member.predict(np.full((3, 6), np.nan, np.float32))).all()


@pytest.mark.parametrize("gaps", [0.0, 0.3])
def test_forest_equals_scikit_learn(gaps: float) -> None:
    rng = np.random.default_rng(1)
    # Few distinct values put features exactly on thresholds, where rounding would show.
    features = (rng.integers(0, 12, (600, 5)) / np.float32(7)).astype(np.float32)
    target = features[:, 0] * 0.1 + rng.normal(0, 0.02, 600)
    features[rng.random(features.shape) < gaps] = np.nan
    fitted = RandomForestRegressor(20, min_samples_leaf=2, random_state=0).fit(features, target)
    other = rng.normal(1, 1, (2000, 5)).astype(np.float32)
    other[rng.random(other.shape) < 0.3] = np.nan
    flat = forest.from_sklearn(fitted)
    for rows in (features, other):
        np.testing.assert_allclose(flat.predict(rows), fitted.predict(rows), atol=1e-6)


def test_thresholds_are_rounded_down() -> None:
    exact = np.array([0.1, -0.1, 0.5, 1e-50, -1e-50, 3e38])
    rounded = forest.round_down(exact)
    assert rounded.dtype == np.float32
    assert (rounded.astype(np.float64) <= exact).all()
    above = np.nextafter(rounded, np.float32(np.inf)).astype(np.float64)
    assert (above > exact).all()


def test_forest_refuses_too_few_columns(table: Table) -> None:
    fitted = FITS["random_forest"](*table, 0)
    with pytest.raises(ValueError, match="columns of the model's own spec"):
        fitted.predict(np.zeros((3, 1), np.float32))


@pytest.mark.parametrize("name", ["random_forest", "xgboost"])
@pytest.mark.parametrize("wrong", [0, 2, 10**6 << 9])
def test_trees_that_loop_or_leave_their_arrays_are_refused(
    table: Table, name: str, wrong: int
) -> None:
    from safetensors.numpy import load, save

    arrays = load(FITS[name](*table, 0).to_bytes())
    arrays["nodes"] = arrays["nodes"].copy()
    arrays["nodes"][0, 1] = wrong
    with pytest.raises(BundleError, match="not a set of trees"):
        KINDS[name].from_bytes(save(arrays), {"base": 0.0})


def test_boosting_refuses_what_is_not_ubj() -> None:
    with pytest.raises(BundleError, match="not UBJ"):
        boosting.from_ubj(b"\x80\x04pickle")


def test_boosting_predicts_on_one_thread(table: Table) -> None:
    member = FITS["xgboost"](*table, 0)
    assert '"nthread":"1"' in member.booster.save_config().replace(" ", "")


def test_tabnet_of_another_shape_is_refused(table: Table) -> None:
    member = FITS["tabnet"](*table, 0)
    with pytest.raises(BundleError, match="do not fit its shape"):
        tabnet.TabNet.from_bytes(member.to_bytes(), {**member.params, "n_d": 5})


def test_tabnet_never_unpickles(table: Table, monkeypatch: pytest.MonkeyPatch) -> None:
    import pickle

    import torch

    def refuse(*args: object, **options: object) -> None:
        raise AssertionError("a pickle was read")

    data, params = (member := FITS["tabnet"](*table, 0)).to_bytes(), member.params
    member.predict(table[0])  # numba keeps compiled loops in pickles of its own
    for module, name in ((torch, "load"), (pickle, "load"), (pickle, "loads")):
        monkeypatch.setattr(module, name, refuse)
    tabnet.TabNet.from_bytes(data, params).predict(table[0])


def test_training_leaves_torch_as_it_was(table: Table) -> None:
    import torch

    torch.manual_seed(7)
    before = torch.random.get_rng_state()
    FITS["tabnet"](*table, 0)
    assert torch.equal(torch.random.get_rng_state(), before)


def test_no_heavy_library_at_import() -> None:
    code = (
        "import sys, gssm.models.bundle, gssm.training.train; "
        "heavy = {'torch', 'xgboost', 'sklearn', 'numba', 'pytorch_tabnet', 'safetensors'}; "
        "sys.exit(', '.join(heavy & set(sys.modules)) or 0)"
    )
    root = Path(forest.__file__).parents[2]
    done = subprocess.run([sys.executable, "-c", code], cwd=root, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
