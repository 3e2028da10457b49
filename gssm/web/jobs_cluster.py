"""The cluster of a server: started at its first prediction, kept, and started again if lost."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from concurrent.futures import Future, wait
from contextlib import AbstractContextManager, ExitStack

from gssm.archive.clusters import cluster
from gssm.archive.flight import Client

log = logging.getLogger("gssm.web")

Open = Callable[[], AbstractContextManager[Client]]
Started = Future[tuple[Client, ExitStack]]
# Seconds between looks at whether somebody still waits for it.
LOOK_SECONDS = 0.1


class Workers:
    """A cluster that is there when it is needed.

    Parameters
    ----------
    scheduler
        Of a cluster that somebody has; by default the cores of this machine, by processes that
        give way to the server, and that no other machine can reach.
    open_
        What opens the cluster instead.
    """

    def __init__(self, scheduler: str = "", open_: Open | None = None) -> None:
        self._open: Open = open_ or (lambda: cluster(scheduler, background=True))
        self._lock = threading.Lock()
        self._started: Started | None = None

    def client(self, check: Callable[[], None]) -> Client:
        """Return a client of the cluster, which is started if it is not there.

        Parameters
        ----------
        check
            Called while one waits; what it raises ends the wait, not the start.

        Raises
        ------
        RequestError
            The scheduler does not answer, or it has no workers.
        """
        with self._lock:
            if self._started is not None and _is_lost(self._started):
                self._drop()
            if self._started is None:
                self._started = _begin(self._open)
            started = self._started
        while not wait([started], LOOK_SECONDS).done:
            check()
        try:
            return started.result()[0]
        except BaseException:
            with self._lock:
                self._started = None if self._started is started else self._started
            raise

    def drop(self) -> None:
        """Let go of the cluster, which was lost; the next job starts another."""
        with self._lock:
            self._drop()

    def _drop(self) -> None:
        started, self._started = self._started, None
        if started is not None:  # what is lost may take its time to close
            threading.Thread(target=_end, args=[started], name="gssm-cluster", daemon=True).start()

    def close(self) -> None:
        """End what was started."""
        with self._lock:
            started, self._started = self._started, None
        if started is not None and started.done():
            _end(started)
        elif started is not None:
            started.add_done_callback(_end)


def _begin(open_: Open) -> Started:
    """Open a cluster in a thread of its own, for which nobody has to wait."""
    started: Started = Future()

    def begin() -> None:
        stack = ExitStack()
        try:
            client = stack.enter_context(open_())
        except BaseException as error:
            started.set_exception(error)
        else:
            started.set_result((client, stack))

    threading.Thread(target=begin, name="gssm-cluster", daemon=True).start()
    return started


def _is_lost(started: Started) -> bool:
    is_there = started.done() and started.exception() is None
    return is_there and started.result()[0].status != "running"


def _end(started: Started) -> None:
    if started.exception() is not None:
        return
    try:
        started.result()[1].close()
    except Exception as error:  # Dask has many ways to fail when something is gone already
        log.warning("the cluster could not be closed: %s", error)
