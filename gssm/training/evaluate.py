"""How well a model does: pooled over rows, station by station, by class and by protocol."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from gssm import metrics
from gssm.errors import GssmWarning, RequestError, SamplesError
from gssm.models.ensemble import KINDS, TARGET, UNCERTAINTY, Model
from gssm.training.blank_rows import leave_out_blank
from gssm.training.classes import CLASSES, Classes, class_names
from gssm.training.crossval import predictions
from gssm.training.fitting import check_labels, check_radar, refuse_wrong_units
from gssm.training.past import with_past
from gssm.training.presets import WINDOW_DAYS

# Pooled scores mix differences between stations with changes in time; the median
# station tells how well a place is followed. Score -> the metric of each station.
STATION_METRICS: dict[str, str] = {
    "station_r": "r",
    "station_ubrmse": "ubrmse",
    "station_bias": "bias",
    "station_anomaly_r": "anomaly_r",
}
# The sign says which way a place is off, and averages out between places.
ABSOLUTE = ("station_bias",)
# A correlation of a handful of rows says nothing of a station.
MIN_STATION_ROWS = 20

# What a station's row shows beside its scores, where the table has it.
_PLACE = ("network", "latitude", "longitude")
_CLASSES = ("land_cover", "koppen", "soil_texture")


def evaluate(model: Model, samples: pd.DataFrame) -> pd.DataFrame:
    """Score a model on a table, at the rows at which a map of it would have a value.

    Where `Model.predict` gives NaN (no radar; water, snow or frozen ground, failed reads) no
    row is scored.

    Rows that the model learned from tell how well it remembers, not how well it predicts:
    for that there is `gssm.cross_validate`. A model names the networks and the hash of the
    table that taught it, but not its stations, so only rows of that very file are noticed.
    A row at one of its stations in another file is not.

    Parameters
    ----------
    model
        Trained or loaded.
    samples
        As from `gssm.read_samples`. References of the past, if the model reads them and the
        table has none, come from each station's own rows.

    Returns
    -------
    pandas.DataFrame
        See `skill_table`. ``attrs["left_out"]`` says how many rows were not scored, and
        ``attrs["left_out_why"]`` how many of these had no radar or which flag.

    Raises
    ------
    SamplesError
        The table has no station, radar or soil moisture column, NaN labels, values in
        other units, no rows, or none that a map would have a value at.
    RequestError
        The model is none.

    Warns
    -----
    GssmWarning
        Rows are of the file and the networks that the model learned from; or rows were
        left out.
    """
    if not isinstance(model, Model):
        raise RequestError(
            f"the model is a {type(model).__name__}; give a gssm.Model, such as from "
            "gssm.load_model."
        )
    check_labels(samples)
    check_radar(samples)
    refuse_wrong_units(samples)
    _warn_if_taught(model, samples)
    hyperparameters = model.provenance.get("training", {}).get("hyperparameters", {})
    window = hyperparameters.get("window_days", WINDOW_DAYS)
    table = with_past(samples, model.spec, model.water_cloud, window_days=window)
    kept, why = leave_out_blank(table, model.water_cloud)
    scores = skill_table(predictions(model, kept))
    scores.attrs |= {"left_out": len(table) - len(kept), "left_out_why": why}
    return scores


def _warn_if_taught(model: Model, samples: pd.DataFrame) -> None:
    training: Mapping[str, Any] = model.provenance.get("training", {})
    known = {table.get("sha256") for table in training.get("tables", ())}
    source = samples.attrs.get("source", {}).get("sha256")
    if source is None or source not in {*known, training.get("table_sha256")}:
        return
    taught = len(samples)
    if "network" in samples:
        taught = int(samples["network"].astype(str).isin(training.get("networks", ())).sum())
    if taught:
        warnings.warn(
            f"{taught} of the {len(samples)} rows are of the table and the networks that this "
            "model learned from, and scores on them are better than on unseen places; use "
            "gssm.cross_validate, or the scores in the model's own provenance.",
            GssmWarning,
            stacklevel=3,
        )


def skill_table(predicted: pd.DataFrame, columns: Sequence[str] | None = None) -> pd.DataFrame:
    """Metrics of predicted columns.

    Parameters
    ----------
    predicted
        As from `gssm.cross_validate`: station, observed and predictions (m3 m-3).
    columns
        The predictions; the members and the ensemble by default.

    Returns
    -------
    pandas.DataFrame
        A row per prediction, the ensemble (``soil_moisture``) last by default. Columns:
        ``N`` rows, ``stations``, ``stations_used`` (those with at least
        `MIN_STATION_ROWS` rows); pooled ``bias``, ``rmse``, ``ubrmse`` (m3 m-3), ``r2``,
        ``r``, ``spearman``, ``kge``; medians over the stations used: ``station_r``,
        ``station_ubrmse``, ``station_bias`` (of absolute values), ``station_anomaly_r``
        (`gssm.metrics.anomaly_r`; NaN without ``time``); and ``coverage``, if the table
        has ``soil_moisture_uncertainty``: the share of truths inside the ensemble's
        intervals, NaN for other predictions. What the rows cannot define is NaN.

    Raises
    ------
    SamplesError
        A column is missing, or there is no prediction.
    """
    names = prediction_columns(predicted, columns)
    return pd.DataFrame.from_dict({n: _scores(predicted, n) for n in names}, orient="index")


def prediction_columns(predicted: pd.DataFrame, columns: Sequence[str] | None = None) -> list[str]:
    """Columns asked for, or the members that there are and the ensemble last.

    Raises
    ------
    SamplesError
        One of them, ``station`` or ``observed`` is missing, or there is none.
    """
    named = [columns] if isinstance(columns, str) else columns
    known = [name for name in (*KINDS, TARGET) if name in predicted]
    names = known if named is None else list(named)
    missing = [name for name in ("station", "observed", *names) if name not in predicted]
    if missing or not names:
        raise SamplesError(
            f"the predicted table has no column {', '.join(map(repr, missing or [TARGET]))}; "
            "give what gssm.cross_validate returns, with every prediction that is named."
        )
    return names


def station_table(predicted: pd.DataFrame, column: str = TARGET) -> pd.DataFrame:
    """Metrics of one prediction at each station.

    Parameters
    ----------
    predicted
        As for `skill_table`.
    column
        The prediction.

    Returns
    -------
    pandas.DataFrame
        Index ``station`` (network/station), sorted, of stations with an observed and
        predicted pair. Columns: ``network``, ``latitude``, ``longitude`` (median) where
        the table has them; ``N``; ``bias``, ``rmse``, ``ubrmse`` (m3 m-3), ``r2``, ``r``,
        ``spearman``, ``kge``, ``anomaly_r``; ``coverage`` where there are intervals;
        ``land_cover``, ``koppen``, ``soil_texture`` (most frequent code) where the table
        has them. A few rows give scores, too: see ``N``.

    Raises
    ------
    SamplesError
        As `skill_table`.
    """
    pairs = complete_pairs(predicted, column)
    by_station = pairs.groupby("station")
    scores = _by_station(pairs)
    for number, name in enumerate([name for name in _PLACE if name in pairs]):
        place = by_station[name]
        values = place.first().astype(str) if name == "network" else place.median()
        scores.insert(number, name, values)
    for name in _CLASSES:
        if name in pairs:
            scores[name] = by_station[name].agg(_most_frequent)
    return scores


def _most_frequent(values: pd.Series[Any]) -> Any:
    modes = values.mode()
    return modes.iloc[0] if len(modes) else np.nan


def group_table(predicted: pd.DataFrame, by: str, column: str = TARGET) -> pd.DataFrame:
    """Scores of one prediction within classes of rows.

    Parameters
    ----------
    predicted
        As for `skill_table`.
    by
        One of `gssm.training.classes.CLASSES`: ``"network"``, ``"climate"`` (main class of
        the column ``koppen``), ``"land_cover"`` or ``"soil_texture"``; or any column.
    column
        The prediction.

    Returns
    -------
    pandas.DataFrame
        Index `by`: the classes that occur, in the order of their codes, ``"unknown"``
        last. Columns as in `skill_table`.

    Raises
    ------
    SamplesError
        As `skill_table`; or the table has no such column to group by.
    """
    prediction_columns(predicted, [column])
    groups = group_names(predicted, by)
    found = [name for name in groups.categories if (groups == name).any()]
    rows = {name: _scores(predicted[groups == name], column) for name in found}
    return pd.DataFrame.from_dict(rows, orient="index").rename_axis(by)


def group_names(predicted: pd.DataFrame, by: str) -> pd.Categorical:
    """Class of each row, as `group_table` names it.

    Raises
    ------
    SamplesError
        The table has no such column.
    """
    classes = CLASSES.get(by, Classes(by))
    if classes.column not in predicted:
        raise SamplesError(
            f"the predicted table has no column {classes.column!r} to group by; add it, or group "
            f"by one of {', '.join(n for n, c in CLASSES.items() if c.column in predicted)}."
        )
    return class_names(predicted[classes.column], classes)


def protocol_table(evaluations: Mapping[str, pd.DataFrame], column: str = TARGET) -> pd.DataFrame:
    """Scores of one prediction under several protocols, side by side.

    Parameters
    ----------
    evaluations
        Protocol -> what `gssm.cross_validate` returned for it. Their rows differ where a
        protocol leaves some out: see ``N``.
    column
        The prediction.

    Returns
    -------
    pandas.DataFrame
        Index ``protocol``, in the order given; columns as in `skill_table`.

    Raises
    ------
    SamplesError
        As `skill_table`.
    """
    for table in evaluations.values():
        prediction_columns(table, [column])
    rows = {name: _scores(table, column) for name, table in evaluations.items()}
    return pd.DataFrame.from_dict(rows, orient="index").rename_axis("protocol")


def station_medians(stations: pd.DataFrame) -> pd.DataFrame:
    """Values of each station behind the medians of `skill_table`; NaN for one of few rows.

    Parameters
    ----------
    stations
        As from `station_table`.

    Returns
    -------
    pandas.DataFrame
        The same index; a column for each of `STATION_METRICS`.
    """
    used = stations["N"] >= MIN_STATION_ROWS
    values = {
        score: stations[metric].abs() if score in ABSOLUTE else stations[metric]
        for score, metric in STATION_METRICS.items()
    }
    return pd.DataFrame(values).where(used)


def complete_pairs(predicted: pd.DataFrame, column: str) -> pd.DataFrame:
    """Rows that are observed and predicted, numbered from 0.

    Returns
    -------
    pandas.DataFrame
        ``station`` (str), ``observed``, ``predicted`` (float64); ``time``, ``uncertainty``
        (of the ensemble only) and what tells of the place, where the table has them.

    Raises
    ------
    SamplesError
        A column is missing.
    """
    prediction_columns(predicted, [column])
    pairs = pd.DataFrame(
        {
            "station": predicted["station"].astype(str).to_numpy(),
            "observed": predicted["observed"].to_numpy(np.float64),
            "predicted": predicted[column].to_numpy(np.float64),
            **{n: predicted[n].to_numpy() for n in (*_PLACE, *_CLASSES, "time") if n in predicted},
        }
    )
    if column == TARGET and UNCERTAINTY in predicted:
        pairs["uncertainty"] = predicted[UNCERTAINTY].to_numpy(np.float64)
    complete = np.isfinite(pairs[["observed", "predicted"]].to_numpy()).all(axis=1)
    return pairs.iloc[np.flatnonzero(complete)].reset_index(drop=True)


def _scores(predicted: pd.DataFrame, column: str) -> dict[str, float | int]:
    """Row of `skill_table`."""
    pairs = complete_pairs(predicted, column)
    stations = _by_station(pairs)
    scores: dict[str, float | int] = {
        "N": len(pairs),
        "stations": len(stations),
        "stations_used": int((stations["N"] >= MIN_STATION_ROWS).sum()),
        **_metrics(pairs),
        **{str(name): float(value) for name, value in station_medians(stations).median().items()},
    }
    if UNCERTAINTY in predicted:
        scores["coverage"] = _coverage(pairs)
    return scores


def _by_station(pairs: pd.DataFrame) -> pd.DataFrame:
    rows = {}
    for key, own in pairs.groupby("station"):
        rows[key] = {"N": len(own), **_metrics(own), "anomaly_r": _anomaly_r(own)}
        if "uncertainty" in own:
            rows[key]["coverage"] = _coverage(own)
    columns = None if rows else ["N", *metrics.METRICS, "anomaly_r"]
    table = pd.DataFrame.from_dict(rows, orient="index", columns=columns)
    return table.rename_axis("station")


def _metrics(pairs: pd.DataFrame) -> dict[str, float]:
    observed, predicted = pairs["observed"].to_numpy(), pairs["predicted"].to_numpy()
    return {name: metric(observed, predicted) for name, metric in metrics.METRICS.items()}


def _anomaly_r(pairs: pd.DataFrame) -> float:
    if "time" not in pairs:
        return float("nan")
    return metrics.anomaly_r(pairs["observed"], pairs["predicted"], pairs["time"])


def _coverage(pairs: pd.DataFrame) -> float:
    """Share of truths inside their interval, of the rows that have one."""
    if "uncertainty" not in pairs:
        return float("nan")
    known = pairs[np.isfinite(pairs["uncertainty"])]
    inside = (known["observed"] - known["predicted"]).abs() <= known["uncertainty"]
    return float(inside.mean()) if len(known) else float("nan")
