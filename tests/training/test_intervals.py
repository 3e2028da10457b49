from __future__ import annotations

import time

import numpy as np
import pandas as pd
import pytest
from predicted_tables import predicted_table

from gssm import metrics
from gssm.errors import RequestError, SamplesError
from gssm.training.evaluate import skill_table, station_table
from gssm.training.intervals import MIN_STATIONS, POOLED, differences, with_intervals

MEDIANS = ("station_r", "station_ubrmse", "station_bias", "station_anomaly_r")


def naive_resamples(predicted: pd.DataFrame, draws: int, seed: int) -> pd.DataFrame:
    """Draw stations, put their rows together and score them, one resample after the other."""
    parts = {name: part for name, part in predicted.groupby("station")}
    names = sorted(parts)
    rows = []
    for chosen in np.random.default_rng(seed).integers(0, len(names), (draws, len(names))):
        # A station drawn twice is two stations.
        whole = pd.concat([parts[names[c]].assign(station=f"{n}") for n, c in enumerate(chosen)])
        rows.append(skill_table(whole).loc["soil_moisture"])
    return pd.DataFrame(rows)


def test_intervals_are_those_of_scoring_every_resample_row_by_row() -> None:
    predicted = predicted_table()
    predicted.loc[::7, "soil_moisture"] = np.nan
    predicted.loc[3::11, "soil_moisture_uncertainty"] = np.nan
    row = with_intervals(predicted, resamples=40, seed=5).loc["soil_moisture"]
    expected = naive_resamples(predicted, 40, 5)
    for name in (*POOLED, *MEDIANS):
        low, high = np.quantile(expected[name], [0.025, 0.975])
        assert row[f"{name}_low"] == pytest.approx(low, abs=1e-9), name
        assert row[f"{name}_high"] == pytest.approx(high, abs=1e-9), name


def test_the_table_is_the_skill_table_with_ends() -> None:
    predicted = predicted_table()
    table = with_intervals(predicted, resamples=50)
    skill = skill_table(predicted)
    pd.testing.assert_frame_equal(table[skill.columns], skill)
    at = list(table.columns).index("r2")
    assert list(table.columns[at : at + 3]) == ["r2", "r2_low", "r2_high"]
    assert not {"kge_low", "spearman_low"} & set(table.columns)
    ends = table.loc["soil_moisture"]
    for name in (*POOLED, *MEDIANS):
        assert ends[f"{name}_low"] <= ends[name] <= ends[f"{name}_high"]
    bare = with_intervals(predicted.drop(columns="soil_moisture_uncertainty"), resamples=50)
    assert not [name for name in bare.columns if name.startswith("coverage")]


def test_the_seed_decides() -> None:
    predicted = predicted_table()
    once = with_intervals(predicted, resamples=50, seed=1)
    pd.testing.assert_frame_equal(once, with_intervals(predicted, resamples=50, seed=1))
    assert (
        once.loc["xgboost", "r2_low"]
        != with_intervals(predicted, resamples=50).loc["xgboost", "r2_low"]
    )
    shuffled = with_intervals(predicted.sample(frac=1, random_state=3), resamples=50, seed=1)
    pd.testing.assert_frame_equal(once, shuffled, rtol=1e-9)


def test_an_interval_holds_the_truth_as_often_as_it_says() -> None:
    """Stations whose offsets have a standard deviation of 0.05 around a bias of 0.02."""
    rng = np.random.default_rng(0)
    held = 0
    widths = []
    for number in range(60):
        offset = 0.02 + rng.normal(0, 0.05, 20)
        observed = rng.uniform(0.1, 0.4, 20 * 3)
        predicted = pd.DataFrame(
            {
                "station": np.repeat(np.arange(20), 3),
                "observed": observed,
                "soil_moisture": observed + np.repeat(offset, 3) + rng.normal(0, 0.01, 60),
            }
        )
        low, high = with_intervals(predicted, resamples=100, seed=number).loc[
            "soil_moisture", ["bias_low", "bias_high"]
        ]
        held += bool(low <= 0.02 <= high)
        widths.append(high - low)
    assert 0.85 <= held / 60 <= 1
    # As wide as 20 stations make it, not as 60 independent rows would.
    assert np.mean(widths) == pytest.approx(2 * 1.96 * 0.05 / np.sqrt(20), rel=0.1)


def test_rows_add_nothing_where_stations_do_not() -> None:
    predicted = predicted_table()
    tenfold = pd.concat([predicted] * 10)
    once, again = (with_intervals(t, resamples=50) for t in (predicted, tenfold))
    for name in ("rmse", "r2", "bias"):
        for end in ("low", "high"):
            assert once.loc["xgboost", f"{name}_{end}"] == pytest.approx(
                again.loc["xgboost", f"{name}_{end}"]
            )


@pytest.mark.parametrize("stations", [1, MIN_STATIONS - 1])
def test_few_stations_have_no_interval(stations: int) -> None:
    row = with_intervals(predicted_table(stations=stations), resamples=20).loc["soil_moisture"]
    ends = [name for name in row.index if name.endswith(("_low", "_high"))]
    assert row[ends].isna().all()
    assert np.isfinite(row["rmse"])


def test_medians_need_enough_stations_of_enough_rows() -> None:
    predicted = predicted_table()
    short = predicted.groupby("station").head(10)
    whole = predicted[predicted["station"].isin(sorted(set(predicted["station"]))[:4])]
    mixed = pd.concat([short[~short["station"].isin(whole["station"])], whole])
    row = with_intervals(mixed, resamples=20).loc["soil_moisture"]
    assert (row["stations"], row["stations_used"]) == (8, 4)
    assert np.isfinite(row["rmse_low"])
    assert np.isfinite(row["station_r"])
    assert np.isnan(row["station_r_low"])


def test_a_constant_prediction_has_no_correlation_in_any_resample() -> None:
    constant = predicted_table().assign(soil_moisture=np.float32(0.3))
    row = with_intervals(constant, resamples=50).loc["soil_moisture"]
    assert row[["r", "r_low", "r_high", "station_r_low"]].isna().all()
    assert np.isfinite(row[["r2_low", "ubrmse_high"]]).all()
    # An error that is everywhere the same has no spread, and no negative variance.
    same = predicted_table()
    same["soil_moisture"] = same["observed"].astype(float) + 0.1
    row = with_intervals(same, resamples=50).loc["soil_moisture"]
    assert row["ubrmse_low"] == pytest.approx(0, abs=1e-7)
    assert row["bias_high"] == pytest.approx(0.1)


def test_differences_are_paired() -> None:
    predicted = predicted_table(stations=30)
    noise = np.random.default_rng(0).normal(0, 0.02, len(predicted))
    predicted["worse"] = predicted["soil_moisture"] + noise
    predicted.loc[:4, "worse"] = np.nan
    table = differences(predicted, ["worse", "xgboost", "soil_moisture"], resamples=100)
    shared = predicted.iloc[5:]
    gap = metrics.r2(shared["observed"], shared["soil_moisture"]) - metrics.r2(
        shared["observed"], shared["worse"]
    )
    row = table.loc["worse"]
    assert row[["N", "stations"]].tolist() == [len(predicted) - 5, 30]
    assert row["r2"] == pytest.approx(gap)
    assert 0 < row["r2_low"] < gap < row["r2_high"]
    alone = with_intervals(shared, ["worse", "soil_moisture"], resamples=100)
    # Each on its own, the intervals overlap.
    assert alone.loc["worse", "r2_high"] > alone.loc["soil_moisture", "r2_low"]
    itself = table.loc["soil_moisture"].drop(["N", "stations"])
    assert (itself == 0).all()


def test_bad_input_is_refused() -> None:
    with pytest.raises(RequestError, match="1 resamples give no interval"):
        with_intervals(predicted_table(), resamples=1)
    with pytest.raises(SamplesError, match="no column 'tabnet'"):
        with_intervals(predicted_table(), ["tabnet"])
    with pytest.raises(SamplesError, match="no column 'reference'"):
        differences(predicted_table(), ["reference"])


def test_thousands_of_rows_take_seconds() -> None:
    predicted = predicted_table(stations=147, each=182)
    start = time.perf_counter()
    table = with_intervals(predicted, ["soil_moisture"])
    # A second or so; 500 resamples row by row would take minutes.
    assert time.perf_counter() - start < 20
    assert len(station_table(predicted)) == table.loc["soil_moisture", "stations"] == 147
