"""Small archives of random pixels, made through the writer of the archive."""

from dataclasses import replace
from functools import lru_cache

import numpy as np

from gssm.archive.acquisitions import write_acquisition
from gssm.archive.ledger import Row
from gssm.archive.packing import PACKINGS, unpack
from gssm.archive.tiles import chunk_window, owned, parse

SQUARE = parse("31UFS")
CHUNK = 100
START, DAY = 1_700_000_000, 86_400


def row_of(day, *, coverage=((3, 4), (3, 5)), seconds=0, **changes):
    """A pass on a day, some seconds after the first over other squares."""
    made = Row(
        time=START + day * DAY + seconds,
        platform="sentinel-1a",
        relative_orbit=37,
        orbit_state="ascending",
        radar=(f"S1_{day}",),
        partners=("S2",),
        processed="20240101",
        model_sha256="m",
        coverage=tuple(coverage),
    )
    return replace(made, **changes)


def pixels_of(row, square=SQUARE, chunk=CHUNK):
    """Packed pixels that follow from row and square; some are water, others not owned."""
    for index in row.coverage:
        rng = np.random.default_rng([int(row.digest[:8], 16), *square.name.encode(), *index])
        shape = (chunk, chunk)
        values = {
            "soil_moisture": rng.integers(0, 5000, shape).astype(np.uint16),
            "soil_moisture_uncertainty": rng.integers(0, 200, shape).astype(np.uint8),
            "quality_flag": (rng.integers(0, 4, shape) * 8).astype(np.uint16),
            "s2_age": rng.integers(-300, 300, shape).astype(np.int16),
            "landsat_age": rng.integers(-300, 300, shape).astype(np.int16),
        }
        water = rng.random(shape) < 0.1
        for name in ("soil_moisture", "soil_moisture_uncertainty"):
            values[name][water] = PACKINGS[name].fill
        values["quality_flag"][water] = 32
        ours = owned(square, *chunk_window(index, chunk))
        if ours is not None:
            for name, block in values.items():
                block[~ours] = PACKINGS[name].fill
        yield index, values


def write(archive, row, square=SQUARE):
    return write_acquisition(archive, square, row, pixels_of(row, square, archive.chunk))


@lru_cache(maxsize=4)
def _packed(row, name, square):
    how = PACKINGS[name]
    whole = np.full((10_000, 10_000), how.fill, how.dtype)
    for index, values in pixels_of(row, square):
        whole[chunk_window(index, CHUNK)] = values[name]
    return whole


class Plain:
    """One variable of a date over a whole square, as the writer's pixels say; physical."""

    def __init__(self, row, name, square=SQUARE):
        self.name, self.packed = name, _packed(row, name, square)

    def __getitem__(self, key):
        part = np.asarray(self.packed[key])
        return unpack(self.name, part.reshape(-1)).reshape(part.shape)
