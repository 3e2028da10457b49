"""Radar layers -> linear sigma0 and incidence angle."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import Any, Literal

import dask.array as da
import numpy as np
from odc.geo.geobox import GeoBox
from rasterio.enums import Resampling

from gssm import orbit
from gssm.describe import Observation
from gssm.errors import GssmWarning
from gssm.layers import Layer, Source
from gssm.load import read_layers
from gssm.pairing import Acquisition

# Metres. Across the 250 km of an IW swath the angle changes by 17 degrees, so by about
# 1.4 degrees over this much.
WIDE = 20_000
# Degrees. A stated angle is often of the middle of the scene and rounded; further away from the
# orbit's than this, one of the two is of something else.
AGREES = 1.5

# Degrees; interferometric wide swath images span 29 to 46.5. An orbit that sees the middle of an
# image at another angle is not the orbit of that image.
SWATH = (28.0, 48.0)

# Where an angle comes from, best first.
AngleSource = Literal["raster", "orbit", "scene", "none"]
_SAYS: dict[AngleSource, str] = {
    "raster": "raster or annotation of the provider",
    "orbit": "reference orbit of Sentinel-1",
    "scene": "one number for the scene",
    "none": "unknown",
}


def read_radar(
    passes: Sequence[Acquisition], grid: GeoBox, chunks: tuple[int, int]
) -> tuple[dict[str, da.Array], list[da.Array]]:
    """Read vv, vh (sigma0, linear power) and the incidence angle (degree), lazily.

    Radar is averaged in linear power when it is resampled. Gamma0 becomes sigma0 by
    the cosine of the incidence angle on the ellipsoid, ``sigma0 = gamma0 cos(theta)``,
    also where it was flattened by the terrain: that has then the slope taken out already.

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


def angle_attrs(passes: Sequence[Acquisition]) -> dict[str, Any]:
    """Say in the attributes of ``incidence_angle`` where it comes from, and of how many passes."""
    sources = [angle_source(p) for p in passes]
    counts = {source: sources.count(source) for source in _SAYS}
    if len(set(sources)) == 1:
        return {"source": _SAYS[sources[0]]}
    return {"source": "; ".join(f"{_SAYS[s]}: {n} passes" for s, n in counts.items() if n)}


def angle_source(acquisition: Acquisition) -> AngleSource:
    """Tell where the incidence angle of a pass comes from, the best that it has.

    Per pixel from a raster where every slice has one; else from the orbit, unless a stated
    angle contradicts it; else the one number that its items state.
    """
    if all("incidence_angle" in o.rasters for o in acquisition.slices):
        return "raster"
    stated = _scene_angle(acquisition)
    trusted = _has_orbit(acquisition) and _sees(acquisition)
    if trusted and (np.isnan(stated) or _agrees(acquisition)):
        return "orbit"
    return "none" if np.isnan(stated) else "scene"


def _incidence_angle(
    passes: Sequence[Acquisition], grid: GeoBox, chunks: tuple[int, int]
) -> tuple[da.Array, list[da.Array]]:
    """Angle per pixel of a raster or of the orbit, else one number per pass."""
    sources = np.array([angle_source(p) for p in passes])
    _warn_of_poor_angles(passes, sources, grid)
    computed = orbit.angles_on_grid(_series(passes, sources, grid), grid, chunks)
    has_raster = sources == "raster"
    if not has_raster.any():
        return computed, []
    layers = [
        _layer(p, "incidence_angle") if source == "raster" else Layer(())
        for p, source in zip(passes, sources, strict=True)
    ]
    values, failed = read_layers(layers, grid, chunks, Resampling.bilinear)
    if has_raster.all():
        return values, [failed]
    return da.where(has_raster[:, None, None], values, computed), [failed]


def _series(
    passes: Sequence[Acquisition], sources: np.ndarray[Any, Any], grid: GeoBox
) -> np.ndarray[Any, Any]:
    """Chebyshev series of the angle of each pass, ``(time, order y, order x)``.

    One number is a series of order zero. Passes of one orbit share the work.
    """
    ways = [(p.slices[0].relative_orbit, p.slices[0].orbit_state) for p in passes]
    of_orbit = {
        way: orbit.angle_coefficients(grid, int(way[0] or 0), way[1])
        for way in {w for w, source in zip(ways, sources, strict=True) if source == "orbit"}
    }
    size = next(iter(of_orbit.values())).shape if of_orbit else (1, 1)
    series = np.zeros((len(passes), *size))
    for index, (acquisition, source) in enumerate(zip(passes, sources, strict=True)):
        if source == "orbit":
            series[index] = of_orbit[ways[index]]
        else:
            series[index, 0, 0] = _scene_angle(acquisition)
    return series


def _warn_of_poor_angles(
    passes: Sequence[Acquisition], sources: np.ndarray[Any, Any], grid: GeoBox
) -> None:
    contradicted = [
        p for p, s in zip(passes, sources, strict=True) if s == "scene" and _has_orbit(p)
    ]
    if contradicted:
        first = contradicted[0].slices[0]
        stated, geometric = _scene_angle(contradicted[0]), _orbit_angle(first)
        _warn(
            f"{len(contradicted)} radar pass(es) state an incidence angle that is more than "
            f"{AGREES:g} degrees from that of their orbit, or were not seen from it, first item "
            f"{first.id!r} ({stated:.1f} against {geometric:.1f}); the stated "
            "angle is used: check its sat:relative_orbit and sat:orbit_state."
        )
    unseen = [
        p
        for p, s in zip(passes, sources, strict=True)
        if s == "raster" and _has_orbit(p) and not _sees(p)
    ]
    if unseen:
        first = unseen[0].slices[0]
        _warn(
            f"{len(unseen)} radar pass(es) were not seen from the orbit that they state, first "
            f"item {first.id!r} (relative orbit {first.relative_orbit}, {first.orbit_state}): "
            "layover and shadow would be looked for on the wrong side; check its "
            "sat:relative_orbit and sat:orbit_state."
        )
    if (sources == "none").any():
        first = passes[int(np.argmax(sources == "none"))].slices[0]
        _warn(
            f"{int((sources == 'none').sum())} radar pass(es) have no incidence angle, first item "
            f"{first.id!r}: no raster, no orbit number and direction that see the image, and no "
            f"view:incidence_angle of {SWATH[0]:g} to {SWATH[1]:g} degrees; their angle is NaN."
        )
    if (sources == "scene").any() and max(grid.boundingbox.span_x, grid.boundingbox.span_y) > WIDE:
        _warn(
            f"the incidence angle is one number for {int((sources == 'scene').sum())} of the radar "
            f"passes, and the grid is wider than {WIDE / 1000:g} km: it can be off by degrees at "
            "the edges; use items with sat:relative_orbit and sat:orbit_state or an "
            "incidence_angle asset, or smaller boxes."
        )


def _warn(message: str) -> None:
    warnings.warn(message, GssmWarning, stacklevel=6)


def _has_orbit(acquisition: Acquisition) -> bool:
    first = acquisition.slices[0]
    on_reference = bool(acquisition.time.to_datetime64() >= orbit.SINCE)
    return on_reference and orbit.is_known(first.relative_orbit, first.orbit_state)


def _sees(acquisition: Acquisition) -> bool:
    """Tell whether the orbit sees its own images as IW does: else its number is wrong."""
    return all(SWATH[0] < _orbit_angle(o) < SWATH[1] for o in acquisition.slices)


def _agrees(acquisition: Acquisition) -> bool:
    """Compare with the orbit where the stated angle belongs: in the middle of the slices."""
    geometric = float(np.mean([_orbit_angle(o) for o, _ in _stated_angles(acquisition)]))
    return abs(geometric - _scene_angle(acquisition)) <= AGREES


def _orbit_angle(item: Observation) -> float:
    west, south, east, north = item.footprint
    longitude = (west + (east + 360 if east < west else east)) / 2
    where = ((south + north) / 2, longitude)
    return float(orbit.incidence_angle(*where, int(item.relative_orbit or 0), item.orbit_state))


def _scene_angle(acquisition: Acquisition) -> float:
    stated = [angle for _, angle in _stated_angles(acquisition)]
    return float(np.mean(stated)) if stated else float("nan")


def _stated_angles(acquisition: Acquisition) -> list[tuple[Observation, float]]:
    """Slices and their stated angles; 0, or radians, is not of the swath and counts as none."""
    stated = ((o, o.incidence_angle) for o in acquisition.slices)
    return [(o, a) for o, a in stated if a is not None and SWATH[0] < a < SWATH[1]]


def _layer(acquisition: Acquisition, variable: str) -> Layer:
    slices = [o for o in acquisition.slices if variable in o.rasters]
    return Layer(tuple(Source(o.id, o.rasters[variable], o.footprint) for o in slices))
