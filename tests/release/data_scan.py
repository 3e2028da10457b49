"""Search of files for values and pixels of the real test data, in whatever they are packed.

Bytes are compared by a 64-bit hash of every run of 32 bytes, from every byte on, so that neither
an offset nor a header hides a copy; text by the decimal numbers in it. Not seen: numbers that
were scaled, shuffled or encrypted, text in base64, integers written as text, fewer values in a row
than a window has. `data_prints` makes the prints that are searched for.
"""

from __future__ import annotations

import gzip
import hashlib
import io
import re
import tarfile
import warnings
import zipfile
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

Hashes = NDArray[np.uint64]

WINDOW = 32  # bytes: 8 values of float32, 4 of float64, 16 pixels of 16 bits
RUN = 8  # numbers in a row, in text
STRIDES = range(1, 9)  # a number, then those of up to 7 other columns
DECIMALS = (3, 6)  # as they may have been written
NUMBER = re.compile(rb"-?\d*\.\d+(?:[eE][-+]?\d+)?")
PLACE_DECIMALS = 4
TABLE = 22  # bits
_SHIFT = np.uint64(64 - TABLE)
_BASE = 0x9E3779B97F4A7C15
_MASK = (1 << 64) - 1


@dataclass(frozen=True, eq=False)
class Known:
    """Hashes to be found again: sorted, and a table of their first `TABLE` bits."""

    hashes: Hashes
    table: NDArray[np.bool_]

    @classmethod
    def of(cls, hashes: Hashes) -> Known:
        """Take hashes in any order."""
        table = np.zeros(1 << TABLE, bool)
        table[hashes >> _SHIFT] = True
        return cls(np.unique(hashes), table)

    def among(self, hashes: Hashes) -> NDArray[np.intp]:
        """Return the places of those that are known."""
        at = np.flatnonzero(self.table[hashes >> _SHIFT])
        places = np.searchsorted(self.hashes, hashes[at]).clip(max=self.hashes.size - 1)
        return at[self.hashes[places] == hashes[at]]


@dataclass(frozen=True, eq=False)
class Prints:
    """What is searched for.

    Parameters
    ----------
    files
        Names of the real files, by SHA-256.
    bytes_of
        Kind of data: hashes of `WINDOW` bytes of it.
    text_of
        Decimals: hashes of `RUN` numbers rounded to them.
    places
        Latitude and longitude of stations, rounded to `PLACE_DECIMALS`.
    """

    files: dict[str, str]
    bytes_of: dict[str, Known]
    text_of: dict[int, Known]
    places: frozenset[tuple[float, float]]


@dataclass(frozen=True)
class Finding:
    """A piece of real data in a file: its kind, and the byte or the number where it begins."""

    file: str
    kind: str
    at: int


def byte_hashes(data: bytes | NDArray[Any], length: int = WINDOW) -> Hashes:
    """Hash of the `length` bytes (a power of two) from each byte on, along the last axis."""
    codes = np.frombuffer(data, np.uint8) if isinstance(data, bytes) else data.view(np.uint8)
    return _runs(codes.astype(np.uint64) + np.uint64(1), length)


def text_hashes(values: NDArray[np.float64], decimals: int) -> Hashes:
    """Hash of the `RUN` numbers from each one on, rounded, along the last axis."""
    words = np.round(values * 10**decimals).astype(np.int64).view(np.uint64)
    # Small integers are spread over all bits first.
    words = (words ^ (words >> np.uint64(31))) * np.uint64(0xBF58476D1CE4E5B9)
    return _runs(words ^ (words >> np.uint64(29)), RUN)


def _runs(words: Hashes, length: int) -> Hashes:
    """Polynomials of `length` neighbours: twice as many by every step."""
    step, power = 1, _BASE
    while step < length:
        words = words[..., :-step] * np.uint64(power) + words[..., step:]
        step, power = 2 * step, power * power & _MASK
    return words


def is_varied(windows: NDArray[Any], least: int = 5) -> NDArray[np.bool_]:
    """Tell windows (n, values) that can be of nobody else: different values, up and down."""
    steps = np.diff(windows.astype(np.float64), axis=1)
    up, down = np.count_nonzero(steps > 0, axis=1), np.count_nonzero(steps < 0, axis=1)
    return np.asarray((up > 0) & (down > 0) & (up + down >= least) & np.isfinite(steps).all(axis=1))


def unpacked(name: str, data: bytes) -> Iterator[tuple[str, bytes]]:
    """Give a file, and what is packed in it: members, columns, pixels; in them, too."""
    yield name, data
    for inner, content in _members(data):
        yield from unpacked(f"{name}!{inner}", content)


def _members(data: bytes) -> Iterable[tuple[str, bytes]]:
    if data[:4] == b"PK\x03\x04":
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            return [(m, archive.read(m)) for m in archive.namelist() if not m.endswith("/")]
    if data[:2] == b"\x1f\x8b":
        return [("content", gzip.decompress(data))]
    if data[257:262] == b"ustar":
        with tarfile.open(fileobj=io.BytesIO(data)) as archive:
            members = [member for member in archive if member.isfile()]
            return [(m.name, archive.extractfile(m).read()) for m in members]  # type: ignore[union-attr]
    if data[:4] == b"PAR1":
        return _columns(data)
    if data[:4] in (b"II*\0", b"MM\0*", b"\x89PNG"):
        return _pixels(data)
    return ()


def _columns(data: bytes) -> list[tuple[str, bytes]]:
    """Columns of numbers of a Parquet file."""
    import pyarrow.parquet as parquet

    table = parquet.read_table(io.BytesIO(data)).to_pandas()
    return [(n, c.to_numpy().tobytes()) for n, c in table.select_dtypes("number").items()]


def _pixels(data: bytes) -> list[tuple[str, bytes]]:
    """Bands of an image, as they are, row by row."""
    import rasterio

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", rasterio.errors.NotGeoreferencedWarning)
        return _bands(data)


def _bands(data: bytes) -> list[tuple[str, bytes]]:
    import rasterio

    with rasterio.MemoryFile(data) as memory, memory.open() as image:
        return [(f"band {n}", image.read(n).tobytes()) for n in image.indexes]


def findings(name: str, data: bytes, prints: Prints) -> list[Finding]:
    """Search a file, and all that is packed in it."""
    found: list[Finding] = []
    for inner, content in unpacked(name, data):
        found += _copies(inner, content, prints)
        found += _byte_runs(inner, content, prints)
        if _is_text(content):
            found += _text_runs(inner, content, prints)
    return found


def _is_text(data: bytes) -> bool:
    head = data[:4096]
    # A letter of several bytes may be cut at the end.
    return b"\0" not in head and len(head.decode("utf-8", "ignore").encode()) > len(head) - 4


def _copies(name: str, data: bytes, prints: Prints) -> list[Finding]:
    known = prints.files.get(hashlib.sha256(data).hexdigest())
    return [Finding(name, f"copy of {known}", 0)] if known else []


def _byte_runs(name: str, data: bytes, prints: Prints) -> list[Finding]:
    if len(data) < WINDOW:
        return []
    hashes = byte_hashes(data)
    first = {kind: known.among(hashes) for kind, known in prints.bytes_of.items()}
    return [Finding(name, kind, int(at[0])) for kind, at in first.items() if at.size]


def _text_runs(name: str, data: bytes, prints: Prints) -> list[Finding]:
    numbers = np.array([float(n) for n in NUMBER.findall(data)])
    numbers = numbers[np.abs(numbers) < 1e9]
    found = [Finding(name, "place of a station", at) for at in _places(numbers, prints)[:1]]
    for decimals, known in prints.text_of.items():
        for stride in STRIDES:
            for start in range(stride):
                column = numbers[start::stride]
                if column.size >= RUN:
                    at = known.among(text_hashes(column, decimals))
                    if at.size:
                        return [*found, Finding(name, "values as text", int(at[0]))]
    return found


def _places(numbers: NDArray[np.float64], prints: Prints) -> list[int]:
    rounded = np.round(numbers, PLACE_DECIMALS).tolist()
    pairs = enumerate(pairwise(rounded))
    return [n for n, (a, b) in pairs if {(a, b), (b, a)} & prints.places]
