"""Stations on the simulated farm, and their download in the layout of the ISMN."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC
from pathlib import Path

import numpy as np
import pandas as pd

from gssm.errors import RequestError, StoreExistsError
from gssm.simulate_events import Event, projected, story
from gssm.simulate_ground import PIXEL
from gssm.simulate_items import days_since_start

__all__ = ["simulate_stations", "write_ismn"]

DEPTH = 0.05  # metres


def simulate_stations(
    places: Mapping[str, tuple[float, float]],
    times: pd.DatetimeIndex,
    events: Sequence[Event] = (),
    *,
    network: str = "FARM",
    noise: float = 0.01,
    size: int = 100,
    rain: Mapping[str, float] | None = None,
    seed: int = 0,
    corner: tuple[float, float] | None = None,
) -> pd.DataFrame:
    """Measure the truth of a simulated farm at points, with an error.

    Parameters
    ----------
    places
        Station -> longitude, latitude (degrees): each measures the pixel that holds it.
    times
        When (UTC).
    events, size, rain, seed, corner
        As of `gssm.simulate_events.simulate_events`; the same farm and story have the same truth.
    network
        Name of the network.
    noise
        Standard deviation of the error of a value (m3 m-3), Gaussian and independent.

    Returns
    -------
    pandas.DataFrame
        The columns of `gssm.read_ismn`, a row per station and time.

    Raises
    ------
    RequestError
        A place is no land of the farm.
    """
    import shapely

    farm, on = story(events, size=size, rain=rain, seed=seed, corner=corner)
    rng = np.random.default_rng([seed, 4])
    pixels = {}
    for station, (longitude, latitude) in places.items():
        point = projected(shapely.Point(longitude, latitude), to_degrees=False)
        row = int(np.floor((farm.corner[1] - point.y) / PIXEL))
        column = int(np.floor((point.x - farm.corner[0]) / PIXEL))
        if not (0 <= row < size and 0 <= column < size) or farm.water[row, column]:
            raise RequestError(
                f"station {station!r} at ({longitude:g}, {latitude:g}) is not on the land of the "
                "farm; give another place."
            )
        pixels[station] = row, column
    maps = [on(days_since_start(t.to_pydatetime().replace(tzinfo=UTC))) for t in times]
    tables = []
    for station, (row, column) in pixels.items():
        true = np.array([ground.soil_moisture[row, column] for ground in maps])
        measured = np.clip(true + rng.normal(0, noise, len(true)), 0, 1)
        fixed = {
            "network": network,
            "station": station,
            "longitude": places[station][0],
            "latitude": places[station][1],
            "elevation": float(farm.elevation[row, column]),
            "depth": DEPTH,
        }
        values = {"time": times, "soil_moisture": measured.astype(np.float32), "flag": "G"}
        tables.append(pd.DataFrame({**fixed, **values}))
    return pd.concat(tables, ignore_index=True)


def write_ismn(table: pd.DataFrame, folder: str | Path) -> Path:
    """Write measurements as a download of the ISMN has them: "Header+values", a file a station.

    Parameters
    ----------
    table
        As of `simulate_stations`.
    folder
        Absent or empty; holds then ``NETWORK/STATION/..._sm_....stm``.

    Raises
    ------
    StoreExistsError
        The folder holds something; nothing is written.
    """
    folder = Path(folder)
    if folder.exists() and any(folder.iterdir()):
        raise StoreExistsError(f"folder {str(folder)!r} is not empty; give another folder.")
    for (network, station), rows in table.groupby(["network", "station"], sort=True):
        first = rows.iloc[0]
        times = pd.DatetimeIndex(rows["time"])
        place = folder / str(network) / str(station)
        place.mkdir(parents=True)
        depth = f"{first['depth']:.4f}"
        name = (
            f"{network}_{network}_{station}_sm_0.000000_{first['depth']:.6f}_simulated"
            f"_{times.min():%Y%m%d}_{times.max():%Y%m%d}.stm"
        )
        where = f"{first['latitude']:.6f} {first['longitude']:.6f} {first['elevation']:.2f}"
        header = f"{network} {network} {station} {where} 0.0000 {depth} simulated"
        lines = (
            f"{time:%Y/%m/%d %H:%M} {value:.4f} {flag} M"
            for time, value, flag in zip(times, rows["soil_moisture"], rows["flag"], strict=True)
        )
        (place / name).write_text("\n".join([header, *lines, ""]), encoding="utf-8")
    return folder
