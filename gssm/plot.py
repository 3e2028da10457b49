"""Figures. Every function returns a matplotlib Axes and shows or saves nothing."""

from __future__ import annotations

import contextlib
from datetime import date
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import xarray as xr

from gssm import quality
from gssm.errors import CubeError
from gssm.training.figures import (
    plot_calibration,
    plot_history,
    plot_importance,
    plot_scatter,
    plot_series,
    plot_skill_by_station,
    plot_stations,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.colors import BoundaryNorm, ListedColormap

__all__ = [
    "plot_calibration",
    "plot_history",
    "plot_importance",
    "plot_map",
    "plot_scatter",
    "plot_series",
    "plot_skill_by_station",
    "plot_stations",
    "soil_moisture_colours",
]

# The ten classes of 0.05 m3 m-3 of the GSSM-10 application, dry to wet.
SOIL_MOISTURE_COLOURS = (
    *("#8f7131", "#b08e42", "#c2b94d", "#afc35e", "#96c973"),
    *("#86c58e", "#64b9b2", "#478fcd", "#3461c6", "#264cb5"),
)
CLASS_WIDTH = 0.05
WATER_COLOUR = "#16365c"
NO_VALUE_COLOUR = "#d9d9d9"


def soil_moisture_colours() -> tuple[ListedColormap, BoundaryNorm]:
    """Colour map and class limits of soil moisture, 0 to 0.5 m3 m-3."""
    from matplotlib.colors import BoundaryNorm, ListedColormap

    colours = ListedColormap(list(SOIL_MOISTURE_COLOURS), name="soil_moisture")
    limits = np.arange(len(SOIL_MOISTURE_COLOURS) + 1) * CLASS_WIDTH
    return colours, BoundaryNorm(limits, colours.N)


def plot_map(
    dataset: xr.Dataset,
    variable: str = "soil_moisture",
    *,
    time: int | str | date | np.datetime64 = 0,
    ax: Axes | None = None,
    legend: bool = True,
) -> Axes:
    """Draw one variable at one time, with a legend and its units.

    Parameters
    ----------
    dataset
        Output of `gssm.predict`, or a cube.
    variable
        Name of the variable; soil moisture gets its own ten classes.
    time
        Position along ``time``, from the end if negative; or a moment (UTC), of which the
        nearest acquisition is drawn. Not read where there is one time only.
    ax
        Axes to draw on; new ones by default.
    legend
        Draw the colour bar.

    Raises
    ------
    CubeError
        There is no such variable or time, or what is left is no map ``(y, x)``.
    """
    import matplotlib.pyplot as plt

    if variable not in dataset:
        names = ", ".join(map(str, dataset))
        raise CubeError(f"there is no variable {variable!r} to draw; choose one of {names}.")
    array = _at(dataset[variable], time)
    if set(array.dims) != {"y", "x"} or not array.size:
        raise CubeError(
            f"variable {variable!r} has the sizes {dict(dataset[variable].sizes)}, which make no "
            "map; give ('time', 'y', 'x') or ('y', 'x')."
        )
    array = array.transpose("y", "x")
    ax = ax or plt.subplots(figsize=(6, 5), layout="constrained")[1]
    ax.set_facecolor(NO_VALUE_COLOUR)
    style: dict[str, Any] = {}
    if variable.startswith("soil_moisture"):
        style["cmap"], style["norm"] = soil_moisture_colours()
    image = ax.imshow(array.values, extent=_extent(array), interpolation="nearest", **style)
    if "quality_flag" in dataset and variable.startswith("soil_moisture"):
        _draw_water(ax, _at(dataset["quality_flag"], time))
    if legend:
        units = f" [{array.attrs['units']}]" if "units" in array.attrs else ""
        ax.figure.colorbar(image, ax=ax, label=variable.replace("_", " ") + units)
    ax.set(title=_title(array), xlabel="easting [m]", ylabel="northing [m]")
    ax.ticklabel_format(useOffset=False, style="plain")
    return ax


def _at(array: xr.DataArray, time: Any) -> xr.DataArray:
    """Return one time of an array, by position or nearest to a moment."""
    if "time" not in array.dims:
        return array
    size = array.sizes["time"]
    position = int(time) if isinstance(time, (int, np.integer)) else _nearest(array, time)
    if not -size <= position < size:
        raise CubeError(
            f"there is no time {time!r} to draw, of {size} that there are; give a position, from "
            "0, or a moment such as '2023-06-15'."
        )
    return array.isel(time=position)


def _nearest(array: xr.DataArray, time: Any) -> int:
    times = array["time"].values
    moment: Any = pd.NaT
    if isinstance(time, (str, date, np.datetime64)):
        with contextlib.suppress(ValueError):  # pandas reads "June" as one of this year
            moment = pd.to_datetime(time, format="ISO8601")
    if pd.isna(moment) or times.dtype.kind != "M" or not times.size:
        raise CubeError(
            f"there is no time {time!r} to draw; give a position, such as 0, or a moment, such as "
            "'2023-06-15', of a dataset with times."
        )
    moment = moment if moment.tzinfo is None else moment.tz_convert(None)
    return int(np.abs(times - moment.to_datetime64()).argmin())


def _draw_water(ax: Axes, flags: xr.DataArray) -> None:
    # A mean of flags, or flags with gaps, are no bits; nor are those of other dimensions these.
    if flags.dtype.kind not in "iu" or set(flags.dims) != {"y", "x"}:
        return
    from matplotlib.colors import ListedColormap

    flags = flags.transpose("y", "x")
    water = (flags.values & quality.BY_MEANING["water"].mask) != 0
    if water.any():
        layer = np.ma.masked_where(~water, np.ones(water.shape))
        ax.imshow(
            layer,
            extent=_extent(flags),
            cmap=ListedColormap([WATER_COLOUR]),
            interpolation="nearest",
        )


def _extent(array: xr.DataArray) -> tuple[float, float, float, float]:
    """Outer edges of the pixels, from their centres."""
    x, y = array["x"].values, array["y"].values
    half_x = abs(x[1] - x[0]) / 2 if x.size > 1 else 5.0
    half_y = abs(y[1] - y[0]) / 2 if y.size > 1 else 5.0
    return (x[0] - half_x, x[-1] + half_x, y[-1] - half_y, y[0] + half_y)


def _title(array: xr.DataArray) -> str:
    if "time" not in array.coords:
        return str(array.attrs.get("long_name", array.name))
    moment = str(array["time"].values.astype("datetime64[m]")).replace("T", " ")
    return f"{moment} UTC"
