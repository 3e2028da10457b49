"""Jobs to a cluster, a bounded number at a time, and what became of them to the ledger."""

from __future__ import annotations

import json
import time
import zlib
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field, replace

from gssm.addresses import Network, reach, reached
from gssm.archive.acquisitions import read_rows, record_open, sort_square
from gssm.archive.flight import Client, Flight, reason
from gssm.archive.jobs import Job, run_job
from gssm.archive.ledger import Row
from gssm.archive.plan import Note, Step
from gssm.archive.repository import Archive
from gssm.archive.settle import settle
from gssm.archive.tiles import parse
from gssm.errors import ReadError

Work = Callable[[Archive, Job], Row]
Report = Callable[["Summary"], None]

# Rows of a square that are recorded together, and seconds that one waits at most for others.
ROWS_TOGETHER = 50
RECORD_SECONDS = 60.0
# Where so many jobs fail one after the other, the next will fail too.
MOST_FAILURES = 50


@dataclass
class Summary:
    """What a run has done so far.

    ``done``, ``skipped``, ``failed`` and ``known`` count acquisitions: written, not to be
    mapped, failed, and there before. ``unplanned`` tells the months for which the catalogue
    failed, ``failures`` why the first jobs failed. ``stopped`` says why the run ended before
    everything was done, empty if it did not.
    """

    done: int = 0
    skipped: int = 0
    failed: int = 0
    known: int = 0
    settled: int = 0
    months: int = 0
    valued: int = 0
    in_flight: int = 0
    most_in_flight: int = 0
    sorted: int = 0
    seconds: float = 0.0
    stopped: str = ""
    unplanned: list[str] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)

    @property
    def finished(self) -> int:
        """Jobs that have come back."""
        return self.done + self.skipped + self.failed


@dataclass(frozen=True)
class Budget:
    """After how many jobs, or hours, no new job is begun; None is no limit."""

    jobs: int | None = None
    hours: float | None = None

    def is_spent(self, jobs: int, seconds: float) -> bool:
        """Tell whether so much work is all that it allows."""
        many = self.jobs is not None and jobs >= self.jobs
        return many or (self.hours is not None and seconds >= 3600 * self.hours)


def run(
    archive: Archive,
    planned: Iterable[Step],
    client: Client,
    *,
    budget: Budget | None = None,
    retries: int = 1,
    report: Report | None = None,
    sort: bool = True,
    work: Work = run_job,
) -> Summary:
    """Run jobs on a cluster, about two for each of its threads at a time.

    The jobs commit by themselves: to run again what was planned again is how to go on after
    an interruption. A worker that dies loses its job, which another takes.

    Parameters
    ----------
    archive
        Where to.
    planned
        Of `gssm.archive.plan.steps` or `plan`; taken as places become free.
    client
        Of the cluster.
    budget
        Ends the run when it is spent; what is running comes to its end.
    retries
        Times that a failed job is tried again at once.
    report
        Called with the summary after everything that happened.
    sort
        Put squares that are out of order of time in order at the end; not where the budget
        ended the run, as the next one would have to do it again.
    work
        What runs on the workers.

    Raises
    ------
    StoreWriteError
        The cluster was lost, or too many jobs failed one after the other. What was committed
        stays.
    """
    summary = Summary()
    flight: Flight[Job] = Flight(
        client,
        lambda job: client.submit(
            _work,
            work,
            archive,
            replace(job, items=()),
            _packed(job),
            reached(),
            pure=False,
            retries=retries,
            key=f"gssm-{job.square}-{job.row.key}-{time.monotonic_ns()}",
        ),
        lambda: f"{summary.done} acquisitions",
    )
    state = _State(archive, flight, summary, budget or Budget(), report or _nothing)
    try:
        _drive(state, iter(planned))
    except BaseException:
        flight.cancel()
        raise
    state.record(all_rows=True)
    for name in sorted(state.settled):
        state.summary.settled += settle(archive, parse(name), state.settled[name])
    if sort and not state.summary.stopped:
        state.summary.sorted = sum(sort_square(archive, parse(name)) for name in _written(state))
    state.tell()
    return state.summary


def _packed(job: Job) -> bytes:
    """Return the items of a job as a tenth of their bytes: schedulers remember what they send."""
    return zlib.compress(json.dumps(job.items).encode())


def _work(work: Work, archive: Archive, job: Job, items: bytes, networks: Iterable[Network]) -> Row:
    """Run a job on a worker, which may read from where the planner was led."""
    reach(networks)
    return work(archive, replace(job, items=tuple(json.loads(zlib.decompress(items)))))


def _nothing(_: Summary) -> None:
    return


@dataclass
class _State:
    """A run in progress."""

    archive: Archive
    flight: Flight[Job]
    summary: Summary
    budget: Budget
    report: Report
    rows: dict[str, list[Row]] = field(default_factory=dict)
    settled: dict[str, list[Row]] = field(default_factory=dict)
    squares: set[str] = field(default_factory=set)
    begun: int = 0
    in_a_row: int = 0
    started: float = field(default_factory=time.monotonic)
    recorded: float = field(default_factory=time.monotonic)

    def tell(self) -> None:
        """Report."""
        summary = self.summary
        summary.seconds = time.monotonic() - self.started
        summary.in_flight = len(self.flight.active)
        summary.most_in_flight = max(summary.most_in_flight, summary.in_flight)
        self.report(summary)

    def keep(self, square: str, row: Row) -> None:
        """Remember a row for the ledger, and write to it what has waited long enough."""
        self.rows.setdefault(square, []).append(row)
        self.record()

    def record(self, all_rows: bool = False) -> None:
        """Write rows to the ledger: all, or of the squares that have many, or of a minute."""
        now = time.monotonic()
        late = all_rows or now - self.recorded > RECORD_SECONDS
        due = [name for name, rows in self.rows.items() if late or len(rows) >= ROWS_TOGETHER]
        for name in due:
            record_open(self.archive, parse(name), self.rows.pop(name))
        if late:
            self.recorded = now


def _drive(state: _State, steps: Iterator[Step]) -> None:
    more = True
    while more or state.flight.active:
        while more and state.flight.has_room:
            more = _take(state, next(steps, None))
            state.tell()
        if state.flight.active:
            _close(state, *state.flight.next())
            state.tell()


def _take(state: _State, step: Step | None) -> bool:
    """Begin a job, or note what is none; False where there is no more to begin."""
    if step is None:
        return False
    if isinstance(step, Note):
        _note(state, step)
        return True
    if state.budget.is_spent(state.begun, time.monotonic() - state.started):
        state.summary.stopped = "the budget is spent"
        return False
    state.flight.begin(step)
    state.squares.add(step.square)
    state.begun += 1
    return True


def _note(state: _State, note: Note) -> None:
    summary = state.summary
    state.squares.add(note.square)
    if note.kind == "month":
        summary.months += 1
    elif note.kind == "unplanned":
        summary.months += 1
        summary.unplanned.append(note.reason)
    elif note.kind == "skipped" and note.row is not None:
        summary.skipped += 1
        state.keep(note.square, note.row)
    else:
        summary.known += 1
        if note.kind == "settled" and note.row is not None:
            state.settled.setdefault(note.square, []).append(note.row)


def _close(state: _State, job: Job, row: Row | None, error: BaseException | None) -> None:
    """Count what came back, and keep what the ledger must know of it."""
    if row is None:
        row = replace(job.row, status="failed", reason=reason(error))
    if row.status == "done":
        state.summary.done += 1
        state.summary.valued += row.valued
    elif row.status == "skipped":
        state.summary.skipped += 1
    else:
        state.summary.failed += 1
        if len(state.summary.failures) < MOST_FAILURES:
            state.summary.failures.append(f"{job.square} {row.key}: {row.reason}")
    # A row that was written before is in the ledger with its pixels.
    if row.status != "done" and not row.written:
        state.keep(job.square, row)
    state.in_a_row = state.in_a_row + 1 if row.status == "failed" else 0
    if state.in_a_row >= MOST_FAILURES:
        state.record(all_rows=True)
        raise ReadError(
            f"{state.in_a_row} acquisitions failed one after the other, the last because "
            f"{row.reason}; what was written stays: mend the cause and run the same command again."
        )


def _written(state: _State) -> list[str]:
    """Squares of the plan that have dates, whichever run has written them."""
    return [
        name
        for name in sorted(state.squares)
        if any(row.status == "done" for row in read_rows(state.archive, parse(name)))
    ]
