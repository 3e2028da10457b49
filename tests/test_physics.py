"""Golden numbers: GSSM-10 training table as printed in its notebook, and eqs 3-10 by hand."""

import dask.array as da
import numpy as np
import pytest
import xarray as xr
from hypothesis import given
from hypothesis import strategies as st

from gssm import physics
from gssm.blocks import elementwise
from gssm.physics import WaterCloud

# Satellite values of the ten rows that the published notebook prints:
# VV dB, VH dB, normalised angle, NDVI, then VV_soil and VH_soil as normalised there.
GOLDEN = [
    (-15.525184, -17.148355, 0.633795, 0.362877, 0.073716, 0.060385),
    (-10.897289, -19.925462, -0.421611, 0.262066, 0.178651, -0.030024),
    (-8.070395, -14.420784, 0.010330, 0.564133, 0.284283, 0.174871),
    (-15.141834, -20.908614, -0.144241, 0.190409, 0.072449, -0.060700),
    (-12.932057, -17.213182, 0.393456, 0.350475, 0.138106, 0.054755),
    (-14.127961, -27.708919, 0.178495, 0.187416, 0.096776, -0.230514),
    (-17.497676, -28.055488, 0.095766, 0.110434, 0.012726, -0.238341),
    (-7.618855, -16.079348, -0.780462, 0.104252, 0.247334, 0.046440),
    (-17.864517, -22.273885, 0.244956, 0.154501, 0.005800, -0.096422),
    (-12.251892, -21.976481, 0.240412, 0.241548, 0.145411, -0.081979),
]
ANGLE_BOUNDS = (29.787970, 46.327739)
SOIL_BOUNDS = {"vv": (-60, 24.112611), "vh": (-60, 24.244538)}


def normalise(values, low, high):
    return 2 * (values - low) / (high - low) - 1


@pytest.mark.parametrize("polarization", ["vv", "vh"])
def test_published_rows_reproduce(polarization):
    table = np.array(GOLDEN)
    column = ["vv", "vh"].index(polarization)
    low, high = ANGLE_BOUNDS
    angle = low + (table[:, 2] + 1) / 2 * (high - low)
    sigma = physics.decibel_to_linear(table[:, column])
    soil = physics.soil_backscatter(
        sigma, table[:, 3], angle, polarization, WaterCloud(floor_db=-60)
    )
    normalised = normalise(soil, *SOIL_BOUNDS[polarization])
    np.testing.assert_allclose(normalised, table[:, 4 + column], atol=1e-6)


@pytest.mark.parametrize(
    ("polarization", "ndvi", "a", "b"),
    [
        ("vv", 0.8, 0.12, 0.70),  # the threshold itself takes the lower branch
        ("vv", 0.85, 0.095, 0.56),
        ("vh", 0.8, 0.05, 1.45),
        ("vh", 0.85, 0.04, 1.16),
    ],
)
def test_both_ndvi_branches_by_hand(polarization, ndvi, a, b):
    theta = np.deg2rad(38.0)
    tau2 = np.exp(-2 * b * ndvi * ndvi / np.cos(theta))
    veg = a * ndvi * ndvi * np.cos(theta) * (1 - tau2)
    expected = 10 * np.log10((0.2 - veg) / tau2)
    assert physics.soil_backscatter(0.2, ndvi, 38.0, polarization) == pytest.approx(expected)


def test_negative_soil_term_is_nan_or_the_floor():
    # Dense vegetation: the vegetation term alone exceeds -25 dB of VH.
    dense = dict(sigma_total=10**-2.5, ndvi=0.75, incidence_angle=38.0, polarization="vh")
    assert np.isnan(physics.soil_backscatter(**dense))
    floored = physics.soil_backscatter(**dense, water_cloud=WaterCloud(floor_db=-60))
    assert floored == -60


def test_missing_input_stays_missing_even_with_a_floor():
    floor = WaterCloud(floor_db=-60)
    assert np.isnan(physics.soil_backscatter(np.nan, 0.3, 38.0, "vv", floor))
    assert np.isnan(physics.soil_backscatter(0.1, np.nan, 38.0, "vv", floor))


def test_bare_soil_and_water_keep_the_signal():
    for ndvi in (0.0, -0.3):
        soil = physics.soil_backscatter(0.1, ndvi, 38.0, "vv")
        assert soil == pytest.approx(-10.0)


@given(
    soil=st.floats(1e-4, 1.0),
    ndvi=st.floats(0.0, 1.0),
    angle=st.floats(20.0, 50.0),
    polarization=st.sampled_from(["vv", "vh"]),
)
def test_inversion_undoes_the_forward_model(soil, ndvi, angle, polarization):
    total = physics.total_backscatter(soil, ndvi, angle, polarization)
    back = physics.soil_backscatter(total, ndvi, angle, polarization)
    assert back == pytest.approx(10 * np.log10(soil), abs=1e-6)


def test_float32_stays_float32_and_close_to_float64():
    rng = np.random.default_rng(0)
    sigma, ndvi, angle = (rng.uniform(*r, 1000) for r in ((0.05, 0.5), (0, 0.6), (30, 46)))
    single = physics.soil_backscatter(*(v.astype("f4") for v in (sigma, ndvi, angle)), "vv")
    assert single.dtype == np.float32
    np.testing.assert_allclose(
        single, physics.soil_backscatter(sigma, ndvi, angle, "vv"), atol=1e-3
    )


def test_numpy_and_dask_agree():
    rng = np.random.default_rng(1)
    arrays = [
        xr.DataArray(rng.uniform(*r, (30, 40)).astype("f4"), dims=("y", "x"))
        for r in ((0.05, 0.5), (0, 0.9), (30, 46))
    ]
    eager = elementwise(physics.soil_backscatter, *arrays, polarization="vv")
    lazy = elementwise(
        physics.soil_backscatter, *(a.chunk({"y": 7, "x": 11}) for a in arrays), polarization="vv"
    )
    assert isinstance(lazy.data, da.Array)
    np.testing.assert_array_equal(eager, lazy)


def test_decibel_round_trip_and_edges():
    values = np.array([1e-6, 0.1, 1.0, 12.0])
    np.testing.assert_allclose(
        physics.decibel_to_linear(physics.linear_to_decibel(values)), values, rtol=1e-12
    )
    assert np.isnan(physics.linear_to_decibel([0.0, -1.0, np.nan])).all()


def test_normalized_difference():
    np.testing.assert_allclose(physics.normalized_difference([0.3, 0.0], [0.1, 0.2]), [0.5, -1])
    assert np.isnan(physics.normalized_difference(0.0, 0.0))
    assert physics.normalized_difference(0.3, -0.01) == 1  # over-corrected red
    assert physics.normalized_difference(3, 1) == 0.5  # integers are not floored


def test_water_cloud_survives_json():
    parameters = WaterCloud(floor_db=-60)
    assert WaterCloud.from_dict(parameters.to_dict()) == parameters


def test_incidence_is_normalised_to_forty_degrees():
    at = physics.normalize_incidence([-10.0, -10.0], [30.0, 40.0], -0.14)
    np.testing.assert_allclose(at, [-11.4, -10.0], rtol=1e-6)  # -10 - (-0.14) * (30 - 40)


def test_position_between_dry_and_wet():
    values = physics.relative_position([-16.0, -12.0, -8.0, -6.0], -16.0, -8.0)
    np.testing.assert_allclose(values, [0, 0.5, 1, 1.25])
    assert np.isnan(physics.relative_position([1.0], 1.0, 1.0)).all()
