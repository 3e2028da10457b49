"""Small archives for tests of the web, whose pixels follow from where and when they are."""

from dataclasses import replace
from itertools import product

import numpy as np

from gssm.archive.acquisitions import write_acquisition
from gssm.archive.ledger import Row
from gssm.archive.packing import PACKINGS, unpack
from gssm.archive.points import pixels_at
from gssm.archive.repository import create_archive
from gssm.archive.tiles import chunk_window, owned, parse, square_at
from gssm.archive.zones import PIXEL, PIXELS, transformer

# In Flanders, within one zone; and on either side of 6 degrees east, where zones 31 and 32 meet.
SQUARE = parse("31UES")
WEST, EAST = parse("31UGS"), parse("32UKB")
CHUNK = 200
START, DAY = 1_704_067_200, 86_400  # 2024-01-01T00:00:00Z, a second
MORNING, EVENING = 21_600, 64_800
WATER, FRESH, CLOUD = 32, 0, 8
# Four chunks, 4 km by 4 km at the middle of a square.
MIDDLE = tuple((row, column) for row in range(20, 22) for column in range(20, 22))


def row_of(day, *, seconds=MORNING, coverage=MIDDLE, **changes):
    """A pass on a day of January 2024, at a second of that day."""
    made = Row(
        time=START + day * DAY + seconds,
        platform="sentinel-1a",
        relative_orbit=37,
        orbit_state="ascending",
        radar=(f"S1_{day}_{seconds}",),
        partners=("S2",),
        processed="20240101",
        model_sha256="m",
        coverage=tuple(coverage),
    )
    return replace(made, **changes)


def packed_at(name, row, rows, columns):
    """Packed values of a date at rows and columns of a square (broadcast), ownership aside."""
    rows, columns = np.broadcast_arrays(rows, columns)
    time = row.time // 3600
    water = (rows // 37 + columns // 41) % 9 == 0
    if name == "quality_flag":
        flags = np.where((rows // 53 + columns // 29 + time) % 5 == 0, CLOUD, FRESH)
        return np.where(water, WATER, flags).astype(np.uint16)
    how = PACKINGS[name]
    if name == "soil_moisture":
        # Patches of 16 pixels, so that the means of overviews differ from place to place.
        values = 100 + (rows // 16 * 331 + columns // 16 * 173 + time * 97) % 4800
    elif name == "soil_moisture_uncertainty":
        values = 5 + (rows // 16 * 7 + columns // 16 * 11 + time) % 60
    else:
        return np.full(rows.shape, 120 if name == "s2_age" else -250, how.dtype)
    return np.where(water, how.fill, values).astype(how.dtype)


def value_at(name, row, rows, columns):
    """Physical values of a date at rows and columns of a square."""
    packed = np.atleast_1d(packed_at(name, row, rows, columns))
    return unpack(name, packed)


def pixels_of(row, square, chunk=CHUNK):
    """Packed pixels of each chunk of a date; what a square does not own is empty."""
    for index in row.coverage:
        window = chunk_window(index, chunk)
        rows, columns = (np.arange(part.start, part.stop) for part in window)
        values = {name: packed_at(name, row, rows[:, None], columns[None, :]) for name in PACKINGS}
        ours = owned(square, *window)
        if ours is not None:
            for name, block in values.items():
                block[~ours] = PACKINGS[name].fill
        yield index, values


def write(archive, row, square=SQUARE):
    """Write a date into a square; returns what the ledger says."""
    return write_acquisition(archive, square, row, pixels_of(row, square, archive.chunk))


def small_archive(folder, rows=None, *, chunk=CHUNK):
    """Archive of one square with a few dates; `rows` are (row, square) or rows of `SQUARE`.

    By default: two passes on 1 January, of which the later covers the western half of the
    earlier, and one on 4 January.
    """
    archive = create_archive(str(folder), chunk=chunk)
    for item in DEFAULT if rows is None else rows:
        row, square = item if isinstance(item, tuple) else (item, SQUARE)
        write(archive, row, square)
    return archive


LATER = {"relative_orbit": 110, "orbit_state": "descending"}
DEFAULT = (
    row_of(0),
    row_of(0, seconds=EVENING, coverage=MIDDLE[::2], **LATER),
    row_of(3, provisional=True),
)


def lonlat(square, row, column):
    """Longitude and latitude of the centre of a pixel of a square (fractions allowed)."""
    left, _, _, top = square.bounds
    x, y = left + (np.asarray(column) + 0.5) * PIXEL, top - (np.asarray(row) + 0.5) * PIXEL
    return transformer(square.epsg, inverse=True).transform(x, y)


def border_archive(folder, *, chunk=CHUNK, places=((5.9999, 51.0), (6.0001, 51.0))):
    """Archive with one pass over both sides of a border of zones, three by three chunks each.

    `places` are longitude and latitude of a place on either side.
    """
    rows = []
    for lon, lat in places:
        square = square_at(lon, lat)
        (i,), (j,) = pixels_at(square, np.array([lon]), np.array([lat]))
        around = product(*([int(v) // chunk + step for step in (-1, 0, 1)] for v in (i, j)))
        inside = [index for index in around if all(0 <= v < PIXELS // chunk for v in index)]
        held = tuple(index for index in inside if owns(square, index, chunk))
        rows.append((row_of(0, coverage=held), square))
    return small_archive(folder, rows, chunk=chunk)


def owns(square, index, chunk):
    """Tell whether a square owns a pixel of a chunk."""
    ours = owned(square, *chunk_window(index, chunk))
    return ours is None or bool(ours.any())
