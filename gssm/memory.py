"""Chunks that a worker of the cluster could not hold are refused before anything is read."""

from __future__ import annotations

import math
import sys
from collections.abc import Iterable, Mapping
from typing import Any

import xarray as xr

from gssm.errors import RequestError

# A process with all libraries and the default model, bytes; measured (`benchmarks/line.py`).
PROCESS = 0.6e9
BYTES_OF_A_VALUE = 4
GB = 1e9
# What a suggested side is a multiple of, pixels.
STEP = 64


def refuse_large_chunks(template: xr.DataArray, arrays: Iterable[Mapping[Any, Any]]) -> None:
    """Refuse to plan what the workers of the active cluster could not hold.

    A thread holds the chunk of every distinct array at once: what is read and what is made
    of it. Without a cluster, or where its workers have no limit, nothing is refused.

    Parameters
    ----------
    template
        Array with the chunks that are computed, its last dimensions y and x.
    arrays
        Datasets whose variables are read or made.

    Raises
    ------
    RequestError
        A chunk needs more than the worker with the least memory for each thread has.
    """
    workers = _workers()
    if template.chunks is None or not workers:
        return
    names = {v.data.name for dataset in arrays for v in dataset.values() if v.chunks is not None}
    *leading, rows, columns = (max(sizes) for sizes in template.chunks)
    depth = math.prod(leading) * max(1, len(names)) * BYTES_OF_A_VALUE
    limit, threads = min(workers, key=lambda worker: worker[0] / worker[1])
    need = PROCESS + threads * depth * rows * columns
    if need <= limit:
        return
    fits = math.sqrt(max(0.0, limit - PROCESS) / threads / depth)
    side = int(fits // STEP) * STEP
    raise RequestError(
        f"chunks of {rows} x {columns} pixels need about {need / GB:.1f} GB in a worker with "
        f"{threads} threads, and one of the cluster has {limit / GB:.1f} GB; "
        + (
            f"open the cube with chunks={{'y': {side}, 'x': {side}}}."
            if side
            else "give the workers more memory or fewer threads."
        )
    )


def _workers() -> list[tuple[int, int]]:
    """Limit in bytes and number of threads of each worker that has a limit."""
    distributed = sys.modules.get("distributed")
    if distributed is None:
        return []
    try:
        client = distributed.default_client()
        info = client.scheduler_info(n_workers=-1)
    except (ValueError, OSError):  # imported, but no client; or its scheduler is gone
        return []
    known = info.get("workers", {}).values()
    return [(w["memory_limit"], w["nthreads"]) for w in known if w.get("memory_limit")]
