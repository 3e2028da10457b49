"""Daily rain at a place, and the antecedent precipitation index made of it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr

from gssm.errors import RequestError

# Share of a day's index that is left the next day (Kohler and Linsley 1951 give 0.85 to 0.98).
RECESSION = 0.9
# What daily rain is called in AgERA5, ERA5 and ERA5-Land, CF, and tables of stations.
NAMES = ("precipitation_flux", "total_precipitation", "tp", "pr", "precipitation", "rain", "prcp")
TIMES = ("time", "timestamp", "valid_time", "date")
LATITUDES, LONGITUDES = ("latitude", "lat"), ("longitude", "lon")
METRES = ("m", "m of water equivalent")
# Millimetres a day in one of the unit; a metre and a millimetre are of a day's sum.
MILLIMETRES: Mapping[str, float] = MappingProxyType(
    {
        **dict.fromkeys(("mm d-1", "mm day-1", "mm/day", "mm/d", "mm", "kg m-2", "kg m**-2"), 1.0),
        **dict.fromkeys(("kg m-2 s-1", "kg m**-2 s**-1", "mm s-1"), 86_400.0),
        **dict.fromkeys((*METRES, "m day-1"), 1000.0),
    }
)
# The largest rain of a day ever measured: 1 825 mm (Foc-Foc, La Réunion, 1966).
MOST_RAIN = 1825.0
# Days of rain that an index rests on: 0.9 ** 30 leaves 4 % of what fell before them.
SPIN_UP = 30
# Degrees between a place and the cell that stands for it.
FARTHEST = 1.0


def read_rain(
    path: str | Path, longitude: float, latitude: float, *, variable: str | None = None
) -> pd.Series[float]:
    """Read daily rain at a place.

    Parameters
    ----------
    path
        NetCDF with daily values of one place, or on a grid of latitude and longitude, of which
        the nearest cell is taken; or CSV or Parquet with a column of dates. Sums told at 00:00
        and accumulated (``GRIB_stepType``) are those of the day before, as in ERA5-Land.
    longitude, latitude
        Degrees.
    variable
        Its name in the file; by default one of `NAMES`.

    Returns
    -------
    pandas.Series
        Millimetres, by day (UTC), every day once, in order.

    Raises
    ------
    RequestError
        There is no such file or variable, its units are unknown, a day is missing, twice or
        NaN, or the place is not in it.
    """
    file = Path(path).expanduser()
    if not file.is_file():
        raise RequestError(f"there is no file of rain at {file}; check the path.")
    try:
        if file.suffix.lower() in (".csv", ".parquet"):
            found = _of_table(file, variable)
        else:
            found = _of_grid(file, longitude, latitude, variable)
    except (OSError, ValueError, TypeError, pd.errors.InvalidIndexError) as error:
        if isinstance(error, RequestError):
            raise
        raise RequestError(
            f"{file} cannot be read as daily rain ({str(error).splitlines()[0]}); give NetCDF, "
            "CSV or Parquet."
        ) from error
    return check_rain(found, str(file))


def check_rain(rain: Any, name: str = "rain") -> pd.Series[float]:
    """Return rain by day, in order; refuse what no index can be made of.

    Raises
    ------
    RequestError
        See `read_rain`.
    """
    if not isinstance(rain, pd.Series):
        raise RequestError(
            f"{name} is a {type(rain).__name__}; give a pandas Series of millimetres by day, such "
            "as from gssm.checks.rain.read_rain(path, longitude, latitude)."
        )
    if not pd.api.types.is_numeric_dtype(rain.dtype):
        raise RequestError(f"{name} holds no numbers ({rain.dtype}); give millimetres a day.")
    try:
        days = pd.DatetimeIndex(rain.index)
    except (TypeError, ValueError) as error:
        raise RequestError(f"{name} is not by day; give it an index of dates.") from error
    if days.hasnans:
        raise RequestError(
            f"{name} has {int(np.isnat(days.to_numpy()).sum())} rows without a date; drop them."
        )
    # The day that somebody's clock says: most of it is that day's in UTC.
    days = (days.tz_localize(None) if days.tz is not None else days).normalize()
    daily = pd.Series(
        np.asarray(rain, np.float64), pd.DatetimeIndex(days), name="rain"
    ).sort_index()
    if daily.empty:
        raise RequestError(f"{name} has no day; check the file.")
    if daily.index.has_duplicates:
        twice = daily.index[daily.index.duplicated()][0]
        raise RequestError(f"{name} has {twice:%Y-%m-%d} twice; give daily sums of one place.")
    every = pd.date_range(daily.index[0], daily.index[-1])
    missing = every[~every.isin(daily.index[daily.notna().to_numpy()])]
    if len(missing):
        raise RequestError(
            f"{name} has no value of {len(missing)} days, the first {missing[0]:%Y-%m-%d}; fill "
            "the gaps, since the index of a day is made of all days before."
        )
    if daily.min() < 0:
        raise RequestError(
            f"{name} holds {daily.min():g}, which is no rain; drop what stands for no value and "
            "fill the gaps."
        )
    if daily.max() > MOST_RAIN:
        raise RequestError(
            f"{name} ranges from {daily.min():g} to {daily.max():g}; give millimetres a day."
        )
    return daily


def antecedent_precipitation(
    rain: pd.Series[float], recession: float = RECESSION
) -> pd.Series[float]:
    """Return the antecedent precipitation index (mm) of every day, its own rain included.

    ``API(t) = k API(t - 1) + P(t)``, from nothing before the first day (Kohler and Linsley
    1951, US Weather Bureau Research Paper 34).

    Parameters
    ----------
    rain
        As from `read_rain`.
    recession
        ``k``, above 0 and below 1.
    """
    if not 0 < recession < 1:
        raise RequestError(f"the recession {recession:g} is not between 0 and 1; give such as 0.9.")
    # adjust=False is (1 - alpha) y + alpha x: the same but for the factor and the first day.
    padded = np.concatenate([[0.0], rain.to_numpy()])
    index = pd.Series(padded).ewm(alpha=1 - recession, adjust=False).mean() / (1 - recession)
    return pd.Series(index.to_numpy()[1:], rain.index, name="api")


def settled(index: pd.Series[float]) -> pd.Series[float]:
    """Return an index without the days that rest on less than `SPIN_UP` days of rain (NaN)."""
    return index.where(np.arange(len(index)) >= SPIN_UP - 1)


def _of_table(file: Path, variable: str | None) -> pd.Series[float]:
    table = pd.read_csv(file) if file.suffix.lower() == ".csv" else pd.read_parquet(file)
    if not isinstance(table.index, pd.DatetimeIndex):
        dates = _one_of(TIMES, list(table.columns), f"{file}: a column of dates")
        told = table[dates]
        if pd.api.types.is_integer_dtype(told):  # 20170801, which pandas takes for nanoseconds
            told = pd.to_datetime(told.astype(str), format="%Y%m%d")
        table = table.set_index(pd.DatetimeIndex(pd.to_datetime(told)))
    name = variable or _one_of(NAMES, list(table.columns), f"{file}: a column of rain")
    if name not in table:
        raise RequestError(f"{file} has no column {name!r}; it has {', '.join(table.columns)}.")
    return pd.Series(table[name].astype(np.float64))


def _of_grid(
    file: Path, longitude: float, latitude: float, variable: str | None
) -> pd.Series[float]:
    with xr.open_dataset(file) as dataset:
        names = [str(name) for name in dataset.data_vars]
        name = variable or _one_of(NAMES, names, f"{file}: a variable of rain")
        if name not in dataset:
            raise RequestError(f"{file} has no variable {name!r}; it has {', '.join(names)}.")
        array = dataset[name]
        factor = _factor(array, file)
        cell = _nearest(array, longitude, latitude, file)
        time = _one_of(TIMES, [str(dim) for dim in cell.dims], f"{file}: a dimension of time")
        days = _days_of_rain(pd.DatetimeIndex(cell[time].to_numpy()), array, file)
        return pd.Series(cell.transpose(time).to_numpy().astype(np.float64) * factor, days)


def _days_of_rain(times: pd.DatetimeIndex, array: xr.DataArray, file: Path) -> pd.DatetimeIndex:
    """Days of sums; one since 00:00 that is told at 00:00, as ERA5-Land's, is of the day before."""
    at_midnight = bool((times == times.normalize()).all())
    if at_midnight and array.attrs.get("GRIB_stepType") == "accum":
        return times - pd.Timedelta("1D")
    if at_midnight and str(array.attrs["units"]).strip() in METRES:
        raise RequestError(
            f"{file} has sums in metres at 00:00, which are of the day before in ERA5-Land's own "
            "files and of the day itself in daily statistics; convert them to mm, and give each "
            "the date of its day."
        )
    return times


def _factor(array: xr.DataArray, file: Path) -> float:
    units = str(array.attrs.get("units", "")).strip()
    if units not in MILLIMETRES:
        raise RequestError(
            f"{file}: the units of {array.name!r} are {units or 'not said'!r}, which gssm cannot "
            f"turn into millimetres a day; give one of {', '.join(MILLIMETRES)}."
        )
    return MILLIMETRES[units]


def _nearest(array: xr.DataArray, longitude: float, latitude: float, file: Path) -> xr.DataArray:
    """Return the series of the cell that holds a place; the only one, where nothing says where."""
    for names, value in ((LATITUDES, latitude), (LONGITUDES, longitude)):
        axis = next((name for name in names if name in array.coords), None)
        if axis is None or array[axis].ndim > 1:
            continue
        centres = np.atleast_1d(array[axis].to_numpy()).astype(np.float64)
        turned = value % 360 if names is LONGITUDES and centres.max() > 180 else value
        steps = np.abs(np.diff(centres))
        # No farther than a neighbour would be.
        if not np.abs(centres - turned).min() <= min([FARTHEST, *steps]):
            raise RequestError(f"{file} does not reach {longitude:g}, {latitude:g}; give another.")
        if axis in array.dims:
            array = array.isel({axis: int(np.abs(centres - turned).argmin())})
    single = {dim: 0 for dim in array.dims if array.sizes[dim] == 1 and dim not in TIMES}
    array = array.isel(single)
    if array.ndim != 1:
        raise RequestError(
            f"{file}: {array.name!r} has the dimensions {', '.join(map(str, array.dims))}; give "
            "the days of one place, or a grid of latitude and longitude."
        )
    return array


def _one_of(known: tuple[str, ...], names: list[str], what: str) -> str:
    for name in known:
        if name in names:
            return name
    raise RequestError(
        f"{what} is not there (such as {known[0]!r}); it has {', '.join(map(str, names))}."
    )
