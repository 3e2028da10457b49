"""Permutation importance: how much worse held-out rows are predicted without a group.

The columns of a group are shuffled together between the rows, so that they keep their
own relations and lose those to the label and to all other features (Breiman 2001, doi
10.1023/A:1010933404324). The rows must be held out: on training rows the result tells
what a model memorised.

Correlated features share their importance: what one group loses, another that says the
same still tells, so both seem to matter little. Groups by sensor lessen that; they do not
remove it (the radar of today and of the past, Sentinel-2 and Landsat, season and
temperature).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from gssm import metrics
from gssm.errors import RequestError
from gssm.models.ensemble import KINDS, TARGET, Model
from gssm.models.table import feature_matrix
from gssm.schema import (
    HISTORY_BASES,
    LANDSAT_REFLECTANCE,
    LANDSAT_THERMAL,
    POSITIONS,
    REFERENCES,
    SENTINEL2_BANDS,
    FeatureSpec,
)
from gssm.training.fitting import check_labels

# More rows change the third digit of an importance and cost in proportion.
MAX_ROWS = 5000
SPREAD = "_sd"
OTHER = "other"

_RADAR_BASES = tuple(base for base in HISTORY_BASES if base.startswith(("vv", "vh")))


def _history(radar: bool) -> tuple[str, ...]:
    names = (*REFERENCES, *POSITIONS)
    return tuple(name for name in names if name.startswith(_RADAR_BASES) == radar)


# What is shuffled together, by sensor. A feature of a spec that stands in none of them
# goes to the group "other".
GROUPS: dict[str, tuple[str, ...]] = {
    "radar": ("vv", "vh", "vv_db", "vh_db", "vh_minus_vv_db"),
    "radar soil": ("vv_soil", "vh_soil"),
    "incidence angle": ("incidence_angle",),
    "Sentinel-2": tuple(f"s2_{name}" for name in (*SENTINEL2_BANDS, "ndvi", "ndmi", "mask")),
    "Landsat reflectance": tuple(
        f"landsat_{name}" for name in (*LANDSAT_REFLECTANCE, "ndvi", "ndmi", "mask")
    ),
    "Landsat thermal": tuple(f"landsat_{name}" for name in LANDSAT_THERMAL),
    "terrain": ("dsm", "slope", "aspect", "aspect_sin", "aspect_cos"),
    "season": ("day_of_year_sin", "day_of_year_cos"),
    "optical ages": ("s2_age", "landsat_age"),
    "history radar": _history(radar=True),
    # With Landsat's temperature: it has the same clouds and gaps.
    "history optical": _history(radar=False),
    "location": ("latitude", "longitude"),
}


def feature_groups(spec: FeatureSpec) -> dict[str, tuple[str, ...]]:
    """Return `GROUPS` as far as a spec has their features, in the order of the spec."""
    grouped = {name: frozenset(members) for name, members in GROUPS.items()}
    known = frozenset().union(*grouped.values())
    grouped[OTHER] = frozenset(spec.features) - known
    found = {n: tuple(f for f in spec.features if f in m) for n, m in grouped.items()}
    return {name: members for name, members in found.items() if members}


def single_features(spec: FeatureSpec) -> dict[str, tuple[str, ...]]:
    """Every feature of a spec as a group of its own."""
    return {name: (name,) for name in spec.features}


def permutation_importance(
    model: Model,
    samples: pd.DataFrame,
    groups: Mapping[str, Sequence[str]] | None = None,
    *,
    repeats: int = 3,
    seed: int = 0,
) -> pd.DataFrame:
    """Increase in RMSE when groups of features are shuffled, per member and ensemble.

    Parameters
    ----------
    model
        Trained or loaded; scores all members at once, once per group and repeat.
    samples
        Canonical columns as from `gssm.read_samples`: rows of stations that the model was
        not trained on. More than 5000 rows are sampled.
    groups
        Features of the model's spec by name of their group. `feature_groups` by default;
        ``single_features(model.spec)`` takes each alone.
    repeats
        Shuffles of each group, all different.
    seed
        Of the sample and the shuffles; the same seed gives the same table.

    Returns
    -------
    pandas.DataFrame
        A row per group, the most important for the ensemble first. Columns:
        ``features``, their number; each member and ``soil_moisture`` (the ensemble), mean
        increase in RMSE (m3 m-3), about 0 or by chance below where nothing is lost; the
        same names with ``_sd``, standard deviation over the repeats. ``attrs`` holds
        ``rows``, ``repeats``, ``seed`` and ``rmse``, by column before any shuffle.

    Raises
    ------
    SamplesError
        The table has no station, radar or soil moisture column, NaN labels or no rows.
    RequestError
        A group is empty or names what the model does not read, there is no group, or
        there are no repeats.

    Notes
    -----
    Correlated features share their importance. Features are shuffled as the model
    reads them: shuffling Sentinel-2 leaves ``vv_soil``, which was corrected by its NDVI,
    as it is. A shuffled row may be one that nature does not have.
    """
    check_labels(samples)
    groups = feature_groups(model.spec) if groups is None else groups
    _check_request(model.spec, groups, repeats)
    rng = np.random.default_rng(seed)
    if len(samples) > MAX_ROWS:
        samples = samples.iloc[np.sort(rng.choice(len(samples), MAX_ROWS, replace=False))]
    features = feature_matrix(samples, model.spec, model.water_cloud)
    observed = samples[TARGET].to_numpy(np.float64)
    before = _errors(model, features, observed)
    rows = {}
    for name, members in groups.items():
        columns = [model.spec.features.index(member) for member in members]
        increases = []
        for _ in range(repeats):
            shuffled = features.copy()
            shuffled[:, columns] = features[rng.permutation(len(features))][:, columns]
            increases.append(_errors(model, shuffled, observed) - before)
        table = pd.DataFrame(increases)
        spread = table.std(ddof=0).add_suffix(SPREAD)
        rows[name] = pd.concat([table.mean(), spread])
    result = pd.DataFrame.from_dict(rows, orient="index")
    result.insert(0, "features", [len(groups[name]) for name in result.index])
    result = result.sort_values(TARGET, ascending=False, kind="stable").rename_axis("group")
    errors = {str(name): float(error) for name, error in before.items()}
    result.attrs = {"rows": len(samples), "repeats": repeats, "seed": seed, "rmse": errors}
    return result


def _errors(
    model: Model, features: NDArray[np.float32], observed: NDArray[np.float64]
) -> pd.Series[float]:
    """RMSE of each member, in the order of `KINDS`, and of the ensemble."""
    scores = model.score(features)
    names = [*(name for name in KINDS if name in scores), TARGET]
    return pd.Series({name: metrics.rmse(observed, scores[name]) for name in names})


def _check_request(spec: FeatureSpec, groups: Mapping[str, Sequence[str]], repeats: int) -> None:
    if repeats < 1:
        raise RequestError(f"repeats is {repeats}; use at least 1 shuffle of each group.")
    if not groups:
        raise RequestError("groups names no group of features; leave it out to have them all.")
    for name, members in groups.items():
        if isinstance(members, str) or not members:
            raise RequestError(
                f"group {name!r} is {members!r}; give a list of features such as ['vv_db']."
            )
        unknown = [member for member in members if member not in spec.features]
        if unknown:
            raise RequestError(
                f"group {name!r} names {', '.join(map(repr, unknown))}, which the model does not "
                f"read; use features of its spec {spec.name!r}."
            )
