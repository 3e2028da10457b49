"""Model card (Mitchell et al. 2019, doi 10.1145/3287560.3287596): what a model is and can do.

The card is a record of plain JSON, and Markdown made of nothing but that record. Every
number in it is computed from the tables given or taken from the model's own record; a
part that was not given is left out.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from gssm.errors import RequestError, SamplesError
from gssm.models import files
from gssm.models.ensemble import TARGET, UNCERTAINTY, Model
from gssm.training.card_text import render
from gssm.training.classes import CLASSES
from gssm.training.evaluate import (
    complete_pairs,
    group_names,
    prediction_columns,
    skill_table,
    station_medians,
    station_table,
)
from gssm.training.intervals import RESAMPLES, differences, with_intervals
from gssm.training.protocols import PROTOCOLS

CARD_VERSION = 1
MARKDOWN, JSON = "card.md", "card.json"

# What of a model's record the card repeats.
RECORDED = (
    *("gssm_version", "licence", "training", "spec", "water_cloud", "weights"),
    *("calibration", "applicability"),
)
# Broken down and told first: what a map can expect comes before what flatters.
PREFERRED = ("station", "network")

# GCOS requirements of 2022 for surface soil moisture: two standard deviations (m3 m-3).
GCOS = {"breakthrough": 0.04, "threshold": 0.08}
OUTSIDE = "outside_applicability"
DIGITS = 6
_PICTURE = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]*\.png")


@dataclass(frozen=True)
class Card:
    """A model card.

    Parameters
    ----------
    markdown
        To be read.
    record
        Plain JSON with all that the text says in numbers.
    """

    markdown: str
    record: dict[str, Any]

    def files(self) -> dict[str, bytes]:
        """Return what goes into the bundle: file name to bytes, the same every time."""
        return {MARKDOWN: self.markdown.encode(), JSON: files.encode_manifest(self.record)}


@dataclass(frozen=True)
class Draws:
    """Draws of stations behind every interval."""

    resamples: int
    seed: int


def model_record(model: Model) -> dict[str, Any]:
    """Return what a card tells of a model: its manifest without the files."""
    record: dict[str, Any] = {
        **model.provenance,
        "spec": model.spec.to_dict(),
        "water_cloud": model.water_cloud.to_dict(),
        "weights": dict(model.weights),
    }
    if model.intervals is not None:
        record["calibration"] = model.intervals.to_dict()
    if model.applicability is not None:
        record["applicability"] = model.applicability.params
    return record


def make_card(
    record: Mapping[str, Any],
    evaluations: Mapping[str, pd.DataFrame],
    *,
    others: Mapping[str, str] | None = None,
    figures: Mapping[str, str] | None = None,
    notes: Sequence[str] = (),
    title: str = "gssm soil moisture model",
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> Card:
    """Write the card of a model.

    Parameters
    ----------
    record
        As from `model_record`, or a bundle's manifest.
    evaluations
        Protocol -> what `gssm.cross_validate` returned for it, of the same recipe as the
        model.
    others
        Column of the evaluations -> what it is, in words: baselines
        (`gssm.training.baselines`) and other products' predictions, which are compared
        with the model on the rows that all of them predict.
    figures
        Caption -> name of a PNG file beside the card.
    notes
        Sentences for the end of the card, such as what is known of the table.
    title
        Name of the model.
    resamples, seed
        Of the intervals (`gssm.training.intervals.with_intervals`).

    Raises
    ------
    SamplesError
        A table lacks a column or has no complete row, or no table has one of `others`.
    RequestError
        A table is of another protocol, spec or preset than is said, or a figure's name is
        not that of a PNG file.
    """
    others, figures = dict(others or {}), dict(figures or {})
    _check(record, evaluations, others, figures)
    draws = Draws(resamples, seed)
    content: dict[str, Any] = {
        "card_version": CARD_VERSION,
        "title": title,
        **{name: record[name] for name in RECORDED if record.get(name) is not None},
        "figures": [{"caption": name, "file": file} for name, file in figures.items()],
        "notes": list(notes),
    }
    if evaluations:
        has_area = record.get("applicability") is not None
        primary = next((n for n in PREFERRED if n in evaluations), next(iter(evaluations)))
        evaluations = {primary: evaluations[primary], **evaluations}
        content |= {
            "primary": primary,
            "bootstrap": {"unit": "station", "level": 0.95, "resamples": resamples, "seed": seed},
            "gcos_requirement": GCOS,
            "protocols": [
                _protocol(name, table, has_area, draws) for name, table in evaluations.items()
            ],
            "groups": _groups(evaluations[primary], draws),
        }
    if others:
        compared = [_comparison(n, t, others, draws) for n, t in evaluations.items()]
        content["comparisons"] = [part for part in compared if part]
    plain = _plain(content)
    return Card(render(plain), plain)


def _check(
    record: Mapping[str, Any],
    evaluations: Mapping[str, pd.DataFrame],
    others: Mapping[str, str],
    figures: Mapping[str, str],
) -> None:
    own = {
        "spec": record.get("spec", {}).get("name"),
        "preset": record.get("training", {}).get("preset"),
    }
    for name, table in evaluations.items():
        if complete_pairs(table, TARGET).empty:
            raise SamplesError(
                f"the evaluation {name!r} has no row with an observed and a predicted value; give "
                "what gssm.cross_validate returns."
            )
        for what, wanted in {"protocol": name, **own}.items():
            said = table.attrs.get(what)
            if None not in (said, wanted) and said != wanted:
                raise RequestError(
                    f"the evaluation {name!r} was made with the {what} {said!r}, not {wanted!r}; "
                    "evaluate the recipe that the model was trained with."
                )
    for column in others:
        if not any(column in table for table in evaluations.values()):
            raise SamplesError(
                f"no evaluation has a column {column!r} to compare with; add it to the table."
            )
    for file in figures.values():
        if not _PICTURE.fullmatch(file):
            raise RequestError(
                f"{file!r} cannot be linked from a card; give the plain name of a PNG file in the "
                "same folder."
            )


def _protocol(name: str, table: pd.DataFrame, has_area: bool, draws: Draws) -> dict[str, Any]:
    """Score the model under one protocol."""
    known = PROTOCOLS.get(name)
    stations = station_table(table)
    scores = with_intervals(table, resamples=draws.resamples, seed=draws.seed)
    pairs = complete_pairs(table, TARGET)
    part: dict[str, Any] = {
        "protocol": name,
        "says": table.attrs.get("says", known.says if known else None),
        "stations_held_out": known.separates if known else None,
        "folds": int(table["fold"].nunique()) if "fold" in table else None,
        "scores": _rows(scores),
        "stations": _quartiles(stations),
        "gcos": _against_gcos(stations, scores["rmse"].to_numpy(np.float64)[-1]),
        "spread_ratio": _ratio(pairs["predicted"].std(ddof=0), pairs["observed"].std(ddof=0)),
    }
    if UNCERTAINTY in table:
        part["mean_half_width"] = table[UNCERTAINTY].astype(float).mean()
    if has_area and OUTSIDE in table:
        part["applicability"] = _inside_and_outside(table)
    return part


def _rows(table: pd.DataFrame) -> list[dict[str, Any]]:
    return [
        {"name": str(name), **{str(key): value for key, value in row.items()}}
        for name, row in table.to_dict(orient="index").items()
    ]


def _quartiles(stations: pd.DataFrame) -> list[dict[str, Any]]:
    """Median and quartiles over the stations of enough rows."""
    values = station_medians(stations)
    ends = values.quantile([0.25, 0.5, 0.75])
    return [
        {
            "name": str(name),
            "stations": int(values[name].count()),
            **dict(zip(("q25", "median", "q75"), ends[name], strict=True)),
        }
        for name in values
    ]


def _against_gcos(stations: pd.DataFrame, rmse: float) -> dict[str, Any]:
    """Two standard deviations of the error, as GCOS counts, beside what it requires."""
    spread = 2 * station_medians(stations)["station_ubrmse"].dropna()
    return {
        "two_sigma_of_median_station": spread.median(),
        "two_sigma_pooled": 2 * rmse,
        "stations": len(spread),
        **{f"stations_within_{name}": int((spread <= limit).sum()) for name, limit in GCOS.items()},
    }


def _ratio(above: float, below: float) -> float | None:
    return above / below if below > 0 else None


def _inside_and_outside(table: pd.DataFrame) -> dict[str, Any]:
    outside = table[OUTSIDE].eq(True).to_numpy(bool)
    sides = {"inside": table[~outside], "outside": table[outside]}
    scores = [
        {**row, "name": name}
        for name, part in sides.items()
        if len(part)
        for row in _rows(skill_table(part, [TARGET]))
    ]
    return {"share_outside": outside.mean(), "scores": scores}


def _groups(table: pd.DataFrame, draws: Draws) -> list[dict[str, Any]]:
    """Scores of the ensemble within the classes of every grouping that the table allows."""
    found = []
    for by, classes in CLASSES.items():
        if classes.column not in table or table[classes.column].isna().all():
            continue
        names = group_names(table, by)
        rows = []
        for name in names.categories[np.isin(names.categories, names)]:
            scores = with_intervals(
                table[names == name], [TARGET], resamples=draws.resamples, seed=draws.seed
            )
            rows += [{**row, "name": name} for row in _rows(scores)]
        found.append({"by": by, "rows": rows})
    return found


def _comparison(
    name: str, table: pd.DataFrame, others: Mapping[str, str], draws: Draws
) -> dict[str, Any] | None:
    """Score the model and the others on the rows that all of them predict."""
    columns = [column for column in others if column in table]
    if not columns:
        return None
    prediction_columns(table, [TARGET, *columns])
    known = np.isfinite(table[[TARGET, *columns]].to_numpy(np.float64)).all(axis=1)
    if not known.any():
        return None
    shared = table[known]
    scores = with_intervals(shared, [TARGET, *columns], resamples=draws.resamples, seed=draws.seed)
    return {
        "protocol": name,
        "says": {column: others[column] for column in columns},
        "scores": _rows(scores.drop(columns=[n for n in scores if str(n).startswith("coverage")])),
        "differences": _rows(
            differences(shared, columns, resamples=draws.resamples, seed=draws.seed)
        ),
    }


def _plain(value: Any) -> Any:
    """Turn into JSON: NaN to None, numbers to six digits after the point."""
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, str) or value is None:
        return value
    if isinstance(value, Iterable):
        return [_plain(item) for item in value]
    if isinstance(value, bool | np.bool_):
        return bool(value)
    if isinstance(value, int | np.integer):
        return int(value)
    if isinstance(value, float | np.floating):
        return round(float(value), DIGITS) if np.isfinite(value) else None
    return str(value)
