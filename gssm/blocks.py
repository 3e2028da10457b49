"""Numpy kernels on xarray: one function, the same numbers in memory and on Dask."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import dask.array as da
import numpy as np
import xarray as xr

Array = np.ndarray[Any, Any]


def elementwise(
    function: Callable[..., Any], *arrays: xr.DataArray, **options: Any
) -> xr.DataArray:
    """Apply a numpy function value by value, lazily on Dask, in float32."""
    result: xr.DataArray = xr.apply_ufunc(
        function,
        *(single(array) for array in arrays),
        kwargs=options,
        dask="parallelized",
        output_dtypes=[np.float32],
        keep_attrs=False,
    )
    return result


def single(array: xr.DataArray) -> xr.DataArray:
    """Return an array as float32; itself if it is, for which xarray's astype takes its time."""
    return array if array.dtype == np.float32 else array.astype(np.float32)


def map_kernel(
    kernel: Callable[..., Array],
    arrays: Sequence[xr.DataArray],
    template: xr.DataArray,
    dtype: Any,
    outputs: int | None = None,
    **options: Any,
) -> Any:
    """Call a kernel once per block with the matching block of every array.

    Parameters
    ----------
    kernel
        Takes numpy blocks that broadcast against each other, and the options.
    template
        An array with every dimension, whose dimensions and chunks the result has.
    dtype
        Of the result; stated, so that the kernel never runs to find out.
    outputs
        Length of a leading axis that the kernel adds, if it adds one.

    Returns
    -------
    numpy.ndarray or dask.array.Array
    """
    # Without what lies beside the values, such as the orbits: it may be cut in another way,
    # and xarray computes lazy words to cut them.
    values = [array.variable.to_base_variable() for array in arrays]
    like = template.variable.to_base_variable()
    if like.chunks is None and any(array.chunks is not None for array in values):
        like = like.chunk()
    full = [_full_rank(array, like) for array in values]
    if like.chunks is None:
        return kernel(*(array.values for array in full), **options)
    leading = {} if outputs is None else {"new_axis": 0, "chunks": ((outputs,), *like.chunks)}
    return da.map_blocks(
        kernel,
        *(array.data for array in full),
        dtype=dtype,
        meta=np.empty((0,) * (like.ndim + (outputs is not None)), dtype),
        **leading,
        **options,
    )


def _full_rank(array: xr.Variable, like: xr.Variable) -> xr.Variable:
    """Give an array every dimension of the template, of length 1 where it has none."""
    if array.dims == like.dims and array.chunks == like.chunks:
        return array
    full: xr.Variable = array.set_dims(like.dims)
    if like.chunks is None:
        return full
    # A numpy array beside Dask arrays is cut like the template.
    sizes = {d: c for d, c in like.chunksizes.items() if full.sizes[d] > 1}
    cut: xr.Variable = full.chunk(sizes)
    return cut
