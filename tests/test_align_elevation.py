from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray as xr
from odc.geo.geobox import GeoBox
from pyproj import Transformer

import gssm
from gssm.errors import RequestError
from gssm.grid import make_grid
from places import (
    SECOND,
    Array,
    Box,
    at_centres,
    elevation_item,
    on_grid,
    radar_at,
    waves,
    write_file,
)

BBOX: Box = (7.51, 46.51, 7.516, 46.514)
TILE: Box = (7.0, 46.0, 8.0, 47.0)
SURFACE = waves(500, 40, 7.51, 46.51)
# Void value that the collection, and maybe the file, states.
VOIDS = {"alos-dem": -9999, "nasadem": -32768, "cop-dem-glo-30": None}


def cut(
    west: float, north: float, size: Any, box: Box, margin: int = 4
) -> tuple[float, float, Any]:
    """Corner and shape of the part of a tile of degrees that covers a box."""
    width, height = size if isinstance(size, tuple) else (size, size)
    first = np.floor((box[0] - west) / width) - margin, np.floor((north - box[3]) / height) - margin
    last = np.ceil((box[2] - west) / width) + margin, np.ceil((north - box[1]) / height) + margin
    shape = int(last[1] - first[1]), int(last[0] - first[0])
    return west + first[0] * width, north - first[1] * height, shape


def tile(
    folder: Path,
    collection: str,
    change: Any = None,
    offset: float = 0.0,
    nodata: float | None = None,
    dtype: Any = np.float32,
) -> dict[str, Any]:
    """Write the part of an edge-aligned tile around `BBOX`; `change` makes voids in it."""
    left, top, shape = cut(TILE[0], TILE[3], SECOND, BBOX)
    values = at_centres("EPSG:4326", left, top, SECOND, shape, SURFACE) + offset
    if np.issubdtype(dtype, np.integer):
        values = np.round(values)
    if change is not None:
        change(values)
    path = folder / f"{collection}.tif"
    href = write_file(path, values.astype(dtype), "EPSG:4326", left, top, SECOND, nodata=nodata)
    return elevation_item(collection, collection, href, TILE)


def dsm_of(tiles: list[dict[str, Any]], **options: Any) -> xr.DataArray:
    cube = gssm.open_cube([radar_at("S1", BBOX), *tiles], bbox=BBOX, **options)
    dsm: xr.DataArray = cube["dsm"].compute()
    return dsm


# --- which product ---------------------------------------------------------------------------


def from_row(number: float, start: int) -> Any:
    def change(values: Array) -> None:
        values[start:] = number

    return change


@pytest.mark.parametrize("stated", [True, False], ids=["file states it", "file does not"])
def test_alos_then_nasadem_then_copernicus_per_pixel(tmp_path: Path, stated: bool) -> None:
    rows = cut(TILE[0], TILE[3], SECOND, BBOX)[2][0]
    third = rows // 3
    tiles = [
        tile(
            tmp_path,
            collection,
            from_row(-1e4 if void is None else void, rows if void is None else start),
            offset,
            nodata=void if stated else None,
        )
        for (collection, void), offset, start in zip(
            VOIDS.items(), (0.0, 1000.0, 2000.0), (third, 2 * third, rows), strict=True
        )
    ]
    grid = make_grid(BBOX)
    truth = on_grid(grid, SURFACE)
    seen = dsm_of(tiles[::-1])
    product = np.round((seen.values - truth) / 1000)
    assert set(np.unique(product)) == {0, 1, 2}
    assert (np.diff(product, axis=0) >= 0).all()
    # The seams lie where the voids begin, to a pixel of the tile.
    _, top, _ = cut(TILE[0], TILE[3], SECOND, BBOX)
    to_grid = Transformer.from_crs("EPSG:4326", str(grid.crs), always_xy=True)
    for number in (1, 2):
        _, y = to_grid.transform(BBOX[0], top - number * third * SECOND)
        begins = seen["y"].values[np.argmax(product[:, 0] >= number)]
        assert abs(begins - y) < 31
    # Nothing of a void value leaks into what is valid.
    error = seen.values - truth - 1000 * product
    assert np.abs(error).max() < 2  # half a pixel of slope, beside a void
    inner = np.abs(np.gradient(product, axis=0)) == 0
    for shift in (-2, -1, 1, 2):
        inner &= np.roll(inner, shift, axis=0)
    assert np.abs(error[inner]).max() < 0.05


@pytest.mark.parametrize("dtype", [np.int16, np.float32])
@pytest.mark.parametrize("nodata", [None, -9999, -32768])
def test_valid_heights_stay_whatever_the_file_states(
    tmp_path: Path, dtype: Any, nodata: float | None
) -> None:
    def sea_and_valley(values: Array) -> None:
        values[:10] = 0  # the sea is no void
        values[10:20] = -400  # the Dead Sea
        values[-12:] = -9999

    seen = dsm_of([tile(tmp_path, "alos-dem", sea_and_valley, nodata=nodata, dtype=dtype)])
    known = seen.values[np.isfinite(seen.values)]
    assert known.min() >= -400
    assert {0, -400} <= set(np.unique(known))  # exactly: not nudged, not blended with a void
    assert np.isnan(seen.values[-1]).all()
    assert np.isfinite(seen.values[: len(seen) // 2]).all()


def test_without_voids_the_second_product_is_not_opened(tmp_path: Path) -> None:
    other = elevation_item("nasadem", "n", str(tmp_path / "nowhere.tif"), TILE)
    seen = dsm_of([other, tile(tmp_path, "alos-dem")])
    assert np.isfinite(seen).all()


def test_elevation_of_copernicus_first(tmp_path: Path) -> None:
    tiles = [tile(tmp_path, c, offset=o) for c, o in zip(VOIDS, (0, 1000, 2000), strict=True)]
    truth = on_grid(make_grid(BBOX), SURFACE)
    for option, offset in (
        ({}, 0),
        ({"elevation": "alos"}, 0),
        ({"elevation": "copernicus"}, 2000),
    ):
        np.testing.assert_allclose(dsm_of(tiles, **option), truth + offset, atol=0.05)
    # Where Copernicus has nothing, the others follow.
    np.testing.assert_allclose(dsm_of(tiles[:2], elevation="copernicus"), truth, atol=0.05)


@pytest.mark.parametrize("elevation", ["srtm", "", None, 5, ["alos"]])
def test_unknown_elevation_is_refused(elevation: Any) -> None:
    with pytest.raises(RequestError, match="use 'alos' or 'copernicus'"):
        dsm_of([], elevation=elevation)


# --- where its pixels lie -----------------------------------------------------------------------

# Upper left corner of a tile of 1 degree, its pixels and whether it says that they are points.
GRIDS: dict[str, tuple[float, float, Any, str]] = {
    "3600 on the edge": (0, 0, SECOND, "Area"),  # ALOS
    "3601 half a pixel out": (-SECOND / 2, SECOND / 2, SECOND, "Area"),  # SRTM, NASADEM
    "3600 half a pixel out, points": (-SECOND / 2, SECOND / 2, SECOND, "Point"),  # Copernicus
    "2400 x 3600": (-1.5 * SECOND / 2, SECOND / 2, (1.5 * SECOND, SECOND), "Area"),  # above 50
    "360 x 3600": (-5 * SECOND, SECOND / 2, (10 * SECOND, SECOND), "Area"),  # above 85
}


def height_file(folder: Path, kind: str, west: float, north: float, box: Box, surface: Any) -> str:
    dx, dy, size, point = GRIDS[kind]
    left, top, shape = cut(west + dx, north + dy, size, box)
    values = at_centres("EPSG:4326", left, top, size, shape, surface).astype(np.float32)
    path = folder / f"{kind}.tif"
    return write_file(path, values, "EPSG:4326", left, top, size, area_or_point=point)


@pytest.mark.parametrize("kind", list(GRIDS)[:4])
@pytest.mark.parametrize(
    ("west", "south"), [(7, 46), (11, 59), (-72, -50), (20, -1)], ids=["46N", "59N", "50S", "1S"]
)
def test_pixel_grids_of_elevation(tmp_path: Path, kind: str, west: int, south: int) -> None:
    box: Box = (west + 0.51, south + 0.51, west + 0.515, south + 0.513)
    surface = waves(500, 40, box[0], box[1])
    tile_box: Box = (west, south, west + 1, south + 1)
    href = height_file(tmp_path, kind, west, south + 1, box, surface)
    items = [radar_at("S1", box), elevation_item("cop-dem-glo-30", "t", href, tile_box)]
    seen = gssm.open_cube(items, bbox=box)["dsm"].compute()
    truth = on_grid(make_grid(box), surface)
    assert np.ptp(truth) > 10  # half a pixel would be half a metre and more
    np.testing.assert_allclose(seen, truth, atol=0.05)


@pytest.mark.parametrize("kind", GRIDS)
def test_pixel_grids_of_elevation_near_the_pole(tmp_path: Path, kind: str) -> None:
    box: Box = (25.4, 85.50, 25.5, 85.51)
    surface = waves(500, 40, box[0], box[1])
    to_polar = Transformer.from_crs("EPSG:4326", "EPSG:5041", always_xy=True)
    x, y = (round(v, -1) for v in to_polar.transform(25.45, 85.505))
    grid = GeoBox.from_bbox((x - 150, y - 150, x + 150, y + 150), "EPSG:5041", resolution=10)
    href = height_file(tmp_path, kind, 25, 86, box, surface)
    tile_box: Box = (25.0, 85.0, 26.0, 86.0)
    items = [radar_at("S1", box), elevation_item("cop-dem-glo-30", "t", href, tile_box)]
    seen = gssm.open_cube(items, grid=grid)["dsm"].compute()
    np.testing.assert_allclose(seen, on_grid(grid, surface), atol=0.05)
