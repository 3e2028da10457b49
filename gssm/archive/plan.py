"""What is to be mapped: every acquisition of every square that the archive has not."""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import chain, pairwise
from pathlib import Path
from typing import Any, Literal

import pandas as pd
from shapely.geometry.base import BaseGeometry

from gssm.align import ELEVATIONS
from gssm.archive import ledger
from gssm.archive.acquisitions import read_rows
from gssm.archive.area import in_degrees
from gssm.archive.jobs import Job, Settings
from gssm.archive.ledger import Index, Row
from gssm.archive.passes import MARGIN, Images
from gssm.archive.past import past_computed
from gssm.archive.repository import Archive
from gssm.archive.rounds import Round
from gssm.archive.tiles import Square, chunks_over
from gssm.catalogs import Bbox
from gssm.describe import Observation
from gssm.errors import CatalogUnreachableError, EmptySearchError, RequestError
from gssm.models.bundle import resolve
from gssm.models.ensemble import OF_THE_PAST
from gssm.pairing import SAME_PASS, Acquisition
from gssm.request import (
    WIDEST_BBOX_DEGREES,
    DateRange,
    check_percent,
    check_window,
)
from gssm.schema import FeatureSpec
from gssm.search import search

# Time that a catalogue may take to list an image after it was taken.
LATENCY = pd.Timedelta("2D")
# A catalogue that fails this often in a row is down, and asking on would take for ever.
MOST_FAILURES = 20

Kind = Literal["known", "settled", "skipped", "unplanned", "month"]


@dataclass(frozen=True)
class Note:
    """What the planner met that is no job.

    ``known``: the archive has it. ``settled``: it has it, and no better partner can come any
    more. ``skipped``: it cannot be mapped. ``unplanned``: the catalogue failed for a month.
    ``month``: all of a month of a square is planned.
    """

    square: str
    kind: Kind
    reason: str = ""
    row: Row | None = None


Step = Job | Note


def plan(
    archive: Archive,
    area: Bbox | BaseGeometry | None,
    datetime: Any,
    *,
    catalog: str | Path | Any = "planetary-computer",
    max_cloud_cover: float = 60,
    settings: Settings | None = None,
    squares: Sequence[str] = (),
    abreast: int = 1,
) -> Iterator[Job]:
    """Find the jobs of an area and period, lazily: square by square, month by month.

    Parameters
    ----------
    archive
        Whose ledger says what is there already.
    area
        West, south, east, north in degrees, or a shape in degrees; None: the whole of
        `squares`.
    datetime
        As for `gssm.search`; an acquisition belongs to the moment of its first slice.
    catalog, max_cloud_cover, settings, abreast
        As for `steps`.
    squares
        Names of MGRS squares; by default all that the area touches.

    Raises
    ------
    CatalogUnreachableError
        The catalogue failed for a month.
    GssmError
        The request cannot be served, or the archive cannot be read.
    """
    shape = in_degrees(area) if isinstance(area, tuple) else area
    found = steps(
        archive,
        [Round(shape, datetime, tuple(squares))],
        catalog=catalog,
        max_cloud_cover=max_cloud_cover,
        settings=settings,
        abreast=abreast,
    )
    for step in found:
        if isinstance(step, Job):
            yield step
        elif step.kind == "unplanned":
            raise CatalogUnreachableError(step.reason)


def steps(
    archive: Archive | None,
    rounds: Iterable[Round],
    *,
    catalog: str | Path | Any = "planetary-computer",
    max_cloud_cover: float = 60,
    settings: Settings | None = None,
    chunk: int = 1000,
    abreast: int = 1,
    now: pd.Timestamp | None = None,
) -> Iterator[Step]:
    """Plan rounds, with one search of the catalogue for each square and month.

    An acquisition is planned with all its slices over the square and all its optical
    candidates, whatever part of the square is asked for, so that the same acquisition is
    the same in every run. In memory is a month of each square that is open, no more.

    Parameters
    ----------
    archive
        Whose ledger says what is there already; None: there is none yet.
    rounds
        Areas and periods, one after the other.
    catalog, max_cloud_cover
        As for `gssm.search`.
    settings
        Model, window and the like.
    chunk
        Pixels of a chunk's side, where there is no archive yet.
    abreast
        Squares that are open at once: their jobs come in turns, so that workers do not
        write to one square together. Each square comes in order of time.
    now
        Moment of planning (UTC), for what is provisional.

    Yields
    ------
    Job or Note
        What to do, and what not and why.

    Raises
    ------
    CatalogUnreachableError
        The catalogue failed for many months one after the other; a single failure is a note.
    GssmError
        The request cannot be served, or the archive cannot be read.
    """
    settings = settings or Settings()
    refuse_unservable(settings, max_cloud_cover)
    ref = resolve(settings.model)
    task = _Task(
        read=(lambda _: []) if archive is None else (lambda square: read_rows(archive, square)),
        chunk=chunk if archive is None else archive.chunk,
        catalog=catalog,
        max_cloud_cover=max_cloud_cover,
        settings=settings,
        past=_past_of(archive, ref.load().spec),
        model_sha256=ref.sha256,
        level=ref.load().spec.level,
        now=now if now is not None else pd.Timestamp.now("UTC").tz_localize(None),
    )
    found = (interleaved(_of_round(task, one), abreast) for one in rounds)
    return _watched(chain.from_iterable(found))


def interleaved(sources: Iterable[Iterator[Step]], abreast: int) -> Iterator[Step]:
    """Take from so many sources in turns; the next is opened when one has ended."""
    waiting, opened = iter(sources), deque[Iterator[Step]]()
    while True:
        while len(opened) < max(1, abreast):
            source = next(waiting, None)
            if source is None:
                break
            opened.append(source)
        if not opened:
            return
        step = next(opened[0], None)
        if step is None:
            opened.popleft()
            continue
        yield step
        opened.rotate(-1)


def refuse_unservable(settings: Settings, max_cloud_cover: float) -> None:
    """Refuse settings that no search or cube could use, before anything is planned.

    Raises
    ------
    RequestError
        The message names the setting.
    """
    check_window(settings.window)
    check_percent("max_cloud_cover", max_cloud_cover)
    if settings.elevation not in ELEVATIONS:
        raise RequestError(
            f"elevation {settings.elevation!r} is unknown; use "
            f"{' or '.join(map(repr, ELEVATIONS))}."
        )
    if not 0 <= settings.max_failed <= 1:
        raise RequestError(
            f"max_failed {settings.max_failed!r} is no share; give a number from 0 to 1."
        )


def _past_of(archive: Archive | None, spec: FeatureSpec) -> Callable[[Square], set[Index]]:
    """Return what tells the chunks of a square with references of the past, if it matters."""
    if archive is None or not OF_THE_PAST & set(spec.features):
        return lambda _: set()
    return lambda square: past_computed(archive, square)


@dataclass(frozen=True)
class _Task:
    """What is the same for all squares of a plan."""

    read: Callable[[Square], list[Row]]
    chunk: int
    catalog: Any
    max_cloud_cover: float
    settings: Settings
    past: Callable[[Square], set[Index]]
    model_sha256: str
    level: str
    now: pd.Timestamp

    @property
    def window(self) -> pd.Timedelta:
        """Largest time between radar and partner."""
        return check_window(self.settings.window)


def _watched(found: Iterator[Step]) -> Iterator[Step]:
    """Give up where the catalogue fails month after month."""
    failures = 0
    for step in found:
        yield step
        if not isinstance(step, Note):
            continue
        failures = failures + 1 if step.kind == "unplanned" else 0
        if failures >= MOST_FAILURES:
            raise CatalogUnreachableError(
                f"the catalogue failed for {failures} months one after the other; the last: "
                f"{step.reason}"
            )


def _of_round(task: _Task, one: Round) -> Iterator[Iterator[Step]]:
    return (_of_square(task, square, one) for square in one.places())


def _of_square(task: _Task, square: Square, one: Round) -> Iterator[Step]:
    """Plan a square, month after month."""
    months = one.months(square)
    wanted = None if one.area is None else set(chunks_over(square, one.area, task.chunk))
    if not months or (wanted is not None and not wanted):
        return
    rows, past = task.read(square), task.past(square)
    for month in months:
        label = f"{month[0]:%Y-%m}"
        try:
            dates = (month[0] - SAME_PASS, month[1] + SAME_PASS)  # passes beyond it whole
            items = find_items(
                square, dates, task.catalog, task.level, task.max_cloud_cover, task.settings.window
            )
        except CatalogUnreachableError as error:
            yield Note(square.name, "unplanned", f"{square.name} {label}: {error}")
            if one.in_order:
                return
            continue
        yield from _of_month(task, square, month, items, wanted, rows, past)
        yield Note(square.name, "month", label)


def find_items(
    square: Square, dates: Any, catalog: Any, level: str, max_cloud_cover: float, window: str
) -> list[Any]:
    """Items over a square, as of `gssm.search`; none where there are none."""
    found: dict[tuple[str, str], Any] = {}
    for box in boxes_to_search(square.footprint):
        try:
            items = search(
                box,
                dates,
                catalog=catalog,
                level=level,
                max_cloud_cover=max_cloud_cover,
                window=window,
            )
        except EmptySearchError:
            continue
        found |= {(item.collection_id or "", item.id): item for item in items}
    return list(found.values())


def boxes_to_search(footprint: Bbox) -> list[Bbox]:
    """Return a square's box with a margin, cut where a search would be too wide.

    The margin brings the elevation beside the square, for the slope at its edge.
    """
    west, south, east, north = footprint
    width = (east - west) % 360
    wider = MARGIN * (1 + width)  # degrees of longitude are shorter where squares are wide
    south, north = max(-90.0, south - MARGIN), min(90.0, north + MARGIN)
    west, width = west - wider, width + 2 * wider
    number = int(width // (WIDEST_BBOX_DEGREES - MARGIN)) + 1
    edges = [(west + width * n / number + 180) % 360 - 180 for n in range(number + 1)]
    return [(a, south, b, north) for a, b in pairwise(edges)]


def _of_month(
    task: _Task,
    square: Square,
    month: DateRange,
    items: list[Any],
    wanted: set[Index] | None,
    rows: Sequence[Row],
    past: set[Index],
) -> Iterator[Step]:
    images = Images(square, task.chunk, items)
    try:
        passes = images.passes(task.window)
    except EmptySearchError:
        return  # no usable radar; what is unusable has been told
    for one in passes:
        if month[0] <= one.time <= month[1]:
            job = _job(task, square, one, images, wanted)
            if job is not None:
                shown = frozenset(chain.from_iterable(map(images.shown, one.slices)))
                yield _decided(task, job, one, rows, shown, past)


def _job(
    task: _Task, square: Square, one: Acquisition, images: Images, wanted: set[Index] | None
) -> Job | None:
    """Make the job of an acquisition, or nothing where it misses the area."""
    radar = frozenset(chain.from_iterable(map(images.shown, one.slices)))
    coverage = radar if wanted is None else radar & wanted
    if not coverage:
        return None
    partners = [o for o in (*one.sentinel2, *one.landsat) if images.shown(o) & radar]
    first = one.slices[0]
    row = Row(
        time=one.time.value // 10**9,
        platform=first.platform,
        relative_orbit=-1 if first.relative_orbit is None else first.relative_orbit,
        orbit_state=first.orbit_state,
        radar=_ids(one.slices),
        partners=_ids(partners),
        elevation=_ids(images.elevation),
        processed=max(re.sub(r"\D", "", o.processed)[:14] for o in one.slices),
        model_sha256=task.model_sha256,
        coverage=tuple(sorted(coverage)),
        # Until every partner that can come has had the time to.
        provisional=bool(task.now < one.time + task.window + LATENCY),
    )
    items = images.needed((*one.slices, *partners, *images.elevation))
    return Job(square.name, row, items, task.settings)


def _ids(chosen: Iterable[Observation]) -> tuple[str, ...]:
    return tuple(sorted({o.id for o in chosen}))


def _decided(
    task: _Task,
    job: Job,
    one: Acquisition,
    rows: Sequence[Row],
    shown: frozenset[Index],
    past: set[Index],
) -> Step:
    """Compare a job with what the ledger has of its acquisition."""
    job = replace(job, row=replace(job.row, past=len(past & set(job.row.coverage))))
    old = ledger.find(rows, job.row)
    has_partner = any(o.id in job.row.partners for o in one.sentinel2)
    if old is None or old.status != "done":
        is_told = old is not None and old.status == "skipped" and ledger.is_same_map(job.row, old)
        if is_told:
            return Note(job.square, "known", old.reason if old else "", old)
        if has_partner:
            return job
        reason = f"no Sentinel-2 within {task.settings.window}"
        row = replace(job.row, status="skipped", reason=reason)
        return Note(job.square, "skipped", reason, row)
    row = ledger.merged(job.row, old)
    row = replace(row, past=len(past & set(row.coverage)))
    reason = ledger.why_not(row, old, replace_any=task.settings.replace_any)
    if not has_partner:
        reason = "there, and no partner is listed any more"
    if set(old.coverage) - shown:
        reason = "there, and part of its radar is not listed any more"
    if not reason:
        return replace(job, row=row)
    settles = old.provisional and not job.row.provisional
    return Note(job.square, "settled" if settles else "known", reason, old)
