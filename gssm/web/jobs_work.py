"""What a prediction does: one acquisition over one place, mapped into an archive of its own.

The cluster plans it and computes it chunk by chunk; this process writes what comes back, in
one transaction for each square, as `gssm archive build` does.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Generator, Iterable, Iterator
from contextlib import closing
from dataclasses import dataclass, field, replace
from typing import Any

import shapely
from shapely.geometry.base import BaseGeometry

from gssm.addresses import reached
from gssm.archive.acquisitions import write_acquisition
from gssm.archive.flight import Client, Flight
from gssm.archive.jobs import Job
from gssm.archive.ledger import Index
from gssm.archive.opening import Archive
from gssm.archive.recipe import write_recipe
from gssm.archive.repository import create_archive
from gssm.archive.tiles import parse
from gssm.catalogs import Bbox
from gssm.errors import (
    EmptySearchError,
    GssmError,
    StoreWriteError,
)
from gssm.web.catalog import Date, How
from gssm.web.jobs_tasks import CHUNK, Order, Packed, Plan, Task, map_chunk, plan_order, tasks_of

Report = Callable[[int, int, str], None]


class StoppedError(Exception):
    """The job is to end; raised in its own thread."""


class ClusterLostError(GssmError):
    """The cluster went away while it worked."""


@dataclass(frozen=True)
class Asked:
    """What a client asks for.

    Attributes
    ----------
    area
        In degrees.
    bbox
        Of it: west, south, east, north in degrees.
    date
        Of the catalogue.
    title
        For people; by default that of the date.
    """

    area: BaseGeometry
    bbox: Bbox
    date: Date
    title: str = ""

    @property
    def name(self) -> str:
        """Title, or the date and the middle of the place."""
        if self.title:
            return self.title
        west, south, east, north = self.bbox
        lon = (west + ((east - west) % 360) / 2 + 180) % 360 - 180
        return f"{self.date.time:%Y-%m-%d} at {(south + north) / 2:.3f}, {lon:.3f}"


def order_of(asked: Asked, how: How, chunk: int = CHUNK) -> Order:
    """Return what a client asks for as the server orders it."""
    area = str(shapely.to_geojson(asked.area))
    return Order(area, asked.date.row, how.recipe, how.archive, chunk)


@dataclass
class Control:
    """A job that runs, as other threads see it.

    Attributes
    ----------
    report
        Called with chunks done, chunks in all, and what is being done.
    """

    report: Report
    stopped: threading.Event = field(default_factory=threading.Event)
    _flight: Flight[Any] | None = None

    def stop(self) -> None:
        """Let the job end; it does so within moments."""
        self.stopped.set()
        flight = self._flight
        if flight is not None:
            flight.cancel()

    def check(self) -> None:
        """Raise `StoppedError` where the job is to end."""
        if self.stopped.is_set():
            raise StoppedError

    def watch(self, flight: Flight[Any]) -> None:
        """Cancel this flight when the job is to end."""
        self._flight = flight
        self.check()


def carry_out(order: Order, url: str, client: Client, control: Control) -> str:
    """Map what is ordered into a new archive.

    Parameters
    ----------
    order
        What.
    url
        Of the archive; nothing must be there.
    client
        Of the cluster.
    control
        Of the job.

    Returns
    -------
    str
        What was left out and why, or empty.

    Raises
    ------
    StoppedError
        The job was stopped.
    ClusterLostError
        The cluster went away.
    GssmError
        It cannot be mapped. Whatever is raised, what is at `url` is to be removed.
    """
    try:
        control.check()
        control.report(0, 0, "the images of the date are looked for")
        with closing(_results(client, control, [order])) as found:
            plan: Plan = next(found)
        return _write(order, url, plan, client, control)
    except BaseException as error:
        if control.stopped.is_set():
            raise StoppedError from error
        raise


def _submit(client: Client, one: Order | Task) -> Any:
    if isinstance(one, Order):
        return client.submit(plan_order, one, reached(), pure=False)
    return client.submit(map_chunk, one, pure=False, retries=1)


def _results(
    client: Client, control: Control, tasks: Iterable[Order | Task]
) -> Generator[Any, None, None]:
    """Results of tasks as they come back, of which some are on the cluster at a time."""
    flight: Flight[Order | Task] = Flight(client, lambda one: _submit(client, one), lambda: "")
    control.watch(flight)
    try:
        yield from _flown(flight, control, tasks)
    finally:
        if flight.active:
            flight.cancel()


def _flown(
    flight: Flight[Order | Task], control: Control, tasks: Iterable[Order | Task]
) -> Iterator[Any]:
    waiting, more = iter(tasks), True
    while more or flight.active:
        try:
            while more and flight.has_room:
                task = next(waiting, None)
                more = task is not None
                if task is not None:
                    flight.begin(task)
                    control.check()
            if not flight.active:
                return
            _, result, error = flight.next()
        except StoreWriteError as lost:
            raise ClusterLostError(
                "the cluster that computes was lost; ask for the prediction again."
            ) from lost
        if error is not None:
            raise error
        yield result


def _write(order: Order, url: str, plan: Plan, client: Client, control: Control) -> str:
    """Write the squares of a plan; say what was left out."""
    archive = create_archive(url, chunk=order.chunk)
    write_recipe(archive, replace(order.recipe, area=order.area, squares=()))
    total = sum(len(job.row.coverage) for job in plan.jobs)
    done, written, left_out = 0, 0, list(plan.reasons)

    def computed(job: Job) -> Iterator[tuple[Index, Packed]]:
        nonlocal done
        with closing(_results(client, control, tasks_of(order, plan, job))) as found:
            for chunk in found:
                done += 1
                control.report(done, total, "")
                yield chunk

    control.report(0, total, "")
    for job in plan.jobs:
        reason = _written(archive, job, computed(job))
        control.check()
        written += not reason
        if reason:
            left_out.append(f"{job.square}: {reason}")
    if not written:
        raise EmptySearchError(
            f"no map can be made: {'; '.join(left_out) or 'no image shows the place'}."
        )
    return f"left out: {'; '.join(left_out)}" if left_out else ""


def _written(archive: Archive, job: Job, chunks: Iterable[tuple[Index, Packed]]) -> str:
    """Write one square; say why not where nothing shows it."""
    share = job.settings.max_failed
    try:
        row = write_acquisition(archive, parse(job.square), job.row, chunks, max_failed=share)
    except EmptySearchError:
        return "no image shows it"  # footprints are drawn a kilometre wider than they are
    return "" if row.status == "done" else row.reason
