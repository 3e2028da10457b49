"""Top of the atmosphere: Level-1 digital numbers of Landsat 8/9 and Sentinel-2 -> physical units.

Landsat: USGS, Landsat 8-9 Data Users Handbook (LSDS-1574), section 5, with the numbers of the
scene's own MTL file.
Sentinel-2: ESA, Sentinel-2 Products Specification Document (S2-PDGS-TAS-DI-PSD), Level-1C,
with the radiometric offset that processing baseline 04.00 brought in January 2022.
"""

from __future__ import annotations

import math
import re
import threading
from collections.abc import Mapping
from dataclasses import replace
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import cachetools
import numpy as np

from gssm.addresses import file_version
from gssm.describe import Raster
from gssm.errors import ItemError, ReadError
from gssm.level1 import SENTINEL2_QUANTIFICATION, Mtl, Pair, parse_mtl
from gssm.opened import opened
from gssm.sidecar import read_bytes
from gssm.warp import is_parallel, read_parallel, warp_masked

if TYPE_CHECKING:
    from rasterio.enums import Resampling
    from rasterio.windows import Window
    from stackstac.raster_spec import RasterSpec

FloatArray = np.ndarray[Any, np.dtype[np.float32]]

FILL = 0  # the DN of no data, of both sensors
# Of OLI and TIRS. Band 1 of the older sensors is blue, not coastal: their numbers mean others.
SPACECRAFT = ("LANDSAT_8", "LANDSAT_9")
SCENES = 512  # whose metadata a process keeps


def toa_reflectance(dn: np.ndarray[Any, Any], mtl: Mtl, band: str) -> FloatArray:
    """Top-of-atmosphere reflectance ("1") of Landsat, corrected for the sun's angle.

    ``rho = (M_rho Q + A_rho) / sin(theta_SE)``, LSDS-1574, section 5.2.

    Parameters
    ----------
    dn
        Digital numbers Q, any shape; 0 and NaN are no data.
    mtl
        Of the scene.
    band
        ``"1"`` to ``"9"``.

    Returns
    -------
    ndarray
        float32, NaN where there is no data.

    Raises
    ------
    ItemError
        The MTL has no factors of the band, or the sun was below the horizon.
    """
    gain, addend = _of_band(mtl, "REFLECTANCE_MULT and REFLECTANCE_ADD", mtl.reflectance, band)
    if not 0 < mtl.sun_elevation <= 90:
        raise ItemError(
            f"the MTL of {mtl.product} has SUN_ELEVATION {mtl.sun_elevation:g} degrees: without "
            "sunlight there is no reflectance; use a scene taken by day"
        )
    sine = math.sin(math.radians(mtl.sun_elevation))
    return _affine(dn, gain / sine, addend / sine)


def brightness_temperature(dn: np.ndarray[Any, Any], mtl: Mtl, band: str) -> FloatArray:
    """Top-of-atmosphere brightness temperature (K) of Landsat.

    ``L = M_L Q + A_L`` and ``T = K2 / ln(K1 / L + 1)``, LSDS-1574, sections 5.1 and 5.3.

    Parameters
    ----------
    dn
        Digital numbers Q, any shape; 0 and NaN are no data.
    mtl
        Of the scene.
    band
        ``"10"`` or ``"11"``.

    Returns
    -------
    ndarray
        float32, NaN where there is no data or no radiance.

    Raises
    ------
    ItemError
        The MTL has no factors or thermal constants of the band.
    """
    gain, addend = _of_band(mtl, "RADIANCE_MULT and RADIANCE_ADD", mtl.radiance, band)
    K1, K2 = _of_band(mtl, "K1_CONSTANT and K2_CONSTANT", mtl.thermal, band)
    L = _affine(dn, gain, addend)
    L[~(L > 0)] = np.nan
    return np.asarray(np.float32(K2) / np.log1p(np.float32(K1) / L), dtype=np.float32)


def landsat_toa(dn: np.ndarray[Any, Any], mtl: Mtl, band: str) -> FloatArray:
    """Brightness temperature of a band with thermal constants, reflectance of any other."""
    convert = brightness_temperature if band in mtl.thermal else toa_reflectance
    return convert(dn, mtl, band)


def read_landsat_toa(
    raster: Raster, spec: RasterSpec, window: Window, resampling: Resampling
) -> FloatArray:
    """Read a window of a Landsat Level-1 band on a grid, in physical units.

    The digital numbers are resampled, and then converted: they are affine in radiance, and
    radiances of neighbours add up to what a sensor would have seen there, temperatures do
    not. For reflectance the order makes no difference.

    Parameters
    ----------
    raster
        Of kind "landsat_toa", with the sidecars ``("mtl", href)`` and ``("band", "10")``.
    spec
        Grid of the cube.
    window
        Of the grid.
    resampling
        Of the digital numbers.

    Returns
    -------
    ndarray
        ``(y, x)`` float32: reflectance ("1") or brightness temperature (K), NaN where there
        is no data.

    Raises
    ------
    rasterio.errors.RasterioError, OSError
        The image or the MTL cannot be read, or the MTL does not fit it.
    """
    sidecars = dict(raster.sidecars)
    if not {"mtl", "band"} <= sidecars.keys():
        raise ReadError(
            f"it has the sidecars {sorted(sidecars) or 'none'}; Landsat Level-1 needs mtl and band"
        )
    mtl = _mtl(sidecars["mtl"])
    _refuse_another_scene(raster.href, mtl)
    file = opened(raster.href)
    numbers = replace(raster, nodata=FILL, positive=False)
    place = (spec, window, resampling)
    if _is_parallel(file, spec, resampling):
        dn = read_parallel(file.dataset, numbers, *place, np.nan)
    else:
        dn = warp_masked(file.dataset, numbers, *place)
    try:
        return landsat_toa(dn, mtl, sidecars["band"])
    except ItemError as error:
        raise ReadError(str(error)) from error


def sentinel2_toa(
    dn: np.ndarray[Any, Any],
    add_offset: float,
    quantification: float = SENTINEL2_QUANTIFICATION,
) -> FloatArray:
    """Top-of-atmosphere reflectance ("1") of Sentinel-2 Level-1C.

    ``rho = (DN + RADIO_ADD_OFFSET) / QUANTIFICATION_VALUE``; the sun's angle is in it already.

    Parameters
    ----------
    dn
        Digital numbers, any shape; 0 and NaN are no data.
    add_offset
        `Mtd.offsets` of the band, or `sentinel2_add_offset` of the processing baseline.
    quantification
        Digital numbers of a reflectance of one.

    Returns
    -------
    ndarray
        float32, NaN where there is no data.
    """
    return _affine(dn, 1 / quantification, add_offset / quantification)


def _affine(dn: np.ndarray[Any, Any], gain: float, addend: float) -> FloatArray:
    values = np.array(dn, dtype=np.float32)
    values[values == FILL] = np.nan
    values *= np.float32(gain)
    values += np.float32(addend)
    return values


def _of_band(mtl: Mtl, names: str, pairs: Mapping[str, Pair], band: str) -> Pair:
    if band not in pairs:
        raise ItemError(
            f"the MTL of {mtl.product} has no {names} of band {band!r}, only of "
            f"{', '.join(pairs) or 'none'}"
        )
    return pairs[band]


def _is_parallel(file: Any, spec: RasterSpec, resampling: Resampling) -> bool:
    from rasterio.enums import Resampling

    if resampling == Resampling.nearest:
        return False  # `read_parallel` would keep the integers of the file, which have no NaN
    key = ("parallel", (spec.epsg, spec.bounds, spec.resolutions_xy), resampling)
    return bool(file.made(key, lambda: is_parallel(file.dataset, spec, resampling)))


# Sensor, path and row, date: what the files of one scene share, however often processed.
_SCENE = re.compile(r"(L[A-Z]\d\d)_[A-Z0-9]{4}_(\d{6})_(\d{8})_")


def _refuse_another_scene(href: str, mtl: Mtl) -> None:
    """Refuse metadata that by their name are of another scene than the image."""
    image = _SCENE.match(PurePosixPath(urlsplit(href).path).name)
    stated = _SCENE.match(mtl.product)
    if image and stated and image.groups() != stated.groups():
        raise ReadError(f"its MTL is of another scene, {mtl.product}")


def _mtl(href: str) -> Mtl:
    return _cached_mtl(href, file_version(href))


@cachetools.cached(cachetools.LRUCache(maxsize=SCENES), condition=threading.Condition())
def _cached_mtl(href: str, written: float) -> Mtl:
    """Fetch the MTL once in this process; what fails is asked for again."""
    # Of the address only the name: a signature has no place in a message.
    name = PurePosixPath(urlsplit(href).path).name
    try:
        mtl = parse_mtl(read_bytes(href).decode("utf-8", errors="replace"))
    except ItemError as error:
        raise ReadError(f"{name}: {error}") from error
    if mtl.spacecraft not in SPACECRAFT:
        raise ReadError(
            f"{name} is of {mtl.spacecraft}, whose band numbers mean other colours than those of "
            f"{' and '.join(SPACECRAFT)}; leave it out"
        )
    return mtl
