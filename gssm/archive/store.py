"""Write a dataset to Zarr: whole or not at all."""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import xarray as xr
from dask.base import compute

from gssm import quality
from gssm.archive.encoding import cf_dataset, encoding
from gssm.errors import CubeError, GssmError, ReadError, StoreExistsError, StoreWriteError

if TYPE_CHECKING:
    from zarr.abc.store import Store


def to_zarr(dataset: xr.Dataset, store: str | Path | Store, *, overwrite: bool = False) -> None:
    """Compute a dataset and write it as Zarr v3 with CF attributes and provenance.

    A local folder appears under its name only when it is complete; a remote store is
    removed again when the writing fails.

    Parameters
    ----------
    dataset
        What `gssm.predict` returned, or any dataset.
    store
        Local path, fsspec URL (``"s3://…"``, ``"memory://…"``) or Zarr store.
    overwrite
        Replace what is there; otherwise an existing store is refused.

    Raises
    ------
    StoreExistsError
        There is something at that place already.
    StoreWriteError
        The disk is full, read-only or gone; nothing is left behind.
    ReadError
        Every image that was needed failed to be read; nothing is written.
    CubeError
        The radar has no valid pixel anywhere; nothing is written.
    """
    if isinstance(store, Path) or (isinstance(store, str) and "://" not in store):
        _to_folder(dataset, Path(store), overwrite)
    elif isinstance(store, str):
        _to_url(dataset, store, overwrite)
    else:
        _write(dataset, store, mode="w" if overwrite else "w-")


def _to_folder(dataset: xr.Dataset, folder: Path, overwrite: bool) -> None:
    refuse_existing(folder, overwrite)
    partial = folder.with_name(f".{folder.name}.partial-{os.getpid()}")
    with _one_sentence(folder):
        try:
            folder.parent.mkdir(parents=True, exist_ok=True)
            _write(dataset, str(partial), mode="w")
            if folder.exists():
                _replace(folder, partial)
            else:
                partial.rename(folder)
        finally:
            shutil.rmtree(partial, ignore_errors=True)


def refuse_existing(store: str | Path, overwrite: bool) -> None:
    """Refuse a store that exists, before anything is computed."""
    if not overwrite and _exists(store):
        raise StoreExistsError(
            f"{store} exists already and would be replaced; give another place, "
            "or overwrite=True (--overwrite) to replace it."
        )


def _exists(store: str | Path) -> bool:
    if isinstance(store, Path) or "://" not in store:
        return Path(store).exists()
    import fsspec

    with _one_sentence(store):
        filesystem, path = fsspec.core.url_to_fs(store)
        return bool(filesystem.exists(path))


def _replace(folder: Path, partial: Path) -> None:
    old = folder.with_name(f".{folder.name}.old-{os.getpid()}")
    folder.rename(old)
    partial.rename(folder)
    shutil.rmtree(old, ignore_errors=True)


def _to_url(dataset: xr.Dataset, url: str, overwrite: bool) -> None:
    import fsspec

    refuse_existing(url, overwrite)
    with _one_sentence(url):
        filesystem, path = fsspec.core.url_to_fs(url)
        try:
            _write(dataset, url, mode="w")
        except BaseException:
            with contextlib.suppress(OSError):
                filesystem.rm(path, recursive=True)
            raise


@contextlib.contextmanager
def _one_sentence(place: str | Path) -> Iterator[None]:
    try:
        yield
    except GssmError:
        raise
    except OSError as error:
        raise StoreWriteError(
            f"{place} could not be written ({error.strerror or error}); free space or choose a "
            "place that can be written. Nothing was left behind."
        ) from error


def _write(dataset: xr.Dataset, store: Any, mode: str) -> None:
    complete = cf_dataset(dataset)
    delayed = complete.drop_encoding().to_zarr(
        store,
        mode=mode,  # type: ignore[call-overload]
        encoding=encoding(complete),
        zarr_format=3,
        consolidated=False,
        compute=False,
    )
    # One graph: what is counted is what is written, read once.
    _, counts = compute(delayed, _counts(dataset))
    _refuse_empty(counts)


def _counts(dataset: xr.Dataset) -> dict[str, Any]:
    if not {"soil_moisture", "quality_flag"} <= set(dataset.data_vars):
        return {}
    flags = dataset["quality_flag"]
    valued = np.isfinite(dataset["soil_moisture"])
    failed = flags & quality.BY_MEANING["read_failed"].mask != 0
    explained = flags & quality.NO_VALUE != 0
    return {
        "valued": valued.sum().data,
        "failed": failed.sum().data,
        "unexplained": (~valued & ~explained).sum().data,
    }


def _refuse_empty(counts: dict[str, Any]) -> None:
    if not counts or counts["valued"] > 0:
        return
    if counts["failed"] > 0:
        raise ReadError(
            f"no pixel has a value and {int(counts['failed'])} of them are flagged read_failed: "
            "every image that was needed is unreadable; check the files or URLs of the items. "
            "Nothing was written."
        )
    if counts["unexplained"] > 0:
        raise CubeError(
            "the radar (vv, vh) has no valid pixel anywhere; check the box, the dates and the "
            "nodata value. Nothing was written."
        )
