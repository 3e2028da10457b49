"""Rows -> fitted members."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from gssm.errors import CubeError, GssmWarning, SamplesError
from gssm.models import boosting, forest, tabnet
from gssm.models.ensemble import TARGET, Member
from gssm.models.table import feature_matrix
from gssm.schema import BACKSCATTER, VARIABLES, FeatureSpec, refuse_implausible
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
        As `check_labels`, `check_radar` and `refuse_wrong_units`; or there are too few
        rows, or one single target value, or times that are none.
    """
    check_labels(samples)
    check_radar(samples)
    times_of(samples)
    if len(samples) < MIN_ROWS:
        raise SamplesError(f"the samples table has {len(samples)} rows; give at least {MIN_ROWS}.")
    target = _numbers(samples, TARGET)
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
        Digital numbers as reflectance, degrees Celsius as kelvin, radians as degrees, and
        the like; or a column holds no numbers.
    """
    for name in (n for n in map(str, samples.columns) if n in VARIABLES and n != TARGET):
        try:
            refuse_implausible(_numbers(samples, name), name)
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
        It is no table; the station or the target is missing, there is no row, or the
        target has NaN or percent.
    """
    check_table(samples)
    missing = [name for name in ("station", TARGET) if name not in samples]
    if missing:
        raise SamplesError(
            f"the samples table has no column {', '.join(map(repr, missing))}; "
            "read it with gssm.read_samples or add it."
        )
    if samples.empty:
        raise SamplesError("the samples table has no rows; check the filter that made it.")
    target = _numbers(samples, TARGET)
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


def check_table(samples: object) -> None:
    """Refuse what is no table, or one of which a column cannot be named.

    Raises
    ------
    SamplesError
        It is a path, None or the like, or two columns have one name.
    """
    if isinstance(samples, str | Path):
        raise SamplesError(
            f"the samples are the path {str(samples)!r} and no table; give "
            f"gssm.read_samples({str(samples)!r})."
        )
    if not isinstance(samples, pd.DataFrame):
        raise SamplesError(
            f"the samples are a {type(samples).__name__} and no table; give a pandas DataFrame, "
            "such as from gssm.read_samples."
        )
    if not samples.columns.is_unique:
        twice = samples.columns[samples.columns.duplicated()].unique()
        raise SamplesError(
            f"the samples table has more than one column {', '.join(map(repr, twice))}; keep one "
            "of them."
        )


def check_radar(samples: pd.DataFrame) -> None:
    """Refuse a table without radar, which every model reads.

    Raises
    ------
    SamplesError
        vv or vh is missing, or has no value.
    """
    missing = [name for name in BACKSCATTER if name not in samples]
    empty = [n for n in BACKSCATTER if n not in missing and not samples[n].notna().any()]
    for names, says in ((missing, "has no column"), (empty, "has no value in the column")):
        if names:
            raise SamplesError(
                f"the samples table {says} {' and '.join(map(repr, names))}, and every model reads "
                f"{' and '.join(map(repr, BACKSCATTER))}; give both in linear power, as "
                "gssm.read_samples does."
            )


def times_of(samples: pd.DataFrame) -> pd.Series[Any]:
    """Return the times of the rows, NaT where there is none; of no row without the column.

    Raises
    ------
    SamplesError
        There is a time that cannot be read.
    """
    if "time" not in samples:
        return pd.Series(dtype="M8[ns]")
    try:
        return pd.to_datetime(samples["time"])
    except (ValueError, TypeError) as error:
        raise SamplesError(
            f"the column 'time' of the samples table holds what is no time "
            f"({str(error).splitlines()[0][:100]}); write it as ISO 8601, such as 2018-05-01T06:00."
        ) from error


def _numbers(samples: pd.DataFrame, name: str) -> NDArray[np.float64]:
    try:
        return np.asarray(samples[name].to_numpy(np.float64))
    except (ValueError, TypeError) as error:
        raise SamplesError(
            f"the column {name!r} of the samples table holds what is no number "
            f"({str(error).splitlines()[0][:100]}); convert it with pandas.to_numeric."
        ) from error


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
