"""Write the lazy variables of a dataset into arrays that exist, a few chunks at a time.

Dask orders a graph of many chunks by what they share: it reads a whole date, or the
references of a whole tile, before it writes the first chunk, and memory grows with the
area. Here all variables of a chunk are written by one task, and all dates of a few
chunks of ground are computed before the next: memory depends on neither.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Iterator, Mapping, Sequence
from typing import Any
from uuid import uuid4

import dask
import dask.array as da
import numpy as np
import xarray as xr
from dask.system import CPU_COUNT

from gssm import quality
from gssm.archive.packing import NOT_COMPUTED
from gssm.deadline import go_on

Array = np.ndarray[Any, Any]

# Kinds of dtype that a store holds as they are; xarray encodes the others.
PLAIN = "fiu"
COUNTED = ("soil_moisture", "quality_flag")
COUNTS = ("valued", "failed", "unexplained")
# Chunks computed together, for each thread: what is left to wait for at the end is little.
PER_THREAD = 2


def can_write(dataset: xr.Dataset) -> bool:
    """Tell whether `write_chunks` serves: plain numbers, and what is counted in one group."""
    lazy = {n: v for n, v in dataset.variables.items() if v.chunks is not None}
    counted = [set(COUNTED) & set(names) for names in _groups(dataset)]
    return all(v.dtype.kind in PLAIN for v in lazy.values()) and all(
        found in (set(), set(COUNTED)) for found in counted
    )


def hollow(dataset: xr.Dataset) -> xr.Dataset:
    """Replace what is lazy by zeros in the same chunks: all that metadata are made of."""
    zeros = {
        name: variable.copy(
            data=da.zeros(variable.shape, dtype=variable.dtype, chunks=variable.chunks)
        )
        for name, variable in dataset.variables.items()
        if variable.chunks is not None
    }
    return dataset.assign({n: v for n, v in zeros.items() if n in dataset.data_vars}).assign_coords(
        {n: v for n, v in zeros.items() if n in dataset.coords}
    )


def write_chunks(dataset: xr.Dataset, store: Any) -> dict[str, int]:
    """Compute what is lazy and write it into the arrays of a store.

    Returns
    -------
    dict
        `count` of soil moisture and quality flags, by the names in `COUNTS`; empty where
        they are not lazy.
    """
    import zarr

    group = zarr.open_group(store, mode="r+")
    counts: dict[str, int] = {}
    for names in _groups(dataset):
        written = _written(dataset, names, [group[name] for name in names])
        # Dask fuses a task of one batch with other tasks than in the next, under the same name; a
        # scheduler that has not forgotten the first yet fails. Unfused they are 3 % more tasks.
        with dask.config.set({"optimization.fuse.active": False}):
            parts = [written[part].compute() for part in _batches(written)]
        if set(COUNTED) <= set(names):
            total = np.concatenate([p.reshape(-1, len(COUNTS)) for p in parts]).sum(axis=0)
            counts = dict(zip(COUNTS, map(int, total), strict=True))
    return counts


def count(dataset: Mapping[Any, Any] | xr.Dataset) -> tuple[Any, ...]:
    """Count pixels with a value, with a failed read, and without a value or a reason."""
    flags = dataset["quality_flag"]
    valued = np.isfinite(dataset["soil_moisture"])
    if not tells_reasons(flags):
        nothing = (valued & False).sum()
        return valued.sum(), nothing, nothing
    failed = flags & quality.BY_MEANING["read_failed"].mask != 0
    explained = flags & (quality.NO_VALUE | NOT_COMPUTED) != 0
    return valued.sum(), failed.sum(), (~valued & ~explained).sum()


def tells_reasons(flags: Any) -> bool:
    """Tell whether flags are bits: as floats they were masked or averaged by the user.

    Where a mask took a flag away, the user is the reason; a mean of flags has other bits than
    any of them.
    """
    return flags.dtype.kind in "iu"


def _groups(dataset: xr.Dataset) -> list[list[str]]:
    """Names of lazy variables that have their dimensions and chunks in common."""
    alike: dict[Any, list[str]] = {}
    for name, variable in dataset.variables.items():
        if variable.chunks is not None:
            alike.setdefault((variable.dims, variable.chunks), []).append(str(name))
    return list(alike.values())


def _written(dataset: xr.Dataset, names: Sequence[str], targets: Sequence[Any]) -> da.Array:
    """Lazy array with one element for each chunk, and along the last axis its counts."""
    arrays = [dataset[name].data for name in names]
    chunks, rank = arrays[0].chunks, arrays[0].ndim
    written: da.Array = da.map_blocks(
        _write_block,
        *arrays,
        names=tuple(names),
        targets=tuple(targets),
        starts=tuple(np.cumsum([0, *sizes]) for sizes in chunks),
        name=f"write-{uuid4().hex}",
        new_axis=rank,
        chunks=(*((1,) * len(sizes) for sizes in chunks), (len(COUNTS),)),
        dtype=np.int64,
        meta=np.empty((0,) * (rank + 1), np.int64),
    )
    return written


def _write_block(
    *blocks: Array,
    names: Sequence[str],
    targets: Sequence[Any],
    starts: Sequence[Array],
    block_id: tuple[int, ...],
) -> Array:
    shape = blocks[0].shape
    first = [int(start[i]) for start, i in zip(starts, block_id, strict=False)]
    place = tuple(slice(at, at + size) for at, size in zip(first, shape, strict=True))
    go_on()
    for block, target in zip(blocks, targets, strict=True):
        target[place] = block.astype(target.dtype, copy=False)
    is_product = set(COUNTED) <= set(names)
    found = count(dict(zip(names, blocks, strict=True))) if is_product else (0,) * len(COUNTS)
    return np.array(found, np.int64).reshape((1,) * len(shape) + (-1,))


def _batches(written: da.Array) -> Iterator[tuple[Any, ...]]:
    """Cut into parts of some chunks of ground, the last two dimensions, with all dates."""
    shape: tuple[int, ...] = (1, 1, *written.shape[:-1])
    rows, columns = shape[-2:]
    wanted = math.ceil(PER_THREAD * _threads() / math.prod(shape[:-2]))
    wide, high = min(wanted, columns), min(max(1, wanted // columns), rows)
    for top in range(0, rows, high):
        for left in range(0, columns, wide):
            ground = (slice(top, top + high), slice(left, left + wide))
            yield (..., *ground[max(0, 3 - written.ndim) :], slice(None))


def _threads() -> int:
    """Threads that compute: of the cluster, or of the local scheduler."""
    distributed = sys.modules.get("distributed")
    if distributed is not None:
        try:
            return max(1, int(sum(distributed.get_client().nthreads().values())))
        except ValueError:
            pass  # imported, but no client
    if dask.config.get("scheduler", None) in ("sync", "synchronous", "single-threaded"):
        return 1
    threads: int = dask.config.get("num_workers", None) or CPU_COUNT
    return threads
