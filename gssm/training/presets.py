"""Hyper-parameters by name, and what a fit of the ensemble needs besides the rows."""

from __future__ import annotations

from dataclasses import dataclass

from gssm.errors import RequestError
from gssm.models.boosting import BoostingParams
from gssm.models.ensemble import KINDS
from gssm.models.forest import ForestParams
from gssm.models.tabnet import TabNetParams
from gssm.physics import WaterCloud
from gssm.schema import FeatureSpec, resolve_spec

MemberParams = ForestParams | BoostingParams | TabNetParams

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
        TabNetParams(n_d=8, n_a=8, n_steps=3, epochs=8),
        blanked_copies=1,
    ),
    # Deep trees that remember places: to fill gaps at the very stations that taught them, as
    # a random split of rows asks. At any other place it is worse than the default.
    "interpolate": Preset(
        ForestParams(
            trees=80, max_depth=40, min_samples_split=2, min_samples_leaf=1, max_features=0.4
        ),
        BoostingParams(
            rounds=450,
            max_depth=12,
            learning_rate=0.07,
            subsample=0.7,
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
    members: tuple[str, ...] | list[str] | None,
    water_cloud: WaterCloud | None,
    seed: int,
) -> Recipe:
    """Check the options of a training call.

    Raises
    ------
    RequestError
        There is no such preset or member, or the seed is out of range.
    CubeError
        There is no such feature spec.
    """
    params = preset if isinstance(preset, Preset) else PRESETS.get(preset)
    if params is None:
        raise RequestError(
            f"there is no preset {preset!r}; use one of {', '.join(map(repr, PRESETS))} "
            "or a gssm.training.presets.Preset."
        )
    chosen = tuple(name for name in KINDS if members is None or name in members)
    unknown = sorted(set(members or ()) - set(KINDS))
    if unknown or not chosen:
        raise RequestError(
            f"members names {', '.join(map(repr, unknown)) or 'none'}; "
            f"use some of {', '.join(map(repr, KINDS))}."
        )
    if not 0 <= seed < 2**31:
        raise RequestError(f"seed is {seed}; use 0 to {2**31 - 1}.")
    name = preset if isinstance(preset, str) else CUSTOM
    water = water_cloud or WaterCloud()
    return Recipe(resolve_spec(spec), name, params, chosen, water, seed)
