"""One piece of ground as every provider would serve it: files and STAC items by their conventions.

The ground is a function of place, so that each provider samples it on the pixels it has: four
fields of 480 m with a level of their own, and over all a slope, which no averaging and no
interpolation bends, but which any shift of the pixels would show. There is no atmosphere: what
is true at the surface is true at its top. The items have the names, properties and units of
the real ones; their numbers are made up.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import rasterio
from odc.geo.geobox import GeoBox
from rasterio.control import GroundControlPoint
from rasterio.warp import transform

import grd_scene
from grd_scene import Flight

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


# ------------------------------------------------------------------------ Sentinel-1

_S1 = {
    "datetime": RADAR_TIME,
    "platform": "SENTINEL-1A",
    "constellation": "Sentinel-1",
    "sar:instrument_mode": "IW",
    "sar:product_type": "GRD",
    "sar:frequency_band": "C",
    "sar:polarizations": ["VV", "VH"],
    "sat:orbit_state": "ascending",
    "sat:absolute_orbit": ABSOLUTE_ORBIT,
    "sat:relative_orbit": RELATIVE_ORBIT,
}


def sigma0(folder: Path) -> list[Item]:
    """Calibrated, terrain-corrected sigma0 with one angle for the scene: gssm's own schema."""
    name = "S1A_SIGMA0"
    assets = {}
    for polarization in ("vv", "vh"):
        values, place = sample(polarization, 10)
        path = folder / "s1" / f"{polarization}.tif"
        href = write(path, values.astype(np.float32), place, nodata=-32768)
        assets[polarization] = {"href": href}
    properties = {**_S1, "proj:epsg": EPSG, "view:incidence_angle": INCIDENCE_ANGLE}
    return [item("sentinel-1-sigma0", name, properties, assets)]


def sentinel1_rtc(folder: Path) -> list[Item]:
    """Planetary Computer RTC: gamma0, linear, no angle but the relative orbit; zeros outside."""
    name = "S1A_IW_GRDH_1SDV_20230610T173237_20230610T173302_048921_05E21A_rtc"
    assets, properties = {}, dict(_S1)
    for polarization in ("vv", "vh"):
        values, place = sample(polarization, 10)
        gamma0 = (values / math.cos(math.radians(INCIDENCE_ANGLE))).astype(np.float32)
        gamma0[:, :5] = 0
        path = folder / "rtc" / f"iw-{polarization}.rtc.tiff"
        bands = [{"nodata": -32768, "data_type": "float32", "spatial_resolution": 10.0}]
        assets[polarization] = {
            "href": write(path, gamma0, place, nodata=-32768),
            "raster:bands": bands,
        }
        rows, columns = values.shape
        properties |= {
            "proj:epsg": EPSG,
            "proj:shape": [rows, columns],
            "s1:shape": [columns, rows],
            "proj:transform": [*place, 0.0, 0.0, 1.0],
        }
    extensions = ["sar/v1.0.0", "sat/v1.0.0", "projection/v1.0.0"]
    return [item("sentinel-1-rtc", name, properties, assets, extensions=extensions)]


def _grd_flight(polarization: str) -> Flight:
    """Satellite that sees the middle of the ground, and a kilometre around, under its angle."""
    x, y = [LEFT + FIELD], [TOP - FIELD]
    (longitude,), (latitude,) = transform(f"EPSG:{EPSG}", "EPSG:4326", x, y)
    flight = Flight(
        longitude,
        latitude,
        "ascending",
        shape=(240, 250),
        height=45.0,
        angle=INCIDENCE_ANGLE,
        polarisation=polarization.upper(),
    )
    # A satellite looks down to the centre of the Earth, so that its image lies beside.
    east, north, _ = grd_scene.places(flight, np.array(120.0), np.array(125.0), flight.height)
    return grd_scene.moved(
        flight, 2 * longitude - float(east), 2 * latitude - float(north), "ascending"
    )


def _grd_files(safe: Path, polarization: str) -> None:
    """Measurement in its own geometry, and the XML beside it, where a SAFE folder has them."""
    flight = _grd_flight(polarization)
    lines, pixels = (a.astype(float) for a in np.indices(flight.shape))
    longitude, latitude, _ = grd_scene.places(flight, lines, pixels, flight.height)
    degrees = (longitude.ravel().tolist(), latitude.ravel().tolist())
    x, y = transform("EPSG:4326", f"EPSG:{EPSG}", *degrees)
    sigma0 = ground(polarization, np.array(x), np.array(y)).reshape(flight.shape)
    name = f"iw-{polarization}"
    texts = {
        f"annotation/{name}.xml": grd_scene.annotation_xml(flight),
        f"annotation/calibration/calibration-{name}.xml": grd_scene.calibration_xml(flight),
        f"annotation/calibration/noise-{name}.xml": grd_scene.noise_xml(flight),
        f"annotation/rfi/rfi-{name}.xml": "<rfi></rfi>",
    }
    for place, text in texts.items():
        (safe / place).parent.mkdir(parents=True, exist_ok=True)
        (safe / place).write_text(text)
    ties = grd_scene.tie_points(flight)
    at = grd_scene.places(flight, *ties, flight.height)[:2]
    points = [
        GroundControlPoint(i, j, lon, lat, flight.height)
        for i, j, lon, lat in zip(*(a.ravel() for a in (*ties, *at)), strict=True)
    ]
    number = grd_scene.digital_numbers(flight, sigma0).astype(np.uint16)
    path = safe / "measurement" / f"{name}.tiff"
    write(path, number, None, gcps=points, crs="EPSG:4326")


def sentinel1_grd(folder: Path, extra: Mapping[str, Any]) -> list[Item]:
    """GRD: digital numbers in radar geometry; the item names RFI as its product annotation."""
    safe = folder / "S1A_IW_GRDH_1SDV_20230610T173237_20230610T173302_048921_05E21A_1234"
    assets = {}
    for polarization in ("vv", "vh"):
        _grd_files(safe, polarization)
        name = f"iw-{polarization}"
        files = {
            polarization: f"measurement/{name}.tiff",
            f"schema-product-{polarization}": f"annotation/rfi/rfi-{name}.xml",
            f"schema-calibration-{polarization}": f"annotation/calibration/calibration-{name}.xml",
            f"schema-noise-{polarization}": f"annotation/calibration/noise-{name}.xml",
        }
        assets |= {key: {"href": str(safe / place)} for key, place in files.items()}
    name = safe.name.rsplit("_", 1)[0]
    extensions = ["sar/v1.0.0", "sat/v1.0.0"]
    return [item("sentinel-1-grd", name, {**_S1, **extra}, assets, extensions=extensions)]


# Earth Search states the CRS of the footprint and a transform that no pixel follows.
EARTH_SEARCH_GRD = {
    "proj:epsg": 4326,
    "proj:shape": [250, 240],
    "proj:transform": [1e-4, 0, 5.1, 0, -1e-4, 50.9],
}


# ------------------------------------------------------------------------ Sentinel-2


def _sentinel2_files(
    folder: Path, offset: float, names: Mapping[str, Any] = SENTINEL2, suffix: str = ".tif"
) -> dict[str, tuple[str, list[float], int]]:
    """Bands by their common name: address, transform, pixel size. DN = 10^4 (rho - offset)."""
    files = {}
    for name, (band, metres) in names.items():
        values, place = sample(name, metres)
        dn = as_dn(values, 1e-4, offset)
        dn[:1, :] = 0  # no data beyond the swath
        files[name] = (write(folder / f"{band}{suffix}", dn, place, nodata=0), place, metres)
    return files


def _scl(folder: Path) -> str:
    values, place = sample("red", 20)
    classes = np.full(values.shape, SCL_BARE, np.uint8)
    return write(folder / "SCL.tif", classes, place, nodata=0)


def planetary_computer_sentinel2(folder: Path, baseline: str) -> list[Item]:
    """Planetary Computer L2A: no scale, no offset, only the baseline says which numbers."""
    code = baseline.replace(".", "")
    name = f"S2A_MSIL2A_20230610T104621_R051_T31UFS_N{code}"
    files = _sentinel2_files(folder / name, -0.1 if float(baseline) >= 4 else 0.0)
    assets: dict[str, Any] = {
        SENTINEL2[key][0]: {
            "href": href,
            "gsd": float(metres),
            "proj:transform": place,
            "eo:bands": [{"name": SENTINEL2[key][0], "common_name": key}],
        }
        for key, (href, place, metres) in files.items()
    }
    assets["SCL"] = {"href": _scl(folder / name), "gsd": 20.0}
    properties = {
        "datetime": SENTINEL2_TIME,
        "platform": "Sentinel-2A",
        "constellation": "Sentinel 2",
        "instruments": ["msi"],
        "proj:epsg": EPSG,
        "eo:cloud_cover": 0.5,
        "s2:mgrs_tile": "31UFS",
        "s2:processing_baseline": baseline,
        "s2:product_uri": f"S2A_MSIL2A_20230610T104621_N{code}_R051_T31UFS_X.SAFE",
        "s2:product_type": "S2MSI2A",
        "sat:orbit_state": "descending",
        "sat:relative_orbit": 51,
    }
    extensions = ["eo/v1.0.0", "sat/v1.0.0", "projection/v1.0.0"]
    return [item("sentinel-2-l2a", name, properties, assets, extensions=extensions)]


def earth_search_sentinel2(
    folder: Path, sequence: int, baseline: str, *, applied: bool
) -> list[Item]:
    """Earth Search v1: ``raster:bands`` states an offset, also where it was taken out already."""
    name = f"S2A_31UFS_20230610_{sequence}_L2A"
    has_offset = float(baseline) >= 4
    files = _sentinel2_files(folder / name, -0.1 if has_offset and not applied else 0.0)
    stated = {"nodata": 0, "data_type": "uint16", "scale": 1e-4, "offset": -0.1 * has_offset}
    assets: dict[str, Any] = {
        key: {
            "href": href,
            "proj:transform": place,
            "raster:bands": [{**stated, "spatial_resolution": metres}],
            "eo:bands": [{"name": key, "common_name": key}],
        }
        for key, (href, place, metres) in files.items()
    }
    assets["scl"] = {"href": _scl(folder / name)}
    assets["aot"] = {"href": files["red"][0], "raster:bands": [{"scale": 0.001, "offset": 0}]}
    properties = {
        # The sequences of one scene are a millisecond apart.
        "datetime": SENTINEL2_TIME.replace("024000", f"02{4 + sequence}000"),
        "platform": "sentinel-2a",
        "constellation": "sentinel-2",
        "instruments": ["msi"],
        "proj:epsg": EPSG,
        "eo:cloud_cover": 0.5,
        "grid:code": "MGRS-31UFS",
        "s2:processing_baseline": baseline,
        "s2:sequence": str(sequence),
        "earthsearch:boa_offset_applied": applied,
    }
    extensions = ["raster/v1.1.0", "eo/v1.1.0", "grid/v1.0.0", "projection/v1.1.0"]
    return [item("sentinel-2-l2a", name, properties, assets, extensions=extensions)]


def earth_search_collection1(folder: Path) -> list[Item]:
    """Earth Search Collection 1: the digital numbers as ESA wrote them, dated over the tile."""
    (record,) = earth_search_sentinel2(folder, 0, "05.11", applied=False)
    properties = dict(record["properties"])
    for name in ("earthsearch:boa_offset_applied", "s2:sequence"):
        del properties[name]
    return [
        {
            **record,
            "id": "S2A_T31UFS_20230610T104621_L2A",
            "collection": "sentinel-2-c1-l2a",
            "properties": properties,
        }
    ]


def cdse_sentinel2(folder: Path) -> list[Item]:
    """CDSE: STAC 1.1, JPEG 2000 in several resolutions, CRS and scale on assets only."""
    name = "S2A_MSIL2A_20230610T104621_N0511_R051_T31UFS_20230610T150000"
    files = _sentinel2_files(folder / name, -0.1)
    assets = {}
    for key, (_, place, native) in files.items():
        band = SENTINEL2[key][0]
        for metres in (10, 20, 60):
            if metres < native:
                continue
            values, place = sample(key, metres)
            path = folder / name / f"T31UFS_{band}_{metres}m.jp2"
            lossless = {"driver": "JP2OpenJPEG", "QUALITY": "100", "REVERSIBLE": "YES"}
            href = write(path, as_dn(values, 1e-4, -0.1), place, **lossless)
            assets[f"{band}_{metres}m"] = {
                "href": href,
                "type": "image/jp2",
                "bands": [{"name": band, "eo:common_name": key}],
                "gsd": metres,
                "nodata": 0,
                "data_type": "uint16",
                "proj:code": f"EPSG:{EPSG}",
                "proj:shape": list(values.shape),
                "proj:transform": place,
                "raster:scale": 1e-4,
                "raster:offset": -0.1,
            }
    scl = {"href": _scl(folder / name), "proj:code": f"EPSG:{EPSG}", "nodata": 0}
    assets |= {"SCL_20m": scl, "AOT_10m": {**assets["B04_10m"], "bands": []}}
    properties = {
        "datetime": SENTINEL2_TIME,
        "platform": "sentinel-2a",
        "constellation": "sentinel-2",
        "instruments": ["msi"],
        "gsd": 10,
        "eo:cloud_cover": 0.5,
        "grid:code": "MGRS-31UFS",
        "product:type": "S2MSI2A",
        "processing:level": "L2",
        "processing:version": "05.11",
        "sat:orbit_state": "descending",
        "sat:relative_orbit": 51,
    }
    extensions = ["eo/v2.0.0", "raster/v2.0.0", "projection/v2.0.0", "grid/v1.1.0"]
    return [
        item("sentinel-2-l2a", name, properties, assets, version="1.1.0", extensions=extensions)
    ]


def sentinel2_l1c(folder: Path, baseline: str) -> list[Item]:
    """Level-1C: thirteen bands at the top of the atmosphere; the L2A item lends its mask."""
    code = baseline.replace(".", "")
    name = "S2A_T31UFS_20230610T104621_L1C"
    offset = -0.1 if float(baseline) >= 4 else 0.0
    files = _sentinel2_files(folder / name, offset, {**SENTINEL2, "cirrus": ("B10", 60)})
    assets = {
        key: {
            "href": href,
            "gsd": metres,
            "proj:transform": place,
            "eo:bands": [{"name": {**SENTINEL2, "cirrus": ("B10",)}[key][0], "common_name": key}],
            "raster:bands": [{"data_type": "uint16", "nodata": 0, "scale": 1e-4, "offset": offset}],
        }
        for key, (href, place, metres) in files.items()
    }
    properties = {
        "datetime": SENTINEL2_TIME,
        "platform": "sentinel-2a",
        "constellation": "sentinel-2",
        "instruments": ["msi"],
        "proj:code": f"EPSG:{EPSG}",
        "eo:cloud_cover": 0.5,
        "grid:code": "MGRS-31UFS",
        "s2:processing_baseline": baseline,
        "s2:product_type": "S2MSI1C",
        "s2:product_uri": f"S2A_MSIL1C_20230610T104621_N{code}_R051_T31UFS_X.SAFE",
        "sat:orbit_state": "descending",
        "sat:relative_orbit": 51,
    }
    extensions = ["eo/v1.1.0", "raster/v1.1.0", "projection/v2.0.0", "grid/v1.1.0"]
    l1c = item("sentinel-2-l1c", name, properties, assets, version="1.1.0", extensions=extensions)
    return [l1c, *planetary_computer_sentinel2(folder, baseline)]


# ------------------------------------------------------------------------ Landsat

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


# ------------------------------------------------------------------------ catalogues

Provider = Callable[[Path], list[Item]]

RADARS: dict[str, Provider] = {
    "sigma0": sigma0,
    "planetary-computer-rtc": sentinel1_rtc,
    "planetary-computer-grd": lambda f: sentinel1_grd(f, {}),
    "earth-search-grd": lambda f: sentinel1_grd(f, EARTH_SEARCH_GRD),
}
SENTINEL2_PROVIDERS: dict[str, Provider] = {
    "planetary-computer-0301": lambda f: planetary_computer_sentinel2(f, "03.01"),
    "planetary-computer-0510": lambda f: planetary_computer_sentinel2(f, "05.10"),
    "earth-search-before": lambda f: earth_search_sentinel2(f, 0, "02.14", applied=False),
    "earth-search-applied": lambda f: earth_search_sentinel2(f, 1, "05.00", applied=True),
    "earth-search-both": lambda f: [
        *earth_search_sentinel2(f, 0, "02.14", applied=False),
        *earth_search_sentinel2(f, 1, "05.00", applied=True),
    ],
    "earth-search-collection-1": earth_search_collection1,
    "cdse": cdse_sentinel2,
}
LANDSAT_PROVIDERS: dict[str, Provider] = {
    "planetary-computer": planetary_computer_landsat,
    "usgs": usgs_landsat,
}
LEVEL1_PROVIDERS: dict[str, Provider] = {
    "sentinel-2-l1c-0301": lambda f: sentinel2_l1c(f, "03.01"),
    "sentinel-2-l1c-0510": lambda f: sentinel2_l1c(f, "05.10"),
    "landsat-mtl-txt": lambda f: landsat_level1(f, "txt"),
    "landsat-mtl-json": lambda f: landsat_level1(f, "json"),
}


def write_scene(folder: Path, *providers: Provider) -> Path:
    """Write what these providers have of the ground, and its elevation; return the folder."""
    items = [item for provider in providers for item in provider(folder)]
    return write_folder(folder, [*items, copernicus_dem(folder)])
