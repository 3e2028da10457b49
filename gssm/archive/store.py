"""Write a dataset to Zarr: whole or not at all."""

from __future__ import annotations

import atexit
import contextlib
import os
import shutil
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import xarray as xr
from dask.base import compute

from gssm.archive.chunks import COUNTED, COUNTS, can_write, count, hollow, write_chunks
from gssm.archive.encoding import cf_dataset, encoding
from gssm.errors import (
    CubeError,
    GssmError,
    ReadError,
    RequestError,
    StoreExistsError,
    StoreWriteError,
)

if TYPE_CHECKING:
    from zarr.abc.store import Store

# One of these lies at the root of every Zarr store, format 3 or 2.
ZARR_MARKERS = ("zarr.json", ".zgroup", ".zarray", ".zmetadata")


def to_zarr(
    dataset: xr.Dataset,
    store: str | Path | Store,
    *,
    overwrite: bool = False,
    max_failed: float = 1.0,
) -> None:
    """Compute a dataset and write it as Zarr v3 with CF attributes and provenance.

    A local folder appears under its name only when it is complete; what is behind a URL
    is removed again when the writing fails. A Zarr store object is the caller's: after a
    failure it holds what was written until then.

    Parameters
    ----------
    dataset
        What `gssm.predict` returned, or any dataset.
    store
        Local path, fsspec URL (``"s3://…"``, ``"memory://…"``) or Zarr store.
    overwrite
        Replace the store that is there; otherwise it is refused.
    max_failed
        Largest share, 0 to 1, of pixels flagged ``read_failed`` among these and those that
        have a value. A gap up to it is written, and flagged; more is an error.

    Raises
    ------
    StoreExistsError
        There is something at that place already; with ``overwrite``, something that
        is neither an empty folder nor a Zarr store.
    RequestError
        The place is no path, URL or Zarr store, or nothing here can write to it; or
        `max_failed` is no share.
    StoreWriteError
        The disk is full, read-only or gone; nothing is left behind.
    ReadError
        Every image that was needed failed to be read, or more than `max_failed` of the
        pixels; nothing is written.
    CubeError
        The radar has no valid pixel anywhere; nothing is written.
    """
    from zarr.abc.store import Store

    if not isinstance(dataset, xr.Dataset):
        raise CubeError(
            f"what to write is a {type(dataset).__name__}; give a Dataset "
            "(array.to_dataset(name=...) makes one)."
        )
    if not isinstance(max_failed, (int, float)) or not 0 <= max_failed <= 1:
        raise RequestError(f"max_failed {max_failed!r} is no share from 0 to 1; give 0.1, say.")
    folder, limit = _local(store), max_failed
    if folder is not None:
        _to_folder(dataset, folder, overwrite, limit)
    elif isinstance(store, str):
        _to_url(dataset, store, overwrite, limit)
    elif isinstance(store, Store):
        _to_store(dataset, store, overwrite, limit)
    else:
        raise RequestError(f"store {store!r} is no place to write to; give a path or a URL.")


def _to_store(dataset: xr.Dataset, store: Store, overwrite: bool, max_failed: float) -> None:
    from zarr.errors import ContainsArrayError, ContainsGroupError

    try:
        _write(dataset, store, "w" if overwrite else "w-", max_failed)
    except (ContainsArrayError, ContainsGroupError, FileExistsError) as error:
        raise StoreExistsError(
            f"{store} holds data already; give an empty store, or overwrite=True to replace it."
        ) from error


def _local(store: Any) -> Path | None:
    """Absolute path of a store on this machine; None for any other."""
    if isinstance(store, str) and "://" in store:
        scheme, _, path = store.partition("://")
        return Path(path).resolve() if scheme == "file" else None
    if not isinstance(store, (str, Path)):
        return None
    with writing(store):
        return Path(store).expanduser().resolve()


def _to_folder(dataset: xr.Dataset, folder: Path, overwrite: bool, max_failed: float) -> None:
    refuse_existing(folder, overwrite)
    partial = folder.with_name(f".{folder.name}.partial-{os.getpid()}")
    new_parents = [parent for parent in folder.parents if not parent.exists()]
    with writing(folder):
        try:
            folder.parent.mkdir(parents=True, exist_ok=True)
            _write(dataset, str(partial), "w", max_failed)
            refuse_existing(folder, overwrite)  # another run may have been faster
            if folder.exists():
                _replace(folder, partial)
            else:
                partial.rename(folder)
        except BaseException:
            _discard(partial)
            raise
        finally:
            for parent in new_parents:  # those that stayed empty
                with contextlib.suppress(OSError):
                    parent.rmdir()


def _discard(partial: Path) -> None:
    """Remove what was begun, though threads that have not stopped yet may write on."""
    atexit.register(shutil.rmtree, partial, ignore_errors=True)  # they are joined by then
    for _ in range(20):
        shutil.rmtree(partial, ignore_errors=True)
        time.sleep(0.05)
        if not partial.exists():
            return


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
    folder = _local(store)
    with writing(store):
        if folder is not None:
            if not folder.exists():
                return None
            return set(os.listdir(folder)) if folder.is_dir() else {folder.name}
        filesystem, path = _filesystem(str(store))
        if not filesystem.exists(path):
            return None
        return {str(name).rstrip("/").rpartition("/")[2] for name in filesystem.ls(path, False)}


def _filesystem(url: str) -> tuple[Any, str]:
    import fsspec

    try:
        filesystem, path = fsspec.core.url_to_fs(url)
    except (ValueError, ImportError) as error:
        raise RequestError(
            f"gssm cannot write to {url} ({error}); check the URL, or give a local path."
        ) from error
    return filesystem, path


def _replace(folder: Path, partial: Path) -> None:
    old = folder.with_name(f".{folder.name}.old-{os.getpid()}")
    folder.rename(old)
    try:
        partial.rename(folder)
    except BaseException:
        old.rename(folder)
        raise
    shutil.rmtree(old, ignore_errors=True)


def _to_url(dataset: xr.Dataset, url: str, overwrite: bool, max_failed: float) -> None:
    refuse_existing(url, overwrite)
    with writing(url):
        filesystem, path = _filesystem(url)
        try:
            _write(dataset, url, "w", max_failed)
        except BaseException:
            with contextlib.suppress(OSError):
                filesystem.rm(path, recursive=True)
            raise


@contextlib.contextmanager
def writing(place: str | Path) -> Iterator[None]:
    """Turn what the operating system says into a `StoreWriteError` that names the place."""
    try:
        yield
    except GssmError:
        raise
    except (OSError, NotImplementedError) as error:
        cause = getattr(error, "strerror", None) or str(error) or type(error).__name__
        raise StoreWriteError(
            f"{place} could not be written ({cause}); free space or choose a "
            "place that can be written. Nothing was left behind."
        ) from error


def _write(dataset: xr.Dataset, store: Any, mode: str, max_failed: float) -> None:
    complete = cf_dataset(dataset)
    by_chunk = can_write(complete)
    delayed = (
        (hollow(complete) if by_chunk else complete)
        .drop_encoding()
        .to_zarr(
            store,
            mode=mode,  # type: ignore[call-overload]
            encoding=encoding(complete),
            zarr_format=3,
            consolidated=False,
            compute=False,
        )
    )
    # What is counted is what is written, read once.
    if by_chunk:
        counts = write_chunks(complete, store) or compute(_counts(dataset))[0]
    else:
        _, counts = compute(delayed, _counts(dataset))
    _refuse_empty(counts)
    _refuse_failed(counts, max_failed)


def _counts(dataset: xr.Dataset) -> dict[str, Any]:
    if not set(COUNTED) <= set(dataset.data_vars):
        return {}
    return dict(zip(COUNTS, (found.data for found in count(dataset)), strict=True))


def _refuse_empty(counts: dict[str, Any]) -> None:
    if not counts or counts["valued"] > 0:
        return
    if counts["failed"] > 0:
        raise ReadError(
            f"no pixel has a value and {int(counts['failed'])} of them are flagged read_failed: "
            "an image that each of them needs is unreadable; check the files or URLs that the "
            "warnings name. Nothing was written."
        )
    if counts["unexplained"] > 0:
        raise CubeError(
            "the radar (vv, vh) has no valid pixel anywhere; check the box, the dates and the "
            "nodata value. Nothing was written."
        )


def _refuse_failed(counts: dict[str, Any], max_failed: float) -> None:
    if not counts or not counts["failed"]:
        return
    share = float(counts["failed"] / (counts["failed"] + counts["valued"]))
    if share > max_failed:
        raise ReadError(
            f"{share:.1%} of the pixels that could have a value are flagged read_failed, more than "
            f"max_failed={max_failed:g} allows; run again, or leave out the items that the "
            "warnings name. Nothing was written."
        )
