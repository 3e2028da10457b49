"""Which rows teach and which are held out: every protocol of cross-validation."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from gssm.errors import RequestError, SamplesError
from gssm.training.fitting import station_keys, times_of
from gssm.training.presets import is_whole

Integers = NDArray[np.int64]
Booleans = NDArray[np.bool_]

EARTH_RADIUS_KM = 6371.0
# Stations this close see the same rain, soil and pixels: one of them in training
# would give the other away.
NEIGHBOURS_KM = 2.0
# The paper's single split: one row in five is held out.
HOLDOUT_SHARE = 0.2


@dataclass(frozen=True)
class Split:
    """Positions of the rows that teach and of those that are held out; others do neither."""

    train: Integers
    test: Integers


@dataclass(frozen=True)
class Protocol:
    """A way to split rows.

    Parameters
    ----------
    split
        (samples, folds, seed) -> splits.
    says
        What it tells, in a sentence.
    separates
        Whether no station, nor one within 2 km of it, is ever on both sides.
    least_folds
        Fewer folds cannot be made.
    inner_folds
        Folds inside each training part, from whose out-of-fold predictions weights and
        intervals come. With few of them members learn from far fewer stations than the
        model does, and the weights favour those that need the fewest.
    """

    split: Callable[[pd.DataFrame, int, int], tuple[Split, ...]]
    says: str
    separates: bool
    least_folds: int = 2
    inner_folds: int = 2


def split(samples: pd.DataFrame, protocol: str, folds: int, seed: int) -> tuple[Split, ...]:
    """Split a table.

    Parameters
    ----------
    samples
        As from `gssm.read_samples`.
    protocol
        One of `PROTOCOLS`.
    folds
        Number of splits, at least 2, or 1 for ``"time"``; ``"holdout"`` has one whatever
        number this is.
    seed
        Decides which groups or rows fall together.

    Raises
    ------
    RequestError
        There is no such protocol, or `folds` is no number of folds for it.
    SamplesError
        The table has fewer groups than folds, or lacks the column that the protocol
        splits by, or has gaps in it.
    """
    if not isinstance(protocol, str) or protocol not in PROTOCOLS:
        raise RequestError(
            f"there is no protocol {protocol!r}; use one of {', '.join(map(repr, PROTOCOLS))}."
        )
    _check_folds(folds, PROTOCOLS[protocol].least_folds)
    return PROTOCOLS[protocol].split(samples, int(folds), seed)


def _check_folds(folds: int, least: int) -> None:
    if not is_whole(folds) or folds < least:
        raise RequestError(f"folds is {folds!r}; give a whole number of at least {least}.")


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


def assign_folds(
    groups: Integers, folds: int, seed: int, called: str = "independent stations or rows"
) -> Integers:
    """Fold of each row: groups in a seeded random order, each to the smallest fold.

    Raises
    ------
    RequestError
        There are fewer than 2 folds.
    SamplesError
        There are fewer groups than folds; they are `called` so in the message.
    """
    _check_folds(folds, 2)
    names, index, sizes = np.unique(groups, return_inverse=True, return_counts=True)
    if len(names) < 2:
        raise SamplesError(
            f"cross-validation needs at least 2 {called}, and the samples, or those that a fold "
            f"learns from, have {len(names)}; give more of them."
        )
    if len(names) < folds:
        fewer = "2 folds" if len(names) == 2 else f"2 to {len(names)} folds"
        raise SamplesError(
            f"the samples have {len(names)} {called} for {folds} folds; give more of them, or "
            f"{fewer}."
        )
    rows = np.zeros(folds, dtype=np.int64)
    fold = np.empty(len(names), dtype=np.int64)
    for group in np.random.default_rng(seed).permutation(len(names)):
        fold[group] = rows.argmin()
        rows[fold[group]] += sizes[group]
    return np.asarray(fold[index], dtype=np.int64)


def _complements(fold: Integers, folds: int) -> tuple[Split, ...]:
    return tuple(
        Split(np.flatnonzero(fold != number), np.flatnonzero(fold == number))
        for number in range(folds)
    )


def _by_station(samples: pd.DataFrame, folds: int, seed: int) -> tuple[Split, ...]:
    return _complements(assign_folds(station_groups(samples), folds, seed), folds)


def _by_network(samples: pd.DataFrame, folds: int, seed: int) -> tuple[Split, ...]:
    """Hold out networks; rows near a held-out station teach nothing, whatever their network."""
    if "network" not in samples:
        raise SamplesError(
            "the samples table has no column 'network', by which this protocol splits; add it or "
            "use protocol='station'."
        )
    networks = pd.factorize(samples["network"].astype(str))[0].astype(np.int64)
    places = station_groups(samples)
    splits = []
    for part in _complements(assign_folds(networks, folds, seed, "networks"), folds):
        near = np.isin(places[part.train], places[part.test])
        splits.append(Split(part.train[~near], part.test))
    return tuple(splits)


def _by_row(samples: pd.DataFrame, folds: int, seed: int) -> tuple[Split, ...]:
    rows = np.arange(len(samples), dtype=np.int64)
    return _complements(assign_folds(rows, folds, seed), folds)


def _forward(samples: pd.DataFrame, folds: int, seed: int) -> tuple[Split, ...]:
    """Cut time into folds + 1 blocks of equal size; each is predicted from those before it.

    Rows of one moment stay together, so that nothing of the predicted block is known.
    """
    if "time" not in samples:
        raise SamplesError(
            "the samples table has no column 'time', by which this protocol splits; add it or use "
            "protocol='station'."
        )
    times = _moments(samples)
    limits = np.quantile(times, np.linspace(0, 1, folds + 2)[1:-1], method="higher")
    block = np.searchsorted(limits, times, side="right")
    if len(np.unique(block)) < folds + 1:
        raise SamplesError(
            f"the samples span too few moments ({len(np.unique(times))}) for {folds} "
            + (
                "folds forward in time; give a longer series or fewer folds."
                if folds > 1
                else "fold forward in time; give a longer series."
            )
        )
    return tuple(
        Split(np.flatnonzero(block < number), np.flatnonzero(block == number))
        for number in range(1, folds + 1)
    )


def _moments(samples: pd.DataFrame) -> Integers:
    """Return the times of the rows in nanoseconds; one without a time is in no season."""
    times = times_of(samples)
    if missing := int(times.isna().sum()):
        raise SamplesError(
            f"time is missing in {missing} of {len(times)} rows, which the protocol 'time' cannot "
            "place before or after others; drop them with samples.dropna(subset='time')."
        )
    return times.to_numpy("datetime64[ns]").astype(np.int64)


def _hold_out(samples: pd.DataFrame, folds: int, seed: int) -> tuple[Split, ...]:
    order = np.random.default_rng(seed).permutation(len(samples))
    held_out = round(HOLDOUT_SHARE * len(samples))
    return (Split(np.sort(order[held_out:]), np.sort(order[:held_out])),)


PROTOCOLS: dict[str, Protocol] = {
    "station": Protocol(
        _by_station, "skill at a place without a station, as on a map", True, inner_folds=4
    ),
    "network": Protocol(
        _by_network, "skill where no station of the same network has taught", True, inner_folds=3
    ),
    "time": Protocol(
        _forward,
        "skill at known stations in a later season, learnt from earlier ones; references of the "
        "past, which need no label, see images of all seasons",
        False,
        least_folds=1,
    ),
    "random": Protocol(
        _by_row, "the paper's; the same stations on both sides, so optimistic", False
    ),
    "holdout": Protocol(
        _hold_out,
        "the paper's 80/20 split; the same stations on both sides, so optimistic",
        False,
        least_folds=1,
    ),
}
