"""What the providers call things: catalogues, collections, assets, scales, masks.

Every provider difference is a row of a table here. `describe` turns one STAC item
into the same canonical `Observation`, whoever served it, or refuses it with a reason.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
import pandas as pd

from gssm import schema
from gssm.errors import ItemError, UnknownCatalogError

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


# Landsat and Sentinel repeat after fewer orbits; what is larger is no orbit number.
MAX_ORBIT = 999


@dataclass(frozen=True)
class Raster:
    """One single-band file and how its numbers become physical ones.

    ``nodata`` None means the file's own. ``minimum`` clips (Sentinel-2 reflectance
    below zero is noise of the atmospheric correction); ``positive`` drops zero and
    below (zero-filled borders of radar products).
    """

    href: str
    scale: float = 1.0
    offset: float = 0.0
    nodata: float | None = None
    minimum: float | None = None
    positive: bool = False


@dataclass(frozen=True)
class Observation:
    """One STAC item in canonical terms.

    ``footprint`` is west, south, east, north in degrees; ``rasters`` maps canonical
    variables to files; ``incidence_angle`` is the scene's own number in degrees where
    there is no raster of it; ``baseline`` the processing baseline of Sentinel-2.
    """

    id: str
    collection: str
    role: Role
    time: pd.Timestamp
    footprint: Bbox
    rasters: Mapping[str, Raster]
    mask: Raster | None = None
    platform: str = ""
    relative_orbit: int | None = None
    orbit_state: str = ""
    tile: str = ""
    baseline: float = 0.0
    cloud_cover: float | None = None
    incidence_angle: float | None = None
    convention: str = "sigma0"


def describe(item: Mapping[str, Any]) -> Observation:
    """Turn a STAC item (as a dictionary) into an `Observation`.

    Raises
    ------
    ItemError
        The item is of no known collection, has no geometry, time or CRS, lacks the
        assets of its role, or its scaling cannot be decided. The message says which.
    """
    name, properties = item.get("id", "?"), item.get("properties") or {}
    collection_id = item.get("collection") or "?"
    if collection_id not in COLLECTIONS:
        raise ItemError(f"item {name!r}: gssm has no record of the collection {collection_id!r}")
    collection = COLLECTIONS[collection_id]
    if collection.refused:
        raise ItemError(f"item {name!r} {collection.refused}")
    if not item.get("geometry") and not item.get("bbox"):
        raise ItemError(f"item {name!r} has no geometry and no bbox, so it cannot be placed")
    if not _has_crs(item):
        raise ItemError(
            f"item {name!r} has neither proj:code nor proj:epsg, so its pixels cannot be placed "
            "(a Sentinel-1 GRD scene has only ground control points: use a terrain-corrected one)"
        )
    rasters = _rasters(item, collection)
    mask = _mask(item, collection)
    _refuse_unusable(item, collection, rasters, mask)
    return Observation(
        id=name,
        collection=collection_id,
        role=collection.role,
        time=_time(item),
        footprint=_footprint(item),
        rasters=rasters,
        mask=mask,
        platform=str(properties.get("platform") or "").lower(),
        relative_orbit=_relative_orbit(item),
        orbit_state=str(properties.get("sat:orbit_state") or ""),
        tile=_tile(properties),
        baseline=_baseline(properties) or 0.0,
        cloud_cover=_number(item, "eo:cloud_cover"),
        incidence_angle=_number(item, "view:incidence_angle"),
        convention=collection.convention,
    )


def find_asset(assets: Mapping[str, Any], keys: tuple[str, ...]) -> Any | None:
    """Return the first asset that is there under one of the keys."""
    return next((assets[key] for key in keys if key in assets), None)


def _rasters(item: Mapping[str, Any], collection: Collection) -> dict[str, Raster]:
    found = {
        variable: find_asset(item.get("assets", {}), keys)
        for variable, keys in ASSETS[collection.role].items()
    }
    return {
        variable: _raster(variable, asset["href"], item, collection)
        for variable, asset in found.items()
        if asset is not None
    }


def _raster(variable: str, href: str, item: Mapping[str, Any], collection: Collection) -> Raster:
    nodata = collection.nodata
    if collection.role == "sentinel1":
        return Raster(href, nodata=nodata, positive=True)
    if collection.role == "sentinel2":
        offset = _sentinel2_offset(item)
        return Raster(href, SENTINEL2_SCALE, offset, nodata=nodata, minimum=0.0)
    if collection.role == "landsat":
        thermal = variable.removeprefix("landsat_") in schema.LANDSAT_THERMAL
        scale, offset = LANDSAT_TEMPERATURE if thermal else LANDSAT_REFLECTANCE
        return Raster(href, scale, offset, nodata=nodata)
    return Raster(href, nodata=nodata)


def _mask(item: Mapping[str, Any], collection: Collection) -> Raster | None:
    rule = MASKS.get(collection.role)
    asset = find_asset(item.get("assets", {}), rule.assets) if rule else None
    return Raster(asset["href"], nodata=rule.fill) if rule and asset else None


def _refuse_unusable(
    item: Mapping[str, Any],
    collection: Collection,
    rasters: Mapping[str, Raster],
    mask: Raster | None,
) -> None:
    name, properties = item["id"], item["properties"]
    if collection.role == "sentinel1":
        mode = properties.get("sar:instrument_mode", "IW")
        if mode != "IW":
            raise ItemError(f"item {name!r} was taken in {mode} mode; gssm reads IW only")
        if "vv" not in rasters or "vh" not in rasters:
            found = ", ".join(sorted(item.get("assets", {}))) or "none"
            raise ItemError(f"item {name!r} has the assets {found}; gssm needs vv and vh")
        if "incidence_angle" not in rasters and properties.get("view:incidence_angle") is None:
            raise ItemError(
                f"item {name!r} has neither an incidence_angle asset nor view:incidence_angle, "
                "without which the Water Cloud Model cannot run"
            )
    if collection.role == "landsat":
        platform = str(properties.get("platform", "")).lower()
        if platform not in LANDSAT_PLATFORMS:
            raise ItemError(f"item {name!r} is of {platform or 'no platform'}, not Landsat 8 or 9")
    if collection.role in MASKS and mask is None:
        wanted = " or ".join(MASKS[collection.role].assets)
        raise ItemError(f"item {name!r} has no {wanted} asset, so clouds cannot be masked")
    if not rasters:
        raise ItemError(f"item {name!r} has none of the assets that gssm reads")


def _sentinel2_offset(item: Mapping[str, Any]) -> float:
    """Decide the radiometric offset by processing baseline, once, and never by date.

    Baseline 04.00 and later add 1000 to the digital number. Earth Search removes it
    again for some items and says so; its own ``raster:bands`` offset then must not be
    trusted as well.
    """
    properties = item["properties"]
    if properties.get("earthsearch:boa_offset_applied") is True:
        return 0.0
    baseline = _baseline(properties)
    if baseline is None:
        raise ItemError(
            f"item {item['id']!r} states no s2:processing_baseline, so it is unknown whether its "
            "digital numbers carry the +1000 offset"
        )
    return SENTINEL2_OFFSET if baseline >= SENTINEL2_OFFSET_BASELINE else 0.0


def _baseline(properties: Mapping[str, Any]) -> float | None:
    stated = properties.get("s2:processing_baseline") or properties.get("processing:version")
    if stated is None:
        in_name = re.search(r"_N(\d{2})(\d{2})_", str(properties.get("s2:product_uri", "")))
        stated = ".".join(in_name.groups()) if in_name else None
    try:
        return None if stated is None else float(stated)
    except ValueError:
        return None


def _tile(properties: Mapping[str, Any]) -> str:
    tile = properties.get("s2:mgrs_tile") or properties.get("grid:code")
    if tile:
        return str(tile).removeprefix("MGRS-")
    path, row = properties.get("landsat:wrs_path"), properties.get("landsat:wrs_row")
    return f"{path}/{row}" if path and row else ""


def _has_crs(item: Mapping[str, Any]) -> bool:
    holders = [item.get("properties", {}), *item.get("assets", {}).values()]
    return any(h.get("proj:code") or h.get("proj:epsg") for h in holders)


def _time(item: Mapping[str, Any]) -> pd.Timestamp:
    properties = item["properties"]
    stated = properties.get("datetime") or properties.get("start_datetime")
    if not stated:
        raise ItemError(f"item {item['id']!r} has no datetime")
    try:
        time = pd.Timestamp(stated)
    except ValueError:
        raise ItemError(f"item {item['id']!r} has the datetime {stated!r}, not a time") from None
    return time.tz_convert("UTC").tz_localize(None) if time.tzinfo else time


def _number(item: Mapping[str, Any], name: str) -> float | None:
    stated = item["properties"].get(name)
    try:
        return None if stated is None else float(stated)
    except (TypeError, ValueError):
        raise ItemError(f"item {item['id']!r} has {name} {stated!r}, not a number") from None


def _relative_orbit(item: Mapping[str, Any]) -> int | None:
    stated = _number(item, "sat:relative_orbit")
    if stated is not None and not 0 <= stated <= MAX_ORBIT:
        raise ItemError(f"item {item['id']!r} has sat:relative_orbit {stated:g}, which is none")
    return None if stated is None else int(stated)


def _footprint(item: Mapping[str, Any]) -> Bbox:
    if item.get("geometry"):
        from shapely.geometry import shape

        try:
            west, south, east, north = map(float, shape(item["geometry"]).bounds)
        except Exception as error:  # shapely refuses a broken geometry in many ways
            raise ItemError(f"item {item['id']!r} has no usable geometry ({error})") from error
        return _finite(item, (west, south, east, north))
    try:
        box = [float(v) for v in item["bbox"]]
    except (TypeError, ValueError):
        box = []
    if len(box) not in (4, 6):
        raise ItemError(f"item {item['id']!r} has the bbox {item['bbox']!r}, which is none")
    return (box[0], box[1], box[len(box) // 2], box[len(box) // 2 + 1])


def _finite(item: Mapping[str, Any], box: Bbox) -> Bbox:
    if not all(map(math.isfinite, box)):
        raise ItemError(f"item {item['id']!r} has an empty geometry, so it cannot be placed")
    return box


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
