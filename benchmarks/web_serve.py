"""The server of the load test: as `gssm serve`, but one client may ask as much as all users.

    python benchmarks/web_serve.py ARCHIVE --warp reader

Prints its port. All users come from one address, and the limits are for each address.
"""

from __future__ import annotations

import argparse
import functools
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from affine import Affine
from numpy.typing import NDArray

from gssm import web_commands
from gssm.request import Bbox
from gssm.web import tiles, warping
from gssm.web.settings import Limits, Settings
from gssm.web.windows import Window

HOST = "127.0.0.1"
EARTH = 20_037_508.342789244  # metres from the middle of Web Mercator to its edge


@functools.cache
def _crs(epsg: int) -> Any:
    from rasterio.crs import CRS

    return CRS.from_epsg(epsg)


def by_reader(window: Window, bounds: Bbox, size: int, _: Bbox) -> NDArray[np.uint8]:
    """Warp as `gssm.web.warping.on_tile`, by rio-tiler's reader.

    Without coordinates of pixels, from the geotransform alone: with them rioxarray reads their
    ends 23 times a tile, which is half of its time.
    """
    import rioxarray  # noqa: F401
    import xarray as xr
    from rio_tiler.io.xarray import XarrayReader

    values = window.values
    transform = " ".join(str(number) for number in window.transform.to_gdal())
    place = {"crs_wkt": _crs(window.epsg).to_wkt(), "GeoTransform": transform}
    array = xr.DataArray(
        values,
        {"spatial_ref": ((), 0, place)},
        ("band", "y", "x")[-values.ndim :],
        attrs={"_FillValue": 0},
    )
    left, _, right, top = bounds
    side = right - left
    column, row = round((left + EARTH) / side), round((EARTH - top) / side)
    with XarrayReader(array) as reader:
        image = reader.tile(column, row, round(np.log2(2 * EARTH / side)), tilesize=size)
    found: NDArray[np.uint8] = image.array.filled(0)
    return found if values.ndim == 3 else found[0]


def by_gdal(window: Window, bounds: Bbox, size: int, _: Bbox) -> NDArray[np.uint8]:
    """Warp as `gssm.web.warping.on_tile`, by GDAL alone: what the reader ends in."""
    from rasterio.warp import Resampling, reproject

    left, _, right, top = bounds
    step = (right - left) / size
    image = np.zeros((*window.values.shape[:-2], size, size), np.uint8)
    reproject(
        window.values,
        image,
        src_transform=window.transform,
        src_crs=_crs(window.epsg),
        src_nodata=0,
        dst_transform=Affine(step, 0, left, 0, -step, top),
        dst_crs=_crs(warping.MERCATOR),
        dst_nodata=0,
        resampling=Resampling.nearest,
    )
    return image


WARPS = {"own": warping.on_tile, "reader": by_reader, "gdal": by_gdal}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("archive")
    parser.add_argument("--warp", choices=WARPS, default="own")
    given = parser.parse_args()
    tiles.on_tile = WARPS[given.warp]
    with tempfile.TemporaryDirectory() as folder, web_commands._listen(HOST, 0) as listening:
        settings = Settings(
            {"archive": given.archive},
            data=Path(folder),
            limits=Limits(requests_per_second=1e6, burst=1_000_000, jobs_running=0),
        )
        web_commands._run(
            settings, listening, lambda: print(listening.getsockname()[1], flush=True)
        )


if __name__ == "__main__":
    sys.exit(main())
