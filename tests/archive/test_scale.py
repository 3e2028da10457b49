"""Ten thousand acquisitions through planner, driver and ledger, with stubs for pixels."""

import gc
import time
from contextlib import contextmanager
from dataclasses import dataclass, replace

import dask
import pandas as pd
import pytest

from gssm.archive import plan as planning
from gssm.archive.acquisitions import read_rows
from gssm.archive.flight import PER_THREAD
from gssm.archive.jobs import Job
from gssm.archive.plan import steps
from gssm.archive.repository import create_archive
from gssm.archive.rounds import Round
from gssm.archive.run import run
from gssm.archive.tiles import parse
from gssm.simulate import simulate_items
from planned import cluster_here, pretend

THREADS = 4
SQUARES = ("31UDS", "31UES", "31UFS", "31UDR")


@dataclass(frozen=True)
class Scale:
    """What it took: jobs, seconds, most jobs in memory and most in flight."""

    jobs: int
    seconds: float
    in_memory: int
    most_in_flight: int
    skipped: int


@contextmanager
def left_out():
    """Leave out of `gc.get_objects` what is there now, over which it would go each time."""
    gc.collect()
    gc.freeze()
    try:
        yield
    finally:
        gc.unfreeze()


def jobs_in_memory():
    return sum(isinstance(one, Job) for one in gc.get_objects())


def catalogue_of(square_boxes):
    """Stand for `gssm.search`: ten passes a month over any square, and partners for most."""

    def find(box, dates, **options):
        first = (dates[0] + pd.Timedelta("1D")).normalize()
        west, south = square_boxes[round(box[0], 1), round(box[1], 1)]
        place = (west, south, west + 0.02, south + 0.02)
        return list(simulate_items(bbox=place, start=f"{first:%Y-%m-%d}", days=27))

    return find


def skip_some(archive, job):
    """Skip every tenth."""
    row = pretend(archive, job)
    cloudy = row.time // 86_400 % 10 == 0
    return replace(row, status="skipped", reason="cloudy") if cloudy else row


def measure(archive, months, monkeypatch, client):
    """Plan and run so many months of four squares; the benchmark of the archive uses it."""
    boxes = {}
    for name in SQUARES:
        west, south, east, north = parse(name).footprint
        (box,) = planning.boxes_to_search((west, south, east, north))
        boxes[round(box[0], 1), round(box[1], 1)] = ((west + east) / 2, (south + north) / 2)
    monkeypatch.setattr(planning, "search", catalogue_of(boxes))
    last = pd.Period("2000-01", "M") + months - 1
    rounds = [Round(None, f"2000-01/{last}", SQUARES)]
    in_memory = []

    def look(summary):
        if summary.finished % 40 == 0:
            in_memory.append(jobs_in_memory())

    with left_out():
        assert jobs_in_memory() == 0
        began = time.perf_counter()
        planned = steps(archive, rounds, abreast=PER_THREAD * THREADS)
        summary = run(archive, planned, client, work=skip_some, report=look)
        seconds = time.perf_counter() - began
    most = summary.most_in_flight
    return Scale(summary.finished, seconds, max(in_memory), most, summary.skipped)


@pytest.mark.parametrize(
    "months", [2, pytest.param(140, marks=[pytest.mark.slow, pytest.mark.timeout(1800)])]
)
def test_memory_does_not_grow_with_the_work(tmp_path, monkeypatch, months):
    # Dask remembers its last thousand small messages, in which these jobs are.
    short = dask.config.set({"distributed.admin.low-level-log-length": 2})
    with short, cluster_here(THREADS) as client:
        archives = [create_archive(str(tmp_path / name), chunk=100) for name in "ab"]
        few = measure(archives[0], months, monkeypatch, client)
        many = measure(archives[1], 2 * months, monkeypatch, client)
    assert many.jobs == 2 * few.jobs >= 36 * months
    assert many.most_in_flight == PER_THREAD * THREADS
    # In flight, with the workers of this process, and in the messages of late.
    assert max(few.in_memory, many.in_memory) <= 6 * PER_THREAD * THREADS
    recorded = sum(len(read_rows(archives[1], parse(name))) for name in SQUARES)
    assert recorded == many.skipped
