"""An archive for the benchmarks of the web: squares that share a corner, some dates, no gaps."""

from __future__ import annotations

import functools
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from archive_reading import random_field
from numpy.typing import NDArray

from gssm.archive.acquisitions import write_acquisition
from gssm.archive.ledger import Index, Row
from gssm.archive.packing import PACKINGS
from gssm.archive.repository import Archive, create_archive
from gssm.archive.tiles import Square, parse
from gssm.archive.zones import PIXEL, PIXELS

CHUNK = 1000
SIDE = PIXELS // CHUNK
# They meet at one corner, at the middle of zone 31; each with where that corner lies in it.
SQUARES = {"31UES": (0, 0), "31UDS": (0, 1), "31UET": (1, 0), "31UDT": (1, 1)}
DATES, ACROSS = 8, 3
START, DAYS_3 = 1_704_088_800, 259_200  # 2024-01-01T06:00:00Z
WATER, CLOUD = 32, 8


def make_archive(
    folder: Path, *, squares: int = len(SQUARES), dates: int = DATES, across: int = ACROSS
) -> Archive:
    """Write an archive of chunks of 1000 pixels, `across` by `across` of them in each square.

    They lie around the corner that the squares share: without gaps where all four are.
    """
    archive = create_archive(str(folder), chunk=CHUNK)
    for name, corner in list(SQUARES.items())[:squares]:
        rows, columns = (
            range(SIDE - across, SIDE) if is_last else range(across) for is_last in corner
        )
        square = parse(name)
        coverage = tuple((row, column) for row in rows for column in columns)
        for date in range(dates):
            write_acquisition(
                archive, square, _row(date, coverage), _chunks(square, date, coverage)
            )
    return archive


def _row(date: int, coverage: tuple[Index, ...]) -> Row:
    return Row(
        time=START + DAYS_3 * date,
        platform="sentinel-1a",
        relative_orbit=37 + date % 2,
        orbit_state="ascending",
        radar=(f"S1_{date}",),
        partners=("S2",),
        processed="20240401",
        model_sha256="m",
        coverage=coverage,
    )


@functools.cache
def _fields() -> tuple[NDArray[np.float32], ...]:
    """Smooth fields as large as a chunk, which go on at the other side."""
    rng = np.random.default_rng(7)
    return tuple(random_field(rng, 1.8) for _ in range(3))


def _chunks(
    square: Square, date: int, coverage: tuple[Index, ...]
) -> Iterator[tuple[Index, dict[str, NDArray[Any]]]]:
    """Packed pixels of chunks: fields of a date, on a wave as long as the archive is wide."""
    small, other, gaps = _fields()
    field = np.roll(small, 137 * date, axis=1)
    water = gaps > 1.6
    steps = np.arange(CHUNK) / CHUNK
    left, _, _, top = square.bounds
    for row, column in coverage:
        north, east = top / (CHUNK * PIXEL) - row - steps, left / (CHUNK * PIXEL) + column + steps
        wave = np.sin(north + date)[:, None] * np.cos(0.7 * east - date)[None]
        values = {
            "soil_moisture": 2400 + 500 * field + 700 * wave,
            "soil_moisture_uncertainty": 30 + 4 * other + 6 * wave,
            "quality_flag": np.where(other + wave > 1.5, CLOUD, 0),
            "s2_age": np.full(field.shape, 150),
            "landsat_age": np.full(field.shape, -250),
        }
        packed = {name: np.rint(v).astype(PACKINGS[name].dtype) for name, v in values.items()}
        for name in ("soil_moisture", "soil_moisture_uncertainty"):
            packed[name][water] = PACKINGS[name].fill
        packed["quality_flag"][water] = WATER
        yield (row, column), packed
