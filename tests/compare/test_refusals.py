"""What would be read as something else, or end in a traceback, and is a sentence."""

import numpy as np
import pandas as pd
import pytest
import rasterio
import xarray as xr
from compare import product_files as files
from compare.stations import field, measurements

from gssm.compare.grids import compare_products
from gssm.compare.opening import open_product
from gssm.compare.report import compare
from gssm.compare.saturation import check_porosity
from gssm.compare.sources import name_products
from gssm.errors import ReadError, RequestError, SamplesError

HOURS = pd.date_range("2020-06-01", periods=3, freq="h")


def rewritten(file, change):
    """The file with its contents changed."""
    with xr.open_dataset(file) as stored:
        changed = change(stored.load())
    changed.to_netcdf(file)
    return file


# --- files ------------------------------------------------------------------------------------


def test_nodata_of_an_image_is_heeded(tmp_path):
    file = files.s2mp(tmp_path / "s2mp_20200601.tif", [[100, 255], [50, 0]])
    with rasterio.open(file, "r+") as image:
        image.nodata = 255
    found = open_product(file)["soil_moisture"].values[0]
    np.testing.assert_allclose(found, [[0.2, np.nan], [0.1, np.nan]], rtol=1e-6)


def test_an_image_that_is_none_is_refused(tmp_path):
    file = files.era5_land(tmp_path / "truth.nc", np.full((3, 2, 2), 0.2), HOURS)
    with pytest.raises(ReadError, match="no image of one grid"):
        open_product(file, "s2mp")


def test_a_name_with_two_dates_is_refused(tmp_path):
    file = files.s2mp(tmp_path / "s2mp_20200601_20200613.tif", [[100, 50], [50, 0]])
    with pytest.raises(ReadError, match="two dates in its name"):
        open_product(file)


@pytest.mark.parametrize("name", ["era5-land.nc", "era5-land-monthly.nc"])
def test_means_of_months_are_no_hours(tmp_path, name):
    months = pd.date_range("2020-01-01", periods=1 if "monthly" in name else 3, freq="MS")
    file = files.era5_land(tmp_path / name, np.full((len(months), 2, 2), 0.2), months)
    with pytest.raises(ReadError, match="means of months"):
        open_product(file)


def test_the_time_of_a_value_is_the_valid_one(tmp_path):
    file = files.era5_land(tmp_path / "era5-land.nc", np.full((3, 2, 2), 0.2), HOURS, old=True)
    later = HOURS + pd.Timedelta("2h")
    rewritten(file, lambda d: d.assign_coords(valid_time=("time", later)))
    assert open_product(file)["time"].to_index().tolist() == later.tolist()


def test_another_calendar_is_refused(tmp_path):
    file = files.era5_land(tmp_path / "era5-land.nc", np.full((3, 2, 2), 0.2), HOURS, old=True)
    rewritten(file, lambda d: d.convert_calendar("noleap", use_cftime=True))
    with pytest.raises(ReadError, match="not of the standard calendar"):
        open_product(file)


def test_smap_l3_without_times_has_the_local_solar_hour(tmp_path):
    from netCDF4 import Dataset

    # Columns near 30 and 150 degrees east; the latter at 06 and 18 h local is 20 and 8 h UTC.
    columns = [int(964 * (180 + lon) / 360) for lon in (30, 150)]
    cells = {(300, column): (0.2, 0, -9999.0) for column in columns}
    file = files.smap_l3(tmp_path, "20200601", cells)
    filled = open_product(file).isel(y=300, x=columns)["observation_time"].load()
    with Dataset(file, "r+") as stored:
        for group, suffix in (("AM", ""), ("PM", "_pm")):
            held = stored[f"Soil_Moisture_Retrieval_Data_{group}"]
            held.renameVariable(f"tb_time_seconds{suffix}", f"gone{suffix}")
    absent = open_product(file).isel(y=300, x=columns)["observation_time"].load()
    np.testing.assert_array_equal(filled, absent)
    assert [f"{t:%dT%H}" for t in pd.DatetimeIndex(absent.values.ravel()).round("h")] == [
        "01T04",
        "01T20",
        "01T16",
        "01T08",
    ]
    assert np.isnat(open_product(file)["observation_time"][0, 0, 0].values)


@pytest.mark.parametrize("path", [5, None, [5], {}])
def test_what_is_no_path_is_refused(path):
    with pytest.raises(RequestError, match="is no path of a product"):
        open_product(path)


# --- options ----------------------------------------------------------------------------------


def test_a_porosity_of_numpy_is_one_and_others_are_refused():
    assert check_porosity(np.float32(0.5), "x", "x") == 0.5
    for wrong in ("0.45", np.full((2, 2), 0.4), True, xr.DataArray(["a"])):
        with pytest.raises(RequestError, match=r"porosity (is a|holds no numbers)"):
            check_porosity(wrong, "x", "x")


@pytest.mark.parametrize("products", [5, None, 0.2])
def test_what_are_no_products_is_refused(products):
    with pytest.raises(RequestError, match="the products are a"):
        name_products(products)


@pytest.mark.parametrize("option", [{"resamples": "x"}, {"resamples": 1}, {"seed": -1}])
def test_resamples_and_seeds_are_whole_numbers(option):
    table = measurements(2, 30).assign(own=0.2)
    with pytest.raises(RequestError, match=r"resamples give no interval|begins no random draws"):
        compare("own", table, **option)
    maps = {"one": field(np.zeros((1, 2, 2)), HOURS[:1])}
    with pytest.raises(RequestError, match=r"resamples give no interval|begins no random draws"):
        compare_products(maps, maps["one"], **option)


@pytest.mark.parametrize(("wrong", "says"), [(-9999, "holds -9999"), (1.5, "holds 1.5")])
def test_one_fill_value_in_a_column_is_refused(wrong, says):
    table = measurements(2, 30).assign(own=0.2)
    table.loc[3, "own"] = wrong
    with pytest.raises(SamplesError, match=f"column 'own' of the stations' table {says}"):
        compare("own", table)


def test_collocation_is_of_numbers():
    table = measurements(2, 60).assign(own=0.2)
    table["own"] = table["soil_moisture"] + np.random.default_rng(0).normal(0, 0.01, 120)
    found = compare("own", table, resamples=2)
    with pytest.raises(SamplesError, match="column 'network' of the pairs holds no numbers"):
        found.collocation(("observed", "own", "network"))
    with pytest.raises(RequestError, match="three different sources"):
        found.collocation(5)
