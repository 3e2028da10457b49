import numpy as np
import pandas as pd
import pytest
from compare.stations import field, measurements
from hypothesis import given, settings
from hypothesis import strategies as st

from gssm.compare.matching import pair
from gssm.compare.observations import daily_means, nearest_in_time, observations, places
from gssm.compare.sources import Source
from gssm.errors import EmptySearchError, RequestError, SamplesError

T = pd.Timestamp
HALF_DAY = pd.Timedelta("12h")


def series(*entries):
    return pd.DataFrame(
        [(f"NETB/{s}", T(t), v) for s, t, v in entries], columns=["station", "time", "value"]
    )


def rows(*entries):
    return series(*((s, t, 0.0) for s, t in entries))[["station", "time"]]


def test_the_nearest_within_the_window_ends_included():
    wanted = rows(
        ("a", "2020-06-01T12:00"),
        ("a", "2020-06-05T00:00"),
        ("b", "2020-06-01T12:00"),
        ("c", "2020-06-01"),
    )
    entries = series(
        ("a", "2020-06-01T00:00", 1.0),
        ("a", "2020-06-01T13:00", 2.0),
        ("a", "2020-06-05T12:00:01", 3.0),
        ("b", "2020-06-02T00:00", 4.0),
    )
    found = nearest_in_time(wanted, entries, "value", HALF_DAY)
    np.testing.assert_array_equal(found["value"], [2.0, np.nan, 4.0, np.nan])
    np.testing.assert_array_equal(found["offset_hours"], [1.0, np.nan, 12.0, np.nan])


def test_of_two_as_near_the_earlier_and_of_one_time_the_mean():
    entries = series(
        ("a", "2020-06-01T06:00", 1.0),
        ("a", "2020-06-01T18:00", 2.0),
        ("a", "2020-06-01T06:00", 4.0),
    )
    found = nearest_in_time(rows(("a", "2020-06-01T12:00")), entries, "value", HALF_DAY)
    assert found["value"].tolist() == [2.5]


@settings(max_examples=25)
@given(
    st.lists(st.integers(0, 200), max_size=12),
    st.lists(st.integers(0, 200), max_size=12),
    st.integers(0, 40),
)
def test_nearest_is_what_a_search_through_all_finds(wanted, entries, window):
    start = T("2020-06-01")
    left = pd.DataFrame(
        {"station": ["s"] * len(wanted), "time": [start + pd.Timedelta(hours=h) for h in wanted]}
    )
    right = pd.DataFrame(
        {
            "station": ["s"] * len(entries),
            "time": [start + pd.Timedelta(hours=h) for h in entries],
            "value": np.asarray(entries, float),
        }
    )
    left["time"], right["time"] = (t["time"].astype("datetime64[ns]") for t in (left, right))
    found = nearest_in_time(left, right, "value", pd.Timedelta(hours=window))["value"].to_numpy()
    for hour, value in zip(wanted, found, strict=True):
        near = [e for e in entries if abs(e - hour) <= window]
        if near:
            best = min(near, key=lambda e: (abs(e - hour), e))
            assert value == best
        else:
            assert np.isnan(value)


def test_days_are_those_of_utc():
    entries = series(
        ("a", "2020-06-01T00:00", 1.0),
        ("a", "2020-06-01T23:59", 3.0),
        ("a", "2020-06-02T00:00", 9.0),
    )
    means = daily_means(entries, "value")
    assert means["time"].tolist() == [T("2020-06-01T12:00"), T("2020-06-02T12:00")]
    assert means["value"].tolist() == [2.0, 9.0]


# --- pairs --------------------------------------------------------------------------------


def test_columns_are_compared_row_by_row():
    table = observations(measurements(2, 4))
    one, two = (np.linspace(0, 0.7, 8) + n for n in (0, 0.01))
    one[0] = one[3] = two[3] = two[5] = np.nan
    why = {"rows that are odd": np.arange(8) == 0}
    sources = [Source("one", by_row=one, excluded=why), Source("two", by_row=two)]
    pairs, dropped = pair(table, sources, "12h")
    assert list(pairs.columns) == [
        *("network", "station", "latitude", "longitude", "time", "observed", "one", "two")
    ]
    assert len(pairs) == 5
    # Each row is counted once, at the first reason.
    assert dropped == {
        "rows that are odd": 1,
        "rows without a value of one": 1,
        "rows without a value of two": 1,
    }
    np.testing.assert_allclose(pairs["two"] - pairs["one"], 0.01)


def test_beside_a_column_a_gridded_product_has_the_value_nearest_in_time():
    table = observations(measurements(1, 3))  # 06:00, 18:00, 06:00
    timed = series(("st0", "2020-06-01T07:00", 0.3), ("st0", "2020-06-02T08:00", 0.4))
    sources = [Source("own", by_row=np.full(3, 0.2)), Source("map", by_time=timed)]
    pairs, dropped = pair(table, sources, "3h")
    assert pairs["map"].tolist() == [0.3, 0.4]
    assert dropped == {"rows without a value of map": 1}


def test_of_maps_alone_the_dates_of_the_first_are_compared():
    table = observations(measurements(2, 4))  # 06:00 and 18:00 on two days
    first = series(
        ("st0", "2020-06-01T05:40", 0.1),
        ("st0", "2020-06-01T17:30", 0.2),
        ("st0", "2020-06-20T06:00", 0.9),
    )
    second = series(("st0", "2020-06-01T12:00", 0.5), ("st1", "2020-06-01T06:00", 0.6))
    notes = {"stations outside first": 1, "nothing": 0}
    sources = [Source("first", by_time=first, notes=notes), Source("second", by_time=second)]
    pairs, dropped = pair(table, sources, "6h")
    assert pairs["first"].tolist() == [0.2]
    assert pairs["second"].tolist() == [0.5]
    assert pairs["time"].tolist() == [T("2020-06-01T17:30")]
    at = table[(table["station"] == "NETB/st0") & (table["time"] == T("2020-06-01T18:00"))]
    assert pairs["observed"].tolist() == at["observed"].tolist()
    assert pairs["latitude"].tolist() == [50.95]
    assert dropped == {
        "rows of first without a measurement within 6h": 1,
        "rows without a value of second within 6h": 1,
        "stations outside first": 1,
    }


def test_daily_means_are_compared_day_by_day():
    table = observations(measurements(1, 6))  # two a day on three days
    timed = series(
        ("st0", "2020-06-01T00:00", 0.2),
        ("st0", "2020-06-01T23:00", 0.4),
        ("st0", "2020-06-03T01:00", 0.6),
    )
    by_row = np.array([0.1, 0.3, 0.5, 0.5, np.nan, 0.7])
    pairs, dropped = pair(
        table, [Source("map", by_time=timed), Source("own", by_row=by_row)], "daily"
    )
    assert pairs["map"].tolist() == pytest.approx([0.3, 0.6])
    assert pairs["own"].tolist() == pytest.approx([0.2, 0.7])
    by_hand = table["observed"].to_numpy().reshape(3, 2).mean(axis=1)[[0, 2]]
    np.testing.assert_allclose(pairs["observed"], by_hand, rtol=1e-6)
    assert dropped == {"days without a value of map": 1}


@settings(max_examples=25)
@given(st.lists(st.tuples(st.booleans(), st.booleans(), st.booleans()), min_size=1, max_size=30))
def test_every_row_is_a_pair_or_has_one_reason(known):
    table = observations(measurements(1, len(known)))
    one, two, odd = (np.array(column) for column in zip(*known, strict=True))
    sources = [
        Source("one", by_row=np.where(one, 0.1, np.nan), excluded={"rows that are odd": odd}),
        Source("two", by_row=np.where(two, 0.2, np.nan)),
    ]
    expected = int((one & two & ~odd).sum())
    if not expected:
        with pytest.raises(EmptySearchError, match="no row has a measurement"):
            pair(table, sources, "12h")
        return
    pairs, dropped = pair(table, sources, "12h")
    assert len(pairs) == expected
    assert sum(dropped.values()) + len(pairs) == len(table)


def test_measurements_that_are_flagged_are_left_out():
    table = measurements(1, 4)
    table.loc[1, "flag"] = "D03"
    pairs, dropped = pair(observations(table), [Source("own", by_row=np.full(4, 0.2))], "12h")
    assert len(pairs) == 3
    assert dropped == {"rows whose measurement is not flagged G": 1}
    with pytest.raises(SamplesError, match="has the flag 'G'"):
        observations(table.assign(flag="M"))


def test_nothing_in_common_is_told_with_the_reasons():
    table = observations(measurements(1, 4))
    timed = series(("st0", "1999-06-01", 0.2))
    with pytest.raises(EmptySearchError, match=r"within 12h: 1\); check places and dates"):
        pair(table, [Source("old", by_time=timed)], "12h")


@pytest.mark.parametrize("window", ["12", "day", "", "-1h"])
def test_a_window_is_a_duration_or_daily(window):
    table = observations(measurements(1, 4))
    with pytest.raises(RequestError, match="give '12h', say, or 'daily'"):
        pair(table, [Source("own", by_row=np.full(4, 0.2))], window)


def test_what_was_measured_is_found_in_every_table():
    table = measurements(2, 3)
    plain = observations(table)
    assert plain["station"].tolist()[:1] == ["NETB/st0"]
    held_out = table.assign(
        station=plain["station"], observed=table["soil_moisture"], soil_moisture=0.5
    )
    again = observations(held_out)  # where soil_moisture is the prediction
    pd.testing.assert_frame_equal(again, plain)


def test_a_station_has_one_place():
    table = observations(measurements(2, 3))
    assert places(table).loc["NETA/st1", "longitude"] == pytest.approx(3.15)
    table.loc[1, "longitude"] += 0.02
    with pytest.raises(SamplesError, match="NETB/st0 is at places more than a kilometre apart"):
        places(table)


def test_a_whole_comparison_of_maps():
    """Every step on a field whose values are the measurements plus a constant."""
    from gssm.compare.report import compare

    table = measurements(6, 40)
    wide = table.pivot(index="time", columns="station", values="soil_moisture")
    product = field(wide.to_numpy()[:, None, :].repeat(2, axis=1) + 0.04, wide.index)
    found = compare({"map": product}, table, window="1h")
    assert found.table.loc["map", "N"] == 240
    assert found.table.loc["map", "bias"] == pytest.approx(0.04, abs=1e-6)
    assert found.table.loc["map", "ubrmse"] == pytest.approx(0, abs=1e-6)
    assert found.dropped == {}


# --- what is counted once ---------------------------------------------------------------------


def test_an_hourly_product_counts_each_measurement_once():
    table = observations(measurements(1, 4))  # 06:00 and 18:00 on two days
    hours = pd.date_range("2020-06-01T05:10:00.25", periods=48, freq="h")
    timed = pd.DataFrame({"station": "NETB/st0", "time": hours, "value": np.arange(48) / 100})
    pairs, dropped = pair(table, [Source("era", by_time=timed)], "6h")
    assert [f"{t:%dT%H:%M}" for t in pairs["time"]] == [
        "01T06:10",
        "01T18:10",
        "02T06:10",
        "02T18:10",
    ]
    shared = dropped.pop("rows of era that share a measurement with a row nearer to it")
    assert shared + sum(dropped.values()) + 4 == 48
    assert shared > 30


def test_a_measurement_that_is_there_twice_counts_once():
    table = measurements(2, 3)
    twice = pd.concat([table, table], ignore_index=True)
    values = Source("own", by_row=np.full(12, 0.2))
    for window, of in (("12h", 6), ("daily", 4)):
        pairs, dropped = pair(observations(twice), [values], window)
        assert len(pairs) == of
        assert dropped == {"rows that repeat a measurement": 6}
    timed = series(("st0", "2020-06-01T06:00", 0.3))
    assert len(pair(observations(twice), [Source("map", by_time=timed)], "1h")[0]) == 1


def test_two_values_of_one_station_and_time_are_refused():
    table = measurements(1, 3).assign(soil_moisture=[0.1, 0.2, 0.3])
    other = table.assign(soil_moisture=[0.1, 0.25, 0.3])
    with pytest.raises(
        SamplesError, match=r"NETB/st0 has 0\.2 and 0\.25 at 2020-06-01 18:00; keep"
    ):
        observations(pd.concat([table, other], ignore_index=True))
    # One that is flagged is none.
    observations(pd.concat([table, other.assign(flag="D01")], ignore_index=True))


def test_stations_of_one_name_in_two_networks_stay_two():
    table = measurements(1, 3).rename(columns={"soil_moisture": "observed"})
    both = pd.concat([table, table.assign(network="NETA", observed=0.4)], ignore_index=True)
    found = observations(both)
    assert set(found["station"]) == {"NETB/st0", "NETA/st0"}
    again = observations(both.assign(station=found["station"]))
    assert again["station"].tolist() == found["station"].tolist()
