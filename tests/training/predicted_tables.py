"""Simulated tables as `gssm.cross_validate` returns them: no real value in them."""

from __future__ import annotations

import numpy as np
import pandas as pd


def predicted_table(stations: int = 8, each: int = 25, seed: int = 0) -> pd.DataFrame:
    """Predictions that follow made-up stations, each with an offset of its own."""
    rng = np.random.default_rng(seed)
    station = np.repeat(np.arange(stations), each)
    n = len(station)
    season = 0.08 * np.sin(np.tile(np.arange(each), stations) / 4)
    observed = 0.25 + rng.normal(0, 0.05, stations)[station] + season + rng.normal(0, 0.02, n)
    network = np.where(station % 2, "NETA", "NETB")
    ensemble = 0.25 + 0.8 * season + rng.normal(0, 0.01, stations)[station]
    return pd.DataFrame(
        {
            "network": network,
            "station": [f"{net}/st{number}" for net, number in zip(network, station, strict=True)],
            "time": pd.Timestamp("2020-01-01")
            + pd.to_timedelta(6 * np.tile(range(each), stations), "D"),
            "latitude": 40 + 0.5 * station,
            "longitude": -100.0,
            "land_cover": np.where(station < 3, 30, 40),
            "koppen": np.where(station < 5, 7, 14),
            "soil_texture": np.where(station < 2, 7.0, np.nan),
            "fold": station % 4,
            "observed": observed.astype(np.float32),
            "random_forest": (ensemble + rng.normal(0, 0.03, n)).astype(np.float32),
            "xgboost": (ensemble + rng.normal(0, 0.02, n)).astype(np.float32),
            "soil_moisture": ensemble.astype(np.float32),
            "soil_moisture_uncertainty": np.float32(0.08),
            "outside_applicability": station == 0,
        }
    )
