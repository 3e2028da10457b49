"""Top-of-atmosphere reflectance and temperature, against published results and by reading."""

from __future__ import annotations

import functools
import http.server
import math
import os
import threading
from pathlib import Path

import numpy as np
import pytest
import rasterio
from hypothesis import given
from hypothesis import strategies as st
from rasterio.enums import Resampling
from rasterio.transform import from_origin
from rasterio.warp import transform
from rasterio.windows import Window
from stackstac.raster_spec import RasterSpec

from gssm.describe import Raster
from gssm.errors import ItemError, ReadError
from gssm.level1 import SENTINEL2_BANDS, Mtl, parse_mtd, parse_mtl
from gssm.opened import opened
from gssm.toa import (
    brightness_temperature,
    landsat_toa,
    read_landsat_toa,
    sentinel2_toa,
    toa_reflectance,
)
from gssm.warp import read_parallel
from imagery import EPSG, LEFT, TOP, utm_grid, write_tif

# Published results are float32, and so are ours: half a unit in the last place of 0.6 and of
# 300 K, twice.
REFLECTANCE_TOLERANCE, KELVIN_TOLERANCE = 1.2e-7, 1e-4
MTL = Mtl(
    product="LC08_SIMULATED",
    spacecraft="LANDSAT_8",
    sun_elevation=30.0,
    reflectance={"4": (2e-5, -0.1)},
    radiance={"4": (1e-2, -50.0), "10": (3.342e-4, 0.1)},
    thermal={"10": (774.8853, 1321.0789)},
)
# Layout of Collection 1, which had other names of groups than Collection 2.
MTL_TEXT = """GROUP = L1_METADATA_FILE
  GROUP = METADATA_FILE_INFO
    LANDSAT_PRODUCT_ID = "LC08_SIMULATED"
  END_GROUP = METADATA_FILE_INFO
  GROUP = PRODUCT_METADATA
    DATA_TYPE = "L1TP"
    SPACECRAFT_ID = "{spacecraft}"
  END_GROUP = PRODUCT_METADATA
  GROUP = IMAGE_ATTRIBUTES
    SUN_ELEVATION = {sun_elevation}
  END_GROUP = IMAGE_ATTRIBUTES
  GROUP = RADIOMETRIC_RESCALING
    RADIANCE_MULT_BAND_10 = 3.3420E-04
    RADIANCE_ADD_BAND_10 = 0.10000
    REFLECTANCE_MULT_BAND_4 = 2.0000E-05
    REFLECTANCE_ADD_BAND_4 = -0.100000
  END_GROUP = RADIOMETRIC_RESCALING
  GROUP = TIRS_THERMAL_CONSTANTS
    K1_CONSTANT_BAND_10 = 774.8853
    K2_CONSTANT_BAND_10 = 1321.0789
  END_GROUP = TIRS_THERMAL_CONSTANTS
END_GROUP = L1_METADATA_FILE
END
"""


def mtl_text(spacecraft="LANDSAT_8", sun_elevation=30.0):
    return MTL_TEXT.format(spacecraft=spacecraft, sun_elevation=sun_elevation)


# The bands of each file, in its order. The formula is that of every Landsat; reading is not.
LANDSAT = {
    "LC08_L1TP_193024_20200509_20200509_01_RT": "1 2 3 4 5 6 7 9 10 11",
    "LE07_L1TP_193024_20100420_20161215_01_T1": "1 2 3 4 5 6_VCID_1 6_VCID_2 7",
    "LT05_L1TP_193024_20050516_20161127_01_T1": "1 2 3 4 5 6 7",
}
SENTINEL2 = {
    "S2B_MSIL1C_20200406T101559_N0209_R065_T32UPC_20200406T130159": 0,
    "S2B_MSIL1C_20220615T101559_N0400_R065_T32UPC_20220615T122549": -1000,
}


def bands_of(path):
    with rasterio.open(path) as file:
        return file.read()


@pytest.mark.parametrize("scene", LANDSAT)
def test_landsat_is_what_was_published_for_it(test_data, scene):
    folder = test_data / "scenes" / "toa_expected"
    mtl = parse_mtl((folder / f"{scene}_MTL.txt").read_text())
    numbers, expected = bands_of(folder / f"{scene}.tif"), bands_of(folder / f"{scene}_toa.tif")
    for dn, values, band in zip(numbers, expected, LANDSAT[scene].split(), strict=True):
        assert (dn > 0).all()
        tolerance = KELVIN_TOLERANCE if band in mtl.thermal else REFLECTANCE_TOLERANCE
        np.testing.assert_allclose(landsat_toa(dn, mtl, band), values, rtol=0, atol=tolerance)


@pytest.mark.parametrize(("scene", "offset"), SENTINEL2.items())
def test_sentinel_2_is_what_was_published_for_it(test_data, scene, offset):
    folder = test_data / "scenes" / "toa_expected"
    mtd = parse_mtd((folder / f"{scene}_MTD.xml").read_text())
    numbers, expected = bands_of(folder / f"{scene}.tif"), bands_of(folder / f"{scene}_toa.tif")
    assert set(mtd.offsets.values()) == {offset}
    for dn, values, band in zip(numbers, expected, SENTINEL2_BANDS, strict=True):
        found = sentinel2_toa(dn, mtd.offsets[band], mtd.quantification)
        # The published scene before 04.00 has reflectance 0 where the DN says no data.
        np.testing.assert_array_equal(np.isnan(found), dn == 0)
        np.testing.assert_allclose(
            found[dn > 0], values[dn > 0], rtol=0, atol=REFLECTANCE_TOLERANCE
        )
        scale, addend = mtd.scale_offset(band)
        np.testing.assert_allclose(found[dn > 0], dn[dn > 0] * scale + addend, atol=1e-6)


def test_the_sun_at_30_degrees_halves_the_light():
    dn = np.array([0, 1, 10_000, 65_535], np.uint16)
    expected = [np.nan, (2e-5 - 0.1) * 2, 0.2, (65_535 * 2e-5 - 0.1) * 2]
    np.testing.assert_allclose(toa_reflectance(dn, MTL, "4"), expected, atol=1e-6)
    assert dn[0] == 0, "the input is not changed"


@given(st.floats(180, 350))
def test_temperature_is_the_inverse_of_the_radiance_of_a_black_body(kelvin):
    K1, K2 = MTL.thermal["10"]
    gain, addend = MTL.radiance["10"]
    dn = np.array([(K1 / (math.exp(K2 / kelvin) - 1) - addend) / gain])
    assert brightness_temperature(dn, MTL, "10")[0] == pytest.approx(kelvin, abs=1e-3)


def test_no_radiance_is_no_temperature():
    night = Mtl("N", "LANDSAT_8", 30.0, {}, {"10": (1.0, -5.0)}, MTL.thermal)
    found = brightness_temperature(np.array([0.0, 1, 5, 6, np.nan]), night, "10")
    np.testing.assert_array_equal(np.isnan(found), [True, True, True, False, True])


@pytest.mark.parametrize("sun_elevation", [-3.0, 0.0, 120.0])
def test_a_scene_without_sun_has_no_reflectance(sun_elevation):
    night = Mtl("LC08_NIGHT", "LANDSAT_8", sun_elevation, MTL.reflectance, {}, {})
    with pytest.raises(ItemError, match="LC08_NIGHT has SUN_ELEVATION"):
        toa_reflectance(np.ones(1), night, "4")


@pytest.mark.parametrize(
    ("convert", "band"),
    [(toa_reflectance, "10"), (brightness_temperature, "4"), (brightness_temperature, "11")],
)
def test_a_band_that_the_mtl_does_not_describe_is_refused(convert, band):
    with pytest.raises(ItemError, match=f"of band '{band}', only of"):
        convert(np.ones(1), MTL, band)


# ------------------------------------------------------------------------ reading


def spec_of(grid):
    bounds = grid.boundingbox.bbox
    return RasterSpec(EPSG, bounds, (grid.resolution.x, grid.resolution.x))


def level1(tmp_path, dn, band, *, mtl=None, name="band.tif", size=30, **profile):
    path = tmp_path / "LC08_MTL.txt"
    path.write_text(mtl or mtl_text())
    href = write_tif(tmp_path / name, dn, size=size, **profile)
    sidecars = (("mtl", str(path)), ("band", band))
    return Raster(href, kind="landsat_toa", nodata=0, sidecars=sidecars)


def read(raster, grid, resampling=Resampling.bilinear):
    rows, columns = grid.shape
    return read_landsat_toa(raster, spec_of(grid), Window(0, 0, columns, rows), resampling)


def random_dn(rows=8, columns=8):
    return np.random.default_rng(3).integers(20_000, 30_000, (rows, columns)).astype(np.uint16)


@pytest.mark.parametrize("band", ["4", "10"])
@pytest.mark.parametrize("resampling", [Resampling.nearest, Resampling.bilinear])
def test_on_its_own_grid_a_band_is_the_formula(tmp_path, band, resampling):
    dn = random_dn()
    dn[2, 3] = 0
    found = read(level1(tmp_path, dn, band), utm_grid(8, 8, 30), resampling)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, landsat_toa(dn, MTL, band), rtol=1e-6)
    assert np.isnan(found[2, 3])


def test_reflectance_is_the_same_whether_converted_before_or_after_resampling(tmp_path):
    dn = random_dn()
    after = read(level1(tmp_path, dn, "4"), utm_grid(24, 24, 10))
    before = level1(tmp_path, toa_reflectance(dn, MTL, "4"), "4", name="reflectance.tif")
    place = (spec_of(utm_grid(24, 24, 10)), Window(0, 0, 24, 24), Resampling.bilinear)
    resampled = read_parallel(opened(before.href).dataset, Raster(before.href), *place, np.nan)
    np.testing.assert_allclose(after, resampled, atol=1e-6)


def test_between_hot_and_cold_the_radiance_is_averaged(tmp_path):
    dn = np.array([[15_000, 35_000]], np.uint16)
    found = read(level1(tmp_path, dn, "10"), utm_grid(1, 1, 60, dy=15), Resampling.average)
    mean = brightness_temperature(np.array([25_000]), MTL, "10")[0]
    of_temperatures = brightness_temperature(dn, MTL, "10").mean()
    assert found.item() == pytest.approx(mean, abs=1e-3)
    assert abs(mean - of_temperatures) > 0.5


@pytest.mark.parametrize("band", ["4", "10"])
@pytest.mark.parametrize("resampling", [Resampling.bilinear, Resampling.average])
def test_a_pixel_is_the_same_whatever_window_it_is_read_through(tmp_path, band, resampling):
    dn = random_dn()
    dn[4, :2] = 0
    raster, grid = level1(tmp_path, dn, band), utm_grid(24, 24, 10, dx=5, dy=-5)
    whole = read(raster, grid, resampling)
    for row, column in np.ndindex(3, 2):
        window = Window(12 * column, 8 * row, 12, 8)
        part = read_landsat_toa(raster, spec_of(grid), window, resampling)
        np.testing.assert_allclose(part, whole[window.toslices()], rtol=1e-5)


def test_an_image_of_the_neighbouring_zone_lies_where_it_belongs(tmp_path):
    """A slope across zone 32, read on the grid of zone 31: each pixel has the slope there."""
    (left,), (top,) = transform(f"EPSG:{EPSG}", "EPSG:32632", [LEFT], [TOP])
    rows, columns = np.indices((60, 60))
    dn = (20_000 + 50 * columns - 30 * rows).astype(np.uint16)
    place = from_origin(left - 900, top + 900, 30, 30)
    path = tmp_path / "zone32.tif"
    kind = {"driver": "GTiff", "count": 1, "dtype": "uint16", "height": 60, "width": 60}
    with rasterio.open(path, "w", crs="EPSG:32632", transform=place, **kind) as file:
        file.write(dn, 1)
    raster = Raster(str(path), sidecars=level1(tmp_path, dn, "4").sidecars)
    grid = utm_grid(24, 24, 10)
    x, y = np.meshgrid(LEFT + 5 + 10 * np.arange(24), TOP - 5 - 10 * np.arange(24))
    there = transform(f"EPSG:{EPSG}", "EPSG:32632", x.ravel().tolist(), y.ravel().tolist())
    column, row = ~place @ (np.array(there[0]), np.array(there[1]))
    slope = (20_000 + 50 * (column - 0.5) - 30 * (row - 0.5)).reshape(24, 24)
    np.testing.assert_allclose(read(raster, grid), toa_reflectance(slope, MTL, "4"), atol=1e-5)


@pytest.mark.parametrize("stated", [None, 65_535])
@pytest.mark.parametrize("dx", [0, 7])
def test_fill_is_a_gap_whatever_nodata_the_file_states(tmp_path, stated, dx):
    dn = np.full((8, 8), 25_000, np.uint16)
    dn[:, :3] = 0
    raster = level1(tmp_path, dn, "4", nodata=stated)
    found = read(raster, utm_grid(24, 24, 10, dx=dx))
    seen = found[np.isfinite(found)]
    assert 0.5 < seen.size / found.size < 0.75
    np.testing.assert_allclose(seen, toa_reflectance(dn[:1, -1:], MTL, "4").item(), rtol=1e-6)


@pytest.mark.parametrize(
    ("band", "change", "reason"),
    [
        ("4", {"spacecraft": "LANDSAT_7"}, "of LANDSAT_7, whose band numbers mean other"),
        ("4", {"sun_elevation": -10}, "SUN_ELEVATION -10"),
        ("4", {"sun_elevation": "unknown"}, "SUN_ELEVATION 'unknown'"),
        ("5", {}, "of band '5', only of 4"),
    ],
)
def test_metadata_that_do_not_fit_are_an_error_of_reading(tmp_path, band, change, reason):
    raster = level1(tmp_path, random_dn(), band, mtl=mtl_text(**change))
    with pytest.raises(OSError, match=reason):
        read(raster, utm_grid(8, 8, 30))


@pytest.mark.parametrize("sidecars", [(), (("mtl", "x"),), (("band", "4"),)])
def test_a_raster_without_its_sidecars_is_refused(tmp_path, sidecars):
    raster = Raster(level1(tmp_path, random_dn(), "4").href, sidecars=sidecars)
    with pytest.raises(ReadError, match="needs mtl and band"):
        read(raster, utm_grid(8, 8, 30))


@pytest.mark.parametrize("href", ["/nowhere/MTL.txt", "/vsizip/MTL.txt", "ftp://host/MTL.txt"])
def test_an_mtl_that_cannot_be_opened_is_an_error_of_reading(tmp_path, href):
    image = level1(tmp_path, random_dn(), "4").href
    raster = Raster(image, sidecars=(("mtl", href), ("band", "4")))
    with pytest.raises(OSError):  # noqa: PT011
        read(raster, utm_grid(8, 8, 30))


class Counting(http.server.SimpleHTTPRequestHandler):
    """Serves a folder and counts the requests; the first is refused."""

    requests = 0

    def do_GET(self):
        type(self).requests += 1
        if self.requests == 1:
            self.send_error(503)
        else:
            super().do_GET()

    def log_message(self, *_):
        pass


def test_an_mtl_on_a_server_is_fetched_once_for_all_threads(tmp_path, monkeypatch):
    monkeypatch.setenv("GSSM_NETWORKS", "loopback")
    local = level1(tmp_path, random_dn(), "4")
    handler = functools.partial(Counting, directory=str(tmp_path))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        href = f"http://127.0.0.1:{server.server_port}/{Path(local.sidecars[0][1]).name}"
        raster = Raster(local.href, sidecars=(("mtl", href), ("band", "4")))
        grid = utm_grid(8, 8, 30)
        try:
            with pytest.raises(OSError, match="503"):
                read(raster, grid)
            results = []
            readers = [
                threading.Thread(target=lambda: results.append(read(raster, grid)))
                for _ in range(4)
            ]
            for reader in readers:
                reader.start()
            for reader in readers:
                reader.join()
        finally:
            server.shutdown()
            thread.join()
    assert len(results) == 4
    assert Counting.requests == 2, "one refused, one answered"
    np.testing.assert_array_equal(results[0], read(local, grid))


def test_an_mtl_that_was_written_anew_is_read_anew(tmp_path):
    grid = utm_grid(8, 8, 30)
    raster = level1(tmp_path, random_dn(), "4")
    low = read(raster, grid)
    path = Path(raster.sidecars[0][1])
    path.write_text(mtl_text(sun_elevation=90))
    os.utime(path, (1, 1))
    np.testing.assert_allclose(read(raster, grid), low / 2, rtol=1e-6)


def test_outside_the_image_there_is_nothing(tmp_path):
    found = read(level1(tmp_path, random_dn(), "4"), utm_grid(4, 4, 30, dx=3_000))
    assert np.isnan(found).all()
