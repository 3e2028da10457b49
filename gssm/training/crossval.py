"""Cross-validation: predictions for rows that nothing was learned from."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from gssm.models.applicability import Applicability
from gssm.models.applicability import fit as fit_applicability
from gssm.models.boosting import Boosting
from gssm.models.calibration import Intervals
from gssm.models.ensemble import TARGET, UNCERTAINTY, Member, Model
from gssm.models.table import feature_matrix
from gssm.physics import WaterCloud
from gssm.quality import BY_MEANING
from gssm.schema import FeatureSpec
from gssm.training.blank_rows import leave_out_blank
from gssm.training.blanking import blank_outside
from gssm.training.conformal import fit_intervals
from gssm.training.fitting import (
    check_samples,
    fit_members,
    station_keys,
    warn_of_level,
)
from gssm.training.importance import SPREAD, permutation_importance
from gssm.training.past import with_past
from gssm.training.presets import Preset, Recipe, make_recipe
from gssm.training.protocols import (
    PROTOCOLS,
    Integers,
    Split,
    assign_folds,
    split,
    station_groups,
)
from gssm.training.weights import ensemble_weights

# Folds between which the area of applicability measures how far apart stations are.
APPLICABILITY_FOLDS = 3
# Inside the one split of a hold-out, rows are held out likewise.
INNER_PROTOCOL = {"holdout": "random"}
# Key of the permutation importance in the attrs of a predicted table.
IMPORTANCE = "importance"
# What of the samples stays beside their predictions, to group scores by.
CONTEXT = ("time", "latitude", "longitude", "land_cover", "koppen", "soil_texture")


def cross_validate(
    samples: pd.DataFrame,
    *,
    protocol: str = "station",
    spec: str | FeatureSpec = "l2",
    preset: str | Preset = "default",
    folds: int = 5,
    members: tuple[str, ...] | list[str] | None = None,
    water_cloud: WaterCloud | None = None,
    seed: int = 0,
    progress: Callable[[str], None] | None = None,
) -> pd.DataFrame:
    """Predict every row by models that were not trained on it.

    All that is learned (scaling, imputation, members, weights, intervals, applicability)
    is learned inside the training folds; weights and intervals from an inner
    cross-validation of the same protocol. Held-out rows are seen as a map would see them:
    an optical partner farther from the radar than the preset's window is missing. The
    references of a history spec come from all images of a station, whose labels they never
    see: where a station is on both sides, those of held-out rows are among them.

    Folds run on Dask if one was asked for: on the cluster whose client is active, or as
    ``dask.config.set(scheduler="processes")`` says; else one after the other, with the
    same result.

    Parameters
    ----------
    samples
        As from `gssm.read_samples`.
    protocol
        One of `gssm.training.protocols.PROTOCOLS`: ``"station"`` holds out whole stations,
        together with those within 2 km; ``"network"`` whole networks; ``"time"`` predicts
        each season from earlier ones; ``"random"`` holds out rows, as the paper does;
        ``"holdout"`` a fifth of them, once.
    spec, preset, members, water_cloud, seed
        As for `gssm.train`; the seed also decides the folds.
    folds
        Number of folds.
    progress
        Called with a line of text at each step.

    Returns
    -------
    pandas.DataFrame
        A row per held-out row at which a map would have a value
        (`gssm.training.blank_rows`), in the order and with the index of `samples`; columns
        ``network``, ``station`` and what else tells of the place, ``fold``, ``observed``,
        each member, ``soil_moisture`` (the ensemble) and ``soil_moisture_uncertainty``
        (half-width of the 90 % interval), m3 m-3, and ``outside_applicability``.
        ``attrs["importance"]``: increase in RMSE when a group of features is shuffled, on
        held-out rows, mean over the folds (`gssm.training.importance`).
        ``attrs["left_out"]``: number of rows without a value.

    Raises
    ------
    RequestError
        There is no such protocol, preset or member.
    SamplesError
        The table cannot be used, or has fewer groups than folds.
    """
    check_samples(samples)
    recipe = make_recipe(spec, preset, members, water_cloud, seed)
    warn_of_level(samples, recipe.spec)
    # The past first: images without a value of the day still tell of the place.
    kept, why = leave_out_blank(past_of(samples, recipe), recipe.water_cloud)
    splits = split(kept, protocol, folds, seed)
    predicted = out_of_fold(kept, splits, protocol, recipe, progress or _silent)
    describe_predicted(predicted, protocol, recipe, len(splits))
    predicted.attrs |= {"left_out": len(samples) - len(kept), "left_out_why": why}
    return predicted


def describe_predicted(predicted: pd.DataFrame, protocol: str, recipe: Recipe, folds: int) -> None:
    """Say in the attrs of a predicted table how it came to be."""
    predicted.attrs |= {
        "protocol": protocol,
        "says": PROTOCOLS[protocol].says,
        "folds": folds,
        "spec": recipe.spec.name,
        "preset": recipe.preset,
    }


def past_of(samples: pd.DataFrame, recipe: Recipe) -> pd.DataFrame:
    """Add the references that the recipe's spec asks for, of partners within its window."""
    window = recipe.params.window_days
    return with_past(samples, recipe.spec, recipe.water_cloud, window_days=window)


def _silent(line: str) -> None:
    pass


def out_of_fold(
    samples: pd.DataFrame,
    splits: Sequence[Split],
    protocol: str,
    recipe: Recipe,
    progress: Callable[[str], None],
) -> pd.DataFrame:
    """Predictions of `cross_validate`, for splits already made."""
    parts = _each(
        [
            (samples.iloc[s.train], samples.iloc[s.test], protocol, recipe, number)
            for number, s in enumerate(splits)
        ],
        progress,
    )
    importance = mean_importance([part.attrs.pop(IMPORTANCE) for part in parts])
    whole = pd.concat(parts)
    # By position: the index of a table need not be unique.
    whole = whole.iloc[np.argsort(np.concatenate([s.test for s in splits]), kind="stable")]
    # As plain JSON, so that the table can be written as Parquet.
    whole.attrs = {IMPORTANCE: importance.to_dict("index")}
    return whole


def _each(
    tasks: Sequence[tuple[Any, Any, Any, Any, Any]], progress: Callable[[str], None]
) -> Sequence[pd.DataFrame]:
    """Run every fold: on Dask if the user chose a scheduler, else here, one by one."""
    from dask.base import compute, get_scheduler
    from dask.delayed import delayed

    if get_scheduler() is None:
        results = []
        for number, task in enumerate(tasks):

            def tell(line: str, number: int = number) -> None:
                progress(f"fold {number + 1} of {len(tasks)}: {line}")

            results.append(_fold(*task, tell))
        return results
    progress(f"{len(tasks)} folds on Dask")
    # One fold at a time for each process, which Dask would send by the half dozen.
    return list(compute(*(delayed(_fold, pure=False)(*task) for task in tasks), chunksize=1))


def _fold(
    train: pd.DataFrame,
    test: pd.DataFrame,
    protocol: str,
    recipe: Recipe,
    number: int,
    progress: Callable[[str], None] = _silent,
) -> pd.DataFrame:
    learnt = learn(train, inner_predictions(train, protocol, recipe, progress))
    members = fit_members(train, recipe, progress)
    model = Model(
        members,
        learnt.weights,
        recipe.spec,
        recipe.water_cloud,
        intervals=learnt.intervals,
        applicability=applicable(train, members, recipe),
    )
    held_out = blank_outside(test, recipe.params.window_days)
    progress("shuffling features")
    importance = permutation_importance(model, held_out, repeats=1, seed=recipe.seed)
    seen = predictions(model, held_out)
    seen.insert(list(seen.columns).index("observed"), "fold", number)
    seen.attrs = {IMPORTANCE: importance.drop(columns="features")}
    return seen


def mean_importance(parts: Sequence[pd.DataFrame]) -> pd.DataFrame:
    """Average the importance of each group over the folds, with their standard deviation."""
    tables = pd.concat(parts)
    names = [name for name in tables.columns if not str(name).endswith(SPREAD)]
    by_group = tables[names].groupby(level=0)
    spread = by_group.std(ddof=0).add_suffix(SPREAD)
    return by_group.mean().join(spread).sort_values(TARGET, ascending=False, kind="stable")


@dataclass(frozen=True)
class Learnt:
    """What out-of-fold predictions teach."""

    weights: dict[str, float]
    intervals: Intervals


@dataclass(frozen=True)
class OutOfFold:
    """Predictions of members for rows that did not teach them.

    Parameters
    ----------
    rows
        Positions of those rows in the table.
    members
        By name, (rows,), m3 m-3.
    """

    rows: Integers
    members: dict[str, NDArray[np.float32]]


def inner_predictions(
    samples: pd.DataFrame, protocol: str, recipe: Recipe, progress: Callable[[str], None]
) -> OutOfFold:
    """Cross-validate the members within these rows, by the same protocol."""
    rows: list[Integers] = []
    predicted: dict[str, list[NDArray[np.float32]]] = {name: [] for name in recipe.members}
    for part in _inner_splits(samples, protocol, recipe.seed):
        held_out = blank_outside(samples.iloc[part.test], recipe.params.window_days)
        features = feature_matrix(held_out, recipe.spec, recipe.water_cloud)
        rows.append(part.test)
        for name, member in fit_members(samples.iloc[part.train], recipe, progress).items():
            predicted[name].append(member.predict(features))
    members = {name: np.concatenate(parts) for name, parts in predicted.items()}
    return OutOfFold(np.concatenate(rows), members)


def _inner_splits(samples: pd.DataFrame, protocol: str, seed: int) -> tuple[Split, ...]:
    inner = INNER_PROTOCOL.get(protocol, protocol)
    folds = PROTOCOLS[inner].inner_folds
    if inner == "network" and samples["network"].nunique() < folds:
        inner = "station"
    groups = len(np.unique(station_groups(samples))) if PROTOCOLS[inner].separates else folds
    # A single station is refused by name, not for the folds that nobody asked for.
    return split(samples, inner, max(2, min(folds, groups)), seed)


def learn(samples: pd.DataFrame, held_out: OutOfFold) -> Learnt:
    """Learn the weights of the members and the intervals of their weighted mean."""
    observed = samples[TARGET].to_numpy(np.float64)[held_out.rows]
    groups = station_groups(samples)[held_out.rows]
    weights = ensemble_weights(held_out.members, observed, groups)
    mean = np.sum([weights[n] * values for n, values in held_out.members.items()], axis=0)
    return Learnt(weights, fit_intervals(observed, np.clip(mean, 0, 1), groups))


def applicable(
    samples: pd.DataFrame, members: dict[str, Member], recipe: Recipe
) -> Applicability | None:
    """Learn which features are like those of these rows; distances between stations count.

    None for a single station, to which nothing can be compared.
    """
    groups = station_groups(samples)
    folds = min(APPLICABILITY_FOLDS, len(np.unique(groups)))
    if folds < 2:
        return None
    features = feature_matrix(samples, recipe.spec, recipe.water_cloud)
    booster = members.get("xgboost")
    count = features.shape[1]
    importances = booster.gains(count) if isinstance(booster, Boosting) else np.ones(count)
    if not importances.any():  # a booster that found nothing to split
        importances = np.ones(count)
    fold = assign_folds(groups, folds, recipe.seed)
    return fit_applicability(features, importances, fold, seed=recipe.seed)


def predictions(model: Model, samples: pd.DataFrame) -> pd.DataFrame:
    """Observed and predicted side by side.

    Columns: what tells of the place, ``observed``, each member, ``soil_moisture``,
    ``soil_moisture_uncertainty``, ``outside_applicability``.
    """
    features = feature_matrix(samples, model.spec, model.water_cloud)
    scores: dict[str, NDArray[Any]] = dict(model.score(features))
    ensemble = scores.pop(TARGET)
    outside = model.flags(features) & BY_MEANING["outside_applicability"].mask != 0
    network = {"network": samples["network"].astype(str)} if "network" in samples else {}
    context = {name: samples[name] for name in CONTEXT if name in samples}
    columns: dict[str, Any] = {
        **network,
        "station": station_keys(samples),
        **context,
        "observed": samples[TARGET].to_numpy(np.float32),
        **scores,
        TARGET: ensemble,
        UNCERTAINTY: model.uncertainty(ensemble),
        "outside_applicability": outside,
    }
    values = {name: np.asarray(column) for name, column in columns.items()}
    return pd.DataFrame(values, index=samples.index)
