"""What the cube holds: the table of canonical variables, feature specs and their check.

The cube is a plain `xarray.Dataset` with dimensions ``(time, y, x)``: ``time`` is
the Sentinel-1 acquisition (UTC), ``y`` and ``x`` are pixel centres in metres of
the local UTM zone. Every variable of it carries ``units``.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from gssm.errors import CubeError, MissingVariableError

if TYPE_CHECKING:
    import xarray as xr


@dataclass(frozen=True)
class Variable:
    """One row of the table: a name, its units and its CF attributes."""

    name: str
    units: str
    long_name: str
    valid_range: tuple[float, float] | None = None
    standard_name: str | None = None

    @property
    def attrs(self) -> dict[str, Any]:
        """CF attributes of this variable."""
        attrs: dict[str, Any] = {"units": self.units, "long_name": self.long_name}
        if self.standard_name:
            attrs["standard_name"] = self.standard_name
        if self.valid_range:
            attrs["valid_range"] = np.array(self.valid_range, dtype=np.float32)
        return attrs


SENTINEL2_BANDS = ("b1", "b2", "b3", "b4", "b5", "b6", "b7", "b8", "b8a", "b9", "b10", "b11", "b12")
LANDSAT_REFLECTANCE = ("b1", "b2", "b3", "b4", "b5", "b6", "b7", "b8", "b9")
LANDSAT_THERMAL = ("b10", "b11")

# The categories of `s2_mask` and `landsat_mask`: what the nearest unobscured
# observation of the window shows at this pixel, or why there is none.
MASK_CLEAR, MASK_WATER, MASK_SNOW, MASK_CLOUD, MASK_MISSING, MASK_UNREADABLE = range(6)
MASK_MEANINGS = "clear water snow cloud_or_shadow missing unreadable"

# Sentinel-1 sees the ground at 18 to 47 degrees of incidence in all its modes: outside of
# this are radians, cosines and digital numbers.
INCIDENCE_ANGLES = (15, 60)

_AGE = "time of the optical observation minus time of the radar acquisition"

# What a place's dry and wet references are kept of: the radar (normalised to 40 degrees
# of incidence), greenness, canopy water, short-wave infrared and temperature.
HISTORY_BASES = (
    *("vv_db", "vh_db", "vv_soil", "vh_soil", "s2_ndvi", "s2_ndmi", "s2_b12"),
    *("landsat_ndvi", "landsat_ndmi", "landsat_b7", "landsat_b10"),
)
# Suffix of a reference and the statistic over a place's past that it is.
HISTORY_STATISTICS = {
    "p05": "5th percentile",
    "p50": "median",
    "p95": "95th percentile",
    "sd": "standard deviation",
}
POSITION = "position"

_ROWS: tuple[Variable, ...] = (
    Variable("vv", "1", "sigma0 backscatter, VV, linear power", (0, 1000)),
    Variable("vh", "1", "sigma0 backscatter, VH, linear power", (0, 1000)),
    Variable("incidence_angle", "degree", "incidence angle on the ellipsoid", INCIDENCE_ANGLES),
    *(
        Variable(f"s2_{b}", "1", f"Sentinel-2 {b.upper()} reflectance", (-0.2, 2.5))
        for b in SENTINEL2_BANDS
    ),
    *(
        Variable(f"landsat_{b}", "1", f"Landsat 8/9 {b.upper()} reflectance", (-0.2, 2.0))
        for b in LANDSAT_REFLECTANCE
    ),
    *(
        Variable(f"landsat_{b}", "K", f"Landsat 8/9 {b.upper()} temperature", (100, 400))
        for b in LANDSAT_THERMAL
    ),
    Variable("dsm", "m", "surface elevation", (-500, 9000)),
    Variable("s2_age", "day", f"Sentinel-2 age: {_AGE}"),
    Variable("landsat_age", "day", f"Landsat age: {_AGE}"),
    Variable("s2_mask", "1", "what the nearest unobscured Sentinel-2 observation shows"),
    Variable("landsat_mask", "1", "what the nearest unobscured Landsat observation shows"),
    Variable("read_failed", "1", "an image that covers this pixel could not be read"),
    # derived
    Variable("vv_soil", "dB", "soil backscatter, VV, vegetation removed"),
    Variable("vh_soil", "dB", "soil backscatter, VH, vegetation removed"),
    Variable("vv_db", "dB", "sigma0 backscatter, VV"),
    Variable("vh_db", "dB", "sigma0 backscatter, VH"),
    Variable("vh_minus_vv_db", "dB", "cross-polarisation ratio, VH minus VV"),
    Variable("s2_ndvi", "1", "Sentinel-2 NDVI (B8, B4)", (-1, 1)),
    Variable("s2_ndmi", "1", "Sentinel-2 NDMI (B8, B11)", (-1, 1)),
    Variable("landsat_ndvi", "1", "Landsat NDVI (B5, B4)", (-1, 1)),
    Variable("landsat_ndmi", "1", "Landsat NDMI (B5, B6)", (-1, 1)),
    Variable("slope", "degree", "terrain slope", (0, 90)),
    Variable("aspect", "degree", "terrain aspect, downslope, clockwise from north", (0, 360)),
    Variable("aspect_sin", "1", "sine of terrain aspect", (-1, 1)),
    Variable("aspect_cos", "1", "cosine of terrain aspect", (-1, 1)),
    Variable("day_of_year_sin", "1", "sine of the day of year", (-1, 1)),
    Variable("day_of_year_cos", "1", "cosine of the day of year", (-1, 1)),
    Variable("decimal_year", "year", "year and its fraction"),
    Variable("latitude", "degree_north", "latitude", (-90, 90), "latitude"),
    Variable("longitude", "degree_east", "longitude", (-180, 180), "longitude"),
    # product
    Variable(
        "soil_moisture",
        "m3 m-3",
        "surface soil moisture, 0-5 cm",
        (0, 1),
        "volume_fraction_of_condensed_water_in_soil",
    ),
    Variable(
        "soil_moisture_uncertainty",
        "m3 m-3",
        "half-width of the 90 % prediction interval of surface soil moisture",
        (0, 1),
    ),
)

_PLAIN: dict[str, Variable] = {row.name: row for row in _ROWS}


def _history_rows() -> tuple[Variable, ...]:
    rows = []
    for base in HISTORY_BASES:
        of, units = _PLAIN[base].long_name, _PLAIN[base].units
        for suffix, statistic in HISTORY_STATISTICS.items():
            rows.append(Variable(f"{base}_{suffix}", units, f"{statistic} over the past: {of}"))
        says = f"position between the 5th (0) and 95th percentile (1) of the past: {of}"
        rows.append(Variable(f"{base}_{POSITION}", "1", says))
    return tuple(rows)


VARIABLES: dict[str, Variable] = _PLAIN | {row.name: row for row in _history_rows()}
# What `gssm.history` computes and a cube is assigned; positions are made from it.
REFERENCES: tuple[str, ...] = tuple(f"{b}_{s}" for b in HISTORY_BASES for s in HISTORY_STATISTICS)
POSITIONS: tuple[str, ...] = tuple(f"{base}_{POSITION}" for base in HISTORY_BASES)


@dataclass(frozen=True)
class FeatureSpec:
    """The ordered features of a model, by canonical name.

    The spec travels inside the model, so that serving cannot drift from training.

    Parameters
    ----------
    name
        Short identifier, as in ``gssm.train(samples, spec="l2")``.
    features
        Canonical names in the order of the model's columns.
    level
        ``"l2"`` for surface reflectance, ``"l1"`` for top-of-atmosphere.
    """

    name: str
    features: tuple[str, ...]
    level: str = "l2"

    def __post_init__(self) -> None:
        unknown = [f for f in self.features if f not in VARIABLES]
        if unknown:
            raise CubeError(
                f"feature spec {self.name!r} names {', '.join(unknown)}, which is not in "
                "gssm.schema.VARIABLES; use canonical names such as 'vv_soil' or 's2_b4'."
            )
        if len(set(self.features)) != len(self.features):
            raise CubeError(f"feature spec {self.name!r} names a feature twice; name each once.")

    def to_dict(self) -> dict[str, Any]:
        """Return plain JSON types, with the units of every feature."""
        return {
            "name": self.name,
            "level": self.level,
            "features": [{"name": f, "units": VARIABLES[f].units} for f in self.features],
        }

    @classmethod
    def from_dict(cls, record: dict[str, Any]) -> FeatureSpec:
        """Inverse of `to_dict`; a unit that differs from the table's is refused."""
        for feature in record["features"]:
            known = VARIABLES.get(feature["name"])
            if known is not None and known.units != feature["units"]:
                raise CubeError(
                    f"feature {feature['name']!r} has units {feature['units']!r} in the model and "
                    f"{known.units!r} in this gssm; use the gssm version the model was made with."
                )
        return cls(record["name"], tuple(f["name"] for f in record["features"]), record["level"])


def _prefixed(prefix: str, names: Iterable[str]) -> tuple[str, ...]:
    return tuple(f"{prefix}_{name}" for name in names)


SPECS: dict[str, FeatureSpec] = {
    # What public catalogues offer everywhere; no coordinates, which only let a
    # model memorise stations.
    "l2": FeatureSpec(
        "l2",
        (
            *("vv_db", "vh_db", "vh_minus_vv_db", "incidence_angle", "vv_soil", "vh_soil"),
            *_prefixed("s2", ("b1", "b2", "b3", "b4", "b5", "b6", "b7", "b8")),
            *_prefixed("s2", ("b8a", "b9", "b11", "b12", "ndvi", "ndmi", "age")),
            *_prefixed("landsat", ("b2", "b3", "b4", "b5", "b6", "b7", "b10")),
            *_prefixed("landsat", ("ndvi", "ndmi", "age")),
            *("dsm", "slope", "aspect_sin", "aspect_cos"),
            *("day_of_year_sin", "day_of_year_cos"),
        ),
    ),
    # The paper's 33 features in its reference code's order.
    "paper33": FeatureSpec(
        "paper33",
        (
            *("latitude", "longitude", "vv_soil", "vh_soil", "s2_ndvi", "s2_ndmi"),
            *_prefixed("s2", ("b1", "b10", "b11", "b12", "b2", "b3", "b4", "b5", "b6")),
            *_prefixed("s2", ("b7", "b8", "b8a", "b9")),
            *_prefixed("landsat", ("ndvi", "ndmi", *LANDSAT_REFLECTANCE, *LANDSAT_THERMAL)),
            "dsm",
        ),
        level="l1",
    ),
}
SPECS["l2-history"] = FeatureSpec("l2-history", (*SPECS["l2"].features, *REFERENCES, *POSITIONS))


def resolve_spec(spec: str | FeatureSpec) -> FeatureSpec:
    """Return the spec of that name, or the spec itself."""
    if isinstance(spec, FeatureSpec):
        return spec
    if not isinstance(spec, str) or spec not in SPECS:
        raise CubeError(
            f"there is no feature spec {spec!r}; use {', '.join(map(repr, SPECS))} "
            "or a gssm.FeatureSpec of your own."
        )
    return SPECS[spec]


def check(cube: xr.Dataset, required: Iterable[str]) -> None:
    """Refuse a cube that a stage cannot read, before any pixel is touched.

    Parameters
    ----------
    cube
        Dataset whose canonical variables are checked: ``units`` present and as in
        `VARIABLES` (backscatter may be dB if it says so), floating point, one
        backscatter convention, at least one time.
    required
        Names that must be there.

    Raises
    ------
    MissingVariableError
        A required variable is absent.
    CubeError
        Units, dtype, convention or size are wrong; or values in memory show that
        backscatter labelled linear is decibel, that a required variable has no valid
        pixel, or that most of its values are impossible in its units.
    """
    required = tuple(required)
    if not hasattr(cube, "data_vars"):
        raise CubeError(
            f"the cube is a {type(cube).__name__}; give an xarray Dataset, such as from "
            "gssm.open_cube."
        )
    for name in required:
        if name not in cube:
            raise MissingVariableError(
                f"the cube has no variable {name!r}, which this stage reads; "
                "make the cube with gssm.open_cube or add the variable with its units."
            )
    for dimension, size in cube.sizes.items():
        if size == 0:
            raise CubeError(
                f"the cube has 0 values along {dimension!r}; widen the dates or the bounding box."
            )
    for name in map(str, cube.data_vars):
        if name in VARIABLES:
            _check_units(cube[name], VARIABLES[name], name in required)
    _check_convention(cube)
    for name in required:
        _check_values(cube[name])


BACKSCATTER: tuple[Literal["vv", "vh"], ...] = ("vv", "vh")

# Whole numbers are what these hold, or a fair way to hold it; elsewhere they are
# digital numbers that nobody has scaled.
MAY_BE_WHOLE = (
    *("s2_mask", "landsat_mask", "read_failed", "s2_age", "landsat_age"),
    *("dsm", "incidence_angle"),
)


def check_layout(cube: xr.Dataset) -> None:
    """Refuse a cube whose dimensions or coordinates are not those of a map in metres.

    Raises
    ------
    CubeError
        A canonical variable has dimensions other than ``(time, y, x)``, ``time`` holds
        no times, or ``y`` and ``x`` are no metres.
    """
    dims = set(cube["vv"].dims)
    if dims not in ({"time", "y", "x"}, {"y", "x"}):
        raise CubeError(
            f"variable 'vv' has the dimensions {cube['vv'].dims}; gssm maps ('time', 'y', 'x'): "
            "rename them, or select or expand until these are left."
        )
    for name in (n for n in map(str, cube.data_vars) if n in VARIABLES):
        found = set(cube[name].dims)
        if not found <= dims or (name in (*BACKSCATTER, "dsm") and not {"y", "x"} <= found):
            raise CubeError(
                f"variable {name!r} has the dimensions {cube[name].dims} where 'vv' has "
                f"{cube['vv'].dims}; give it the same (an elevation has 'y' and 'x')."
            )
    if "time" in cube.coords and not hasattr(cube["time"], "dt"):
        raise CubeError(
            f"the coordinate 'time' has dtype {cube['time'].dtype}, which is no time; convert it "
            "with pandas.to_datetime."
        )
    for axis in ("y", "x"):
        if axis in cube.coords:
            _check_metres(axis, cube[axis].values)


def _check_metres(axis: str, values: np.ndarray[Any, Any]) -> None:
    if values.dtype.kind not in "iuf":
        raise CubeError(
            f"the coordinate {axis!r} has dtype {values.dtype}; give pixel centres in metres."
        )
    step = np.abs(np.diff(values.astype(np.float64))).min() if values.size > 1 else 10.0
    if not step >= SMALLEST_STEP:
        raise CubeError(
            f"the coordinate {axis!r} has steps of {step:g}, which cannot be metres; give pixel "
            "centres in metres of a projected CRS, such as a UTM zone."
        )


# Metres: less between pixels are degrees or kilometres.
SMALLEST_STEP = 0.1


def _check_units(array: xr.DataArray, variable: Variable, required: bool) -> None:
    units = array.attrs.get("units")
    name = variable.name
    if not isinstance(units, str):
        raise CubeError(
            f"variable {name!r} has no units; set cube[{name!r}].attrs['units'] = "
            f"{variable.units!r} if that is what it holds."
        )
    accepted = {variable.units, "dB"} if name in BACKSCATTER else {variable.units}
    if units not in accepted:
        raise CubeError(
            f"variable {name!r} has units {units!r} where {variable.units!r} is due; "
            "convert it and set its units attribute."
        )
    whole = name in MAY_BE_WHOLE and not required and array.dtype.kind in "iub"
    if not whole and not np.issubdtype(array.dtype, np.floating):
        raise CubeError(
            f"variable {name!r} has dtype {array.dtype}; scale it to physical units "
            f"as float32 (cube[{name!r}].astype('float32') if it is scaled already)."
        )


def _check_convention(cube: xr.Dataset) -> None:
    found = {
        name: cube[name].attrs["backscatter_convention"]
        for name in BACKSCATTER
        if name in cube and "backscatter_convention" in cube[name].attrs
    }
    wrong = {name: value for name, value in found.items() if value != "sigma0"}
    if wrong:
        raise CubeError(
            f"backscatter conventions are {found}; gssm's models read sigma0 in both "
            "polarisations: multiply gamma0 by the cosine of the incidence angle first."
        )


def _check_values(array: xr.DataArray) -> None:
    """Check what is in memory; a lazy array is checked block by block when computed."""
    if array.chunks is not None:
        return
    values = np.asarray(array.values)
    if not np.isfinite(values).any():
        raise CubeError(
            f"variable {array.name!r} has no valid pixel (all NaN); "
            "check its nodata value and the area it covers."
        )
    if array.name in BACKSCATTER:
        refuse_other_scale(values, str(array.name), array.attrs["units"])
    elif array.name in VARIABLES:
        refuse_implausible(values, str(array.name))


def refuse_implausible(values: np.ndarray[Any, Any], name: str) -> None:
    """Refuse values most of which lie outside the valid range of their variable.

    Units can be stated wrongly: digital numbers as reflectance, degrees Celsius as
    kelvin, radians as degrees. The numbers themselves tell.
    """
    valid_range = VARIABLES[name].valid_range
    finite = values[np.isfinite(values)]
    if valid_range is None or not finite.size:
        return
    low, high = valid_range
    if np.mean((finite < low) | (finite > high)) > 0.5:
        raise CubeError(
            f"variable {name!r} has a median of {np.median(finite):g} {VARIABLES[name].units}, and "
            f"{low:g} to {high:g} is possible; check its scale, offset and units."
        )


def refuse_other_scale(values: np.ndarray[Any, Any], name: str, units: str) -> None:
    """Refuse backscatter whose numbers are of the other scale than its units say.

    Linear power is never negative, and decibel over land nearly always is: most values
    below zero cannot be linear, and none below zero among many cannot be decibel.
    """
    finite = values[np.isfinite(values)]
    negative = np.mean(finite < 0) if finite.size else 0.0
    if units == "1" and negative > 0.5:
        raise CubeError(
            f"variable {name!r} says units '1' (linear power) but most of its values are "
            f"negative (median {np.median(finite):.1f}), as decibel is; set its units to 'dB' "
            "and gssm converts it."
        )
    if units == "dB" and negative == 0 and finite.size >= MANY_VALUES:
        raise CubeError(
            f"variable {name!r} says units 'dB' but none of its values is negative (median "
            f"{np.median(finite):.2g}), as linear power is; set its units to '1'."
        )


# A bright town may fill a few pixels with decibels above zero, not this many.
MANY_VALUES = 100
