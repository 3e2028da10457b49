"""Archives found and opened: which one, and a session on one of its versions."""

from __future__ import annotations

import datetime as dt
import os
import re
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from gssm.archive.places import ZARR_MARKERS
from gssm.archive.storage import Place, environment_key, parse_place, quiet, storage
from gssm.archive.troubles import archiving, patiently
from gssm.errors import ArchiveError, RequestError

if TYPE_CHECKING:
    import icechunk

FORMAT = 1
FORMAT_ATTR, CHUNK_ATTR = "gssm_archive_format", "chunk"
BRANCH = "main"
VERSION = re.compile(r"[0-9A-HJKMNP-TV-Z]{20}")


@dataclass(frozen=True)
class Archive:
    """An archive that exists; small, and without credentials.

    Parameters
    ----------
    url
        Absolute path of a local folder, or ``s3://``, ``gs://`` or ``az://`` address.
    chunk
        Side of its chunks in pixels.
    """

    url: str
    chunk: int = 1000


def root_attrs(store: icechunk.IcechunkStore) -> dict[str, Any] | None:
    """Attributes of the root, None if it has none yet."""
    import zarr
    from zarr.errors import GroupNotFoundError

    try:
        return dict(zarr.open_group(store, mode="r").attrs)
    except (FileNotFoundError, GroupNotFoundError):
        return None


def of_something_else(url: str) -> ArchiveError:
    """Return the error of a repository that is no archive of gssm."""
    return ArchiveError(
        f"archive {url}: it is an icechunk repository, but not one of gssm; check the address."
    )


def archive_exists(url: str | os.PathLike[str]) -> bool:
    """Tell whether there is an archive, or another icechunk repository, at a place.

    Raises
    ------
    ArchiveError
        The storage does not answer, or denies access.
    """
    place = parse_place(url)
    with archiving(place.url):
        return open_at(place.url) is not None


def find_archive(url: str | os.PathLike[str]) -> Archive:
    """Return the archive at a place.

    Raises
    ------
    ArchiveError
        There is none, it is of another format version, or the storage does not answer.
    """
    place = parse_place(url)
    with archiving(place.url):
        attrs = root_attrs(read_session(place.url).store) or {}
    if FORMAT_ATTR not in attrs:
        raise of_something_else(place.url)
    if attrs[FORMAT_ATTR] != FORMAT:
        raise ArchiveError(
            f"archive {place.url}: its format is version {attrs[FORMAT_ATTR]}, this gssm knows "
            f"version {FORMAT}; install the gssm that wrote it."
        )
    return Archive(place.url, int(attrs[CHUNK_ATTR]))


def open_repository(archive: Archive | str) -> icechunk.Repository:
    """Open the repository of an archive; the same one for each call of a process.

    Use `read_session` and `write_session` to read and write: with a session of the repository
    itself a passing trouble of the storage looks as if a group did not exist.

    Raises
    ------
    ArchiveError
        There is none, or the storage does not answer.
    """
    place = parse_place(archive.url if isinstance(archive, Archive) else archive)
    refuse_forked(place.url)
    with archiving(place.url):
        return _opened(place.url, os.getpid(), environment_key())


# Threads of icechunk, which a process that is forked from one that used it has not: it would
# wait for them for ever.
_threads = {"started": False, "lost": False}
os.register_at_fork(after_in_child=lambda: _threads.update(lost=_threads["started"]))


def refuse_forked(url: str) -> None:
    """Refuse to open an archive in a process forked from one that had opened one."""
    if _threads["lost"]:
        raise ArchiveError(
            f"archive {url}: this process was forked from one that had opened an archive; start "
            'processes with multiprocessing.get_context("spawn").'
        )


@lru_cache(maxsize=16)
def _opened(url: str, process: int, environment: int) -> icechunk.Repository:
    repository = open_at(url)
    if repository is None:
        raise ArchiveError(_absent(parse_place(url)))
    return repository


def open_at(url: str) -> icechunk.Repository | None:
    """Open the repository at a place, if there is one."""
    import icechunk

    place = parse_place(url)
    refuse_forked(place.url)
    _threads["started"] = True
    quiet()
    if place.folder is not None and not (place.folder / "refs").is_dir():
        return None  # icechunk would make the folder
    where = storage(url)
    # Its answer says what is wrong; that to `open`, which asks for a head, does not.
    if not patiently(lambda: icechunk.Repository.exists(where)):
        return None
    return patiently(lambda: icechunk.Repository.open(where))


def _absent(place: Place) -> str:
    if place.folder and any((place.folder / name).exists() for name in ZARR_MARKERS):
        return f"archive {place.url}: it is a plain Zarr store; open it with xarray.open_zarr."
    return f"archive {place.url}: there is none; check the address, or create it first."


def write_session(archive: Archive | str) -> icechunk.Session:
    """Begin a transaction on the newest version of an archive.

    Raises
    ------
    ArchiveError
        There is no archive, or the storage does not answer.
    """
    url = archive.url if isinstance(archive, Archive) else archive
    repository = open_repository(archive)
    with archiving(url):
        session = patiently(lambda: repository.writable_session(BRANCH))
        fetch(repository, session.snapshot_id)
    return session


def read_session(
    archive: Archive | str, version: str | dt.datetime | None = None
) -> icechunk.Session:
    """Open one version of an archive to read; it stays as it is.

    Parameters
    ----------
    archive
        Which.
    version
        Id of a version; or a time, UTC where it has no zone: the newest version until then.
        None: the newest.

    Raises
    ------
    ArchiveError
        There is no archive or no such version, or the storage does not answer.
    RequestError
        `version` is neither an id nor a time.
    """
    url = archive.url if isinstance(archive, Archive) else archive
    chosen = _chosen(version)
    repository = open_repository(archive)
    with archiving(url):
        session = patiently(lambda: repository.readonly_session(**chosen))
        fetch(repository, session.snapshot_id)
    return session


def _chosen(version: str | dt.datetime | None) -> dict[str, Any]:
    if version is None:
        return {"branch": BRANCH}
    if isinstance(version, str) and VERSION.fullmatch(version):
        return {"snapshot_id": version}
    try:
        time = dt.datetime.fromisoformat(version) if isinstance(version, str) else version
        time = time if time.tzinfo else time.replace(tzinfo=dt.UTC)
    except (ValueError, AttributeError) as error:
        raise RequestError(
            f"version {version!r} is neither the id of a version nor a time; give one that "
            "`versions` lists, or 2026-07-01T12:00."
        ) from error
    return {"branch": BRANCH, "as_of": time}


def fetch(repository: icechunk.Repository, version: str) -> None:
    """Read the groups and arrays of a version into memory, or say that it is impossible.

    Read by zarr, what the storage does not give is taken for what does not exist.
    """
    patiently(lambda: repository.lookup_snapshot(version))
