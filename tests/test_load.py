from __future__ import annotations

import pickle
from collections.abc import Callable
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Any

import dask
import numpy as np
import pytest
import rasterio
from hypothesis import given, settings
from hypothesis import strategies as st
from odc.geo.geobox import GeoBox
from rasterio.enums import Resampling
from stackstac.raster_spec import RasterSpec

from gssm import reader, schema
from gssm.catalogs import MASKS, Role
from gssm.describe import Raster
from gssm.errors import GssmWarning, RequestError
from gssm.layers import Layer, Source
from gssm.load import read_layers
from gssm.reader import LayerReader
from helpers import no_compute
from imagery import FOOTPRINT, cut_file, utm_grid, write_tif

ROWS, COLUMNS = 7, 9
WHOLE = (64, 64)
CLEAR, CLOUD, MISSING, UNREADABLE = (
    schema.MASK_CLEAR,
    schema.MASK_CLOUD,
    schema.MASK_MISSING,
    schema.MASK_UNREADABLE,
)


def read(
    layers: Layer | list[Layer],
    grid: GeoBox,
    chunks: tuple[int, int] = WHOLE,
    resampling: Resampling = Resampling.bilinear,
) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    """Read at once; a single layer without its time dimension."""
    single = isinstance(layers, Layer)
    lazy = read_layers([layers] if single else layers, grid, chunks, resampling)
    values, failed = dask.compute(*lazy, scheduler="synchronous")
    return (values[0], failed[0]) if single else (values, failed)


def value_layer(*hrefs: str, **raster: Any) -> Layer:
    sources = (Source(f"item{i}", Raster(h, **raster), FOOTPRINT) for i, h in enumerate(hrefs))
    return Layer(tuple(sources))


def filled(value: float, dtype: Any = np.float32, shape: Any = (ROWS, COLUMNS)) -> Any:
    return np.full(shape, value, dtype)


# --- the choice of image, against plain numpy -------------------------------------------


@dataclass(frozen=True)
class Image:
    """One candidate: digital numbers, classes and its age in days."""

    numbers: np.ndarray[Any, Any]
    classes: np.ndarray[Any, Any]
    age: float


CLASSES: dict[Role, list[int]] = {
    "sentinel2": list(range(12)),
    "landsat": [1, 21824, 21952, 22280, 23888, 30048],
}


def images(role: Role) -> st.SearchStrategy[list[Image]]:
    def image(seed: int, obscured: float, age: float) -> Image:
        random = np.random.default_rng(seed)
        classes = random.choice(CLASSES[role], (ROWS, COLUMNS))
        cloud = {"sentinel2": 9, "landsat": 22280}[role]
        classes = np.where(random.random((ROWS, COLUMNS)) < obscured, cloud, classes)
        numbers = random.integers(0, 5, (ROWS, COLUMNS)) * random.integers(1, 3000)
        return Image(numbers.astype(np.uint16), classes, age)

    one = st.builds(
        image,
        seed=st.integers(0, 2**32 - 1),
        obscured=st.sampled_from([0.0, 0.5, 0.9, 1.0]),
        age=st.floats(-3, 3, width=32),
    )
    return st.lists(one, max_size=4)


def expected_choice(
    candidates: list[Image], role: Role, scale: float, offset: float, minimum: float | None
) -> dict[str, np.ndarray[Any, Any]]:
    """Pixel by pixel: the first image that shows the ground there."""
    value, age = filled(np.nan), filled(np.nan)
    category = filled(MISSING, np.uint8)
    for row in range(ROWS):
        for column in range(COLUMNS):
            for image in candidates:
                seen = MASKS[role].classify(image.classes[row : row + 1, column])[0]
                if seen in (CLEAR, schema.MASK_WATER, schema.MASK_SNOW):
                    number = image.numbers[row, column]
                    if number != 0:
                        physical = np.float32(number) * np.float32(scale) + np.float32(offset)
                        value[row, column] = physical if minimum is None else max(physical, minimum)
                    age[row, column] = image.age
                    category[row, column] = seen
                    break
                if seen == CLOUD:
                    category[row, column] = CLOUD
    return {"value": value, "age": age, "mask": category}


@pytest.mark.parametrize(
    ("role", "scale", "offset", "minimum"),
    [("sentinel2", 1e-4, -0.1, 0.0), ("landsat", 2.75e-5, -0.2, None)],
)
def test_choice_of_image_equals_plain_numpy_for_any_chunks(
    tmp_path_factory: pytest.TempPathFactory,
    role: Role,
    scale: float,
    offset: float,
    minimum: float | None,
) -> None:
    folder, serial = tmp_path_factory.mktemp(role), count()

    @settings(max_examples=25)
    @given(images(role), st.tuples(st.integers(1, ROWS + 2), st.integers(1, COLUMNS + 2)))
    def check(candidates: list[Image], chunks: tuple[int, int]) -> None:
        place = folder / str(next(serial))
        dtype = np.uint8 if role == "sentinel2" else np.uint16
        sources = tuple(
            Source(
                item=f"{place.name}-{i}",
                raster=Raster(
                    write_tif(place / f"{i}.tif", image.numbers),
                    scale,
                    offset,
                    nodata=0,
                    minimum=minimum,
                ),
                footprint=FOOTPRINT,
                age=image.age,
                mask=Raster(
                    write_tif(place / f"{i}-mask.tif", image.classes.astype(dtype)),
                    nodata=MASKS[role].fill,
                ),
                role=role,
            )
            for i, image in enumerate(candidates)
        )
        expected = expected_choice(candidates, role, scale, offset, minimum)
        for quantity in ("value", "age", "mask"):
            layer = Layer(sources, quantity)  # type: ignore[arg-type]
            if not sources and quantity == "value":
                layer = Layer(())
            values, failed = read(layer, utm_grid(ROWS, COLUMNS), chunks)
            assert not failed.any()
            assert values.dtype == expected[quantity].dtype
            np.testing.assert_array_equal(values, expected[quantity])

    check()


def masked_source(
    folder: Path,
    name: str,
    scl: int | np.ndarray[Any, Any],
    number: int | None,
    age: float = 1.0,
) -> Source:
    """Sentinel-2 candidate; without a number its band does not exist."""
    classes = scl if isinstance(scl, np.ndarray) else filled(scl, np.uint8)
    band = str(folder / f"{name}-absent.tif")
    if number is not None:
        band = write_tif(folder / f"{name}.tif", filled(number, np.uint16))
    mask = Raster(write_tif(folder / f"{name}-scl.tif", classes), nodata=0)
    raster = Raster(band, 1e-4, nodata=0)
    return Source(name, raster, FOOTPRINT, age, mask, "sentinel2")


def test_a_clouded_image_has_none_of_its_bands_opened(tmp_path: Path) -> None:
    # The band of the clouded image is not there: opening it would warn, and fail the test.
    cloudy = masked_source(tmp_path, "cloudy", 9, None)
    clear = masked_source(tmp_path, "clear", 4, 1500)
    values, failed = read(Layer((cloudy, clear)), utm_grid(ROWS, COLUMNS))
    np.testing.assert_array_equal(values, filled(np.float32(1500) * np.float32(1e-4)))
    assert not failed.any()


def test_an_image_behind_a_clear_one_is_not_opened_at_all(tmp_path: Path) -> None:
    clear = masked_source(tmp_path, "clear", 4, 1500)
    nowhere = Raster("/nowhere/at/all.tif")
    never = Source("never", nowhere, FOOTPRINT, 2.0, nowhere, "sentinel2")
    values, _ = read(Layer((clear, never)), utm_grid(ROWS, COLUMNS))
    assert not np.isnan(values).any()


def test_an_image_elsewhere_is_not_opened() -> None:
    nowhere = Raster("/nowhere/at/all.tif")
    far = Source("far", nowhere, (4.0, 50.5, 5.0, 50.6), 0.0, nowhere, "sentinel2")
    values, failed = read(Layer((far,)), utm_grid(ROWS, COLUMNS))
    assert np.isnan(values).all()
    assert not failed.any()


def test_only_chunks_under_a_footprint_are_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Both images reach from column 0 to 40 and say so; chunks are 32 wide.
    west, south, _, north = FOOTPRINT
    box = (west, south, 3.0 + 380 / 70_700, north)
    path = write_tif(tmp_path / "a.tif", filled(4, np.uint8, (96, 40)))
    mask = Raster(path, nodata=0)
    plain = Source("radar", Raster(path), box)
    masked = Source("optical", Raster(path), box, 1.0, mask, "sentinel2")
    windows = []
    read_raster = LayerReader._read_raster

    def counted(self: LayerReader, item: str, raster: Raster, window: Any, *args: Any) -> Any:
        windows.append((item, window.row_off, window.col_off))
        return read_raster(self, item, raster, window, *args)

    monkeypatch.setattr(LayerReader, "_read_raster", counted)
    for source in (plain, masked):
        values, _ = read(Layer((source,)), utm_grid(96, 160), (32, 32))
        assert np.isfinite(values[:, :40]).all()
        assert np.isnan(values[:, 40:]).all()
    under = {(row, column) for row in (0, 32, 64) for column in (0, 32)}
    assert sorted(windows) == sorted(
        [(item, *place) for item in ("optical", "optical", "radar") for place in under]
    )


def test_a_band_that_the_chosen_image_lacks_is_missing_not_another_images(tmp_path: Path) -> None:
    clear = masked_source(tmp_path, "clear", 4, 1)
    lacking = Source("lacking", Raster(""), FOOTPRINT, 1.0, clear.mask, "sentinel2")
    values, failed = read(Layer((lacking, clear)), utm_grid(ROWS, COLUMNS))
    assert np.isnan(values).all()
    assert not failed.any()


def test_more_candidates_than_a_byte_counts(tmp_path: Path) -> None:
    # A window of a year over four tiles holds hundreds of images; only the last is clear.
    cloudy = masked_source(tmp_path, "cloudy", 9, None)
    clear = masked_source(tmp_path, "clear", 4, 1500, age=2.5)
    for before in (255, 256, 300):
        values, _ = read(Layer((cloudy,) * before + (clear,), "age"), utm_grid(ROWS, COLUMNS))
        assert (values == 2.5).all()


# --- damaged files ------------------------------------------------------------------------


def damage_cut(path: Path) -> None:
    cut_file(path)


def damage_header(path: Path) -> None:
    cut_file(path, 0.001)


def damage_remove(path: Path) -> None:
    path.unlink()


def damage_text(path: Path) -> None:
    path.write_text("<html>404</html>")


DAMAGES = pytest.mark.parametrize("damage", [damage_cut, damage_header, damage_remove, damage_text])


@DAMAGES
def test_a_damaged_image_is_named_and_flagged(
    tmp_path: Path, damage: Callable[[Path], None]
) -> None:
    path = Path(write_tif(tmp_path / "vv.tif", filled(0.1, shape=(64, 64))))
    damage(path)
    with pytest.warns(GssmWarning, match="item 'item0' is skipped where .*vv.tif could not be"):
        values, failed = read(value_layer(str(path)), utm_grid(64, 64))
    assert np.isnan(values).all()
    assert failed.all()


def test_without_crs_an_image_is_flagged_not_silently_empty(tmp_path: Path) -> None:
    path = str(tmp_path / "gcp.tif")
    corners = [
        rasterio.control.GroundControlPoint(r, c, 500_000 + 10 * c, 5_600_000 - 10 * r)
        for r in (0, ROWS)
        for c in (0, COLUMNS)
    ]
    kind = {"driver": "GTiff", "count": 1, "dtype": "float32"}
    with rasterio.open(
        path, "w", height=ROWS, width=COLUMNS, gcps=corners, crs="EPSG:32631", **kind
    ) as file:
        file.write(filled(0.1), 1)
    with pytest.warns(GssmWarning, match="could not be read .it has no CRS"):
        _, failed = read(value_layer(path), utm_grid(ROWS, COLUMNS))
    assert failed.all()


@DAMAGES
def test_damaged_first_slice_leaves_the_second(
    tmp_path: Path, damage: Callable[[Path], None]
) -> None:
    first = Path(write_tif(tmp_path / "first.tif", filled(0.1, shape=(64, 64))))
    half = filled(0.2, shape=(64, 64))
    half[:, 32:] = -32768
    second = write_tif(tmp_path / "second.tif", half, nodata=-32768)
    damage(first)
    with pytest.warns(GssmWarning, match="first.tif"):
        values, failed = read(value_layer(str(first), second), utm_grid(64, 64))
    assert (values[:, :32] == np.float32(0.2)).all()
    assert np.isnan(values[:, 32:]).all()
    assert not failed[:, :32].any()
    assert failed[:, 32:].all()


@DAMAGES
def test_damaged_mask_of_the_nearest_is_flagged_and_no_other_image_takes_over(
    tmp_path: Path, damage: Callable[[Path], None]
) -> None:
    classes = filled(4, np.uint8, (64, 64))
    random = np.random.default_rng(0)
    near_classes = random.integers(4, 6, (64, 64)).astype(np.uint8)
    near = masked_source(tmp_path, "near", near_classes, 1000, age=1.0)
    classes[:, 32:] = 9
    far = masked_source(tmp_path, "far", classes, 2000, age=-2.0)
    damage(Path(near.mask.href))  # type: ignore[union-attr]
    grid = utm_grid(64, 64)
    with pytest.warns(GssmWarning, match="item 'near' is skipped"):
        age, _ = read(Layer((near, far), "age"), grid)
    # The choice of image is shared with the bands: the file is not tried again.
    category, unreadable = read(Layer((near, far), "mask"), grid)
    values, failed = read(Layer((near, far)), grid)
    assert np.isnan(age).all()
    assert (category == UNREADABLE).all()
    assert unreadable.all()
    assert np.isnan(values).all()
    assert failed.all()


def test_damaged_band_of_the_chosen_image_is_flagged_where_it_was_chosen(tmp_path: Path) -> None:
    classes = filled(4, np.uint8)
    classes[:, 4:] = 9
    near = masked_source(tmp_path, "near", classes, 1000)
    far = masked_source(tmp_path, "far", 4, 2000)
    Path(near.raster.href).write_bytes(b"")
    with pytest.warns(GssmWarning, match="item 'near' is skipped"):
        values, failed = read(Layer((near, far)), utm_grid(ROWS, COLUMNS))
    assert failed[:, :4].all()
    assert np.isnan(values[:, :4]).all()
    assert not failed[:, 4:].any()
    assert (values[:, 4:] == np.float32(2000) * np.float32(1e-4)).all()


def test_only_the_chunks_that_need_a_damaged_block_fail(tmp_path: Path) -> None:
    tiled = {"tiled": True, "blockxsize": 16, "blockysize": 16, "compress": "deflate"}
    path = Path(write_tif(tmp_path / "vv.tif", filled(0.1, shape=(384, 64)), **tiled))
    with rasterio.open(path) as file:
        offset = int(file.get_tag_item("BLOCK_OFFSET_1_20", "TIFF", bidx=1))
    content = bytearray(path.read_bytes())
    content[offset : offset + 8] = bytes(8)
    path.write_bytes(content)
    with pytest.warns(GssmWarning, match="item0"):
        values, failed = read(value_layer(str(path)), utm_grid(384, 64), (128, 64))
    expected = np.zeros((384, 64), bool)
    expected[256:] = True  # GDAL warps in blocks of 128 rows
    np.testing.assert_array_equal(failed, expected)
    np.testing.assert_array_equal(values, np.where(expected, np.nan, np.float32(0.1)))


# --- scale, nodata and resampling ---------------------------------------------------------


@pytest.mark.parametrize(
    ("numbers", "profile", "raster", "expected"),
    [
        ([1, 2, 3], {}, {}, [1, 2, 3]),
        ([0, 1000, 3000], {}, {"scale": 1e-4, "nodata": 0}, [np.nan, 0.1, 0.3]),
        # Baseline 04.00: 1000 is zero reflectance, below it is noise, 0 stays no data.
        (
            [0, 1, 1000, 3000],
            {},
            {"scale": 1e-4, "offset": -0.1, "nodata": 0, "minimum": 0.0},
            [np.nan, 0, 0, 0.2],
        ),
        ([7273, 65535], {}, {"scale": 2.75e-5, "offset": -0.2, "nodata": 0}, [7.5e-6, 1.6022]),
        ([44000], {}, {"scale": 0.00341802, "offset": 149.0, "nodata": 0}, [299.39288]),
        # Nodata of the file where the collection states none, else that of the collection.
        ([5, -9, 7], {"nodata": -9}, {}, [5, np.nan, 7]),
        # The file's own gaps and those that its collection is known for.
        ([5, -9, 7], {"nodata": -9}, {"nodata": 7}, [5, np.nan, np.nan]),
        # Zero-filled borders and noise below zero of radar.
        ([-1, 0, 2], {}, {"positive": True}, [np.nan, np.nan, 2]),
    ],
)
def test_numbers_become_physical(
    tmp_path: Path, numbers: list[int], profile: Any, raster: Any, expected: list[float]
) -> None:
    # Columns far apart, so that none of the values is a neighbour of another.
    dtype = np.int32 if min(numbers) < 0 else np.uint16
    values = np.repeat(np.array([numbers], dtype), 3, axis=0)
    path = write_tif(tmp_path / "a.tif", values, **profile)
    seen, failed = read(value_layer(path, **raster), utm_grid(3, len(numbers)))
    assert seen.dtype == np.float32
    np.testing.assert_allclose(seen[1], np.array(expected, np.float32), rtol=1e-5, atol=1e-7)
    assert not failed.any()


def test_nodata_does_not_leak_into_its_neighbours(tmp_path: Path) -> None:
    # GDAL >= 3.11 moves valid values that equal an integer nodata (gdal#11711); and a
    # bilinear weight on a hole would drag its neighbours down.
    values = np.full((8, 8), 1000, np.uint16)
    values[3, 3] = 0
    values[5, 5] = 1
    path = write_tif(tmp_path / "a.tif", values, size=20)
    seen, _ = read(value_layer(path, nodata=0), utm_grid(16, 16))
    valid = seen[~np.isnan(seen)]
    assert valid.min() >= 1
    assert (seen[:6, :6] == 1000).all()
    assert np.isnan(seen).any()


def test_nan_in_a_file_is_no_data(tmp_path: Path) -> None:
    values = filled(2.0)
    values[2, 3] = np.nan
    seen, failed = read(value_layer(write_tif(tmp_path / "a.tif", values)), utm_grid(ROWS, COLUMNS))
    np.testing.assert_array_equal(seen, values)
    assert not failed.any()


@pytest.mark.parametrize(("dx", "dy"), [(0, 0), (10, 0), (0, -10), (30, -20), (-20, 30)])
@pytest.mark.parametrize("chunks", [WHOLE, (3, 4)])
def test_pixels_keep_their_place(
    tmp_path: Path, dx: float, dy: float, chunks: tuple[int, int]
) -> None:
    values = np.arange(ROWS * COLUMNS, dtype=np.float32).reshape(ROWS, COLUMNS) + 1
    path = write_tif(tmp_path / "a.tif", values)
    grid = utm_grid(ROWS, COLUMNS, dx=dx, dy=dy)
    seen, _ = read(value_layer(path), grid, chunks)
    expected = filled(np.nan)
    with rasterio.open(path) as file:
        for i, y in enumerate(grid.coordinates["y"].values):
            for j, x in enumerate(grid.coordinates["x"].values):
                row, column = file.index(x, y)
                if 0 <= row < ROWS and 0 <= column < COLUMNS:
                    expected[i, j] = values[row, column]
    np.testing.assert_array_equal(seen, expected)


def test_bilinear_keeps_a_plane_at_pixel_centres(tmp_path: Path) -> None:
    # A plane in metres, sampled at centres of 20 m: halfway values must be those of the plane.
    x20, y20 = 10 + 20 * np.arange(8), -10 - 20 * np.arange(8)
    path = write_tif(
        tmp_path / "dsm.tif", (x20[None] + 3 * y20[:, None]).astype(np.float32), size=20
    )
    seen, _ = read(value_layer(path), utm_grid(16, 16))
    x10, y10 = 5 + 10 * np.arange(16), -5 - 10 * np.arange(16)
    plane = x10[None] + 3 * y10[:, None]
    np.testing.assert_allclose(seen[1:-1, 1:-1], plane[1:-1, 1:-1], atol=1e-3)


def test_radar_is_averaged_in_linear_power(tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    values = random.exponential(0.1, (8, 8)).astype(np.float32)
    path = write_tif(tmp_path / "vv.tif", values)
    seen, _ = read(value_layer(path), utm_grid(2, 2, 40), resampling=Resampling.average)
    expected = values.reshape(2, 4, 2, 4).mean(axis=(1, 3))
    np.testing.assert_allclose(seen, expected, rtol=1e-5)


def test_coarse_radar_repeats_on_a_fine_grid(tmp_path: Path) -> None:
    values = np.arange(1, 17, dtype=np.float32).reshape(4, 4)
    path = write_tif(tmp_path / "vv.tif", values, size=20)
    seen, _ = read(value_layer(path), utm_grid(8, 8), resampling=Resampling.average)
    np.testing.assert_array_equal(seen, values.repeat(2, 0).repeat(2, 1))


@pytest.mark.parametrize(("size", "resolution"), [(20, 10), (10, 20), (10, 60), (30, 10)])
def test_classes_are_never_mixed(tmp_path: Path, size: float, resolution: float) -> None:
    # Between vegetation (4) and snow (11) lie cloud classes, which an average would invent.
    classes = np.random.default_rng(0).choice([4, 11], (24, 24)).astype(np.uint8)
    source = masked_source(tmp_path, "a", classes, None)
    write_tif(tmp_path / "a-scl.tif", classes, size=size)
    cells = int(24 * size // resolution)
    seen, _ = read(Layer((source,), "mask"), utm_grid(cells, cells, resolution))
    assert set(np.unique(seen)) == {CLEAR, schema.MASK_SNOW}
    if size == 20:
        expected = np.where(classes == 4, CLEAR, schema.MASK_SNOW).repeat(2, 0).repeat(2, 1)
        np.testing.assert_array_equal(seen, expected)


# --- laziness, shapes, distribution -------------------------------------------------------


def test_nothing_is_read_when_the_layers_are_built() -> None:
    with no_compute():
        values, failed = read_layers([value_layer("/nowhere.tif")] * 3, utm_grid(70, 50), (32, 32))
    assert values.shape == failed.shape == (3, 70, 50)
    assert values.chunks == failed.chunks == ((1, 1, 1), (32, 32, 6), (32, 18))
    assert (values.dtype, failed.dtype) == (np.float32, bool)


def test_every_time_step_is_its_own_layer(tmp_path: Path) -> None:
    hrefs = [write_tif(tmp_path / f"{i}.tif", filled(i + 1)) for i in range(3)]
    # More than 60 steps: the order must not follow the invented seconds of the wrapper.
    layers = [value_layer(hrefs[i % 3]) for i in range(130)]
    seen, _ = read(layers, utm_grid(ROWS, COLUMNS))
    assert seen[:, 0, 0].tolist() == [i % 3 + 1 for i in range(130)]


def test_a_gap_that_no_file_declares_is_no_reflectance(tmp_path: Path) -> None:
    values = filled(1500, np.int16)
    values[0, :] = -9999
    values[1, :] = 500  # noise of the atmospheric correction: below zero, and clipped
    path = write_tif(tmp_path / "b4.tif", values, nodata=None)
    layer = value_layer(path, scale=1e-4, offset=-0.1, nodata=0, minimum=0.0)
    seen, failed = read(layer, utm_grid(ROWS, COLUMNS))
    assert np.isnan(seen[..., 0, :]).all()
    assert (seen[..., 1, :] == 0).all()
    np.testing.assert_allclose(seen[..., 2:, :], 0.05, rtol=1e-5)
    assert not failed.any()


def test_layer_without_sources_is_missing() -> None:
    values, failed = read(Layer(()), utm_grid(ROWS, COLUMNS))
    assert np.isnan(values).all()
    assert not failed.any()
    categories, _ = read(Layer((), "mask"), utm_grid(ROWS, COLUMNS))
    assert (categories == MISSING).all()


def test_reader_pickles_as_its_address(tmp_path: Path) -> None:
    path = write_tif(tmp_path / "a.tif", filled(2.0))
    seen, _ = read(value_layer(path), utm_grid(ROWS, COLUMNS))
    assert (seen == 2).all()
    reader = LayerReader(
        url=value_layer(path),
        spec=RasterSpec(32631, (500_000, 5_599_930, 500_090, 5_600_000), (10, 10)),
        resampling=Resampling.bilinear,
        dtype=np.dtype(np.float32),
        fill_value=np.nan,
    )
    window = rasterio.windows.Window(0, 0, COLUMNS, ROWS)
    assert (reader.read(window) == 2).all()
    content = pickle.dumps(reader)
    assert len(content) < 2000
    assert (pickle.loads(content).read(window) == 2).all()


def test_grid_in_degrees_refused() -> None:
    grid = GeoBox.from_bbox((3, 50, 4, 51), crs="EPSG:4326", shape=(10, 10))
    with pytest.raises(RequestError, match="give a projected one"):
        read_layers([Layer(())], grid, WHOLE)


@pytest.mark.parametrize("nodata", [None, 0, -32768])
@pytest.mark.parametrize("resampling", [Resampling.average, Resampling.bilinear])
def test_a_zero_filled_border_does_not_leak_into_radar(
    tmp_path: Path, nodata: float | None, resampling: Resampling
) -> None:
    values = filled(35.0, np.float32, (40, 40))
    values[:, :13] = 0
    path = write_tif(tmp_path / "vv.tif", values, nodata=nodata)
    layer = value_layer(path, nodata=-32768, positive=True)
    for resolution in (10, 40):
        grid = utm_grid(400 // resolution, 400 // resolution, resolution)
        seen, failed = read(layer, grid, resampling=resampling)
        assert np.isfinite(seen).mean() > 0.6
        np.testing.assert_allclose(seen[np.isfinite(seen)], 35.0, rtol=1e-6)
        assert not failed.any()


def test_a_mask_that_fails_once_does_not_mix_images(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    near = masked_source(tmp_path, "near", 4, 1000, age=1.0)
    far = masked_source(tmp_path, "far", 4, 2000, age=-2.0)
    grid = utm_grid(ROWS, COLUMNS)
    first, _ = read(Layer((near, far)), grid)
    reader._CHOICES.clear()
    Path(near.mask.href).rename(tmp_path / "away.tif")  # type: ignore[union-attr]
    with pytest.warns(GssmWarning, match="item 'near' is skipped"):
        second, failed = read(Layer((near, far)), grid)
    assert np.isfinite(first).all()
    assert np.isnan(second).all()
    assert failed.all()
