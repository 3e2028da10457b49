"""The XML files beside a Sentinel-1 GRD image: where its pixels lie, and what they mean.

Names and units are those of ESA, "Sentinel-1 Product Specification" (S1-RS-MDA-52-7441):
the annotation places the image, the calibration and the noise vectors turn its digital
numbers (DN) into backscatter.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from gssm.addresses import file_version
from gssm.sidecar import (
    Element,
    FloatArray,
    find_number,
    find_numbers,
    find_one,
    find_positive,
    find_text,
    find_time,
    parse_file,
    parse_root,
)

SPEED_OF_LIGHT = 299_792_458.0  # m/s
# Files of a month over one place, both polarisations; each is a megabyte at most.
MOST = 128


@dataclass(frozen=True)
class Header:
    """What an image is of; the same in all its files. Times are UTC."""

    mission: str
    product: str
    mode: str
    polarisation: str
    start: np.datetime64
    stop: np.datetime64


@dataclass(frozen=True, eq=False)
class GeolocationGrid:
    """Where some pixels lie: arrays ``(line, pixel)`` over ``lines`` and ``pixels``.

    Latitude, longitude and ``incidence_angle`` (to the normal of the ellipsoid) in degrees,
    ``height`` above the ellipsoid and ``slant_range`` in metres.
    """

    lines: FloatArray
    pixels: FloatArray
    latitude: FloatArray
    longitude: FloatArray
    height: FloatArray
    incidence_angle: FloatArray
    slant_range: FloatArray


@dataclass(frozen=True, eq=False)
class GroundRange:
    """Slant range to ground range (m), at some ``lines`` of the image.

    ``ground = sum of coefficients[n, k] (slant - origin[n]) ** k``.
    """

    lines: FloatArray
    origin: FloatArray
    coefficients: FloatArray


@dataclass(frozen=True, eq=False)
class Annotation:
    """The product annotation of one polarisation.

    ``shape`` is lines, pixels and ``spacing`` their distance in metres. ``denoised`` where
    the processor has already subtracted the thermal noise.
    """

    header: Header
    orbit_state: str
    shape: tuple[int, int]
    spacing: tuple[float, float]
    denoised: bool
    grid: GeolocationGrid
    ground_range: GroundRange


@dataclass(frozen=True, eq=False)
class Vector:
    """Values at some pixels of one line."""

    line: int
    pixels: FloatArray
    values: FloatArray


@dataclass(frozen=True, eq=False)
class AzimuthBlock:
    """Factor of the noise along the lines of a block of the image, its last ones included."""

    first_line: int
    last_line: int
    first_pixel: int
    last_pixel: int
    lines: FloatArray
    values: FloatArray


@dataclass(frozen=True, eq=False)
class Calibration:
    """``sigmaNought`` vectors, by which amplitude is divided to give that of sigma0."""

    header: Header
    vectors: tuple[Vector, ...]


@dataclass(frozen=True, eq=False)
class Noise:
    """Thermal noise as power of DN: range vectors times the factors of azimuth blocks.

    ``before_2_9`` for products of the processor (IPF) before version 2.9 of March 2018:
    they have one list of vectors and no blocks, and noise in the borders of the image.
    """

    header: Header
    vectors: tuple[Vector, ...]
    blocks: tuple[AzimuthBlock, ...]
    before_2_9: bool


def read_annotation(href: str) -> Annotation:
    """Read a product annotation from a path or URL; the last ones are kept.

    Raises
    ------
    OSError
        It cannot be read, or is no annotation of a ground range image.
    """
    return _annotation(href, file_version(href))


def read_calibration(href: str) -> Calibration:
    """Read calibration vectors from a path or URL; the last ones are kept.

    Raises
    ------
    OSError
        They cannot be read, or are not what a calibration is.
    """
    return _calibration(href, file_version(href))


def read_noise(href: str) -> Noise:
    """Read noise vectors of any version of the processor from a path or URL.

    Raises
    ------
    OSError
        They cannot be read, or are not what noise vectors are.
    """
    return _noise(href, file_version(href))


@lru_cache(MOST)
def _annotation(href: str, version: float) -> Annotation:
    return parse_file(href, parse_annotation)


@lru_cache(MOST)
def _calibration(href: str, version: float) -> Calibration:
    return parse_file(href, parse_calibration)


@lru_cache(MOST)
def _noise(href: str, version: float) -> Noise:
    return parse_file(href, parse_noise)


def parse_annotation(content: bytes) -> Annotation:
    """Parse a product annotation.

    Raises
    ------
    ValueError
        It is none, or none of a ground range image; the message is a clause without the
        subject.
    """
    root = parse_root(content, "product")
    header = _header(root)
    projection = find_text(root, "generalAnnotation/productInformation/projection")
    if header.product != "GRD" or projection != "Ground Range":
        raise ValueError(f"is of {header.product} in {projection}, not of a ground range image")
    image = find_one(root, "imageAnnotation/imageInformation")
    start = find_time(image, "productFirstLineUtcTime")
    interval = find_positive(image, "azimuthTimeInterval")
    shape = (
        int(find_positive(image, "numberOfLines")),
        int(find_positive(image, "numberOfSamples")),
    )
    spacing = (
        find_positive(image, "azimuthPixelSpacing"),
        find_positive(image, "rangePixelSpacing"),
    )
    processing = "imageAnnotation/processingInformation/thermalNoiseCorrectionPerformed"
    return Annotation(
        header,
        find_text(root, "generalAnnotation/productInformation/pass").lower(),
        shape,
        spacing,
        find_text(root, processing) == "true",
        _geolocation_grid(root, shape),
        _ground_range(root, start, interval),
    )


def _geolocation_grid(root: Element, shape: tuple[int, int]) -> GeolocationGrid:
    points = root.findall("geolocationGrid/geolocationGridPointList/geolocationGridPoint")
    names = ("line", "pixel", "latitude", "longitude", "height", "incidenceAngle")
    table = np.array([[find_number(p, n) for n in (*names, "slantRangeTime")] for p in points])
    if len(points) < 4:
        raise ValueError(f"has {len(points)} geolocation points, which place no image")
    table = table[np.lexsort((table[:, 1], table[:, 0]))]
    lines, pixels = np.unique(table[:, 0]), np.unique(table[:, 1])
    full = np.stack(np.meshgrid(lines, pixels, indexing="ij"), axis=-1).reshape(-1, 2)
    if min(lines.size, pixels.size) < 2 or not np.array_equal(full, table[:, :2]):
        raise ValueError("has geolocation points that make no grid")
    latitude, longitude, height, angle, time = table[:, 2:].T.reshape(5, lines.size, pixels.size)
    if np.abs(latitude).max() > 90 or np.abs(longitude).max() > 360:
        raise ValueError("has geolocation points that are not on Earth")
    if angle.min() <= 0 or angle.max() >= 90 or time.min() <= 0:
        raise ValueError("has incidence angles or slant ranges that no radar has")
    spans = (lines[-1] - lines[0] + 1, pixels[-1] - pixels[0] + 1)
    if any(span < 0.9 * size for span, size in zip(spans, shape, strict=True)):
        raise ValueError("has a geolocation grid that leaves out much of the image")
    slant_range = time * (SPEED_OF_LIGHT / 2)
    return GeolocationGrid(lines, pixels, latitude, longitude, height, angle, slant_range)


def _ground_range(root: Element, start: np.datetime64, interval: float) -> GroundRange:
    found = root.findall("coordinateConversion/coordinateConversionList/coordinateConversion")
    if not found:
        raise ValueError("has no coordinateConversion from slant to ground range")
    seconds = [(find_time(e, "azimuthTime") - start) / np.timedelta64(1, "s") for e in found]
    coefficients = [find_numbers(e, "srgrCoefficients") for e in found]
    if len({c.size for c in coefficients}) != 1:
        raise ValueError("has coordinateConversions of different degrees")
    lines, first = np.unique(np.array(seconds) / interval, return_index=True)
    origin = np.array([find_number(e, "sr0") for e in found])
    return GroundRange(lines, origin[first], np.array(coefficients)[first])


def parse_calibration(content: bytes) -> Calibration:
    """Parse the calibration of one polarisation.

    Raises
    ------
    ValueError
        It is none; the message is a clause without the subject.
    """
    root = parse_root(content, "calibration")
    vectors = _vectors(root, "calibrationVectorList/calibrationVector", "sigmaNought")
    if not vectors:
        raise ValueError("has no calibration vectors")
    if any(vector.values.min() <= 0 for vector in vectors):
        raise ValueError("has sigmaNought of zero or less, by which nothing can be divided")
    return Calibration(_header(root), vectors)


def parse_noise(content: bytes) -> Noise:
    """Parse the noise of one polarisation, of any version of the processor.

    Raises
    ------
    ValueError
        It is none; the message is a clause without the subject.
    """
    root = parse_root(content, "noise")
    vectors = _vectors(root, "noiseRangeVectorList/noiseRangeVector", "noiseRangeLut")
    before_2_9 = not vectors
    if before_2_9:
        vectors = _vectors(root, "noiseVectorList/noiseVector", "noiseLut")
    if not vectors:
        raise ValueError("has no noise vectors")
    blocks = root.findall("noiseAzimuthVectorList/noiseAzimuthVector")
    if any(v.values.min() < 0 for v in vectors):
        raise ValueError("has noise below zero")
    return Noise(_header(root), vectors, tuple(map(_azimuth_block, blocks)), before_2_9)


def _azimuth_block(element: Element) -> AzimuthBlock:
    first_line, last_line, first_pixel, last_pixel = (
        int(find_number(element, name))
        for name in ("firstAzimuthLine", "lastAzimuthLine", "firstRangeSample", "lastRangeSample")
    )
    lines, values = _pairs(element, "line", "noiseAzimuthLut")
    return AzimuthBlock(first_line, last_line, first_pixel, last_pixel, lines, values)


def _vectors(root: Element, path: str, name: str) -> tuple[Vector, ...]:
    """Vectors in the order of their lines, each line once."""
    found = {
        int(find_number(e, "line")): Vector(int(find_number(e, "line")), *_pairs(e, "pixel", name))
        for e in root.findall(path)
    }
    return tuple(found[line] for line in sorted(found))


def _pairs(element: Element, place: str, name: str) -> tuple[FloatArray, FloatArray]:
    places, values = find_numbers(element, place), find_numbers(element, name)
    if places.size != values.size:
        raise ValueError(f"has {values.size} values of {name} at {places.size} places")
    if (np.diff(places) <= 0).any():
        raise ValueError(f"has {name} at places that are not in order")
    return places, values


def _header(root: Element) -> Header:
    names = ("missionId", "productType", "mode", "polarisation")
    element = find_one(root, "adsHeader")
    mission, product, mode, polarisation = (find_text(element, name) for name in names)
    times = find_time(element, "startTime"), find_time(element, "stopTime")
    return Header(mission, product, mode, polarisation, *times)
