from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
import rioxarray  # noqa: F401  for .rio
import xarray as xr
from hypothesis import given, settings
from hypothesis import strategies as st
from odc.geo.geobox import GeoBox
from pyproj import Transformer

import gssm
from gssm.errors import RequestError
from gssm.grid import geographic_bounds, make_grid
from places import (
    SECOND,
    Box,
    elevation_item,
    on_grid,
    radar_at,
    scene_items,
    surface_file,
    waves,
)

# --- several projections, one surface -----------------------------------------------------------

ZONES: Box = (170.997, -43.0025, 171.003, -42.9975)  # the middle of zone 59
VV = waves(0.1, 0.05, 171.0, -43.0)
RED = waves(0.15, 0.05, 171.0, -43.0)
HEIGHT = waves(300, 40, 171.0, -43.0)


def in_zone(epsg: int, box: Box, resolution: float = 20) -> GeoBox:
    """Grid of a zone over a box, whatever zone the box is in."""
    to_zone = Transformer.from_crs("EPSG:4326", f"EPSG:{epsg}", always_xy=True)
    west, south, east, north = box
    east += 360 if east < west else 0
    left, bottom, right, top = to_zone.transform_bounds(west, south, east, north)
    snap = [np.floor(v / resolution) * resolution for v in (left, bottom)]
    snap += [np.ceil(v / resolution) * resolution for v in (right, top)]
    return GeoBox.from_bbox(snap, f"EPSG:{epsg}", resolution=resolution, tight=True)


def three_zones(folder: Path) -> list[dict[str, Any]]:
    """Neighbours in zones 58, 59 and 60, and two tiles of elevation that meet at 171 east."""
    items = []
    for epsg, west, east in (
        (32758, 170.994, 170.999),
        (32759, 170.998, 171.0015),
        (32760, 171.001, 171.006),
    ):
        box: Box = (west, -43.006, east, -42.994)
        # A file of a zone is not cut along the meridian: it holds what its rectangle holds.
        grid = in_zone(epsg, box)
        seen = geographic_bounds(epsg, grid.boundingbox.bbox)
        items += scene_items(folder, str(epsg), grid, seen, VV, RED)
    for west in (170, 171):
        left, top = (west + 1 - 60 * SECOND, -42.99) if west == 170 else (west, -42.99)
        path = folder / f"dem-{west}.tif"
        href = surface_file(path, "EPSG:4326", left, top, SECOND, (80, 60), HEIGHT)
        items.append(
            elevation_item("alos-dem", f"dem-{west}", href, (west, -43.5, west + 1, -42.5))
        )
    return items


@pytest.fixture(scope="module")
def zone_items(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Any]]:
    return three_zones(tmp_path_factory.mktemp("zones"))


def test_no_seam_between_zones(zone_items: list[dict[str, Any]]) -> None:
    cube = gssm.open_cube(zone_items, bbox=ZONES).compute()
    assert cube.sizes["time"] == 1
    grid = make_grid(ZONES)
    x = cube["x"].values
    # Pixels of 20 m: radar is averaged, so off by half a diagonal at most; bands are blended,
    # but for the last half pixel of a file. The surfaces change by 0.0006 and 0.5 m in 10 m.
    for name, surface, most in (("vv", VV, 1.2e-3), ("s2_b4", RED, 7e-4), ("dsm", HEIGHT, 0.05)):
        values = cube[name].values.reshape(grid.shape)
        error = np.abs(values - on_grid(grid, surface))
        assert np.isfinite(values).all()
        if name == "dsm":  # the last half pixel before the edge of a tile is its pixel's value
            edge = np.abs(x - 500_000) < 25
            assert error[:, edge].max() < 0.8
            error = error[:, ~edge]
        assert error.max() < most
    assert not cube["read_failed"].any()


@pytest.fixture(scope="module")
def in_order(zone_items: list[dict[str, Any]]) -> xr.Dataset:
    return gssm.open_cube(zone_items, bbox=ZONES, resolution=20).compute()


@settings(max_examples=8)
@given(st.randoms(use_true_random=False), st.integers(5, 80), st.integers(5, 80))
def test_order_and_chunks_change_no_bit(
    zone_items: list[dict[str, Any]],
    in_order: xr.Dataset,
    shuffle: random.Random,
    rows: int,
    columns: int,
) -> None:
    items = list(zone_items)
    shuffle.shuffle(items)
    chunks = {"y": rows, "x": columns}
    seen = gssm.open_cube(items, bbox=ZONES, resolution=20, chunks=chunks)
    xr.testing.assert_identical(seen.compute(), in_order)


@pytest.mark.parametrize("resolution", [10, 30, 60])
def test_chunks_change_no_bit_at_the_edge_of_a_rotated_file(
    tmp_path: Path, resolution: float
) -> None:
    # Left alone, GDAL guesses the ratio of pixels from the window of each chunk.
    noise = np.random.default_rng(0)

    def values(longitude: Any, latitude: Any) -> Any:
        return noise.uniform(0.05, 0.3, longitude.shape)

    grid = in_zone(32760, (170.9972, -43.003, 171.004, -42.999), 10)
    box = geographic_bounds(32760, grid.boundingbox.bbox)
    items = scene_items(tmp_path, "n", grid, box, values, values)
    # Few pixels of 10 m: each chunk costs the same.
    bbox = ZONES if resolution > 10 else (170.9985, -43.00125, 171.0015, -42.99875)
    whole = gssm.open_cube(items, bbox=bbox, resolution=resolution).compute()
    assert 0 < np.isnan(whole["vv"]).mean() < 0.9
    for size in (3, 8):
        chunks = {"y": size, "x": size + 1}
        parts = gssm.open_cube(items, bbox=bbox, resolution=resolution, chunks=chunks)
        xr.testing.assert_equal(parts.compute(), whole)


# --- several granules a day ---------------------------------------------------------------------


def test_slices_of_a_day_are_one_image_in_a_fixed_order(tmp_path: Path) -> None:
    grid = in_zone(32631, (3.0, 50.0, 3.01, 50.005))
    box = geographic_bounds(32631, grid.boundingbox.bbox)
    items = []
    for number, name in enumerate(("c", "a", "b")):
        radar = scene_items(tmp_path, name, grid, box, waves(number + 1, 0, 3, 50), RED)[0]
        # Slices of one pass, 25 s apart; their footprints differ.
        radar["bbox"] = [box[0] - number, *box[1:]]
        radar["properties"]["datetime"] = f"2020-06-10T06:00:{25 * number:02d}Z"
        items.append(radar)
    for order in ([0, 1, 2], [2, 1, 0], [1, 2, 0]):
        cube = gssm.open_cube([items[i] for i in order], grid=grid).compute()
        assert cube.sizes["time"] == 1
        assert (cube["vv"] == 1).all()  # the first slice in time has every pixel


def test_the_solar_day_joins_what_midnight_of_utc_parts(tmp_path: Path) -> None:
    box: Box = (-150.01, 20.0, -150.0, 20.005)  # in Hawaii it is afternoon
    grid = in_zone(32606, box)
    items = []
    for name, time in (("a", "2020-06-10T23:59:50Z"), ("b", "2020-06-11T00:00:15Z")):
        radar = scene_items(tmp_path, name, grid, box, VV, RED)[0]
        radar["bbox"] = [box[0] - (name == "b"), *box[1:]]
        radar["properties"]["datetime"] = time
        items.append(radar)
    assert gssm.open_cube(items, grid=grid).sizes["time"] == 1


# --- the 180th meridian --------------------------------------------------------------------------

ACROSS: Box = (179.998, -17.003, -179.997, -17.0)
FIJI = {
    "vv": waves(0.1, 0.05, 180.0, -17.0),
    "red": waves(0.15, 0.05, 180.0, -17.0),
    "height": waves(300, 40, 180.0, -17.0),
}


@pytest.mark.parametrize("nodata", [None, -9999, -32768])
@pytest.mark.parametrize("given_as", ["west > east", "beyond 180", "beyond -180"])
def test_a_cube_across_the_180th_meridian(
    tmp_path: Path, given_as: str, nodata: float | None
) -> None:
    items = []
    # Radar of zone 60 to beyond the meridian, of zone 1 from there on; overlapping.
    for epsg, box in (
        (32760, (179.995, -17.006, -179.9995, -16.997)),
        (32701, (179.9998, -17.006, -179.994, -16.997)),
    ):
        grid = in_zone(epsg, box)
        seen = geographic_bounds(epsg, grid.boundingbox.bbox)
        assert seen[0] > seen[2]
        items += scene_items(tmp_path, str(epsg), grid, seen, FIJI["vv"], FIJI["red"])
    for west, left in ((179, 180 - 60 * SECOND), (-180, -180)):
        path = tmp_path / f"dem{west}.tif"
        href = surface_file(
            path, "EPSG:4326", left, -16.99, SECOND, (80, 60), FIJI["height"], nodata=nodata
        )
        items.append(elevation_item("alos-dem", path.stem, href, (west, -17, west + 1, -16)))
        items[-1]["bbox"] = [west, -17.1, west + 1, -16.9]
    west, south, east, north = ACROSS
    bbox = {
        "west > east": ACROSS,
        "beyond 180": (west, south, east + 360, north),
        "beyond -180": (west - 360, south, east, north),
    }[given_as]
    cube = gssm.open_cube(items, bbox=bbox).compute()
    assert cube.sizes["time"] == 1
    grid = make_grid(ACROSS)
    to_degrees = Transformer.from_crs(str(grid.crs), "EPSG:4326", always_xy=True)
    longitude, _ = to_degrees.transform(*np.meshgrid(cube["x"], cube["y"]))
    assert (longitude > 179).any()
    assert (longitude < -179).any()
    for name, what, most in (("vv", "vv", 1.2e-3), ("s2_b4", "red", 7e-4), ("dsm", "height", 0.05)):
        values = cube[name].values.reshape(grid.shape)
        assert np.isfinite(values).all()
        error = np.abs(values - on_grid(grid, FIJI[what]))
        if name == "dsm":  # half a pixel at the edges of the tiles
            edge = 180 - np.abs(longitude) < 0.5 * SECOND
            assert error[edge].max() < 0.8
            error = error[~edge]
        assert error.max() < most
    assert not cube["read_failed"].any()


# --- near the poles ------------------------------------------------------------------------------


def test_polar_boxes_need_a_grid_of_their_own(tmp_path: Path) -> None:
    box: Box = (25.4, 85.50, 25.5, 85.51)
    with pytest.raises(RequestError, match=r"give open_cube a grid of your own.*EPSG:5041"):
        gssm.open_cube([radar_at("S1", box)], bbox=box)
    to_polar = Transformer.from_crs("EPSG:4326", "EPSG:5041", always_xy=True)
    x, y = (round(v, -1) for v in to_polar.transform(25.45, 85.505))
    grid = GeoBox.from_bbox((x - 200, y - 200, x + 200, y + 200), "EPSG:5041", resolution=10)
    vv = waves(0.1, 0.05, 25.45, 85.505)
    items = scene_items(tmp_path, "polar", grid.pad(4), box, vv, RED)
    cube = gssm.open_cube(items, grid=grid).compute()
    np.testing.assert_allclose(cube["vv"][0], on_grid(grid, vv), rtol=1e-6)
    assert np.isfinite(cube["s2_b4"]).all()


# --- pixel centres -------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["GeoTIFF", "Zarr"])
def test_centres_survive_the_way_through_a_file(
    tmp_path: Path, zone_items: list[dict[str, Any]], kind: str
) -> None:
    cube = gssm.open_cube(zone_items, bbox=ZONES)[["vv", "dsm"]].compute()
    grid = make_grid(ZONES)
    if kind == "Zarr":
        gssm.to_zarr(cube, tmp_path / "cube.zarr")
        seen = xr.open_zarr(tmp_path / "cube.zarr", decode_coords="all", consolidated=False)
        np.testing.assert_array_equal(seen["x"], cube["x"])
        np.testing.assert_array_equal(seen["y"], cube["y"])
        transform, crs = seen.rio.transform(), seen.rio.crs
        values = seen["vv"].isel(time=0).values
    else:
        cube["vv"].isel(time=0).rio.to_raster(tmp_path / "vv.tif")
        with rasterio.open(tmp_path / "vv.tif") as file:
            transform, crs, values = file.transform, file.crs, file.read(1)
            rows, columns = np.arange(file.height), np.arange(file.width)
            np.testing.assert_array_equal(file.xy(0 * columns, columns)[0], cube["x"])
            np.testing.assert_array_equal(file.xy(rows, 0 * rows)[1], cube["y"])
    assert tuple(transform) == tuple(grid.affine)
    assert crs.to_epsg() == 32759
    np.testing.assert_array_equal(values, cube["vv"][0])
