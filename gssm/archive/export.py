"""Write soil moisture for other programs: COG, NetCDF, CSV, Zarr."""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any

import xarray as xr

from gssm.archive import encoding
from gssm.archive.export_empty import told, valued_in_store, warn_if_empty
from gssm.archive.store import to_zarr
from gssm.errors import RequestError

FORMATS: dict[str, tuple[str, ...]] = {
    "cog": (".tif", ".tiff"),
    "netcdf": (".nc", ".nc4"),
    "csv": (".csv",),
    "zarr": (".zarr",),
}
_SUFFIXES = {suffix: name for name, suffixes in FORMATS.items() for suffix in suffixes}
# Where the writer of a format is: what it needs is loaded with it.
_WRITERS = {
    "cog": "gssm.archive.export_cog",
    "netcdf": "gssm.archive.export_netcdf",
    "csv": "gssm.archive.export_csv",
}


def export(
    dataset: xr.Dataset | xr.DataArray,
    path: str | Path,
    *,
    format: str | None = None,
    overwrite: bool = False,
) -> list[Path]:
    """Write a soil moisture dataset as files that other programs read.

    Computed a few chunks at a time, in memory that does not grow with the area or the
    dates; what is written appears whole or not at all. Every format carries the CRS, the
    citation, the licence, the versions, the model and the source items.

    Parameters
    ----------
    dataset
        What `gssm.predict` or `gssm.open_archive` returned, or a selection of it.
    path
        File, or for COGs a folder. For Zarr also a URL.
    format
        ``"cog"``, ``"netcdf"``, ``"csv"`` or ``"zarr"``; by the suffix of the path if not
        given (``.tif``, ``.nc``, ``.csv``, ``.zarr``).

        - COG: a folder with a file for each date and variable,
          ``<folder>_20240501T054712Z_soil_moisture.tif``, packed as whole numbers with
          scale and nodata. Overviews hold the mean, those of flags the most frequent
          value, which is not the union of the flags below. A path with a suffix is one
          file, and takes one date and one variable.
        - NetCDF: one NetCDF-4 file, CF-1.11 and ACDD-1.3, packed in the same way.
        - CSV: a row for each date and pixel, for small areas; what describes it lies
          beside it in ``<path>-metadata.json`` (CSV on the Web).
        - Zarr: as `gssm.to_zarr`, float32.
    overwrite
        Replace the files that are there; otherwise they are refused. Of a folder, only
        one that an export wrote.

    Returns
    -------
    list of Path
        The files, or the Zarr store.

    Raises
    ------
    RequestError
        The format is unknown, or cannot hold this dataset.
    CubeError
        The dataset is no map, or no pixel has a value or a reason why it has none.
    ReadError
        Every image that was needed failed to be read.
    StoreExistsError, StoreWriteError
        The place is taken, or cannot be written; nothing is left behind.

    Warns
    -----
    GssmWarning
        The files are complete, and hold not one value.
    """
    from gssm.archive.product import product

    chosen = _format(path, format)
    complete = product(dataset)
    if chosen == "zarr":
        to_zarr(_without_bounds(complete), path, overwrite=overwrite)
        names = told(complete)
        warn_if_empty(path, names, valued_in_store(path, names))
        return [Path(path)]
    write: Callable[..., list[Path]] = import_module(_WRITERS[chosen]).write
    return write(complete, path, overwrite)


def _without_bounds(dataset: xr.Dataset) -> xr.Dataset:
    """Leave the bounds of the depth out, as `gssm.to_zarr` has none."""
    bare = dataset.drop_vars(encoding.BOUNDS)
    return bare.assign_coords(depth=xr.Variable(*encoding.depth_coordinate()["depth"]))


def _format(path: Any, format: str | None) -> str:
    if not isinstance(path, (str, Path)):
        raise RequestError(f"path {path!r} is no place to write to; give a path.")
    found = format if format is not None else _SUFFIXES.get(Path(path).suffix.lower())
    if found not in FORMATS:
        what = f"format {format!r} is unknown" if format else f"{path} has no suffix of a format"
        known = ", ".join(f"{name!r} ({suffixes[0]})" for name, suffixes in FORMATS.items())
        raise RequestError(f"{what}; give format= (--format) one of {known}.")
    return found
