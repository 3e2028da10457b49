"""Fifty users of the map, server and users together on two cores, for a minute.

    python benchmarks/web.py                          # two minutes, 0.4 GB of disk
    python benchmarks/web.py --users 10 --seconds 10
    python benchmarks/web.py --warp reader            # tiles by rio-tiler's reader, to compare

Each line says what was measured, the figure and the limit it is held against. Ends with 1
where a limit is broken. The archive is made first, without gaps, in a temporary folder.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import random
import re
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from unittest import mock

import bounds
import web_archive
from web_serve import WARPS

from gssm.web import tiles, windows
from gssm.web.datasets import Dataset, open_dataset
from gssm.web.settings import Limits

Line = tuple[str, str, str]

FOLDER = Path(__file__).parent
CORES, SIZE = 2, 256
WARM_MS, COLD_MS = 150, 600
EARLY_SECONDS = 10.0
# What the server takes besides its memories of blocks and tiles, of which each has its bound: that
# of the process at its start, and that of tiles under way.
START_MB, WORK_MB = 300, 250
MEMORIES_MB = (windows.CACHE_BYTES + tiles.CACHE_BYTES + Limits().tile_cache_bytes) / 1e6


def overviews(dataset: Dataset, number: int = 20) -> Iterator[Line]:
    """Count what tiles at some places of every zoom read, each with nothing at hand."""
    for zoom in range(dataset.minzoom, dataset.maxzoom + tiles.MORE_ZOOMS + 1):
        found = [reads(dataset, zoom, place) for place in places(dataset, number)]
        what = f"zoom {zoom}, level {max(one['level'] for one in found)}"
        most = max(one["blocks"] for one in found)
        yield f"{what}: most blocks that a tile reads of a square", f"{most}", "<= 4"
        share = max(one["share"] for one in found)
        yield f"{what}: pixels that a tile shows / its own", f"{share:.2f}", "<= 5"


def places(dataset: Dataset, number: int) -> list[tuple[float, float]]:
    """Longitudes and latitudes where a dataset may have something."""
    assert dataset.bbox is not None
    west, south, east, north = dataset.bbox
    rng = random.Random(0)
    return [(rng.uniform(west, east), rng.uniform(south, north)) for _ in range(number)]


def reads(dataset: Dataset, zoom: int, place: tuple[float, float]) -> dict[str, Any]:
    """Draw a tile of one date with nothing at hand; count blocks and pixels that it reads.

    Returns
    -------
    dict
        ``blocks`` of a square at most; ``level`` of the overviews, which all of them are of;
        ``share``: pixels of that level in the window of the tile, by the pixels of the tile.
    """
    from rio_tiler.constants import WEB_MERCATOR_TMS

    tile = WEB_MERCATOR_TMS.tile(*place, zoom)
    keys: list[Any] = []
    pixels, levels = [0.0], {1}
    read, read_packed = windows._read, windows.read_packed

    def reading(snapshot: Any, *key: Any) -> Any:
        keys.append(key)
        return read(snapshot, *key)

    def packing(*arguments: Any, level: int, **options: Any) -> Any:
        window = read_packed(*arguments, level=level, **options)
        if window is not None:
            levels.add(level)
            # Coarser ones are cut into pixels that all squares agree on.
            pixels.append(window.values.size / max(1, level // windows.COMMON) ** 2)
        return window

    tiles.tiles.clear()
    windows.blocks.clear()
    with (
        mock.patch.object(windows, "_read", reading),
        mock.patch.object(tiles, "read_packed", packing),
    ):
        tiles.render_tile(dataset, "soil_moisture", dataset.ids[0], tile.x, tile.y, zoom)
    level = max(levels)
    folder = "" if level == 1 else f"overviews/{level}"
    others = {path for _, path, *_ in keys if path.rpartition("/")[0] != folder}
    if others:
        raise AssertionError(f"a tile of zoom {zoom} reads {others}, and not level {level} alone")
    by_square = Counter(square for square, *_ in keys)
    return {
        "blocks": max(by_square.values(), default=0),
        "share": sum(pixels) / SIZE**2,
        "level": level,
    }


@contextlib.contextmanager
def served(archive: str, warp: str) -> Iterator[tuple[int, int]]:
    """Run the server; give its process and its port."""
    command = [sys.executable, str(FOLDER / "web_serve.py"), archive, "--warp", warp]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server:
        try:
            assert server.stdout is not None
            yield server.pid, int(server.stdout.readline())
        finally:
            server.send_signal(signal.SIGINT)
            server.wait(30)


def memory(process: int) -> float:
    """Megabytes of memory that a process has now."""
    return _kilobytes(process, "VmRSS") / 1e3


def _kilobytes(process: int, name: str) -> float:
    status = Path(f"/proc/{process}/status").read_text()
    found = re.search(rf"{name}:\s*(\d+)", status)
    assert found is not None
    return int(found[1]) * 1.024


def cpu_seconds(process: int) -> float:
    """Seconds of CPU that a process has taken."""
    fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def under_load(archive: str, users: int, seconds: float, warp: str = "own") -> dict[str, Any]:
    """Let users ask a server for a while; return what they saw, and what the server took."""
    with served(archive, warp) as (server, port):
        return measured(server, port, users, seconds)


def measured(server: int, port: int, users: int, seconds: float) -> dict[str, Any]:
    """Let users ask a server that runs, from a process of their own."""
    found: dict[str, Any] = {"memory_start": memory(server)}
    early = threading.Timer(EARLY_SECONDS, lambda: found.update(memory_early=memory(server)))
    before = cpu_seconds(server)
    command = [sys.executable, str(FOLDER / "web_load.py"), str(port)]
    command += [f"--users={users}", f"--seconds={seconds}"]
    early.start()
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    early.cancel()
    found |= json.loads(done.stdout)
    found["server_cpu"] = cpu_seconds(server) - before
    found["memory_end"] = memory(server)
    found["memory_most"] = _kilobytes(server, "VmHWM") / 1e3
    return found


def lines_of(found: dict[str, Any]) -> Iterator[Line]:
    """Say what a load was like."""
    warm, cold, seconds = found["warm"], found["cold"], found["seconds"]
    number = warm["tiles"] + cold["tiles"]
    yield "tiles", f"{number}", ""
    yield "tiles a second", f"{number / seconds:.1f}", ""
    yield (
        "tiles that came, % of those that users on time ask for",
        (f"{100 * number / found['asked']:.1f}"),
        ">= 95",
    )
    yield "errors", f"{found['errors']}", "= 0"
    if found["errors"]:
        yield f"the first: {found['error']}", "", ""
    for name, one, limit in (("warm", warm, WARM_MS), ("cold", cold, COLD_MS)):
        yield f"{name} tiles", f"{one['tiles']}", ""
        yield f"{name}: median, ms", f"{one['p50']:.1f}", ""
        yield f"{name}: of 95 %, ms", f"{one['p95']:.1f}", f"< {limit}"
        yield f"{name}: slowest, ms", f"{one['max']:.0f}", ""
    yield "steps that began late", f"{found['late_steps']}", ""
    yield "connections that the server had ended", f"{found['reopened']}", ""
    yield "users woken late, of 95 %, ms", f"{found['lag']:.1f}", ""
    yield "kilobytes of a tile", f"{found['bytes'] / max(number, 1) / 1e3:.1f}", ""
    yield "server: CPU, % of a core", f"{100 * found['server_cpu'] / seconds:.0f}", ""
    yield "server: CPU ms a tile", f"{1e3 * found['server_cpu'] / max(number, 1):.1f}", ""
    yield "users: CPU, % of a core", f"{100 * found['cpu'] / seconds:.0f}", ""
    yield "server: memory at the start, MB", f"{found['memory_start']:.0f}", f"< {START_MB}"
    if "memory_early" in found:
        yield f"server: after {EARLY_SECONDS:.0f} s, MB", f"{found['memory_early']:.0f}", ""
    most = START_MB + MEMORIES_MB + WORK_MB
    yield "server: at the end, MB", f"{found['memory_end']:.0f}", f"< {most:.0f}"
    yield "server: at most, MB", f"{found['memory_most']:.0f}", f"< {most:.0f}"


def keep_to(cores: int) -> None:
    """Run this process, and those that it starts, on so many cores."""
    os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:cores])


def main(words: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--users", type=int, default=50)
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--warp", choices=WARPS, default="own", help="What draws tiles.")
    parser.add_argument("--archive", help="One that was made before; by default a new one.")
    given = parser.parse_args(words)
    keep_to(CORES)
    with tempfile.TemporaryDirectory() as folder:
        begun = time.perf_counter()
        url = given.archive or web_archive.make_archive(Path(folder) / "archive").url
        dataset = open_dataset("archive", url)
        made = f"{len(dataset.squares)} squares, {len(dataset.ids)} dates: made in, s"
        parts = (
            [(made, f"{time.perf_counter() - begun:.0f}", "")],
            overviews(dataset),
            lines_of(under_load(url, given.users, given.seconds, given.warp)),
        )
        broken = 0
        for what, figure, limit in (line for part in parts for line in part):
            is_kept = bounds.holds(figure, limit)
            broken += not is_kept
            said = limit if is_kept else f"{limit}  BROKEN"
            print(f"{what:<66} {figure:>12}   {said}".rstrip(), flush=True)
    return int(broken > 0)


if __name__ == "__main__":
    sys.exit(main())
