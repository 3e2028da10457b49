from __future__ import annotations

import math

import numpy as np
import pytest
import xarray as xr
from odc.geo.geobox import GeoBox
from odc.geo.xr import xr_coords
from pyproj import Geod, Proj, Transformer

from gssm.grid import make_grid
from gssm.terrain import aspect_cos, aspect_sin, rise, slope, terrain

PLACES = {
    "zone 31, west edge": make_grid((0.05, 50.0, 0.058, 50.005)),
    "zone 31, middle": make_grid((3.0, 50.0, 3.008, 50.005)),
    "zone 32, east edge": make_grid((11.94, 65.0, 11.95, 65.004)),
    "zone 19 south": make_grid((-71.9, -45.0, -71.893, -44.996)),
    "zone 1, equator": make_grid((-179.99, 0.0, -179.984, 0.004)),
    "UPS": GeoBox.from_bbox(
        (2_100_000, 1_500_000, 2_100_400, 1_500_400), "EPSG:5041", resolution=10
    ),
    "20 m": make_grid((3.0, 50.0, 3.02, 50.01), 20),
}


def heights(grid: GeoBox, degrees: float, azimuth: float) -> xr.DataArray:
    """Plane that falls by an angle towards a direction of the grid."""
    coords = xr_coords(grid)
    x, y = (coords[d] - coords[d].mean() for d in ("x", "y"))
    turn = math.radians(azimuth)
    plane = -math.tan(math.radians(degrees)) * (x * math.sin(turn) + y * math.cos(turn))
    dsm: xr.DataArray = (plane + 500).transpose("y", "x").astype(np.float32)
    return dsm


def aspect(dsm: xr.DataArray) -> np.ndarray:
    sine, cosine = terrain(dsm, aspect_sin), terrain(dsm, aspect_cos)
    return np.rad2deg(np.arctan2(sine.values, cosine.values)) % 360


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize(
    ("degrees", "azimuth"), [(2, 30), (10, 135), (45, 200), (60, 359), (30, 90)]
)
def test_planes_of_the_grid(place: str, degrees: float, azimuth: float) -> None:
    dsm = heights(PLACES[place], degrees, azimuth)
    np.testing.assert_allclose(terrain(dsm, slope), degrees, atol=0.01)
    assert np.abs((aspect(dsm) - azimuth + 180) % 360 - 180).max() < 0.1
    fall = math.tan(math.radians(degrees))
    north, east = (-fall * f(math.radians(azimuth)) for f in (math.cos, math.sin))
    np.testing.assert_allclose(rise(dsm, "y"), north, atol=1e-3)
    np.testing.assert_allclose(rise(dsm, "x"), east, atol=1e-3)


@pytest.mark.parametrize("place", PLACES)
def test_true_north_is_that_of_the_grid_turned_by_the_convergence(place: str) -> None:
    """Ground that falls to true north: the grid says so less the meridian convergence."""
    grid = PLACES[place]
    to_degrees = Transformer.from_crs(str(grid.crs), "EPSG:4326", always_xy=True)
    coords = xr_coords(grid)
    x, y = np.meshgrid(coords["x"], coords["y"])
    longitude, latitude = to_degrees.transform(x, y)
    middle = longitude.mean(), latitude.mean()
    azimuth, _, distance = Geod(ellps="WGS84").inv(
        np.full(x.shape, middle[0]), np.full(x.shape, middle[1]), longitude, latitude
    )
    northward = distance * np.cos(np.deg2rad(azimuth))
    dsm = xr.DataArray(
        (500 - 0.2 * northward).astype(np.float32),
        dims=("y", "x"),
        coords={d: coords[d] for d in ("y", "x")},
    )
    factors = Proj(str(grid.crs)).get_factors(*middle)
    convergence = factors.meridian_convergence
    assert place not in ("zone 32, east edge", "zone 31, west edge") or abs(convergence) > 2
    seen = (aspect(dsm) + 180) % 360 - 180
    # True north lies at minus the convergence in the grid.
    assert np.abs((seen + convergence + 180) % 360 - 180).max() < 0.2
    # Metres of the grid are the ground's times the scale of the projection.
    fall = math.degrees(math.atan(0.2 / factors.meridional_scale))
    np.testing.assert_allclose(terrain(dsm, slope), fall, atol=0.05)


def test_rows_in_either_order_and_chunks_change_nothing() -> None:
    grid = PLACES["zone 31, middle"]
    dsm = heights(grid, 20, 70).isel(y=slice(15), x=slice(17))
    dsm = dsm + 30 * np.sin(dsm["x"] / 70) * np.cos(dsm["y"] / 90)
    for function in (lambda d: terrain(d, slope), lambda d: rise(d, "y"), lambda d: rise(d, "x")):
        whole = function(dsm)
        flipped = function(dsm.isel(y=slice(None, None, -1), x=slice(None, None, -1)))
        np.testing.assert_allclose(
            flipped.sortby("y", ascending=False).sortby("x"), whole, rtol=1e-5
        )
        for chunks in ({"y": 1, "x": 1}, {"y": 7, "x": 11}, {"y": -1, "x": 5}):
            np.testing.assert_array_equal(function(dsm.chunk(chunks)), whole)


def test_gaps_and_single_rows_have_no_slope() -> None:
    dsm = heights(PLACES["zone 31, middle"], 10, 0)
    dsm[20, 20] = np.nan
    seen = terrain(dsm, slope)
    gap = np.isnan(seen.values)
    assert gap.sum() == 4  # three pixels to either side; its own neighbours are known
    assert np.isnan(rise(dsm.isel(y=[5]), "y")).all()
    assert np.isfinite(rise(dsm.isel(y=[5]), "x")).all()
