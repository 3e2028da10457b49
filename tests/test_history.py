import json

import dask.array as da
import numpy as np
import pytest
import xarray as xr
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

import gssm
from cubes import make_cube
from gssm import schema
from gssm.errors import (
    CubeError,
    EmptySearchError,
    GssmWarning,
    MissingVariableError,
    RequestError,
)
from gssm.features import comparable
from gssm.history import WINDOW, history, screened, with_history
from gssm.percentiles import statistics
from gssm.physics import WaterCloud
from helpers import no_compute

TIMES = 12


def clear_cube(shape=(TIMES, 9, 11), **options):
    """A cube without water, snow and cloud, on a UTM grid that says its CRS."""
    from odc.geo.geobox import GeoBox
    from odc.geo.xr import xr_coords

    cube = make_cube(shape, **options)
    for name in ("s2_mask", "landsat_mask"):
        cube[name][:] = schema.MASK_CLEAR
    left, top = float(cube.x[0]) - 5, float(cube.y[0]) + 5
    bounds = (left, top - 10 * shape[1], left + 10 * shape[2], top)
    grid = GeoBox.from_bbox(bounds, "EPSG:32631", resolution=10)
    return cube.assign_coords(xr_coords(grid))


CUBE = clear_cube()
EAGER = history(CUBE, min_count=3)

# --- statistics


FLOATS = st.floats(-50, 350, width=32)
ROWS = st.tuples(st.integers(1, 4), st.integers(1, 40)).flatmap(
    lambda shape: arrays(np.float32, shape, elements=FLOATS | st.just(np.nan))
)


@given(ROWS, st.integers(1, 9))
def test_the_statistics_are_numpys(rows, min_count):
    found = statistics(rows, min_count)
    assert found.shape == (4, len(rows))
    assert found.dtype == np.float32
    few = np.isfinite(rows).sum(axis=1) < min_count
    assert np.isnan(found[:, few]).all()
    for row, column in zip(rows[~few].astype(np.float64), found[:, ~few].T, strict=True):
        # numpy takes the percentile in the type of the values, so double here.
        expected = [*np.nanpercentile(row, [5, 50, 95]), np.nanstd(row)]
        np.testing.assert_allclose(column, expected, rtol=2e-7, atol=1e-6)


@given(ROWS, st.integers(0, 5), st.randoms(use_true_random=False))
def test_neither_the_order_of_times_nor_gaps_change_a_bit(rows, gaps, random):
    order = random.sample(range(rows.shape[1]), rows.shape[1])
    padded = np.concatenate([np.full((len(rows), gaps), np.nan, np.float32), rows[:, order]], 1)
    np.testing.assert_array_equal(statistics(padded, 1), statistics(rows, 1))


def test_rows_without_times_have_no_reference():
    assert np.isnan(statistics(np.empty((3, 0), np.float32), 1)).all()


# --- references of a cube


def test_exactly_the_references_with_their_units():
    assert tuple(EAGER) == schema.REFERENCES
    for name, array in EAGER.items():
        assert array.dims == ("y", "x")
        assert array.dtype == np.float32
        assert array.attrs["units"] == schema.VARIABLES[name].units
        assert array.attrs["grid_mapping"] == "spatial_ref"
    assert set(EAGER.coords) == {"y", "x", "spatial_ref"}
    xr.testing.assert_identical(EAGER.x, CUBE.x)


@pytest.mark.parametrize("base", schema.HISTORY_BASES)
def test_they_are_statistics_of_comparable_values(base):
    values = comparable(CUBE, base).astype(np.float64)
    known = values.notnull().sum("time") >= 3
    for suffix, expected in {
        **{f"p{p:02}": values.quantile(p / 100, "time", skipna=True) for p in (5, 50, 95)},
        "sd": values.std("time", skipna=True),
    }.items():
        found = EAGER[f"{base}_{suffix}"]
        np.testing.assert_array_equal(found.notnull(), known)
        np.testing.assert_allclose(found, expected.where(known), rtol=1e-6, atol=1e-6)


def test_the_record_of_what_they_are_made_of():
    attrs = history(CUBE.assign_attrs(source_items=["a", "b"])).attrs
    assert attrs["source_items"] == ["a", "b"]
    assert attrs["acquisitions"] == TIMES
    assert attrs["time_coverage_start"] == "2020-05-03T17:40:00Z"
    assert attrs["time_coverage_end"] == "2020-07-08T17:40:00Z"
    assert attrs["gssm_version"] == gssm.__version__
    water_cloud = WaterCloud(a_vv=(0.2, 0.1))
    changed = history(CUBE, water_cloud=water_cloud)
    for record in (changed, changed.vv_soil_p05):  # which stays when it is put beside a cube
        assert WaterCloud.from_dict(json.loads(record.attrs["water_cloud"])) == water_cloud
    assert "water_cloud" not in changed.vv_db_p05.attrs
    assert not np.array_equal(changed.vv_soil_p50, EAGER.vv_soil_p50, equal_nan=True)
    plain = history(CUBE)
    xr.testing.assert_equal(changed.vv_db_p50, plain.vv_db_p50)


@pytest.mark.parametrize("chunks", [(1, 9, 11), (TIMES, 9, 11), (5, 4, 6), (6, 1, 11), (7, 9, 2)])
def test_the_same_to_the_last_bit_for_any_chunks(chunks):
    with no_compute():
        lazy = history(CUBE.chunk(dict(zip(CUBE.vv.dims, chunks, strict=True))), min_count=3)
    xr.testing.assert_identical(lazy.compute(scheduler="synchronous"), EAGER)


def test_large_chunks_are_cut_into_windows(monkeypatch):
    monkeypatch.setitem(WINDOW, "y", 4)
    monkeypatch.setitem(WINDOW, "x", 5)
    lazy = history(CUBE.chunk(), min_count=3)
    assert dict(lazy.chunksizes) == {"y": (4, 4, 1), "x": (5, 5, 1)}
    xr.testing.assert_identical(lazy.compute(), EAGER)
    xr.testing.assert_identical(history(CUBE, min_count=3), EAGER)


def test_chunks_whose_past_takes_gigabytes_are_told_of():
    sizes = {"time": CUBE.sizes["time"], "y": 2500, "x": 2000}
    large = xr.Dataset(
        {
            name: (v.dims, da.zeros([sizes[d] for d in v.dims], dtype=v.dtype), v.attrs)
            for name, v in CUBE.data_vars.items()
        }
    )
    with pytest.warns(GssmWarning, match=r"2500 x 2000 pixels takes 2.6 GB .* such as {'y': 256"):
        lazy = history(large.chunk(y=-1, x=-1), min_count=3)
    assert lazy.chunksizes["y"][0] == 256


def test_variables_without_time_and_in_other_units_and_order():
    cube = CUBE.assign(
        incidence_angle=CUBE.incidence_angle.isel(time=0, drop=True).fillna(38.0),
        vv=(10 * np.log10(CUBE.vv)).assign_attrs(units="dB"),
    ).transpose("x", "y", "time")
    cube.incidence_angle.attrs["units"] = "degree"
    whole = CUBE.assign(incidence_angle=cube.incidence_angle.broadcast_like(CUBE.vv))
    whole.incidence_angle.attrs["units"] = "degree"
    expected = history(whole, min_count=3)
    xr.testing.assert_allclose(history(cube, min_count=3), expected, rtol=1e-4)
    xr.testing.assert_identical(
        history(cube.chunk({"time": 5, "x": 4}), min_count=3).compute(),
        history(cube, min_count=3),
    )


def test_an_absent_sensor_has_no_reference():
    radar = history(CUBE[["vv", "vh", "incidence_angle"]], min_count=3)
    xr.testing.assert_equal(radar.vv_db_p05, EAGER.vv_db_p05)
    for base in schema.HISTORY_BASES[2:]:
        assert radar[f"{base}_p50"].isnull().all()


HERE = {"time": 4, "y": 3, "x": 2}
ALL = set(schema.HISTORY_BASES)
S2 = {b for b in ALL if b.startswith("s2")}
LANDSAT = {b for b in ALL if b.startswith("landsat")}
CAUSES = {
    "snow in Sentinel-2": ("s2_mask", schema.MASK_SNOW, ALL),
    "snow in Landsat": ("landsat_mask", schema.MASK_SNOW, ALL),
    "water": ("s2_mask", schema.MASK_WATER, ALL),
    "water, but not to Sentinel-2": ("landsat_mask", schema.MASK_WATER, LANDSAT),
    "unreadable": ("landsat_mask", schema.MASK_UNREADABLE, ALL),
    "a failed read": ("read_failed", True, ALL),
    "cloud": ("s2_mask", schema.MASK_CLOUD, S2),
    "nothing seen": ("landsat_mask", schema.MASK_MISSING, LANDSAT),
}


@pytest.mark.parametrize("cause", CAUSES)
def test_what_does_not_enter(cause):
    name, value, left_out = CAUSES[cause]
    cube = clear_cube(missing=0)
    cube["read_failed"] = xr.zeros_like(cube.vv, dtype=bool).assign_attrs(units="1")
    cube[name][HERE] = value
    kept = screened(cube, schema.HISTORY_BASES, WaterCloud())
    for base, values in zip(schema.HISTORY_BASES, kept, strict=True):
        expected = comparable(cube, base)
        if base in left_out:
            expected[HERE] = np.nan
        np.testing.assert_array_equal(values, expected)


def test_too_few_values_have_no_reference():
    cube = clear_cube(missing=0)
    cube["s2_b12"][{"time": slice(0, 4), "y": 2, "x": 3}] = np.nan
    cube["s2_b12"][{"time": slice(0, 5), "y": 5, "x": 6}] = np.nan
    known = history(cube).s2_b12_p05.notnull()
    assert bool(known[2, 3])
    assert not bool(known[5, 6])
    assert int(known.sum()) == known.size - 1
    assert history(cube).vv_db_sd.notnull().all()


# --- from items, stored and used again


@pytest.fixture(scope="module")
def items(scene):
    return gssm.search((3.0200, 50.8155, 3.0245, 50.8185), "2023-06", catalog=scene)


@pytest.fixture(scope="module")
def stored(items, tmp_path_factory):
    with no_compute():
        references = gssm.history(items, min_count=2)
    store = tmp_path_factory.mktemp("history") / "history.zarr"
    gssm.to_zarr(references, store)
    return xr.open_zarr(store, consolidated=False)


def test_items_and_their_cube_have_one_history(items, stored):
    cube = gssm.open_cube(items)
    references = gssm.history(cube, min_count=2)
    xr.testing.assert_equal(references.compute(), stored.compute())
    assert stored.vv_db_p05.notnull().mean() > 0.8
    assert stored.attrs["source_items"] == references.attrs["source_items"] != []
    assert stored.vv_soil_p50.attrs == references.vv_soil_p50.attrs


def test_the_grid_that_the_refusal_names_is_the_cubes_own(items):
    cube = gssm.open_cube(items, resolution=20)
    coarse = gssm.history(items, grid=cube.odc.geobox, min_count=2)
    assert set(schema.REFERENCES) <= set(gssm.with_history(cube, coarse))


def test_chunks_of_items_are_windows(items):
    references = gssm.history(items, min_count=2, chunks={"y": 16})
    assert references.chunksizes["y"][0] == 16
    assert references.chunksizes["x"] == (references.sizes["x"],)


def test_a_stored_history_is_put_beside_a_cube(items, stored):
    cube = gssm.open_cube(items, chunks={"y": 16, "x": 16})
    with no_compute():
        beside = gssm.with_history(cube, stored)
        features = gssm.build_features(beside, "l2-history")
    assigned = cube.assign(stored[[*schema.REFERENCES]])
    for name, array in assigned.data_vars.items():
        xr.testing.assert_identical(beside[name].variable, array.variable)
    xr.testing.assert_identical(beside.x, cube.x)
    features = features.compute()
    for name in ("vv_db", "s2_ndvi"):
        assert features[f"{name}_position"].notnull().mean() > 0.5
    np.testing.assert_array_equal(features.vv_db_p05, stored.vv_db_p05)


def test_positions_lie_between_the_references():
    features = gssm.build_features(with_history(CUBE, EAGER), "l2-history")
    value = comparable(CUBE, "vh_db")
    span = EAGER.vh_db_p95 - EAGER.vh_db_p05
    expected = ((value - EAGER.vh_db_p05) / span).transpose("time", "y", "x")
    np.testing.assert_allclose(features.vh_db_position, expected, rtol=1e-4, atol=1e-5)
    inside = (features.vh_db_position >= 0) & (features.vh_db_position <= 1)
    assert 0.6 < float(inside.mean()) < 0.95


# --- beside a cube


def test_the_cube_keeps_its_chunks() -> None:
    size = CUBE.sizes
    cube = CUBE.chunk({"time": 1, "y": -1, "x": size["x"] // 2 + 1})
    beside = with_history(cube, EAGER.chunk({"y": 3, "x": 4}))
    for name in schema.REFERENCES:
        assert beside[name].data.chunks == cube["vv"].data.chunks[1:]
    xr.testing.assert_identical(beside.compute(), with_history(CUBE, EAGER))
    # Beside the radar of a stored cube the orbits are lazy, and cut in a way of their own.
    orbits = da.zeros(size["time"], chunks=-1)
    stored = cube.assign_coords(relative_orbit=("time", orbits))
    xr.testing.assert_identical(with_history(stored, EAGER)["vv"], stored["vv"])
    # What is in memory stays there, and so does what is lazy beside a cube in memory.
    assert with_history(cube, EAGER)["vv_db_p05"].chunks is None
    assert with_history(CUBE, EAGER.chunk({"y": 3}))["vv_db_p05"].chunks is not None


def test_a_larger_history_gives_the_cubes_own_pixels():
    part = {"y": slice(2, 7), "x": slice(3, 9)}
    beside = with_history(CUBE.isel(part), EAGER)
    xr.testing.assert_identical(beside, CUBE.isel(part).assign(EAGER.isel(part)))
    turned = EAGER.isel(y=slice(None, None, -1)).transpose("x", "y").chunk({"x": 4})
    xr.testing.assert_identical(with_history(CUBE.isel(part), turned).compute(), beside)
    one = {"y": [4], "x": [5]}
    xr.testing.assert_identical(
        with_history(CUBE.isel(one), EAGER), CUBE.isel(one).assign(EAGER.isel(one))
    )


def moved(dataset, **metres):
    return dataset.assign_coords({d: dataset[d] + distance for d, distance in metres.items()})


def in_zone_32(dataset):
    from odc.geo.geobox import GeoBox
    from odc.geo.xr import xr_coords

    grid = GeoBox.from_bbox((0, 0, 100, 100), "EPSG:32632", resolution=10)
    return dataset.assign_coords(spatial_ref=xr_coords(grid)["spatial_ref"])


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda h: moved(h, y=5), "along 'y' .* are not pixels of the history"),
        (lambda h: moved(h, x=0.2), "along 'x' .* are not pixels of the history"),
        (lambda h: moved(h, x=10), "along 'x' .* every 10 m.*grid=cube.odc.geobox"),
        (lambda h: h.isel(x=slice(0, -1)), "along 'x'"),
        (lambda h: h.isel(y=slice(None, None, 2)), "every 20 m"),
        (in_zone_32, "the cube is in WGS 84 / UTM zone 31N and the history in .* 32N"),
        (lambda h: h.drop_vars("x"), "the history is no Dataset with pixels at coordinates"),
        (lambda h: h.isel(x=[]), "the history is no Dataset with pixels"),
        (lambda h: h.assign_coords(x=h.x.astype(str)), "the history is no Dataset with pixels"),
        (lambda h: h.vv_db_p05, "the history is no Dataset"),
        (lambda h: None, "the history is no Dataset"),
    ],
)
def test_a_history_of_other_pixels_is_refused(change, says):
    with pytest.raises(CubeError, match=says):
        with_history(CUBE, change(EAGER))


def test_a_coarser_cube_is_no_part_of_a_finer_history():
    # Every pixel centre of 30 m is one of 10 m, and yet another pixel.
    coarse = CUBE.isel(y=slice(1, None, 3), x=slice(1, None, 3))
    with pytest.raises(CubeError, match="every 30 m"):
        with_history(coarse, EAGER)


def test_what_is_no_history_is_refused():
    with pytest.raises(MissingVariableError, match="no reference, such as 'vv_db_p05'"):
        with_history(CUBE, CUBE[["dsm"]])
    with pytest.raises(MissingVariableError):
        with_history(CUBE, EAGER.expand_dims(time=2))
    with pytest.raises(CubeError, match="the cube is no Dataset"):
        with_history(CUBE.drop_vars("y"), EAGER)


def test_the_inputs_are_not_changed():
    cube, references = CUBE.copy(deep=True), EAGER.copy(deep=True)
    with_history(CUBE, EAGER)
    history(CUBE)
    xr.testing.assert_identical(CUBE, cube)
    xr.testing.assert_identical(EAGER, references)


def test_references_that_are_there_are_replaced():
    old = with_history(CUBE, history(CUBE, min_count=3, water_cloud=WaterCloud(a_vv=(0.3, 0.2))))
    xr.testing.assert_identical(with_history(old, EAGER), with_history(CUBE, EAGER))
    xr.testing.assert_identical(history(old, min_count=3), EAGER)


# --- bad input


@pytest.mark.parametrize("min_count", [0, -3, 2.5, "8", None])
def test_a_min_count_that_is_none(min_count):
    with pytest.raises(RequestError, match="min_count"):
        history(CUBE, min_count=min_count)


@pytest.mark.parametrize(
    "option",
    [
        {"bbox": (3, 50, 4, 51)},
        {"bbox": np.array([3, 50, 4, 51])},
        {"grid": object()},
        {"resolution": 20},
        {"window": "5D"},
        {"chunks": {"y": 4}},
    ],
)
def test_an_opened_cube_takes_no_option_of_reading(option):
    with pytest.raises(RequestError, match="an opened cube has its own grid"):
        history(CUBE, **option)


@pytest.mark.parametrize("chunks", [{"time": 3}, {"y": 0}, 256])
def test_chunks_that_are_none(items, chunks):
    with pytest.raises(RequestError, match="chunks"):
        history(items, chunks=chunks)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda c: c.isel(time=slice(0, 7)), "7 acquisition.* min_count is 8"),
        (lambda c: c.isel(time=0), "1 acquisition"),
        (lambda c: c.drop_vars("incidence_angle"), "no variable 'incidence_angle'"),
        (lambda c: c.drop_vars("vh"), "no variable 'vh'"),
        (lambda c: c.rename(x="lon"), "dimensions"),
        (lambda c: c.assign(vv=c.vv.drop_attrs()), "no units"),
    ],
)
def test_a_cube_without_a_past_is_refused(change, says):
    with pytest.raises(CubeError, match=says):
        history(change(CUBE))


@pytest.mark.parametrize("lazily", [False, True])
def test_digital_numbers_are_refused(lazily):
    cube = CUBE.assign(s2_b12=(CUBE.s2_b12 * 1e4).assign_attrs(units="1"))
    with pytest.raises(CubeError, match="'s2_b12' has a median of"):
        history(cube.chunk() if lazily else cube).compute()


def test_no_items():
    with pytest.raises(EmptySearchError):
        history([])
