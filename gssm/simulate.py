"""A simulated farm with known soil moisture: the scene for demo, tests and benchmarks.

A river valley with fields, a dry-down with rain, and what Sentinel-1, Sentinel-2,
Landsat 8/9 and an elevation model would see of it, written as a STAC catalogue of
cloud-optimised GeoTIFFs. Time is in days since `START`; maps are 10 m pixels.

The radar is the soil model of Oh (2004) under the forward Water Cloud Model of
`gssm.physics`, so the scene is consistent with the correction that gssm makes: it
shows that the pipeline works, not how accurate it is on real ground.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from gssm import physics
from gssm.errors import RequestError, StoreExistsError
from gssm.schema import VARIABLES
from gssm.simulate_ground import (
    BANDS,
    EPSG,
    PIXEL,
    POROSITY,
    SPECTRA,
    Farm,
    Ground,
    GroundOn,
    Map,
    make_farm,
    smooth_field,
)
from gssm.simulate_items import (
    BAND_OF,
    CLASSES,
    COLLECTIONS,
    LANDSAT_VIEWS,
    SENTINEL2_VIEWS,
    Acquisition,
    Asset,
    Files,
    Grid,
    Orbit,
    View,
    days_since_start,
    elevation,
    landsat,
    passes,
    sentinel1,
    sentinel2,
    simulate_items,
    write_catalog,
)

if TYPE_CHECKING:
    import xarray as xr

__all__ = ["oh_2004", "simulate_items", "simulate_scene", "soil_reflectance"]

Pass = tuple[datetime, Orbit]

FREQUENCY = 5.405e9  # Hz, Sentinel-1
LOOKS = 10  # 4.4 equivalent looks of IW GRD, lightly multilooked
WATER_SIGMA0 = {"vv": 10**-2.0, "vh": 10**-2.7}  # calm river, linear
LANDSAT_9 = datetime(2021, 10, 31, tzinfo=UTC)  # its first images


def oh_2004(m_v: Map, s: Map, incidence_angle: Map) -> tuple[Map, Map]:
    """Bare soil sigma0, VV and VH, of the semi-empirical model of Oh.

    Oh (2004), IEEE TGRS 42(3), 596-601, doi:10.1109/TGRS.2003.821065, as in Ulaby et
    al. (2014), section 10.5. Published for 0.04 < m_v < 0.291, 0.13 < ks < 6.98 and 10 to
    70 degree; wetter soil here is an extrapolation.

    Parameters
    ----------
    m_v
        Volumetric soil moisture (m3 m-3).
    s
        Rms height (m).
    incidence_angle
        Degree.

    Returns
    -------
    vv, vh
        Linear power.
    """
    theta = np.deg2rad(incidence_angle)
    ks = 2 * np.pi * FREQUENCY / 299_792_458.0 * s
    vh = 0.11 * m_v**0.7 * np.cos(theta) ** 2.2 * (1 - np.exp(-0.32 * ks**1.8))
    q = 0.095 * (0.13 + np.sin(1.5 * theta)) ** 1.4 * (1 - np.exp(-1.3 * ks**0.9))
    return vh / q, vh


def soil_reflectance(theta: Map, band: str) -> Map:
    """Reflectance ("1") of soil at a soil moisture theta (m3 m-3).

    ``R = R_sat + (R_dry - R_sat) exp(-c S)``, S the degree of saturation: the exponential
    form of Lobell and Asner (2002), Soil Sci. Soc. Am. J. 66, 722-727. The coefficients are
    chosen, such that short-wave infrared saturates later than the visible, as they found.
    """
    R_dry = SPECTRA["soil"][band]
    R_sat = R_dry * SPECTRA["wet"][band]
    return np.asarray(R_sat + (R_dry - R_sat) * np.exp(-SPECTRA["c"][band] * theta / POROSITY))


def _cover_fraction(ndvi: Map, red: Map, nir: Map) -> Map:
    """Green cover f such that ``(1 - f) soil + f leaf`` has this NDVI: the linear mixture."""
    sum_s, diff_s = nir + red, nir - red
    leaf = SPECTRA["leaf"]
    sum_v, diff_v = leaf["B08"] + leaf["B04"], leaf["B08"] - leaf["B04"]
    f = (ndvi * sum_s - diff_s) / (diff_v - diff_s - ndvi * (sum_v - sum_s))
    return np.asarray(np.clip(f, 0, 1))


def _radar(ground: Ground, angle: float, rng: np.random.Generator) -> dict[str, Map]:
    """Sigma0 (linear) and incidence angle (degree) of one pass."""
    y, x = np.mgrid[: len(ground.water), : len(ground.water)] * (PIXEL / 1000) - 1.0
    theta = angle + 0.068 * (0.97 * x - 0.2 * y)  # 17 degree over the 250 km swath
    soil = dict(zip(("vv", "vh"), oh_2004(ground.soil_moisture, ground.s, theta), strict=True))
    out: dict[str, Map] = {"incidence_angle": theta}
    for polarization in ("vv", "vh"):
        sigma0 = physics.total_backscatter(soil[polarization], ground.canopy, theta, polarization)
        sigma0 = np.where(ground.water, WATER_SIGMA0[polarization], sigma0)
        out[polarization] = sigma0 * rng.gamma(LOOKS, 1 / LOOKS, sigma0.shape)
    return out


@dataclass(frozen=True)
class Sky:
    """Cloud opacity and shadow, 0 to 1."""

    cloud: Map
    shadow: Map


def _sky(rng: np.random.Generator, side: int, share: float) -> Sky:
    """Clouds over a share of the area; their shadows fall to the north-west."""
    dy, dx = 14, 9
    noise = smooth_field(rng, side + 2 * dy, 14)[dy:, dx:]
    excess = noise - np.quantile(noise[:side, :side], 1 - share)
    opacity = np.where(excess > 0, np.clip(0.3 + 1.2 * excess, 0, 1), 0.0)
    cloud, shadow = opacity[:side, :side], opacity[dy : dy + side, dx : dx + side]
    return Sky(cloud, np.where(cloud > 0, 0.0, shadow))


def _reflectance(ground: Ground, sky: Sky, rng: np.random.Generator) -> dict[str, Map]:
    """Surface reflectance of the Sentinel-2 bands and, as ``"kelvin"``, temperature."""
    theta = ground.soil_moisture
    soil = {band: soil_reflectance(theta, band) for band in BANDS}
    f = _cover_fraction(ground.ndvi, soil["B04"], soil["B08"])
    out = {}
    for band in BANDS:
        R = (1 - f) * soil[band] + f * SPECTRA["leaf"][band]
        R = np.where(ground.water, SPECTRA["water"][band], R)
        R = R * (1 + 0.01 * rng.standard_normal(R.shape)) * (1 - 0.6 * sky.shadow)
        out[band] = (1 - sky.cloud) * R + sky.cloud * SPECTRA["cloud"][band]
    # cooler where green or wet: the temperature/vegetation triangle, Carlson (2007)
    kelvin = np.where(ground.water, 292.0, 313.0 - 12.0 * f - 32.0 * theta)
    kelvin = kelvin - 4.0 * sky.shadow + 0.3 * rng.standard_normal(theta.shape)
    out["kelvin"] = (1 - sky.cloud) * kelvin + sky.cloud * 268.0
    return out


def _coarsen(values: Map, resolution: int) -> Map:
    """Mean of the 10 m pixels in each coarser one."""
    n = resolution // PIXEL
    side = len(values) // n
    return np.asarray(values.reshape(side, n, side, n).mean(axis=(1, 3)))


def _classes(
    codes: Mapping[str, int], ground: Ground, sky: Sky, resolution: int
) -> NDArray[np.int64]:
    """Class codes on a coarser grid; a pixel with any cloud or shadow says so."""
    cloud, shadow, water, ndvi = (
        _coarsen(v, resolution)
        for v in (sky.cloud, sky.shadow, ground.water.astype(np.float64), ground.ndvi)
    )
    states = {
        "leaf": ndvi > 0.35,
        "water": water > 0.5,
        "shadow": shadow > 0,
        "thin": cloud > 0,
        "cloud": cloud > 0.6,
    }
    out = np.full(ndvi.shape, codes["soil"])
    for state, holds in states.items():
        out = np.where(holds, codes[state], out)
    return out


def _encode(values: Map, asset: Asset, scale: float, offset: float) -> NDArray[Any]:
    """Digital numbers of physical values, ``DN = (value - offset) / scale``; 0 stays nodata."""
    limit = np.iinfo(asset.data_type).max
    return np.clip(np.rint((values - offset) / scale), 1, limit).astype(asset.data_type)


def _optical_files(
    collection: str, ground: Ground, view: View, rng: np.random.Generator
) -> tuple[Files, float]:
    """Files of an optical acquisition and its cloud cover (percent)."""
    sky = _sky(rng, len(ground.water), view.cloud)
    bands = _reflectance(ground, sky, rng)
    # ESA processing baseline 04.00: DN = 1e4 reflectance + 1000
    baseline_offset = -0.1 if float(view.baseline) >= 4 else 0.0
    files: Files = {}
    for name, asset in COLLECTIONS[collection].assets.items():
        if name in CLASSES:
            classes = _classes(CLASSES[name], ground, sky, asset.resolution)
            files[name] = classes.astype(asset.data_type)
            continue
        values = _coarsen(bands[BAND_OF.get(name, name)], asset.resolution)
        offset = baseline_offset if asset.offset is None else asset.offset
        files[name] = _encode(values, asset, asset.scale or 1e-4, offset)
    return files, 100 * float((sky.cloud > 0).mean())


def _observe(
    farm: Farm, on: GroundOn, schedule: Sequence[Pass], seed: int
) -> Iterator[tuple[Acquisition, Files]]:
    """Every acquisition with its arrays; each has a random generator of its own."""
    for k, (time, orbit) in enumerate(schedule):
        rng = np.random.default_rng([seed, k, 1])
        maps = _radar(on(days_since_start(time)), orbit.incidence_angle, rng)
        yield sentinel1(time, orbit), {n: v.astype(np.float32) for n, v in maps.items()}
        for n, view in enumerate(SENTINEL2_VIEWS[k % len(SENTINEL2_VIEWS)]):
            at = time + timedelta(days=view.days)
            rng = np.random.default_rng([seed, k, 2, n])
            files, cloud = _optical_files("sentinel-2-l2a", on(days_since_start(at)), view, rng)
            yield sentinel2(at, view.baseline, cloud), files
        for n, view in enumerate(LANDSAT_VIEWS[k % len(LANDSAT_VIEWS)]):
            at = time + timedelta(days=view.days)
            rng = np.random.default_rng([seed, k, 3, n])
            files, cloud = _optical_files("landsat-c2-l2", on(days_since_start(at)), view, rng)
            satellite = 8 + k // 2 % 2 if at >= LANDSAT_9 else 8
            yield landsat(at, satellite, cloud), files
    yield elevation(), {"data": _coarsen(farm.elevation, 30).astype(np.float32)}


def simulate_scene(
    folder: str | Path, *, size: int = 200, dates: int = 4, seed: int = 0
) -> xr.Dataset:
    """Write a simulated catalogue and return the soil moisture that is true in it.

    The folder then holds ``sentinel-1-sigma0.json``, ``sentinel-2-l2a.json``,
    ``landsat-c2-l2.json`` and ``dem.json`` with their rasters, as ``gssm.search`` reads
    them with ``catalog=folder``. The same arguments give the same scene.

    Parameters
    ----------
    folder
        Absent or empty.
    size
        Side of the square scene in 10 m pixels.
    dates
        Number of Sentinel-1 acquisitions, 5 or 7 days apart.
    seed
        Which farm, weather and noise.

    Returns
    -------
    xarray.Dataset
        ``soil_moisture`` (time, y, x; m3 m-3; NaN on water), ``ndvi`` (time, y, x; of the
        ground without noise) and ``water`` (y, x).

    Raises
    ------
    RequestError
        ``size`` or ``dates`` is below 1, or ``seed`` below 0.
    StoreExistsError
        The folder holds something; nothing is written.
    """
    if size < 1 or dates < 1 or seed < 0:
        raise RequestError(
            f"size={size}, dates={dates}, seed={seed} make no scene; "
            "give a size and dates of 1 or more and a seed of 0 or more."
        )
    farm = make_farm(size, seed)
    truth = write_scene(folder, farm, farm.on, passes(dates), size=size, seed=seed)
    return truth.assign(water=truth["water"].isel(time=0, drop=True))


def write_scene(
    folder: str | Path,
    farm: Farm,
    on: GroundOn,
    schedule: Sequence[Pass],
    *,
    size: int,
    seed: int,
) -> xr.Dataset:
    """Write what the satellites see of a farm on passes, and return what is true.

    As `simulate_scene`, but the ground of a day is any, and so ``water`` is (time, y, x).
    """
    folder = Path(folder)
    if folder.exists() and not (folder.is_dir() and not any(folder.iterdir())):
        raise StoreExistsError(f"folder {str(folder)!r} is not empty; give another folder.")
    grid = Grid(*farm.corner, size * PIXEL, size * PIXEL, EPSG)
    write_catalog(folder, grid, _observe(farm, on, schedule, seed))
    return _truth(farm, on, size, [time for time, _ in schedule]).assign_attrs(seed=seed)


def _truth(farm: Farm, on: GroundOn, size: int, times: Sequence[datetime]) -> xr.Dataset:
    import xarray as xr

    left, top = farm.corner
    grounds = [on(days_since_start(time)) for time in times]
    moisture = [np.where(ground.water, np.nan, ground.soil_moisture) for ground in grounds]
    centres = (np.arange(size) + 0.5) * PIXEL
    dims = ("time", "y", "x")

    def inside(maps: Sequence[NDArray[Any]], kind: type) -> NDArray[Any]:
        return np.stack([m[:size, :size] for m in maps]).astype(kind)

    water = inside([ground.water for ground in grounds], np.bool_)
    return xr.Dataset(
        {
            "soil_moisture": (dims, inside(moisture, np.float32), VARIABLES["soil_moisture"].attrs),
            "ndvi": (dims, inside([g.ndvi for g in grounds], np.float32), {"units": "1"}),
            "water": (dims, water, {"long_name": "open water"}),
        },
        coords={
            "time": np.array([t.replace(tzinfo=None) for t in times], "datetime64[ns]"),
            "y": ("y", top - centres, {"units": "m", "standard_name": "projection_y_coordinate"}),
            "x": ("x", left + centres, {"units": "m", "standard_name": "projection_x_coordinate"}),
        },
        attrs={"title": "gssm simulated scene", "crs": f"EPSG:{EPSG}"},
    )
