"""Where jobs run: the cores of this machine, or a Dask cluster that somebody has."""

from __future__ import annotations

import logging
import os
import signal
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from functools import cached_property
from multiprocessing import resource_tracker
from threading import current_thread, main_thread
from typing import Any

import dask

from gssm.errors import RequestError

Client = Any  # of distributed, whose calls have no types

# Seconds that a scheduler has to answer, and its first worker to come.
ANSWER_SECONDS = 30
WORKER_SECONDS = 300
HERE = "127.0.0.1"
# Messages that a scheduler remembers of each connection, jobs among them; Dask's own number is
# 1000, and for a scheduler of one's own DASK_DISTRIBUTED__ADMIN__LOW_LEVEL_LOG_LENGTH.
QUIET = {"distributed.admin.low-level-log-length": 100}
# Of workers beside a server: pages of Dask's that nobody is to see, and how much they give way.
HIDDEN: dict[str, list[str]] = {
    "distributed.scheduler.http.routes": [],
    "distributed.worker.http.routes": [],
}
NICENESS = 10


@contextmanager
def cluster(scheduler: str = "", workers: int = 0, *, background: bool = False) -> Iterator[Client]:
    """Give a client of a cluster, and end what was started for it.

    Parameters
    ----------
    scheduler
        Address of a Dask scheduler, ``tcp://…`` or ``tls://…`` (certificates come from Dask's
        own configuration); by default one process on each core of this machine, which no
        other machine can reach.
    workers
        Processes on this machine; by default as many as it has cores.
    background
        Those on this machine have no dashboard, and give way to others: for a server.

    Raises
    ------
    RequestError
        The scheduler does not answer, or no worker comes to it.
    """
    _refuse(scheduler, workers)
    with _there(scheduler) if scheduler else _here(workers, background) as client:
        try:
            client.wait_for_workers(1, timeout=WORKER_SECONDS)
        except TimeoutError as error:
            raise RequestError(
                f"the cluster at {client.scheduler.address} has had no worker for "
                f"{WORKER_SECONDS} seconds; start some with `dask worker`."
            ) from error
        yield client


@contextmanager
def cluster_when_used(scheduler: str = "", workers: int = 0) -> Iterator[tuple[Client, int]]:
    """Give a client as `cluster` does, of processes that start when it is first used.

    Returns
    -------
    client, threads
        And of how many threads the cluster is; a scheduler that somebody has is asked at once.

    Raises
    ------
    RequestError
        As of `cluster`.
    """
    _refuse(scheduler, workers)
    with ExitStack() as stack:
        later = _Later(lambda: stack.enter_context(cluster(scheduler, workers)))
        yield later, sum(later.nthreads().values()) if scheduler else workers or cores()


class _Later:
    """A client that comes when something of it is asked for."""

    def __init__(self, come: Callable[[], Client]) -> None:
        self._come = come

    @cached_property
    def _client(self) -> Client:
        return self._come()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._client, name)


def _refuse(scheduler: str, workers: int) -> None:
    if workers < 0 or (scheduler and workers):
        raise RequestError(
            f"{workers} workers cannot be started"
            + (f" at {scheduler}, which has its own" if scheduler else "")
            + "; leave --workers out."
        )


@contextmanager
def _there(scheduler: str) -> Iterator[Client]:
    import distributed
    from distributed.utils import silence_logging_cmgr

    new: Any = distributed
    # Dask tells of a scheduler that goes by a traceback; what fails is told by the run.
    with silence_logging_cmgr(logging.CRITICAL):
        try:
            client = new.Client(scheduler, timeout=ANSWER_SECONDS, set_as_default=False)
        except (OSError, ValueError, TypeError) as error:
            first = (str(error) or type(error).__name__).splitlines()[0]
            raise RequestError(
                f"the Dask scheduler {scheduler} does not answer ({first}); check the address, and "
                "for tls:// the certificates in Dask's configuration."
            ) from error
        try:
            yield client
        finally:
            # A scheduler that is gone does not answer; what the run said of it counts.
            with suppress(TimeoutError):
                client.close(timeout=2)


@contextmanager
def _here(workers: int, background: bool) -> Iterator[Client]:
    import distributed

    new: Any = distributed
    options = {
        "host": HERE,
        "dashboard_address": f"{HERE}:0",
        "memory_limit": "auto",
        "silence_logs": logging.CRITICAL,  # what fails is told by the run
    }
    with ExitStack() as stack:
        stack.enter_context(dask.config.set({**QUIET, **(HIDDEN if background else {})}))
        with _deaf():
            local = new.LocalCluster(
                n_workers=workers or cores(),
                threads_per_worker=1,
                processes=True,
                scheduler_kwargs={"dashboard": False} if background else {},
                **options,
            )
            stack.enter_context(local)
        client = stack.enter_context(new.Client(local, set_as_default=False))
        if background:
            _give_way(client)
        yield client


def _give_way(client: Client) -> None:
    """Let the processes of workers, those that come later too, take what others leave."""
    import distributed

    new: Any = distributed

    class GiveWay(new.WorkerPlugin):  # type: ignore[misc]
        def setup(self, worker: Any) -> None:
            os.nice(NICENESS)

    client.register_plugin(GiveWay(), name="gssm-give-way")


@contextmanager
def _deaf() -> Iterator[None]:
    """Start threads, and through them processes, that Ctrl-C does not reach.

    A terminal sends it to all processes of a command; the first of them ends the others, and
    hears of it when they have started.
    """
    # It would let the thread that starts it hear again.
    resource_tracker.ensure_running()
    heard: list[int] = []
    is_main = current_thread() is main_thread()
    handler = signal.getsignal(signal.SIGINT)
    if is_main:
        signal.signal(signal.SIGINT, lambda number, _: heard.append(number))
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
        if is_main:
            signal.signal(signal.SIGINT, handler)
    if heard:
        signal.raise_signal(signal.SIGINT)


def cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
