"""How variables are stored: CF and ACDD attributes, packing, fill values, time units."""

from __future__ import annotations

from functools import cache
from importlib.metadata import version
from typing import Any

import numpy as np
import xarray as xr

from gssm import quality, schema

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

CONVENTIONS = "CF-1.11, ACDD-1.3"
TITLE = "Surface soil moisture at 10 m"
SUMMARY = (
    "Volumetric water content of the top 5 cm of soil on a 10 m grid for every Sentinel-1 "
    "acquisition, with the half-width of its 90 % prediction interval and quality flags; "
    "retrieved from Sentinel-1 backscatter, whose vegetation part the Water Cloud Model "
    "removes, Sentinel-2, Landsat 8/9 and elevation by an ensemble of regression models."
)
KEYWORDS = (
    "EARTH SCIENCE > LAND SURFACE > SOILS > SOIL MOISTURE/WATER CONTENT",
    *("soil moisture", "Sentinel-1", "Sentinel-2", "Landsat", "Water Cloud Model"),
)
DOI = "10.5281/zenodo.16956743"
REFERENCES = f"https://doi.org/{DOI}"
CITATION = (
    "Xu, N., Daccache, A. and Ahmadi, A. (2025): GSSM-10 (Global 10-m Surface Soil Moisture) "
    f"Derived from Multi-Sensor Data and Ensemble Learning. Zenodo. {REFERENCES}"
)
SENTINEL_NOTICE = (
    "https://sentinels.copernicus.eu/documents/247904/690755/Sentinel_Data_Legal_Notice"
)
LANDSAT_NOTICE = (
    "https://www.usgs.gov/faqs/are-there-any-restrictions-use-or-redistribution-landsat-data"
)
ACKNOWLEDGEMENT = (
    "Contains modified Copernicus Sentinel data. Landsat 8/9 courtesy of the U.S. Geological "
    "Survey."
)
LICENCE = (
    "gssm and its models: Apache-2.0. The inputs keep their terms: Copernicus Sentinel data "
    f"({SENTINEL_NOTICE}), Landsat without restriction ({LANDSAT_NOTICE}), elevation as its "
    "provider says."
)

SOIL_LAYER = (0.0, 0.05)  # m below the surface: what the sensors see and the stations measure


# Zarr holds attributes as JSON, which knows no arrays.
_PLAIN_FLAGS = quality.ATTRS | {"flag_masks": [flag.mask for flag in quality.FLAGS]}
_ON_GRID = {"grid_mapping": "spatial_ref", "cell_methods": "time: point area: mean"}
_RESULT = {"coverage_content_type": "modelResult"}
_AUXILIARY = {"coverage_content_type": "auxiliaryInformation"}
_COORDINATE = {"coverage_content_type": "coordinate"}
_WITH_FLAGS = {"ancillary_variables": "quality_flag"}
_BOTH = {"ancillary_variables": "soil_moisture_uncertainty quality_flag"}

# Of coordinates that have a dimension of their own, and of the soil layer.
COORDINATE_ATTRS: dict[str, dict[str, Any]] = {
    "time": {
        "standard_name": "time",
        "long_name": "Sentinel-1 acquisition (UTC)",
        "axis": "T",
        "units_metadata": "leap_seconds: none",
        **_COORDINATE,
    },
    "x": {
        "standard_name": "projection_x_coordinate",
        "long_name": "easting of the pixel centre",
        "units": "m",
        "axis": "X",
        **_COORDINATE,
    },
    "y": {
        "standard_name": "projection_y_coordinate",
        "long_name": "northing of the pixel centre",
        "units": "m",
        "axis": "Y",
        **_COORDINATE,
    },
    "spatial_ref": {"long_name": "coordinate reference system"},
    "depth": {
        "standard_name": "depth",
        "long_name": "depth of the soil layer below the surface",
        "units": "m",
        "positive": "down",
        "axis": "Z",
        **_COORDINATE,
    },
}
# Auxiliary coordinates of the data, for their attribute ``coordinates``.
AUXILIARY = ("depth", "relative_orbit", "orbit_state", "platform")

_ATTRS: dict[str, dict[str, Any]] = COORDINATE_ATTRS | {
    "soil_moisture": _ON_GRID | _RESULT | _BOTH,
    "soil_moisture_uncertainty": _ON_GRID
    | _WITH_FLAGS
    | {"coverage_content_type": "qualityInformation"},
    "quality_flag": _PLAIN_FLAGS
    | {"grid_mapping": "spatial_ref", "coverage_content_type": "qualityInformation"},
    "s2_age": _ON_GRID | _AUXILIARY,
    "landsat_age": _ON_GRID | _AUXILIARY,
    "relative_orbit": {
        "long_name": "relative orbit of Sentinel-1, -1 where unknown",
        "units": "1",
        **_AUXILIARY,
    },
    "platform": {"standard_name": "platform_name", "long_name": "satellite", **_AUXILIARY},
    "orbit_state": {"long_name": "direction of the orbit of Sentinel-1", **_AUXILIARY},
}


def product_attrs() -> dict[str, Any]:
    """Global attributes that every soil moisture product has, without its extent and times.

    Returns
    -------
    dict
        CF-1.11 and ACDD-1.3 attributes; the same at every call of one gssm.
    """
    return {
        "Conventions": CONVENTIONS,
        "title": TITLE,
        "summary": SUMMARY,
        "keywords": ", ".join(KEYWORDS),
        "standard_name_vocabulary": "CF Standard Name Table v93",
        "source": "Sentinel-1, Sentinel-2, Landsat 8/9 and elevation, by gssm",
        "comment": "quality_flag says of each pixel why it is uncertain or has no value",
        "processing_level": "L3",
        "cdm_data_type": "Grid",
        "license": LICENCE,
        "acknowledgement": ACKNOWLEDGEMENT,
        "creator_name": "The gssm developers",
        "creator_type": "group",
        "institution": "The gssm developers",
        "project": "gssm",
        "program": "Copernicus, Landsat",
        "platform": "Sentinel-1, Sentinel-2, Landsat 8/9",
        "product_version": version("gssm"),
        "references": REFERENCES,
        "citation": CITATION,
        "software_versions": software_versions(),
    }


def variable_attrs(name: str) -> dict[str, Any]:
    """CF attributes of a variable of the product or of a coordinate, by its name.

    Plain JSON types: units, names and, for data, ``grid_mapping``,
    ``ancillary_variables`` and ``cell_methods``; nothing of how it is packed. Empty for a
    name that gssm does not know.
    """
    known = schema.VARIABLES.get(name)
    attrs = dict(known.attrs) if known else {}
    # In numbers that are packed CF wants the range in packed numbers.
    attrs.pop("valid_range", None)
    return attrs | _ATTRS.get(name, {})


Coordinate = tuple[tuple[str, ...], Any, dict[str, Any]]
BOUNDS = "depth_bnds"


def depth_coordinate() -> dict[str, Coordinate]:
    """Scalar coordinate ``depth`` (m, positive down) of the soil layer, for work in memory.

    Returns
    -------
    dict
        Dimensions, values and attributes by name, as `xarray.Dataset` takes them.
    """
    return {"depth": ((), sum(SOIL_LAYER) / 2, variable_attrs("depth"))}


def depth_coordinates() -> dict[str, Coordinate]:
    """Coordinate ``depth`` as of `depth_coordinate`, and its bounds, for what CF describes.

    The bounds have a dimension of their own, along which a table of the whole dataset
    would have every row twice.
    """
    ((dimensions, values, attrs),) = depth_coordinate().values()
    return {
        "depth": (dimensions, values, attrs | {"bounds": BOUNDS}),
        BOUNDS: (("bounds",), np.array(SOIL_LAYER, np.float64), {}),
    }


@cache  # 3 ms for each of them: its metadata are read anew
def software_versions() -> str:
    """Versions of what decides the numbers of a product."""
    return ", ".join(f"{name} {version(name)}" for name in PROVENANCE_PACKAGES)


def cf_dataset(dataset: xr.Dataset) -> xr.Dataset:
    """Return the dataset with CF global attributes and provenance; data untouched."""
    attrs = {
        "Conventions": "CF-1.11",
        "source": "Sentinel-1, Sentinel-2, Landsat 8/9 and elevation, by gssm",
        "references": REFERENCES,
        **dataset.attrs,
        "software_versions": software_versions(),
    }
    result = dataset.assign_attrs(attrs)
    for name in ("x", "y", "time"):
        if name in result.coords:
            result = result.assign_coords({name: result[name].assign_attrs(variable_attrs(name))})
    return result


def encoding(dataset: xr.Dataset) -> dict[str, dict[str, Any]]:
    """Return xarray's encoding for every variable that needs one."""
    table: dict[str, dict[str, Any]] = {}
    for name, array in dataset.data_vars.items():
        if np.issubdtype(array.dtype, np.floating):
            table[str(name)] = {"_FillValue": np.float32(np.nan), "dtype": "float32"}
    if "time" in dataset.coords and np.issubdtype(dataset["time"].dtype, np.datetime64):
        table["time"] = {**TIME_ENCODING, "units": _units_of(dataset["time"].values)}
    return table


def _units_of(times: Any) -> str:
    """Units in which times are whole numbers: an acquisition begins within a second."""
    since = TIME_ENCODING["units"].partition(" ")[2]
    nanoseconds = times.astype("datetime64[ns]").astype(np.int64)
    steps = {"seconds": 10**9, "microseconds": 10**3, "nanoseconds": 1}
    unit = next(unit for unit, step in steps.items() if not (nanoseconds % step).any())
    return f"{unit} {since}"
