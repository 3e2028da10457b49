"""What grows with an archive: its planning, its dates and its squares."""

from __future__ import annotations

import asyncio
import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import zarr
from archive_writing import watched_stages
from line import peak_memory
from zarr.core.buffer import default_buffer_prototype
from zarr.core.sync import sync

from gssm.archive import groups, ledger
from gssm.archive.acquisitions import DONE, ROWS_CHUNK, read_rows, transact, write_acquisition
from gssm.archive.ledger import Row
from gssm.archive.packing import PACKINGS
from gssm.archive.repository import Archive, create_archive
from gssm.archive.storage import storage
from gssm.archive.tiles import Square, parse, squares_over

Line = tuple[str, str, str]

JOBS = (1000, 3000, 10_000)
DATES = (10, 300, 1200)
SQUARES = (10, 100, 300, 1000)
PLANNED = ("31UDS", "31UES", "31UFS", "31UDR")
JOBS_A_MONTH = 36  # of these squares, by the stand-in of the catalogue
THREADS = 4
SQUARE = parse("31UES")
DAY = 86_400
START = 1_451_606_400  # 2016-01-01
# Of more land than a thousand squares: Europe, the Mediterranean and western Asia.
WIDE = (-10.0, 30.0, 60.0, 65.0)
# A chunk as large as a reference needs to be no part of the table of chunks itself.
BLOB = 600
ROUNDS = 3


# ---- jobs through planner, driver and ledger


def scale(numbers: tuple[int, ...] = JOBS) -> Iterator[Line]:
    """Plan and run jobs whose pixels are stubs, each number in a process of its own."""
    found = []
    for number in numbers:
        command = [sys.executable, "-W", "ignore", __file__, str(number)]
        done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
        one = json.loads(done.stdout.splitlines()[-1])
        found.append(one)
        shown = f"{one['jobs']:,} jobs"
        yield f"{shown}: planned, run and recorded, CPU ms a job", f"{one['ms']:.1f}", ""
        yield f"{shown}: peak memory of the process, GB", f"{one['memory']:.3f}", ""
        yield f"{shown}: most tasks that the scheduler holds", f"{one['tasks']}", "<= 12"
    few, many = found[0], found[-1]
    times = many["jobs"] / few["jobs"]
    growth = 1e3 * (many["memory"] - few["memory"]) / (many["jobs"] - few["jobs"]) * 1e3
    yield (
        f"CPU ms a job, {times:.0f} times the jobs / one time",
        f"{many['ms'] / few['ms']:.2f}",
        "<= 2",
    )
    yield "memory that a thousand more jobs take, MB", f"{growth:.1f}", "<= 10"


def planned_and_run(number: int) -> dict[str, float]:
    """Plan and run so many jobs on threads of this process, of which a tenth is skipped."""
    import dask
    import distributed
    import pandas as pd

    from gssm.archive import plan as planning
    from gssm.archive.flight import PER_THREAD
    from gssm.archive.rounds import Round
    from gssm.archive.run import run

    months = -(-number // JOBS_A_MONTH)
    last = pd.Period("2000-01", "M") + months - 1
    tasks = [0]
    local = {"n_workers": 1, "threads_per_worker": THREADS, "processes": False}
    address = {"host": "127.0.0.1", "protocol": "tcp", "dashboard_address": "127.0.0.1:0"}
    with (
        tempfile.TemporaryDirectory() as name,
        dask.config.set({"distributed.admin.low-level-log-length": 100}),
        distributed.LocalCluster(**local, **address) as cluster,
        distributed.Client(cluster, set_as_default=False) as client,
        mock.patch.object(planning, "search", passes_of_a_month),
    ):
        archive = create_archive(name + "/archive")
        rounds = [Round(None, f"2000-01/{last}", PLANNED)]
        # Of the processor, which other programs on the machine blur less than the wall's.
        began = time.process_time()
        summary = run(
            archive,
            planning.steps(archive, rounds, abreast=PER_THREAD * THREADS),
            client,
            work=pretend,
            report=lambda _: tasks.append(len(cluster.scheduler.tasks)),
        )
        seconds = time.process_time() - began
        recorded = sum(len(read_rows(archive, parse(name))) for name in PLANNED)
    assert recorded == summary.skipped > 0
    assert not summary.failed
    ms = 1e3 * seconds / summary.finished
    figures = {"jobs": summary.finished, "ms": ms, "tasks": max(tasks)}
    return {**figures, "memory": peak_memory()}


def passes_of_a_month(box: Any, dates: Any, **_: Any) -> list[Any]:
    """Stand for `gssm.search`: nine or ten passes over the middle of a box, and partners."""
    import pandas as pd

    from gssm.simulate import simulate_items

    west, south, east, north = box
    x, y = (west + east) / 2, (south + north) / 2
    first = (dates[0] + pd.Timedelta("1D")).normalize()
    place = (x - 0.01, y - 0.01, x + 0.01, y + 0.01)
    return list(simulate_items(bbox=place, start=f"{first:%Y-%m-%d}", days=27))


def pretend(_: Archive, job: Any) -> Row:
    """Say that a job is done; skip every tenth."""
    if job.row.time // DAY % 10 == 0:
        return replace(job.row, status="skipped", reason="cloudy")
    return replace(job.row, status="done", valued=1)


# ---- dates of one square


def dates(numbers: tuple[int, ...] = DATES, cells: int = 10) -> Iterator[Line]:
    """Write one acquisition more into a square that has many, each of `cells` x `cells` chunks."""
    for number in numbers:
        with tempfile.TemporaryDirectory() as name:
            archive = create_archive(name + "/archive", chunk=100)
            fill_dates(archive, number, cells)
            before = files(name)
            spent = write_one(archive, SQUARE, row_of(number, cells))
            new = {path: size for path, size in files(name).items() if path not in before}
        shown = f"{number} dates"
        tables = [size for path, size in new.items() if "/manifests/" in path]
        yield f"{shown}: one more, beside its pixels, CPU s", f"{sum(spent.values()):.2f}", "<= 5"
        yield f"{shown}: of it the commit, CPU s", f"{spent['commit']:.2f}", ""
        yield f"{shown}: tables of chunks written, MB", f"{sum(tables) / 1e6:.2f}", ""
        yield f"{shown}: objects written beside pixels", f"{len(new)}", "<= 200"
    content = ledger.to_bytes([row_of(0, cells)])
    yield "bytes of a row of the ledger, before compression", f"{len(content):,}", ""
    yield "rows in a chunk of the ledger", f"{ROWS_CHUNK // len(content)}", ""


def row_of(day: int, cells: int) -> Row:
    """Return a row with as many and as long names as catalogues give."""
    stem = f"_20230603T054229_{day:06d}"
    return Row(
        time=START + day * DAY,
        platform="sentinel-1a",
        relative_orbit=161,
        orbit_state="ascending",
        radar=tuple(f"S1A_IW_GRDH_1SDV{stem}_20230603T054254_048818_05DEFE_rtc_{n}" for n in "12"),
        partners=tuple(f"S2B_MSIL2A{stem}_R008_T31UES_20230603T{n:06d}" for n in range(12)),
        elevation=tuple(f"ALPSMLC30_N0{n}E003_DSM" for n in range(50, 53)),
        processed="20230603054229",
        model_sha256="0123456789abcdef" * 4,
        coverage=tuple((row, column) for row in range(cells) for column in range(cells)),
        written="2023-06-05T12:00:00+00:00",
        valued=cells**2 * 900_000,
    )


def fill_dates(archive: Archive, number: int, cells: int) -> None:
    """Give a square so many dates; those of its last tables of chunks have chunks, tiny ones."""
    rows = [row_of(day, cells) for day in range(number)]

    def change(root: Any, _: str) -> bool:
        group = groups.create_group(root, SQUARE, archive.chunk)
        for name in groups.ALONG_TIME:
            along = groups.array(group, name)
            along.resize((number,))
            along[...] = [row.time for row in rows] if name == "time" else 0
        for pixels in groups.pixel_arrays(group):
            pixels.resize((number, *pixels.shape[1:]))
        content = ledger.to_bytes(rows)
        done = group.create_array(DONE, shape=content.shape, chunks=(ROWS_CHUNK,), dtype="uint8")
        done[...] = content
        for place in range(number - number % 64, number):
            keys = list(groups.chunk_keys(group, rows[place].coverage, place))
            sync(_set_all(root.store, keys))
        return True

    transact(archive, "benchmark", change)


async def _set_all(store: Any, keys: list[str]) -> None:
    blob = default_buffer_prototype().buffer.from_bytes(bytes(BLOB))
    await asyncio.gather(*(store.set(key, blob) for key in keys))


def write_one(archive: Archive, square: Square, row: Row) -> dict[str, float]:
    """Write one chunk of one date; seconds of the processor by stage."""
    shape = (archive.chunk, archive.chunk)
    packed = {name: np.ones(shape, how.dtype) for name, how in PACKINGS.items()}
    small = replace(row, coverage=row.coverage[:1])
    with watched_stages(time.process_time) as seconds:
        written = write_acquisition(archive, square, small, [(small.coverage[0], packed)])
    assert written.status == "done", written.reason
    return seconds


def files(folder: str) -> dict[str, int]:
    """Sizes of the files in a folder."""
    return {str(path): path.stat().st_size for path in Path(folder).rglob("*") if path.is_file()}


# ---- squares of one repository


def squares(numbers: tuple[int, ...] = SQUARES) -> Iterator[Line]:
    """Commit a date to archives of ever more squares: all of them are in each snapshot."""
    every = iter(squares_over(WIDE))
    known: list[Square] = []
    with tempfile.TemporaryDirectory() as name:
        archive = create_archive(name + "/archive")
        for number in numbers:
            while len(known) < number:
                new = list(islice(every, min(50, number - len(known))))
                transact(archive, "benchmark", lambda root, _, new=new: create(root, new))
                known += new
            spent, snapshot, opened = [], 0, []
            for n in range(ROUNDS):
                before = files(name)
                row = row_of(1000 * number + n, 1)
                spent.append(write_one(archive, known[n], row)["commit"])
                added = {path: size for path, size in files(name).items() if path not in before}
                snapshot = max(size for path, size in added.items() if "/snapshots/" in path)
                opened.append(opening_seconds(archive))
            shown = f"{number} squares"
            commit, limit = statistics.median(spent), "<= 2" if number <= 1000 else ""
            yield f"{shown}: bytes of a snapshot, kB a square", f"{snapshot / number / 1e3:.2f}", ""
            yield f"{shown}: a commit, CPU s", f"{commit:.2f}", limit
            yield f"{shown}: opening, CPU s", f"{statistics.median(opened):.2f}", limit


def create(root: zarr.Group, new: list[Square]) -> bool:
    for square in new:
        groups.create_group(root, square, 1000)
    return True


def opening_seconds(archive: Archive) -> float:
    """Open a repository anew and read its newest snapshot."""
    import icechunk

    began = time.process_time()
    repository = icechunk.Repository.open(storage(archive.url))
    session = repository.readonly_session("main")
    zarr.open_group(session.store, mode="r")
    return time.process_time() - began


if __name__ == "__main__":
    print(json.dumps(planned_and_run(int(sys.argv[1]))))
