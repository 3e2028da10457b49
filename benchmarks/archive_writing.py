"""One job, from its items to its commit: how much of its time goes into writing."""

from __future__ import annotations

import functools
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any
from unittest import mock

import zarr
from s3_here import s3_here
from zarr.core.buffer import default_buffer_prototype
from zarr.core.sync import sync

from gssm.archive import acquisitions, groups, jobs
from gssm.archive.jobs import Job, run_job
from gssm.archive.ledger import Index
from gssm.archive.plan import plan
from gssm.archive.repository import Archive, create_archive, read_session
from gssm.archive.tiles import parse
from gssm.simulate import simulate_scene
from gssm.simulate_ground import LEFT, PIXEL, TOP

Line = tuple[str, str, str]

SQUARE = parse("31UES")  # where simulated scenes lie
# Of a scene of this side four chunks of 1000 are covered whole.
SIDE, CHUNK = 3000, 1000
MAPPED = "read and map"
LIMIT_PERCENT = 15


@dataclass
class Clock:
    """Seconds by name; what is inside another name's is not counted twice."""

    timer: Callable[[], float] = time.perf_counter
    seconds: dict[str, float] = field(default_factory=dict)
    stack: list[str] = field(default_factory=lambda: ["the rest"])
    last: float = field(init=False)

    def __post_init__(self) -> None:
        self.last = self.timer()

    def charge(self) -> None:
        """Charge the time since the last call to what runs now."""
        now = self.timer()
        self.seconds[self.stack[-1]] = self.seconds.get(self.stack[-1], 0.0) + now - self.last
        self.last = now

    @contextmanager
    def running(self, name: str) -> Iterator[None]:
        """Charge what happens inside to a name."""
        self.charge()
        self.stack.append(name)
        try:
            yield
        finally:
            self.charge()
            self.stack.pop()

    def timed(self, name: str, function: Callable[..., Any]) -> Callable[..., Any]:
        """Return a function whose time is charged to a name."""

        @functools.wraps(function)
        def call(*args: Any, **options: Any) -> Any:
            with self.running(name):
                return function(*args, **options)

        return call

    def timed_steps(self, name: str, function: Callable[..., Any]) -> Callable[..., Any]:
        """Return a generator whose time is charged to a name, step by step."""

        def steps(*args: Any, **options: Any) -> Iterator[Any]:
            made = function(*args, **options)
            while True:
                with self.running(name):
                    one = next(made, None)
                if one is None:
                    return
                yield one

        return steps


# Where a job spends its time: name, owner, function.
WATCHED: tuple[tuple[str, Any, str], ...] = (
    ("packing", jobs, "_packed"),
    ("overviews", acquisitions.Pyramid, "add"),
    ("compression, chunks to the storage", zarr.Array, "__setitem__"),
    ("place of the date, ledger", acquisitions, "_begin"),
    ("place of the date, ledger", acquisitions, "_write_rows"),
    ("commit", acquisitions, "commit"),
)


@contextmanager
def watched_stages(timer: Callable[[], float] = time.perf_counter) -> Iterator[dict[str, float]]:
    """Measure what happens inside: seconds by stage."""
    clock = Clock(timer)
    with ExitStack() as stack:
        for name, owner, function in WATCHED:
            timed = clock.timed(name, getattr(owner, function))
            stack.enter_context(mock.patch.object(owner, function, timed))
        chunks = clock.timed_steps(MAPPED, jobs._chunks)
        stack.enter_context(mock.patch.object(jobs, "_chunks", chunks))
        clock.last = timer()
        yield clock.seconds
        clock.charge()


def whole_chunks(side: int, chunk: int) -> tuple[Index, ...]:
    """Chunks of the square that lie in a scene of so many pixels a side."""
    left, _, _, top = SQUARE.bounds
    corner = (top - TOP) / PIXEL, (LEFT - left) / PIXEL
    spans = [
        range(-int(-first // chunk), int(min(first + side, 10_000)) // chunk) for first in corner
    ]
    return tuple((row, column) for row in spans[0] for column in spans[1])


def simulated_job(folder: Path, archive: Archive, side: int) -> Job:
    """Simulate a scene of one date, and plan its job with the chunks that it covers whole."""
    simulate_scene(folder, size=side, dates=1)
    (job,) = plan(archive, None, "2023-06", catalog=folder, squares=(SQUARE.name,))
    return replace(job, row=replace(job.row, coverage=whole_chunks(side, archive.chunk)))


def writing(side: int = SIDE, chunk: int = CHUNK) -> Iterator[Line]:
    """Measure the same job on a local folder and on S3, in one process."""
    with tempfile.TemporaryDirectory() as name, s3_here() as s3:
        folder = Path(name)
        archive = create_archive(folder / "archive", chunk=chunk)
        job = simulated_job(folder / "catalogue", archive, side)
        # Load the model, compile what is compiled, import what is imported.
        corner = replace(job, row=replace(job.row, coverage=job.row.coverage[:1]))
        run_job(create_archive(folder / "warm", chunk=chunk), corner)
        yield from shares("folder", archive, job)
        yield from stored_bytes(archive, job)
        behind = create_archive(f"s3://{s3.bucket()}/archive", chunk=chunk)
        yield from shares("S3", behind, job)
        yield from requests(s3)


def shares(where: str, archive: Archive, job: Job) -> Iterator[Line]:
    """Share of writing in a job's time, and its parts."""
    with watched_stages() as seconds:
        row = run_job(archive, job)
    assert row.status == "done", row.reason
    whole = sum(seconds.values())
    number = len(job.row.coverage)
    yield f"{where}: a job of {number} chunks, s", f"{whole:.1f}", ""
    for stage, spent in seconds.items():
        if stage != MAPPED:
            yield f"  {stage}, % of it", f"{100 * spent / whole:.2f}", ""
    share = 100 * (1 - seconds[MAPPED] / whole)
    yield f"{where}: all of writing, % of the job", f"{share:.2f}", f"<= {LIMIT_PERCENT}"


def stored_bytes(archive: Archive, job: Job) -> Iterator[Line]:
    """Bytes of a pixel in the store, by variable; overviews together."""
    store = read_session(archive).store
    group = zarr.open_group(store, mode="r")[SQUARE.group]
    sizes: dict[str, int] = {}
    for key in groups.chunk_keys(group, job.row.coverage, 0):
        name = "overviews" if "/overviews/" in key else key.split("/")[2]
        content = sync(store.get(key, default_buffer_prototype()))
        sizes[name] = sizes.get(name, 0) + (0 if content is None else len(content))
    pixels = len(job.row.coverage) * archive.chunk**2
    for name, size in sizes.items():
        yield f"bytes a pixel, {name}", f"{size / pixels:.3f}", ""
    yield "bytes a pixel, all", f"{sum(sizes.values()) / pixels:.2f}", ""


def requests(s3: Any) -> Iterator[Line]:
    """Requests of the job to S3, by kind; those that make the archive are among them."""
    for method in ("PUT", "GET", "HEAD"):
        for kind in ("chunks", "manifests", "snapshots|transactions|refs|repo|config"):
            number = s3.count(rf"^{method} /[^/]+/archive/({kind})")
            if number:
                yield f"S3: {method} of {kind.replace('|', ', ')}", f"{number}", ""
