"""Which images cover which pixels, by the outlines that their items state."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray


def covers(items: Iterable[Any], cube: xr.Dataset) -> xr.DataArray:
    """Return a number, from 1, for each combination of outlines that cover a pixel, (y, x).

    Where it changes, one image of a mosaic may end and another begin. Outlines are those of all
    items, of whatever date, each place once.
    """
    import shapely
    from odc.geo.geobox import GeoBox
    from pyproj import Transformer
    from rasterio.features import geometry_mask

    grid = cube.odc.geobox
    if not isinstance(grid, GeoBox) or grid.crs is None:
        raise TypeError("the cube has no grid")
    transformer = Transformer.from_crs(4326, str(grid.crs), always_xy=True)

    def to_grid(places: NDArray[Any]) -> NDArray[Any]:
        return np.column_stack(transformer.transform(*places.T))

    parts: NDArray[Any] = np.zeros(grid.shape, np.int64)
    outlines = {shapely.geometry.shape(item.geometry).wkb for item in items if item.geometry}
    for outline in sorted(outlines):
        shape = shapely.transform(shapely.from_wkb(outline), to_grid)
        outside = geometry_mask([shape], grid.shape, grid.affine)
        _, parts = np.unique(parts * 2 + outside, return_inverse=True)
        parts = parts.reshape(grid.shape)
    return xr.DataArray(parts + 1, {"y": cube["y"], "x": cube["x"]}, ("y", "x"))
