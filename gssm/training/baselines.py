"""What must be beaten: predictions of almost nothing, on the same splits as a model.

A model of dozens of features that does no better than these has learnt nothing from them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from gssm.errors import SamplesError
from gssm.models.ensemble import TARGET
from gssm.physics import linear_to_decibel
from gssm.training.fitting import check_labels
from gssm.training.protocols import Split

Floats = NDArray[np.float64]

TREES = 100
MIN_SAMPLES_LEAF = 20
DAYS_OF_A_YEAR = 365.25


def baselines(samples: pd.DataFrame, splits: Sequence[Split], *, seed: int = 0) -> pd.DataFrame:
    """Predict held-out rows by the simplest means, each learnt from the training rows alone.

    Parameters
    ----------
    samples
        As from `gssm.read_samples`.
    splits
        As from `gssm.training.protocols.split`, for a comparison those of the model: the
        same protocol, folds and seed.
    seed
        Of the forests.

    Returns
    -------
    pandas.DataFrame
        Index of `samples`; a column for each of `BASELINES` whose inputs the table has
        (m3 m-3, float32), NaN in rows that no split holds out. Forests of 100 trees with
        leaves of at least 20 rows; a row without inputs goes where the forest sends gaps.

    Raises
    ------
    SamplesError
        The table cannot be scored; or a split has no row to learn from, a row on both
        sides, or rows that the table has not.
    """
    check_labels(samples)
    for number, part in enumerate(splits):
        _check_split(part, number, len(samples))
    target = samples[TARGET].to_numpy(np.float64)
    columns: dict[str, NDArray[np.float32]] = {}
    for name, (needs, inputs, _) in BASELINES.items():
        if set(needs) <= set(samples.columns):
            known = inputs(samples)
            predicted = np.full(len(samples), np.nan, np.float32)
            for part in splits:
                learnt = _fit(known[part.train], target[part.train], seed)
                predicted[part.test] = learnt(known[part.test])
            columns[name] = predicted
    return pd.DataFrame(columns, index=samples.index)


def _check_split(part: Split, number: int, rows: int) -> None:
    used = np.concatenate([part.train, part.test])
    if len(used) and not 0 <= used.min() <= used.max() < rows:
        raise SamplesError(
            f"split {number} names row {used.max()} or {used.min()} of a table of {rows} rows; "
            "split the same table that is given here."
        )
    if len(part.train) == 0:
        raise SamplesError(
            f"split {number} has no row to learn from; use fewer folds or another protocol."
        )
    if shared := len(np.intersect1d(part.train, part.test)):
        raise SamplesError(
            f"split {number} has {shared} rows both to learn from and to predict; give each to "
            "one side."
        )


def _fit(inputs: Floats, target: Floats, seed: int) -> Callable[[Floats], Floats]:
    """Learn the mean, or a forest where there are inputs."""
    if inputs.shape[1] == 0:
        mean = target.mean()
        return lambda rows: np.full(len(rows), mean)
    from sklearn.ensemble import RandomForestRegressor

    forest = RandomForestRegressor(
        TREES, min_samples_leaf=MIN_SAMPLES_LEAF, random_state=seed, n_jobs=1
    )
    forest.fit(inputs, target)

    def predict(rows: Floats) -> Floats:
        return np.asarray(forest.predict(rows)) if len(rows) else np.empty(0)

    return predict


def _nothing(samples: pd.DataFrame) -> Floats:
    return np.empty((len(samples), 0))


def _place(samples: pd.DataFrame) -> Floats:
    return samples[["latitude", "longitude"]].to_numpy(np.float64)


def _radar(samples: pd.DataFrame) -> Floats:
    return np.asarray(linear_to_decibel(samples[["vv"]].to_numpy(np.float64)))


def _radar_and_season(samples: pd.DataFrame) -> Floats:
    days = pd.to_datetime(samples["time"]).dt.dayofyear.to_numpy(np.float64)
    angle = 2 * np.pi * days / DAYS_OF_A_YEAR
    return np.column_stack([_radar(samples), np.sin(angle), np.cos(angle)])


# Name -> columns that it needs, table -> its inputs (n, k), and what it is, in words.
BASELINES: dict[str, tuple[tuple[str, ...], Callable[[pd.DataFrame], Floats], str]] = {
    "baseline_mean": ((), _nothing, "mean of the training rows"),
    "baseline_latlon": (
        ("latitude", "longitude"),
        _place,
        "random forest on latitude and longitude alone",
    ),
    "baseline_vv": (("vv",), _radar, "random forest on VV backscatter alone"),
    "baseline_vv_season": (
        ("vv", "time"),
        _radar_and_season,
        "random forest on VV backscatter and the day of the year",
    ),
}
BASELINE_SAYS: dict[str, str] = {name: says for name, (_, _, says) in BASELINES.items()}
