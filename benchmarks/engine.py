"""Speed of the traversal of trees, against the libraries that grew them.

    python benchmarks/engine.py                # trained on simulated pixels, some minutes
    python benchmarks/engine.py table.parquet  # trained on a table that gssm.read_samples reads

One thread each, in turns, medians of the ratio. A coherent block is 256 x 256 pixels of a
simulated scene with its speckle, unordered rows are training rows in random order. Of the
paper's 2500 trees only `GROWN` are grown: scikit-learn's time is scaled, as it is linear in
trees; gssm's is measured on as many copies as make 2500.
"""

from __future__ import annotations

import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

import gssm
from gssm.features import build_features
from gssm.models import boosting, forest
from gssm.models.table import feature_matrix
from gssm.schema import resolve_spec
from gssm.simulate import simulate_scene
from gssm.training.presets import PRESETS

Float32Array = NDArray[np.float32]
Predict = Callable[[Float32Array], NDArray[Any]]

SPEC = resolve_spec("l2")
GROWN = 125
ROUNDS = 5
TRAINING_ROWS = 30_000
NOISE = 0.03  # m3 m-3


def scene(seed: int, size: int) -> tuple[Float32Array, Float32Array]:
    """Features (time, y, x, k) and soil moisture (time, y, x) of a simulated farm."""
    with tempfile.TemporaryDirectory() as folder:
        truth = simulate_scene(Path(folder) / "catalogue", size=size, dates=3, seed=seed)
        items = gssm.search(bounds(truth), "2000-01-01/2100-01-01", catalog=f"{folder}/catalogue")
        cube = gssm.open_cube(items, bbox=bounds(truth)).load()
    features = build_features(cube, SPEC)
    like = cube["vv"].transpose("time", "y", "x")
    columns = [features[name].broadcast_like(like).transpose(*like.dims) for name in SPEC.features]
    known = truth["soil_moisture"].sel(x=cube.x, y=cube.y, method="nearest")
    matrix = np.stack([column.values for column in columns], axis=-1).astype(np.float32)
    return matrix, known.transpose(*like.dims).values.astype(np.float32)


def bounds(truth: Any) -> tuple[float, float, float, float]:
    from pyproj import Transformer

    to_degrees = Transformer.from_crs(truth.attrs["crs"], "EPSG:4326", always_xy=True)
    x, y = truth["x"].values, truth["y"].values
    (west, east), (south, north) = to_degrees.transform([x.min(), x.max()], [y.min(), y.max()])
    return west, south, east, north


def training_rows(table: str | None) -> tuple[Float32Array, Float32Array]:
    """Features and target, in random order."""
    rng = np.random.default_rng(0)
    if table:
        samples = gssm.read_samples(table)
        features = feature_matrix(samples, SPEC)
        target = samples["soil_moisture"].to_numpy(np.float32)
    else:
        pixels, moisture = scene(seed=1, size=256)
        features, target = pixels.reshape(-1, pixels.shape[-1]), moisture.reshape(-1)
        target = target + rng.normal(0, NOISE, target.size).astype(np.float32)
    usable = np.flatnonzero(np.isfinite(target) & np.isfinite(features[:, 0]))
    chosen = rng.permutation(usable)[:TRAINING_ROWS]
    return features[chosen], target[chosen]


def forests(features: Float32Array, target: Float32Array, size: str) -> tuple[Predict, Predict]:
    """Prediction by scikit-learn, and by gssm."""
    from sklearn.ensemble import RandomForestRegressor

    params = vars(PRESETS[size].random_forest) | {"random_state": 0, "n_jobs": 1}
    trees = params.pop("trees")
    grown = min(trees, GROWN)
    stock = RandomForestRegressor(grown, **params).fit(features, target).set_params(n_jobs=1)
    ours = copies(forest.from_sklearn(stock), trees // grown)
    return stock.predict, ours.predict


def copies(of: forest.Forest, count: int) -> forest.Forest:
    """Return the same trees so many times, each with its own memory."""
    nodes = of.feature.size
    shift = np.repeat(np.arange(count, dtype=np.int32) * nodes, nodes)
    repeated = {item.name: np.tile(getattr(of, item.name), count) for item in forest.STORED}
    for side in ("left", "right"):
        repeated[side] = np.where(repeated[side] < 0, forest.LEAF, repeated[side] + shift)
    first = np.repeat(np.arange(count, dtype=np.int32) * nodes, of.roots.size)
    return forest.Forest(**(repeated | {"roots": repeated["roots"] + first}))


def boosters(features: Float32Array, target: Float32Array, size: str) -> tuple[Predict, Predict]:
    """Prediction by XGBoost, and by gssm."""
    member = boosting.fit(features, target, PRESETS[size].xgboost, 0)
    return member.booster.inplace_predict, member.predict


def compare(stock: Predict, ours: Predict, rows: Float32Array, factor: float) -> str:
    """Time both in turns; `factor` is how much more work gssm has."""
    ours(rows), stock(rows[:10])
    ratios, seconds = [], []
    for _ in range(ROUNDS):
        start = time.perf_counter()
        expected = stock(rows)
        middle = time.perf_counter()
        found = ours(rows)
        seconds.append(time.perf_counter() - middle)
        ratios.append((middle - start) * factor / seconds[-1])
    difference = float(np.abs(expected - found).max())
    rate = len(rows) / statistics.median(seconds)
    return f"{statistics.median(ratios):>8.1f} {rate:>12,.0f} {difference:>12.1e}"


def main(table: str | None = None) -> None:
    features, target = training_rows(table)
    pixels, _ = scene(seed=0, size=260)
    block = np.ascontiguousarray(pixels[0, :256, :256].reshape(-1, pixels.shape[-1]))
    kinds = {"coherent": block, "unordered": features[:20_000]}
    print(f"{'model':<26} {'rows':<10} {'ratio':>8} {'rows/s':>12} {'difference':>12}")
    for size in ("paper", "default"):
        for name, make in (("random_forest", forests), ("xgboost", boosters)):
            stock, ours = make(features, target, size)
            trees = PRESETS[size].random_forest.trees
            factor = trees / min(trees, GROWN) if name == "random_forest" else 1
            for kind, rows in kinds.items():
                line = compare(stock, ours, rows, factor)
                print(f"{name + ', ' + size:<26} {kind:<10} {line}", flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:2])
