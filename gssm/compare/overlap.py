"""From a fine grid to a coarse one by area mean, on exact overlaps of cells.

Pixels of the fine grid become quadrangles on the plane of the coarse one, where its cells are
rectangles; a quadrangle in one cell counts whole, one on a border by the area of its share in
each. Degrees are laid out as longitude and sine of latitude, whose areas are those on the
sphere (Lambert's cylinder). So the integral over the cells is that over the pixels.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from gssm.compare.canonical import (
    OBSERVATION_TIME,
    SOIL_MOISTURE,
    Grid,
    check_product,
    grid_of,
    soil_moisture_attrs,
)
from gssm.compare.cells import edges
from gssm.errors import EmptySearchError, RequestError

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]

# A pixel this much larger than the cell is not a part of it.
LARGEST_SHARE = 1.01
# Times the area of a pixel in the middle of them, above which it is torn apart by the edge of a
# projection.
TORN = 20
# Most pixels of a fine grid, of which the corners are projected in memory.
MOST_PIXELS = 60_000_000


@dataclass(frozen=True)
class Overlaps:
    """Areas that pixels and cells share.

    Parameters
    ----------
    pixel, cell
        Numbers of a pixel of the fine grid and a cell of the coarse one, row by row.
    area
        What they share, in the units of the plane of the coarse grid.
    cell_area
        Of every cell of the coarse grid.
    rows, columns
        Of the coarse grid, the part that the fine one touches.
    """

    pixel: Integers
    cell: Integers
    area: Floats
    cell_area: Floats
    rows: slice
    columns: slice


def area_mean(
    fine: xr.Dataset | xr.DataArray,
    like: xr.Dataset | xr.DataArray,
    *,
    min_valid: float = 0.5,
    name: str = "fine",
) -> xr.Dataset:
    """Average a product over the cells of a coarser one.

    Parameters
    ----------
    fine
        Soil moisture ``(time, y, x)``; see `gssm.compare.canonical.check_product`.
    like
        A product on the coarse grid, in any CRS.
    min_valid
        Least share of a cell's area that must lie in pixels with a value.
    name
        What messages call the fine product.

    Returns
    -------
    xarray.Dataset
        Lazy where `fine` is, on the cells of `like` that `fine` touches: ``soil_moisture``
        (mean of the pixels with a value, weighted by area; NaN below `min_valid`) and
        ``valid_fraction`` (share of the cell's area in pixels with a value); and, where `fine`
        tells it, ``observation_time``, the mean of those pixels (UTC).

    Raises
    ------
    RequestError
        `min_valid` is no share, or `like` is finer than `fine`.
    EmptySearchError
        The two do not overlap.
    """
    if not isinstance(min_valid, (int, float)) or not 0 < min_valid <= 1:
        raise RequestError(f"min_valid {min_valid!r} is no share of a cell; give 0.5, say.")
    source, target = check_product(fine, name), check_product(like, "like")
    pixels, cells = grid_of(source, name), grid_of(target, "like")
    shared = overlaps(pixels, cells, name)
    fine_axes = {pixels.y_name: "fine_y", pixels.x_name: "fine_x"}
    array = source[SOIL_MOISTURE].rename(fine_axes)
    if array.chunks is not None:
        array = array.chunk({"fine_y": -1, "fine_x": -1})
    size = (shared.rows.stop - shared.rows.start, shared.columns.stop - shared.columns.start)
    mean, share = _over_cells(array, shared, size, min_valid)
    dataset = xr.Dataset(
        {SOIL_MOISTURE: mean, "valid_fraction": share},
        {"time": source["time"], "y": cells.y[shared.rows], "x": cells.x[shared.columns]},
    )
    dataset[SOIL_MOISTURE].attrs = soil_moisture_attrs()
    if OBSERVATION_TIME in source:
        moments = source[OBSERVATION_TIME].rename(fine_axes)
        dataset[OBSERVATION_TIME] = _mean_moment(moments, array, shared, size)
    dataset["valid_fraction"].attrs = {
        "units": "1",
        "long_name": "share of the cell's area in pixels with a value",
    }
    from odc.geo.xr import assign_crs

    placed: xr.Dataset = assign_crs(
        dataset.drop_vars([n for n in dataset.coords if n not in ("time", "y", "x")]), cells.crs
    )
    return placed


def _mean_moment(
    moments: xr.DataArray, array: xr.DataArray, shared: Overlaps, size: tuple[int, int]
) -> xr.DataArray:
    """Mean moment of the pixels with a value in each cell, which need not be that of ``time``."""
    late = (moments - array["time"]) / np.timedelta64(1, "s")
    late = late.fillna(0.0).where(np.isfinite(array)).transpose(*array.dims)
    if late.chunks is not None:
        late = late.chunk({"fine_y": -1, "fine_x": -1})
    # A cell of which hardly anything has a value has a moment, too.
    seconds, _ = _over_cells(late, shared, size, min_valid=1e-12)
    nanoseconds = (seconds.fillna(0.0).astype(np.float64).round() * 1e9).astype("timedelta64[ns]")
    found: xr.DataArray = array["time"] + nanoseconds
    return found.transpose("time", "y", "x").assign_attrs(
        long_name="mean time of observation (UTC)"
    )


def _over_cells(
    array: xr.DataArray, shared: Overlaps, size: tuple[int, int], min_valid: float
) -> tuple[xr.DataArray, xr.DataArray]:
    """Means over the cells, and shares of them with a value, ``(time, y, x)``."""
    mean, share = xr.apply_ufunc(
        _mean,
        array,
        kwargs={"shared": shared, "size": size, "min_valid": min_valid},
        input_core_dims=[["fine_y", "fine_x"]],
        output_core_dims=[["y", "x"], ["y", "x"]],
        dask="parallelized",
        output_dtypes=[np.float32, np.float32],
        dask_gufunc_kwargs={"output_sizes": {"y": size[0], "x": size[1]}},
    )
    return mean, share


def overlaps(pixels: Grid, cells: Grid, name: str = "fine") -> Overlaps:
    """Return the areas that the pixels of a grid and the cells of another share.

    Raises
    ------
    RequestError
        The pixels are larger than the cells, or too many.
    EmptySearchError
        The grids do not overlap.
    """
    if pixels.y.size * pixels.x.size > MOST_PIXELS:
        raise RequestError(
            f"{name} has {pixels.y.size} x {pixels.x.size} pixels, too many to lay over a coarser "
            "grid at once; give a smaller box."
        )
    x, y = _corners(pixels, cells)
    cell_y, cell_x = _plane_edges(cells)
    quads = np.stack(
        [np.stack([v[:-1, :-1], v[:-1, 1:], v[1:, 1:], v[1:, :-1]], axis=-1) for v in (x, y)],
        axis=-1,
    ).reshape(-1, 4, 2)
    pixel = np.arange(len(quads))
    if cells.is_geographic:
        quads, pixel = _on_turns(quads, cell_x)
    whole = _areas(quads)
    known = np.isfinite(whole)
    if known.any():
        # A pixel across the edge of a projection spans all of it, and belongs nowhere.
        known &= whole <= TORN * np.median(whole[known])
    if not known.all():
        quads, whole, pixel = quads[known], whole[known], pixel[known]
    if not len(quads):
        raise EmptySearchError(
            f"{name} has no pixel in the projection of the coarse product; give products of one "
            "place."
        )
    _refuse_coarser(whole, cell_y, cell_x, name)
    rows, columns = (_span(quads[..., axis], limits) for axis, limits in ((1, cell_y), (0, cell_x)))
    number, row, column, area = _shares(quads, whole, rows, columns, cell_y, cell_x)
    number = pixel[number]
    if not number.size:
        raise EmptySearchError(
            f"{name} and the coarse product share no area; give products of one place."
        )
    top, left = int(row.min()), int(column.min())
    # A cell has neighbours, by which its size is known.
    row_slice = slice(max(0, top - 1), min(len(cells.y), int(row.max()) + 2))
    column_slice = slice(max(0, left - 1), min(len(cells.x), int(column.max()) + 2))
    wide = column_slice.stop - column_slice.start
    sides = np.abs(np.diff(cell_y))[row_slice], np.abs(np.diff(cell_x))[column_slice]
    return Overlaps(
        number,
        (row - row_slice.start) * wide + column - column_slice.start,
        area,
        np.outer(*sides).ravel(),
        row_slice,
        column_slice,
    )


def _plane_edges(cells: Grid) -> tuple[Floats, Floats]:
    """Edges of rows and columns on the plane where areas are compared."""
    y, x = edges(cells.y), edges(cells.x)
    return (
        (np.rad2deg(np.sin(np.deg2rad(np.clip(y, -90, 90)))), x) if cells.is_geographic else (y, x)
    )


def _corners(pixels: Grid, cells: Grid) -> tuple[Floats, Floats]:
    """Corners of the pixels on the plane of the cells, (rows + 1, columns + 1) each."""
    from pyproj import CRS, Transformer

    x, y = np.meshgrid(edges(pixels.x), edges(pixels.y))
    if CRS.from_user_input(pixels.crs) != CRS.from_user_input(cells.crs):
        to_cells = Transformer.from_crs(pixels.crs, cells.crs, always_xy=True)
        x, y = (np.asarray(v, np.float64) for v in to_cells.transform(x, y))
    if cells.is_geographic:
        y = np.rad2deg(np.sin(np.deg2rad(np.clip(y, -90, 90))))
    # Beyond the edge of a projection there is no place.
    known = np.isfinite(x) & np.isfinite(y)
    return np.where(known, x, np.nan), np.where(known, y, np.nan)


def _on_turns(quads: Floats, cell_x: Floats) -> tuple[Floats, Integers]:
    """Pixels in one piece, by whole turns where the cells are, and the number of each.

    One across the end of cells that go around the world is there twice, once at either end.
    """
    x = quads[..., 0]  # in place, as these are the largest arrays
    x -= 360 * np.round((x - x[:, :1]) / 360)
    west, east = cell_x.min(), cell_x.max()
    x += 360 * np.round(((west + east) / 2 - x.mean(axis=1, keepdims=True)) / 360)
    first, last = x.min(axis=1), x.max(axis=1)
    parts, numbers = [quads], [np.arange(len(quads))]
    for turn, beyond in (
        (360, (first < west) & (first + 360 < east)),
        (-360, (last > east) & (last - 360 > west)),
    ):
        if beyond.any():
            parts.append(quads[beyond] + np.array([turn, 0]))
            numbers.append(np.flatnonzero(beyond))
    if len(parts) == 1:
        return quads, numbers[0]
    return np.concatenate(parts), np.concatenate(numbers)


def _areas(quads: Floats) -> Floats:
    """Areas of quadrangles (n, 4, 2), by the shoelace formula."""
    x, y = quads[..., 0], quads[..., 1]
    crossed = np.sum(x * np.roll(y, -1, axis=1) - np.roll(x, -1, axis=1) * y, axis=1)
    return np.asarray(np.abs(crossed) / 2)


def _refuse_coarser(whole: Floats, cell_y: Floats, cell_x: Floats, name: str) -> None:
    typical = float(np.nanmedian(whole))
    cell = float(np.median(np.abs(np.diff(cell_y))) * np.median(np.abs(np.diff(cell_x))))
    if typical > LARGEST_SHARE * cell:
        raise RequestError(
            f"{name} has pixels {typical / cell:.3g} times as large as the cells to average over; "
            "swap the two: the mean is of the fine over the coarse."
        )


def _span(corners: Floats, limits: Floats) -> tuple[Integers, Integers]:
    """First and last cell that quadrangles reach into along one axis; last < first for none."""
    falls = limits[0] > limits[-1]
    rising = limits[::-1] if falls else limits
    count = len(limits) - 1
    low, high = corners.min(axis=1), corners.max(axis=1)
    first = np.searchsorted(rising, low, side="right") - 1
    last = np.searchsorted(rising, high, side="left") - 1
    first, last = np.maximum(first, 0), np.minimum(last, count - 1)
    gone = ~np.isfinite(low + high) | (high <= rising[0]) | (low >= rising[-1])
    first, last = np.where(gone, 0, first), np.where(gone, -1, last)
    if falls:
        first, last = np.where(gone, 0, count - 1 - last), np.where(gone, -1, count - 1 - first)
    return first.astype(np.int64), last.astype(np.int64)


def _shares(
    quads: Floats,
    whole: Floats,
    rows: tuple[Integers, Integers],
    columns: tuple[Integers, Integers],
    cell_y: Floats,
    cell_x: Floats,
) -> tuple[Integers, Integers, Integers, Floats]:
    """Pixel, row, column and shared area of every pair that has one."""
    import shapely

    down, across = rows[1] - rows[0] + 1, columns[1] - columns[0] + 1
    pairs = np.maximum(down, 0) * np.maximum(across, 0)
    number = np.repeat(np.arange(len(quads)), pairs)
    place = np.arange(len(number)) - np.repeat(np.cumsum(pairs) - pairs, pairs)
    row = rows[0][number] + place // np.maximum(across[number], 1)
    column = columns[0][number] + place % np.maximum(across[number], 1)
    area = whole[number].copy()
    low_x, high_x = (f(cell_x[column], cell_x[column + 1]) for f in (np.minimum, np.maximum))
    low_y, high_y = (f(cell_y[row], cell_y[row + 1]) for f in (np.minimum, np.maximum))
    own = quads[number]
    inside = (own[..., 0] >= low_x[:, None]) & (own[..., 0] <= high_x[:, None])
    inside &= (own[..., 1] >= low_y[:, None]) & (own[..., 1] <= high_y[:, None])
    split = np.flatnonzero(~inside.all(axis=1))
    if split.size:
        boxes = shapely.box(low_x[split], low_y[split], high_x[split], high_y[split])
        area[split] = shapely.area(shapely.intersection(shapely.polygons(own[split]), boxes))
    kept = area > 0
    return number[kept], row[kept], column[kept], area[kept]


def _mean(
    values: NDArray[Any], shared: Overlaps, size: tuple[int, int], min_valid: float
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Means and valid shares of cells, of values ``(..., fine_y, fine_x)``."""
    flat = values.reshape(-1, values.shape[-2] * values.shape[-1])
    count = size[0] * size[1]
    means = np.full((len(flat), count), np.nan, np.float32)
    shares = np.zeros((len(flat), count), np.float32)
    for number, row in enumerate(flat):
        at_pixels = row[shared.pixel].astype(np.float64)
        known = np.isfinite(at_pixels)
        weight = np.where(known, shared.area, 0)
        area = np.bincount(shared.cell, weight, minlength=count)
        total = np.bincount(shared.cell, np.where(known, at_pixels, 0) * weight, minlength=count)
        share = area / shared.cell_area
        # Shares of one that rounding has made less.
        enough = share >= min_valid * (1 - 1e-9)
        with np.errstate(invalid="ignore", divide="ignore"):
            means[number] = np.where(enough & (area > 0), total / area, np.nan)
        shares[number] = share
    shape = (*values.shape[:-2], *size)
    return means.reshape(shape), shares.reshape(shape)
