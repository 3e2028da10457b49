"""The tidy table of stations, and NOAA's U.S. Climate Reference Network (USCRN) in it.

Every reader of stations gives the same table, `COLUMNS`, a row per value.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from gssm.errors import SamplesError

COLUMNS = (
    "network",
    "station",
    "longitude",
    "latitude",
    "elevation",
    "depth",
    "time",
    "soil_moisture",
    "flag",
)
GOOD = "G"
# Largest fill value for a missing number: NOAA writes -99.000 and -9999.0, ISMN -9999.
LARGEST_FILL = -99.0

_TYPES: dict[str, Any] = {
    **dict.fromkeys(("longitude", "latitude", "elevation", "depth"), np.float64),
    "time": "datetime64[ns]",
    "soil_moisture": np.float32,
}
_CITATION = (
    "Diamond, H. J. et al. (2013), U.S. Climate Reference Network after one decade of "
    "operations: status and assessment, Bull. Amer. Meteor. Soc. 94, "
    "doi:10.1175/BAMS-D-12-00170.1\n"
    "Bell, J. E. et al. (2013), U.S. Climate Reference Network soil moisture and temperature "
    "observations, J. Hydrometeorol. 14, doi:10.1175/JHM-D-12-0146.1"
)
_FILE_NAME = re.compile(r"CRN[DH]0[12]03-\d{4}-(?P<station>.+)\.txt")
_HEADER_LINES = 3  # of HEADERS.txt, which NOAA offers to put before the data
_DATE = re.compile(r"\d{8}")


@dataclass(frozen=True)
class Layout:
    """A NOAA product: name -> number of its field in a line of text, from 0, and of its column."""

    title: str
    fields: int
    text: Mapping[str, int]
    columns: Mapping[str, str]


def _columns(time: str, suffix: str) -> dict[str, str]:
    return {
        "station": "wban",
        "time": time,
        "longitude": "longitude",
        "latitude": "latitude",
        "soil_moisture": f"soil_moisture_5{suffix}",
        "soil_temperature": f"soil_temp_5{suffix}",
    }


# Numbers of the fields as in readme.txt of the products daily01 and hourly02 at
# https://www.ncei.noaa.gov/pub/data/uscrn/products, less one.
DAILY = Layout(
    "daily",
    28,
    {
        "station": 0,
        "time": 1,
        "longitude": 3,
        "latitude": 4,
        "soil_moisture": 18,
        "soil_temperature": 23,
    },
    _columns("lst_date", "_daily"),
)
HOURLY = Layout(
    "hourly",
    38,
    {
        "station": 0,
        "time": 1,
        "clock": 2,
        "longitude": 6,
        "latitude": 7,
        "soil_moisture": 28,
        "soil_temperature": 33,
    },
    _columns("utc_time", ""),
)
LAYOUTS = (DAILY, HOURLY)


def read_uscrn(path: str | Path) -> pd.DataFrame:
    """Read the 5 cm soil moisture of the U.S. Climate Reference Network.

    Parameters
    ----------
    path
        NOAA's own text (``CRND0103-2020-AZ_Tucson_11_W.txt`` daily, ``CRNH0203-...``
        hourly), a folder of such files, at any depth and all of one kind, or a
        ``.parquet`` table of them whose columns have NOAA's names in lower case.

    Returns
    -------
    pandas.DataFrame
        As from `gssm.read_ismn`; ``station`` is the WBAN number (five digits), ``depth``
        0.05 m and ``elevation`` NaN, as NOAA's files do not tell it. An hourly value is
        the mean of the hour that ends at ``time``. A daily value is the mean of the
        station's local day, and ``time`` the middle of that day in UTC: noon of the time
        zone that the longitude implies, at most two hours from the station's own clock.
        NOAA leaves out what its checks reject, hence ``flag`` is ``G`` throughout; values
        of frozen soil (below 0 degC), which it keeps, are dropped here, as ISMN's flags do.
        ``attrs["dropped"]`` counts what was left out and ``attrs["station_names"]`` has
        the names in the file names.

    Raises
    ------
    SamplesError
        No such path, no USCRN data, a line cut short, hourly and daily files together,
        values in percent or outside [0, 1], two values for one time, or no value at all.
    """
    path = Path(path)
    parts: list[pd.DataFrame] = []
    names: dict[str, str] = {}
    titles: dict[str, Path] = {}
    dropped: Counter[str] = Counter()
    for file in _files(path):
        raw, layout = _read_table(file) if file.suffix.lower() == ".parquet" else _read_text(file)
        titles.setdefault(layout.title, file)
        if len(titles) > 1:
            raise SamplesError(
                f"{path.name} has daily and hourly data ({titles['daily'].name}, "
                f"{titles['hourly'].name}); read each kind from a folder of its own."
            )
        parts.append(_good(raw, layout, file, dropped))
        if found := _FILE_NAME.fullmatch(file.name):
            names |= dict.fromkeys(parts[-1]["station"].unique(), found["station"])
    good = [part for part in parts if len(part)]
    if not good:
        raise SamplesError(
            f"{path.name} has no soil moisture at 5 cm ({summarise(dropped)}); choose stations or "
            "years that have it."
        )
    table = tidy([drop_repeats(pd.concat(good, ignore_index=True), dropped)])
    check_range(table)
    return with_account(table, path, dropped, {"USCRN": _CITATION}, station_names=names)


def tidy(parts: Sequence[pd.DataFrame]) -> pd.DataFrame:
    """Join tables of `COLUMNS` into one, sorted by network, station and time."""
    table = pd.concat(parts, ignore_index=True)[list(COLUMNS)]
    key = ["network", "station", "time"]
    return table.sort_values(key, kind="stable", ignore_index=True).astype(_TYPES)


def with_account(
    table: pd.DataFrame,
    path: Path,
    dropped: Counter[str],
    citations: dict[str, str],
    **others: dict[str, str],
) -> pd.DataFrame:
    """Return the table with ``attrs`` that say where it is from and what was left out."""
    source = {"name": path.name}
    table.attrs.update(dropped=dict(+dropped), citations=citations, source=source, **others)
    return table


def summarise(dropped: Counter[str]) -> str:
    """Return the counts of what was left out as words."""
    words = [f"{count} {reason}" for reason, count in (+dropped).items()]
    return f"left out: {', '.join(words)}" if words else "nothing was left out"


def reason(error: BaseException) -> str:
    """Return the first sentence of an error, without pandas' advice to programmers."""
    text = str(error).strip() or type(error).__name__
    return text.splitlines()[0].split(" You might want")[0].rstrip(".:")[:200]


def drop_repeats(table: pd.DataFrame, dropped: Counter[str]) -> pd.DataFrame:
    """Return the table with each value once; two values for one time are refused."""
    key = ["network", "station", "time"]
    repeated = table.duplicated([*key, "soil_moisture"])
    dropped["values repeated"] += int(repeated.sum())
    table = table[~repeated]
    clash = table.duplicated(key, keep=False)
    if clash.any():
        first, second = (
            row for _, row in table[clash].sort_values(key, kind="stable")[:2].iterrows()
        )
        raise SamplesError(
            f"{_station(first)} has soil moisture {first['soil_moisture']:g} and "
            f"{second['soil_moisture']:g} for the same time, {first['time']}; keep one of the two."
        )
    return table


def check_range(table: pd.DataFrame) -> None:
    """Refuse percent and what soil cannot hold; ``soil_moisture`` must be in m3 m-3."""
    outside = table[~table["soil_moisture"].between(0, 1)]
    if outside.empty:
        return
    row = outside.iloc[int(outside["soil_moisture"].abs().to_numpy().argmax())]
    says = f"{_station(row)} has soil moisture {row['soil_moisture']:g} at {row['time']}"
    same = (table["network"] == row["network"]) & (table["station"] == row["station"])
    if table["soil_moisture"][same].median() > 1:
        raise SamplesError(f"{says}, which looks like percent; divide it by 100 to give m3 m-3.")
    raise SamplesError(f"{says}, outside 0 to 1 m3 m-3; flag or remove that value.")


def _station(row: pd.Series[Any]) -> str:
    return f"station {row['station']} of {row['network']}"


def _files(path: Path) -> list[Path]:
    if path.is_file():
        return [path]
    if not path.is_dir():
        raise SamplesError(f"there is no USCRN data at {path}; check the path.")
    found = sorted(file for file in path.rglob("*.txt") if _FILE_NAME.fullmatch(file.name))
    if not found:
        raise SamplesError(
            f"{path.name} has no USCRN station files (CRND0103-YYYY-name.txt or "
            "CRNH0203-YYYY-name.txt); give their folder, or the path of a .parquet table."
        )
    return found


def _read_text(path: Path) -> tuple[pd.DataFrame, Layout]:
    # Some files have null characters on a line of their own, or within one.
    text = path.read_bytes().replace(b"\0", b"").decode("ascii", errors="replace")
    lines = [(n, line.split()) for n, line in enumerate(text.splitlines(), 1) if line.strip()]
    while lines and lines[0][0] <= _HEADER_LINES and not _is_record(lines[0][1]):
        del lines[0]
    fields = len(lines[0][1]) if lines else 0
    layout = next((layout for layout in LAYOUTS if layout.fields == fields), None)
    if layout is None:
        kinds = " or ".join(f"{layout.fields} ({layout.title})" for layout in LAYOUTS)
        raise SamplesError(
            f"{path.name} has {fields} fields in its first line where a USCRN station file has "
            f"{kinds}; give files of the products daily01 or hourly02."
        )
    for number, line in lines:
        if len(line) != fields or not _is_record(line):
            raise SamplesError(
                f"line {number} of {path.name} is cut short or damaged ({len(line)} of {fields} "
                "fields); download the file again."
            )
    values = list(zip(*(line for _, line in lines), strict=True))
    return pd.DataFrame({name: values[at] for name, at in layout.text.items()}), layout


def _is_record(line: list[str]) -> bool:
    return len(line) > 1 and _DATE.fullmatch(line[1]) is not None


def _read_table(path: Path) -> tuple[pd.DataFrame, Layout]:
    try:
        table = pd.read_parquet(path)
    except (ValueError, OSError) as error:
        raise SamplesError(
            f"{path.name} cannot be read as a parquet table ({reason(error)}); write it again."
        ) from error
    for layout in LAYOUTS:
        if set(layout.columns.values()) <= set(table.columns):
            names = {source: name for name, source in layout.columns.items()}
            return table[list(names)].rename(columns=names), layout
    needed = " or ".join(", ".join(layout.columns.values()) for layout in LAYOUTS)
    raise SamplesError(
        f"{path.name} is no table of USCRN data, which has the columns {needed}; rename its "
        "columns to NOAA's names in lower case."
    )


def _good(raw: pd.DataFrame, layout: Layout, path: Path, dropped: Counter[str]) -> pd.DataFrame:
    """Rows of `COLUMNS` with a value, of soil that is not frozen."""
    numbers = ["longitude", "latitude", "soil_moisture", "soil_temperature"]
    try:
        raw = raw.assign(**{name: pd.to_numeric(raw[name]) for name in numbers})
        time = _utc(raw, layout)
    except (ValueError, TypeError) as error:
        raise SamplesError(
            f"{path.name} has a field that is no number or no time ({reason(error)}); download it "
            "again."
        ) from error
    # Leading zeros are omitted, says NOAA's readme.txt.
    raw = raw.assign(network="USCRN", station=raw["station"].astype(str).str.zfill(5), time=time)
    missing = ~(raw["soil_moisture"] > LARGEST_FILL)  # NaN too
    frozen = raw["soil_temperature"].between(LARGEST_FILL, 0, inclusive="neither") & ~missing
    dropped["values missing"] += int(missing.sum())
    dropped["values of frozen soil"] += int(frozen.sum())
    raw = raw[~missing & ~frozen]
    placed = raw["longitude"].between(-180, 180) & raw["latitude"].between(-90, 90)
    if not (placed & raw["time"].notna()).all():
        row = raw[~(placed & raw["time"].notna())].iloc[0]
        raise SamplesError(
            f"{_station(row)} has longitude {row['longitude']:g}, latitude {row['latitude']:g} and "
            f"time {row['time']} in {path.name}; mend or remove that row."
        )
    return raw.assign(elevation=np.nan, depth=0.05, flag=GOOD)[list(COLUMNS)]


def _utc(raw: pd.DataFrame, layout: Layout) -> pd.Series[Any]:
    """Time in UTC, without zone."""
    time = raw["time"]
    if "clock" in raw:
        time = pd.to_datetime(time + raw["clock"].str.zfill(4), format="%Y%m%d%H%M")
    elif not pd.api.types.is_datetime64_any_dtype(time):
        # A number such as 20200101 would be nanoseconds to pandas.
        time = pd.to_datetime(time.astype(str).str.replace("-", ""), format="%Y%m%d")
    if time.dt.tz is not None:
        time = time.dt.tz_convert("UTC").dt.tz_localize(None)
    if layout is HOURLY:
        return time
    zone = np.round(raw["longitude"] / 15)  # hours, east positive
    return time + pd.Timedelta(hours=12) - pd.to_timedelta(zone, unit="h")
