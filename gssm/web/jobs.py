"""Predictions on request: a bounded queue, the threads that work it off, and what became of each.

The result of a job is an archive of its own, served as a dataset under the job's id.
"""

from __future__ import annotations

import logging
import threading
import time
import uuid
from collections import deque
from collections.abc import AsyncIterator, Callable
from contextlib import ExitStack, suppress
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from gssm.archive.opening import find_archive
from gssm.errors import GssmError, StoreWriteError
from gssm.web.catalog import Catalog
from gssm.web.datasets import Datasets, UnknownDatasetError
from gssm.web.jobs_cluster import Workers
from gssm.web.jobs_records import Folder, Record, State, age_seconds, now
from gssm.web.jobs_tasks import CHUNK, Order
from gssm.web.jobs_watch import AGAIN_SECONDS, Watching
from gssm.web.jobs_work import (
    Asked,
    ClusterLostError,
    Control,
    StoppedError,
    carry_out,
    order_of,
)
from gssm.web.lanes import BusyError
from gssm.web.problems import NotFoundError, TooManyRequestsError, clean, secrets_of
from gssm.web.settings import Settings

log = logging.getLogger("gssm.web")

Work = Callable[[Order, str, Any, Control], str]

# Jobs that have ended are kept so many and so long.
MOST_KEPT, LONGEST_KEPT = 50, 7 * 86_400.0
# Seconds between looks for what is too old.
EXPIRY_SECONDS = 600.0
# Seconds that a job has to end when the server does.
END_SECONDS = 10.0


@dataclass
class _Entry:
    """A job in memory: its record, whose it is, and what runs."""

    record: Record
    client: str = ""
    asked: Asked | None = None
    control: Control | None = None


class Jobs:
    """The predictions of a server.

    Parameters
    ----------
    settings
        Folder, cluster and limits.
    datasets
        Where results are served.
    catalog
        Where dates are found, and how they are mapped.
    workers
        Cluster instead of that of the settings.
    work
        What a job does.
    chunk
        Pixels of the side of a chunk of a result.
    """

    def __init__(
        self,
        settings: Settings,
        datasets: Datasets,
        *,
        catalog: Catalog | None = None,
        workers: Workers | None = None,
        work: Work = carry_out,
        chunk: int = CHUNK,
    ) -> None:
        self.catalog = catalog or Catalog(settings)
        self._settings, self._limits, self._datasets = settings, settings.limits, datasets
        self._workers = workers or Workers(settings.scheduler or "")
        self._work, self._chunk = work, chunk
        self._folder = Folder(settings.data / "jobs")
        self._changed = threading.Condition()
        self._entries: dict[str, _Entry] = {}
        self._queue: deque[str] = deque()
        self._threads: list[threading.Thread] = []
        self._stack = ExitStack()
        self._is_open = False
        self._watching = Watching(self._seen)

    def start(self) -> None:
        """Take over what is in the folder, and begin to work.

        Raises
        ------
        RequestError
            The folder is that of another server, or cannot be written.
        """
        with ExitStack() as stack:
            stack.enter_context(self._folder.held())
            self._entries = {r.id: _Entry(self._served(r)) for r in self._folder.load()}
            self._stack = stack.pop_all()
        self._queue.clear()
        self._is_open = True
        with self._changed:
            self._expire()
        self._threads = [
            threading.Thread(target=self._run, name=f"gssm-jobs-{number}", daemon=True)
            for number in range(self._limits.jobs_running)
        ]
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        """End what runs, which is told as failed at the next start, and the cluster."""
        with self._changed:
            if not self._is_open:
                return
            self._is_open = False
            self._changed.notify_all()
            controls = [e.control for e in self._entries.values() if e.control is not None]
        for control in controls:
            control.stop()
        until = time.monotonic() + END_SECONDS
        for thread in self._threads:
            thread.join(max(0.0, until - time.monotonic()))
        self._workers.close()
        for name in self._entries:  # they are served again after the next start
            with suppress(UnknownDatasetError):
                self._datasets.remove(name)
        self._stack.close()

    def submit(self, asked: Asked, client: str) -> Record:
        """Put a job into the queue.

        Parameters
        ----------
        asked
            What.
        client
            Who, as of `gssm.web.context.client_of`; kept in memory alone.

        Raises
        ------
        TooManyRequestsError
            The queue is full, or the client has as many jobs under way as it may.
        StoreWriteError
            The server cannot write.
        """
        limits = self._limits
        with self._changed:
            self._refuse_closed()
            under_way = [e for e in self._entries.values() if not e.record.is_final]
            if sum(e.client == client for e in under_way) >= limits.jobs_per_client:
                raise TooManyRequestsError(
                    f"{limits.jobs_per_client} predictions from this address are under way, and "
                    "no more may be; wait until one has ended, or cancel one.",
                    AGAIN_SECONDS,
                )
            if len(self._queue) >= limits.jobs_queued:
                raise TooManyRequestsError(
                    f"{len(self._queue)} predictions wait already, and no more may; ask again "
                    "later.",
                    AGAIN_SECONDS,
                )
            record = Record(
                id=self._folder.new(),
                title=asked.name,
                date=asked.date.id,
                bbox=asked.bbox,
                created=now(),
            )
            self._folder.save(record)
            self._entries[record.id] = _Entry(record, client, asked)
            self._queue.append(record.id)
            self._changed.notify()
            return self._shown(record)

    def get(self, name: str) -> Record:
        """Return a job.

        Raises
        ------
        NotFoundError
            There is none of that id.
        """
        with self._changed:
            return self._shown(self._entry(name).record)

    def list(self) -> list[Record]:
        """Return all jobs, the newest first."""
        with self._changed:
            return [self._shown(entry.record) for entry in reversed(self._entries.values())]

    def remove(self, name: str) -> Record | None:
        """Cancel a job that has not ended, or remove one that has, with its result.

        Returns
        -------
        Record or None
            The job, which ends within moments; None where it is removed.

        Raises
        ------
        NotFoundError
            There is none of that id.
        """
        with self._changed:
            entry = self._entry(name)
            if entry.record.is_final:
                self._forget(name)
                return None
            if entry.control is None:
                with suppress(ValueError):  # of a job that the end of the server has stopped
                    self._queue.remove(name)
                self._end(name, "cancelled")
                return entry.record
            control = entry.control
            entry.record = replace(entry.record, message="it is being cancelled")
            control.stopped.set()
        control.stop()  # without the lock: the cluster is told
        return entry.record

    def refuse_watching(self, name: str, client: str) -> None:
        """Refuse to `watch` a job.

        Raises
        ------
        NotFoundError
            There is none of that id.
        TooManyRequestsError
            Too many are watched.
        """
        self.get(name)
        self._watching.refuse(client)

    def watch(self, name: str, client: str = "") -> AsyncIterator[Record]:
        """Yield a job whenever it has changed, at most five times a second, until it has ended."""
        return self._watching.stream(name, client, lambda: self._is_open)

    def _seen(self, name: str) -> Record | None:
        with self._changed:
            entry = self._entries.get(name)
            return None if entry is None else self._shown(entry.record)

    def _refuse_closed(self) -> None:
        if not self._is_open:
            raise BusyError("the server is about to end; ask again in a moment.")

    def _entry(self, name: str) -> _Entry:
        entry = self._entries.get(name)
        if entry is None:
            raise NotFoundError(
                f"there is no job {name[:40]!r}; /api/v1/jobs lists those that there are."
            )
        return entry

    def _shown(self, record: Record) -> Record:
        """Return a record as it is shown: one that waits says how many come before it."""
        if record.state != "queued" or record.id not in self._queue:
            return record
        before = self._queue.index(record.id)
        return replace(record, message=f"{before} wait before it" if before else "")

    def _run(self) -> None:
        """Work off the queue."""
        while True:
            with self._changed:
                while self._is_open and not self._queue:
                    if not self._changed.wait(EXPIRY_SECONDS):
                        self._expire()
                if not self._is_open:
                    return
                entry = self._entries[self._queue.popleft()]
                name = entry.record.id
                entry.control = Control(partial(self._tell, name))
                entry.record = replace(entry.record, state="running", started=now(), message="")
                self._save(entry.record)
            self._carry_out(name, entry, entry.control)

    def _carry_out(self, name: str, entry: _Entry, control: Control) -> None:
        """Do a job, and keep what became of it."""
        assert entry.asked is not None
        message, url = "", self._folder.archive(name)
        try:
            control.report(0, 0, "the cluster starts")
            client = self._workers.client(control.check)
            how = self.catalog.how()
            order = order_of(entry.asked, how, self._chunk)
            message = self._told(self._work(order, url, client, control))
            self._datasets.add(name, url, entry.record.title, "job")
            state: State = "done"
        except StoppedError:
            state = "cancelled"
        except Exception as error:
            if isinstance(error, ClusterLostError):
                self._workers.drop()
            state, message = "failed", self._sentence(name, error)
        with self._changed:
            if control.stopped.is_set():
                state, message = "cancelled", ""
            entry.control = entry.asked = None
            if state != "done":
                self._withdraw(name)
            if state != "cancelled" or self._is_open:  # else the next start tells it
                self._end(name, state, message)
            self._expire()

    def _tell(self, name: str, done: int, total: int, message: str) -> None:
        """Note how far a job is."""
        with self._changed:
            entry = self._entries[name]
            if entry.control is not None and entry.control.stopped.is_set():
                message = entry.record.message
            entry.record = replace(
                entry.record, chunks_done=done, chunks_total=total, message=message
            )

    def _end(self, name: str, state: State, message: str = "") -> None:
        entry = self._entries[name]
        entry.record = replace(entry.record, state=state, message=message, ended=now())
        self._save(entry.record)

    def _save(self, record: Record) -> None:
        """Keep a record; where that fails, it is as it was after the next start."""
        try:
            self._folder.save(record)
        except StoreWriteError as error:
            log.error("job %s: %s", record.id, error)

    def _withdraw(self, name: str) -> None:
        """Serve the result of a job no longer, and delete it."""
        with suppress(UnknownDatasetError):
            self._datasets.remove(name)
        self._folder.remove_archive(name)

    def _forget(self, name: str) -> None:
        """Remove a job that has ended, with its result."""
        with suppress(UnknownDatasetError):
            self._datasets.remove(name)
        self._folder.remove(name)
        del self._entries[name]

    def _expire(self) -> None:
        """Remove what ended too long ago, and the oldest of too many."""
        ended = [e.record for e in self._entries.values() if e.record.is_final]
        ended.sort(key=lambda record: record.ended or record.created)
        for place, record in enumerate(ended):
            if place < len(ended) - MOST_KEPT or age_seconds(record) > LONGEST_KEPT:
                self._forget(record.id)

    def _served(self, record: Record) -> Record:
        """Serve the result of a job of an earlier start, if it is one and can be read."""
        if record.state != "done":
            return record
        url = self._folder.archive(record.id)
        try:
            find_archive(url)
            self._datasets.add(record.id, url, record.title, "job")
        except GssmError as error:
            log.warning("job %s: %s", record.id, error)
            lost = "its result cannot be read any more; ask for the prediction again."
            return replace(record, state="failed", message=lost)
        return record

    def _sentence(self, name: str, error: Exception) -> str:
        """Return what a client may read of a failure; the log has all of it."""
        from distributed import KilledWorker

        if isinstance(error, KilledWorker):
            log.error("job %s ended the workers that took it", name, exc_info=error)
            return "it ended the processes that took it, one after the other; try a smaller place."
        if isinstance(error, GssmError):
            log.warning("job %s failed: %s", name, error)
            return self._told(str(error))
        number = uuid.uuid4().hex[:12]
        log.error("internal error %s of job %s", number, name, exc_info=error)
        return f"internal error {number}; the log of the server explains it."

    def _told(self, sentence: str) -> str:
        """Return a sentence without addresses and paths of the server."""
        secrets, how = secrets_of(self._settings), self.catalog.known
        if how is not None:
            secrets |= {how.recipe.catalog: "the catalogue", how.recipe.model: "the model"}
        return clean(sentence, {text: told for text, told in secrets.items() if "/" in text})
