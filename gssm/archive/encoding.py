"""How variables are stored: CF attributes, fill values, compression, time units."""

from __future__ import annotations

from importlib.metadata import version
from typing import Any

import numpy as np
import xarray as xr

# Versions that decide the numbers of a product.
PROVENANCE_PACKAGES = (
    "gssm",
    "xarray",
    "dask",
    "stackstac",
    "rasterio",
    "numpy",
    "xgboost",
    "torch",
)

TIME_ENCODING = {
    "units": "seconds since 1970-01-01T00:00:00",
    "calendar": "proleptic_gregorian",
    "dtype": "int64",
}


def cf_dataset(dataset: xr.Dataset) -> xr.Dataset:
    """Return the dataset with CF global attributes and provenance; data untouched."""
    versions = ", ".join(f"{name} {version(name)}" for name in PROVENANCE_PACKAGES)
    attrs = {
        "Conventions": "CF-1.11",
        "source": "Sentinel-1, Sentinel-2, Landsat 8/9 and elevation, by gssm",
        "references": "https://doi.org/10.5281/zenodo.16956743",
        **dataset.attrs,
        "software_versions": versions,
    }
    result = dataset.assign_attrs(attrs)
    coordinate_attrs = {
        "x": {"standard_name": "projection_x_coordinate", "units": "m", "axis": "X"},
        "y": {"standard_name": "projection_y_coordinate", "units": "m", "axis": "Y"},
        "time": {"standard_name": "time", "long_name": "Sentinel-1 acquisition (UTC)", "axis": "T"},
    }
    for name, extra in coordinate_attrs.items():
        if name in result.coords:
            result = result.assign_coords({name: result[name].assign_attrs(extra)})
    return result


def encoding(dataset: xr.Dataset) -> dict[str, dict[str, Any]]:
    """Return xarray's encoding for every variable that needs one."""
    table: dict[str, dict[str, Any]] = {}
    for name, array in dataset.data_vars.items():
        if np.issubdtype(array.dtype, np.floating):
            table[str(name)] = {"_FillValue": np.float32(np.nan), "dtype": "float32"}
    if "time" in dataset.coords and np.issubdtype(dataset["time"].dtype, np.datetime64):
        table["time"] = dict(TIME_ENCODING)
    return table
