"""Simulated tables of samples: no real value in them."""

from __future__ import annotations

import numpy as np
import pandas as pd

S2 = ("b1", "b2", "b3", "b4", "b5", "b6", "b7", "b8", "b8a", "b9", "b11", "b12")
LANDSAT = ("b2", "b3", "b4", "b5", "b6", "b7")


def simulated_samples(stations: int = 8, each: int = 30, seed: int = 0) -> pd.DataFrame:
    """Canonical samples whose radar rises with a made-up soil moisture."""
    rng = np.random.default_rng(seed)
    n = stations * each
    station = np.repeat(np.arange(stations), each)
    moisture = np.clip(0.2 + 0.03 * (station % 3) + rng.normal(0, 0.08, n), 0.02, 0.5)
    columns = {
        "network": np.where(station % 2, "NETA", "NETB"),
        "station": [f"st{number}" for number in station],
        # Half a degree apart, except the last, which is next to the first.
        "latitude": 40 + 0.5 * np.where(station == stations - 1, 0.001, station),
        "longitude": np.full(n, -100.0),
        "time": pd.Timestamp("2020-01-01") + pd.to_timedelta(rng.integers(0, 700, n), "D"),
        "soil_moisture": moisture,
        "vv": 10 ** ((-18 + 25 * moisture + rng.normal(0, 1, n)) / 10),
        "vh": 10 ** ((-25 + 20 * moisture + rng.normal(0, 1, n)) / 10),
        "incidence_angle": rng.uniform(30, 45, n),
        **{f"s2_{band}": rng.uniform(0.05, 0.4, n) for band in S2},
        "s2_age": rng.uniform(-8, 8, n),
        **{f"landsat_{band}": rng.uniform(0.05, 0.4, n) for band in LANDSAT},
        "landsat_b10": rng.uniform(270, 320, n),
        "landsat_age": rng.uniform(-12, 12, n),
        "dsm": 100.0 + 10 * station,
        "slope": rng.uniform(0, 10, n),
        "aspect": rng.uniform(0, 360, n),
    }
    table = pd.DataFrame(columns)
    numbers = table.select_dtypes("float").columns.difference(["latitude", "longitude"])
    return table.astype(dict.fromkeys(numbers, np.float32))
