"""What the workers of a cluster do for a prediction; they need nothing of the web."""

from __future__ import annotations

import json
import threading
import zlib
from collections import OrderedDict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Any
from uuid import uuid4

import pandas as pd
import shapely
from numpy.typing import NDArray

from gssm.addresses import Network, reach, reached
from gssm.archive.jobs import Job, LazyMap, open_map
from gssm.archive.ledger import Index, Row, is_same_pass
from gssm.archive.opening import Archive
from gssm.archive.past import past_over
from gssm.archive.plan import Note, steps
from gssm.archive.recipe import Recipe
from gssm.archive.rounds import Round
from gssm.archive.tiles import parse
from gssm.errors import CatalogUnreachableError
from gssm.models.bundle import resolve
from gssm.models.ensemble import OF_THE_PAST
from gssm.pairing import SAME_PASS

Packed = dict[str, NDArray[Any]]

# Pixels of the side of a chunk of a result: 2.5 km, so that a small place is a small job.
CHUNK = 250
# Maps that are open in each process of the cluster; the squares of a job follow each other.
OPEN_MAPS = 2


@dataclass(frozen=True)
class Order:
    """What is to be mapped, and how.

    Attributes
    ----------
    area
        GeoJSON, degrees.
    date
        The acquisition, as a ledger has it.
    recipe
        Catalogue, model, window and the like.
    past
        Archive with references of the past, for a model that reads them.
    chunk
        Pixels of the side of a chunk of the result.
    """

    area: str
    date: Row
    recipe: Recipe
    past: Archive | None = None
    chunk: int = CHUNK


@dataclass(frozen=True)
class Plan:
    """What an order comes to: jobs, why there are not more, and where workers may read."""

    jobs: tuple[Job, ...]
    reasons: tuple[str, ...]
    networks: frozenset[Network]


@dataclass(frozen=True)
class Task:
    """One chunk of one square.

    Attributes
    ----------
    name
        Of the map, the same for all of its chunks.
    job, items
        What is mapped; the items apart and compressed, as schedulers remember what they send.
    index, chunk
        Row and column of the chunk, and pixels of its side.
    past
        Archive with references of the past, if the square has some.
    networks
        That the worker may read from.
    """

    name: str
    job: Job
    items: bytes
    index: Index
    chunk: int
    past: Archive | None
    networks: frozenset[Network]


def tasks_of(order: Order, plan: Plan, job: Job) -> Iterator[Task]:
    """Return the tasks of a job, one for each chunk of its coverage."""
    items = zlib.compress(json.dumps(job.items).encode())
    name, bare = uuid4().hex, replace(job, items=())
    past = order.past if job.row.past else None
    for index in job.row.coverage:
        yield Task(name, bare, items, index, order.chunk, past, plan.networks)


def plan_order(order: Order, networks: Iterable[Network]) -> Plan:
    """Find the jobs of an order, one for each square; runs on a worker.

    Raises
    ------
    CatalogUnreachableError
        The catalogue does not answer.
    GssmError
        The order cannot be served.
    """
    reach(networks)
    moment = pd.Timestamp(order.date.time, unit="s")
    found = steps(
        None,
        [Round(shapely.from_geojson(order.area), (moment - SAME_PASS, moment + SAME_PASS))],
        catalog=order.recipe.catalog,
        max_cloud_cover=order.recipe.max_cloud_cover,
        settings=order.recipe.settings(),
        chunk=order.chunk,
    )
    jobs, reasons = [], []
    for step in found:
        if isinstance(step, Note) and step.kind == "unplanned":
            raise CatalogUnreachableError(step.reason)
        if step.row is None or not is_same_pass(step.row, order.date):
            continue
        if isinstance(step, Job):
            jobs.append(_with_past(order, step))
        else:
            reasons.append(f"{step.square}: {step.reason}")
    return Plan(tuple(jobs), tuple(reasons), reached())


def _with_past(order: Order, job: Job) -> Job:
    """Count the chunks of a job that have references, in the archive that lends them."""
    features = resolve(job.settings.model).load().spec.features
    if order.past is None or not OF_THE_PAST & set(features):
        return job
    over = past_over(order.past, parse(job.square), job.row.coverage, order.chunk)
    return replace(job, row=replace(job.row, past=len(over)))


_maps: OrderedDict[str, LazyMap] = OrderedDict()
_opening = threading.Lock()


def map_chunk(task: Task) -> tuple[Index, Packed]:
    """Compute one chunk; runs on a worker, which keeps the map open for the next.

    Raises
    ------
    GssmError
        It cannot be read or mapped.
    """
    reach(task.networks)
    with _opening:  # threads of one worker ask at once; one opens
        if task.name not in _maps:
            items = tuple(json.loads(zlib.decompress(task.items)))
            _maps[task.name] = open_map(replace(task.job, items=items), task.chunk, task.past)
        _maps.move_to_end(task.name)
        while len(_maps) > OPEN_MAPS:
            _maps.popitem(last=False)
        opened = _maps[task.name]
    return task.index, opened.packed(task.index)
