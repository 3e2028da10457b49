from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import xarray as xr

import gssm
from gssm import quality, schema
from gssm.archive.area import in_degrees
from gssm.archive.past import PAST, past_computed, write_past
from gssm.archive.past_run import PastSummary, fill_past
from gssm.archive.plan import plan
from gssm.archive.recipe import Recipe
from gssm.archive.repository import create_archive, read_session
from gssm.archive.run import run
from gssm.archive.tiles import chunks_over, parse
from gssm.errors import CubeError
from gssm.grid import geographic_bounds
from gssm.simulate import simulate_scene
from planned import cluster_here

SQUARE, CHUNK = parse("31UES"), 500
DATES = "2023-05/2023-09"


@pytest.fixture(scope="module")
def year(tmp_path_factory):
    """Catalogue of a small scene with as many dates as references need."""
    folder = tmp_path_factory.mktemp("year") / "catalogue"
    truth = simulate_scene(folder, size=30, dates=9)
    return folder, geographic_bounds(32631, truth.odc.geobox.boundingbox.bbox)


def stored(archive):
    store = read_session(archive).store
    return xr.open_zarr(store, group=f"{SQUARE.group}/{PAST}", consolidated=False)


def test_references_in_an_archive_are_those_of_history_and_are_read_by_jobs(tmp_path, year):
    folder, box = year
    archive = create_archive(tmp_path / "a", chunk=CHUNK)
    recipe = Recipe(catalog=str(folder))
    with cluster_here(1) as client:
        done = fill_past(archive, in_degrees(box), DATES, recipe, client)
        again = fill_past(archive, in_degrees(box), DATES, recipe, client)
        (job, *_) = plan(archive, box, DATES, catalog=folder)
        summary = run(archive, [job], client)
    chunks = chunks_over(SQUARE, in_degrees(box), CHUNK)
    assert (done.failed, again.failed) == ((), ())
    assert done.done > 0
    # A chunk that only the margin around the footprints touches has no radar, but is computed.
    assert again == PastSummary(known=done.done)
    assert past_computed(archive, SQUARE) <= set(chunks)

    items = gssm.search(box, DATES, catalog=folder)
    expected = gssm.history(items, bbox=box).load()
    found = stored(archive).sel(x=expected.x, y=expected.y)
    for name in schema.REFERENCES:
        np.testing.assert_array_equal(found[name], expected[name])
    assert np.isfinite(found["vv_db_p50"]).any()
    assert "water_cloud" in found["vv_soil_p05"].attrs

    assert summary.done == 1
    product = gssm.open_archive(archive.url).sel(x=expected.x, y=expected.y).load()
    missing = product["quality_flag"].values & quality.BY_MEANING["history_missing"].mask
    # Where clouds left fewer than eight values of a pixel there are no references.
    known = np.isfinite(expected["vv_db_p50"].values)
    valued = np.isfinite(product["soil_moisture"].values)
    inner = (slice(None), slice(3, -3), slice(3, -3))
    everywhere = np.broadcast_to(known, valued.shape)
    np.testing.assert_array_equal((missing == 0)[valued], everywhere[valued])
    assert (valued & known).any()
    cube = gssm.open_cube(items, bbox=box).isel(time=[0])
    alone = gssm.predict(gssm.with_history(cube, expected))["soil_moisture"].values
    np.testing.assert_allclose(product["soil_moisture"].values[inner], alone[inner], atol=6e-5)


def test_too_few_acquisitions_write_nothing(tmp_path, year):
    folder, box = year
    archive = create_archive(tmp_path / "a", chunk=CHUNK)
    items = gssm.search(box, "2023-06-01/2023-06-10", catalog=folder)
    index = chunks_over(SQUARE, in_degrees(box), CHUNK)[0]
    with pytest.raises(CubeError, match="a year or more"):
        write_past(archive, SQUARE, index, items, model="default", window="3D")
    assert past_computed(archive, SQUARE) == set()


def test_references_of_another_water_cloud_model_are_not_put_among_those_there(
    tmp_path, year, monkeypatch
):
    folder, box = year
    archive = create_archive(tmp_path / "a", chunk=CHUNK)
    items = gssm.search(box, DATES, catalog=folder)
    index = chunks_over(SQUARE, in_degrees(box), CHUNK)[0]
    write_past(archive, SQUARE, index, items, model="default", window="3D")
    model = gssm.load_model("default")
    other = replace(model.water_cloud, threshold=0.5)
    ref = Ref(SimpleNamespace(water_cloud=other))
    monkeypatch.setattr("gssm.archive.past.resolve", lambda _: ref)
    with pytest.raises(CubeError, match="Water Cloud parameters"):
        write_past(archive, SQUARE, index, items, model="default", window="3D")


class Ref:
    """Stands for the address of a model in memory."""

    def __init__(self, model):
        self.load = lambda: model


def test_what_fails_is_told_and_the_rest_goes_on(tmp_path, year):
    folder, box = year
    archive = create_archive(tmp_path / "a", chunk=CHUNK)
    with cluster_here(1) as client:
        summary = fill_past(
            archive, in_degrees(box), "2023-06-01/2023-06-10", Recipe(catalog=str(folder)), client
        )
    assert summary.done == 0
    assert summary.failed
    assert all("a year or more" in reason for reason in summary.failed)
