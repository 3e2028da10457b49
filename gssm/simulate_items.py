"""The catalogue side of `gssm.simulate`: STAC items of a simulated farm, without pixels.

One table (`COLLECTIONS`) says which assets a collection has, on which pixel size and
how they are encoded. `item` makes the STAC 1.0 record of an acquisition, `write_catalog`
writes records and rasters.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from gssm.errors import RequestError

if TYPE_CHECKING:
    import pystac

Files = dict[str, NDArray[Any]]  # array by asset name

NODATA = -32768.0
REFLECTANCE_SCALE, REFLECTANCE_OFFSET = 2.75e-5, -0.2  # Landsat Collection 2 Level 2, "1"
THERMAL_SCALE, THERMAL_OFFSET = 0.00341802, 149.0  # Landsat Collection 2 Level 2, K
START = datetime(2023, 6, 3, 17, 32, 10, tzinfo=UTC)
COARSEST = 60  # metres; 10, 20 and 30 m pixels nest in it
MGRS_TILE = "31UDS"


@dataclass(frozen=True)
class Asset:
    """Pixel size (m), data type and encoding (``physical = DN * scale + offset``) of a file."""

    resolution: int
    data_type: str
    nodata: float | None
    scale: float | None = None
    offset: float | None = None

    @property
    def band(self) -> dict[str, Any]:
        """The entry of ``raster:bands``: what is known of nodata, type, scale and offset."""
        nodata = int(self.nodata) if self.nodata is not None else None
        known = {"nodata": nodata, "scale": self.scale, "offset": self.offset}
        return {"data_type": self.data_type} | {k: v for k, v in known.items() if v is not None}


@dataclass(frozen=True)
class Collection:
    """Assets by name, properties that all items share, and where the projection is said."""

    assets: Mapping[str, Asset]
    properties: Mapping[str, Any]
    projection: str = "proj:epsg"


_RADAR = Asset(10, "float32", NODATA)
_S2_10, _S2_20, _S2_60 = (Asset(r, "uint16", 0) for r in (10, 20, 60))
_LANDSAT = Asset(30, "uint16", 0, REFLECTANCE_SCALE, REFLECTANCE_OFFSET)

COLLECTIONS: Mapping[str, Collection] = {
    "sentinel-1-sigma0": Collection(
        dict.fromkeys(("vv", "vh", "incidence_angle"), _RADAR),
        {
            "platform": "sentinel-1a",
            "constellation": "sentinel-1",
            "sar:instrument_mode": "IW",
            "sar:frequency_band": "C",
            "sar:polarizations": ["VV", "VH"],
            "sar:product_type": "GRD",
            "sat:orbit_state": "ascending",
        },
    ),
    "sentinel-2-l2a": Collection(
        dict.fromkeys(("B02", "B03", "B04", "B08"), _S2_10)
        | dict.fromkeys(("B05", "B06", "B07", "B8A", "B11", "B12"), _S2_20)
        | dict.fromkeys(("B01", "B09"), _S2_60)
        | {"SCL": Asset(20, "uint8", 0)},
        {"constellation": "sentinel-2", "s2:mgrs_tile": MGRS_TILE},
        projection="proj:code",
    ),
    "landsat-c2-l2": Collection(
        dict.fromkeys(("coastal", "blue", "green", "red", "nir08", "swir16", "swir22"), _LANDSAT)
        | {
            "lwir11": Asset(30, "uint16", 0, THERMAL_SCALE, THERMAL_OFFSET),
            "qa_pixel": Asset(30, "uint16", 1),
        },
        {
            "instruments": ["oli", "tirs"],
            "landsat:collection_number": "02",
            "landsat:correction": "L2SP",
        },
    ),
    "dem": Collection({"data": Asset(30, "float32", NODATA)}, {"gsd": 30}),
}

_EXTENSIONS = {
    "proj:epsg": "https://stac-extensions.github.io/projection/v1.1.0/schema.json",
    "proj:code": "https://stac-extensions.github.io/projection/v2.0.0/schema.json",
}
_RASTER_EXTENSION = "https://stac-extensions.github.io/raster/v1.1.0/schema.json"


@dataclass(frozen=True)
class Orbit:
    """A Sentinel-1 relative orbit: its day in the 12-day cycle and mid-scene angle (degree)."""

    number: int
    day: float
    incidence_angle: float


# Of one satellite over Flanders: 5 and 7 days apart in turn.
ORBITS = (Orbit(161, 0.0, 34.0), Orbit(59, 5.006, 42.0))


# The row of `_reflectance` that a Landsat asset shows; Sentinel-2 assets are named as theirs.
BAND_OF = {
    "coastal": "B01",
    "blue": "B02",
    "green": "B03",
    "red": "B04",
    "nir08": "B8A",
    "swir16": "B11",
    "swir22": "B12",
    "lwir11": "kelvin",
}
# Codes per state of the sky and surface, the last that holds wins: the classes of Sen2Cor,
# and the values of the USGS for QA_PIXEL (clear, water, shadow, cloud; confidences in bits 8-15).
CLASSES: Mapping[str, Mapping[str, int]] = {
    "SCL": {"soil": 5, "leaf": 4, "water": 6, "shadow": 3, "thin": 8, "cloud": 9},
    "qa_pixel": {"soil": 21824, "leaf": 21824, "water": 21952, "shadow": 23888}
    | dict.fromkeys(("thin", "cloud"), 22280),
}


@dataclass(frozen=True)
class View:
    """An optical acquisition: days from the radar, cloud share, Sentinel-2 baseline."""

    days: float
    cloud: float
    baseline: str = "0"


# Per radar date, in turn. The second date's nearest image is clouded, a clear one is farther.
SENTINEL2_VIEWS = (
    (View(-1.28, 0.15, "05.09"),),
    (View(0.72, 0.85, "05.09"), View(-2.28, 0.04, "05.09")),
    (View(1.72, 0.12, "02.14"),),
    (View(-1.28, 0.25, "05.09"), View(0.72, 0.10, "05.09")),
)
LANDSAT_VIEWS: tuple[tuple[View, ...], ...] = ((View(0.71, 0.10),), ())


@dataclass(frozen=True)
class Grid:
    """A north-up rectangle: upper left corner, width and height in metres of the UTM zone."""

    left: float
    top: float
    width: float
    height: float
    epsg: int

    def shape(self, resolution: int) -> tuple[int, int]:
        """Rows and columns of whole pixels that cover the rectangle."""
        return math.ceil(self.height / resolution), math.ceil(self.width / resolution)

    def transform(self, resolution: int) -> list[float]:
        """Affine coefficients of a pixel size (m), as in ``proj:transform``."""
        return [float(resolution), 0.0, self.left, 0.0, -float(resolution), self.top]

    def footprint(self) -> tuple[dict[str, Any], list[float]]:
        """GeoJSON polygon and bounding box in longitude, latitude (degree)."""
        from rasterio.warp import transform

        right, bottom = self.left + self.width, self.top - self.height
        corners = [(self.left, bottom), (right, bottom), (right, self.top), (self.left, self.top)]
        # a side of more than 10 km is bent in longitude, latitude: give it more vertices
        n = 1 + int(max(self.width, self.height) // 10_000)
        ring = [
            (x0 + (x1 - x0) * i / n, y0 + (y1 - y0) * i / n)
            for (x0, y0), (x1, y1) in zip(corners, corners[1:] + corners[:1], strict=True)
            for i in range(n)
        ]
        xs, ys = transform(f"EPSG:{self.epsg}", "EPSG:4326", *map(list, zip(*ring, strict=True)))
        coordinates = [[float(x), float(y)] for x, y in zip(xs, ys, strict=True)]
        polygon = {"type": "Polygon", "coordinates": [[*coordinates, coordinates[0]]]}
        return polygon, [min(xs), min(ys), max(xs), max(ys)]


@dataclass(frozen=True)
class Acquisition:
    """One item to be: its collection, name, UTC time and the properties that are its own."""

    collection: str
    id: str
    time: datetime
    properties: Mapping[str, Any] = field(default_factory=dict)


def item(grid: Grid, acquisition: Acquisition, root: str = ".") -> dict[str, Any]:
    """Return the STAC 1.0 item of an acquisition on a grid; hrefs start at ``root``."""
    collection = COLLECTIONS[acquisition.collection]
    polygon, bbox = grid.footprint()
    code = {"proj:epsg": grid.epsg, "proj:code": f"EPSG:{grid.epsg}"}[collection.projection]
    folder = f"{root}/{acquisition.collection}/{acquisition.id}"
    return {
        "type": "Feature",
        "stac_version": "1.0.0",
        "stac_extensions": [_EXTENSIONS[collection.projection], _RASTER_EXTENSION],
        "id": acquisition.id,
        "collection": acquisition.collection,
        "geometry": polygon,
        "bbox": bbox,
        "properties": {
            "datetime": acquisition.time.strftime("%Y-%m-%dT%H:%M:%SZ"),
            collection.projection: code,
            **collection.properties,
            **acquisition.properties,
        },
        "links": [],
        "assets": {
            name: {
                "href": f"{folder}/{name}.tif",
                "type": "image/tiff; application=geotiff; profile=cloud-optimized",
                "roles": ["data"],
                "proj:shape": list(grid.shape(asset.resolution)),
                "proj:transform": grid.transform(asset.resolution),
                "raster:bands": [asset.band],
            }
            for name, asset in collection.assets.items()
        },
    }


def days_since_start(time: datetime) -> float:
    """Return the days from `START` to a time."""
    return (time - START) / timedelta(days=1)


def passes(dates: int) -> list[tuple[datetime, Orbit]]:
    """Return the radar acquisitions: the relative orbits in turn, each every 12 days."""
    turns = [(k // len(ORBITS), ORBITS[k % len(ORBITS)]) for k in range(dates)]
    times = [START + timedelta(days=12 * n + orbit.day) for n, orbit in turns]
    return [
        (time.replace(microsecond=0), orbit) for time, (_, orbit) in zip(times, turns, strict=True)
    ]


def sentinel1(time: datetime, orbit: Orbit) -> Acquisition:
    """Return a Sentinel-1 acquisition from a relative orbit."""
    return Acquisition(
        "sentinel-1-sigma0",
        f"S1A_{time:%Y%m%dT%H%M%S}",
        time,
        {
            "sat:relative_orbit": orbit.number,
            "view:incidence_angle": orbit.incidence_angle,
        },
    )


def sentinel2(time: datetime, baseline: str, cloud_cover: float) -> Acquisition:
    """Return a Sentinel-2 L2A acquisition; cloud cover in percent."""
    return Acquisition(
        "sentinel-2-l2a",
        f"S2A_{MGRS_TILE}_{time:%Y%m%dT%H%M%S}",
        time,
        {
            "platform": "sentinel-2a",
            "s2:processing_baseline": baseline,
            "eo:cloud_cover": round(cloud_cover, 2),
        },
    )


def landsat(time: datetime, satellite: int, cloud_cover: float) -> Acquisition:
    """Return a Landsat Level 2 acquisition of satellite 8 or 9; cloud cover in percent."""
    return Acquisition(
        "landsat-c2-l2",
        f"LC{satellite:02d}_{time:%Y%m%d}",
        time,
        {"platform": f"landsat-{satellite}", "eo:cloud_cover": round(cloud_cover, 2)},
    )


def elevation() -> Acquisition:
    """Return the elevation model, which has a nominal date."""
    return Acquisition("dem", f"dem_{MGRS_TILE}", datetime(2010, 1, 1, tzinfo=UTC))


def write_catalog(
    folder: Path, grid: Grid, observations: Iterable[tuple[Acquisition, Files]]
) -> None:
    """Write the rasters of each acquisition, then an ItemCollection per collection.

    Arrays start at the upper left corner of the grid; what lies beyond it is cut off.
    """
    features: dict[str, list[dict[str, Any]]] = {name: [] for name in COLLECTIONS}
    for acquisition, files in observations:
        place = folder / acquisition.collection / acquisition.id
        place.mkdir(parents=True, exist_ok=True)
        for name, asset in COLLECTIONS[acquisition.collection].assets.items():
            _write_cog(place / f"{name}.tif", files[name], grid, asset)
        features[acquisition.collection].append(item(grid, acquisition))
    for name, items in features.items():
        record = {"type": "FeatureCollection", "features": items}
        (folder / f"{name}.json").write_text(json.dumps(record, indent=1), encoding="utf-8")


def _write_cog(path: Path, values: NDArray[Any], grid: Grid, asset: Asset) -> None:
    """Write one band, tiled, with overviews: a cloud-optimised GeoTIFF."""
    import rasterio

    rows, columns = grid.shape(asset.resolution)
    profile = {
        "driver": "COG",
        "count": 1,
        "height": rows,
        "width": columns,
        "dtype": asset.data_type,
        "nodata": asset.nodata,
        "crs": f"EPSG:{grid.epsg}",
        "transform": rasterio.Affine(*grid.transform(asset.resolution)),
        "compress": "deflate",
        "predictor": "yes",
        "blocksize": 128,
        "overview_resampling": "nearest",
    }
    with rasterio.open(path, "w", **profile) as file:
        file.write(np.ascontiguousarray(values[:rows, :columns]), 1)


def simulate_items(
    *, bbox: tuple[float, float, float, float], start: str, days: int = 30, epsg: int = 32631
) -> pystac.ItemCollection:
    """Return items of the simulated layout over a bounding box; nothing is written.

    For tests of laziness and for benchmarks of planning: the pixels do not exist, and
    reading one fails. Sentinel-1 comes every 3 days (two relative orbits in turn),
    Sentinel-2 every 2 or 3 days in turn, Landsat every 8 days, elevation once.

    Parameters
    ----------
    bbox
        West, south, east, north (degree); each item covers all of it.
    start
        First day, ``"2023-06-01"`` (UTC).
    days
        Number of days.
    epsg
        UTM zone of the pixel grids.

    Raises
    ------
    RequestError
        The box is empty, the start is not an ISO date or there is no day.
    """
    import pystac
    from rasterio.warp import transform_bounds

    west, south, east, north = bbox
    if not (west < east and south < north):
        raise RequestError(f"bbox {bbox} is empty; give (west, south, east, north) in degrees.")
    if days < 1:
        raise RequestError(f"days={days} holds no acquisition; give days of 1 or more.")
    try:
        first = datetime.fromisoformat(start).replace(tzinfo=UTC)
    except ValueError as error:
        raise RequestError(f"start={start!r} is no ISO date; write '2023-06-01'.") from error
    left, bottom, right, top = transform_bounds("EPSG:4326", f"EPSG:{epsg}", *bbox)
    left, bottom = (COARSEST * (math.floor(v / COARSEST) - 1) for v in (left, bottom))
    right, top = (COARSEST * (math.ceil(v / COARSEST) + 1) for v in (right, top))
    grid = Grid(float(left), float(top), float(right - left), float(top - bottom), epsg)

    def at(day: int, hour: float) -> datetime:
        return first + timedelta(days=day, hours=hour)

    acquisitions = [
        *(sentinel1(at(day, 17.6), ORBITS[i % 2]) for i, day in enumerate(range(0, days, 3))),
        *(sentinel2(at(5 * i // 2, 10.8), "05.09", 20.0) for i in range(days) if 5 * i // 2 < days),
        *(landsat(at(day, 10.6), 8 + i % 2, 20.0) for i, day in enumerate(range(0, days, 8))),
        elevation(),
    ]
    return pystac.ItemCollection(
        [pystac.Item.from_dict(item(grid, a, "/simulated"), migrate=False) for a in acquisitions],
        clone_items=False,
    )
