"""References of the past of a square, kept beside its dates for models that read them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import xarray as xr
import zarr

from gssm import schema
from gssm.archive import groups
from gssm.archive.acquisitions import transact
from gssm.archive.ledger import Index
from gssm.archive.repository import Archive, archiving, commit, read_session, write_session
from gssm.archive.tiles import Square, chunk_grid, chunk_window
from gssm.archive.zones import PIXEL, PIXELS
from gssm.errors import CubeError
from gssm.history import history, with_history
from gssm.models.bundle import resolve

PAST = "history"
# A cell for each chunk: 1 where its references have been computed.
COMPUTED = "computed"


def write_past(
    archive: Archive, square: Square, index: Index, items: Iterable[Any], *, model: str, window: str
) -> int:
    """Compute the references of one chunk of a square and write them, in one transaction.

    Parameters
    ----------
    archive, square, index
        Where: row and column of the chunk.
    items
        A year or more of all sensors, as for `gssm.history`.
    model
        Whose Water Cloud parameters are used.
    window
        Largest time between radar and optical image.

    Returns
    -------
    int
        Number of acquisitions that the references are made of.

    Raises
    ------
    CubeError
        The references that are there were made with other Water Cloud parameters.
    """
    water_cloud = resolve(model).load().water_cloud
    lazy = history(
        items, grid=chunk_grid(square, index, archive.chunk), window=window, water_cloud=water_cloud
    )
    _prepare(archive, square, lazy)
    values = lazy.load(scheduler="synchronous")  # in this thread, of which a worker has several
    with archiving(archive.url):
        session = write_session(archive)
        group = zarr.open_group(session.store, path=f"{square.group}/{PAST}", mode="r+")
        _refuse_another_model(square, group, lazy)
        for name in schema.REFERENCES:
            groups.array(group, name)[chunk_window(index, archive.chunk)] = values[name].values
        groups.array(group, COMPUTED)[index] = 1
        commit(session, archive, f"{square.name} references of chunk {index}")
    return int(lazy.attrs["acquisitions"])


def _refuse_another_model(square: Square, group: zarr.Group, references: xr.Dataset) -> None:
    """Refuse references that would stand under the parameters of others."""
    for name in schema.REFERENCES:
        ours = references[name].attrs.get("water_cloud")
        theirs = groups.array(group, name).attrs.get("water_cloud")
        if ours != theirs:
            raise CubeError(
                f"the references of {square.name} were made with the Water Cloud parameters "
                f"{theirs} and the model's are {ours}; give the model its own archive."
            )


def _prepare(archive: Archive, square: Square, references: xr.Dataset) -> None:
    """Make the arrays, so that the chunks of several workers touch nothing in common."""

    def change(root: zarr.Group, _: str) -> bool:
        found = root.get(square.group)
        known = isinstance(found, zarr.Group)
        group = found if known else groups.create_group(root, square, archive.chunk)
        assert isinstance(group, zarr.Group)
        if PAST in group:
            return False
        past = group.create_group(PAST, attributes={"title": references.attrs["title"]})
        groups.create_place(past, square.grid)
        for name in schema.REFERENCES:
            past.create_array(
                name,
                shape=(PIXELS, PIXELS),
                chunks=(archive.chunk, archive.chunk),
                dtype="float32",
                fill_value=float("nan"),
                dimension_names=("y", "x"),
                attributes=dict(references[name].attrs),
            )
        cells = PIXELS // archive.chunk
        past.create_array(
            COMPUTED,
            shape=(cells, cells),
            chunks=(1, 1),
            dtype="uint8",
            dimension_names=("chunk_row", "chunk_column"),
        )
        return True

    transact(archive, f"{square.name} references", change)


def past_computed(archive: Archive, square: Square) -> set[Index]:
    """Chunks of a square whose references are in the archive."""
    with archiving(archive.url):
        store = read_session(archive).store
        found = zarr.open_group(store, mode="r").get(f"{square.group}/{PAST}/{COMPUTED}")
        if not isinstance(found, zarr.Array):
            return set()
        return {(int(i), int(j)) for i, j in np.argwhere(np.asarray(found[...]) == 1)}


def past_over(
    archive: Archive, square: Square, coverage: Iterable[Index], chunk: int
) -> set[Index]:
    """Chunks of a coverage that touch references of an archive, whose chunks may be others.

    Parameters
    ----------
    archive, square
        Where the references are.
    coverage
        Chunks (row, column) of a side of `chunk` pixels.
    """
    computed, side = past_computed(archive, square), archive.chunk
    return {
        (i, j)
        for i, j in coverage
        if any(
            (row, column) in computed
            for row in range(i * chunk // side, ((i + 1) * chunk - 1) // side + 1)
            for column in range(j * chunk // side, ((j + 1) * chunk - 1) // side + 1)
        )
    }


def put_past(
    archive: Archive,
    square: Square,
    coverage: Sequence[Index],
    cube: xr.Dataset,
    *,
    chunk: int | None = None,
) -> xr.Dataset:
    """Put the references beside a cube on the square's grid, if it has some of the coverage.

    The cube may reach beyond the square; there, and where none were computed, they are NaN.
    `chunk` is the side of the chunks of coverage and cube, by default that of the archive.
    """
    chunk = chunk or archive.chunk
    if not past_over(archive, square, coverage, chunk):
        return cube
    store = read_session(archive).store
    chunks = {"y": archive.chunk, "x": archive.chunk}
    references = xr.open_zarr(
        store, group=f"{square.group}/{PAST}", consolidated=False, chunks=chunks
    )
    names = [name for name in schema.REFERENCES if name in references]
    around = _around(references[[*names, "spatial_ref"]], cube)
    if chunk != archive.chunk:
        around = around.chunk({"y": chunk, "x": chunk})
    return with_history(cube, around)


def _around(references: xr.Dataset, cube: xr.Dataset) -> xr.Dataset:
    """Cut references of a square to the grid of a cube, and pad them where it reaches beyond.

    By whole chunks where the cube's are those of the square, so that Dask joins none.
    """
    inside, beyond = {}, {}
    for dimension, sign in (("y", -1), ("x", 1)):
        origin = float(references[dimension][0])
        ends = (float(cube[dimension][place]) for place in (0, -1))
        first, last = (round(sign * (end - origin) / PIXEL) for end in ends)
        part = slice(max(first, 0), min(last + 1, PIXELS))
        inside[dimension] = part
        beyond[dimension] = (part.start - first, last + 1 - part.stop)
    padded = references.isel(inside).pad(beyond, constant_values=np.nan)
    return padded.assign_coords(y=cube["y"], x=cube["x"])
