"""What a variable is made of: images in order of preference. Addresses only, no pixels."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from gssm.catalogs import Bbox, Role
from gssm.describe import Raster

Quantity = Literal["value", "age", "mask"]


@dataclass(frozen=True)
class Source:
    """One image that can fill a pixel: its file, its mask and its distance in time.

    ``footprint`` in degrees; ``age`` in days, image minus radar acquisition.
    """

    item: str
    raster: Raster
    footprint: Bbox
    age: float = 0.0
    mask: Raster | None = None
    role: Role = "sentinel1"


@dataclass(frozen=True)
class Layer:
    """What one variable of one acquisition is made of: images in order of preference.

    Without masks every pixel takes the first image that has a value there; with
    masks, the first whose mask shows the ground. ``quantity`` says what is read:
    the value, the age of the image chosen, or the category of its mask.
    """

    sources: tuple[Source, ...]
    quantity: Quantity = "value"
