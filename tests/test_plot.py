from datetime import date, datetime

import matplotlib as mpl
import numpy as np
import pandas as pd
import pytest
import xarray as xr

from cubes import make_cube
from gssm import quality
from gssm.errors import CubeError
from gssm.plot import plot_map, soil_moisture_colours

mpl.use("Agg")


@pytest.fixture
def product():
    cube = make_cube()
    soil_moisture = xr.full_like(cube.vv, 0.22).assign_attrs(units="m3 m-3")
    flags = xr.zeros_like(cube.vv, dtype=np.uint16)
    flags[:, :3] = quality.BY_MEANING["water"].mask
    return xr.Dataset({"soil_moisture": soil_moisture, "quality_flag": flags})


def test_ten_classes_of_the_published_application():
    colours, norm = soil_moisture_colours()
    assert colours.N == 10
    np.testing.assert_allclose(norm.boundaries, np.linspace(0, 0.5, 11))


def test_a_map_has_units_edges_and_water(product):
    ax = product.gssm.plot(time=1)
    first, water = ax.images
    assert first.get_extent() == [501360, 501660, 5629440, 5629680]
    assert water.get_array().count() == 3 * 30
    assert ax.get_title() == "2020-05-09 17:40 UTC"
    assert "m3 m-3" in ax.figure.axes[1].get_ylabel()


def test_any_variable_can_be_drawn_and_an_unknown_one_is_named(product):
    assert plot_map(make_cube(), "vv").images
    with pytest.raises(CubeError, match="no variable 'sm' to draw; choose one of soil_moisture"):
        plot_map(product, "sm")


@pytest.mark.parametrize(
    "time",
    [
        *(1, -1, np.int64(1), "2020-05-08", "2020-05", "2020-05-09T17:40Z", date(2020, 5, 10)),
        *(datetime(2020, 5, 9, 17), pd.Timestamp("2020-06-01"), np.datetime64("2020-05-09")),
    ],
)
def test_a_time_is_a_position_or_the_nearest_to_a_moment(product, time):
    expected = "2020-05-03" if time == "2020-05" else "2020-05-09"
    assert product.gssm.plot(time=time).get_title() == f"{expected} 17:40 UTC"


@pytest.mark.parametrize("time", [2, -3, "June", "", 0.5, None, pd.NaT])
def test_a_time_that_is_not_there_is_refused(product, time):
    with pytest.raises(CubeError, match=r"there is no time .* to draw"):
        product.gssm.plot(time=time)


def test_a_product_of_one_time_is_drawn_with_its_water(product):
    ax = product.isel(time=1).gssm.plot()
    assert ax.get_title() == "2020-05-09 17:40 UTC"
    assert ax.images[1].get_array().count() == 3 * 30


@pytest.mark.parametrize("keep_attrs", [False, True])
def test_a_mean_is_drawn_without_water_for_its_flags_are_no_bits(product, keep_attrs):
    ax = product.mean("time", keep_attrs=keep_attrs).gssm.plot()
    (image,) = ax.images
    np.testing.assert_allclose(image.get_array(), 0.22)
    expected = "soil moisture [m3 m-3]" if keep_attrs else "soil moisture"
    assert ax.figure.axes[1].get_ylabel() == expected
    masked = product.where(product.quality_flag & 32 == 0).gssm.plot()
    assert np.ma.count(masked.images[0].get_array()) == 21 * 30


def test_a_map_is_drawn_whatever_the_order_of_its_dimensions(product):
    images = product.transpose("x", "time", "y").gssm.plot(time=1).images
    assert [image.get_array().shape for image in images] == [(24, 30), (24, 30)]


@pytest.mark.parametrize(
    "part", [{"x": 0, "y": 0}, {"x": 0}, {"x": 0, "y": 0, "time": 0}, {"x": slice(0)}]
)
def test_what_is_no_map_is_refused(product, part):
    with pytest.raises(CubeError, match=r"sizes .* which make no map"):
        product.isel(part).gssm.plot()
