"""Versions of an archive: listed, and cleaned away when they are old."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass

from gssm.archive.opening import BRANCH, Archive, open_repository
from gssm.archive.repository import locked
from gssm.archive.troubles import archiving, patiently
from gssm.errors import RequestError

# Versions stay readable for so long, and what no version needs any more stays for so long.
EXPIRY, GARBAGE = dt.timedelta(days=30), dt.timedelta(days=7)
# What a run has written but not committed yet looks like garbage.
LEAST_GARBAGE = dt.timedelta(days=1)


@dataclass(frozen=True)
class Version:
    """What the archive was at a time: id, time of the commit (UTC) and what it says."""

    id: str
    time: dt.datetime
    message: str


def versions(archive: Archive) -> list[Version]:
    """Versions of an archive that can be read, the newest first.

    Raises
    ------
    ArchiveError
        There is no archive, or the storage does not answer.
    """
    repository = open_repository(archive)
    with archiving(archive.url):
        found = patiently(lambda: list(repository.ancestry(branch=BRANCH)))
    return [Version(str(v.id), v.written_at, v.message) for v in found]


def expire(archive: Archive, older_than: dt.timedelta = EXPIRY) -> int:
    """Forget old versions, but never the newest; what they held goes with `collect_garbage`.

    Parameters
    ----------
    archive
        Which.
    older_than
        Age of a version.

    Returns
    -------
    int
        How many are forgotten.

    Raises
    ------
    RequestError
        The age is shorter than a day, in which a run may have begun on the version.
    ArchiveError
        The archive cannot be written.
    """
    until = _until(older_than, LEAST_GARBAGE)
    before = len(versions(archive))
    with archiving(archive.url), locked(archive.url):
        open_repository(archive).expire_snapshots(until)
    return before - len(versions(archive))


def collect_garbage(archive: Archive, older_than: dt.timedelta = GARBAGE) -> int:
    """Delete what no version needs: of expired versions, and of runs that were interrupted.

    Parameters
    ----------
    archive
        Which.
    older_than
        Age of what is deleted. What a run has written since it began its transaction would be
        deleted too, so it must be longer than any takes; at least a day.

    Returns
    -------
    int
        Bytes that were freed.

    Raises
    ------
    RequestError
        The age is shorter than a day.
    ArchiveError
        The archive cannot be written.
    """
    until = _until(older_than, LEAST_GARBAGE)
    with archiving(archive.url), locked(archive.url):
        return int(open_repository(archive).garbage_collect(until).bytes_deleted)


def _until(age: dt.timedelta, least: dt.timedelta) -> dt.datetime:
    if not isinstance(age, dt.timedelta) or age < least:
        raise RequestError(f"older_than={age!r} is too short; give {least.days} days or more.")
    return dt.datetime.now(dt.UTC) - age
