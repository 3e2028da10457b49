"""The pixels of an area on one date, as they are stored: chunk by chunk, in bounded memory.

Pixels count whole, if their centres lie inside, and each place has one owner, as in
`gssm.polygon_series`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gssm.archive.packing import PACKINGS
from gssm.archive.pieces import pieces, shapes_of
from gssm.archive.polygons import RASTERIZING
from gssm.archive.tiles import Square, chunk_grid, chunk_window, chunks_over, owned, squares_over
from gssm.archive.troubles import archiving
from gssm.archive.zones import BANDS, EQUATOR
from gssm.web.datasets import Dataset


@dataclass(frozen=True, eq=False)
class Patch:
    """Pixels of an area in one chunk: a window of a square, and which of it they are.

    Attributes
    ----------
    square
        Square of MGRS.
    window
        Rows and columns of the square.
    mask
        bool, of the window.
    """

    square: Square
    window: tuple[slice, slice]
    mask: NDArray[np.bool_]


def patches(area: Any, chunk: int) -> Iterator[Patch]:
    """Cut an area into pixels of chunks.

    Parameters
    ----------
    area
        Polygons in degrees, as shapely has them.
    chunk
        Side of a chunk in pixels.

    Raises
    ------
    RequestError
        The area cannot serve.
    """
    shapes = shapes_of(area)
    for square in squares_over(area):
        inside = [piece for _, _, piece in pieces(shapes, _bands(square))]
        for index in chunks_over(square, area, chunk):
            patch = _patch(square, index, chunk, inside)
            if patch is not None:
                yield patch


def _bands(square: Square) -> list[tuple[int, int]]:
    """Zone and bands in which a square can own pixels."""
    south, band = square.band < "N", BANDS.index(square.band)
    near = range(max(band - 1, 0), min(band + 2, len(BANDS)))
    return [(square.zone, b) for b in near if (b < EQUATOR) == south]


def _patch(
    square: Square, index: tuple[int, int], chunk: int, inside: Sequence[Any]
) -> Patch | None:
    """Pixels in a chunk, in the smallest window around them; None if there are none."""
    import shapely
    from rasterio.features import rasterize

    grid = chunk_grid(square, index, chunk)
    box = shapely.box(*grid.boundingbox.bbox)
    cut = [shapely.intersection(piece, box) for piece in inside]
    shown = [piece for piece in cut if piece.area]
    if not shown:
        return None
    with RASTERIZING:
        burnt = rasterize(shown, grid.shape, transform=grid.affine, dtype="uint8")
    rows, columns = chunk_window(index, chunk)
    ours = owned(square, rows, columns)
    mask = burnt == 1 if ours is None else (burnt == 1) & ours
    if not mask.any():
        return None
    spans = []
    for axis in (1, 0):
        there = np.flatnonzero(mask.any(axis=axis))
        spans.append(slice(int(there[0]), int(there[-1]) + 1))
    window = [
        slice(first.start + span.start, first.start + span.stop)
        for first, span in zip((rows, columns), spans, strict=True)
    ]
    return Patch(square, (window[0], window[1]), mask[spans[0], spans[1]])


def read_patch(
    dataset: Dataset, patch: Patch, passes: Sequence[int], names: Sequence[str]
) -> dict[str, NDArray[Any]]:
    """Read the stored numbers of the pixels of a patch; where passes overlap, of the last.

    Parameters
    ----------
    dataset
        Which.
    patch
        Pixels.
    passes
        Numbers along the dataset's timeline, in order of time.
    names
        Of the variables; ``quality_flag`` is read in any case.

    Returns
    -------
    dict
        For each name the numbers of the pixels in the mask, with the fill where no pass has
        computed the pixel.
    """
    number = int(patch.mask.sum())
    found = {name: np.full(number, PACKINGS[name].fill, PACKINGS[name].dtype) for name in names}
    flags = np.full(number, PACKINGS["quality_flag"].fill, PACKINGS["quality_flag"].dtype)
    if patch.square not in dataset.squares:
        return found | {"quality_flag": flags}
    places = dataset.timeline.places[dataset.squares.index(patch.square)]
    with archiving(dataset.snapshot.archive.url):
        for place in (int(places[n]) for n in passes if places[n] >= 0):
            read = {
                name: np.asarray(dataset.snapshot.array(patch.square, name)[(place, *patch.window)])
                for name in {*names, "quality_flag"}
            }
            now = read["quality_flag"][patch.mask]
            computed = now != PACKINGS["quality_flag"].fill
            flags[computed] = now[computed]
            for name in names:
                found[name][computed] = read[name][patch.mask][computed]
    return found | {"quality_flag": flags}
