"""Names of the classes that scores are broken down by: climate, land cover, soil texture."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

# What a row without a class, or with a code that the table does not know, is counted as.
UNKNOWN = "unknown"

# Beck et al. 2018 (doi 10.1038/sdata.2018.214), legend of their map, code 1 to 30 in this order.
KOPPEN = (
    *("Af", "Am", "Aw"),
    *("BWh", "BWk", "BSh", "BSk"),
    *("Csa", "Csb", "Csc", "Cwa", "Cwb", "Cwc", "Cfa", "Cfb", "Cfc"),
    *("Dsa", "Dsb", "Dsc", "Dsd", "Dwa", "Dwb", "Dwc", "Dwd", "Dfa", "Dfb", "Dfc", "Dfd"),
    *("ET", "EF"),
)
CLIMATES = {
    "A": "A tropical",
    "B": "B arid",
    "C": "C temperate",
    "D": "D cold",
    "E": "E polar",
}

# ESA WorldCover 2021 product user manual.
WORLDCOVER = {
    10: "tree cover",
    20: "shrubland",
    30: "grassland",
    40: "cropland",
    50: "built-up",
    60: "bare or sparse vegetation",
    70: "snow and ice",
    80: "permanent water",
    90: "herbaceous wetland",
    95: "mangroves",
    100: "moss and lichen",
}

# USDA texture classes, in the codes of OpenLandMap (doi 10.5281/zenodo.2525817).
SOIL_TEXTURES = {
    1: "clay",
    2: "silty clay",
    3: "sandy clay",
    4: "clay loam",
    5: "silty clay loam",
    6: "sandy clay loam",
    7: "loam",
    8: "silt loam",
    9: "sandy loam",
    10: "silt",
    11: "loamy sand",
    12: "sand",
}


@dataclass(frozen=True)
class Classes:
    """A way to group rows: the column it reads, and the name of each of its codes.

    Parameters
    ----------
    column
        Of the predicted table.
    names
        Code -> name, in the order in which they are shown; None shows values as they are.
    """

    column: str
    names: Mapping[int, str] | None = None


CLASSES: dict[str, Classes] = {
    "network": Classes("network"),
    "climate": Classes("koppen", {n + 1: CLIMATES[name[0]] for n, name in enumerate(KOPPEN)}),
    "land_cover": Classes("land_cover", WORLDCOVER),
    "soil_texture": Classes("soil_texture", SOIL_TEXTURES),
}


def class_names(values: pd.Series[Any], classes: Classes) -> pd.Categorical:
    """Name of each row's class; categories in the order of the codes, unknown last.

    Parameters
    ----------
    values
        The column of `classes`.
    classes
        One of `CLASSES`, or another.
    """
    if classes.names is None:
        known = values.notna().to_numpy()
        found = np.where(known, values.astype(str), UNKNOWN)
        order = sorted(set(found[known]))
    else:
        codes = pd.to_numeric(values, errors="coerce")
        found = codes.map(dict(classes.names)).fillna(UNKNOWN).to_numpy()
        order = list(dict.fromkeys(classes.names.values()))
    return pd.Categorical(found, list(dict.fromkeys([*order, UNKNOWN])))
