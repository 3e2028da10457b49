"""The picture of the ground under an archive's maps, chunk by chunk on a cluster."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import pandas as pd

from gssm.addresses import Network, reach, reached
from gssm.archive.acquisitions import read_rows, squares_of
from gssm.archive.flight import Client, Flight, reason
from gssm.archive.ledger import Index
from gssm.archive.passes import Images
from gssm.archive.plan import find_items
from gssm.archive.recipe import Recipe
from gssm.archive.repository import Archive
from gssm.archive.tiles import Square, parse
from gssm.archive.true_color import (
    WITHOUT_OVERVIEWS,
    computed,
    is_usable,
    slim,
    write_true_color,
)
from gssm.archive.true_color_overviews import write_overviews
from gssm.describe import Observation
from gssm.pairing import observations
from gssm.request import check_datetime

# Of a year before the newest map: in every season some images are nearly clear.
PERIOD = pd.Timedelta("365D")
# Images that a chunk may need: what is clouded in all of them stays empty.
MOST_IMAGES = 40


@dataclass(frozen=True)
class TrueColorSummary:
    """Chunks whose picture was written, was there before, or has no image; why some failed.

    ``squares`` counts those whose overviews were made.
    """

    done: int = 0
    known: int = 0
    imageless: int = 0
    squares: int = 0
    failed: tuple[str, ...] = field(default=())


@dataclass(frozen=True)
class TrueColorJob:
    """The picture of one chunk of a square; without an index the overviews of the square."""

    square: str
    index: Index | None = None
    images: tuple[Observation, ...] = ()
    max_failed: float = 0.1
    renew: bool = False


def fill_true_color(
    archive: Archive,
    recipe: Recipe,
    client: Client,
    *,
    datetime: Any = None,
    squares: Sequence[str] = (),
    renew: bool = False,
    report: Callable[[TrueColorSummary], None] | None = None,
) -> TrueColorSummary:
    """Write the picture of every chunk that the archive has maps of and no picture.

    Parameters
    ----------
    archive
        Where to, and which chunks.
    recipe
        Catalogue, and most cloud cover of an image.
    client
        Of the cluster; about two chunks for each of its threads are in work at a time.
    datetime
        When the images were taken, as for `gssm.search`; by default the year before the
        newest map of each square.
    squares
        Names of squares; by default all that the archive has.
    renew
        Replace the pictures that are there.
    report
        Called after every chunk.

    Raises
    ------
    StoreWriteError
        The cluster was lost.
    GssmError
        The catalogue cannot be asked, or the archive cannot be read. A chunk that fails is
        counted, and the others go on.
    """
    summary = TrueColorSummary()
    flight: Flight[TrueColorJob] = Flight(
        client,
        lambda job: client.submit(_work, archive, job, reached(), pure=False, retries=1),
        lambda: f"{summary.done} chunks of true colour",
    )
    queue = _queue(archive, recipe, datetime, squares, renew)
    try:
        while True:
            while flight.has_room and (job := queue.next()) is not None:
                flight.begin(job)
            if not flight.active:
                return queue.told(summary)
            job, written, error = flight.next()
            summary = _counted(summary, job, written, error)
            queue.came(job)
            if report is not None:
                report(queue.told(summary))
    except BaseException:
        flight.cancel()
        raise


@dataclass(frozen=True)
class _Plan:
    """What a square lacks; ``is_stale`` where a killed run left pictures without overviews."""

    square: str
    known: int = 0
    imageless: int = 0
    jobs: tuple[TrueColorJob, ...] = ()
    is_stale: bool = False


@dataclass
class _Queue:
    """Jobs square by square; the overviews of one as soon as all of its chunks have come."""

    plans: Iterator[_Plan]
    known: int = 0
    imageless: int = 0
    _jobs: deque[TrueColorJob] = field(default_factory=deque)
    _left: dict[str, int] = field(default_factory=dict)

    def next(self) -> TrueColorJob | None:
        """Return the next job, if there is one now."""
        while not self._jobs:
            plan = next(self.plans, None)
            if plan is None:
                return None
            self.known += plan.known
            self.imageless += plan.imageless
            self._left[plan.square] = len(plan.jobs)
            self._jobs.extend(plan.jobs)
            if plan.is_stale and not plan.jobs:
                self._jobs.append(TrueColorJob(plan.square))
        return self._jobs.popleft()

    def told(self, summary: TrueColorSummary) -> TrueColorSummary:
        """Return a summary with what needed no job."""
        return replace(summary, known=summary.known + self.known, imageless=self.imageless)

    def came(self, job: TrueColorJob) -> None:
        """Note that a job has come back."""
        if job.index is None:
            return
        self._left[job.square] -= 1
        if not self._left[job.square]:
            self._jobs.appendleft(TrueColorJob(job.square))


def _queue(
    archive: Archive, recipe: Recipe, datetime: Any, squares: Sequence[str], renew: bool
) -> _Queue:
    """Plan squares, each when the jobs of those before it have been begun."""
    if datetime is not None:
        check_datetime(datetime)
    places = sorted({parse(name) for name in squares}) or squares_of(archive)
    return _Queue(_planned(archive, place, recipe, datetime, renew) for place in places)


def _counted(
    summary: TrueColorSummary, job: TrueColorJob, written: bool, error: BaseException | None
) -> TrueColorSummary:
    """Return the summary with what became of a job."""
    if error is not None:
        what = f"chunk {job.index}" if job.index is not None else "overviews"
        return replace(summary, failed=(*summary.failed, f"{job.square} {what}: {reason(error)}"))
    if job.index is None:
        return replace(summary, squares=summary.squares + bool(written))
    if not written:  # by another run, meanwhile
        return replace(summary, known=summary.known + 1)
    return replace(summary, done=summary.done + 1)


def _work(archive: Archive, job: TrueColorJob, networks: frozenset[Network]) -> bool:
    reach(networks)
    square = parse(job.square)
    if job.index is None:
        return write_overviews(archive, square)
    return write_true_color(
        archive, square, job.index, job.images, max_failed=job.max_failed, renew=job.renew
    )


def _planned(archive: Archive, square: Square, recipe: Recipe, datetime: Any, renew: bool) -> _Plan:
    rows = [row for row in read_rows(archive, square) if row.status == "done"]
    there = computed(archive, square)
    mapped = {index for row in rows for index in row.coverage}
    wanted = sorted(mapped if renew else mapped - set(there))
    is_stale = WITHOUT_OVERVIEWS in there.values()
    plan = _Plan(square.name, known=len(mapped) - len(wanted), is_stale=is_stale)
    if not wanted:
        return plan
    if datetime is None:
        newest = pd.Timestamp(max(row.time for row in rows), unit="s")
        datetime = (newest - PERIOD, newest)
    images, shown = _images(archive, square, recipe, datetime)
    over = {index: [o for o in images if index in shown(o)] for index in wanted}
    jobs = tuple(
        TrueColorJob(square.name, index, tuple(found[:MOST_IMAGES]), recipe.max_failed, renew)
        for index, found in over.items()
        if found
    )
    return replace(plan, imageless=len(wanted) - len(jobs), jobs=jobs)


def _images(
    archive: Archive, square: Square, recipe: Recipe, datetime: Any
) -> tuple[list[Observation], Callable[[Observation], frozenset[Index]]]:
    """Images of Sentinel-2 over a square, the least clouded first, and the chunks that each shows.

    Of two that are as clouded, to the percent, the newer goes first. Surface reflectance,
    whatever the model reads: what the air scatters makes a picture blue.
    """
    items = find_items(
        square, datetime, recipe.catalog, "l2", recipe.max_cloud_cover, recipe.window
    )
    ground = Images(square, archive.chunk, items)
    usable = [slim(o) for o in observations(items) if is_usable(o)] if items else []
    usable.sort(key=lambda o: (_cover(o), -o.time.value, o.id))
    return usable, ground.shown


def _cover(o: Observation) -> int:
    return 100 if o.cloud_cover is None else int(o.cloud_cover)
