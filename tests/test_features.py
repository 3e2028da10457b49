import dask.array as da
import numpy as np
import pandas as pd
import pytest
import xarray as xr
from hypothesis import given, settings
from hypothesis import strategies as st

import gssm
from cubes import make_cube
from gssm import schema
from gssm.errors import CubeError
from gssm.features import build_features
from gssm.schema import FeatureSpec
from helpers import no_compute

CUBE = make_cube()
EAGER = build_features(CUBE)


def test_exactly_the_spec_in_its_order():
    assert tuple(EAGER) == schema.SPECS["l2"].features
    for name in EAGER:
        assert EAGER[name].dtype == np.float32
        assert EAGER[name].attrs["units"] == schema.VARIABLES[name].units


@settings(max_examples=8)
@given(time=st.integers(1, 2), y=st.integers(2, 11), x=st.integers(2, 13))
def test_the_same_for_any_chunks(time, y, x):
    cube = CUBE.isel(y=slice(11), x=slice(13))
    with no_compute():
        lazy = build_features(cube.chunk({"time": time, "y": y, "x": x}))
    xr.testing.assert_allclose(lazy.compute(), build_features(cube), rtol=1e-6)


def test_known_values():
    pixel = {"time": 0, "y": 5, "x": 6}
    cube = make_cube(missing=0).isel(pixel)
    features = build_features(make_cube(missing=0)).isel(pixel, missing_dims="ignore")
    assert features.vv_db == pytest.approx(10 * np.log10(float(cube.vv)), abs=1e-4)
    ratio = 10 * np.log10(float(cube.vh) / float(cube.vv))
    assert features.vh_minus_vv_db == pytest.approx(ratio, abs=1e-4)
    ndmi = float((cube.s2_b8 - cube.s2_b11) / (cube.s2_b8 + cube.s2_b11))
    assert features.s2_ndmi == pytest.approx(ndmi, abs=1e-6)
    landsat_ndvi = float((cube.landsat_b5 - cube.landsat_b4) / (cube.landsat_b5 + cube.landsat_b4))
    assert features.landsat_ndvi == pytest.approx(landsat_ndvi, abs=1e-6)
    day = pd.Timestamp("2020-05-03").dayofyear
    assert features.day_of_year_sin == pytest.approx(np.sin(2 * np.pi * day / 365.25), abs=1e-6)


@pytest.mark.parametrize(
    ("rise", "slope", "aspect"),
    [
        # a plane that rises towards: east faces west, north faces south
        (lambda y, x: 0.1 * x, np.rad2deg(np.arctan(0.1)), 270),
        (lambda y, x: 0.1 * y, np.rad2deg(np.arctan(0.1)), 180),
        (lambda y, x: -0.2 * y, np.rad2deg(np.arctan(0.2)), 0),
        (lambda y, x: -0.1 * x - 0.1 * y, np.rad2deg(np.arctan(np.hypot(0.1, 0.1))), 45),
    ],
)
def test_slope_and_aspect_of_planes(rise, slope, aspect):
    cube = make_cube()
    plane = rise(*xr.broadcast(cube.y, cube.x)).astype("f4").assign_attrs(units="m")
    features = build_features(cube.assign(dsm=plane - plane.min()).pipe(metres))
    np.testing.assert_allclose(features.slope, slope, rtol=1e-3)
    np.testing.assert_allclose(features.aspect_sin, np.sin(np.deg2rad(aspect)), atol=1e-3)
    np.testing.assert_allclose(features.aspect_cos, np.cos(np.deg2rad(aspect)), atol=1e-3)


def metres(cube):
    cube["dsm"].attrs["units"] = "m"
    return cube


def test_flat_ground_faces_nowhere():
    cube = make_cube()
    cube["dsm"] = xr.full_like(cube.dsm, 12.0)
    features = build_features(cube)
    assert (features.slope == 0).all()
    # Missing, as training knows it: a made-up direction (0, 0) it has never seen.
    assert features.aspect_sin.isnull().all()
    assert features.aspect_cos.isnull().all()


def test_an_absent_sensor_is_a_missing_feature():
    bare = CUBE[["vv", "vh", "incidence_angle"]]
    features = build_features(bare)
    assert features.s2_ndvi.isnull().all()
    assert features.landsat_b10.isnull().all()
    assert features.vv_soil.isnull().all()
    assert features.dsm.isnull().all()
    xr.testing.assert_equal(features.vv_db, EAGER.vv_db)


def test_coordinates_become_features_where_a_spec_asks():
    from odc.geo.geobox import GeoBox
    from odc.geo.xr import xr_coords

    grid = GeoBox.from_bbox((501360, 5629440, 501660, 5629680), "EPSG:32631", resolution=10)
    cube = make_cube().assign_coords(xr_coords(grid))
    features = build_features(cube, FeatureSpec("mine", ("latitude", "longitude", "vv_db")))
    # 3 degrees east is the central meridian of zone 31: easting 500 km.
    assert float(features.longitude.mean()) == pytest.approx(3.021, abs=0.002)
    assert float(features.latitude.mean()) == pytest.approx(50.818, abs=0.002)
    lazy = build_features(cube.chunk({"y": 7}), FeatureSpec("mine", ("latitude",)))
    np.testing.assert_array_equal(lazy.latitude, features.latitude)
    # Beside the radar the orbits are lazy in a stored cube, and cut in a way of their own.
    orbits = da.zeros(cube.sizes["time"], chunks=-1)
    stored = cube.chunk({"time": 1, "y": 7}).assign_coords(relative_orbit=("time", orbits))
    again = build_features(stored, FeatureSpec("mine", ("latitude",)))
    np.testing.assert_array_equal(again.latitude, features.latitude)


def test_a_table_of_samples_takes_the_same_road():
    flat = CUBE.drop_vars("dsm").stack(sample=("time", "y", "x")).reset_index("sample")
    table = xr.Dataset({n: ("sample", flat[n].values, flat[n].attrs) for n in flat.data_vars})
    table = table.assign_coords(time=("sample", np.repeat(CUBE.time.values, 24 * 30)))
    features = build_features(table)
    for name in ("vv_db", "vv_soil", "s2_ndmi", "landsat_b10", "s2_age"):
        np.testing.assert_array_equal(features[name].values, EAGER[name].values.ravel())


def test_soil_backscatter_is_always_the_models_own():
    from gssm.correct import correct
    from gssm.physics import WaterCloud

    foreign = correct(CUBE, WaterCloud(a_vv=(0.3, 0.3), b_vv=(1.5, 1.5)))
    assert not np.array_equal(foreign.vv_soil, EAGER.vv_soil, equal_nan=True)
    xr.testing.assert_equal(build_features(foreign).vv_soil, EAGER.vv_soil)


def test_soil_backscatter_is_taken_where_it_cannot_be_made():
    bare = CUBE[["vv", "vh"]].assign(vv_soil=EAGER.vv_soil)
    xr.testing.assert_equal(build_features(bare).vv_soil, EAGER.vv_soil)


def test_a_cube_of_another_level_than_the_specs_is_refused():
    cube = make_cube()
    gssm.build_features(cube, "l2")
    for name in ("s2_b4", "landsat_b4"):
        other = cube.assign({name: cube[name].assign_attrs(processing_level="l1")})
        with pytest.raises(CubeError, match=f"{name}.*level 'l1'.*reads level 'l2'"):
            gssm.build_features(other, "l2")
        with pytest.raises(CubeError, match="level 'l1'"):
            gssm.predict(other)
    whole = {n: v.assign_attrs(processing_level="l1") for n, v in cube.items() if "_b" in str(n)}
    gssm.build_features(cube.assign(whole), "paper33")
