"""Sentinel-1 over the ground: calibrated, as Planetary Computer's RTC, and as GRD."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from rasterio.control import GroundControlPoint
from rasterio.warp import transform

import grd_scene
from grd_scene import Flight
from provider_scenes.ground import (
    ABSOLUTE_ORBIT,
    EPSG,
    FIELD,
    INCIDENCE_ANGLE,
    LEFT,
    RADAR_TIME,
    RELATIVE_ORBIT,
    TOP,
    Item,
    ground,
    item,
    sample,
    write,
)

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
