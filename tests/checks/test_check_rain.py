"""Rain of a place, and the index made of it."""

import numpy as np
import pandas as pd
import pytest
import xarray as xr
from hypothesis import given
from hypothesis import strategies as st

from gssm.checks.rain import antecedent_precipitation, check_rain, read_rain, settled
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
        (series([1, 2, 3, 4, -9999]), "holds -9999, which is no rain"),
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
        attrs={"units": units, "GRIB_stepType": "accum" if units == "m" else "avg"},
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


# --- days and places --------------------------------------------------------------------------


@pytest.mark.parametrize("zone", ["UTC", "Europe/Brussels", "Asia/Tokyo", "America/Chicago"])
def test_a_day_is_that_of_the_clock(zone):
    found = check_rain(series([1, 2, 3, 4, 5], DAYS.tz_localize(zone)))
    pd.testing.assert_index_equal(found.index, DAYS, check_names=False, exact=False)


@pytest.mark.parametrize(
    ("rain", "says"),
    [
        ("rain.csv", "rain is a str; give a pandas Series"),
        (np.zeros(5), "rain is a ndarray"),
        (pd.DataFrame({"rain": np.zeros(5)}, DAYS), "rain is a DataFrame"),
        (pd.Series(["a"] * 5, DAYS), "holds no numbers"),
        (pd.Series(np.zeros(2), pd.DatetimeIndex([DAYS[0], pd.NaT])), "1 rows without a date"),
    ],
)
def test_what_is_no_series_of_rain_is_refused(rain, says):
    with pytest.raises(RequestError, match=says):
        check_rain(rain)


def test_days_as_whole_numbers_are_days(tmp_path):
    table = pd.DataFrame({"date": [20230601, 20230602], "rain": [1.0, 2.0]})
    table.to_csv(tmp_path / "rain.csv", index=False)
    assert read_rain(tmp_path / "rain.csv", 3, 50).index.tolist() == DAYS[:2].tolist()


def grid_file(path, latitudes, longitudes, *, units="mm", **attrs):
    shape = (len(DAYS), len(latitudes), len(longitudes))
    values = np.zeros(shape)
    values[2] = 0.5
    rain = xr.DataArray(
        values,
        {"time": DAYS, "lat": latitudes, "lon": longitudes},
        ("time", "lat", "lon"),
        attrs={"units": units, **attrs},
    )
    rain.to_dataset(name="tp").to_netcdf(path)
    return path


@pytest.mark.parametrize(
    ("latitudes", "longitudes"),
    [
        ([10.0], [100.0]),
        ([10.0], [2.0, 3.0, 4.0]),
        (50 + np.arange(10) / 10, 4 + np.arange(10) / 10),
    ],
)
def test_rain_of_another_place_is_refused(tmp_path, latitudes, longitudes):
    path = grid_file(tmp_path / "rain.nc", latitudes, longitudes)
    with pytest.raises(RequestError, match=r"does not reach 3\.1, 50\.5"):
        read_rain(path, 3.1, 50.5)
    assert read_rain(path, longitudes[0], latitudes[0]).iloc[2] == 0.5


def test_a_place_that_a_single_series_tells_is_heeded(tmp_path):
    path = grid_file(tmp_path / "rain.nc", [50.0], [3.0])
    with xr.open_dataset(path) as stored:
        stored.load().squeeze(("lat", "lon")).to_netcdf(tmp_path / "one.nc")
    assert read_rain(tmp_path / "one.nc", 3.1, 50.1).iloc[2] == 0.5
    with pytest.raises(RequestError, match="does not reach 5, 50"):
        read_rain(tmp_path / "one.nc", 5, 50)


@pytest.mark.parametrize(
    ("attrs", "day"),
    [
        ({"units": "m", "GRIB_stepType": "accum"}, "2023-06-02"),
        ({"units": "mm", "GRIB_stepType": "accum"}, "2023-06-02"),
        ({"units": "mm"}, "2023-06-03"),
    ],
)
def test_sums_since_midnight_that_midnight_tells_are_of_the_day_before(tmp_path, attrs, day):
    path = grid_file(tmp_path / "rain.nc", [50.0], [3.0], **attrs)
    assert read_rain(path, 3, 50).idxmax() == pd.Timestamp(day)


def test_metres_at_midnight_may_be_of_either_day(tmp_path):
    path = grid_file(tmp_path / "rain.nc", [50.0], [3.0], units="m")
    with pytest.raises(RequestError, match=r"the day before .* date of its day"):
        read_rain(path, 3, 50)


def test_the_first_days_have_no_settled_index():
    rain = series(np.ones(40), pd.date_range("2023-06-01", periods=40))
    index = settled(antecedent_precipitation(rain))
    assert index.isna().sum() == 29
    assert index.first_valid_index() == pd.Timestamp("2023-06-30")
