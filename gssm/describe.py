"""One STAC item -> the same canonical record, whoever served it, or a reason why not."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import pandas as pd

from gssm import schema
from gssm.catalogs import (
    ASSETS,
    COLLECTIONS,
    LANDSAT_PLATFORMS,
    LANDSAT_REFLECTANCE,
    LANDSAT_TEMPERATURE,
    MASKS,
    SENTINEL2_OFFSET,
    SENTINEL2_OFFSET_BASELINE,
    SENTINEL2_SCALE,
    Bbox,
    Collection,
    Role,
)
from gssm.errors import ItemError

# As it is on a map; DN of a Sentinel-1 GRD to sigma0; its incidence angle, of which the file
# is the annotation; DN of Landsat Level-1 to top-of-atmosphere reflectance or temperature.
Kind = Literal["raster", "grd", "grd_angle", "landsat_toa"]

# Landsat and Sentinel repeat after fewer orbits; what is larger is no orbit number.
MAX_ORBIT = 999


@dataclass(frozen=True)
class Raster:
    """One single-band file and how its numbers become physical ones.

    ``kind`` says how its numbers are read (`gssm.reader`), with the help of which other
    files: ``sidecars`` are names and addresses of annotations and the like. ``nodata`` None
    means the file's own. ``minimum`` clips (Sentinel-2 reflectance
    below zero is noise of the atmospheric correction); ``positive`` drops zero and
    below (zero-filled borders of radar products).
    """

    href: str
    scale: float = 1.0
    offset: float = 0.0
    nodata: float | None = None
    minimum: float | None = None
    positive: bool = False
    kind: Kind = "raster"
    sidecars: tuple[tuple[str, str], ...] = ()


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
    """Return the first asset that is there, with an address, under one of the keys."""
    return next((assets[key] for key in keys if (assets.get(key) or {}).get("href")), None)


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
