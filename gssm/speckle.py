"""Speckle filters for the radar of a cube, in linear power; off unless you ask for them.

The shipped models were taught with unfiltered radar: filter for study, or before samples of a
model of your own are made, and then before prediction too.
"""

from __future__ import annotations

import math
from typing import Any

import dask.array as da
import numpy as np
import xarray as xr

from gssm.errors import CubeError, MissingVariableError, RequestError

FloatArray = np.ndarray[Any, np.dtype[np.floating[Any]]]

POLARIZATIONS = ("vv", "vh")
METHODS = ("lee", "multitemporal")
# Equivalent number of looks of Sentinel-1 IW GRD, high resolution, as ESA states it.
LOOKS = 4.4


def filter_speckle(
    cube: xr.Dataset, *, method: str = "lee", size: int = 7, looks: float = LOOKS
) -> xr.Dataset:
    """Reduce speckle in ``vv`` and ``vh``; lazy, the same for any chunks, NaN stays NaN.

    Parameters
    ----------
    cube
        Dataset with ``vv``, ``vh`` or both, dimensions ``(time, y, x)`` (the filter ``"lee"``
        also takes ``(y, x)``), linear power (``units`` ``"1"``).
    method
        ``"lee"``: the filter of minimum mean square error from local statistics (Lee 1980),
        each image for itself. ``"multitemporal"``: Quegan and Yu (2001) for uncorrelated
        images, with local means for the expectations: keeps the resolution, and gets better
        with the number of images; every image changes when one is added.
    size
        Odd number of pixels along the side of the window of local statistics; pixels without a
        value and those beyond the border are left out of it.
    looks
        Equivalent number of looks of the images, for ``"lee"``: speckle has the variance
        ``mean**2 / looks``.

    Returns
    -------
    xarray.Dataset
        A new cube; the given one is not changed. ``speckle_filter`` in the attributes of the
        filtered variables says what was done.

    Raises
    ------
    MissingVariableError
        There is neither ``vv`` nor ``vh``.
    CubeError
        Backscatter is not in linear power, was filtered before, or lacks its dimensions.
    RequestError
        The method, size or number of looks is none.
    """
    _check_options(method, size, looks)
    names = [name for name in POLARIZATIONS if name in cube]
    if not names:
        raise MissingVariableError(
            "the cube has neither vv nor vh, so there is no speckle to filter; give a cube from "
            "gssm.open_cube."
        )
    filtered = {}
    for name in names:
        _check_power(cube[name], name, method)
        power = cube[name].transpose(..., "y", "x")
        if method == "lee":
            values, says = _lee(power.data, size, looks), f"Lee, {size} x {size}, {looks:g} looks"
        else:
            values, says = _multitemporal(power.data, size), f"Quegan and Yu, {size} x {size}"
        attrs = {**power.attrs, "speckle_filter": says}
        filtered[name] = power.copy(data=values).assign_attrs(attrs).transpose(*cube[name].dims)
    return cube.assign(filtered)


def _check_options(method: str, size: int, looks: float) -> None:
    if method not in METHODS:
        raise RequestError(
            f"there is no speckle filter {method!r}; use {' or '.join(map(repr, METHODS))}."
        )
    whole = isinstance(size, (int, np.integer)) and not isinstance(size, bool)
    if not whole or size < 3 or size % 2 == 0:
        raise RequestError(f"size {size!r} is not an odd number of pixels from 3 on; use 5 or 7.")
    number = isinstance(looks, (int, float, np.number)) and not isinstance(looks, bool)
    if not number or not math.isfinite(looks) or looks <= 0:
        raise RequestError(f"looks {looks!r} is not a positive number; use {LOOKS} for IW GRD.")


def _check_power(power: xr.DataArray, name: str, method: str) -> None:
    units = power.attrs.get("units")
    if units != "1":
        raise CubeError(
            f"variable {name!r} has units {units!r}, but speckle is filtered in linear power; "
            f"convert it with 10 ** (dB / 10) and set {name}.attrs['units'] = '1'."
        )
    needed = ("time", "y", "x") if method == "multitemporal" else ("y", "x")
    absent = [d for d in needed if d not in power.dims]
    if absent:
        raise CubeError(
            f"variable {name!r} lacks the dimension {absent[0]!r}, which the filter {method!r} "
            "works along; give it the dimensions (time, y, x)."
        )
    if "speckle_filter" in power.attrs:
        raise CubeError(
            f"variable {name!r} is filtered already ({power.attrs['speckle_filter']}), and the "
            "statistics of speckle no longer hold; filter the unfiltered cube."
        )


def _lee(power: Any, size: int, looks: float) -> Any:
    return _over_windows(_lee_block, power, size, looks=float(looks))


def _multitemporal(power: Any, size: int) -> Any:
    """Filter by J_k = E[I_k] / M sum_i I_i / E[I_i] over the M images that see the pixel."""
    mean = _over_windows(_mean_block, power, size)
    # Where nothing scatters there is no speckle either: the ratio is one.
    ratio = np.where(mean > 0, power / np.where(mean > 0, mean, 1), np.where(mean == 0, 1, np.nan))
    total: Any = 0.0
    count: Any = 0.0
    # Added in their order, one by one, so that the chunks of time change nothing.
    for step in ratio:
        known = ~np.isnan(step)
        total = total + np.where(known, step, 0)
        count = count + known
    average = total / np.where(count > 0, count, 1)
    return np.where(np.isnan(power), np.nan, mean * average).astype(np.float32)


def _over_windows(kernel: Any, power: Any, size: int, **options: Any) -> Any:
    """Run a kernel on numpy, or on Dask with blocks that overlap by half a window."""
    if not isinstance(power, da.Array):
        return kernel(power, size=size, **options)
    depth = {axis: 0 for axis in range(power.ndim - 2)}
    depth |= {power.ndim - 2: size // 2, power.ndim - 1: size // 2}
    return da.map_overlap(
        kernel,
        power,
        depth=depth,
        boundary="none",
        dtype=np.float32,
        meta=np.empty((0,) * power.ndim, np.float32),
        size=size,
        **options,
    )


def _lee_block(power: FloatArray, size: int, looks: float) -> FloatArray:
    """Lee (1980), multiplicative noise: mean + k (power - mean).

    With the variance v of the window and that of speckle, 1 / looks, for a mean of one, the
    signal has the variance (v - mean^2 / looks) / (1 + 1 / looks), and k is its share of v.
    """
    mean, variance = _statistics(power, size)
    speckle = 1 / looks
    signal = np.maximum(variance - mean**2 * speckle, 0) / (1 + speckle)
    share = signal / np.where(variance > 0, variance, 1)
    return np.asarray(mean + share * (power - mean)).astype(np.float32)


def _mean_block(power: FloatArray, size: int) -> FloatArray:
    return np.where(np.isnan(power), np.nan, _statistics(power, size)[0]).astype(np.float32)


def _statistics(power: FloatArray, size: int) -> tuple[FloatArray, FloatArray]:
    """Mean and variance of the values in a window around each pixel, in double precision."""
    known = ~np.isnan(power)
    values = np.where(known, power, 0).astype(np.float64)
    count = np.maximum(_window_sum(known.astype(np.float64), size), 1)
    mean = _window_sum(values, size) / count
    variance = np.maximum(_window_sum(values**2, size) / count - mean**2, 0)
    return mean, variance


def _window_sum(values: FloatArray, size: int) -> FloatArray:
    """Sum of a square window, zero beyond the border.

    Neighbours are added in a fixed order: a running sum would carry what it has passed, so that
    chunks would differ in the last digit.
    """
    for axis in (values.ndim - 2, values.ndim - 1):
        length, half = values.shape[axis], size // 2
        margin = [(half, half) if a == axis else (0, 0) for a in range(values.ndim)]
        padded = np.pad(values, margin)
        values = np.zeros_like(values)
        for shift in range(size):
            window = [slice(None)] * values.ndim
            window[axis] = slice(shift, shift + length)
            values += padded[tuple(window)]
    return values
