"""Samples -> model."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pandas as pd

from gssm.errors import SamplesError
from gssm.models.ensemble import TARGET, Model
from gssm.physics import WaterCloud
from gssm.schema import FeatureSpec
from gssm.training.crossval import assign_folds, out_of_fold, station_groups
from gssm.training.fitting import check_samples, ensemble_weights, fit_members
from gssm.training.presets import PAPER_WEIGHTS, make_recipe
from gssm.training.provenance import describe_skill, describe_training

FOLDS = 5


def train(
    samples: pd.DataFrame,
    *,
    spec: str | FeatureSpec = "l2",
    preset: str = "default",
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
        As from `gssm.read_samples`; missing sensors and bands are NaN.
    spec
        The features: ``"l2"``, ``"paper33"`` or a `gssm.FeatureSpec`.
    preset
        Hyper-parameters: ``"default"`` (minutes, megabytes), ``"paper"`` (the
        published ones: hours, gigabytes) or ``"tiny"`` (seconds, to try out).
    networks
        Use only rows of these networks.
    members
        Some of ``random_forest``, ``xgboost``, ``tabnet``; all by default.
    water_cloud
        Parameters of the Water Cloud Model; the paper's by default.
    seed
        Of everything random: equal rows, options and package versions give an equal
        model, bit for bit on machines of one kind.
    evaluate
        Cross-validate on held-out stations: the scores go into the manifest, the
        weights come from the out-of-fold predictions. Without it the weights are the
        paper's, normalised, and the manifest has no scores.
    progress
        Called with a line of text at each step.

    Returns
    -------
    Model

    Raises
    ------
    SamplesError
        Too few rows or stations, NaN labels, constant labels, labels in percent, or no
        row of a network asked for.
    RequestError
        There is no such preset or member.
    """
    tell = progress or _silent
    names = (networks,) if isinstance(networks, str) else tuple(networks or ())
    chosen = select_networks(samples, names)
    check_samples(chosen)
    recipe = make_recipe(spec, preset, tuple(members) if members else None, water_cloud, seed)
    provenance: dict[str, Any] = describe_training(chosen, recipe, names)
    groups = station_groups(chosen)
    assign_folds(groups, FOLDS, seed)  # refuse too few stations before the long part
    weights = {name: PAPER_WEIGHTS[name] for name in recipe.members}
    if evaluate:
        predicted = out_of_fold(chosen, groups, recipe, FOLDS, tell)
        held_out = {name: predicted[name].to_numpy(np.float64) for name in recipe.members}
        weights = ensemble_weights(held_out, chosen[TARGET].to_numpy(np.float64))
        provenance["skill"] = [describe_skill(predicted, "station")]
    tell("fitting on all rows")
    fitted = fit_members(chosen, recipe, tell)
    return Model(fitted, weights, recipe.spec, recipe.water_cloud, provenance)


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
