"""Datasets and dates as the API says them."""

from __future__ import annotations

from typing import Any

from gssm.archive import encoding
from gssm.web.colors import TRUE_COLOR, VARIABLES
from gssm.web.datasets import Dataset, PassRecord
from gssm.web.queries import iso, number

LIMITATIONS = (
    "Values are estimates for the upper 5 cm of the soil; the true value lies outside the stated "
    "interval for about one pixel in ten.",
    "There is no value over water, snow and frozen ground, in radar shadow or layover, and where "
    "images could not be read; the quality flag says which.",
    "Under dense vegetation, on steep slopes and in towns the radar sees little of the soil; such "
    "pixels are flagged where that can be told, and are less certain.",
    "Where no cloud-free optical image lies within some days of the radar, the value rests on the "
    "radar alone and is flagged.",
    "A provisional date may change for some days, until late optical images have come.",
    "The map shows its pixels as they are; it is no substitute for a measurement in the field.",
)


def summary(dataset: Dataset) -> dict[str, Any]:
    """Return what the list of datasets says of one."""
    return {
        "id": dataset.id,
        "title": dataset.title,
        "kind": dataset.kind,
        "bbox": None if dataset.bbox is None else [round(v, 6) for v in dataset.bbox],
        "start": None if dataset.start is None else iso(dataset.start),
        "end": None if dataset.end is None else iso(dataset.end),
        "dates": len(dataset.ids),
        "squares": [square.name for square in dataset.squares],
    }


def detail(dataset: Dataset, *, catalog: bool) -> dict[str, Any]:
    """Return all that a map of a dataset needs."""
    has_colors = bool(dataset.true_color)
    return {
        **summary(dataset),
        "version": dataset.version,
        "variables": [
            {
                "name": variable.name,
                "title": variable.title,
                "units": variable.units,
                "range": list(variable.range),
                "colormap": variable.colormap,
            }
            for variable in VARIABLES.values()
            if has_colors or variable.name != TRUE_COLOR
        ],
        "minzoom": dataset.minzoom,
        "maxzoom": dataset.maxzoom,
        "footprint": dataset.footprint if dataset.squares else None,
        "citation": encoding.CITATION,
        "licence": encoding.LICENCE,
        "limitations": list(LIMITATIONS),
        "true_color": has_colors,
        "catalog": catalog,
    }


def date_entry(record: PassRecord) -> dict[str, Any]:
    """Return what the list of dates says of one."""
    return {
        "id": record.id,
        "time": iso(record.time),
        "relative_orbit": record.relative_orbit,
        "orbit_state": record.orbit_state,
        "platform": record.platform,
        "provisional": record.provisional,
        **{
            name: None if age is None else number(age, 2)
            for name, age in (("s2_age", record.s2_age), ("landsat_age", record.landsat_age))
        },
    }
