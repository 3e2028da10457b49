import matplotlib as mpl
import numpy as np
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
