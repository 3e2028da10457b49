"""Forty jobs over three squares, and the processes that write them; no pixel is computed.

What a job writes follows from its row, so that every writer of it writes the same bytes.
"""

import hashlib
import os
import random
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from gssm.archive.acquisitions import write_acquisition
from gssm.archive.clusters import cluster
from gssm.archive.jobs import Job
from gssm.archive.ledger import Row
from gssm.archive.opening import Archive, find_archive
from gssm.archive.packing import PACKINGS
from gssm.archive.run import run
from gssm.archive.tiles import chunk_window, owned, parse
from gssm.errors import GssmError

SQUARES = ("31UDS", "31UES", "31UFS")
CHUNK = 100
START, DAY = 1_700_000_000, 86_400
ACQUISITIONS, REPROCESSED, VALUELESS = 35, 5, (7, 20)
# Of the client: everything is done; run it again; the whole run failed.
DONE, AGAIN, WRONG = 0, 3, 1
MARKS = "GSSM_CHAOS_MARKS"


def chaos_jobs() -> list[Job]:
    """Return forty jobs: out of order of time, some of them newer versions of others."""
    first = [Job(SQUARES[n % 3], row_of(n), ()) for n in range(ACQUISITIONS)]
    newer = [replace(job, row=reprocessed(job.row)) for job in older_jobs()]
    return random.Random(6).sample([*first, *newer], k=len(first) + len(newer))


def older_jobs() -> list[Job]:
    """Return those of which there are newer versions."""
    return [Job(SQUARES[n % 3], row_of(n), ()) for n in range(1, 7 * REPROCESSED, 7)]


def row_of(number: int, **changes: Any) -> Row:
    """Return a row of one or two chunks, of a day of its own."""
    coverage = ((3, 4), (3, 5)) if number % 2 else ((50 + number % 3, 50),)
    made = Row(
        time=START + number * DAY,
        platform="sentinel-1a" if number % 3 else "sentinel-1c",
        relative_orbit=37,
        orbit_state="ascending",
        radar=(f"S1_{number}",),
        partners=("S2",),
        processed="20240101",
        model_sha256="of water" if number in VALUELESS else "m",
        coverage=coverage,
    )
    return replace(made, **changes)


def reprocessed(row: Row) -> Row:
    """Return a later version of an acquisition: a second later, and with more of the square."""
    more = tuple(sorted({*row.coverage, (60, 61)}))
    return replace(row, time=row.time + 1, processed="20250101", coverage=more)


def pixels_of(
    row: Row, square: str, chunk: int = CHUNK
) -> Iterator[tuple[tuple[int, int], dict[str, Any]]]:
    """Yield packed chunks that follow from row and square.

    Only soil moisture is noise: what is plain lies in icechunk's manifests, not in objects.
    """
    for index in row.coverage:
        seed = hashlib.sha256(f"{row.digest} {square} {index}".encode()).digest()
        rng = np.random.default_rng(list(seed))
        plain = {"soil_moisture_uncertainty": 200, "quality_flag": 4, "s2_age": 300}
        values = {
            name: np.full((chunk, chunk), rng.integers(plain.get(name, 300)) * 8 % 249, how.dtype)
            for name, how in PACKINGS.items()
        }
        values["soil_moisture"] = rng.integers(0, 5000, (chunk, chunk)).astype(np.uint16)
        water = np.full((chunk, chunk), row.model_sha256 == "of water")
        water[: int(rng.integers(5, 20))] = True
        for name in ("soil_moisture", "soil_moisture_uncertainty"):
            values[name][water] = PACKINGS[name].fill
        values["quality_flag"][...] = np.where(water, 32, 8 * rng.integers(4))
        ours = owned(parse(square), *chunk_window(index, chunk))
        for name, block in values.items():
            if ours is not None:
                block[~ours] = PACKINGS[name].fill
        yield index, values


def work(archive: Archive, job: Job) -> Row:
    """Write a job, and leave a mark after each chunk and after the commit."""

    def marked() -> Iterator[tuple[tuple[int, int], dict[str, Any]]]:
        for one in pixels_of(job.row, job.square, archive.chunk):
            yield one
            mark()

    row = write_acquisition(archive, parse(job.square), job.row, marked())
    if row.status == "done":
        mark()
    return row


def mark(what: str = "") -> None:
    """Leave a mark of this process, by which others see how far it is."""
    folder = os.environ.get(MARKS)
    if folder:
        with open(Path(folder) / f"{what}{os.getpid()}", "ab") as marks:
            marks.write(b".")


def drive(url: str, scheduler: str, jobs: str) -> None:
    """Run so many jobs, as `gssm archive build` does: the client's process."""
    try:
        with cluster(scheduler) as client:
            report = lambda s: mark("client-") if s.in_flight else None  # noqa: E731
            planned = chaos_jobs()[: int(jobs)]
            summary = run(find_archive(url), planned, client, work=work, report=report)
    except GssmError as error:
        print(f"{type(error).__name__}: {error}", flush=True)
        sys.exit(AGAIN)
    print(summary, flush=True)
    sys.exit(AGAIN if summary.failed or summary.stopped else DONE)


def write_some(url: str, start: str, first: str, last: str) -> None:
    """Write days to one square, as soon as a file is there: the process of one writer."""
    archive = find_archive(url)
    mark("writer-")
    while not Path(start).exists():
        time.sleep(0.001)
    for number in range(int(first), int(last)):
        row = row_of(number)
        write_acquisition(archive, parse(SQUARES[0]), row, pixels_of(row, SQUARES[0]))


def hold(url: str) -> None:
    """Hold the lock of a local archive until killed."""
    from gssm.archive.repository import locked

    with locked(url):
        mark("holder-")
        time.sleep(3600)
