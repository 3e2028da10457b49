from __future__ import annotations

import json
import math
import xml.etree.ElementTree as ET
from pathlib import Path
from typing import Any

import dask
import numpy as np
import pytest
import rasterio
from hypothesis import given, settings
from hypothesis import strategies as st
from odc.geo.geobox import GeoBox
from pyproj import Transformer

from gssm.errors import ItemError
from gssm.orbit import (
    angle_coefficients,
    angles_on_grid,
    incidence_angle,
    is_known,
    relative_orbit,
)
from helpers import no_compute
from imagery import utm_grid

ORBITS = st.integers(1, 175)
STATES = st.sampled_from(["ascending", "descending"])
# Degrees. The reference orbit leaves 0.04; half a degree is what the cube needs.
CLOSE = 0.05


# --- against real products ------------------------------------------------------------------


def annotations(test_data: Path) -> list[ET.Element]:
    paths = sorted((test_data / "scenes" / "s1_annotation").glob("*/annotation/s1*.xml"))
    assert paths
    return [ET.parse(path).getroot() for path in paths]


def number(element: ET.Element, path: str) -> float:
    return float(element.findtext(path) or "nan")


def test_meets_the_annotation_of_every_scene(test_data: Path) -> None:
    for root in annotations(test_data):
        orbit = relative_orbit("sentinel-1b", int(number(root, "adsHeader/absoluteOrbitNumber")))
        state = str(root.findtext(".//pass")).lower()
        points = root.findall(".//geolocationGridPoint")
        assert len(points) == 210
        names = ("latitude", "longitude", "height", "incidenceAngle")
        latitude, longitude, height, expected = np.array(
            [[number(p, name) for name in names] for p in points]
        ).T
        assert np.ptp(expected) > 15
        seen = incidence_angle(latitude, longitude, orbit, state, height=height)
        np.testing.assert_allclose(seen, expected, atol=CLOSE)
        # Without heights, 2.3 km of them in the Alps.
        seen = incidence_angle(latitude, longitude, orbit, state)
        np.testing.assert_allclose(seen, expected, atol=0.1)


def test_meets_rasters_of_the_angle(test_data: Path) -> None:
    paths = sorted((test_data / "scenes" / "terrascope_sigma0_angle").glob("*/*_angle.tif"))
    assert len(paths) == 8
    for path in paths:
        with rasterio.open(path) as file:
            expected = 29 + 0.0005 * file.read(1)
            rows, columns = np.indices(expected.shape)
            x, y = rasterio.transform.xy(file.transform, rows.ravel(), columns.ravel())
            to_degrees = Transformer.from_crs(file.crs, "EPSG:4326", always_xy=True)
        longitude, latitude = to_degrees.transform(x, y)
        orbit = int(path.parent.name.split("_")[7])
        seen = incidence_angle(latitude, longitude, orbit, "ascending")
        np.testing.assert_allclose(seen, expected.ravel(), atol=CLOSE)


def test_meets_the_stated_angle_of_a_site(flanders: Path) -> None:
    items = json.loads((flanders / "sentinel-1-sigma0.json").read_text())["features"]
    assert len(items) == 159
    for item in items:
        west, south, east, north = item["bbox"]
        stated = item["properties"]
        place = ((south + north) / 2, (west + east) / 2)
        seen = incidence_angle(*place, stated["sat:relative_orbit"], stated["sat:orbit_state"])
        assert seen == pytest.approx(stated["view:incidence_angle"], abs=0.1)


def test_footprints_of_real_items_span_the_swath(test_data: Path) -> None:
    folder = test_data / "stac"
    paths = [
        *folder.glob("planetary-computer/sentinel-1-*/items*.json"),
        folder / "planetary-computer/sentinel-1-rtc/sentinel-1-rtc-pc.json",
        *folder.glob("stactools-generated/S1A_IW*.json"),
    ]
    checked = 0
    for path in paths:
        content = json.loads(path.read_text())
        items = content if isinstance(content, list) else content.get("features", [content])
        for item in items:
            stated = item["properties"]
            orbit, state = stated["sat:relative_orbit"], stated["sat:orbit_state"]
            assert relative_orbit(stated["platform"], stated["sat:absolute_orbit"]) == orbit
            corners = np.array(item["geometry"]["coordinates"][0])
            seen = incidence_angle(corners[:, 1], corners[:, 0], orbit, state)
            assert seen.min() == pytest.approx(30.7, abs=0.5)
            assert seen.max() == pytest.approx(46.1, abs=0.6)
            checked += 1
    assert checked >= 7


# --- the geometry itself ----------------------------------------------------------------------


@settings(max_examples=40)
@given(ORBITS, STATES, st.floats(-65, 65))
def test_one_angle_to_the_right_of_the_track_and_smooth(
    orbit: int, state: str, latitude: float
) -> None:
    # Along a parallel, the places that see the satellite at IW angles are one stretch, along
    # which the angle only rises or falls: ascending sees the east of its track. Near the equator
    # a way up begins and another ends.
    longitude = np.arange(-180, 180, 0.1)
    angle = incidence_angle(np.full(3600, latitude), longitude, orbit, state)
    seen = (angle > 29) & (angle < 46.5)
    starts = np.flatnonzero(seen & ~np.roll(seen, 1))
    assert len(starts) == (2 if state == "ascending" and abs(latitude) < 5 else 1)
    if len(starts) == 2:
        return
    stretch = np.roll(angle, -starts[0])[: seen.sum()]
    steps = np.diff(stretch)
    assert (steps > 0).all() if state == "ascending" else (steps < 0).all()
    width = seen.sum() * 0.1 * 111.3 * math.cos(math.radians(latitude))
    assert 200 < width < 500  # km; the more, the more the tracks slant towards the poles


@given(ORBITS, STATES, st.floats(-75, 75), st.floats(-180, 180))
def test_the_next_day_but_twelve_and_the_next_orbit(
    orbit: int, state: str, latitude: float, longitude: float
) -> None:
    # The tracks are the same, 12/175 of a turn further west each.
    seen = incidence_angle(latitude, longitude, orbit, state)
    following = orbit % 175 + 1
    moved = longitude - 360 * 12 / 175 * (following - orbit)
    np.testing.assert_allclose(incidence_angle(latitude, moved, following, state), seen, atol=1e-8)
    np.testing.assert_allclose(incidence_angle(latitude, longitude + 360, orbit, state), seen)


@pytest.mark.parametrize("state", ["ascending", "descending"])
def test_continuous_over_the_equator(state: str) -> None:
    # An ascending image may carry the number of the orbit that ends at the equator, or of the
    # one that begins there: each goes on beyond it.
    for orbit in (10, 11):
        longitude = np.linspace(-180, 180, 3601)
        at = incidence_angle(np.zeros(3601), longitude, orbit, state)
        for there in longitude[(at > 30) & (at < 45)]:
            latitude = np.linspace(-3, 3, 601)
            angle = incidence_angle(latitude, np.full(601, there), orbit, state)
            assert np.abs(np.diff(angle, 2)).max() < 1e-3
    assert ((at > 30) & (at < 45)).sum() > 10


def test_height_raises_the_ground_towards_the_satellite() -> None:
    flat = incidence_angle(50.8, 3.0, 161, "ascending")
    raised = incidence_angle(50.8, 3.0, 161, "ascending", height=[0, 1000, 6000])
    assert raised[0] == flat
    assert 0.02 < raised[1] - flat < 0.05
    assert raised[2] - flat < 0.25


def test_shapes_broadcast() -> None:
    seen = incidence_angle(np.zeros((3, 1)) + 50, np.linspace(2, 4, 5), 161, "ascending")
    assert seen.shape == (3, 5)
    assert incidence_angle(50, 3, 161, "ascending").shape == ()
    assert np.isnan(incidence_angle(np.nan, 3, 161, "ascending"))


# --- on a grid ----------------------------------------------------------------------------------


def on_grid(grid: GeoBox, orbit: int, state: str, chunks: tuple[int, int]) -> Any:
    series = angle_coefficients(grid, orbit, state)[None]
    return angles_on_grid(series, grid, chunks)


def exact(grid: GeoBox, orbit: int, state: str) -> np.ndarray[Any, Any]:
    x, y = np.meshgrid(grid.coordinates["x"].values, grid.coordinates["y"].values)
    longitude, latitude = Transformer.from_crs(grid.crs, 4326, always_xy=True).transform(x, y)
    return incidence_angle(latitude, longitude, orbit, state)


@pytest.mark.parametrize("half_width", [500, 50_000, 250_000, 600_000])
def test_series_is_the_geometry(half_width: int) -> None:
    box = (5e5 - half_width, 5.6e6 - half_width, 5e5 + half_width, 5.6e6 + half_width)
    grid = GeoBox.from_bbox(box, crs="EPSG:32631", resolution=half_width / 50, tight=True)
    expected = exact(grid, 161, "ascending")
    expected[(expected < 15) | (expected > 60)] = np.nan
    seen = on_grid(grid, 161, "ascending", (100, 100)).compute()[0]
    np.testing.assert_allclose(seen, expected, atol=1e-4)


@settings(max_examples=15)
@given(st.integers(5, 40), st.integers(5, 40), ORBITS)
def test_chunks_change_no_digit(rows: int, columns: int, orbit: int) -> None:
    grid = utm_grid(33, 37, resolution=1000)
    whole = on_grid(grid, orbit, "descending", (50, 50)).compute(scheduler="synchronous")
    with no_compute():
        parts = on_grid(grid, orbit, "descending", (rows, columns))
    assert parts.dtype == np.float32
    np.testing.assert_array_equal(parts.compute(scheduler="synchronous"), whole)


def test_small_tasks_also_for_a_tile() -> None:
    grid = utm_grid(10_980, 10_980)
    with no_compute():
        array = on_grid(grid, 161, "ascending", (1024, 1024))
    assert array.shape == (1, 10_980, 10_980)
    assert array.numblocks == (1, 11, 11)
    assert len(dict(dask.optimize(array)[0].__dask_graph__())) <= 2 * 121 + 30


def test_one_number_stays_itself() -> None:
    grid = utm_grid(4, 5)
    seen = angles_on_grid(np.array([[[34.6]], [[np.nan]]]), grid, (2, 2)).compute()
    assert (seen[0] == np.float32(34.6)).all()
    assert np.isnan(seen[1]).all()


def test_where_nothing_is_seen_is_nan() -> None:
    # Relative orbit 1 descends over the Atlantic's other side.
    assert np.isnan(on_grid(utm_grid(4, 5), 1, "descending", (4, 5)).compute()).all()


# --- orbit numbers --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("platform", "absolute", "expected"),
    [
        ("sentinel-1a", 1743, 96),  # ESA's orbit scenario file
        ("sentinel-1a", 6723, 1),
        ("SENTINEL-1A", 58252, 80),  # real items
        ("sentinel-1a", 39156, 59),
        ("sentinel-1b", 26269, 168),  # real manifests
        ("sentinel-1b", 30148, 22),
        ("sentinel-1c", 1681, 110),
        ("sentinel-1c", 8018, 147),  # the last before it was moved
        ("sentinel-1c", 8019, 46),
        ("sentinel-1d", 2389, 73),
    ],
)
def test_relative_orbit(platform: str, absolute: int, expected: int) -> None:
    assert relative_orbit(platform, absolute) == expected


@pytest.mark.parametrize(
    ("platform", "absolute", "reason"),
    [
        ("sentinel-1", 1000, "no known rule"),
        ("", 1000, "no known rule"),
        ("sentinel-1a", 1742, "before it reached its reference orbit"),
        ("sentinel-1b", 0, "is none"),
        ("sentinel-1b", 2.5, "is none"),
    ],
)
def test_unknown_orbits(platform: str, absolute: Any, reason: str) -> None:
    with pytest.raises(ItemError, match=reason):
        relative_orbit(platform, absolute)


@pytest.mark.parametrize(
    ("orbit", "state"), [(0, "ascending"), (176, "ascending"), (None, "ascending"), (8, "")]
)
def test_no_geometry_without_a_known_orbit(orbit: Any, state: str) -> None:
    assert not is_known(orbit, state)
    with pytest.raises(ItemError, match="is not of Sentinel-1"):
        incidence_angle(50, 3, orbit, state)
