"""A simulated farm with known soil moisture: the scene for demo, tests and benchmarks.

A river valley with fields, a dry-down with rain, and what Sentinel-1, Sentinel-2,
Landsat 8/9 and an elevation model would see of it, written as a STAC catalogue of
cloud-optimised GeoTIFFs. Time is in days since `START`; maps are 10 m pixels.

The radar is the soil model of Oh (2004) under the forward Water Cloud Model of
`gssm.physics`, so the scene is consistent with the correction that gssm makes: it
shows that the pipeline works, not how accurate it is on real ground.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from gssm import physics
from gssm.errors import RequestError, StoreExistsError
from gssm.schema import VARIABLES
from gssm.simulate_items import (
    BAND_OF,
    CLASSES,
    COARSEST,
    COLLECTIONS,
    LANDSAT_VIEWS,
    SENTINEL2_VIEWS,
    START,
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

Map = NDArray[np.float64]
Mask = NDArray[np.bool_]

LEFT, TOP, EPSG = 501_360.0, 5_629_680.0, 32631  # a multiple of 60 m: all pixel sizes share it
PIXEL = 10
FREQUENCY = 5.405e9  # Hz, Sentinel-1
LOOKS = 10  # 4.4 equivalent looks of IW GRD, lightly multilooked
WATER_SIGMA0 = {"vv": 10**-2.0, "vh": 10**-2.7}  # calm river, linear
POROSITY = 0.45  # m3 m-3
LANDSAT_9 = datetime(2021, 10, 31, tzinfo=UTC)  # its first images


@dataclass(frozen=True)
class Crop:
    """A land use: its NDVI phenology (Beck et al. 2006) and soil roughness.

    ``S`` and ``A`` are the days of year of green-up and senescence, ``s`` the rms
    height (m), ``share`` the share of fields.
    """

    ndvi_min: float
    ndvi_max: float
    S: float
    A: float
    s: float
    share: float


CROPS = (
    Crop(0.20, 0.83, 92, 191, 0.008, 0.24),  # winter wheat
    Crop(0.18, 0.80, 171, 265, 0.010, 0.22),  # maize
    Crop(0.18, 0.84, 160, 235, 0.012, 0.16),  # potato
    Crop(0.18, 0.86, 150, 290, 0.009, 0.12),  # sugar beet
    Crop(0.62, 0.78, 95, 300, 0.007, 0.12),  # grass
    Crop(0.17, 0.22, 120, 270, 0.011, 0.09),  # bare
    Crop(0.70, 0.85, 110, 300, 0.015, 0.05),  # forest
)

# Reflectance ("1") of air-dry loam, a closed canopy, river water and thick cloud, and for
# wetting: the ratio of saturated to dry soil and the rate c. Typical values, not measurements.
_BANDS = ("B01", "B02", "B03", "B04", "B05", "B06", "B07", "B08", "B8A", "B09", "B11", "B12")
_ROWS: Mapping[str, tuple[float, ...]] = {
    "soil": (0.11, 0.13, 0.17, 0.22, 0.235, 0.25, 0.262, 0.28, 0.285, 0.29, 0.36, 0.31),
    "leaf": (0.025, 0.03, 0.07, 0.03, 0.11, 0.33, 0.42, 0.45, 0.47, 0.46, 0.21, 0.10),
    "water": (0.055, 0.06, 0.06, 0.04, 0.035, 0.03, 0.03, 0.025, 0.025, 0.02, 0.012, 0.008),
    "cloud": (0.58, 0.57, 0.56, 0.57, 0.58, 0.59, 0.60, 0.60, 0.60, 0.55, 0.38, 0.28),
    "wet": (0.5, 0.5, 0.5, 0.5, 0.5, 0.5, 0.5, 0.5, 0.5, 0.48, 0.36, 0.30),
    "c": (5.0, 5.0, 5.0, 5.0, 5.0, 5.0, 5.0, 5.0, 5.0, 4.5, 2.4, 2.2),
}
SPECTRA = {name: dict(zip(_BANDS, row, strict=True)) for name, row in _ROWS.items()}
_RED, _NIR = SPECTRA["water"]["B04"], SPECTRA["water"]["B08"]
WATER_NDVI = (_NIR - _RED) / (_NIR + _RED)

RAIN_FIRST, RAIN_EVERY, RAIN_RISE = -3.0, 12.5, 0.2  # days, days, m3 m-3 on dry soil


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


def _phenology(crop: Mapping[str, Map], day_of_year: float) -> Map:
    """NDVI: the double logistic of Beck et al. (2006), RSE 100, 321-334, rates 1/8 per day."""
    t, mS, mA = day_of_year, 1 / 8, 1 / 8
    season = 1 / (1 + np.exp(-mS * (t - crop["S"]))) + 1 / (1 + np.exp(mA * (t - crop["A"]))) - 1
    return np.asarray(crop["ndvi_min"] + (crop["ndvi_max"] - crop["ndvi_min"]) * season)


def _cover_fraction(ndvi: Map, red: Map, nir: Map) -> Map:
    """Green cover f such that ``(1 - f) soil + f leaf`` has this NDVI: the linear mixture."""
    sum_s, diff_s = nir + red, nir - red
    leaf = SPECTRA["leaf"]
    sum_v, diff_v = leaf["B08"] + leaf["B04"], leaf["B08"] - leaf["B04"]
    f = (ndvi * sum_s - diff_s) / (diff_v - diff_s - ndvi * (sum_v - sum_s))
    return np.asarray(np.clip(f, 0, 1))


def _smooth(rng: np.random.Generator, side: int, length: float) -> Map:
    """Gaussian random field, zero mean and unit variance; correlation length in pixels."""
    white = np.fft.rfft2(rng.standard_normal((side, side)))
    k2 = np.fft.fftfreq(side)[:, None] ** 2 + np.fft.rfftfreq(side)[None, :] ** 2
    field = np.fft.irfft2(white * np.exp(-2 * (np.pi * length) ** 2 * k2), s=(side, side))
    field -= field.mean()
    return np.asarray(field / max(float(field.std()), 1e-12))


def _parcels(rng: np.random.Generator, side: int, spacing: float = 20.0) -> NDArray[np.int64]:
    """Field number per pixel: Voronoi cells of a jittered, slanted lattice (pixels)."""
    y, x = np.mgrid[:side, :side].astype(np.float64)
    u, v = (x + 0.35 * y) / spacing, (y - 0.25 * x) / (0.8 * spacing)
    i, j = np.floor(u - u.min()).astype(np.int64) + 1, np.floor(v - v.min()).astype(np.int64) + 1
    u, v = u - u.min() + 1, v - v.min() + 1
    rows, columns = int(i.max()) + 2, int(j.max()) + 2
    seeds = np.indices((rows, columns)) + rng.uniform(0.1, 0.9, (2, rows, columns))
    best = np.full((side, side), np.inf)
    parcel = np.zeros((side, side), np.int64)
    for di, dj in np.ndindex(3, 3):
        a, b = i + di - 1, j + dj - 1
        distance = (u - seeds[0][a, b]) ** 2 + (v - seeds[1][a, b]) ** 2
        nearer = distance < best
        best = np.where(nearer, distance, best)
        parcel = np.where(nearer, a * columns + b, parcel)
    return parcel


@dataclass(frozen=True)
class Ground:
    """What is there on a day.

    ``canopy`` is the NDVI whose vegetation the radar meets: the same as ``ndvi``, which the
    optical images show, unless something parts them.
    """

    soil_moisture: Map  # m3 m-3
    ndvi: Map  # "1"
    canopy: Map  # "1"
    s: Map  # rms height, m
    water: Mask


# The ground on a day, in days since `START`.
GroundOn = Callable[[float], Ground]
Pass = tuple[datetime, Orbit]


@dataclass(frozen=True)
class Farm:
    """Maps that do not change, and what follows from them on a day.

    ``rain`` are days and how much they wet dry soil (m3 m-3); None is a rain every 12.5 days.
    """

    elevation: Map  # m
    wetness: Map  # 0 far above the river to 1 beside it
    water: Mask
    crop: Mapping[str, Map]  # the columns of `Crop`, per pixel
    irrigation: Map  # m3 m-3
    texture: Map  # small variation within fields, unit variance
    parcel: NDArray[np.int64]  # number of the field
    corner: tuple[float, float]  # upper left, metres of the UTM zone
    rain: Sequence[tuple[float, float]] | None = None

    def on(self, t: float) -> Ground:
        """Return the ground on a day."""
        ndvi = self.ndvi(t)
        return Ground(self.soil_moisture(t), ndvi, ndvi, self.crop["s"], self.water)

    def soil_moisture(self, t: float) -> Map:
        """Soil moisture (m3 m-3): exponential dry-down after each rain, McColl et al. (2017)."""
        tau = 5.0 + 6.0 * self.wetness  # days
        regular = ((day, RAIN_RISE) for day in np.arange(RAIN_FIRST, t, RAIN_EVERY))
        events = regular if self.rain is None else self.rain
        fallen = ((day, wets) for day, wets in events if day < t)
        rise = sum((wets * np.exp(-(t - day) / tau) for day, wets in fallen), np.zeros_like(tau))
        base = 0.10 + 0.14 * self.wetness + self.irrigation + 0.012 * self.texture
        return np.asarray(np.clip(base + rise * (1 - base / POROSITY), 0.06, 0.42))

    def ndvi(self, t: float) -> Map:
        """NDVI of soil and canopy ("1"); water has its own."""
        day_of_year = START.timetuple().tm_yday + t
        land = np.clip(_phenology(self.crop, day_of_year) + 0.015 * self.texture, 0.16, 0.87)
        return np.where(self.water, WATER_NDVI, land)


def make_farm(size: int, seed: int, corner: tuple[float, float] | None = None) -> Farm:
    """Return the farm that a seed makes, whole pixels of every size and no less than asked for.

    Its upper left corner is where the scene of the demo lies, or at multiples of 60 m.
    """
    rng = np.random.default_rng(seed)
    side = -(-size * PIXEL // COARSEST) * COARSEST // PIXEL
    y, x = np.mgrid[:side, :side].astype(np.float64)
    phase = rng.uniform(0, 2 * np.pi, 2)
    meander = 9 * np.sin(2 * np.pi * x / 95 + phase[0]) + 5 * np.sin(2 * np.pi * x / 41 + phase[1])
    centre = side * 0.58 + meander - 0.12 * (x - side / 2)
    distance = np.abs(y - centre) * np.cos(np.arctan(np.gradient(centre, axis=1)))
    water = distance < 2.2
    # height above the nearest drainage (HAND, Nobre et al. 2011) makes the wetness
    hills = np.maximum(1 + 0.35 * _smooth(rng, side, 18), 0.2)
    hand = 38 * (1 - np.exp(-((distance / 55) ** 2))) * hills
    parcel = _parcels(rng, side)
    numbers = int(parcel.max()) + 1
    kind = rng.choice(len(CROPS), numbers, p=[c.share for c in CROPS])
    fields = {
        name: np.array([getattr(c, name) for c in CROPS])[kind]
        for name in ("ndvi_min", "ndvi_max", "S", "A", "s")
    }
    fields["S"] = fields["S"] + rng.normal(0, 5, numbers)
    fields["s"] = fields["s"] * rng.uniform(0.9, 1.1, numbers)
    irrigation = 0.07 * (rng.random(numbers) < 0.2) + rng.normal(0, 0.012, numbers)
    return Farm(
        elevation=12 + 0.02 * (side - x) + hand,
        wetness=np.exp(-hand / 9),
        water=np.asarray(water),
        crop={name: values[parcel] for name, values in fields.items()},
        irrigation=irrigation[parcel],
        texture=_smooth(rng, side, 2.0),
        parcel=parcel,
        corner=(LEFT, TOP) if corner is None else corner,
    )


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
    noise = _smooth(rng, side + 2 * dy, 14)[dy:, dx:]
    excess = noise - np.quantile(noise[:side, :side], 1 - share)
    opacity = np.where(excess > 0, np.clip(0.3 + 1.2 * excess, 0, 1), 0.0)
    cloud, shadow = opacity[:side, :side], opacity[dy : dy + side, dx : dx + side]
    return Sky(cloud, np.where(cloud > 0, 0.0, shadow))


def _reflectance(ground: Ground, sky: Sky, rng: np.random.Generator) -> dict[str, Map]:
    """Surface reflectance of the Sentinel-2 bands and, as ``"kelvin"``, temperature."""
    theta = ground.soil_moisture
    soil = {band: soil_reflectance(theta, band) for band in _BANDS}
    f = _cover_fraction(ground.ndvi, soil["B04"], soil["B08"])
    out = {}
    for band in _BANDS:
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
