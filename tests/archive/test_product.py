import json

import numpy as np
import pytest
import rasterio
from archive.products import GRID, make_product
from odc.geo.geobox import GeoBox
from odc.geo.xr import xr_coords

from gssm.archive import encoding, parts
from gssm.archive.export import export
from gssm.archive.packing import PACKINGS
from gssm.archive.product import product
from gssm.errors import CubeError
from helpers import no_compute


@pytest.fixture(scope="module")
def dataset():
    return make_product()


def test_attributes_are_plain_enough_for_zarr():
    """Zarr holds attributes as JSON."""
    known = [encoding.product_attrs(), *map(encoding.variable_attrs, NAMES)]
    assert json.loads(json.dumps(known)) == known
    assert all("units" in encoding.variable_attrs(name) for name in PACKINGS)
    assert encoding.product_attrs() == encoding.product_attrs()


NAMES = (*PACKINGS, *encoding.COORDINATE_ATTRS, *encoding.AUXILIARY)


# The product


def test_dates_are_put_in_order_and_north_up(dataset):
    mixed = dataset.isel(time=[1, 0], y=slice(None, None, -1)).transpose("x", "y", "time")
    with no_compute():
        found = product(mixed)
    for name in dataset.data_vars:
        assert found[name].dims == ("time", "y", "x")
        np.testing.assert_array_equal(found[name], dataset[name])
    assert np.array_equal(found["y"], dataset["y"])


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda d: d.drop_vars("spatial_ref"), "says no CRS"),
        (lambda d: d.drop_vars("time"), "no coordinate 'time'"),
        (lambda d: d.isel(time=[]), "0 values along 'time'"),
        (lambda d: d.isel(time=[0, 0]), "one twice"),
        (lambda d: d.isel(x=[0, 1, 5]), "'x' is no row of even steps"),
        (lambda d: d.assign(dsm=d["soil_moisture"].isel(time=0, drop=True)), r"drop_vars\('dsm'\)"),
        (lambda d: d.drop_vars(d.data_vars), "without named variables"),
        (lambda d: 3, "what to export is a int"),
    ],
)
def test_what_is_no_map_is_refused(dataset, change, says, tmp_path):
    with no_compute(), pytest.raises(CubeError, match=says):
        export(change(dataset), tmp_path / "map.nc")
    assert not list(tmp_path.iterdir())


def test_a_single_pixel_has_the_place_that_its_grid_says(dataset, tmp_path):
    one = dataset[["soil_moisture"]].isel(time=[0], y=[3], x=[7])
    export(one, tmp_path / "map.tif")
    with rasterio.open(tmp_path / "map.tif") as file:
        assert file.bounds == (499_970, 5_600_660, 499_980, 5_600_670)


def test_a_box_across_180_degrees_says_so():
    grid = GeoBox.from_bbox((500_000, 7_000_000, 500_100, 7_000_100), 32701, resolution=10)
    far = GeoBox.from_bbox((195_000, 7_000_000, 210_000, 7_000_100), 32701, resolution=100)
    assert product(make_product(1, grid)).attrs["geospatial_lon_min"] < 0
    attrs = product(make_product(1, far)).attrs
    assert attrs["geospatial_lon_min"] > 179 > attrs["geospatial_lon_max"]


def test_parts_cover_every_pixel_once():
    data = make_product(5).chunk({"time": 2, "y": 30, "x": 7})
    seen = np.zeros(data["soil_moisture"].shape, int)
    for part in parts.parts(data):
        seen[part.place] += 1
        assert part.values["soil_moisture"].shape == seen[part.place].shape
    assert (seen == 1).all()


def test_coordinates_of_a_product_come_from_its_own_grid(dataset):
    part = dataset.isel(y=slice(10, None), x=slice(5, None))
    stale = part["spatial_ref"].attrs["GeoTransform"]
    fresh = product(part)["spatial_ref"].attrs["GeoTransform"]
    assert stale.split()[0] == "499900"
    assert fresh.split()[0] == "499950"
    assert fresh == xr_coords(GRID[10:, 5:])["spatial_ref"].attrs["GeoTransform"]
