"""Rows -> fitted members, and out-of-fold predictions -> weights."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping
from itertools import combinations
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from gssm.errors import CubeError, GssmWarning, SamplesError
from gssm.models import boosting, forest, tabnet
from gssm.models.ensemble import TARGET, Member
from gssm.models.table import feature_matrix
from gssm.schema import VARIABLES, FeatureSpec, refuse_implausible
from gssm.training.blanking import augment
from gssm.training.presets import Recipe

FITTERS: dict[str, Callable[..., Member]] = {
    "random_forest": forest.fit,
    "xgboost": boosting.fit,
    "tabnet": tabnet.fit,
}

MIN_ROWS = 50


def station_keys(samples: pd.DataFrame) -> pd.Series[Any]:
    """Name of each row's station, with its network: names repeat between networks."""
    if "network" not in samples:
        return samples["station"].astype(str)
    return samples["network"].astype(str) + "/" + samples["station"].astype(str)


def check_samples(samples: pd.DataFrame) -> None:
    """Refuse a table that no model can be trained on.

    Raises
    ------
    SamplesError
        As `check_labels`; or there are too few rows, or one single target value.
    """
    check_labels(samples)
    if len(samples) < MIN_ROWS:
        raise SamplesError(f"the samples table has {len(samples)} rows; give at least {MIN_ROWS}.")
    target = samples[TARGET].to_numpy(np.float64)
    if np.ptp(target) == 0:
        raise SamplesError(
            f"{TARGET} is {target[0]:g} in every row, from which nothing can be learned; "
            "check the column."
        )
    refuse_wrong_units(samples)


def refuse_wrong_units(samples: pd.DataFrame) -> None:
    """Refuse a canonical column most of whose values are impossible in its units.

    Raises
    ------
    SamplesError
        Digital numbers as reflectance, degrees Celsius as kelvin, and the like.
    """
    for name in (n for n in map(str, samples.columns) if n in VARIABLES and n != TARGET):
        try:
            refuse_implausible(samples[name].to_numpy(np.float64), name)
        except CubeError as error:
            raise SamplesError(str(error)) from error


def warn_of_level(samples: pd.DataFrame, spec: FeatureSpec) -> None:
    """Warn where reflectance of one level teaches a model that reads the other."""
    level = samples.attrs.get("level")
    if level is not None and level != spec.level:
        warnings.warn(
            f"the samples hold {level} reflectance and the spec {spec.name!r} is of {spec.level}; "
            "a model of them is wrong on images of its own level: join tables with "
            "gssm.concat_samples, or choose another spec.",
            GssmWarning,
            stacklevel=3,
        )


def check_labels(samples: pd.DataFrame) -> None:
    """Refuse a table that no model can be scored on.

    Raises
    ------
    SamplesError
        The station or the target is missing, there is no row, or the target has NaN or
        percent.
    """
    missing = [name for name in ("station", TARGET) if name not in samples]
    if missing:
        raise SamplesError(
            f"the samples table has no column {', '.join(map(repr, missing))}; "
            "read it with gssm.read_samples or add it."
        )
    if samples.empty:
        raise SamplesError("the samples table has no rows; check the filter that made it.")
    target = samples[TARGET].to_numpy(np.float64)
    if unusable := int(np.count_nonzero(~np.isfinite(target))):
        raise SamplesError(
            f"{TARGET} is NaN or infinite in {unusable} of {len(samples)} rows; "
            f"drop them with samples.dropna(subset='{TARGET}')."
        )
    if target.min() < 0 or target.max() > 1:
        raise SamplesError(
            f"{TARGET} ranges from {target.min():g} to {target.max():g}; "
            "give m3 m-3 (percent divided by 100)."
        )


def shrunk_target(samples: pd.DataFrame, share: float) -> NDArray[np.float32]:
    """Soil moisture less a share of its station's offset from the mean of all rows."""
    target = samples[TARGET].to_numpy(np.float64)
    by_station = pd.Series(target).groupby(station_keys(samples).to_numpy())
    offset = by_station.transform("mean") - target.mean()
    return np.asarray(target - share * offset.to_numpy(), dtype=np.float32)


def fit_members(
    samples: pd.DataFrame, recipe: Recipe, progress: Callable[[str], None]
) -> dict[str, Member]:
    """Fit every member of the recipe on these rows and their blanked copies."""
    params = recipe.params
    rows = augment(
        samples, copies=params.blanked_copies, seed=recipe.seed, window_days=params.window_days
    )
    features = feature_matrix(rows, recipe.spec, recipe.water_cloud)
    # As in scoring: infinite is as good as missing.
    features[~np.isfinite(features)] = np.nan
    target = shrunk_target(rows, params.station_shrinkage)
    members: dict[str, Member] = {}
    for name in recipe.members:
        progress(f"fitting {name} on {len(features)} rows")
        members[name] = FITTERS[name](features, target, getattr(params, name), recipe.seed)
    return members


def ensemble_weights(
    predictions: Mapping[str, NDArray[Any]], observed: NDArray[Any]
) -> dict[str, float]:
    """`simplex_weights` to six digits."""
    best = simplex_weights(predictions, observed)
    # Six digits say all, and do not change with the order of a library's sums.
    return {name: round(weight, 6) for name, weight in best.items()}


def simplex_weights(
    predictions: Mapping[str, NDArray[Any]], observed: NDArray[Any]
) -> dict[str, float]:
    """Non-negative weights with sum 1 that minimise the squared error.

    Parameters
    ----------
    predictions
        Out-of-fold predictions by member, each (n,).
    observed
        The truth, (n,).

    Notes
    -----
    The optimum of a convex problem on a simplex lies inside one of its faces. A few
    members have few faces, so each is solved exactly and the best is taken.
    """
    names = list(predictions)
    errors = np.stack([np.asarray(predictions[n], np.float64) - observed for n in names])
    moments = errors @ errors.T / errors.shape[1]
    best, best_error = np.full(len(names), 1 / len(names)), np.inf
    for size in range(1, len(names) + 1):
        for face in combinations(range(len(names)), size):
            inner = np.linalg.pinv(moments[np.ix_(face, face)]).sum(axis=1)
            if inner.sum() <= 0 or (inner < 0).any():
                continue
            weights = np.zeros(len(names))
            weights[list(face)] = inner / inner.sum()
            error = float(weights @ moments @ weights)
            if error < best_error:
                best, best_error = weights, error
    return {name: float(weight) for name, weight in zip(names, best, strict=True)}
