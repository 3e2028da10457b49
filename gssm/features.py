"""Cube (or table) -> exactly the variables of a feature spec, in its order.

The same code serves a cube of pixels and a table of station samples, so that
training and serving cannot differ.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
import xarray as xr

from gssm import physics, schema
from gssm.blocks import elementwise, single
from gssm.correct import linear_power, soil_backscatter
from gssm.errors import CubeError
from gssm.physics import WaterCloud
from gssm.schema import FeatureSpec
from gssm.terrain import Kernel, aspect_cos, aspect_sin, slope, terrain

FloatArray = np.ndarray[Any, np.dtype[np.floating[Any]]]


def build_features(
    cube: xr.Dataset,
    spec: str | FeatureSpec = "l2",
    water_cloud: WaterCloud | None = None,
) -> xr.Dataset:
    """Return the features of a spec, lazy where the cube is lazy.

    Parameters
    ----------
    cube
        Canonical cube, or a dataset of samples along one dimension with ``time``.
    spec
        ``"l2"``, ``"paper33"`` or a `FeatureSpec`.
    water_cloud
        Parameters for ``vv_soil`` and ``vh_soil``, which are made anew from the radar
        and taken from the cube only where it lacks what they are made of.

    Returns
    -------
    xarray.Dataset
        One float32 variable per feature, in the order of the spec. A feature whose
        inputs the cube lacks is NaN everywhere; trees and TabNet take that as missing.

    Raises
    ------
    CubeError
        Backscatter is missing or a variable has wrong units; or the cube's optical bands
        are of another level than the spec's.
    """
    spec = schema.resolve_spec(spec)
    schema.check(cube, schema.BACKSCATTER)
    _check_level(cube, spec)
    water_cloud, missing = water_cloud or WaterCloud(), _missing(cube)
    features = {name: _feature(cube, name, water_cloud, missing) for name in spec.features}
    coords = {k: v for k, v in cube.coords.items() if k in cube.dims or k == "spatial_ref"}
    return xr.Dataset(features, coords=coords, attrs={**cube.attrs, "feature_spec": spec.name})


def _check_level(cube: xr.Dataset, spec: FeatureSpec) -> None:
    stated = {
        str(n): a.attrs.get("processing_level", spec.level) for n, a in cube.data_vars.items()
    }
    other = next((name for name, level in stated.items() if level != spec.level), None)
    if other is None:
        return
    levels = {a.attrs.get("processing_level") for a in cube.data_vars.values()} - {None}
    way = "use a model of the cube's level"
    if len(levels) > 1:
        way = f"leave out what has none, {other!r} and its like"
    raise CubeError(
        f"variable {other!r} is of level {stated[other]!r} and the spec {spec.name!r} reads level "
        f"{spec.level!r} (l1: top of atmosphere, l2: surface); search with level={spec.level!r} "
        f"where a catalogue has it, or {way}."
    )


def _feature(
    cube: xr.Dataset, name: str, water_cloud: WaterCloud, missing: Callable[[], xr.DataArray]
) -> xr.DataArray:
    rule = next((r for r in RULES.get(name, ()) if all(n in cube for n in r.needs)), None)
    if name in cube and not (rule and name in OF_THE_MODEL):
        array = cube[name]
    else:
        array = rule.make(cube, water_cloud) if rule else missing()
    # A shallow copy: xarray's drop_attrs makes every coordinate anew, half of planning.
    array = single(array).rename(name).copy(deep=False)
    array.attrs = schema.VARIABLES[name].attrs
    return array


def _missing(cube: xr.Dataset) -> Callable[[], xr.DataArray]:
    """Make the values of a feature that cannot be made, once for all of them."""
    return cache(lambda: xr.full_like(cube["vv"], np.nan))


def comparable(cube: xr.Dataset, base: str, water_cloud: WaterCloud | None = None) -> xr.DataArray:
    """Return one of `gssm.schema.HISTORY_BASES` as its references are kept.

    Radar is normalised to 40 degrees of incidence, so that all orbits share the
    references; optical bases are as they are. Lazy where the cube is lazy.
    """
    water_cloud, missing = water_cloud or WaterCloud(), _missing(cube)
    values = _feature(cube, base, water_cloud, missing)
    slope = physics.INCIDENCE_SLOPES.get(base)
    if slope is None:
        return values
    angle = _feature(cube, "incidence_angle", water_cloud, missing)
    normalised = elementwise(physics.normalize_incidence, values, angle, slope=slope)
    return normalised.rename(base).assign_attrs(values.attrs)


@dataclass(frozen=True)
class Rule:
    """One way to make a feature: the variables it needs and the function that makes it."""

    needs: tuple[str, ...]
    make: Callable[[xr.Dataset, WaterCloud], xr.DataArray]


def _decibel(polarization: str) -> Rule:
    return Rule(
        (polarization,),
        lambda cube, _: elementwise(physics.linear_to_decibel, linear_power(cube, polarization)),
    )


def _decibel_difference(vh: FloatArray, vv: FloatArray) -> FloatArray:
    return physics.linear_to_decibel(vh) - physics.linear_to_decibel(vv)


def _cross_ratio(cube: xr.Dataset, _: WaterCloud) -> xr.DataArray:
    return elementwise(_decibel_difference, linear_power(cube, "vh"), linear_power(cube, "vv"))


def _index(a: str, b: str) -> Rule:
    return Rule(
        (a, b), lambda cube, _: elementwise(physics.normalized_difference, cube[a], cube[b])
    )


def _soil(name: str) -> Rule:
    return Rule(
        ("vv", "vh", "incidence_angle", "s2_b4", "s2_b8"),
        lambda cube, water_cloud: soil_backscatter(cube, water_cloud)[name],
    )


def _day_of_year(function: Callable[[Any], Any]) -> Rule:
    return Rule(("time",), lambda cube, _: function(2 * np.pi * cube["time"].dt.dayofyear / 365.25))


def _decimal_year(cube: xr.Dataset, _: WaterCloud) -> xr.DataArray:
    return cube["time"].dt.year + (cube["time"].dt.dayofyear - 1) / 365.25


def _terrain(kernel: Kernel) -> Rule:
    return Rule(("dsm", "y", "x"), lambda cube, _: terrain(cube["dsm"], kernel))


def _of_aspect(function: Callable[[Any], Any]) -> Rule:
    return Rule(("aspect",), lambda cube, _: function(np.deg2rad(cube["aspect"])))


def _geographic(index: int) -> Rule:
    def make(cube: xr.Dataset, _: WaterCloud) -> xr.DataArray:
        y, x = xr.broadcast(cube["y"], cube["x"])
        chunks = {k: v for k, v in cube["vv"].variable.chunksizes.items() if k in ("y", "x")}
        result: xr.DataArray = xr.apply_ufunc(
            _to_geographic,
            x.chunk(chunks) if chunks else x,
            y.chunk(chunks) if chunks else y,
            kwargs={"crs_wkt": cube["spatial_ref"].attrs["crs_wkt"], "index": index},
            dask="parallelized",
            output_dtypes=[np.float32],
        )
        return result

    return Rule(("y", "x", "spatial_ref"), make)


def _to_geographic(x: FloatArray, y: FloatArray, crs_wkt: str, index: int) -> FloatArray:
    from pyproj import Transformer

    transformer = Transformer.from_crs(crs_wkt, "EPSG:4326", always_xy=True)
    return np.asarray(transformer.transform(x, y)[index], dtype=np.float32)


def _position(base: str) -> Rule:
    low, high = f"{base}_p05", f"{base}_p95"
    return Rule(
        (low, high),
        lambda cube, water_cloud: elementwise(
            physics.relative_position, comparable(cube, base, water_cloud), cube[low], cube[high]
        ),
    )


# Made anew even where the cube has them: they depend on the model's own parameters, or on
# the acquisition.
OF_THE_MODEL = ("vv_soil", "vh_soil", *schema.POSITIONS)

# In order of preference, the ways to make each derived feature.
RULES: dict[str, tuple[Rule, ...]] = {
    "vv_db": (_decibel("vv"),),
    "vh_db": (_decibel("vh"),),
    "vh_minus_vv_db": (Rule(("vv", "vh"), _cross_ratio),),
    "vv_soil": (_soil("vv_soil"),),
    "vh_soil": (_soil("vh_soil"),),
    "s2_ndvi": (_index("s2_b8", "s2_b4"),),
    "s2_ndmi": (_index("s2_b8", "s2_b11"),),
    "landsat_ndvi": (_index("landsat_b5", "landsat_b4"),),
    "landsat_ndmi": (_index("landsat_b5", "landsat_b6"),),
    "slope": (_terrain(slope),),
    "aspect_sin": (_of_aspect(np.sin), _terrain(aspect_sin)),
    "aspect_cos": (_of_aspect(np.cos), _terrain(aspect_cos)),
    "day_of_year_sin": (_day_of_year(np.sin),),
    "day_of_year_cos": (_day_of_year(np.cos),),
    "decimal_year": (Rule(("time",), _decimal_year),),
    "longitude": (_geographic(0),),
    "latitude": (_geographic(1),),
    **{f"{base}_{schema.POSITION}": (_position(base),) for base in schema.HISTORY_BASES},
}
