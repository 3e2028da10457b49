"""How well a model does, pooled over rows and station by station."""

from __future__ import annotations

import numpy as np
import pandas as pd

from gssm import metrics
from gssm.models.ensemble import TARGET, Model
from gssm.training.crossval import predictions
from gssm.training.fitting import check_labels

# Pooled scores mix differences between stations with changes in time; the median
# station tells how well a place is followed.
STATION_METRICS = ("r", "ubrmse")
_NOT_PREDICTED = ("station", "fold", "observed")


def evaluate(model: Model, samples: pd.DataFrame) -> pd.DataFrame:
    """Score a model on a table; on its own training rows the result means nothing.

    Parameters
    ----------
    model
        Trained or loaded.
    samples
        As from `gssm.read_samples`.

    Returns
    -------
    pandas.DataFrame
        See `skill_table`.

    Raises
    ------
    SamplesError
        The table has no station or soil moisture column, NaN labels or no rows.
    """
    check_labels(samples)
    return skill_table(predictions(model, samples))


def skill_table(predicted: pd.DataFrame) -> pd.DataFrame:
    """Metrics of every predicted column.

    Parameters
    ----------
    predicted
        As from `gssm.cross_validate`: station, observed and predictions (m3 m-3).

    Returns
    -------
    pandas.DataFrame
        A row per member and one for the ensemble (``soil_moisture``, last). Columns:
        ``N``, ``stations``; pooled ``bias``, ``rmse``, ``ubrmse`` (m3 m-3), ``r2``,
        ``r``, ``kge``; median over stations ``station_r``, ``station_ubrmse``.
    """
    names = [name for name in predicted.columns if name not in _NOT_PREDICTED]
    names.sort(key=lambda name: name == TARGET)
    rows = {
        name: _scores(predicted["station"], predicted["observed"], predicted[name])
        for name in names
    }
    return pd.DataFrame.from_dict(rows, orient="index")


def _scores(
    station: pd.Series, observed: pd.Series, predicted: pd.Series
) -> dict[str, float | int]:
    used = np.isfinite(observed.to_numpy()) & np.isfinite(predicted.to_numpy())
    pairs = pd.DataFrame({"observed": observed, "predicted": predicted})[used]
    by_station = [group for _, group in pairs.groupby(station[used].to_numpy())]
    scores: dict[str, float | int] = {"N": len(pairs), "stations": len(by_station)}
    for name, metric in metrics.METRICS.items():
        scores[name] = metric(pairs["observed"], pairs["predicted"])
    for name in STATION_METRICS:
        each = [metrics.METRICS[name](g["observed"], g["predicted"]) for g in by_station]
        known = [value for value in each if np.isfinite(value)]
        scores[f"station_{name}"] = float(np.median(known)) if known else float("nan")
    return scores
