"""Soil moisture of any product, in m3 m-3 on its own grid: what is understood, what refused."""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from gssm.errors import CubeError, MissingVariableError
from gssm.schema import VARIABLES

Floats = NDArray[np.float64]

SOIL_MOISTURE = "soil_moisture"
# Of a product's own flags: 1 where it advises to use the value, 0 where it advises against.
RECOMMENDED = "recommended"
# Moment (UTC) at which a cell was observed, where a product tells it.
OBSERVATION_TIME = "observation_time"
UNITS = "m3 m-3"

# Spellings of cubic metres of water in a cubic metre of soil.
VOLUMETRIC = (
    *("m3 m-3", "m3/m3", "m3 m**-3", "m**3 m**-3", "m^3 m^-3", "m^3/m^3", "m3.m-3", "m3m-3"),
    *("m³ m⁻³", "m³/m³", "cm3 cm-3", "cm3/cm3", "cm**3/cm**3", "cm3 cm**-3", "cm³/cm³"),
)
# A fraction is one of volumes only if it says so.
FRACTIONS = ("1", "", "volume_fraction")
FRACTION_NAMES = (
    "volume_fraction_of_condensed_water_in_soil",
    "volume_fraction_of_water_in_soil",
)
SATURATION = ("percent", "%", "percent_saturation", "percent saturation", "percentage")

Y_NAMES = ("y", "lat", "latitude")
X_NAMES = ("x", "lon", "longitude")
DEGREES = ("lat", "latitude", "lon", "longitude")
GEOGRAPHIC = "EPSG:4326"


@dataclass(frozen=True)
class Grid:
    """Where the cells of a product are.

    Parameters
    ----------
    y_name, x_name
        Names of its dimensions.
    y, x
        Centres of rows and columns, in units of the CRS, rising or falling.
    crs
        Anything that pyproj understands.
    """

    y_name: str
    x_name: str
    y: Floats
    x: Floats
    crs: str

    @property
    def is_geographic(self) -> bool:
        """Whether `x` is a longitude in degrees."""
        from pyproj import CRS

        return bool(CRS.from_user_input(self.crs).is_geographic)


def check_product(product: xr.Dataset | xr.DataArray, name: str) -> xr.Dataset:
    """Return a product's dataset with ``soil_moisture`` in m3 m-3, or refuse it.

    Parameters
    ----------
    product
        With ``soil_moisture`` (``(time, y, x)``, dimensions in any order; ``y`` and ``x`` may
        be called lat and lon) and its units; a DataArray is taken for it.
    name
        What messages call it.

    Raises
    ------
    MissingVariableError
        It has no ``soil_moisture``.
    CubeError
        Units or dimensions that cannot be compared.
    """
    if isinstance(product, xr.DataArray):
        dataset: xr.Dataset = product.to_dataset(name=SOIL_MOISTURE)
    else:
        dataset = product
    if SOIL_MOISTURE not in dataset:
        held = ", ".join(map(str, dataset.data_vars)) or "none"
        raise MissingVariableError(
            f"product {name!r} has no variable 'soil_moisture' (it has {held}); read it with "
            "gssm.open_product, or rename its variable."
        )
    array = dataset[SOIL_MOISTURE]
    check_units(array.attrs, name)
    grid = grid_of(dataset, name)
    dims = {grid.y_name, grid.x_name}
    if "time" not in dataset.coords or set(array.dims) - dims - {"time"}:
        raise CubeError(
            f"soil_moisture of product {name!r} has the dimensions {array.dims}; give "
            "(time, y, x), and a coordinate 'time'."
        )
    if "time" not in array.dims:
        dataset = dataset.expand_dims("time") if "time" not in dataset.dims else dataset
    if dataset["time"].dtype.kind != "M":
        raise CubeError(
            f"time of product {name!r} is no time of the standard calendar; decode it with "
            "xarray.decode_cf, or convert_calendar('standard')."
        )
    times = dataset.indexes["time"]
    if times.hasnans or times.has_duplicates:
        told = (
            "no time" if times.hasnans else f"{times[times.duplicated()][0]:%Y-%m-%d %H:%M} twice"
        )
        raise CubeError(
            f"product {name!r} has {told}; give one map for each time (one version and kind of its "
            "files, tiles merged)."
        )
    shown: xr.Dataset = dataset.transpose(
        "time", grid.y_name, grid.x_name, ..., missing_dims="ignore"
    )
    return shown


def check_units(attrs: dict[Hashable, Any] | dict[str, Any], name: str) -> None:
    """Refuse what is no soil moisture in m3 m-3.

    Raises
    ------
    CubeError
        There are no units, or others.
    """
    units = str(attrs.get("units", "")).strip()
    fraction = attrs.get("standard_name") in FRACTION_NAMES and units in FRACTIONS
    if units in VOLUMETRIC or fraction:
        return
    if units.lower() in SATURATION:
        raise CubeError(
            f"soil_moisture of product {name!r} is in {units!r}, which may be percent of volume or "
            "of saturation; convert it: divide the one by 100, multiply the other by "
            "porosity / 100."
        )
    told = f"has the units {units!r}" if units else "has no units"
    raise CubeError(
        f"soil_moisture of product {name!r} {told}; give m3 m-3 and say so in "
        "attrs['units'] = 'm3 m-3'."
    )


def grid_of(dataset: xr.Dataset, name: str) -> Grid:
    """Return the grid of a product's ``soil_moisture``.

    Raises
    ------
    CubeError
        Its rows and columns have no one-dimensional coordinates, or nothing says what CRS
        they are in.
    """
    array = dataset[SOIL_MOISTURE]
    names = [next((n for n in known if n in array.dims), None) for known in (Y_NAMES, X_NAMES)]
    y_name, x_name = names
    if y_name is None or x_name is None or {y_name, x_name} - set(array.indexes):
        raise CubeError(
            f"soil_moisture of product {name!r} has the dimensions {array.dims}; its rows and "
            "columns need coordinates: y and x, or lat and lon."
        )
    y, x = (_centres(array, n, name) for n in (y_name, x_name))
    return Grid(y_name, x_name, y, x, _crs_of(dataset, y_name, name))


def _centres(array: xr.DataArray, dim: str, name: str) -> Floats:
    centres = np.asarray(array[dim].values, dtype=np.float64)
    steps = np.diff(centres)
    in_order = bool(np.all(steps > 0) or np.all(steps < 0))
    if not (centres.size and np.isfinite(centres).all() and in_order):
        raise CubeError(
            f"{dim} of product {name!r} does not rise or fall throughout; sort the product by it."
        )
    if centres.size < 2:
        raise CubeError(
            f"{dim} of product {name!r} has one cell, whose size nothing tells; give two or more."
        )
    return centres


def _crs_of(dataset: xr.Dataset, y_name: str, name: str) -> str:
    mapping = dataset[SOIL_MOISTURE].attrs.get("grid_mapping") or dataset[
        SOIL_MOISTURE
    ].encoding.get("grid_mapping")
    for candidate in (mapping, "spatial_ref", "crs"):
        if candidate in dataset.variables:
            attrs = dataset[candidate].attrs
            told = attrs.get("crs_wkt") or attrs.get("spatial_ref")
            if told:
                return str(told)
    if y_name in DEGREES:
        return GEOGRAPHIC
    raise CubeError(
        f"nothing says which CRS the grid of product {name!r} is in; add it with "
        "product.rio.write_crs('EPSG:32631'), say."
    )


def soil_moisture_attrs() -> dict[str, Any]:
    """CF attributes of soil moisture in m3 m-3."""
    attrs = dict(VARIABLES[SOIL_MOISTURE].attrs)
    attrs.pop("valid_range", None)
    return attrs
