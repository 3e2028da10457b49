"""What the providers call things: catalogues, collections, assets, scales, masks.

Every provider difference is a row of a table here; `gssm.describe` applies them.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np

from gssm import schema
from gssm.errors import UnknownCatalogError

Role = Literal["sentinel1", "sentinel2", "landsat", "elevation"]
Bbox = tuple[float, float, float, float]

OPTICAL_ROLES: tuple[Role, ...] = ("sentinel2", "landsat")


@dataclass(frozen=True)
class Collection:
    """One collection id: what it holds and how its numbers are stored.

    ``refused`` is the reason why its items cannot be read at all.
    """

    role: Role
    level: str = "l2"
    convention: str = "sigma0"
    nodata: float | None = None
    refused: str = ""


@dataclass(frozen=True)
class Catalog:
    """One provider: its STAC API and, per role, its collections in order of preference."""

    url: str
    collections: Mapping[Role, tuple[str, ...]]


COLLECTIONS: dict[str, Collection] = {
    "sentinel-1-sigma0": Collection("sentinel1", nodata=-32768),
    "sentinel-1-rtc": Collection("sentinel1", convention="gamma0", nodata=-32768),
    "sentinel-1-grd": Collection(
        "sentinel1",
        refused="is detected, not calibrated and has no map projection (Sentinel-1 GRD); "
        "use a calibrated, terrain-corrected product",
    ),
    "sentinel-2-l2a": Collection("sentinel2", nodata=0),
    "sentinel-2-c1-l2a": Collection("sentinel2", nodata=0),
    "landsat-c2-l2": Collection("landsat", nodata=0),
    "dem": Collection("elevation"),
    "alos-dem": Collection("elevation", nodata=-9999),
    "nasadem": Collection("elevation", nodata=-32768),
    "cop-dem-glo-30": Collection("elevation"),
}

_ANY: dict[Role, tuple[str, ...]] = {
    role: tuple(name for name, c in COLLECTIONS.items() if c.role == role)
    for role in ("sentinel1", "sentinel2", "landsat", "elevation")
}

CATALOGS: dict[str, Catalog] = {
    "planetary-computer": Catalog(
        "https://planetarycomputer.microsoft.com/api/stac/v1",
        {
            "sentinel1": ("sentinel-1-rtc",),
            "sentinel2": ("sentinel-2-l2a",),
            "landsat": ("landsat-c2-l2",),
            "elevation": ("alos-dem", "nasadem", "cop-dem-glo-30"),
        },
    ),
    "earth-search": Catalog(
        "https://earth-search.aws.element84.com/v1",
        {
            "sentinel1": ("sentinel-1-grd",),
            "sentinel2": ("sentinel-2-l2a",),
            "landsat": ("landsat-c2-l2",),
            "elevation": ("cop-dem-glo-30",),
        },
    ),
}


def any_catalog(url: str) -> Catalog:
    """Record of a STAC API or folder that gssm has no row for: every known collection."""
    return Catalog(url, _ANY)


# Canonical variable -> the asset keys that providers use for it, in order of preference.
_SENTINEL2_COMMON = {
    "b1": "coastal",
    "b2": "blue",
    "b3": "green",
    "b4": "red",
    "b5": "rededge1",
    "b6": "rededge2",
    "b7": "rededge3",
    "b8": "nir",
    "b8a": "nir08",
    "b9": "nir09",
    "b11": "swir16",
    "b12": "swir22",
}
_LANDSAT_COMMON = {
    "b1": "coastal",
    "b2": "blue",
    "b3": "green",
    "b4": "red",
    "b5": "nir08",
    "b6": "swir16",
    "b7": "swir22",
    "b10": "lwir11",
}


def _sentinel2_keys(band: str) -> tuple[str, ...]:
    number = band[1:].upper()
    return (f"B{number.zfill(2)}", _SENTINEL2_COMMON[band])


ASSETS: dict[Role, dict[str, tuple[str, ...]]] = {
    "sentinel1": {
        "vv": ("vv",),
        "vh": ("vh",),
        "incidence_angle": ("incidence_angle", "angle"),
    },
    "sentinel2": {f"s2_{band}": _sentinel2_keys(band) for band in _SENTINEL2_COMMON},
    "landsat": {f"landsat_{band}": (key,) for band, key in _LANDSAT_COMMON.items()},
    "elevation": {"dsm": ("data", "elevation", "dem")},
}


@dataclass(frozen=True)
class MaskRule:
    """How a classification band becomes the categories of `gssm.schema`.

    ``categories`` maps every value of an 8-bit class band; ``bits`` maps bits of a
    QA band, the first set bit deciding.
    """

    assets: tuple[str, ...]
    fill: int
    categories: Mapping[int, int] = field(default_factory=dict)
    bits: tuple[tuple[int, int], ...] = ()

    def classify(self, values: np.ndarray[Any, Any]) -> np.ndarray[Any, np.dtype[np.uint8]]:
        """Return the category of every pixel."""
        if self.categories:
            table = np.full(256, schema.MASK_MISSING, np.uint8)
            table[list(self.categories)] = list(self.categories.values())
            return np.asarray(table[values])
        result = np.full(values.shape, schema.MASK_CLEAR, np.uint8)
        for bit, category in reversed(self.bits):
            result[(values >> bit) & 1 == 1] = category
        return result


MASKS: dict[Role, MaskRule] = {
    # Sentinel-2 Level-2A scene classification. 0 no data and 1 saturated or defective
    # stay missing; 2 dark and 7 unclassified are ground that the classifier could not
    # name (wet dark soil is often 2, sparse crops often 7).
    "sentinel2": MaskRule(
        assets=("SCL", "scl"),
        fill=0,
        categories={
            2: schema.MASK_CLEAR,
            3: schema.MASK_CLOUD,
            4: schema.MASK_CLEAR,
            5: schema.MASK_CLEAR,
            6: schema.MASK_WATER,
            7: schema.MASK_CLEAR,
            8: schema.MASK_CLOUD,
            9: schema.MASK_CLOUD,
            10: schema.MASK_CLOUD,
            11: schema.MASK_SNOW,
        },
    ),
    # Landsat Collection 2 QA_PIXEL: fill, dilated cloud, cirrus, cloud, cloud shadow,
    # snow, water (bit 6, clear, adds nothing).
    "landsat": MaskRule(
        assets=("qa_pixel",),
        fill=1,
        bits=(
            (0, schema.MASK_MISSING),
            (1, schema.MASK_CLOUD),
            (2, schema.MASK_CLOUD),
            (3, schema.MASK_CLOUD),
            (4, schema.MASK_CLOUD),
            (5, schema.MASK_SNOW),
            (7, schema.MASK_WATER),
        ),
    ),
}

# Landsat Collection 2 Level-2 product guide (LSDS-1619), table 6-1.
LANDSAT_REFLECTANCE = (2.75e-5, -0.2)
LANDSAT_TEMPERATURE = (0.00341802, 149.0)
LANDSAT_PLATFORMS = ("landsat-8", "landsat-9")

SENTINEL2_SCALE = 1e-4
SENTINEL2_OFFSET = -0.1
SENTINEL2_OFFSET_BASELINE = 4.0


def resolve_catalog(name: str) -> Catalog:
    """Return the record of a named catalogue or of a STAC API by its URL."""
    if name in CATALOGS:
        return CATALOGS[name]
    if re.match(r"https?://", name):
        return any_catalog(name)
    raise UnknownCatalogError(
        f"there is no catalogue {name!r}; use {', '.join(map(repr, CATALOGS))}, the URL of a STAC "
        "API, or the path of a folder of ItemCollections."
    )
