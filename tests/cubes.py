"""Small canonical cubes for the tests."""

import numpy as np
import pandas as pd
import xarray as xr

from gssm import schema

RANGES = {
    "vv": (0.02, 0.4),
    "vh": (0.005, 0.1),
    "incidence_angle": (31, 45),
    "dsm": (20, 60),
    "s2_age": (-2.5, 2.5),
    "landsat_age": (-2.5, 2.5),
    "landsat_b10": (285, 305),
}
STATIC = ("dsm",)
BANDS = [f"s2_{b}" for b in schema.SENTINEL2_BANDS if b != "b10"]
BANDS += [f"landsat_b{i}" for i in range(1, 8)]


def make_cube(shape=(2, 24, 30), seed=0, missing=0.05):
    """A cube of every variable of the l2 spec, some values missing, on a UTM grid."""
    rng = np.random.default_rng(seed)
    times, rows, columns = shape
    variables = {}
    for name in (*RANGES, *BANDS):
        low, high = RANGES.get(name, (0.02, 0.45))
        size = (rows, columns) if name in STATIC else shape
        values = rng.uniform(low, high, size).astype(np.float32)
        if name not in STATIC:
            values[rng.random(size) < missing] = np.nan
        variables[name] = (("time", "y", "x")[-len(size) :], values)
    for name in ("s2_mask", "landsat_mask"):
        variables[name] = (("time", "y", "x"), rng.integers(0, 5, shape).astype(np.uint8))
    cube = xr.Dataset(
        variables,
        coords={
            "time": pd.date_range("2020-05-03T17:40", periods=times, freq="6D"),
            "y": 5_629_675 - 10.0 * np.arange(rows),
            "x": 501_365 + 10.0 * np.arange(columns),
        },
    )
    for name in cube:
        cube[name].attrs = dict(schema.VARIABLES[name].attrs)
    return cube
