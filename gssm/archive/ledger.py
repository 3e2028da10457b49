"""What happened to each acquisition of a square: the rows, their bytes and their table."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, fields, replace
from hashlib import sha256
from typing import Any, Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from gssm.pairing import SAME_PASS

Status = Literal["done", "skipped", "failed"]
Index = tuple[int, int]

# Times that an acquisition is mapped again because some of it failed to be read.
MOST_TRIES = 3
# Ages of partners, of which a row has the mean.
AGES = ("s2_age", "landsat_age")


@dataclass(frozen=True)
class Row:
    """One acquisition over one square, and what became of it.

    Attributes
    ----------
    time
        Of its first slice over the square, whole seconds since 1970 (UTC).
    platform, relative_orbit, orbit_state
        Of Sentinel-1; an unknown orbit is -1, an unknown state empty.
    status, reason
        Done, skipped or failed, and why.
    radar, partners, elevation
        Ids of the items that it was made of.
    processed
        When the newest of the radar items was processed (digits; empty if unknown).
    model_sha256
        Of the model.
    coverage
        Chunks (row, column) of the square that were computed.
    provisional
        A better optical partner may still come.
    written
        When, ISO 8601, UTC.
    valued, failed
        Pixels with a value, and pixels flagged ``read_failed``.
    tries
        Times that it was mapped again because some of it had failed to be read.
    past
        Chunks of the coverage with references of the past, for a model that reads them.
    gssm_version
        What mapped it.
    s2_age, landsat_age
        Mean days from the radar to the optical images, over the pixels that have a value and
        an age; None where none has, or where an earlier gssm wrote the row.
    """

    time: int
    platform: str
    relative_orbit: int
    orbit_state: str
    status: Status = "done"
    reason: str = ""
    radar: tuple[str, ...] = ()
    partners: tuple[str, ...] = ()
    elevation: tuple[str, ...] = ()
    processed: str = ""
    model_sha256: str = ""
    coverage: tuple[Index, ...] = ()
    provisional: bool = False
    written: str = ""
    valued: int = 0
    failed: int = 0
    tries: int = 0
    past: int = 0
    gssm_version: str = ""
    s2_age: float | None = None
    landsat_age: float | None = None

    @property
    def key(self) -> str:
        """Name for people: time, platform and orbit."""
        moment = pd.Timestamp(self.time, unit="s")
        return f"{moment:%Y%m%dT%H%M%S}_{self.platform}_{self.relative_orbit:03d}"

    @property
    def digest(self) -> str:
        """Of the inputs that an archive gets ever newer ones of; the recipe is the archive's."""
        parts = (
            *(sorted(self.radar), sorted(self.partners), sorted(self.elevation)),
            *(self.processed, self.model_sha256, self.past),
        )
        return sha256(json.dumps(parts).encode()).hexdigest()


def is_same_pass(a: Row, b: Row) -> bool:
    """Tell whether two rows are of one acquisition, whichever slices were known of it.

    An orbit that is unknown may be any.
    """
    near = abs(a.time - b.time) <= SAME_PASS.total_seconds()
    orbits = {a.relative_orbit, b.relative_orbit}
    return near and a.platform == b.platform and (len(orbits) == 1 or -1 in orbits)


def is_same_map(new: Row, old: Row) -> bool:
    """Tell whether a row is of the same inputs, and of no chunk that the other lacks."""
    return new.digest == old.digest and set(new.coverage) <= set(old.coverage)


def find(rows: Iterable[Row], wanted: Row) -> Row | None:
    """Return the row of the same acquisition, if there is one."""
    return next((row for row in rows if is_same_pass(row, wanted)), None)


def why_not(new: Row, old: Row | None, *, replace_any: bool = False) -> str:
    """Say why an acquisition that is there is not replaced; empty if it is.

    The rule: what is there goes only where something better comes. In this order: the same
    inputs replace a map of which some pixels failed to be read, `MOST_TRIES` times; another
    model replaces only on request; radar of newer processing replaces older, never the other
    way; more of the square replaces less, unless partners were lost; more references of the
    past replace fewer; a provisional map is replaced when a partner came that it had not, a
    final one, or one with fewer slices, only when nothing is lost of what it had.
    """
    if old is None:
        return ""
    is_whole = set(new.coverage) <= set(old.coverage)
    if is_same_map(new, old):
        return "" if old.failed and old.tries < MOST_TRIES else "already there"
    if replace_any:
        return ""
    if new.model_sha256 != old.model_sha256:
        return "there by another model, which only replace=True (--replace) replaces"
    if new.processed != old.processed:
        newer = new.processed > old.processed
        return "" if newer else "there from a newer processing of the radar"
    had, has = set(old.partners), set(new.partners)
    if has < had:
        return "there with partners that are not listed any more"
    if not is_whole or new.past > old.past or set(old.radar) < set(new.radar):
        return ""
    if (not has <= had) if old.provisional else had < has:
        return ""
    return "there, and no input came that it had not"


def merged(new: Row, old: Row | None) -> Row:
    """Return the row with the chunks of the one that it replaces among its own."""
    if old is None:
        return new
    return replace(new, coverage=tuple(sorted({*new.coverage, *old.coverage})))


def to_bytes(rows: Sequence[Row]) -> NDArray[np.uint8]:
    """Rows as bytes: a line of JSON each."""
    lines = [json.dumps(_record(row), sort_keys=True) for row in sorted(rows, key=_order)]
    return np.frombuffer("\n".join(lines).encode(), np.uint8)


def from_bytes(content: NDArray[np.uint8]) -> list[Row]:
    """Rows of the bytes that `to_bytes` made; columns of a later version are left out."""
    return [_row(json.loads(line)) for line in content.tobytes().decode().splitlines() if line]


def as_frame(rows: Iterable[Row], square: str) -> pd.DataFrame:
    """Table of rows, ordered by time."""
    table = pd.DataFrame(
        [{**asdict(row), "square": square, "chunks": len(row.coverage)} for row in rows],
        columns=["square", *COLUMNS, "chunks"],
    ).drop(columns="coverage")
    table = table.astype(dict.fromkeys(AGES, float))  # None is NaN, also where no row has one
    table["time"] = pd.to_datetime(table["time"], unit="s")
    return table.sort_values(["time", "platform"], ignore_index=True)


def _record(row: Row) -> dict[str, Any]:
    """Return a row as JSON has it; its coverage as runs: row, first and last column."""
    runs: list[list[int]] = []
    for i, j in sorted(row.coverage):
        if runs and runs[-1][0] == i and runs[-1][2] == j - 1:
            runs[-1][2] = j
        else:
            runs.append([i, j, j])
    return {**asdict(row), "coverage": runs}


def _order(row: Row) -> tuple[Any, ...]:
    return row.time, row.platform, row.relative_orbit


COLUMNS = tuple(field.name for field in fields(Row))


def _row(record: dict[str, Any]) -> Row:
    known: dict[str, Any] = {name: record[name] for name in COLUMNS if name in record}
    for name in ("radar", "partners", "elevation"):
        known[name] = tuple(known.get(name, ()))
    runs = known.get("coverage", ())
    known["coverage"] = tuple((i, j) for i, first, last in runs for j in range(first, last + 1))
    return Row(**known)
