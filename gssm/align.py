"""The one join: images of every sensor -> one cube on one grid, lazily."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import dask.array as da
import numpy as np
import xarray as xr
from odc.geo.geobox import GeoBox
from odc.geo.xr import xr_coords
from rasterio.enums import Resampling

from gssm import schema
from gssm.catalogs import OPTICAL_ROLES, Bbox, Level, Role
from gssm.describe import Observation
from gssm.errors import EmptySearchError, GssmWarning, RequestError
from gssm.grid import geographic_bounds, grid_epsg, intersects, make_grid, stated_bbox
from gssm.layers import Layer, Source
from gssm.load import any_failed, read_layers
from gssm.optical import PREFIXES, read_optical
from gssm.pairing import Acquisition, acquisitions, observations
from gssm.request import check_bbox, check_window
from gssm.sentinel1 import angle_attrs, read_radar

CHUNKS: dict[str, int] = {"y": 1024, "x": 1024}
# What ``elevation`` may be, and how the names of the collections begin that it puts before
# the order of `gssm.catalogs.COLLECTIONS`.
ELEVATIONS: dict[str, tuple[str, ...]] = {"alos": (), "copernicus": ("cop-dem", "copernicus-dem")}


def open_cube(
    items: Iterable[Any],
    *,
    bbox: Sequence[float] | None = None,
    grid: GeoBox | None = None,
    resolution: float = 10,
    window: str = "3D",
    chunks: Mapping[str, int] | None = None,
    elevation: str = "alos",
) -> xr.Dataset:
    """Build the lazy datacube of a place: one time step per Sentinel-1 acquisition.

    No pixel is read. Each optical pixel comes from the nearest unobscured observation
    in the window; ``s2_age`` and ``landsat_age`` say how far away in time it is.

    Parameters
    ----------
    items
        What `gssm.search` returned, or any pystac items or item dictionaries.
    bbox
        West, south, east, north in degrees (across the 180th meridian west > east);
        the searched box by default. Slope and aspect are taken over 30 m to either side,
        and over less within 30 m of the edge: give a box that much larger than your
        field, and clip the product, not the cube.
    grid
        An odc-geo ``GeoBox`` (projected, metres) to use instead of bbox and resolution.
    resolution
        Pixel size in metres; edges are snapped to its multiples.
    window
        Largest time between radar and optical image, either way.
    chunks
        Pixels of a chunk, ``{"y": 1024, "x": 1024}`` by default.
    elevation
        Which elevation goes first where several have a value: ``"alos"`` (ALOS AW3D30,
        then NASADEM, then Copernicus) or ``"copernicus"`` (Copernicus, then these).

    Returns
    -------
    xarray.Dataset
        Dimensions ``(time, y, x)``; variables as in `gssm.schema.VARIABLES`. Bands that
        no image has are NaN.

    Raises
    ------
    RequestError
        The box, grid, window, chunks or elevation cannot be served.
    EmptySearchError
        There is no usable Sentinel-1 item.
    """
    items = list(items) if not hasattr(items, "extra_fields") else items
    sizes, delta = _chunk_sizes(chunks), check_window(window)
    first = _first_elevation(elevation)
    described = observations(items)
    if grid is None:
        box = check_bbox(bbox) if bbox is not None else stated_bbox(items, described)
        grid = make_grid(box, resolution)
    area = geographic_bounds(grid_epsg(grid), grid.boundingbox.bbox)
    described = _over(described, area)
    passes = acquisitions(described, delta, area)
    levels = _levels(passes)

    variables, failed = read_radar(passes, grid, sizes)
    for role in OPTICAL_ROLES:
        optical, unreadable = read_optical(passes, role, grid, sizes)
        variables |= optical
        failed += unreadable
    dsm, unreadable = _read_elevation(described, grid, sizes, first)
    variables["read_failed"] = any_failed([*failed, *unreadable], variables["vv"])

    data_vars = {name: (("time", "y", "x"), array) for name, array in variables.items()}
    cube = xr.Dataset(
        {**data_vars, "dsm": (("y", "x"), dsm)},
        coords={**xr_coords(grid), **_time_coords(passes)},
        attrs={"title": "gssm datacube", "source_items": _item_ids(passes, described)},
    )
    for name in cube.data_vars:
        cube[name].attrs = {**schema.VARIABLES[str(name)].attrs, "grid_mapping": "spatial_ref"}
    for polarization in schema.BACKSCATTER:
        cube[polarization].attrs["backscatter_convention"] = "sigma0"
    cube["incidence_angle"].attrs |= angle_attrs(passes)
    for role, level in levels.items():
        for variable in (v for o in described if o.role == role for v in o.rasters):
            cube[variable].attrs["processing_level"] = level
    for prefix in PREFIXES.values():
        cube[f"{prefix}_mask"].attrs |= {
            "flag_values": np.arange(6, dtype=np.uint8),
            "flag_meanings": schema.MASK_MEANINGS,
        }
    return cube


def _levels(passes: Sequence[Acquisition]) -> dict[Role, Level]:
    """Level of each optical sensor that the cube has, with a warning where they differ."""
    found = ((role, o.level) for role in OPTICAL_ROLES for p in passes for o in getattr(p, role))
    levels: dict[Role, Level] = {role: level for role, level in found if level != "any"}
    if len(set(levels.values())) > 1:
        says = " and ".join(f"{role} of level {level}" for role, level in levels.items())
        warnings.warn(
            f"the cube has {says}: top-of-atmosphere beside surface reflectance, which no model "
            "has learnt together; search all sensors with one level, or leave one out.",
            GssmWarning,
            stacklevel=3,
        )
    return levels


def _over(described: Sequence[Observation], box: Bbox) -> list[Observation]:
    """Keep the observations whose footprint touches the grid, of which this is the box."""
    over = [o for o in described if intersects(o.footprint, box)]
    if not any(o.role == "sentinel1" for o in over):
        west, south, east, north = box
        raise EmptySearchError(
            f"no Sentinel-1 image touches the grid (degrees: {west:.4f}, {south:.4f}, {east:.4f}, "
            f"{north:.4f}); give the box that the items were searched for."
        )
    return over


def _chunk_sizes(chunks: Mapping[str, int] | None) -> tuple[int, int]:
    known = isinstance(chunks, Mapping) or chunks is None
    sizes = {**CHUNKS, **(chunks or {})} if known else {}
    if set(sizes) != {"y", "x"} or not all(
        isinstance(n, (int, np.integer)) and n > 0 for n in sizes.values()
    ):
        raise RequestError(
            f"chunks {chunks!r} is not pixels of y and x; use {CHUNKS} "
            "(time always has chunks of one acquisition)."
        )
    return sizes["y"], sizes["x"]


def _first_elevation(elevation: str) -> tuple[str, ...]:
    if not isinstance(elevation, str) or elevation not in ELEVATIONS:
        raise RequestError(
            f"elevation {elevation!r} is unknown; use {' or '.join(map(repr, ELEVATIONS))}."
        )
    return ELEVATIONS[elevation]


def _read_elevation(
    described: Sequence[Observation],
    grid: GeoBox,
    chunks: tuple[int, int],
    first: tuple[str, ...] = (),
) -> tuple[da.Array, list[da.Array]]:
    """Elevation, per pixel from the first collection of the table that has a value.

    Collections whose names begin with one of `first` go before the others.
    """
    tiles = sorted(
        (o for o in described if o.role == "elevation"),
        key=lambda o: (not o.collection.startswith(first), o.rank, o.id),
    )
    if not tiles:
        return da.full(tuple(grid.shape), np.nan, chunks=chunks, dtype=np.float32), []
    layer = Layer(tuple(Source(o.id, o.rasters["dsm"], o.footprint) for o in tiles))
    values, failed = read_layers([layer], grid, chunks, Resampling.bilinear)
    return values[0], [failed]


def _time_coords(passes: Sequence[Acquisition]) -> dict[str, Any]:
    first = [p.slices[0] for p in passes]
    orbit = [-1 if o.relative_orbit is None else o.relative_orbit for o in first]
    return {
        "time": np.array([p.time.to_datetime64() for p in passes], dtype="datetime64[ns]"),
        "relative_orbit": ("time", np.array(orbit, dtype=np.int16)),
        "orbit_state": ("time", np.array([o.orbit_state for o in first], dtype=object)),
        "platform": ("time", np.array([o.platform for o in first], dtype=object)),
    }


def _item_ids(passes: Sequence[Acquisition], described: Sequence[Observation]) -> list[str]:
    used = {o.id for p in passes for o in (*p.slices, *p.sentinel2, *p.landsat)}
    return sorted(used | {o.id for o in described if o.role == "elevation"})
