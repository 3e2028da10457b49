"""Products in GeoTIFF, a date each, lazily."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import xarray as xr

from gssm.compare.canonical import Grid
from gssm.compare.cells import window
from gssm.compare.layouts import Layout
from gssm.compare.netcdf_files import time_of_name
from gssm.compare.parts import Part, Raw, refuse
from gssm.errors import ReadError

SIDE = 2048  # pixels of a block


def read_geotiff(path: Path, layout: Layout, part: Part) -> Raw:
    """Read one map of bytes as it is stored; its date is in its name."""
    import rioxarray
    from rasterio.errors import RasterioError

    try:
        stored = rioxarray.open_rasterio(path, chunks={"y": SIDE, "x": SIDE}, cache=False)
    except (RasterioError, OSError) as error:
        raise ReadError(
            f"{path} cannot be read ({str(error).splitlines()[0]}); download it again, or check "
            "what it is."
        ) from error
    if not isinstance(stored, xr.DataArray) or "band" not in stored.dims:
        refuse(path, layout, "it is no image of one grid")
    bands = stored.sizes["band"]
    if bands != 1 or stored.dtype != np.uint8:
        refuse(path, layout, f"it has {bands} band(s) of {stored.dtype}, not one of bytes")
    if stored.rio.crs is None:
        refuse(path, layout, "it has no CRS")
    band = stored.isel(band=0, drop=True).drop_vars("spatial_ref")
    if (band.attrs.get("scale_factor"), band.attrs.get("add_offset")) == (1.0, 0.0):
        # GDAL says so of every file that says nothing; its nodata stays.
        silent = ("scale_factor", "add_offset")
        band.attrs = {name: value for name, value in band.attrs.items() if name not in silent}
    y, x = (np.asarray(band[n].values, np.float64) for n in ("y", "x"))
    crs = str(stored.rio.crs.to_wkt())
    cropped = band.isel(window(Grid("y", "x", y, x, crs), part.bbox, path.name))
    moment = time_of_name(path, layout)
    if moment == moment.normalize():  # the name tells the day alone: its middle is nearest
        moment += pd.Timedelta(hours=12)
    times = pd.DatetimeIndex([moment])
    dataset = cropped.to_dataset(name=layout.variables[0]).expand_dims(time=times)
    return Raw(dataset, layout.variables[0], layout.units, crs)
