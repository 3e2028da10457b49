import numpy as np
import pytest
import xarray as xr

import gssm
from cubes import make_cube
from gssm import schema
from gssm.errors import CubeError, MissingVariableError
from gssm.schema import FeatureSpec

REQUIRED = ("vv", "vh", "incidence_angle", "s2_b4")


def test_a_good_cube_passes_and_is_not_changed():
    cube = make_cube()
    before = cube.copy(deep=True)
    schema.check(cube, REQUIRED)
    xr.testing.assert_identical(cube, before)


def without_units(cube):
    del cube["vv"].attrs["units"]
    return cube


def with_units(name, units):
    def change(cube):
        cube[name].attrs["units"] = units
        return cube

    return change


def decibel_for_linear(cube):
    cube["vv"] = (10 * np.log10(cube["vv"])).assign_attrs(cube["vv"].attrs)
    return cube


def linear_for_decibel(cube):
    cube["vv"].attrs["units"] = "dB"
    return cube


def integers(cube):
    cube["vv"] = (cube["vv"].fillna(0) * 1000).astype("int16").assign_attrs(cube["vv"].attrs)
    return cube


def gamma_for_one(cube):
    cube["vv"].attrs["backscatter_convention"] = "sigma0"
    cube["vh"].attrs["backscatter_convention"] = "gamma0"
    return cube


def no_valid_pixel(cube):
    return with_units("vv", "1")(cube.assign(vv=cube.vv * np.nan))


def scaled(name, factor):
    return lambda cube: cube.assign({name: (cube[name] * factor).assign_attrs(cube[name].attrs)})


radians = scaled("incidence_angle", np.float32(np.pi / 180))
digital_numbers = scaled("s2_b4", 10_000)

BAD = {
    "no units": (without_units, "'vv' has no units"),
    "wrong units": (with_units("s2_b4", "percent"), "'s2_b4' has units 'percent'"),
    "degrees for reflectance": (with_units("s2_b8", "degree"), "'s2_b8' has units 'degree'"),
    "decibel": (decibel_for_linear, "set its units to 'dB'"),
    "linear as decibel": (linear_for_decibel, "none of its values is negative"),
    "integers": (integers, "dtype int16"),
    "mixed conventions": (gamma_for_one, "gamma0 by the cosine"),
    "no variable": (lambda cube: cube.drop_vars("vh"), "no variable 'vh'"),
    "no times": (lambda cube: cube.isel(time=[]), "0 values along 'time'"),
    "radians": (radians, r"'incidence_angle' has a median of 0\.\d+ degree, and 15 to 60 is"),
    "digital numbers": (digital_numbers, "'s2_b4' has a median of .*, and -0.2 to 2.5 is possible"),
    "all NaN": (
        lambda cube: cube.assign(vv=cube.vv * np.nan).pipe(with_units("vv", "1")),
        "all NaN",
    ),
}


@pytest.mark.parametrize("case", BAD)
def test_a_bad_cube_is_refused_in_one_sentence(case):
    change, message = BAD[case]
    with pytest.raises(CubeError, match=message) as caught:
        schema.check(change(make_cube()), REQUIRED)
    assert "\n" not in str(caught.value)


def test_a_missing_variable_is_also_a_key_error():
    with pytest.raises(KeyError) as caught:
        schema.check(make_cube().drop_vars("vv"), REQUIRED)
    assert isinstance(caught.value, MissingVariableError)
    assert str(caught.value).startswith("the cube has no variable 'vv'")


def test_backscatter_may_say_that_it_is_decibel():
    cube = make_cube()
    cube["vv"] = (10 * np.log10(cube["vv"])).assign_attrs(units="dB")
    schema.check(cube, REQUIRED)


def test_specs_are_as_published():
    paper = schema.SPECS["paper33"].features
    assert len(paper) == 33
    assert paper[:6] == ("latitude", "longitude", "vv_soil", "vh_soil", "s2_ndvi", "s2_ndmi")
    assert paper[6:10] == ("s2_b1", "s2_b10", "s2_b11", "s2_b12")
    assert paper[-1] == "dsm"
    l2 = schema.SPECS["l2"].features
    assert len(l2) == 37
    assert l2[:3] == ("vv_db", "vh_db", "vh_minus_vv_db")
    assert not {"latitude", "longitude"} & set(l2)


def test_a_spec_survives_json_and_refuses_other_units():
    record = schema.SPECS["l2"].to_dict()
    assert FeatureSpec.from_dict(record) == schema.SPECS["l2"]
    record["features"][0]["units"] = "1"
    with pytest.raises(CubeError, match="'vv_db' has units '1' in the model"):
        FeatureSpec.from_dict(record)


@pytest.mark.parametrize(
    ("features", "message"), [(("vv_db", "vv_db"), "twice"), (("ndvi",), "names ndvi")]
)
def test_a_bad_spec_is_refused(features, message):
    with pytest.raises(CubeError, match=message):
        FeatureSpec("mine", features)


def test_unknown_spec_name():
    with pytest.raises(CubeError, match="no feature spec 'l3'"):
        schema.resolve_spec("l3")


@pytest.mark.parametrize("lazily", [False, True])
@pytest.mark.parametrize(
    "stage",
    [
        lambda cube: gssm.predict(cube),
        lambda cube: gssm.history(cube, min_count=1),
    ],
)
def test_an_angle_in_radians_is_refused_by_what_reads_it(stage, lazily):
    cube = radians(make_cube())
    with pytest.raises(CubeError, match=r"'incidence_angle' has a median of 0\.\d+ degree, and 15"):
        stage(cube.chunk() if lazily else cube).compute(scheduler="synchronous")


def test_angles_of_the_other_modes_of_sentinel1_pass():
    cube = make_cube()
    for degrees in (18.5, 47.0):
        angle = xr.full_like(cube.incidence_angle, degrees)
        schema.check(cube.assign(incidence_angle=angle), REQUIRED)
