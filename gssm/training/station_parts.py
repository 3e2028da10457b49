"""Samples on disk: a part per finished station, then one table; whole or not at all.

A part is the Parquet file of one station in the folder ``<out>.parts``, named by the hash of
all that it was made of: what another request would make differently has another name.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
import os
import re
import uuid
from collections.abc import Iterator, Mapping, Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import pandas as pd

from gssm.errors import RequestError, StoreExistsError, StoreWriteError
from gssm.training.samples import read_samples
from gssm.training.station_windows import Outcome, Request, Station

# Key of the report in the table's attributes: text, which pandas copies at no cost.
REPORT = "dropped_report"

PART_FORMAT = 1
# What is left of an interrupted writing ends in .tmp.
PART_NAME = re.compile(r"[0-9a-f]{64}\.parquet|\..+\.tmp")


def describe_request(request: Request) -> dict[str, Any]:
    """All that the samples of every station depend on, besides the stations."""
    contents = ""
    if isinstance(request.catalog, Path):
        folder = request.catalog
        files = sorted(folder.glob("*.json")) if folder.is_dir() else [folder]
        digest = hashlib.sha256()
        for file in files:
            digest.update(file.name.encode() + b"\0" + file.read_bytes())
        contents = digest.hexdigest()
    return {
        "gssm_version": _version(),
        "catalog": str(request.catalog),
        "catalog_sha256": contents,
        "window": request.window,
        "max_hours": request.max_hours,
        "max_cloud_cover": request.max_cloud_cover,
        "datetime": [str(moment) for moment in request.dates],
    }


def _version() -> str:
    try:
        return version("gssm")
    except PackageNotFoundError:  # run from a source tree
        return "unknown"


def hash_station(place: Station, facts: Mapping[str, Any]) -> str:
    """Hash of everything that a station's samples are made of."""
    own = [PART_FORMAT, place.network, place.name, place.longitude, place.latitude]
    digest = hashlib.sha256(json.dumps([own, facts], sort_keys=True).encode())
    digest.update(json.dumps(list(place.measured.columns)).encode())
    rows = pd.util.hash_pandas_object(place.measured, index=False)
    return hashlib.sha256(digest.digest() + rows.to_numpy().tobytes()).hexdigest()


def hash_all(keys: Sequence[str]) -> str:
    """Hash of what a whole table is made of."""
    return hashlib.sha256("".join(keys).encode()).hexdigest()


def checked_path(out: str | Path) -> Path:
    """Absolute path of the table, which is a Parquet file."""
    path = Path(out).expanduser().absolute()
    if path.suffix.lower() != ".parquet":
        raise RequestError(f"out {str(out)!r} is not a .parquet file; give such a path.")
    return path


def _parts(path: Path) -> Path:
    return path.with_name(f"{path.name}.parts")


def _report(path: Path) -> Path:
    return path.with_suffix(".dropped.csv")


def is_finished(path: Path, keys: Sequence[str]) -> bool:
    """Tell whether the table is there, whole and of this request; another one is refused."""
    with _writing(path):
        if not path.exists():
            return False
        attrs: Mapping[Any, Any] = {}
        with contextlib.suppress(ValueError, OSError):  # no Parquet, or a broken one
            attrs = pd.read_parquet(path, columns=[]).attrs
    if attrs.get("request") != hash_all(keys):
        raise StoreExistsError(
            f"{path} exists and was not made of these stations, catalogue and options; remove it "
            "or give another path with out=."
        )
    return attrs.get("failed_stations") == 0 and _report(path).exists()


def resume(path: Path, keys: Sequence[str]) -> dict[int, Outcome]:
    """Make the folder of the parts, see that it can be written, and read what is finished."""
    folder = _parts(path)
    with _writing(path):
        folder.mkdir(parents=True, exist_ok=True)
        with _replacing(folder / "probe") as temporary:
            temporary.write_bytes(b"")
        (folder / "probe").unlink()
    found = {number: _read_part(folder / f"{key}.parquet") for number, key in enumerate(keys)}
    return {number: outcome for number, outcome in found.items() if outcome is not None}


def _read_part(file: Path) -> Outcome | None:
    try:
        samples = pd.read_parquet(file)
        dropped = parse_dropped(samples.attrs[REPORT])
    except (OSError, ValueError, KeyError):  # absent, or broken after all: made anew
        return None
    samples.attrs = {}
    return Outcome(samples, dropped)


def write_part(path: Path, key: str, outcome: Outcome) -> None:
    """Keep what one station gave."""
    part = outcome.samples.copy()
    part.attrs = {REPORT: outcome.dropped.to_csv(index=False)}
    with _writing(path), _replacing(_parts(path) / f"{key}.parquet") as temporary:
        part.to_parquet(temporary)


def write_table(samples: pd.DataFrame, path: Path) -> None:
    """Write the report, then the table, which is there only when all is."""
    table = samples.copy()
    report = table.attrs.pop(REPORT)
    with _writing(path):
        with _replacing(_report(path)) as temporary:
            temporary.write_text(report, encoding="utf-8")
        with _replacing(path) as temporary:
            table.to_parquet(temporary, index=False)


def read_table(path: Path) -> pd.DataFrame:
    """Read the table as anyone would, in the order of its columns, with its report."""
    stored = pd.read_parquet(path)
    samples = read_samples(path)[list(stored.columns)]
    samples.attrs |= {**stored.attrs, REPORT: _report(path).read_text(encoding="utf-8")}
    return samples


def tidy(path: Path, finished: bool) -> None:
    """Remove the parts once all is written; those of a run with failures wait for the next."""
    folder = _parts(path)
    with contextlib.suppress(OSError):
        for file in folder.iterdir() if finished else ():
            if PART_NAME.fullmatch(file.name):
                file.unlink()
        folder.rmdir()  # unless something is left in it


@contextlib.contextmanager
def _replacing(file: Path) -> Iterator[Path]:
    """Give a temporary path that takes the file's place when all went well."""
    temporary = file.with_name(f".{file.name}.{uuid.uuid4().hex}.tmp")
    try:
        yield temporary
        os.replace(temporary, file)
    finally:
        temporary.unlink(missing_ok=True)


@contextlib.contextmanager
def _writing(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise StoreWriteError(
            f"{path} cannot be written ({error.strerror or error}); free some space or give "
            "another path with out=."
        ) from error


def parse_dropped(text: str) -> pd.DataFrame:
    """Return the table of what was dropped from its CSV text."""
    table = pd.read_csv(io.StringIO(text), dtype=str, keep_default_na=False)
    for name in ("time", "measured_time"):
        table[name] = pd.to_datetime(table[name], format="ISO8601").astype("datetime64[ns]")
    return table
