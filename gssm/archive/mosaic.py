"""Squares of one zone as one array ``(time, y, x)``, and zones as one in another CRS.

Both are array-likes that read what is asked of them, so that Dask needs one task for a chunk
and nothing is planned for pixels that nobody wants.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from affine import Affine
from numpy.typing import NDArray
from odc.geo.geobox import GeoBox

from gssm.archive.packing import NOT_COMPUTED, PACKINGS, unpack
from gssm.archive.snapshots import Snapshot
from gssm.archive.tiles import Square, owned
from gssm.archive.troubles import archiving
from gssm.archive.zones import PIXEL, PIXELS

Window = tuple[slice, slice]


def decode(name: str, packed: NDArray[Any]) -> NDArray[Any]:
    """Return stored numbers as users read them: float32 with NaN, flags with `NOT_COMPUTED`."""
    how = PACKINGS[name]
    if how.scale is not None:
        return unpack(name, packed)
    return np.where(packed == how.fill, np.uint16(NOT_COMPUTED), packed)


@dataclass(frozen=True)
class Plane:
    """Part of the plane of a UTM zone, in pixels: rows count south from the (false) equator.

    Parameters
    ----------
    epsg
        Of the zone.
    top, left
        First row (the northing of its upper edge is ``-10 * top``) and column.
    height, width
        Rows and columns.
    """

    epsg: int
    top: int
    left: int
    height: int
    width: int

    @property
    def grid(self) -> GeoBox:
        """Grid of its pixels."""
        affine = Affine(PIXEL, 0, self.left * PIXEL, 0, -PIXEL, -self.top * PIXEL)
        return GeoBox((self.height, self.width), affine, f"EPSG:{self.epsg}")

    @property
    def whole(self) -> Window:
        """All of it."""
        return slice(0, self.height), slice(0, self.width)

    def parts(
        self, squares: Sequence[Square], window: Window
    ) -> Iterator[tuple[int, Window, Window]]:
        """Cut a window at the squares: number of a square, window in it, and in the window."""
        for number, square in enumerate(squares):
            row, column = corner(square)
            inside, target = [], []
            for part, origin in zip(window, (self.top - row, self.left - column), strict=True):
                start = max(part.start + origin, 0)
                stop = min(part.stop + origin, PIXELS)
                inside.append(slice(start, stop))
                shift = -origin - part.start
                target.append(slice(start + shift, stop + shift))
            if all(part.start < part.stop for part in inside):
                yield number, (inside[0], inside[1]), (target[0], target[1])


def corner(square: Square) -> tuple[int, int]:
    """Row and column in the plane of its zone of the first pixel of a square."""
    left, _, _, top = square.bounds
    return round(-top / PIXEL), round(left / PIXEL)


def plane_of(squares: Sequence[Square]) -> Plane:
    """Return the smallest plane that holds squares of one zone."""
    corners = np.array([corner(square) for square in squares])
    top, left = (int(v) for v in corners.min(axis=0))
    height, width = (int(v) + PIXELS for v in corners.max(axis=0) - (top, left))
    return Plane(squares[0].epsg, top, left, height, width)


@dataclass(frozen=True, eq=False)
class Mosaic:
    """One variable of squares of one zone: an array ``(time, y, x)`` that is read when indexed.

    Parameters
    ----------
    snapshot
        Of the archive.
    name
        Of the variable.
    squares
        Of one zone.
    places
        (square, time): as in `gssm.archive.timeline.Timeline`.
    plane
        What the array covers.
    """

    snapshot: Snapshot
    name: str
    squares: tuple[Square, ...]
    places: NDArray[np.int64]
    plane: Plane

    @property
    def shape(self) -> tuple[int, int, int]:
        """Dates, rows and columns."""
        return self.places.shape[1], self.plane.height, self.plane.width

    @property
    def dtype(self) -> np.dtype[Any]:
        """Of the values as they are read."""
        return value_dtype(self.name)

    @property
    def ndim(self) -> int:
        """Number of dimensions."""
        return 3

    def __getitem__(self, key: Any) -> NDArray[Any]:
        """Read a part, indexed along each dimension by itself."""
        return read_part(self, key)

    def read(self, time: int, window: Window) -> NDArray[Any]:
        """Read a window of one date, as it is stored."""
        how = PACKINGS[self.name]
        shape = [part.stop - part.start for part in window]
        values = np.full(shape, how.fill, how.dtype)
        with archiving(self.snapshot.archive.url):
            for number, inside, target in self.plane.parts(self.squares, window):
                place = int(self.places[number, time])
                if place >= 0:
                    stored = self.snapshot.array(self.squares[number], self.name)
                    values[target] = stored[(place, *inside)]
        return values


def value_dtype(name: str) -> np.dtype[Any]:
    """Type of a variable as it is read."""
    return np.dtype(np.float32 if PACKINGS[name].scale is not None else np.uint16)


def read_part(array: Mosaic | Warped, key: Any) -> NDArray[Any]:
    """Read what a key of a mosaic selects: one box, of which steps and lists are taken."""
    chosen = [np.arange(size)[part] for size, part in zip(array.shape, key, strict=True)]
    times = np.atleast_1d(chosen[0])
    if not all(part.size for part in chosen):
        return np.empty([len(part) for part in chosen if part.ndim], array.dtype)
    spans = [slice(int(part.min()), int(part.max()) + 1) for part in chosen[1:]]
    relative = [part - span.start for part, span in zip(chosen[1:], spans, strict=True)]
    where = np.ix_(*(np.atleast_1d(part) for part in relative))
    dates = [array.read(int(time), (spans[0], spans[1]))[where] for time in times]
    values = decode(array.name, np.stack(dates))
    return values[tuple(slice(None) if part.ndim else 0 for part in chosen)]


@dataclass(frozen=True, eq=False)
class Warped:
    """Mosaics of several zones on a grid in another CRS: nearest pixels, each from its owner.

    Parameters
    ----------
    grid
        What the array covers.
    zones
        A mosaic of the same variable and dates for each zone.
    """

    grid: GeoBox
    zones: tuple[Mosaic, ...]

    @property
    def name(self) -> str:
        """Of the variable."""
        return self.zones[0].name

    @property
    def shape(self) -> tuple[int, int, int]:
        """Dates, rows and columns."""
        return self.zones[0].shape[0], int(self.grid.height), int(self.grid.width)

    @property
    def dtype(self) -> np.dtype[Any]:
        """Of the values as they are read."""
        return value_dtype(self.name)

    @property
    def ndim(self) -> int:
        """Number of dimensions."""
        return 3

    def __getitem__(self, key: Any) -> NDArray[Any]:
        """Read a part, indexed along each dimension by itself."""
        return read_part(self, key)

    def read(self, time: int, window: Window) -> NDArray[Any]:
        """Read a window of one date, packed."""
        how = PACKINGS[self.name]
        part = self.grid[window]
        values = np.full(part.shape, how.fill, how.dtype)
        planes = tuple((zone.plane, zone.squares) for zone in self.zones)
        sources = _sources(part, planes)
        for zone, (mask, rows, columns) in zip(self.zones, sources, strict=True):
            seen = [number for number, place in enumerate(zone.places[:, time]) if place >= 0]
            if not len(rows) or not seen:
                continue
            first = rows.min(), columns.min()
            box = slice(first[0], rows.max() + 1), slice(first[1], columns.max() + 1)
            values[mask] = zone.read(time, box)[rows - first[0], columns - first[1]]
        return values


Source = tuple[NDArray[np.bool_], NDArray[np.int64], NDArray[np.int64]]
Planes = tuple[tuple[Plane, tuple[Square, ...]], ...]

# Places are transformed exactly on a lattice, metres apart, and straight between: a line as
# long bends by 0.005 m in UTM, and by less than a tenth of a pixel in any CRS of maps.
LATTICE = 500.0
# Pixels that lie nearest, by distance: beyond the pixel itself only at the border of a zone,
# where a pixel can have its centre across.
NEIGHBOURS = ((0, 0), (0, -1), (0, 1), (-1, 0), (1, 0), (-1, -1), (-1, 1), (1, -1), (1, 1))


@lru_cache(maxsize=8)
def _sources(grid: GeoBox, planes: Planes) -> list[Source]:
    """Pixels of each zone that those of a grid take: where in the grid, and row, column.

    A pixel takes the nearest of a zone that owns it; at a border, where the nearest pixels of
    all zones can have their centres across, the next nearest.
    """
    nearest = [_nearest(grid, plane) for plane, _ in planes]
    masks = [np.zeros(grid.shape, bool) for _ in planes]
    # Where several zones have squares: there a place can lie between the pixels of all owners.
    shared = np.zeros(grid.shape, np.uint8)
    left = np.ones(grid.shape, bool)
    for step in NEIGHBOURS:
        for (plane, squares), (rows, columns), mask in zip(planes, nearest, masks, strict=True):
            there, ours = _owned_at(plane, squares, rows + step[0], columns + step[1])
            if step == (0, 0):
                shared += there
            found = left & ours
            mask |= found
            rows[found] += step[0]
            columns[found] += step[1]
            left &= ~found
        left &= shared > 1
        if not left.any():
            break
    pairs = zip(masks, nearest, strict=True)
    return [(mask, rows[mask], columns[mask]) for mask, (rows, columns) in pairs]


def _nearest(grid: GeoBox, plane: Plane) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Row and column in a plane of the pixels that hold the centres of a grid's."""
    from pyproj import Transformer

    to_zone = Transformer.from_crs(str(grid.crs), f"EPSG:{plane.epsg}", always_xy=True)
    height, width = grid.shape
    assert grid.crs is not None
    metres = abs(grid.resolution.x) * (111_320.0 if grid.crs.geographic else 1.0)
    step = max(1, int(LATTICE / metres))
    lattice = [np.unique(np.r_[0 : size - 1 : step, size - 1]) for size in (height, width)]
    j, i = np.meshgrid(lattice[1] + 0.5, lattice[0] + 0.5)
    a = grid.affine
    x, y = to_zone.transform(a.a * j + a.b * i + a.c, a.d * j + a.e * i + a.f)
    rows = _between(-np.asarray(y) / PIXEL, lattice, (height, width)) - plane.top
    columns = _between(np.asarray(x) / PIXEL, lattice, (height, width)) - plane.left
    far = ~(np.isfinite(rows) & np.isfinite(columns))
    rows[far] = columns[far] = -9
    return np.floor(rows).astype(np.int64), np.floor(columns).astype(np.int64)


def _between(
    values: NDArray[np.float64], lattice: list[NDArray[Any]], shape: tuple[int, int]
) -> NDArray[np.float64]:
    """Fill a grid linearly between values on a lattice of its rows and columns."""
    rows, columns = (np.arange(size) for size in shape)
    wide = np.stack([np.interp(columns, lattice[1], line) for line in values])
    if len(lattice[0]) == 1:
        return wide
    cell = np.clip(np.searchsorted(lattice[0], rows, side="right") - 1, 0, len(lattice[0]) - 2)
    low, high = lattice[0][cell], lattice[0][cell + 1]
    weight = ((rows - low) / (high - low))[:, None]
    filled: NDArray[np.float64] = wide[cell] * (1 - weight) + wide[cell + 1] * weight
    return filled


def _owned_at(
    plane: Plane, squares: Sequence[Square], rows: NDArray[np.int64], columns: NDArray[np.int64]
) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Tell which pixels of a plane lie in one of the squares, and which one of them owns."""
    inside = (rows >= 0) & (rows < plane.height) & (columns >= 0) & (columns < plane.width)
    if not inside.any():
        return inside, inside
    spans = [slice(int(v[inside].min()), int(v[inside].max()) + 1) for v in (rows, columns)]
    shape = [span.stop - span.start for span in spans]
    there, ours = np.zeros(shape, bool), np.zeros(shape, bool)
    for number, window, target in plane.parts(squares, (spans[0], spans[1])):
        mask = owned(squares[number], *window)
        there[target] = True
        ours[target] = True if mask is None else mask
    where = rows[inside] - spans[0].start, columns[inside] - spans[1].start
    found = []
    for mask in (there, ours):
        at = inside.copy()
        at[inside] = mask[where]
        found.append(at)
    return found[0], found[1]
