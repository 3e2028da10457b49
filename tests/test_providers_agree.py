"""The same ground by every provider: search -> open_cube -> the same numbers, within tolerances."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from itertools import combinations
from pathlib import Path

import numpy as np
import pytest
import xarray as xr

import gssm
from gssm.errors import GssmWarning
from provider_scenes import (
    DATES,
    INCIDENCE_ANGLE,
    LANDSAT,
    LANDSAT_PROVIDERS,
    LEVEL1_PROVIDERS,
    RADARS,
    SENTINEL2,
    SENTINEL2_PROVIDERS,
    Provider,
    earth_search_sentinel2,
    field_means,
    ground_bbox,
    ground_grid,
    sigma0,
    true_means,
    write_scene,
)

# rasterio says so of a GRD file, which control points place and no transform.
pytestmark = pytest.mark.filterwarnings("ignore::rasterio.errors.NotGeoreferencedWarning")

REFLECTANCE, KELVIN, DECIBEL, METRE, DEGREE = 1e-4, 0.1, 0.05, 0.1, 0.5
SENTINEL2_BANDS = [f"s2_{band.replace('B0', 'B').lower()}" for band, _ in SENTINEL2.values()]
LANDSAT_BANDS = [f"landsat_b{band}" for band in LANDSAT.values()]
SENTINEL2_LEVEL1 = {k: v for k, v in LEVEL1_PROVIDERS.items() if k.startswith("sentinel-2")}
LANDSAT_LEVEL1 = {k: v for k, v in LEVEL1_PROVIDERS.items() if k.startswith("landsat")}

Open = Callable[[str], xr.Dataset]


def cube_of(folder: Path, level: str = "l2") -> xr.Dataset:
    items = gssm.search(ground_bbox(), DATES, catalog=folder, level=level)
    cube = gssm.open_cube(items, grid=ground_grid()).compute(scheduler="synchronous")
    assert cube.sizes["time"] == 1
    return cube


@pytest.fixture(scope="module")
def opened(tmp_path_factory: pytest.TempPathFactory) -> Open:
    """Cube of a provider, written and read once; optical ones get the radar that a cube needs."""
    cubes: dict[str, xr.Dataset] = {}
    optical = {**SENTINEL2_PROVIDERS, **LANDSAT_PROVIDERS, **LEVEL1_PROVIDERS}

    def open_once(name: str) -> xr.Dataset:
        if name not in cubes:
            providers = (RADARS[name],) if name in RADARS else (sigma0, optical[name])
            folder = write_scene(tmp_path_factory.mktemp(name), *providers)
            cubes[name] = cube_of(folder, "l1" if name in LEVEL1_PROVIDERS else "l2")
        return cubes[name]

    return open_once


def means(cube: xr.Dataset, variable: str) -> np.ndarray:
    values = cube[variable]
    found = field_means((values.isel(time=0) if "time" in values.dims else values).values)
    return 10 * np.log10(found) if variable in ("vv", "vh") else found


def truth(variable: str) -> np.ndarray:
    found = true_means(variable)
    return 10 * np.log10(found) if variable in ("vv", "vh") else found


def assert_true(cube: xr.Dataset, variables: list[str], tolerance: float) -> None:
    errors = {v: float(np.abs(means(cube, v) - truth(v)).max()) for v in variables}
    # Not `> tolerance`: NaN is wrong too.
    assert not {v: error for v, error in errors.items() if not error <= tolerance}


def assert_agree(
    opened: Open, providers: Mapping[str, Provider], variables: list[str], tolerance: float
) -> None:
    for one, other in combinations(providers, 2):
        for variable in variables:
            np.testing.assert_allclose(
                means(opened(one), variable),
                means(opened(other), variable),
                rtol=0,
                atol=tolerance,
                err_msg=f"{variable} of {one} and {other}",
            )


@pytest.mark.parametrize("provider", SENTINEL2_PROVIDERS)
def test_sentinel_2_shows_the_ground(opened, provider):
    cube = opened(provider)
    assert_true(cube, SENTINEL2_BANDS, REFLECTANCE)
    assert (cube.s2_mask == 0).all()
    np.testing.assert_allclose(cube.s2_age, -0.2822, atol=1e-3)


def test_sentinel_2_is_the_same_from_every_provider(opened):
    assert_agree(opened, SENTINEL2_PROVIDERS, SENTINEL2_BANDS, REFLECTANCE)


def test_numbers_that_may_or_may_not_carry_the_offset_are_not_read(tmp_path):
    """Earth Search says ``boa_offset_applied: false`` of files with and without the offset."""

    def unclear(folder):
        return earth_search_sentinel2(folder, 0, "05.09", applied=False)

    with pytest.warns(GssmWarning, match="left out: .*boa_offset_applied"):
        cube = cube_of(write_scene(tmp_path, sigma0, unclear))
    assert cube.s2_b4.isnull().all()


@pytest.mark.parametrize("provider", LANDSAT_PROVIDERS)
def test_landsat_shows_the_ground(opened, provider):
    cube = opened(provider)
    assert_true(cube, LANDSAT_BANDS, REFLECTANCE)
    assert_true(cube, ["landsat_b10"], KELVIN)
    assert (cube.landsat_mask == 0).all()


def test_landsat_is_the_same_from_every_provider(opened):
    assert_agree(opened, LANDSAT_PROVIDERS, LANDSAT_BANDS, REFLECTANCE)
    assert_agree(opened, LANDSAT_PROVIDERS, ["landsat_b10"], KELVIN)


@pytest.mark.parametrize("provider", SENTINEL2_LEVEL1)
def test_sentinel_2_at_the_top_of_the_atmosphere_shows_the_ground(opened, provider):
    assert_true(opened(provider), [*SENTINEL2_BANDS, "s2_b10"], REFLECTANCE)


@pytest.mark.parametrize("provider", LANDSAT_LEVEL1)
def test_landsat_at_the_top_of_the_atmosphere_shows_the_ground(opened, provider):
    cube = opened(provider)
    assert_true(cube, [*LANDSAT_BANDS, "landsat_b8", "landsat_b9"], REFLECTANCE)
    assert_true(cube, ["landsat_b10", "landsat_b11"], KELVIN)


def test_without_an_atmosphere_both_levels_are_the_same(opened):
    levels = {"planetary-computer-0510": sigma0, "sentinel-2-l1c-0510": sigma0}
    assert_agree(opened, levels, SENTINEL2_BANDS, REFLECTANCE)
    levels = {"planetary-computer": sigma0, "landsat-mtl-txt": sigma0}
    assert_agree(opened, levels, LANDSAT_BANDS, REFLECTANCE)
    assert_agree(opened, levels, ["landsat_b10"], KELVIN)


@pytest.mark.parametrize("provider", RADARS)
def test_radar_shows_the_ground(opened, provider):
    cube = opened(provider)
    assert_true(cube, ["vv", "vh"], DECIBEL)
    assert np.abs(means(cube, "incidence_angle") - INCIDENCE_ANGLE).max() <= DEGREE
    assert_true(cube, ["dsm"], METRE)


def test_radar_is_the_same_from_every_provider(opened):
    assert_agree(opened, RADARS, ["vv", "vh"], DECIBEL)
    assert_agree(opened, RADARS, ["incidence_angle"], DEGREE)


def test_sentinel_2_and_landsat_agree_on_the_bands_that_both_have(tmp_path):
    providers = (
        sigma0,
        SENTINEL2_PROVIDERS["planetary-computer-0510"],
        LANDSAT_PROVIDERS["planetary-computer"],
    )
    cube = cube_of(write_scene(tmp_path, *providers))
    for name, band in LANDSAT.items():
        sentinel2 = f"s2_{SENTINEL2[name][0].replace('B0', 'B').lower()}"
        np.testing.assert_allclose(
            means(cube, f"landsat_b{band}"), means(cube, sentinel2), rtol=0, atol=REFLECTANCE
        )


@pytest.mark.parametrize("axis", ["x", "y"])
def test_half_a_pixel_off_would_be_seen(opened, axis):
    """The ground is steep enough for the tolerance to tell a misplaced pixel."""
    red = opened("planetary-computer-0510").s2_b4.isel(time=0)
    moved = field_means(red.interp({axis: red[axis] + 5}).values)
    assert np.abs(moved - true_means("s2_b4")).min() > REFLECTANCE
