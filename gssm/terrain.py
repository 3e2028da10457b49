"""Slope and aspect of an elevation grid in metres, on numpy and on Dask alike."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import dask.array as da
import numpy as np
import xarray as xr

FloatArray = np.ndarray[Any, np.dtype[np.floating[Any]]]
# Metres. Global elevation models have pixels of 30 m and often whole metres: a gradient
# over less would measure their interpolation and rounding, not the ground.
BASELINE = 30.0

Kernel = Callable[[FloatArray, FloatArray], FloatArray]


def slope(north: FloatArray, east: FloatArray) -> FloatArray:
    """Slope in degrees from the rise per metre towards north and east."""
    return np.asarray(np.rad2deg(np.arctan(np.hypot(north, east))))


def aspect_sin(north: FloatArray, east: FloatArray) -> FloatArray:
    """Sine of the downslope direction, clockwise from north; NaN on flat ground."""
    return _per_steepness(-east, north, east)


def aspect_cos(north: FloatArray, east: FloatArray) -> FloatArray:
    """Cosine of the downslope direction, clockwise from north; NaN on flat ground."""
    return _per_steepness(-north, north, east)


def terrain(dsm: xr.DataArray, kernel: Kernel) -> xr.DataArray:
    """Apply a terrain kernel to elevation with dimensions ``y`` and ``x`` in metres.

    The gradient is taken over `BASELINE` to either side, less at the border of the
    grid; on Dask, blocks overlap by as much, so that chunking changes nothing.
    """
    return _overlapping(dsm, _apply, ("y", "x"), kernel=kernel)


def rise(dsm: xr.DataArray, dimension: str) -> xr.DataArray:
    """Return the rise of elevation per metre along ``"y"`` (to the north) or ``"x"`` (east).

    Of the grid, whatever the order of its rows; taken over `BASELINE` like `terrain`.
    """
    return _overlapping(dsm, _rise, (dimension,))


def _overlapping(
    dsm: xr.DataArray,
    function: Callable[..., FloatArray],
    dimensions: tuple[str, ...],
    **options: Any,
) -> xr.DataArray:
    """Call a function with blocks that reach over the baseline into their neighbours."""
    dsm = dsm.transpose(..., "y", "x").astype(np.float32, copy=False)
    steps = {d: _steps(spacing(dsm, d)) for d in dimensions}
    options |= {d: (steps[d], spacing(dsm, d)) for d in dimensions}
    if dsm.chunks is None:
        return dsm.copy(data=function(dsm.values, **options))
    overlap = {axis: steps.get(str(d), 0) for axis, d in enumerate(dsm.dims)}
    values = da.map_overlap(
        function,
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


def _steps(distance: float) -> int:
    """Pixels that make the baseline, at least one."""
    return max(1, round(BASELINE / abs(distance))) if np.isfinite(distance) else 1


def _apply(
    dsm: FloatArray, kernel: Kernel, y: tuple[int, float], x: tuple[int, float]
) -> FloatArray:
    if min(dsm.shape[-2:]) < 2:
        return np.full(dsm.shape, np.nan, np.float32)
    # y runs north to south (negative spacing) or the other way: the sign takes care of it.
    north, east = _gradient(dsm, -2, *y), _gradient(dsm, -1, *x)
    return kernel(north, east).astype(np.float32)


def _rise(
    dsm: FloatArray, y: tuple[int, float] | None = None, x: tuple[int, float] | None = None
) -> FloatArray:
    axis, along = (-2, y) if y is not None else (-1, x)
    if along is None or dsm.shape[axis] < 2:
        return np.full(dsm.shape, np.nan, np.float32)
    return _gradient(dsm, axis, *along)


def _gradient(dsm: FloatArray, axis: int, steps: int, distance: float) -> FloatArray:
    """Rise per metre between the pixels this many steps ahead and behind."""
    size = dsm.shape[axis]
    ahead = np.minimum(np.arange(size) + steps, size - 1)
    behind = np.maximum(np.arange(size) - steps, 0)
    shape = [1] * dsm.ndim
    shape[axis] = size
    run = ((ahead - behind) * distance).reshape(shape).astype(dsm.dtype)
    return np.asarray((np.take(dsm, ahead, axis) - np.take(dsm, behind, axis)) / run)


def _per_steepness(component: FloatArray, north: FloatArray, east: FloatArray) -> FloatArray:
    steepness = np.hypot(north, east)
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where(steepness == 0, np.nan, component / steepness)
