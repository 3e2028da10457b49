"""What the providers call things: catalogues, collections, assets, scales, masks.

Every provider difference is a row of a table here; `gssm.describe` applies them, and
docs/catalogs.md is written from the same rows.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any, Literal

import numpy as np

from gssm import schema
from gssm.errors import UnknownCatalogError

Role = Literal["sentinel1", "sentinel2", "landsat", "elevation"]
Level = Literal["l1", "l2", "any"]
Bbox = tuple[float, float, float, float]
# As it is on a map; DN of a Sentinel-1 GRD to sigma0; its incidence angle, of which the file
# is the annotation; DN of Landsat Level-1 to top-of-atmosphere reflectance or temperature.
Kind = Literal["raster", "grd", "grd_angle", "landsat_toa"]
# A number, or: by the processing baseline of Sentinel-2 and what the provider did with it.
Offset = float | Literal["baseline"]
Assets = Mapping[str, tuple[str, ...]]

OPTICAL_ROLES: tuple[Role, ...] = ("sentinel2", "landsat")


@dataclass(frozen=True)
class MaskRule:
    """How a classification band becomes the categories of `gssm.schema`.

    ``categories`` maps every value of an 8-bit class band; ``bits`` maps bits of a
    QA band, the first set bit deciding.
    """

    assets: tuple[str, ...]
    fill: int
    categories: Mapping[int, int] = field(default_factory=dict, hash=False)
    bits: tuple[tuple[int, int], ...] = ()

    def classify(self, values: np.ndarray[Any, Any]) -> np.ndarray[Any, np.dtype[np.uint8]]:
        """Return the category of every pixel."""
        if self.categories:
            table = np.full(256, schema.MASK_MISSING, np.uint8)
            table[list(self.categories)] = list(self.categories.values())
            if values.dtype == np.uint8:
                return np.asarray(table[values])
            known = (values >= 0) & (values < table.size)
            seen = table[np.where(known, values, 0).astype(np.uint8)]
            return np.where(known, seen, np.uint8(schema.MASK_MISSING))
        result = np.full(values.shape, schema.MASK_CLEAR, np.uint8)
        for bit, category in reversed(self.bits):
            result[(values >> bit) & 1 == 1] = category
        return result


@dataclass(frozen=True)
class Collection:
    """One collection id: what it holds and how its numbers are stored.

    ``assets`` maps canonical variables to asset names in order of preference (those of
    `ASSETS` where it is empty). ``thermal`` is scale and offset of the thermal bands where
    they have their own, ``angle`` those of the incidence angle. ``mask_from`` names the
    collections whose item of the same scene lends its mask. ``crs`` "file" means that items
    need not state one, because every file does. ``partial`` says that an item alone is not a
    whole image and needs the other item of its scene. ``refused`` is the reason why its
    items cannot be read at all.
    """

    role: Role
    level: Level = "l2"
    convention: str = "sigma0"
    nodata: float | None = None
    refused: str = ""
    kind: Kind = "raster"
    assets: Assets = field(default_factory=dict, hash=False)
    scale: float = 1.0
    offset: Offset = 0.0
    thermal: tuple[float, float] | None = None
    angle: tuple[float, float] | None = None
    mask: MaskRule | None = None
    mask_from: tuple[str, ...] = ()
    crs: Literal["item", "file"] = "item"
    partial: bool = False


@dataclass(frozen=True)
class Catalog:
    """One provider: its STAC API or folder and, per role, its collections by preference.

    ``rows`` are collections of its own, which go before those of `COLLECTIONS`.
    """

    url: str
    collections: Mapping[Role, tuple[str, ...]]
    rows: Mapping[str, Collection] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if cause := _flaw(self.url, self.collections, self.rows):
            raise UnknownCatalogError(
                f"the Catalog has {cause}; write it as a record, which gssm.read_record checks."
            )


def _flaw(url: Any, collections: Any, rows: Any) -> str:
    """Say what of a catalogue's record cannot be, or nothing."""
    if not isinstance(url, str) or not url:
        return f"as url {type(url).__name__}, and not an address or a folder"
    if not isinstance(collections, Mapping) or not isinstance(rows, Mapping):
        return "collections or rows that are no mapping"
    for role, names in collections.items():
        if not isinstance(names, (tuple, list)):
            return f"as {role} collections {names!r:.80}, which is no tuple of names"
    for name, row in rows.items():
        if not isinstance(row, Collection):
            return f"as row {name!r} {row!r:.80}, which is no Collection"
        absent = {f.name for f in fields(row) if getattr(row, f.name) is None}
        if flaws := absent - {"nodata", "thermal", "angle", "mask"}:
            return f"a row {name!r} without {min(flaws)}"
    return ""


# Native metres of a pixel: Copernicus serves several resolutions under `B04_10m`, `B04_20m`.
_SENTINEL2 = {
    "b1": ("coastal", 60),
    "b2": ("blue", 10),
    "b3": ("green", 10),
    "b4": ("red", 10),
    "b5": ("rededge1", 20),
    "b6": ("rededge2", 20),
    "b7": ("rededge3", 20),
    "b8": ("nir", 10),
    "b8a": ("nir08", 20),
    "b9": ("nir09", 60),
    "b11": ("swir16", 20),
    "b12": ("swir22", 20),
}
_LANDSAT = {
    "b1": "coastal",
    "b2": "blue",
    "b3": "green",
    "b4": "red",
    "b5": "nir08",
    "b6": "swir16",
    "b7": "swir22",
}


def _sentinel2_keys(band: str, name: str, metres: int) -> tuple[str, ...]:
    number = f"B{band[1:].upper().zfill(2)}"
    return number, f"{number}_{metres}m", name


# Canonical variable -> the asset keys that providers use for it, in order of preference.
ASSETS: dict[Role, dict[str, tuple[str, ...]]] = {
    "sentinel1": {
        "vv": ("vv",),
        "vh": ("vh",),
        "incidence_angle": ("incidence_angle", "angle"),
    },
    "sentinel2": {f"s2_{b}": _sentinel2_keys(b, *row) for b, row in _SENTINEL2.items()},
    "landsat": {
        **{f"landsat_{b}": (name, f"SR_{b.upper()}.TIF") for b, name in _LANDSAT.items()},
        "landsat_b10": ("lwir11", "ST_B10.TIF"),
    },
    "elevation": {"dsm": ("data", "elevation", "dem")},
}
# Top-of-atmosphere products have bands that surface reflectance lacks.
SENTINEL2_L1_ASSETS: Assets = {
    **ASSETS["sentinel2"],
    "s2_b10": _sentinel2_keys("b10", "cirrus", 60),
}
LANDSAT_L1_ASSETS: Assets = {
    f"landsat_{b}": (name, f"{b.upper()}.TIF")
    for b, name in {
        **_LANDSAT,
        "b8": "pan",
        "b9": "cirrus",
        "b10": "lwir11",
        "b11": "lwir12",
    }.items()
}
MTL_ASSETS = ("mtl.txt", "MTL.txt", "mtl.json", "MTL.json")

# Sentinel-2 Level-2A scene classification. 0 no data and 1 saturated or defective
# stay missing; 2 dark and 7 unclassified are ground that the classifier could not
# name (wet dark soil is often 2, sparse crops often 7).
SCL = MaskRule(
    assets=("SCL", "SCL_20m", "scl"),
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
)
# Landsat Collection 2 QA_PIXEL: fill, dilated cloud, cirrus, cloud, cloud shadow,
# snow, water (bit 6, clear, adds nothing).
QA_PIXEL = MaskRule(
    assets=("qa_pixel", "QA_PIXEL.TIF"),
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
)
MASKS: dict[Role, MaskRule] = {"sentinel2": SCL, "landsat": QA_PIXEL}

# Landsat Collection 2 Level-2 product guide (LSDS-1619), table 6-1.
LANDSAT_REFLECTANCE = (2.75e-5, -0.2)
LANDSAT_TEMPERATURE = (0.00341802, 149.0)
LANDSAT_PLATFORMS = ("landsat-8", "landsat-9")

# Products of processing baseline 04.00 and later carry RADIO_ADD_OFFSET (Level-1C) or
# BOA_ADD_OFFSET (Level-2A) of -1000 at a quantification value of 10000.
SENTINEL2_SCALE = 1e-4
SENTINEL2_OFFSET = -0.1
SENTINEL2_OFFSET_BASELINE = 4.0

_RTC = Collection("sentinel1", "any", "gamma0", -32768)
_GRD = Collection("sentinel1", "any", nodata=0, kind="grd", crs="file")
_S2_L2A = Collection("sentinel2", nodata=0, scale=SENTINEL2_SCALE, offset="baseline", mask=SCL)
_S2_L1C = Collection(
    "sentinel2",
    "l1",
    nodata=0,
    assets=SENTINEL2_L1_ASSETS,
    scale=SENTINEL2_SCALE,
    offset="baseline",
    mask_from=("sentinel-2-l2a", "sentinel-2-c1-l2a"),
)
_LANDSAT_L2 = Collection(
    "landsat",
    nodata=0,
    scale=LANDSAT_REFLECTANCE[0],
    offset=LANDSAT_REFLECTANCE[1],
    thermal=LANDSAT_TEMPERATURE,
    mask=QA_PIXEL,
    crs="file",
)
_LANDSAT_ST = Collection(
    "landsat",
    nodata=0,
    assets={"landsat_b10": ASSETS["landsat"]["landsat_b10"]},
    thermal=LANDSAT_TEMPERATURE,
    mask=QA_PIXEL,
    crs="file",
    partial=True,
)
_LANDSAT_L1 = Collection(
    "landsat",
    "l1",
    nodata=0,
    kind="landsat_toa",
    assets=LANDSAT_L1_ASSETS,
    mask=QA_PIXEL,
    crs="file",
)

# In order of preference where two have the same scene.
COLLECTIONS: dict[str, Collection] = {
    "sentinel-1-sigma0": Collection("sentinel1", "any", nodata=-32768),
    "sentinel-1-rtc": _RTC,
    # Its angle is that on the terrain; the ellipsoid's comes from the orbit.
    "sentinel1-rtc-aws": Collection(
        "sentinel1", "any", "gamma0", 0, assets={"vv": ("gamma0_vv",), "vh": ("gamma0_vh",)}
    ),
    "sentinel-1-grd": _GRD,
    "sentinel1-grd": _GRD,
    "sentinel-2-c1-l2a": _S2_L2A,
    "sentinel-2-l2a": _S2_L2A,
    "sentinel-s2-l2a-cogs": _S2_L2A,
    "sentinel-2-l1c": _S2_L1C,
    "landsat-c2-l2": _LANDSAT_L2,
    "landsat-c2l2-sr": _LANDSAT_L2,
    "landsat-c2l2-st": _LANDSAT_ST,
    "landsat-c2l1": _LANDSAT_L1,
    "landsat-c2-l1": _LANDSAT_L1,
    "dem": Collection("elevation", "any"),
    "alos-dem": Collection("elevation", "any", nodata=-9999),
    "nasadem": Collection("elevation", "any", nodata=-32768),
    "cop-dem-glo-30": Collection("elevation", "any"),
    "cop-dem-glo-30-dged-cog": Collection("elevation", "any"),
}

_ROLES: tuple[Role, ...] = ("sentinel1", "sentinel2", "landsat", "elevation")
_ANY: dict[Role, tuple[str, ...]] = {
    role: tuple(name for name, c in COLLECTIONS.items() if c.role == role) for role in _ROLES
}

CATALOGS: dict[str, Catalog] = {
    "planetary-computer": Catalog(
        "https://planetarycomputer.microsoft.com/api/stac/v1",
        {
            "sentinel1": ("sentinel-1-rtc", "sentinel-1-grd"),
            "sentinel2": ("sentinel-2-l2a",),
            "landsat": ("landsat-c2-l2",),
            "elevation": ("alos-dem", "nasadem", "cop-dem-glo-30"),
        },
    ),
    "earth-search": Catalog(
        "https://earth-search.aws.element84.com/v1",
        {
            "sentinel1": ("sentinel-1-grd",),
            "sentinel2": ("sentinel-2-c1-l2a", "sentinel-2-l2a", "sentinel-2-l1c"),
            "landsat": ("landsat-c2-l2",),
            "elevation": ("cop-dem-glo-30",),
        },
    ),
    "cdse": Catalog(
        "https://stac.dataspace.copernicus.eu/v1",
        {
            "sentinel1": ("sentinel-1-grd",),
            "sentinel2": ("sentinel-2-l2a", "sentinel-2-l1c"),
            "landsat": (),
            "elevation": ("cop-dem-glo-30-dged-cog",),
        },
    ),
    "usgs": Catalog(
        "https://landsatlook.usgs.gov/stac-server",
        {
            "sentinel1": (),
            "sentinel2": (),
            "landsat": ("landsat-c2l2-sr", "landsat-c2l2-st", "landsat-c2l1"),
            "elevation": (),
        },
    ),
}


def any_catalog(url: str) -> Catalog:
    """Record of a STAC API or folder that gssm has no row for: every known collection."""
    return Catalog(url, _ANY)


def find_collection(catalog: Catalog, name: str) -> Collection | None:
    """Return the row of a collection: the catalogue's own, else that of `COLLECTIONS`."""
    return catalog.rows.get(name) or COLLECTIONS.get(name)


def of_level(catalog: Catalog, level: str) -> Catalog:
    """Keep the collections of a level, and those that lend them their cloud masks."""
    kept: dict[Role, tuple[str, ...]] = {}
    for role, names in catalog.collections.items():
        rows = {name: find_collection(catalog, name) for name in names}
        chosen = {n: row for n, row in rows.items() if row and row.level in (level, "any")}
        lenders = {name for row in chosen.values() for name in row.mask_from}
        kept[role] = tuple(name for name in names if name in chosen or name in lenders)
    return Catalog(catalog.url, kept, catalog.rows)


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
