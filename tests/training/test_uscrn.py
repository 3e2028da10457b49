from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from gssm.errors import SamplesError
from gssm.training.uscrn import COLUMNS, read_uscrn

MISSING = {1: "-9999.0", 3: "-99.000"}


def daily(
    day: str, moisture: float, *, wban: str = "53877", temperature: float = 9.5, west: float = 82.61
) -> str:
    """A line in the fixed columns of NOAA's product daily01 (its readme.txt)."""
    air = " ".join(f"{value:7.1f}" for value in (20.1, 8.2, 14.2, 13.9, 0.0))
    surface = " ".join(f"{value:7.1f}" for value in (25.0, 5.0, 14.0, 99.0, 40.0, 70.0))
    soil = " ".join(f"{value:7.3f}" for value in (moisture, 0.21, 0.22, -99, -99))
    warmth = " ".join(f"{value:7.1f}" for value in (temperature, 9.1, 9.0, -9999, -9999))
    place = f"{-west:7.2f} {35.49:7.2f}"
    return f"{wban:>5} {day}  2.622 {place} {air} {18.02:8.2f} C {surface} {soil} {warmth}\n"


def hourly(
    utc: str, local: str, moisture: float, *, wban: str = "53877", temperature: float = 9.5
) -> str:
    """A line in the fixed columns of NOAA's product hourly02 (its readme.txt)."""
    air = " ".join(f"{value:7.1f}" for value in (10.1, 10.2, 11.0, 9.0, 0.0))
    sun = " ".join(f"{value:6d} 0" for value in (500, 520, 480))
    surface = " ".join(f"{value:7.1f} 0" for value in (14.0, 15.0, 13.0))
    soil = " ".join(f"{value:7.3f}" for value in (moisture, 0.21, 0.22, -99, -99))
    warmth = " ".join(f"{value:7.1f}" for value in (temperature, 9.1, 9.0, -9999, -9999))
    place = f"{-82.61:7.2f} {35.49:7.2f}"
    start = f"{wban:>5} {utc} {local}  2.622 {place} {air} {sun}"
    return f"{start} C {surface} {70:5d} 0 {soil} {warmth}\n"


DAYS = daily("20200101", 0.25) + daily("20200102", 0.26) + daily("20200103", 0.27)
HOURS = hourly("20200101 0000", "20191231 1900", 0.25) + hourly(
    "20200101 0100", "20191231 2000", 0.26
)


def station_file(
    root: Path,
    body: str,
    *,
    kind: str = "D0103",
    year: int = 2020,
    name: str = "NC_Asheville_8_SSW",
) -> Path:
    root.mkdir(parents=True, exist_ok=True)
    path = root / f"CRN{kind}-{year}-{name}.txt"
    path.write_text(body)
    return path


def test_lines_have_the_documented_columns() -> None:
    assert daily("20200101", 0.25)[137:144] == "  0.250"  # columns 138 to 144
    assert len(daily("20200101", 0.25).split()) == 28
    assert hourly("20200101 0000", "20191231 1900", 0.25)[164:171] == "  0.250"  # 165 to 171
    assert len(hourly("20200101 0000", "20191231 1900", 0.25).split()) == 38


def test_daily_file_is_read(tmp_path: Path) -> None:
    table = read_uscrn(station_file(tmp_path, DAYS))
    assert list(table.columns) == list(COLUMNS)
    assert table["soil_moisture"].tolist() == [np.float32(v) for v in (0.25, 0.26, 0.27)]
    assert table["soil_moisture"].dtype == np.float32
    first = table.iloc[0]
    assert (first["network"], first["station"], first["flag"]) == ("USCRN", "53877", "G")
    assert (first["longitude"], first["latitude"], first["depth"]) == (-82.61, 35.49, 0.05)
    assert np.isnan(first["elevation"])
    # Noon of the local day: the nearest full zone of 82.61 W is six hours behind UTC.
    assert first["time"] == pd.Timestamp("2020-01-01 18:00")
    assert table.attrs["station_names"] == {"53877": "NC_Asheville_8_SSW"}
    assert "Diamond" in table.attrs["citations"]["USCRN"]
    assert table.attrs["dropped"] == {}


def test_hourly_file_is_read_at_its_utc_time(tmp_path: Path) -> None:
    # Leading zeros are omitted, says the readme.
    body = HOURS + hourly("20200101  200", "20191231 2100", 0.27, wban="3047")
    table = read_uscrn(station_file(tmp_path, body, kind="H0203"))
    assert table["station"].tolist() == ["03047", "53877", "53877"]
    assert table["time"].tolist() == [
        pd.Timestamp(f"2020-01-01 {hour}") for hour in ("02:00", "00:00", "01:00")
    ]


def test_missing_and_frozen_values_are_dropped_and_counted(tmp_path: Path) -> None:
    body = (
        daily("20200101", -99)
        + daily("20200102", -9999)
        + daily("20200103", 0.25, temperature=-0.1)
        + daily("20200104", 0.25, temperature=0.0)
        + daily("20200105", 0.25, temperature=-9999)
    )
    table = read_uscrn(station_file(tmp_path, body))
    assert table["time"].dt.day.tolist() == [4, 5]
    assert table.attrs["dropped"] == {"values missing": 2, "values of frozen soil": 1}


def test_folder_of_stations_and_years_is_one_table(tmp_path: Path) -> None:
    station_file(tmp_path / "2021", daily("20210101", 0.3), year=2021)
    station_file(tmp_path / "2020", DAYS)
    station_file(tmp_path / "copy", DAYS)
    station_file(tmp_path / "2020", daily("20200101", 0.1, wban=" 4141"), name="OR_Coos_Bay_8_SW")
    (tmp_path / "HEADERS.txt").write_text("1 2 3\n")
    table = read_uscrn(tmp_path)
    assert table["station"].tolist() == ["04141", *["53877"] * 4]
    assert table["time"].dt.year.tolist() == [2020, 2020, 2020, 2020, 2021]
    assert table.attrs["dropped"] == {"values repeated": 3}
    assert table.attrs["station_names"]["04141"] == "OR_Coos_Bay_8_SW"


def test_headers_and_null_characters_are_passed_over(tmp_path: Path) -> None:
    numbers = " ".join(str(number) for number in range(1, 29))
    header = f"{numbers}\nWBANNO LST_DATE {'x ' * 26}\nXXXXX YYYYMMDD {'x ' * 26}\n"
    path = station_file(tmp_path, f"{header}\0\0\0\n{DAYS}")
    pd.testing.assert_frame_equal(
        read_uscrn(path), read_uscrn(station_file(tmp_path / "plain", DAYS))
    )


def test_a_file_cut_anywhere_is_refused_or_true_to_its_end(tmp_path: Path) -> None:
    text = daily("20200101", 0.25) + daily("20200102", 0.26)
    path = station_file(tmp_path, text)
    whole = read_uscrn(path)
    refused = 0
    for end in range(len(text)):
        path.write_text(text[:end])
        try:
            table = read_uscrn(path)
        except SamplesError:
            refused += 1
            continue
        pd.testing.assert_frame_equal(table, whole.head(len(table)))
    assert refused > len(text) // 2


BODIES = {
    "percent": (daily("20200101", 25.0) + daily("20200102", 26.0), "26 at .*looks like percent"),
    "too wet": (DAYS + daily("20200104", 1.5), "station 53877 of USCRN has .* 1.5 at .*outside"),
    "negative": (DAYS + daily("20200104", -0.2), "station 53877 of USCRN has .* -0.2 .*outside"),
    "one day twice": (DAYS + daily("20200101", 0.3), "0.25 and 0.3 for the same time"),
    "no soil sensor": (daily("20200101", -99), "has no soil moisture at 5 cm .*1 values missing"),
    "empty": ("", "0 fields in its first line"),
    "another product": ("53877 20200101 0.25\n", "3 fields in its first line .* 28 .* or 38 "),
    "cut": (DAYS + DAYS[:50], r"line 4 of CRND.* is cut short or damaged"),
    "no date": (DAYS + daily("yesterday", 0.2), "line 4 of CRND.* is cut short or damaged"),
    "no such date": (DAYS + daily("20201340", 0.2), "no number or no time .*at position 3"),
    "no number": (DAYS.replace("0.260", "0.2x0"), "a field that is no number or no time"),
    "no place": (daily("20200101", 0.2, west=9999.0), "longitude -9999, latitude 35.49"),
}


@pytest.mark.parametrize("case", BODIES)
def test_bad_file_is_refused(tmp_path: Path, case: str) -> None:
    body, says = BODIES[case]
    with pytest.raises(SamplesError, match=says) as caught:
        read_uscrn(station_file(tmp_path, body))
    assert "\n" not in str(caught.value)


def test_a_path_without_data_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SamplesError, match=r"no USCRN data at .*absent"):
        read_uscrn(tmp_path / "absent")
    (tmp_path / "notes.txt").write_text("notes")
    with pytest.raises(SamplesError, match="has no USCRN station files"):
        read_uscrn(tmp_path)
    station_file(tmp_path, DAYS)
    station_file(tmp_path, HOURS, kind="H0203")
    with pytest.raises(SamplesError, match="has daily and hourly data"):
        read_uscrn(tmp_path)


def parquet(path: Path, **columns: Any) -> Path:
    table = {
        "wban": ["53877", "53877"],
        "lst_date": pd.to_datetime(["2020-01-01", "2020-01-02"]),
        "longitude": -82.61,
        "latitude": 35.49,
        "soil_moisture_5_daily": [0.25, np.nan],
        "soil_temp_5_daily": [9.5, np.nan],
    }
    pd.DataFrame({**table, **columns}).to_parquet(path)
    return path


@pytest.mark.parametrize(
    "dates",
    [
        ["20200101", "20200102"],
        ["2020-01-01", "2020-01-02"],
        [20200101, 20200102],
        [pd.Timestamp("2020-01-01").date(), pd.Timestamp("2020-01-02").date()],
    ],
)
def test_dates_of_a_table_may_be_of_any_type(tmp_path: Path, dates: list[Any]) -> None:
    table = read_uscrn(parquet(tmp_path / "a.parquet", lst_date=dates, wban=[3047, 3047]))
    assert table["time"].tolist() == [pd.Timestamp("2020-01-01 18:00")]
    assert table["station"].tolist() == ["03047"]
    assert table.attrs["dropped"] == {"values missing": 1}


def test_hourly_table_is_read(tmp_path: Path) -> None:
    times = pd.to_datetime(["2020-01-01 01:00", "2020-01-01 02:00"])
    hours = {"soil_moisture_5": [0.2, 0.3], "soil_temp_5": 5.0}
    path = tmp_path / "hours.parquet"
    pd.read_parquet(parquet(path)).drop(columns="lst_date").assign(
        utc_time=times.tz_localize("UTC"), **hours
    ).to_parquet(path)
    assert read_uscrn(path)["time"].tolist() == list(times)


def test_foreign_table_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.parquet"
    pd.read_parquet(parquet(path)).rename(columns={"wban": "id"}).to_parquet(path)
    with pytest.raises(SamplesError, match="no table of USCRN data, which has the columns wban"):
        read_uscrn(path)
    with pytest.raises(SamplesError, match="no number or no time"):
        read_uscrn(parquet(path, lst_date=["Monday", "Tuesday"]))
    path.write_bytes(b"not parquet")
    with pytest.raises(SamplesError, match="cannot be read as a parquet table"):
        read_uscrn(path)


def test_real_table_has_every_good_value(test_data: Path) -> None:
    path = test_data / "insitu" / "uscrn_daily_2020.parquet"
    raw, table = pd.read_parquet(path), read_uscrn(path)
    measured = raw[raw["soil_moisture_5_daily"].notna()]
    thawed = measured[~(measured["soil_temp_5_daily"] < 0)]
    assert len(table) == len(thawed)
    assert table["station"].nunique() == thawed["wban"].nunique() == 106
    assert table.attrs["dropped"] == {
        "values missing": len(raw) - len(measured),
        "values of frozen soil": len(measured) - len(thawed),
    }
    # The middle of the local day: the same date in UTC west of Greenwich, 5 to 11 hours on.
    local = thawed.sort_values(["wban", "lst_date"])["lst_date"].to_numpy()
    hours = (table["time"].to_numpy() - local) / np.timedelta64(1, "h") - 12
    assert set(hours) <= set(range(5, 12))
    assert hours[table["longitude"] == -105.54].tolist() == [7.0] * 201  # Mountain time


def test_text_and_table_of_the_same_data_agree(test_data: Path, tmp_path: Path) -> None:
    path = test_data / "insitu" / "uscrn_daily_2020.parquet"
    raw = pd.read_parquet(path).query("wban in ('03047', '94644')")
    for wban, rows in raw.groupby("wban"):
        lines = [
            daily(
                f"{row.lst_date:%Y%m%d}",
                np.nan_to_num(row.soil_moisture_5_daily, nan=-99),
                wban=str(wban).lstrip("0"),
                temperature=np.nan_to_num(row.soil_temp_5_daily, nan=-9999),
                west=-row.longitude,
            )
            for row in rows.itertuples()
        ]
        station_file(tmp_path, "".join(lines), name=f"XX_{wban}")
    expected = read_uscrn(path).query("station in ('03047', '94644')").reset_index(drop=True)
    text = read_uscrn(tmp_path)
    assert len(text) == 365 + 99
    pd.testing.assert_frame_equal(
        text.drop(columns="latitude"), expected.drop(columns="latitude"), check_exact=True
    )
