"""SMAP Level 3 and 4 files (HDF5) on the EASE-Grid 2.0, lazily."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import xarray as xr

from gssm.compare.canonical import Grid
from gssm.compare.cells import window
from gssm.compare.decoding import J2000
from gssm.compare.layouts import Layout
from gssm.compare.netcdf_files import contents, open_stored, time_of_name
from gssm.compare.parts import Part, Raw, refuse

# EASE-Grid 2.0 Global, cylindrical equal-area (NSIDC): upper left corner, and the side of a
# cell by the shape of the grid, in metres.
EASE2 = "EPSG:6933"
LEFT, TOP = -17_367_530.4451615, 7_314_540.8306386
CELL = {(406, 964): 36_032.220840584, (1624, 3856): 9_008.055210146}
# Half orbits of a day: the group, the end of its names, and the local solar hour.
PASSES = (
    ("Soil_Moisture_Retrieval_Data_AM", "", 6, "descending (morning)"),
    ("Soil_Moisture_Retrieval_Data_PM", "_pm", 18, "ascending (evening)"),
)
# Larger than the fill of seconds from J2000; SMAP was launched later.
LEAST_SECONDS = 0.0


def ease2_grid(shape: tuple[int, int], path: Path, layout: Layout) -> Grid:
    """Return the global grid of a shape, rows from north to south."""
    if shape not in CELL:
        known = " or ".join(f"{rows} x {columns}" for rows, columns in CELL)
        refuse(path, layout, f"its arrays are {shape[0]} x {shape[1]} where {known} is a grid")
    side = CELL[shape]
    rows, columns = (np.arange(size, dtype=np.float64) + 0.5 for size in shape)
    return Grid("y", "x", TOP - rows * side, LEFT + columns * side, EASE2)


def read_smap_l3(path: Path, layout: Layout, part: Part) -> Raw:
    """Read morning and evening of one day.

    ``time`` is the nominal local solar time, taken for UTC: what counts is when each cell was
    observed. Where a file does not tell, it is that local solar time at the cell, on the UTC day
    of which the file is.
    """
    found = []
    for group, suffix, hour, _ in PASSES:
        names = {
            f"{name}{suffix}": name
            for name in (*layout.variables, layout.flag, layout.observed)
            if name
        }
        if not _has_group(path, group):
            continue
        stored = open_stored(path, group)
        if layout.variables[0] + suffix not in stored:
            refuse(path, layout, f"{group} has no {layout.variables[0]}{suffix}")
        kept = stored[[name for name in names if name in stored]].rename(
            {old: new for old, new in names.items() if old in stored}
        )
        moment = time_of_name(path, layout).normalize() + pd.Timedelta(hours=hour)
        found.append(_with_moments(_on_grid(kept, path, layout, part, moment), layout))
    if not found:
        refuse(path, layout, f"it has no group {PASSES[0][0]}")
    whole = (
        found[0]
        if len(found) == 1
        else xr.concat(
            found, "time", data_vars="all", coords="minimal", compat="override", join="exact"
        )
    )
    units = str(whole[layout.variables[0]].attrs.get("units", "")) or layout.units
    return Raw(whole, layout.variables[0], units, EASE2)


def _with_moments(dataset: xr.Dataset, layout: Layout) -> xr.Dataset:
    """Give every cell a moment of observation (seconds from J2000), told or by its longitude."""
    assert layout.observed is not None
    moment = pd.Timestamp(dataset["time"].values[0])
    day = moment.normalize()
    # The grid is cylindrical: longitudes are in proportion to x.
    hours = (moment - day) / pd.Timedelta("1h") - dataset["x"] / -LEFT * 180 / 15
    nominal = (day - pd.Timestamp(J2000)).total_seconds() + (hours % 24) * 3600
    stored = dataset[layout.variables[0]]
    seconds = xr.zeros_like(stored, np.float64) + nominal
    if layout.observed in dataset:
        told = dataset[layout.observed]
        seconds = told.where(told > LEAST_SECONDS, seconds)
    seconds.attrs = {}
    return dataset.assign({layout.observed: seconds.where(stored != layout.fill)})


def read_smap_l4(path: Path, layout: Layout, part: Part) -> Raw:
    """Read one time of the 3-hourly means (gph) or the analysis (aup)."""
    for variable in layout.variables:
        group, _, name = variable.partition("/")
        if _has_group(path, group):
            break
    else:
        refuse(path, layout, f"it has no group of {' or '.join(layout.variables)}")
    stored = open_stored(path, group)
    if name not in stored:
        refuse(path, layout, f"{group} has no {name}")
    array = _on_grid(stored[[name]], path, layout, part, time_of_name(path, layout))
    return Raw(array, name, str(array[name].attrs.get("units", "")) or layout.units, EASE2)


def _has_group(path: Path, group: str) -> bool:
    return group in contents(path)


def _on_grid(
    stored: xr.Dataset, path: Path, layout: Layout, part: Part, moment: pd.Timestamp
) -> xr.Dataset:
    """Name the two axes, whatever the file calls them, give them their places, and crop."""
    first = stored[next(iter(stored.data_vars))]
    if first.ndim != 2:
        refuse(path, layout, f"{first.name} has {first.ndim} dimensions where there are two")
    names = dict(zip(first.dims, ("y", "x"), strict=True))
    bare = stored.drop_vars([name for name in names if name in stored.coords])
    grid = ease2_grid((first.shape[0], first.shape[1]), path, layout)
    placed = bare.rename(names).assign_coords(y=grid.y, x=grid.x)
    cropped = placed.isel(window(grid, part.bbox, path.name)).chunk("auto")
    return cropped.expand_dims(time=pd.DatetimeIndex([moment]))
