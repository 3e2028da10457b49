"""Slope and aspect of an elevation grid in metres, on numpy and on Dask alike."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import dask.array as da
import numpy as np
import xarray as xr

FloatArray = np.ndarray[Any, np.dtype[np.floating[Any]]]
Kernel = Callable[[FloatArray, FloatArray], FloatArray]


def slope(north: FloatArray, east: FloatArray) -> FloatArray:
    """Slope in degrees from the rise per metre towards north and east."""
    return np.asarray(np.rad2deg(np.arctan(np.hypot(north, east))))


def aspect_sin(north: FloatArray, east: FloatArray) -> FloatArray:
    """Sine of the downslope direction, clockwise from north; 0 on flat ground."""
    return _per_steepness(-east, north, east)


def aspect_cos(north: FloatArray, east: FloatArray) -> FloatArray:
    """Cosine of the downslope direction, clockwise from north; 0 on flat ground."""
    return _per_steepness(-north, north, east)


def terrain(dsm: xr.DataArray, kernel: Kernel) -> xr.DataArray:
    """Apply a terrain kernel to elevation with dimensions ``y`` and ``x`` in metres.

    The gradient is the central difference, one-sided at the border of the grid; on
    Dask, blocks overlap by one pixel, so that chunking changes nothing.
    """
    dsm = dsm.transpose(..., "y", "x").astype(np.float32, copy=False)
    options: dict[str, Any] = {"kernel": kernel, "dy": spacing(dsm, "y"), "dx": spacing(dsm, "x")}
    if dsm.chunks is None:
        return dsm.copy(data=_apply(dsm.values, **options))
    overlap = {axis: int(axis >= dsm.ndim - 2) for axis in range(dsm.ndim)}
    values = da.map_overlap(
        _apply,
        dsm.data,
        depth=overlap,
        boundary="none",
        dtype=np.float32,
        meta=np.empty((0,) * dsm.ndim, np.float32),
        **options,
    )
    return dsm.copy(data=values)


def spacing(array: xr.DataArray, dimension: str) -> float:
    """Signed distance between two pixel centres in metres; NaN for a single pixel."""
    coordinate = array[dimension].values
    return float(coordinate[1] - coordinate[0]) if coordinate.size > 1 else float("nan")


def _apply(dsm: FloatArray, kernel: Kernel, dy: float, dx: float) -> FloatArray:
    if min(dsm.shape[-2:]) < 2:
        return np.full(dsm.shape, np.nan, np.float32)
    # y runs north to south (dy < 0) or the other way: the sign of dy takes care of it.
    north, east = np.gradient(dsm, dy, dx, axis=(-2, -1))
    return kernel(np.asarray(north), np.asarray(east)).astype(np.float32)


def _per_steepness(component: FloatArray, north: FloatArray, east: FloatArray) -> FloatArray:
    steepness = np.hypot(north, east)
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where(steepness == 0, 0, component / steepness)
