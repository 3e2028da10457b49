"""Speed of scoring, member by member and whole, against the libraries that trained them.

    python benchmarks/engine.py                # trained on simulated pixels, some minutes
    python benchmarks/engine.py table.parquet  # trained on a table that gssm.read_samples reads

One thread each, in turns, medians of the ratio. A coherent block is 256 x 256 pixels of a
simulated scene with its speckle, unordered rows are training rows in random order. Of the
paper's 2500 trees only `GROWN` are grown: scikit-learn's time is scaled, as it is linear in
trees; gssm's is measured on as many copies as make 2500. The paper's TabNet learns for one
epoch, which its speed does not know.
"""

from __future__ import annotations

import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from multiprocessing.pool import ThreadPool
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

import gssm
from gssm.features import build_features
from gssm.models import boosting, forest, tabnet
from gssm.models.table import feature_matrix
from gssm.models.tabnet_fold import fold
from gssm.models.trees import Trees
from gssm.schema import resolve_spec
from gssm.simulate import simulate_scene
from gssm.training.presets import PRESETS, Preset

Float32Array = NDArray[np.float32]
Predict = Callable[[Float32Array], NDArray[Any]]
Line = tuple[str, str, str]

SPEC = resolve_spec("l2")
# Side of the block, pixels.
SIZE = 256
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
        pixels, moisture = scene(seed=1, size=SIZE)
        features, target = pixels.reshape(-1, pixels.shape[-1]), moisture.reshape(-1)
        target = target + rng.normal(0, NOISE, target.size).astype(np.float32)
    usable = np.flatnonzero(np.isfinite(target) & np.isfinite(features[:, 0]))
    chosen = rng.permutation(usable)[:TRAINING_ROWS]
    return features[chosen], target[chosen]


def forests(
    features: Float32Array, target: Float32Array, preset: Preset
) -> tuple[Predict, Predict]:
    """Prediction by scikit-learn, and by gssm."""
    from sklearn.ensemble import RandomForestRegressor

    params = vars(preset.random_forest) | {"random_state": 0, "n_jobs": 1}
    trees = params.pop("trees")
    grown = min(trees, GROWN)
    stock = RandomForestRegressor(grown, **params).fit(features, target).set_params(n_jobs=1)
    ours = copies(forest.from_sklearn(stock), trees // grown)
    return stock.predict, ours.predict


def copies(of: forest.Forest, count: int) -> forest.Forest:
    """Return the same trees so many times, each with its own memory."""
    nodes, starts = of.trees.nodes, of.trees.starts
    shift = np.repeat(np.arange(count) * len(nodes), starts.size - 1)
    repeated = np.append(np.tile(starts[:-1], count) + shift, count * len(nodes))
    return forest.Forest(Trees(np.tile(nodes, (count, 1)), repeated))


def boosters(
    features: Float32Array, target: Float32Array, preset: Preset
) -> tuple[Predict, Predict]:
    """Prediction by XGBoost, and by gssm."""
    member = boosting.fit(features, target, preset.xgboost, 0)
    return member.booster.inplace_predict, member.predict


def networks(
    features: Float32Array, target: Float32Array, preset: Preset
) -> tuple[Predict, Predict]:
    """Prediction by pytorch_tabnet's network, and by gssm."""
    import torch
    from pytorch_tabnet.tab_network import TabNet as Network

    params = replace(preset.tabnet, epochs=1)
    shape = {name: getattr(params, name) for name in tabnet.SHAPE}
    rows, targets = features[:10_000], target[:10_000]
    scaling = tabnet.Scaling.learn(rows, targets)
    state = tabnet.train_network(scaling, rows, targets, params, 0)
    member = tabnet.TabNet(scaling, fold(state, shape), shape)
    same = torch.eye(scaling.input_dim)
    network = Network(
        scaling.input_dim, 1, virtual_batch_size=1 << 30, group_attention_matrix=same, **shape
    )
    network.load_state_dict({name: torch.from_numpy(value) for name, value in state.items()})
    network.eval()

    def stock(rows: Float32Array) -> NDArray[Any]:
        torch.set_num_threads(1)
        mean, scale = scaling.target
        parts = []
        for start in range(0, len(rows), 1024):  # pytorch_tabnet's own default
            inputs = torch.from_numpy(scaling.inputs(rows[start : start + 1024]))
            with torch.inference_mode():
                parts.append(network(inputs)[0][:, 0].numpy() * scale + mean)
        return np.concatenate(parts)

    return stock, member.predict


MEMBERS = {"random_forest": forests, "xgboost": boosters, "tabnet": networks}
# Ratio to the stock library that is aimed at: coherent, unordered.
GOALS = {"random_forest": (5.0, 1.5), "xgboost": (8.0, 4.0)}


@dataclass(frozen=True)
class Timing:
    """Seconds a row of the stock library and of gssm, and their largest difference (m3 m-3)."""

    stock: float
    ours: float
    difference: float


def compare(stock: Predict, ours: Predict, rows: Float32Array, factor: float) -> Timing:
    """Time both in turns; `factor` is how much more work gssm has."""
    ours(rows), stock(rows[:10])
    seconds = []
    for _ in range(ROUNDS):
        start = time.perf_counter()
        expected = stock(rows)
        middle = time.perf_counter()
        found = ours(rows)
        end = time.perf_counter()
        seconds.append(((middle - start) * factor / len(rows), (end - middle) / len(rows)))
    ratio = statistics.median(theirs / own for theirs, own in seconds)
    own = statistics.median(own for _, own in seconds)
    return Timing(ratio * own, own, float(np.abs(expected - found).max()))


def timings(
    preset: Preset, table: str | None, block: Float32Array
) -> Iterator[tuple[str, str, Timing]]:
    """Time each member of these sizes on the block and on unordered rows."""
    features, target = training_rows(table)
    for name, make in MEMBERS.items():
        stock, ours = make(features, target, preset)
        trees = preset.random_forest.trees
        factor = trees / min(trees, GROWN) if name == "random_forest" else 1
        for kind, rows in (("coherent", block), ("unordered", features[:20_000])):
            yield name, kind, compare(stock, ours, rows, factor)


def lines(table: str | None = None, paper: str = "paper") -> Iterator[Line]:
    """What was measured, the figure, and what is aimed at.

    Parameters
    ----------
    table
        Station table to train on; simulated pixels by default.
    paper
        Preset in the place of the published one.
    """
    pixels, _ = scene(seed=0, size=SIZE + 4)
    block = np.ascontiguousarray(pixels[0, :SIZE, :SIZE].reshape(-1, pixels.shape[-1]))
    found: dict[str, Timing] = {}
    for name, kind, timing in timings(PRESETS[paper], table, block):
        goal = f">= {GOALS[name][kind != 'coherent']:g}" if name in GOALS else ""
        what = f"{name}, {paper} sizes, {kind} / stock library"
        yield what, f"{timing.stock / timing.ours:.3g}", goal
        yield (
            f"  pixels per second; difference {timing.difference:.0e}",
            f"{1 / timing.ours:,.0f}",
            "",
        )
        if kind == "coherent":
            found[name] = timing
    for names, what, goal in (
        (("random_forest", "xgboost"), "both tree members", ">= 6"),
        (tuple(MEMBERS), "all three members", ">= 3"),
    ):
        stock, ours = (sum(getattr(found[n], side) for n in names) for side in ("stock", "ours"))
        yield f"{what}, {paper} sizes / stock libraries", f"{stock / ours:.3g}", goal
    stock = sum(timing.stock for timing in found.values())
    yield from default_lines(stock)


def default_lines(stock: float) -> Iterator[Line]:
    """Time the shipped model; `stock` is seconds a row of the paper's on stock libraries."""
    model = gssm.load_model()
    rows = default_block(model)
    seconds = {name: seconds_a_row(member.predict, rows) for name, member in model.members.items()}
    for name, own in seconds.items():
        yield f"default model, {name}, pixels per second", f"{1 / own:,.0f}", ""
    yield (
        "default model, all members / paper on stock",
        f"{stock / sum(seconds.values()):.3g}",
        ">= 50",
    )
    whole = whole_score(model)
    own = seconds_a_row(whole, rows)
    says = "default model with interval and applicability, pixels per second"
    yield says, f"{1 / own:,.0f}", ">= 100,000"
    with ThreadPool(2) as pool:
        both = seconds_a_row(lambda rows: pool.map(whole, [rows, rows]), rows)
    yield "two threads / one", f"{2 * own / both:.3g}", ">= 1.7"


def whole_score(model: gssm.Model) -> Predict:
    """Score as a map is: the interval and the flags too."""

    def whole(rows: Float32Array) -> Any:
        scored = model.score(rows)
        return model.uncertainty(scored["soil_moisture"]), model.flags(rows)

    return whole


def default_block(model: gssm.Model) -> Float32Array:
    """Features of a block of simulated pixels, with references of its own past."""
    with tempfile.TemporaryDirectory() as folder:
        truth = simulate_scene(Path(folder) / "catalogue", size=SIZE + 4, dates=12, seed=0)
        items = gssm.search(bounds(truth), "2000-01-01/2100-01-01", catalog=f"{folder}/catalogue")
        cube = gssm.open_cube(items, bbox=bounds(truth)).load()
        cube = gssm.with_history(cube, gssm.history(cube))
    features = build_features(cube, model.spec, model.water_cloud).isel(time=-1)
    template = cube["vv"].isel(time=-1).transpose("y", "x")
    columns = [
        features[name].broadcast_like(template).transpose("y", "x").values[:SIZE, :SIZE].reshape(-1)
        for name in model.spec.features
    ]
    return np.ascontiguousarray(np.stack(columns, axis=1), np.float32)


def seconds_a_row(predict: Callable[[Float32Array], Any], rows: Float32Array) -> float:
    """Seconds a row, median."""
    predict(rows)
    seconds = []
    for _ in range(ROUNDS):
        start = time.perf_counter()
        predict(rows)
        seconds.append(time.perf_counter() - start)
    return statistics.median(seconds) / len(rows)


def main(table: str | None = None) -> None:
    for what, figure, goal in lines(table):
        print(f"{what:<66} {figure:>12}   {goal}", flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:2])
