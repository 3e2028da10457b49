"""Files and items of any place and projection, over one analytic surface."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import rasterio
from odc.geo.geobox import GeoBox
from pyproj import Transformer
from rasterio.transform import from_origin

from imagery import optical_item, radar_item, stac_item

Array = np.ndarray[Any, Any]
Surface = Callable[[Array, Array], Array]
Box = tuple[float, float, float, float]

SECOND = 1 / 3600  # degrees: 30 m, the pixels of global elevation models


def waves(mean: float, height: float, longitude: float, latitude: float) -> Surface:
    """Return a smooth surface of degrees: waves of 5 km around a place."""

    def surface(lon: Array, lat: Array) -> Array:
        east = ((lon - longitude + 180) % 360 - 180) * 111_320 * math.cos(math.radians(latitude))
        north = (lat - latitude) * 111_320
        return mean + height * np.sin(2 * np.pi * east / 5000) * np.cos(2 * np.pi * north / 5000)

    return surface


def at_centres(crs: str, left: float, top: float, size: Any, shape: Any, surface: Surface) -> Array:
    """Values of a surface at the centres of the pixels of a file."""
    width, height = size if isinstance(size, tuple) else (size, size)
    x, y = np.meshgrid(
        left + (np.arange(shape[1]) + 0.5) * width, top - (np.arange(shape[0]) + 0.5) * height
    )
    return surface(*Transformer.from_crs(crs, "EPSG:4326", always_xy=True).transform(x, y))


def on_grid(grid: GeoBox, surface: Surface) -> Array:
    """Values of a surface at the pixel centres of a grid."""
    left, _, _, top = grid.boundingbox.bbox
    return at_centres(str(grid.crs), left, top, grid.resolution.x, grid.shape, surface)


def write_file(
    path: Path, values: Array, crs: str, left: float, top: float, size: Any, **profile: Any
) -> str:
    """Write one band with its upper left corner and pixel size."""
    width, height = size if isinstance(size, tuple) else (size, size)
    tags = {"AREA_OR_POINT": profile.pop("area_or_point", "Area")}
    path.parent.mkdir(parents=True, exist_ok=True)
    place = {"crs": crs, "transform": from_origin(left, top, width, height)}
    shape = {"height": values.shape[0], "width": values.shape[1], "count": 1}
    with rasterio.open(
        path, "w", driver="GTiff", dtype=values.dtype, **shape, **place, **profile
    ) as file:
        file.update_tags(**tags)
        file.write(values, 1)
    return str(path)


def surface_file(
    path: Path,
    crs: str,
    left: float,
    top: float,
    size: Any,
    shape: Any,
    surface: Surface,
    **profile: Any,
) -> str:
    """Write a surface as float32."""
    values = at_centres(crs, left, top, size, shape, surface).astype(np.float32)
    return write_file(path, values, crs, left, top, size, **profile)


def placed(item: dict[str, Any], box: Box, epsg: int = 4326) -> dict[str, Any]:
    """Put an item at a box in degrees; one with west > east crosses the 180th meridian."""
    item["geometry"], item["bbox"] = None, list(box)
    item["properties"]["proj:epsg"] = epsg
    return item


def radar_at(name: str, box: Box, time: str = "2020-06-10T06:00:00Z") -> dict[str, Any]:
    """Return a radar item without files."""
    return placed(radar_item(name, time, sat__relative_orbit=None), box)


def elevation_item(collection: str, name: str, href: str, box: Box) -> dict[str, Any]:
    """Return a tile of elevation."""
    return placed(stac_item(collection, name, "2010-01-01T00:00:00Z", {"data": href}), box)


def scene_items(
    folder: Path, name: str, grid: GeoBox, box: Box, vv: Surface, red: Surface
) -> list[dict[str, Any]]:
    """Radar and Sentinel-2 of a grid, written as files with its projection and pixels."""
    epsg = int(grid.crs.to_epsg() or 0) if grid.crs else 0
    left, _, _, top = grid.boundingbox.bbox
    place = (f"EPSG:{epsg}", left, top, grid.resolution.x)
    files = folder / name
    radar = placed(radar_item(f"S1-{name}", sat__relative_orbit=None), box, epsg)
    for key in ("vv", "vh"):
        radar["assets"][key]["href"] = surface_file(files / f"{key}.tif", *place, grid.shape, vv)
    optical = placed(optical_item(f"S2-{name}", s2__mgrs_tile=name), box, epsg)
    numbers = np.round(on_grid(grid, red) * 10_000 + 1000).astype(np.uint16)
    for key in ("B04", "B08"):
        optical["assets"][key]["href"] = write_file(files / f"{key}.tif", numbers, *place)
    classes = np.full(grid.shape, 4, np.uint8)
    optical["assets"]["SCL"]["href"] = write_file(files / "SCL.tif", classes, *place)
    return [radar, optical]
