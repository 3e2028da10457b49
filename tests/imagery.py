"""Small images and STAC items for the tests of reading."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import rasterio
from odc.geo.geobox import GeoBox
from rasterio.transform import from_origin

EPSG = 32631
LEFT, TOP = 500_000, 5_600_000  # metres; 3 degrees east, the middle of UTM zone 31
FOOTPRINT = (2.99, 50.5, 3.05, 50.6)


def utm_grid(
    rows: int, columns: int, resolution: float = 10, dx: float = 0, dy: float = 0
) -> GeoBox:
    """Grid whose upper left corner is that of the images, moved by dx and dy metres."""
    left, top = LEFT + dx, TOP + dy
    bounds = (left, top - rows * resolution, left + columns * resolution, top)
    return GeoBox.from_bbox(bounds, crs=f"EPSG:{EPSG}", resolution=resolution, tight=True)


def write_tif(path: Path, values: np.ndarray[Any, Any], *, size: float = 10, **profile: Any) -> str:
    """Write one band with its corner at LEFT, TOP and pixels of ``size`` metres."""
    path.parent.mkdir(parents=True, exist_ok=True)
    place = {"crs": f"EPSG:{EPSG}", "transform": from_origin(LEFT, TOP, size, size)}
    kind = {"driver": "GTiff", "count": 1, "dtype": values.dtype}
    height, width = values.shape
    with rasterio.open(path, "w", height=height, width=width, **kind, **place, **profile) as file:
        file.write(values, 1)
    return str(path)


def cut_file(path: str | Path, share: float = 0.6) -> None:
    """Keep the first part of a file, as a broken transfer does."""
    content = Path(path).read_bytes()
    Path(path).write_bytes(content[: int(len(content) * share)])


def stac_item(
    collection: str, name: str, time: str | None, assets: Mapping[str, str], **properties: Any
) -> dict[str, Any]:
    """Return an item in EPSG:32631 over `FOOTPRINT`; ``__`` in a property name means ``:``."""
    west, south, east, north = FOOTPRINT
    ring = [[west, south], [east, south], [east, north], [west, north], [west, south]]
    stated = {key.replace("__", ":"): value for key, value in properties.items()}
    return {
        "type": "Feature",
        "stac_version": "1.0.0",
        "id": name,
        "collection": collection,
        "geometry": {"type": "Polygon", "coordinates": [ring]},
        "bbox": list(FOOTPRINT),
        "properties": {"datetime": time, "proj:epsg": EPSG, **stated},
        "links": [],
        "assets": {key: {"href": href} for key, href in assets.items()},
    }


def radar_item(
    name: str = "S1", time: str | None = "2020-06-10T06:00:00Z", **properties: Any
) -> dict[str, Any]:
    """Return a usable Sentinel-1 item whose files do not exist."""
    stated = {"view__incidence_angle": 38.0, "sat__relative_orbit": 8, "platform": "sentinel-1a"}
    assets = {"vv": f"/nowhere/{name}/vv.tif", "vh": f"/nowhere/{name}/vh.tif"}
    return stac_item("sentinel-1-sigma0", name, time, assets, **{**stated, **properties})


def optical_item(
    name: str = "S2", time: str = "2020-06-09T11:00:00Z", **properties: Any
) -> dict[str, Any]:
    """Return a usable Sentinel-2 item whose files do not exist."""
    stated = {"s2__processing_baseline": "05.09", "s2__mgrs_tile": "31UDS"}
    assets = {key: f"/nowhere/{name}/{key}.tif" for key in ("SCL", "B04", "B08")}
    return stac_item("sentinel-2-l2a", name, time, assets, **{**stated, **properties})


def landsat_item(
    name: str = "LC08", time: str = "2020-06-09T10:30:00Z", **properties: Any
) -> dict[str, Any]:
    """Return a usable Landsat item whose files do not exist."""
    assets = {key: f"/nowhere/{name}/{key}.tif" for key in ("qa_pixel", "red", "nir08", "lwir11")}
    stated = {"platform": "landsat-8"}
    return stac_item("landsat-c2-l2", name, time, assets, **{**stated, **properties})
