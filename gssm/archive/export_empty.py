"""What is said of an export in which no pixel has a value."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from gssm.archive.parts import Part, packing
from gssm.archive.places import local_folder, store_of
from gssm.errors import GssmWarning

MOISTURE = "soil_moisture"


def told(dataset: xr.Dataset) -> list[str]:
    """Names of the variables of which a map is to have values: soil moisture, or what is there."""
    names = [str(name) for name in dataset.data_vars]
    moisture = [name for name in names if name.startswith(MOISTURE)]
    return moisture or [name for name in names if not _is_flags(name)]


def seen(found: Iterable[Part], names: Sequence[str], valued: set[str]) -> Iterator[Part]:
    """Hand parts on, and note which variables have a value."""
    for part in found:
        valued |= {
            name
            for name in names
            if name in part.values and name not in valued and _has_value(part.values[name])
        }
        yield part


def warn_if_empty(path: Any, names: Sequence[str], valued: set[str]) -> None:
    """Warn of files that hold not one value; flags alone are complete without."""
    if names and not valued:
        warnings.warn(
            f"{path} holds not one value of {names[0]}, since there is none in this box on these "
            "dates; quality_flag says of each pixel why.",
            GssmWarning,
            stacklevel=4,
        )


def valued_in_store(place: str | Path, names: Sequence[str]) -> set[str]:
    """Return the first variable of a Zarr store that has a value; reads no further than that."""
    with xr.open_zarr(local_folder(place) or store_of(place), consolidated=False) as store:
        for name in names:
            blocks = store[name].data.to_delayed().ravel()
            if any(_has_value(block.compute()) for block in blocks):
                return {name}
    return set()


def _is_flags(name: str) -> bool:
    how = packing(name)
    return how is not None and how.scale is None


def _has_value(values: Any) -> bool:
    return bool(np.isfinite(values).any())
