"""The ground of a simulated farm: fields, a river, crops, and a soil moisture that is known.

Time is in days since `gssm.simulate_items.START`; maps are 10 m pixels.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from gssm.simulate_items import COARSEST, START

Map = NDArray[np.float64]
Mask = NDArray[np.bool_]

LEFT, TOP, EPSG = 501_360.0, 5_629_680.0, 32631  # a multiple of 60 m: all pixel sizes share it
PIXEL = 10
POROSITY = 0.45  # m3 m-3


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
BANDS = ("B01", "B02", "B03", "B04", "B05", "B06", "B07", "B08", "B8A", "B09", "B11", "B12")
_ROWS: Mapping[str, tuple[float, ...]] = {
    "soil": (0.11, 0.13, 0.17, 0.22, 0.235, 0.25, 0.262, 0.28, 0.285, 0.29, 0.36, 0.31),
    "leaf": (0.025, 0.03, 0.07, 0.03, 0.11, 0.33, 0.42, 0.45, 0.47, 0.46, 0.21, 0.10),
    "water": (0.055, 0.06, 0.06, 0.04, 0.035, 0.03, 0.03, 0.025, 0.025, 0.02, 0.012, 0.008),
    "cloud": (0.58, 0.57, 0.56, 0.57, 0.58, 0.59, 0.60, 0.60, 0.60, 0.55, 0.38, 0.28),
    "wet": (0.5, 0.5, 0.5, 0.5, 0.5, 0.5, 0.5, 0.5, 0.5, 0.48, 0.36, 0.30),
    "c": (5.0, 5.0, 5.0, 5.0, 5.0, 5.0, 5.0, 5.0, 5.0, 4.5, 2.4, 2.2),
}
SPECTRA = {name: dict(zip(BANDS, row, strict=True)) for name, row in _ROWS.items()}
_RED, _NIR = SPECTRA["water"]["B04"], SPECTRA["water"]["B08"]
WATER_NDVI = (_NIR - _RED) / (_NIR + _RED)

RAIN_FIRST, RAIN_EVERY, RAIN_RISE = -3.0, 12.5, 0.2  # days, days, m3 m-3 on dry soil


def _phenology(crop: Mapping[str, Map], day_of_year: float) -> Map:
    """NDVI: the double logistic of Beck et al. (2006), RSE 100, 321-334, rates 1/8 per day."""
    t, mS, mA = day_of_year, 1 / 8, 1 / 8
    season = 1 / (1 + np.exp(-mS * (t - crop["S"]))) + 1 / (1 + np.exp(mA * (t - crop["A"]))) - 1
    return np.asarray(crop["ndvi_min"] + (crop["ndvi_max"] - crop["ndvi_min"]) * season)


def smooth_field(rng: np.random.Generator, side: int, length: float) -> Map:
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
    hills = np.maximum(1 + 0.35 * smooth_field(rng, side, 18), 0.2)
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
        texture=smooth_field(rng, side, 2.0),
        parcel=parcel,
        corner=(LEFT, TOP) if corner is None else corner,
    )
