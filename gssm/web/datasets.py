"""Datasets: archives served under a name, each as it was at one moment, and their dates."""

from __future__ import annotations

import logging
import re
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from gssm.archive.groups import ALONG_TIME
from gssm.archive.snapshots import Snapshot, open_snapshot, squares_in
from gssm.archive.tiles import Square
from gssm.archive.timeline import Timeline, read_timeline
from gssm.archive.troubles import archiving
from gssm.errors import ArchiveError, GssmError, RequestError
from gssm.request import Bbox
from gssm.web import extents
from gssm.web.dates import DAY, LATEST, PASS, PassRecord, UnknownDateError, dates_of, find_date
from gssm.web.extents import held

__all__ = [
    "LATEST",
    "Dataset",
    "Datasets",
    "PassRecord",
    "UnknownDatasetError",
    "UnknownDateError",
    "UnknownVersionError",
    "dates_of",
    "find_date",
    "open_dataset",
]

Kind = Literal["archive", "job"]
# Of a dataset, as part of an address.
ID = re.compile(r"[a-z0-9][a-z0-9_-]{0,63}")
TRUE_COLOR = "true_color"
# Versions of a dataset that stay at hand, for maps that were opened before the newest came.
VERSIONS = 8

log = logging.getLogger(__name__)


class UnknownDatasetError(GssmError, LookupError):
    """There is no dataset of that name."""


class UnknownVersionError(GssmError, LookupError):
    """A dataset has no such version at hand."""


@dataclass(frozen=True, eq=False)
class Dataset:
    """One version of an archive under its public name.

    Parameters
    ----------
    id, title
        Names: for addresses, for people.
    kind
        An archive, or the result of a prediction, which is a small one.
    url
        Of the archive; not for the public.
    snapshot
        The version.
    squares
        Those that have dates, in order.
    timeline
        Passes over all of them.
    """

    id: str
    title: str
    kind: Kind
    url: str
    snapshot: Snapshot
    squares: tuple[Square, ...]
    timeline: Timeline

    @property
    def version(self) -> str:
        """Id of the snapshot."""
        return self.snapshot.id

    @cached_property
    def ids(self) -> tuple[str, ...]:
        """Names of the passes, in order of time."""
        return tuple(self.timeline.times.strftime(PASS))

    @cached_property
    def numbers(self) -> dict[str, tuple[int, ...]]:
        """Numbers of passes by the names of passes and of days, in order of time."""
        found: dict[str, tuple[int, ...]] = {}
        for number, day in enumerate(self.timeline.times.strftime(DAY)):
            found[self.ids[number]] = (number,)
            found[day] = (*found.get(day, ()), number)
        return found

    @cached_property
    def order(self) -> dict[Square, int]:
        """Number of each square."""
        return {square: number for number, square in enumerate(self.squares)}

    @cached_property
    def coordinates(self) -> dict[str, NDArray[Any]]:
        """Orbit and platform of each pass, in words."""
        return self.timeline.coordinates()

    @property
    def start(self) -> pd.Timestamp | None:
        """Time of the first pass, UTC."""
        return self.timeline.times[0] if self.ids else None

    @property
    def end(self) -> pd.Timestamp | None:
        """Time of the last pass, UTC."""
        return self.timeline.times[-1] if self.ids else None

    @cached_property
    def boxes(self) -> NDArray[np.float64]:
        """West, south, east and north of each square in degrees, west < east; (squares, 4)."""
        return np.array([extents.box(square) for square in self.squares]).reshape(-1, 4)

    @cached_property
    def footprint(self) -> dict[str, Any]:
        """GeoJSON MultiPolygon of the chunks that were computed on any date."""
        computed = {square: held(self.snapshot, square).chunks for square in self.squares}
        return extents.footprint(computed, self.snapshot.archive.chunk)

    @cached_property
    def bbox(self) -> Bbox | None:
        """West, south, east and north of the footprint in degrees; None if there is none."""
        return extents.bounds(self.footprint)

    @cached_property
    def minzoom(self) -> int:
        """Lowest zoom of tiles: no tile shows more than `extents.MOST_SQUARES` squares."""
        return extents.lowest_zoom(self.boxes)

    @cached_property
    def maxzoom(self) -> int:
        """Highest zoom that shows more: a pixel of a tile is no larger than the archive's."""
        return max(self.minzoom, extents.native_zoom(self.boxes))

    @cached_property
    def true_color(self) -> frozenset[Square]:
        """Squares that have an image in true colour."""
        root = self.snapshot.root
        with archiving(self.snapshot.archive.url):
            return frozenset(s for s in self.squares if f"{s.group}/{TRUE_COLOR}" in root)


def open_dataset(id: str, url: str, title: str = "", kind: Kind = "archive") -> Dataset:
    """Open the newest version of an archive as a dataset.

    Raises
    ------
    ArchiveError
        There is no archive, or it cannot be read.
    """
    return _at(open_snapshot(url), id, url, title or id, kind)


def _at(snapshot: Snapshot, id: str, url: str, title: str, kind: Kind) -> Dataset:
    squares = tuple(squares_in(snapshot))
    if squares:
        timeline = read_timeline(snapshot, squares)
    else:
        columns = {name: np.empty(0, dtype) for name, (dtype, _) in ALONG_TIME.items()}
        timeline = Timeline(pd.DataFrame(columns), np.empty((0, 0), np.int64))
    return Dataset(id, title, kind, url, snapshot, squares, timeline)


@dataclass
class _Entry:
    """A dataset that is served: its versions at hand, the newest last."""

    id: str
    url: str
    title: str
    kind: Kind
    versions: dict[str, Dataset] = field(default_factory=dict)
    looked: float = -np.inf
    lock: threading.Lock = field(default_factory=threading.Lock)


class Datasets:
    """The datasets that are served, by name; for many threads.

    The newest version of each is looked for when somebody asks, at most every so many seconds.
    Where that fails, what is at hand is served.

    Parameters
    ----------
    archives
        Address of each archive, by the name of its dataset.
    refresh_seconds
        Between two looks for a newer version.
    """

    def __init__(self, archives: Mapping[str, str], refresh_seconds: float = 30.0) -> None:
        self._refresh = refresh_seconds
        self._lock = threading.Lock()
        self._entries: dict[str, _Entry] = {}
        for id, url in archives.items():
            self.add(id, url)

    def add(self, id: str, url: str, title: str = "", kind: Kind = "archive") -> None:
        """Serve an archive under a name; it is opened when somebody asks.

        Raises
        ------
        RequestError
            The name is none, or taken.
        """
        if not ID.fullmatch(id):
            raise RequestError(
                f"dataset name {id!r} cannot be part of an address; use up to 64 small letters, "
                "digits, - and _, and begin with a letter or digit."
            )
        with self._lock:
            if id in self._entries:
                raise RequestError(f"dataset {id} is there already; choose another name.")
            self._entries[id] = _Entry(id, url, title or id, kind)

    def remove(self, id: str) -> None:
        """Serve a dataset no longer.

        Raises
        ------
        UnknownDatasetError
            There is none.
        """
        with self._lock:
            if self._entries.pop(id, None) is None:
                raise _unknown(id)

    def __contains__(self, id: str) -> bool:
        with self._lock:
            return id in self._entries

    def get(self, id: str, version: str | None = None) -> Dataset:
        """Return a dataset.

        Parameters
        ----------
        id
            Its name.
        version
            One of those at hand; by default the newest.

        Raises
        ------
        UnknownDatasetError
            There is none of that name.
        UnknownVersionError
            That version is not at hand.
        ArchiveError
            Its archive cannot be read.
        """
        with self._lock:
            entry = self._entries.get(id)
        if entry is None:
            raise _unknown(id)
        found = entry.versions.get(version) if version is not None else None
        if found is not None:
            return found
        newest = self._newest(entry)
        if version is not None and version != newest.version:
            raise UnknownVersionError(
                f"dataset {id} has no version {version} any more; use its newest."
            )
        return newest

    def list(self) -> list[Dataset]:
        """Return every dataset that can be read, by name."""
        with self._lock:
            entries = [self._entries[id] for id in sorted(self._entries)]
        found = []
        for entry in entries:
            try:
                found.append(self._newest(entry))
            except ArchiveError as error:
                log.warning("dataset %s is left out: %s", entry.id, error)
        return found

    def _newest(self, entry: _Entry) -> Dataset:
        """Newest version; while one thread looks for it, others take what is at hand."""
        at_hand = entry.versions
        if not at_hand:
            entry.lock.acquire()
        elif not self._is_due(entry) or not entry.lock.acquire(blocking=False):
            return _last(at_hand)
        try:
            if not entry.versions or self._is_due(entry):
                _look(entry)
            return _last(entry.versions)
        finally:
            entry.lock.release()

    def _is_due(self, entry: _Entry) -> bool:
        return time.monotonic() - entry.looked >= self._refresh


def _look(entry: _Entry) -> None:
    try:
        snapshot = open_snapshot(entry.url)
        opened = entry.versions.get(snapshot.id) or _at(
            snapshot, entry.id, entry.url, entry.title, entry.kind
        )
        # Never changed in place: others read it meanwhile.
        others = [(id, old) for id, old in entry.versions.items() if id != snapshot.id]
        entry.versions = dict([*others, (snapshot.id, opened)][-VERSIONS:])
    except ArchiveError as error:
        if not entry.versions:
            raise
        log.warning("dataset %s stays as it was: %s", entry.id, error)
    entry.looked = time.monotonic()


def _last(versions: Mapping[str, Dataset]) -> Dataset:
    return list(versions.values())[-1]


def _unknown(id: str) -> UnknownDatasetError:
    return UnknownDatasetError(
        f"there is no dataset {id!r}; choose one that the list of datasets has."
    )
