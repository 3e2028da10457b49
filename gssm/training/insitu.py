"""Read in-situ soil moisture: downloads of the International Soil Moisture Network (ISMN).

NOAA's own network has its reader and the table that both give in `gssm.training.uscrn`.
ISMN data come through the ``ismn`` package, from the layer below its interface: that
interface reads every file of an archive to index it before it reads the data, writes the
index beside them, prints, and passes over files that it cannot read. Here only soil
moisture of the wanted depth is opened, once, and a damaged file is an error.
"""

from __future__ import annotations

import re
import shutil
import tempfile
import warnings
import zipfile
import zlib
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
import pandas as pd

from gssm.errors import RequestError, SamplesError
from gssm.request import DateRange, check_datetime
from gssm.training.uscrn import (
    COLUMNS,
    GOOD,
    LARGEST_FILL,
    check_range,
    drop_repeats,
    read_uscrn,
    reason,
    summarise,
    tidy,
    with_account,
)

__all__ = ["COLUMNS", "read_ismn", "read_uscrn"]

# An unknown height is one of these in ISMN headers.
_NO_ELEVATION = (-99.0, -99.9, -999.0, -999.9, -9999.0, -9999.9)
_FIRST, _LAST = "1900-01-01", "2200-01-01"
_MAX_FILE_BYTES = 2 * 1024**3  # more than a century of minutes; a zip bomb is larger
# What the standard library raises for damaged, encrypted or exotic entries of a zip.
_ZIP_ERRORS = (zipfile.BadZipFile, zlib.error, EOFError, RuntimeError, NotImplementedError)

# CSE_Network_Station_sm_from_to_instrument_start_end.stm, says the archive's Readme.txt. The
# zips that macOS makes have a second file of each name, after "._", with other contents.
_FILE_NAME = re.compile(
    r"[^_.][^_]*_(?P<network>[^_]+)_(?P<station>.+)_sm_(?P<top>\d+\.\d+)_(?P<bottom>\d+\.\d+)"
    r"_(?P<instrument>.+)_\d{8}_\d{8}\.stm"
)
# What ISMN asks to be cited beside each network; the second is on the quality flags.
_ISMN_CITATION = (
    "Dorigo, W. et al. (2021), The International Soil Moisture Network: serving Earth system "
    "science for over a decade, Hydrol. Earth Syst. Sci. 25, doi:10.5194/hess-25-5749-2021\n"
    "Dorigo, W. A. et al. (2013), Global automated quality control of in situ soil moisture "
    "data from the International Soil Moisture Network, Vadose Zone J. 12(3), "
    "doi:10.2136/vzj2012.0097"
)


@dataclass(frozen=True, order=True)
class SensorFile:
    """One soil moisture file of an archive, as its name describes it (depths in metres)."""

    network: str
    station: str
    instrument: str
    top: float
    bottom: float
    entry: str

    @property
    def sensor(self) -> tuple[str, float, float]:
        """What tells the sensors of a station apart, in the order in which they are taken."""
        return self.instrument, self.top, self.bottom


@dataclass(frozen=True)
class Archive:
    """An opened download: names of its files, and a function that puts one on disk."""

    entries: tuple[str, ...]
    fetch: Callable[[str], Path]


def read_ismn(
    path: str | Path,
    *,
    networks: str | Sequence[str] | None = None,
    start: Any = None,
    end: Any = None,
    max_depth: float = 0.05,
) -> pd.DataFrame:
    """Read the good surface soil moisture of an ISMN download.

    Of a station with several sensors, the one with the most good values in the period
    is taken as it is (at a tie the first by name, then the shallowest): nothing is
    averaged. The archive is only read; nothing is written next to it.

    Parameters
    ----------
    path
        Zip or unpacked folder from ismn.earth, in the layout "Header+values" or "CEOP".
    networks
        Names of the networks to read; by default all.
    start, end
        First and last time (UTC) to read, such as ``"2018-05-01"``; an end without a
        clock time counts whole; by default all.
    max_depth
        Lower end of the deepest sensor to read, in metres. Depths count to the
        centimetre, so that the two inches of SCAN and SNOTEL (0.0508 m) are 5 cm.

    Returns
    -------
    pandas.DataFrame
        A row per value flagged ``G``, sorted by network, station and time: `COLUMNS`,
        with ``longitude``, ``latitude`` (degree), ``elevation`` (m, NaN if unknown),
        ``depth`` (m, the sensor's lower end), ``time`` (UTC, without zone),
        ``soil_moisture`` (m3 m-3, float32), ``flag``. ``attrs["dropped"]`` counts what
        was left out, by reason: the reasons that begin with "values" and the rows
        together are all records of the sensors read. ``attrs["citations"]`` says what
        to cite, by network, and for ISMN itself.

    Raises
    ------
    SamplesError
        No such path, no ISMN data, no good value of a sensor so shallow, a damaged
        file, values in percent or outside [0, 1], two values for one time, or a zip
        with an entry that points outside of it.
    RequestError
        A network that the archive lacks, a period or depth that makes no sense.
    """
    path = Path(path)
    period = check_datetime((_FIRST if start is None else start, _LAST if end is None else end))
    if not isinstance(max_depth, (int, float)) or not 0 < max_depth <= 1:
        raise RequestError(f"max_depth {max_depth!r} is not 0 to 1 m; give 0.05 for 5 cm.")
    dropped: Counter[str] = Counter()
    with _open(path) as archive:
        files = _soil_moisture_files(archive, path, networks, max_depth, dropped)
        groups = groupby(files, key=lambda file: (file.network, file.station))
        read = [_read_station(list(group), archive, period, dropped) for _, group in groups]
        stations = [station for station in read if station is not None]
        if not stations:
            raise SamplesError(
                f"{path.name} has no value flagged {GOOD} of a sensor down to {max_depth:g} m in "
                f"that period ({summarise(dropped)}); widen start and end, or get other stations."
            )
        table = tidy(stations)
        citations = _citations(archive, sorted(table["network"].unique()))
    return with_account(table, path, dropped, citations)


@contextmanager
def _open(path: Path) -> Iterator[Archive]:
    if not path.exists():
        raise SamplesError(f"there is no ISMN download at {path}; check the path.")
    if path.is_dir():
        files = (file.as_posix() for file in path.resolve().rglob("*") if file.is_file())
        yield Archive(tuple(sorted(files)), Path)
        return
    try:
        archive = zipfile.ZipFile(path)
    except (OSError, *_ZIP_ERRORS) as error:
        raise SamplesError(
            f"{path.name} is neither a folder nor a whole zip ({error}); download it again from "
            "ismn.earth."
        ) from error
    with archive, tempfile.TemporaryDirectory(prefix="gssm-ismn-") as folder:
        yield Archive(_zip_entries(path, archive), _unzip(path, archive, Path(folder)))


def _zip_entries(path: Path, archive: zipfile.ZipFile) -> tuple[str, ...]:
    names = [entry.filename for entry in archive.infolist() if not entry.is_dir()]
    for name in names:
        parts = PurePosixPath(name)
        if parts.is_absolute() or ".." in parts.parts or "\\" in name:
            raise SamplesError(
                f"{path.name} has an entry {name!r} that points outside of it; do not use this "
                "file, and download it again from ismn.earth."
            )
    return tuple(sorted(names))


def _unzip(path: Path, archive: zipfile.ZipFile, folder: Path) -> Callable[[str], Path]:
    def fetch(name: str) -> Path:
        target = folder / "entry.stm"  # one at a time: an archive may be larger than the disk
        if archive.getinfo(name).file_size > _MAX_FILE_BYTES:
            raise SamplesError(
                f"{name} in {path.name} unpacks to more than {_MAX_FILE_BYTES} bytes; unpack the "
                "zip yourself if you trust it, and give the folder."
            )
        try:
            with archive.open(name) as packed, target.open("wb") as file:
                shutil.copyfileobj(packed, file)
        except _ZIP_ERRORS as error:
            raise SamplesError(
                f"{name} in {path.name} cannot be unpacked ({error}); download the zip again."
            ) from error
        return target

    return fetch


def _soil_moisture_files(
    archive: Archive,
    path: Path,
    networks: str | Sequence[str] | None,
    max_depth: float,
    dropped: Counter[str],
) -> list[SensorFile]:
    described = (_describe(entry) for entry in archive.entries)
    files = sorted(file for file in described if file is not None)
    if not files:
        raise SamplesError(
            f"{path.name} has no ISMN soil moisture (Network/Station/..._sm_....stm); give the "
            "zip or folder as it comes from ismn.earth."
        )
    chosen = _choose_networks(files, networks, path)
    shallow = [file for file in chosen if round(file.bottom, 2) <= max_depth]
    if not shallow:
        raise SamplesError(
            f"{path.name} has no soil moisture sensor down to {max_depth:g} m; the shallowest "
            f"reaches {min(file.bottom for file in chosen):g} m, which max_depth would admit."
        )
    if networks is None:
        dropped["station folders without soil moisture"] += _count_empty(archive, files)
    dropped[f"sensors deeper than {max_depth:g} m"] += len(chosen) - len(shallow)
    return shallow


def _describe(entry: str) -> SensorFile | None:
    place = PurePosixPath(entry)
    found = _FILE_NAME.fullmatch(place.name)
    if found is None:
        return None
    # File names write FR-Aqui for the network FR_Aqui, as "_" separates their parts: the
    # folder has the true name, unless the archive was sorted into folders of another kind.
    network, folder = found["network"], place.parts[-3] if len(place.parts) > 2 else ""
    if folder.replace("_", "-") == network:
        network = folder
    top, bottom = sorted((float(found["top"]), float(found["bottom"])))
    return SensorFile(network, found["station"], found["instrument"], top, bottom, entry)


def _choose_networks(
    files: list[SensorFile], networks: str | Sequence[str] | None, path: Path
) -> list[SensorFile]:
    if networks is None:
        return files
    wanted = {networks} if isinstance(networks, str) else set(networks)
    present = {file.network for file in files}
    if not wanted or wanted - present:
        raise RequestError(
            f"networks {sorted(wanted - present)} are not in {path.name}, which has "
            f"{', '.join(sorted(present))}; choose from these."
        )
    return [file for file in files if file.network in wanted]


def _count_empty(archive: Archive, files: list[SensorFile]) -> int:
    known = {
        PurePosixPath(entry).parent
        for entry in archive.entries
        if entry.endswith(("_static_variables.csv", ".stm"))
    }
    return len(known - {PurePosixPath(file.entry).parent for file in files})


def _read_station(
    files: list[SensorFile], archive: Archive, period: DateRange, dropped: Counter[str]
) -> pd.DataFrame | None:
    """Good values of one station's best sensor, or None."""
    parts: dict[tuple[str, float, float], list[pd.DataFrame]] = {}
    for file in files:
        records = _read_file(file, archive.fetch(file.entry))
        parts.setdefault(file.sensor, []).append(_good(records, period, dropped))
    sensors = [
        drop_repeats(pd.concat(parts[sensor], ignore_index=True), dropped)
        for sensor in sorted(parts)
    ]
    good = [sensor for sensor in sensors if len(sensor)]
    dropped["sensors without a good value"] += len(sensors) - len(good)
    if not good:
        return None
    best = max(good, key=len)  # the first of equals
    dropped["values of a second sensor"] += sum(map(len, good)) - len(best)
    check_range(best)
    return best


def _good(records: pd.DataFrame, period: DateRange, dropped: Counter[str]) -> pd.DataFrame:
    tests = {
        "values outside the period": records["time"].between(*period),
        "values missing": records["soil_moisture"] > LARGEST_FILL,  # False for NaN too
        f"values not flagged {GOOD}": records["flag"] == GOOD,
    }
    kept = pd.Series(True, index=records.index)
    for why, passed in tests.items():
        dropped[why] += int((kept & ~passed).sum())
        kept &= passed
    return records[kept]


def _read_file(file: SensorFile, path: Path) -> pd.DataFrame:
    """All records of one file, in `COLUMNS`."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            warnings.simplefilter("error", UserWarning)  # pandas guesses at a time
            return _read_records(file, path)
    except (OSError, ValueError, LookupError, TypeError, UserWarning) as error:
        told = reason(error) if isinstance(error, (OSError, ValueError)) else "ismn cannot read it"
        raise SamplesError(
            f"{PurePosixPath(file.entry).name} is cut short or damaged ({told}); download it "
            "again, or take the file out of the archive."
        ) from error


def _read_records(file: SensorFile, path: Path) -> pd.DataFrame:
    with path.open("rb") as lines:
        header, first = (lines.readline().decode(errors="replace").split() for _ in range(2))
    if len(header) < 8 or 0 < len(first) < 4:
        raise ValueError("its first lines are no header and record of ISMN")
    names = ["", file.network, file.station, "sm", str(file.top), str(file.bottom), file.instrument]
    where, records = _through_ismn(path, header, first, names)
    if abs(where["depth"] - file.bottom) > 0.005:
        raise ValueError(f"its header says {where['depth']:g} m, its name {file.bottom:g} m")
    times, flags = records.index.to_numpy(), records.iloc[:, 1].to_numpy()
    cut = pd.isna(times) | pd.isna(flags)
    if cut.any():
        raise ValueError(f"its record {int(cut.argmax()) + 1} lacks a time, value or flag")
    values = pd.to_numeric(records.iloc[:, 0]).to_numpy(np.float64)
    fixed = {"network": file.network, "station": file.station, **where}
    table = {**fixed, "time": times, "soil_moisture": values, "flag": flags}
    return pd.DataFrame(table, index=range(len(records)))


def _through_ismn(
    path: Path, header: list[str], first: list[str], names: list[str]
) -> tuple[dict[str, float], pd.DataFrame]:
    """Place (degree, m) and records of a file, read once by the ismn package."""
    from ismn.base import IsmnRoot
    from ismn.filehandlers import DataFile

    without = {"load_metadata": False, "verify_filepath": False, "verify_temp_root": False}
    data = DataFile(IsmnRoot(path.parent), path.name, **without)
    # Given the lines that it would look up, ismn does not read the file for them.
    ceop = len(header) == 15 == len(first)
    line = first or ["2000/01/01", "00:00"]  # a header alone: the sensor has no values
    elements = {"headr": header, "scnd": line, "last": line, "fname": names}
    read_metadata = data.get_metadata_ceop_sep if ceop else data.get_metadata_header_values
    data.metadata, depth = read_metadata(elements)
    data.file_type = "ceop_sep" if ceop else "header_values"
    where = {name: data.metadata[name].val for name in ("longitude", "latitude", "elevation")}
    if not (-180 <= where["longitude"] <= 180 and -90 <= where["latitude"] <= 90):
        raise ValueError("its header places the station outside the world")
    if where["elevation"] in _NO_ELEVATION:
        where["elevation"] = np.nan
    where["depth"] = max(depth.start, depth.end)
    return where, data.read_data() if len(first) > 4 else _without_provider_flags(path)


def _without_provider_flags(path: Path) -> pd.DataFrame:
    # The provider's flag is there "if existing", says ISMN's Readme.txt; ismn demands it.
    names = ["day", "clock", "value", "flag"]
    table = pd.read_csv(path, sep=r"\s+", skiprows=1, names=names, index_col=False)
    stamps = table.pop("day").astype(str) + " " + table.pop("clock").astype(str)
    return table.set_index(pd.to_datetime(stamps, format="%Y/%m/%d %H:%M"))


def _citations(archive: Archive, networks: list[str]) -> dict[str, str]:
    """Return what to cite, by network: the archive's Readme.txt, else ismn's own list."""
    from ismn.const import CITATIONS

    readme = next((e for e in archive.entries if PurePosixPath(e).name == "Readme.txt"), None)
    told = _references(archive.fetch(readme).read_bytes()) if readme else {}
    listed = {name: "\n".join(texts) for name, texts in CITATIONS.items()}
    known = {name: told.get(name) or listed.get(name) for name in networks}
    return {"ISMN": _ISMN_CITATION, **{name: text for name, text in known.items() if text}}


def _references(readme: bytes) -> dict[str, str]:
    text = readme.decode(errors="replace").replace("\r\n", "\n")
    # A network's name after a tab, then its facts after two, of which one may have many lines.
    _, *blocks = re.split(r"^\t(\S+)[ \t]*\n(?=\t\tAbstract:)", text, flags=re.MULTILINE)
    found = {}
    for network, facts in zip(blocks[::2], blocks[1::2], strict=True):
        told = re.search(r"^\t\tReference:(.*?)(?=^\t\t|\Z)", facts, re.MULTILINE | re.DOTALL)
        lines = told[1].splitlines() if told else []
        found[network] = "\n".join(line.strip() for line in lines if line.strip())
    return found
