from __future__ import annotations

from pathlib import Path
from typing import Any

import dask.array as da
import numpy as np
import pytest
import rasterio
import xarray as xr
from hypothesis import given, settings
from hypothesis import strategies as st

from cubes import make_cube
from gssm.errors import CubeError, MissingVariableError, RequestError
from gssm.speckle import LOOKS, filter_speckle
from helpers import no_compute

METHODS = ("lee", "multitemporal")
Values = np.ndarray[Any, Any]


def cube_of(values: Values, **chunks: int) -> xr.Dataset:
    """A cube of vv alone."""
    cube = xr.Dataset({"vv": (("time", "y", "x"), values.astype(np.float32), {"units": "1"})})
    return cube.chunk(chunks) if chunks else cube


def speckled(signal: Values, seed: int = 0, looks: float = LOOKS) -> Values:
    """Fully developed speckle of that many looks on a signal."""
    return np.asarray(signal * np.random.default_rng(seed).gamma(looks, 1 / looks, signal.shape))


def windows(image: Values, size: int) -> list[list[Values]]:
    """The valid values of the window around each pixel, plainly."""
    half, (rows, columns) = size // 2, image.shape
    cut = [
        [image[max(0, i - half) : i + half + 1, max(0, j - half) : j + half + 1] for j in columns_]
        for i, columns_ in ((i, range(columns)) for i in range(rows))
    ]
    return [[w[np.isfinite(w)].astype(np.float64) for w in row] for row in cut]


def test_lee_is_its_formula() -> None:
    values = speckled(np.full((1, 9, 11), 0.1))
    values[0, 2:5, 3] = np.nan
    seen = filter_speckle(cube_of(values), size=5, looks=4.0)["vv"].values[0]
    image = values[0].astype(np.float32)
    for i, row in enumerate(windows(image, 5)):
        for j, w in enumerate(row):
            signal = max(w.var() - w.mean() ** 2 / 4, 0) / (1 + 1 / 4)
            expected = w.mean() + signal / w.var() * (image[i, j] - w.mean())
            np.testing.assert_allclose(seen[i, j], expected, rtol=1e-5)


def test_multitemporal_is_its_formula() -> None:
    values = speckled(np.full((4, 7, 8), 0.1) * np.array([1, 2, 0.5, 3])[:, None, None])
    values[1, 2:5, 3] = np.nan
    values[:, 0, 0] = np.nan
    images = values.astype(np.float32)
    seen = filter_speckle(cube_of(values), method="multitemporal", size=3)["vv"].values
    means = np.array(
        [
            [[w.mean() if w.size else np.nan for w in r] for r in windows(image, 3)]
            for image in images
        ]
    )
    means[np.isnan(images)] = np.nan
    known = np.isfinite(images)
    total = np.where(known, images / means, 0).sum(0)
    expected = means * total / np.maximum(known.sum(0), 1)
    np.testing.assert_allclose(seen, expected, rtol=1e-5)


@pytest.mark.parametrize("method", METHODS)
@settings(max_examples=8)
@given(
    chunks=st.tuples(st.integers(1, 3), st.integers(1, 12), st.integers(1, 14)),
    size=st.sampled_from([3, 5, 7]),
    seed=st.integers(0, 99),
)
def test_chunks_change_no_digit(
    method: str, chunks: tuple[int, int, int], size: int, seed: int
) -> None:
    random = np.random.default_rng(seed)
    values = speckled(np.full((3, 9, 11), 0.1), seed)
    values[random.random(values.shape) < 0.2] = np.nan
    whole = filter_speckle(cube_of(values), method=method, size=size)
    time, y, x = chunks
    with no_compute():
        parts = filter_speckle(cube_of(values, time=time, y=y, x=x), method=method, size=size)
    assert isinstance(parts["vv"].data, da.Array)
    assert parts["vv"].dtype == whole["vv"].dtype == np.float32
    xr.testing.assert_identical(parts.compute(scheduler="synchronous"), whole)


@pytest.mark.parametrize("method", METHODS)
@settings(max_examples=8)
@given(factor=st.sampled_from([0.25, 2.0, 64.0]), missing=st.floats(0, 0.9))
def test_scales_with_power_and_keeps_gaps(method: str, factor: float, missing: float) -> None:
    values = speckled(np.full((3, 12, 12), 0.1)).astype(np.float32)
    values[np.random.default_rng(1).random(values.shape) < missing] = np.nan
    seen = filter_speckle(cube_of(values), method=method)["vv"].values
    np.testing.assert_array_equal(np.isnan(seen), np.isnan(values))
    known = seen[np.isfinite(seen)]
    assert (known >= 0).all()
    scaled = filter_speckle(cube_of(values * np.float32(factor)), method=method)["vv"].values
    np.testing.assert_allclose(scaled, seen * factor, rtol=1e-5)


@pytest.mark.parametrize("method", METHODS)
def test_even_ground_stays_and_speckle_falls(method: str) -> None:
    flat = np.full((8, 60, 60), 0.1)
    np.testing.assert_allclose(filter_speckle(cube_of(flat), method=method)["vv"], 0.1, rtol=1e-5)
    noisy = speckled(flat)
    seen = filter_speckle(cube_of(noisy), method=method)["vv"].values
    looks = seen.mean() ** 2 / seen.var()
    assert looks > 4 * LOOKS
    np.testing.assert_allclose(seen.mean(), noisy.mean(), rtol=0.02)


def test_a_bright_point_stays_sharp() -> None:
    flat = np.full((8, 31, 31), 0.05)
    flat[:, 15, 15] = 20.0
    noisy = speckled(flat)
    for method in METHODS:
        seen = filter_speckle(cube_of(noisy), method=method)["vv"].values
        assert (seen[:, 15, 15] > 10 * seen[:, 14, 15]).all()


def test_zero_power_is_kept() -> None:
    for method in METHODS:
        seen = filter_speckle(cube_of(np.zeros((2, 6, 6))), method=method)["vv"]
        assert (seen == 0).all()


def test_other_variables_attributes_and_the_input_stay() -> None:
    cube = make_cube()
    before = cube.copy(deep=True)
    seen = filter_speckle(cube, method="multitemporal", size=3)
    xr.testing.assert_identical(cube, before)
    assert list(seen.data_vars) == list(cube.data_vars)
    xr.testing.assert_identical(seen.drop_vars(["vv", "vh"]), cube.drop_vars(["vv", "vh"]))
    for name in ("vv", "vh"):
        assert seen[name].dims == ("time", "y", "x")
        assert seen[name].attrs.pop("speckle_filter") == "Quegan and Yu, 3 x 3"
        assert str(seen[name].attrs) == str(cube[name].attrs)


def test_dimensions_in_any_order() -> None:
    cube = cube_of(speckled(np.full((2, 9, 7), 0.1)))
    seen = filter_speckle(cube.transpose("x", "time", "y"))
    xr.testing.assert_identical(seen.transpose("time", "y", "x"), filter_speckle(cube))
    one = cube.isel(time=0)
    np.testing.assert_array_equal(filter_speckle(one)["vv"], filter_speckle(cube)["vv"][0])


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"method": "frost"}, "there is no speckle filter 'frost'"),
        ({"size": 4}, "not an odd number"),
        ({"size": 1}, "not an odd number"),
        ({"size": 5.0}, "not an odd number"),
        ({"looks": 0}, "not a positive number"),
        ({"looks": float("nan")}, "not a positive number"),
        ({"looks": "4"}, "not a positive number"),
    ],
)
def test_bad_options(options: dict[str, Any], reason: str) -> None:
    with pytest.raises(RequestError, match=reason):
        filter_speckle(make_cube(), **options)


def test_unusable_cubes() -> None:
    cube = make_cube()
    decibel = cube.copy()
    decibel["vh"] = (10 * np.log10(cube["vh"])).assign_attrs(units="dB")
    with pytest.raises(CubeError, match="'vh' has units 'dB'"):
        filter_speckle(decibel)
    unlabelled = cube.copy()
    unlabelled["vv"] = cube["vv"].assign_attrs(units=None)
    with pytest.raises(CubeError, match="'vv' has units None"):
        filter_speckle(unlabelled)
    with pytest.raises(MissingVariableError, match="neither vv nor vh"):
        filter_speckle(cube.drop_vars(["vv", "vh"]))
    with pytest.raises(CubeError, match="lacks the dimension 'time'"):
        filter_speckle(cube.isel(time=0), method="multitemporal")
    with pytest.raises(CubeError, match="filtered already"):
        filter_speckle(filter_speckle(cube))


def test_real_radar_gets_smoother_and_keeps_its_mean(flanders: Path) -> None:
    paths = sorted((flanders / "sentinel-1-sigma0").glob("*/vv.tif"))[:12]
    images = []
    for path in paths:
        with rasterio.open(path) as file:
            image = file.read(1)
            images.append(np.where(image > 0, image, np.nan))
    cube = cube_of(np.stack(images))
    for method in METHODS:
        seen = filter_speckle(cube, method=method, size=5)["vv"]
        np.testing.assert_allclose(seen.mean(), cube["vv"].mean(), rtol=0.05)
        assert (seen.std(("y", "x")) < cube["vv"].std(("y", "x"))).all()
