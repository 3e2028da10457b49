from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import cloudpickle
import dask
import numpy as np
import pandas as pd
import pytest
import rasterio
import xarray as xr
from hypothesis import given, settings
from hypothesis import strategies as st
from odc.geo.geobox import GeoBox

import gssm
from gssm import schema
from gssm.catalogs import ASSETS, MASKS
from gssm.errors import EmptySearchError, GssmWarning, RequestError
from gssm.grid import make_grid
from gssm.simulate import simulate_items
from helpers import no_compute
from imagery import cut_file, landsat_item, optical_item, radar_item, stac_item, utm_grid, write_tif

BBOX = (3.0195, 50.8132, 3.0282, 50.8187)
# Two Sentinel-2 images share the site, each clear where the other is not; little Landsat.
WEEK = "2018-09-18/2018-09-19"


@pytest.fixture(scope="module")
def week_items(flanders: Path) -> Any:
    return gssm.search(BBOX, WEEK, catalog=flanders, max_cloud_cover=100)


@pytest.fixture(scope="module")
def week(week_items: Any) -> xr.Dataset:
    return gssm.open_cube(week_items).compute()


def assert_same(first: xr.Dataset, second: xr.Dataset) -> None:
    xr.testing.assert_identical(first.compute(), second.compute())


# --- laziness and size of the graph -------------------------------------------------------


def tile_of_days(days: int) -> xr.Dataset:
    """Build the cube of a whole Sentinel-2 tile; there are no files behind it."""
    grid = GeoBox.from_bbox(
        (499_980, 5_590_200, 609_780, 5_700_000), crs="EPSG:32631", resolution=10, tight=True
    )
    assert grid.shape == (10_980, 10_980)
    items = simulate_items(bbox=(3.2, 50.6, 4.2, 51.2), start="2023-06-01", days=days)
    with no_compute():
        return gssm.open_cube(items, grid=grid)


def test_levels_that_differ_between_the_sensors_are_named() -> None:
    lender = optical_item("L2A", s2__datatake_id="GS2A_20200609T104501_025929_N05.09")
    level1 = copy.deepcopy(lender) | {"id": "L1C", "collection": "sentinel-2-l1c"}
    items = [radar_item(), level1, lender]
    cube = gssm.open_cube(items, grid=utm_grid(8, 8))
    assert cube["s2_b4"].attrs["processing_level"] == "l1"
    with pytest.warns(GssmWarning, match="sentinel2 of level l1 and landsat of level l2"):
        cube = gssm.open_cube([*items, landsat_item()], grid=utm_grid(8, 8))
    assert cube["landsat_b4"].attrs["processing_level"] == "l2"


def test_a_month_over_a_tile_reads_no_pixel() -> None:
    tile_cube = tile_of_days(30)
    assert dict(tile_cube.sizes) == {"time": 10, "y": 10_980, "x": 10_980}
    for variable in tile_cube.data_vars.values():
        assert dask.is_dask_collection(variable)
    assert set(tile_cube["vv"].chunks[0]) == {1}  # type: ignore[index]
    assert max(tile_cube["vv"].chunks[1]) == 1024  # type: ignore[index]


def test_few_and_small_tasks_per_chunk_and_band() -> None:
    tile_cube = tile_of_days(4)
    chunks = sum(int(np.prod(v.data.numblocks)) for v in tile_cube.data_vars.values())
    tasks = dict(tile_cube.__dask_graph__())
    assert len(tasks) <= 5 * chunks
    assert max(len(cloudpickle.dumps(task)) for task in tasks.values()) < 10_000
    for name in ("vv", "s2_b4", "s2_age", "landsat_mask", "dsm"):
        array = tile_cube[name].data
        assert len(dict(array.__dask_graph__())) <= 5 * array.npartitions

    # Also as the scheduler gets them, fused.
    (fused,) = dask.optimize(tile_cube[["vv", "s2_b4", "landsat_b10"]])
    tasks = dict(fused.__dask_graph__())
    assert max(len(cloudpickle.dumps(task)) for task in tasks.values()) < 10_000


# --- what a cube is -------------------------------------------------------------------------


def test_variables_dimensions_and_attributes(week: xr.Dataset) -> None:
    expected = {name for names in ASSETS.values() for name in names}
    expected |= {f"{sensor}_{what}" for sensor in ("s2", "landsat") for what in ("age", "mask")}
    assert set(week.data_vars) == expected | {"read_failed"}
    for name, variable in week.data_vars.items():
        assert variable.dims == (("y", "x") if name == "dsm" else ("time", "y", "x"))
        assert variable.attrs["units"] == schema.VARIABLES[str(name)].units
        assert variable.attrs["grid_mapping"] == "spatial_ref"
    assert {v.dtype for n, v in week.data_vars.items() if n[-4:] not in ("mask", "iled")} == {
        np.dtype(np.float32)
    }
    assert week["s2_mask"].dtype == np.uint8
    assert week["read_failed"].dtype == bool
    assert week["vv"].attrs["backscatter_convention"] == "sigma0"
    assert week["s2_mask"].attrs["flag_meanings"] == schema.MASK_MEANINGS
    assert week.indexes["time"].is_monotonic_increasing
    assert "UTM zone 31N" in week["spatial_ref"].attrs["spatial_ref"]
    assert any(name.startswith("S1_2018091") for name in week.attrs["source_items"])
    assert "dem_31UDS" in week.attrs["source_items"]


def test_pixel_centres_of_utm(week: xr.Dataset) -> None:
    grid = make_grid(BBOX)
    assert (week["x"].values % 10 == 5).all()
    assert (week["y"].values % 10 == 5).all()
    assert (np.diff(week["x"]) == 10).all()
    assert (np.diff(week["y"]) == -10).all()
    assert week["vv"].shape[1:] == grid.shape
    assert week["x"].values[0] == grid.boundingbox.left + 5


# --- real pixels ----------------------------------------------------------------------------


def at_pixels(href: str, cube: xr.Dataset) -> np.ndarray[Any, Any]:
    """Value of the file's pixel that holds each pixel centre of the cube."""
    with rasterio.open(href) as file:
        numbers = file.read(1)
        rows = [file.index(cube["x"].values[0], y)[0] for y in cube["y"].values]
        columns = [file.index(x, cube["y"].values[0])[1] for x in cube["x"].values]
    return np.asarray(numbers[np.ix_(rows, columns)])


def test_radar_is_that_of_the_file(week: xr.Dataset, week_items: Any) -> None:
    for name in ("vv", "vh"):
        for item in (i for i in week_items if i.collection_id == "sentinel-1-sigma0"):
            moment = pd.Timestamp(item.datetime).tz_localize(None)
            seen = week[name].sel(time=moment)
            expected = at_pixels(item.assets[name].href, week)
            expected = np.where(expected > 0, expected, np.nan)
            np.testing.assert_allclose(seen.values, expected, rtol=1e-6)
            angle = week["incidence_angle"].sel(time=moment)
            # Across 620 m the angle of a pass changes by some hundredths of a degree.
            np.testing.assert_allclose(angle, item.properties["view:incidence_angle"], atol=0.1)


@pytest.mark.parametrize(
    ("role", "collection", "mask_key", "band", "key", "scale", "offset"),
    [
        ("sentinel2", "sentinel-2-l2a", "SCL", "s2_b4", "B04", 1e-4, 0),
        ("sentinel2", "sentinel-2-l2a", "SCL", "s2_b8", "B08", 1e-4, 0),
        ("landsat", "landsat-c2-l2", "qa_pixel", "landsat_b4", "red", 2.75e-5, -0.2),
        ("landsat", "landsat-c2-l2", "qa_pixel", "landsat_b10", "lwir11", 0.00341802, 149),
    ],
)
def test_optical_is_the_nearest_clear_image_at_the_same_pixel(
    week: xr.Dataset,
    week_items: Any,
    role: Any,
    collection: str,
    mask_key: str,
    band: str,
    key: str,
    scale: float,
    offset: float,
) -> None:
    prefix = band.split("_")[0]
    images = [i for i in week_items if i.collection_id == collection]
    filled, distinct = 0, set()
    for time in week["time"].values:
        expected = np.full(week["vv"].shape[1:], np.nan)
        ages = np.full(week["vv"].shape[1:], np.nan)
        radar = pd.Timestamp(time)
        offsets = [
            ((pd.Timestamp(i.datetime).tz_localize(None) - radar) / pd.Timedelta("1D"), i)
            for i in images
        ]
        for age, image in sorted(offsets, key=lambda pair: abs(pair[0])):
            if abs(age) > 3:
                continue
            classes = MASKS[role].classify(at_pixels(image.assets[mask_key].href, week))
            here = np.isnan(ages) & (classes <= schema.MASK_SNOW)
            numbers = at_pixels(image.assets[key].href, week)
            physical = np.where(numbers == 0, np.nan, numbers * scale + offset)
            expected[here], ages[here] = physical[here], age
        seen = week.sel(time=time)
        np.testing.assert_allclose(seen[band], expected, atol=1e-6, rtol=1e-6)
        np.testing.assert_allclose(seen[f"{prefix}_age"], ages, atol=1e-5)
        filled += np.isfinite(expected).sum()
        distinct |= set(ages[np.isfinite(ages)])
    assert filled > 300
    assert len(distinct) >= {"s2": 4, "landsat": 2}[prefix]  # images of the two dates


def test_values_are_in_physical_ranges(week: xr.Dataset) -> None:
    for name in ("landsat_b10", "s2_b4", "vv", "dsm"):
        assert np.isfinite(week[name]).any()
    assert week["landsat_b10"].min() > 270
    assert week["landsat_b10"].max() < 330
    assert week["s2_b4"].min() >= 0
    assert week["s2_b4"].max() < 1.2
    assert week["vv"].min() > 0
    assert 0 < week["dsm"].median() < 60  # lowland near Kortrijk
    assert not week["read_failed"].any()
    for sensor in ("s2", "landsat"):
        assert np.abs(week[f"{sensor}_age"]).max() <= 3


def test_bands_that_no_image_has_are_nan(week: xr.Dataset) -> None:
    for name in ("s2_b1", "s2_b9", "landsat_b1"):
        assert week[name].isnull().all()
        assert week[name].dtype == np.float32


def test_elevation_is_that_of_the_file(week: xr.Dataset, week_items: Any) -> None:
    (item,) = (i for i in week_items if i.collection_id == "dem")
    expected = at_pixels(item.assets["data"].href, week)
    # Bilinear from 20 m: within the steps between neighbouring pixels.
    assert np.abs(week["dsm"].values - expected).mean() < 1


@pytest.mark.parametrize("chunks", [{"y": 7, "x": 13}, {"y": 62}, {"y": 5000, "x": 5000}])
def test_any_chunks_give_the_same(
    week_items: Any, week: xr.Dataset, chunks: dict[str, int]
) -> None:
    one = week.isel(time=[0])
    first = pd.Timestamp(one["time"].values[0])
    items = [
        i
        for i in week_items
        if i.collection_id != "sentinel-1-sigma0"
        or pd.Timestamp(i.datetime).tz_localize(None) == first
    ]
    seen = gssm.open_cube(items, bbox=BBOX, chunks=chunks)
    xr.testing.assert_equal(seen.compute(), one)


def test_items_in_any_form_and_order(week_items: Any, week: xr.Dataset) -> None:
    dictionaries = [item.to_dict(transform_hrefs=False) for item in week_items]
    day = week.isel(time=slice(0, 1))
    for items in (
        dictionaries,
        (i for i in list(week_items)),
        list(reversed(list(week_items))),
        list(week_items) * 2,
    ):
        cube = gssm.open_cube(items, bbox=BBOX)
        assert cube.attrs == week.attrs
        assert_same(cube.isel(time=slice(0, 1)), day)


def test_items_are_not_changed(week_items: Any) -> None:
    dictionaries = [item.to_dict(transform_hrefs=False) for item in week_items]
    before = copy.deepcopy(dictionaries)
    gssm.open_cube(dictionaries)
    assert dictionaries == before


@pytest.mark.parametrize("resolution", [20, 60])
def test_coarser_grids(week_items: Any, week: xr.Dataset, resolution: int) -> None:
    cube = gssm.open_cube(week_items, resolution=resolution).isel(time=[0]).compute()
    assert (np.diff(cube["x"]) == resolution).all()
    np.testing.assert_allclose(cube["vv"].mean(), week["vv"][0].mean(), rtol=0.15)
    known = np.isfinite(cube["s2_b4"])
    assert known.any()
    assert (known == np.isfinite(cube["s2_age"])).mean() > 0.9


# --- written pixels ---------------------------------------------------------------------------


def written_items(folder: Path) -> list[dict[str, Any]]:
    """Radar, one image each of Sentinel-2 and Landsat and elevation, 8 x 8 pixels of 10 m."""
    random = np.random.default_rng(1)
    radar, image, landsat = radar_item(), optical_item(), landsat_item()
    classes = {"SCL": (4, np.uint8), "qa_pixel": (21824, np.uint16)}
    for item in (radar, image, landsat):
        for key, asset in item["assets"].items():
            value, dtype = classes.get(key, (None, np.float32 if item is radar else np.uint16))
            low, high = (0.01, 0.5) if item is radar else (9000, 12000)
            numbers = random.uniform(low, high, (8, 8)) if value is None else np.full((8, 8), value)
            asset["href"] = write_tif(folder / item["id"] / f"{key}.tif", numbers.astype(dtype))
    height = write_tif(folder / "dem.tif", random.uniform(10, 20, (8, 8)).astype(np.float32))
    dem = stac_item("dem", "dem", "2010-01-01T00:00:00Z", {"data": height})
    return [radar, image, landsat, dem]


def test_values_lie_on_their_pixel_centres(tmp_path: Path) -> None:
    items = written_items(tmp_path)
    cube = gssm.open_cube(items, grid=utm_grid(12, 12, dx=-20, dy=20)).isel(time=0).compute()
    for name, item, key in (("vv", items[0], "vv"), ("s2_b4", items[1], "B04")):
        with rasterio.open(item["assets"][key]["href"]) as file:
            numbers = file.read(1)
            scale, offset = (1, 0) if name == "vv" else (1e-4, -0.1)
            for row in range(8):
                for column in range(8):
                    x, y = file.xy(row, column)
                    seen = float(cube[name].sel(x=x, y=y))
                    assert seen == pytest.approx(numbers[row, column] * scale + offset, rel=1e-5)
        assert int(np.isfinite(cube[name]).sum()) == 64


@settings(max_examples=5)
@given(st.tuples(st.integers(1, 12), st.integers(1, 12)), st.integers(-30, 30), st.integers(-3, 3))
def test_chunks_change_nothing_on_any_grid(
    tmp_path_factory: pytest.TempPathFactory, chunks: tuple[int, int], dx: int, turn: int
) -> None:
    items = written_items(tmp_path_factory.mktemp("cube"))
    grid = utm_grid(10, 9, dx=dx, dy=7 * turn)
    whole = gssm.open_cube(items, grid=grid)
    parts = gssm.open_cube(items, grid=grid, chunks={"y": chunks[0], "x": chunks[1]})
    assert_same(parts, whole)


def test_gamma0_becomes_sigma0(tmp_path: Path) -> None:
    items = written_items(tmp_path)
    sigma0 = gssm.open_cube(items, grid=utm_grid(8, 8)).compute()
    items[0]["collection"] = "sentinel-1-rtc"
    seen = gssm.open_cube(items, grid=utm_grid(8, 8)).compute()
    cosine = np.cos(np.deg2rad(38.0))
    np.testing.assert_allclose(seen["vv"], sigma0["vv"] * cosine, rtol=1e-6)
    assert seen["vv"].dtype == np.float32
    assert seen["vv"].attrs["backscatter_convention"] == "sigma0"


def test_angle_of_a_raster_wins_over_that_of_the_scene(tmp_path: Path) -> None:
    items = written_items(tmp_path)
    angle = np.linspace(30, 45, 64, dtype=np.float32).reshape(8, 8)
    items[0]["assets"]["incidence_angle"] = {"href": write_tif(tmp_path / "angle.tif", angle)}
    second = copy.deepcopy(items[0])
    second["id"], second["properties"]["datetime"] = "S1-next", "2020-06-11T06:00:00Z"
    del second["assets"]["incidence_angle"]
    cube = gssm.open_cube([*items, second], grid=utm_grid(8, 8)).compute()
    np.testing.assert_allclose(cube["incidence_angle"][0], angle, rtol=1e-6)
    assert (cube["incidence_angle"][1] == 38).all()


def test_second_slice_fills_the_border_of_the_first(tmp_path: Path) -> None:
    items = written_items(tmp_path)
    for number, half in ((1, slice(0, 4)), (2, slice(4, 8))):
        name = f"slice {number}"
        numbers = np.zeros((8, 8), np.float32)  # zero-filled border
        numbers[half] = number
        item = radar_item(name, f"2020-06-10T06:00:{20 * number}Z")
        for key in ("vv", "vh"):
            item["assets"][key]["href"] = write_tif(tmp_path / name / f"{key}.tif", numbers)
        # Slices differ in place.
        item["geometry"], item["bbox"] = None, [2.9 + number / 1000, 50.5, 3.05, 50.6]
        items.append(item)
    cube = gssm.open_cube(items[1:], grid=utm_grid(8, 8)).compute()
    assert cube.sizes["time"] == 1
    assert np.isfinite(cube["vv"]).all()
    assert cube["vv"].values[0, [0, 7], 0].tolist() == [1, 2]
    assert not cube["read_failed"].any()


def test_truncated_radar_is_named_and_flagged(tmp_path: Path) -> None:
    items = written_items(tmp_path)
    cut_file(items[0]["assets"]["vv"]["href"])
    cube = gssm.open_cube(items, grid=utm_grid(8, 8))
    with pytest.warns(GssmWarning, match="item 'S1' is skipped"):
        seen = cube.compute(scheduler="synchronous")
    assert seen["vv"].isnull().all()
    assert seen["read_failed"].all()
    assert np.isfinite(seen["vh"]).all()


def test_radar_alone_is_a_cube() -> None:
    with no_compute():
        cube = gssm.open_cube([radar_item()], bbox=(3.0, 50.52, 3.01, 50.53))
    assert cube["s2_b4"].isnull().all()
    assert cube["dsm"].isnull().all()
    assert (cube["s2_mask"] == schema.MASK_MISSING).all()
    assert cube["s2_age"].isnull().all()


def test_window_of_zero_leaves_optical_missing(week_items: Any) -> None:
    cube = gssm.open_cube(week_items, window="0D").isel(time=[0])
    assert cube["s2_b4"].isnull().all()
    assert cube["vv"].notnull().any()


def test_southern_hemisphere() -> None:
    item = {**radar_item(), "geometry": None, "bbox": [18.4, -34.0, 18.5, -33.9]}
    cube = gssm.open_cube([item])
    assert "34S" in cube["spatial_ref"].attrs["spatial_ref"]
    assert cube["y"].values[0] > cube["y"].values[-1] > 6_000_000


def test_grid_needs_no_box() -> None:
    # Footprints of two orbits together are wider than one zone can show; a grid is enough.
    items = [
        {**radar_item(n), "geometry": None, "bbox": b}
        for n, b in (("a", [0, 50, 3.5, 52]), ("b", [3, 50, 6.5, 52]))
    ]
    assert gssm.open_cube(items, grid=utm_grid(8, 8)).sizes["x"] == 8
    with pytest.raises(RequestError, match="more than 5 degrees"):
        gssm.open_cube(items)


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"chunks": {"y": 0}}, "is not pixels of y and x"),
        ({"chunks": {"y": -1, "x": -1}}, "is not pixels of y and x"),
        ({"chunks": {"time": 1}}, "is not pixels of y and x"),
        ({"chunks": {"y": 1.5}}, "is not pixels of y and x"),
        ({"chunks": 512}, "is not pixels of y and x"),
        ({"chunks": "auto"}, "is not pixels of y and x"),
        ({"resolution": 0}, "not a pixel size"),
        ({"resolution": "10"}, "not a pixel size"),
        ({"window": 3}, "not a duration"),
        ({"window": "-1D"}, "negative"),
        ({"bbox": (4, 50, 3, 51)}, "west > east"),
        (
            {"grid": GeoBox.from_bbox((3, 50, 4, 51), crs="EPSG:4326", shape=(10, 10))},
            "give a projected one",
        ),
    ],
)
def test_bad_requests(options: dict[str, Any], reason: str) -> None:
    with pytest.raises(RequestError, match=reason):
        gssm.open_cube([radar_item()], **options)


def test_no_items() -> None:
    for items in ([], iter(()), [optical_item()]):
        with pytest.raises(EmptySearchError, match="no usable Sentinel-1 item"):
            gssm.open_cube(items)
