"""The physical checks of a map, and what each of them found."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import xarray as xr
from numpy.typing import NDArray

from gssm.checks import space
from gssm.checks.means import area_means, between_orbits
from gssm.checks.products import check_product, check_range
from gssm.checks.rain import SPIN_UP, antecedent_precipitation, check_rain, settled
from gssm.checks.resampling import RESAMPLES
from gssm.checks.response import rain_response
from gssm.checks.seasons import by_month
from gssm.errors import CubeError, RequestError
from gssm.metrics import spearman
from gssm.models.ensemble import TARGET

if TYPE_CHECKING:
    from matplotlib.figure import Figure

# What a check is held against; see docs/check.md for where each comes from.
LEAST_RESPONSE = 0.6
MOST_TEXTURE = 0.75
MOST_ORBIT_BIAS = 0.02  # m3 m-3
MIN_MONTHS = 6
MIN_PAIRS = 10


@dataclass(frozen=True)
class Finding:
    """What one check found.

    Parameters
    ----------
    check
        Its name.
    says
        The figures in words, with their number of dates.
    expected
        What a good map shows.
    reached
        Whether this one does; None where there was too little to tell.
    """

    check: str
    says: str
    expected: str
    reached: bool | None


@dataclass(frozen=True)
class Report:
    """What the physical checks of a map found.

    Parameters
    ----------
    findings
        One per check.
    means
        By date: mean soil moisture of the area, raw VV, and the index of rain.
    rain, months, orbits, seams
        Tables of the checks; see `gssm.checks.response.rain_response`,
        `gssm.checks.seasons.by_month`, `gssm.checks.means.between_orbits` and
        `gssm.checks.space.seams`.
    texture
        Of every date's map; see `gssm.checks.space.texture`.
    """

    findings: tuple[Finding, ...]
    means: pd.DataFrame
    rain: pd.DataFrame
    months: pd.DataFrame
    orbits: pd.DataFrame
    seams: pd.DataFrame
    texture: pd.Series[float]

    @property
    def passed(self) -> bool:
        """Whether no check found less than is expected of a good map."""
        return all(finding.reached is not False for finding in self.findings)

    def __str__(self) -> str:
        from gssm.checks.text import as_text

        return as_text(self)

    def series(self) -> Figure:
        """Draw mean soil moisture over time, with rain and its index."""
        from gssm.checks.figures import draw_series

        return draw_series(self)

    def save(self, folder: str | Path, *, overwrite: bool = False) -> list[Path]:
        """Write the report, its tables as CSV and a figure to a new folder."""
        from gssm.checks.saving import save

        return save(self, folder, overwrite=overwrite)


def check(
    product: xr.Dataset,
    *,
    rain: pd.Series[float] | None = None,
    cube: xr.Dataset | None = None,
    fields: xr.DataArray | None = None,
    footprints: xr.DataArray | None = None,
    again: xr.Dataset | None = None,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> Report:
    """Check a map by what is known of the world without any station.

    Does it get wetter with rain, is it wet in wet months, do two orbits agree on the same
    days, do fields look like fields, is there a seam where images or their dates meet, and does
    it come out the same in other chunks? Everything is computed and held in memory.

    Parameters
    ----------
    product
        From `gssm.predict` or `gssm.open_archive`: ``soil_moisture`` (m3 m-3) over (time, y, x)
        and the coordinate ``relative_orbit``.
    rain
        Millimetres by day, every day from months before the first date; see
        `gssm.checks.rain.read_rain`. The first 29 days of it have no index.
    cube
        What the product was made of: raw ``vv`` to compare with, and ``s2_age``, where one image
        ends and another begins.
    fields
        A number for each field over (y, x), on the product's pixels; NaN and 0 are none.
    footprints
        A number for each combination of images that cover a pixel, over (y, x).
    again
        The same map made in other chunks, of all dates or of some.
    resamples, seed
        Of the 95 % intervals.

    Returns
    -------
    Report

    Raises
    ------
    CubeError
        The product has no soil moisture in m3 m-3, dates, orbits or values, or is too large.
    RequestError
        Rain has gaps or other units, or fields lie on other pixels.
    """
    check_product(product)
    daily = None if rain is None else check_rain(rain)
    index = None if daily is None else settled(antecedent_precipitation(daily))
    kept = [n for n in (TARGET, "soil_moisture_uncertainty") if n in product]
    loaded = product[kept].transpose("time", "y", "x").compute()
    values = loaded[TARGET].to_numpy().astype(np.float64)
    if not np.isfinite(values).any():
        raise CubeError("no pixel of the product has a value; check its quality_flag for why.")
    check_range(values)
    means = area_means(loaded, _of_cube(cube, product, "vv"))
    means["api"] = np.nan
    if index is not None:
        means["api"] = index.reindex(pd.DatetimeIndex(means.index).normalize()).to_numpy()
    response = (
        rain_response(means, index, resamples=resamples, seed=seed)
        if index is not None
        else rain_response(means, pd.Series(dtype=float), resamples=resamples, seed=seed)
    )
    months = by_month(means, index)
    orbits = between_orbits(means, daily, values)
    rough = pd.Series(space.texture(values).to_numpy(), means.index, name="texture")
    age = _of_cube(cube, product, "s2_age")
    edges = _edges(age, _on_pixels(footprints, product, "footprints"))
    steps = space.seams(values, edges, seed=seed)
    labels = _on_pixels(fields, product, "fields")
    findings = (
        _of_rain(response, means, index is not None),
        _of_seasons(months),
        _of_orbits(orbits),
        _of_texture(rough),
        *_of_fields(values, labels, seed),
        *(_of_seam(str(name), row) for name, row in steps.iterrows()),
        *_of_chunks(loaded[TARGET], again),
    )
    return Report(findings, means, response, months, orbits, steps, rough)


def _of_cube(cube: xr.Dataset | None, product: xr.Dataset, name: str) -> xr.DataArray | None:
    """Return a variable of the cube, or of the product, in memory on the product's pixels."""
    source = cube if cube is not None and name in cube else product
    if name not in source:
        return None
    try:
        found, _ = xr.align(source[name], product[TARGET], join="exact")
    except ValueError as error:
        raise CubeError(
            f"{name!r} of the cube lies on other pixels or dates than the product; give the cube "
            "that the product was made of."
        ) from error
    return found.transpose("time", "y", "x").compute()


def _on_pixels(labels: xr.DataArray | None, product: xr.Dataset, name: str) -> NDArray[Any] | None:
    if labels is None:
        return None
    if not isinstance(labels, xr.DataArray) or labels.dtype.kind not in "biuf":
        raise RequestError(
            f"the {name} are no numbers in an xarray.DataArray; give one number for each pixel."
        )
    if any(labels.indexes[n].has_duplicates for n in ("y", "x") if n in labels.indexes):
        raise RequestError(f"the {name} have a row or column twice; give them on one grid.")
    on_map = {axis: product[axis] for axis in ("y", "x")}
    found = labels.reindex(on_map, method="nearest", tolerance=1e-3, fill_value=0)
    if set(found.dims) != {"y", "x"}:
        raise RequestError(f"the {name} are not over (y, x); give one number for each pixel.")
    numbers = found.transpose("y", "x").to_numpy()
    if not np.nan_to_num(numbers).any():
        raise RequestError(
            f"the {name} lie on other pixels than the product; give them on its own grid."
        )
    return np.asarray(numbers)


def _edges(age: xr.DataArray | None, footprints: NDArray[Any] | None) -> dict[str, space.Edges]:
    edges = {}
    if age is not None:
        edges["dates of images"] = space.age_edges(age.to_numpy().astype(np.float64))
    if footprints is not None:
        edges["images"] = space.footprint_edges(footprints)
    return edges


def _of_rain(response: pd.DataFrame, means: pd.DataFrame, known: bool) -> Finding:
    expected = f"Spearman at least {LEAST_RESPONSE:g} in each orbit, and above raw VV"
    if not known:
        return Finding("response to rain", "no rain was given", expected, None)
    without = int((means["soil_moisture"].notna() & means["api"].isna()).sum())
    left_out = f"{without} dates have no index, which rests on {SPIN_UP} days of rain"
    if response.empty:
        cause = "too few dates" + (f"; {left_out}" if without else "")
        return Finding("response to rain", cause, expected, None)
    parts: list[str] = []
    reached: bool | None = True
    for orbit, row in response.iterrows():
        ends = f"{row['spearman']:.2f} [{row['spearman_low']:.2f}, {row['spearman_high']:.2f}]"
        radar = f", raw VV {row['vv']:.2f}" if np.isfinite(row["vv"]) else ""
        parts.append(f"orbit {orbit}: {ends}{radar}, N {row['N']:.0f}")
        good = row["spearman"] >= LEAST_RESPONSE and not row["vv"] >= row["spearman"]
        # Of rain or moisture that never changes there is no correlation.
        told = bool(good) if np.isfinite(row["spearman"]) else None
        reached = False if False in (told, reached) else None if None in (told, reached) else True
    parts += [left_out] if without else []
    return Finding("response to rain", "; ".join(parts), expected, reached)


def _of_seasons(months: pd.DataFrame) -> Finding:
    valued = months.dropna(subset=["soil_moisture"])
    expected = "months with more rain behind them are wetter: Spearman above 0"
    if valued.empty:
        return Finding("seasons", "no date has values on half of the place", expected, None)
    driest, wettest = (valued["soil_moisture"].agg(end) for end in ("idxmin", "idxmax"))
    says = (
        f"driest {driest:%Y-%m} ({valued['soil_moisture'].min():.3f} m3 m-3), wettest "
        f"{wettest:%Y-%m} ({valued['soil_moisture'].max():.3f}), {len(valued)} months"
    )
    both = valued.dropna(subset=["api"])
    if len(both) < MIN_MONTHS:
        return Finding("seasons", says, expected, None)
    value = spearman(both["api"], both["soil_moisture"])
    reached = bool(value > 0) if np.isfinite(value) else None
    told = f"Spearman {value:.2f} of {len(both)} months; {says}"
    return Finding("seasons", told, expected, reached)


def _of_orbits(orbits: pd.DataFrame) -> Finding:
    expected = f"a bias between orbits of at most {MOST_ORBIT_BIAS:g} m3 m-3 on the same days"
    usable = orbits[orbits["N"] >= MIN_PAIRS]
    if usable.empty:
        return Finding("orbit to orbit", "too few dates of two orbits", expected, None)
    parts = [
        f"{name}: bias {row['bias']:+.3f}, RMSD {row['rmsd']:.3f} m3 m-3, r {row['r']:.2f}, "
        f"N {row['N']:.0f}"
        for name, row in usable.iterrows()
    ]
    reached = bool((usable["bias"].abs() <= MOST_ORBIT_BIAS).all())
    return Finding("orbit to orbit", "; ".join(parts), expected, reached)


def _of_texture(rough: pd.Series[float]) -> Finding:
    expected = (
        f"neighbours differ less than pixels 100 m apart: at most {MOST_TEXTURE:g} (noise: 1)"
    )
    known = rough.dropna()
    if known.empty:
        return Finding("texture", "the maps are too small or empty", expected, None)
    value = float(known.median())
    says = f"{value:.2f} in the median of {len(known)} dates"
    return Finding("texture", says, expected, value <= MOST_TEXTURE)


def _of_fields(
    values: NDArray[np.float64], labels: NDArray[Any] | None, seed: int
) -> list[Finding]:
    if labels is None:
        return []
    share, chance = space.between_fields(space.mean_map(values), labels, seed)
    says = f"{share:.0%} of the variance of the mean map lies between fields; {chance:.0%} if moved"
    reached = bool(share > chance) if np.isfinite(share + chance) else None
    return [Finding("fields", says, "more than for fields moved elsewhere (95 %)", reached)]


def _of_seam(name: str, row: pd.Series[float]) -> Finding:
    check, expected = f"seams of {name}", "steps across no larger than where there is no seam"
    if not np.isfinite(row["ratio"] + row["moved_high"]):
        return Finding(check, "there is none here", expected, None)
    says = (
        f"{row['ratio']:.2f} of the steps beside; {row['moved_low']:.2f} to "
        f"{row['moved_high']:.2f} if moved; {row['N']:.0f} steps on {row['dates']:.0f} dates"
    )
    return Finding(check, says, expected, bool(row["ratio"] <= row["moved_high"]))


def _of_chunks(values: xr.DataArray, again: xr.Dataset | None) -> list[Finding]:
    if again is None:
        return []
    try:
        first, second = xr.align(values.sel(time=again["time"]), again[TARGET], join="exact")
    except (KeyError, ValueError) as error:
        raise RequestError(
            "the map made again lies on other pixels or dates than the product; make it of the "
            "same cube."
        ) from error
    one, other = (m.transpose("time", "y", "x").to_numpy() for m in (first, second))
    gaps = int((np.isnan(one) != np.isnan(other)).sum())
    apart = float(np.nanmax(np.abs(one - other), initial=0.0))
    says = f"largest difference {apart:g} m3 m-3 on {len(one)} dates"
    says += f", {gaps} pixels with a value in one of them only" if gaps else ""
    expected = "the same map, whatever the chunks"
    return [Finding("chunks", says, expected, apart == 0 and not gaps)]
