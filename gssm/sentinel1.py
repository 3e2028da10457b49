"""Radar layers -> linear sigma0 and incidence angle."""

from __future__ import annotations

import warnings
from collections.abc import Sequence

import dask.array as da
import numpy as np
from odc.geo.geobox import GeoBox
from rasterio.enums import Resampling

from gssm.errors import GssmWarning
from gssm.layers import Layer, Source
from gssm.load import read_layers
from gssm.pairing import Acquisition

# Metres. Across the 250 km of an IW swath the angle changes by 17 degrees, so by about
# 1.4 degrees over this much.
WIDE = 20_000


def read_radar(
    passes: Sequence[Acquisition], grid: GeoBox, chunks: tuple[int, int]
) -> tuple[dict[str, da.Array], list[da.Array]]:
    """Read vv, vh (sigma0, linear power) and the incidence angle (degree), lazily.

    Radar is averaged in linear power when it is resampled. Gamma0 becomes sigma0 by
    the cosine of the incidence angle on the ellipsoid, ``sigma0 = gamma0 cos(theta)``.

    Returns
    -------
    variables, failed
        Arrays ``(time, y, x)``; and, per variable, where its image could not be read.
    """
    angle, failed = _incidence_angle(passes, grid, chunks)
    variables = {"incidence_angle": angle}
    is_gamma0 = np.array([p.slices[0].convention == "gamma0" for p in passes])
    for polarization in ("vv", "vh"):
        layers = [_layer(p, polarization) for p in passes]
        values, unreadable = read_layers(layers, grid, chunks, Resampling.average)
        if is_gamma0.any():
            to_sigma0 = da.where(is_gamma0[:, None, None], da.cos(da.deg2rad(angle)), 1)
            values = (values * to_sigma0).astype(np.float32)
        variables[polarization] = values
        failed.append(unreadable)
    return variables, failed


def _incidence_angle(
    passes: Sequence[Acquisition], grid: GeoBox, chunks: tuple[int, int]
) -> tuple[da.Array, list[da.Array]]:
    """Angle per pixel where the provider has a raster of it, else one per scene."""
    per_scene = np.array([_scene_angle(p) for p in passes], dtype=np.float32)
    has_raster = np.array([all("incidence_angle" in o.rasters for o in p.slices) for p in passes])
    if not has_raster.all() and max(grid.boundingbox.span_x, grid.boundingbox.span_y) > WIDE:
        warnings.warn(
            "the incidence angle is one number for each radar scene, and the grid is wider than "
            f"{WIDE / 1000:g} km: it can be off by degrees at the edges; use a catalogue with an "
            "incidence_angle asset, or smaller boxes.",
            GssmWarning,
            stacklevel=4,
        )
    shape = (len(passes), *grid.shape)
    constant = da.broadcast_to(
        da.from_array(per_scene[:, None, None], chunks=(1, 1, 1)),
        shape,
        chunks=da.core.normalize_chunks((1, *chunks), shape),
    )
    if not has_raster.any():
        return constant, []
    layers = [_layer(p, "incidence_angle") for p in passes]
    values, failed = read_layers(layers, grid, chunks, Resampling.bilinear)
    if has_raster.all():
        return values, [failed]
    return da.where(has_raster[:, None, None], values, constant), [failed]


def _scene_angle(acquisition: Acquisition) -> float:
    stated = [o.incidence_angle for o in acquisition.slices if o.incidence_angle is not None]
    return float(np.mean(stated)) if stated else float("nan")


def _layer(acquisition: Acquisition, variable: str) -> Layer:
    slices = [o for o in acquisition.slices if variable in o.rasters]
    return Layer(tuple(Source(o.id, o.rasters[variable], o.footprint) for o in slices))
