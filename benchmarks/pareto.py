"""Skill on held-out stations against scoring speed, member by member: where the knee is.

    python benchmarks/pareto.py                 # some 20 minutes on two cores
    python benchmarks/pareto.py --only xgboost  # or random_forest, tabnet, distilled
    python benchmarks/pareto.py --seed 1        # folds; the reported seed of skill.py is 2026

Each line is one size of one member, or of one that learnt from another, the rest of the
default preset unchanged: skill over all held-out rows of five station folds, and pixels a
second of one thread on smooth fields between the held-out rows. The folds are not those that
`skill.py` reports, so that a choice made here is not made on them.
"""

from __future__ import annotations

import argparse
import os
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import dask
import numpy as np
import pandas as pd

import gssm
from gssm.models.ensemble import TARGET, Member
from gssm.models.table import feature_matrix
from gssm.training.blanking import blank_outside
from gssm.training.crossval import past_of
from gssm.training.evaluate import skill_table
from gssm.training.fitting import fit_members
from gssm.training.presets import PRESETS, Preset, Recipe, make_recipe
from gssm.training.protocols import split

DATA = Path(os.environ.get("GSSM_TEST_DATA", Path(__file__).parents[2] / "shared" / "data"))
SPEC = "l2-history"
DISTILLED = "distilled"
# Member -> what is changed of its hyper-parameters in the default preset.
SIZES: dict[str, tuple[dict[str, float], ...]] = {
    "random_forest": (
        {"trees": 25},
        {"trees": 50},
        {},
        {"trees": 200},
        {"min_samples_leaf": 2},
        {"min_samples_leaf": 5},
        {"min_samples_leaf": 10},
        {"min_samples_leaf": 50},
        {"max_depth": 8},
    ),
    "xgboost": (
        {"rounds": 200, "learning_rate": 0.12},
        {"rounds": 400, "learning_rate": 0.06},
        {},
        {"rounds": 1600, "learning_rate": 0.015},
        {"rounds": 400, "max_depth": 5},
        {"rounds": 200, "max_depth": 8},
    ),
    "tabnet": (
        {"n_d": 4, "n_a": 4},
        {},
        {"n_d": 16, "n_a": 16},
        {"n_d": 32, "n_a": 32},
        {"n_steps": 1},
        {"n_steps": 2},
        {"n_steps": 5},
    ),
    # XGBoost that learns what a forest twice as large says of the training rows.
    DISTILLED: (
        {"rounds": 100, "learning_rate": 0.1, "min_child_weight": 1},
        {"rounds": 400, "learning_rate": 0.03, "min_child_weight": 1},
    ),
}
TEACHER = {"trees": 200, "min_samples_leaf": 5}


def sized(member: str, changes: dict[str, float]) -> Preset:
    """The default preset with another size of one member."""
    preset = PRESETS["default"]
    return replace(preset, **{member: replace(getattr(preset, member), **changes)})


def fit(
    train: pd.DataFrame, member: str, changes: dict[str, float], seed: int
) -> tuple[Member, Recipe]:
    if member == DISTILLED:
        teacher, recipe = fit(train, "random_forest", TEACHER, seed)
        features = feature_matrix(train, recipe.spec, recipe.water_cloud)
        train, member = train.assign(**{TARGET: teacher.predict(features)}), "xgboost"
    recipe = make_recipe(SPEC, sized(member, changes), (member,), None, seed)
    return fit_members(train, recipe, lambda line: None)[member], recipe


def one_fold(
    train: pd.DataFrame, test: pd.DataFrame, member: str, changes: dict[str, float], seed: int
) -> tuple[pd.DataFrame, float]:
    """Predictions for held-out rows, and pixels a second of this fit."""
    fitted, recipe = fit(train, member, changes, seed)
    features = feature_matrix(test, recipe.spec, recipe.water_cloud)
    table = pd.DataFrame(
        {
            "station": test["station"].to_numpy(),
            "network": test["network"].to_numpy(),
            "observed": test[TARGET].to_numpy(),
            TARGET: fitted.predict(features),
        }
    )
    return table, _speed(fitted, features)


def _speed(member: Member, features: np.ndarray, rows: int = 65_536, rounds: int = 3) -> float:
    """Processor time, which another program on the machine lengthens less than the clock's."""
    # A smooth field between real rows: neighbours differ by little, as pixels of a field do.
    rng = np.random.default_rng(0)
    ends = features[rng.integers(0, len(features), (64, 2))]
    share = np.linspace(0, 1, rows // len(ends), dtype=np.float32)[None, :, None]
    field = ends[:, :1] + (ends[:, 1:] - ends[:, :1]) * share
    block = np.ascontiguousarray(field.reshape(-1, features.shape[1]))
    member.predict(block[:256])
    seconds = []
    for _ in range(rounds):
        started = time.process_time()
        member.predict(block)
        seconds.append(time.process_time() - started)
    return len(block) / float(np.median(seconds))


def pareto(samples: pd.DataFrame, members: list[str], seed: int) -> Iterator[str]:
    recipe = make_recipe(SPEC, "default", None, None, seed)
    table = past_of(samples, recipe)
    folds = [
        (table.iloc[part.train], blank_outside(table.iloc[part.test], recipe.params.window_days))
        for part in split(table, "station", 5, seed)
    ]
    yield f"{'member':14} {'size':42} {'R2':>7} {'RMSE':>7} {'st. r':>6} {'ubRMSE':>7} {'px/s':>10}"
    for member in members:
        for changes in SIZES[member]:
            jobs = [dask.delayed(one_fold)(*fold, member, changes, seed) for fold in folds]
            done = dask.compute(*jobs, chunksize=1)
            skill = skill_table(pd.concat([part for part, _ in done])).loc[TARGET]
            size = ", ".join(f"{k}={v:g}" for k, v in changes.items()) or "default"
            rate = float(np.median([speed for _, speed in done]))
            yield (
                f"{member:14} {size:42} {skill['r2']:7.4f} {skill['rmse']:7.4f} "
                f"{skill['station_r']:6.3f} {skill['station_ubrmse']:7.4f} {rate:10,.0f}"
            )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", nargs="+", choices=list(SIZES), default=list(SIZES))
    parser.add_argument("--seed", type=int, default=1)
    wanted = parser.parse_args()
    path = DATA / "stations" / "stations_l2.parquet"
    if not path.exists():
        parser.error(f"there is no {path}; set GSSM_TEST_DATA to the folder of the test data")
    samples = gssm.read_samples(path)
    with dask.config.set(scheduler="processes", num_workers=os.cpu_count()):
        for line in pareto(samples, wanted.only, wanted.seed):
            print(line, flush=True)


if __name__ == "__main__":
    main()
