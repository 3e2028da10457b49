from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from odc.geo.geobox import GeoBox
from pyproj import Transformer

from gssm.catalogs import Bbox
from gssm.describe import describe
from gssm.errors import RequestError
from gssm.grid import geographic_bounds, grid_epsg, intersects, make_grid, stated_bbox
from imagery import radar_item


@pytest.mark.parametrize(
    ("bbox", "epsg"),
    [
        ((3.0, 50.8, 3.1, 50.9), 32631),
        ((18.4, -34.0, 18.5, -33.9), 32734),
        ((-58.5, -34.7, -58.4, -34.6), 32721),
        ((-180.0, 0.1, -179.9, 0.2), 32601),
        ((179.9, 0.1, 180.0, 0.2), 32660),
        ((179.9, -0.2, 180.0, -0.1), 32760),
        ((2.9, 50, 3.3, 50.2), 32631),
        ((5.9, 50, 6.3, 50.2), 32632),  # the zone of the centre
        ((5.7, 50, 6.1, 50.2), 32631),
        ((0.1, -0.1, 0.2, 0.1), 32631),  # on the equator: north
        ((0.1, 83.9, 0.2, 84), 32631),
        ((0.1, -80, 0.2, -79.9), 32731),
    ],
)
def test_zone_snapping_and_cover(bbox: Any, epsg: int) -> None:
    grid = make_grid(bbox)
    assert grid_epsg(grid) == epsg
    assert (grid.resolution.x, grid.resolution.y) == (10, -10)
    left, bottom, right, top = grid.boundingbox.bbox
    assert all(value % 10 == 0 for value in (left, bottom, right, top))
    # Every point of the box lies on the grid.
    longitude, latitude = np.meshgrid(
        np.linspace(bbox[0], bbox[2], 9), np.linspace(bbox[1], bbox[3], 9)
    )
    to_grid = Transformer.from_crs("EPSG:4326", f"EPSG:{epsg}", always_xy=True)
    x, y = to_grid.transform(longitude, latitude)
    assert left <= x.min() < left + 10
    assert bottom <= y.min() < bottom + 10
    assert right - 10 < x.max() <= right
    assert top - 10 < y.max() <= top


def test_centres_are_half_a_pixel_from_the_edges() -> None:
    grid = make_grid((3.0, 50.8, 3.1, 50.9))
    left, _, _, top = grid.boundingbox.bbox
    assert grid.coordinates["x"].values[0] == left + 5
    assert grid.coordinates["y"].values[0] == top - 5


@pytest.mark.parametrize("resolution", [10, 20, 60, 7.5])
def test_edges_at_multiples_of_the_resolution(resolution: float) -> None:
    grid = make_grid((3.0, 50.8, 3.05, 50.82), resolution)
    assert all(value % resolution == 0 for value in grid.boundingbox.bbox)


def test_a_box_on_the_grid_gains_no_row() -> None:
    # West and south are exactly on the grid: the meridian of zone 31 is x = 500 000 and
    # the equator is y = 0.
    grid = make_grid((3.0, 0.0, 3.001, 0.001))
    assert grid.boundingbox.left == 500_000
    assert grid.boundingbox.bottom == 0
    # The same holds seen from the other side.
    other = make_grid((2.999, -0.0005, 3.0, 0.0005))
    assert other.boundingbox.right == 500_000


def test_a_box_smaller_than_a_pixel_is_one_pixel() -> None:
    assert make_grid((3.00001, 50.80001, 3.00002, 50.80002)).shape == (1, 1)


@pytest.mark.parametrize("resolution", [0, -10, float("nan"), float("inf"), "10", None])
def test_resolution_refused(resolution: Any) -> None:
    with pytest.raises(RequestError, match="not a pixel size"):
        make_grid((3.0, 50.8, 3.1, 50.9), resolution)


@pytest.mark.parametrize("bbox", [(0, 84.5, 1, 85), (0, -81, 1, -80.5), (0, 83.5, 1, 84.1)])
def test_beyond_utm_refused(bbox: Any) -> None:
    with pytest.raises(RequestError, match="UTM ends"):
        make_grid(bbox)


def test_grid_in_degrees_refused() -> None:
    grid = GeoBox.from_bbox((3, 50, 4, 51), crs="EPSG:4326", shape=(10, 10))
    with pytest.raises(RequestError, match="EPSG:4326; give a projected one"):
        grid_epsg(grid)


def test_box_of_the_footprints_where_no_search_states_one() -> None:
    boxes = ([3.0, 50.0, 3.5, 50.5], [3.4, 49.8, 4.0, 50.2])
    items = [{**radar_item(f"r{i}"), "geometry": None, "bbox": b} for i, b in enumerate(boxes)]
    described = [describe(item) for item in items]
    np.testing.assert_allclose(stated_bbox(items, described), (3.0, 49.8, 4.0, 50.5))


@pytest.mark.parametrize(
    ("bbox", "epsg"),
    [
        ((179.98, -17.01, -179.99, -17.0), 32760),
        ((179.99, -17.01, -179.98, -17.0), 32701),
        ((179.99, 66.0, -179.98, 66.01), 32601),
        ((177.0, 66.0, -178.5, 66.01), 32660),
    ],
)
def test_a_box_across_the_180th_meridian(bbox: Any, epsg: int) -> None:
    grid = make_grid(bbox)
    assert grid_epsg(grid) == epsg
    left, bottom, right, top = grid.boundingbox.bbox
    to_grid = Transformer.from_crs("EPSG:4326", f"EPSG:{epsg}", always_xy=True)
    for longitude in (bbox[0], 179.999, -179.999, bbox[2]):
        for latitude in (bbox[1], bbox[3]):
            x, y = to_grid.transform(longitude, latitude)
            assert left <= x <= right
            assert bottom <= y <= top
    assert right - left < 1.02 * 111_320 * ((bbox[2] - bbox[0]) % 360)
    # And back: the grid knows that it crosses, so that footprints on both sides touch it.
    west, south, east, north = geographic_bounds(epsg, grid.boundingbox.bbox)
    assert west > 170 > -170 > east
    assert intersects((bbox[0], south, 180, north), (west, south, east, north))
    assert intersects((-180, south, bbox[2], north), (west, south, east, north))
    assert not intersects((0, south, 170, north), (west, south, east, north))


@pytest.mark.parametrize(
    ("boxes", "expected"),
    [
        ([[179, -17, -179.5, -16], [178, -18, 179.5, -16.5]], (178, -18, -179.5, -16)),
        ([[178.5, -17, 179.5, -16], [-179.8, -17, -179, -16]], (178.5, -17, -179, -16)),
        ([[-180, -17, -179, -16], [-178, -17, -177, -16]], (-180, -17, -177, -16)),
        ([[-1, 50, 0.5, 51], [0, 50, 2, 51]], (-1, 50, 2, 51)),
    ],
)
def test_footprints_on_both_sides_of_the_180th_meridian(boxes: Any, expected: Bbox) -> None:
    items = [{**radar_item(f"r{i}"), "geometry": None, "bbox": b} for i, b in enumerate(boxes)]
    described = [describe(item) for item in items]
    np.testing.assert_allclose(stated_bbox(items, described), expected)


def test_a_grid_that_is_not_north_up_and_square_is_refused() -> None:
    grid = make_grid((3.0, 50.0, 3.1, 50.1))
    long = GeoBox.from_bbox((0, 0, 100, 100), "EPSG:32631", shape=(10, 5))
    for wrong in (grid.flipy(), grid.flipx(), long):
        with pytest.raises(RequestError, match="north-up grid with square pixels"):
            grid_epsg(wrong)
    assert grid_epsg(grid) == 32631


@pytest.mark.parametrize(
    ("a", "b", "touch"),
    [
        ((3, 50, 4, 51), (3.5, 50.5, 5, 52), True),
        ((3, 50, 4, 51), (4.1, 50, 5, 51), False),
        ((3, 50, 4, 51), (3, 51.1, 4, 52), False),
        # across 180 degrees
        ((179.4, -17, -179.9, -16), (179.5, -17, 179.9, -16), True),
        ((179.4, -17, -179.9, -16), (-180, -17, -179.95, -16), True),
        ((179.4, -17, -179.9, -16), (-170, -17, -169, -16), False),
    ],
)
def test_boxes_in_degrees_touch(a: Bbox, b: Bbox, touch: bool) -> None:
    assert intersects(a, b) is touch
    assert intersects(b, a) is touch
