"""What readers share: a request, and a file as it is stored."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

import xarray as xr

from gssm.catalogs import Bbox
from gssm.compare.layouts import Layout
from gssm.errors import ReadError
from gssm.request import DateRange


@dataclass(frozen=True)
class Part:
    """What of a product is wanted: a box in degrees and a span of time (UTC), or all."""

    bbox: Bbox | None = None
    span: DateRange | None = None


@dataclass(frozen=True)
class Raw:
    """A file as it is stored.

    Parameters
    ----------
    dataset
        Dask arrays ``(time, y, x)``, stored numbers; coordinates ``time`` (decoded), ``y``,
        ``x``.
    variable
        Name of soil moisture in it.
    units
        Of soil moisture after the layout's scale.
    crs
        Of ``y`` and ``x``.
    flag, observed
        Names of these in the dataset, where they differ from the layout's.
    """

    dataset: xr.Dataset
    variable: str
    units: str
    crs: str
    flag: str | None = None
    observed: str | None = None


def refuse(path: Path, layout: Layout, why: str) -> NoReturn:
    """Say why a file is not laid out as its product's.

    Raises
    ------
    ReadError
        Always.
    """
    raise ReadError(
        f"{path.name} is not laid out as {layout.name} ({layout.title}): {why}; give the files as "
        f"published, or name another product."
    )
