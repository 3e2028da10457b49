"""Rain of a place, and the index made of it."""

import numpy as np
import pandas as pd
import pytest
import xarray as xr
from hypothesis import given
from hypothesis import strategies as st

from gssm.checks.rain import antecedent_precipitation, check_rain, read_rain
from gssm.errors import RequestError

DAYS = pd.date_range("2023-06-01", periods=5)


def series(values, days=DAYS):
    return pd.Series(values, days, dtype=float)


def test_the_index_by_hand():
    index = antecedent_precipitation(series([10, 0, 0, 5, 0]))
    np.testing.assert_allclose(index, [10, 9, 8.1, 12.29, 11.061], rtol=1e-12)


@given(st.lists(st.floats(0, 200), min_size=1, max_size=60), st.floats(0.05, 0.99))
def test_the_index_is_its_recursion(values, recession):
    rain = series(values, pd.date_range("2020-01-01", periods=len(values)))
    before, expected = 0.0, []
    for value in values:
        before = recession * before + value
        expected.append(before)
    np.testing.assert_allclose(
        antecedent_precipitation(rain, recession), expected, rtol=1e-9, atol=1e-9
    )


@pytest.mark.parametrize("recession", [0, 1, -0.5, float("nan")])
def test_a_recession_that_is_none_is_refused(recession):
    with pytest.raises(RequestError, match="recession"):
        antecedent_precipitation(series([1, 2, 3, 4, 5]), recession)


@pytest.mark.parametrize(
    ("rain", "says"),
    [
        (series([1, 2, 3, 4, np.nan]), "no value of 1 days, the first 2023-06-05"),
        (series([1, 2, 3, 4, 5]).drop(DAYS[2]), "the first 2023-06-03"),
        (series([1, 2, 3, 4, 5], DAYS[[0, 1, 1, 2, 3]]), "2023-06-02 twice"),
        (series([1, 2, 3, 4, -1]), "millimetres a day"),
        (series([1, 2, 3, 4, 5000]), "millimetres a day"),
        (pd.Series([], dtype=float), "has no day"),
        (pd.Series([1.0], ["soon"]), "not by day"),
    ],
)
def test_rain_without_an_index_is_refused(rain, says):
    with pytest.raises(RequestError, match=says):
        check_rain(rain)


def test_days_are_put_in_order_and_hours_left_out():
    shuffled = series([1, 2, 3, 4, 5], (DAYS + pd.Timedelta("9h"))[[3, 0, 4, 1, 2]])
    found = check_rain(shuffled.tz_localize("UTC"))
    pd.testing.assert_index_equal(found.index, DAYS, check_names=False)
    assert found.tolist() == [2, 4, 5, 1, 3]


@pytest.mark.parametrize(
    ("name", "units", "factor"),
    [
        ("tp", "m", 1000),
        ("pr", "kg m-2 s-1", 86400),
        ("precipitation_flux", "mm d-1", 1),
    ],
)
def test_a_grid_gives_the_nearest_cell_in_millimetres(tmp_path, name, units, factor):
    stored = np.arange(5 * 2 * 3, dtype=float).reshape(5, 2, 3) / 1000
    stored = stored if factor == 1000 else stored * 1000 / factor
    grid = xr.DataArray(
        stored,
        {"valid_time": DAYS, "latitude": [51.0, 50.0], "longitude": [2.0, 3.0, 4.0]},
        ("valid_time", "latitude", "longitude"),
        attrs={"units": units},
    )
    grid.to_dataset(name=name).to_netcdf(tmp_path / "rain.nc")
    found = read_rain(tmp_path / "rain.nc", 3.2, 50.1)
    np.testing.assert_allclose(found, [4, 10, 16, 22, 28], rtol=1e-6)
    with pytest.raises(RequestError, match=r"does not reach 30, 50\.1"):
        read_rain(tmp_path / "rain.nc", 30, 50.1)


def test_a_grid_to_the_east_of_greenwich_has_places_to_the_west(tmp_path):
    grid = xr.DataArray(
        np.arange(10.0).reshape(5, 2),
        {"time": DAYS, "lon": [10.0, 350.0]},
        ("time", "lon"),
        attrs={"units": "mm"},
    )
    grid.to_dataset(name="pr").to_netcdf(tmp_path / "rain.nc")
    assert read_rain(tmp_path / "rain.nc", -10, 0).tolist() == [1, 3, 5, 7, 9]


@pytest.mark.parametrize("form", ["csv", "parquet"])
def test_a_table_is_read(tmp_path, form):
    table = pd.DataFrame({"date": DAYS.astype(str), "rain": [0.0, 1.5, 0, 0, 2]})
    path = tmp_path / f"rain.{form}"
    table.to_csv(path, index=False) if form == "csv" else table.to_parquet(path)
    assert read_rain(path, 3, 50).tolist() == [0, 1.5, 0, 0, 2]
    assert read_rain(path, 3, 50, variable="rain").index[0] == DAYS[0]
    with pytest.raises(RequestError, match="no column 'snow'; it has"):
        read_rain(path, 3, 50, variable="snow")


@pytest.mark.parametrize(
    ("name", "content", "says"),
    [
        ("none.nc", None, "there is no file of rain"),
        ("text.nc", b"no netcdf", "cannot be read as daily rain"),
        ("other.csv", b"date,wind\n2023-06-01,3\n", "a column of rain is not there"),
        ("dateless.csv", b"rain\n3\n", "a column of dates is not there"),
    ],
)
def test_what_is_no_rain_is_refused(tmp_path, name, content, says):
    if content is not None:
        (tmp_path / name).write_bytes(content)
    with pytest.raises(RequestError, match=says):
        read_rain(tmp_path / name, 3, 50)


def test_units_that_are_not_known_are_refused(tmp_path):
    rain = xr.DataArray([1.0] * 5, {"time": DAYS}, ("time",), attrs={"units": "inch"})
    rain.to_dataset(name="pr").to_netcdf(tmp_path / "rain.nc")
    with pytest.raises(RequestError, match="units of 'pr' are 'inch'"):
        read_rain(tmp_path / "rain.nc", 3, 50)
