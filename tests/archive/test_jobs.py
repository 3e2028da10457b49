from dataclasses import replace

import numpy as np
import pytest

import gssm
from gssm.archive.acquisitions import squares_of
from gssm.archive.jobs import run_job
from gssm.archive.packing import PACKINGS
from gssm.archive.plan import plan
from gssm.archive.repository import create_archive
from gssm.errors import BundleError, EmptySearchError, GssmError, ItemError
from gssm.grid import geographic_bounds
from gssm.simulate import simulate_scene


@pytest.fixture(scope="module")
def scene_of(tmp_path_factory):
    """Catalogue of a small scene, and its box."""
    folder = tmp_path_factory.mktemp("jobs") / "catalogue"
    truth = simulate_scene(folder, size=40, dates=2)
    return folder, geographic_bounds(32631, truth.odc.geobox.boundingbox.bbox)


@pytest.fixture
def archive(tmp_path):
    return create_archive(tmp_path / "a", chunk=200)


@pytest.fixture
def job(archive, scene_of):
    folder, box = scene_of
    return next(iter(plan(archive, box, "2023-06", catalog=folder)))


def test_a_job_writes_what_predict_gives(archive, job, scene_of):
    folder, box = scene_of
    row = run_job(archive, job)
    assert row.status == "done"
    alone = gssm.predict(gssm.open_cube(gssm.search(box, "2023-06", catalog=folder), bbox=box))
    alone = alone.isel(time=[0]).load()
    found = gssm.open_archive(archive.url).sel(x=alone.x, y=alone.y).load()
    inner = (slice(None), slice(3, -3), slice(3, -3))  # slopes of the rim have more to go by here
    for name, step in (("soil_moisture", 1e-4), ("soil_moisture_uncertainty", 2e-3)):
        np.testing.assert_allclose(
            found[name].values[inner], alone[name].values[inner], atol=0.51 * step
        )
    np.testing.assert_array_equal(
        found["quality_flag"].values[inner], alone["quality_flag"].values[inner]
    )
    everywhere = gssm.open_archive(archive.url)["soil_moisture"]
    assert int(everywhere.notnull().sum()) == row.valued


def test_ground_that_the_radar_does_not_show_has_the_fill_in_every_variable(archive, job):
    run_job(archive, job)
    whole = gssm.open_archive(archive.url)
    i, j = job.row.coverage[0]
    window = {"y": slice(200 * i, 200 * i + 200), "x": slice(200 * j, 200 * j + 200)}
    chunk = whole.isel(time=0, **window).load()
    unseen = chunk["quality_flag"].values == 32768
    assert unseen.any()
    for name in PACKINGS:
        if name != "quality_flag":
            assert np.isnan(chunk[name].values[unseen]).all()


@pytest.mark.parametrize(
    ("change", "error", "words"),
    [
        (lambda job: replace(job, square="31UDS"), EmptySearchError, "touches the grid"),
        (
            lambda job: replace(job, row=replace(job.row, model_sha256="0" * 64)),
            BundleError,
            "another one here",
        ),
        (lambda job: replace(job, items=()), EmptySearchError, "no usable Sentinel-1"),
    ],
    ids=["an item outside the square", "another model", "no items"],
)
def test_what_cannot_be_mapped_is_refused_and_leaves_nothing(archive, job, change, error, words):
    with pytest.raises(error, match=words) as caught:
        run_job(archive, change(job))
    assert isinstance(caught.value, GssmError)
    assert squares_of(archive) == []


def test_items_of_two_acquisitions_are_refused(archive, scene_of):
    folder, box = scene_of
    one, other = list(plan(archive, box, "2023-06", catalog=folder))[:2]
    with pytest.raises(ItemError, match="2 acquisitions"):
        run_job(archive, replace(one, items=(*one.items, *other.items)))
    assert squares_of(archive) == []
