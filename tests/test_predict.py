import pickle
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import xarray as xr
from hypothesis import given
from hypothesis import strategies as st
from training.sample_tables import simulated_samples

import gssm
from cubes import make_cube
from gssm import quality, schema
from gssm.errors import BundleError, CubeError, GssmWarning
from gssm.physics import WaterCloud
from gssm.predict import _pick, _warn_of_absent
from helpers import no_compute

CUBE = make_cube()


@pytest.fixture(scope="module")
def eager():
    return gssm.predict(CUBE, members=True)


def test_outputs_and_their_attributes(eager):
    assert set(eager.data_vars) == {
        "soil_moisture",
        "soil_moisture_uncertainty",
        "soil_moisture_random_forest",
        "soil_moisture_xgboost",
        "soil_moisture_tabnet",
        "quality_flag",
    }
    assert eager.soil_moisture.dtype == np.float32
    assert eager.soil_moisture.attrs["units"] == "m3 m-3"
    standard_name = "volume_fraction_of_condensed_water_in_soil"
    assert eager.soil_moisture.attrs["standard_name"] == standard_name
    assert eager.soil_moisture.dims == ("time", "y", "x")
    values = eager.soil_moisture.values
    assert np.nanmin(values) >= 0
    assert np.nanmax(values) <= 1
    assert eager.attrs["model_sha256"]
    assert set(gssm.predict(CUBE).data_vars) == {
        *("soil_moisture", "soil_moisture_uncertainty", "quality_flag")
    }
    assert eager.soil_moisture_uncertainty.attrs["units"] == "m3 m-3"


def test_a_process_that_predicts_loads_no_training_library():
    program = (
        "import sys, gssm; from cubes import make_cube; gssm.predict(make_cube()).compute(); "
        "print({'torch', 'xgboost', 'sklearn', 'pytorch_tabnet'} & set(sys.modules))"
    )
    tests = Path(__file__).parent
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, cwd=tests
    )
    assert done.stdout.strip() == "set()", done.stderr


@pytest.fixture(scope="module")
def of_history():
    """A model that reads references of the past; its intervals are another's."""
    model = gssm.train(
        simulated_samples(), spec="l2-history", preset="tiny", members=["xgboost"], evaluate=False
    )
    return replace(model, intervals=gssm.load_model().intervals)


def test_uncertainty_and_flags_are_the_models_own(of_history):
    """Half-widths by the model's intervals; bit 9 by its applicability, bit 12 without history."""
    model = of_history
    product = gssm.predict(CUBE, model)
    valued = np.isfinite(product.soil_moisture.values)
    np.testing.assert_array_equal(
        product.soil_moisture_uncertainty.values[valued],
        model.intervals.widths(product.soil_moisture.values[valued]),
    )
    assert np.isnan(product.soil_moisture_uncertainty.values[~valued]).all()
    flags = product.quality_flag.values
    missing = quality.BY_MEANING["history_missing"].mask
    assert (flags[valued] & missing != 0).all()
    assert (flags[~valued] & missing == 0).all()
    features = gssm.build_features(CUBE, model.spec, model.water_cloud)
    full = xr.broadcast(CUBE.vv, *features.values())[1:]
    table = np.stack([f.transpose("time", "y", "x").values[valued] for f in full], axis=1)
    outside = quality.BY_MEANING["outside_applicability"].mask
    np.testing.assert_array_equal(flags[valued] & outside != 0, model.applicability.outside(table))
    assert model.applicability.outside(table).any()


def test_references_of_other_water_cloud_parameters_are_refused(of_history):
    model = of_history
    other = WaterCloud(floor_db=-60)
    references = gssm.history(CUBE, water_cloud=other, min_count=1)
    with pytest.raises(CubeError, match=r"gssm\.history\(items, water_cloud"):
        gssm.predict(gssm.with_history(CUBE, references), model)
    same = gssm.with_history(CUBE, gssm.history(CUBE, min_count=1))
    flags = gssm.predict(same, model).quality_flag.values
    assert (flags & quality.BY_MEANING["history_missing"].mask == 0).any()


def test_a_model_without_intervals_has_no_uncertainty():
    model = gssm.train(simulated_samples(), preset="tiny", members=["xgboost"], evaluate=False)
    product = gssm.predict(CUBE, model)
    assert np.isfinite(product.soil_moisture).any()
    assert np.isnan(product.soil_moisture_uncertainty).all()


def test_the_ensemble_is_the_weighted_mean_of_its_members(eager):
    model = gssm.load_model("default")
    mean = sum(w * eager[f"soil_moisture_{name}"] for name, w in model.weights.items())
    np.testing.assert_allclose(eager.soil_moisture, mean.clip(0, 1), atol=1e-6)


def test_it_scores_what_the_model_scores_on_the_same_rows(eager):
    model = gssm.load_model("default")
    features = gssm.build_features(CUBE, model.spec, model.water_cloud)
    full = xr.broadcast(CUBE.vv, *features.values())[1:]
    table = np.stack([f.transpose("time", "y", "x").values.ravel() for f in full], axis=1)
    expected = model.score(table)["soil_moisture"]
    valued = np.isfinite(eager.soil_moisture.values.ravel())
    assert valued.any()
    np.testing.assert_allclose(
        eager.soil_moisture.values.ravel()[valued], expected[valued], atol=1e-6
    )


SMALL = make_cube(shape=(2, 8, 10), seed=3)


@pytest.mark.parametrize("chunks", [(1, 8, 10), (2, 3, 7), (1, 1, 10), (2, 8, 1), (1, 5, 4)])
def test_the_same_for_any_chunks(chunks):
    # To the last bit, which is more than the 1e-6 m3 m-3 that is promised.
    eager = gssm.predict(SMALL, members=True)
    sizes = dict(zip(("time", "y", "x"), chunks, strict=True))
    lazy = gssm.predict(SMALL.chunk(sizes), members=True).compute()
    for name in eager.data_vars:
        np.testing.assert_array_equal(lazy[name], eager[name])


def test_lazy_and_the_graph_holds_no_model():
    with no_compute():
        lazy = gssm.predict(CUBE.chunk({"time": 1, "y": 8, "x": 10}))
    graph = dict(lazy.__dask_graph__())
    # What goes to a worker is a task and not the pixels of this test's in-memory cube.
    sizes = [len(pickle.dumps(t)) for k, t in graph.items() if "score_block" in str(k)]
    assert len(sizes) == 2 * 3 * 3
    assert max(sizes) < 10_000


def test_two_processes_give_the_same_numbers(eager):
    from distributed import Client, LocalCluster

    lazy = gssm.predict(CUBE.chunk({"time": 1, "y": 12}), members=True)
    with (
        LocalCluster(
            n_workers=2, threads_per_worker=1, processes=True, dashboard_address=":0"
        ) as cluster,
        Client(cluster),
    ):
        computed = lazy.compute()
    for name in eager.data_vars:
        np.testing.assert_allclose(computed[name], eager[name], atol=1e-6)


def test_where_there_is_a_value(eager):
    flags = eager.quality_flag.values
    needed = (CUBE.vv, CUBE.vh, CUBE.incidence_angle)
    radar = np.all([np.isfinite(v.values) for v in needed], axis=0)
    kept = (flags & quality.NO_VALUE) == 0
    np.testing.assert_array_equal(np.isfinite(eager.soil_moisture.values), radar & kept)
    for name in ("soil_moisture_tabnet", "soil_moisture_xgboost"):
        np.testing.assert_array_equal(np.isfinite(eager[name].values), radar & kept)


@pytest.mark.parametrize("meaning", ["snow_or_frozen", "water", "read_failed"])
def test_no_value_where_the_flag_says_so(meaning):
    cube = make_cube(missing=0)
    cube["s2_mask"][:] = schema.MASK_CLEAR
    cube["landsat_mask"][:] = schema.MASK_CLEAR
    causes = {
        "snow_or_frozen": schema.MASK_SNOW,
        "water": schema.MASK_WATER,
        "read_failed": schema.MASK_UNREADABLE,
    }
    cube["s2_mask"][0, 2, 3] = causes[meaning]
    product = gssm.predict(cube)
    assert np.isnan(product.soil_moisture[0, 2, 3])
    assert int(product.quality_flag[0, 2, 3]) & quality.BY_MEANING[meaning].mask
    assert np.isfinite(product.soil_moisture).sum() == product.soil_moisture.size - 1


def test_no_value_without_the_incidence_angle():
    cube = make_cube(missing=0).drop_vars(["s2_mask", "landsat_mask"])
    expected = gssm.predict(cube)
    cube["incidence_angle"][0, 2, 3] = np.nan
    product = gssm.predict(cube)
    assert np.isnan(product.soil_moisture[0, 2, 3])
    assert np.isnan(product.soil_moisture_uncertainty[0, 2, 3])
    flag = quality.BY_MEANING["incidence_angle_out_of_range"].mask
    assert int(product.quality_flag[0, 2, 3]) & flag
    assert np.isfinite(product.soil_moisture).sum() == product.soil_moisture.size - 1
    others = np.isfinite(product.soil_moisture)
    xr.testing.assert_equal(product.soil_moisture, expected.soil_moisture.where(others))


@pytest.mark.parametrize("prefix", ["s2_", "landsat_", "dsm"])
def test_a_missing_sensor_is_flagged_and_still_has_a_value(prefix):
    cube = make_cube(missing=0)
    cube = cube.drop_vars([n for n in cube.data_vars if n.startswith(prefix)])
    cube = cube.drop_vars([n for n in cube.data_vars if n.endswith("_mask")])
    product = gssm.predict(cube)
    assert np.isfinite(product.soil_moisture).all()
    missing = {
        "s2_": "sentinel2_missing",
        "landsat_": "landsat_missing",
        "dsm": "elevation_missing",
    }[prefix]
    assert (product.quality_flag & quality.BY_MEANING[missing].mask != 0).all()


def test_the_input_is_not_changed():
    before = CUBE.copy(deep=True)
    gssm.predict(CUBE)
    xr.testing.assert_identical(CUBE, before)


def test_dimensions_may_stand_in_any_order(eager):
    turned = gssm.predict(CUBE.transpose("x", "time", "y"))
    xr.testing.assert_allclose(turned.soil_moisture, eager.soil_moisture)


def test_accessor_and_function_agree(eager):
    xr.testing.assert_identical(CUBE.gssm.predict(members=True), eager)


def test_a_single_date_without_time_dimension(eager):
    step = CUBE.isel(time=0)
    xr.testing.assert_allclose(gssm.predict(step).soil_moisture, eager.soil_moisture.isel(time=0))


@pytest.mark.parametrize("lazily", [False, True])
@pytest.mark.parametrize(
    ("name", "change"),
    [("s2_b4", lambda v: v * 1e4 + 1000), ("landsat_b10", lambda v: v - 273.15)],
)
def test_numbers_that_cannot_be_what_their_units_say_are_refused(name, change, lazily):
    cube = make_cube(missing=0).drop_vars(["s2_mask", "landsat_mask"])
    cube[name] = change(cube[name]).assign_attrs(cube[name].attrs)
    with pytest.raises(CubeError, match=f"variable '{name}' has a median of"):
        gssm.predict(cube.chunk() if lazily else cube).compute()


def test_bad_input():
    with pytest.raises(CubeError, match="no variable 'incidence_angle'"):
        gssm.predict(CUBE.drop_vars("incidence_angle"))
    with pytest.raises(CubeError, match="no variable 'vh'"):
        gssm.predict(CUBE.drop_vars("vh"))
    with pytest.raises(CubeError, match="0 values along 'time'"):
        gssm.predict(CUBE.isel(time=[]))
    with pytest.raises(BundleError):
        gssm.predict(CUBE, "no/such/model")


SHAPES = {
    "column": (lambda c: c.isel(x=0), "dimensions"),
    "other names": (lambda c: c.rename(y="lat", x="lon"), "dimensions"),
    "a band too many": (lambda c: c.expand_dims(band=2), "dimensions"),
    "one time of vv": (lambda c: c.assign(vv=c.vv[0].drop_vars("time")), "dimensions"),
    "one elevation": (lambda c: c.assign(dsm=c.dsm[0, 0].assign_attrs(units="m")), "'dsm'"),
    "texts for times": (lambda c: c.assign_coords(time=["a", "b"]), "no time"),
    "texts for metres": (lambda c: c.assign_coords(x=c.x.astype(str)), "metres"),
    "degrees": (lambda c: c.assign_coords(y=c.y * 1e-5, x=c.x * 1e-5), "metres"),
    "digital numbers": (
        lambda c: c.assign(s2_b4=c.s2_b4.copy(data=c.s2_b4.fillna(0).astype("i2"))),
        "dtype int16",
    ),
    "units of a list": (lambda c: c.assign(vv=c.vv.assign_attrs(units=["1"])), "no units"),
    "no cube": (lambda c: None, "NoneType"),
}


@pytest.mark.parametrize("case", SHAPES)
@pytest.mark.parametrize("chunks", [None, {"time": 1}])
def test_a_cube_that_is_no_map_is_refused(case, chunks):
    change, says = SHAPES[case]
    with pytest.raises(CubeError, match=says):
        gssm.predict(change(CUBE if chunks is None else CUBE.chunk(chunks)))


@given(
    st.lists(st.integers(1, 6), min_size=1, max_size=3),
    st.integers(0, 7),
    st.booleans(),
    st.integers(0, 2**32 - 1),
)
def test_values_are_picked_as_from_the_whole_block(sizes, kept, gaps, seed):
    shape, rng = tuple(sizes), np.random.default_rng(seed)
    count = int(np.prod(shape))
    small = tuple(n if kept >> axis & 1 else 1 for axis, n in enumerate(shape))
    block = rng.normal(size=small)
    size = int(rng.integers(1, count + 1))
    start = int(rng.integers(0, count - size + 1))
    rows = np.sort(rng.permutation(count)[:size]) if gaps else np.arange(start, start + size)
    expected = np.broadcast_to(block, shape).reshape(-1)[rows]
    np.testing.assert_array_equal(_pick(block, rows, shape), expected)


@pytest.fixture(scope="module")
def opened(scene):
    items = gssm.search((3.0200, 50.8155, 3.0245, 50.8185), "2023-06", catalog=scene)
    return gssm.open_cube(items, chunks={"y": 18, "x": 18})


@pytest.fixture(scope="module")
def stores(opened, tmp_path_factory):
    """The same cube as xarray writes it and as gssm does."""
    folder = tmp_path_factory.mktemp("cubes")
    opened.to_zarr(folder / "xarray.zarr", consolidated=False)
    gssm.to_zarr(opened, folder / "gssm.zarr")
    return folder


@pytest.fixture(scope="module")
def expected(opened):
    return gssm.predict(opened).compute()


def assert_same_product(product, expected):
    for name in expected.data_vars:
        np.testing.assert_array_equal(product[name], expected[name])


@pytest.mark.parametrize("chunks", [{"x": 30}, {}, {"time": 2, "y": 7}])
def test_a_cube_may_be_cut_anew(opened, expected, chunks):
    """The orbits beside the radar are then lazy too, and cut in another way than the radar."""
    cube = opened.chunk(chunks)
    with no_compute():
        product = gssm.predict(cube)
    assert_same_product(product.compute(), expected)


@pytest.mark.parametrize("writer", ["xarray", "gssm"])
@pytest.mark.parametrize(
    "change",
    {
        "lazy": lambda cube: cube,
        "loaded": lambda cube: cube.load(),
        "cut anew": lambda cube: cube.chunk({"time": 2, "x": 11}),
        "one time": lambda cube: cube.isel(time=[0]),
        "one time alone": lambda cube: cube.isel(time=0),
    }.items(),
    ids=lambda item: item[0],
)
@pytest.mark.parametrize("chunks", [{}, None], ids=["dask", "numpy"])
def test_a_cube_that_was_stored_is_predicted_as_the_original(
    stores, expected, writer, change, chunks
):
    cube = xr.open_zarr(stores / f"{writer}.zarr", consolidated=False, chunks=chunks)
    product = gssm.predict(change[1](cube)).compute()
    times = {"one time": [0], "one time alone": 0}.get(change[0], slice(None))
    assert_same_product(product, expected.isel(time=times))


@pytest.mark.parametrize("lazily", [False, True])
@pytest.mark.parametrize(
    "average",
    [
        lambda cube: cube.coarsen(y=2, x=2, boundary="trim").mean(keep_attrs=True),
        lambda cube: cube.mean("time", keep_attrs=True),
        lambda cube: cube.resample(time="YS").mean(keep_attrs=True),
    ],
)
def test_a_cube_of_averaged_masks_is_refused(tmp_path, average, lazily):
    cube = average(CUBE.chunk({"time": 1, "y": 12}) if lazily else CUBE)
    with pytest.raises(CubeError, match=r"^s2_mask holds [\d.]+, which is no class"):
        gssm.to_zarr(gssm.predict(cube), tmp_path / "sm.zarr")
    assert not list(tmp_path.iterdir())


ABSENT = {
    "a band renamed": (lambda c: c.rename(s2_b4="red"), "s2_b1 and no s2_b4, taken as missing"),
    "a band left out": (lambda c: c.drop_vars("landsat_b10"), "landsat_b1 and no landsat_b10,"),
    "all bands left out": (
        lambda c: c.drop_vars([n for n in c if n.startswith("s2_b")]),
        "s2_age and no s2_b1, s2_b2, s2_b3 and 9 more, taken",
    ),
}


@pytest.mark.parametrize("case", ABSENT)
def test_a_band_that_the_model_reads_and_the_cube_lacks_is_told_once(case):
    change, says = ABSENT[case]
    with pytest.warns(GssmWarning, match=says) as told:
        product = gssm.predict(change(CUBE))
    assert len(told) == 1
    assert told[0].filename == __file__
    assert product.soil_moisture.notnull().any()


def test_a_band_is_not_missed_that_the_model_does_not_read():
    """A spec of an index, which the cube has: what it is made of is not read."""
    spec = gssm.FeatureSpec("small", ("vv_db", "incidence_angle", "s2_ndvi", "s2_b10"))
    without = CUBE.assign(s2_ndvi=CUBE.vv.assign_attrs(units="1")).drop_vars(["s2_b4", "s2_b8"])
    _warn_of_absent(without, spec)  # and no catalogue has B10 of surface reflectance
    with pytest.warns(GssmWarning, match="no s2_b4, s2_b8, taken as missing"):
        _warn_of_absent(without.drop_vars("s2_ndvi"), spec)
