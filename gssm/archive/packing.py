"""How numbers lie in the archive: integers with a scale, and a fill of their own."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from gssm.errors import CubeError

Packed = NDArray[np.unsignedinteger[Any]] | NDArray[np.signedinteger[Any]]

# Of a pixel that was never computed, in data that are read: a flag of its own, as the stored
# fill would look like every flag at once and zero like none.
NOT_COMPUTED = 1 << 15
NOT_COMPUTED_MEANING = "not_computed"


@dataclass(frozen=True)
class Packing:
    """One variable: integer type, physical value of a step, integer that means no value.

    ``largest`` is the largest value that can be stored; where `saturates`, larger ones
    are stored as it, elsewhere they are refused. Flags have a scale of None.
    """

    dtype: str
    scale: float | None
    fill: int
    smallest: float
    largest: float
    saturates: bool = False


# Steps are far below what the values mean: soil moisture is known to some 0.05 m3 m-3, its
# uncertainty to a tenth of itself, and the age of a partner matters in days.
PACKINGS: dict[str, Packing] = {
    "soil_moisture": Packing("uint16", 1e-4, 65535, 0.0, 1.0),
    "soil_moisture_uncertainty": Packing("uint8", 2e-3, 255, 0.0, 0.508, saturates=True),
    # Bits 14 and 15 mean nothing: all bits together are no flags but "not computed".
    "quality_flag": Packing("uint16", None, 65535, 0, 0x3FFF),
    "s2_age": Packing("int16", 1e-2, -32768, -327.67, 327.67, saturates=True),
    "landsat_age": Packing("int16", 1e-2, -32768, -327.67, 327.67, saturates=True),
}


def pack(name: str, values: ArrayLike) -> NDArray[Any]:
    """Return physical values as the archive stores them.

    Parameters
    ----------
    name
        Of `PACKINGS`.
    values
        Physical values of any shape; NaN is no value. Flags are whole numbers.

    Raises
    ------
    CubeError
        A value cannot be stored: out of range, or infinite.
    """
    how, physical = PACKINGS[name], np.asarray(values)
    if np.isinf(physical).any():
        raise CubeError(f"{name} holds an infinite number; what made it is at fault.")
    if how.saturates:
        physical = np.clip(physical, how.smallest, how.largest)
    wrong = (physical < how.smallest) | (physical > how.largest)
    if wrong.any():
        raise CubeError(
            f"{name} holds {physical[wrong][0]:g}, and the archive stores {how.smallest:g} to "
            f"{how.largest:g}; what made it is at fault, and nothing was written."
        )
    if how.scale is None:
        return physical.astype(how.dtype)
    missing = np.isnan(physical)
    steps = np.rint(np.where(missing, how.smallest, physical) / how.scale)
    return np.where(missing, how.fill, steps).astype(how.dtype)


def unpack(name: str, packed: NDArray[Any]) -> NDArray[Any]:
    """Return packed values as physical ones: float32 with NaN, flags as they are."""
    how = PACKINGS[name]
    if how.scale is None:
        return packed
    physical = packed.astype(np.float32) * np.float32(how.scale)
    physical[packed == how.fill] = np.nan
    return physical
