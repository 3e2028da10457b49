"""Percent of saturation to volumetric soil moisture, with a porosity that somebody states."""

from __future__ import annotations

from typing import Any

import numpy as np
import xarray as xr

from gssm.errors import RequestError


def check_porosity(porosity: Any, title: str, name: str) -> float | xr.DataArray:
    """Return a porosity, or refuse a product that needs one.

    Raises
    ------
    RequestError
        There is none, or it is no porosity.
    """
    if porosity is None:
        raise RequestError(
            f"{name} ({title}) tells how full the pores are, in percent of saturation, not how "
            "much water there is; give porosity=0.45 (--porosity 0.45 in a shell), say, or a map "
            "of it, to have m3 m-3."
        )
    if isinstance(porosity, np.number):
        porosity = float(porosity)
    if isinstance(porosity, bool) or not isinstance(porosity, (int, float, xr.DataArray)):
        raise RequestError(
            f"porosity is a {type(porosity).__name__}; give a number such as 0.45, or an "
            "xarray.DataArray (y, x) on the product's grid."
        )
    values = np.asarray(porosity)
    if values.dtype.kind not in "fiu":
        raise RequestError(f"porosity holds no numbers ({values.dtype}); give such as 0.45.")
    finite = values[np.isfinite(values)]
    if not finite.size or finite.min() <= 0 or finite.max() >= 1:
        shown = f"{finite.min():g} to {finite.max():g}" if finite.size else "nothing"
        raise RequestError(
            f"porosity is {shown}; give the volume of pores in the soil, between 0 and 1, such as "
            "0.45."
        )
    return porosity


def times_porosity(fraction: xr.DataArray, porosity: float | xr.DataArray) -> xr.DataArray:
    """Return soil moisture (m3 m-3) of a fraction of saturation.

    Raises
    ------
    RequestError
        A map of porosity is not on the grid of the product.
    """
    if isinstance(porosity, (int, float)):
        result: xr.DataArray = (fraction * np.float32(porosity)).astype(np.float32)
        return result
    on_grid = set(porosity.dims) == {"y", "x"} and all(
        porosity.sizes[n] == fraction.sizes[n]
        and n in porosity.coords
        and np.allclose(porosity[n].values, fraction[n].values, rtol=0, atol=1e-6)
        for n in ("y", "x")
    )
    if not on_grid:
        raise RequestError(
            "the map of porosity is not on the product's grid; give an array (y, x) with the "
            "product's y and x, such as porosity.interp_like(product['soil_moisture'][0])."
        )
    aligned = porosity.transpose("y", "x").assign_coords(y=fraction["y"], x=fraction["x"])
    product: xr.DataArray = (fraction * aligned).astype(np.float32)
    return product
