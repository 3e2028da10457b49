"""The whole line, from items to a Zarr store: what happens when files are broken."""

import shutil

import dask
import numpy as np
import pytest
import xarray as xr
from dask._task_spec import convert_legacy_graph

import gssm
from gssm.errors import GssmWarning, ReadError
from gssm.matchups import matched_items
from gssm.quality import BY_MEANING

BBOX = (3.0200, 50.8155, 3.0245, 50.8185)
FAILED = BY_MEANING["read_failed"].mask


@pytest.fixture
def catalogue(scene, tmp_path):
    """A copy that a test may break."""
    return shutil.copytree(scene, tmp_path / "catalogue")


def cube_of(catalogue):
    items = gssm.search(BBOX, "2023-06", catalog=catalogue)
    return gssm.open_cube(items, chunks={"y": 18, "x": 18})  # two by two


def truncate(file):
    data = file.read_bytes()
    file.write_bytes(data[: len(data) // 3])


def test_a_truncated_radar_image_is_named_and_flagged_and_the_rest_is_mapped(catalogue, tmp_path):
    broken = sorted((catalogue / "sentinel-1-sigma0").iterdir())[0]
    truncate(broken / "vv.tif")
    with pytest.warns(GssmWarning, match=f"item '{broken.name}' is skipped .*vv.tif"):
        gssm.to_zarr(gssm.predict(cube_of(catalogue)), tmp_path / "sm.zarr")
    product = xr.open_zarr(tmp_path / "sm.zarr", consolidated=False).load()
    assert (product.quality_flag[0] & FAILED == FAILED).all()
    assert product.soil_moisture[0].isnull().all()
    assert (product.quality_flag[1] & FAILED == 0).all()
    assert product.soil_moisture[1].notnull().mean() > 0.8


# rasterio says so of the cut file; gssm's own warning names the item and what follows.
@pytest.mark.filterwarnings("ignore::rasterio.errors.NotGeoreferencedWarning")
def test_a_truncated_band_costs_the_pixels_that_chose_its_image(catalogue):
    sound = gssm.predict(cube_of(catalogue)).compute()
    broken = sorted((catalogue / "sentinel-2-l2a").iterdir())[0]
    truncate(broken / "B11.tif")
    with pytest.warns(GssmWarning, match=f"item '{broken.name}' is skipped"):
        product = gssm.predict(cube_of(catalogue)).compute()
    failed = product.quality_flag & FAILED != 0
    assert failed.any()
    assert product.soil_moisture.where(failed).isnull().all()
    xr.testing.assert_equal(
        product.soil_moisture.where(~failed), sound.soil_moisture.where(~failed)
    )


def test_when_nothing_can_be_read_nothing_is_written(catalogue, tmp_path):
    for file in catalogue.glob("sentinel-1-sigma0/*/v?.tif"):
        truncate(file)
    product = gssm.predict(cube_of(catalogue))
    with (
        pytest.warns(GssmWarning, match="could not be read"),
        pytest.raises(ReadError, match="that each of them needs is unreadable"),
    ):
        gssm.to_zarr(product, tmp_path / "out" / "sm.zarr")
    assert not (tmp_path / "out").exists()


def test_on_a_cluster_the_failure_is_named_in_the_users_session(catalogue):
    from distributed import Client, LocalCluster

    broken = sorted((catalogue / "sentinel-1-sigma0").iterdir())[0]
    truncate(broken / "vh.tif")
    lazy = gssm.predict(cube_of(catalogue))

    def compute_and_drain(client):
        computed = lazy.compute()
        client.run(lambda: None)  # the event stream has been drained by now
        return computed

    with (
        LocalCluster(n_workers=1, threads_per_worker=1, dashboard_address=":0") as cluster,
        Client(cluster) as client,
        pytest.warns(GssmWarning, match=f"item '{broken.name}' is skipped"),
    ):
        product = compute_and_drain(client)
    assert (product.quality_flag[0] & FAILED == FAILED).all()


def test_a_task_is_the_same_in_all_batches_of_a_store(scene, tmp_path):
    """A scheduler of a cluster may still know it from the batch before, and fails otherwise."""
    items = gssm.search((3.02, 50.81, 3.033, 50.8183), "2023-06", catalog=scene)
    lazy = gssm.predict(gssm.open_cube(items, chunks={"y": 25, "x": 100}))
    batches = []

    def get(graph, keys, **options):
        tasks = convert_legacy_graph(dict(graph.__dask_graph__()))
        batches.append({key: task.dependencies for key, task in tasks.items()})
        return dask.get(graph, keys, **options)

    with dask.config.set(scheduler=get, num_workers=1):
        gssm.to_zarr(lazy, tmp_path / "sm.zarr")
    assert len(batches) > 1
    seen = {}
    for batch in batches:
        for key, needs in batch.items():
            assert seen.setdefault(key, needs) == needs


def test_masks_that_cannot_be_read_are_no_clouds(catalogue):
    for file in catalogue.glob("sentinel-2-l2a/*/SCL.tif"):
        file.write_bytes(b"not a tiff")
    items = gssm.search(BBOX, "2023-06", catalog=catalogue)
    with pytest.warns(GssmWarning, match="SCL.tif could not be read"):
        table = gssm.matchups(items, measure=True)
    assert set(table["reason"]) == {"the Sentinel-2 cloud masks could not be read"}


def test_the_real_site(flanders, tmp_path):
    bbox = (3.0195, 50.8132, 3.0282, 50.8187)
    items = gssm.search(bbox, "2018-05-01/2018-09-30", catalog=flanders)
    table = gssm.matchups(items, measure=True)
    matched = matched_items(items, table)
    cube = gssm.open_cube(matched, bbox=bbox)
    gssm.to_zarr(gssm.predict(cube), tmp_path / "flanders.zarr")
    product = xr.open_zarr(tmp_path / "flanders.zarr", consolidated=False).load()
    assert product.sizes["time"] == 41
    valued = product.soil_moisture.notnull()
    assert valued.mean() > 0.95
    # Belgian fields in summer: neither desert nor swamp.
    means = product.soil_moisture.mean(("y", "x"))
    assert means.min() > 0.05
    assert means.max() < 0.45
    assert np.ptp(means.values) > 0.02
    # Fields look like fields: a pixel is like its neighbour.
    mean_map = product.soil_moisture.mean("time")
    shifted = mean_map.shift(x=1)
    assert float(xr.corr(mean_map, shifted)) > 0.5
