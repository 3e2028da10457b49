"""Pixels of a raster on a window of the grid, where GDAL's warper is not the best way.

Most rasters have the rows and columns of the grid, only coarser: their pixels need no
projection, and plain numpy gives what GDAL's warper gives in a fraction of its time. And
where one nodata value does not tell the gaps, they are masked before warping.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
import rasterio
from rasterio.crs import CRS
from rasterio.enums import MaskFlags, Resampling
from rasterio.vrt import WarpedVRT
from rasterio.warp import transform, transform_bounds
from rasterio.windows import Window, from_bounds
from rasterio.windows import bounds as bounds_of_window
from stackstac.raster_spec import RasterSpec

from gssm.describe import Raster

Array = np.ndarray[Any, Any]
FloatArray = np.ndarray[Any, np.dtype[np.float32]]
BoolArray = np.ndarray[Any, np.dtype[np.bool_]]

# Pixels of error that GDAL may make to project faster; more would depend on the chunks.
# (With none at all, rasterio 1.4's WarpedVRT cannot be opened.)
TOLERANCE = 0.001
# Decimals of a position in pixels: metres of seven digits carry a rounding beyond them.
DECIMALS = 9
# Of a pixel, where file and grid are meant to have the same edges.
SAME = 1e-6
# Valid neighbours whose weights sum to less than this have a gap among them.
FULL_WEIGHT = np.float32(1 - 1e-6)
# Rows that are blended together: a few hundred kilobytes.
ROWS = 32


def is_parallel(dataset: rasterio.DatasetReader, spec: RasterSpec, resampling: Resampling) -> bool:
    """Tell whether `read_parallel` can serve: one CRS, north-up, pixels at least the grid's.

    An average only where each pixel of the grid lies within one of the file. A file with a
    mask of its own, in place of a nodata value, is left to GDAL.
    """
    place, (width, height) = dataset.transform, spec.resolutions_xy
    ratios = (place.a / width, -place.e / height)
    if (
        (place.b, place.d) != (0, 0)
        or min(ratios) < 1 - SAME
        or has_mask(dataset)
        or dataset.crs != _crs(spec.epsg)
    ):
        return False
    if resampling != Resampling.average:
        return resampling in (Resampling.nearest, Resampling.bilinear)
    left, _, _, top = spec.bounds
    offsets = ((left - place.c) / width, (place.f - top) / height)
    return all(abs(n - round(n)) < SAME for n in (*ratios, *offsets))


def has_mask(dataset: rasterio.DatasetReader) -> bool:
    """Tell whether a file has a mask or an alpha band of its own; its header says so."""
    return not set(dataset.mask_flag_enums[0]) <= {MaskFlags.all_valid, MaskFlags.nodata}


@lru_cache
def _crs(epsg: int) -> CRS:
    return CRS.from_epsg(epsg)


def read_parallel(
    dataset: rasterio.DatasetReader,
    raster: Raster,
    spec: RasterSpec,
    window: Window,
    resampling: Resampling,
    fill: float,
) -> Array:
    """Read a window of a raster whose rows and columns are those of the grid.

    The numbers are those of GDAL's warper, to the rounding of float32: a pixel is a gap
    where the pixel of the file under its centre is one, and bilinear weights go to the
    neighbours that are none.

    Returns
    -------
    ndarray
        ``(y, x)`` of the window: classes (nearest) in the dtype of the file with ``fill``
        in gaps, anything else as float32 with NaN in gaps.
    """
    place, (width, height) = dataset.transform, spec.resolutions_xy
    left, _, _, top = spec.bounds
    x = left + (window.col_off + 0.5 + np.arange(window.width)) * width
    y = top - (window.row_off + 0.5 + np.arange(window.height)) * height
    is_class, blend = resampling == Resampling.nearest, resampling == Resampling.bilinear
    rows = _axis((y - place.f) / place.e, dataset.height, blend)
    columns = _axis((x - place.c) / place.a, dataset.width, blend)
    if rows is None or columns is None:
        dtype = dataset.dtypes[0] if is_class else np.float32
        return np.full((window.height, window.width), fill, dtype)
    part = Window(columns.start, rows.start, columns.size, rows.size)
    values: Array = dataset.read(1, window=part)
    gaps = _gaps(values, raster, dataset.nodata, is_class)
    if not is_class:
        values = values.astype(np.float32, copy=False)
    if gaps is not None:
        values[gaps] = fill if is_class else 0
    result = _blended(values, gaps, rows, columns)
    if gaps is not None and not is_class:
        result[_at(gaps, rows, columns)] = np.nan
    for axis, outside in enumerate((~rows.inside, ~columns.inside)):
        if outside.any():
            result[(slice(None),) * axis + (outside,)] = fill
    return result


@dataclass(frozen=True)
class Axis:
    """Rows, or columns, of a window of the grid in the pixels of a file.

    ``start`` and ``size`` say what is read. Into that point, for each pixel of the window:
    ``at``, what lies under its centre, and ``first`` and ``second``, the neighbours that are
    blended by the ``weight`` of the second. ``inside`` where the file has a pixel at all.
    """

    start: int
    size: int
    at: Array
    first: Array
    second: Array
    weight: FloatArray
    inside: BoolArray

    @property
    def whole(self) -> bool:
        """True where what is read is the window as it is."""
        return self.size == self.at.size == np.count_nonzero(self.inside) and not self.weight.any()


def _axis(position: Array, size: int, blend: bool) -> Axis | None:
    """Place centres, in pixels from the edge of a file of this size; None if none is inside."""
    position = np.round(position, DECIMALS)
    inside = (position >= 0) & (position < size)
    if not inside.any():
        return None
    at = np.floor(position)
    first = np.floor(position - 0.5) if blend else at
    weight = np.round(position - 0.5 - first, DECIMALS) if blend else np.zeros(at.size)
    start = max(0, int(first[inside].min()))
    stop = min(size, int((first + (weight > 0))[inside].max()) + 1)
    at, first, second = (
        np.clip(index - start, 0, stop - start - 1).astype(np.intp)
        for index in (at, first, first + (weight > 0))
    )
    return Axis(start, stop - start, at, first, second, weight.astype(np.float32), inside)


def _gaps(values: Array, raster: Raster, nodata: float | None, is_class: bool) -> BoolArray | None:
    """Tell which pixels of a file hold no data; None if all hold some."""
    gaps: Any = False
    if raster.positive:
        gaps = ~(values > 0)
    elif values.dtype.kind == "f":
        gaps = np.isnan(values)
    # Of classes, what the file says of itself goes before what its collection says.
    stated = (raster.nodata,) if not is_class or nodata is None else ()
    for number in {nodata, *stated} - {None}:
        if values.dtype.kind == "f":
            gaps = gaps | (values == values.dtype.type(number))
        elif float(number).is_integer():
            gaps = gaps | (values == int(number))
    return gaps if np.any(gaps) else None


def _blended(values: Array, gaps: BoolArray | None, rows: Axis, columns: Axis) -> Array:
    """Give each pixel of the window its value, whatever in gaps."""
    if rows.whole and columns.whole:
        return values
    if not (rows.weight.any() or columns.weight.any()):
        return _at(values, rows, columns)
    result = _bilinear(values, rows, columns)
    if gaps is not None:
        weight = _bilinear((~gaps).astype(np.float32), rows, columns)
        beside = (weight > 0) & (weight < FULL_WEIGHT)
        np.divide(result, weight, out=result, where=beside)
    return result


def _at(values: Array, rows: Axis, columns: Axis) -> Array:
    return np.take(np.take(values, columns.at, axis=1), rows.at, axis=0)


def _bilinear(values: FloatArray, rows: Axis, columns: Axis) -> FloatArray:
    """Blend along x while there are few rows, then along y, as many rows as the cache holds."""
    across = np.take(values, columns.first, axis=1)
    across *= 1 - columns.weight
    across += np.take(values, columns.second, axis=1) * columns.weight
    result = np.empty((rows.at.size, columns.at.size), np.float32)
    above, below = (1 - rows.weight)[:, None], rows.weight[:, None]
    for start in range(0, len(result), ROWS):
        part = slice(start, start + ROWS)
        blended = result[part]
        np.take(across, rows.first[part], axis=0, out=blended, mode="clip")
        blended *= above[part]
        blended += np.take(across, rows.second[part], axis=0) * below[part]
    return result


def needs_masking(raster: Raster, nodata: float | None) -> bool:
    """Tell whether one nodata value is not enough to know the gaps of a file.

    A mask of the file's own is: GDAL's warper joins it to the nodata value.
    """
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

    They are masked before resampling, with what the file itself masks. Radar products fill
    their borders with zeros whatever nodata value they state, and an average with a zero in it
    looks like dry soil.
    """
    part = source_window(dataset, spec, window)
    if part is None:
        return np.full((window.height, window.width), np.nan, np.float32)
    values = dataset.read(1, window=part, out_dtype=np.float32)
    nodata = [n for n in (raster.nodata, dataset.nodata) if n is not None]
    values[np.isin(values, np.asarray(nodata, np.float32))] = np.nan
    if raster.positive:
        values[~(values > 0)] = np.nan
    if has_mask(dataset):
        values[dataset.read_masks(1, window=part) == 0] = np.nan
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
                masked,
                resampling=resampling,
                tolerance=TOLERANCE,
                **scales(dataset, spec),
                **spec.vrt_params,
            ) as warped,
        ):
            result: FloatArray = warped.read(1, window=window)
            return result


def scales(dataset: rasterio.DatasetReader, spec: RasterSpec) -> dict[str, float]:
    """Pixels of the grid per pixel of the file, as GDAL's warper is to take them.

    Left alone it guesses them from each window it warps, wrongly at the edge of a file and
    across the 180th meridian: bilinear values would depend on the chunks.
    """
    left, bottom, right, top = spec.bounds
    grid, place = f"EPSG:{spec.epsg}", dataset.transform
    (x,), (y,) = transform(grid, dataset.crs, [(left + right) / 2], [(bottom + top) / 2])
    # A column and a row of the file from the middle of the grid, in metres of the grid.
    x, y = transform(
        dataset.crs, grid, [x, x + place.a, x + place.b], [y, y + place.d, y + place.e]
    )
    width, height = spec.resolutions_xy
    return {
        "XSCALE": math.hypot(x[1] - x[0], y[1] - y[0]) / width,
        "YSCALE": math.hypot(x[2] - x[0], y[2] - y[0]) / height,
    }


def source_window(
    dataset: rasterio.DatasetReader, spec: RasterSpec, window: Window
) -> Window | None:
    """Pixels of a file under a window of the grid, two to spare for resampling, or None."""
    west, south, east, north = transform_bounds(
        f"EPSG:{spec.epsg}", dataset.crs, *bounds_of_window(window, spec.transform)
    )
    if west > east:  # degrees, across the 180th meridian: the side of the file
        here = dataset.bounds.right > west
        west, east = (west, east + 360) if here else (west - 360, east)
    part = from_bounds(west, south, east, north, transform=dataset.transform)
    left, top = max(0, math.floor(part.col_off) - 2), max(0, math.floor(part.row_off) - 2)
    right = min(dataset.width, math.ceil(part.col_off + part.width) + 2)
    bottom = min(dataset.height, math.ceil(part.row_off + part.height) + 2)
    if left >= right or top >= bottom:
        return None
    return Window(left, top, right - left, bottom - top)
