"""Places to write to: what is there already, and what the operating system says."""

from __future__ import annotations

import atexit
import contextlib
import os
import shutil
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from gssm.archive.clouds import cloud_filesystem, is_cloud
from gssm.errors import GssmError, RequestError, StoreExistsError, StoreWriteError

# One of these lies at the root of every Zarr store, format 3 or 2.
ZARR_MARKERS = ("zarr.json", ".zgroup", ".zarray", ".zmetadata")
# Characters of what a cloud says.
MOST_WORDS = 200


def refuse_existing(
    store: str | Path, overwrite: bool, markers: Iterable[str] = ZARR_MARKERS
) -> None:
    """Refuse a place that is taken, before anything is computed.

    With ``overwrite`` an empty folder and one that holds a marker (which a Zarr store
    does) may be replaced, nothing else.
    """
    entries = _entries(store)
    if entries is None:
        return
    if not overwrite:
        raise StoreExistsError(
            f"{store} exists already and would be replaced; give another place, "
            "or overwrite=True (--overwrite) to replace it."
        )
    if entries and entries.isdisjoint(markers):
        raise StoreExistsError(
            f"{store} exists and is nothing that gssm wrote (no {' or '.join(markers)} in it), "
            "which overwrite=True (--overwrite) does not replace; give another place."
        )


def _entries(store: str | Path) -> set[str] | None:
    """Names at the root of a store, or its own if it is a file; None if nothing is there."""
    folder = local_folder(store)
    with writing(store):
        if folder is not None:
            if not folder.exists():
                return None
            return set(os.listdir(folder)) if folder.is_dir() else {folder.name}
        filesystem, path = filesystem_of(str(store))
        if not filesystem.exists(path):
            return None
        return {str(name).rstrip("/").rpartition("/")[2] for name in filesystem.ls(path, False)}


def filesystem_of(url: str) -> tuple[Any, str]:
    """Return the fsspec filesystem of a URL and the path on it."""
    import fsspec

    if is_cloud(url):
        return cloud_filesystem(url)
    try:
        filesystem, path = fsspec.core.url_to_fs(url)
    except (ValueError, ImportError) as error:
        raise RequestError(
            f"gssm cannot write to {url} ({error}); check the URL, or give a local path."
        ) from error
    return filesystem, path


def store_of(place: str | Path) -> Any:
    """Return what zarr and xarray open at a place: itself, or a store in a cloud."""
    if not is_cloud(place):
        return place
    from zarr.storage import FsspecStore

    filesystem, path = cloud_filesystem(str(place), asynchronous=True)
    return FsspecStore(fs=filesystem, path=path)


def local_folder(store: Any) -> Path | None:
    """Return the absolute path of a store on this machine; None for any other."""
    if isinstance(store, str) and "://" in store:
        scheme, _, path = store.partition("://")
        return Path(path).resolve() if scheme == "file" else None
    if not isinstance(store, (str, Path)):
        return None
    with writing(store):
        return Path(store).expanduser().resolve()


def discard(partial: Path) -> None:
    """Remove what was begun, though threads that have not stopped yet may write on."""
    atexit.register(shutil.rmtree, partial, ignore_errors=True)  # they are joined by then
    for _ in range(20):
        shutil.rmtree(partial, ignore_errors=True)
        time.sleep(0.05)
        if not partial.exists():
            return


def replace_folder(folder: Path, partial: Path) -> None:
    """Put a complete folder in the place of another, which goes only then."""
    old = folder.with_name(f".{folder.name}.old-{os.getpid()}")
    folder.rename(old)
    try:
        partial.rename(folder)
    except BaseException:
        old.rename(folder)
        raise
    atexit.register(shutil.rmtree, old, ignore_errors=True)  # should a signal come now
    shutil.rmtree(old, ignore_errors=True)


@contextlib.contextmanager
def writing(place: str | Path) -> Iterator[None]:
    """Turn what the operating system says into a `StoreWriteError` that names the place."""
    try:
        yield
    except GssmError:
        raise
    except Exception as error:
        of_cloud = type(error).__module__.partition(".")[0] == "obstore"
        if not of_cloud and not isinstance(error, (OSError, NotImplementedError)):
            raise
        cause = getattr(error, "strerror", None) or str(error) or type(error).__name__
        cause = cause.splitlines()[0][:MOST_WORDS] if of_cloud else cause
        raise StoreWriteError(
            f"{place} could not be written ({cause}); free space or choose a "
            "place that can be written. Nothing was left behind."
        ) from error
