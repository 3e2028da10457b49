"""A server with a simulated scene for tests of the page: dates that are mapped, and one not."""

from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
import pytest

from browser import serving
from gssm.archive.area import in_degrees
from gssm.archive.jobs import run_job
from gssm.archive.plan import plan
from gssm.archive.recipe import Recipe, write_recipe
from gssm.archive.repository import create_archive
from gssm.archive.true_color_run import fill_true_color
from gssm.grid import geographic_bounds
from gssm.simulate import simulate_scene
from gssm.web.app import create_app
from gssm.web.jobs_cluster import Workers
from gssm.web.settings import Public, Settings
from web_jobs import cluster_here

ID = "fields"


@dataclass(frozen=True)
class Site:
    """A server on loopback, and what it serves.

    Attributes
    ----------
    url
        Of the page.
    archive, data
        Folders.
    box
        Of the scene: west, south, east, north in degrees.
    mapped, lacking
        Ids of the dates that the archive has, and that are in the catalogue only.
    """

    url: str
    archive: Path
    data: Path
    box: tuple[float, float, float, float]
    mapped: tuple[str, ...]
    lacking: tuple[str, ...]


@contextmanager
def site(folder, *, size=80, dates=4, left_out=1, chunk=200):
    """Simulate, map all dates but the newest and serve, predictions included."""
    truth = simulate_scene(folder / "catalogue", size=size, dates=dates)
    box = geographic_bounds(32631, truth.odc.geobox.boundingbox.bbox)
    times = pd.DatetimeIndex(truth["time"].values)
    names = tuple(times.strftime("%Y%m%dT%H%M%SZ"))
    archive = create_archive(folder / "main", chunk=chunk)
    recipe = Recipe(catalog=str(folder / "catalogue"))
    write_recipe(archive, recipe)
    with cluster_here() as client, pytest.MonkeyPatch.context() as patched:
        span = (times[0], times[-left_out - 1])
        for job in plan(archive, box, span, catalog=recipe.catalog):
            assert run_job(archive, job).status == "done"
        picture = fill_true_color(archive, Recipe(recipe.catalog, area=_text(box)), client)
        assert picture.done, picture
        # Predictions run in this process: others would take long to start.
        workers = Workers(open_=lambda: nullcontext(client))
        patched.setattr("gssm.web.jobs.Workers", lambda *_: workers)
        settings = Settings(
            {ID: str(folder / "main")},
            data=folder / "data",
            public=Public(title="Fields of the Scheldt"),
        )
        with serving(create_app(settings)) as url:
            yield Site(
                url, folder / "main", folder / "data", box, names[:-left_out], names[-left_out:]
            )


def _text(box):
    import shapely

    return shapely.to_geojson(in_degrees(box))
