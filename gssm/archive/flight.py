"""Jobs in flight on a cluster: a bounded number at a time, and never waiting for the dead."""

from __future__ import annotations

import time
from asyncio import CancelledError
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

from gssm.deadline import go_on
from gssm.errors import GssmError, StoreWriteError

# Of distributed, whose calls have no types.
Client = Any
Future = Any
T = TypeVar("T")

# Jobs that wait or run for each thread of the cluster: one runs, the next is there already.
PER_THREAD = 2
# Seconds after which the size of the cluster is asked for again.
SIZE_SECONDS = 5.0
# Seconds that a cluster may be without any worker, and after which one looks up from waiting.
ALONE_SECONDS, WAIT_SECONDS = 300.0, 0.2
# Characters of what is told of a failure.
LONGEST_REASON = 500


@dataclass
class Flight(Generic[T]):
    """Jobs in flight.

    Attributes
    ----------
    client
        Of the cluster; not asked anything before the first job.
    fetch
        Submits a job and returns its future.
    told
        Says what was done so far, for the message that the cluster was lost.
    """

    client: Client
    fetch: Callable[[T], Future]
    told: Callable[[], str]
    active: dict[Future, T] = field(default_factory=dict)
    _completed: Any = None
    _alive: float = 0.0
    _sized: float = float("-inf")
    _size: int = 0

    @property
    def has_room(self) -> bool:
        """Tell whether another job may be begun."""
        return not self.active or len(self.active) < PER_THREAD * max(1, self._threads())

    def begin(self, job: T) -> None:
        """Submit a job.

        Raises
        ------
        StoreWriteError
            The cluster was lost.
        """
        if self._completed is None:
            self._get_ready()
        try:
            future = self.fetch(job)
        except Exception as error:  # a client without its scheduler fails in many ways
            if self.client.status == "running":
                raise
            raise self._lost() from error
        self.active[future] = job
        self._completed.add(future)

    def _get_ready(self) -> None:
        import distributed

        new: Any = distributed
        self._completed = new.as_completed(loop=self.client.loop)
        self._alive = time.monotonic()

    def next(self) -> tuple[T, Any, BaseException | None]:
        """Wait for a job to come back, as long as there is a worker for it.

        Returns
        -------
        job, result, error
            The result is None where there is an error.

        Raises
        ------
        StoreWriteError
            The cluster was lost.
        """
        while not self._completed.has_ready():
            go_on()  # what stands in the way of a signal's exception is not in its way for ever
            if self._threads() == 0 and time.monotonic() - self._alive > ALONE_SECONDS:
                raise self._lost()
            with self._completed.thread_condition:
                self._completed.thread_condition.wait(WAIT_SECONDS)
        future = next(self._completed)
        job = self.active.pop(future)
        if future.status not in ("finished", "error"):
            raise self._lost()
        return job, *self._fetched(future)

    def _fetched(self, future: Future) -> tuple[Any, BaseException | None]:
        """Return the result or the error of a job: the scheduler is asked for it once more."""
        try:
            error = future.exception() if future.status == "error" else None
            return None if error is not None else future.result(), error
        except (Exception, CancelledError) as gone:
            raise self._lost() from gone
        finally:
            future.release()

    def cancel(self) -> None:
        """Let go of what is in flight; what a worker has not committed is nowhere."""
        if not self.active:
            return
        try:
            self.client.cancel(list(self.active), force=True)
        except Exception:  # the scheduler may be what is gone
            self.active.clear()

    def _threads(self) -> int:
        """Threads of the cluster, asked for now and then; 0 where it does not answer."""
        now = time.monotonic()
        if now - self._sized > SIZE_SECONDS:
            try:
                self._size = sum(self.client.nthreads().values())
            except Exception:  # a client without its scheduler fails in many ways
                self._size = 0
            self._sized = now
            self._alive = now if self._size else self._alive
        return self._size

    def _lost(self) -> StoreWriteError:
        return StoreWriteError(
            f"the cluster was lost after {self.told()}, which stay; start it again and run the "
            "same command, which goes on from there."
        )


def reason(error: BaseException | None) -> str:
    """Say in one line why a job failed; only gssm's own errors say what to do."""
    from distributed import KilledWorker

    if isinstance(error, KilledWorker):
        return "it ended the workers that took it, one after the other: more memory may help"
    text = " ".join(str(error).split())[:LONGEST_REASON]
    return text if isinstance(error, GssmError) else f"{type(error).__name__}: {text}"
