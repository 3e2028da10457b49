"""The layout of the table that the GSSM-10 authors published (`normalized_data.pkl`).

Its 33 features are those of the spec ``paper33``, partly normalised. The constants that
undo this are recovered from the ten rows that the authors' notebook prints, not stated
by them: the Water Cloud Model with the paper's parameters and a floor of -60 dB
reproduces those rows to 5e-7 of the normalised columns.

Its 40 columns, as the notebook prints and lists them, are the 33 features, station,
datetime, soil_moisture, VV, VH, angle and koppen_class. Names are also taken in the other
spellings of `SPELLINGS`; a column in no such spelling is kept under ``published_<name>``,
because its units are unknown.
"""

from __future__ import annotations

import re
import unicodedata
import warnings
from collections.abc import Hashable, Iterable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd

from gssm.errors import GssmWarning, SamplesError
from gssm.physics import decibel_to_linear
from gssm.schema import LANDSAT_REFLECTANCE, LANDSAT_THERMAL, SENTINEL2_BANDS
from gssm.training.layouts import Column, Layout, Maker

# Physical values at -1 and 1 of the columns normalised by their smallest and largest value.
BOUNDS: dict[str, tuple[float, float]] = {
    "vv_soil": (-60.0, 24.112611),  # dB; sigma0 of the soil was floored at 1e-6
    "vh_soil": (-60.0, 24.244538),
    "dsm": (-5.0, 3690.0),
    "incidence_angle": (29.787970, 46.327739),
}
THOUSANDTHS = ("latitude", "longitude", *(f"landsat_{band}" for band in LANDSAT_THERMAL))

# Spellings as `_plain` makes them: small letters and digits only.
SPELLINGS: dict[str, tuple[str, ...]] = {
    "network": ("network", "networkname"),
    "station": ("station", "stationname", "stationid", "site"),
    "latitude": ("latitude", "lat"),
    "longitude": ("longitude", "lon", "long", "lng"),
    "time": ("time", "datetime", "date", "timestamp"),
    "soil_moisture": ("soilmoisture", "sm", "ssm", "insitusm"),
    "vv": ("vv", "vvdb"),
    "vh": ("vh", "vhdb"),
    "incidence_angle": ("angle", "incidenceangle", "incidentangle"),
    "vv_soil": ("vvsoil",),
    "vh_soil": ("vhsoil",),
    **{f"s2_{name}": (name, f"s2{name}", f"sentinel2{name}") for name in ("ndvi", "ndmi")},
    **{f"s2_{band}": (band, f"s2{band}", f"sentinel2{band}") for band in SENTINEL2_BANDS},
    **{
        f"landsat_{name}": (f"landsat{name}", f"landsat8{name}", f"l8{name}")
        for name in ("ndvi", "ndmi", *LANDSAT_REFLECTANCE, *LANDSAT_THERMAL)
    },
    "dsm": ("dsm", "elevation"),
    "koppen": ("koppenclass", "koppen"),
}
_CANONICAL = {spelling: name for name, spellings in SPELLINGS.items() for spelling in spellings}
# A table without these is read all the same.
OPTIONAL = ("network", "incidence_angle", "koppen")

# Canonical name -> range of the table's own values: of all of them, or of their median.
_EVERY = {
    **dict.fromkeys(BOUNDS, (-1.0, 1.0)),
    "latitude": (-0.09, 0.09),
    "longitude": (-0.18, 0.18),
}
_MEDIAN = {
    "vv": (-40.0, 0.0),  # decibel
    "vh": (-50.0, 0.0),
    **{f"s2_{band}": (0.0, 1.0) for band in SENTINEL2_BANDS},
    **{f"landsat_{band}": (0.0, 1.0) for band in LANDSAT_REFLECTANCE},
    **{f"landsat_{band}": (0.2, 0.35) for band in LANDSAT_THERMAL},
}
_ROUNDING = 1e-6
# Pairs that are equal in every printed row, although the bands are not.
_SUSPECT = (("landsat_b6", "landsat_b8"), ("landsat_b7", "landsat_b9"))

# Decimal degrees that make one place: 11 m or less.
PLACE_DECIMALS = 4


@dataclass(frozen=True)
class Place:
    """A station's key made of its coordinates, for a table that does not name stations.

    ISMN gives a station one pair of coordinates, so that equal pairs are one station.
    Without it no cross-validation could hold stations out.
    """

    latitude: Column
    longitude: Column
    name: str = "station"

    @property
    def sources(self) -> tuple[str, ...]:
        """The coordinates."""
        return (self.latitude.source, self.longitude.source)

    def read(self, table: pd.DataFrame) -> pd.Series[Any]:
        """Make the column."""
        degrees = [
            c.read(table).round(PLACE_DECIMALS) + 0.0 for c in (self.latitude, self.longitude)
        ]
        named = [d.map(f"{{:.{PLACE_DECIMALS}f}}".format) for d in degrees]
        return (named[0] + "," + named[1]).where(degrees[0].notna() & degrees[1].notna())


def published_layout(names: Iterable[Hashable]) -> Layout | None:
    """Return the layout of the published table, in the spelling of these columns.

    None if they have no soil backscatter, which no other table has: they are another's.

    Parameters
    ----------
    names
        The table's columns. One that is missing keeps its canonical name in the layout,
        so that the table does not fit it. Of two spellings of one name the first
        counts; the check of the layout refuses the table then.
    """
    found = _found([str(name) for name in names])
    if not {"vv_soil", "vh_soil"} & found.keys():
        return None
    columns: list[Maker] = [
        replace(_column(name), source=found.get(name, name))
        for name in SPELLINGS
        if name in found or name not in (*OPTIONAL, "station")
    ]
    if "station" not in found:
        places = {column.name: column for column in columns if isinstance(column, Column)}
        columns.insert(0, Place(places["latitude"], places["longitude"]))
    return Layout(
        "the table published with the GSSM-10 paper",
        tuple(columns),
        level="l1",
        prefix="published_",
        check=lambda table, title: _check(table, title, found),
    )


def _plain(name: str) -> str:
    return re.sub("[^a-z0-9]", "", unicodedata.normalize("NFKD", name).lower())


def _found(names: list[str]) -> dict[str, str]:
    """Canonical name -> the table's own, of those that the table has."""
    found: dict[str, str] = {}
    for own in names:
        name = _CANONICAL.get(_plain(own))
        if name is not None:
            found.setdefault(name, own)
    return found


def _column(name: str) -> Column:
    if name in BOUNDS:
        low, high = BOUNDS[name]
        return Column(name, name, scale=(high - low) / 2, offset=(high + low) / 2)
    if name in THOUSANDTHS:
        return Column(name, name, scale=1000.0)
    if name in ("vv", "vh"):
        return Column(name, name, convert=decibel_to_linear)
    if name == "koppen":  # printed as 0.08 for class 8
        return Column(name, name, convert=lambda hundredths: np.round(hundredths * 100))
    return Column(name, name)


def _check(table: pd.DataFrame, title: str, found: dict[str, str]) -> None:
    unknown = [str(own) for own in table.columns if own not in found.values()]
    for own in unknown:
        name = _CANONICAL.get(_plain(own))
        if name is not None:
            raise SamplesError(
                f"{found[name]} and {own} in {title} could both be {name}; rename the one that "
                "is not."
            )
    for name in {**_EVERY, **_MEDIAN}:
        if name in found:
            _check_values(table[found[name]], name, title)
    if unknown:
        _warn(
            f"{title} has the columns {', '.join(unknown[:20])}, which gssm does not know of the "
            "published table; they are kept as published_<name> and used for nothing."
        )
    for a, b in _SUSPECT:
        if {a, b} <= found.keys() and table[found[a]].equals(table[found[b]]):
            _warn(
                f"{found[a]} and {found[b]} in {title} have the same value in every row, although "
                "the bands differ; a model of them is wrong on images, which have the real bands."
            )


def _check_values(column: pd.Series[Any], name: str, title: str) -> None:
    """Refuse values that are not normalised, or not in the units, of the published table."""
    values = column.to_numpy(np.float64)
    values = values[np.isfinite(values)]
    if values.size == 0:
        return
    if name in _MEDIAN:
        low, high = _MEDIAN[name]
        values = np.median(values, keepdims=True)
    else:
        low, high = _EVERY[name]
    smallest, largest = values.min(), values.max()
    if smallest < low - _ROUNDING or largest > high + _ROUNDING:
        raise SamplesError(
            f"{column.name} in {title} has {'the median' if name in _MEDIAN else 'the value'} "
            f"{largest if largest > high + _ROUNDING else smallest:g} where the published table "
            f"has {low:g} to {high:g}; give the table as published, or rename its columns to "
            "gssm's canonical names and give them canonical units."
        )


def _warn(sentence: str) -> None:
    # The caller of gssm.read_samples.
    warnings.warn(sentence, GssmWarning, stacklevel=5)
