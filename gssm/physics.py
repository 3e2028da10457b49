"""Physics on plain arrays: decibel, vegetation indices, the Water Cloud Model.

Numpy in, numpy out; no xarray, no Dask. Symbols and equation numbers follow the
GSSM-10 paper (Xu, Daccache and Ahmadi 2025, section 2.2.1).
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

Polarization = Literal["vv", "vh"]
FloatArray = NDArray[np.floating[Any]]


def decibel_to_linear(decibel: ArrayLike) -> FloatArray:
    """Convert decibel to linear power, ``10 ** (dB / 10)``."""
    decibel = _floating(decibel)
    return np.asarray(np.power(decibel.dtype.type(10), decibel / 10))


def linear_to_decibel(linear: ArrayLike) -> FloatArray:
    """Convert linear power to decibel, ``10 log10(x)``; zero and below become NaN."""
    linear = _floating(linear)
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.asarray(np.where(linear > 0, 10 * np.log10(linear), np.nan), linear.dtype)


# Backscatter falls with the incidence angle (dB per degree). Fitted to 147 stations seen
# from several orbits, within station and season, from the radar alone.
REFERENCE_ANGLE = 40.0
INCIDENCE_SLOPES: dict[str, float] = {
    "vv_db": -0.14,
    "vh_db": -0.07,
    "vv_soil": -0.14,
    "vh_soil": -0.055,
}


def normalize_incidence(decibel: ArrayLike, incidence_angle: ArrayLike, slope: float) -> FloatArray:
    """Backscatter (dB) as it would be at 40 degrees: ``dB - slope * (angle - 40)``.

    The linear model of Wagner et al. (1999, doi 10.1016/S0034-4257(99)00036-X), without
    which orbits of different incidence angles cannot share one dry and wet reference.
    """
    angle = _floating(incidence_angle)
    return np.asarray(_floating(decibel) - np.float32(slope) * (angle - REFERENCE_ANGLE))


def relative_position(values: ArrayLike, low: ArrayLike, high: ArrayLike) -> FloatArray:
    """Where values lie between a dry (0) and a wet (1) reference; may lie beyond both.

    NaN where the references are (nearly) equal: nothing can be told between them.
    """
    value, lower, upper = _floating(values), _floating(low), _floating(high)
    span = upper - lower
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.asarray(np.where(span > NO_SPAN, (value - lower) / span, np.nan), value.dtype)


# Less between the 5th and the 95th percentile is rounding, in dB, kelvin or reflectance.
NO_SPAN = 1e-4


def normalized_difference(a: ArrayLike, b: ArrayLike) -> FloatArray:
    """Return ``(a - b) / (a + b)``, NaN where the sum is not positive.

    With near-infrared and red reflectance this is NDVI (eq. 1), with near- and
    short-wave infrared NDMI (eq. 2). A sum at or below zero happens where an
    atmospheric correction went below zero; its ratio has no meaning there. The
    result is clipped to its mathematical range [-1, 1] for non-negative inputs.
    """
    a, b = _floating(a), _floating(b)
    total = a + b
    with np.errstate(invalid="ignore", divide="ignore"):
        ratio = np.where(total > 0, (a - b) / total, np.nan)
    return np.asarray(np.clip(ratio, -1, 1), total.dtype)


@dataclass(frozen=True)
class WaterCloud:
    """Parameters of the Water Cloud Model, equations 7 to 10 of the paper.

    ``A = a * NDVI`` and ``B = b * NDVI`` with one slope up to the threshold and
    another above it.

    Parameters
    ----------
    a_vv, b_vv, a_vh, b_vh
        Slopes of A and B (dimensionless) at and below, and above, the threshold.
    threshold
        NDVI at which the slopes change; the threshold itself takes the lower branch.
    floor_db
        Where the vegetation term exceeds the signal, the soil term is not positive.
        None makes it NaN; a number (the published table used -60 dB) makes this the
        smallest soil backscatter.
    """

    a_vv: tuple[float, float] = (0.12, 0.095)
    b_vv: tuple[float, float] = (0.70, 0.56)
    a_vh: tuple[float, float] = (0.05, 0.04)
    b_vh: tuple[float, float] = (1.45, 1.16)
    threshold: float = 0.8
    floor_db: float | None = None

    def to_dict(self) -> dict[str, Any]:
        """Return plain JSON types."""
        return {k: list(v) if isinstance(v, tuple) else v for k, v in asdict(self).items()}

    @classmethod
    def from_dict(cls, record: dict[str, Any]) -> WaterCloud:
        """Inverse of `to_dict`."""
        values: dict[str, Any] = {
            k: tuple(v) if isinstance(v, list) else v for k, v in record.items()
        }
        return cls(**values)


def vegetation_terms(
    ndvi: ArrayLike,
    incidence_angle: ArrayLike,
    polarization: Polarization,
    water_cloud: WaterCloud,
) -> tuple[FloatArray, FloatArray]:
    """Two-way attenuation and vegetation backscatter (eqs 4, 5, 7-10).

    Parameters
    ----------
    ndvi
        Normalized difference vegetation index; the vegetation descriptor V is NDVI
        clipped to [0, 1].
    incidence_angle
        Degrees.

    Returns
    -------
    tau2, sigma_veg
        Linear, dimensionless, in the common floating type of the inputs.
    """
    ndvi = _floating(ndvi)
    theta = np.deg2rad(_floating(incidence_angle))
    lower = ndvi <= water_cloud.threshold
    slopes_a: tuple[float, float] = getattr(water_cloud, f"a_{polarization}")
    slopes_b: tuple[float, float] = getattr(water_cloud, f"b_{polarization}")
    A = ndvi * np.where(lower, *slopes_a).astype(ndvi.dtype)
    B = ndvi * np.where(lower, *slopes_b).astype(ndvi.dtype)
    V = np.clip(ndvi, 0, 1)
    tau2 = np.exp(-2 * B * V / np.cos(theta))  # eq. 4
    sigma_veg = A * V * np.cos(theta) * (1 - tau2)  # eq. 5
    return np.asarray(tau2), np.asarray(sigma_veg)


def soil_backscatter(
    sigma_total: ArrayLike,
    ndvi: ArrayLike,
    incidence_angle: ArrayLike,
    polarization: Polarization,
    water_cloud: WaterCloud | None = None,
) -> FloatArray:
    """Soil backscatter under vegetation, the inverted Water Cloud Model (eq. 6).

    Parameters
    ----------
    sigma_total
        Observed sigma0, linear power.
    ndvi, incidence_angle
        See `vegetation_terms`.

    Returns
    -------
    ndarray
        Soil backscatter in dB. Where the soil term is not positive: NaN, or
        ``water_cloud.floor_db``.
    """
    water_cloud = water_cloud or WaterCloud()
    tau2, sigma_veg = vegetation_terms(ndvi, incidence_angle, polarization, water_cloud)
    sigma_soil = (_floating(sigma_total) - sigma_veg) / tau2  # eq. 6
    soil_db = linear_to_decibel(sigma_soil)
    if water_cloud.floor_db is None:
        return soil_db
    floored = np.where(sigma_soil <= 0, water_cloud.floor_db, soil_db)
    return np.asarray(np.maximum(floored, water_cloud.floor_db), soil_db.dtype)


def total_backscatter(
    sigma_soil: ArrayLike,
    ndvi: ArrayLike,
    incidence_angle: ArrayLike,
    polarization: Polarization,
    water_cloud: WaterCloud | None = None,
) -> FloatArray:
    """Forward Water Cloud Model (eq. 3): linear soil backscatter in, linear sigma0 out."""
    tau2, sigma_veg = vegetation_terms(
        ndvi, incidence_angle, polarization, water_cloud or WaterCloud()
    )
    return np.asarray(sigma_veg + tau2 * _floating(sigma_soil))


def _floating(values: ArrayLike) -> FloatArray:
    array = np.asarray(values)
    if np.issubdtype(array.dtype, np.floating):
        return array
    return array.astype(np.float64)
