"""Read training tables into canonical names and units.

A layout is a table of rows ``source column -> canonical name, conversion``; to
support another published table, add its rows.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from gssm.errors import SamplesError
from gssm.models.table import feature_matrix, samples_to_dataset
from gssm.physics import decibel_to_linear
from gssm.schema import BACKSCATTER, VARIABLES

__all__ = ["LAYOUTS", "feature_matrix", "read_samples", "samples_to_dataset"]

Array = np.ndarray[Any, np.dtype[Any]]

REQUIRED = ("station", "time", "vv", "vh", "incidence_angle", "soil_moisture")
# An older time is none of a radar image.
SENTINEL1_LAUNCH = pd.Timestamp("2014-04-03")


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

    def read(self, table: pd.DataFrame) -> pd.Series[Any]:
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

    def read(self, table: pd.DataFrame) -> pd.Series[Any]:
        days = _utc_naive(table[self.source]) - _utc_naive(table[self.radar])
        return days.dt.total_seconds() / 86400


@dataclass(frozen=True)
class Layout:
    """A table layout: its columns by canonical name, and those left behind."""

    title: str
    columns: tuple[Column | Age, ...]
    dropped: tuple[str, ...] = ()

    @property
    def sources(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys(column.source for column in self.columns))


def _same(*names: str) -> tuple[Column, ...]:
    return tuple(Column(name, name) for name in names)


def _utc_naive(times: pd.Series[Any]) -> pd.Series[Any]:
    return pd.to_datetime(times, utc=True, format="ISO8601").dt.tz_localize(None)


_S2_BANDS = ("B1", "B2", "B3", "B4", "B5", "B6", "B7", "B8", "B8A", "B9", "B11", "B12")

# Landsat Collection 2 level 2 as DN * 1e-4: reflectance is DN * 2.75e-5 - 0.2 and
# temperature DN * 0.00341802 + 149 K (USGS LSDS-1619, Landsat 8-9 C2 L2 guide).
_STATIONS_L2 = Layout(
    "station table of Sentinel-1, Sentinel-2 L2A and Landsat C2 L2",
    (
        *_same("network", "station", "latitude", "longitude", "soil_moisture"),
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

LAYOUTS: dict[str, Layout] = {
    "gssm": Layout("gssm's own table", _same(*REQUIRED)),
    "stations_l2": _STATIONS_L2,
}

_READERS: dict[str, Callable[[Path], pd.DataFrame]] = {
    ".parquet": pd.read_parquet,
    ".csv": pd.read_csv,
}


def read_samples(path: str | Path) -> pd.DataFrame:
    """Read a training table into canonical names and units.

    Parameters
    ----------
    path
        A ``.parquet`` or ``.csv`` file in one of `LAYOUTS`: gssm's own (canonical
        columns; at least station, time, vv, vh, incidence_angle, soil_moisture) or
        a published station table.

    Returns
    -------
    pandas.DataFrame
        Every row of the file in its order. vv and vh are linear power, bands
        reflectance, ``landsat_b10`` kelvin, angles degree, ``dsm`` metres,
        ``soil_moisture`` m3 m-3, ``time`` the radar acquisition (UTC, without zone),
        ``s2_age`` and ``landsat_age`` days from it (negative is older). Columns that
        the layout does not name are kept. ``attrs["source"]`` holds the file's name
        and sha256.

    Raises
    ------
    SamplesError
        The file is missing or unreadable, has no rows, no known layout, no station
        column, or soil moisture in percent.
    """
    path = Path(path)
    raw = _read_table(path)
    layout = _recognise(raw, path)
    try:
        table = _canonical(raw, layout)
    except (ValueError, TypeError) as error:
        raise SamplesError(
            f"{path.name} has a value that is no number or no time ({_first_line(error)}); mend "
            "that column."
        ) from error
    _check(table, path)
    table.attrs["source"] = {"name": path.name, "sha256": _sha256(path)}
    return table


def _canonical(raw: pd.DataFrame, layout: Layout) -> pd.DataFrame:
    used = {*layout.sources, *layout.dropped}
    columns = {column.name: column.read(raw) for column in layout.columns}
    others = {str(name): raw[name] for name in raw.columns if name not in used}
    table = pd.DataFrame({**columns, **others}).reset_index(drop=True)
    table["time"] = _utc_naive(table["time"])
    table["station"] = table["station"].astype(str).where(table["station"].notna())
    places = ("latitude", "longitude")  # float32 places a station only to about a metre
    numbers = [c for c in table.columns if c in VARIABLES and c not in places]
    return table.astype(dict.fromkeys(numbers, np.float32))


def _first_line(error: BaseException) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0][:200]


def _read_table(path: Path) -> pd.DataFrame:
    if not path.is_file():
        raise SamplesError(f"there is no samples table at {path}; check the path.")
    reader = _READERS.get(path.suffix.lower())
    if reader is None:
        raise SamplesError(
            f"{path.name} is not a {' or '.join(_READERS)} file; save the table as one of these."
        )
    try:
        return reader(path)
    # pyarrow's errors inherit ValueError or OSError, pandas' CSV errors ValueError.
    except (ValueError, OSError) as error:
        raise SamplesError(
            f"{path.name} cannot be read as a {path.suffix} table ({error}); write it again."
        ) from error


def _recognise(raw: pd.DataFrame, path: Path) -> Layout:
    missing = {
        name: [source for source in layout.sources if source not in raw.columns]
        for name, layout in LAYOUTS.items()
    }
    nearest = min(missing, key=lambda name: len(missing[name]) / len(LAYOUTS[name].sources))
    if not missing[nearest]:
        return LAYOUTS[nearest]
    if missing[nearest] == ["station"]:
        raise SamplesError(
            f"{path.name} has no column 'station'; add the name of each row's station, without "
            "which no honest cross-validation is possible."
        )
    raise SamplesError(
        f"{path.name} has no layout that gssm knows; the nearest is {LAYOUTS[nearest].title}, for "
        f"which it lacks the columns {', '.join(missing[nearest])}: rename or add them."
    )


def _check(table: pd.DataFrame, path: Path) -> None:
    if table.empty:
        raise SamplesError(f"{path.name} has no rows; check the query that made it.")
    largest = float(table["soil_moisture"].max())
    if largest > 1:
        raise SamplesError(
            f"soil_moisture in {path.name} reaches {largest:g}, which looks like percent; "
            "divide it by 100 to give m3 m-3."
        )
    for name in ("station", "time"):
        gaps = int(table[name].isna().sum())
        if gaps:
            raise SamplesError(
                f"{name} is missing in {gaps} of {len(table)} rows of {path.name}; fill it or drop "
                "the rows."
            )
    if table["time"].min() < SENTINEL1_LAUNCH:
        raise SamplesError(
            f"time in {path.name} begins on {table['time'].min():%Y-%m-%d}, before Sentinel-1 "
            "flew; write it as ISO 8601, such as 2018-05-01T06:00."
        )
    for name in BACKSCATTER:
        if not table[name].notna().any() or table[name].median() < 0:
            raise SamplesError(
                f"{name} in {path.name} has no value, or is negative as decibel is; give linear "
                "power, 10 ** (dB / 10)."
            )


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
