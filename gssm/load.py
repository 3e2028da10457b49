"""Read pixels: layers of rasters -> lazy arrays on one grid. The only reader of items.

One pixel of the cube can come from any of several images. A `Layer` lists them in
order of preference, and one reader per layer, given to stackstac through its
``reader=`` seam, opens them in that order when a chunk is computed: an image is
opened only if some pixel of the chunk still needs it, so a cloudy scene costs its
mask and nothing else.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

import dask.array as da
import numpy as np
import stackstac
from odc.geo.geobox import GeoBox
from rasterio.enums import Resampling

from gssm import read_cache, schema
from gssm.addresses import reached
from gssm.catalogs import Bbox
from gssm.grid import grid_epsg
from gssm.layers import Layer
from gssm.reader import LayerReader


def read_layers(
    layers: Sequence[Layer],
    grid: GeoBox,
    chunks: tuple[int, int],
    resampling: Resampling = Resampling.bilinear,
) -> tuple[da.Array, da.Array]:
    """Read one layer per time step, lazily.

    Parameters
    ----------
    layers
        One per time step, all of one quantity.
    grid
        Projected grid of the result.
    chunks
        Rows and columns of a chunk; each time step is a chunk of its own.
    resampling
        For values; masks are always nearest.

    Returns
    -------
    values, failed
        ``(time, y, x)``: float32 with NaN where there is no data (uint8 categories
        for masks), and bool, True where an image that should fill the pixel could
        not be read.
    """
    read_cache.settings()  # a mistake in its variables is told before anything is read
    epsg, bounds = grid_epsg(grid), grid.boundingbox.bbox
    is_mask = layers[0].quantity == "mask"
    dtype = np.dtype(np.uint8 if is_mask else np.float32)
    fill = np.uint8(schema.MASK_MISSING) if is_mask else np.float32(np.nan)
    raw = stackstac.stack(
        [_plain_item(layer, index, epsg, bounds) for index, layer in enumerate(layers)],
        assets=["layer"],
        epsg=epsg,
        resolution=grid.resolution.x,
        bounds=bounds,
        snap_bounds=False,
        chunksize=(1, 1, *chunks),
        dtype=dtype,
        fill_value=fill,
        rescale=False,
        resampling=resampling,
        reader=partial(LayerReader, networks=reached()),
        xy_coords=False,
        properties=False,
        band_coords=False,
        sortby_date=False,
    ).data
    meta = np.empty((0, 0, 0), dtype)
    values = da.map_blocks(_readable, raw, drop_axis=1, dtype=dtype, meta=meta)
    failed = da.map_blocks(_unreadable, raw, drop_axis=1, dtype=bool, meta=meta.astype(bool))
    return values, failed


def any_failed(failed: Sequence[da.Array], template: da.Array) -> da.Array:
    """Join what failed in any layer, in one task per chunk of the template."""
    arrays = failed or [da.zeros_like(template, dtype=bool)]
    joined: da.Array = da.map_blocks(_any, *arrays, dtype=bool, meta=np.empty((0, 0, 0), bool))
    return joined


def _any(*blocks: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    return np.asarray(np.logical_or.reduce(np.broadcast_arrays(*blocks)))


def _plain_item(layer: Layer, index: int, epsg: int, bounds: Bbox) -> dict[str, Any]:
    """Wrap a layer as the item that stackstac expects: one asset that fills the grid."""
    return {
        "type": "Feature",
        "stac_version": "1.0.0",
        "id": str(index),
        "properties": {
            "datetime": f"2000-01-01T00:00:{index % 60:02d}Z",
            "proj:epsg": epsg,
            "proj:bbox": list(bounds),
        },
        "assets": {"layer": {"href": layer}},
    }


def _readable(raw: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    band = raw[:, 0]
    if band.dtype == np.uint8 or not np.isneginf(band).any():
        return band
    return np.where(np.isneginf(band), np.float32(np.nan), band)


def _unreadable(raw: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    band = raw[:, 0]
    failed = band == schema.MASK_UNREADABLE if band.dtype == np.uint8 else np.isneginf(band)
    # The usual case, nothing failed, costs one byte instead of one per pixel.
    return failed if failed.any() else np.broadcast_to(np.False_, band.shape)
