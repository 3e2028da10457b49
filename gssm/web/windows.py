"""Windows of one variable of a dataset in the plane of a UTM zone, at a level of its overviews.

Stored chunks are decoded once and kept, within a number of bytes: neighbouring tiles read the same.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any

import numpy as np
from affine import Affine
from numpy.typing import NDArray

from gssm.archive.groups import OVERVIEW_CHUNK
from gssm.archive.mosaic import corner
from gssm.archive.overviews import LEVELS
from gssm.archive.packing import PACKINGS, unpack
from gssm.archive.snapshots import Snapshot
from gssm.archive.tiles import Square
from gssm.archive.troubles import archiving
from gssm.archive.zones import PIXEL, PIXELS
from gssm.errors import RequestError
from gssm.request import Bbox
from gssm.web.caching import OnceCache
from gssm.web.datasets import TRUE_COLOR, Dataset

if TYPE_CHECKING:
    import xarray as xr

EVERY_LEVEL = (1, *LEVELS)
# Levels whose pixels do not divide a square begin anew in each; on this one all squares agree.
COMMON = 16
BANDS = 3  # of true colour
# Pixels along a side of what is read and kept at once: small chunks are read together.
BLOCK = 512
CACHE_BYTES = 256 << 20
# Of a block without any value, which takes no memory: what its entry takes.
ENTRY_BYTES = 512
# Blocks that are fetched at once: of a store in the cloud each waits some tens of milliseconds.
AT_ONCE = 8

Block = NDArray[Any] | None

blocks: OnceCache[Block] = OnceCache(
    CACHE_BYTES, lambda block: ENTRY_BYTES + (0 if block is None else block.nbytes)
)


@cache
def _readers() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(AT_ONCE, "gssm-blocks")


@dataclass(frozen=True, eq=False)
class Window:
    """Pixels of the plane of a UTM zone.

    Attributes
    ----------
    epsg
        Of the zone.
    left, top
        Metres of the upper left corner.
    step
        Metres of a pixel.
    values
        ``(y, x)``, or ``(band, y, x)``.
    """

    epsg: int
    left: float
    top: float
    step: float
    values: NDArray[Any]

    @property
    def transform(self) -> Affine:
        """From pixels to metres."""
        return Affine(self.step, 0, self.left, 0, -self.step, self.top)


def level_for(resolution: float) -> int:
    """Return the coarsest level whose pixels are no larger than a resolution in metres, or 1."""
    fits = [level for level in EVERY_LEVEL if level * PIXEL <= resolution * (1 + 1e-9)]
    return max(fits, default=1)


def read_window(
    dataset: Dataset,
    name: str,
    passes: Sequence[int],
    bounds: Bbox,
    *,
    epsg: int,
    level: int = 1,
) -> xr.DataArray:
    """Read a window of a variable, over all squares of a zone.

    Parameters
    ----------
    dataset
        Which.
    name
        ``soil_moisture``, ``soil_moisture_uncertainty``, ``quality_flag`` or ``true_color``.
    passes
        Numbers of passes, each laid on top of those before (`gssm.web.datasets.find_date`);
        without meaning for ``true_color``.
    bounds
        Left, bottom, right and top in metres of the zone.
    epsg
        Of the zone.
    level
        Of the overviews, 2 to 64, or 1.

    Returns
    -------
    xarray.DataArray
        ``(y, x)``, float32 with NaN where there is no value; flags uint16 with ``nodata`` 65535;
        colours ``(band, y, x)`` uint8 with ``nodata`` 0. It holds the bounds where there are
        squares. The pixels of levels 32 and 64, which do not divide a square, are cut into
        those of level 16.

    Raises
    ------
    RequestError
        The dataset has no square there, or there is no such level.
    ArchiveError
        The archive cannot be read.
    """
    if level not in EVERY_LEVEL:
        raise RequestError(f"level {level} is none; give one of {EVERY_LEVEL}.")
    squares = [square for square in dataset.squares if square.epsg == epsg]
    window = read_packed(dataset, name, passes, squares, bounds, level=level)
    if window is None:
        raise RequestError(f"dataset {dataset.id} has no square of EPSG:{epsg} in {bounds}.")
    return _as_array(window, name)


def _as_array(window: Window, name: str) -> xr.DataArray:
    import rioxarray  # noqa: F401
    import xarray as xr

    values, nodata = window.values, float(_fill(name))
    if name in PACKINGS and PACKINGS[name].scale is not None:
        values, nodata = unpack(name, values), np.nan
    rows, columns = (np.arange(size) + 0.5 for size in values.shape[-2:])
    coordinates = {
        "y": window.top - rows * window.step,
        "x": window.left + columns * window.step,
    }
    array = xr.DataArray(values, coordinates, ("band", "y", "x")[-values.ndim :], name=name)
    found: xr.DataArray = array.rio.write_crs(window.epsg).rio.write_nodata(nodata)
    return found


def _fill(name: str) -> int:
    return 0 if name == TRUE_COLOR else PACKINGS[name].fill


def read_packed(
    dataset: Dataset,
    name: str,
    passes: Sequence[int],
    squares: Sequence[Square],
    bounds: Bbox,
    *,
    level: int = 1,
    lookup: NDArray[np.uint8] | None = None,
) -> Window | None:
    """Read a window as it is stored, or by a table of what is stored.

    Parameters
    ----------
    dataset, name, passes, bounds, level
        As of `read_window`.
    squares
        Of one zone.
    lookup
        Number to return for each stored one; 0 means no value then.

    Returns
    -------
    Window or None
        None where no square reaches into the bounds.
    """
    if not squares:
        return None
    step, metres = min(level, COMMON), float(min(level, COMMON) * PIXEL)
    span = _span(squares, bounds, step)
    if any(part.start >= part.stop for part in span):
        return None
    fill = 0 if lookup is not None else _fill(name)
    dtype = np.dtype(np.uint8) if lookup is not None or name == TRUE_COLOR else PACKINGS[name].dtype
    bands = (BANDS,) if name == TRUE_COLOR else ()
    values = np.full((*bands, *(part.stop - part.start for part in span)), fill, dtype)
    pieces = [
        piece
        for layer in _layers(dataset, name, passes, squares, level)
        for piece in _pieces(dataset.snapshot, layer, span, level)
    ]
    _fetch(dataset.snapshot, [piece.key for piece in pieces])
    for piece in pieces:
        block = _block(dataset.snapshot, piece.key)
        if block is None:
            continue
        part = block[(..., *piece.inside)]
        part = part if lookup is None else lookup[part]
        if level > step:
            part = part.repeat(level // step, -2).repeat(level // step, -1)[(..., *piece.cut)]
        target = values[(..., *piece.target)]
        if piece.is_first:
            target[...] = part
        else:
            np.copyto(target, part, where=part != fill)
    top, left = (part.start * metres for part in span)
    return Window(squares[0].epsg, left, -top, metres, values)


def _span(squares: Sequence[Square], bounds: Bbox, step: int) -> tuple[slice, slice]:
    """Rows and columns of a zone's plane, in pixels of a step, that bounds and squares share."""
    left, bottom, right, top = (edge / (step * PIXEL) for edge in bounds)
    # A pixel more on each side, for what lies on the edge.
    asked = (
        math.floor(-top) - 1,
        math.ceil(-bottom) + 1,
        math.floor(left) - 1,
        math.ceil(right) + 1,
    )
    corners = np.array([corner(square) for square in squares]) // step
    (first, west), (last, east) = corners.min(axis=0), corners.max(axis=0) + PIXELS // step
    rows = slice(max(asked[0], int(first)), min(asked[1], int(last)))
    return rows, slice(max(asked[2], int(west)), min(asked[3], int(east)))


@dataclass(frozen=True)
class _Layer:
    """One square on one date: where it lies in the store, and whether any was laid before."""

    square: Square
    path: str
    lead: int | None
    is_first: bool


def _layers(
    dataset: Dataset, name: str, passes: Sequence[int], squares: Sequence[Square], level: int
) -> Iterator[_Layer]:
    folder = "" if level == 1 else f"overviews/{level}/"
    if name == TRUE_COLOR:
        for square in squares:
            if square in dataset.true_color:
                yield _Layer(square, f"{TRUE_COLOR}/{folder}{TRUE_COLOR}", None, True)
        return
    for square in squares:
        places = dataset.timeline.places[dataset.order[square], list(passes)]
        for number, place in enumerate(places[places >= 0]):
            yield _Layer(square, f"{folder}{name}", int(place), number == 0)


Key = tuple[Square, str, int | None, int, int, int]


@dataclass(frozen=True)
class _Piece:
    """Part of a window: which block, where in it, where in that, repeated; and where it goes."""

    key: Key
    inside: tuple[slice, slice]
    cut: tuple[slice, slice]
    target: tuple[slice, slice]
    is_first: bool


def _pieces(
    snapshot: Snapshot, layer: _Layer, span: tuple[slice, slice], level: int
) -> Iterator[_Piece]:
    step = min(level, COMMON)
    times, side = level // step, PIXELS // step
    chunk = OVERVIEW_CHUNK if level > 1 else snapshot.archive.chunk
    size = chunk * max(1, BLOCK // chunk)
    cuts = []
    for part, first in zip(span, (at // step for at in corner(layer.square)), strict=True):
        start, stop = max(part.start - first, 0), min(part.stop - first, side)
        cuts.append([*_cuts(start, stop, size * times, times, first - part.start)])
    for row, *rows in cuts[0]:
        for column, *columns in cuts[1]:
            key = (layer.square, layer.path, layer.lead, row, column, size)
            inside, cut, target = zip(rows, columns, strict=True)
            yield _Piece(key, inside, cut, target, layer.is_first)


def _cuts(
    start: int, stop: int, size: int, times: int, shift: int
) -> Iterator[tuple[int, slice, slice, slice]]:
    """Cut pixels along an axis at blocks, whose own pixels are each so many times as large."""
    for number in range(start // size, -(-stop // size)) if start < stop else ():
        low, high = max(start, number * size), min(stop, (number + 1) * size)
        first, last = low // times, -(-high // times)
        inside = slice(first - number * size // times, last - number * size // times)
        yield (
            number,
            inside,
            slice(low - first * times, high - first * times),
            slice(low + shift, high + shift),
        )


def _fetch(snapshot: Snapshot, keys: Sequence[Key]) -> None:
    """Read blocks that are not at hand, several at once."""
    absent = [key for key in dict.fromkeys(keys) if not blocks.has(_named(snapshot, key))]
    if len(absent) > 1:
        for _ in _readers().map(lambda key: _block(snapshot, key), absent):
            pass


def _named(snapshot: Snapshot, key: Key) -> tuple[Any, ...]:
    return (snapshot.archive.url, snapshot.id, *key)


def _block(snapshot: Snapshot, key: Key) -> Block:
    return blocks.get(_named(snapshot, key), lambda: _read(snapshot, *key))


def _read(
    snapshot: Snapshot,
    square: Square,
    path: str,
    lead: int | None,
    row: int,
    column: int,
    size: int,
) -> Block:
    with archiving(snapshot.archive.url):
        array = snapshot.array(square, path)
        window = tuple(slice(at * size, (at + 1) * size) for at in (row, column))
        block = np.asarray(array[(slice(None) if lead is None else lead, *window)])
    if (block == array.fill_value).all():
        return None
    block.flags.writeable = False
    return block
