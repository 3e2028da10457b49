"""Predictions for tests: a registry whose jobs do what a test says, and a scene to predict."""

import atexit
import shutil
import tempfile
import threading
import time
from contextlib import contextmanager, nullcontext
from functools import cache
from pathlib import Path
from types import SimpleNamespace

import distributed
import numpy as np
import pandas as pd
import zarr

from gssm.archive.area import in_degrees
from gssm.archive.opening import Archive, read_session
from gssm.archive.packing import PACKINGS, unpack
from gssm.archive.recipe import Recipe, write_recipe
from gssm.archive.repository import create_archive
from gssm.grid import geographic_bounds
from gssm.simulate import simulate_scene
from gssm.web.catalog import Date, How
from gssm.web.datasets import Datasets
from gssm.web.jobs import Jobs
from gssm.web.jobs_cluster import Workers
from gssm.web.jobs_work import Asked
from gssm.web.settings import Limits, Settings
from web_archives import row_of, small_archive

BOX = (3.02, 50.80, 3.03, 50.81)
DATE = Date(pd.Timestamp("2023-06-03T17:32:10"), 161, "ascending", "sentinel-1a")
# Seconds after which a test gives up; nothing takes as long.
PATIENCE = 240.0


def asked(**changes):
    """What a client asks for."""
    return Asked(**({"area": in_degrees(BOX), "bbox": BOX, "date": DATE} | changes))


def wait_for(condition, *words):
    """Wait until something is true, and return it."""
    until = time.monotonic() + PATIENCE
    while time.monotonic() < until:
        found = condition(*words)
        if found:
            return found
        time.sleep(0.01)
    raise AssertionError("it did not come to that")


def ended(jobs, name):
    """Wait for the end of a job."""
    return wait_for(lambda: (found := jobs.get(name)).is_final and found)


def settings_of(folder, *, limits=None, **changes):
    """Settings of a server in a folder, of an archive that is not there."""
    given = {"archives": {"main": str(folder / "main")}, "data": folder / "data"}
    return Settings(**(given | changes), limits=limits or Limits())


@contextmanager
def cluster_here(threads=1):
    """Give a client of a cluster in this process, whose memory its jobs share."""
    options = {"host": "127.0.0.1", "protocol": "tcp", "dashboard_address": "127.0.0.1:0"}
    with (
        distributed.LocalCluster(
            n_workers=1, threads_per_worker=threads, processes=False, **options
        ) as local,
        distributed.Client(local, set_as_default=False) as client,
    ):
        yield client


def no_cluster():
    """Workers that nobody needs."""
    return Workers(open_=lambda: nullcontext(SimpleNamespace(status="running")))


@cache
def _small():
    folder = Path(tempfile.mkdtemp(prefix="gssm-jobs-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    small_archive(folder / "archive", [row_of(0, coverage=((20, 20),))])
    return folder / "archive"


def write_small(url):
    """Write an archive as a job would; all are copies of one."""
    shutil.copytree(_small(), url)


class Work:
    """What jobs do: they wait until they are let go, and then write a small archive."""

    def __init__(self, *, is_free=False):
        self.begun, self.go = [], threading.Event()
        if is_free:
            self.go.set()

    def __call__(self, order, url, client, control):
        self.begun.append(order)
        control.report(1, 3, "")
        while not self.go.wait(0.01):
            control.check()
        write_small(url)
        return ""


@contextmanager
def registry(folder, work=None, *, datasets=None, workers=None, **changes):
    """A registry that has started, whose jobs do what `work` says."""
    settings = settings_of(folder, **changes)
    datasets = datasets or Datasets({})
    how = How(Recipe(), Archive(str(folder / "main"), 200))
    catalog = SimpleNamespace(how=lambda: how, known=how)
    workers = workers or no_cluster()
    work = work or Work(is_free=True)
    jobs = Jobs(settings, datasets, catalog=catalog, workers=workers, work=work)
    jobs.datasets = datasets
    jobs.start()
    try:
        yield jobs
    finally:
        jobs.stop()


def pixels(archive, square, like):
    """Physical values of the first date of a square, on the grid of a dataset within it."""
    left, _, _, top = square.bounds
    row, column = int((top - float(like.y[0])) // 10), int((float(like.x[0]) - left) // 10)
    window = (0, slice(row, row + like.sizes["y"]), slice(column, column + like.sizes["x"]))
    group = zarr.open_group(read_session(archive).store, mode="r")[square.group]
    found = {name: np.asarray(group[name][window]) for name in PACKINGS}
    return {
        name: unpack(name, packed.reshape(-1)).reshape(packed.shape)
        for name, packed in found.items()
    }


def scene(folder, *, size=40, dates=2):
    """A simulated catalogue with an archive of nothing but its recipe, and the scene's box."""
    truth = simulate_scene(folder / "catalogue", size=size, dates=dates)
    box = geographic_bounds(32631, truth.odc.geobox.boundingbox.bbox)
    archive = create_archive(folder / "main", chunk=200)
    write_recipe(archive, Recipe(catalog=str(folder / "catalogue")))
    return box
