"""Speed and memory, as ratios where a machine's noise would blur a number.

    python benchmarks/run.py            # everything, a quarter of an hour
    python benchmarks/run.py import     # some of: import, graph, memory, score, line, archive

Of the archive it has what takes seconds; `benchmarks/archive.py` has all of it, half an hour.
Each line says what was measured, the figure and the limit it is held against.
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from typing import Any

Line = tuple[str, str, str]

WHOLE_TILE = (499_980, 5_490_240, 609_780, 5_600_040)  # 31UDR/31UDS size: 10980 x 10980 of 10 m


def import_time(rounds: int = 11) -> Iterator[Line]:
    """Interleaved, so that a slow moment of the machine hits both."""
    ratios = []
    for _ in range(rounds):
        base, ours = (_import_seconds(name) for name in ("xarray", "gssm"))
        ratios.append(ours / base)
    yield "import gssm / import xarray, median", f"{statistics.median(ratios):.2f}", "<= 1.3"
    loaded = subprocess.run(
        [sys.executable, "-c", "import gssm, sys; print(*sys.modules)"],
        capture_output=True,
        text=True,
        check=True,
    ).stdout.split()
    heavy = sorted({"torch", "rasterio", "xgboost"} & set(loaded))
    yield "heavy modules that import gssm loads", ", ".join(heavy) or "none", "none"


def _import_seconds(name: str) -> float:
    program = f"import time; t = time.perf_counter(); import {name}; print(time.perf_counter() - t)"
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    return float(done.stdout)


def graph() -> Iterator[Line]:
    """Build the graph of a month over a whole Sentinel-2 tile."""
    import gssm

    items, grid = month_over_a_tile()
    seconds = []
    for _ in range(5):
        start = time.perf_counter()
        cube = gssm.open_cube(items, grid=grid)
        seconds.append(time.perf_counter() - start)
    yield "open_cube, month x tile, s, median of 5", f"{statistics.median(seconds):.2f}", "<= 5"
    yield "tasks per chunk and variable, cube", f"{tasks_per_chunk(cube):.1f}", "a few"
    start = time.perf_counter()
    product = gssm.predict(cube)
    yield "predict, same cube, s", f"{time.perf_counter() - start:.2f}", ""
    yield "largest pickled task, bytes", f"{largest_task(product)}", "< 10000"


def month_over_a_tile() -> tuple[Any, Any]:
    """Items that have no pixels, and the grid of a whole Sentinel-2 tile."""
    from odc.geo.geobox import GeoBox

    from gssm.simulate import simulate_items

    items = simulate_items(bbox=(3.0, 49.5, 4.6, 50.6), start="2018-05-01", days=30)
    return items, GeoBox.from_bbox(WHOLE_TILE, crs="EPSG:32631", resolution=10, tight=True)


def tasks_per_chunk(cube: Any) -> float:
    """Tasks of each chunk of each variable, after optimisation."""
    import dask

    (optimized,) = dask.optimize(cube)
    chunks = cube["vv"].data.npartitions
    return len(dict(optimized.__dask_graph__())) / chunks / len(cube.data_vars)


def largest_task(product: Any) -> int:
    """Bytes of the largest task that a scheduler would send."""
    import cloudpickle
    import dask

    small = product.isel(time=[0, 1], y=slice(0, 2048), x=slice(0, 2048))
    (optimized,) = dask.optimize(small)
    return max(len(cloudpickle.dumps(t)) for t in dict(optimized.__dask_graph__()).values())


SCORE_BLOCK = """
import re, time
import numpy as np, dask
import gssm
from gssm.predict import predict
from cubes import make_cube
dask.config.set(scheduler="synchronous")
cube = make_cube(shape=(1, {size}, {size}), missing=0.0).drop_vars(["s2_mask", "landsat_mask"])
cube = cube.chunk({{"y": {size}, "x": {size}}})
lazy = predict(cube)
lazy.isel(y=slice(0, 8), x=slice(0, 8)).compute()
start = time.perf_counter()
lazy.compute()
seconds = time.perf_counter() - start
# Not ru_maxrss, which a process inherits from the one that started it.
status = open("/proc/self/status").read()
print(seconds, int(re.search("VmHWM:[^0-9]*([0-9]+)", status)[1]) * 1024 / 1e9)
"""


def memory() -> Iterator[Line]:
    """Scoring one chunk in a process of its own, one thread."""
    for size in (512, 1024):
        seconds, gigabytes = _score(size)
        rate = size * size / seconds
        yield f"peak memory, {size} x {size} chunk, GB", f"{gigabytes:.2f}", "< 2 at 1024"
        yield f"pixels per second, one thread, {size}", f"{rate:,.0f}", ""


def _score(size: int) -> tuple[float, float]:
    from pathlib import Path

    done = subprocess.run(
        [sys.executable, "-c", SCORE_BLOCK.format(size=size)],
        capture_output=True,
        text=True,
        check=True,
        cwd=Path(__file__).parent.parent / "tests",
    )
    seconds, gigabytes = map(float, done.stdout.split())
    return seconds, gigabytes


def score() -> Iterator[Line]:
    """Score with every member, beside the libraries that trained them."""
    import engine

    yield from engine.lines()


def whole_line() -> Iterator[Line]:
    """Run from COG to Zarr on a simulated scene."""
    import line

    yield from line.simulated()


def of_archive() -> Iterator[Line]:
    """Open an archive, and read a window of it."""
    import archive

    for part in archive.QUICK:
        yield from archive.PARTS[part]()


BENCHMARKS: dict[str, Callable[[], Iterator[Line]]] = {
    "import": import_time,
    "graph": graph,
    "memory": memory,
    "score": score,
    "line": whole_line,
    "archive": of_archive,
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "names", nargs="*", metavar="name", help=f"some of: {', '.join(BENCHMARKS)}"
    )
    names = parser.parse_args().names
    if unknown := set(names) - set(BENCHMARKS):
        parser.error(
            f"there is no {', '.join(sorted(unknown))}; give some of: {', '.join(BENCHMARKS)}"
        )
    for name in names or BENCHMARKS:
        for what, figure, limit in BENCHMARKS[name]():
            print(f"{what:<66} {figure:>12}   {limit}", flush=True)


if __name__ == "__main__":
    main()
