"""Warp a window of a raster whose gaps one nodata value does not tell."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import rasterio
from rasterio.enums import Resampling
from rasterio.vrt import WarpedVRT
from rasterio.warp import transform_bounds
from rasterio.windows import Window, from_bounds
from rasterio.windows import bounds as bounds_of_window
from stackstac.raster_spec import RasterSpec

from gssm.describe import Raster

FloatArray = np.ndarray[Any, np.dtype[np.float32]]

# Pixels of error that GDAL may make to project faster; more would depend on the chunks.
# (With none at all, rasterio 1.4's WarpedVRT cannot be opened.)
TOLERANCE = 0.001


def needs_masking(raster: Raster, nodata: float | None) -> bool:
    """Tell whether one nodata value is not enough to know the gaps of a file."""
    differ = None not in (raster.nodata, nodata) and raster.nodata != nodata
    return raster.positive or differ


def warp_masked(
    dataset: rasterio.DatasetReader,
    raster: Raster,
    spec: RasterSpec,
    window: Window,
    resampling: Resampling,
) -> FloatArray:
    """Warp a window of a raster whose gaps one nodata value does not tell.

    They are masked before resampling. Radar products fill their borders with zeros
    whatever nodata value they state, and an average with a zero in it looks like dry
    soil.
    """
    part = source_window(dataset, spec, window)
    if part is None:
        return np.full((window.height, window.width), np.nan, np.float32)
    values = dataset.read(1, window=part, out_dtype=np.float32)
    nodata = [n for n in (raster.nodata, dataset.nodata) if n is not None]
    values[np.isin(values, np.asarray(nodata, np.float32))] = np.nan
    if raster.positive:
        values[~(values > 0)] = np.nan
    profile = {
        "driver": "GTiff",
        "count": 1,
        "dtype": "float32",
        "nodata": np.nan,
        "crs": dataset.crs,
        "transform": dataset.window_transform(part),
    }
    with rasterio.MemoryFile() as memory:
        with memory.open(height=part.height, width=part.width, **profile) as masked:
            masked.write(values, 1)
        with (
            memory.open() as masked,
            WarpedVRT(
                masked, resampling=resampling, tolerance=TOLERANCE, **spec.vrt_params
            ) as warped,
        ):
            result: FloatArray = warped.read(1, window=window)
            return result


def source_window(
    dataset: rasterio.DatasetReader, spec: RasterSpec, window: Window
) -> Window | None:
    """Pixels of a file under a window of the grid, two to spare for resampling, or None."""
    box = transform_bounds(
        f"EPSG:{spec.epsg}", dataset.crs, *bounds_of_window(window, spec.transform)
    )
    part = from_bounds(*box, transform=dataset.transform)
    left, top = max(0, math.floor(part.col_off) - 2), max(0, math.floor(part.row_off) - 2)
    right = min(dataset.width, math.ceil(part.col_off + part.width) + 2)
    bottom = min(dataset.height, math.ceil(part.row_off + part.height) + 2)
    if left >= right or top >= bottom:
        return None
    return Window(left, top, right - left, bottom - top)
