"""Cross-validation: predictions for rows that nothing was learned from."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from gssm.errors import RequestError, SamplesError
from gssm.models.ensemble import TARGET, Model
from gssm.models.table import feature_matrix
from gssm.physics import WaterCloud
from gssm.schema import FeatureSpec
from gssm.training.blanking import blank_outside
from gssm.training.fitting import check_samples, ensemble_weights, fit_members, station_keys
from gssm.training.presets import Recipe, make_recipe

Integers = NDArray[np.int64]

EARTH_RADIUS_KM = 6371.0
# Stations this close see the same rain, soil and pixels: one of them in training
# would give the other away.
NEIGHBOURS_KM = 2.0
# Folds inside each training part, from whose out-of-fold predictions the weights come.
INNER_FOLDS = 2


@dataclass(frozen=True)
class Protocol:
    """A way to split rows.

    Parameters
    ----------
    groups
        Table -> integer per row; rows of one group stay in one fold.
    says
        What it tells, in a sentence.
    """

    groups: Callable[[pd.DataFrame], Integers]
    says: str


def station_groups(samples: pd.DataFrame) -> Integers:
    """Group of each row: its station, merged with every station within 2 km.

    Neighbours of neighbours are merged too. Without latitude and longitude, each
    station is its own group.
    """
    keys, names = pd.factorize(station_keys(samples))
    groups = np.arange(len(names), dtype=np.int64)
    if {"latitude", "longitude"} <= set(samples.columns):
        places = samples.groupby(keys)[["latitude", "longitude"]].median().to_numpy(np.float64)
        near = _distance_km(places) <= NEIGHBOURS_KM
        merged = np.empty(0, dtype=np.int64)
        # The smallest number spreads from neighbour to neighbour until it rests.
        while not np.array_equal(merged, groups):
            merged = groups
            groups = np.where(near, groups, np.int64(len(names))).min(axis=1)
    return np.asarray(groups[keys], dtype=np.int64)


def _distance_km(places: NDArray[np.float64]) -> NDArray[np.float64]:
    latitude, longitude = np.deg2rad(places).T
    half_y = np.sin((latitude[:, None] - latitude) / 2) ** 2
    half_x = np.sin((longitude[:, None] - longitude) / 2) ** 2
    haversine = half_y + np.cos(latitude[:, None]) * np.cos(latitude) * half_x
    distance = 2 * EARTH_RADIUS_KM * np.arcsin(np.sqrt(np.clip(haversine, 0, 1)))
    np.fill_diagonal(distance, 0)  # a place without coordinates is still near itself
    return np.asarray(distance)


def _each_row(samples: pd.DataFrame) -> Integers:
    return np.arange(len(samples), dtype=np.int64)


PROTOCOLS: dict[str, Protocol] = {
    "station": Protocol(station_groups, "skill at a place without a station, as on a map"),
    "random": Protocol(_each_row, "the paper's; the same stations on both sides, so optimistic"),
}


def cross_validate(
    samples: pd.DataFrame,
    *,
    protocol: str = "station",
    spec: str | FeatureSpec = "l2",
    preset: str = "default",
    folds: int = 5,
    members: tuple[str, ...] | list[str] | None = None,
    water_cloud: WaterCloud | None = None,
    seed: int = 0,
    progress: Callable[[str], None] | None = None,
) -> pd.DataFrame:
    """Predict every row by models that were not trained on it.

    All that is learned (scaling, imputation, members, weights) is learned inside the
    training folds; the weights from an inner cross-validation of the same protocol.
    Held-out rows are seen as a map would see them: an optical partner more than three
    days from the radar is missing.

    Parameters
    ----------
    samples
        As from `gssm.read_samples`.
    protocol
        One of `PROTOCOLS`: ``"station"`` holds out whole stations, together with those
        within 2 km; ``"random"`` holds out rows, as the paper does.
    spec, preset, members, water_cloud, seed
        As for `gssm.train`; the seed also decides the folds.
    folds
        Number of folds.
    progress
        Called with a line of text at each step.

    Returns
    -------
    pandas.DataFrame
        Index of `samples`; columns ``station``, ``fold``, ``observed``, each member and
        ``soil_moisture`` (the ensemble), m3 m-3.

    Raises
    ------
    RequestError
        There is no such protocol, preset or member.
    SamplesError
        The table cannot be used, or has fewer groups than folds.
    """
    if protocol not in PROTOCOLS:
        raise RequestError(
            f"there is no protocol {protocol!r}; use one of {', '.join(map(repr, PROTOCOLS))}."
        )
    check_samples(samples)
    recipe = make_recipe(spec, preset, members, water_cloud, seed)
    groups = PROTOCOLS[protocol].groups(samples)
    return out_of_fold(samples, groups, recipe, folds, progress or _silent)


def _silent(line: str) -> None:
    pass


def assign_folds(groups: Integers, folds: int, seed: int) -> Integers:
    """Fold of each row: groups in a seeded random order, each to the smallest fold.

    Raises
    ------
    SamplesError
        There are fewer groups than folds.
    """
    names, index, sizes = np.unique(groups, return_inverse=True, return_counts=True)
    if folds < 2 or len(names) < folds:
        raise SamplesError(
            f"the samples have {len(names)} independent stations or rows for {folds} folds; "
            f"give more of them, or between 2 and {len(names)} folds."
        )
    rows = np.zeros(folds, dtype=np.int64)
    fold = np.empty(len(names), dtype=np.int64)
    for group in np.random.default_rng(seed).permutation(len(names)):
        fold[group] = rows.argmin()
        rows[fold[group]] += sizes[group]
    return np.asarray(fold[index], dtype=np.int64)


def out_of_fold(
    samples: pd.DataFrame,
    groups: Integers,
    recipe: Recipe,
    folds: int,
    progress: Callable[[str], None],
) -> pd.DataFrame:
    """Predictions of `cross_validate`, for groups already made."""
    fold = assign_folds(groups, folds, recipe.seed)
    parts = []
    for number in range(folds):
        train = fold != number

        def tell(line: str, number: int = number) -> None:
            progress(f"fold {number + 1} of {folds}: {line}")

        weights = inner_weights(samples[train], groups[train], recipe, tell)
        members = fit_members(samples[train], recipe, tell)
        model = Model(members, weights, recipe.spec, recipe.water_cloud)
        held_out = blank_outside(samples[~train])
        parts.append(predictions(model, held_out).assign(fold=number))
    whole = pd.concat(parts)
    # By position: the index of a table need not be unique.
    order = np.argsort(np.concatenate([np.flatnonzero(fold == n) for n in range(folds)]))
    whole = whole.iloc[order]
    front = ["station", "fold", "observed"]
    return whole[front + [name for name in whole.columns if name not in front]]


def inner_weights(
    samples: pd.DataFrame, groups: Integers, recipe: Recipe, progress: Callable[[str], None]
) -> dict[str, float]:
    """Weights of the members, learned from these rows alone."""
    if len(recipe.members) == 1:
        return {recipe.members[0]: 1.0}
    fold = assign_folds(groups, INNER_FOLDS, recipe.seed)
    held_out = {name: np.empty(len(samples), np.float32) for name in recipe.members}
    for number in range(INNER_FOLDS):
        train = fold != number
        rows = blank_outside(samples[~train])
        features = feature_matrix(rows, recipe.spec, recipe.water_cloud)
        for name, member in fit_members(samples[train], recipe, progress).items():
            held_out[name][~train] = member.predict(features)
    return ensemble_weights(held_out, samples[TARGET].to_numpy(np.float64))


def predictions(model: Model, samples: pd.DataFrame) -> pd.DataFrame:
    """Observed and predicted side by side: station, observed, each member, soil_moisture."""
    scores: dict[str, NDArray[Any]] = dict(
        model.score(feature_matrix(samples, model.spec, model.water_cloud))
    )
    ensemble = scores.pop(TARGET)
    return pd.DataFrame(
        {
            "station": station_keys(samples).to_numpy(),
            "observed": samples[TARGET].to_numpy(np.float32),
            **scores,
            TARGET: ensemble,
        },
        index=samples.index,
    )
