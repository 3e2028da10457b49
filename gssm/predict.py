"""Cube -> soil moisture: features scored block by block with the model's own recipe."""

from __future__ import annotations

import json
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import xarray as xr

from gssm import quality, schema
from gssm.blocks import elementwise, map_kernel
from gssm.catalogs import ASSETS, OPTICAL_ROLES
from gssm.correct import linear_power
from gssm.errors import CubeError, GssmWarning
from gssm.features import RULES, build_features
from gssm.memory import refuse_large_chunks
from gssm.models.bundle import ModelRef, resolve
from gssm.models.ensemble import OF_THE_PAST, TARGET, UNCERTAINTY
from gssm.physics import WaterCloud

if TYPE_CHECKING:
    from gssm.models.ensemble import Model

FloatArray = np.ndarray[Any, np.dtype[np.float32]]
IntArray = np.ndarray[Any, np.dtype[np.intp]]

NEED_ANGLE = {"incidence_angle", "vv_soil", "vh_soil"}

# Rows scored at once: bounds the memory of a block whatever its size.
ROWS = 65_536
# Rows that become a matrix together: all their columns fit into the cache.
TILE = 1024
# Bands that a warning names before it counts.
NAMED = 3


def predict(
    cube: xr.Dataset, model: str | Path | Model = "default", *, members: bool = False
) -> xr.Dataset:
    """Predict surface soil moisture (0-5 cm) for every pixel and time of a cube.

    The model's own feature spec and Water Cloud parameters are used, so that serving
    cannot drift from training. Lazy where the cube is lazy; the graph holds the
    model's address, never the model.

    Parameters
    ----------
    cube
        What `gssm.open_cube` returned, or any dataset with its variables and units. For a
        model that reads the past (spec ``"l2-history"``), with the references of
        `gssm.history` put beside it by `gssm.with_history`; without them every pixel is
        flagged ``history_missing``.
    model
        ``"default"``, the path of a bundle, or a `gssm.Model`.
    members
        Also return the prediction of every member of the ensemble.

    Returns
    -------
    xarray.Dataset
        ``soil_moisture`` and ``soil_moisture_uncertainty`` (half-width of the 90 %
        prediction interval at places without a station; NaN if the model was not
        calibrated; both m3 m-3, float32), ``quality_flag`` (bit field) and, on request,
        ``soil_moisture_random_forest`` and so on. NaN where the radar or its incidence angle
        is missing and where `gssm.quality.FLAGS` says so: water, snow, layover, failed reads.

    Raises
    ------
    CubeError
        The cube lacks backscatter or the incidence angle, a variable has no or wrong
        units or impossible numbers, or the cube is no map ``(time, y, x)`` in metres.
    BundleError
        The model bundle is damaged or unknown.
    RequestError
        Chunks are larger than the workers of the active cluster can hold.

    Warns
    -----
    GssmWarning
        A band that the model reads is not in the cube, though others of its sensor are.
    """
    ref = resolve(model)
    loaded = ref.load()
    # No training row lacks the angle: without it a model guesses what it never learnt.
    angle = ("incidence_angle",) if NEED_ANGLE & set(loaded.spec.features) else ()
    schema.check(cube, (*schema.BACKSCATTER, *angle))
    schema.check_layout(cube)
    _check_references(cube, loaded)
    _warn_of_absent(cube, loaded.spec)
    cube = cube.transpose("time", "y", "x", ...) if "time" in cube.dims else cube
    features = build_features(cube, loaded.spec, loaded.water_cloud)
    flags = quality.quality_flag(cube, loaded.water_cloud)
    radar = [linear_power(cube, polarization) for polarization in schema.BACKSCATTER]
    if angle:  # of a pixel too: flagged incidence_angle_out_of_range, and without a value
        radar[0] = elementwise(_where_known, radar[0], cube["incidence_angle"])
    names = [TARGET, UNCERTAINTY, "quality_flag", *(loaded.members if members else ())]
    template = cube["vv"]
    refuse_large_chunks(template, (cube, features))
    stacked = map_kernel(
        score_block,
        [flags, *radar, *features.data_vars.values()],
        template,
        np.float32,
        outputs=len(names),
        ref=ref,
        names=tuple(names),
    )
    scored = {
        name: xr.DataArray(stacked[i], dims=template.dims, coords=template.coords)
        for i, name in enumerate(names)
    }
    flags = scored.pop("quality_flag").astype(np.uint16).assign_attrs(quality.ATTRS)
    return _labelled(scored, flags, cube, ref, loaded)


def _where_known(values: FloatArray, angle: FloatArray) -> FloatArray:
    return np.where(np.isnan(angle), np.float32(np.nan), values)


def _check_references(cube: xr.Dataset, model: Model) -> None:
    """Refuse references of soil backscatter that other Water Cloud parameters made."""
    ours = model.water_cloud
    if not OF_THE_PAST & set(model.spec.features):
        return
    for name in (name for name in schema.REFERENCES if name in cube):
        theirs = cube[name].attrs.get("water_cloud")
        if theirs is not None and WaterCloud.from_dict(json.loads(theirs)) != ours:
            raise CubeError(
                f"variable {name!r} was made with the Water Cloud parameters {theirs} and the "
                f"model's are {json.dumps(ours.to_dict())}; make the references anew with "
                "gssm.history(items, water_cloud=model.water_cloud)."
            )


def _warn_of_absent(cube: xr.Dataset, spec: schema.FeatureSpec) -> None:
    """Tell of bands that the model reads and the cube lacks beside others of their sensor.

    `gssm.open_cube` makes them all, with NaN where there is none: one that is not there has
    another name, or was left behind. Without anything of a sensor, the flags say enough.
    """
    wanted = set(_not_there(cube, spec))
    for role in OPTICAL_ROLES:
        absent = [name for name in ASSETS[role] if name in wanted]
        prefix = absent[0].split("_")[0] if absent else ""
        own = (*ASSETS[role], f"{prefix}_age", f"{prefix}_mask")
        others = [name for name in own if name in cube]
        if absent and others:
            more = f" and {len(absent) - NAMED} more" if len(absent) > NAMED else ""
            warnings.warn(
                f"the cube has {others[0]} and no {', '.join(absent[:NAMED])}{more}, taken as "
                "missing everywhere; if the cube has it by another name, rename it.",
                GssmWarning,
                stacklevel=3,
            )


def _not_there(cube: xr.Dataset, spec: schema.FeatureSpec) -> Iterator[str]:
    """Names of what the cube lacks of a feature that it neither has nor makes."""
    for name in spec.features:
        ways = [rule.needs for rule in RULES.get(name, ())] or [(name,)]
        if name not in cube and not any(all(n in cube for n in needs) for needs in ways):
            yield from (n for n in ways[0] if n not in cube)


def score_block(
    flags: np.ndarray[Any, Any],
    *blocks: FloatArray,
    ref: ModelRef,
    names: tuple[str, ...],
) -> FloatArray:
    """Score one block of numpy arrays.

    Parameters
    ----------
    flags
        uint16 quality flags.
    blocks
        vv and vh, then the features in the order of the model's spec; each broadcasts
        against the others.
    ref
        Address of the model; every process loads it once.
    names
        Outputs wanted: ``soil_moisture``, ``soil_moisture_uncertainty``,
        ``quality_flag`` and members.

    Returns
    -------
    ndarray
        float32 of shape ``(len(names), *block)``; flags are small enough to be exact.
    """
    shape = np.broadcast_shapes(flags.shape, *(b.shape for b in blocks))
    vv, vh, *features = blocks
    result = np.full((len(names), *shape), np.nan, np.float32)
    flags = np.broadcast_to(flags, shape)
    if "quality_flag" in names:
        result[names.index("quality_flag")] = flags
    scorable = np.isfinite(vv) & np.isfinite(vh) & (flags & quality.NO_VALUE == 0)
    where = np.flatnonzero(np.broadcast_to(scorable, shape))
    if where.size == 0:
        return result
    model = ref.load()
    flat = result.reshape(len(names), -1)
    for start in range(0, where.size, ROWS):
        rows = where[start : start + ROWS]
        columns = [_pick(feature, rows, shape) for feature in features]
        for column, name in zip(columns, model.spec.features, strict=True):
            schema.refuse_implausible(column, name)
        table = _as_rows(columns)
        scores = model.score(table)
        scores[UNCERTAINTY] = model.uncertainty(scores[TARGET])
        scores["quality_flag"] = (_pick(flags, rows, shape) | model.flags(table)).astype(np.float32)
        for output, name in enumerate(names):
            flat[output, rows] = scores[name]
    return result


def _pick(block: np.ndarray[Any, Any], rows: IntArray, shape: tuple[int, ...]) -> Any:
    """Values at flat indices into the shape that a block broadcasts to."""
    if block.ndim == len(shape) and block.shape in (shape, (1, *shape[1:])):
        flat = block.reshape(-1)
        first, last = int(rows[0]), int(rows[-1])
        whole = last - first == rows.size - 1  # nothing is left out in between
        if whole and first // flat.size == last // flat.size:
            return flat[first % flat.size :][: rows.size]
        return flat[rows % flat.size]  # a block of one time is the same at every time
    return np.broadcast_to(block, shape)[np.unravel_index(rows, shape)]


def _as_rows(columns: list[FloatArray]) -> FloatArray:
    """Stack columns to (n, k), as many rows at a time as the cache holds."""
    table = np.empty((columns[0].size, len(columns)), np.float32)
    for start in range(0, len(table), TILE):
        part = slice(start, start + TILE)
        np.stack([column[part] for column in columns], axis=1, out=table[part])
    return table


def _labelled(
    scored: dict[str, xr.DataArray],
    flags: xr.DataArray,
    cube: xr.Dataset,
    ref: ModelRef,
    model: Model,
) -> xr.Dataset:
    variable = schema.VARIABLES[TARGET]
    data_vars = {}
    for name, array in scored.items():
        attrs = dict(schema.VARIABLES[name].attrs if name in schema.VARIABLES else variable.attrs)
        if name not in schema.VARIABLES:
            attrs["long_name"] = f"{variable.long_name}, {name} alone"
            attrs.pop("standard_name")
            name = f"soil_moisture_{name}"
        attrs["ancillary_variables"] = "quality_flag"
        data_vars[name] = array.assign_attrs(attrs)
    data_vars["quality_flag"] = flags
    for array in data_vars.values():
        if "spatial_ref" in cube.coords:
            array.attrs["grid_mapping"] = "spatial_ref"
    attrs = {
        "title": "Surface soil moisture at 10 m",
        "model": ref.location,
        "model_sha256": ref.sha256,
        "feature_spec": model.spec.name,
        "source_items": cube.attrs.get("source_items", []),
    }
    return xr.Dataset(data_vars, attrs=attrs)
