"""A simulated Sentinel-1 GRD: a satellite on a circle over the ellipsoid, looking right.

Its annotation, calibration and noise are in the schema of the products; its measurement file
has ground control points. Nothing here is of `gssm`: positions come from intersecting ranges
with the ellipsoid, one by one.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import rasterio
from pyproj import Transformer
from rasterio.control import GroundControlPoint

Array = np.ndarray[Any, np.dtype[np.float64]]
LIGHT = 299_792_458.0
START = np.datetime64("2021-04-01T05:26:23.794457")
GROUND_RADIUS = 6_370_000.0  # m
INTERVAL = 1.5e-3  # seconds per line
TO_EARTH = Transformer.from_crs("EPSG:4979", "EPSG:4978", always_xy=True)


@dataclass(frozen=True)
class Flight:
    """Scene centre (degrees), state of the orbit, size (lines, pixels) and ground height (m)."""

    longitude: float = 3.03
    latitude: float = 50.5
    orbit_state: str = "descending"
    shape: tuple[int, int] = (420, 500)
    spacing: float = 10.0
    height: float = 180.0
    angle: float = 35.0
    ties: tuple[int, int] = (6, 7)
    polarisation: str = "VV"

    @property
    def heading(self) -> float:
        return np.deg2rad(-12.0 if self.orbit_state == "ascending" else 192.0)


def _frame(longitude: float, latitude: float) -> tuple[Array, Array, Array]:
    """East, north and up at a place."""
    lon, lat = np.deg2rad(longitude), np.deg2rad(latitude)
    up = np.array([np.cos(lat) * np.cos(lon), np.cos(lat) * np.sin(lon), np.sin(lat)])
    east = np.array([-np.sin(lon), np.cos(lon), 0])
    return east, np.cross(up, east), up


def _track(flight: Flight) -> tuple[Array, Array, float, float]:
    """Satellite above the middle line, its flight per line, its range and height."""
    east, north, up = _frame(flight.longitude, flight.latitude)
    along = np.cos(flight.heading) * north + np.sin(flight.heading) * east
    right = np.cos(flight.heading + np.pi / 2) * north + np.sin(flight.heading + np.pi / 2) * east
    slant, angle = 850_000.0, np.deg2rad(flight.angle)
    ground = np.array(TO_EARTH.transform(flight.longitude, flight.latitude, flight.height))
    satellite = ground - slant * np.sin(angle) * right + slant * np.cos(angle) * up
    return satellite, along * flight.spacing, slant, slant * np.cos(angle)


def ground_of(flight: Flight, slant: Array) -> Array:
    """Ground range (m) of the middle pixel's plane; any smooth function of range would do."""
    _, _, middle, above = _track(flight)
    start = np.sqrt(middle**2 - above**2) - flight.spacing * (flight.shape[1] - 1) / 2
    return np.asarray(np.sqrt(slant**2 - above**2) - start)


def slant_of(flight: Flight, pixel: Array) -> Array:
    _, _, middle, above = _track(flight)
    start = np.sqrt(middle**2 - above**2) - flight.spacing * (flight.shape[1] - 1) / 2
    return np.asarray(np.hypot(start + pixel * flight.spacing, above))


def places(flight: Flight, line: Array, pixel: Array, height: Array | float) -> tuple[Array, ...]:
    """Longitude, latitude and incidence angle (degree) of pixels whose ground has a height."""
    line, pixel = np.broadcast_arrays(np.asarray(line, float), np.asarray(pixel, float))
    height = np.broadcast_to(np.asarray(height, float), line.shape)
    middle, step, _, _ = _track(flight)
    # A circle around the middle of the Earth, one spacing on the ground for each line.
    radius = np.linalg.norm(middle)
    turn = ((line - (flight.shape[0] - 1) / 2) * flight.spacing / GROUND_RADIUS)[..., None]
    out, ahead = middle / radius, step - (step @ middle) / radius**2 * middle
    ahead /= np.linalg.norm(ahead)
    down = -(np.cos(turn) * out + np.sin(turn) * ahead)
    along = np.cos(turn) * ahead - np.sin(turn) * out
    satellite = -radius * down
    right = np.cross(down, along)
    slant = slant_of(flight, pixel)

    def point(angle: Array) -> tuple[Array, ...]:
        beam = np.cos(angle)[..., None] * down + np.sin(angle)[..., None] * right
        earth = satellite + slant[..., None] * beam
        return (*TO_EARTH.transform(*np.moveaxis(earth, -1, 0), direction="INVERSE"), beam)

    # The beam angle at which a range meets the height, by secants: it starts within a degree.
    first, second = np.full(line.shape, 0.5), np.full(line.shape, 0.6)
    miss = point(first)[2] - height
    for _ in range(8):
        next_miss = point(second)[2] - height
        slope = np.where(next_miss == miss, 1, next_miss - miss)
        first, second, miss = second, second - next_miss * (second - first) / slope, next_miss
    longitude, latitude, _, beam = point(second)
    lon, lat = np.deg2rad(longitude), np.deg2rad(latitude)
    up = np.stack([np.cos(lat) * np.cos(lon), np.cos(lat) * np.sin(lon), np.sin(lat)], -1)
    return longitude, latitude, np.rad2deg(np.arccos(-(beam * up).sum(-1)))


def tie_points(flight: Flight) -> tuple[Array, Array]:
    lines, pixels = (
        np.round(np.linspace(0, size - 1, count))
        for size, count in zip(flight.shape, flight.ties, strict=True)
    )
    line, pixel = np.meshgrid(lines, pixels, indexing="ij")
    return line, pixel


def _header(flight: Flight, start: np.datetime64 = START) -> str:
    stop = START + np.timedelta64(25, "s")
    return (
        "<adsHeader><missionId>S1B</missionId><productType>GRD</productType>"
        f"<polarisation>{flight.polarisation}</polarisation><mode>IW</mode><swath>IW</swath>"
        f"<startTime>{start}</startTime><stopTime>{stop}</stopTime></adsHeader>"
    )


def _text(values: Any) -> str:
    return " ".join(f"{v:.9e}" for v in np.ravel(values))


def annotation_xml(flight: Flight, *, heights: Array | None = None, denoised: bool = False) -> str:
    """Product annotation; ``heights`` of the tie points in place of the flight's."""
    line, pixel = tie_points(flight)
    height = np.full(line.shape, flight.height) if heights is None else heights
    longitude, latitude, angle = places(flight, line, pixel, height)
    slant = slant_of(flight, pixel)
    rows = zip(
        *(a.ravel() for a in (line, pixel, latitude, longitude, height, angle, slant)), strict=True
    )
    points = "".join(
        f"<geolocationGridPoint><slantRangeTime>{2 * r / LIGHT!r}</slantRangeTime>"
        f"<line>{i:.0f}</line><pixel>{j:.0f}</pixel><latitude>{lat!r}</latitude>"
        f"<longitude>{lon!r}</longitude><height>{h!r}</height>"
        f"<incidenceAngle>{a!r}</incidenceAngle></geolocationGridPoint>"
        for i, j, lat, lon, h, a, r in (map(float, row) for row in rows)
    )
    ranges = slant_of(flight, np.linspace(-60, flight.shape[1] + 60, 200))
    scale = np.ptp(ranges)
    fit = np.polynomial.polynomial.polyfit(
        (ranges - ranges[0]) / scale, ground_of(flight, ranges), 5
    )
    coefficients = _text(fit / scale ** np.arange(6))
    conversions = "".join(
        f"<coordinateConversion><azimuthTime>{START + np.timedelta64(us, 'us')}</azimuthTime>"
        f"<sr0>{ranges[0]!r:}</sr0><srgrCoefficients>{coefficients}</srgrCoefficients>"
        "</coordinateConversion>".replace("np.float64(", "").replace(")", "")
        for us in (-100_000, 300_000, 900_000)
    )
    lines, pixels = flight.shape
    return (
        f"<?xml version='1.0' encoding='UTF-8'?><product>{_header(flight)}<generalAnnotation>"
        f"<productInformation><pass>{flight.orbit_state.title()}</pass>"
        "<projection>Ground Range</projection></productInformation></generalAnnotation>"
        f"<imageAnnotation><imageInformation><productFirstLineUtcTime>{START}"
        f"</productFirstLineUtcTime><rangePixelSpacing>{flight.spacing}</rangePixelSpacing>"
        f"<azimuthPixelSpacing>{flight.spacing}</azimuthPixelSpacing><azimuthTimeInterval>"
        f"{INTERVAL}</azimuthTimeInterval><numberOfSamples>{pixels}</numberOfSamples>"
        f"<numberOfLines>{lines}</numberOfLines></imageInformation><processingInformation>"
        f"<thermalNoiseCorrectionPerformed>{str(denoised).lower()}"
        "</thermalNoiseCorrectionPerformed></processingInformation></imageAnnotation>"
        f"<geolocationGrid><geolocationGridPointList>{points}</geolocationGridPointList>"
        f"</geolocationGrid><coordinateConversion><coordinateConversionList>{conversions}"
        "</coordinateConversionList></coordinateConversion></product>"
    )


# What the simulated processor applies: smooth, and different at every pixel.


def amplitude(line: Array, pixel: Array) -> Array:
    """``sigmaNought``: linear along pixels and lines, so that vectors hold it exactly."""
    return np.asarray(660 - 0.05 * pixel - 0.02 * line)


def range_noise(line: Array, pixel: Array) -> Array:
    return np.asarray(2300 - 0.8 * pixel + 0.3 * line)


def azimuth_noise(line: Array) -> Array:
    return np.asarray(1 + 0.1 * np.abs((line % 60) / 30 - 1))


def _vectors(flight: Flight, tag: str, name: str, values: Callable[[Array, Array], Array]) -> str:
    pixels = np.unique(np.append(np.arange(0, flight.shape[1], 40), flight.shape[1] - 1))
    at = " ".join(map(str, pixels))
    lines = (0, flight.shape[0] // 2, flight.shape[0] + 13)  # the last lies beyond the image
    return "".join(
        f"<{tag}><azimuthTime>{START}</azimuthTime><line>{line}</line><pixel>{at}</pixel>"
        f"<{name}>{_text(values(np.float64(line), pixels))}</{name}></{tag}>"
        for line in lines
    )


def calibration_xml(flight: Flight, start: np.datetime64 = START) -> str:
    vectors = _vectors(flight, "calibrationVector", "sigmaNought", amplitude)
    return (
        f"<calibration>{_header(flight, start)}<calibrationVectorList>{vectors}"
        "</calibrationVectorList></calibration>"
    )


def noise_xml(flight: Flight, *, before_2_9: bool = False, scale: float = 1.0) -> str:
    def values(line: Array, pixel: Array) -> Array:
        return scale * range_noise(line, pixel)

    if before_2_9:
        vectors = _vectors(flight, "noiseVector", "noiseLut", values)
        return f"<noise>{_header(flight)}<noiseVectorList>{vectors}</noiseVectorList></noise>"
    vectors = _vectors(flight, "noiseRangeVector", "noiseRangeLut", values)
    lines = np.unique(np.append(np.arange(0, flight.shape[0], 10), flight.shape[0] - 1))
    half, last = flight.shape[1] // 2, flight.shape[1] - 1
    blocks = "".join(
        f"<noiseAzimuthVector><swath>{swath}</swath><firstAzimuthLine>0</firstAzimuthLine>"
        f"<firstRangeSample>{first}</firstRangeSample><lastAzimuthLine>{flight.shape[0] - 1}"
        f"</lastAzimuthLine><lastRangeSample>{end}</lastRangeSample>"
        f"<line>{' '.join(map(str, lines))}</line>"
        f"<noiseAzimuthLut>{_text(factor * azimuth_noise(lines))}</noiseAzimuthLut>"
        "</noiseAzimuthVector>"
        for swath, first, end, factor in (("IW1", 0, half, 1.0), ("IW2", half + 1, last, 1.2))
    )
    return (
        f"<noise>{_header(flight)}<noiseRangeVectorList>{vectors}</noiseRangeVectorList>"
        f"<noiseAzimuthVectorList>{blocks}</noiseAzimuthVectorList></noise>"
    )


def noise_of(flight: Flight, *, before_2_9: bool = False) -> Array:
    """Noise of each pixel as the XML says."""
    line, pixel = (a.astype(float) for a in np.indices(flight.shape))
    if before_2_9:
        return range_noise(line, pixel)
    swath = np.where(pixel > flight.shape[1] // 2, 1.2, 1.0)
    return np.asarray(range_noise(line, pixel) * azimuth_noise(line) * swath)


def digital_numbers(
    flight: Flight, sigma0: Array, *, looks: float | None = None, before_2_9: bool = False
) -> Array:
    """DN of an image of a known sigma0; with ``looks``, speckled together with its noise."""
    line, pixel = (a.astype(float) for a in np.indices(flight.shape))
    power = sigma0 * amplitude(line, pixel) ** 2 + noise_of(flight, before_2_9=before_2_9)
    if looks is not None:
        power = power * np.random.default_rng(0).gamma(looks, 1 / looks, power.shape)
    return np.asarray(np.round(np.sqrt(power)))


def write_scene(
    folder: Path,
    flight: Flight,
    number: Array,
    *,
    control_points: bool = True,
    before_2_9: bool = False,
    **annotation: Any,
) -> tuple[str, tuple[tuple[str, str], ...]]:
    """Write the measurement and its three XML files; their addresses."""
    folder.mkdir(parents=True, exist_ok=True)
    texts = {
        "annotation": annotation_xml(flight, **annotation),
        "calibration": calibration_xml(flight),
        "noise": noise_xml(flight, before_2_9=before_2_9),
    }
    for name, text in texts.items():
        (folder / f"{name}.xml").write_text(text)
    place: dict[str, Any] = {}
    if control_points:
        line, pixel = tie_points(flight)
        longitude, latitude, _ = places(flight, line, pixel, flight.height)
        columns = (line, pixel, longitude, latitude)
        place["gcps"] = [
            GroundControlPoint(i, j, x, y, flight.height)
            for i, j, x, y in zip(*(c.ravel() for c in columns), strict=True)
        ]
        place["crs"] = "EPSG:4326"
    kind = {"driver": "GTiff", "count": 1, "dtype": "uint16"}
    height, width = flight.shape
    path = folder / "iw-vv.tiff"
    with rasterio.open(path, "w", height=height, width=width, **kind, **place) as file:
        file.write(number.astype(np.uint16), 1)
    return str(path), tuple((name, str(folder / f"{name}.xml")) for name in texts)


def moved(flight: Flight, longitude: float, latitude: float, orbit_state: str) -> Flight:
    return replace(flight, longitude=longitude, latitude=latitude, orbit_state=orbit_state)
