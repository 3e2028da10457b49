"""An archive as it was at one moment: its squares, their arrays and their ledgers."""

from __future__ import annotations

import datetime as dt
import os
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
import zarr

from gssm.archive import groups
from gssm.archive.acquisitions import DONE
from gssm.archive.ledger import Index, from_bytes
from gssm.archive.opening import Archive, find_archive, open_repository, read_session
from gssm.archive.storage import environment_key
from gssm.archive.tiles import Square, parse, squares_over
from gssm.archive.troubles import archiving


@dataclass(frozen=True)
class Snapshot:
    """One version of an archive: small, without credentials, the same in every process.

    Parameters
    ----------
    archive
        Which.
    id
        Of the version.
    """

    archive: Archive
    id: str

    @property
    def root(self) -> zarr.Group:
        """Root group, opened once by each process."""
        return _root(self.archive.url, self.id, os.getpid(), environment_key())

    def array(self, square: Square, name: str) -> zarr.Array[Any]:
        """Return an array of a square as it is stored, opened once by each process."""
        path = f"{square.group}/{name}"
        return _array(self.archive.url, self.id, path, os.getpid(), environment_key())


def open_snapshot(
    url: str | os.PathLike[str], version: str | dt.datetime | None = None
) -> Snapshot:
    """Find a version of an archive.

    Parameters
    ----------
    url
        Of the archive.
    version
        Id of a version, a tag, or a time (UTC) for what was there then; by default the newest.

    Raises
    ------
    RequestError
        `version` is none of these.
    ArchiveError
        There is no archive or no such version, or it cannot be read.
    """
    archive = find_archive(url)
    repository = open_repository(archive)
    with archiving(archive.url):
        if isinstance(version, str) and version in repository.list_tags():
            version = repository.lookup_tag(version)
        return Snapshot(archive, str(read_session(archive, version).snapshot_id))


@lru_cache(maxsize=16)
def _root(url: str, snapshot: str, process: int, environment: int) -> zarr.Group:
    with archiving(url):
        return zarr.open_group(read_session(url, snapshot).store, mode="r")


@lru_cache(maxsize=16_384)
def _array(url: str, snapshot: str, path: str, process: int, environment: int) -> zarr.Array[Any]:
    with archiving(url):
        return groups.array(_root(url, snapshot, process, environment), path)


def squares_in(snapshot: Snapshot, area: Any = None) -> list[Square]:
    """Return the squares that have dates, in an area (as of `squares_over`) or at all."""
    root = snapshot.root
    with archiving(snapshot.archive.url):
        if area is None:
            zones = [(name, group) for name, group in root.groups()]
            every = [parse(f"{zone}{name}") for zone, g in zones for name, _ in g.groups()]
        else:
            every = [square for square in squares_over(area) if square.group in root]
        return [square for square in sorted(every) if snapshot.array(square, "time").shape[0]]


def coverage(snapshot: Snapshot, square: Square) -> dict[int, frozenset[Index]]:
    """Chunks of a square that were computed, by the stored time of the date."""
    with archiving(snapshot.archive.url):
        rows = from_bytes(np.asarray(snapshot.array(square, DONE)[...], np.uint8))
    return {row.time: frozenset(row.coverage) for row in rows}
