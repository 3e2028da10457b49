"""Read training tables into canonical names and units, and put several into one."""

from __future__ import annotations

import hashlib
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from gssm.errors import GssmWarning, SamplesError
from gssm.models.table import feature_matrix, samples_to_dataset
from gssm.schema import BACKSCATTER, VARIABLES
from gssm.training.fitting import station_keys
from gssm.training.layouts import LAYOUTS, Layout, utc_naive
from gssm.training.pickled import read_pickled_table
from gssm.training.published import published_layout
from gssm.training.sources import record_content, stated_sources

__all__ = ["LAYOUTS", "concat_samples", "feature_matrix", "read_samples", "samples_to_dataset"]

# An older time is none of a radar image.
SENTINEL1_LAUNCH = pd.Timestamp("2014-04-03")

LEVELS = ("l1", "l2")
# What differs between surface and top-of-atmosphere, and what is made of it: with the
# prefixes all that an optical sensor saw.
_OPTICAL_PREFIXES = ("s2_", "landsat_")
_OPTICAL_DERIVED = ("vv_soil", "vh_soil")

# Two stations of one name that are further apart than this (in degrees, some 2 km).
_ANOTHER_PLACE = 0.02

_READERS: dict[str, Callable[[Path], pd.DataFrame]] = {
    ".parquet": pd.read_parquet,
    ".csv": pd.read_csv,
    ".pkl": read_pickled_table,
}


def read_samples(path: str | Path) -> pd.DataFrame:
    """Read a training table into canonical names and units.

    Parameters
    ----------
    path
        A ``.parquet``, ``.csv`` or ``.pkl`` file in one of `LAYOUTS`: gssm's own
        (canonical columns; at least station, time, vv, vh, incidence_angle,
        soil_moisture) or a published station table; or the table published with the
        GSSM-10 paper (`gssm.training.published`). Nothing of a pickle is run: it may
        hold a table of numbers, texts and times, and is refused if it names anything
        else.

    Returns
    -------
    pandas.DataFrame
        Every row of the file in its order. vv and vh are linear power, bands
        reflectance, ``landsat_b10`` kelvin, angles degree, ``dsm`` metres,
        ``soil_moisture`` m3 m-3, ``time`` the radar acquisition (UTC, without zone),
        ``s2_age`` and ``landsat_age`` days from it (negative is older). Columns that
        the layout does not name are kept. ``attrs["source"]`` holds the file's name
        and sha256, ``attrs["level"]`` says what the optical columns are: ``"l2"``
        surface reflectance, ``"l1"`` top-of-atmosphere.

    Raises
    ------
    SamplesError
        The file is missing or unreadable, has no rows, no known layout, no station
        column, or soil moisture in percent; or a pickle names more than a table needs.

    Warns
    -----
    GssmWarning
        Rows repeat the station, time and radar of another; or columns of the published
        table are unknown or suspect.
    """
    path = Path(path)
    raw = _read_table(path)
    layout = _recognise(raw, path)
    try:
        if layout.check is not None:
            layout.check(raw, path.name)
        table = _canonical(raw, layout)
    except SamplesError:
        raise
    except (ValueError, TypeError) as error:
        raise SamplesError(
            f"{path.name} has a value that is no number or no time ({_first_line(error)}); mend "
            "that column."
        ) from error
    _check(table, path)
    table.attrs["source"] = {"name": path.name, "sha256": _sha256(path)}
    table.attrs["level"] = raw.attrs.get("level", layout.level)
    record_content(table)
    return table


def concat_samples(tables: Sequence[pd.DataFrame], level: str = "l2") -> pd.DataFrame:
    """Put the rows of several tables into one, for a spec of one level.

    Surface and top-of-atmosphere reflectance are different quantities under one name. So
    of a table of another level all optical columns are left out (``s2_*``, ``landsat_*``
    with their ages, and ``vv_soil``, ``vh_soil``, which are made of NDVI): its rows have
    a missing sensor. Nothing else is changed, no row is left out, and a station that is
    in two tables under two names stays two stations, which the protocol ``"station"`` of
    `gssm.cross_validate` holds out together if they are within 2 km.

    Parameters
    ----------
    tables
        As from `read_samples`: ``attrs["level"]`` says what each one's optical columns
        are.
    level
        That of the spec: ``"l2"`` for surface reflectance, ``"l1"`` for
        top-of-atmosphere.

    Returns
    -------
    pandas.DataFrame
        All rows in their order; a column that a table lacks is NaN in its rows.
        ``attrs["level"]`` is the level, and ``attrs["sources"]`` a list with the name,
        sha256, level and number of rows of each table.

    Raises
    ------
    SamplesError
        There is no table, a table or `level` has no known level, or two tables have a
        station of the same name at different places.
    """
    if level not in LEVELS:
        raise SamplesError(f"there is no level {level!r}; use 'l2' or 'l1'.")
    if not tables:
        raise SamplesError("there are no tables to put into one; give at least one.")
    for number, table in enumerate(tables):
        if table.attrs.get("level") not in LEVELS:
            raise SamplesError(
                f"table {number} does not say what its optical columns are; set "
                "table.attrs['level'] to 'l2' for surface or 'l1' for top-of-atmosphere "
                "reflectance."
            )
    parts = [t if t.attrs["level"] == level else t.drop(columns=_optical(t)) for t in tables]
    _check_places(parts)
    whole = pd.concat([_without_empty(part) for part in parts], ignore_index=True)
    names = dict.fromkeys(name for table in tables for name in table.columns)
    whole = _in_float32(whole.reindex(columns=list(names)))
    whole.attrs = {"level": level, "sources": [s for table in tables for s in _sources(table)]}
    record_content(whole)
    return whole


def _optical(table: pd.DataFrame) -> list[str]:
    names = [str(name) for name in table.columns if name in VARIABLES]
    return [n for n in names if n.startswith(_OPTICAL_PREFIXES) or n in _OPTICAL_DERIVED]


def _without_empty(table: pd.DataFrame) -> pd.DataFrame:
    # pandas warns that columns of NaN alone will once decide the dtype of the whole.
    return table.dropna(axis="columns", how="all")


def _sources(table: pd.DataFrame) -> list[dict[str, Any]]:
    if "sources" in table.attrs:  # made by concat_samples itself
        return stated_sources(table)
    (source,) = stated_sources(table) or [{"name": None, "sha256": None}]
    return [{**source, "level": table.attrs["level"], "rows": len(table)}]


def _check_places(tables: list[pd.DataFrame]) -> None:
    """Refuse a name that means another station in another table."""
    degrees = ["latitude", "longitude"]
    located = [t for t in tables if {*degrees, "station"} <= set(t.columns)]
    places = [t.groupby(station_keys(t))[degrees].median() for t in located]
    if not places:
        return
    by_name = pd.concat(places).groupby(level=0)
    apart = (by_name.max() - by_name.min() > _ANOTHER_PLACE).any(axis=1)
    if apart.any():
        raise SamplesError(
            f"station {apart.idxmax()} is at different places in two tables, and their rows would "
            "be taken for one station's; rename it in one, or give each table a column 'network'."
        )


def _canonical(raw: pd.DataFrame, layout: Layout) -> pd.DataFrame:
    columns = {column.name: column.read(raw) for column in layout.columns}
    used = {*layout.sources, *layout.dropped}
    others = {f"{layout.prefix}{name}": raw[name] for name in raw.columns if name not in used}
    table = pd.DataFrame({**columns, **others}).reset_index(drop=True)
    table["time"] = utc_naive(table["time"]).astype("datetime64[ns]")
    table["station"] = table["station"].astype(str).where(table["station"].notna())
    return _in_float32(table)


def _in_float32(table: pd.DataFrame) -> pd.DataFrame:
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
    except SamplesError:
        raise
    # pyarrow's errors inherit ValueError or OSError, pandas' CSV errors ValueError.
    except (ValueError, OSError) as error:
        raise SamplesError(
            f"{path.name} cannot be read as a {path.suffix} table ({error}); write it again."
        ) from error


def _recognise(raw: pd.DataFrame, path: Path) -> Layout:
    published = published_layout(raw.columns)
    layouts = [*LAYOUTS.values(), *([published] if published else [])]
    missing = [[s for s in layout.sources if s not in raw.columns] for layout in layouts]
    share = [len(m) / len(layout.sources) for m, layout in zip(missing, layouts, strict=True)]
    nearest = int(np.argmin(share))
    if not missing[nearest]:
        return layouts[nearest]
    if missing[nearest] == ["station"]:
        raise SamplesError(
            f"{path.name} has no column 'station'; add the name of each row's station, without "
            "which no honest cross-validation is possible."
        )
    unknown = layouts[nearest].unknown(raw.columns)[:20]
    has = f" (and has {', '.join(unknown)}, which it does not know)" if unknown else ""
    raise SamplesError(
        f"{path.name} has no layout that gssm knows; the nearest is {layouts[nearest].title}, for "
        f"which it lacks the columns {', '.join(missing[nearest])}{has}: rename or add them."
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
    _warn_of_repeats(table, path)


def _warn_of_repeats(table: pd.DataFrame, path: Path) -> None:
    """Tell of rows that repeat another's station, time and radar, with any label."""
    names = ("network", "station", "time", *BACKSCATTER, "incidence_angle")
    key = [name for name in names if name in table]
    repeated = int(table.duplicated(key).sum())
    if repeated:
        conflicting = repeated - int(table.duplicated([*key, "soil_moisture"]).sum())
        warnings.warn(
            f"{path.name} has {repeated} rows that repeat the station, time and radar of another, "
            f"{conflicting} of them with another soil_moisture; all are kept: average or drop "
            f"them by {', '.join(key[: key.index('time') + 1])}, unless they are sensors of "
            "their own.",
            GssmWarning,
            stacklevel=4,
        )


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
