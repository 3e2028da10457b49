"""One trial: fit a member on the folds and see how far off it is where it was not taught."""

from __future__ import annotations

import hashlib
import json
import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from gssm.models.ensemble import TARGET
from gssm.models.table import feature_matrix
from gssm.schema import VARIABLES
from gssm.training.blanking import augment, blank_outside
from gssm.training.fitting import FITTERS, shrunk_target
from gssm.training.presets import MemberParams, Preset, Recipe
from gssm.training.protocols import Split
from gssm.training.search_spaces import Space
from gssm.training.studies import Outcome

Float32Array = NDArray[np.float32]

# A trial is given up if it is worse than the median of this many or more, over as many
# folds, once it has seen this many folds: one fold alone is a matter of its stations.
PRUNING_TRIALS = 5
PRUNING_FOLDS = 2


@dataclass(frozen=True, eq=False)
class Fold:
    """Features and target of the rows that teach, and of those held out."""

    features: Float32Array
    target: Float32Array
    held_out: Float32Array
    observed: NDArray[np.float64]


Folds = Sequence[Fold]


def make_fold(table: pd.DataFrame, part: Split, recipe: Recipe) -> Fold:
    """Make the matrices of a split, once for all trials; as `fit_members` does."""
    params, days = recipe.params, recipe.params.window_days
    rows = augment(
        table.iloc[part.train], copies=params.blanked_copies, seed=recipe.seed, window_days=days
    )
    seen = feature_matrix(
        blank_outside(table.iloc[part.test], days), recipe.spec, recipe.water_cloud
    )
    return Fold(
        feature_matrix(rows, recipe.spec, recipe.water_cloud),
        shrunk_target(rows, params.station_shrinkage),
        np.where(np.isfinite(seen), seen, np.float32(np.nan)),  # as `Model.score`
        table[TARGET].to_numpy(np.float64)[part.test],
    )


def _predict(fold: Fold, member: str, params: MemberParams, seed: int) -> NDArray[np.float64]:
    fitted = FITTERS[member](fold.features, fold.target, params, seed)
    return fitted.predict(fold.held_out).astype(np.float64)


def score(
    folds: Folds, member: str, params: MemberParams, seed: int, limits: Sequence[float]
) -> Outcome:
    """Run one trial, here or on a worker.

    Parameters
    ----------
    folds, member, params, seed
        What is fitted.
    limits
        Per fold, the mean squared error over the folds so far above which the trial is
        given up.
    """
    start, squares, rows = time.monotonic(), 0.0, 0
    errors: list[float] = []
    pruned, reason = False, None
    try:
        for number, fold in enumerate(folds):
            difference = _predict(fold, member, params, seed) - fold.observed
            squares, rows = squares + float(difference @ difference), rows + len(difference)
            if not math.isfinite(squares):
                raise ValueError("it predicts what is not finite")
            errors.append(squares / rows)
            pruned = number + 1 < len(folds) and errors[-1] > limits[number]
            if pruned:
                break
    # A bad corner of the search space fails in the library's own way; that ends a trial,
    # not the search.
    except Exception as error:
        reason = reason_of(error)
    return Outcome(tuple(errors), time.monotonic() - start, pruned, reason)


def reason_of(error: BaseException) -> str:
    """Say in one line what went wrong."""
    return " ".join(f"{type(error).__name__}: {error}".split())[:300]


def median_limits(trials: Sequence[Mapping[int, float]], folds: int) -> list[float]:
    """Errors above which a new trial is given up, after each fold.

    After the median stopping rule (Golovin et al. 2017, doi 10.1145/3097983.3098043, section
    3.2.2), with means over the same folds on both sides: Optuna's pruner takes a trial's
    best fold so far, and folds are not equally hard. It is known before the trial begins,
    so that a worker need not ask.

    Parameters
    ----------
    trials
        Of each complete trial, its error after each fold.
    folds
        Number of folds.
    """
    limits = [math.inf] * folds
    if len(trials) >= PRUNING_TRIALS:
        for number in range(PRUNING_FOLDS - 1, folds):
            limits[number] = float(np.median([errors[number] for errors in trials]))
    return limits


def describe_inputs(
    samples: pd.DataFrame, recipe: Recipe, member: str, space: Space, splits: tuple[str, int]
) -> dict[str, str]:
    """All that decides the value of a trial, as `open_study` compares it."""
    used = [c for c in samples.columns if c in VARIABLES or c in ("network", "station", "time")]
    rows = pd.util.hash_pandas_object(samples[used], index=False).to_numpy()
    # Of the other members nothing matters.
    own = [f.name for f in fields(Preset) if f.name == member or f.name not in FITTERS]
    preset = {name: value for name, value in asdict(recipe.params).items() if name in own}
    return {
        "table": hashlib.sha256(repr(used).encode() + rows.tobytes()).hexdigest(),
        "spec": _digest(recipe.spec.to_dict()),
        "preset": _digest(preset),
        "search space": _digest(repr(tuple(space))),
        "protocol": splits[0],
        "number of folds": str(splits[1]),
        "seed": str(recipe.seed),
    }


def _digest(value: Any) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()


def predict_held_out(
    folds: Folds, member: str, params: MemberParams, seed: int
) -> NDArray[np.float64]:
    """Predictions of a member for the held-out rows of all folds."""
    return np.concatenate([_predict(fold, member, params, seed) for fold in folds])
