"""Read pixels: layers of rasters -> lazy arrays on one grid. The only reader of items.

One pixel of the cube can come from any of several images. A `Layer` lists them in
order of preference, and one reader per layer, given to stackstac through its
``reader=`` seam, opens them in that order when a chunk is computed: an image is
opened only if some pixel of the chunk still needs it, so a cloudy scene costs its
mask and nothing else.
"""

from __future__ import annotations

import math
import os
import sys
import threading
import time
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import cachetools
import dask.array as da
import numpy as np
import rasterio
import stackstac
from odc.geo.geobox import GeoBox
from rasterio._err import CPLE_BaseError
from rasterio.enums import Resampling
from rasterio.errors import CRSError, RasterioError, RasterioIOError
from rasterio.vrt import WarpedVRT
from rasterio.warp import transform_bounds
from rasterio.windows import Window, from_bounds
from rasterio.windows import bounds as bounds_of_window
from stackstac.raster_spec import RasterSpec

from gssm import schema
from gssm.catalogs import MASKS, Bbox, Raster, Role
from gssm.errors import GssmWarning
from gssm.grid import geographic_bounds, grid_epsg, intersects
from gssm.sign import signed

FloatArray = np.ndarray[Any, np.dtype[np.float32]]
ByteArray = np.ndarray[Any, np.dtype[np.uint8]]
IndexArray = np.ndarray[Any, np.dtype[np.uint16]]
Quantity = Literal["value", "age", "mask"]

# Marks a pixel whose image could not be read, until `read_layers` turns it into NaN
# and `read_failed`: NaN alone could not be told from no data.
UNREADABLE = np.float32(-np.inf)
# Each with GDAL's own retries inside; the second with a fresh signature and cache.
REMOTE_ATTEMPTS = 2
# Pixels of error that GDAL may make to project faster; more would depend on the chunks.
# (With none at all, rasterio 1.4's WarpedVRT cannot be opened.)
TOLERANCE = 0.001
NO_SOURCE = 65535

# What rasterio raises for a file that cannot be read; GDAL's own errors are not all wrapped.
READ_ERRORS = (RasterioError, CRSError, CPLE_BaseError, OSError)

# Bounded waits and retries, no directory listings; a file is read as it is now.
GDAL_OPTIONS: dict[str, Any] = {
    "GDAL_DISABLE_READDIR_ON_OPEN": "EMPTY_DIR",
    "GDAL_HTTP_MAX_RETRY": 2,
    "GDAL_HTTP_RETRY_DELAY": 1,
    "GDAL_HTTP_TIMEOUT": 60,
    "GDAL_HTTP_CONNECTTIMEOUT": 20,
    "GDAL_HTTP_LOW_SPEED_TIME": 30,
    "GDAL_HTTP_LOW_SPEED_LIMIT": 1,
    "GDAL_HTTP_MERGE_CONSECUTIVE_RANGES": True,
    "VSI_CACHE": True,
}


@dataclass(frozen=True)
class Source:
    """One image that can fill a pixel: its file, its mask and its distance in time.

    ``footprint`` in degrees; ``age`` in days, image minus radar acquisition.
    """

    item: str
    raster: Raster
    footprint: Bbox
    age: float = 0.0
    mask: Raster | None = None
    role: Role = "sentinel1"


@dataclass(frozen=True)
class Layer:
    """What one variable of one acquisition is made of: images in order of preference.

    Without masks every pixel takes the first image that has a value there; with
    masks, the first whose mask shows the ground. ``quantity`` says what is read:
    the value, the age of the image chosen, or the category of its mask.
    """

    sources: tuple[Source, ...]
    quantity: Quantity = "value"


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
        reader=LayerReader,
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


class LayerReader:
    """Reads a `Layer`, window by window, by stackstac's Reader protocol.

    Thread-safe: every thread opens files of its own. Pickles as its address.
    """

    def __init__(
        self,
        *,
        url: Layer,
        spec: RasterSpec,
        resampling: Resampling,
        dtype: np.dtype[Any],
        fill_value: float,
        scale_offset: tuple[float, float] = (1, 0),
        gdal_env: Any = None,
        errors_as_nodata: tuple[Exception, ...] = (),
    ) -> None:
        self.layer = url
        self.spec = spec
        self.resampling = resampling
        self.dtype = dtype
        self.fill_value = fill_value
        self._open = threading.local()

    def read(self, window: Window, **_: Any) -> np.ndarray[Any, Any]:
        """Return the window ``(y, x)`` of the layer in its dtype."""
        sources = self.layer.sources
        masked = self.layer.quantity != "value" or any(s.mask is not None for s in sources)
        if not masked:
            return self._first_valid(window)
        chosen, category = self._choose(window)
        if self.layer.quantity == "mask":
            return category
        result = np.full(chosen.shape, np.nan, np.float32)
        if self.layer.quantity == "value":
            result[category == schema.MASK_UNREADABLE] = UNREADABLE
        for index in np.unique(chosen[chosen != NO_SOURCE]):
            here = chosen == index
            source = sources[index]
            if self.layer.quantity == "age":
                result[here] = source.age
            elif source.raster.href:
                values = self._read_source(source, window)
                result[here] = UNREADABLE if values is None else values[here]
        return result

    def _first_valid(self, window: Window) -> FloatArray:
        result = np.full((window.height, window.width), np.nan, np.float32)
        some_failed = False
        for source in self.layer.sources:
            empty = np.isnan(result)
            if not empty.any():
                break
            if not overlaps(source.footprint, self.spec, window):
                continue
            values = self._read_source(source, window)
            if values is None:
                some_failed = True
            else:
                result[empty] = values[empty]
        if some_failed:
            result[np.isnan(result)] = UNREADABLE
        return result

    def _choose(self, window: Window) -> tuple[IndexArray, ByteArray]:
        key = (
            tuple((s.mask, s.age, _version(s.mask)) for s in self.layer.sources),
            (self.spec.epsg, self.spec.bounds, self.spec.resolutions_xy),
            window.flatten(),
        )
        return _choice(key, self, window)

    def _read_source(self, source: Source, window: Window) -> FloatArray | None:
        raster = source.raster
        values = self._read_raster(source.item, raster, window, self.resampling, np.nan)
        if values is None:
            return None
        values = values.astype(np.float32, copy=False)
        if raster.scale != 1:
            values = values * np.float32(raster.scale)
        if raster.offset != 0:
            values = values + np.float32(raster.offset)
        return values if raster.minimum is None else np.maximum(values, np.float32(raster.minimum))

    def _read_raster(
        self, item: str, raster: Raster, window: Window, resampling: Resampling, fill: float
    ) -> np.ndarray[Any, Any] | None:
        """Read and warp a window; None, with a warning that names the item, if it fails."""
        remote = raster.href.startswith(("http:", "https:", "s3:"))
        attempts = REMOTE_ATTEMPTS if remote else 1
        for attempt in range(attempts):
            # After a failure the cache of remote blocks may hold the failure itself.
            fresh = {"CPL_VSIL_CURL_NON_CACHED": "/vsicurl/"} if attempt else {}
            try:
                with rasterio.Env(**GDAL_OPTIONS, **fresh):
                    dataset = self._dataset(raster)
                    if np.isnan(fill) and needs_masking(raster, dataset.nodata):
                        return warp_masked(dataset, raster, self.spec, window, resampling)
                    values: np.ndarray[Any, Any] = self._warped(raster, resampling, fill).read(
                        1, window=window
                    )
                    return values
            except READ_ERRORS as error:
                self._forget(raster)
                cause = str(error).splitlines()[0] if str(error) else type(error).__name__
                if attempt + 1 < attempts:
                    time.sleep(2.0**attempt)
        _warn(
            f"item {item!r} is skipped where {raster.href} could not be read ({cause}); "
            "its pixels are flagged read_failed."
        )
        return None

    def _dataset(self, raster: Raster) -> rasterio.DatasetReader:
        opened: dict[str, Any] = self._open.__dict__
        key = f"dataset {raster.href}"
        if key not in opened:
            dataset = rasterio.open(signed(raster.href), sharing=False)
            if dataset.crs is None or dataset.transform.is_identity:
                raise RasterioIOError("it has no CRS or no geotransform")
            if dataset.count != 1:
                raise RasterioIOError(f"it has {dataset.count} bands where one is due")
            opened[key] = dataset
        return opened[key]

    def _warped(self, raster: Raster, resampling: Resampling, fill: float) -> WarpedVRT:
        opened: dict[str, Any] = self._open.__dict__
        key = f"warped {raster.href}"
        if key not in opened:
            dataset = self._dataset(raster)
            is_class = resampling == Resampling.nearest
            opened[key] = WarpedVRT(
                dataset,
                resampling=resampling,
                # What the file says of itself goes before what its collection says.
                src_nodata=raster.nodata if dataset.nodata is None else dataset.nodata,
                nodata=fill,
                # Warping into float with NaN outside keeps GDAL from nudging valid
                # values that happen to equal an integer nodata value.
                working_dtype=None if is_class else "float32",
                dtype=None if is_class else "float32",
                tolerance=TOLERANCE,
                **self.spec.vrt_params,
            )
        return opened[key]

    def _forget(self, raster: Raster) -> None:
        for kind in ("warped", "dataset"):
            self._open.__dict__.pop(f"{kind} {raster.href}", None)

    def close(self) -> None:
        """Drop the files of every thread."""
        self._open = threading.local()

    def __getstate__(self) -> dict[str, Any]:
        return {
            "url": self.layer,
            "spec": self.spec,
            "resampling": self.resampling,
            "dtype": self.dtype,
            "fill_value": self.fill_value,
        }

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__init__(**state)  # type: ignore[misc]


def needs_masking(raster: Raster, nodata: float | None) -> bool:
    """Tell whether one nodata value is not enough to know the gaps of a file."""
    differ = None not in (raster.nodata, nodata) and raster.nodata != nodata
    return raster.positive or differ


def warp_masked(
    dataset: rasterio.DatasetReader,
    raster: Raster,
    spec: RasterSpec,
    window: Window,
    resampling: Resampling,
) -> FloatArray:
    """Warp a window of a raster whose gaps one nodata value does not tell.

    They are masked before resampling. Radar products fill their borders with zeros
    whatever nodata value they state, and an average with a zero in it looks like dry
    soil.
    """
    part = source_window(dataset, spec, window)
    if part is None:
        return np.full((window.height, window.width), np.nan, np.float32)
    values = dataset.read(1, window=part, out_dtype=np.float32)
    nodata = [n for n in (raster.nodata, dataset.nodata) if n is not None]
    values[np.isin(values, np.float32(nodata))] = np.nan
    if raster.positive:
        values[~(values > 0)] = np.nan
    profile = {
        "driver": "GTiff",
        "count": 1,
        "dtype": "float32",
        "nodata": np.nan,
        "crs": dataset.crs,
        "transform": dataset.window_transform(part),
    }
    with rasterio.MemoryFile() as memory:
        with memory.open(height=part.height, width=part.width, **profile) as masked:
            masked.write(values, 1)
        with (
            memory.open() as masked,
            WarpedVRT(
                masked, resampling=resampling, tolerance=TOLERANCE, **spec.vrt_params
            ) as warped,
        ):
            result: FloatArray = warped.read(1, window=window)
            return result


def source_window(
    dataset: rasterio.DatasetReader, spec: RasterSpec, window: Window
) -> Window | None:
    """Pixels of a file under a window of the grid, two to spare for resampling, or None."""
    box = transform_bounds(
        f"EPSG:{spec.epsg}", dataset.crs, *bounds_of_window(window, spec.transform)
    )
    part = from_bounds(*box, transform=dataset.transform)
    left, top = max(0, math.floor(part.col_off) - 2), max(0, math.floor(part.row_off) - 2)
    right = min(dataset.width, math.ceil(part.col_off + part.width) + 2)
    bottom = min(dataset.height, math.ceil(part.row_off + part.height) + 2)
    if left >= right or top >= bottom:
        return None
    return Window(left, top, right - left, bottom - top)


def _warn(message: str) -> None:
    """Warn here and, on a worker of a cluster, in the user's session too."""
    worker = sys.modules.get("distributed.worker")
    warn = worker.warn if worker else warnings.warn
    warn(message, GssmWarning)


# The bands of a chunk share the choice of image: without this every band would read
# the masks again. Entries live for a minute at most, 128 MB in all.
_CHOICES: cachetools.TTLCache[Any, tuple[IndexArray, ByteArray]] = cachetools.TTLCache(
    maxsize=128e6, ttl=60, getsizeof=lambda choice: choice[0].nbytes + choice[1].nbytes
)


def _version(mask: Raster | None) -> float:
    """Tell a local file that was written anew from the one whose choice is cached."""
    try:
        return os.stat(mask.href).st_mtime if mask else 0.0
    except OSError:
        return 0.0  # remote, or gone: reading it will tell


@cachetools.cached(_CHOICES, key=lambda key, reader, window: key, condition=threading.Condition())
def _choice(key: Any, reader: LayerReader, window: Window) -> tuple[IndexArray, ByteArray]:
    """Per pixel, the index of the first image whose mask shows the ground, and its category."""
    shape = (window.height, window.width)
    chosen = np.full(shape, NO_SOURCE, np.uint16)
    category = np.full(shape, schema.MASK_MISSING, np.uint8)
    for index, source in enumerate(reader.layer.sources):
        open_pixels = chosen == NO_SOURCE
        if not open_pixels.any():
            break
        if not overlaps(source.footprint, reader.spec, window):
            continue
        rule, mask = MASKS[source.role], source.mask
        assert mask is not None
        classes = reader._read_raster(source.item, mask, window, Resampling.nearest, rule.fill)
        if classes is None:
            # No farther image takes over: another band may find the mask readable again,
            # and a pixel would be put together from two images.
            category[open_pixels] = schema.MASK_UNREADABLE
            break
        seen = rule.classify(classes)
        shows_ground = open_pixels & (seen <= schema.MASK_SNOW)
        chosen[shows_ground] = index
        category[shows_ground] = seen[shows_ground]
        clouded = open_pixels & (seen == schema.MASK_CLOUD) & (category == schema.MASK_MISSING)
        category[clouded] = schema.MASK_CLOUD
    return chosen, category


def overlaps(footprint: Bbox, spec: RasterSpec, window: Window) -> bool:
    """Tell whether a footprint in degrees can touch a window of the grid."""
    box = geographic_bounds(spec.epsg, bounds_of_window(window, spec.transform))
    return intersects(footprint, box)
