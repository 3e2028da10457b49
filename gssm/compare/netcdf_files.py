"""Products in NetCDF and Zarr on a grid of latitude and longitude, lazily."""

from __future__ import annotations

import re
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr

from gssm.compare.canonical import GEOGRAPHIC, Grid
from gssm.compare.cells import window
from gssm.compare.layouts import Layout
from gssm.compare.parts import Part, Raw, refuse
from gssm.errors import ReadError

# What axes are called in these files -> here.
NAMES = {"lat": "y", "latitude": "y", "lon": "x", "longitude": "x", "valid_time": "time"}
# Names of files beside those of days, whose values are no day's.
LONGER = re.compile("MONTHLY|DEKADAL", re.IGNORECASE)
MONTHS = re.compile("MONTHLY|MODA", re.IGNORECASE)
TIME_IN_NAME = re.compile(r"(?<!\d)(\d{8})T?(\d{4}(?:\d{2})?)?(?!\d)")


def read_netcdf(path: Path, layout: Layout, part: Part) -> Raw:
    """Read one file as it is stored, cropped, its axes named ``time``, ``y`` and ``x``."""
    if layout.daily and LONGER.search(path.name):
        refuse(path, layout, "it holds means of more than a day")
    dataset = _valid_times(open_stored(path), path, layout)
    names = {old: new for old, new in NAMES.items() if old in dataset.variables}
    dataset = dataset.rename({**names, **_bare_dims(dataset, names)})
    variable = next((name for name in layout.variables if name in dataset), None)
    if variable is None:
        refuse(path, layout, f"it has no variable {' or '.join(layout.variables)}")
    for axis in ("y", "x"):
        if axis not in dataset.coords or dataset[axis].ndim != 1:
            refuse(path, layout, "it has no one-dimensional latitude and longitude")
    keep = [n for n in (variable, layout.uncertainty, layout.flag, layout.observed) if n]
    kept = dataset[[name for name in keep if name in dataset]]
    kept = _one_experiment(kept)
    kept = _with_time(kept, path, layout)
    _refuse_months(kept, variable, path, layout)
    grid = Grid("y", "x", _numbers(kept, "y"), _numbers(kept, "x"), GEOGRAPHIC)
    cropped = kept.isel(window(grid, part.bbox, path.name))
    units = str(cropped[variable].attrs.get("units", "")).strip()
    return Raw(
        dataset=cropped.chunk("auto"),
        variable=variable,
        # The one who gridded SMAP-HydroBlocks says so of the whole file.
        units=units or str(dataset.attrs.get("unit", "")).strip() or layout.units,
        crs=GEOGRAPHIC,
    )


def open_stored(path: Path, group: str | None = None) -> xr.Dataset:
    """Open a file without decoding its numbers; times are decoded where they are axes.

    Raises
    ------
    ReadError
        It cannot be read.
    """
    options: dict[str, Any] = {"mask_and_scale": False, "decode_times": False}
    try:
        if path.is_dir():
            opened: xr.Dataset = xr.open_zarr(path, chunks=None, consolidated=False, **options)
        else:
            opened = xr.open_dataset(path, engine="netcdf4", group=group, **options)
    except Exception as error:  # of netCDF4, zarr or xarray, by what is wrong
        cause = (str(error).strip() or type(error).__name__).splitlines()[0][:200]
        raise ReadError(
            f"{path} cannot be read ({cause}); download it again, or check what it is."
        ) from error
    return opened


def _valid_times(dataset: xr.Dataset, path: Path, layout: Layout) -> xr.Dataset:
    """Take the time for which a value is where a file also tells when its forecast began."""
    if not {"time", "valid_time"} <= set(dataset.variables):
        return dataset
    dims = dataset["valid_time"].dims
    if len(dims) > 1:
        refuse(path, layout, "its valid_time has several dimensions")
    bare = dataset.drop_vars("time")
    if dims == ("time",):
        return bare.assign_coords(time=dataset["valid_time"].variable).drop_vars("valid_time")
    return bare


def _refuse_months(dataset: xr.Dataset, variable: str, path: Path, layout: Layout) -> None:
    """Refuse means of months, which would pass for the hour at which they are told."""
    times = pd.DatetimeIndex(dataset["time"].values)
    kind = str(dataset[variable].attrs.get("GRIB_stepType", ""))
    begin = bool((times.is_month_start & (times == times.normalize())).all())
    several = len(times) > 1 or MONTHS.search(path.name) is not None
    if kind.startswith("avg") or (begin and several):
        refuse(path, layout, "it holds means of months")


def _bare_dims(dataset: xr.Dataset, names: dict[str, str]) -> dict[str, str]:
    """Dimensions without a coordinate of their name."""
    return {d: NAMES[d] for d in map(str, dataset.dims) if d in NAMES and d not in names}


def _numbers(dataset: xr.Dataset, axis: str) -> Any:
    return np.asarray(dataset[axis].values, np.float64)


def _one_experiment(dataset: xr.Dataset) -> xr.Dataset:
    """Merge final and preliminary ERA5-Land, which an old file keeps along ``expver``."""
    if "expver" in dataset.dims:
        fill = {
            str(name): array.encoding.get("_FillValue", array.attrs.get("_FillValue"))
            for name, array in dataset.data_vars.items()
        }
        parts = [dataset.isel(expver=n, drop=True) for n in range(dataset.sizes["expver"])]
        merged = parts[0]
        for part in parts[1:]:
            for name in map(str, merged.data_vars):
                stored = merged[name]
                missing = stored.isnull() if fill[name] is None else stored == fill[name]
                merged[name] = stored.where(~missing, part[name]).assign_attrs(stored.attrs)
        dataset = merged
    return dataset.drop_vars([n for n in ("expver", "number") if n in dataset.coords])


def _with_time(dataset: xr.Dataset, path: Path, layout: Layout) -> xr.Dataset:
    """Give every file an axis of decoded times, of its own or of its name."""
    if "time" in dataset.variables and "units" in dataset["time"].attrs:
        decoded = xr.decode_cf(dataset[["time"]], mask_and_scale=False)["time"]
        if decoded.dtype.kind != "M":
            refuse(path, layout, "its times are not of the standard calendar")
        times = pd.DatetimeIndex(np.atleast_1d(decoded.values)).as_unit("ns")
    else:
        times = pd.DatetimeIndex([time_of_name(path, layout)])
    if "time" not in dataset.dims:
        dataset = dataset.drop_vars("time", errors="ignore").expand_dims("time")
    if len(times) != dataset.sizes["time"]:
        refuse(path, layout, "its times are not those of its values")
    return dataset.assign_coords(time=times)


def time_of_name(path: Path, layout: Layout) -> pd.Timestamp:
    """Return the date, and the time of day if any, in a file's name.

    Raises
    ------
    ReadError
        There is none, or there are two.
    """
    every = list(TIME_IN_NAME.finditer(path.name))
    if len({one[1] for one in every}) > 1:
        refuse(path, layout, "it has two dates in its name, and nothing says which is the map's")
    found = every[0] if every else None
    moment = None
    if found is not None:
        clock = (found[2] or "").ljust(6, "0")
        moment = pd.to_datetime(found[1] + clock, format="%Y%m%d%H%M%S", errors="coerce")
    if moment is None or pd.isna(moment):
        refuse(path, layout, "it has no date in its name (YYYYMMDD or YYYYMMDDTHHMMSS)")
    return pd.Timestamp(moment).as_unit("ns")


@lru_cache(maxsize=64)
def _contents(path: str, changed: float) -> frozenset[str]:
    if Path(path).is_dir():
        with xr.open_zarr(path, chunks=None, consolidated=False, decode_times=False) as store:
            return frozenset(map(str, store.variables))
    from netCDF4 import Dataset

    with Dataset(path) as file:
        return frozenset({*file.variables, *file.groups})


def contents(path: Path) -> frozenset[str]:
    """Names of the variables and groups at the root of a file; none of what is no NetCDF."""
    try:
        return _contents(str(path), path.stat().st_mtime)
    except Exception:  # whatever it is, it is none of these
        return frozenset()
