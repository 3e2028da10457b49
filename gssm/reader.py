"""Reads the pixels of a layer, window by window: stackstac's Reader, nearest clear image first."""

from __future__ import annotations

import os
import sys
import threading
import warnings
from collections.abc import Callable
from functools import lru_cache
from typing import Any, NamedTuple

import cachetools
import numpy as np
import rasterio
from rasterio._err import CPLE_BaseError
from rasterio.enums import Resampling
from rasterio.errors import CRSError, RasterioError, RasterioIOError
from rasterio.vrt import WarpedVRT
from rasterio.windows import Window
from rasterio.windows import bounds as bounds_of_window
from stackstac.raster_spec import RasterSpec

from gssm import network, read_cache, schema, sign
from gssm.addresses import Network, file_version, reach, reached
from gssm.catalogs import MASKS, Bbox, Kind
from gssm.describe import Raster
from gssm.errors import GssmWarning
from gssm.grd import read_grd, read_grd_angle
from gssm.grid import geographic_bounds, intersects
from gssm.layers import Layer, Source
from gssm.network import NetworkError
from gssm.opened import Opened, forget, opened
from gssm.toa import read_landsat_toa
from gssm.warp import TOLERANCE, is_parallel, needs_masking, read_parallel, scales, warp_masked

FloatArray = np.ndarray[Any, np.dtype[np.float32]]
ByteArray = np.ndarray[Any, np.dtype[np.uint8]]
IndexArray = np.ndarray[Any, np.dtype[np.uint16]]


class Choice(NamedTuple):
    """Per pixel, the index of its image and the category of its mask; and all indices."""

    chosen: IndexArray
    category: ByteArray
    used: tuple[int, ...]


# Marks a pixel whose image could not be read, until `gssm.load` turns it into NaN and
# `read_failed`: NaN alone could not be told from no data.
UNREADABLE = np.float32(-np.inf)
NO_SOURCE = 65535
# Reflectance: the lowest that an atmospheric correction leaves over dark ground is -0.1.
BELOW_NOISE = 0.2

# What rasterio raises for a file that cannot be read; GDAL's own errors are not all wrapped.
READ_ERRORS = (RasterioError, CRSError, CPLE_BaseError, OSError)

# Bounded waits, no directory listings; a file is read as it is now, by one thread: Dask owns
# the cores. Retries are ours (`gssm.network`), which look at what the server answered.
GDAL_OPTIONS: dict[str, Any] = {
    "GDAL_DISABLE_READDIR_ON_OPEN": "EMPTY_DIR",
    "GDAL_HTTP_MAX_RETRY": 0,
    "GDAL_HTTP_TIMEOUT": 60,
    "GDAL_HTTP_CONNECTTIMEOUT": 20,
    "GDAL_HTTP_LOW_SPEED_TIME": 30,
    "GDAL_HTTP_LOW_SPEED_LIMIT": 1,
    "GDAL_HTTP_MERGE_CONSECUTIVE_RANGES": True,
    "VSI_CACHE": True,
    "GDAL_NUM_THREADS": 1,
}
# MB of blocks that GDAL keeps of files that stay open. By itself it takes 5 % of the machine
# for each process, and a chunk is read once.
if "GDAL_CACHEMAX" not in os.environ:
    GDAL_OPTIONS["GDAL_CACHEMAX"] = 64


# What is no ordinary map is read by functions of its own.
KINDS: dict[Kind, Callable[[Raster, RasterSpec, Window, Resampling], FloatArray]] = {
    "grd": read_grd,
    "grd_angle": read_grd_angle,
    "landsat_toa": read_landsat_toa,
}


class LayerReader:
    """Reads a `Layer`, window by window, by stackstac's Reader protocol.

    Thread-safe: every thread opens files of its own (`gssm.opened`). Pickles as its address.
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
        networks: frozenset[Network] = frozenset(),
    ) -> None:
        self.layer = url
        self.spec = spec
        self.resampling = resampling
        self.dtype = dtype
        self.fill_value = fill_value
        # A worker reaches where the process that built the graph did.
        self.networks = networks or reached()

    def read(self, window: Window, **_: Any) -> np.ndarray[Any, Any]:
        """Return the window ``(y, x)`` of the layer in its dtype."""
        reach(self.networks)
        sources = self.layer.sources
        masked = self.layer.quantity != "value" or any(s.mask is not None for s in sources)
        if not masked:
            return self._first_valid(window)
        chosen, category, used = self._choose(window)
        if self.layer.quantity == "mask":
            return category
        result = np.full(chosen.shape, np.nan, np.float32)
        for index in used:
            source = sources[index]
            values: FloatArray | np.float32 | None = np.float32(source.age)
            if self.layer.quantity == "value":
                if not source.raster.href:
                    continue
                values = self._read_source(source, window)
            np.copyto(result, UNREADABLE if values is None else values, where=chosen == index)
        if self.layer.quantity == "value":
            np.copyto(result, UNREADABLE, where=category == schema.MASK_UNREADABLE)
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
                np.copyto(result, values, where=empty)
        if some_failed:
            result[np.isnan(result)] = UNREADABLE
        return result

    def _choose(self, window: Window) -> Choice:
        key = (
            tuple(
                (s.mask, s.age, s.mask and file_version(s.mask.href)) for s in self.layer.sources
            ),
            self._grid,
            window.flatten(),
        )
        return _choice(key, self, window)

    def _read_source(self, source: Source, window: Window) -> FloatArray | None:
        raster = source.raster
        values = self._read_raster(source.item, raster, window, self.resampling, np.nan)
        if values is None:
            return None
        values = values.astype(np.float32, copy=False)  # of this call alone: changed in place
        if raster.scale != 1:
            values *= np.float32(raster.scale)
        if raster.offset != 0:
            values += np.float32(raster.offset)
        if raster.minimum is not None:
            # What lies further below than any noise is a gap that the file does not declare.
            values[values < raster.minimum - BELOW_NOISE] = np.nan
            np.maximum(values, np.float32(raster.minimum), out=values)
        return values

    def _read_raster(
        self, item: str, raster: Raster, window: Window, resampling: Resampling, fill: float
    ) -> np.ndarray[Any, Any] | None:
        """Read and warp a window; None, with a warning that names the item, if it fails."""
        # What was kept needs no server: no place among its reads, no signature, no answer.
        entry = read_cache.entry_of(raster, self._grid, window, resampling, fill)
        kept = read_cache.find(entry)
        if kept is not None:
            return kept
        href, attempt = raster.href, 0
        while True:
            # After a failure the cache of remote blocks may hold the failure itself.
            fresh = {"CPL_VSIL_CURL_NON_CACHED": "/vsicurl/"} if attempt else {}
            try:
                network.refuse_silent(href)
                with network.slot(href), rasterio.Env(**GDAL_OPTIONS, **fresh):
                    values = self._attempt(raster, window, resampling, fill)
            except READ_ERRORS as error:
                forget(href)
                failure = _diagnosed(href, error)
            else:
                network.note(href, None)
                read_cache.keep(entry, values, _warn)
                return values
            if not isinstance(failure, NetworkError) or failure.is_final(attempt):
                break
            if failure.kind in ("unauthorized", "forbidden"):
                sign.renew(failure.address or href)
            network.pause(failure, attempt)
            attempt += 1
        missing = getattr(failure, "address", "") or href
        network.note(missing, failure)
        _warn(
            f"item {item!r} is skipped where {network.redacted(missing)} could not be read "
            f"({_one_line(failure)}); its pixels are flagged read_failed: {_fix(failure)}."
        )
        return None

    def _attempt(
        self, raster: Raster, window: Window, resampling: Resampling, fill: float
    ) -> np.ndarray[Any, Any]:
        if raster.kind != "raster":
            return KINDS[raster.kind](raster, self.spec, window, resampling)
        file = opened(raster.href)
        dataset = file.dataset
        if resampling == Resampling.nearest:
            _check_classes(dataset)
        if self._is_parallel(file, resampling):
            return read_parallel(dataset, raster, self.spec, window, resampling, fill)
        if np.isnan(fill) and needs_masking(raster, dataset.nodata):
            return warp_masked(dataset, raster, self.spec, window, resampling)
        values: np.ndarray[Any, Any] = self._warped(file, raster, resampling, fill).read(
            1, window=window
        )
        return values

    def _is_parallel(self, file: Opened, resampling: Resampling) -> bool:
        key = ("parallel", self._grid, resampling)
        parallel: bool = file.made(key, lambda: is_parallel(file.dataset, self.spec, resampling))
        return parallel

    def _warped(
        self, file: Opened, raster: Raster, resampling: Resampling, fill: float
    ) -> WarpedVRT:
        dataset, is_class = file.dataset, resampling == Resampling.nearest
        # What the file says of itself goes before what its collection says.
        nodata = raster.nodata if dataset.nodata is None else dataset.nodata
        key = ("warped", self._grid, resampling, f"{nodata} {fill}")

        def warp() -> WarpedVRT:
            return WarpedVRT(
                dataset,
                resampling=resampling,
                src_nodata=nodata,
                nodata=fill,
                # Warping into float with NaN outside keeps GDAL from nudging valid
                # values that happen to equal an integer nodata value.
                working_dtype=None if is_class else "float32",
                dtype=None if is_class else "float32",
                tolerance=TOLERANCE,
                **scales(dataset, self.spec),
                **self.spec.vrt_params,
            )

        warped: WarpedVRT = file.made(key, warp)
        return warped

    @property
    def _grid(self) -> tuple[Any, ...]:
        return self.spec.epsg, self.spec.bounds, self.spec.resolutions_xy

    def close(self) -> None:
        """Do nothing: files belong to threads, not to readers."""

    def __getstate__(self) -> dict[str, Any]:
        return {
            "url": self.layer,
            "spec": self.spec,
            "resampling": self.resampling,
            "dtype": self.dtype,
            "fill_value": self.fill_value,
            "networks": self.networks,
        }

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__init__(**state)  # type: ignore[misc]


def _diagnosed(href: str, error: Exception) -> Exception:
    """Tell why a read failed: GDAL hides most answers of a server, so it is asked again."""
    if isinstance(error, NetworkError) or not network.is_remote(href):
        return error
    named = network.of_gdal(str(error))
    if named is None and href.startswith("http"):
        try:
            with network.slot(href):
                network.probe(sign.signed(href), reached())
        except NetworkError as found:
            named = found
    return named or NetworkError("damaged", _one_line(error))


def _one_line(error: Exception) -> str:
    return network.redacted((str(error) or type(error).__name__).splitlines()[0])


def _fix(failure: Exception) -> str:
    return failure.fix if isinstance(failure, NetworkError) else "mend the file, or leave it out"


def _check_classes(dataset: rasterio.DatasetReader) -> None:
    if np.dtype(dataset.dtypes[0]).kind not in "iu":
        raise RasterioIOError(f"its classes are {dataset.dtypes[0]} and not whole numbers")


def _warn(message: str) -> None:
    """Warn here and, on a worker of a cluster, in the user's session too."""
    worker = sys.modules.get("distributed.worker")
    warn = worker.warn if worker else warnings.warn
    warn(message, GssmWarning)


# The bands of a chunk share the choice of image: without this every band would read
# the masks again. Entries live for a minute at most, 128 MB in all.
_CHOICES: cachetools.TTLCache[Any, Choice] = cachetools.TTLCache(
    maxsize=128e6, ttl=60, getsizeof=lambda choice: choice[0].nbytes + choice[1].nbytes
)


@cachetools.cached(_CHOICES, key=lambda key, reader, window: key, condition=threading.Condition())
def _choice(key: Any, reader: LayerReader, window: Window) -> Choice:
    """Find the first image whose mask shows the ground, per pixel."""
    shape = (window.height, window.width)
    chosen = np.full(shape, NO_SOURCE, np.uint16)
    category = np.full(shape, schema.MASK_MISSING, np.uint8)
    used = []
    for index, source in enumerate(reader.layer.sources):
        open_pixels = chosen == NO_SOURCE
        if not open_pixels.any():
            break
        if not overlaps(source.footprint, reader.spec, window):
            continue
        mask = source.mask
        assert mask is not None
        rule = mask.rule or MASKS[source.role]
        classes = reader._read_raster(source.item, mask, window, Resampling.nearest, rule.fill)
        if classes is None:
            # No farther image takes over: another band may find the mask readable again,
            # and a pixel would be put together from two images.
            category[open_pixels] = schema.MASK_UNREADABLE
            break
        seen = rule.classify(classes)
        shows_ground = open_pixels & (seen <= schema.MASK_SNOW)
        if shows_ground.any():
            used.append(index)
        np.copyto(chosen, np.uint16(index), where=shows_ground)
        np.copyto(category, seen, where=shows_ground)
        clouded = open_pixels & (seen == schema.MASK_CLOUD) & (category == schema.MASK_MISSING)
        np.copyto(category, np.uint8(schema.MASK_CLOUD), where=clouded)
    return Choice(chosen, category, tuple(used))


def overlaps(footprint: Bbox, spec: RasterSpec, window: Window) -> bool:
    """Tell whether a footprint in degrees can touch a window of the grid."""
    return intersects(footprint, _box(spec.epsg, bounds_of_window(window, spec.transform)))


# Every image of every band asks for the same box.
_box = lru_cache(maxsize=1024)(geographic_bounds)
