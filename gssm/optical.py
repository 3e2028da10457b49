"""Sentinel-2 and Landsat layers at every radar time, the image chosen per pixel."""

from __future__ import annotations

from collections.abc import Sequence

import dask.array as da
import numpy as np
from odc.geo.geobox import GeoBox

from gssm import schema
from gssm.catalogs import ASSETS, Role
from gssm.describe import Raster
from gssm.layers import Layer, Source
from gssm.load import read_layers
from gssm.pairing import Acquisition

PREFIXES: dict[Role, str] = {"sentinel2": "s2", "landsat": "landsat"}

_ABSENT = Raster("")


def read_optical(
    passes: Sequence[Acquisition], role: Role, grid: GeoBox, chunks: tuple[int, int]
) -> tuple[dict[str, da.Array], list[da.Array]]:
    """Read bands, age and mask category of one sensor, lazily, at every radar time.

    Returns
    -------
    variables, failed
        Arrays ``(time, y, x)`` by canonical name, NaN for a band that no candidate
        has; and, per band, where the image that was chosen could not be read.
    """
    prefix = PREFIXES[role]
    candidates = [candidate_sources(p, role) for p in passes]
    shape, sizes = (len(passes), *grid.shape), (1, *chunks)
    absent = da.full(shape, np.nan, chunks=sizes, dtype=np.float32)
    if not any(candidates):
        names = (*ASSETS[role], f"{prefix}_age")
        mask = da.full(shape, np.uint8(schema.MASK_MISSING), chunks=sizes, dtype=np.uint8)
        return {**dict.fromkeys(names, absent), f"{prefix}_mask": mask}, []
    failed: list[da.Array] = []
    variables: dict[str, da.Array] = {}
    # Beside the bands that every catalogue has, those that only Level-1 offers.
    extra = {v for p in passes for o in getattr(p, role) for v in o.rasters}
    for name in (*ASSETS[role], *sorted(extra - set(ASSETS[role]))):
        layers = [Layer(candidate_sources(p, role, name)) for p in passes]
        if not any(s.raster.href for layer in layers for s in layer.sources):
            variables[name] = absent
            continue
        variables[name], unreadable = read_layers(layers, grid, chunks)
        failed.append(unreadable)
    variables[f"{prefix}_age"], _ = read_layers([Layer(c, "age") for c in candidates], grid, chunks)
    variables[f"{prefix}_mask"] = read_masks(passes, role, grid, chunks)
    return variables, failed


def read_masks(
    passes: Sequence[Acquisition], role: Role, grid: GeoBox, chunks: tuple[int, int]
) -> da.Array:
    """Read the category of the nearest unobscured observation, ``(time, y, x)`` uint8."""
    layers = [Layer(candidate_sources(p, role), "mask") for p in passes]
    return read_layers(layers, grid, chunks)[0]


def candidate_sources(
    acquisition: Acquisition, role: Role, variable: str | None = None
) -> tuple[Source, ...]:
    """List the candidates of one acquisition, nearest first.

    A candidate without the band keeps its place: every band of a pixel must come
    from the same image, or be missing.
    """
    return tuple(
        Source(
            item=o.id,
            raster=o.rasters.get(variable, _ABSENT) if variable else _ABSENT,
            footprint=o.footprint,
            age=acquisition.offset_days(o),
            mask=o.mask,
            role=role,
        )
        for o in getattr(acquisition, role)
    )
