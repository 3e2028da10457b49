from __future__ import annotations

import io
import threading
from concurrent.futures import ThreadPoolExecutor
from itertools import product

import numpy as np
import pytest
import zarr
from PIL import Image
from rio_tiler.constants import WEB_MERCATOR_TMS
from rio_tiler.io.xarray import XarrayReader

from gssm.archive.groups import array
from gssm.archive.opening import write_session
from gssm.archive.overviews import LEVELS
from gssm.archive.points import pixels_at
from gssm.archive.repository import commit
from gssm.archive.tiles import chunk_window, owned, square_at
from gssm.archive.zones import PIXEL, PIXELS, in_zone, transformer
from gssm.errors import RequestError
from gssm.web import extents, tiles, windows
from gssm.web.colors import VARIABLES, palette
from gssm.web.datasets import Datasets, UnknownDateError, find_date, open_dataset
from gssm.web.tiles import MORE_ZOOMS, render_tile
from gssm.web.windows import COMMON, EVERY_LEVEL, level_for, read_window
from web_archives import (
    CHUNK,
    DEFAULT,
    EAST,
    MIDDLE,
    SQUARE,
    WEST,
    border_archive,
    lonlat,
    packed_at,
    row_of,
    small_archive,
    value_at,
    write,
)

NAMES = tuple(name for name in VARIABLES if name != "true_color")
DAY, DATES = "2024-01-01", ("20240101T060000Z", "20240101T180000Z", "20240104T060000Z")


@pytest.fixture(scope="module")
def dataset(tmp_path_factory):
    return open_dataset("a", small_archive(tmp_path_factory.mktemp("one") / "archive").url)


@pytest.fixture(scope="module")
def border(tmp_path_factory):
    return open_dataset("b", border_archive(tmp_path_factory.mktemp("two") / "archive").url)


@pytest.fixture(autouse=True)
def _cold():
    """Keep what one test has drawn or read from the next."""
    tiles.tiles.clear()
    windows.blocks.clear()


def rgba(content):
    return np.asarray(Image.open(io.BytesIO(content)).convert("RGBA"))


def tile_at(lon, lat, zoom):
    return WEB_MERCATOR_TMS.tile(float(lon), float(lat), zoom)


def middle_tile(zoom):
    return tile_at(*lonlat(SQUARE, 4200, 4200), zoom)


def centres(tile, size=256):
    """Longitude and latitude of the centres of a tile's pixels, by pyproj alone."""
    left, _, right, top = WEB_MERCATOR_TMS.xy_bounds(tile)
    step = (right - left) / size
    x, y = left + step * (np.arange(size) + 0.5), top - step * (np.arange(size) + 0.5)
    return transformer(3857, inverse=True).transform(*np.meshgrid(x, y))


def pixel_of(square, lon, lat):
    """Row and column, as fractions, of places in a square."""
    x, y = transformer(square.epsg, inverse=False).transform(lon, lat)
    left, _, _, top = square.bounds
    return (top - y) / PIXEL, (x - left) / PIXEL


def colors_of(name, packed, **options):
    colors = palette(name, **options)
    return colors.colors[colors.lookup[packed]]


def is_clear(fraction, margin=0.02):
    """Tell which places are not as near to the edge of their pixel as tiles may err."""
    return np.abs(fraction - np.rint(fraction)) > margin


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("zoom", [13, 14, 15, 17])
def test_a_pixel_has_the_colour_of_the_pixel_that_holds_its_centre(dataset, name, zoom):
    tile = middle_tile(zoom)
    found = rgba(render_tile(dataset, name, DATES[0], tile.x, tile.y, zoom))
    row, column = pixel_of(SQUARE, *centres(tile))
    i, j = np.floor(row).astype(int), np.floor(column).astype(int)
    inside = (i >= 4000) & (i < 4400) & (j >= 4000) & (j < 4400)
    assert inside.sum() > 20_000
    expected = colors_of(name, packed_at(name, DEFAULT[0], i, j))
    expected[~inside] = 0
    compared = is_clear(row) & is_clear(column)
    np.testing.assert_array_equal(found[compared], expected[compared])
    assert compared.mean() > 0.9
    assert (found == expected).all(axis=-1).mean() > 0.995
    if zoom < 15:
        assert len(np.unique(found[..., :3].reshape(-1, 3), axis=0)) > 2


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("zoom", range(5, 13))
def test_a_pixel_has_the_colour_of_the_overview_s_pixel(dataset, name, zoom):
    tile = middle_tile(zoom)
    lon, lat = centres(tile)
    left, _, right, _ = WEB_MERCATOR_TMS.xy_bounds(tile)
    level = level_for((right - left) / 256 * np.cos(np.radians(lat.mean())))
    assert level > 1
    stored = np.asarray(dataset.snapshot.array(SQUARE, f"overviews/{level}/{name}")[0])
    found = rgba(render_tile(dataset, name, DATES[0], tile.x, tile.y, zoom))
    row, column = (fraction / level for fraction in pixel_of(SQUARE, lon, lat))
    i, j = np.floor(row).astype(int), np.floor(column).astype(int)
    inside = (np.minimum(i, j) >= 0) & (np.maximum(i, j) * level < PIXELS)
    expected = colors_of(name, stored[np.where(inside, i, 0), np.where(inside, j, 0)])
    expected[~inside] = 0
    compared = is_clear(row, 0.05) & is_clear(column, 0.05)
    np.testing.assert_array_equal(found[compared], expected[compared])
    assert found[..., 3].any() == expected[..., 3].any()


def test_tiles_are_those_of_rio_tiler(dataset):
    """Its reader comes to the same picture, but for what its warper errs: an eighth of a pixel."""
    tile = middle_tile(14)
    left, _, _, top = SQUARE.bounds
    around = (left + 39_000, top - 45_000, left + 45_000, top - 39_000)
    part = read_window(dataset, "soil_moisture", (0,), around, epsg=SQUARE.epsg)
    with XarrayReader(part) as reader:
        image = reader.tile(*tile)
    found = rgba(render_tile(dataset, "soil_moisture", DATES[0], tile.x, tile.y, 14))
    packed = np.where(image.array.mask[0], 65535, np.rint(image.array.data[0] * 1e4))
    expected = colors_of("soil_moisture", np.nan_to_num(packed, nan=65535).astype(np.uint16))
    assert (found == expected).all(axis=-1).mean() > 0.985


def test_nothing_is_transparent(dataset):
    tile = middle_tile(14)
    found = rgba(render_tile(dataset, "soil_moisture", DATES[0], tile.x, tile.y, 14))
    row, column = (np.floor(f).astype(int) for f in pixel_of(SQUARE, *centres(tile)))
    water = packed_at("quality_flag", DEFAULT[0], row, column) == 32
    assert 0.01 < water.mean() < 0.5
    assert ((found[..., 3] == 0) == water).mean() > 0.99
    assert set(np.unique(found[..., 3])) == {0, 255}


@pytest.mark.parametrize("format", ["png", "webp"])
@pytest.mark.parametrize("size", [256, 512])
def test_a_tile_without_data_is_empty(dataset, format, size):
    for tile in (tile_at(5.0, 51.0, 12), tile_at(-120.0, -30.0, 12)):
        found = render_tile(
            dataset, "soil_moisture", DAY, tile.x, tile.y, 12, size=size, format=format
        )
        image = rgba(found)
        assert image.shape == (size, size, 4)
        assert not image[..., 3].any()
        assert len(found) < 1200


@pytest.mark.parametrize("name", NAMES)
def test_webp_shows_what_png_shows_and_sizes_are_kept(dataset, name):
    tile = middle_tile(13)
    png, webp = (
        rgba(render_tile(dataset, name, DAY, tile.x, tile.y, 13, format=f, size=512))
        for f in ("png", "webp")
    )
    assert png.shape == webp.shape == (512, 512, 4)
    np.testing.assert_array_equal(png[..., 3], webp[..., 3])
    seen = png[..., 3] > 0
    assert seen.any()
    np.testing.assert_array_equal(png[seen], webp[seen])


def test_twice_the_size_shows_a_finer_level(dataset):
    tile = middle_tile(12)
    small, large = (
        rgba(render_tile(dataset, "soil_moisture", DAY, tile.x, tile.y, 12, size=size))
        for size in (256, 512)
    )
    child = rgba(
        render_tile(dataset, "soil_moisture", DAY, 2 * tile.x + 1, 2 * tile.y, 13, size=256)
    )
    np.testing.assert_array_equal(large[:256, 256:], child)
    assert small[..., 3].mean() == pytest.approx(large[..., 3].mean(), rel=0.1)


def test_of_a_day_the_later_pass_is_on_top(dataset):
    tile = middle_tile(14)
    first, second, day = (
        rgba(render_tile(dataset, "soil_moisture", date, tile.x, tile.y, 14))
        for date in (DATES[0], DATES[1], DAY)
    )
    later = second[..., 3] > 0
    assert later.any()
    assert not later.all()
    assert (first[later] != second[later]).any()
    np.testing.assert_array_equal(day[later], second[later])
    np.testing.assert_array_equal(day[~later], first[~later])


@pytest.mark.parametrize(("zoom", "size"), [(13, 256), (14, 512), (15, 256), (17, 256)])
def test_a_border_of_zones_shows_neither_gap_nor_seam(border, zoom, size):
    tile = tile_at(6.0, 51.0, zoom)
    lon, lat = centres(tile, size)
    assert lon[0, 0] < 6 < lon[0, -1]
    found = rgba(render_tile(border, "quality_flag", DAY, tile.x, tile.y, zoom, size=size))
    expected = expected_at(border, "quality_flag", lon, lat)
    assert (found == expected).all(axis=-1).mean() > 0.995
    beside = np.abs((lon - 6) * 111_320 * np.cos(np.radians(lat))) < 8
    assert beside.any(axis=0).sum() >= 1
    assert (found[beside][:, 3] > 0).all(), "flags are everywhere, water included"
    assert (found[beside] == expected[beside]).all(axis=-1).mean() > 0.97


@pytest.mark.parametrize("zoom", [9, 10, 11, 12])
def test_overviews_show_no_gap_at_a_border(border, zoom):
    tile = tile_at(6.0, 51.0, zoom)
    found = rgba(render_tile(border, "quality_flag", DAY, tile.x, tile.y, zoom))
    lon, lat = centres(tile)
    near = np.abs((lon - 6) * 111_320 * np.cos(np.radians(lat))) < 1200
    inside = near & (np.abs((lat - 51) * 111_250) < 1200)
    assert inside.sum() > 30
    assert (found[inside][:, 3] == 255).all()


BORDERS = {
    "180": ((179.99995, -17.0), (-179.99995, -17.0)),
    "Greenwich, where tiles end": ((-0.00005, 51.0), (0.00005, 51.0)),
    "equator": ((9.5, 0.00005), (9.5, -0.00005)),
    "Norway, south": ((4.5, 55.99995), (4.5, 56.00005)),
    "Norway, west": ((2.99995, 60.0), (3.00005, 60.0)),
}


@pytest.mark.parametrize("places", BORDERS.values(), ids=BORDERS)
def test_every_border_is_drawn_whole(tmp_path, places):
    dataset = open_dataset("c", border_archive(tmp_path / "archive", places=places).url)
    for lon, lat in places:
        tile = tile_at(lon, lat, 16)
        found = rgba(render_tile(dataset, "quality_flag", DAY, tile.x, tile.y, 16))
        expected = expected_at(dataset, "quality_flag", *centres(tile))
        assert (expected[..., 3] > 0).mean() > 0.9
        np.testing.assert_array_equal(found[..., 3], expected[..., 3])
        assert (found == expected).all(axis=-1).mean() > 0.995


def expected_at(dataset, name, lon, lat):
    """Colours of places by the nearest pixel that their zone owns: centres are compared."""
    colors = np.zeros((*lon.shape, 4), np.uint8)
    for square in dataset.squares:
        mine = in_zone(square.zone, lon, lat) & ((lat >= 0) == (square.band >= "N"))
        i, j = nearest(square, lon[mine], lat[mine])
        covered = extents.held(dataset.snapshot, square).covered[0]
        inside = (np.minimum(i, j) >= 0) & (np.maximum(i, j) < PIXELS)
        inside &= covered[np.where(inside, i // CHUNK * (PIXELS // CHUNK) + j // CHUNK, 0)]
        found = colors_of(name, packed_at(name, row_of(0), i, j))
        colors[mine] = np.where(inside[:, None], found, 0)
    return colors


def nearest(square, lons, lats):
    """Row and column of the pixel that holds each place, or of the nearest that is owned."""
    row, column = pixel_of(square, lons, lats)
    found = np.stack([np.floor(row), np.floor(column)]).astype(int)
    free = np.flatnonzero(~is_owned(square, *found))
    best, (above, left) = np.full(len(free), np.inf), found[:, free].copy()
    for a, b in product((-1, 0, 1), repeat=2):
        i, j = above + a, left + b
        away = np.hypot(i + 0.5 - row[free], j + 0.5 - column[free])
        better = is_owned(square, i, j) & (away < best)
        best[better] = away[better]
        found[0, free[better]], found[1, free[better]] = i[better], j[better]
    return found


def is_owned(square, i, j):
    return in_zone(square.zone, *lonlat(square, i, j))


def test_places_beside_a_border_have_the_pixels_that_series_have():
    lons, lats = 6 + np.linspace(-1e-4, 1e-4, 40), 51 + np.linspace(-0.005, 0.005, 40)
    for square, side in ((WEST, lons < 6), (EAST, lons >= 6)):
        expected = pixels_at(square, lons[side], lats[side])
        np.testing.assert_array_equal(nearest(square, lons[side], lats[side]), expected)


def test_levels_are_never_coarser_than_the_pixels_of_a_tile():
    assert [level_for(r) for r in (0.5, 9.9, 10, 19.9, 20, 100, 639, 640, 1e5)] == [
        *(1, 1, 1, 1, 2),
        *(8, 32, 64, 64),
    ]


@pytest.mark.parametrize("level", EVERY_LEVEL)
def test_a_window_is_what_is_stored(dataset, level):
    bounds = SQUARE.bounds
    inner = (bounds[0] + 41_000, bounds[1] + 57_000, bounds[0] + 43_000, bounds[1] + 59_500)
    found = read_window(dataset, "soil_moisture", (0,), inner, epsg=SQUARE.epsg, level=level)
    path = "soil_moisture" if level == 1 else f"overviews/{level}/soil_moisture"
    stored = dataset.snapshot.array(SQUARE, path)
    step = min(level, COMMON) * PIXEL
    assert found.rio.crs.to_epsg() == SQUARE.epsg
    assert found.dtype == np.float32
    assert np.isnan(found.rio.nodata)
    assert found.rio.resolution() == (step, -step)
    left, bottom, right, top = found.rio.bounds()
    assert left <= inner[0] < inner[2] <= right
    assert bottom <= inner[1] < inner[3] <= top
    i = np.floor((bounds[3] - found.y.values) / PIXEL / level).astype(int)
    j = np.floor((found.x.values - bounds[0]) / PIXEL / level).astype(int)
    packed = np.asarray(stored[0, i[0] : i[-1] + 1, j[0] : j[-1] + 1])
    packed = packed[np.ix_(i - i[0], j - j[0])]
    expected = np.where(packed == 65535, np.nan, packed * 1e-4)
    np.testing.assert_allclose(found.values, expected, atol=1e-6)
    assert np.isfinite(found.values).any()


def test_a_window_of_flags_is_of_whole_numbers(dataset):
    left, bottom, _, _ = SQUARE.bounds
    where = (left + 40_000, bottom + 58_000, left + 41_000, bottom + 59_000)
    found = read_window(dataset, "quality_flag", (0,), where, epsg=SQUARE.epsg)
    assert found.dtype == np.uint16
    assert found.rio.nodata == 65535
    i = ((SQUARE.bounds[3] - found.y.values) // PIXEL).astype(int)
    j = ((found.x.values - left) // PIXEL).astype(int)
    covered = np.isin(i // CHUNK, [20, 21])[:, None] & np.isin(j // CHUNK, [20, 21])
    expected = packed_at("quality_flag", DEFAULT[0], i[:, None], j)
    np.testing.assert_array_equal(found.values, np.where(covered, expected, 65535))


def test_windows_that_cannot_be_are_refused(dataset):
    with pytest.raises(RequestError, match="level 3"):
        read_window(dataset, "soil_moisture", (0,), SQUARE.bounds, epsg=SQUARE.epsg, level=3)
    with pytest.raises(RequestError, match="no square of EPSG:32632"):
        read_window(dataset, "soil_moisture", (0,), SQUARE.bounds, epsg=32632)
    with pytest.raises(RequestError, match="no square"):
        read_window(dataset, "soil_moisture", (0,), (0, 0, 9, 9), epsg=SQUARE.epsg)


def test_pixels_that_no_square_owns_stay_empty(border):
    left, _, _, top = WEST.bounds
    (i,), (j,) = pixels_at(WEST, np.array([5.9999]), np.array([51.0]))
    where = (left + j * 10 - 900, top - i * 10 - 900, left + j * 10 + 900, top - i * 10 + 900)
    found = read_window(border, "quality_flag", (0,), where, epsg=WEST.epsg)
    rows = ((top - found.y.values) // PIXEL).astype(int)
    columns = ((found.x.values - left) // PIXEL).astype(int)
    ours = owned(WEST, slice(rows[0], rows[-1] + 1), slice(columns[0], columns[-1] + 1))
    assert ours is not None
    assert 0.2 < ours.mean() < 0.8
    np.testing.assert_array_equal(found.values != 65535, ours)


def test_neighbouring_tiles_decode_nothing_twice(dataset, monkeypatch):
    read, keys = windows._read, []
    monkeypatch.setattr(windows, "_read", lambda *key: keys.append(key) or read(*key))
    tile = middle_tile(15)
    for x, y in product((tile.x, tile.x + 1), (tile.y, tile.y + 1)):
        render_tile(dataset, "soil_moisture", DATES[0], x, y, 15)
    assert len(keys) == len(set(keys)) >= 1
    before = len(keys)
    render_tile(dataset, "soil_moisture", DATES[0], tile.x, tile.y, 15, colormap="viridis")
    assert len(keys) == before


def test_blocks_in_memory_are_bounded(dataset):
    for zoom in range(8, 16):
        tile = middle_tile(zoom)
        for name in NAMES:
            render_tile(dataset, name, DAY, tile.x, tile.y, zoom)
    assert 0 < windows.blocks.bytes <= windows.CACHE_BYTES
    assert 0 < tiles.tiles.bytes <= tiles.CACHE_BYTES


def test_a_tile_that_two_ask_for_is_drawn_once(dataset, monkeypatch):
    draw, drawn, both = tiles._draw, [], threading.Event()

    def slow(*arguments):
        drawn.append(arguments)
        assert both.wait(10)
        return draw(*arguments)

    monkeypatch.setattr(tiles, "_draw", slow)
    tile = middle_tile(14)
    with ThreadPoolExecutor(6) as pool:
        asked = [
            pool.submit(render_tile, dataset, "soil_moisture", DAY, tile.x, tile.y, 14)
            for _ in range(6)
        ]
        both.set()
        found = {future.result() for future in asked}
    assert len(drawn) == len(found) == 1
    assert render_tile(dataset, "soil_moisture", DAY, tile.x, tile.y, 14) in found
    assert len(drawn) == 1


def test_many_threads_draw_what_one_draws(dataset):
    places = [middle_tile(zoom) for zoom in range(7, 16)]
    asked = [(name, tile) for name in NAMES for tile in places]

    def draw(item):
        name, tile = item
        return render_tile(dataset, name, DAY, tile.x, tile.y, tile.z)

    alone = [draw(item) for item in asked]
    tiles.tiles.clear()
    windows.blocks.clear()
    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(draw, asked)) == alone


def test_a_new_version_is_drawn_anew_and_the_old_one_as_it_was(tmp_path):
    archive = small_archive(tmp_path / "a", [row_of(0, coverage=MIDDLE[:1])])
    served = Datasets({"a": archive.url}, refresh_seconds=0)
    old, tile = served.get("a"), middle_tile(13)
    before = render_tile(old, "soil_moisture", "latest", tile.x, tile.y, 13)
    write(archive, row_of(0, coverage=MIDDLE, partners=("S2", "S2b")))
    new = served.get("a")
    after = render_tile(new, "soil_moisture", "latest", tile.x, tile.y, 13)
    assert rgba(after)[..., 3].mean() > 1.2 * rgba(before)[..., 3].mean() > 0
    tiles.tiles.clear()
    windows.blocks.clear()
    again = served.get("a", old.version)
    assert render_tile(again, "soil_moisture", "latest", tile.x, tile.y, 13) == before


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"variable": "rain"}, "variable 'rain' is not on any map"),
        ({"z": 2}, "zoom 2 is beyond"),
        ({"z": 14 + MORE_ZOOMS + 1}, "zoom 18 is beyond"),
        ({"x": -1}, "is not on the map"),
        ({"y": 1 << 14}, "is not on the map"),
        ({"size": 300}, "256"),
        ({"format": "gif"}, "png or webp"),
        ({"colormap": "nice"}, "colormap 'nice'"),
        ({"span": (0.5, 0.1)}, "min 0.5 is not below max 0.1"),
        ({"date": "yesterday"}, "date 'yesterday' is none"),
    ],
)
def test_what_cannot_be_drawn_is_refused(dataset, change, sentence):
    request = {"variable": "soil_moisture", "date": DAY, "x": 8000, "y": 5500, "z": 14} | change
    with pytest.raises(RequestError, match=sentence):
        render_tile(dataset, **request)


def test_a_date_that_is_not_there_is_refused(dataset):
    with pytest.raises(UnknownDateError, match="no date 2024-02-01"):
        render_tile(dataset, "soil_moisture", "2024-02-01", 8000, 5500, 14)


def test_colours_follow_the_values(dataset):
    tile = middle_tile(14)
    row, column = pixel_of(SQUARE, *centres(tile))
    i, j = np.floor(row).astype(int), np.floor(column).astype(int)
    clear = is_clear(row) & is_clear(column)
    values = value_at("soil_moisture", DEFAULT[0], i, j)
    for options in ({"colormap": "viridis"}, {"colormap": "viridis", "span": (0.1, 0.2)}):
        found = rgba(render_tile(dataset, "soil_moisture", DATES[0], tile.x, tile.y, 14, **options))
        packed = packed_at("soil_moisture", DEFAULT[0], i, j)
        expected = colors_of("soil_moisture", packed, **options)
        np.testing.assert_array_equal(found[clear], expected[clear])
        # Viridis grows lighter.
        light = found[..., :3].astype(int).sum(axis=-1)
        assert light[clear & (values > 0.4)].min() > light[clear & (values < 0.05)].max()


def add_true_color(archive, square=SQUARE):
    """Write an image in true colour, of one red that grows eastwards, as the archive has it."""
    session = write_session(archive)
    group = zarr.open_group(session.store, mode="r+")[square.group].create_group("true_color")
    for level in (1, *LEVELS):
        side = -(-PIXELS // level)
        path = "true_color" if level == 1 else f"overviews/{level}/true_color"
        made = group.create_array(
            path,
            shape=(3, side, side),
            chunks=(3, min(1000, side), min(1000, side)),
            dtype="uint8",
            fill_value=0,
        )
        low, high = 4000 // level, 4400 // level
        red = 10 + (np.arange(low, high) * level - 4000) // 4
        block = np.zeros((3, high - low, high - low), np.uint8)
        block[0], block[1], block[2] = red, 90, level
        made[:, low:high, low:high] = block
    commit(session, archive, "true colour")


def test_true_colour_is_shown_where_it_is(tmp_path):
    archive = small_archive(tmp_path / "a", [row_of(0)])
    served = Datasets({"a": archive.url}, refresh_seconds=0)
    tile = middle_tile(14)
    none = served.get("a")
    assert not none.true_color
    assert not rgba(render_tile(none, "true_color", "latest", tile.x, tile.y, 14)).any()
    add_true_color(archive)
    dataset = served.get("a")
    assert dataset.true_color == {SQUARE}
    found = rgba(render_tile(dataset, "true_color", "latest", tile.x, tile.y, 14))
    row, column = pixel_of(SQUARE, *centres(tile))
    clear = is_clear(row) & is_clear(column)
    expected = np.stack(
        [10 + (np.floor(column).astype(int) - 4000) // 4, *(np.full(row.shape, v) for v in (90, 1))]
    )
    np.testing.assert_array_equal(found[clear][:, :3], expected[:, clear].T)
    assert (found[..., 3] == 255).all()
    far = middle_tile(10)
    overview = rgba(render_tile(dataset, "true_color", "latest", far.x, far.y, 10))
    seen = overview[..., 3] > 0
    assert seen.any()
    assert not seen.all()
    assert set(np.unique(overview[seen][:, 2])) == {8}, "the level that the pixels come from"
    webp = rgba(render_tile(dataset, "true_color", "latest", tile.x, tile.y, 14, format="webp"))
    assert np.abs(webp.astype(int) - found).mean() < 3


def test_places_of_the_tests_are_what_they_say(dataset, border):
    assert find_date(dataset, DAY) == (0, 1)
    assert square_at(*map(float, lonlat(SQUARE, 4100, 4100))) == SQUARE
    assert array(dataset.snapshot.root, f"{SQUARE.group}/time").shape == (3,)
    assert chunk_window((20, 20), CHUNK)[0] == slice(4000, 4200)
    assert border.squares == (WEST, EAST)
