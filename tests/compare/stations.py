"""Made-up measurements and products to compare them with."""

from __future__ import annotations

import numpy as np
import pandas as pd
import xarray as xr


def measurements(stations: int = 6, each: int = 40, seed: int = 0) -> pd.DataFrame:
    """Half-daily measurements at stations a tenth of a degree apart, as `read_ismn` gives them."""
    rng = np.random.default_rng(seed)
    number = np.repeat(np.arange(stations), each)
    step = np.tile(np.arange(each), stations)
    wet = 0.2 + 0.02 * number + 0.05 * np.sin(step / 3) + rng.normal(0, 0.01, len(step))
    return pd.DataFrame(
        {
            "network": np.where(number % 2, "NETA", "NETB"),
            "station": [f"st{n}" for n in number],
            "longitude": 3.05 + 0.1 * number,
            "latitude": 50.95,
            "time": pd.Timestamp("2020-06-01T06:00") + pd.to_timedelta(12 * step, "h"),
            "soil_moisture": wet.astype(np.float32),
            "flag": "G",
        }
    )


def one_at_a_time(samples: pd.DataFrame) -> pd.DataFrame:
    """Made-up samples with no two measurements of a station at one time."""
    minutes = pd.to_timedelta(np.arange(len(samples)), "min")
    return samples.assign(time=samples["time"] + minutes)


def field(values, times, *, y=None, x=None, crs="EPSG:4326", units="m3 m-3") -> xr.Dataset:
    """A product ``(time, y, x)`` in memory."""
    from odc.geo.xr import assign_crs

    values = np.asarray(values, np.float32)
    rows, columns = values.shape[1:]
    y = 51.0 - 0.1 * np.arange(rows) if y is None else y
    x = 3.05 + 0.1 * np.arange(columns) if x is None else x
    dataset = xr.Dataset(
        {"soil_moisture": (("time", "y", "x"), values, {"units": units})},
        {"time": pd.DatetimeIndex(times), "y": np.asarray(y), "x": np.asarray(x)},
    )
    return dataset if crs is None else assign_crs(dataset, crs)
