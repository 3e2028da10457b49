"""SMAP-HydroBlocks as archived: series of hydrological response units, expanded to 30 m.

The archive holds a file per catchment, ``SMAPHB_hru_6hr/<catchment>.nc`` with
``SMAPHB_SM(time, hru)``, and two maps of 30 m that say for every pixel which catchment and
which unit in it is meant (``mapping_catchments/all_catchments.vrt``,
``mapping_hrus/all_hrus.vrt``; -9999 for none). Expanded all of it would be some 120 TB, so
pixels are filled block by block as they are asked for.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import dask.array as da
import numpy as np
import pandas as pd
import xarray as xr
from numpy.typing import NDArray

from gssm.compare.canonical import Grid
from gssm.compare.cells import window
from gssm.compare.layouts import Layout
from gssm.compare.netcdf_files import open_stored
from gssm.compare.parts import Part, Raw, refuse
from gssm.errors import ReadError

CATCHMENTS = "mapping_catchments/all_catchments.vrt"
UNITS = "mapping_hrus/all_hrus.vrt"
SERIES = "SMAPHB_hru_6hr"
NO_UNIT = -9999
SIDE = 1000  # pixels of a block
DATES = 28  # of a block: a week of six hours


def read_hydroblocks(folder: Path, layout: Layout, part: Part) -> Raw:
    """Read the archive's folder lazily, on the grid of its maps."""
    for name in (CATCHMENTS, UNITS, SERIES):
        if not (folder / name).exists():
            refuse(folder, layout, f"the folder has no {name}")
    catchments, units = (_map(folder / name, part) for name in (CATCHMENTS, UNITS))
    if catchments.shape != units.shape:
        refuse(folder, layout, "its two maps differ in shape")
    files = sorted((folder / SERIES).glob("*.nc"))
    if not files:
        refuse(folder, layout, f"{SERIES} has no file <catchment>.nc")
    times = _times(files[0], layout)
    chosen = np.ones(len(times), np.bool_)
    if part.span is not None:
        chosen = np.asarray((times >= part.span[0]) & (times <= part.span[1]))
    array = _expanded(folder, layout, catchments, units, times[chosen])
    dataset = xr.Dataset(
        {layout.variables[0]: (("time", "y", "x"), array)},
        {"time": times[chosen], "y": catchments["y"].values, "x": catchments["x"].values},
    )
    return Raw(dataset, layout.variables[0], layout.units, str(catchments.rio.crs.to_wkt()))


def _map(path: Path, part: Part) -> xr.DataArray:
    import rioxarray
    from rasterio.errors import RasterioError

    try:
        found = rioxarray.open_rasterio(path, chunks={"y": SIDE, "x": SIDE}, cache=False)
    except (RasterioError, OSError) as error:
        raise ReadError(
            f"{path} cannot be read ({str(error).splitlines()[0]}); unpack the archive again."
        ) from error
    assert isinstance(found, xr.DataArray)
    band = found.isel(band=0, drop=True)
    y, x = (np.asarray(band[n].values, np.float64) for n in ("y", "x"))
    grid = Grid("y", "x", y, x, str(found.rio.crs.to_wkt()))
    return band.isel(window(grid, part.bbox, path.name))


def _times(path: Path, layout: Layout) -> pd.DatetimeIndex:
    stored = open_stored(path)
    if layout.variables[0] not in stored or "time" not in stored.coords:
        refuse(path, layout, f"it has no {layout.variables[0]}(time, hru)")
    decoded = xr.decode_cf(stored[["time"]])["time"]
    return pd.DatetimeIndex(decoded.values).as_unit("ns")


def _expanded(
    folder: Path,
    layout: Layout,
    catchments: xr.DataArray,
    units: xr.DataArray,
    times: pd.DatetimeIndex,
) -> da.Array:
    """Pixels of every date as a lazy array, blocks of the maps times blocks of dates."""
    maps = [da.asarray(m.data).rechunk((SIDE, SIDE)) for m in (catchments, units)]
    stamps = da.from_array(times.to_numpy("datetime64[ns]"), chunks=DATES)
    filled: da.Array = da.map_blocks(
        _fill,
        stamps[:, None, None],
        maps[0][None],
        maps[1][None],
        folder=str(folder),
        variable=layout.variables[0],
        dtype=np.float32,
        chunks=(stamps.chunks[0], *maps[0].chunks),
        meta=np.empty((0, 0, 0), np.float32),
    )
    return filled


def _fill(
    stamps: NDArray[Any], catchments: NDArray[Any], units: NDArray[Any], folder: str, variable: str
) -> NDArray[np.float32]:
    """Pixels of one block; NaN where there is no unit or the product has no retrieval."""
    catchment, unit = catchments[0], units[0]
    wanted = pd.DatetimeIndex(stamps[:, 0, 0])
    filled = np.full((len(wanted), *catchment.shape), np.nan, np.float32)
    known = np.isfinite(catchment) & np.isfinite(unit) & (catchment != NO_UNIT) & (unit != NO_UNIT)
    for number in np.unique(catchment[known]).astype(np.int64):
        rows, columns = np.nonzero(known & (catchment == number))
        series, hrus = _series(Path(folder) / SERIES / f"{number}.nc", variable, wanted)
        # Units are numbered from 0, but a file need not have them in order.
        order = np.argsort(hrus, kind="stable")
        at = np.searchsorted(hrus[order], unit[rows, columns])
        at = np.minimum(at, len(hrus) - 1)
        found = hrus[order][at] == unit[rows, columns]
        filled[:, rows[found], columns[found]] = series[:, order[at[found]]]
    return filled


def _series(
    path: Path, variable: str, wanted: pd.DatetimeIndex
) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """Dates wanted of all units of a catchment, and the units' numbers."""
    if not path.exists():
        raise ReadError(f"{path} is missing though the map names it; unpack the archive again.")
    with xr.open_dataset(path, engine="netcdf4") as stored:
        values = stored[variable].transpose("time", "hru").reindex(time=wanted)
        return values.values.astype(np.float32), np.asarray(stored["hru"].values, np.int64)
