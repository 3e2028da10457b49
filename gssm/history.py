"""The dry and wet references of every pixel, from satellite data alone.

What a value of the radar means depends on the place: on its roughness, vegetation and
soil. Change detection therefore asks where it lies between what was seen there when it
was dry and when it was wet (Wagner et al. 1999, doi 10.1016/S0034-4257(99)00036-X).
The references are percentiles over a place's past, of a year or more; they are computed
once, stored, and put beside a cube by `with_history`.
"""

from __future__ import annotations

import json
import warnings
from collections.abc import Iterable, Mapping, Sequence
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

import dask.array as da
import numpy as np
import pandas as pd
import xarray as xr
from numpy.typing import NDArray

from gssm import quality, schema
from gssm.blocks import map_kernel
from gssm.errors import CubeError, GssmWarning, MissingVariableError, RequestError
from gssm.features import RULES, comparable
from gssm.percentiles import MIN_COUNT, statistics
from gssm.physics import WaterCloud

if TYPE_CHECKING:
    from odc.geo.geobox import GeoBox

Array = NDArray[Any]
Float32Array = NDArray[np.float32]

# Pixels of a window whose whole past is in memory at once: a year of 120 acquisitions is
# 350 MB of it.
WINDOW: dict[str, int] = {"y": 256, "x": 256}
MUCH_MEMORY = 2.0  # GB, for each thread of a worker

DIMENSIONS = ("time", "y", "x")

# What the values and their screening are made of, where a cube has it.
INPUTS: tuple[str, ...] = tuple(
    dict.fromkeys(
        [
            *(*schema.BACKSCATTER, "incidence_angle", *schema.HISTORY_BASES),
            *(n for b in schema.HISTORY_BASES for rule in RULES.get(b, ()) for n in rule.needs),
            *("s2_mask", "landsat_mask", "read_failed"),
        ]
    )
)


def history(
    items: Iterable[Any] | xr.Dataset,
    *,
    bbox: Sequence[float] | None = None,
    grid: GeoBox | None = None,
    resolution: float = 10,
    window: str = "3D",
    chunks: Mapping[str, int] | None = None,
    water_cloud: WaterCloud | None = None,
    min_count: int = MIN_COUNT,
) -> xr.Dataset:
    """Return the references of every pixel, which the spec ``"l2-history"`` asks for.

    Nothing is read before they are computed. Store them (`gssm.to_zarr`), open them again
    and put them beside any cube of the place with `gssm.with_history`.

    Parameters
    ----------
    items
        A year or more of all sensors, as for `gssm.open_cube`; or a cube of them, best
        opened with chunks of ``{"y": 256, "x": 256}``.
    bbox, grid, resolution, window
        As for `gssm.open_cube`, where items are given.
    chunks
        Pixels of a window whose whole past is in memory at once,
        ``{"y": 256, "x": 256}`` by default: 44 bytes for every pixel and acquisition.
    water_cloud
        Parameters for the references of ``vv_soil`` and ``vh_soil``; the model's own.
    min_count
        Where a pixel has fewer values than this, its references are NaN.

    Returns
    -------
    xarray.Dataset
        `gssm.schema.REFERENCES`, float32 ``(y, x)``: percentiles (linear between the
        nearest values) and standard deviation over time of `gssm.schema.HISTORY_BASES`,
        the radar normalised to 40 degrees. An acquisition enters at the pixels at which a
        map would have a value: not water, snow or frozen ground, or a failed read, which
        would make a dry reference of ice. Optical values enter where their own mask is
        clear.

    Raises
    ------
    RequestError
        The box, grid, window, chunks or min_count cannot be served.
    EmptySearchError
        There is no usable Sentinel-1 item.
    CubeError
        The cube cannot be used, or has fewer acquisitions than min_count.

    Warns
    -----
    GssmWarning
        The chunks that are read are so large that the past of one takes gigabytes.
    """
    if not isinstance(min_count, (int, np.integer)) or min_count < 1:
        raise RequestError(f"min_count {min_count!r} is no number of values; use {MIN_COUNT}.")
    if isinstance(items, xr.Dataset):
        unused = all(option is None for option in (bbox, grid, chunks))
        if not unused or resolution != 10 or window != "3D":
            raise RequestError(
                "an opened cube has its own grid, window and chunks; leave out bbox, grid, "
                "resolution, window and chunks, or give items in place of the cube."
            )
        cube = items
    else:
        from gssm.align import open_cube

        sizes = {**WINDOW, **chunks} if isinstance(chunks, Mapping) else chunks or WINDOW
        cube = open_cube(
            items, bbox=bbox, grid=grid, resolution=resolution, window=window, chunks=sizes
        )
    _check_cube(cube, min_count)
    water_cloud = water_cloud or WaterCloud()
    inputs = xr.Dataset({name: cube[name].variable for name in INPUTS if name in cube})
    lazy = any(array.chunks is not None for array in inputs.data_vars.values())
    if lazy:
        _warn_of_memory(inputs["vv"])
    windows = inputs.chunk(_window_sizes(inputs["vv"])) if cube is items else inputs
    values: Any = _references(windows, water_cloud, int(min_count))
    if not lazy:  # the same road for what is in memory, window by window, here and now
        values = values.compute(scheduler="synchronous")
    return _labelled(values, cube, water_cloud, int(min_count))


def _warn_of_memory(template: xr.DataArray) -> None:
    """Tell of chunks that are read whole and whose past may not fit into memory."""
    rows, columns = (max(template.chunksizes.get(d, (0,))) for d in ("y", "x"))
    gigabytes = 4e-9 * len(schema.HISTORY_BASES) * template.sizes["time"] * rows * columns
    if gigabytes > MUCH_MEMORY:
        warnings.warn(
            f"the past of a chunk of {rows} x {columns} pixels takes {gigabytes:.1f} GB of memory; "
            f"give items, or a cube opened, with smaller chunks such as {WINDOW}.",
            GssmWarning,
            stacklevel=3,
        )


def _check_cube(cube: xr.Dataset, min_count: int) -> None:
    schema.check(cube, (*schema.BACKSCATTER, "incidence_angle"))
    schema.check_layout(cube)
    times = cube.sizes.get("time", 1)
    if "time" not in cube.dims or times < min_count:
        raise CubeError(
            f"the cube has {times} acquisition(s) and min_count is {min_count}, so that every "
            "reference would be missing; give a year or more of acquisitions."
        )


def with_history(cube: xr.Dataset, references: xr.Dataset) -> xr.Dataset:
    """Put the references of `history` beside a cube, each at its own pixel.

    ``cube.assign`` would do it too where both have one grid; but where a grid differs it
    fills with NaN and says nothing, which this refuses.

    Parameters
    ----------
    cube
        Cube that ``"l2-history"`` features shall be built of.
    references
        What `history` returned, or a store of it opened again. It may cover more than the
        cube: the pixels of the cube are taken out of it, nothing is resampled.

    Returns
    -------
    xarray.Dataset
        The cube with the `gssm.schema.REFERENCES` that there are, lazy where they are lazy.

    Raises
    ------
    CubeError
        Either is no dataset with ``y`` and ``x``; they have different CRS or pixels; or
        the references do not cover the cube.
    MissingVariableError
        There is no reference in the history.
    """
    for dataset, called, maker in ((cube, "cube", "open_cube"), (references, "history", "history")):
        if not isinstance(dataset, xr.Dataset) or not all(_is_axis(dataset, d) for d in ("y", "x")):
            raise CubeError(
                f"the {called} is no Dataset with pixels at coordinates 'y' and 'x' in metres, by "
                f"which cube and history are put together; make it with gssm.{maker}."
            )
    names = [n for n in schema.REFERENCES if n in references]
    names = [n for n in names if set(references[n].dims) == {"y", "x"}]
    if not names:
        raise MissingVariableError(
            "the history has no reference, such as 'vv_db_p05' (y, x); make it with gssm.history."
        )
    _check_crs(cube, references)
    taken = references[names].isel({d: _places(cube, references, d) for d in ("y", "x")})
    taken = taken.transpose("y", "x")
    layouts = (array.variable.chunksizes for array in cube.values())
    layout = next((sizes for sizes in layouts if {"y", "x"} <= set(sizes)), None)
    if layout and taken.chunks:
        # A store has small chunks, and Dask would cut the whole cube to them.
        taken = taken.chunk({dimension: layout[dimension] for dimension in ("y", "x")})
    return cube.assign({n: (("y", "x"), taken[n].data, taken[n].attrs) for n in names})


def _is_axis(dataset: xr.Dataset, dimension: str) -> bool:
    index = dataset.indexes.get(dimension)
    return index is not None and index.size > 0 and index.dtype.kind in "iuf"


def _check_crs(cube: xr.Dataset, references: xr.Dataset) -> None:
    texts = [
        d["spatial_ref"].attrs.get("crs_wkt") for d in (cube, references) if "spatial_ref" in d
    ]
    known = [str(text) for text in dict.fromkeys(texts) if text is not None]
    if len(known) < 2:
        return
    from pyproj import CRS

    of_cube, of_history = map(CRS.from_wkt, known)
    if of_cube != of_history:
        raise CubeError(
            f"the cube is in {of_cube.name} and the history in {of_history.name}; make the "
            f"history on the cube's grid with {_ON_ITS_GRID}."
        )


_ON_ITS_GRID = "gssm.history(items, grid=cube.odc.geobox)"
# Pixels; more apart is another pixel, less is rounding.
SAME_PIXEL = 0.01


def _places(cube: xr.Dataset, references: xr.Dataset, dimension: str) -> Any:
    """Position in the history of every row or column of the cube."""
    wanted, there = cube.indexes[dimension], references.indexes[dimension]
    steps = [float(np.abs(np.diff(c)).min()) for c in (wanted, there) if len(c) > 1]
    step = steps[0] if steps else 10.0
    known, first = np.unique(there, return_index=True)
    nearest = pd.Index(known).get_indexer(wanted, method="nearest", tolerance=SAME_PIXEL * step)
    other_size = len(steps) == 2 and abs(steps[0] - steps[1]) > 1e-6 * step
    if other_size or (nearest < 0).any():
        raise CubeError(
            f"the cube's pixels along {dimension!r} ({_extent(wanted)}) are not pixels of the "
            f"history ({_extent(there)}); make the history on the cube's grid with {_ON_ITS_GRID}."
        )
    positions = first[nearest]
    whole = slice(int(positions[0]), int(positions[0]) + len(positions))
    return whole if np.array_equal(positions, np.arange(whole.start, whole.stop)) else positions


def _extent(coordinate: pd.Index) -> str:
    """Say where the pixels of a coordinate lie."""
    step = f" every {abs(coordinate[1] - coordinate[0]):g} m" if len(coordinate) > 1 else ""
    return f"{min(coordinate):.10g} to {max(coordinate):.10g}{step}"


def screened(cube: xr.Dataset, bases: Sequence[str], water_cloud: WaterCloud) -> list[xr.DataArray]:
    """Return the values of each base that enter its references, NaN elsewhere.

    Parameters
    ----------
    cube
        A cube, or a dataset of samples. Masks that it has leave values out; a missing mask
        (NaN) leaves nothing out.
    bases
        Of `gssm.schema.HISTORY_BASES`.
    water_cloud
        Parameters for ``vv_soil`` and ``vh_soil``.
    """
    flags = quality.quality_flag(cube[[n for n in _FLAGGED if n in cube]])
    enters = {"": (flags & quality.NO_VALUE) == 0}
    for sensor in ("s2", "landsat"):
        mask = cube.get(f"{sensor}_mask")
        clear = True if mask is None else ~(mask > schema.MASK_CLEAR)
        enters[sensor] = enters[""] & clear
    return [
        comparable(cube, base, water_cloud).where(enters.get(base.partition("_")[0], enters[""]))
        for base in bases
    ]


# Of the flags only those that take the value away are of interest here.
_FLAGGED = ("vv", "s2_mask", "landsat_mask", "read_failed")


# Rows that are sorted together: with 120 values each they stay in the cache.
STRIP = 4096


def _references(cube: xr.Dataset, water_cloud: WaterCloud, min_count: int) -> da.Array:
    """Return references (reference, y, x) of a chunked cube, lazily."""
    stacked = map_kernel(
        _screened_block,
        list(cube.data_vars.values()),
        cube["vv"].transpose(*DIMENSIONS),
        np.float32,
        outputs=len(schema.HISTORY_BASES),
        names=tuple(map(str, cube.data_vars)),
        units=tuple(array.attrs.get("units") for array in cube.data_vars.values()),
        water_cloud=water_cloud,
    )
    # A list of blocks for every window, one per chunk of time: they are never put together.
    references: da.Array = da.blockwise(
        _reference_block,
        "ryx",
        stacked,
        "btyx",
        new_axes={"r": len(schema.REFERENCES)},
        concatenate=False,
        dtype=np.float32,
        meta=np.empty((0, 0, 0), np.float32),
        min_count=min_count,
    )
    return references


def _window_sizes(template: xr.DataArray) -> dict[str, int]:
    chunks = template.chunksizes
    return {d: min(n, max(chunks.get(d, (template.sizes[d],)))) for d, n in WINDOW.items()}


def _screened_block(
    *blocks: Array,
    names: tuple[str, ...],
    units: tuple[str | None, ...],
    water_cloud: WaterCloud,
) -> Float32Array:
    """Blocks (time, y, x) -> values that enter the references (base, time, y, x)."""
    shape = np.broadcast_shapes(*(block.shape for block in blocks))
    for name, block in zip(names, blocks, strict=True):
        if name not in schema.BACKSCATTER:  # which may be dB, and whose scale is checked
            schema.refuse_implausible(block, name)
    cube = xr.Dataset(
        {
            name: (DIMENSIONS, np.ascontiguousarray(np.broadcast_to(block, shape)), {"units": unit})
            for name, block, unit in zip(names, blocks, units, strict=True)
        }
    )
    return np.stack([v.values for v in screened(cube, schema.HISTORY_BASES, water_cloud)])


def _reference_block(blocks: list[list[Float32Array]], min_count: int) -> Float32Array:
    """All blocks in time of one window -> its references (reference, y, x)."""
    (pieces,) = blocks
    bases, _, *shape = pieces[0].shape
    flat = [piece.reshape(bases, piece.shape[1], -1) for piece in pieces]
    pixels = flat[0].shape[2]
    result = np.empty((bases, len(schema.HISTORY_STATISTICS), pixels), np.float32)
    for base in range(bases):
        for start in range(0, pixels, STRIP):
            strip = slice(start, start + STRIP)
            times = np.concatenate([piece[base, :, strip] for piece in flat])
            result[base, :, strip] = statistics(times.T, min_count)
    return result.reshape(-1, *shape)


def _labelled(values: Any, cube: xr.Dataset, water_cloud: WaterCloud, min_count: int) -> xr.Dataset:
    parameters = json.dumps(water_cloud.to_dict())
    coords = {k: cube.coords[k] for k in ("y", "x", "spatial_ref") if k in cube.coords}
    references = {}
    for index, name in enumerate(schema.REFERENCES):
        attrs: dict[str, Any] = schema.VARIABLES[name].attrs
        if "_soil_" in name:
            # Stays with the variable when it is assigned to a cube.
            attrs["water_cloud"] = parameters
        if "spatial_ref" in coords:
            attrs["grid_mapping"] = "spatial_ref"
        references[name] = (("y", "x"), values[index], attrs)
    attrs = {
        "title": "gssm history: dry and wet references of every pixel",
        "source_items": cube.attrs.get("source_items", []),
        "acquisitions": cube.sizes["time"],
        "min_count": min_count,
        "water_cloud": parameters,
        "gssm_version": version("gssm"),
    }
    if "time" in cube.coords:
        times = cube["time"].dt.strftime("%Y-%m-%dT%H:%M:%SZ").values
        attrs |= {"time_coverage_start": min(times), "time_coverage_end": max(times)}
    return xr.Dataset(references, coords=coords, attrs=attrs)
