"""The squares of the archive: 100 km squares of MGRS, their 10 m grids, owners and chunks.

A square is a part of a UTM zone's plane; its grid covers it whole, and grids of two zones
overlap. Each pixel of each grid is owned or not: it is owned where its centre lies in the
square's zone (see `gssm.archive.zones`), so that a place is mapped once. Names follow
NGA.STND.0037 (Universal Grids and Grid Reference Systems, 2014); a square across the edge
of two bands, of which MGRS spells either part by its own band, has one name here.

Where grids of two zones meet at an angle, pixels of a border overlap by a part of a pixel, or
leave it free: a place closer to a border than 7.1 m may lie in a pixel that its square does
not own.
"""

from __future__ import annotations

import functools
import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import shapely
from odc.geo.geobox import GeoBox

from gssm.archive.pieces import overlaps, pieces, polygons, shapes_of
from gssm.archive.zones import (
    BANDS,
    EDGES,
    EQUATOR,
    PIXEL,
    PIXELS,
    SIDE,
    Array,
    Cell,
    band_of,
    decisions,
    degrees,
    epsg_of,
    exists,
    limits,
    transformer,
    wrapped,
)
from gssm.errors import RequestError
from gssm.request import Bbox

# NGA.STND.0037: letters of columns (easting 100 to 900 km) by zone; letters of rows every
# 2 000 km, in even zones five letters on.
COLUMNS = ("STUVWXYZ", "ABCDEFGH", "JKLMNPQR")  # by zone modulo 3
ROWS = "ABCDEFGHJKLMNPQRSTUV"
SMALLEST_CHUNK = 20


@dataclass(frozen=True, order=True)
class Square:
    """A 100 km square of MGRS; `parse` makes one from its name and checks it.

    Parameters
    ----------
    zone
        UTM zone, 1 to 60.
    band
        Letter of the band that holds the latitude of the square's centre.
    letters
        Letters of its column and row.
    """

    zone: int
    band: str
    letters: str

    @property
    def name(self) -> str:
        """Name, such as ``"31UDS"``; the zone with two digits, as of Sentinel-2's tiles."""
        return f"{self.zone:02d}{self.band}{self.letters}"

    @property
    def group(self) -> str:
        """Path of its group in an archive, such as ``"31U/DS"``."""
        return f"{self.zone:02d}{self.band}/{self.letters}"

    @property
    def epsg(self) -> int:
        """EPSG code of its UTM zone, WGS 84, north or south."""
        return epsg_of(self.zone, self.band < "N")

    @property
    def bounds(self) -> Bbox:
        """Left, bottom, right and top in metres of its UTM zone.

        Raises
        ------
        RequestError
            There is no such square, or it has another name.
        """
        _, row, column = _cell(self)
        left, bottom = float(column * SIDE), float(row * SIDE)
        return left, bottom, left + SIDE, bottom + SIDE

    @property
    def grid(self) -> GeoBox:
        """Grid of 10 000 x 10 000 pixels of 10 m, north up."""
        return GeoBox.from_bbox(self.bounds, crs=f"EPSG:{self.epsg}", resolution=PIXEL, tight=True)

    @property
    def footprint(self) -> Bbox:
        """West, south, east, north in degrees of all of its grid, bent edges included.

        West > east where it crosses the 180th meridian.
        """
        west, south, east, north = degrees(self.zone, self.band < "N", self.bounds)
        return wrapped(west), south, wrapped(east), north


def parse(name: str) -> Square:
    """Return the square of a name: ``"31UDS"``, ``"31U/DS"`` or ``"31uds"``.

    Raises
    ------
    RequestError
        It is no such name, there is no such square, its centre lies in another band, or it
        owns no pixel.
    """
    found = re.fullmatch(r"(\d{1,2})([A-Z])/?([A-Z]{2})", str(name).strip().upper())
    if found is None:
        raise RequestError(
            f"square {name!r} is not the name of a 100 km square of MGRS; write its zone, band "
            "and two letters, such as '31UDS'."
        )
    square = Square(int(found[1]), found[2], found[3])
    if not exists(square.zone, _cell(square)):
        raise RequestError(
            f"square {square.name} owns no pixel, for MGRS gives all of it to other zones; name "
            "the square that square_at gives for a place in it."
        )
    return square


def square_at(lon: float, lat: float) -> Square:
    """Return the square that owns a place, by longitude and latitude in degrees (WGS 84).

    Raises
    ------
    RequestError
        The place is not on earth, or lies beyond 80 degrees south or 84 degrees north.
    """
    lon, lat = float(lon), float(lat)
    if not (-180 <= lon <= 180 and -90 <= lat <= 90):
        raise RequestError(
            f"place ({lon:g}, {lat:g}) is not on earth; give longitude (-180 to 180) first, then "
            "latitude (-90 to 90), in degrees."
        )
    if not EDGES[0] <= lat < EDGES[-1]:
        raise RequestError(
            f"place ({lon:g}, {lat:g}) lies beyond 80 degrees south or 84 degrees north, where "
            "UTM ends and the archive with it; give a place between them."
        )
    band = int(band_of(lat))
    wests, easts = limits()
    (zone,) = np.flatnonzero((wests[:, band] <= wrapped(lon)) & (wrapped(lon) < easts[:, band]))
    south = int(band < EQUATOR)
    x, y = transformer(epsg_of(int(zone), bool(south)), inverse=False).transform(lon, lat)
    # Rounding must not push a place at the equator out of its hemisphere.
    row = min(max(int(y // SIDE), 0), 99)
    return _square(int(zone), (south, row, int(x // SIDE)))


def squares_over(area: Sequence[float] | Any) -> list[Square]:
    """Return the squares that own a pixel in an area, sorted.

    Parameters
    ----------
    area
        West, south, east, north in degrees (west > east crosses the 180th meridian), or a
        shapely Polygon or MultiPolygon in degrees, whose sides are straight in degrees, as
        in GeoJSON, and which may reach beyond 180.

    Returns
    -------
    list of Square
        Those of which a pixel that they own overlaps the part of the area in their zone by
        more than 0.02 m on average.

    Raises
    ------
    RequestError
        The area is empty, invalid, not in degrees, or reaches beyond 80 degrees south or 84
        degrees north.
    """
    squares = set()
    every = [(zone, band) for zone in range(1, 61) for band in range(len(BANDS))]
    for zone, band, piece in pieces(shapes_of(area), every):
        south = int(band < EQUATOR)
        left, bottom, right, top = (value / SIDE for value in piece.bounds)
        cells = [
            (south, row, column)
            for row in range(max(math.floor(bottom), 0), min(math.ceil(top), 100))
            for column in range(math.floor(left), math.ceil(right))
        ]
        corners = SIDE * np.array([(column, row) for _, row, column in cells]).reshape(-1, 2)
        boxes = shapely.box(*corners.T, *(corners + SIDE).T)
        hits = np.flatnonzero(overlaps(zone, band, piece, boxes))
        squares |= {_square(zone, cells[i]) for i in hits}
    return sorted(squares)


def chunks_over(
    square: Square, area: Sequence[float] | Any, chunk: int = 1000
) -> list[tuple[int, int]]:
    """Return the chunks that own a pixel in an area, as (row, column) from the north-west.

    Parameters
    ----------
    square
        Square.
    area
        As in `squares_over`; it may lie partly or wholly outside the square.
    chunk
        Pixels along a side of a chunk; it divides 10 000.

    Raises
    ------
    RequestError
        The area cannot serve (see `squares_over`), or the chunk does not divide a square.
    """
    shapes = shapes_of(area)
    left, bottom, right, top = square.bounds
    step, count = check_chunk(chunk) * PIXEL, PIXELS // chunk
    index = np.stack(np.divmod(np.arange(count * count), count))
    west, north = left + index[1] * step, top - index[0] * step
    boxes = shapely.box(west, north - step, west + step, north)
    _, south_edge, _, north_edge = square.footprint
    bands = np.clip(band_of(np.array([south_edge, north_edge])), 0, len(BANDS) - 1)
    side = range(EQUATOR) if square.band < "N" else range(EQUATOR, len(BANDS))
    places = [(square.zone, b) for b in range(int(bands[0]), int(bands[1]) + 1) if b in side]
    hits = np.zeros(count * count, bool)
    for zone, band, piece in pieces(shapes, places):
        inside = polygons(shapely.intersection(piece, shapely.box(left, bottom, right, top)))
        if inside is not None:
            hits |= overlaps(zone, band, inside, boxes)
    return [(int(row), int(column)) for row, column in index[:, hits].T]


def check_chunk(chunk: int) -> int:
    """Return the side of a chunk in pixels, or refuse one that does not divide a square."""
    whole = isinstance(chunk, (int, np.integer)) and not isinstance(chunk, bool)
    if not (whole and SMALLEST_CHUNK <= chunk <= PIXELS and PIXELS % chunk == 0):
        raise RequestError(
            f"chunk {chunk!r} does not divide the {PIXELS} pixels of a square's side into chunks "
            f"of at least {SMALLEST_CHUNK} pixels; give a divisor, such as 1000."
        )
    return int(chunk)


def chunk_window(index: tuple[int, int], chunk: int = 1000) -> tuple[slice, slice]:
    """Return rows and columns of a chunk, by its (row, column), from the north-west.

    Raises
    ------
    RequestError
        There is no such chunk.
    """
    count = PIXELS // check_chunk(chunk)
    if len(index) != 2 or not all(0 <= i < count for i in index):
        raise RequestError(
            f"chunk index {tuple(index)!r} lies outside a square of {count} x {count} chunks; give "
            f"(row, column), each from 0 to {count - 1}."
        )
    rows, columns = (slice(int(i) * chunk, (int(i) + 1) * chunk) for i in index)
    return rows, columns


def chunk_grid(square: Square, index: tuple[int, int], chunk: int = 1000) -> GeoBox:
    """Return the grid of a chunk, by its (row, column); see `chunk_window`."""
    return square.grid[chunk_window(index, chunk)]


def owned(square: Square, rows: slice, columns: slice) -> Array | None:
    """Tell which pixels of a window the square owns.

    Parameters
    ----------
    square
        Square.
    rows, columns
        Window of its grid, in pixels from the north-west; no steps.

    Returns
    -------
    numpy.ndarray of bool, shape (rows, columns), or None
        True where the pixel's centre lies in the square's zone; None where all do.

    Raises
    ------
    RequestError
        The window is empty, has steps, or leaves the square.
    """
    window = (*_span(rows, "rows"), *_span(columns, "columns"))
    mask = None
    for (top, bottom, left, right), value in decisions(square.zone, _cell(square), window):
        if mask is None:
            if value is True and (top, bottom, left, right) == window:
                return None
            mask = np.zeros((window[1] - window[0], window[3] - window[2]), bool)
        mask[top - window[0] : bottom - window[0], left - window[2] : right - window[2]] = value
    return None if mask is None or mask.all() else mask


def _span(part: slice, name: str) -> tuple[int, int]:
    start, stop, step = part.indices(PIXELS)
    within = all(end is None or 0 <= end <= PIXELS for end in (part.start, part.stop))
    if step != 1 or start >= stop or not within:
        raise RequestError(
            f"{name} {part} is no window of a square; give slice(start, stop) from 0 to {PIXELS}."
        )
    return start, stop


@functools.cache
def _centre_bands() -> Array:
    """Index of the band of a cell's centre, by south, row and column; alike in all zones.

    A cell that reaches into the first or last band may have its centre up to half a degree
    beyond; cells further out, of which the letters come again, have -1.
    """
    row, column = np.mgrid[0:100, 0:10]
    to_degrees = transformer(epsg_of(31, False), inverse=True)
    _, lat = to_degrees.transform((column + 0.5) * SIDE, (row + 0.5) * SIDE)
    # False northing is 10 000 km: rows of the south mirror those of the north.
    lat = np.stack([lat, -lat[::-1]])
    bands = np.clip(band_of(lat), 0, len(BANDS) - 1)
    return np.where((lat > EDGES[0] - 1) & (lat < EDGES[-1] + 1), bands, -1)


def _square(zone: int, cell: Cell) -> Square:
    _, row, column = cell
    letters = COLUMNS[zone % 3][column - 1] + ROWS[(row + 5 * (zone % 2 == 0)) % len(ROWS)]
    return Square(zone, BANDS[int(_centre_bands()[cell])], letters)


@functools.lru_cache(maxsize=4096)
def _cell(square: Square) -> Cell:
    """Cell of a square, or why there is none of its name."""
    zone, band, letters = square.zone, square.band, square.letters
    if not 1 <= zone <= 60 or band not in BANDS:
        raise RequestError(
            f"square {square.name} has no zone and band of UTM; zones are 1 to 60 and bands C to X "
            "without I and O (A, B, Y and Z are polar, and not in the archive)."
        )
    if letters[0] not in COLUMNS[zone % 3] or letters[1] not in ROWS:
        raise RequestError(
            f"square {square.name} does not exist; in zone {zone} the first letter is one of "
            f"{COLUMNS[zone % 3]} and the second one of {ROWS}."
        )
    south, index = int(band < "N"), BANDS.index(band)
    column = COLUMNS[zone % 3].index(letters[0]) + 1
    first = (ROWS.index(letters[1]) - 5 * (zone % 2 == 0)) % len(ROWS)
    cells = [(south, row, column) for row in range(first, 100, len(ROWS))]
    for cell in cells:
        if _centre_bands()[cell] == index:
            return cell
    for cell in cells:
        bounds = (column * SIDE, cell[1] * SIDE, (column + 1) * SIDE, (cell[1] + 1) * SIDE)
        _, low, _, high = degrees(zone, bool(south), bounds)
        if low < EDGES[index + 1] and high >= EDGES[index]:
            raise RequestError(
                f"square {square.name} is kept as {_square(zone, cell).name}, for its centre lies "
                f"in band {_square(zone, cell).band}; use that name."
            )
    raise RequestError(
        f"square {square.name} does not exist, for no row {letters[1]} of zone {zone} lies in band "
        f"{band}; correct its name, or ask square_at for that of a place."
    )
