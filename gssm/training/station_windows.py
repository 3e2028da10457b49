"""One station -> its samples: the cube of a small window, and the station's own pixel of it.

The window is cut from the same grid and goes through the same stages as a map
(`gssm.search`, `gssm.open_cube`, quality flags, terrain), so that a sample is what a map
would have at that pixel.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr
from dask.base import compute, get_scheduler
from dask.callbacks import Callback
from dask.delayed import delayed
from dask.local import get_sync
from odc.geo.geobox import GeoBox

from gssm.align import open_cube
from gssm.errors import EmptySearchError, GssmError, ReadError
from gssm.features import build_features
from gssm.grid import geographic_bounds, grid_epsg, make_grid
from gssm.quality import BY_MEANING, FLAGS, quality_flag
from gssm.request import DateRange
from gssm.schema import BACKSCATTER, VARIABLES, FeatureSpec
from gssm.search import search

Times = np.ndarray[Any, np.dtype[np.datetime64]]
Array = np.ndarray[Any, np.dtype[Any]]
Indices = np.ndarray[Any, np.dtype[np.intp]]

# Pixels around the station's own. Slope and aspect need three; GDAL estimates the pixel size
# of a file in another projection from the window, and blurs a small window's otherwise.
MARGIN = 32
# Degrees, about a centimetre: a box of one point has no size.
POINT = 1e-7
# Reads that a station keeps under way: they wait for servers more than for the processor.
READ_THREADS = 8

TERRAIN = FeatureSpec("terrain", ("slope", "aspect_sin", "aspect_cos"))
OUT_OF_DATES = "no measurement in the dates asked for, or none since Sentinel-1 began"
READ_FAILED = "flagged read failed"
NO_RADAR = "radar missing at the station's pixel (outside the image, or no data)"


@dataclass(frozen=True, eq=False)
class Station:
    """A place and what was measured there.

    ``measured`` has the columns time (ascending, unique), soil_moisture and, where the
    table has it, flag.
    """

    network: str | None
    name: str
    longitude: float
    latitude: float
    measured: pd.DataFrame

    @property
    def label(self) -> str:
        """The station with its network, as messages call it."""
        return self.name if self.network is None else f"{self.network}/{self.name}"


@dataclass(frozen=True)
class Request:
    """What is asked of every station; ``dates`` limits the radar acquisitions."""

    catalog: str | Path
    window: str
    max_hours: float
    max_cloud_cover: float
    dates: DateRange
    scheduler: str = "threads"


@dataclass(frozen=True, eq=False)
class Outcome:
    """Samples of a station, and a row with a reason for every acquisition that is none.

    ``failed`` is the kind of error where the station could not be finished, so that
    another run may try again.
    """

    samples: pd.DataFrame
    dropped: pd.DataFrame
    failed: type[GssmError] | None = None


def sample_station(station: Station, request: Request) -> Outcome:
    """Sample the imagery at a station; what goes wrong becomes its reason, not an error."""
    dates = _dates(station, request)
    if dates is None:
        return note(station, OUT_OF_DATES)
    step = "the search failed"
    try:
        grid = station_grid(station.longitude, station.latitude)
        items = search(
            geographic_bounds(grid_epsg(grid), grid.boundingbox.bbox),
            dates,
            catalog=request.catalog,
            max_cloud_cover=request.max_cloud_cover,
            window=request.window,
        )
        step = "the images could not be used"
        cube = open_cube(items, grid=grid, window=request.window)
        return _sample(cube, grid, station, request)
    except EmptySearchError as error:
        return note(station, f"no imagery: {str(error).partition(';')[0]}")
    except Exception as error:  # servers and files fail in many ways; others go on
        return failure(station, step, error)


def failure(station: Station, step: str, error: BaseException) -> Outcome:
    """Return the outcome of a station that could not be finished."""
    kind = type(error) if isinstance(error, GssmError) else ReadError
    cause = (str(error).strip() or type(error).__name__).splitlines()[0]
    return note(station, f"{step}: {cause}", kind)


def note(station: Station, reason: str, failed: type[GssmError] | None = None) -> Outcome:
    """Return the outcome of a station that has no sample, for one reason."""
    none = np.array(["NaT"], "datetime64[ns]")
    return Outcome(pd.DataFrame(), _dropped(station, none, none, reason), failed)


def _dropped(station: Station, times: Times, measured: Times, reason: Any) -> pd.DataFrame:
    rows = {"time": times, "measured_time": measured, "reason": reason}
    return _named(pd.DataFrame(rows), station)


def station_grid(longitude: float, latitude: float) -> GeoBox:
    """Cut the map's grid of 10 m pixels around a place, in the UTM zone of that place."""
    west, south = longitude - POINT, latitude - POINT
    point = make_grid((west, south, longitude + POINT, latitude + POINT))
    return point.pad(MARGIN)


def station_pixel(grid: GeoBox, longitude: float, latitude: float) -> tuple[int, int]:
    """Row and column of the pixel that holds a place."""
    from pyproj import Transformer

    to_grid = Transformer.from_crs("EPSG:4326", f"EPSG:{grid_epsg(grid)}", always_xy=True)
    x, y = to_grid.transform(longitude, latitude)
    bounds, size = grid.boundingbox, grid.resolution.x
    return int((bounds.top - y) // size), int((x - bounds.left) // size)


def nearest_measurement(times: Times, measured: Times, max_hours: float) -> Indices:
    """Index of the measurement nearest to each time, the earlier of two; -1 beyond max_hours.

    ``measured`` is ascending and not empty.
    """
    after = np.searchsorted(measured, times)
    last = len(measured) - 1
    candidates = np.stack([np.clip(after - 1, 0, last), np.clip(after, 0, last)])
    distance = np.abs(measured[candidates] - times)
    nearer = distance.argmin(axis=0)
    columns = np.arange(len(times))
    within = distance[nearer, columns] <= pd.Timedelta(hours=max_hours).to_timedelta64()
    return np.asarray(np.where(within, candidates[nearer, columns], -1), dtype=np.intp)


def _dates(station: Station, request: Request) -> DateRange | None:
    """Dates of the radar acquisitions that some measurement can serve, or None."""
    reach = pd.Timedelta(hours=request.max_hours)
    times = station.measured["time"]
    first = max(times.iloc[0] - reach, request.dates[0])
    last = min(times.iloc[-1] + reach, request.dates[1])
    return (first, last) if first <= last else None


def _sample(cube: xr.Dataset, grid: GeoBox, station: Station, request: Request) -> Outcome:
    """Join every acquisition with its measurement and the station's pixel."""
    times = cube["time"].values
    index = nearest_measurement(times, station.measured["time"].to_numpy(), request.max_hours)
    matched = index >= 0
    none = np.full(np.count_nonzero(~matched), "NaT", "datetime64[ns]")
    too_far = f"no measurement within {request.max_hours:g} h"
    unmatched = _dropped(station, times[~matched], none, too_far)
    if not matched.any():
        return Outcome(pd.DataFrame(), unmatched)
    pixel = _read_pixel(cube.isel(time=np.flatnonzero(matched)), grid, station, request.scheduler)
    measured = station.measured.iloc[index[matched]]
    reasons = _reasons(pixel)
    if (reasons == READ_FAILED).all():
        raise ReadError(f"something of each of the {len(pixel)} acquisitions could not be read")
    kept = reasons == ""
    taken = measured["time"].to_numpy()
    refused = _dropped(station, times[matched][~kept], taken[~kept], reasons[~kept])
    dropped = pd.concat([part for part in (unmatched, refused) if len(part)] or [refused])
    samples = _joined(pixel[kept].reset_index(drop=True), measured[kept], station)
    return Outcome(samples, dropped.sort_values("time", kind="stable", ignore_index=True))


def _read_pixel(cube: xr.Dataset, grid: GeoBox, station: Station, scheduler: str) -> pd.DataFrame:
    """Read the station's pixel at every time step, in one computation."""
    full = cube.assign(build_features(cube, TERRAIN).data_vars)
    full = full.assign(quality_flag=quality_flag(cube))
    row, column = station_pixel(grid, station.longitude, station.latitude)
    pixel = full.isel(y=row, x=column).drop_vars(["y", "x", "spatial_ref"])
    workers = {"num_workers": READ_THREADS} if scheduler == "threads" else {}
    return pixel.compute(scheduler=scheduler, **workers).to_dataframe().reset_index()


def _joined(pixel: pd.DataFrame, measured: pd.DataFrame, station: Station) -> pd.DataFrame:
    """Put place, measurement and pixel side by side."""
    taken = measured["time"].to_numpy()
    offset = (taken - pixel["time"].to_numpy()) / np.timedelta64(3600, "s")
    orbit = pixel["relative_orbit"].astype("Int16")  # with room for: not stated
    rows = pd.DataFrame(
        {
            "latitude": station.latitude,
            "longitude": station.longitude,
            "time": pixel["time"],
            "measured_time": taken,
            "measurement_offset_hours": offset.astype(np.float32),
            "soil_moisture": measured["soil_moisture"].to_numpy(np.float32),
            **({"flag": measured["flag"].to_numpy()} if "flag" in measured else {}),
        }
    )
    bands = [n for n in pixel if n in VARIABLES and n not in (*TERRAIN.features, "read_failed")]
    rows[bands] = pixel[bands].astype(np.float32)
    rows["slope"] = pixel["slope"]
    rows["aspect"] = _degrees(pixel["aspect_sin"], pixel["aspect_cos"])
    rows["quality_flag"] = pixel["quality_flag"]
    rows["relative_orbit"] = orbit.where(orbit >= 0)
    rows[["orbit_state", "platform"]] = pixel[["orbit_state", "platform"]].astype(str)
    return _named(rows, station)


def _degrees(sine: pd.Series[Any], cosine: pd.Series[Any]) -> Any:
    """Direction in degrees, clockwise from north; NaN on flat ground.

    One column, as published tables have it: `gssm.features` makes sine and cosine anew.
    """
    angle = np.rad2deg(np.arctan2(sine.to_numpy(np.float64), cosine.to_numpy(np.float64)))
    return (angle % 360).astype(np.float32)


def _reasons(rows: pd.DataFrame) -> Array:
    """Why a map has no value there, the first that holds; empty for a sample."""
    flags = rows["quality_flag"].to_numpy()
    read_failed = flags & BY_MEANING["read_failed"].mask != 0
    no_radar = rows[list(BACKSCATTER)].isna().any(axis=1).to_numpy()
    cases = {READ_FAILED: read_failed, NO_RADAR: no_radar}
    for flag in FLAGS:
        if not flag.keeps_value and flag.meaning != "read_failed":
            cases[f"flagged {flag.meaning.replace('_', ' ')}"] = flags & flag.mask != 0
    return np.select(list(cases.values()), list(cases), "")


def _named(rows: pd.DataFrame, station: Station) -> pd.DataFrame:
    rows.insert(0, "station", pd.Series(station.name, rows.index, dtype=object))
    if station.network is not None:
        rows.insert(0, "network", pd.Series(station.network, rows.index, dtype=object))
    return rows


def sample_stations(
    stations: Mapping[int, Station], request: Request, done: Callable[[int, Outcome], None]
) -> None:
    """Sample stations in parallel on the user's Dask scheduler.

    ``done`` is called here, in the caller's thread, with the number of a station as soon as
    it is ready; what ``done`` raises ends the work.
    """
    scheduler = get_scheduler()
    client = getattr(scheduler, "__self__", None)
    if hasattr(client, "submit"):
        _sample_on_cluster(client, stations, request, done)
        return
    if scheduler is get_sync:
        request = replace(request, scheduler="synchronous")
    sample, token = delayed(sample_station, pure=False), uuid.uuid4().hex
    waiting = {f"sample-station-{token}-{number}": number for number in stations}
    tasks = [
        sample(stations[number], request, dask_key_name=key) for key, number in waiting.items()
    ]

    def after(key: Any, result: Any, dsk: Any, state: Any, worker: Any) -> None:
        if key in waiting:
            done(waiting.pop(key), result)

    with Callback(posttask=after):
        results = compute(*tasks)
    # Another thread that computes meanwhile can take the callbacks away.
    for task, result in zip(tasks, results, strict=True):
        after(task.key, result, None, None, None)


def _sample_on_cluster(
    client: Any,
    stations: Mapping[int, Station],
    request: Request,
    done: Callable[[int, Outcome], None],
) -> None:
    from distributed import as_completed

    # One by one: their measurements together would be too large a graph.
    futures = {
        client.submit(sample_station, station, request, pure=False): number
        for number, station in stations.items()
    }
    try:
        for future in as_completed(list(futures)):  # type: ignore[no-untyped-call]
            number = futures[future]
            if future.status == "error":
                outcome = failure(stations[number], "the worker failed", future.exception())
            else:
                outcome = future.result()
            done(number, outcome)
    finally:
        client.cancel([future for future in futures if not future.done()])
