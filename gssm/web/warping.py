"""Windows of a UTM zone on the pixels of a tile: each takes the pixel that holds its centre.

Places are transformed exactly on a lattice, and straight between: so every pixel is the right one
but for some thousandths of a pixel, and it takes half a millisecond. GDAL's warper (which
`rio_tiler.io.xarray.XarrayReader` ends in) is right to an eighth of a pixel by default; through
rasterio it takes five times as long, most of it under Python's lock, and it silences warnings for
all threads meanwhile.
"""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from gssm.archive.zones import transformer
from gssm.request import Bbox

if TYPE_CHECKING:
    from gssm.web.windows import Window

MERCATOR = 3857
# Lines of the lattice along a side. A line of s metres bends by s² / 8 R times the tangent of
# the latitude: between those of a tile of 100 km by a metre, of one of 800 km by 15 m.
LINES, FAR_LINES, FAR = 17, 65, 100_000.0


def on_tile(window: Window, bounds: Bbox, size: int, around: Bbox) -> NDArray[np.uint8]:
    """Return a window on the pixels of a tile.

    Parameters
    ----------
    window
        Of a zone; uint8, 0 where there is nothing.
    bounds
        Left, bottom, right and top of the tile in Web Mercator.
    size
        Pixels along its sides.
    around
        West, south, east and north in degrees of the part of the tile that is wanted: far
        from its zone UTM has no places.

    Returns
    -------
    numpy.ndarray
        ``(y, x)`` or ``(band, y, x)``, uint8; 0 where there is nothing.
    """
    image = np.zeros((*window.values.shape[:-2], size, size), np.uint8)
    rows, columns = _part(bounds, size, around)
    left, _, right, top = bounds
    pixel = (right - left) / size
    lines = FAR_LINES if right - left > FAR else LINES
    down, across = (
        np.linspace(part.start + 0.5, part.stop - 0.5, lines) * pixel for part in (rows, columns)
    )
    lon, lat = transformer(MERCATOR, inverse=True).transform(left + across, top - down)
    mesh = np.meshgrid(lon, lat)
    x, y = transformer(window.epsg, inverse=False).transform(*mesh)
    by_row, by_column = (_weights(part.stop - part.start, lines) for part in (rows, columns))
    i, j = (
        np.floor(by_row @ places @ by_column.T).astype(np.int32)
        for places in ((window.top - y) / window.step, (x - window.left) / window.step)
    )
    height, width = window.values.shape[-2:]
    flat = window.values.reshape(*window.values.shape[:-2], height * width)
    layer = flat.take(i * width + j, axis=-1, mode="clip")
    if min(i.min(), j.min()) < 0 or i.max() >= height or j.max() >= width:
        layer[..., (i < 0) | (i >= height) | (j < 0) | (j >= width)] = 0
    image[..., rows, columns] = layer
    return image


def _part(bounds: Bbox, size: int, around: Bbox) -> tuple[slice, slice]:
    """Rows and columns of a tile that meet a box in degrees."""
    west, south, east, north = around
    x, y = transformer(MERCATOR, inverse=False).transform((west, east), (south, north))
    left, bottom, right, top = bounds
    columns = (np.array(x) - left) / (right - left) * size
    rows = (top - np.array(y)[::-1]) / (top - bottom) * size
    parts = []
    for low, high in (rows, columns):
        first = int(np.clip(np.floor(low - 1e-6), 0, size - 1))
        parts.append(slice(first, int(np.clip(np.ceil(high + 1e-6), first + 1, size))))
    return parts[0], parts[1]


@lru_cache(maxsize=64)
def _weights(size: int, lines: int) -> NDArray[np.float64]:
    """Share of each line in each of some pixels, the first on the first line: (pixels, lines)."""
    place = np.linspace(0, lines - 1, size)
    weights: NDArray[np.float64] = np.maximum(0, 1 - np.abs(place[:, None] - np.arange(lines)))
    return weights
