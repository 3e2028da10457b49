import numpy as np
import pytest
import xarray as xr

from cubes import make_cube
from gssm import physics
from gssm.correct import correct
from gssm.errors import CubeError, MissingVariableError
from helpers import no_compute


def test_it_is_the_water_cloud_model_pixel_by_pixel():
    cube = make_cube()
    result = correct(cube)
    ndvi = physics.normalized_difference(cube.s2_b8.values, cube.s2_b4.values)
    for polarization in ("vv", "vh"):
        expected = physics.soil_backscatter(
            cube[polarization].values, ndvi, cube.incidence_angle.values, polarization
        )
        np.testing.assert_array_equal(result[f"{polarization}_soil"].values, expected)
        assert result[f"{polarization}_soil"].attrs["units"] == "dB"
        assert result[f"{polarization}_soil"].dtype == np.float32


def test_the_input_is_not_changed_and_the_rest_passes_through():
    cube = make_cube()
    before = cube.copy(deep=True)
    result = correct(cube)
    xr.testing.assert_identical(cube, before)
    xr.testing.assert_identical(result[list(cube)], cube)


def test_lazy_and_the_same_for_any_chunks():
    cube = make_cube()
    eager = correct(cube)
    with no_compute():
        lazy = correct(cube.chunk({"time": 1, "y": 7, "x": 11}))
    xr.testing.assert_allclose(lazy.compute(), eager, rtol=1e-6)


def test_decibel_that_says_so_gives_the_same():
    cube = make_cube()
    decibel = cube.copy()
    for name in ("vv", "vh"):
        values = physics.linear_to_decibel(cube[name].values)
        decibel[name] = (cube[name].dims, values, {"units": "dB"})
    xr.testing.assert_allclose(correct(decibel).vv_soil, correct(cube).vv_soil, rtol=1e-4)


def test_one_angle_per_acquisition_is_enough():
    cube = make_cube()
    scene = cube.assign(incidence_angle=("time", [35.0, 43.0], {"units": "degree"}))
    full = cube.assign(incidence_angle=scene.incidence_angle.broadcast_like(cube.vv))
    full.incidence_angle.attrs["units"] = "degree"
    xr.testing.assert_equal(correct(scene).vv_soil, correct(full).vv_soil)


def test_what_it_does_not_read_may_be_absent():
    correct(make_cube()[["vv", "vh", "incidence_angle", "s2_b4", "s2_b8"]])


@pytest.mark.parametrize("name", ["vv", "vh", "incidence_angle", "s2_b4", "s2_b8"])
def test_what_it_reads_must_be_there(name):
    with pytest.raises(MissingVariableError, match=name):
        correct(make_cube().drop_vars(name))


def test_lazy_decibel_is_refused_when_its_values_are_seen():
    cube = make_cube()
    cube["vv"] = (10 * np.log10(cube["vv"])).assign_attrs(units="1")
    lazy = correct(cube.chunk())
    with pytest.raises(CubeError, match="set its units to 'dB'"):
        lazy.vv_soil.compute()


def test_lazy_linear_power_labelled_decibel_is_refused_too():
    cube = make_cube()
    cube["vh"].attrs["units"] = "dB"
    lazy = correct(cube.chunk())
    with pytest.raises(CubeError, match="set its units to '1'"):
        lazy.vh_soil.compute()
