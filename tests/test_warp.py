"""Rasters parallel to the grid, against GDAL's own warper."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
from hypothesis import given, settings
from hypothesis import strategies as st
from rasterio.enums import Resampling
from rasterio.transform import Affine
from rasterio.vrt import WarpedVRT
from rasterio.warp import transform_bounds
from rasterio.windows import Window
from stackstac.raster_spec import RasterSpec

from gssm.describe import Raster
from gssm.layers import Layer, Source
from gssm.reader import LayerReader
from gssm.warp import (
    TOLERANCE,
    has_mask,
    is_parallel,
    needs_masking,
    read_parallel,
    scales,
    warp_masked,
)
from imagery import EPSG, LEFT, TOP

SIDE = 24  # pixels of the grid, of 10 m
NODATA = -9.0


def make_spec(dx: float, dy: float) -> RasterSpec:
    left, top = LEFT + dx, TOP + dy
    return RasterSpec(EPSG, (left, top - 10 * SIDE, left + 10 * SIDE, top), (10.0, 10.0))


def write(path: Path, values: np.ndarray[Any, Any], transform: Affine, **profile: Any) -> str:
    kind = {"driver": "GTiff", "count": 1, "dtype": values.dtype, "crs": f"EPSG:{EPSG}"}
    height, width = values.shape
    place = {"height": height, "width": width, "transform": transform}
    with rasterio.open(path, "w", **{**kind, **place, **profile}) as file:
        file.write(values, 1)
    return str(path)


def numbers(seed: int, gaps: float, kind: str, shape: tuple[int, int]) -> np.ndarray[Any, Any]:
    random = np.random.default_rng(seed)
    values = random.uniform(0.01, 3000, shape)
    values = np.where(random.random(shape) < gaps, 0 if kind == "uint16" else NODATA, values)
    return values.astype(kind)


def by_gdal(
    dataset: rasterio.DatasetReader,
    raster: Raster,
    spec: RasterSpec,
    window: Window,
    resampling: Resampling,
    fill: float,
) -> np.ndarray[Any, Any]:
    if not np.isnan(fill):
        options: dict[str, Any] = {"nodata": fill}
    elif needs_masking(raster, dataset.nodata):
        return warp_masked(dataset, raster, spec, window, resampling)
    else:
        options = {"nodata": np.nan, "dtype": "float32", "working_dtype": "float32"}
    known = raster.nodata if dataset.nodata is None else dataset.nodata
    shared = {"resampling": resampling, "tolerance": TOLERANCE, "src_nodata": known}
    with WarpedVRT(dataset, **shared, **options, **spec.vrt_params) as warped:
        values: np.ndarray[Any, Any] = warped.read(1, window=window)
        return values


def inside(dataset: rasterio.DatasetReader, spec: RasterSpec, window: Window) -> Any:
    """Pixels of a window whose centre lies in the file."""
    rows, columns = np.mgrid[window.toslices()] + 0.5
    column, row = ~dataset.transform * (spec.transform * (columns, rows))
    return (column >= 0) & (column < dataset.width) & (row >= 0) & (row < dataset.height)


@settings(max_examples=150)
@given(
    seed=st.integers(0, 2**32 - 1),
    gaps=st.sampled_from([0.0, 0.1, 0.6]),
    kind=st.sampled_from(["uint16", "float32"]),
    size=st.sampled_from([10.0, 20.0, 30.0, 60.0, 12.5]),
    shift=st.tuples(*[st.sampled_from([0.0, 10.0, 60.0, -110.0, 2.5, 3.7])] * 2),
    resampling=st.sampled_from([Resampling.nearest, Resampling.bilinear, Resampling.average]),
    positive=st.booleans(),
)
def test_the_numbers_are_those_of_gdal(
    tmp_path_factory: pytest.TempPathFactory,
    seed: int,
    gaps: float,
    kind: str,
    size: float,
    shift: tuple[float, float],
    resampling: Resampling,
    positive: bool,
) -> None:
    is_class = resampling == Resampling.nearest
    values = numbers(seed, gaps, kind, (11, 13))
    path = write(
        tmp_path_factory.mktemp("file") / "a.tif",
        values,
        Affine(size, 0, LEFT, 0, -size, TOP),
        nodata=None if kind == "uint16" else NODATA,
    )
    raster = Raster(path, nodata=0, positive=positive and not is_class)
    spec = make_spec(*shift)
    window = Window(2, 3, SIDE - 5, SIDE - 7)
    with rasterio.open(path) as dataset:
        if not is_parallel(dataset, spec, resampling):
            assert resampling == Resampling.average
            return
        args = (dataset, raster, spec, window, resampling, 0 if is_class else np.nan)
        seen, expected = read_parallel(*args), by_gdal(*args)
    assert seen.dtype == expected.dtype
    if resampling == Resampling.average:
        # GDAL's average is one pixel wider than a coarse file whose edge halves a pixel.
        expected = np.where(inside(dataset, spec, window), expected, np.nan)
    np.testing.assert_allclose(seen, expected, rtol=1e-6, atol=3e-7 * 3000)


def test_a_window_is_a_part_of_the_whole(tmp_path: Path) -> None:
    # To the last bit, also where weights are spread around gaps.
    values = numbers(0, 0.2, "float32", (9, 9))
    path = write(tmp_path / "a.tif", values, Affine(30, 0, LEFT, 0, -30, TOP), nodata=NODATA)
    spec = make_spec(7, -3)
    with rasterio.open(path) as dataset:
        args = (Resampling.bilinear, np.nan)
        whole = read_parallel(dataset, Raster(path), spec, Window(0, 0, SIDE, SIDE), *args)
        for top, left, height, width in np.random.default_rng(0).integers(1, SIDE // 2, (40, 4)):
            window = Window(left, top, width, height)
            part = read_parallel(dataset, Raster(path), spec, window, *args)
            np.testing.assert_array_equal(part, whole[window.toslices()])
    assert np.isnan(whole).any()


@pytest.mark.parametrize(
    ("transform", "profile"),
    [
        (Affine(10, 0, LEFT, 0, -10, TOP), {"crs": "EPSG:32632"}),  # another zone
        (Affine(5, 0, LEFT, 0, -5, TOP), {}),  # finer than the grid
        (Affine(10, 1, LEFT, 1, -10, TOP), {}),  # turned
        (Affine(10, 0, LEFT, 0, 10, TOP), {}),  # south-up
    ],
)
def test_what_is_not_parallel_is_left_to_gdal(
    tmp_path: Path, transform: Affine, profile: dict[str, Any]
) -> None:
    values = numbers(0, 0, "float32", (9, 9))
    with rasterio.open(write(tmp_path / "a.tif", values, transform, **profile)) as dataset:
        assert not is_parallel(dataset, make_spec(0, 0), Resampling.bilinear)


def test_a_file_with_a_mask_of_its_own_is_left_to_gdal(tmp_path: Path) -> None:
    path = write(
        tmp_path / "a.tif", numbers(0, 0, "float32", (9, 9)), Affine(10, 0, LEFT, 0, -10, TOP)
    )
    with rasterio.Env(GDAL_TIFF_INTERNAL_MASK=True), rasterio.open(path, "r+") as dataset:
        assert is_parallel(dataset, make_spec(0, 0), Resampling.bilinear)
        dataset.write_mask(np.eye(9, dtype=bool))
    with rasterio.open(path) as dataset:
        assert not is_parallel(dataset, make_spec(0, 0), Resampling.bilinear)


def test_an_average_of_parts_of_pixels_is_left_to_gdal(tmp_path: Path) -> None:
    values = numbers(0, 0, "float32", (9, 9))
    with rasterio.open(
        write(tmp_path / "a.tif", values, Affine(20, 0, LEFT, 0, -20, TOP))
    ) as dataset:
        assert is_parallel(dataset, make_spec(10, 0), Resampling.average)
        assert not is_parallel(dataset, make_spec(5, 0), Resampling.average)


@pytest.mark.parametrize(
    ("crs", "left", "top", "size", "resolution", "expected"),
    [
        (f"EPSG:{EPSG}", LEFT, TOP, (20, 20), 10, (2, 2)),
        (f"EPSG:{EPSG}", LEFT, TOP, (10, 10), 60, (1 / 6, 1 / 6)),
        ("EPSG:32630", 930_000, TOP, (20, 20), 10, (2, 2)),  # turned by a neighbouring zone
        ("EPSG:4326", 3.0, 50.5, (1 / 3600, 1 / 3600), 10, (1.97, 3.09)),
        ("EPSG:4326", 3.0, 50.5, (1 / 360, 1 / 3600), 10, (19.7, 3.09)),
    ],
)
def test_pixels_of_the_grid_per_pixel_of_a_file(
    tmp_path: Path,
    crs: str,
    left: float,
    top: float,
    size: tuple[float, float],
    resolution: float,
    expected: tuple[float, float],
) -> None:
    place = Affine(size[0], 0, left, 0, -size[1], top)
    path = write(tmp_path / "a.tif", np.ones((30, 40), np.float32), place, crs=crs)
    spec = RasterSpec(EPSG, (LEFT, TOP - 600, LEFT + 600, TOP), (resolution, resolution))
    with rasterio.open(path) as file:
        seen = scales(file, spec)
    assert (seen["XSCALE"], seen["YSCALE"]) == pytest.approx(expected, rel=0.01)


def masked_file(path: Path, nodata: float | None, crs: str = f"EPSG:{EPSG}") -> str:
    """Write sevens of 10 m, of which the mask of the file leaves the eastern half."""
    place = Affine(10, 0, LEFT, 0, -10, TOP)
    href = write(path, np.full((SIDE, SIDE), 7, np.uint16), place, nodata=nodata, crs=crs)
    shown = np.arange(SIDE) >= SIDE // 2
    with rasterio.Env(GDAL_TIFF_INTERNAL_MASK=True), rasterio.open(href, "r+") as file:
        file.write_mask(np.broadcast_to(shown, (SIDE, SIDE)))
    return href


@pytest.mark.parametrize("nodata", [None, 0.0])
@pytest.mark.parametrize(
    "stated", [{}, {"nodata": 0.0}, {"nodata": 5.0}, {"positive": True}, {"minimum": 0.0}]
)
@pytest.mark.parametrize(
    "resampling", [Resampling.nearest, Resampling.bilinear, Resampling.average]
)
@pytest.mark.parametrize("size", [10, 40])
def test_what_a_file_masks_is_missing(
    tmp_path: Path, nodata: float | None, stated: dict[str, Any], resampling: Resampling, size: int
) -> None:
    raster = Raster(masked_file(tmp_path / "a.tif", nodata), **stated)
    pixels = 10 * SIDE // size
    spec = RasterSpec(EPSG, (LEFT, TOP - 10 * SIDE, LEFT + 10 * SIDE, TOP), (size, size))
    layer = Layer((Source("item", raster, (2.0, 50.0, 4.0, 52.0)),))
    reader = LayerReader(
        url=layer, spec=spec, resampling=resampling, dtype=np.dtype("float32"), fill_value=np.nan
    )
    values = reader.read(Window(0, 0, pixels, pixels))
    expected = np.where(np.arange(pixels) >= pixels // 2, np.float32(7), np.nan)
    np.testing.assert_allclose(values, np.broadcast_to(expected, values.shape))
    part = reader.read(Window(1, 1, pixels - 2, 2))  # whatever the chunks
    np.testing.assert_array_equal(part, values[1:3, 1:-1])


def test_what_a_file_masks_is_missing_of_another_zone(tmp_path: Path) -> None:
    href = masked_file(tmp_path / "a.tif", None, "EPSG:32632")
    with rasterio.open(href) as dataset:
        west, south, east, north = transform_bounds("EPSG:32632", f"EPSG:{EPSG}", *dataset.bounds)
        spec = RasterSpec(EPSG, (west, south, east, north), (10.0, 10.0))
        window = Window(0, 0, int((east - west) // 10), int((north - south) // 10))
        args = (spec, window, Resampling.bilinear)
        values = warp_masked(dataset, Raster(href, positive=True), *args)
        plain = warp_masked(dataset, Raster(href, nodata=5), *args)
    assert set(np.unique(values[np.isfinite(values)])) == {7.0}
    assert 0.3 < np.isfinite(values).mean() < 0.5  # the file is turned within the box
    np.testing.assert_array_equal(values, plain)


def test_classes_that_a_file_masks_have_no_data(tmp_path: Path) -> None:
    raster = Raster(masked_file(tmp_path / "a.tif", None))
    reader = LayerReader(
        url=Layer(()),
        spec=make_spec(0, 0),
        resampling=Resampling.nearest,
        dtype=np.dtype("uint8"),
        fill_value=0,
    )
    window = Window(0, 0, SIDE, SIDE)
    classes = reader._read_raster("item", raster, window, Resampling.nearest, 3)
    assert classes is not None
    np.testing.assert_array_equal(classes[0], np.where(np.arange(SIDE) >= SIDE // 2, 7, 3))


def test_a_nodata_value_is_no_mask(tmp_path: Path) -> None:
    values, place = np.ones((4, 4), np.float32), Affine(10, 0, LEFT, 0, -10, TOP)
    for nodata in (None, 0, np.nan):
        with rasterio.open(write(tmp_path / "a.tif", values, place, nodata=nodata)) as dataset:
            assert not has_mask(dataset)
    with rasterio.open(masked_file(tmp_path / "b.tif", 0)) as dataset:
        assert has_mask(dataset)
