"""Where points on Earth lie in a Sentinel-1 ground range image.

The product places its image by a few hundred points, tens of kilometres apart, each at the
height of its ground. Between them, and at other heights, a polynomial through longitude and
latitude is wrong by a hundred pixels in mountains. What is smooth is the path of the
satellite: as seen from a place on the ellipsoid, the line that images it, the distance along
the ground to the satellite's track and the satellite's height. From these three follow the
slant range and the incidence angle of any height above that place, exactly, and from slant
range the pixel by the product's own conversion.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from rasterio.windows import Window
from stackstac.raster_spec import RasterSpec

from gssm.annotation import Annotation, GroundRange

FloatArray = np.ndarray[Any, np.dtype[np.float64]]

DEGREE = 5  # what 210 points hold well; 4 leaves twice the error, 6 no less
# Residuals that tell an image from points that are of none: lines, and metres of slant range.
LINES, METRES = 2.0, 20.0
# Of half the width of the image, how far beyond its points their polynomials are asked.
BEYOND = 1.5
# Pixels and metres between nodes at which places are computed; between them they are blended.
# In 320 m the Earth curves by millimetres, in 10 km by 2 m where pixels are that coarse.
NODES, NODE_METRES = 32, 10_000
HEIGHT_STEPS = 8  # each leaves a quarter of the error at most, of some hundred pixels


@dataclass(frozen=True, eq=False)
class Geolocation:
    """Smooth functions of a place, in metres from the middle of the image.

    ``projection`` is the PROJ string of that plane, ``scale`` half the extent of the image in
    it. ``line``, ``along`` (m along the ground to the satellite's track) and ``above`` (m of the
    satellite over the ellipsoid's tangent) hold coefficients ``[i, j]`` of ``x**i y**j``.
    """

    annotation: Annotation
    projection: str
    scale: tuple[float, float]
    line: FloatArray
    along: FloatArray
    above: FloatArray


@dataclass(frozen=True, eq=False)
class Nodes:
    """Line, pixel and incidence angle (degree) at nodes of the grid, NaN far from the image.

    ``step`` pixels lie between nodes; ``row`` and ``column`` are those of the first one.
    """

    step: int
    row: int
    column: int
    line: FloatArray
    pixel: FloatArray
    angle: FloatArray


def fit_geolocation(annotation: Annotation) -> Geolocation:
    """Fit the geometry of an image to its geolocation grid.

    Raises
    ------
    OSError
        The points are not those of one image.
    """
    from pyproj import Transformer

    grid = annotation.grid
    middle = tuple(size // 2 for size in grid.latitude.shape)
    latitude, longitude = float(grid.latitude[middle]), float(grid.longitude[middle])
    projection = f"+proj=aeqd +datum=WGS84 +lat_0={latitude!r} +lon_0={longitude!r}"
    to_plane = Transformer.from_crs("EPSG:4326", projection, always_xy=True)
    x, y = to_plane.transform(grid.longitude.ravel(), grid.latitude.ravel())
    if not np.isfinite([x, y]).all():
        raise OSError("its geolocation grid has points that are not on one side of the Earth")
    scale = float(np.abs(x).max()), float(np.abs(y).max())
    degree = min(DEGREE, *(size - 1 for size in grid.latitude.shape))
    angle = np.deg2rad(grid.incidence_angle.ravel())
    slant, height = grid.slant_range.ravel(), grid.height.ravel()
    known = {
        "line": np.repeat(grid.lines, grid.pixels.size),
        "along": slant * np.sin(angle),
        "above": slant * np.cos(angle) + height,
    }
    place = x / scale[0], y / scale[1]
    fitted = {name: _fit(*place, values, degree) for name, values in known.items()}
    residual = {n: np.abs(_polynomial(fitted[n], *place) - known[n]).max() for n in known}
    if residual["line"] > LINES or max(residual["along"], residual["above"]) > METRES:
        raise OSError(
            "its geolocation grid is not that of one image: it bends by "
            f"{residual['line']:.1f} lines and {max(residual.values()):.0f} m"
        )
    return Geolocation(annotation, projection, scale, **fitted)


def _fit(x: FloatArray, y: FloatArray, values: FloatArray, degree: int) -> FloatArray:
    powers = [(i, j) for i in range(degree + 1) for j in range(degree + 1 - i)]
    table = np.stack([x**i * y**j for i, j in powers], axis=1)
    found, *_ = np.linalg.lstsq(table, values, rcond=None)
    coefficients = np.zeros((degree + 1, degree + 1))
    for (i, j), number in zip(powers, found, strict=True):
        coefficients[i, j] = number
    return coefficients


def _polynomial(coefficients: FloatArray, x: FloatArray, y: FloatArray) -> FloatArray:
    """Evaluate, point by point alike whatever points are asked together (no matrix product)."""
    result = np.zeros_like(x)
    for row in coefficients[::-1]:
        inner = np.zeros_like(y)
        for number in row[::-1]:
            inner = inner * y + number
        result = result * x + inner
    return result


def locate(
    geolocation: Geolocation, x: FloatArray, y: FloatArray, height: FloatArray | None = None
) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Line, pixel and incidence angle (degree) of points in the plane of the image.

    Centres of pixels have whole numbers. ``height`` is in metres above the ellipsoid; without
    it, that of the geolocation grid. NaN far from the image.
    """
    u, v = x / geolocation.scale[0], y / geolocation.scale[1]
    far = ~((np.abs(u) < BEYOND) & (np.abs(v) < BEYOND))
    u, v = np.where(far, 0, u), np.where(far, 0, v)
    line, along, above = (
        _polynomial(c, u, v) for c in (geolocation.line, geolocation.along, geolocation.above)
    )
    annotation = geolocation.annotation

    def pixels(height: FloatArray) -> FloatArray:
        slant = np.hypot(along, above - height)
        return _ground(annotation.ground_range, line, slant) / annotation.spacing[1]

    if height is None:
        height = np.zeros_like(line)
        for _ in range(HEIGHT_STEPS):
            height = _grid_height(annotation, line, pixels(height))
    pixel = pixels(height)
    angle = np.rad2deg(np.arctan2(along, above - height))
    for values in (line, pixel, angle):
        values[far] = np.nan
    return line, pixel, angle


def _ground(conversion: GroundRange, line: FloatArray, slant: FloatArray) -> FloatArray:
    """Ground range (m) by the conversions before and after a line, blended as they are in SNAP."""
    first, weight = _between(conversion.lines, line)
    result = np.zeros_like(line)
    for index in np.unique(first):
        here = first == index
        found = []
        for which in (index, min(index + 1, conversion.lines.size - 1)):
            away, value = slant[here] - conversion.origin[which], np.zeros(np.count_nonzero(here))
            for number in conversion.coefficients[which][::-1]:
                value = value * away + number
            found.append(value)
        result[here] = found[0] * (1 - weight[here]) + found[1] * weight[here]
    return result


def _grid_height(annotation: Annotation, line: FloatArray, pixel: FloatArray) -> FloatArray:
    """Height of the geolocation grid, blended between its four points."""
    grid = annotation.grid
    i, v = _between(grid.lines, line)
    j, u = _between(grid.pixels, pixel)
    h = grid.height
    above = h[i, j] * (1 - u) + h[i, j + 1] * u
    below = h[i + 1, j] * (1 - u) + h[i + 1, j + 1] * u
    return np.asarray(above * (1 - v) + below * v)


def _between(places: FloatArray, at: FloatArray) -> tuple[Any, FloatArray]:
    """Index of the place before, and the weight of the one after; the ends go on."""
    if places.size == 1:
        return np.zeros(at.shape, np.intp), np.zeros_like(at)
    index = np.clip(np.searchsorted(places, at, side="right") - 1, 0, places.size - 2)
    weight = (at - places[index]) / (places[index + 1] - places[index])
    return index, np.clip(weight, 0, 1)


def locate_nodes(geolocation: Geolocation, spec: RasterSpec, window: Window) -> Nodes:
    """Place the nodes around a window of the grid.

    They belong to the grid and not to the window, so that a pixel has the same place
    whatever window it is read through.
    """
    from pyproj import Transformer

    width, height = spec.resolutions_xy
    step = int(np.clip(NODE_METRES // max(width, height), 1, NODES))
    row, column = window.row_off // step * step, window.col_off // step * step
    rows = np.arange(row, window.row_off + window.height + step, step)
    columns = np.arange(column, window.col_off + window.width + step, step)
    left, _, _, top = spec.bounds
    easting, northing = np.meshgrid(left + columns * width, top - rows * height)
    to_plane = Transformer.from_crs(f"EPSG:{spec.epsg}", geolocation.projection, always_xy=True)
    x, y = to_plane.transform(easting, northing)
    return Nodes(step, row, column, *locate(geolocation, x, y))


def blend(nodes: Nodes, values: FloatArray, rows: FloatArray, columns: FloatArray) -> FloatArray:
    """Values at rows and columns of the grid (pixel edges are whole numbers), ``(y, x)``."""
    i, v = _cell((rows - nodes.row) / nodes.step, values.shape[0])
    j, u = _cell((columns - nodes.column) / nodes.step, values.shape[1])
    across = values[:, j] * (1 - u) + values[:, j + 1] * u
    return np.asarray(across[i] * (1 - v)[:, None] + across[i + 1] * v[:, None])


def _cell(at: FloatArray, size: int) -> tuple[Any, FloatArray]:
    index = np.minimum(np.floor(at).astype(np.intp), size - 2)
    return index, at - index
