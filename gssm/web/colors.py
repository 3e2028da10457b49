"""Colours of maps: which variables are shown, colour maps, legends, and colours of stored numbers.

Continuous colour maps are those that rio-tiler ships (matplotlib's, 256 colours).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property, lru_cache
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gssm import quality
from gssm.archive.packing import PACKINGS
from gssm.errors import RequestError

Range = tuple[float, float]
TRUE_COLOR = "true_color"
DEFAULT_COLORMAP = "gssm"
FLAGS = "flags"


@dataclass(frozen=True)
class Variable:
    """What a map shows.

    Attributes
    ----------
    name, title, units
        Of the variable.
    range
        Values that the first and the last colour stand for; values beyond take these colours.
    colormap
        By default; empty for an image that has its own colours.
    """

    name: str
    title: str
    units: str
    range: Range
    colormap: str


VARIABLES: dict[str, Variable] = {
    variable.name: variable
    for variable in (
        Variable("soil_moisture", "Soil moisture", "m³ m⁻³", (0.0, 0.5), DEFAULT_COLORMAP),
        Variable(
            "soil_moisture_uncertainty",
            "Uncertainty of soil moisture (half-width of the 90 % interval)",
            "m³ m⁻³",
            (0.0, 0.3),
            "cividis",
        ),
        Variable("quality_flag", "Most important quality flag", "", (0, 0), FLAGS),
        Variable(TRUE_COLOR, "True colour, Sentinel-2", "", (0, 255), ""),
    )
}

# From dry to wet.
CLASSES: dict[str, tuple[str, ...]] = {
    DEFAULT_COLORMAP: (
        *("#8f7131", "#b08e42", "#c2b94d", "#afc35e", "#96c973"),
        *("#86c58e", "#64b9b2", "#478fcd", "#3461c6", "#264cb5"),
    )
}
# Names of rio-tiler's, and what they are.
RAMPS: dict[str, str] = {
    "viridis": "Viridis (perceptual)",
    "cividis": "Cividis (perceptual, the same to colour-blind eyes)",
    "plasma": "Plasma (perceptual)",
    "magma": "Magma (perceptual)",
    "ylgnbu": "Yellow, green, blue",
    "blues": "Blues",
    "brbg": "Brown to blue-green (diverging)",
    "rdylbu": "Red, yellow, blue (diverging)",
}
# Stops of a ramp that a legend names.
STOPS = 11
# Of a range that is asked for: soil moisture is a share, and is stored in steps of 0.0001.
FURTHEST, NARROWEST = 100.0, 0.001
RAMP_COLORS = 255  # of an image of 256 colours: the first is no value


@dataclass(frozen=True)
class FlagColor:
    """Colour of a flag on a map of flags."""

    meaning: str
    color: str
    title: str


# A pixel has the colour of the first of these that is set: first why it has no value, then what
# makes the value doubtful, then what was merely missing. Blues and white are what they are.
FLAG_COLORS: tuple[FlagColor, ...] = (
    FlagColor("read_failed", "#d7191c", "An image could not be read: no value"),
    FlagColor("layover_or_shadow", "#4d4d4d", "Radar layover or shadow: no value"),
    FlagColor("water", "#2b6cb0", "Water: no value"),
    FlagColor("snow_or_frozen", "#bfe3f5", "Snow or frozen ground: no value"),
    FlagColor("outside_applicability", "#7b3294", "Unlike anything the model was trained on"),
    FlagColor("vegetation_dominates_radar", "#1b7837", "Vegetation dominates the radar signal"),
    FlagColor("incidence_angle_out_of_range", "#8c510a", "Incidence angle out of range"),
    FlagColor("local_incidence_out_of_range", "#bf812d", "Slope: local incidence out of range"),
    FlagColor("cloud_or_shadow", "#969696", "Cloud or its shadow in an optical image"),
    FlagColor("sentinel2_missing", "#e08214", "No Sentinel-2 image"),
    FlagColor("landsat_missing", "#fdb863", "No Landsat image"),
    FlagColor("elevation_missing", "#c51b7d", "No elevation"),
    FlagColor("history_missing", "#de77ae", "No references of the past"),
    FlagColor("reused_old_partner", "#ffe08a", "Optical image more than three days away"),
)
NO_FLAG = FlagColor("", "#d9ead3", "No flag")


@dataclass(frozen=True, eq=False)
class Palette:
    """Colours of stored numbers.

    Attributes
    ----------
    lookup
        uint8, by the stored number (of 8 or 16 bits without sign): which colour; 0 is none.
    colors
        uint8 (colours, 4): red, green, blue, alpha; the first is transparent.
    """

    lookup: NDArray[np.uint8]
    colors: NDArray[np.uint8]

    @cached_property
    def table(self) -> dict[int, tuple[int, ...]]:
        """Colours as GDAL wants them."""
        return {number: tuple(map(int, color)) for number, color in enumerate(self.colors)}


def check_variable(name: str) -> Variable:
    """Return what a map shows, by its name.

    Raises
    ------
    RequestError
        There is no such variable.
    """
    if name not in VARIABLES:
        raise RequestError(f"variable {name!r} is not on any map; give {_listed(VARIABLES)}.")
    return VARIABLES[name]


def _listed(names: Any) -> str:
    *first, last = names
    return f"{', '.join(first)} or {last}" if first else str(last)


def check_colormap(variable: Variable, colormap: str | None) -> str:
    """Return the name of the colour map of a variable: the one asked for, or its own.

    Raises
    ------
    RequestError
        There is no such colour map, or the variable has only its own colours.
    """
    chosen = colormap or variable.colormap
    fits = [variable.colormap] if variable.name in _FIXED else [*CLASSES, *RAMPS]
    if chosen not in fits:
        offered = _listed(fits) if fits != [""] else "none"
        raise RequestError(f"colormap {chosen!r} does not fit {variable.name}; give {offered}.")
    return chosen


_FIXED = ("quality_flag", TRUE_COLOR)


def check_range(variable: Variable, span: tuple[float | None, float | None] | None) -> Range:
    """Return lowest and highest value of a colour map, those of the variable by default.

    Raises
    ------
    RequestError
        They are not two numbers that grow, are too far or too near, or the variable has only its
        own colours.
    """
    if span is None or span == (None, None):
        return variable.range
    if variable.name in _FIXED:
        raise RequestError(f"{variable.name} has colours of its own; leave out min and max.")
    low, high = (
        float(own if given is None else given)
        for given, own in zip(span, variable.range, strict=True)
    )
    if not (math.isfinite(low) and math.isfinite(high) and low < high):
        raise RequestError(f"min {low:g} is not below max {high:g}; give two numbers that grow.")
    if max(abs(low), abs(high)) > FURTHEST or high - low < NARROWEST:
        raise RequestError(
            f"min {low:g} and max {high:g} are no range of {variable.name}; give numbers from "
            f"-{FURTHEST:g} to {FURTHEST:g} that are {NARROWEST:g} apart, or more."
        )
    return low, high


def ramp(name: str) -> NDArray[np.uint8]:
    """Return the colours (256, 4) of a continuous colour map, from rio-tiler."""
    from rio_tiler.colormap import cmap

    every = cmap.get(name)
    assert isinstance(every, dict)
    return np.array([every[number] for number in range(256)], np.uint8)


@lru_cache(maxsize=256)
def palette(
    name: str,
    colormap: str | None = None,
    span: tuple[float | None, float | None] | None = None,
) -> Palette:
    """Return the colours of the stored numbers of a variable.

    Parameters
    ----------
    name
        Of the variable.
    colormap
        As of `check_colormap`.
    span
        As of `check_range`: values of the first and the last colour.

    Raises
    ------
    RequestError
        They cannot serve.
    """
    variable = check_variable(name)
    chosen, (low, high) = check_colormap(variable, colormap), check_range(variable, span)
    if not chosen:
        raise RequestError(f"{name} has colours of its own, and no colour map.")
    how = PACKINGS[name]
    stored = np.arange(1 << 8 * np.dtype(how.dtype).itemsize)
    if chosen == FLAGS:
        lookup, colors = _flag_numbers(stored), [*(_rgba(f.color) for f in (*FLAG_COLORS, NO_FLAG))]
    else:
        assert how.scale is not None
        # Within a millionth of a class: sums of hundredths are not exact.
        share = (stored * how.scale - low) / (high - low)
        if chosen in CLASSES:
            colors = [_rgba(color) for color in CLASSES[chosen]]
            number = np.floor(share * len(colors) + 1e-6)
        else:
            places = np.rint(np.linspace(0, 255, RAMP_COLORS)).astype(int)
            colors = list(ramp(chosen)[places])
            number = np.rint(share * (RAMP_COLORS - 1))
        lookup = 1 + np.clip(number, 0, len(colors) - 1)
    lookup = np.where(stored == how.fill, 0, lookup).astype(np.uint8)
    return Palette(lookup, np.array([(0, 0, 0, 0), *colors], np.uint8))


def _flag_numbers(stored: NDArray[Any]) -> NDArray[Any]:
    numbers = np.full(stored.shape, len(FLAG_COLORS) + 1)
    for number, flag in reversed(list(enumerate(FLAG_COLORS, 1))):
        numbers[stored & quality.BY_MEANING[flag.meaning].mask != 0] = number
    return numbers


def _rgba(color: str) -> tuple[int, ...]:
    return (*bytes.fromhex(color[1:]), 255)


def _hex(color: Any) -> str:
    return "#" + bytes(int(part) for part in color[:3]).hex()


def colormaps() -> list[dict[str, Any]]:
    """Return what colour maps there are: name, title, type and colours from low to high."""
    classes = [
        {"name": name, "title": "Ten classes, dry to wet", "type": "classes", "colors": [*colors]}
        for name, colors in CLASSES.items()
    ]
    places = np.rint(np.linspace(0, 255, STOPS)).astype(int)
    ramps = [
        {
            "name": name,
            "title": title,
            "type": "ramp",
            "colors": [_hex(color) for color in ramp(name)[places]],
        }
        for name, title in RAMPS.items()
    ]
    return [*classes, *ramps]


def legend(
    name: str,
    colormap: str | None = None,
    span: tuple[float | None, float | None] | None = None,
) -> dict[str, Any]:
    """Return what the colours of a map mean.

    Parameters
    ----------
    name, colormap, span
        As of `palette`.

    Returns
    -------
    dict
        ``title``, ``units``, ``type`` (``classes``, ``ramp``, ``flags`` or ``image``) and
        ``entries``: ``color``, ``label``, ``from`` and ``to``. A class holds values from ``from``
        up to, and without, ``to``; the ends hold what lies beyond, too. Entries of a ramp are
        its colours at single values, straight between; those of flags have no values, and
        begin with the most important: a pixel has the colour of the first that is set.

    Raises
    ------
    RequestError
        As of `palette`.
    """
    variable = check_variable(name)
    chosen, (low, high) = check_colormap(variable, colormap), check_range(variable, span)
    found = {"title": variable.title, "units": variable.units, "colormap": chosen}
    if not chosen:
        return {**found, "type": "image", "entries": []}
    if chosen == FLAGS:
        flags = [_entry(flag.color, flag.title) for flag in (*FLAG_COLORS, NO_FLAG)]
        return {**found, "type": "flags", "entries": flags}
    if chosen in CLASSES:
        colors = CLASSES[chosen]
        edges = np.linspace(low, high, len(colors) + 1).round(9)
        spans = list(pairwise(edges))
        entries = [
            _entry(color, f"{a:g} to {b:g}", a, b)
            for color, (a, b) in zip(colors, spans, strict=True)
        ]
        return {**found, "type": "classes", "entries": entries}
    values = np.linspace(low, high, STOPS).round(9)
    places = np.rint(np.linspace(0, 255, STOPS)).astype(int)
    entries = [
        _entry(_hex(color), f"{value:g}", value, value)
        for color, value in zip(ramp(chosen)[places], values, strict=True)
    ]
    return {**found, "type": "ramp", "entries": entries}


def _entry(
    color: str, label: str, low: float | None = None, high: float | None = None
) -> dict[str, Any]:
    ends = [None if end is None else float(end) for end in (low, high)]
    return {"color": color, "label": label, "from": ends[0], "to": ends[1]}
