"""A lazy product as a row of small parts, each packed: what every file format is written of."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from gssm.archive.chunks import COUNTED, COUNTS, count
from gssm.archive.packing import NOT_COMPUTED, PACKINGS, Packing, pack

DIMENSIONS = ("time", "y", "x")
# Pixels a side of a part where the dataset has no chunks of its own.
SIDE = 1024
# Chunks computed together: bounds the memory, and gives the threads work.
TOGETHER = 16


@dataclass(frozen=True)
class Part:
    """Some pixels of some dates: their place in the whole, and physical values by name."""

    times: slice
    rows: slice
    columns: slice
    values: dict[str, NDArray[Any]]

    @property
    def place(self) -> tuple[slice, slice, slice]:
        """Index of the part in arrays (time, y, x)."""
        return self.times, self.rows, self.columns


def parts(dataset: xr.Dataset, counts: dict[str, int] | None = None) -> Iterator[Part]:
    """Compute a dataset (time, y, x) a few chunks at a time, all dates of a place together.

    Parameters
    ----------
    dataset
        Lazy or not; every variable has the dimensions (time, y, x).
    counts
        Gets the sums of `gssm.archive.chunks.count`, where what it counts is there.
    """
    dataset = dataset.unify_chunks()
    times, rows, columns = (_slices(dataset, name) for name in DIMENSIONS)
    wide = max(1, TOGETHER // len(times))
    for row in rows:
        for column in _joined(columns, wide):
            for time in _joined(times, TOGETHER):
                window = {"time": time, "y": row, "x": column}
                found = dataset.isel(window).compute()
                values = {str(n): _values(str(n), v.values) for n, v in found.data_vars.items()}
                if counts is not None and set(COUNTED) <= set(values):
                    _add(counts, values)
                yield Part(time, row, column, values)


def _values(name: str, values: Any) -> NDArray[Any]:
    """Values of a part; flags as whole numbers, one way to say that none was computed."""
    how = packing(name)
    if how is None or how.scale is not None:
        return np.asarray(values)
    # A reader that knows the archive's fill value makes NaN of it, one that does not keeps it.
    absent = np.isnan(values) if values.dtype.kind == "f" else values == how.fill
    return np.where(absent, NOT_COMPUTED, values).astype(how.dtype)


def _add(counts: dict[str, int], values: dict[str, NDArray[Any]]) -> None:
    """Count the pixels that were ever computed."""
    computed = values["quality_flag"] != NOT_COMPUTED
    found = count({name: values[name][computed] for name in COUNTED})
    for name, number in zip(COUNTS, found, strict=True):
        counts[name] = counts.get(name, 0) + int(number)


def _slices(dataset: xr.Dataset, dimension: str) -> list[slice]:
    """Places of the chunks along a dimension."""
    size = dataset.sizes[dimension]
    step = 1 if dimension == "time" else SIDE
    sizes = dataset.chunks.get(dimension) or (
        *(step for _ in range(size // step)),
        *((size % step,) if size % step else ()),
    )
    edges = np.cumsum([0, *sizes]).tolist()
    return [slice(a, b) for a, b in pairwise(edges)]


def _joined(slices: Sequence[slice], number: int) -> Iterator[slice]:
    for first in range(0, len(slices), number):
        group = slices[first : first + number]
        yield slice(group[0].start, group[-1].stop)


def packing(name: str) -> Packing | None:
    """How a variable is packed; None for one that stays float32.

    The prediction of one member of the ensemble is packed as that of all.
    """
    if name not in PACKINGS and name.startswith("soil_moisture_"):
        return PACKINGS["soil_moisture"]
    return PACKINGS.get(name)


def packed(name: str, values: NDArray[Any]) -> NDArray[Any]:
    """Physical values as they are written: packed, or float32 with NaN.

    Raises
    ------
    CubeError
        A value is out of the range that its packing holds.
    """
    how = packing(name)
    if how is None:
        return values.astype(np.float32)
    if how.scale is not None:
        return pack(name if name in PACKINGS else "soil_moisture", values)
    absent = values == NOT_COMPUTED
    return np.where(absent, how.fill, pack(name, np.where(absent, 0, values))).astype(how.dtype)
