from __future__ import annotations

import json
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from gssm.errors import BundleError, CubeError, SamplesError
from gssm.models import applicability, nearest
from gssm.models.applicability import BEYOND, Applicability, fit
from gssm.models.nearest import MEMBERS

Float32Array = NDArray[np.float32]

IMPORTANCES = np.array([4.0, 3.0, 2.0, 1.0, 0.0])
FEATURES = len(IMPORTANCES)


def make_samples(rows: int, seed: int = 0, gaps: float = 0.0) -> tuple[Float32Array, Any]:
    """Clusters, as stations are, in units as different as kelvin and reflectance; with folds."""
    rng = np.random.default_rng(seed)
    station = rng.integers(0, 12, rows)
    latent = rng.normal(size=(12, FEATURES))[station] + 0.3 * rng.normal(size=(rows, FEATURES))
    features = latent * [1, 0.02, 300, 8, 5] + [0, 0.1, 500, 290, 1]
    features[rng.random(features.shape) < gaps] = np.nan
    return features.astype(np.float32), station % 4


def exact_index(
    features: Float32Array, importances: NDArray[Any], folds: NDArray[Any], rows: Float32Array
) -> tuple[NDArray[np.float64], float]:
    """The published index of rows, and its threshold, one pair at a time."""
    mean, deviation = np.nanmean(features, axis=0), np.nanstd(features.astype(float), axis=0)

    def place(row: Float32Array) -> NDArray[np.float64]:
        return np.array(importances * (row.astype(float) - mean) / deviation)

    def distance(row: NDArray[np.float64], sample: NDArray[np.float64]) -> float:
        return float(np.sqrt(np.nansum((row - sample) ** 2)))

    own = [place(row) for row in features]
    samples = [np.nan_to_num(row) for row in own]
    pairs = [distance(a, b) for i, a in enumerate(samples) for b in samples[:i]]
    unit = np.mean(pairs)
    within = [
        min(distance(row, s) for s, other in zip(samples, folds, strict=True) if other != fold)
        / unit
        for row, fold in zip(own, folds, strict=True)
    ]
    lower, upper = np.quantile(within, [0.25, 0.75])
    threshold = min(upper + 1.5 * (upper - lower), max(within))
    index = [min(distance(place(row), sample) for sample in samples) / unit for row in rows]
    return np.array(index), float(threshold)


@pytest.fixture(scope="module")
def small() -> Applicability:
    features, folds = make_samples(MEMBERS, gaps=0.1)
    return fit(features, IMPORTANCES, folds)


MANY, MANY_FOLDS = make_samples(6000)


@pytest.fixture(scope="module")
def large() -> Applicability:
    return fit(MANY, IMPORTANCES, MANY_FOLDS)


def test_three_samples_by_hand() -> None:
    area = fit(np.array([[0], [1], [3]], np.float32), np.array([7.0]), np.array([0, 1, 1]))
    # Mean distance (1 + 3 + 2) / 3 = 2; across folds 1, 1 and 3 from the nearest: 0.5, 0.5
    # and 1.5, of which the whisker 1 + 1.5 * 0.5 is more than the largest.
    assert area.threshold == pytest.approx(1.5)
    rows = np.array([[0], [2], [2.5], [-0.0]], np.float32)
    np.testing.assert_allclose(area.dissimilarity(rows), [0, 0.5, 0.25, 0], atol=1e-7)
    # One unit beyond 3: the same from the nearest, and 1 / sqrt(14 / 9) deviations.
    beyond = 1.5 / BEYOND / np.sqrt(14 / 9)
    np.testing.assert_allclose(
        area.dissimilarity(np.array([[4]], np.float32)), np.hypot(0.5, beyond), rtol=1e-6
    )


def test_the_threshold_itself_is_inside(large: Applicability) -> None:
    rows = make_samples(10, seed=1)[0]
    for row in rows:
        at = replace(large, threshold=float(large.dissimilarity(row[None])[0]))
        assert not at.outside(row[None]).any()


@pytest.mark.parametrize("gaps", [0.0, 0.2])
def test_few_samples_give_the_published_index(gaps: float) -> None:
    features, folds = make_samples(MEMBERS, gaps=gaps)
    rows = np.clip(
        make_samples(200, seed=1, gaps=gaps)[0],
        np.nanmin(features, axis=0),
        np.nanmax(features, axis=0),
    )
    area = fit(features, IMPORTANCES, folds)
    index, threshold = exact_index(features, IMPORTANCES, folds, rows)
    np.testing.assert_allclose(area.dissimilarity(rows), index, rtol=1e-4, atol=1e-6)
    assert area.threshold == pytest.approx(threshold, rel=1e-4)
    np.testing.assert_array_equal(area.outside(rows), index > threshold)


def fast_exact(
    features: Float32Array, importances: NDArray[Any], folds: NDArray[Any], rows: Float32Array
) -> tuple[NDArray[np.float64], float]:
    """As `exact_index`, by matrices; without the unit, which changes no decision."""
    mean, deviation = np.nanmean(features, axis=0), np.nanstd(features.astype(float), axis=0)
    weight = importances / np.linalg.norm(importances)
    place = weight * (features - mean) / deviation
    samples = np.nan_to_num(place).T

    def nearest(at: NDArray[Any], allowed: NDArray[np.bool_]) -> NDArray[np.float64]:
        known = np.isfinite(at).astype(float)
        at = np.nan_to_num(at)
        seen = samples[:, allowed]
        squares = (at**2).sum(axis=1)[:, None] - 2 * at @ seen + known @ seen**2
        return np.asarray(np.sqrt(np.maximum(squares, 0).min(axis=1)))

    own = np.empty(len(features))
    for fold in np.unique(folds):
        own[folds == fold] = nearest(place[folds == fold], folds != fold)
    lower, upper = np.quantile(own, [0.25, 0.75])
    everything = np.ones(len(features), bool)
    index = nearest(weight * (rows - mean) / deviation, everything)
    return index, float(min(upper + 1.5 * (upper - lower), own.max()))


def agreement(area: Applicability, rows: Float32Array, index: Any, threshold: float) -> Any:
    """Rank correlation with the exact index, and share of equal decisions."""
    ranks = [np.argsort(np.argsort(d)) for d in (area.dissimilarity(rows), index)]
    return np.corrcoef(ranks)[0, 1], np.mean(area.outside(rows) == (index > threshold))


@pytest.mark.parametrize("gaps", [0.0, 0.2])
def test_many_samples_give_nearly_the_published_index(large: Applicability, gaps: float) -> None:
    features, folds = MANY, MANY_FOLDS
    # Another seed has other clusters: most rows are new, some are far.
    rows = make_samples(3000, seed=1, gaps=gaps)[0]
    correlation, same = agreement(large, rows, *fast_exact(features, IMPORTANCES, folds, rows))
    assert correlation > 0.98
    assert same > 0.97


def test_real_stations_agree_with_the_published_index(test_data: Path) -> None:
    from gssm import read_samples
    from gssm.models.table import feature_matrix
    from gssm.training.blanking import blank_outside
    from gssm.training.protocols import assign_folds, station_groups

    samples = read_samples(test_data / "stations" / "stations_l2.parquet").iloc[::4]
    features, groups = feature_matrix(samples, "l2"), station_groups(samples)
    seen = assign_folds(groups, 2, seed=0) == 0
    folds = assign_folds(groups[seen], 5, seed=0)
    importances = np.linspace(1, 0.1, features.shape[1]) ** 2
    area = fit(features[seen], importances, folds)
    blanked = feature_matrix(blank_outside(samples[~seen]), "l2")
    for rows in (features[~seen], blanked):
        exact = fast_exact(features[seen], importances, folds, rows)
        correlation, same = agreement(area, rows, *exact)
        assert correlation > 0.95
        assert same > 0.97
        assert area.outside(rows).mean() < 0.3


@given(cuts=st.lists(st.integers(0, 500), max_size=6))
def test_blocks_do_not_change_a_bit(large: Applicability, cuts: list[int]) -> None:
    rows = make_samples(500, seed=2, gaps=0.2)[0]
    whole = large.dissimilarity(rows)
    blocks = np.split(rows, sorted(cuts))
    np.testing.assert_array_equal(np.concatenate([large.dissimilarity(b) for b in blocks]), whole)
    assert whole.dtype == np.float32


def test_order_threads_and_layout_do_not_change_a_bit(large: Applicability) -> None:
    rows = make_samples(4000, seed=3, gaps=0.2)[0]
    whole = large.dissimilarity(rows)
    np.testing.assert_array_equal(large.dissimilarity(rows[::-1])[::-1], whole)
    np.testing.assert_array_equal(large.dissimilarity(np.asfortranarray(rows)), whole)
    with ThreadPoolExecutor(4) as pool:
        parts = list(pool.map(large.dissimilarity, np.array_split(rows, 9)))
    np.testing.assert_array_equal(np.concatenate(parts), whole)


def test_compiled_search_is_the_written_one(small: Applicability) -> None:
    rows = make_samples(40, seed=4, gaps=0.3)[0]
    written, _ = nearest._search(rows, small.searched)
    np.testing.assert_array_equal(small.dissimilarity(rows), written)


@settings(max_examples=30)
@given(
    seed=st.integers(0, 100),
    gaps=st.sampled_from([0.0, 0.2, 0.7]),
    stretch=st.sampled_from([0.0, 0.5, 1.0, 3.0]),
)
def test_the_nearest_of_all_members_is_found(
    large: Applicability, seed: int, gaps: float, stretch: float
) -> None:
    rows = make_samples(60, seed=seed, gaps=gaps)[0]
    rows = large.center + np.float32(stretch) * (rows - large.center)
    used = np.flatnonzero(large.scale)
    place = ((rows - large.center) * large.scale)[:, used].astype(np.float64)
    members = large.references[:, : used.size].transpose(1, 0, 2).reshape(used.size, -1)
    squares = np.nansum((place[:, :, None] - members) ** 2, axis=1).min(axis=1)
    out = np.fmax(np.fmax(large.low - rows, rows - large.high), 0) * large.beyond
    index = np.sqrt(squares + np.nansum(out.astype(np.float64) ** 2, axis=1))
    np.testing.assert_allclose(large.dissimilarity(rows), index, rtol=1e-5, atol=1e-6)


def test_a_training_sample_is_inside(large: Applicability) -> None:
    features, folds = make_samples(MEMBERS)
    assert not fit(features, IMPORTANCES, folds).dissimilarity(features).any()
    assert np.median(large.dissimilarity(MANY)) < 0.1
    assert large.outside(MANY).mean() < 0.01


@given(
    feature=st.integers(0, FEATURES - 2),
    side=st.sampled_from([-1, 1]),
    # Beyond all samples; among them, a step away from some is a step towards others.
    steps=st.lists(st.floats(3, 1000), min_size=2, max_size=8, unique=True).map(sorted),
)
@example(feature=1, side=-1, steps=[3.0, 3.5])
def test_further_is_more_dissimilar(
    large: Applicability, feature: int, side: int, steps: list[float]
) -> None:
    mean, deviation = np.float32(MANY.mean(axis=0)), MANY.std(axis=0)[feature]
    rows = np.tile(mean, (len(steps), 1))
    rows[:, feature] += side * np.array(steps) * deviation
    assert not ((MANY.min(axis=0) <= rows) & (rows <= MANY.max(axis=0)))[:, feature].any()
    distance = large.dissimilarity(rows)
    assert (np.diff(distance) >= 0).all()


@given(factors=st.lists(st.floats(1e-6, 1e6), min_size=FEATURES, max_size=FEATURES))
def test_units_do_not_matter(factors: list[float]) -> None:
    features, folds = make_samples(MEMBERS, gaps=0.1)
    rows = make_samples(50, seed=1, gaps=0.1)[0]
    factor = np.array(factors, np.float32)
    area = fit(features, IMPORTANCES, folds)
    other = fit(features * factor, 3 * IMPORTANCES, folds)
    assert other.threshold == pytest.approx(area.threshold, rel=1e-3)
    np.testing.assert_allclose(
        other.dissimilarity(rows * factor), area.dissimilarity(rows), rtol=1e-3, atol=1e-4
    )


@given(value=st.floats(width=32), seed=st.integers(0, 9))
def test_a_feature_without_importance_does_not_matter(
    small: Applicability, value: float, seed: int
) -> None:
    rows = make_samples(20, seed=seed)[0]
    changed = rows.copy()
    changed[:, -1] = value
    np.testing.assert_array_equal(small.dissimilarity(changed), small.dissimilarity(rows))


@given(seed=st.integers(0, 1000))
def test_a_gap_never_makes_a_row_more_dissimilar(small: Applicability, seed: int) -> None:
    rows = make_samples(20, seed=seed)[0]
    gaps = np.where(np.random.default_rng(seed).random(rows.shape) < 0.5, np.nan, rows)
    assert (small.dissimilarity(gaps.astype(np.float32)) <= small.dissimilarity(rows)).all()


def test_a_gap_takes_no_row_outside(large: Applicability) -> None:
    rows = make_samples(3000, seed=1)[0]
    for feature in range(FEATURES):
        gaps = rows.copy()
        gaps[:, feature] = np.nan
        assert not (large.outside(gaps) & ~large.outside(rows)).any()


def test_a_row_without_any_value_is_inside(large: Applicability) -> None:
    rows = np.full((3, FEATURES), np.nan, np.float32)
    np.testing.assert_array_equal(large.dissimilarity(rows), 0)
    assert not large.outside(rows).any()
    assert large.dissimilarity(rows[:0]).shape == (0,)


def test_infinite_is_missing(large: Applicability) -> None:
    rows = make_samples(100, seed=1, gaps=0.4)[0]
    sign = np.where(np.arange(rows.size).reshape(rows.shape) % 2, 1, -1)
    infinite = np.where(np.isnan(rows), sign * np.inf, rows).astype(np.float32)
    np.testing.assert_array_equal(large.dissimilarity(infinite), large.dissimilarity(rows))


def test_infinite_is_missing_in_training() -> None:
    features, folds = make_samples(200, gaps=0.2)
    infinite = np.where(np.isnan(features), np.inf, features).astype(np.float32)
    areas = [fit(x, IMPORTANCES, folds) for x in (features, infinite)]
    assert areas[0].to_bytes() == areas[1].to_bytes()


@pytest.mark.parametrize("importance", [1.0, 1e-3, 1e-9])
@pytest.mark.parametrize("size", [20, 1e6, 1e30])
def test_an_extreme_value_is_outside(importance: float, size: float) -> None:
    features, folds = make_samples(500)
    importances = np.full(FEATURES, 1.0)
    importances[2] = importance
    area = fit(features, importances, folds)
    rows = features[:40].copy()
    rows[:, 2] += np.where(np.arange(40) % 2, 1, -1) * np.float32(size) * features[:, 2].std()
    assert np.isfinite(area.dissimilarity(rows)).all()
    assert area.outside(rows).all()
    assert not area.outside(features[:40]).all()


@pytest.mark.parametrize("value", [0.1, 0.0, np.nan, 1e30])
def test_a_constant_feature_says_nothing(value: float) -> None:
    features, folds = make_samples(300)
    constant = features.copy()
    constant[:, 1] = value
    area = fit(constant, IMPORTANCES, folds)
    rows = make_samples(50, seed=1)[0]
    without = np.where(np.arange(FEATURES) == 1, 0, IMPORTANCES)
    expected = fit(features, without, folds)
    assert area.threshold == expected.threshold
    np.testing.assert_array_equal(area.dissimilarity(rows), expected.dissimilarity(rows))


def test_features_of_little_weight_only_count_beyond_their_range() -> None:
    features, folds = make_samples(1000)
    area = fit(features, np.array([1, 1, 1, 1e-3, 0]), folds)
    assert np.flatnonzero(area.scale).tolist() == [0, 1, 2]
    assert area.cells.shape[0] == 3 + 1
    rows = features[:9].copy()
    rows[:, 3] = features[:, 3].max()
    np.testing.assert_array_equal(area.dissimilarity(rows), area.dissimilarity(features[:9]))
    rows[:, 3] += (BEYOND + 0.1) * features[:, 3].std()
    assert area.outside(rows).all()


def test_the_same_seed_gives_the_same_area() -> None:
    features, folds = make_samples(3000, gaps=0.1)
    first, again, other = (fit(features, IMPORTANCES, folds, seed=s) for s in (0, 0, 1))
    assert first.to_bytes() == again.to_bytes()
    assert first.params == again.params
    assert first.to_bytes() != other.to_bytes()


def test_copies_of_samples_are_no_obstacle() -> None:
    features, folds = make_samples(30)
    area = fit(np.tile(features, (40, 1)), IMPORTANCES, np.tile(folds, 40))
    assert np.isfinite(area.dissimilarity(make_samples(50, seed=1)[0])).all()
    np.testing.assert_allclose(area.dissimilarity(features), 0, atol=1e-3)


def test_area_survives_its_bytes(large: Applicability) -> None:
    again = Applicability.from_bytes(large.to_bytes(), json.loads(json.dumps(large.params)))
    rows = make_samples(300, seed=1, gaps=0.1)[0]
    np.testing.assert_array_equal(again.dissimilarity(rows), large.dissimilarity(rows))
    np.testing.assert_array_equal(again.outside(rows), large.outside(rows))
    assert again.to_bytes() == large.to_bytes()
    assert again.params == large.params
    assert large.outside(rows).any()
    assert not large.outside(rows).all()


@pytest.mark.parametrize(
    "change",
    [
        {"center": np.zeros(4, np.float32)},
        {"scale": np.zeros(FEATURES, np.float32)},
        {"scale": np.ones(FEATURES, np.float32)},
        {"low": np.zeros((FEATURES, 1), np.float32)},
        {"beyond": np.full(FEATURES, np.nan, np.float32)},
        {"cells": np.zeros((5, 3), np.float32)},
        {"cells": np.zeros((), np.float32)},
        {"references": np.zeros((3, 4), np.float32)},
        {"references": np.zeros((1, 5, 0), np.float32)},
        {"center": np.zeros(FEATURES, np.float64)},
        {"threshold": -1.0},
        {"threshold": float("nan")},
        {"probes": 0},
    ],
    ids=lambda change: "-".join(f"{k}{np.shape(v)}" for k, v in change.items()),
)
def test_a_damaged_area_is_refused(small: Applicability, change: dict[str, Any]) -> None:
    damaged = replace(small, **change)
    with pytest.raises(BundleError, match="intact copy"):
        Applicability.from_bytes(damaged.to_bytes(), damaged.params)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"importances": np.zeros(FEATURES)}, "all zero"),
        ({"importances": np.array([1, 1, 1, 1, -1])}, "negative"),
        ({"importances": np.array([1, 1, 1, 1, np.nan])}, "not finite"),
        ({"importances": np.ones(FEATURES + 1)}, "importance for each column"),
        ({"importances": np.float64(1)}, "importance for each column"),
        ({"folds": np.zeros(60, int)}, "at least 2 folds"),
        ({"folds": np.arange(60) / 2}, "integer of its fold"),
        ({"folds": np.arange(59)}, "fold for each row"),
        ({"features": np.ones((60, FEATURES), np.float32)}, "varies"),
        ({"features": np.full((60, FEATURES), np.nan, np.float32)}, "varies"),
        ({"features": np.ones(60, np.float32)}, "importance for each column"),
    ],
)
def test_unusable_samples_are_refused(change: dict[str, Any], message: str) -> None:
    features, folds = make_samples(60)
    arguments = {"features": features, "importances": IMPORTANCES, "folds": folds} | change
    with pytest.raises(SamplesError, match=message) as caught:
        fit(**arguments)
    assert str(caught.value).endswith(".")


@pytest.mark.parametrize("shape", [(3, FEATURES - 1), (3, FEATURES + 1), (FEATURES,)])
def test_other_features_are_refused(small: Applicability, shape: tuple[int, ...]) -> None:
    with pytest.raises(CubeError, match=f"reads {FEATURES} columns"):
        small.dissimilarity(np.zeros(shape, np.float32))


def test_no_heavy_library_at_import() -> None:
    code = (
        "import sys, gssm.models.applicability; "
        "heavy = {'numba', 'sklearn', 'safetensors', 'xgboost', 'torch'}; "
        "sys.exit(', '.join(heavy & set(sys.modules)) or 0)"
    )
    root = Path(applicability.__file__).parents[2]
    done = subprocess.run([sys.executable, "-c", code], cwd=root, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
