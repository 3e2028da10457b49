"""The repository of an archive: made once, opened often, committed to by many at once."""

from __future__ import annotations

import contextlib
import fcntl
import os
import random
import shutil
import time
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from gssm.archive.encoding import product_attrs
from gssm.archive.opening import (
    BRANCH,
    CHUNK_ATTR,
    FORMAT,
    FORMAT_ATTR,
    Archive,
    archive_exists,
    fetch,
    find_archive,
    of_something_else,
    open_at,
    open_repository,
    read_session,
    root_attrs,
    write_session,
)
from gssm.archive.overviews import PIXELS
from gssm.archive.places import ZARR_MARKERS
from gssm.archive.storage import Place, parse_place, quiet, storage
from gssm.archive.troubles import ATTEMPTS, archiving, is_transient, patiently, wait
from gssm.errors import ArchiveError, RequestError, SquareConflict

if TYPE_CHECKING:
    import icechunk

__all__ = [
    "Archive",
    "SquareConflict",
    "archive_exists",
    "archiving",
    "commit",
    "create_archive",
    "find_archive",
    "open_repository",
    "read_session",
    "storage",
    "write_session",
]

# Dates in one file of the table of chunks, of which a commit rewrites the last.
DATES_PER_MANIFEST = 64
LOCK, LOCK_SECONDS = ".gssm-lock", 600.0
CREATION_LOOKS = 4
MOST_REBASES = 1000
JOB = "gssm_job"


def create_archive(url: str | os.PathLike[str], *, chunk: int = 1000) -> Archive:
    """Make an archive, or find the one that is there.

    Two processes may do so at once. A local archive appears whole; behind a URL, one whose
    making was interrupted is finished by the next call.

    Parameters
    ----------
    url
        Folder, which must be empty or absent, or ``s3://bucket/prefix``, ``gs://…``, ``az://…``.
    chunk
        Side of the chunks in pixels; it divides 10 000.

    Raises
    ------
    ArchiveError
        Something else lies there, an archive with other chunks, or it cannot be written.
    RequestError
        No such address or chunk.
    """
    place = parse_place(url)
    if isinstance(chunk, bool) or not isinstance(chunk, int) or chunk <= 0 or PIXELS % chunk:
        raise RequestError(f"chunk={chunk!r} does not divide {PIXELS} pixels; give 1000, say.")
    with archiving(place.url):
        if place.folder is None:
            patiently(lambda: _make(place, chunk))
        elif not archive_exists(place.url):
            _make_folder(place.folder, chunk)
    found = find_archive(place.url)
    if found.chunk != chunk:
        raise ArchiveError(
            f"archive {place.url}: it has chunks of {found.chunk} pixels, not {chunk}; choose "
            f"another place or chunk={found.chunk}."
        )
    return found


def _make(place: Place, chunk: int) -> None:
    import icechunk
    import zarr

    quiet()
    repository = _open_or_create(place)
    session = repository.writable_session(BRANCH)
    fetch(repository, session.snapshot_id)
    if root_attrs(session.store) is not None:
        return
    if len(list(repository.ancestry(branch=BRANCH))) > 1:
        raise of_something_else(place.url)
    attrs = {FORMAT_ATTR: FORMAT, CHUNK_ATTR: chunk, **product_attrs()}
    zarr.create_group(session.store, attributes=attrs)
    # Where another process was faster, its archive is as good.
    with contextlib.suppress(icechunk.ConflictError):
        session.commit("archive")


def _open_or_create(place: Place) -> icechunk.Repository:
    import icechunk

    found = open_at(place.url)
    if found is not None:
        return found
    try:
        return icechunk.Repository.create(storage(place.url), config=_config())
    except icechunk.IcechunkError:
        # Another process may be at it, or it was made and the answer was lost.
        for attempt in range(CREATION_LOOKS):
            found = open_at(place.url)
            if found is not None:
                return found
            wait(attempt)
        raise


def _make_folder(folder: Path, chunk: int) -> None:
    """Make an archive beside its place and move it there, whole."""
    _refuse_other(folder)
    folder.parent.mkdir(parents=True, exist_ok=True)
    partial = folder.with_name(f".{folder.name}.partial-{uuid.uuid4().hex[:12]}")
    try:
        _make(parse_place(partial), chunk)
        (partial / LOCK).touch()
        partial.rename(folder)
    except OSError:
        if not archive_exists(folder):  # by another process, meanwhile
            raise
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def _refuse_other(folder: Path) -> None:
    """Refuse a place that holds something."""
    if not folder.exists() or (folder.is_dir() and not any(folder.iterdir())):
        return
    is_zarr = any((folder / name).exists() for name in ZARR_MARKERS)
    what = "a Zarr store" if is_zarr else "a file" if folder.is_file() else "something else"
    raise ArchiveError(f"archive {folder}: {what} lies there already; choose an empty place.")


def _config() -> icechunk.RepositoryConfig:
    """Return how a repository is kept; it is saved in it, for every other reader and writer."""
    import icechunk

    dimension = icechunk.ManifestSplitDimCondition.DimensionName("^time$")
    every = icechunk.ManifestSplitCondition.AnyArray()
    splitting = icechunk.ManifestSplittingConfig(((every, ((dimension, DATES_PER_MANIFEST),)),))
    config = icechunk.RepositoryConfig.default()
    config.manifest = icechunk.ManifestConfig(splitting=splitting)
    return config


def commit(session: icechunk.Session, archive: Archive, message: str) -> str:
    """Commit a session to the archive, after whatever others committed meanwhile.

    Passing troubles of the storage are waited for. A commit that was carried out though its
    answer was lost is found again by its number, and not made twice. Commits to a local
    folder take turns by a lock on a file in it, which ends with the process that holds it; on
    a network disk that needs one which knows locks (NFS 4).

    Parameters
    ----------
    session
        Of `write_session`, with the changes.
    archive
        The archive that it is of.
    message
        What the version says of itself.

    Returns
    -------
    str
        Id of the new version.

    Raises
    ------
    SquareConflict
        Another writer changed the same square; the session can be read still.
    ArchiveError
        The storage fails for good; if it did so just after the commit, the version may be there.
    """
    import icechunk

    repository, job, base = open_repository(archive), uuid.uuid4().hex, session.snapshot_id
    attempt = rebases = 0
    with archiving(archive.url), locked(archive.url):
        while True:
            try:
                return str(session.commit(message, {JOB: job}))
            except icechunk.ConflictError:
                rebases += 1
                if rebases > MOST_REBASES:
                    raise
                found = _rebase(session, repository, job, base, message)
            except icechunk.IcechunkError as error:
                found = _after(error, repository, job, base, attempt)
                attempt += 1
            if found is not None:
                return found


def _after(
    error: icechunk.IcechunkError,
    repository: icechunk.Repository,
    job: str,
    base: str,
    attempt: int,
) -> str | None:
    """Look what became of a commit that failed; None to try again, after a while."""
    import icechunk

    try:
        found = _landed(repository, job, base)
    except icechunk.IcechunkError as second:
        if attempt == ATTEMPTS - 1 or not is_transient(second):
            raise
        found = None
    else:
        if found is None and (attempt == ATTEMPTS - 1 or not is_transient(error)):
            raise error
    if found is None:
        wait(attempt)
    return found


def _rebase(
    session: icechunk.Session, repository: icechunk.Repository, job: str, base: str, message: str
) -> str | None:
    """Put a session on top of what others committed; the id where it is among that itself."""
    import icechunk

    # First, as icechunk would try to put our own changes on top of themselves.
    found = _landed(repository, job, base)
    if found is not None:
        return found
    try:
        patiently(lambda: session.rebase(icechunk.ConflictDetector()))
    except icechunk.RebaseFailedError as error:
        raise SquareConflict(
            f"another run changed the same square meanwhile ({message}); run again."
        ) from error
    return None


def _landed(repository: icechunk.Repository, job: str, base: str) -> str | None:
    """Id of the version that a commit made though its answer was lost."""

    def look() -> str | None:
        for version in repository.ancestry(branch=BRANCH):
            if version.metadata.get(JOB) == job:
                return str(version.id)
            if version.id == base:
                break
        return None

    return patiently(look)


@contextlib.contextmanager
def locked(url: str) -> Iterator[None]:
    """Let one process at a time change a local folder, where icechunk cannot tell them apart."""
    folder = parse_place(url).folder
    if folder is None:
        yield
        return
    descriptor = os.open(folder / LOCK, os.O_RDWR | os.O_CREAT, 0o666)
    try:
        _lock(descriptor, url)
        yield
    finally:
        os.close(descriptor)


def _lock(descriptor: int, url: str) -> None:
    until = time.monotonic() + LOCK_SECONDS
    while time.monotonic() < until:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return
        except BlockingIOError:
            time.sleep(random.uniform(0.005, 0.05))
    raise ArchiveError(
        f"archive {url}: another process has held its lock for {LOCK_SECONDS / 60:.0f} minutes; "
        "end that process and run again."
    )
