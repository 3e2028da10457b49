"""Stored numbers of a product -> m3 m-3, NaN for no value, flags and times of observation."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr

from gssm.compare.canonical import (
    OBSERVATION_TIME,
    RECOMMENDED,
    SOIL_MOISTURE,
    UNITS,
    soil_moisture_attrs,
)
from gssm.compare.layouts import FACTORS, SATURATION_FACTORS, Layout
from gssm.compare.parts import Raw
from gssm.compare.saturation import check_porosity, times_porosity
from gssm.errors import ReadError

UNCERTAINTY = "soil_moisture_uncertainty"
FLAG = "quality_flag"
# SMAP counts seconds from here (J2000), to within the leap seconds.
J2000 = np.datetime64("2000-01-01T12:00:00", "ns")
# Soil moisture that a packing may round to.
LEAST = -1e-3
_SECOND, _DAY = 1e9, 86_400e9  # in nanoseconds


def canonical_part(
    raw: Raw, layout: Layout, path: Path, porosity: float | xr.DataArray | None
) -> xr.Dataset:
    """Return a file's numbers in m3 m-3, with flags and times that every product shares."""
    factor, saturated = _factor(raw.units, layout, path)
    stored = raw.dataset
    _check_scale(stored[raw.variable], layout, path)
    moisture = _decoded(stored[raw.variable], layout, factor)
    variables: dict[str, xr.DataArray] = {}
    attrs: dict[str, Any] = {
        "product": layout.name,
        "title": layout.title,
        "source": layout.source,
        "depth_top": layout.depth[0],
        "depth_bottom": layout.depth[1],
    }
    uncertainty = layout.uncertainty if layout.uncertainty in stored else None
    spread = None if uncertainty is None else _decoded(stored[uncertainty], layout, factor)
    if saturated:
        told = check_porosity(porosity, layout.title, path.name)
        moisture = times_porosity(moisture, told)
        spread = None if spread is None else times_porosity(spread, told)
        attrs["porosity"] = float(told) if isinstance(told, (int, float)) else "given as a map"
    variables[SOIL_MOISTURE] = moisture.assign_attrs(soil_moisture_attrs())
    if spread is not None:
        variables[UNCERTAINTY] = spread.assign_attrs(
            units=UNITS, long_name=f"uncertainty as {layout.name} states it"
        )
    if layout.flag is not None and layout.flag in stored:
        flag = stored[layout.flag]
        variables[FLAG] = flag.assign_attrs(long_name=f"{layout.flag} of {layout.name}")
        variables[RECOMMENDED] = _recommended(flag, layout)
    if layout.observed is not None and layout.observed in stored:
        variables[OBSERVATION_TIME] = _moments(stored[layout.observed], layout)
    dataset = xr.Dataset(variables)
    if layout.daily:
        days = pd.DatetimeIndex(dataset["time"].values).normalize() + pd.Timedelta(hours=12)
        dataset = dataset.assign_coords(time=days)
    dataset["time"].attrs = {"standard_name": "time", "long_name": "time (UTC)"}
    return _with_crs(dataset, raw.crs).assign_attrs(attrs)


def _factor(units: str, layout: Layout, path: Path) -> tuple[float, bool]:
    """Return the factor to m3 m-3, or to a fraction of saturation, and whether it is the latter."""
    if units in FACTORS:
        return FACTORS[units], False
    if units == "percent of volume":
        return 0.01, False
    if units.lower() in SATURATION_FACTORS:
        return SATURATION_FACTORS[units.lower()], True
    raise ReadError(
        f"{path.name} gives its soil moisture in {units or 'no units'!r}, which is not as "
        f"{layout.name} is published; check what it is."
    )


def _check_scale(stored: xr.DataArray, layout: Layout, path: Path) -> None:
    """Refuse a file that packs its numbers in another way than its product does."""
    told = stored.attrs.get("scale_factor")
    if layout.scale != 1 and told is not None and not np.isclose(told, layout.scale):
        raise ReadError(
            f"{path.name} says scale_factor {told:g} where {layout.name} is published with "
            f"{layout.scale:g}; check what it is."
        )


def _decoded(stored: xr.DataArray, layout: Layout, factor: float) -> xr.DataArray:
    """Return physical numbers, NaN where the stored one is fill, a flag or impossible."""
    attrs = stored.attrs
    if str(attrs.get("_Unsigned", "")).lower() == "true":  # bytes that classic NetCDF lacks
        stored = stored.astype(f"u{stored.dtype.itemsize}")
    known = stored.notnull()
    for fill in {attrs.get("_FillValue"), attrs.get("missing_value"), layout.fill} - {None}:
        known = known & (stored != np.asarray(fill).astype(stored.dtype))
    if layout.scale != 1:  # beside the numbers there are codes, which say why there is none
        known = known & (stored >= layout.valid[0]) & (stored <= layout.valid[1])
    scale, offset = float(attrs.get("scale_factor", layout.scale)), attrs.get("add_offset", 0.0)
    physical = (stored.astype(np.float64) * scale + float(offset)) * factor
    known = known & (physical >= LEAST) & (physical <= 1)
    result: xr.DataArray = physical.where(known).astype(np.float32)
    result.attrs, result.encoding = {}, {}
    return result.drop_vars([n for n in result.coords if n not in ("time", "y", "x")])


def _recommended(flag: xr.DataArray, layout: Layout) -> xr.DataArray:
    allowed = (flag.astype(np.int64) & layout.refused_bits) == 0
    if layout.flag_fill is not None:
        allowed = allowed & (flag != layout.flag_fill)
    result: xr.DataArray = allowed.astype(np.uint8)
    result.attrs = {
        "long_name": f"recommended by the flags of {layout.name}",
        "flag_values": np.array([0, 1], np.uint8),
        "flag_meanings": "not_recommended recommended",
    }
    return result


def _moments(stored: xr.DataArray, layout: Layout) -> xr.DataArray:
    """Return times of observation; ESA CCI counts days from 1970, SMAP seconds from J2000."""
    nanoseconds, epoch = (
        (_DAY, np.datetime64("1970-01-01", "ns"))
        if str(stored.attrs.get("units", "")).startswith("days since 1970")
        else (_SECOND, J2000)
    )

    def decode(values: Any) -> Any:
        known = np.isfinite(values) & (values > -9990)
        whole = np.where(known, values * nanoseconds, 0).astype(np.int64)
        return np.where(known, epoch + whole.astype("timedelta64[ns]"), np.datetime64("NaT", "ns"))

    result: xr.DataArray = xr.apply_ufunc(
        decode, stored.astype(np.float64), dask="parallelized", output_dtypes=["datetime64[ns]"]
    )
    result.attrs = {"long_name": f"time of observation in {layout.name} (UTC)"}
    return result


def _with_crs(dataset: xr.Dataset, crs: str) -> xr.Dataset:
    from odc.geo.xr import assign_crs

    bare = dataset.drop_vars([n for n in dataset.coords if n not in ("time", "y", "x")])
    for name in ("y", "x"):
        bare[name].attrs = {}
    placed: xr.Dataset = assign_crs(bare, crs)
    for array in placed.data_vars.values():
        array.attrs["grid_mapping"] = "spatial_ref"
        array.encoding = {}
    return placed
