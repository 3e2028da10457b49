"""Overviews of one date of one square: 2 to 64 times coarser, from its packed chunks.

Values are averaged over the pixels that have one, flags are united. Averages are made of
packed integers: their sums are exact, so that an overview of a level is the mean of the pixels
themselves, not of the level below, and depends neither on the order nor on the size of chunks.
A mean is rounded to the nearest step of the packing, halves up.

A level whose pixels do not straddle chunks is finished with each chunk; of the others, sums
are kept for the whole square, at the finest of them.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, NamedTuple

import numpy as np
from odc.geo.geobox import GeoBox

from gssm.archive.packing import PACKINGS
from gssm.errors import CubeError, RequestError

Array = np.ndarray[Any, Any]
Index = tuple[int, int]
Window = tuple[slice, slice]
# Level, row and column of a block.
Key = tuple[int, int, int]

# Pixels along one side of an overview's pixel; each level is made of the one before.
LEVELS = (2, 4, 8, 16, 32, 64)
NAMES = ("soil_moisture", "soil_moisture_uncertainty", "quality_flag")
# Pixels along one side of a square, and of what is finished and stored at once.
PIXELS = 10_000
BLOCK = 1000


class Overview(NamedTuple):
    """One block of one level: its place among the level's pixels, and what has a value there."""

    level: int
    window: Window
    values: dict[str, Array]


class _Joined(NamedTuple):
    """Sums, or unions of flags, of the valid pixels under each pixel, and how many these are."""

    total: Array
    valid: Array


class Pyramid:
    """Overviews of one date of one square, made while its chunks come in, in any order.

    With three variables and chunks of 1000 or 500, memory is at most 60 MB where the chunks
    come row by row. In the worst order it is 180 MB, or 60 with a `block` of half a chunk. A
    chunk that 4 does not divide takes up to 200 MB, an odd one 500.

    Parameters
    ----------
    coverage
        Row and column of each chunk that will be added.
    chunk
        Pixels along one side of a chunk; divides `pixels`.
    block
        Largest number of pixels along one side of what `add` returns: that of the chunks in
        which overviews are stored, so that each is written once.
    pixels
        Pixels along one side of the square.

    Raises
    ------
    RequestError
        The chunks do not fill the square, or one of them lies outside.
    """

    def __init__(
        self,
        coverage: Iterable[Index],
        chunk: int = 1000,
        *,
        block: int = BLOCK,
        pixels: int = PIXELS,
    ) -> None:
        if min(chunk, block, pixels) < 1 or pixels % chunk:
            raise RequestError(
                f"chunks of {chunk} pixels do not fill a square of {pixels} (blocks of {block}); "
                "give a divisor, such as 1000, and blocks of one pixel or more."
            )
        self._chunk, self._block, self._pixels = chunk, block, pixels
        self._waiting = set(coverage)
        for index in self._waiting:
            if not all(0 <= place < pixels // chunk for place in index):
                raise RequestError(
                    f"chunk {index} lies outside a square of {pixels // chunk} chunks a side; "
                    "give rows and columns from 0."
                )
        self._at_once = [level for level in LEVELS if chunk % level == 0]
        self._later = [level for level in LEVELS if chunk % level]
        self._due = Counter(key for index in self._waiting for key in self._keys(index))
        self._blocks: dict[Key, dict[str, Array]] = {}
        self._sums: dict[str, _Joined] = {}

    @property
    def missing(self) -> list[Index]:
        """Chunks that were announced and have not been added yet."""
        return sorted(self._waiting)

    def add(self, index: Index, packed: Mapping[str, Array]) -> list[Overview]:
        """Add a chunk; return the blocks that are finished by it.

        Parameters
        ----------
        index
            Row and column of the chunk.
        packed
            Packed integers (chunk, chunk) by name; of names other than `NAMES` nothing is
            made. What is absent has no value, so that ``{}`` is a chunk without any.

        Returns
        -------
        list of Overview
            Blocks, at multiples of `block`, that no other chunk reaches, without what has no
            value anywhere; with the last chunk, all that are left.

        Raises
        ------
        RequestError
            The chunk was not announced, or was added before.
        CubeError
            An array has another shape or type than a packed chunk; nothing is changed.
        """
        if index not in self._waiting:
            raise RequestError(
                f"chunk {index} was added before, or is not one that the overviews wait for; "
                "name each chunk in their coverage and add it once."
            )
        given = {name: packed[name] for name in NAMES if name in packed}
        for name, values in given.items():
            self._check(name, values)
        self._waiting.remove(index)
        corner = (index[0] * self._chunk, index[1] * self._chunk)
        for name, values in given.items():
            joined = _pixels(name, values)
            if joined.valid.any():
                self._take(name, joined, corner)
        finished = list(self._finished(index))
        return finished if self._waiting else [*finished, *self._rest()]

    def _check(self, name: str, values: Array) -> None:
        shape = (self._chunk, self._chunk)
        if values.shape != shape or values.dtype != PACKINGS[name].dtype:
            raise CubeError(
                f"{name} is {values.dtype} {values.shape}, and its packed chunk is "
                f"{PACKINGS[name].dtype} {shape}; pack it with gssm.archive.packing.pack."
            )

    def _take(self, name: str, joined: _Joined, corner: Index) -> None:
        for level in self._at_once:
            joined = _halved(name, joined, level)
            self._place(name, level, (corner[0] // level, corner[1] // level), joined)
        if self._later:
            self._gather(name, joined, corner)

    def _place(self, name: str, level: int, corner: Index, joined: _Joined) -> None:
        """Copy finished pixels into the blocks that they lie in."""
        values = _packed(name, joined)
        own = _window(corner, values.shape)
        for row, column in _overlapped(own, self._block):
            key = (level, row, column)
            common = _common(own, self._window(*key))
            source = _shifted(common, corner)
            if not joined.valid[source].any():
                continue
            if name not in (held := self._blocks.setdefault(key, {})):
                shape = [part.stop - part.start for part in self._window(*key)]
                held[name] = np.full(shape, PACKINGS[name].fill, PACKINGS[name].dtype)
            target = _shifted(common, (row * self._block, column * self._block))
            held[name][target] = values[source]

    def _gather(self, name: str, joined: _Joined, corner: Index) -> None:
        """Add a chunk to the sums of the square, where its pixels may straddle chunks."""
        level = self._later[0]
        if name not in self._sums:
            side = -(-self._pixels // level)
            # Pages that no chunk reaches are never touched, and take no memory.
            made = (np.zeros((side, side), t) for t in _dtypes(name, level))
            self._sums[name] = _Joined(*made)
        finer = level // 2
        before = (corner[0] // finer % 2, corner[1] // finer % 2)
        part = _halved(name, joined, level, before)
        window = _window((corner[0] // level, corner[1] // level), part.total.shape)
        for join, held, added in zip(_joins(name), self._sums[name], part, strict=True):
            join(held[window], added, out=held[window])

    def _finished(self, index: Index) -> Iterator[Overview]:
        for key in self._keys(index):
            self._due[key] -= 1
            if self._due[key] == 0 and key in self._blocks:
                yield Overview(key[0], self._window(*key), self._blocks.pop(key))

    def _rest(self) -> Iterator[Overview]:
        """Overviews of the levels whose pixels straddle chunks; the sums are given up."""
        for level in self._later:
            if level != self._later[0]:
                self._sums = {n: _halved(n, s, level) for n, s in self._sums.items()}
            side = -(-self._pixels // level)
            for row, column in _overlapped(_window((0, 0), (side, side)), self._block):
                window = self._window(level, row, column)
                parts = {n: _Joined(*(a[window] for a in s)) for n, s in self._sums.items()}
                values = {n: _packed(n, part) for n, part in parts.items() if part.valid.any()}
                if values:
                    yield Overview(level, window, values)
        self._sums = {}

    def _keys(self, index: Index) -> Iterator[Key]:
        """Blocks that a chunk reaches, of the levels that are finished with it."""
        for level in self._at_once:
            size = self._chunk // level
            own = _window((index[0] * size, index[1] * size), (size, size))
            for row, column in _overlapped(own, self._block):
                yield level, row, column

    def _window(self, level: int, row: int, column: int) -> Window:
        side = -(-self._pixels // level)
        rows, columns = (
            slice(i * self._block, min((i + 1) * self._block, side)) for i in (row, column)
        )
        return rows, columns


def overview_grid(grid: GeoBox, level: int) -> GeoBox:
    """Grid of an overview: the same upper left corner, pixels `level` times as large.

    Where `level` does not divide the size of the grid, the last row and column reach beyond
    it: only a part of their ground is in the grid, and only that is averaged.
    """
    rows, columns = (-(-side // level) for side in grid.shape)
    return GeoBox((rows, columns), grid.affine * grid.affine.scale(level), grid.crs)


def _joins(name: str) -> tuple[np.ufunc, np.ufunc]:
    """How values and their numbers are joined: flags have no scale, and no sum."""
    return (np.bitwise_or if PACKINGS[name].scale is None else np.add), np.add


def _dtypes(name: str, level: int) -> tuple[np.dtype[Any], np.dtype[Any]]:
    """Smallest types that hold what is joined under one pixel of a level."""
    how, under = PACKINGS[name], level**2
    total = np.dtype(how.dtype) if how.scale is None else np.min_scalar_type(how.fill * under)
    return total, np.min_scalar_type(under)


def _pixels(name: str, packed: Array) -> _Joined:
    valid = packed != PACKINGS[name].fill
    return _Joined(packed * valid, valid.view(np.uint8))


def _halved(name: str, joined: _Joined, level: int, before: Index = (0, 0)) -> _Joined:
    """Join two by two pixels, into those of `level`.

    The first pixel is the second of its pair where `before` says so; pixels that are not
    there count for nothing.
    """
    shape = joined.total.shape
    pads = [(b, (b + size) % 2) for b, size in zip(before, shape, strict=True)]
    halves = []
    for join, values, dtype in zip(_joins(name), joined, _dtypes(name, level), strict=True):
        even = np.pad(values, pads) if np.any(pads) else values
        rows = join(even[0::2], even[1::2], dtype=dtype)
        halves.append(join(rows[:, 0::2], rows[:, 1::2], dtype=dtype))
    return _Joined(*halves)


def _packed(name: str, joined: _Joined) -> Array:
    """Return the mean to the nearest step, halves up, or the union of flags; fill where none."""
    how, value = PACKINGS[name], joined.total
    if how.scale is not None:
        # Twice a sum of 64 x 64 pixels of 16 bits has 30.
        count = joined.valid.astype(np.uint32)
        value = (2 * value.astype(np.uint32) + count) // np.maximum(2 * count, 1)
    return np.where(joined.valid > 0, value, how.fill).astype(how.dtype)


def _window(corner: Index, shape: tuple[int, ...]) -> Window:
    return slice(corner[0], corner[0] + shape[0]), slice(corner[1], corner[1] + shape[1])


def _shifted(window: Window, corner: Index) -> Window:
    """Return a window as seen from a corner."""
    rows, columns = (
        slice(part.start - at, part.stop - at) for part, at in zip(window, corner, strict=True)
    )
    return rows, columns


def _common(one: Window, other: Window) -> Window:
    rows, columns = (
        slice(max(a.start, b.start), min(a.stop, b.stop)) for a, b in zip(one, other, strict=True)
    )
    return rows, columns


def _overlapped(window: Window, block: int) -> Iterator[Index]:
    """Rows and columns of the blocks that a window reaches."""
    rows, columns = (range(part.start // block, -(-part.stop // block)) for part in window)
    for row in rows:
        for column in columns:
            yield row, column
