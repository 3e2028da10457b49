"""Landsat over the ground: Level-2 of Planetary Computer and of the USGS, and Level-1."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np

from provider_scenes.ground import (
    EPSG,
    LANDSAT,
    LANDSAT_SHIFT,
    LANDSAT_TIME,
    QA_CLEAR,
    SUN_ELEVATION,
    Array,
    Item,
    as_dn,
    item,
    sample,
    write,
)

SURFACE_REFLECTANCE, SURFACE_TEMPERATURE = (2.75e-5, -0.2), (0.00341802, 149.0)
# Of a Level-1 scene: gain and addend of reflectance and of radiance, K1 and K2 of band 10, 11.
RHO, RADIANCE = (2e-5, -0.1), (3.8e-4, 0.1)
THERMAL = {"10": (799.0284, 1329.2405), "11": (475.6581, 1198.3494)}
_SCENE = "LC09_L2SP_198024_20230609_20230611_02_T1"
_L1_BANDS = {**LANDSAT, "pan": "8", "cirrus": "9", "lwir11": "10", "lwir12": "11"}
_LANDSAT = {
    "datetime": LANDSAT_TIME,
    "platform": "landsat-9",
    "instruments": ["oli", "tirs"],
    "eo:cloud_cover": 0.5,
    "landsat:wrs_path": "198",
    "landsat:wrs_row": "024",
    "landsat:wrs_type": "2",
    "landsat:collection_category": "T1",
    "landsat:collection_number": "02",
}


def _landsat_file(path: Path, name: str, scaling: tuple[float, float]) -> str:
    values, place = sample(name, 30, LANDSAT_SHIFT)
    return write(path, as_dn(values, *scaling), place, nodata=0)


def _qa_pixel(folder: Path) -> str:
    values, place = sample("red", 30, LANDSAT_SHIFT)
    clear = np.full(values.shape, QA_CLEAR, np.uint16)
    return write(folder / "QA_PIXEL.TIF", clear, place, nodata=1)


def planetary_computer_landsat(folder: Path) -> list[Item]:
    """Planetary Computer Landsat Collection 2 Level-2: common names, scales in the item."""
    place = folder / "landsat"
    scale, offset = SURFACE_REFLECTANCE
    assets: dict[str, Any] = {
        name: {
            "href": _landsat_file(place / f"SR_B{band}.TIF", name, SURFACE_REFLECTANCE),
            "raster:bands": [
                {"scale": scale, "offset": offset, "nodata": 0, "data_type": "uint16"}
            ],
        }
        for name, band in LANDSAT.items()
    }
    scale, offset = SURFACE_TEMPERATURE
    assets["lwir11"] = {
        "href": _landsat_file(place / "ST_B10.TIF", "kelvin", SURFACE_TEMPERATURE),
        "raster:bands": [{"unit": "kelvin", "scale": scale, "offset": offset, "nodata": 0}],
    }
    assets["qa_pixel"] = {"href": _qa_pixel(place)}
    properties = {**_LANDSAT, "proj:epsg": EPSG, "landsat:correction": "L2SP"}
    extensions = ["raster/v1.0.0", "eo/v1.0.0", "projection/v1.0.0", "landsat/v2.0.0"]
    name = "LC09_L2SP_198024_20230609_02_T1"
    return [item("landsat-c2-l2", name, properties, assets, extensions=extensions)]


def usgs_landsat(folder: Path) -> list[Item]:
    """USGS server: reflectance and temperature are two items of one id, without scale or CRS."""
    place = folder / "usgs"
    properties = {
        key: value
        for key, value in _LANDSAT.items()
        if key.startswith(("datetime", "landsat", "eo:"))
    } | {"eo:platform": "LANDSAT_9", "eo:instrument": "OLI_TIRS", "eo:off_nadir": 0}
    shared = {
        "QA_PIXEL.TIF": {"href": _qa_pixel(place)},
        "index": {"href": "https://landsatlook.usgs.gov/stac-browser", "type": "text/html"},
    }
    reflectance = {
        f"SR_B{band}.TIF": {
            "href": _landsat_file(place / f"SR_B{band}.TIF", name, SURFACE_REFLECTANCE),
            "type": "image/vnd.stac.geotiff; cloud-optimized=true",
            "eo:bands": [int(band) - 1],
        }
        for name, band in LANDSAT.items()
    }
    href = _landsat_file(place / "ST_B10.TIF", "kelvin", SURFACE_TEMPERATURE)
    temperature = {"ST_B10.TIF": {"href": href, "eo:bands": [0]}}
    both = {"landsat-c2l2-sr": reflectance, "landsat-c2l2-st": temperature}
    return [
        item(collection, _SCENE, properties, shared | assets, version="1.0.0-beta.2")
        for collection, assets in both.items()
    ]


def _kelvin_as_radiance(kelvin: Array, band: str) -> Array:
    K1, K2 = THERMAL[band]
    return np.asarray(K1 / np.expm1(K2 / kelvin))


def _level1_dn(name: str, band: str, metres: int) -> tuple[Array, list[float]]:
    """Digital numbers by the inverse of the formulas of the handbook, and their transform."""
    values, place = sample("kelvin" if band in THERMAL else name, metres, LANDSAT_SHIFT)
    if band in THERMAL:
        return as_dn(_kelvin_as_radiance(values, band), *RADIANCE), place
    return as_dn(values * math.sin(math.radians(SUN_ELEVATION)), *RHO), place


def mtl_groups(product: str) -> dict[str, dict[str, Any]]:
    """Groups of the MTL of a Collection 2 Level-1 scene, as far as numbers depend on them."""
    bands = range(1, 12)
    factors: dict[str, float] = {f"RADIANCE_MULT_BAND_{n}": RADIANCE[0] for n in bands}
    factors |= {f"RADIANCE_ADD_BAND_{n}": RADIANCE[1] for n in bands}
    factors |= {f"REFLECTANCE_MULT_BAND_{n}": RHO[0] for n in bands if n < 10}
    factors |= {f"REFLECTANCE_ADD_BAND_{n}": RHO[1] for n in bands if n < 10}
    return {
        "PRODUCT_CONTENTS": {"LANDSAT_PRODUCT_ID": product, "PROCESSING_LEVEL": "L1TP"},
        "IMAGE_ATTRIBUTES": {"SPACECRAFT_ID": "LANDSAT_9", "SUN_ELEVATION": SUN_ELEVATION},
        "LEVEL1_RADIOMETRIC_RESCALING": factors,
        "LEVEL1_THERMAL_CONSTANTS": {
            f"K{n}_CONSTANT_BAND_{band}": pair[n - 1]
            for band, pair in THERMAL.items()
            for n in (1, 2)
        },
    }


def landsat_level1(folder: Path, form: str = "txt") -> list[Item]:
    """Landsat Collection 2 Level-1: digital numbers, and an MTL file that says what they mean."""
    product = "LC09_L1TP_198024_20230609_20230611_02_T1"
    place = folder / "level1"
    assets: dict[str, Any] = {}
    for name, band in _L1_BANDS.items():
        dn, where = _level1_dn(name, band, 15 if name == "pan" else 30)
        href = write(place / f"{product}_B{band}.TIF", dn, where, nodata=0)
        assets[name] = {"href": href, "eo:bands": [{"name": f"B{band}"}]}
    assets["qa_pixel"] = {"href": _qa_pixel(place)}
    groups = mtl_groups(product)
    path = place / f"{product}_MTL.{form}"
    if form == "json":
        as_strings = {k: {n: str(v) for n, v in g.items()} for k, g in groups.items()}
        path.write_text(json.dumps({"LANDSAT_METADATA_FILE": as_strings}))
    else:
        lines = ["GROUP = LANDSAT_METADATA_FILE"]
        for group, values in groups.items():
            stated = [
                f"    {k} = " + (f'"{v}"' if isinstance(v, str) else f"{v}")
                for k, v in values.items()
            ]
            lines += [f"  GROUP = {group}", *stated, f"  END_GROUP = {group}"]
        path.write_text("\n".join([*lines, "END_GROUP = LANDSAT_METADATA_FILE", "END\n"]))
    assets[f"MTL.{form}"] = {"href": str(path)}
    properties = {**_LANDSAT, "proj:code": f"EPSG:{EPSG}", "landsat:correction": "L1TP"}
    extensions = ["eo/v1.0.0", "projection/v2.0.0", "landsat/v2.0.0"]
    return [item("landsat-c2l1", product, properties, assets, extensions=extensions)]
