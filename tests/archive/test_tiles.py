from __future__ import annotations

import json
import time
import tracemalloc
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import mgrs
import numpy as np
import pytest
import shapely
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st
from pyproj import Transformer

from gssm.archive import tiles
from gssm.archive import zones as zones_of
from gssm.archive.tiles import PIXEL, PIXELS, SIDE, Square, owned, parse, square_at
from gssm.errors import RequestError

ORACLE = mgrs.MGRS()
BANDS = "CDEFGHJKLMNPQRSTUVWX"
EVERY = slice(0, PIXELS)
# Places in millionths of a degree: what rounding decides below a metre is no question here.
MILLION = 1_000_000
LONGITUDES = st.one_of(
    st.integers(-180 * MILLION, 180 * MILLION - 1),
    st.builds(lambda edge, off: edge * 3 * MILLION + off, st.integers(-59, 59), st.integers(-3, 3)),
)
LATITUDES = st.one_of(
    st.integers(-80 * MILLION, 84 * MILLION - 1),
    st.builds(
        lambda edge, off: edge * 8 * MILLION + off, st.integers(-9, 9), st.integers(-200, 200)
    ),
)
PLACES = st.tuples(LONGITUDES, LATITUDES).map(lambda p: (p[0] / MILLION, p[1] / MILLION))


def textbook_zone(lon, lat):
    """Zones of UTM as textbooks compute them, 0 where there are none; not by gssm's table."""
    lon = (np.asarray(lon, float) + 180) % 360 - 180
    zone = np.floor((lon + 180) / 6).astype(int) + 1
    zone = np.where((lat >= 56) & (lat < 64) & (lon >= 3) & (lon < 12), 32, zone)
    svalbard = np.select([lon < 0, lon < 9, lon < 21, lon < 33, lon < 42], [0, 31, 33, 35, 37], 0)
    zone = np.where((lat >= 72) & (svalbard > 0), svalbard, zone)
    return np.where((lat >= -80) & (lat < 84), zone, 0)


def to_degrees(square, x, y):
    transformer = Transformer.from_crs(f"EPSG:{square.epsg}", "EPSG:4326", always_xy=True)
    return transformer.transform(np.asarray(x, float), np.asarray(y, float))


def to_metres(square, lon, lat):
    transformer = Transformer.from_crs("EPSG:4326", f"EPSG:{square.epsg}", always_xy=True)
    return transformer.transform(lon, lat)


def pixel_of(square, x, y):
    left, _, _, top = square.bounds
    return int((top - y) // PIXEL), int((x - left) // PIXEL)


def centre_of(square, row, column):
    left, _, _, top = square.bounds
    return left + (column + 0.5) * PIXEL, top - (row + 0.5) * PIXEL


def owns(square, row, column):
    return owned(square, slice(row, row + 1), slice(column, column + 1)) is None


def expected(square, rows, columns):
    """Ownership pixel by pixel, by the textbook."""
    x, _ = centre_of(square, 0, np.arange(columns.start, columns.stop))
    _, y = centre_of(square, np.arange(rows.start, rows.stop), 0)
    lon, lat = to_degrees(square, *np.meshgrid(x, y))
    right_half = (lat >= 0) == (square.band >= "N")
    return (textbook_zone(lon, lat) == square.zone) & right_half


def is_owned(square, rows, columns):
    found = owned(square, rows, columns)
    shape = (rows.stop - rows.start, columns.stop - columns.start)
    return np.ones(shape, bool) if found is None else found


# Names


@pytest.mark.parametrize(
    ("lon", "lat", "name"),
    [
        # Wikipedia, Military Grid Reference System: 4QFJ12345678, and 16SGC3855124838 for the
        # airport of Atlanta.
        (-157.916081, 21.409842, "04QFJ"),
        (-84.428056, 33.636667, "16SGC"),
        # Sentinel-2's tiles have these names: Zurich, Bergen, Longyearbyen, Cape Town, Sydney.
        (8.54, 47.37, "32TMT"),
        (5.32, 60.39, "32VKN"),
        (15.65, 78.22, "33XWG"),
        (18.42, -33.92, "34HBH"),
        (151.21, -33.87, "56HLH"),
        # Where zone 1 meets zone 60, in Fiji.
        (-179.99, -16.8, "01KAB"),
        (179.99, -16.8, "60KZG"),
        (180.0, -16.8, "01KAB"),
        (0.0, 0.0, "31NAA"),
    ],
)
def test_well_known_places_have_their_names(lon, lat, name):
    assert square_at(lon, lat).name == name
    assert ORACLE.toMGRS(lat, lon)[:5] == name


def test_the_tiles_of_sentinel_2_lie_where_their_names_say(test_data: Path):
    folder = test_data / "stac" / "planetary-computer" / "sentinel-2-l2a"
    found = {}
    for path in folder.glob("*.json"):
        content = json.loads(path.read_text())
        if not isinstance(content, dict):
            continue
        for item in content.get("features", [content]):
            name = item.get("properties", {}).get("s2:mgrs_tile")
            if name:
                code = item["properties"].get("proj:code") or item["properties"]["proj:epsg"]
                origin = item["assets"]["B04"]["proj:transform"]
                found[name] = int(str(code).removeprefix("EPSG:")), origin[2], origin[5]
    assert len(found) > 5
    for name, (epsg, x, y) in found.items():
        square = parse(name)
        assert square.epsg == epsg
        # ESA's tiles begin at the square's north-west, up to 40 m out, on multiples of 60 m.
        assert 0 <= square.bounds[0] - x <= 40
        assert 0 <= y - square.bounds[3] <= 40


def test_a_name_and_its_parts():
    square = parse("31UDS")
    assert square == Square(31, "U", "DS") == parse("31U/DS") == parse(" 31uds ")
    assert (square.name, square.group, square.epsg) == ("31UDS", "31U/DS", 32631)
    assert square.bounds == (400_000, 5_600_000, 500_000, 5_700_000)
    assert parse("1NBA") == parse("01N/BA") == Square(1, "N", "BA")


def test_the_southern_hemisphere_has_a_false_northing():
    square = parse("56HLH")
    assert square.epsg == 32756
    assert square.bounds == (300_000, 6_200_000, 400_000, 6_300_000)


@pytest.mark.parametrize("zone", [1, 2, 31, 32, 60])
def test_every_square_of_a_zone_has_one_name(zone):
    """Rows and columns of the zone that own a pixel, by brute force, and their names."""
    names, east = set(), -180 + 6 * zone
    for lat in np.arange(-79.99, 83.99, 0.05):
        for lon in (east - 6, east - 4.5, east - 3, east - 1.5, east - 0.001):
            names.add(square_at(lon, lat).name)
    squares = [parse(name) for name in names]
    assert len({(s.epsg, s.bounds) for s in squares}) == len(squares) > 700
    assert {s.name for s in squares} == names


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("Ghent", "is not the name"),
        ("31U", "is not the name"),
        ("", "is not the name"),
        ("31UDSS", "is not the name"),
        ("61UDS", "no zone and band"),
        ("0UDS", "no zone and band"),
        ("31IDS", "no zone and band"),
        ("31BDS", "polar"),
        ("31UAS", "owns no pixel"),  # 300 km and more off the central meridian, at 51 degrees
        # Owned only north of 72 degrees, where zone 33 is wider; its centre lies south of it.
        ("33XTV", "33WTV"),
        ("33XTS", "does not exist"),  # its letters come again beyond 84 degrees north
        ("32UDS", "does not exist"),
        ("31UDI", "does not exist"),
        ("31UDG", "no row G"),
        ("31XHG", "owns no pixel"),
        ("31UZS", "first letter is one of ABCDEFGH"),
    ],
)
def test_what_is_no_square_is_refused(name, message):
    with pytest.raises(RequestError, match=message):
        parse(name)


def test_the_other_spelling_across_a_band_edge_is_refused_with_the_right_name():
    # 48 degrees north cuts this row of zone 31: Brest lies north, Quimper south of it.
    north, south = ORACLE.toMGRS(48.05, 2.9)[:5], ORACLE.toMGRS(47.95, 2.9)[:5]
    assert north[3:] == south[3:]
    assert (north[2], south[2]) == ("U", "T")
    right = square_at(2.9, 48.05)
    assert square_at(2.9, 47.95) == right
    _, bottom, _, top = right.bounds
    _, lat = to_degrees(right, 450_000, (bottom + top) / 2)
    assert right.band == ("U" if lat >= 48 else "T")
    (wrong,) = {north, south} - {right.name}
    with pytest.raises(RequestError, match=f"{wrong} is kept as {right.name}"):
        parse(wrong)
    with pytest.raises(RequestError, match=right.name):
        _ = Square(31, wrong[2], wrong[3:]).bounds


@pytest.mark.parametrize(
    ("lon", "lat", "message"),
    [
        (5, 84, "beyond"),
        (5, -80.0001, "beyond"),
        (50, 91, "not on earth"),
        (181, 5, "not on earth"),
        (float("nan"), 5, "not on earth"),
        (5, float("nan"), "not on earth"),
    ],
)
def test_places_outside_utm_are_refused(lon, lat, message):
    with pytest.raises(RequestError, match=message):
        square_at(lon, lat)


@given(PLACES)
@example((5.0, 0.0))
@example((-180.0, -1e-6))
@example((9.0, 72.0))
@example((3.0, 56.0))
@example((33.0, 83.999999))
def test_names_agree_with_the_oracle_apart_from_the_band_at_its_edges(place):
    lon, lat = place
    square = square_at(lon, lat)
    assert square.zone == textbook_zone(lon, lat)
    x, y = to_metres(square, lon, lat)
    left, bottom, right, top = square.bounds
    assert left - 1e-6 <= x <= right + 1e-6
    assert bottom - 1e-6 <= y <= top + 1e-6
    assume(min(x - left, right - x, y - bottom, top - y) > 1)  # the oracle cuts at metres
    theirs = ORACLE.toMGRS(lat, lon)
    # The oracle takes places within 0.1 m of a zone's edge for the next zone's.
    assume(theirs[:2] == square.name[:2] or abs(lon * 1e6 / 3 - round(lon / 3) * 1e6) > 1)
    assert theirs[:2] + theirs[3:5] == square.name[:2] + square.letters
    if theirs[2] != square.band:
        _, south, _, north = square.footprint
        assert any(south < edge < north for edge in range(-72, 73, 8))
        with pytest.raises(RequestError, match=square.name):
            parse(theirs[:5])


# Owners


def test_each_place_on_a_meridian_or_parallel_has_one_zone():
    lon, lat = np.meshgrid(np.arange(-180.0, 181, 3), np.arange(-80.0, 84.5, 4))
    for step in (0, 1):
        lons, lats = (np.nextafter(v, -np.inf) if step else v for v in (lon, lat))
        zones = np.array([zones_of.in_zone(zone, lons, lats) for zone in range(1, 61)])
        truth = textbook_zone(lon - 1e-6 * step, lat - 1e-6 * step)
        np.testing.assert_array_equal(zones.sum(axis=0), truth > 0)
        np.testing.assert_array_equal((zones.argmax(axis=0) + 1)[truth > 0], truth[truth > 0])


@given(PLACES)
@example((5.99999, 50.0))
@example((179.99999, -17.0))
@example((8.99999, 71.99999))
@example((20.99999, 72.00001))
@example((15.0, 83.99999))
@example((3.00001, 63.99999))
def test_one_square_owns_the_pixel_that_holds_a_place(place):
    lon, lat = place
    square = square_at(lon, lat)
    row, column = (
        min(max(i, 0), PIXELS - 1) for i in pixel_of(square, *to_metres(square, lon, lat))
    )
    lon, lat = map(float, to_degrees(square, *centre_of(square, row, column)))
    zone = int(textbook_zone(lon, lat))
    assert owns(square, row, column) == (zone == square.zone)
    # Away from borders all squares, of all zones around, agree on one owner.
    box = 2e-4 / np.cos(np.radians(lat)) * np.array([-1, -1, 1, 1]), 1e-4 * np.array([-1, 1, -1, 1])
    assume((textbook_zone(lon + box[0], lat + box[1]) == zone).all())
    owners = []
    for other in {(zone + step - 1) % 60 + 1 for step in range(-2, 3)}:
        probe = Square(other, square.band, "XX")
        x, y = to_metres(probe, lon, lat)
        cell = (int(lat < 0), int(y // SIDE), int(x // SIDE))
        if 1 <= cell[2] <= 8 and 0 <= cell[1] < 100:
            candidate = tiles._square(other, cell)
            if owns(candidate, *pixel_of(candidate, x, y)):
                owners.append(candidate)
    assert owners == [square]


def test_a_square_amid_its_zone_owns_all_of_itself():
    assert owned(parse("31UDS"), EVERY, EVERY) is None


BORDERS = [
    ("31UGS", 6, 51.0),  # a meridian
    ("32ULB", 6, 51.0),
    ("31VDC", 3, 56.0),  # Norway begins
    ("32VLM", 3, 63.99),  # and ends
    ("31VEL", 3, 63.99),
    ("31XEA", 9, 72.0),  # Svalbard begins
    ("01KAB", -180, -16.8),
    ("60KZG", 180, -16.8),
    ("31CEM", 3, -80.0),
    ("33XWP", 15, 84.0),
]


@pytest.mark.parametrize(("lon", "lat"), sorted({(float(b[1]), b[2]) for b in BORDERS}))
@pytest.mark.parametrize("side", [-1e-4, 1e-4])
def test_owners_along_borders_are_those_of_the_textbook(lon, lat, side):
    place = lon + side, lat + 0.0005 if lat < 83 else 83.9995
    square = square_at((place[0] + 180) % 360 - 180, place[1])
    row, column = pixel_of(square, *to_metres(square, *place))
    rows = slice(max(row - 150, 0), min(row + 150, PIXELS))
    columns = slice(max(column - 150, 0), min(column + 150, PIXELS))
    truth = expected(square, rows, columns)
    assert truth.any()
    # 3 degrees east is the edge of a square, too: there the window ends at the border.
    assert not truth.all() or (lon == 3 and columns.stop == PIXELS)
    np.testing.assert_array_equal(is_owned(square, rows, columns), truth)


@given(PLACES, st.integers(0, 9_800), st.integers(0, 9_800), st.integers(1, 200))
def test_owners_in_any_window_are_those_of_the_textbook(place, row, column, size):
    square = square_at(*place)
    rows, columns = slice(row, row + size), slice(column, column + 2 * size % 199 + 1)
    truth = expected(square, rows, columns)
    np.testing.assert_array_equal(is_owned(square, rows, columns), truth)


def test_a_window_beyond_the_zone_is_all_false():
    square = square_at(5.9999, 51)
    found = owned(square, slice(0, 3), slice(PIXELS - 2, PIXELS))
    assert found is not None
    assert found.shape == (3, 2)
    assert not found.any()


def test_a_square_whose_centre_lies_outside_its_zone_exists():
    square = square_at(5.9999, 51.0)
    lon, _ = to_degrees(square, *centre_of(square, PIXELS // 2, PIXELS // 2))
    if lon < 6:
        pytest.fail("choose a square of which the centre lies east of its zone")
    assert parse(square.name) == square
    mask = owned(square, EVERY, EVERY)
    assert mask is not None
    assert 0 < mask.mean() < 0.5


def test_a_chunk_on_a_border_needs_little_memory_and_time():
    square = square_at(5.9999, 51.0)
    row, column = pixel_of(square, *to_metres(square, 5.9999, 51.0))
    window = tiles.chunk_window((row // 1000, column // 1000), 1000)
    owned(square, *window)
    tracemalloc.start()
    mask = owned(square, *window)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert mask is not None
    assert peak < 10e6


def test_threads_get_what_one_gets():
    square = square_at(5.9999, 51.0)
    _, column = pixel_of(square, *to_metres(square, 5.9999, 51.0))
    windows = [tiles.chunk_window((row, column // 1000), 1000) for row in range(10)] * 4
    alone = [is_owned(square, *window).sum() for window in windows]
    with ThreadPoolExecutor(8) as pool:
        together = list(pool.map(lambda window: is_owned(square, *window).sum(), windows))
    assert together == alone
    assert 0 < sum(alone[:10]) < 1e7


@pytest.mark.parametrize(
    "window", [slice(0, 10_001), slice(-5, 5), slice(5, 5), slice(0, 10, 2), slice(10_000, 10_001)]
)
def test_windows_beyond_the_square_are_refused(window):
    with pytest.raises(RequestError, match="no window of a square"):
        owned(parse("31UDS"), window, slice(0, 5))
    with pytest.raises(RequestError, match="columns"):
        owned(parse("31UDS"), slice(0, 5), window)


# Grids


@pytest.mark.parametrize("name", ["31UDS", "56HLH", "01KAB", "33XWG", "31NAA"])
def test_pixel_centres_come_back_from_degrees(name):
    square = parse(name)
    assert square.grid.shape == (PIXELS, PIXELS)
    assert square.grid.crs.to_epsg() == square.epsg
    x = square.grid.coords["x"].values
    y = square.grid.coords["y"].values
    assert (x[0], y[0]) == (square.bounds[0] + 5, square.bounds[3] - 5)
    xs, ys = np.meshgrid(x[::500], y[::500])
    back = to_metres(square, *to_degrees(square, xs, ys))
    np.testing.assert_allclose(back, (xs, ys), atol=1e-6, rtol=0)


@pytest.mark.parametrize("name", ["31UDS", "31UES", "56HLH", "01KAB", "60KZG", "33XWG", "37XDF"])
def test_the_footprint_holds_bent_edges_and_no_more(name):
    square = parse(name)
    west, south, east, north = square.footprint
    left, bottom, right, top = square.bounds
    ring = shapely.segmentize(shapely.box(left, bottom, right, top), 100).exterior
    lon, lat = to_degrees(square, *shapely.get_coordinates(ring).T)
    if west > east:
        assert name in ("01KAB", "60KZG")
        lon, east = lon % 360, east % 360
    np.testing.assert_allclose(
        (lon.min(), lat.min(), lon.max(), lat.max()),
        (west % 360 if west > 180 else west, south, east, north),
        atol=1e-9,
    )


def test_chunks_tile_the_square():
    square = parse("31UDS")
    grid = tiles.chunk_grid(square, (2, 3), 1000)
    assert tiles.chunk_window((2, 3), 1000) == (slice(2000, 3000), slice(3000, 4000))
    assert grid.shape == (1000, 1000)
    assert tuple(grid.boundingbox) == (430_000, 5_670_000, 440_000, 5_680_000)
    assert tiles.chunk_grid(square, (9, 9), 1000).boundingbox.bottom == square.bounds[1]
    assert tiles.chunk_grid(square, (99, 0), 100).boundingbox.bottom == square.bounds[1]


@pytest.mark.parametrize("index", [(10, 0), (0, -1), (1, 2, 3)])
def test_chunks_that_do_not_exist_are_refused(index):
    with pytest.raises(RequestError, match="chunk index"):
        tiles.chunk_grid(parse("31UDS"), index, 1000)


@pytest.mark.parametrize("chunk", [0, -1000, 300, 1024, 999.5, 1000.0, 10, True, 20_000, None])
def test_chunks_that_do_not_divide_a_square_are_refused(chunk):
    with pytest.raises(RequestError, match="does not divide"):
        tiles.chunks_over(parse("31UDS"), (3, 50, 4, 51), chunk)
    with pytest.raises(RequestError, match="does not divide"):
        tiles.chunk_window((0, 0), chunk)


# Areas


def names(area):
    return [square.name for square in tiles.squares_over(area)]


def field(square, row, column, size=3.0):
    """A small quadrangle in degrees around the centre of a pixel, `size` metres wide."""
    x, y = centre_of(square, row, column)
    lon, lat = to_degrees(
        square, x + size / 2 * np.array([-1, 1, 1, -1]), y + size / 2 * np.array([-1, -1, 1, 1])
    )
    return shapely.Polygon(zip(lon, lat, strict=True))


def test_a_field_smaller_than_a_pixel_has_its_square_and_chunk():
    square = parse("31UDS")
    area = field(square, 4321, 8765)
    assert tiles.squares_over(area) == [square]
    assert tiles.squares_over(area.bounds) == [square]
    assert tiles.chunks_over(square, area, 1000) == [(4, 8)]
    assert tiles.chunks_over(square, area.bounds, 100) == [(43, 87)]


def test_a_field_across_the_corner_of_four_squares_has_all_four():
    square = parse("31UDS")
    lon, lat = to_degrees(square, [399_990, 400_010], [5_599_990, 5_600_010])
    area = shapely.Point(lon.mean(), lat.mean()).buffer(1e-4)
    assert names(area) == ["31UCR", "31UCS", "31UDR", "31UDS"]
    assert tiles.chunks_over(square, area, 1000) == [(9, 0)]
    assert tiles.chunks_over(square, area, 100) == [(99, 0)]


@pytest.mark.parametrize("name", ["31UDS", "31UGS", "56HLH", "33XWG"])
@pytest.mark.parametrize("inside", [True, False])
def test_an_area_that_ends_at_a_bent_edge_counts_to_a_tenth_of_a_metre(name, inside):
    """A box whose southern side passes just under, or just over, the top of the square."""
    square = parse(name)
    left, _, right, top = square.bounds
    x = np.linspace(left + 500, right - 20_000, 60_001)
    lon, lat = to_degrees(square, x, np.full(x.size, top))
    mine = textbook_zone(lon, lat) == square.zone
    lon, lat = lon[mine], lat[mine]
    edge = lat.max() + (-4e-6 if inside else 1e-7)
    area = (lon.min(), edge, lon.max(), edge + 0.01)
    assert (name in names(area)) is inside
    assert (tiles.chunks_over(square, area, 100) != []) is inside


@pytest.mark.parametrize(("metres", "found"), [(0.3, True), (-0.1, False)])
def test_the_bent_side_of_a_box_counts_between_its_corners(metres, found):
    """Seen in UTM, a parallel sags to the central meridian: here 30 m below its ends."""
    lon, lat = to_degrees(parse("31UDS"), 500_000, 5_700_000 - metres)
    area = (lon - 0.8, lat, lon + 0.6, lat + 0.001)
    both = {"31UDS", "31UES"}
    assert both & set(names(area)) == (both if found else set())
    assert tiles.chunks_over(parse("31UDS"), area, 1000) == ([(0, 9)] if found else [])


def test_a_square_of_which_only_the_unowned_part_is_touched_is_left_out():
    square = square_at(5.9999, 51.0)
    west, south, east, north = square.footprint
    assert west < 6 < east
    assert {s.zone for s in tiles.squares_over((6, south, east, north))} == {32}
    assert {s.zone for s in tiles.squares_over((west, south, 6, north))} == {31}
    assert {s.zone for s in tiles.squares_over((5.9, south, 6.1, north))} == {31, 32}
    assert tiles.chunks_over(square, (6, south, east, north), 1000) == []
    assert tiles.chunks_over(square, (5.99, 50, 6, 52), 1000) != []


def test_hemispheres_meet_at_the_equator():
    assert names((9.1, -0.5, 9.2, 0)) == ["32MNE"]
    assert names((9.1, 0, 9.2, 0.5)) == ["32NNF"]
    assert names((9.1, -0.5, 9.2, 0.5)) == ["32MNE", "32NNF"]
    assert ORACLE.toMGRS(-0.1, 9.15)[:5] == "32MNE"
    for name, row in (("32MNE", 99), ("32NNF", 0)):
        square = parse(name)
        assert owned(square, EVERY, EVERY) is None
        assert square.bounds[1] // SIDE == row


@pytest.mark.parametrize(
    "area",
    [
        (179.9, -17, -179.9, -16.9),
        (179.9, -17, 180.1, -16.9),
        (-180.1, -17, -179.9, -16.9),
        shapely.box(179.9, -17, 180.1, -16.9),
        shapely.box(-180.1, -17, -179.9, -16.9),
        shapely.MultiPolygon(
            [shapely.box(179.9, -17, 180, -16.9), shapely.box(-180, -17, -179.9, -16.9)]
        ),
    ],
)
def test_areas_across_the_180th_meridian(area):
    assert names(area) == ["01KAB", "60KZF", "60KZG"] or names(area) == ["01KAB", "60KZG"]
    assert {s.zone for s in tiles.squares_over(area)} == {1, 60}
    assert tiles.chunks_over(parse("01KAB"), area, 1000)
    assert tiles.chunks_over(parse("60KZG"), area, 1000)


@settings(max_examples=30)
@given(
    PLACES,
    st.floats(0.001, 2.0),
    st.floats(0.001, 1.0),
    st.booleans(),
)
def test_squares_over_a_box_are_the_owners_of_its_places(place, width, height, polygon):
    west, south = place
    north = min(south + height, 84)
    assume(north - south > 1e-4)
    area = shapely.box(west, south, west + width, north)
    found = tiles.squares_over(area if polygon else area.bounds)
    lon, lat = np.meshgrid(
        np.linspace(west, west + width, 14)[1:-1], np.linspace(south, north, 14)[1:-1]
    )
    there = {square_at((a + 180) % 360 - 180, b) for a, b in zip(lon.flat, lat.flat, strict=True)}
    assert there <= set(found)
    for square in found:
        chunks = tiles.chunks_over(square, area, 500)
        assert chunks
        # What the sample has not met is owned, and lies in the area, all the same.
        if square not in there:
            assert any(met(square, chunk, area) for chunk in chunks)


def met(square, chunk, area):
    rows, columns = tiles.chunk_window(chunk, 500)
    x, _ = centre_of(square, 0, np.arange(columns.start, columns.stop))
    _, y = centre_of(square, np.arange(rows.start, rows.stop), 0)
    lon, lat = to_degrees(square, *np.meshgrid(x, y))
    west, south, east, north = area.bounds
    # A pixel reaches up to 7.1 m beyond its centre.
    reach = np.degrees(7.2 / 6.35e6)
    wide = reach / np.cos(np.radians(lat))
    turn = np.round(((west + east) / 2 - lon) / 360) * 360
    near = (lon + turn > west - wide) & (lon + turn < east + wide)
    near &= (lat > south - reach) & (lat < north + reach)
    return bool((near & is_owned(square, rows, columns)).any())


def test_chunks_of_a_border_square_are_those_that_own_a_pixel():
    square = square_at(5.9999, 51.0)
    truth = []
    for row in range(10):
        for column in range(10):
            mask = owned(square, *tiles.chunk_window((row, column), 1000))
            if mask is None or mask.any():
                truth.append((row, column))
    assert 0 < len(truth) < 100
    assert tiles.chunks_over(square, (-20, 30, 30, 70), 1000) == truth


@pytest.mark.parametrize("lat", [51.0, -40.0])
def test_chunks_cut_to_less_than_a_pixel_by_the_border_own_none(lat):
    """Of 500 rows of chunks of 200 m, the border leaves some by a few metres."""
    square = square_at(5.9999, lat)
    _, column = pixel_of(square, *to_metres(square, 5.9999, lat))
    first = min(max(column // 20 - 60, 0), 380)
    mask = is_owned(square, EVERY, slice(first * 20, (first + 120) * 20))
    rows, columns = np.nonzero(mask.reshape(500, 20, 120, 20).any(axis=(1, 3)))
    truth = list(zip(rows.tolist(), (columns + first).tolist(), strict=True))
    found = tiles.chunks_over(square, (-20, -80, 30, 84), 20)
    assert [index for index in found if first <= index[1] < first + 120] == truth


@pytest.mark.parametrize("lat", [55.9, 63.9, 71.9, 83.8, -79.9])
def test_chunks_at_the_exceptions_are_those_that_own_a_pixel(lat):
    for lon in (2.9, 8.9):
        square = square_at(lon, lat)
        masks = {
            (row, column): owned(square, *tiles.chunk_window((row, column), 1000))
            for row in range(10)
            for column in range(10)
        }
        truth = [index for index, mask in masks.items() if mask is None or mask.any()]
        assert tiles.chunks_over(square, (-20, -80, 30, 84), 1000) == truth


def test_a_polygon_with_a_hole_leaves_out_what_lies_in_it():
    square = parse("31UDS")
    west, south, east, north = square.footprint
    ring = shapely.box(west - 3, south - 1, east + 1, north + 1) - shapely.box(
        west - 0.01, south - 0.01, east + 0.01, north + 0.01
    )
    assert square not in tiles.squares_over(ring)
    assert parse("31UES") in tiles.squares_over(ring)
    assert tiles.chunks_over(square, ring, 1000) == []


def test_a_continent_takes_seconds():
    begun = time.monotonic()
    squares = tiles.squares_over((-18, -35, 52, 38))
    assert time.monotonic() - begun < 20  # about one
    assert 7000 < len(squares) < 7300
    assert squares == sorted(set(squares))
    rng = np.random.default_rng(6)
    places = zip(rng.uniform(-18, 52, 300), rng.uniform(-35, 38, 300), strict=True)
    assert {square_at(*place) for place in places} <= set(squares)


@pytest.mark.parametrize(
    ("area", "message"),
    [
        ((1, 2, 3), "neither four numbers"),
        ("3,50,4,51", "neither four numbers"),
        (None, "neither four numbers"),
        ((3, 51, 4, 50), "covers no ground"),
        ((3, 50, 3, 51), "covers no ground"),
        ((3, 50, float("nan"), 51), "covers no ground"),
        ((4, 50, 3, 51), "swap them"),
        ((3, 50, 400, 51), "not on earth"),
        ((500_000, 5_600_000, 600_000, 5_700_000), "not on earth"),
        ((3, 80, 4, 85), "beyond"),
        ((3, -81, 4, -79), "beyond"),
        (shapely.Polygon(), "empty"),
        (shapely.MultiPolygon(), "empty"),
        (shapely.Point(3, 50), "no polygon"),
        (shapely.LineString([(3, 50), (4, 51)]), "no polygon"),
        (shapely.Polygon([(3, 50), (4, 51), (4, 50), (3, 51)]), "not a valid Polygon"),
    ],
)
def test_areas_that_cannot_serve_are_refused(area, message):
    with pytest.raises(RequestError, match=message):
        tiles.squares_over(area)
    with pytest.raises(RequestError, match=message):
        tiles.chunks_over(parse("31UDS"), area, 1000)
