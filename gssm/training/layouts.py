"""Layouts of training tables: rows ``source column -> canonical name, conversion``.

To support another table, add its rows.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import pandas as pd

from gssm.physics import decibel_to_linear

Array = np.ndarray[Any, np.dtype[Any]]
Scalar = float | str

REQUIRED = ("station", "time", "vv", "vh", "incidence_angle", "soil_moisture")


class Maker(Protocol):
    """What makes one canonical column of a table's own ones."""

    @property
    def name(self) -> str:
        """Canonical name."""

    @property
    def sources(self) -> tuple[str, ...]:
        """Columns of the table that it reads."""

    def read(self, table: pd.DataFrame) -> pd.Series[Any]:
        """Make the column, with the index of the table."""


@dataclass(frozen=True)
class Column:
    """One row of a layout: where a canonical column comes from.

    The value is ``convert(source) * scale + offset`` (scale and offset only if one
    of them is set).
    """

    source: str
    name: str
    scale: float = 1.0
    offset: float = 0.0
    convert: Callable[[Array], Array] | None = None

    @property
    def sources(self) -> tuple[str, ...]:
        """The one column that it reads."""
        return (self.source,)

    def read(self, table: pd.DataFrame) -> pd.Series[Any]:
        """Make the column."""
        values = table[self.source]
        if self.convert is not None:
            values = pd.Series(self.convert(values.to_numpy()), index=values.index)
        if (self.scale, self.offset) == (1.0, 0.0):
            return values
        # In float64: 1e4 * 2.75e-5 and an offset of -0.2 cost digits in float32.
        return values.astype(np.float64) * self.scale + self.offset


@dataclass(frozen=True)
class Age:
    """Days from the radar acquisition to an optical one; negative is older."""

    source: str
    name: str
    radar: str

    @property
    def sources(self) -> tuple[str, ...]:
        """The optical time; the radar's is a column of its own."""
        return (self.source,)

    def read(self, table: pd.DataFrame) -> pd.Series[Any]:
        """Make the column."""
        days = utc_naive(table[self.source]) - utc_naive(table[self.radar])
        return days.dt.total_seconds() / 86400


@dataclass(frozen=True)
class Middle:
    """The time half-way between two."""

    start: str
    end: str
    name: str

    @property
    def sources(self) -> tuple[str, ...]:
        """Both times."""
        return (self.start, self.end)

    def read(self, table: pd.DataFrame) -> pd.Series[Any]:
        """Make the column."""
        start = utc_naive(table[self.start])
        return start + (utc_naive(table[self.end]) - start) / 2


@dataclass(frozen=True)
class Constant:
    """One value in every row: what a table says of itself as a whole, or NaN for unknown."""

    name: str
    value: Scalar
    sources: tuple[str, ...] = ()

    def read(self, table: pd.DataFrame) -> pd.Series[Any]:
        """Make the column."""
        return pd.Series(self.value, index=table.index)


@dataclass(frozen=True)
class Layout:
    """A table layout: its columns by canonical name, and those left behind.

    Parameters
    ----------
    title
        What it is, in a few words.
    columns
        One maker per canonical column, in the order of the table made.
    dropped
        Columns of the table that are not kept.
    level
        What its optical columns are: ``"l2"`` surface reflectance, ``"l1"``
        top-of-atmosphere.
    prefix
        Put before the name of every column that the layout does not name.
    check
        Refuses a table that has the columns and not the values; gets the table as
        read and its name.
    """

    title: str
    columns: tuple[Maker, ...]
    dropped: tuple[str, ...] = ()
    level: str = "l2"
    prefix: str = ""
    check: Callable[[pd.DataFrame, str], None] | None = None

    @property
    def sources(self) -> tuple[str, ...]:
        """Columns that a table of this layout must have."""
        return tuple(dict.fromkeys(name for column in self.columns for name in column.sources))

    def unknown(self, names: Iterable[Hashable]) -> list[str]:
        """Those of the names that the layout does not know, in their order."""
        known = {*self.sources, *self.dropped}
        return [str(name) for name in names if name not in known]


def same(*names: str) -> tuple[Column, ...]:
    """Columns that are canonical already."""
    return tuple(Column(name, name) for name in names)


def utc_naive(times: pd.Series[Any]) -> pd.Series[Any]:
    """Return times in UTC without a zone; those without one are taken as UTC."""
    return pd.to_datetime(times, utc=True, format="ISO8601").dt.tz_localize(None)


_S2_BANDS = ("B1", "B2", "B3", "B4", "B5", "B6", "B7", "B8", "B8A", "B9", "B11", "B12")

# Landsat Collection 2 level 2 as DN * 1e-4: reflectance is DN * 2.75e-5 - 0.2 and
# temperature DN * 0.00341802 + 149 K (USGS LSDS-1619, Landsat 8-9 C2 L2 guide).
_STATIONS_L2 = Layout(
    "station table of Sentinel-1, Sentinel-2 L2A and Landsat C2 L2",
    (
        *same("network", "station", "latitude", "longitude", "soil_moisture"),
        Column("s1_datetime", "time"),
        Column("VV", "vv", convert=decibel_to_linear),
        Column("VH", "vh", convert=decibel_to_linear),
        Column("angle", "incidence_angle"),
        *(Column(f"Sentinel2_{band}", f"s2_{band.lower()}") for band in _S2_BANDS),
        Age("s2_closest_datetime", "s2_age", radar="s1_datetime"),
        *(
            Column(f"Landsat_B{band}", f"landsat_b{band}", scale=1e4 * 2.75e-5, offset=-0.2)
            for band in range(2, 8)
        ),
        Column("Landsat_B10", "landsat_b10", scale=1e4 * 0.00341802, offset=149.0),
        Age("Landsat_closest_datetime", "landsat_age", radar="s1_datetime"),
        Column("DSM", "dsm"),
        Column("Slope", "slope"),
        Column("Aspect", "aspect"),
        Column("LandCover", "land_cover"),
        Column("Koppen", "koppen"),
        Column("Soil_Texture_USDA", "soil_texture"),
    ),
    # The hour of the in-situ value, up to 12 hours from the radar's; `time` is the radar's.
    dropped=("datetime",),
)

# Everything is a mean over ten days, the radar's decibel and angle too: means over
# passes of different geometry. Several dates of Sentinel-2 have no age.
_STATIONS_L1C = Layout(
    "station table of ten-day means of Sentinel-1 and Sentinel-2 L1C",
    (
        *same("network", "station"),
        Column("lat", "latitude"),
        Column("lon", "longitude"),
        Middle("StartDate", "EndDate", "time"),
        Column("InSituSM_m3m3_10daymean", "soil_moisture"),
        Column("VV", "vv", convert=decibel_to_linear),
        Column("VH", "vh", convert=decibel_to_linear),
        Column("angle", "incidence_angle"),
        *(
            Column(band, f"s2_{band.lower()}", scale=1e-4)
            for band in (*_S2_BANDS[:10], "B10", *_S2_BANDS[10:])
        ),
        Constant("s2_age", np.nan),
        # A mean of class codes around the station (31 barren ... 82 crops, as in the
        # U.S. National Land Cover Database): neither a class nor ESA WorldCover's.
        Column("landcover", "nlcd_code_mean"),
    ),
    level="l1",
)


def _scan_names(sites: Array) -> Array:
    numbers = pd.Series(sites).astype("Int64")
    names = ("SCAN:" + numbers.astype("string")).astype(object)
    return np.asarray(names.where(numbers.notna(), None), dtype=object)


# Surface reflectance of Landsat 8 Collection 1, of an unknown day: a station keeps one
# value for up to 72 days. Clouds and snow are not masked. `time` is a date, and the pass a
# descending one, about 13 or 14 o'clock UTC.
_STATIONS_SCAN = Layout(
    "station table of SCAN with Sentinel-1 and Landsat 8",
    (
        Constant("network", "SCAN"),
        Column("site", "station", convert=_scan_names),
        Column("lat", "latitude"),
        Column("lon", "longitude"),
        Column("date", "time"),
        Column("sm5_m3m3", "soil_moisture"),
        Column("VV_dB", "vv", convert=decibel_to_linear),
        Column("VH_dB", "vh", convert=decibel_to_linear),
        Constant("incidence_angle", np.nan),
        *(Column(f"B{band}", f"landsat_b{band}") for band in range(1, 8)),
        Constant("landsat_age", np.nan),
        Column("elev_ft", "dsm", scale=0.3048),
    ),
    dropped=("id",),  # the same as site
)

LAYOUTS: dict[str, Layout] = {
    "gssm": Layout("gssm's own table", same(*REQUIRED)),
    "stations_l2": _STATIONS_L2,
    "stations_l1c": _STATIONS_L1C,
    "stations_scan": _STATIONS_SCAN,
}
