"""Catalogues without pixels, and stubs of jobs, for tests of plans and runs."""

import time
from contextlib import contextmanager
from dataclasses import replace
from datetime import timedelta

import distributed
import numpy as np
import pystac

from gssm.archive.acquisitions import write_acquisition
from gssm.archive.area import in_degrees
from gssm.archive.jobs import Job
from gssm.archive.ledger import Row
from gssm.archive.packing import PACKINGS
from gssm.archive.plan import Note, steps
from gssm.archive.rounds import Round
from gssm.archive.tiles import parse
from gssm.errors import ReadError
from gssm.simulate import simulate_items

# Within square 31UES; and across the border with 31UDS at 3 degrees east.
BOX, WIDE = (3.02, 50.80, 3.05, 50.83), (2.95, 50.80, 3.05, 50.83)
AREA = in_degrees(BOX)
FIRST, DAY = 1_700_000_000, 86_400


def catalogue(folder, *, bbox=BOX, start="2023-06-01", days=20, change=None):
    """Write a catalogue of items whose pixels do not exist."""
    items = list(simulate_items(bbox=bbox, start=start, days=days))
    save(folder, items if change is None else change(items))
    return folder


def save(folder, items):
    folder.mkdir(exist_ok=True)
    pystac.ItemCollection(items).save_object(str(folder / "items.json"))


def moved(item, **by):
    """Return an item that was taken later, with an id of its own."""
    other = item.clone()
    other.datetime = item.datetime + timedelta(**by)
    other.properties["datetime"] = other.datetime.isoformat()
    other.id = f"{item.id}_moved"
    return other


def steps_of(archive, folder, datetime="2023-06", *, area=AREA, squares=(), **options):
    return list(steps(archive, [Round(area, datetime, tuple(squares))], catalog=folder, **options))


def jobs_of(found):
    return [step for step in found if not isinstance(step, Note)]


def notes_of(found, kind):
    return [step for step in found if isinstance(step, Note) and step.kind == kind]


def pretend(archive, job):
    """Say that a job is done, and write nothing."""
    return replace(job.row, status="done", valued=1)


@contextmanager
def cluster_here(threads=2):
    """Give a client of a cluster in this process, whose memory its jobs share."""
    options = {"host": "127.0.0.1", "protocol": "tcp", "dashboard_address": "127.0.0.1:0"}
    with (
        distributed.LocalCluster(
            n_workers=1, threads_per_worker=threads, processes=False, **options
        ) as local,
        distributed.Client(local, set_as_default=False) as client,
    ):
        yield client


def refuse(archive, job):
    """Fail as a broken file does."""
    raise ReadError(f"{job.row.key} cannot be read.")


def linger(archive, job):
    """Take a while."""
    time.sleep(0.05)
    return pretend(archive, job)


def row_of(day, square="31UES", **changes):
    """Return a row of one chunk, so many days after the first."""
    row = Row(
        time=FIRST + day * DAY,
        platform="sentinel-1a",
        relative_orbit=37,
        orbit_state="ascending",
        radar=(f"{square}_{day}",),
        partners=("S2",),
        processed="20240101",
        model_sha256="m",
        coverage=((3, 4),),
    )
    return replace(row, **changes)


def made_jobs(number, square="31UES"):
    return [Job(square, row_of(day, square), ()) for day in range(number)]


def write(archive, job):
    """Write a job with pixels of one value."""
    shape = (archive.chunk, archive.chunk)
    values = {"soil_moisture": 1234, "soil_moisture_uncertainty": 7}
    packed = {
        name: np.full(shape, values.get(name, 0), how.dtype) for name, how in PACKINGS.items()
    }
    chunks = ((index, packed) for index in job.row.coverage)
    return write_acquisition(archive, parse(job.square), job.row, chunks)
