"""References of the past of an area, chunk by chunk on a cluster."""

from __future__ import annotations

import json
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from typing import Any

from shapely.geometry.base import BaseGeometry

from gssm.addresses import Network, reach, reached
from gssm.archive.flight import Client, Flight, reason
from gssm.archive.ledger import Index
from gssm.archive.passes import Images
from gssm.archive.past import past_computed, write_past
from gssm.archive.plan import find_items
from gssm.archive.recipe import Recipe
from gssm.archive.repository import Archive
from gssm.archive.tiles import chunks_over, parse, squares_over
from gssm.models.bundle import resolve
from gssm.request import check_window


@dataclass(frozen=True)
class PastSummary:
    """Chunks whose references were computed, were there before, or failed and why."""

    done: int = 0
    known: int = 0
    failed: tuple[str, ...] = field(default=())


@dataclass(frozen=True)
class PastJob:
    """References of one chunk of a square, and the items that they are made of."""

    square: str
    index: Index
    items: bytes
    model: str
    window: str


def fill_past(
    archive: Archive,
    area: BaseGeometry,
    datetime: Any,
    recipe: Recipe,
    client: Client,
    *,
    report: Callable[[PastSummary], None] | None = None,
) -> PastSummary:
    """Compute the references of every chunk of an area that the archive has none of.

    Parameters
    ----------
    archive
        Where to.
    area
        Shape in degrees.
    datetime
        The past, a year or more, as for `gssm.search`.
    recipe
        Catalogue, model and window.
    client
        Of the cluster; about two chunks for each of its threads are in work at a time.
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
    summary = PastSummary()
    flight: Flight[PastJob] = Flight(
        client,
        lambda job: client.submit(_work, archive, job, reached(), pure=False, retries=1),
        lambda: f"{summary.done} chunks",
    )
    jobs = _jobs(archive, area, datetime, recipe)
    more = True
    try:
        while more or flight.active:
            while more and flight.has_room:
                job = next(jobs, None)
                if job is None:
                    more = False
                elif isinstance(job, int):
                    summary = replace(summary, known=summary.known + job)
                else:
                    flight.begin(job)
            if flight.active:
                job, _, error = flight.next()
                summary = _counted(summary, job, error)
                if report is not None:
                    report(summary)
    except BaseException:
        flight.cancel()
        raise
    return summary


def _counted(summary: PastSummary, job: PastJob, error: BaseException | None) -> PastSummary:
    """Return the summary with what became of a job."""
    if error is None:
        return replace(summary, done=summary.done + 1)
    return replace(summary, failed=(*summary.failed, f"{job.square} {job.index}: {reason(error)}"))


def _work(archive: Archive, job: PastJob, networks: frozenset[Network]) -> int:
    reach(networks)
    items = json.loads(zlib.decompress(job.items))
    square = parse(job.square)
    return write_past(archive, square, job.index, items, model=job.model, window=job.window)


def _jobs(
    archive: Archive, area: BaseGeometry, datetime: Any, recipe: Recipe
) -> Iterator[PastJob | int]:
    """Jobs of an area, square by square; a number tells of chunks that are there."""
    level = resolve(recipe.model).load().spec.level
    for square in squares_over(area):
        wanted = set(chunks_over(square, area, archive.chunk))
        there = past_computed(archive, square) & wanted
        if there:
            yield len(there)
        if wanted <= there:
            continue
        found = find_items(
            square, datetime, recipe.catalog, level, recipe.max_cloud_cover, recipe.window
        )
        images = Images(square, archive.chunk, found)
        passes = images.passes(check_window(recipe.window))
        seen = {o.id: o for p in passes for o in (*p.slices, *p.sentinel2, *p.landsat)}
        for index in sorted(wanted - there):
            over = [o for o in seen.values() if index in images.shown(o)]
            if any(o.role == "sentinel1" for o in over):
                needed = images.needed((*over, *images.elevation))
                content = zlib.compress(json.dumps(needed).encode())
                yield PastJob(square.name, index, content, recipe.model, recipe.window)
