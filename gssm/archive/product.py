"""A dataset as a product to hand out: its layout and grid checked, its metadata complete."""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Hashable
from hashlib import sha256
from pathlib import PurePath
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr
from affine import Affine
from odc.geo.geobox import GeoBox
from odc.geo.xr import xr_coords

from gssm.archive import encoding
from gssm.archive.parts import DIMENSIONS
from gssm.archive.reading import flag_attrs
from gssm.errors import CubeError

# Share of a pixel by which the steps of a coordinate may differ.
UNEVEN = 1e-3


def product(dataset: xr.Dataset | xr.DataArray, *, made: dt.datetime | None = None) -> xr.Dataset:
    """Return a dataset as gssm hands it out; its data stay lazy and untouched.

    Parameters
    ----------
    dataset
        What `gssm.predict` or `gssm.open_archive` returned, or a part of it: variables
        ``(time, y, x)`` or, of one date, ``(y, x)``.
    made
        When (UTC); now, if not given.

    Returns
    -------
    xarray.Dataset
        Dimensions ``(time, y, x)``, times in order and whole seconds, north up, with the CF
        and ACDD attributes of the product, its extent and its dates, ``depth`` and
        ``spatial_ref``.

    Raises
    ------
    CubeError
        It is no map: dimensions, times, grid or CRS are missing or others.
    """
    if isinstance(dataset, xr.DataArray) and dataset.name is not None:
        dataset = dataset.to_dataset()
    if not isinstance(dataset, xr.Dataset) or not dataset.data_vars:
        raise CubeError(
            f"what to export is a {type(dataset).__name__} without named variables; give what "
            "gssm.predict or gssm.open_archive returned."
        )
    ordered = _ordered(dataset)
    grid = grid_of(ordered)
    along_time: dict[Hashable, xr.Variable] = {
        name: _in_memory(coordinate.variable)
        for name, coordinate in ordered.coords.items()
        if coordinate.dims == ("time",)
    }
    bare = ordered.drop_vars([n for n in ordered.coords if n not in DIMENSIONS])
    result = bare.assign_coords(
        along_time
        | {"spatial_ref": xr_coords(grid)["spatial_ref"].variable}
        | {n: xr.Variable(*found) for n, found in encoding.depth_coordinates().items()}
    )
    for name in map(str, result.variables):
        attrs = {**result[name].attrs, **_attrs(name, grid)}
        result[name].attrs = {n: v for n, v in attrs.items() if n not in REMADE}
        if name in result.data_vars:
            result[name].attrs |= {"grid_mapping": "spatial_ref"}
            _keep_ancillary(result, name)
    return result.assign_attrs(_global_attrs(dataset.attrs, result, grid, made))


# What the packing of a file says anew, or xarray by itself.
REMADE = (
    *("valid_range", "scale_factor", "add_offset", "_FillValue", "coordinates", "crs"),
    "units_metadata",
)


def _in_memory(variable: xr.Variable) -> xr.Variable:
    """Coordinate along time, computed; text without the width that it had in a file."""
    found: xr.Variable = variable.compute()
    return found.astype(object) if found.dtype.kind in "UT" else found


def _attrs(name: str, grid: GeoBox) -> dict[str, Any]:
    """CF attributes of a variable, those of flags and of a grid in degrees included."""
    if name == "quality_flag":
        return dict(flag_attrs())
    if name in DEGREES and grid.crs is not None and grid.crs.geographic:
        return DEGREES[name]
    return encoding.variable_attrs(name)


DEGREES: dict[str, dict[str, Any]] = {
    "y": {
        "standard_name": "latitude",
        "long_name": "latitude of the pixel centre",
        "units": "degrees_north",
        "axis": "Y",
    },
    "x": {
        "standard_name": "longitude",
        "long_name": "longitude of the pixel centre",
        "units": "degrees_east",
        "axis": "X",
    },
}


def grid_of(dataset: xr.Dataset) -> GeoBox:
    """Grid of a dataset with pixel centres ``y`` (north first), ``x`` and ``spatial_ref``."""
    stated = dataset["spatial_ref"].attrs if "spatial_ref" in dataset.variables else {}
    wkt = stated.get("crs_wkt") or stated.get("spatial_ref")
    if not wkt:
        raise CubeError(
            "the dataset says no CRS (coordinate 'spatial_ref' with 'crs_wkt'); keep the one of "
            "gssm.open_cube, or set it with dataset.rio.write_crs('EPSG:32631')."
        )
    steps = [_step(dataset, axis, stated) for axis in ("x", "y")]
    left = float(dataset["x"][0]) - steps[0] / 2
    top = float(dataset["y"][0]) - steps[1] / 2
    shape = (dataset.sizes["y"], dataset.sizes["x"])
    return GeoBox(shape, Affine(steps[0], 0, left, 0, steps[1], top), str(wkt))


def _step(dataset: xr.Dataset, axis: str, stated: dict[str, Any]) -> float:
    """Signed size of a pixel along an axis; of a single one from its ``GeoTransform``."""
    values = np.asarray(dataset[axis].values, np.float64)
    sign = 1 if axis == "x" else -1
    transform = str(stated.get("GeoTransform", "")).split()
    if values.size == 1 and len(transform) == 6:
        return float(transform[1 if axis == "x" else 5])
    steps = np.diff(values)
    if values.size == 1 or sign * steps[0] <= 0 or np.ptp(steps) > UNEVEN * abs(steps[0]):
        raise CubeError(
            f"the coordinate {axis!r} is no row of even steps (pixel centres, north first), of "
            "which a raster is made; export a box of one grid, more than a pixel wide."
        )
    return float((values[-1] - values[0]) / (values.size - 1))


def _ordered(dataset: xr.Dataset) -> xr.Dataset:
    """Dimensions (time, y, x), dates in order, north up; or why there are none."""
    if "time" in dataset.coords and "time" not in dataset.dims:
        dataset = dataset.expand_dims("time")
    for name, array in dataset.data_vars.items():
        if set(array.dims) != set(DIMENSIONS):
            raise CubeError(
                f"variable {name!r} has the dimensions {array.dims} where an export holds "
                f"{DIMENSIONS}; leave it out (dataset.drop_vars({name!r})), or keep its dates "
                "with isel(time=[i])."
            )
    absent = [name for name in DIMENSIONS if name not in dataset.coords]
    empty = [name for name in DIMENSIONS if dataset.sizes[name] == 0]
    if absent or empty:
        what = f"no coordinate {absent[0]!r}" if absent else f"0 values along {empty[0]!r}"
        raise CubeError(f"the dataset has {what}; keep what gssm returned, or widen the selection.")
    times = dataset["time"].to_index()
    if isinstance(times, pd.DatetimeIndex):
        times = times.floor("s")  # as an archive has them, and every file format
    if not isinstance(times, pd.DatetimeIndex) or times.hasnans or times.has_duplicates:
        raise CubeError(
            "the coordinate 'time' holds no dates, or one twice; convert it with "
            "pandas.to_datetime, or keep one with dataset.drop_duplicates('time')."
        )
    in_seconds = dataset["time"].variable.copy(data=times.to_numpy())
    dataset = dataset.assign_coords(time=in_seconds).transpose(*DIMENSIONS, ...)
    if not times.is_monotonic_increasing:
        dataset = dataset.sortby("time")
    south_first = dataset.sizes["y"] > 1 and bool(dataset["y"][0] < dataset["y"][-1])
    return dataset.isel(y=slice(None, None, -1)) if south_first else dataset


def _keep_ancillary(dataset: xr.Dataset, name: str) -> None:
    """Name only ancillary variables that are there."""
    attrs = dataset[name].attrs
    known = str(attrs.pop("ancillary_variables", "")).split()
    there = [other for other in known if other in dataset.data_vars]
    if there:
        attrs["ancillary_variables"] = " ".join(there)


def _global_attrs(
    stated: dict[str, Any], dataset: xr.Dataset, grid: GeoBox, made: dt.datetime | None
) -> dict[str, Any]:
    now = f"{made or dt.datetime.now(dt.UTC):%Y-%m-%dT%H:%M:%SZ}"
    attrs = {
        **encoding.product_attrs(),
        **{n: v for n, v in stated.items() if n not in ("Conventions", "coordinates")},
        **extent_attrs(grid, pd.DatetimeIndex(dataset["time"].values)),
        "date_created": now,
    }
    for name in ("model", "archive"):
        # Where it lies on somebody's disk is nobody else's concern.
        if name in attrs and "://" not in str(attrs[name]):
            attrs[name] = PurePath(str(attrs[name])).name
    done = f"{now} exported by gssm {attrs['product_version']}"
    attrs["history"] = "\n".join(filter(None, (str(attrs.get("history", "")), done)))
    of = [attrs.get(n) for n in ("model_sha256", "source_items", "geospatial_bounds")]
    made_of = json.dumps([*of, *map(str, dataset["time"].values)], default=list)
    attrs["id"] = f"gssm-{sha256(made_of.encode()).hexdigest()[:16]}"
    return attrs


def extent_attrs(grid: GeoBox, times: pd.DatetimeIndex) -> dict[str, Any]:
    """ACDD attributes of an extent in space, in degrees, and in time."""
    west, south, east, north = geographic_box(grid)
    corners = geographic_ring(grid)
    first, last = times.min(), times.max()
    units = "degree" if grid.crs is not None and grid.crs.geographic else "m"
    pixel, steps = f"{grid.resolution.x:g} {units}", max(1, len(times) - 1)
    return {
        "geospatial_lat_min": south,
        "geospatial_lat_max": north,
        "geospatial_lat_units": "degrees_north",
        "geospatial_lat_resolution": pixel,
        "geospatial_lon_min": west,
        "geospatial_lon_max": east,
        "geospatial_lon_units": "degrees_east",
        "geospatial_lon_resolution": pixel,
        # EPSG:4326 has the latitude first.
        "geospatial_bounds": f"POLYGON (({', '.join(f'{y:.6f} {x:.6f}' for x, y in corners)}))",
        "geospatial_bounds_crs": "EPSG:4326",
        "geospatial_vertical_min": encoding.SOIL_LAYER[0],
        "geospatial_vertical_max": encoding.SOIL_LAYER[1],
        "geospatial_vertical_units": "m",
        "geospatial_vertical_resolution": f"{encoding.SOIL_LAYER[1] - encoding.SOIL_LAYER[0]:g} m",
        "geospatial_vertical_positive": "down",
        "time_coverage_start": f"{first:%Y-%m-%dT%H:%M:%SZ}",
        "time_coverage_end": f"{last:%Y-%m-%dT%H:%M:%SZ}",
        "time_coverage_duration": f"PT{int((last - first).total_seconds())}S",
        "time_coverage_resolution": f"PT{int((last - first).total_seconds() / steps)}S",
    }


def geographic_box(grid: GeoBox) -> tuple[float, float, float, float]:
    """West, south, east, north of a grid in degrees; west > east across 180 degrees."""
    from rasterio.warp import transform_bounds

    box = transform_bounds(str(grid.crs), "EPSG:4326", *grid.boundingbox.bbox)
    west, south, east, north = (round(value, 6) for value in box)
    return west, south, east, north


def geographic_ring(grid: GeoBox) -> list[tuple[float, float]]:
    """Corners of a grid in degrees (longitude, latitude), counter-clockwise and closed."""
    from rasterio.warp import transform

    left, bottom, right, top = grid.boundingbox.bbox
    x, y = (left, right, right, left, left), (bottom, bottom, top, top, bottom)
    longitudes, latitudes = transform(str(grid.crs), "EPSG:4326", x, y)
    return [(round(a, 6), round(b, 6)) for a, b in zip(longitudes, latitudes, strict=True)]


def as_text(attrs: dict[str, Any]) -> dict[str, Any]:
    """Attributes as files hold them: numbers and text; lists joined by commas."""
    return {str(name): _text(value) for name, value in attrs.items() if value is not None}


def _text(value: Any) -> Any:
    if isinstance(value, (list, tuple)):
        return ", ".join(map(str, value))
    if isinstance(value, dict):
        return json.dumps(value, default=str)
    return str(value) if isinstance(value, bool) else value
