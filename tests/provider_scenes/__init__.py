"""One piece of ground as every provider would serve it: `ground`, and the sensors over it.

Tests import from here.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from provider_scenes.ground import (
    DATES,
    INCIDENCE_ANGLE,
    LANDSAT,
    SENTINEL2,
    Item,
    copernicus_dem,
    field_means,
    ground_bbox,
    ground_grid,
    true_means,
    write_folder,
)
from provider_scenes.landsat import landsat_level1, planetary_computer_landsat, usgs_landsat
from provider_scenes.radar import EARTH_SEARCH_GRD, sentinel1_grd, sentinel1_rtc, sigma0
from provider_scenes.sentinel2 import (
    cdse_sentinel2,
    earth_search_collection1,
    earth_search_sentinel2,
    planetary_computer_sentinel2,
    sentinel2_l1c,
)

__all__ = [
    "DATES",
    "EARTH_SEARCH_GRD",
    "INCIDENCE_ANGLE",
    "LANDSAT",
    "LANDSAT_PROVIDERS",
    "LEVEL1_PROVIDERS",
    "RADARS",
    "SENTINEL2",
    "SENTINEL2_PROVIDERS",
    "Provider",
    "earth_search_sentinel2",
    "field_means",
    "ground_bbox",
    "ground_grid",
    "sentinel1_grd",
    "sigma0",
    "true_means",
    "write_folder",
    "write_scene",
]

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
