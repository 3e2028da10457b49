"""One STAC item -> the same canonical record, whoever served it, or a reason why not."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import pandas as pd

from gssm import describe_sentinel1, describe_sentinel2, orbit, schema
from gssm.catalogs import (
    ASSETS,
    COLLECTIONS,
    LANDSAT_PLATFORMS,
    MTL_ASSETS,
    OPTICAL_ROLES,
    Bbox,
    Collection,
    Kind,
    Level,
    MaskRule,
    Role,
)
from gssm.describe_form import checked, find_asset, refuse_addressless
from gssm.errors import ItemError, UnknownCatalogError
from gssm.records import STAMP, parse_collection

# Landsat and Sentinel repeat after fewer orbits; what is larger is no orbit number.
MAX_ORBIT = 999
# Degrees. No scene is wider: what seems to be lies across the 180th meridian.
WIDEST_SCENE = 180.0

_PROCESSED = ("s2:generation_time", "processing:datetime", "s1:processing_datetime")


@dataclass(frozen=True)
class Raster:
    """One single-band file and how its numbers become physical ones.

    ``kind`` says how its numbers are read (`gssm.reader`), with the help of which other
    files: ``sidecars`` are names and addresses of annotations and the like (of a Landsat
    Level-1 band also its number). ``nodata`` None means the file's own. ``minimum`` clips
    (Sentinel-2 reflectance below zero is noise of the atmospheric correction); ``positive``
    drops zero and below (zero-filled borders of radar products). ``rule`` turns a mask into
    categories.
    """

    href: str
    scale: float = 1.0
    offset: float = 0.0
    nodata: float | None = None
    minimum: float | None = None
    positive: bool = False
    kind: Kind = "raster"
    sidecars: tuple[tuple[str, str], ...] = ()
    rule: MaskRule | None = None


@dataclass(frozen=True)
class Observation:
    """One STAC item in canonical terms.

    ``footprint`` is west, south, east, north in degrees, west > east across the 180th
    meridian; ``rasters`` maps canonical variables to files; ``incidence_angle`` is the
    scene's own number in degrees where there is no raster of it; ``baseline`` the processing
    baseline of Sentinel-2; ``datatake`` its start. ``epsg`` is what the item states of its
    files. ``rank`` orders collections that have the same scene, ``partial`` marks half of a
    scene, and ``mask_from`` the collections that can lend a mask.
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
    level: Level = "l2"
    epsg: int | None = None
    datatake: str = ""
    processed: str = ""
    rank: int = 0
    partial: bool = False
    mask_from: tuple[str, ...] = ()


def describe(item: Mapping[str, Any]) -> Observation:
    """Turn a STAC item (as a dictionary) into an `Observation`.

    Raises
    ------
    ItemError
        The item is of no known collection, has no geometry, time or CRS, lacks the
        assets of its role, or its scaling cannot be decided. The message says which.
    """
    item = checked(item)
    name, properties = item["id"], item["properties"]
    collection = row_of(item)
    if collection.refused:
        raise ItemError(f"item {name!r} {collection.refused}")
    if not item["assets"]:
        raise ItemError(
            f"item {name!r} has no assets, so there is nothing to read (a search limited to some "
            "fields leaves them out)"
        )
    if not item.get("geometry") and not item.get("bbox"):
        raise ItemError(f"item {name!r} has no geometry and no bbox, so it cannot be placed")
    if collection.crs == "item" and not _stated_crs(item):
        raise ItemError(
            f"item {name!r} has neither proj:code nor proj:epsg, so its pixels cannot be placed "
            "(where the files themselves say it, a record of the catalogue with crs: file helps)"
        )
    _refuse_platform(item, collection)
    rasters, mask = _rasters(item, collection), _mask(item, collection)
    _refuse_unusable(item, collection, rasters, mask)
    is_sentinel2 = collection.role == "sentinel2"
    return Observation(
        id=name,
        collection=item["collection"],
        role=collection.role,
        time=_time(item, collection),
        footprint=_footprint(item),
        rasters=rasters,
        mask=mask,
        platform=_platform(properties),
        relative_orbit=_relative_orbit(item),
        orbit_state=str(properties.get("sat:orbit_state") or "").lower(),
        tile=describe_sentinel2.tile(item) if is_sentinel2 else _path_row(properties),
        baseline=(describe_sentinel2.baseline(item) or 0.0) if is_sentinel2 else 0.0,
        cloud_cover=_number(item, "eo:cloud_cover"),
        incidence_angle=_number(item, "view:incidence_angle"),
        convention=collection.convention,
        level=collection.level,
        epsg=_epsg(item, collection),
        datatake=describe_sentinel2.datatake(item) if is_sentinel2 else "",
        processed=_processed(item),
        rank=_rank(item["collection"]),
        partial=collection.partial,
        mask_from=collection.mask_from,
    )


def row_of(item: Mapping[str, Any]) -> Collection:
    """Return the row of an item's collection: the one it carries, else the table's."""
    name, key = item.get("id", "?"), item.get("collection")
    if not key:
        raise ItemError(f"item {name!r} names no collection, so gssm cannot tell what it holds")
    carried = (item.get("properties") or {}).get(STAMP)
    if carried is not None:
        try:
            return parse_collection(f"{STAMP} of item {name!r}", key, carried)
        except UnknownCatalogError as error:
            raise ItemError(str(error).removesuffix(".")) from error
    if key not in COLLECTIONS:
        raise ItemError(f"item {name!r}: gssm has no record of the collection {key!r}")
    return COLLECTIONS[key]


def _rank(collection: str) -> int:
    """Place in the table; a collection of the user's own goes before all."""
    order = list(COLLECTIONS)
    return order.index(collection) if collection in COLLECTIONS else -1


def _rasters(item: Mapping[str, Any], collection: Collection) -> dict[str, Raster]:
    wanted = collection.assets or ASSETS[collection.role]
    found = {variable: find_asset(item, keys) for variable, keys in wanted.items()}
    assets = {variable: asset for variable, asset in found.items() if asset is not None}
    hrefs = {variable: asset["href"] for variable, asset in assets.items()}
    if collection.role == "sentinel1":
        describe_sentinel1.refuse_unusable(item, collection, hrefs, _relative_orbit(item))
    refuse_addressless(item, wanted, assets)
    if collection.kind == "grd":
        return _grd_rasters(item, hrefs, collection)
    rasters = {v: _raster(v, href, item, collection) for v, href in hrefs.items()}
    if collection.role in OPTICAL_ROLES and STAMP not in item["properties"]:
        for variable, raster in rasters.items():
            _refuse_other_scaling(item, assets[variable], raster)
    return rasters


def _refuse_other_scaling(
    item: Mapping[str, Any], asset: Mapping[str, Any], raster: Raster
) -> None:
    """Refuse an asset that states other numbers than those of its collection.

    Servers have collections of a known name with files that are harmonised already. An offset
    beside the word that it was taken away tells of what was there before.
    """
    if raster.kind != "raster":
        return
    bands = asset.get("raster:bands") or asset.get("bands")
    band = bands[0] if isinstance(bands, list) and isinstance(bands[0], Mapping) else {}
    ours = {"scale": raster.scale, "offset": raster.offset}
    if describe_sentinel2.is_offset_applied(item):
        ours.pop("offset")
    for key, number in ours.items():
        holders = (band.get(key), band.get(f"raster:{key}"), asset.get(f"raster:{key}"))
        stated = next((value for value in holders if value is not None), number)
        if not isinstance(stated, (int, float)) or not math.isclose(stated, number, abs_tol=1e-9):
            raise ItemError(
                f"item {item['id']!r} states the {key} {stated!r} where its collection has "
                f"{number:g}, so its reflectance is uncertain; give a record of the catalogue with "
                "the scale and offset that its files have"
            )


def _grd_rasters(
    item: Mapping[str, Any], hrefs: Mapping[str, str], collection: Collection
) -> dict[str, Raster]:
    rasters = {
        polarization: Raster(
            hrefs[polarization],
            nodata=collection.nodata,
            positive=True,
            kind="grd",
            sidecars=describe_sentinel1.sidecars(item, polarization, hrefs[polarization]),
        )
        for polarization in describe_sentinel1.POLARIZATIONS
    }
    annotation = dict(rasters["vv"].sidecars)["annotation"]
    return {**rasters, "incidence_angle": Raster(annotation, kind="grd_angle")}


def _raster(variable: str, href: str, item: Mapping[str, Any], collection: Collection) -> Raster:
    nodata = collection.nodata
    if collection.kind == "landsat_toa":
        mtl = find_asset(item, MTL_ASSETS)
        if mtl is None:
            raise ItemError(
                f"item {item['id']!r} has no mtl.txt or mtl.json asset, without which its Level-1 "
                "numbers cannot become reflectance"
            )
        sidecars = (("mtl", mtl["href"]), ("band", variable.removeprefix("landsat_b")))
        return Raster(href, nodata=nodata, kind="landsat_toa", sidecars=sidecars)
    if variable == "incidence_angle":
        scale, offset = collection.angle or (1.0, 0.0)
        return Raster(href, scale, offset, nodata=nodata, positive=collection.angle is None)
    scale, stated = collection.scale, collection.offset
    if collection.thermal and variable.removeprefix("landsat_") in schema.LANDSAT_THERMAL:
        scale, stated = collection.thermal
    offset = describe_sentinel2.offset(item) if stated == "baseline" else stated
    is_radar, is_sentinel2 = collection.role == "sentinel1", collection.role == "sentinel2"
    minimum = 0.0 if is_sentinel2 else None
    return Raster(href, scale, offset, nodata, minimum=minimum, positive=is_radar)


def _mask(item: Mapping[str, Any], collection: Collection) -> Raster | None:
    rule = collection.mask
    asset = find_asset(item, rule.assets) if rule else None
    return Raster(asset["href"], nodata=rule.fill, rule=rule) if rule and asset else None


def _refuse_platform(item: Mapping[str, Any], collection: Collection) -> None:
    platform = _platform(item["properties"])
    if collection.role == "landsat" and platform not in LANDSAT_PLATFORMS:
        raise ItemError(
            f"item {item['id']!r} is of {platform or 'no platform'}, not Landsat 8 or 9"
        )


def _refuse_unusable(
    item: Mapping[str, Any],
    collection: Collection,
    rasters: Mapping[str, Raster],
    mask: Raster | None,
) -> None:
    name = item["id"]
    if collection.mask is not None and mask is None:
        wanted = " or ".join(collection.mask.assets)
        raise ItemError(f"item {name!r} has no {wanted} asset, so clouds cannot be masked")
    if not rasters:
        raise ItemError(f"item {name!r} has none of the assets that gssm reads")


def _platform(properties: Mapping[str, Any]) -> str:
    stated = properties.get("platform") or properties.get("eo:platform") or ""
    return str(stated).lower().replace("_", "-")


def _processed(item: Mapping[str, Any]) -> str:
    """Date of processing; Landsat writes it behind the date of acquisition in its names."""
    stated = (item["properties"].get(name) for name in _PROCESSED)
    in_name = re.search(r"_\d{8}_(\d{8})_\d\d_(?:T\d|RT)", item["id"])
    return next((str(s) for s in stated if s), in_name.group(1) if in_name else "")


def _path_row(properties: Mapping[str, Any]) -> str:
    path, row = properties.get("landsat:wrs_path"), properties.get("landsat:wrs_row")
    return f"{str(path).zfill(3)}/{str(row).zfill(3)}" if path and row else ""


def _stated_crs(item: Mapping[str, Any]) -> Any | None:
    holders = [item["properties"], *item["assets"].values()]
    stated = (h.get("proj:code") or h.get("proj:epsg") for h in holders)
    return next((crs for crs in stated if crs), None)


def _epsg(item: Mapping[str, Any], collection: Collection) -> int | None:
    """EPSG code, or None: of a GRD scene it would be that of its footprint, not its pixels."""
    stated = None if collection.kind == "grd" else _stated_crs(item)
    digits = re.fullmatch(r"(?:EPSG:)?(\d+)", str(stated), re.IGNORECASE)
    if digits is None:
        return None
    # Landsat items write zone 6 north as 3266.
    utm = re.fullmatch(r"(32[67])([1-9])", digits.group(1))
    if collection.role == "landsat" and utm:
        return int(f"{utm.group(1)}0{utm.group(2)}")
    return int(digits.group(1))


def _time(item: Mapping[str, Any], collection: Collection) -> pd.Timestamp:
    properties = item["properties"]
    stated = properties.get("datetime") or properties.get("start_datetime")
    if not stated:
        raise ItemError(f"item {item['id']!r} has no datetime")
    try:
        # A number would be nanoseconds since 1970 to pandas.
        time = pd.NaT if isinstance(stated, (int, float)) else pd.Timestamp(stated)
    except (TypeError, ValueError):
        time = pd.NaT
    if not isinstance(time, pd.Timestamp):  # NaT is none
        raise ItemError(f"item {item['id']!r} has the datetime {stated!r}, not a time")
    if collection.role != "elevation" and re.fullmatch(r"\d{4}-?\d\d-?\d\d", str(stated)):
        raise ItemError(f"item {item['id']!r} has the datetime {stated!r}, a day without its hour")
    return time.tz_convert("UTC").tz_localize(None) if time.tzinfo else time


def _number(item: Mapping[str, Any], name: str) -> float | None:
    stated = item["properties"].get(name)
    try:
        return None if stated is None else float(stated)
    except (TypeError, ValueError):
        raise ItemError(f"item {item['id']!r} has {name} {stated!r}, not a number") from None


def _relative_orbit(item: Mapping[str, Any]) -> int | None:
    stated = _number(item, "sat:relative_orbit")
    if stated is not None and not (0 <= stated <= MAX_ORBIT and stated.is_integer()):
        raise ItemError(f"item {item['id']!r} has sat:relative_orbit {stated:g}, which is none")
    if stated is not None:
        return int(stated)
    absolute = _number(item, "sat:absolute_orbit")
    if absolute is None or not math.isfinite(absolute):
        return None
    try:
        return orbit.relative_orbit(_platform(item["properties"]), int(absolute))
    except ItemError:
        return None  # of a platform whose revolutions are not counted like Sentinel-1's


def _footprint(item: Mapping[str, Any]) -> Bbox:
    if item.get("geometry"):
        import shapely

        try:
            shape = shapely.geometry.shape(item["geometry"])
            longitudes = shapely.get_coordinates(shape)[:, 0]
        except Exception as error:  # shapely refuses a broken geometry in many ways
            raise ItemError(f"item {item['id']!r} has no usable geometry ({error})") from error
        if not longitudes.size or not all(map(math.isfinite, shape.bounds)):
            raise ItemError(f"item {item['id']!r} has an empty geometry, so it cannot be placed")
        west, south, east, north = map(float, shape.bounds)
        if east - west > WIDEST_SCENE:
            west = float(longitudes[longitudes > 0].min())
            east = float(longitudes[longitudes <= 0].max())
        return west, south, east, north
    try:
        box = [float(v) for v in item["bbox"]]
    except (TypeError, ValueError):
        box = []
    if len(box) not in (4, 6):
        raise ItemError(f"item {item['id']!r} has the bbox {item['bbox']!r}, which is none")
    return (box[0], box[1], box[len(box) // 2], box[len(box) // 2 + 1])
