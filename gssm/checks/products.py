"""What can be checked: maps of dates in m3 m-3, with the orbit of each date."""

from __future__ import annotations

from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from gssm.errors import CubeError
from gssm.models.ensemble import TARGET
from gssm.possible import REMEDY, impossible

UNITS = "m3 m-3"
# Values that are in memory at once, with what is made of them.
MOST_VALUES = 250_000_000


def check_range(values: NDArray[np.float64]) -> None:
    """Refuse numbers that no soil moisture in m3 m-3 has.

    Raises
    ------
    CubeError
        See `check_product`.
    """
    wrong = impossible(values)
    if wrong.size:
        raise CubeError(
            f"{TARGET} of the product is {wrong[0]:g} somewhere, which is no m3 m-3: {REMEDY}."
        )


def check_product(product: Any) -> None:
    """Refuse what is no map of dates that can be checked.

    Raises
    ------
    CubeError
        It has no soil moisture in m3 m-3, dates or orbits, or is too small or too large.
    """
    if not isinstance(product, xr.Dataset):
        raise CubeError(
            f"the product is a {type(product).__name__}; give the dataset that gssm.predict or "
            "gssm.open_archive returned."
        )
    if TARGET not in product:
        raise CubeError(f"the product has no {TARGET!r}; give what gssm.predict returned.")
    missing = {"time", "y", "x"} - set(map(str, product[TARGET].dims))
    if missing:
        raise CubeError(
            f"{TARGET} has no dimension {', '.join(sorted(missing))}; give dates of a map."
        )
    if "relative_orbit" not in product.coords:
        raise CubeError(
            "the product has no coordinate 'relative_orbit', without which orbits cannot be told "
            "apart; give what gssm.predict or gssm.open_archive returned."
        )
    units = str(product[TARGET].attrs.get("units", UNITS)).strip()
    if units != UNITS:
        raise CubeError(
            f"{TARGET} of the product is in {units!r}; give m3 m-3 and say so in "
            "attrs['units'] = 'm3 m-3'."
        )
    if product["time"].dtype.kind != "M":
        raise CubeError(
            "time of the product is no time of the standard calendar; decode it with "
            "xarray.decode_cf, or convert_calendar('standard')."
        )
    times = product.indexes["time"]
    if times.has_duplicates:
        twice = times[times.duplicated()][0]
        raise CubeError(f"the product has {twice:%Y-%m-%d %H:%M} twice; give each date once.")
    orbits = product["relative_orbit"]
    if orbits.dtype.kind not in "iuf" or not bool((orbits == orbits.round()).all()):
        raise CubeError(
            "'relative_orbit' of the product is not a whole number at every date; give what "
            "gssm.predict or gssm.open_archive returned, without dates of no orbit."
        )
    if min(product.sizes["y"], product.sizes["x"]) < 2 or not product.sizes["time"]:
        raise CubeError("the product is no map of 2 x 2 pixels or more; choose a larger box.")
    if product[TARGET].size > MOST_VALUES:
        raise CubeError(
            f"the product has {product[TARGET].size / 1e6:.0f} million values and the checks hold "
            f"at most {MOST_VALUES / 1e6:.0f} million in memory; choose a smaller box or fewer "
            "dates."
        )
