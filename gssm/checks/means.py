"""The mean of an area at every date, and what of it two orbits tell of the same days."""

from __future__ import annotations

import numpy as np
import pandas as pd
import xarray as xr
from numpy.typing import NDArray

from gssm import metrics

Floats = NDArray[np.float64]

# A date of which less than this share of its pixels has a value has no mean.
LEAST_SHARE = 0.5
# Dates of two orbits that show the same moisture: days between them, and mm of rain.
MOST_DAYS = 2.0
MOST_RAIN = 1.0


def area_means(product: xr.Dataset, vv: xr.DataArray | None) -> pd.DataFrame:
    """Return the mean of all pixels with a value, by date.

    Parameters
    ----------
    product
        In memory, with ``soil_moisture`` (time, y, x) and the coordinate ``relative_orbit``.
    vv
        sigma0 or gamma0 in linear power, (time, y, x), on the same pixels.

    Returns
    -------
    pandas.DataFrame
        By time: ``relative_orbit``, ``share`` of the pixels that ever have a value,
        ``soil_moisture`` and ``uncertainty`` (m3 m-3), ``vv`` (dB of the mean power).
    """
    values = product["soil_moisture"].transpose("time", "y", "x").to_numpy().astype(np.float64)
    valued = np.isfinite(values)
    ever = valued.any(axis=0)
    share = valued.sum(axis=(1, 2)) / max(1, int(ever.sum()))
    table = pd.DataFrame(
        {
            "relative_orbit": product["relative_orbit"].to_numpy(),
            "share": share,
            "soil_moisture": _mean(values, valued),
        },
        index=pd.DatetimeIndex(product["time"].to_numpy(), name="time"),
    )
    table["uncertainty"] = np.nan
    if "soil_moisture_uncertainty" in product:
        half = product["soil_moisture_uncertainty"].transpose("time", "y", "x").to_numpy()
        table["uncertainty"] = _mean(half.astype(np.float64), valued & np.isfinite(half))
    table["vv"] = np.nan
    if vv is not None:
        power = vv.transpose("time", "y", "x").to_numpy().astype(np.float64)
        mean = _mean(power, valued & np.isfinite(power) & (power > 0))
        table["vv"] = 10 * np.log10(mean)
    table.loc[share < LEAST_SHARE, ["soil_moisture", "uncertainty", "vv"]] = np.nan
    return table


def _mean(values: np.ndarray, valued: np.ndarray) -> np.ndarray:
    counts = valued.sum(axis=(1, 2))
    sums = np.where(valued, values, 0.0).sum(axis=(1, 2))
    return np.asarray(np.divide(sums, counts, out=np.full(len(counts), np.nan), where=counts > 0))


def between_orbits(
    means: pd.DataFrame, rain: pd.Series[float] | None, values: Floats | None = None
) -> pd.DataFrame:
    """Return how two orbits agree on dates that show the same moisture.

    Dates at most `MOST_DAYS` apart, each used once, the closest first; and, where rain is
    known, with less than `MOST_RAIN` from the day of the first to that of the second.

    Parameters
    ----------
    means
        As from `area_means`.
    rain
        As from `gssm.checks.rain.check_rain`; or None.
    values
        The maps, (time, y, x) in the order of `means`, of which the pixels with a value on both
        dates are compared: orbits see parts of a place. By default the means are.

    Returns
    -------
    pandas.DataFrame
        A row per pair of orbits (``"161 - 59"``): ``N`` pairs, mean ``days`` between them,
        ``bias`` (the first minus the second) and ``rmsd`` (m3 m-3), ``r``, and ``within``, the
        share whose difference is below the half-width of both intervals.
    """
    numbered = means.assign(row=np.arange(len(means)))
    valued = numbered.dropna(subset=["soil_moisture"]).sort_index()
    orbits = sorted(int(orbit) for orbit in valued["relative_orbit"].unique())
    rows = {}
    for position, one in enumerate(orbits):
        for other in orbits[position + 1 :]:
            rows[f"{one} - {other}"] = _agreement(valued, one, other, rain, values)
    columns = ["N", "days", "bias", "rmsd", "r", "within"]
    return pd.DataFrame.from_dict(rows, orient="index", columns=columns).rename_axis("orbits")


def _agreement(
    means: pd.DataFrame,
    one: int,
    other: int,
    rain: pd.Series[float] | None,
    values: Floats | None,
) -> list[float]:
    first, second = (means[means["relative_orbit"] == orbit] for orbit in (one, other))
    a, b = _closest(pd.DatetimeIndex(first.index), pd.DatetimeIndex(second.index), rain)
    nothing = [0.0, *[float("nan")] * 5]
    if not len(a):
        return nothing
    x, y = first.iloc[a], second.iloc[b]
    x_moisture, y_moisture = (t["soil_moisture"].to_numpy(np.float64) for t in (x, y))
    if values is not None:
        common = [_common(values[i], values[j]) for i, j in zip(x["row"], y["row"], strict=True)]
        x_moisture, y_moisture = np.array(common).T
        both = np.isfinite(x_moisture)  # two dates may have no pixel in common
        x, y, x_moisture, y_moisture = x[both], y[both], x_moisture[both], y_moisture[both]
        if not both.any():
            return nothing
    half = (x["uncertainty"].to_numpy(np.float64) + y["uncertainty"].to_numpy(np.float64)) / 2
    apart = np.abs(x_moisture - y_moisture)
    days = np.abs(pd.DatetimeIndex(x.index) - pd.DatetimeIndex(y.index)) / pd.Timedelta("1D")
    return [
        float(len(x)),
        float(np.mean(days)),
        metrics.bias(y_moisture, x_moisture),
        metrics.rmse(y_moisture, x_moisture),
        metrics.r(y_moisture, x_moisture),
        float(np.mean(apart <= half)) if np.isfinite(half).all() else float("nan"),
    ]


def _common(one: Floats, other: Floats) -> tuple[float, float]:
    """Means of two maps over the pixels that both have."""
    both = np.isfinite(one) & np.isfinite(other)
    if not both.any():
        return float("nan"), float("nan")
    return float(one[both].mean()), float(other[both].mean())


def _closest(
    first: pd.DatetimeIndex, second: pd.DatetimeIndex, rain: pd.Series[float] | None
) -> tuple[list[int], list[int]]:
    """Positions of dates that belong together, each at most once, the closest first."""
    apart = np.abs(first.to_numpy()[:, None] - second.to_numpy()[None]) / np.timedelta64(1, "D")
    left, right = np.nonzero(apart <= MOST_DAYS)
    chosen: list[tuple[int, int]] = []
    for pair in np.argsort(apart[left, right], kind="stable"):
        a, b = int(left[pair]), int(right[pair])
        taken = any(a == one or b == other for one, other in chosen)
        if not taken and not _rained(first[a], second[b], rain):
            chosen.append((a, b))
    chosen.sort()
    return [a for a, _ in chosen], [b for _, b in chosen]


def _rained(one: pd.Timestamp, other: pd.Timestamp, rain: pd.Series[float] | None) -> bool:
    if rain is None:
        return False
    days = pd.date_range(min(one, other).normalize(), max(one, other).normalize())
    return bool(rain.reindex(days).fillna(np.inf).sum() >= MOST_RAIN)
