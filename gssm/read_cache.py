"""Pixels that came over the network, kept in a folder of this machine: an option, off at first.

The environment variable ``GSSM_READ_CACHE`` names the folder, so that workers of a cluster
have it from their own environment. Each file in it is one window of one image on one grid,
as it was before scale and offset, under a name made of all that its numbers depend on. It is
replaced whole and carries a checksum: one that is damaged is read from the network again. So
is one that is too old, since a catalogue may process an image anew under the same address.
"""

from __future__ import annotations

import array
import contextlib
import hashlib
import json
import math
import os
import re
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, fields
from functools import lru_cache
from importlib.resources import files
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit

import numpy as np

from gssm.addresses import file_version
from gssm.describe import Raster
from gssm.errors import RequestError
from gssm.network import is_remote
from gssm.sign import SIGNERS, UNSIGNED

Array = np.ndarray[Any, Any]

FOLDER, LARGEST, OLDEST = "GSSM_READ_CACHE", "GSSM_READ_CACHE_GB", "GSSM_READ_CACHE_DAYS"
DEFAULTS = {LARGEST: "10", OLDEST: "30"}
GB, DAY = 1e9, 86_400.0

LEVEL = 1  # of zstd: half the size of reflectance; a hit takes half the time of a local read
CHECKSUM_BYTES = 32
# No entry is larger: of a number, of what zstd cannot compress, of all else.
BYTES_OF_A_NUMBER, GROWTH, HEADER_BYTES = 8, 1.01, 4096

# What a query holds beside the name of a file: by the parameter that marks a signature of its
# kind, all that come and go with it. What is not here may tell files apart, and stays.
SIGNATURES: dict[str, str] = {
    "sig": "sig sv ss srt sp se st spr sip si sr skoid sktid skt ske sks skv saoid suoid scid "
    "sdd ses",
    "x-amz-signature": "x-amz-signature x-amz-algorithm x-amz-credential x-amz-date "
    "x-amz-expires x-amz-signedheaders x-amz-security-token",
    "x-goog-signature": "x-goog-signature x-goog-algorithm x-goog-credential x-goog-date "
    "x-goog-expires x-goog-signedheaders",
    "signature": "signature expires awsaccesskeyid googleaccessid key-pair-id policy "
    "x-amz-security-token",
}

# What was used a minute ago need not be marked as used again.
USED_SECONDS = 60.0
# After a failure to write, so long nothing is written; what is there is still read.
REST_SECONDS = 60.0
# A process looks at the whole folder whenever it has written this share of the limit, and
# deletes down to the other.
LOOK_SHARE, KEEP_SHARE = 0.01, 0.95
ABANDONED_SECONDS = 3600.0  # half-written files of processes that were killed
SUFFIX, UNFINISHED = ".window", ".part"


@dataclass(frozen=True)
class Settings:
    """What the environment asks for.

    Parameters
    ----------
    folder
        Absolute path; made when the first window is kept.
    most_bytes
        What has not been used longest is deleted beyond it.
    most_seconds
        Since a window was read from the network.
    """

    folder: Path
    most_bytes: float
    most_seconds: float


@dataclass(frozen=True)
class Entry:
    """Where one window is kept, or would be, and the rows and columns that it has."""

    path: Path
    shape: tuple[int, int]
    settings: Settings


def settings() -> Settings | None:
    """Return what the environment asks for; None where there is to be no cache.

    Raises
    ------
    RequestError
        A variable holds what cannot be used.
    """
    folder = os.environ.get(FOLDER, "")
    if not folder:
        return None
    return _settings(folder, *(os.environ.get(n) or DEFAULTS[n] for n in (LARGEST, OLDEST)))


@lru_cache(maxsize=16)
def _settings(folder: str, gigabytes: str, days: str) -> Settings:
    if "://" in folder:
        raise RequestError(
            f"{FOLDER} is an address, and the read cache is for what lies on this machine; set it "
            "to a local folder."
        )
    path = Path(os.path.abspath(os.path.expanduser(folder)))
    return Settings(path, _number(LARGEST, gigabytes) * GB, _number(OLDEST, days) * DAY)


def _number(name: str, text: str) -> float:
    try:
        number = float(text)
    except ValueError:
        number = math.nan
    if not (math.isfinite(number) and number > 0):
        unit = "gigabytes" if name == LARGEST else "days"
        raise RequestError(
            f"{name} is {text!r}, which is no number above zero; set it to {unit}, such as "
            f"{DEFAULTS[name]}, or leave it out."
        )
    return number


def entry_of(
    raster: Raster, grid: tuple[Any, ...], window: Any, resampling: Any, fill: float
) -> Entry | None:
    """Return the entry of a window; None for a local file, or where there is no cache.

    Its name is a hash of all that its numbers depend on: the address without its signature,
    how the file is read (scale and offset too, which change when a catalogue processes an
    image anew under the same name), grid, window, and the software that made them.

    Parameters
    ----------
    raster
        Every field of it counts, but for the rule that sorts classes later.
    grid
        EPSG code, bounds and resolutions.
    window
        rasterio's window of that grid.
    resampling
        rasterio's enumeration.
    fill
        What is outside the file.

    Raises
    ------
    RequestError
        A variable of the environment holds what cannot be used.
    """
    asked = settings()
    if asked is None or not is_remote(raster.href):
        return None
    facts = {f.name: getattr(raster, f.name) for f in fields(raster) if f.name != "rule"}
    facts["href"] = unsigned(raster.href)
    facts["sidecars"] = [(name, unsigned(a), file_version(a)) for name, a in raster.sidecars]
    place = [*grid, window.flatten(), resampling.name, fill]
    text = json.dumps([*_software(), facts, place], sort_keys=True, default=float)
    name = hashlib.sha256(text.encode()).hexdigest()
    path = asked.folder / name[:2] / f"{name}{SUFFIX}"
    return Entry(path, (int(window.height), int(window.width)), asked)


@lru_cache(maxsize=1)
def _software() -> tuple[str, str, str]:
    """Hash of the modules of gssm, and the versions of GDAL and PROJ.

    Not the version of gssm: the way to read a file may change within it, and nobody would
    remember to say so.
    """
    import rasterio

    modules = {m.name: m for m in files("gssm").iterdir() if m.name.endswith(".py")}
    hashed = hashlib.sha256(b"".join(modules[name].read_bytes() for name in sorted(modules)))
    return hashed.hexdigest(), str(rasterio.__gdal_version__), str(rasterio.__proj_version__)


def unsigned(href: str) -> str:
    """Return an address without what a signature added to it; any other text as it is."""
    if not href.startswith(("http://", "https://")) or "?" not in href:
        return href
    try:
        parts = urlsplit(href)
        host = parts.hostname or ""
    except ValueError:
        return href  # opening it will tell
    if host not in UNSIGNED and host.endswith(tuple(SIGNERS)):
        return urlunsplit(parts._replace(query=""))  # `gssm.sign` puts one of its own there
    pairs = parse_qsl(parts.query, keep_blank_values=True)
    stated = {name.lower() for name, _ in pairs}
    dropped = {n for mark, names in SIGNATURES.items() if mark in stated for n in names.split()}
    if not dropped:
        return href
    kept = [(name, value) for name, value in pairs if name.lower() not in dropped]
    return urlunsplit(parts._replace(query=urlencode(kept)))


def find(entry: Entry | None) -> Array | None:
    """Return a kept window, ``(y, x)``, writable; None where there is none fit for use."""
    if entry is None:
        return None
    try:
        with open(entry.path, "rb") as file:
            stat = os.fstat(file.fileno())
            if stat.st_size > BYTES_OF_A_NUMBER * math.prod(entry.shape) * GROWTH + HEADER_BYTES:
                return None  # none of ours
            content = file.read(stat.st_size)
    except OSError:
        return None
    values = _unpacked(content, entry)
    if values is not None and abs(time.time() - stat.st_mtime) > USED_SECONDS:
        with contextlib.suppress(OSError):  # deleted meanwhile, or another user's
            os.utime(entry.path)
    return values


def keep(entry: Entry | None, values: Array, warn: Callable[[str], None]) -> None:
    """Keep a window, whole or not at all; what cannot be kept is warned of once, and read on.

    Parameters
    ----------
    entry
        None: nothing is kept.
    values
        ``(y, x)``; not changed.
    warn
        Takes a sentence.
    """
    if entry is None or values.shape != entry.shape or not _writing.may(entry.settings.folder):
        return
    try:
        written = _write(entry, values)
    except OSError as error:
        folder = entry.settings.folder
        if _writing.refuse(folder):
            warn(
                f"the read cache {folder} ({FOLDER}) cannot be written "
                f"({error.strerror or type(error).__name__}), so pixels will come over the network "
                "again; name a folder of yours with space left, or unset the variable."
            )
        return
    if _writing.add(entry.settings, written):
        _tidy(entry.settings)


def _write(entry: Entry, values: Array) -> int:
    """Write an entry under another name, then give it its own; return its bytes."""
    entry.settings.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    entry.path.parent.mkdir(mode=0o700, exist_ok=True)
    content = _packed(entry, values)
    number, unfinished = tempfile.mkstemp(UNFINISHED, dir=entry.path.parent)
    try:
        with open(number, "wb") as file:
            file.writelines(content)
        os.replace(unfinished, entry.path)
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(unfinished)
        raise
    return sum(len(part) for part in content)


def _packed(entry: Entry, values: Array) -> tuple[bytes, bytes, bytes]:
    """Checksum, one line of JSON, and the numbers as a zstd frame."""
    from numcodecs.zstd import compress

    about = {"dtype": values.dtype.str, "shape": values.shape, "read": time.time()}
    line = json.dumps(about).encode() + b"\n"
    numbers = bytes(compress(np.ascontiguousarray(values), LEVEL))
    return _checksum(entry, line, numbers), line, numbers


def _checksum(entry: Entry, *parts: bytes | memoryview) -> bytes:
    """Hash of an entry and its name, so that none can pass for another."""
    hashed = hashlib.sha256(entry.path.name.encode())
    for part in parts:
        hashed.update(part)
    return hashed.digest()


def _unpacked(content: bytes, entry: Entry) -> Array | None:
    from numcodecs.zstd import decompress

    body = memoryview(content)[CHECKSUM_BYTES:]
    if content[:CHECKSUM_BYTES] != _checksum(entry, body):
        return None
    end = content.index(b"\n", CHECKSUM_BYTES) + 1
    about = json.loads(content[CHECKSUM_BYTES:end])
    # A clock may have been wrong when it was written: what is of the future is as old.
    is_old = abs(time.time() - about["read"]) > entry.settings.most_seconds
    if is_old or tuple(about["shape"]) != entry.shape:
        return None
    values: Array = np.empty(entry.shape, np.dtype(about["dtype"]))
    decompress(memoryview(content)[end:], values)
    return values


class _Writing:
    """What this process has written to each folder, and which of them it could not write."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.bytes: dict[Path, float] = {}
        self.rests: dict[Path, float] = {}

    def may(self, folder: Path) -> bool:
        return time.monotonic() >= self.rests.get(folder, 0.0)

    def refuse(self, folder: Path) -> bool:
        """Let a folder rest; True the first time."""
        with self.lock:
            is_first = folder not in self.rests
            self.rests[folder] = time.monotonic() + REST_SECONDS
            return is_first

    def add(self, asked: Settings, written: int) -> bool:
        """Count what was written; True if it is time to look at the whole folder."""
        with self.lock:
            # What others have left there is not known before the first look.
            total = self.bytes.get(asked.folder, math.inf) + written
            is_due = total > LOOK_SHARE * asked.most_bytes
            self.bytes[asked.folder] = 0.0 if is_due else total
            return is_due


_writing = _Writing()


def _tidy(asked: Settings) -> None:
    """Delete what is too old, and beyond the limit what has not been used longest.

    Several processes may do so at once: they delete the same.
    """
    now, total = time.time(), 0
    used, sizes = array.array("d"), array.array("q")  # a folder may hold a million
    for entry, stat in _files(asked.folder):
        is_unfinished = entry.name.endswith(UNFINISHED)
        if now - stat.st_mtime > (ABANDONED_SECONDS if is_unfinished else asked.most_seconds):
            _unlink(entry)
        elif not is_unfinished:
            used.append(stat.st_mtime)
            sizes.append(_size(stat))
            total += sizes[-1]
    excess = total - KEEP_SHARE * asked.most_bytes
    if total <= asked.most_bytes:
        return
    order = np.argsort(np.asarray(used))
    freed = np.cumsum(np.asarray(sizes)[order])
    last = used[order[min(int(np.searchsorted(freed, excess)), len(order) - 1)]]
    for entry, stat in _files(asked.folder):
        if excess > 0 and stat.st_mtime <= last and entry.name.endswith(SUFFIX):
            _unlink(entry)
            excess -= _size(stat)


def _files(folder: Path) -> Iterator[tuple[os.DirEntry[str], os.stat_result]]:
    """Go through the files that a cache has made: nothing else in the folder is touched."""
    ours = re.compile(rf"[0-9a-f]{{64}}{re.escape(SUFFIX)}|tmp\w+{re.escape(UNFINISHED)}")
    for group in _listed(folder):
        if not re.fullmatch("[0-9a-f]{2}", group.name) or not group.is_dir(follow_symlinks=False):
            continue
        for entry in _listed(group.path):
            if ours.fullmatch(entry.name):
                with contextlib.suppress(OSError):  # another process deleted it
                    yield entry, entry.stat(follow_symlinks=False)


def _listed(folder: Path | str) -> list[os.DirEntry[str]]:
    try:
        with os.scandir(folder) as entries:
            return list(entries)
    except OSError:
        return []


def _size(stat: os.stat_result) -> int:
    """Bytes that a file takes of its disk: more than it has, if it is small."""
    return max(stat.st_size, 512 * getattr(stat, "st_blocks", 0))


def _unlink(entry: os.DirEntry[str]) -> None:
    with contextlib.suppress(OSError):
        os.unlink(entry.path)
