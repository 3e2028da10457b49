"""The archive that a server shows where it is given none: simulated, made once, then kept.

A river valley of fields over some weeks, mapped by the planner and runner of every archive. Its
newest dates are in the catalogue alone, so that there is something left to predict.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from importlib.metadata import version
from pathlib import Path

import odc.geo.xr  # noqa: F401 - the accessor .odc
import pandas as pd
import shapely

from gssm.archive.area import in_degrees
from gssm.archive.clusters import cluster
from gssm.archive.flight import PER_THREAD, Client
from gssm.archive.past_run import fill_past
from gssm.archive.plan import steps
from gssm.archive.recipe import Recipe, write_recipe
from gssm.archive.repository import Archive, create_archive
from gssm.archive.rounds import Round
from gssm.archive.run import run
from gssm.archive.tiles import chunks_over, squares_over
from gssm.archive.true_color_run import fill_true_color
from gssm.errors import GssmError, ReadError, StoreWriteError
from gssm.grid import geographic_bounds
from gssm.percentiles import MIN_COUNT
from gssm.simulate import simulate_scene
from gssm.simulate_ground import EPSG

# Of a demo of another kind, which is made anew.
REVISION = 1
ID = "demo"
# Pixels of a side, passes of Sentinel-1 (seven weeks and more), and the newest of them, which
# are left to be predicted.
SIZE, DATES, LEFT_OUT = 600, 14, 3
# Pixels of a chunk's side: the scene has four chunks, enough for two cores. Smaller ones would
# reach less beyond it, and cost twice the time.
CHUNK = 500
CATALOG, ARCHIVE = "catalogue", "archive"
PAST_MARGIN = pd.Timedelta("1D")

# Called with what is being done, how much of it is done, and how much there is (0: unknown).
Report = Callable[[str, int, int], None]


@dataclass(frozen=True)
class Demo:
    """A finished demo: the archive, and the catalogue that its recipe names."""

    archive: Path
    catalog: Path


def cache_folder() -> Path:
    """Return the folder of this user for what can be made again (XDG Base Directory 0.8)."""
    stated = os.environ.get("XDG_CACHE_HOME", "")
    base = Path(stated) if os.path.isabs(stated) else Path.home() / ".cache"
    return base / "gssm"


def find_demo(folder: Path, *, size: int = SIZE, dates: int = DATES) -> Demo | None:
    """Return the demo that a folder holds, if it was finished."""
    place = _place(folder, size, dates)
    return _demo(place) if place.is_dir() else None


def make_demo(
    folder: Path,
    *,
    size: int = SIZE,
    dates: int = DATES,
    workers: int = 0,
    report: Report | None = None,
) -> Demo:
    """Return the demo of a folder, and make it where it is not there.

    It appears whole, or not at all: what a killed run left is removed by the next one. Of two
    that make it at once one waits for the other.

    Parameters
    ----------
    folder
        Of this version's demo and of others; made where there is none.
    size, dates
        Side of the scene in pixels of 10 m, and passes of Sentinel-1, four or more.
    workers
        Processes on this machine; by default as many as it has cores.
    report
        Called as it goes on.

    Raises
    ------
    StoreWriteError
        The folder cannot be written.
    ReadError
        What was simulated could not be mapped.
    """
    place, tell = _place(folder, size, dates), report or _nothing
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with _alone(folder, tell):
            if place.is_dir():
                return _demo(place)
            for left in folder.glob(f".{ID}-partial-*"):
                shutil.rmtree(left, ignore_errors=True)
            partial = folder / f".{ID}-partial-{uuid.uuid4().hex[:12]}"
            try:
                _make(partial, place, size, dates, workers, tell)
                partial.rename(place)
            finally:
                shutil.rmtree(partial, ignore_errors=True)
    except GssmError:  # some of them are of the kind of the system's
        raise
    except OSError as error:
        raise StoreWriteError(
            f"the demo cannot be made in {folder} ({error.strerror or error}); choose another "
            "folder with --data."
        ) from error
    return _demo(place)


def _place(folder: Path, size: int, dates: int) -> Path:
    usual = "" if (size, dates) == (SIZE, DATES) else f"-{size}x{dates}"
    return folder.absolute() / f"{ID}-{version('gssm')}-{REVISION}{usual}"


def _demo(place: Path) -> Demo:
    return Demo(place / ARCHIVE, place / CATALOG)


def _nothing(*_: object) -> None:
    return


@contextmanager
def _alone(folder: Path, tell: Report) -> Iterator[None]:
    """Wait until no other process makes a demo here; the lock ends with its process."""
    descriptor = os.open(folder / f".{ID}.lock", os.O_RDWR | os.O_CREAT, 0o600)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            tell("waiting for another gssm that makes the demo", 0, 0)
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def _make(partial: Path, place: Path, size: int, dates: int, workers: int, tell: Report) -> None:
    """Simulate and map into a folder; the recipe names the place where it will be."""
    tell("simulating images of Sentinel-1, Sentinel-2 and Landsat", 0, 0)
    truth = simulate_scene(partial / CATALOG, size=size, dates=dates)
    area = in_degrees(geographic_bounds(EPSG, truth.odc.geobox.boundingbox.bbox))
    recipe = Recipe(catalog=str(partial / CATALOG), area=str(shapely.to_geojson(area)))
    archive = create_archive(partial / ARCHIVE, chunk=CHUNK)
    tell("starting processes", 0, 0)
    with cluster("", workers) as client:
        _map(archive, recipe, pd.DatetimeIndex(truth["time"].values), client, tell)
    write_recipe(archive, replace(recipe, catalog=str(place / CATALOG)))


def _map(
    archive: Archive, recipe: Recipe, times: pd.DatetimeIndex, client: Client, tell: Report
) -> None:
    """Map all dates but the newest, with references of the past and the picture beneath."""
    area = recipe.shape
    assert area is not None
    squares = squares_over(area)
    chunks = sum(len(chunks_over(square, area, archive.chunk)) for square in squares)
    wanted = times[:-LEFT_OUT]
    total, before = 2 * chunks + len(wanted) * len(squares), 0

    def advance(done: int) -> None:
        tell("mapping soil moisture", min(before + done, total), total)

    advance(0)
    if len(times) >= MIN_COUNT:
        period = (times[0] - PAST_MARGIN, times[-1] + PAST_MARGIN)
        past = fill_past(
            archive, area, period, recipe, client, report=lambda s: advance(s.done + len(s.failed))
        )
        _refuse_failed(past.failed)
    before += chunks
    planned = steps(
        archive,
        [Round(area, (wanted[0], wanted[-1]))],
        catalog=recipe.catalog,
        settings=recipe.settings(),
        abreast=PER_THREAD * sum(client.nthreads().values()),
    )
    summary = run(archive, planned, client, report=lambda s: advance(s.finished))
    _refuse_failed((*summary.failures, *summary.unplanned))
    before += len(wanted) * len(squares)
    picture = fill_true_color(
        archive, recipe, client, report=lambda s: advance(s.done + len(s.failed))
    )
    _refuse_failed(picture.failed)


def _refuse_failed(reasons: Sequence[str]) -> None:
    if reasons:
        raise ReadError(f"the demo cannot be made ({reasons[0].rstrip('.')}); start it again.")
