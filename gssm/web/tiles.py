"""Tiles of a map in Web Mercator, drawn from the windows of a dataset.

Every pixel of a tile has the value of the pixel of the archive, or of its overview, that holds the
pixel's centre (nearest neighbour, for all variables): what a reader sees is what is there.
Numbers become colours before they are warped, one byte a pixel, and a PNG keeps them as a table of
colours. The grid of tiles is morecantile's, colour maps and other images are rio-tiler's; its own
way through `XarrayReader.tile` and `ImageData.render` comes to the same picture, in many times
the time (docs/web-speed.md).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import lru_cache
from typing import Any, Literal

import numpy as np
from affine import Affine
from numpy.typing import NDArray

from gssm.archive.tiles import Square
from gssm.archive.zones import transformer
from gssm.errors import RequestError
from gssm.request import Bbox
from gssm.web.borders import is_within, mend
from gssm.web.caching import OnceCache
from gssm.web.colors import Palette, check_variable, palette
from gssm.web.datasets import TRUE_COLOR, Dataset, find_date
from gssm.web.warping import MERCATOR, on_tile
from gssm.web.windows import BANDS, Window, level_for, read_packed

Format = Literal["png", "webp"]
FORMATS = ("png", "webp")
SIZES = (256, 512)
# Beyond the zoom of its own pixels a map enlarges them.
MORE_ZOOMS = 3
CACHE_BYTES = 64 << 20
# Fast, and a tenth larger than the best.
PNG_LEVEL = 1
# Of images in true colour: as WebP with a loss that nobody sees.
COLOR_OPTIONS: dict[str, dict[str, Any]] = {
    "png": {"zlevel": PNG_LEVEL},
    "webp": {"QUALITY": 80, "METHOD": 1},
}
# Twice as fast as by default, and 6 % larger.
LOSSLESS: dict[str, Any] = {"LOSSLESS": True, "METHOD": 0, "QUALITY": 20}
# rasterio warns of images without a place, and to silence it is not safe among threads.
SOMEWHERE = Affine(2, 0, 0, 0, -2, 0)

tiles: OnceCache[bytes] = OnceCache(CACHE_BYTES, len)


def render_tile(
    dataset: Dataset,
    variable: str,
    date: str,
    x: int,
    y: int,
    z: int,
    *,
    size: int = 256,
    colormap: str | None = None,
    span: tuple[float | None, float | None] | None = None,
    format: Format = "png",
) -> bytes:
    """Draw a tile, or return it as it was drawn before.

    Parameters
    ----------
    dataset
        Which.
    variable
        Of `gssm.web.colors.VARIABLES`.
    date
        As of `gssm.web.datasets.find_date`; without meaning for ``true_color``.
    x, y, z
        Column, row and zoom of WebMercatorQuad.
    size
        Pixels along a side, 256 or 512.
    colormap, span
        As of `gssm.web.colors.palette`.
    format
        ``png`` or ``webp``; without loss, but for ``true_color`` as WebP.

    Returns
    -------
    bytes
        The image; transparent where there is no value.

    Raises
    ------
    RequestError
        There is no such tile, variable, colour map, size or format.
    UnknownDateError
        The dataset has no such date.
    ArchiveError
        The archive cannot be read.
    """
    check_variable(variable)
    _check_tile(dataset, x, y, z, size, format)
    passes = () if variable == TRUE_COLOR else find_date(dataset, date)
    colors = None if variable == TRUE_COLOR and not colormap else palette(variable, colormap, span)
    look = (variable, passes, size, colormap, span, format)

    def draw() -> bytes:
        return _draw(dataset, variable, passes, (x, y, z), size, colors, format)

    return tiles.get((dataset.url, dataset.version, x, y, z, *look), draw)


def _check_tile(dataset: Dataset, x: int, y: int, z: int, size: int, format: str) -> None:
    highest = dataset.maxzoom + MORE_ZOOMS
    if not dataset.minzoom <= z <= highest:
        raise RequestError(
            f"zoom {z} is beyond the tiles of dataset {dataset.id}; give {dataset.minzoom} to "
            f"{highest}."
        )
    if not (0 <= x < 1 << z and 0 <= y < 1 << z):
        raise RequestError(
            f"tile {z}/{x}/{y} is not on the map; give columns and rows from 0 to {(1 << z) - 1}."
        )
    if size not in SIZES or format not in FORMATS:
        raise RequestError(f"tiles have {SIZES} pixels a side, as png or webp; ask for these.")


def _draw(
    dataset: Dataset,
    variable: str,
    passes: Sequence[int],
    tile: tuple[int, int, int],
    size: int,
    colors: Palette | None,
    format: str,
) -> bytes:
    from morecantile import Tile
    from rio_tiler.constants import WEB_MERCATOR_TMS

    bounds = WEB_MERCATOR_TMS.xy_bounds(Tile(*tile))
    to_degrees = transformer(MERCATOR, inverse=True)
    (west, east), (south, north) = to_degrees.transform(bounds[::2], bounds[1::2])
    boxes = dataset.boxes
    meets = (
        (boxes[:, 0] < east) & (boxes[:, 2] > west) & (boxes[:, 1] < north) & (boxes[:, 3] > south)
    )
    zones: dict[int, list[Square]] = {}
    for number in np.flatnonzero(meets):
        zones.setdefault(dataset.squares[number].epsg, []).append(dataset.squares[number])
    scale = math.cos(math.radians((south + north) / 2))
    level = level_for((bounds.right - bounds.left) / size * scale)
    image = np.zeros((*(() if colors is not None else (BANDS,)), size, size), np.uint8)
    for squares in zones.values():
        every = [boxes[dataset.order[square]] for square in squares]
        around = _common(every, (west, south, east, north))
        metres = transformer(squares[0].epsg, inverse=False).transform_bounds(*around)
        lookup = None if colors is None else colors.lookup
        window = read_packed(dataset, variable, passes, squares, metres, level=level, lookup=lookup)
        if window is not None:
            _lay(image, squares[0].zone, window, bounds, around)
    return encode(image, colors, format)


def _lay(image: NDArray[np.uint8], zone: int, window: Window, bounds: Bbox, around: Bbox) -> None:
    """Lay a window of a zone on a tile; `around` is in degrees what of the tile it can reach."""
    layer = on_tile(window, bounds, image.shape[-1], around)
    if not is_within(zone, around):
        mend(layer, zone, window, bounds)
    np.copyto(image, layer, where=layer != 0)


def _common(boxes: Sequence[NDArray[Any]], tile: Bbox) -> Bbox:
    """Part of a tile, in degrees, that boxes reach."""
    every = np.array(boxes)
    west, south = np.maximum(every[:, :2].min(axis=0), tile[:2])
    east, north = np.minimum(every[:, 2:].max(axis=0), tile[2:])
    return float(west), float(south), float(east), float(north)


def encode(image: NDArray[np.uint8], colors: Palette | None, format: str) -> bytes:
    """Return a tile as PNG or WebP.

    Parameters
    ----------
    image
        ``(y, x)`` numbers of colours, or ``(band, y, x)`` red, green and blue; 0 is nothing.
    colors
        What the numbers mean; None for red, green and blue.
    format
        ``png`` or ``webp``.
    """
    from rasterio.env import Env

    if not image.any():
        return _empty(image.shape[-1], format)
    with Env(GDAL_PAM_ENABLED="NO"):
        return _encode(image, colors, format)


def _encode(image: NDArray[np.uint8], colors: Palette | None, format: str) -> bytes:
    if colors is not None and format == "png":
        return _palette_png(image, colors)
    if colors is None:
        seen = np.asarray(image.any(axis=0))
        return _render(image, seen, format, **COLOR_OPTIONS[format])
    return _render(colors.colors[image, :3].transpose(2, 0, 1), image != 0, format, **LOSSLESS)


def _render(rgb: NDArray[np.uint8], seen: NDArray[np.bool_], format: str, **options: Any) -> bytes:
    from rio_tiler.models import ImageData

    picture = ImageData(np.ma.MaskedArray(rgb, np.broadcast_to(~seen, rgb.shape)))
    return bytes(picture.render(img_format=format.upper(), transform=SOMEWHERE, **options))


def _palette_png(image: NDArray[np.uint8], colors: Palette) -> bytes:
    """Return a PNG of one byte a pixel, with its table of colours."""
    from rasterio.io import MemoryFile

    height, width = image.shape
    profile = {"driver": "PNG", "dtype": "uint8", "count": 1, "height": height, "width": width}
    with MemoryFile() as file:
        with file.open(**profile, transform=SOMEWHERE, zlevel=PNG_LEVEL) as target:
            target.write_colormap(1, colors.table)
            target.write(image, 1)
        return bytes(file.read())


@lru_cache(maxsize=8)
def _empty(size: int, format: str) -> bytes:
    """Tile without anything."""
    options = LOSSLESS if format == "webp" else {"zlevel": 9}
    nothing = np.zeros((BANDS, size, size), np.uint8)
    return _render(nothing, np.zeros((size, size), bool), format, **options)
