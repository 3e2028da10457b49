"""Remove the vegetation from the radar: cube -> cube with ``vv_soil`` and ``vh_soil``."""

from __future__ import annotations

from typing import Any

import numpy as np
import xarray as xr

from gssm import physics, schema
from gssm.blocks import elementwise

FloatArray = np.ndarray[Any, np.dtype[np.floating[Any]]]

REQUIRED = ("vv", "vh", "incidence_angle", "s2_b4", "s2_b8")


def correct(cube: xr.Dataset, water_cloud: physics.WaterCloud | None = None) -> xr.Dataset:
    """Add the soil backscatter of both polarisations by the Water Cloud Model.

    Parameters
    ----------
    cube
        Must hold vv, vh (linear power, or dB with ``units="dB"``), incidence_angle
        (degree), s2_b4 and s2_b8 (reflectance).
    water_cloud
        Parameters of the model; those of the paper by default.

    Returns
    -------
    xarray.Dataset
        The cube with ``vv_soil`` and ``vh_soil`` in dB, lazy where the cube is lazy.
        NaN where the vegetation term exceeds the signal, or where an input is NaN.

    Raises
    ------
    CubeError
        A required variable is missing, has no or wrong units, or an integer dtype.
    """
    schema.check(cube, REQUIRED)
    return cube.assign(soil_backscatter(cube, water_cloud or physics.WaterCloud()))


def soil_backscatter(cube: xr.Dataset, water_cloud: physics.WaterCloud) -> dict[str, xr.DataArray]:
    """``vv_soil`` and ``vh_soil`` in dB of any dataset that holds the required variables."""
    ndvi = elementwise(physics.normalized_difference, cube["s2_b8"], cube["s2_b4"])
    angle = elementwise(_checked_angle, cube["incidence_angle"])
    soil = {}
    for polarization in schema.BACKSCATTER:
        name = f"{polarization}_soil"
        soil[name] = elementwise(
            physics.soil_backscatter,
            linear_power(cube, polarization),
            ndvi,
            angle,
            polarization=polarization,
            water_cloud=water_cloud,
        ).assign_attrs(schema.VARIABLES[name].attrs)
    return soil


def linear_power(cube: xr.Dataset, polarization: str) -> xr.DataArray:
    """Backscatter as linear power, whichever unit it says it has."""
    array = cube[polarization]
    units = array.attrs.get("units", "1")
    return elementwise(_checked_linear, array, name=polarization, units=units)


def _checked_angle(values: FloatArray) -> FloatArray:
    # As below; soil backscatter may be all that a spec makes of the angle.
    schema.refuse_implausible(values, "incidence_angle")
    return values


def _checked_linear(values: FloatArray, name: str, units: str) -> FloatArray:
    # The guard of lazy cubes: it sees the values only when the block is computed.
    schema.refuse_other_scale(values, name, units)
    return physics.decibel_to_linear(values) if units == "dB" else values
