"""One piece of ground as every provider would serve it: files and STAC items by their conventions.

The ground is a function of place, so that each provider samples it on the pixels it has: four
fields of 480 m with a level of their own, and over all a slope, which no averaging and no
interpolation bends, but which any shift of the pixels would show. There is no atmosphere: what
is true at the surface is true at its top. The items have the names, properties and units of
the real ones; their numbers are made up.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import rasterio
from odc.geo.geobox import GeoBox
from rasterio.warp import transform

Array = np.ndarray[Any, Any]
Item = dict[str, Any]

EPSG = 32631
LEFT, TOP = 649_560.0, 5_640_720.0  # metres; a corner that pixels of 10, 20, 30 and 60 m share
FIELD = 480.0  # metres
SIDE = 2 * FIELD
MARGIN = 300.0  # metres of every file beyond the ground, so that nothing ends within it
INNER = 120.0  # metres from the edge of a field to where its mean is taken: two pixels of 60 m
LANDSAT_SHIFT = 15.0  # metres: Landsat has its pixel centres, not edges, at multiples of 30

# Relative orbit 161, ascending, sees this place under this angle from the ellipsoid's vertical.
RELATIVE_ORBIT, ABSOLUTE_ORBIT = 161, 28_334
INCIDENCE_ANGLE = 43.35  # degrees
RADAR_TIME = "2023-06-10T17:32:49Z"
SENTINEL2_TIME = "2023-06-10T10:46:21.024000Z"
LANDSAT_TIME = "2023-06-09T10:33:20.477296Z"
DATES = "2023-06"
SUN_ELEVATION = 58.25

REFLECTANCES = {
    "coastal": 0.07,
    "blue": 0.08,
    "green": 0.10,
    "red": 0.12,
    "rededge1": 0.16,
    "rededge2": 0.22,
    "rededge3": 0.25,
    "nir": 0.28,
    "nir08": 0.30,
    "nir09": 0.29,
    "cirrus": 0.08,
    "swir16": 0.26,
    "swir22": 0.20,
    "pan": 0.11,
}
FIELD_LEVELS = np.array([[0.0, -0.5], [0.5, 1.0]])

# Band numbers and pixels of Sentinel-2 by the names of STAC.
SENTINEL2 = {
    "coastal": ("B01", 60),
    "blue": ("B02", 10),
    "green": ("B03", 10),
    "red": ("B04", 10),
    "rededge1": ("B05", 20),
    "rededge2": ("B06", 20),
    "rededge3": ("B07", 20),
    "nir": ("B08", 10),
    "nir08": ("B8A", 20),
    "nir09": ("B09", 60),
    "swir16": ("B11", 20),
    "swir22": ("B12", 20),
}
LANDSAT = {
    "coastal": "1",
    "blue": "2",
    "green": "3",
    "red": "4",
    "nir08": "5",
    "swir16": "6",
    "swir22": "7",
}
# Canonical variable -> what of the ground it shows.
SHOWS = {
    "vv": "vv",
    "vh": "vh",
    "dsm": "dsm",
    "s2_b10": "cirrus",
    **{f"s2_{band.replace('B0', 'B').lower()}": name for name, (band, _) in SENTINEL2.items()},
    **{f"landsat_b{band}": name for name, band in LANDSAT.items()},
    "landsat_b8": "pan",
    "landsat_b9": "cirrus",
    "landsat_b10": "kelvin",
    "landsat_b11": "kelvin",
}

SCL_BARE, QA_CLEAR = 5, 21824


def ground(name: str, x: Array, y: Array) -> Array:
    """Value of the ground at places of the UTM zone: reflectance, sigma0 (linear), K or m."""
    u, v = (x - LEFT) / SIDE, (TOP - y) / SIDE
    level = FIELD_LEVELS[(v > 0.5).astype(int), (u > 0.5).astype(int)]
    slope = u - 0.5 * v
    if name == "kelvin":
        return np.asarray(295 + 4 * level + 3 * slope)
    if name == "dsm":
        return np.asarray(40 + 3 * level + 10 * slope)
    if name in ("vv", "vh"):
        return np.asarray({"vv": 0.09, "vh": 0.018}[name] * (1 + 0.5 * level) * (1 + 0.3 * slope))
    return np.asarray(REFLECTANCES[name] * (1 + 0.3 * level) + 0.05 * slope)


def ground_grid() -> GeoBox:
    """Grid of the ground, 10 m."""
    bounds = (LEFT, TOP - SIDE, LEFT + SIDE, TOP)
    return GeoBox.from_bbox(bounds, crs=f"EPSG:{EPSG}", resolution=10, tight=True)


def ground_bbox() -> tuple[float, float, float, float]:
    """Box of the ground in degrees, a little smaller than it."""
    x, y = [LEFT + 60, LEFT + SIDE - 60], [TOP - SIDE + 60, TOP - 60]
    (west, east), (south, north) = transform(f"EPSG:{EPSG}", "EPSG:4326", x, y)
    return west, south, east, north


def field_means(values: Array) -> Array:
    """Means over the inner part of the four fields of a map on `ground_grid`, as floats."""
    size, inner = int(FIELD / 10), int(INNER / 10)
    blocks = np.asarray(values, np.float64).reshape(2, size, 2, size)
    within = blocks[:, inner:-inner, :, inner:-inner]
    return np.asarray(within.mean(axis=(1, 3)))


def true_means(variable: str) -> Array:
    """Return what `field_means` should find for a variable of the cube."""
    centres = np.arange(5, SIDE, 10)
    x, y = np.meshgrid(LEFT + centres, TOP - centres)
    return field_means(ground(SHOWS[variable], x, y))


# ------------------------------------------------------------------------ files


def sample(name: str, metres: int, shift: float = 0.0) -> tuple[Array, list[float]]:
    """Ground on pixels of a size whose corner is moved to the upper left, and their transform."""
    left, top = LEFT - MARGIN - shift, TOP + MARGIN + shift
    centres = (np.arange(round((SIDE + 2 * (MARGIN + shift)) / metres)) + 0.5) * metres
    x, y = np.meshgrid(left + centres, top - centres)
    return ground(name, x, y), [float(metres), 0.0, left, 0.0, -float(metres), top]


def write(path: Path, values: Array, place: Sequence[float] | None, **profile: Any) -> str:
    """Write one band, with a place on the map or, in the profile, control points."""
    path.parent.mkdir(parents=True, exist_ok=True)
    options = {
        "driver": "GTiff",
        "crs": f"EPSG:{EPSG}",
        **({"transform": rasterio.Affine(*place[:6])} if place else {}),
        "dtype": values.dtype,
        **profile,
    }
    height, width = values.shape
    with rasterio.open(path, "w", height=height, width=width, count=1, **options) as file:
        file.write(values, 1)
    return str(path)


def as_dn(values: Array, scale: float, offset: float) -> Array:
    """Digital numbers of physical values: ``value = scale * DN + offset``; 0 is no data."""
    return np.asarray(np.clip(np.rint((values - offset) / scale), 1, 65_535).astype(np.uint16))


def write_folder(folder: Path, items: Sequence[Item]) -> Path:
    """Write an ItemCollection per collection; return the folder, which `gssm.search` takes."""
    folder.mkdir(parents=True, exist_ok=True)
    for collection in {item["collection"] for item in items}:
        features = [item for item in items if item["collection"] == collection]
        record = {"type": "FeatureCollection", "features": features}
        (folder / f"{collection}.json").write_text(json.dumps(record, indent=1))
    return folder


def item(
    collection: str,
    name: str,
    properties: Mapping[str, Any],
    assets: Mapping[str, Any],
    *,
    version: str = "1.0.0",
    extensions: Sequence[str] = (),
) -> Item:
    """Return an item over the ground and its margin."""
    low, high = -MARGIN, SIDE + MARGIN
    x, y = [LEFT + d for d in (low, high, high, low)], [TOP - d for d in (high, high, low, low)]
    longitudes, latitudes = transform(f"EPSG:{EPSG}", "EPSG:4326", x, y)
    ring = [[float(a), float(b)] for a, b in zip(longitudes, latitudes, strict=True)]
    return {
        "type": "Feature",
        "stac_version": version,
        "stac_extensions": [
            f"https://stac-extensions.github.io/{e}/schema.json" for e in extensions
        ],
        "id": name,
        "collection": collection,
        "geometry": {"type": "Polygon", "coordinates": [[*ring, ring[0]]]},
        "bbox": [min(longitudes), min(latitudes), max(longitudes), max(latitudes)],
        "properties": dict(properties),
        "links": [],
        "assets": dict(assets),
    }


# ------------------------------------------------------------------------ elevation


def copernicus_dem(folder: Path) -> Item:
    """Copernicus GLO-30: degrees, pixel centres at whole arc seconds, no nodata."""
    name = "Copernicus_DSM_COG_10_N50_00_E005_00_DEM"
    step = 1 / 3600
    west, north = 5.12 - step / 2, 50.91 + step / 2
    columns, rows = np.meshgrid(np.arange(120) + 0.5, np.arange(108) + 0.5)
    x, y = transform(
        "EPSG:4326",
        f"EPSG:{EPSG}",
        (west + columns * step).ravel().tolist(),
        (north - rows * step).ravel().tolist(),
    )
    values = ground("dsm", np.array(x), np.array(y)).reshape(columns.shape).astype(np.float32)
    place = [step, 0.0, west, 0.0, -step, north]
    href = write(folder / "dem" / f"{name}.tif", values, place, crs="EPSG:4326")
    properties = {
        "gsd": 30,
        "datetime": "2021-04-22T00:00:00Z",
        "platform": "TanDEM-X",
        "proj:epsg": 4326,
        "proj:shape": list(values.shape),
        "proj:transform": place,
    }
    return item("cop-dem-glo-30", name, properties, {"data": {"href": href, "roles": ["data"]}})
