"""Write a dataset to Zarr: whole or not at all."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import TYPE_CHECKING, Any

import xarray as xr
from dask.base import compute

from gssm.archive.chunks import (
    COUNTED,
    COUNTS,
    can_write,
    count,
    hollow,
    tells_reasons,
    write_chunks,
)
from gssm.archive.encoding import cf_dataset, encoding
from gssm.archive.places import (
    ZARR_MARKERS,
    filesystem_of,
    local_folder,
    refuse_existing,
    store_of,
    writing,
)
from gssm.archive.whole import whole
from gssm.errors import CubeError, ReadError, RequestError, StoreExistsError

if TYPE_CHECKING:
    from zarr.abc.store import Store


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
        have a value. A gap up to it is written, and flagged; more is an error. Less than 1
        needs flags as `gssm.predict` made them, neither masked nor averaged.

    Raises
    ------
    StoreExistsError
        There is something at that place already; with ``overwrite``, something that
        is neither an empty folder nor a Zarr store.
    RequestError
        The place is no path, URL or Zarr store, or nothing here can write to it; or
        `max_failed` is no share, or less than 1 where the flags are no bits any more.
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
    flags = dataset.get("quality_flag")
    if max_failed < 1 and flags is not None and not tells_reasons(flags):
        raise RequestError(
            f"max_failed={max_failed:g} counts quality_flag, which is {flags.dtype} and no bits: "
            "leave max_failed out, or write what gssm.predict returned, not masked or averaged."
        )
    folder, limit = local_folder(store), max_failed
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


def _to_folder(dataset: xr.Dataset, folder: Path, overwrite: bool, max_failed: float) -> None:
    with whole(folder, overwrite, ZARR_MARKERS) as partial:
        _write(dataset, str(partial), "w", max_failed)


def _to_url(dataset: xr.Dataset, url: str, overwrite: bool, max_failed: float) -> None:
    refuse_existing(url, overwrite)
    with writing(url):
        filesystem, path = filesystem_of(url)
        try:
            _write(dataset, store_of(url), "w", max_failed)
        except BaseException:
            with contextlib.suppress(Exception):  # the first error is what counts
                filesystem.rm(path, recursive=True)
            raise


def _write(dataset: xr.Dataset, store: Any, mode: str, max_failed: float) -> None:
    complete = cf_dataset(_even(dataset))
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
    refuse_empty(counts)
    _refuse_failed(counts, max_failed)


def _even(dataset: xr.Dataset) -> xr.Dataset:
    """Return a dataset with the chunks that Zarr has: all of one size, the last may be less.

    What is cut out of an archive begins with a part of a chunk.
    """
    even = {}
    for name, array in dataset.variables.items():
        uneven = {
            dimension: max(sizes)
            for dimension, sizes in array.chunksizes.items()
            if len({*sizes[:-1]}) > 1 or sizes[-1] > sizes[0]
        }
        if uneven:
            even[name] = array.chunk(uneven)
    return dataset.assign({n: v for n, v in even.items() if n in dataset.data_vars}).assign_coords(
        {n: v for n, v in even.items() if n in dataset.coords}
    )


def _counts(dataset: xr.Dataset) -> dict[str, Any]:
    if not set(COUNTED) <= set(dataset.data_vars):
        return {}
    return dict(zip(COUNTS, (found.data for found in count(dataset)), strict=True))


def refuse_empty(counts: dict[str, Any]) -> None:
    """Refuse a product of which no pixel has a value, if nothing explains it."""
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
