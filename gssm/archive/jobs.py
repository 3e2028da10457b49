"""One acquisition over one square, from its items to its commit, on one worker."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray
from odc.geo.geobox import GeoBox

from gssm.align import open_cube
from gssm.archive.acquisitions import write_acquisition
from gssm.archive.groups import PIXEL_VARIABLES
from gssm.archive.ledger import Index, Row
from gssm.archive.packing import PACKINGS, pack
from gssm.archive.past import put_past
from gssm.archive.repository import Archive
from gssm.archive.tiles import Square, chunk_window, owned, parse
from gssm.archive.zones import PIXEL
from gssm.errors import BundleError, ItemError
from gssm.models.bundle import resolve
from gssm.models.ensemble import OF_THE_PAST
from gssm.predict import predict
from gssm.quality import BY_MEANING


@dataclass(frozen=True)
class Settings:
    """How acquisitions are mapped; the same for all of a run.

    ``max_failed`` is the largest share, 0 to 1, of pixels flagged ``read_failed`` that is
    written; ``replace_any`` lets another model's map be replaced.
    """

    model: str = "default"
    window: str = "3D"
    elevation: str = "alos"
    max_failed: float = 0.1
    replace_any: bool = False


@dataclass(frozen=True)
class Job:
    """One acquisition over one square: what the ledger will hold, and the items it needs."""

    square: str
    row: Row
    items: tuple[dict[str, Any], ...]
    settings: Settings = Settings()


def run_job(archive: Archive, job: Job) -> Row:
    """Map one acquisition over one square and write it, in this thread.

    Returns
    -------
    Row
        What the ledger holds now: ``done``; or ``skipped`` with the reason, where it is there
        already or no pixel has a value.

    Raises
    ------
    GssmError
        It cannot be read, mapped or written; the archive is as it was.
    """
    square = parse(job.square)
    return write_acquisition(
        archive,
        square,
        job.row,
        _chunks(archive, square, job),
        max_failed=job.settings.max_failed,
        replace_any=job.settings.replace_any,
    )


def _chunks(
    archive: Archive, square: Square, job: Job
) -> Iterator[tuple[Index, Mapping[str, NDArray[Any]]]]:
    opened = open_map(job, archive.chunk, archive)  # of a date that is to be written, no earlier
    for index in job.row.coverage:
        yield index, opened.packed(index)


@dataclass(frozen=True, eq=False)
class LazyMap:
    """The lazy map of a job, of which any process can compute any chunk.

    Attributes
    ----------
    square
        Whose chunks.
    chunk
        Pixels of a chunk's side.
    product
        Around the coverage, ``(y, x)``.
    corner
        Row and column, in the square, of its first pixel.
    """

    square: Square
    chunk: int
    product: xr.Dataset
    corner: Index

    def packed(self, index: Index) -> dict[str, NDArray[Any]]:
        """Compute the packed variables of one chunk of the coverage, in this thread.

        Parameters
        ----------
        index
            Row and column of the chunk.

        Returns
        -------
        dict of ndarray, shape (chunk, chunk)
            As in `gssm.archive.packing.PACKINGS`.

        Raises
        ------
        GssmError
            It cannot be read or mapped.
        """
        rows, columns = chunk_window(index, self.chunk)
        inside = {
            "y": slice(rows.start - self.corner[0], rows.stop - self.corner[0]),
            "x": slice(columns.start - self.corner[1], columns.stop - self.corner[1]),
        }
        # Dask runs one job in each thread of a worker: here it must not start more.
        values = self.product.isel(inside).load(scheduler="synchronous")
        return _packed(values, owned(self.square, rows, columns))


def _packed(values: xr.Dataset, ours: NDArray[np.bool_] | None) -> dict[str, NDArray[Any]]:
    """Packed variables; fill in all of them where the radar saw nothing, or another's ground."""
    flags = values["quality_flag"].values
    # Water, snow and layover are known where the radar never looked; a failed read may be its.
    empty = ~values["seen"].values & (flags & BY_MEANING["read_failed"].mask == 0)
    if ours is not None:
        empty |= ~ours
    packed = {name: pack(name, values[name].values) for name in PIXEL_VARIABLES}
    for name, block in packed.items():
        block[empty] = PACKINGS[name].fill
    return packed


def open_map(job: Job, chunk: int, past: Archive | None) -> LazyMap:
    """Plan the map of a job; no pixel is read.

    A ring of chunks around the coverage, of which nothing but the rim of the elevation is
    read, keeps slopes the same whatever part of a square is mapped.

    Parameters
    ----------
    job
        Of `gssm.archive.plan`.
    chunk
        Pixels of a chunk's side, as the job was planned with.
    past
        Archive with references of the past, for a model that reads them; its chunks may be
        others.

    Raises
    ------
    BundleError
        The model is another one here than where the job was planned.
    ItemError
        The items make no single acquisition.
    GssmError
        The items cannot be used, or the archive of references cannot be read.
    """
    square = parse(job.square)
    ref = resolve(job.settings.model)
    if ref.sha256 != job.row.model_sha256:
        raise BundleError(
            f"model {job.settings.model!r} is another one here (sha256 {ref.sha256[:12]}) than "
            f"where the run was planned ({job.row.model_sha256[:12]}); install the same gssm, or "
            "put the bundle where every worker sees it."
        )
    grid, corner = _grid_around(square, job.row.coverage, chunk)
    cube = open_cube(
        job.items,
        grid=grid,
        window=job.settings.window,
        elevation=job.settings.elevation,
        chunks={"y": chunk, "x": chunk},
    )
    if cube.sizes["time"] != 1:
        raise ItemError(
            f"the items of {square.name} {job.row.key} make {cube.sizes['time']} acquisitions; "
            "plan the run again."
        )
    if past is not None and OF_THE_PAST & set(ref.load().spec.features):
        cube = put_past(past, square, job.row.coverage, cube, chunk=chunk)
    product = predict(cube, job.settings.model)
    seen = cube["vv"].notnull() | cube["vh"].notnull()
    product = product.assign(s2_age=cube["s2_age"], landsat_age=cube["landsat_age"], seen=seen)
    return LazyMap(square, chunk, product[[*PIXEL_VARIABLES, "seen"]].isel(time=0), corner)


def _grid_around(square: Square, coverage: tuple[Index, ...], chunk: int) -> tuple[GeoBox, Index]:
    places = np.array(coverage) * chunk
    top, left = (int(v) - chunk for v in places.min(axis=0))
    bottom, right = (int(v) + 2 * chunk for v in places.max(axis=0))
    west, _, _, north = square.bounds
    bounds = (
        west + PIXEL * left,
        north - PIXEL * bottom,
        west + PIXEL * right,
        north - PIXEL * top,
    )
    return GeoBox.from_bbox(bounds, crs=square.grid.crs, resolution=PIXEL, tight=True), (top, left)
