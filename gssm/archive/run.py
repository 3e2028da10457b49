"""Jobs to a cluster, a bounded number at a time, and what became of them to the ledger."""

from __future__ import annotations

import json
import time
import zlib
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from typing import Any

from gssm.addresses import Network, reach, reached
from gssm.archive.acquisitions import read_rows, record_open, sort_square
from gssm.archive.jobs import Job, run_job
from gssm.archive.ledger import Row
from gssm.archive.plan import Note, Step
from gssm.archive.repository import Archive
from gssm.archive.settle import settle
from gssm.archive.tiles import parse
from gssm.deadline import go_on
from gssm.errors import GssmError, ReadError, StoreWriteError

# Of distributed, whose calls have no types.
Client = Any
Future = Any
Work = Callable[[Archive, Job], Row]
Report = Callable[["Summary"], None]

# Jobs that wait or run for each thread of the cluster: one runs, the next is there already.
PER_THREAD = 2
# Rows of a square that are recorded together, and seconds that one waits at most for others.
ROWS_TOGETHER = 50
RECORD_SECONDS = 60.0
# Seconds after which the size of the cluster is asked for again.
SIZE_SECONDS = 5.0
# Seconds that a cluster may be without any worker, and after which one looks up from waiting.
ALONE_SECONDS, WAIT_SECONDS = 300.0, 0.2
# Where so many jobs fail one after the other, the next will fail too.
MOST_FAILURES = 50
LONGEST_REASON = 500


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
    state = _State(archive, client, budget or Budget(), report or _nothing)
    state.fetch = lambda job: client.submit(
        _work,
        work,
        archive,
        replace(job, items=()),
        _packed(job),
        reached(),
        pure=False,
        retries=retries,
        key=f"gssm-{job.square}-{job.row.key}-{time.monotonic_ns()}",
    )
    try:
        _drive(state, iter(planned))
    except BaseException:
        _cancel(state)
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
    client: Client
    budget: Budget
    report: Report
    summary: Summary = field(default_factory=Summary)
    fetch: Callable[[Job], Future] = field(init=False)
    active: dict[Future, Job] = field(default_factory=dict)
    rows: dict[str, list[Row]] = field(default_factory=dict)
    settled: dict[str, list[Row]] = field(default_factory=dict)
    squares: set[str] = field(default_factory=set)
    begun: int = 0
    in_a_row: int = 0
    started: float = field(default_factory=time.monotonic)
    recorded: float = field(default_factory=time.monotonic)
    alive: float = field(default_factory=time.monotonic)
    sized: float = float("-inf")
    size: int = 0

    @property
    def threads(self) -> int:
        """Threads of the cluster, asked for now and then; 0 where it does not answer."""
        now = time.monotonic()
        if now - self.sized > SIZE_SECONDS:
            try:
                self.size = sum(self.client.nthreads().values())
            except Exception:  # a client without its scheduler fails in many ways
                self.size = 0
            self.sized = now
            self.alive = now if self.size else self.alive
        return self.size

    @property
    def limit(self) -> int:
        """Jobs that may be in flight."""
        return PER_THREAD * max(1, self.threads)

    def tell(self) -> None:
        """Report."""
        summary = self.summary
        summary.seconds = time.monotonic() - self.started
        summary.in_flight = len(self.active)
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


def _drive(state: _State, steps: Any) -> None:
    import distributed

    new: Any = distributed
    completed = new.as_completed(loop=state.client.loop)
    more = True
    while more or state.active:
        while more and len(state.active) < state.limit:
            more = _take(state, next(steps, None), completed)
            state.tell()
        if state.active:
            future = _next(state, completed)
            _close(state, future, state.active.pop(future))
            state.tell()


def _next(state: _State, completed: Any) -> Future:
    """Wait for a job to come back, as long as there is a worker for it."""
    while not completed.has_ready():
        go_on()  # what stands in the way of a signal's exception is not in its way for ever
        if state.threads == 0 and time.monotonic() - state.alive > ALONE_SECONDS:
            raise _lost(state)
        with completed.thread_condition:
            completed.thread_condition.wait(WAIT_SECONDS)
    return next(completed)


def _take(state: _State, step: Step | None, completed: Any) -> bool:
    """Begin a job, or note what is none; False where there is no more to begin."""
    if step is None:
        return False
    if isinstance(step, Note):
        _note(state, step)
        return True
    if state.budget.is_spent(state.begun, time.monotonic() - state.started):
        state.summary.stopped = "the budget is spent"
        return False
    try:
        future = state.fetch(step)
    except Exception as error:  # a client without its scheduler fails in many ways
        if state.client.status == "running":
            raise
        raise _lost(state) from error
    state.active[future] = step
    state.squares.add(step.square)
    state.begun += 1
    completed.add(future)
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


def _close(state: _State, future: Future, job: Job) -> None:
    """Count what came back, and keep what the ledger must know of it."""
    if future.status not in ("finished", "error"):
        raise _lost(state)
    error = future.exception() if future.status == "error" else None
    row = future.result() if error is None else None
    future.release()
    if row is None:
        row = replace(job.row, status="failed", reason=_reason(error))
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


def _reason(error: BaseException | None) -> str:
    """Say in one line why a job failed; only gssm's own errors say what to do."""
    from distributed import KilledWorker

    if isinstance(error, KilledWorker):
        return "it ended the workers that took it, one after the other: more memory may help"
    text = " ".join(str(error).split())[:LONGEST_REASON]
    return text if isinstance(error, GssmError) else f"{type(error).__name__}: {text}"


def _lost(state: _State) -> StoreWriteError:
    return StoreWriteError(
        f"the cluster was lost after {state.summary.done} acquisitions, which stay; start it "
        "again and run the same command, which goes on from there."
    )


def _cancel(state: _State) -> None:
    """Let go of what is in flight; what a worker has not committed is nowhere."""
    try:
        state.client.cancel(list(state.active), force=True)
    except Exception:  # the scheduler may be what is gone
        state.active.clear()


def _written(state: _State) -> list[str]:
    """Squares of the plan that have dates, whichever run has written them."""
    return [
        name
        for name in sorted(state.squares)
        if any(row.status == "done" for row in read_rows(state.archive, parse(name)))
    ]
