"""Tune the hyper-parameters of the members, honestly: on rows that taught nothing."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from gssm.errors import GssmWarning, RequestError
from gssm.schema import FeatureSpec
from gssm.training.blank_rows import leave_out_blank
from gssm.training.crossval import (
    IMPORTANCE,
    INNER_PROTOCOL,
    describe_predicted,
    mean_importance,
    out_of_fold,
    past_of,
)
from gssm.training.fitting import check_samples
from gssm.training.preset_files import load_preset, save_preset
from gssm.training.presets import Preset, make_recipe
from gssm.training.protocols import split, station_groups
from gssm.training.search_spaces import Parameter, resolve_spaces
from gssm.training.studies import open_storage, open_study, quiet, reasons, trial_table
from gssm.training.trial_search import held_out_predictions, open_workers, search_all
from gssm.training.trials import describe_inputs, make_fold
from gssm.training.weights import ensemble_weights

if TYPE_CHECKING:
    from optuna import Study

__all__ = ["Budget", "Tuned", "load_preset", "nested_tune", "save_preset", "tune"]

Tell = Callable[[str], None]


@dataclass(frozen=True)
class Budget:
    """How long to search.

    Parameters
    ----------
    trials
        Of each member, those of an earlier call with the same storage included.
    seconds
        After this long no trial begins, except that each member has one; members have
        equal shares of it. None for no limit.
    folds
        Folds by whose held-out rows a trial is judged.
    """

    trials: int = 50
    seconds: float | None = None
    folds: int = 5


@dataclass(frozen=True, eq=False)
class Tuned:
    """The best hyper-parameters found, and how they were.

    Parameters
    ----------
    preset
        For `gssm.train` and `gssm.cross_validate`; members that were not tuned, and all
        that is not searched, are as they were.
    weights
        Of the tuned members, from their predictions for held-out rows
        (`gssm.training.weights.ensemble_weights`). The best weights on the simplex are the
        optimum of a convex problem, which is solved exactly: there is nothing to search.
        `gssm.train` learns its own in the same way.
    trials
        A row per trial: ``member``, ``number``, ``value`` (mean squared error of held-out
        rows, (m3 m-3)^2), ``state`` (``"COMPLETE"``; ``"PRUNED"``: given up, its value is
        over the folds it saw; ``"FAIL"``: failed or interrupted), the hyper-parameters that
        were searched, and ``seconds``. The best values are optimistic, as they are the
        best of many: `nested_tune` tells what to expect.
    studies
        Name of each member's study in the storage.
    """

    preset: Preset
    weights: dict[str, float]
    trials: pd.DataFrame
    studies: dict[str, str]


def tune(
    samples: pd.DataFrame,
    *,
    spec: str | FeatureSpec = "l2",
    preset: str | Preset = "default",
    members: Sequence[str] | Mapping[str, Sequence[Parameter]] | None = None,
    budget: Budget | None = None,
    storage: str | Path | None = None,
    protocol: str = "station",
    seed: int = 0,
    progress: Tell | None = None,
) -> Tuned:
    """Search hyper-parameters of each member that predict held-out rows best.

    The value of a trial is the mean squared error over all folds of `protocol`; held-out
    rows are seen as a map would see them. Only `samples` are ever looked at: to score what
    comes out, keep rows back, or call `nested_tune`, which does.

    The first trial is the preset itself if it lies within the search space, so that no
    other is taken unless it is better. Trials that are clearly worse than the median are
    given up after a few folds. On the cluster of an active ``distributed`` client, as many
    trials run at once as it has threads (TabNet: worker processes); else one after the
    other. The same seed gives the same trials as long as they run one after the other;
    with several at once it depends on which ends first.

    Parameters
    ----------
    samples
        As from `gssm.read_samples`; training rows only.
    spec, seed
        As for `gssm.train`.
    preset
        Where to begin, and what is not searched.
    members
        Some of ``random_forest``, ``xgboost``, ``tabnet``; all by default. Or a mapping
        from these to search spaces of your own, as `gssm.training.search_spaces.SPACES`.
    budget
        Numbers of trials and folds, and a limit of time; `Budget` has defaults.
    storage
        File that keeps each trial as it ends. A later call with the same inputs goes on
        from there and runs the trials that remain, after a kill, Ctrl-C or with a larger
        budget. One process writes it at a time.
    protocol
        As for `gssm.cross_validate`.
    progress
        Called with a line of text at each trial.

    Raises
    ------
    SamplesError
        The table cannot be used, or has fewer stations than folds.
    RequestError
        An option cannot be served, or every trial of a member failed.
    StoreWriteError, StoreExistsError
        The storage cannot be written, holds trials of other inputs, or is damaged; nothing
        was fitted.

    Warns
    -----
    GssmWarning
        Some trials failed; the first reason is told.
    """
    budget, tell_line = budget or Budget(), progress or _silent
    _check(budget)
    spaces = resolve_spaces(members)
    check_samples(samples)
    recipe = make_recipe(spec, preset, tuple(spaces), None, seed)
    table, _ = leave_out_blank(past_of(samples, recipe), recipe.water_cloud)
    splits = split(table, protocol, budget.folds, seed)
    with quiet(), open_storage(storage) as opened:
        studies: dict[str, Study] = {}
        for member, space in spaces.items():
            inputs = describe_inputs(samples, recipe, member, space, (protocol, len(splits)))
            studies[member] = open_study(opened, storage, f"gssm-{member}", inputs)
        tell_line(f"making the features of {len(splits)} folds")
        folds = [make_fold(table, part, recipe) for part in splits]
        with open_workers(folds) as workers:
            best = search_all(
                studies, spaces, recipe, workers, budget.trials, budget.seconds, tell_line
            )
            weights = dict.fromkeys(best, 1.0)
            if len(best) > 1:
                tell_line("weighing the tuned members")
                held_out = held_out_predictions(best, recipe, workers)
                observed = np.concatenate([fold.observed for fold in folds])
                rows = np.concatenate([part.test for part in splits])
                groups = station_groups(table)[rows]
                weights = ensemble_weights(held_out, observed, groups)
        trials = trial_table(studies)
    _warn_of_failures(studies)
    names = {member: study.study_name for member, study in studies.items()}
    return Tuned(replace(recipe.params, **best), weights, trials, names)


def nested_tune(
    samples: pd.DataFrame,
    *,
    spec: str | FeatureSpec = "l2",
    preset: str | Preset = "default",
    members: Sequence[str] | Mapping[str, Sequence[Parameter]] | None = None,
    budget: Budget | None = None,
    storage: str | Path | None = None,
    protocol: str = "station",
    seed: int = 0,
    progress: Tell | None = None,
) -> pd.DataFrame:
    """Predict every row by models whose hyper-parameters were tuned without it.

    In each of ``budget.folds`` splits of `protocol`, `tune` sees the training rows alone
    and splits these again as often; then the ensemble is trained on them with what it found
    and predicts the held-out rows. So the scores are those of tuning and training together.

    Parameters
    ----------
    samples, spec, preset, members, protocol, seed, progress
        As for `tune`.
    budget
        As for `tune`, for each split; `Budget.seconds` is for all of them together.
    storage
        As for `tune`; each split has its own file, named after this one and its number.

    Returns
    -------
    pandas.DataFrame
        As from `gssm.cross_validate`, with the same columns and attrs.

    Raises
    ------
    SamplesError, RequestError, StoreWriteError, StoreExistsError
        As `tune`.
    """
    budget, tell_line = budget or Budget(), progress or _silent
    _check(budget)
    names = tuple(resolve_spaces(members))
    check_samples(samples)
    recipe = make_recipe(spec, preset, names, None, seed)
    table, why = leave_out_blank(past_of(samples, recipe), recipe.water_cloud)
    splits = split(table, protocol, budget.folds, seed)
    share = None if budget.seconds is None else budget.seconds / len(splits)
    parts = []
    for number, part in enumerate(splits):
        say = partial(_say, tell_line, f"split {number + 1} of {len(splits)}: ")
        tuned = tune(
            table.iloc[part.train],
            spec=recipe.spec,
            preset=recipe.params,
            members=members,
            budget=replace(budget, seconds=share),
            storage=None if storage is None else _numbered(Path(storage), number),
            protocol=INNER_PROTOCOL.get(protocol, protocol),
            seed=seed,
            progress=say,
        )
        own = make_recipe(recipe.spec, tuned.preset, names, None, seed)
        predicted = out_of_fold(table, (part,), protocol, own, say)
        parts.append(predicted.assign(fold=number))
    importance = [pd.DataFrame.from_dict(p.attrs.pop(IMPORTANCE), orient="index") for p in parts]
    # out_of_fold has each split's rows in the order of the table; by position, as the
    # index of a table need not be unique.
    order = np.argsort(np.concatenate([np.sort(part.test) for part in splits]), kind="stable")
    whole = pd.concat(parts).iloc[order]
    whole.attrs = {IMPORTANCE: mean_importance(importance).to_dict("index")}
    named = replace(recipe, preset=f"tuned from {recipe.preset}")
    describe_predicted(whole, protocol, named, len(splits))
    whole.attrs |= {"left_out": len(samples) - len(table), "left_out_why": why}
    return whole


def _silent(line: str) -> None:
    pass


def _say(progress: Tell, prefix: str, line: str) -> None:
    progress(prefix + line)


def _numbered(path: Path, number: int) -> Path:
    return path.with_name(f"{path.stem}-{number}{path.suffix}")


def _check(budget: Budget) -> None:
    if budget.trials < 1:
        raise RequestError(f"the budget has {budget.trials} trials; give at least 1.")
    if budget.seconds is not None and not budget.seconds > 0:
        raise RequestError(
            f"the budget has {budget.seconds:g} seconds; give more than 0, or None for no limit."
        )


def _warn_of_failures(studies: Mapping[str, Study]) -> None:
    for member, study in studies.items():
        if why := reasons([study]):
            warnings.warn(
                f"{len(why)} trials of {member} failed (the first: {why[0]}); they were left out.",
                GssmWarning,
                stacklevel=3,
            )
