"""Sentinel-1 GRD: a simulated scene of known sigma0 comes back, in its value and its place."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
from pyproj import Transformer
from rasterio.enums import Resampling
from rasterio.errors import RasterioIOError
from rasterio.transform import GCPTransformer
from rasterio.windows import Window
from stackstac.raster_spec import RasterSpec

import grd_scene
from grd_scene import Flight, digital_numbers, places, write_scene
from gssm.annotation import parse_annotation
from gssm.describe import Raster
from gssm.geolocation import fit_geolocation, locate
from gssm.grd import border, read_grd, read_grd_angle

Array = np.ndarray[Any, Any]
AVERAGE = Resampling.average

FLIGHTS = [
    Flight(),
    Flight(orbit_state="ascending"),
    Flight(179.995, -17.2, "ascending"),
    Flight(-179.99, 68.0, "descending"),
    Flight(28.1, -26.0, "descending", height=1600.0),
    Flight(-60.0, -0.01, "ascending", height=0.0, angle=44.0),
]
everywhere = pytest.mark.parametrize(
    "flight", FLIGHTS, ids=lambda f: f"{f.orbit_state}{f.longitude:+.0f}{f.latitude:+.0f}"
)


def utm(flight: Flight) -> int:
    zone = int((flight.longitude + 180) // 6) % 60 + 1
    return (32600 if flight.latitude >= 0 else 32700) + zone


def spec_of(flight: Flight, side: int = 200, resolution: float = 10.0) -> RasterSpec:
    """Grid of some pixels around the middle of the scene, in the zone of its centre."""
    to_utm = Transformer.from_crs("EPSG:4326", f"EPSG:{utm(flight)}", always_xy=True)
    middle = [(size - 1) / 2 for size in flight.shape]
    longitude, latitude, _ = places(flight, *map(np.float64, middle), flight.height)
    x, y = to_utm.transform(longitude, latitude)
    half = side * resolution / 2
    left, top = np.round((x - half) / 10) * 10, np.round((y + half) / 10) * 10
    bounds = (left, top - side * resolution, left + side * resolution, top)
    return RasterSpec(utm(flight), bounds, (resolution, resolution))


def whole(spec: RasterSpec) -> Window:
    return Window(0, 0, spec.shape[1], spec.shape[0])


def plane(flight: Flight) -> tuple[Array, Array]:
    """Easting and northing of each pixel of the image."""
    line, pixel = np.indices(flight.shape)
    longitude, latitude, _ = places(flight, line, pixel, flight.height)
    to_utm = Transformer.from_crs("EPSG:4326", f"EPSG:{utm(flight)}", always_xy=True)
    x, y = to_utm.transform(longitude, latitude)
    return np.asarray(x), np.asarray(y)


def raster(written: tuple[str, Any], **options: Any) -> Raster:
    return Raster(written[0], kind="grd", sidecars=written[1], **options)


def constant(flight: Flight, sigma0: float = 0.05) -> Array:
    return np.full(flight.shape, sigma0)


# --- value and place ------------------------------------------------------------------------


@everywhere
def test_pixels_are_in_their_place(tmp_path: Path, flight: Flight) -> None:
    # The image says where it is: sigma0 is a ramp of easting, and of northing.
    spec = spec_of(flight)
    left, bottom, right, top = spec.bounds
    x = left + 10 * (np.arange(200) + 0.5)
    y = top - 10 * (np.arange(200) + 0.5)
    truth = np.meshgrid(x, y)
    for name, seen_at, axis in zip("xy", plane(flight), truth, strict=True):
        middle = (left + right) / 2 if name == "x" else (bottom + top) / 2
        # Bright, so that whole digital numbers tell centimetres.
        sigma0 = 200 + (seen_at - middle) / 40
        written = write_scene(tmp_path / name, flight, digital_numbers(flight, sigma0))
        seen = read_grd(raster(written), spec, whole(spec), AVERAGE)
        assert np.isfinite(seen).all()
        away = (seen.astype(float) - 200) * 40 + middle - axis
        tiles = away.reshape(10, 20, 10, 20).mean(axis=(1, 3))
        assert np.abs(tiles).max() < 1.0  # metres, a tenth of a pixel
        assert np.abs(away).max() < 5.0


@pytest.mark.parametrize("looks", [None, 4.4])
@everywhere
def test_means_of_fields_come_back(tmp_path: Path, flight: Flight, looks: float | None) -> None:
    # Fields of 30 x 30 pixels, from -9 dB to -25 dB: about as faint as the noise.
    i, j = np.indices(flight.shape)
    levels = 10 ** (-np.array([9, 13, 17, 21, 25]) / 10)
    sigma0 = levels[(i // 30 + j // 30) % 5]
    number = digital_numbers(flight, sigma0, looks=looks)
    written = write_scene(tmp_path, flight, number)
    spec = spec_of(flight, side=240)
    seen = read_grd(raster(written), spec, whole(spec), AVERAGE)
    where = read_grd(
        raster(write_scene(tmp_path / "k", flight, digital_numbers(flight, sigma0 * 1e3))),
        spec,
        whole(spec),
        AVERAGE,
    )
    for level in levels:
        field = np.abs(where / (level * 1e3) - 1) < 0.02
        assert np.count_nonzero(field) > 3000
        decibel = 10 * np.log10(seen[field].mean(dtype=float) / level)
        assert abs(decibel) < 0.05 if looks else abs(decibel) < 0.005


def test_without_speckle_the_value_is_exact(tmp_path: Path) -> None:
    flight = Flight()
    for sigma0 in (0.3, 0.05, 0.004):
        number = digital_numbers(flight, constant(flight, sigma0))
        written = write_scene(tmp_path / str(sigma0), flight, number)
        spec = spec_of(flight)
        seen = read_grd(raster(written), spec, whole(spec), AVERAGE)
        assert abs(10 * np.log10(seen.mean(dtype=float) / sigma0)) < 0.005


def test_an_average_of_a_coarse_grid_is_of_power(tmp_path: Path) -> None:
    flight = Flight()
    i, j = np.indices(flight.shape)
    sigma0 = np.where((i + j) % 2, 1.9, 0.1)  # mean 1, of decibels -3.6 dB
    written = write_scene(tmp_path, flight, digital_numbers(flight, sigma0))
    spec = spec_of(flight, side=20, resolution=100)
    seen = read_grd(raster(written), spec, whole(spec), AVERAGE)
    # The worst of all images: every other pixel bright. Points weigh pixels to a few percent.
    np.testing.assert_allclose(seen, 1, rtol=0.06)
    assert abs(seen.mean() - 1) < 0.003


def test_faint_pixels_stay_below_zero_until_they_are_dropped(tmp_path: Path) -> None:
    # Nothing but noise: half of it is below its mean, and no average may lean upwards.
    flight = Flight()
    number = digital_numbers(flight, constant(flight, 0), looks=4.4)
    written = write_scene(tmp_path, flight, number)
    spec = spec_of(flight)
    kept = read_grd(raster(written), spec, whole(spec), AVERAGE)
    assert (kept < 0).mean() > 0.3
    assert abs(kept.mean(dtype=float)) < 3e-5
    dropped = read_grd(raster(written, positive=True), spec, whole(spec), AVERAGE)
    np.testing.assert_array_equal(np.isnan(dropped), kept <= 0)


def test_what_the_processor_has_denoised_is_not_denoised_again(tmp_path: Path) -> None:
    flight = Flight()
    line, pixel = (a.astype(float) for a in np.indices(flight.shape))
    number = np.round(np.sqrt(0.05) * grd_scene.amplitude(line, pixel))
    path, sidecars = write_scene(tmp_path, flight, number, denoised=True)
    spec = spec_of(flight)
    without_noise = raster((path, sidecars[:2]))
    seen = read_grd(without_noise, spec, whole(spec), AVERAGE)
    np.testing.assert_allclose(seen, 0.05, rtol=0.02)


# --- windows ----------------------------------------------------------------------------------


@pytest.mark.parametrize("resolution", [10.0, 3.0, 37.0, 500.0])
def test_a_window_is_a_part_of_the_whole(tmp_path: Path, resolution: float) -> None:
    flight = Flight(orbit_state="ascending")
    random = np.random.default_rng(0)
    sigma0 = random.gamma(1, 0.1, flight.shape)
    number = digital_numbers(flight, sigma0)
    number[:, :40] = 0
    number[380:, 300:] = 0
    written = write_scene(tmp_path, flight, number)
    side = max(12, int(5600 / resolution))
    spec = spec_of(flight, min(side, 560), resolution)
    side = spec.shape[0]
    values = read_grd(raster(written), spec, whole(spec), AVERAGE)
    angle = Raster(dict(written[1])["annotation"], kind="grd_angle")
    angles = read_grd_angle(angle, spec, whole(spec), Resampling.bilinear)
    assert np.isnan(values).any() != (resolution == 3.0)
    for top, left, height, width in random.integers(1, side // 2 + 1, (12, 4)):
        window = Window(left, top, width, height)
        part = read_grd(raster(written), spec, window, AVERAGE)
        np.testing.assert_array_equal(part, values[window.toslices()])
        part = read_grd_angle(angle, spec, window, Resampling.bilinear)
        np.testing.assert_array_equal(part, angles[window.toslices()])


def test_parts_that_are_read_one_by_one_make_the_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    flight = Flight()
    sigma0 = np.random.default_rng(0).gamma(1, 0.1, flight.shape)
    written = write_scene(tmp_path, flight, digital_numbers(flight, sigma0))
    spec = spec_of(flight)
    expected = read_grd(raster(written), spec, whole(spec), AVERAGE)
    monkeypatch.setattr("gssm.grd.MOST_PIXELS", 900)
    np.testing.assert_array_equal(read_grd(raster(written), spec, whole(spec), AVERAGE), expected)


def test_far_from_the_scene_there_is_nothing(tmp_path: Path) -> None:
    flight = Flight()
    written = write_scene(tmp_path, flight, digital_numbers(flight, constant(flight)))
    angle = Raster(dict(written[1])["annotation"], kind="grd_angle")
    for longitude in (3.4, 9.0, -170.0):
        spec = spec_of(replace(flight, longitude=longitude), side=40)
        assert np.isnan(read_grd(raster(written), spec, whole(spec), AVERAGE)).all()
        assert np.isnan(read_grd_angle(angle, spec, whole(spec), AVERAGE)).all()


# --- borders ----------------------------------------------------------------------------------


def test_zero_filled_borders_and_what_is_beside_them_are_dropped(tmp_path: Path) -> None:
    flight = Flight(ties=(6, 6))
    number = digital_numbers(flight, constant(flight))
    number[:, :100] = 0
    number[200:203, 300] = 0  # measurements, if very dark ones
    written = write_scene(tmp_path, flight, number)
    spec = spec_of(flight, side=640)
    seen = read_grd(raster(written), spec, whole(spec), AVERAGE)
    inside = np.isfinite(seen)
    # To the pixel and a half: the image has 420 x 500 of the same size as the grid's.
    assert abs(inside.sum() - 420 * (400 - 3)) < 1.5 * (2 * 420 + 2 * 400)
    assert seen[inside].min() < 0.04  # the dark pixels take part
    assert np.median(seen[inside]) == pytest.approx(0.05, rel=0.01)


def test_the_edge_of_the_file_is_no_border() -> None:
    zero = np.zeros((20, 20), bool)
    zero[:4, :5] = True
    zero[10, 10] = True
    seen = border(zero)
    assert seen[:7, :8].all()
    assert not seen[7:].any()
    assert not seen[:, 8:].any()
    assert not border(np.zeros((3, 3), bool)).any()


def test_border_noise_of_old_products_is_dropped(tmp_path: Path) -> None:
    flight = Flight()
    number = digital_numbers(flight, constant(flight), looks=4.4, before_2_9=True)
    dark = np.random.default_rng(1).integers(0, 20, (flight.shape[0], 60))
    number[:, :60] = dark
    written = write_scene(tmp_path, flight, number, before_2_9=True)
    spec = spec_of(flight, side=600)
    seen = read_grd(raster(written), spec, whole(spec), AVERAGE)
    inside = np.isfinite(seen)
    assert 420 * 425 < inside.sum() < 420 * 442
    assert seen[inside].mean() == pytest.approx(0.05, rel=0.01)


# --- incidence angle ---------------------------------------------------------------------------


@everywhere
def test_incidence_angle_of_the_simulated_flight(tmp_path: Path, flight: Flight) -> None:
    written = write_scene(tmp_path, flight, digital_numbers(flight, constant(flight)))
    spec = spec_of(flight, side=60, resolution=50)
    seen = read_grd_angle(
        Raster(dict(written[1])["annotation"], kind="grd_angle"), spec, whole(spec), AVERAGE
    )
    assert np.isfinite(seen).all()
    x, y = plane(flight)
    _, _, angle = places(flight, *np.indices(flight.shape), flight.height)
    left, _, _, top = spec.bounds
    i, j = ((top - y) / 50).astype(int), ((x - left) / 50).astype(int)
    known = (i >= 0) & (i < 60) & (j >= 0) & (j < 60)
    # A pixel of the image lies within half a pixel of the middle: 35 m of 850 km.
    np.testing.assert_allclose(seen[i[known], j[known]], angle[known], atol=0.006)
    away = seen[i[known], j[known]] - angle[known]
    assert abs(away.mean()) < 1e-4
    assert seen.dtype == np.float32


@pytest.mark.parametrize("height", [0.0, 500.0, 2800.0])
def test_places_at_other_heights_are_exact(height: float) -> None:
    flight = Flight(shape=(1500, 2000), spacing=100.0, ties=(10, 21))
    random = np.random.default_rng(0)
    heights = random.uniform(0, 2800, flight.ties)
    found = parse_annotation(grd_scene.annotation_xml(flight, heights=heights).encode())
    geolocation = fit_geolocation(found)
    line, pixel = random.uniform(0, 1499, 500), random.uniform(0, 1999, 500)
    longitude, latitude, angle = places(flight, line, pixel, height)
    to_plane = Transformer.from_crs("EPSG:4326", geolocation.projection, always_xy=True)
    x, y = to_plane.transform(longitude, latitude)
    seen = locate(geolocation, x, y, np.full(500, height))
    np.testing.assert_allclose(seen[0], line, atol=0.15)
    np.testing.assert_allclose(seen[1], pixel, atol=0.1)
    np.testing.assert_allclose(seen[2], angle, atol=0.002)
    # Without a height, the points of the grid lie where the grid says.
    grid = found.grid
    x, y = to_plane.transform(grid.longitude, grid.latitude)
    seen = locate(geolocation, x, y)
    np.testing.assert_allclose(seen[1], np.broadcast_to(grid.pixels, heights.shape), atol=0.1)


# --- real products -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("scene", "lowest", "highest"),
    [("20210401T0526*", 30.44, 46.21), ("20211223T0511*", 30.31, 46.1)],
)
def test_real_annotation(test_data: Path, scene: str, lowest: float, highest: float) -> None:
    folder = test_data / "scenes" / "s1_annotation"
    (path,) = folder.glob(f"S1B_IW_GRDH_1SDV_{scene}/annotation/s1b-iw-grd-vv-*.xml")
    found = parse_annotation(path.read_bytes())
    geolocation = fit_geolocation(found)
    grid = found.grid
    to_plane = Transformer.from_crs("EPSG:4326", geolocation.projection, always_xy=True)
    x, y = to_plane.transform(grid.longitude, grid.latitude)
    line, pixel, angle = locate(geolocation, x, y)
    # Points of ground up to 2,800 m. The processor took for its points the conversion
    # nearest in time, not between the two: up to 1.5 pixels in mountains.
    assert np.abs(line - grid.lines[:, None]).max() < 0.2
    assert np.abs(pixel - grid.pixels).max() < 1.6
    assert np.sqrt(np.mean((pixel - grid.pixels) ** 2)) < 0.5
    np.testing.assert_allclose(angle, grid.incidence_angle, atol=1e-4)
    middle = Flight(float(grid.longitude[5, 10]), float(grid.latitude[5, 10]))
    spec = spec_of(middle, side=320, resolution=1000)
    seen = read_grd_angle(Raster(str(path), kind="grd_angle"), spec, whole(spec), AVERAGE)
    inside = seen[np.isfinite(seen)]
    assert inside.min() == pytest.approx(lowest, abs=0.1)
    assert inside.max() == pytest.approx(highest, abs=0.1)
    # 10 m pixels, 258 km x 167 km.
    assert inside.size == pytest.approx(np.prod(found.shape) / 1e4, rel=0.02)


def annotation_of(dataset: rasterio.DatasetReader) -> str:
    """Annotation for a real image that comes without: a sphere and a circular orbit."""
    earth, orbit, near, spacing = 6.371e6, 6.371e6 + 700e3, np.deg2rad(30.4), 200.0
    first = near - np.arcsin(earth * np.sin(near) / orbit)  # angle at the Earth's middle

    def slant(ground: Array) -> Array:
        return np.sqrt(earth**2 + orbit**2 - 2 * earth * orbit * np.cos(first + ground / earth))

    ground = np.linspace(-2e4, 2.8e5, 300)
    fit = np.polynomial.polynomial.polyfit((slant(ground) - slant(0)) / 1e5, ground, 8)
    points = ""
    for p in dataset.gcps[0]:
        distance = slant(p.col * spacing)
        radius = earth + p.z
        angle = np.pi - np.arccos((radius**2 + distance**2 - orbit**2) / (2 * radius * distance))
        points += (
            f"<geolocationGridPoint><slantRangeTime>{2 * distance / grd_scene.LIGHT:.17g}"
            f"</slantRangeTime><line>{p.row}</line><pixel>{p.col}</pixel><latitude>{p.y}"
            f"</latitude><longitude>{p.x}</longitude><height>{p.z}</height><incidenceAngle>"
            f"{np.rad2deg(angle):.12g}</incidenceAngle></geolocationGridPoint>"
        )
    flight = Flight(shape=dataset.shape, spacing=spacing)
    text = grd_scene.annotation_xml(flight)
    text = re.sub("(?<=PointList>)<geolocationGridPoint>.*</geolocationGridPoint>", points, text)
    numbers = " ".join(f"{c / 1e5**k:.12e}" for k, c in enumerate(fit))
    text = re.sub("<srgrCoefficients>[^<]*", f"<srgrCoefficients>{numbers}", text)
    return re.sub("<sr0>[^<]*", f"<sr0>{slant(0):.6f}", text)


def test_a_real_image_lies_where_its_control_points_have_it(
    test_data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # One conversion to ground range stands for the many of the product, which follow the
    # mean height of the ground: 44 m off, a quarter of these pixels.
    monkeypatch.setattr("gssm.geolocation.METRES", 60)
    # Every 20th pixel of a real scene. Its annotation is not at hand: only place is tested.
    (folder,) = (test_data / "scenes" / "rio_tiler_pds").glob("sentinel-s1-l1c/GRD/2018/*/*/*/*/*")
    path = folder / "measurement" / "iw-vv.tiff"
    with rasterio.open(path) as dataset:
        flight = Flight(shape=dataset.shape)
        text = annotation_of(dataset)
        points, _ = dataset.gcps
        middle = points[5 * 21 + 10]  # of 10 x 21
        epsg = 32600 + int((middle.x + 180) // 6) + 1
        x, y = Transformer.from_crs("EPSG:4326", epsg, always_xy=True).transform(middle.x, middle.y)
        spec = RasterSpec(epsg, (x - 4e4, y - 4e4, x + 4e4, y + 4e4), (200.0, 200.0))
    files = {
        "annotation": text,
        "calibration": grd_scene.calibration_xml(flight),
        "noise": grd_scene.noise_xml(flight, scale=1.0),
    }
    for name, content in files.items():
        (tmp_path / f"{name}.xml").write_text(content)
    sidecars = tuple((name, str(tmp_path / f"{name}.xml")) for name in files)
    # `read_grd` compares its places with the 210 control points of the file.
    seen = read_grd(raster((str(path), sidecars)), spec, whole(spec), Resampling.nearest)
    assert np.isfinite(seen).all()
    scene = fit_geolocation(parse_annotation(text.encode()))
    to_plane = Transformer.from_crs("EPSG:4326", scene.projection, always_xy=True)
    place = to_plane.transform([p.x for p in points], [p.y for p in points])
    found = locate(scene, *map(np.array, place), np.array([p.z for p in points]))
    assert np.abs(found[0] - [p.row for p in points]).max() < 0.1
    assert np.abs(found[1] - [p.col for p in points]).max() < 0.5
    # Between the points GDAL's thin plates know nothing of the ground's height: half a pixel.
    edges = np.linspace(-3e4, 3e4, 25)
    easting, northing = np.meshgrid(x + edges, y + edges)
    degrees = Transformer.from_crs(epsg, "EPSG:4326", always_xy=True).transform(easting, northing)
    with GCPTransformer(points, tps=True) as plates:
        rows, columns = plates.rowcol(*(d.ravel() for d in degrees), op=lambda value: value)
    line, pixel, _ = locate(scene, *to_plane.transform(*degrees))
    np.testing.assert_allclose(line.ravel(), rows, atol=0.01)
    np.testing.assert_allclose(pixel.ravel(), columns, atol=0.5)


# --- refusals ------------------------------------------------------------------------------------


def refused(written: tuple[str, Any], **sidecars: str | None) -> str:
    flight = Flight()
    known = {**dict(written[1]), **sidecars}
    pairs = tuple((name, href) for name, href in known.items() if href is not None)
    spec = spec_of(flight, side=40)
    with pytest.raises(OSError) as caught:  # noqa: PT011 (each test looks at the message)
        read_grd(Raster(written[0], kind="grd", sidecars=pairs), spec, whole(spec), AVERAGE)
    return str(caught.value)


def test_files_that_do_not_belong_together_are_refused(tmp_path: Path) -> None:
    flight = Flight()
    number = digital_numbers(flight, constant(flight))
    written = write_scene(tmp_path, flight, number)
    assert "without its calibration" in refused(written, calibration=None)
    assert "without its noise" in refused(written, noise=None)
    assert "without its annotation" in refused(written, annotation=None)
    assert "calibration.xml begins with" not in refused(written, noise=str(tmp_path / "gone.xml"))

    def file(name: str, text: str) -> str:
        (tmp_path / name).write_text(text)
        return str(tmp_path / name)

    other = replace(flight, polarisation="VH")
    vh = file("vh.xml", grd_scene.calibration_xml(other))
    assert "S1B VH" in refused(written, calibration=vh)
    later = file(
        "later.xml", grd_scene.calibration_xml(flight, np.datetime64("2021-04-01T05:26:48"))
    )
    assert "2021-04-01T05:26:48" in refused(written, calibration=later)
    for scale in (0.0, 1e-9):
        silent = file(f"{scale}.xml", grd_scene.noise_xml(flight, scale=scale))
        assert "before IPF 2.5" in refused(written, noise=silent)
    small = file("small.xml", grd_scene.annotation_xml(replace(flight, shape=(420, 499))))
    assert "420 x 500 pixels and its annotation 420 x 499" in refused(written, annotation=small)
    shifted = grd_scene.annotation_xml(replace(flight, latitude=50.502))
    assert "control points" in refused(written, annotation=file("shifted.xml", shifted))


def test_resampling_other_than_the_average_is_refused(tmp_path: Path) -> None:
    flight = Flight()
    written = write_scene(tmp_path, flight, digital_numbers(flight, constant(flight)))
    spec = spec_of(flight, side=20)
    with pytest.raises(RasterioIOError, match="bilinear"):
        read_grd(raster(written), spec, whole(spec), Resampling.bilinear)
    seen = read_grd(raster(written), spec, whole(spec), Resampling.nearest)
    np.testing.assert_allclose(seen, 0.05, rtol=0.03)


@pytest.mark.filterwarnings("ignore::rasterio.errors.NotGeoreferencedWarning")
def test_a_file_without_control_points_is_placed_by_its_annotation(tmp_path: Path) -> None:
    flight = Flight()
    number = digital_numbers(flight, constant(flight), looks=4.4)
    with_points = write_scene(tmp_path / "a", flight, number)
    without = write_scene(tmp_path / "b", flight, number, control_points=False)
    spec = spec_of(flight)
    seen = [read_grd(raster(w), spec, whole(spec), AVERAGE) for w in (with_points, without)]
    np.testing.assert_array_equal(*seen)


def test_a_damaged_measurement_is_an_error(tmp_path: Path) -> None:
    flight = Flight()
    path, sidecars = write_scene(tmp_path, flight, digital_numbers(flight, constant(flight)))
    content = Path(path).read_bytes()
    Path(path).write_bytes(content[: len(content) // 2])
    assert refused((path, sidecars))
    Path(path).unlink()
    assert refused((path, sidecars))
