"""Hyper-parameters by name, and what a fit of the ensemble needs besides the rows."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields, replace
from numbers import Integral, Real
from types import NoneType
from typing import Any, TypeVar, get_args, get_type_hints

from gssm.errors import RequestError
from gssm.models.boosting import BoostingParams
from gssm.models.ensemble import KINDS
from gssm.models.forest import ForestParams
from gssm.models.tabnet import TabNetParams
from gssm.physics import WaterCloud
from gssm.schema import FeatureSpec, resolve_spec

MemberParams = ForestParams | BoostingParams | TabNetParams
Record = TypeVar("Record")

# The paper's 0.56, 0.43 and 0.26 add up to 1.25; divided by their sum, as its notebook does.
PAPER_WEIGHTS = {"random_forest": 0.448, "tabnet": 0.344, "xgboost": 0.208}


# The paper's window, and that of `gssm.open_cube`.
WINDOW_DAYS = 3.0


@dataclass(frozen=True)
class Preset:
    """Hyper-parameters of every member and of the blanking.

    Parameters
    ----------
    random_forest, xgboost, tabnet
        Hyper-parameters of the members.
    blanked_copies
        How often each row is seen again with gaps (see `gssm.training.blanking`).
    station_shrinkage
        Share of each station's mean offset that is taken out of the target. What sets
        stations apart (soil, above all) is mostly not in the features, so a few dozen
        means teach features that happen to name a station; on unseen stations that
        costs skill. 0 keeps the target; 1 leaves only changes in time.
    window_days
        The farthest optical partner, in days from the radar, that the model will be given;
        held-out rows are scored without those beyond.
    """

    random_forest: ForestParams
    xgboost: BoostingParams
    tabnet: TabNetParams
    blanked_copies: int = 2
    station_shrinkage: float = 0.0
    window_days: float = WINDOW_DAYS


PRESETS: dict[str, Preset] = {
    # Small and strongly regularised: stations, not rows, are the scarce thing.
    "default": Preset(
        ForestParams(trees=100, min_samples_leaf=20, max_features=0.2, max_samples=0.3),
        BoostingParams(
            rounds=800,
            max_depth=3,
            learning_rate=0.03,
            subsample=0.6,
            colsample_bytree=0.2,
            min_child_weight=50,
            reg_lambda=5,
        ),
        TabNetParams(n_d=8, n_a=8, n_steps=3, epochs=14, decay=0.95),
        blanked_copies=1,
    ),
    # Deep trees that remember places: to fill gaps at the very stations that taught them, as
    # a random split of rows asks. At any other place it is worse than the default.
    "interpolate": Preset(
        ForestParams(
            trees=80, max_depth=40, min_samples_split=2, min_samples_leaf=1, max_features=0.4
        ),
        BoostingParams(
            rounds=2000,
            max_depth=8,
            learning_rate=0.05,
            subsample=0.8,
            colsample_bytree=0.5,
            min_child_weight=2,
            reg_lambda=5,
        ),
        TabNetParams(n_d=16, n_a=16, n_steps=3, learning_rate=0.02, epochs=8),
        blanked_copies=0,
        window_days=15.0,
    ),
    # As published (Xu, Daccache and Ahmadi 2025, and its notebook): hours and gigabytes.
    "paper": Preset(
        ForestParams(
            trees=2500, max_depth=32, min_samples_split=3, min_samples_leaf=7, max_features=1.0
        ),
        BoostingParams(
            rounds=2500,
            max_depth=19,
            learning_rate=0.1,
            subsample=0.6536,
            colsample_bytree=0.5849,
            min_child_weight=1,
            reg_lambda=1,
        ),
        TabNetParams(
            n_d=256,
            n_a=256,
            n_steps=3,
            gamma=1.143,
            n_independent=2,
            n_shared=2,
            lambda_sparse=1e-3,
            learning_rate=0.00403,
            decay=1.0,
            epochs=100,
            batch_size=1024,
            virtual_batch_size=128,
        ),
        blanked_copies=0,
        window_days=15.0,
    ),
    # Seconds, for tests and to try a table out.
    "tiny": Preset(
        ForestParams(trees=5, max_depth=6, min_samples_leaf=5),
        BoostingParams(rounds=10, max_depth=3, min_child_weight=5),
        TabNetParams(n_d=4, n_a=4, n_steps=2, epochs=2, batch_size=128, virtual_batch_size=64),
        blanked_copies=1,
    ),
}


@dataclass(frozen=True)
class Range:
    """Numbers that a hyper-parameter may have; whether whole is a matter of its type.

    Parameters
    ----------
    low, high
        Limits, which are allowed themselves unless infinite.
    above
        Whether it has to be above `low`.
    """

    low: float
    high: float = math.inf
    above: bool = False

    def holds(self, value: Any) -> bool:
        """Whether a number lies in the range; NaN and infinity do not."""
        over = value > self.low if self.above else value >= self.low
        return bool(over and value <= self.high and value < math.inf)

    def __str__(self) -> str:
        if self.high == math.inf:
            return f"{'above' if self.above else 'of at least'} {self.low:g}"
        if self.above:
            return f"above {self.low:g} and up to {self.high:g}"
        return f"from {self.low:g} to {self.high:g}"


_COUNT = Range(1)
_SHARE = Range(0, 1, above=True)
_FROM_0 = Range(0)

# What each hyper-parameter may be: where the libraries fail, or go on and learn nothing.
RANGES: dict[type, Mapping[str, Range]] = {
    ForestParams: {
        "trees": _COUNT,
        "max_depth": _COUNT,
        "min_samples_split": Range(2),
        "min_samples_leaf": _COUNT,
        "max_features": _SHARE,
        "max_samples": _SHARE,
    },
    BoostingParams: {
        "rounds": _COUNT,
        "max_depth": _COUNT,
        "learning_rate": _SHARE,
        "subsample": _SHARE,
        "colsample_bytree": _SHARE,
        "min_child_weight": _FROM_0,
        "reg_lambda": _FROM_0,
    },
    TabNetParams: {
        "n_d": _COUNT,
        "n_a": _COUNT,
        "n_steps": _COUNT,
        # Below 1 a feature that was used once would be forbidden, and more than that.
        "gamma": Range(1),
        "n_independent": _FROM_0,
        "n_shared": _FROM_0,
        "lambda_sparse": _FROM_0,
        "learning_rate": _SHARE,
        "decay": _SHARE,
        "weight_decay": _FROM_0,
        "epochs": _COUNT,
        # Batch normalisation knows no spread of a single row.
        "batch_size": Range(2),
        "virtual_batch_size": Range(2),
    },
    Preset: {
        "blanked_copies": _FROM_0,
        "station_shrinkage": Range(0, 1),
        "window_days": _FROM_0,
    },
}


def check_preset(preset: Preset, where: str = "the preset") -> Preset:
    """Refuse hyper-parameters that no member can be fitted with.

    Parameters
    ----------
    preset
        Made by hand, read or tuned.
    where
        What it is called in a message.

    Returns
    -------
    Preset
        The same of Python's own numbers, which can go into a manifest.

    Raises
    ------
    RequestError
        A value is of the wrong type, or outside its range (`RANGES`).
    """
    checked = _check_record(preset, Preset, where, "")
    if checked.tabnet.n_independent == checked.tabnet.n_shared == 0:
        raise RequestError(
            f"tabnet.n_independent and tabnet.n_shared of {where} are both 0, which leaves no "
            "layer; give one of them at least 1."
        )
    return checked


def _check_record(record: Record, kind: type[Record], where: str, prefix: str) -> Record:
    if not isinstance(record, kind):
        raise RequestError(
            f"{prefix.rstrip('.')} of {where} is {record!r}; give a {kind.__name__}."
        )
    hints, values = get_type_hints(kind), {}
    for field in fields(kind):  # type: ignore[arg-type]
        name, value, hint = field.name, getattr(record, field.name), hints[field.name]
        if hint in RANGES:
            values[name] = _check_record(value, hint, where, f"{prefix}{name}.")
        else:
            called = f"{prefix}{name} of {where}"
            values[name] = _check_number(value, hint, RANGES[kind][name], called)
    return replace(record, **values)  # type: ignore[type-var]


def _check_number(value: Any, hint: Any, allowed: Range, called: str) -> Any:
    kinds = get_args(hint) or (hint,)
    if value is None and NoneType in kinds:
        return None
    whole = int in kinds
    number = is_whole(value) if whole else isinstance(value, Real) and not isinstance(value, bool)
    if not number or not allowed.holds(value):
        none = " or None" if NoneType in kinds else ""
        kind = "whole number" if whole else "number"
        raise RequestError(f"{called} is {value!r}; give a {kind} {allowed}{none}.")
    if whole:
        return int(value)
    # To scikit-learn a share of 1 is everything as a float, and one column or row as an int.
    return value if type(value) is int and allowed != _SHARE else float(value)


# What a manifest calls hyper-parameters that have no name here; it lists their values.
CUSTOM = "custom"


@dataclass(frozen=True)
class Recipe:
    """All that a fit needs besides the rows; equal recipes and rows give equal models."""

    spec: FeatureSpec
    preset: str
    params: Preset
    members: tuple[str, ...]
    water_cloud: WaterCloud
    seed: int


def make_recipe(
    spec: str | FeatureSpec,
    preset: str | Preset,
    members: Iterable[str] | None,
    water_cloud: WaterCloud | None,
    seed: int,
) -> Recipe:
    """Check the options of a training call.

    Raises
    ------
    RequestError
        There is no such preset or member, a hyper-parameter or the seed is out of range
        (`RANGES`), or the Water Cloud parameters are none.
    CubeError
        There is no such feature spec.
    """
    params = PRESETS.get(preset) if isinstance(preset, str) else preset
    if not isinstance(params, Preset):
        raise RequestError(
            f"there is no preset {preset!r}; use one of {', '.join(map(repr, PRESETS))} "
            "or a gssm.training.presets.Preset."
        )
    if not is_whole(seed) or not 0 <= seed < 2**31:
        raise RequestError(f"seed is {seed!r}; use a whole number from 0 to {2**31 - 1}.")
    water: object = WaterCloud() if water_cloud is None else water_cloud
    if not isinstance(water, WaterCloud):
        raise RequestError(f"water_cloud is {water_cloud!r}; give a gssm.WaterCloud.")
    return Recipe(
        resolve_spec(spec),
        preset if isinstance(preset, str) else CUSTOM,
        check_preset(params),
        _chosen(members),
        water,
        int(seed),
    )


def _chosen(members: Iterable[str] | None) -> tuple[str, ...]:
    """Members asked for, in the order of their columns."""
    names = list(KINDS) if members is None else names_of(members, "members")
    unknown = [name for name in names if name not in KINDS]
    if unknown or not names:
        raise RequestError(
            f"members names {', '.join(map(repr, unknown)) or 'none'}; "
            f"use some of {', '.join(map(repr, KINDS))}."
        )
    return tuple(name for name in KINDS if name in names)


def names_of(names: Iterable[str], option: str) -> tuple[str, ...]:
    """Names given to an option, which may be a single one.

    Raises
    ------
    RequestError
        They are no texts.
    """
    given: Any = names
    found = (given,) if isinstance(given, str) or not isinstance(given, Iterable) else tuple(given)
    if not all(isinstance(name, str) for name in found):
        raise RequestError(f"{option} is {given!r}; give a name, or a list of names.")
    return found


def is_whole(value: object) -> bool:
    """Whether a value is a whole number, of Python or numpy; True and False are none."""
    return isinstance(value, Integral) and not isinstance(value, bool)
