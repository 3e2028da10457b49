"""Overviews of the picture of a square: means of the pixels that have a colour, in one commit.

They are made anew from all pixels whenever a chunk came, so that neither the order of the
chunks nor the runs that wrote them matter. A mean is of the pixels themselves, not of the
level below, rounded to the nearest step, halves up.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
import zarr
from numpy.typing import NDArray

from gssm.archive import groups
from gssm.archive.acquisitions import transact
from gssm.archive.overviews import LEVELS
from gssm.archive.repository import Archive
from gssm.archive.tiles import Square
from gssm.archive.true_color import (
    ABSENT,
    COMPUTED,
    DATE,
    GROUP,
    NAME,
    NOTHING,
    WHOLE,
    WITHOUT_OVERVIEWS,
)
from gssm.archive.zones import PIXELS

Array = NDArray[Any]

# Pixels of a side that are in memory at once: 12 MB. The finer levels nest in it; of the others
# sums are kept for the whole square, 0.4 million pixels at the last of the finer ones.
TILE = 2000
FINE = tuple(level for level in LEVELS if TILE % level == 0)
COARSE = tuple(level for level in LEVELS if TILE % level)


class _Joined(NamedTuple):
    """Sums of colours (3, y, x) under each pixel, and numbers (y, x) of those with a colour."""

    total: Array
    number: Array


def write_overviews(archive: Archive, square: Square) -> bool:
    """Make the overviews of a picture from the chunks that are there, in one transaction.

    Memory is some 100 MB, whatever the number of chunks.

    Returns
    -------
    bool
        False where there was nothing new.

    Raises
    ------
    ArchiveError
        The archive cannot be written; it is as it was.
    """

    def change(root: zarr.Group, _: str) -> bool:
        group = root.get(f"{square.group}/{GROUP}")
        if not isinstance(group, zarr.Group):
            return False
        cells = groups.array(group, COMPUTED)
        known = np.asarray(cells[...])
        if not (known == WITHOUT_OVERVIEWS).any():
            return False
        _write(group, known != ABSENT, archive.chunk)
        for i, j in np.argwhere(known == WITHOUT_OVERVIEWS):
            cells[int(i), int(j)] = WHOLE
        return True

    return transact(archive, f"{square.name} true colour overviews", change)


def _write(group: zarr.Group, known: NDArray[np.bool_], chunk: int) -> None:
    """Write every level, and the first and last day of the images."""
    picture, date = groups.array(group, NAME), groups.array(group, DATE)
    kept = {level: np.full(_shape(level), NOTHING, np.uint8) for level in LEVELS[1:]}
    last = _Joined(np.zeros(_shape(FINE[-1]), np.uint32), np.zeros(_shape(FINE[-1])[1:], np.uint32))
    days: list[int] = []
    for rows, columns in _tiles(known, chunk):
        values = np.asarray(picture[:, rows, columns])
        # Sums of 16 x 16 pixels fit: 65 280.
        joined = _Joined(values.astype(np.uint16), (values[0] != NOTHING).astype(np.uint16))
        for level in FINE:
            joined, window = _halved(joined), _coarser(rows, columns, level)
            # Of the finest level a tile is a whole chunk; of the others a part of one.
            target = kept[level] if level in kept else _overview(group, level)
            target[(slice(None), *window)] = _mean(joined)
        last.total[(slice(None), *window)], last.number[window] = joined
        seen = np.asarray(date[rows, columns])
        seen = seen[seen != NOTHING]
        days += [int(seen.min()), int(seen.max())] if seen.size else []
    for level in COARSE:
        last = _halved(last)
        kept[level][...] = _mean(last)
    for level, values in kept.items():
        _overview(group, level)[...] = values
    if days:
        first, final = (_day(end(days)) for end in (min, max))
        group.attrs.update({"time_coverage_start": first, "time_coverage_end": final})


def _overview(group: zarr.Group, level: int) -> Any:
    return groups.array(group, f"overviews/{level}/{NAME}")


def _tiles(known: NDArray[np.bool_], chunk: int) -> Iterator[tuple[slice, slice]]:
    """Windows of pixels, of those in which there is a chunk."""
    for top in range(0, PIXELS, TILE):
        for left in range(0, PIXELS, TILE):
            cells = tuple(slice(at // chunk, -(-(at + TILE) // chunk)) for at in (top, left))
            if known[cells].any():
                yield slice(top, top + TILE), slice(left, left + TILE)


def _shape(level: int) -> tuple[int, int, int]:
    side = -(-PIXELS // level)
    return 3, side, side


def _coarser(rows: slice, columns: slice, level: int) -> tuple[slice, slice]:
    """Window of a level under a window of pixels that it divides."""
    y, x = (slice(part.start // level, part.stop // level) for part in (rows, columns))
    return y, x


def _halved(joined: _Joined) -> _Joined:
    """Join two by two pixels; a last one without a neighbour stays alone."""
    return _Joined(*(_pairs(_pairs(values, -1), -2) for values in joined))


def _pairs(values: Array, axis: int) -> Array:
    moved = np.moveaxis(values, axis, 0)
    if len(moved) % 2:
        moved = np.concatenate([moved, np.zeros_like(moved[:1])])
    return np.moveaxis(moved[0::2] + moved[1::2], 0, axis)


def _mean(joined: _Joined) -> Array:
    """Mean to the nearest step, halves up; nothing where no pixel has a colour."""
    count = joined.number.astype(np.uint32)
    mean = (2 * joined.total.astype(np.uint32) + count) // np.maximum(2 * count, 1)
    return np.where(count > 0, mean, NOTHING).astype(np.uint8)


def _day(days: int) -> str:
    return str(dt.date(1970, 1, 1) + dt.timedelta(days=days))
