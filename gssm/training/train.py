"""Samples -> model."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd

from gssm.errors import SamplesError
from gssm.models.ensemble import Model
from gssm.physics import WaterCloud
from gssm.schema import FeatureSpec
from gssm.training.baselines import BASELINE_SAYS, baselines
from gssm.training.blank_rows import leave_out_blank
from gssm.training.card import make_card, model_record
from gssm.training.crossval import (
    IMPORTANCE,
    OutOfFold,
    applicable,
    describe_predicted,
    learn,
    out_of_fold,
    past_of,
)
from gssm.training.figures import card_figures
from gssm.training.fitting import check_samples, check_table, fit_members, warn_of_level
from gssm.training.presets import PAPER_WEIGHTS, Preset, make_recipe, names_of
from gssm.training.protocols import Split, split, station_groups
from gssm.training.provenance import Request, describe_skill, describe_training

FOLDS = 5
PROTOCOL = "station"
# What the card calls its figures.
CAPTIONS = {
    "card_scatter.png": "Predicted against observed, held-out stations",
    "card_stations.png": "Stations",
    "card_series.png": "A poor, a middling and a good station, held out",
    "card_calibration.png": "What the 90 % intervals hold, held-out stations",
    "card_importance.png": "Importance of the features, held-out stations",
}


def train(
    samples: pd.DataFrame,
    *,
    spec: str | FeatureSpec = "l2",
    preset: str | Preset = "default",
    networks: Sequence[str] | None = None,
    members: Sequence[str] | None = None,
    water_cloud: WaterCloud | None = None,
    seed: int = 0,
    evaluate: bool = True,
    progress: Callable[[str], None] | None = None,
) -> Model:
    """Train the ensemble.

    Parameters
    ----------
    samples
        As from `gssm.read_samples`; missing sensors and bands are NaN. Rows at which a map
        would have no value (no radar, water, snow or frozen ground) teach nothing.
    spec
        The features: ``"l2"``, ``"l2-history"``, ``"paper33"`` or a `gssm.FeatureSpec`. The
        references of a history spec come from each station's own rows, unless the table
        has them.
    preset
        Hyper-parameters: ``"default"`` (minutes, megabytes), ``"paper"`` (the
        published ones: hours, gigabytes), ``"tiny"`` (seconds, to try out), another of
        `gssm.training.presets.PRESETS`, or a `gssm.training.presets.Preset`.
    networks
        Use only rows of these networks, or of this one.
    members
        Some of ``random_forest``, ``xgboost``, ``tabnet``, or one; all by default.
    water_cloud
        Parameters of the Water Cloud Model; the paper's by default.
    seed
        Of everything random: equal rows, options and package versions give an equal
        model, bit for bit on machines of one kind.
    evaluate
        Cross-validate on held-out stations: the scores go into the manifest, weights and
        prediction intervals come from the out-of-fold predictions. Without it the weights
        are the paper's, normalised, and there are neither scores nor intervals. Runs on
        Dask where one was asked for, as `gssm.cross_validate` does.
    progress
        Called with a line of text at each step.

    Returns
    -------
    Model

    Raises
    ------
    SamplesError
        It is no table, or has too few rows or stations, no radar, NaN labels, constant
        labels, values in other units, or no row of a network asked for.
    RequestError
        There is no such preset or member, or a hyper-parameter is out of range.
    """
    tell = progress or _silent
    check_table(samples)
    names = () if networks is None else names_of(networks, "networks")
    chosen = select_networks(samples, names)
    check_samples(chosen)
    recipe = make_recipe(spec, preset, members, water_cloud, seed)
    warn_of_level(chosen, recipe.spec)
    # The past first: images without a value of the day still tell of the place.
    table, _ = leave_out_blank(past_of(chosen, recipe), recipe.water_cloud)
    provenance: dict[str, Any] = describe_training(
        samples, table, recipe, Request(names, bool(evaluate))
    )
    splits = _held_out(table, recipe.seed) if evaluate else ()
    weights, intervals = {name: PAPER_WEIGHTS[name] for name in recipe.members}, None
    if evaluate:
        predicted = out_of_fold(table, splits, PROTOCOL, recipe, tell)
        held_out = {name: predicted[name].to_numpy(np.float32) for name in recipe.members}
        learnt = learn(table, OutOfFold(np.arange(len(table), dtype=np.int64), held_out))
        weights, intervals = learnt.weights, learnt.intervals
        describe_predicted(predicted, PROTOCOL, recipe, len(splits))
        provenance["skill"] = [describe_skill(predicted, PROTOCOL)]
    tell("fitting on all rows")
    fitted = fit_members(table, recipe, tell)
    model = Model(
        fitted,
        weights,
        recipe.spec,
        recipe.water_cloud,
        provenance,
        intervals,
        applicable(table, fitted, recipe),
    )
    if not evaluate:
        return model
    tell("writing the card")
    return replace(model, attachments=attachments(model, table, predicted, splits, recipe.seed))


def _held_out(samples: pd.DataFrame, seed: int) -> tuple[Split, ...]:
    """Split by station; too few stations are refused before the long part."""
    stations = len(np.unique(station_groups(samples)))
    if stations < FOLDS:
        raise SamplesError(
            f"the samples have {stations} independent stations (those within 2 km count as one), "
            f"and the scores of a model need {FOLDS} or more; give rows of more stations, or pass "
            "evaluate=False for a model without scores and intervals."
        )
    return split(samples, PROTOCOL, FOLDS, seed)


def attachments(
    model: Model,
    samples: pd.DataFrame,
    predicted: pd.DataFrame,
    splits: Sequence[Split],
    seed: int,
) -> dict[str, bytes]:
    """Card and figures of a model, from what was predicted for held-out stations."""
    importance = pd.DataFrame.from_dict(predicted.attrs[IMPORTANCE], orient="index")
    figures = card_figures({PROTOCOL: predicted}, importance)
    # By position: the index of a table need not be unique.
    others = baselines(samples, splits, seed=seed)
    beside = predicted.assign(**{n: others[n].to_numpy() for n in map(str, others)})
    says = {name: BASELINE_SAYS[name] for name in map(str, others)}
    captions = {CAPTIONS.get(name, name): name for name in figures}
    card = make_card(
        model_record(model), {PROTOCOL: beside}, others=says, figures=captions, seed=seed
    )
    return {**card.files(), **figures}


def _silent(line: str) -> None:
    pass


def select_networks(samples: pd.DataFrame, networks: tuple[str, ...]) -> pd.DataFrame:
    """Rows of these networks in their order; all rows if none is named.

    Raises
    ------
    SamplesError
        A network has no row, or the table has no ``network`` column.
    """
    if not networks:
        return samples
    if "network" not in samples:
        raise SamplesError(
            "the samples table has no column 'network'; add it or leave networks out."
        )
    known = samples["network"].astype(str)
    missing = [name for name in networks if name not in set(known)]
    if missing:
        raise SamplesError(
            f"the samples have no row of network {', '.join(map(repr, missing))}; "
            f"they have {', '.join(sorted(set(known)))}."
        )
    return samples[known.isin(networks)]
