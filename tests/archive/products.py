"""Small soil moisture datasets such as `gssm.predict` and an archive give."""

import numpy as np
import pandas as pd
import xarray as xr
from odc.geo.geobox import GeoBox
from odc.geo.xr import xr_coords

from gssm import quality, schema
from gssm.archive.packing import PACKINGS

GRID = GeoBox.from_bbox((499_900, 5_600_000, 500_900, 5_600_700), "EPSG:32631", resolution=10)
ALONG_TIME = ("relative_orbit", "orbit_state", "platform")
WET = quality.BY_MEANING["water"].mask | quality.BY_MEANING["cloud_or_shadow"].mask


PLACES = {"cog": "maps", "netcdf": "map.nc", "csv": "map.csv", "zarr": "map.zarr"}
# What every file must say of itself, whatever its format.
STATED = ("citation", "license", "product_version", "model", "model_sha256", "source_items")


def make_product(dates=2, grid=GRID, ages=True, seed=0):
    """Smooth soil moisture, a strip of water that has no value, lazy in odd chunks."""
    rng = np.random.default_rng(seed)
    shape = (dates, *grid.shape)
    moisture = rng.uniform(0, 0.6, shape).astype(np.float32)
    width = rng.uniform(0.05, 0.2, shape).astype(np.float32)
    flags = np.where(rng.random(shape) < 0.2, np.uint16(8), np.uint16(0))
    water = np.zeros(shape, bool)
    water[:, :, 10:20] = True
    moisture[water] = width[water] = np.nan
    flags[water] = WET
    variables = {"soil_moisture": moisture, "soil_moisture_uncertainty": width}
    if ages:
        variables["s2_age"] = rng.uniform(-3, 3, shape).astype(np.float32)
    arrays = {
        name: (("time", "y", "x"), values, {**schema.VARIABLES[name].attrs})
        for name, values in variables.items()
    }
    arrays["quality_flag"] = (("time", "y", "x"), flags, dict(quality.ATTRS))
    times = pd.date_range("2024-05-01T05:47:12", periods=dates, freq="12D")
    dataset = xr.Dataset(
        arrays,
        coords={
            **xr_coords(grid, dims=("y", "x")),
            "time": times,
            "relative_orbit": ("time", np.full(dates, 37, np.int16)),
            "orbit_state": ("time", np.array(["descending"] * dates, object)),
            "platform": ("time", np.array(["sentinel-1a"] * dates, object)),
        },
        attrs={
            "title": "Surface soil moisture at 10 m",
            "model": "/home/somebody/default",
            "model_sha256": "ab" * 32,
            "source_items": ["S1A_a", "S2B_b", "LC08_c"],
        },
    )
    for name in dataset.data_vars:
        dataset[name].attrs["grid_mapping"] = "spatial_ref"
    lazy = dataset.chunk({"time": 1, "y": 33, "x": 40})
    return lazy.assign_coords({name: dataset[name].variable for name in ALONG_TIME})


def step(name):
    how = PACKINGS[name]
    return 0 if how.scale is None else how.scale / 2 + 1e-6


def assert_same(name, found, dataset):
    expected = dataset[name].values
    assert np.array_equal(np.isnan(found), np.isnan(expected))
    assert np.nanmax(np.abs(found - expected)) <= step(name)
