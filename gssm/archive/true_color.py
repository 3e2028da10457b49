"""A picture of the ground beside the maps of a square: red, green and blue of Sentinel-2.

It is for finding one's way on a map, and for nothing else: eight bits a colour, each pixel
from the least clouded image that shows its ground. Clouds and their shadows are never in it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import dask.array as da
import numpy as np
import zarr
from numpy.typing import NDArray
from odc.geo.geobox import GeoBox

from gssm.archive import encoding, groups
from gssm.archive.acquisitions import MOST_CONFLICTS, transact
from gssm.archive.ledger import Index
from gssm.archive.overviews import BLOCK, LEVELS, overview_grid
from gssm.archive.repository import (
    Archive,
    SquareConflict,
    archiving,
    commit,
    read_session,
    write_session,
)
from gssm.archive.tiles import Square, chunk_grid, chunk_window, owned
from gssm.archive.zones import PIXELS
from gssm.describe import Observation, Raster
from gssm.errors import ArchiveError, ReadError
from gssm.layers import Layer, Quantity, Source
from gssm.load import read_layers

Picture = NDArray[np.uint8]
Days = NDArray[np.uint16]

GROUP = "true_color"
NAME, DATE, COMPUTED = "true_color", "date", "computed"
# Red, green and blue: bands of Sentinel-2, and the centres of their wavelengths (ESA, µm).
BANDS: dict[str, tuple[str, float]] = {
    "red": ("s2_b4", 0.665),
    "green": ("s2_b3", 0.560),
    "blue": ("s2_b2", 0.490),
}
# Reflectance from black to white, and how much the dark half is brightened: bare soil and
# crops reflect 0.02 to 0.2, and would be dark on a straight scale.
WHITE, GAMMA = 0.3, 1.5
STEPS = 254
# What a cell of `COMPUTED` says of a chunk.
ABSENT, WITHOUT_OVERVIEWS, WHOLE = 0, 1, 2
# Colours have a fill of 0, and dates too: nothing was seen on 1970-01-01.
NOTHING = 0


def stretched(reflectance: NDArray[np.floating[Any]]) -> Picture:
    """Return reflectance as a colour: 1 (0 and below) to 255 (0.3 and above), 0 where NaN.

    ``colour = 1 + round(254 * (reflectance / 0.3) ** (1 / 1.5))``, of reflectance ("1")
    clipped to 0 to 0.3.

    Parameters
    ----------
    reflectance
        Of the surface, any shape.
    """
    known = np.isfinite(reflectance)
    share = np.clip(np.where(known, reflectance, 0.0) / WHITE, 0.0, 1.0)
    return np.where(known, 1 + np.rint(STEPS * share ** (1 / GAMMA)), NOTHING).astype(np.uint8)


def write_true_color(
    archive: Archive,
    square: Square,
    index: Index,
    images: Sequence[Observation],
    *,
    max_failed: float = 0.1,
    renew: bool = False,
) -> bool:
    """Write the picture of one chunk of a square, in one transaction; overviews come later.

    Parameters
    ----------
    archive, square, index
        Where: row and column of the chunk.
    images
        Of Sentinel-2, in order of preference: a pixel takes the first that shows its ground.
    max_failed
        Largest share of pixels, 0 to 1, whose image may fail to be read; they stay empty.
    renew
        Replace what is there.

    Returns
    -------
    bool
        False where another run had written it meanwhile, which stays.

    Raises
    ------
    ReadError
        More pixels than `max_failed` allows could not be read; nothing was written.
    ArchiveError
        The archive cannot be written; it is as it was.
    """
    _prepare(archive, square)
    picture, days = _read(square, index, archive.chunk, images, max_failed)
    window = chunk_window(index, archive.chunk)
    with archiving(archive.url):
        for _ in range(MOST_CONFLICTS):
            session = write_session(archive)
            group = zarr.open_group(session.store, path=f"{square.group}/{GROUP}", mode="r+")
            cells = groups.array(group, COMPUTED)
            if not renew and cells[index] != ABSENT:
                return False
            groups.array(group, NAME)[(slice(None), *window)] = picture
            groups.array(group, DATE)[window] = days
            cells[index] = WITHOUT_OVERVIEWS
            try:
                commit(session, archive, f"{square.name} true colour of chunk {index}")
                return True
            except SquareConflict:
                continue
        raise _too_many(archive, square)


def _read(
    square: Square, index: Index, chunk: int, images: Sequence[Observation], max_failed: float
) -> tuple[Picture, Days]:
    """Read colours (3, chunk, chunk) and days since 1970 of the images that they are of."""
    grid = chunk_grid(square, index, chunk)
    bands = [_layer(images, name, grid, chunk) for name, _ in BANDS.values()]
    age, _ = _layer(images, None, grid, chunk)
    failed = da.concatenate([unreadable for _, unreadable in bands]).any(axis=0)
    # Dask runs one job in each thread of a worker: here it must not start more.
    *found, day, unread = da.compute(
        *(values for values, _ in bands), age, failed, scheduler="synchronous"
    )
    reflectance = np.concatenate(found)
    ours = owned(square, *chunk_window(index, chunk))
    shown = np.isfinite(reflectance).all(axis=0)
    if ours is not None:
        shown, unread = shown & ours, unread & ours
    share = unread.sum() / max(1, (shown | unread).sum())
    if share > max_failed or (unread.any() and not shown.any()):
        raise ReadError(
            f"{square.name} chunk {index}: {share:.1%} of its pixels of Sentinel-2 could not be "
            f"read, more than max_failed={max_failed:g} allows; run again."
        )
    picture = np.where(shown, stretched(reflectance), np.uint8(NOTHING))
    return picture, np.where(shown, day[0], NOTHING).astype(np.uint16)


def _layer(
    images: Sequence[Observation], band: str | None, grid: GeoBox, chunk: int
) -> tuple[da.Array, da.Array]:
    """Lazy band, or the day of the image of each pixel: the first whose mask shows ground."""
    quantity: Quantity = "age" if band is None else "value"
    sources = tuple(
        Source(
            item=o.id,
            raster=Raster("") if band is None else o.rasters[band],
            footprint=o.footprint,
            age=float(o.time.value // (86_400 * 10**9)),
            mask=o.mask,
            role="sentinel2",
        )
        for o in images
    )
    return read_layers([Layer(sources, quantity)], grid, (chunk, chunk))


def slim(o: Observation) -> Observation:
    """Return an image of Sentinel-2 with what a picture needs of it, to be sent to workers."""
    return replace(o, rasters={name: o.rasters[name] for name, _ in BANDS.values()})


def is_usable(o: Observation) -> bool:
    """Tell whether an observation has the colours, and a mask of its clouds."""
    colours = {name for name, _ in BANDS.values()}
    return o.role == "sentinel2" and o.mask is not None and colours <= set(o.rasters)


def computed(archive: Archive, square: Square) -> dict[Index, int]:
    """Chunks of a square that have a picture: `WITHOUT_OVERVIEWS` or `WHOLE`."""
    with archiving(archive.url):
        store = read_session(archive).store
        found = zarr.open_group(store, mode="r").get(f"{square.group}/{GROUP}/{COMPUTED}")
        if not isinstance(found, zarr.Array):
            return {}
        cells = np.asarray(found[...])
    return {(int(i), int(j)): int(cells[i, j]) for i, j in np.argwhere(cells != ABSENT)}


def _prepare(archive: Archive, square: Square) -> None:
    """Make the arrays, so that the chunks of several workers touch nothing in common."""

    def change(root: zarr.Group, _: str) -> bool:
        group = root.get(square.group)
        if not isinstance(group, zarr.Group):
            raise ArchiveError(
                f"archive {archive.url}: it has no square {square.name}; build it first with "
                "`gssm archive build`."
            )
        if GROUP in group:
            return False
        made = group.create_group(GROUP, attributes=_group_attrs())
        groups.create_place(made, square.grid)
        _create_picture(made, PIXELS, archive.chunk)
        _create(made, DATE, "uint16", (PIXELS, PIXELS), archive.chunk, _DATE_ATTRS)
        cells = PIXELS // archive.chunk
        made.create_array(
            COMPUTED,
            shape=(cells, cells),
            chunks=(1, 1),
            dtype="uint8",
            dimension_names=("chunk_row", "chunk_column"),
            attributes=_COMPUTED_ATTRS,
        )
        for level in LEVELS:
            overview = made.create_group(f"overviews/{level}")
            groups.create_place(overview, overview_grid(square.grid, level))
            _create_picture(overview, -(-PIXELS // level), BLOCK)
        return True

    transact(archive, f"{square.name} true colour", change)


_DATE_ATTRS: dict[str, Any] = {
    "long_name": "day of the image that the colours of a pixel are of (UTC)",
    "units": "days since 1970-01-01",
    "calendar": "proleptic_gregorian",
    "grid_mapping": "spatial_ref",
}
_COMPUTED_ATTRS: dict[str, Any] = {
    "long_name": "what there is of each chunk",
    "flag_values": [ABSENT, WITHOUT_OVERVIEWS, WHOLE],
    "flag_meanings": "nothing colours colours_and_overviews",
}


def _group_attrs() -> dict[str, Any]:
    return {
        "Conventions": encoding.CONVENTIONS,
        "title": "True colour of Sentinel-2 at 10 m",
        "summary": "Red, green and blue of Sentinel-2 for the background of maps. Each pixel is "
        "of the least clouded image of the period that shows its ground; clouds and their "
        "shadows are left out by the mask of the image.",
        "source": "Sentinel-2 Level-2A, by gssm",
        "comment": "stretched for the eye; not for measuring",
        "license": f"Copernicus Sentinel data ({encoding.SENTINEL_NOTICE})",
        "acknowledgement": "Contains modified Copernicus Sentinel data.",
        "platform": "Sentinel-2",
        "processing_level": "L3",
    }


def _create_picture(group: zarr.Group, side: int, chunk: int) -> None:
    """Make the colours of a grid, and the coordinates of their bands."""
    attrs = {
        "long_name": "surface reflectance of red, green and blue, stretched for display",
        "units": "1",
        "band_names": list(BANDS),
        "valid_range": [1, 1 + STEPS],
        "reflectance_range": [0.0, WHITE],
        "gamma": GAMMA,
        "comment": "colour = 1 + round(254 * (reflectance / 0.3) ** (1 / 1.5)), reflectance "
        "clipped to 0 to 0.3; 0 is no value",
        "grid_mapping": "spatial_ref",
        "coordinates": "wavelength",
    }
    _create(group, NAME, "uint8", (len(BANDS), side, side), min(chunk, side), attrs)
    names = {
        "long_name": "band of Sentinel-2",
        "flag_values": list(range(len(BANDS))),
        "flag_meanings": " ".join(BANDS),
    }
    waves = {"standard_name": "radiation_wavelength", "units": "um"}
    values = np.array([wave for _, wave in BANDS.values()])
    groups.create_coordinate(group, "band", ("band",), np.arange(len(BANDS), dtype="int8"), names)
    groups.create_coordinate(group, "wavelength", ("band",), values, waves)


def _create(
    group: zarr.Group,
    name: str,
    dtype: str,
    shape: tuple[int, ...],
    chunk: int,
    attrs: dict[str, Any],
) -> None:
    group.create_array(
        name,
        shape=shape,
        chunks=(*shape[:-2], chunk, chunk),
        dtype=dtype,
        fill_value=NOTHING,
        dimension_names=("band", "y", "x")[-len(shape) :],
        attributes={**attrs, "_FillValue": NOTHING},
    )


def _too_many(archive: Archive, square: Square) -> SquareConflict:
    return SquareConflict(
        f"archive {archive.url}: the true colour of {square.name} was changed by other runs "
        f"{MOST_CONFLICTS} times; run again later."
    )
