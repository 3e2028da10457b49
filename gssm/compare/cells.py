"""Cells of a product at stations, and their values over time."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

import numpy as np
import pandas as pd
import xarray as xr
from numpy.typing import NDArray

from gssm.catalogs import Bbox
from gssm.compare.canonical import (
    OBSERVATION_TIME,
    RECOMMENDED,
    SOIL_MOISTURE,
    Grid,
    check_product,
    grid_of,
)
from gssm.errors import CubeError, EmptySearchError
from gssm.possible import REMEDY, impossible

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]

EARTH_RADIUS = 6_371_000.0  # m
METRES_PER_DEGREE = 111_320.0
# Cells that are looked through for the nearest one with a value.
MOST_CANDIDATES = 2_500


@dataclass(frozen=True)
class Cells:
    """Row and column of the cell of each place; -1 where it lies outside the grid."""

    rows: Integers
    columns: Integers

    @property
    def inside(self) -> NDArray[np.bool_]:
        """Whether each place lies in a cell."""
        return np.asarray((self.rows >= 0) & (self.columns >= 0))


def edges(centres: Floats) -> Floats:
    """Return the edges of cells: half-way between centres, and as far beyond the outer ones."""
    middle = (centres[1:] + centres[:-1]) / 2
    first, last = centres[0] - (middle[0] - centres[0]), centres[-1] + (centres[-1] - middle[-1])
    return np.concatenate([[first], middle, [last]])


def cells_at(grid: Grid, longitude: Floats, latitude: Floats) -> Cells:
    """Return the cells that hold places.

    A place on an edge belongs to the cell that follows, in the direction of rising
    coordinates; the outermost edges are part of the grid.

    Parameters
    ----------
    grid
        Of the product.
    longitude, latitude
        (n,), degrees (WGS 84).
    """
    x, y = project(grid, longitude, latitude)
    return Cells(_index(edges(grid.y), y), _index(edges(grid.x), x))


def window(grid: Grid, bbox: Bbox | None, name: str) -> dict[str, slice]:
    """Return the rows and columns whose cells touch a box in degrees.

    Raises
    ------
    EmptySearchError
        None does; or the edge of a grid around the world cuts the box.
    """
    if bbox is None:
        return {}
    west, south, east, north = bbox
    ends, cut = _sides(grid, bbox)
    slices = {}
    for dim, centres in ((grid.y_name, grid.y), (grid.x_name, grid.x)):
        limits = edges(centres)
        low, high = np.minimum(limits[1:], limits[:-1]), np.maximum(limits[1:], limits[:-1])
        touched = np.flatnonzero((high > ends[dim][0]) & (low < ends[dim][1]))
        if cut or not touched.size:
            why = (
                "lies across the edge of its grid: give a box for each side"
                if cut
                else ("holds none of it: give another")
            )
            raise EmptySearchError(
                f"{name} has no cell in bbox ({west:g}, {south:g}, {east:g}, {north:g}), which "
                f"{why}."
            )
        # A cell has neighbours, by which its size is known.
        first, last = max(0, touched[0] - 1), min(len(centres), touched[-1] + 2)
        slices[dim] = slice(int(first), int(last))
    return slices


def _sides(grid: Grid, bbox: Bbox) -> tuple[dict[str, tuple[float, float]], bool]:
    """Return lowest and highest y and x of a box on a grid, and whether its edge cuts the box."""
    west, south, east, north = bbox
    width = east - west if west <= east else east - west + 360
    if grid.is_geographic:
        limits = edges(grid.x)
        # By whole turns to where the grid is.
        west += 360 * round((limits.mean() - west - width / 2) / 360)
        ends = {grid.y_name: (south, north), grid.x_name: (west, west + width)}
        around = np.ptp(limits) >= 360 - 1e-6
        return ends, bool(around and (west < limits.min() or west + width > limits.max()))
    # The sides of a box bend in a projection: points along them, not corners alone.
    along = np.linspace(0, 1, 21)
    lons = west + width * np.concatenate([along, along, 0 * along, 0 * along + 1])
    lats = south + (north - south) * np.concatenate([0 * along, 0 * along + 1, along, along])
    x, y = project(grid, np.where(lons > 180, lons - 360, lons), lats)
    ends = {grid.y_name: (y.min(), y.max()), grid.x_name: (x.min(), x.max())}
    return ends, bool(x[20] < x[0])


def project(grid: Grid, longitude: Floats, latitude: Floats) -> tuple[Floats, Floats]:
    """Return x and y of places in the CRS of a grid; longitudes by whole turns on it."""
    from pyproj import Transformer

    to_grid = Transformer.from_crs("EPSG:4326", grid.crs, always_xy=True)
    x, y = (np.asarray(values, np.float64) for values in to_grid.transform(longitude, latitude))
    if grid.is_geographic:
        west = edges(grid.x).min()
        wrapped = west + np.mod(x - west, 360)
        # A wrap costs digits where none is due.
        x = np.where((x >= west) & (x < west + 360), x, wrapped)
    return x, y


def _index(limits: Floats, values: Floats) -> Integers:
    falls = limits[0] > limits[-1]
    rising = limits[::-1] if falls else limits
    size = len(limits) - 1
    found = np.searchsorted(rising, values, side="right") - 1
    found = np.where(values == rising[-1], size - 1, found)
    known = (values >= rising[0]) & (values <= rising[-1])
    index = size - 1 - found if falls else found
    return np.where(known, index, -1).astype(np.int64)


def product_series(
    product: xr.Dataset | xr.DataArray,
    places: pd.DataFrame,
    *,
    name: str = "product",
    method: str = "cell",
    max_distance: float = 1000.0,
    flagged: bool = False,
) -> tuple[pd.DataFrame, dict[str, int]]:
    """Read the values of a product at stations.

    Parameters
    ----------
    product
        As `gssm.compare.canonical.check_product` takes it; a lazy one is read at these cells
        only.
    places
        Index ``station``; ``longitude``, ``latitude`` (degrees).
    name
        What messages and counts call it.
    method
        ``"cell"``: the cell that holds the station; ``"nearest"``: where that has no value at
        any time, or there is none, the nearest cell that has one.
    max_distance
        Metres to the centre of the farthest cell that is nearest.
    flagged
        Keep values that the product's own flags advise against (``recommended`` is 0).

    Returns
    -------
    tuple
        A table ``station``, ``time`` (UTC; of the observation where the product tells it) and
        ``value`` (m3 m-3), without NaN; and counts of what was left out.
    """
    dataset = check_product(product, name)
    grid = grid_of(dataset, name)
    longitude, latitude = (places[n].to_numpy(np.float64) for n in ("longitude", "latitude"))
    cells = cells_at(grid, longitude, latitude)
    read = _read(dataset, grid, cells)
    if method == "nearest":
        empty = np.flatnonzero(~np.isfinite(read[SOIL_MOISTURE]).any(axis=0))
        moved = _with_values(dataset, grid, longitude[empty], latitude[empty], max_distance)
        rows, columns = cells.rows.copy(), cells.columns.copy()
        rows[empty], columns[empty] = moved.rows, moved.columns
        cells = Cells(rows, columns)
        read = _read(dataset, grid, cells)
    return _table(read, dataset, places, cells, name, flagged)


def _read(dataset: xr.Dataset, grid: Grid, cells: Cells) -> dict[str, NDArray[np.generic]]:
    """Values ``(time, place)`` of every variable that is needed; NaN outside the grid."""
    names = [n for n in (SOIL_MOISTURE, RECOMMENDED, OBSERVATION_TIME) if n in dataset]
    at = {
        grid.y_name: xr.DataArray(np.maximum(cells.rows, 0), dims="place"),
        grid.x_name: xr.DataArray(np.maximum(cells.columns, 0), dims="place"),
    }
    chosen = dataset[names].isel(at).transpose("time", "place").compute()
    values = {n: np.array(chosen[n].values) for n in names}
    moisture = values[SOIL_MOISTURE].astype(np.float64)
    values[SOIL_MOISTURE] = np.where(cells.inside, moisture, np.nan)
    return values


def _table(
    read: dict[str, NDArray[np.generic]],
    dataset: xr.Dataset,
    places: pd.DataFrame,
    cells: Cells,
    name: str,
    flagged: bool,
) -> tuple[pd.DataFrame, dict[str, int]]:
    value = np.asarray(read[SOIL_MOISTURE], np.float64)
    left_out: Counter[str] = Counter()
    left_out[f"stations outside {name}"] = int((~cells.inside).sum())
    known = np.isfinite(value)
    if RECOMMENDED in read and not flagged:
        advised = read[RECOMMENDED].astype(np.float64) == 1
        left_out[f"values of {name} that its own flags advise against"] = int(
            (known & ~advised).sum()
        )
        known &= advised
    wrong = impossible(value[known])
    if wrong.size:
        raise CubeError(
            f"soil_moisture of product {name!r} is {wrong[0]:g} at a station, which is no m3 m-3: "
            f"{REMEDY}."
        )
    stamps = dataset["time"].to_numpy().astype("datetime64[ns]")
    time = np.broadcast_to(stamps[:, None], value.shape).copy()
    if OBSERVATION_TIME in read:
        told = read[OBSERVATION_TIME].astype("datetime64[ns]")
        time = np.where(np.isnat(told), time, told)
    when, where = np.nonzero(known)
    table = pd.DataFrame(
        {
            "station": places.index.to_numpy(object)[where],
            "time": time[when, where],
            "value": value[when, where],
        }
    )
    return table, dict(+left_out)


def _with_values(
    dataset: xr.Dataset, grid: Grid, longitude: Floats, latitude: Floats, max_distance: float
) -> Cells:
    """Return the nearest cells that have a value at some time; -1 where none is near enough."""
    found = [
        _nearest_valued(dataset, grid, lon, lat, max_distance)
        for lon, lat in zip(longitude, latitude, strict=True)
    ]
    rows, columns = (np.array([pair[axis] for pair in found], np.int64) for axis in (0, 1))
    return Cells(rows, columns)


def _nearest_valued(
    dataset: xr.Dataset, grid: Grid, longitude: float, latitude: float, max_distance: float
) -> tuple[int, int]:
    rows, columns, distance = _candidates(grid, longitude, latitude, max_distance)
    order = np.lexsort((columns, rows, distance))
    order = order[distance[order] <= max_distance][:MOST_CANDIDATES]
    near = Cells(rows[order], columns[order])
    if not len(order):
        return -1, -1
    has = np.isfinite(np.asarray(_read(dataset, grid, near)[SOIL_MOISTURE], np.float64)).any(axis=0)
    if not has.any():
        return -1, -1
    first = int(np.argmax(has))
    return int(near.rows[first]), int(near.columns[first])


def _candidates(
    grid: Grid, longitude: float, latitude: float, max_distance: float
) -> tuple[Integers, Integers, Floats]:
    """Cells around a place and the distance of their centres, in metres."""
    from pyproj import Transformer

    # Metres of a projection need not be metres on the ground: a box of degrees goes through it.
    north = 1.1 * max_distance / METRES_PER_DEGREE
    east = north / max(np.cos(np.deg2rad(latitude)), 0.01)
    corners = np.array([(i, j) for i in (-1, 0, 1) for j in (-1, 0, 1)], np.float64)
    lats = np.clip(latitude + north * corners[:, 1], -90, 90)
    x, y = project(grid, longitude + east * corners[:, 0], lats)
    rows, columns = (
        np.flatnonzero((centres >= v.min()) & (centres <= v.max()))
        for centres, v in ((grid.y, y), (grid.x, x))
    )
    cell_rows, cell_columns = (v.ravel() for v in np.meshgrid(rows, columns, indexing="ij"))
    back = Transformer.from_crs(grid.crs, "EPSG:4326", always_xy=True)
    lon, lat = back.transform(grid.x[cell_columns], grid.y[cell_rows])
    away = distance_metres(longitude, latitude, np.asarray(lon), np.asarray(lat))
    return cell_rows.astype(np.int64), cell_columns.astype(np.int64), away


def distance_metres(
    longitude: float, latitude: float, longitudes: Floats, latitudes: Floats
) -> Floats:
    """Great-circle distances from a place to others (haversine, a sphere)."""
    lon, lat, lons, lats = (np.deg2rad(v) for v in (longitude, latitude, longitudes, latitudes))
    half = np.sin((lats - lat) / 2) ** 2
    half = half + np.cos(lat) * np.cos(lats) * np.sin((lons - lon) / 2) ** 2
    return np.asarray(2 * EARTH_RADIUS * np.arcsin(np.sqrt(np.clip(half, 0, 1))))
