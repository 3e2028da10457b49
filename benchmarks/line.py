"""Speed of the whole line, COG in, Zarr out, on a simulated scene: pixels per second and core.

    python benchmarks/line.py                # 1024 x 1024 pixels x 2 dates, some minutes
    python benchmarks/line.py --size 2048 --chunk 1024 --history

A pixel is one of 10 m at one date. Seconds are of the processor, which other programs on
the machine blur less than those of the wall; only the ratios of threads and processes
compare wall clocks. Each figure is from a process of its own that has scored a few pixels
before: loading the model and compiling are not counted.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

DATES = 2
# Pixels per second and core, and GB of a worker on chunks of 1024 x 1024.
GOAL_RATE, GOAL_MEMORY = 60_000, 1.5
PROBE_BYTES = 256 * 2**20

Line = tuple[str, str, str]


def simulated(size: int = 1024, chunk: int = 1024, history: bool = False) -> Iterator[Line]:
    """Measure everything in a folder of its own."""
    with tempfile.TemporaryDirectory(prefix="gssm-line-") as folder:
        yield from lines(
            argparse.Namespace(size=size, chunk=chunk, history=history, folder=Path(folder))
        )


def main() -> None:
    options = parse()
    if options.part:
        print(json.dumps(PARTS[options.part](options)))
        return
    for what, figure, limit in simulated(options.size, options.chunk, options.history):
        print(f"{what:<52} {figure:>12}   {limit}", flush=True)


def parse(arguments: list[str] | None = None, folder: Path | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--size", type=int, default=1024, help="side of the scene, pixels")
    parser.add_argument("--chunk", type=int, default=1024, help="side of a chunk, pixels")
    parser.add_argument("--history", action="store_true", help="with references of the past")
    parser.add_argument("--part", choices=PARTS, help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, default=folder, help=argparse.SUPPRESS)
    parser.add_argument("--store", default="out.zarr", help=argparse.SUPPRESS)
    parser.add_argument("--bare", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("--workers", type=int, default=1, help=argparse.SUPPRESS)
    return parser.parse_args(arguments)


def lines(options: argparse.Namespace) -> Iterator[Line]:
    """Run every part in a process of its own."""
    pixels = DATES * options.size**2
    millions = pixels / 1e6
    run(options, "prepare")
    whole = run(options, "whole")
    rate = pixels / whole["cpu"]
    yield "pixels per second and core, COG in, Zarr out", f"{rate:,.0f}", f">= {GOAL_RATE:,}"
    yield "peak memory of the process, GB", f"{whole['memory']:.2f}", f"<= {GOAL_MEMORY}"
    yield "cores kept busy by one worker", f"{whole['cpu'] / whole['wall']:.2f}", "<= 1.05"
    stages = run(options, "stages")
    for name, seconds in stages.items():
        yield f"  {name}: s per million pixels", f"{seconds / millions:.3f}", ""
    bare = run(options, "whole", "--bare")
    yield "the whole line without scores, likewise", f"{pixels / bare['cpu']:,.0f}", ""
    disk = run(options, "disk")
    moved = {"read": folder_bytes(options.folder / "catalogue"), "write": whole["written"]}
    limit = sum(moved[way] / disk[way] for way in moved)
    for way, size in moved.items():
        yield (
            f"bytes per pixel, {way}",
            f"{size / pixels:.1f}",
            f"disk: {disk[way] / 1e6:,.0f} MB/s",
        )
    yield "physical limit: pixels per second of this disk", f"{pixels / limit:,.0f}", ""
    yield from ratios(options, whole["wall"])


def ratios(options: argparse.Namespace, alone: float) -> Iterator[Line]:
    """Wall clocks: two threads on four chunks a date, and two processes on a scene each."""
    half = ["--chunk", str(min(options.chunk, options.size // 2))]
    one, two = (run(options, "whole", *half, "--workers", str(n))["wall"] for n in (1, 2))
    yield "speed of 2 Dask threads over 1", f"{one / two:.2f}", "at most free cores"
    with ThreadPoolExecutor(2) as pool:
        stores = ("first.zarr", "second.zarr")
        walls = [r["wall"] for r in pool.map(lambda s: run(options, "whole", "--store", s), stores)]
    yield "speed of 2 processes over 1", f"{2 * alone / max(walls):.2f}", "at most free cores"


def run(options: argparse.Namespace, part: str, *extra: str) -> dict[str, float]:
    """Run one part in a process of its own."""
    arguments = ["--part", part, "--folder", str(options.folder), "--size", str(options.size)]
    arguments += ["--chunk", str(options.chunk), *(["--history"] if options.history else [])]
    command = [sys.executable, "-W", "ignore", __file__, *arguments, *extra]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    figures: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return figures


def prepare(options: argparse.Namespace) -> dict[str, float]:
    """Simulate the catalogue and, on request, the references of the past."""
    import gssm
    from gssm.simulate import simulate_scene

    simulate_scene(options.folder / "catalogue", size=options.size, dates=DATES)
    if options.history:
        # The references of two dates: as large as those of a year.
        history = gssm.history(find(options), grid=make_grid(options), min_count=1)
        gssm.to_zarr(history, options.folder / "history.zarr")
    return {}


def peak_memory() -> float:
    """GB; not ru_maxrss alone, which on Linux a process inherits from the one that started it."""
    status = Path("/proc/self/status")
    if status.exists():
        found = re.search(r"VmHWM:\s+(\d+) kB", status.read_text())
        if found:
            return int(found[1]) * 1024 / 1e9
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / (1e9 if sys.platform == "darwin" else 1e6)


def make_grid(options: argparse.Namespace) -> Any:
    from odc.geo.geobox import GeoBox

    from gssm.simulate_ground import EPSG, LEFT, PIXEL, TOP

    side = options.size * PIXEL
    bounds = (LEFT, TOP - side, LEFT + side, TOP)
    return GeoBox.from_bbox(bounds, crs=f"EPSG:{EPSG}", resolution=PIXEL, tight=True)


def find(options: argparse.Namespace) -> Any:
    from rasterio.warp import transform_bounds

    import gssm

    grid = make_grid(options)
    bbox = transform_bounds(grid.crs, "EPSG:4326", *grid.boundingbox.bbox)
    return gssm.search(bbox, "2023-06", catalog=options.folder / "catalogue")


def open_cube(options: argparse.Namespace) -> Any:
    import xarray as xr

    import gssm

    chunks = {"y": options.chunk, "x": options.chunk}
    cube = gssm.open_cube(find(options), grid=make_grid(options), chunks=chunks)
    if not options.history:
        return cube
    stored = xr.open_zarr(options.folder / "history.zarr", consolidated=False, chunks=chunks)
    return gssm.with_history(cube, stored)


def warm(options: argparse.Namespace) -> None:
    """Load the model and compile what is compiled, on a corner."""
    import gssm

    gssm.predict(open_cube(options).isel(y=slice(0, 32), x=slice(0, 32))).compute()


def write(options: argparse.Namespace) -> None:
    """Write the map of the scene."""
    import gssm

    store = options.folder / options.store
    gssm.to_zarr(gssm.predict(open_cube(options)), store, overwrite=True)


def whole(options: argparse.Namespace) -> dict[str, float]:
    """Search to Zarr."""
    import dask

    scheduler = "synchronous" if options.workers == 1 else "threads"
    store = options.folder / options.store
    with dask.config.set(scheduler=scheduler, num_workers=options.workers):
        warm(options)
        if options.bare:
            leave_out_scores()
        wall, cpu = time.perf_counter(), time.process_time()
        write(options)
        wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    return {"wall": wall, "cpu": cpu, "memory": peak_memory(), "written": folder_bytes(store)}


def leave_out_scores() -> None:
    """Let the model answer at once, so that what is left is all the rest."""
    import numpy as np

    from gssm.models.ensemble import TARGET, Model

    def constant(self: Model, features: Any) -> dict[str, Any]:
        return {TARGET: np.full(len(features), 0.2, np.float32)}

    def unflagged(self: Model, features: Any) -> Any:
        return np.zeros(len(features), np.uint16)

    Model.score, Model.flags = constant, unflagged  # type: ignore[method-assign]


def stages(options: argparse.Namespace) -> dict[str, float]:
    """Each stage alone, on what the one before it left in memory."""
    import dask
    import numpy as np

    import gssm
    from gssm.models.bundle import resolve
    from gssm.quality import quality_flag

    seconds: dict[str, float] = {}

    @contextmanager
    def timed(name: str) -> Iterator[None]:
        begun = time.process_time()
        yield
        seconds[name] = time.process_time() - begun

    chunks = {"time": 1, "y": options.chunk, "x": options.chunk}
    maps = ("soil_moisture", "soil_moisture_uncertainty", "quality_flag")
    with dask.config.set(scheduler="synchronous"):
        warm(options)
        model = resolve("default").load()
        with timed("search, plan the cube"):
            cube = open_cube(options)
        with timed("plan the product"):
            gssm.predict(cube)
        with timed("read and warp"):
            cube = cube.compute().chunk(chunks)
        with timed("features"):
            features = gssm.build_features(cube, model.spec, model.water_cloud).compute()
        with timed("flags"):
            quality_flag(cube, model.water_cloud).compute()
        with timed("features, flags and score"):
            product = gssm.predict(cube).compute()
        scored = np.isfinite(product["soil_moisture"].values)
        full = (v.broadcast_like(cube["vv"]).transpose(*cube["vv"].dims) for v in features.values())
        table = np.stack([v.values[scored] for v in full], axis=1)
        with timed("score the features"):
            score(model, table)
        masked = cube.assign(vv=cube["vv"].where(False).assign_attrs(cube["vv"].attrs))
        with timed("features, flags and score where all is masked"):
            gssm.predict(masked).compute()
        lazy = product.drop_vars(("orbit_state", "platform"), errors="ignore").chunk(chunks)
        with timed("write"):
            gssm.to_zarr(lazy[list(maps)], options.folder / "stage.zarr", overwrite=True)
    return seconds


def score(model: Any, table: Any) -> None:
    """What the model itself does in a block, as many rows at a time."""
    from gssm.predict import ROWS

    for start in range(0, len(table), ROWS):
        rows = table[start : start + ROWS]
        model.uncertainty(model.score(rows)["soil_moisture"])
        model.flags(rows)


def disk(options: argparse.Namespace) -> dict[str, float]:
    """Bytes per second of the folder's disk: one large file, past the cache where it lets us."""
    place, block = options.folder / "probe", os.urandom(2**20)
    begun = time.perf_counter()
    with place.open("wb") as file:
        for _ in range(PROBE_BYTES // len(block)):
            file.write(block)
        file.flush()
        os.fsync(file.fileno())
    written = time.perf_counter()
    with place.open("rb", buffering=0) as file:
        if hasattr(os, "posix_fadvise"):
            os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
        begun_reading = time.perf_counter()
        while file.read(2**20):
            pass
    done = time.perf_counter()
    place.unlink()
    return {"write": PROBE_BYTES / (written - begun), "read": PROBE_BYTES / (done - begun_reading)}


def folder_bytes(folder: Path) -> float:
    return float(sum(file.stat().st_size for file in folder.rglob("*") if file.is_file()))


PARTS: dict[str, Callable[[argparse.Namespace], dict[str, float]]] = {
    "prepare": prepare,
    "whole": whole,
    "stages": stages,
    "disk": disk,
}

if __name__ == "__main__":
    main()
