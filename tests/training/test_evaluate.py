from __future__ import annotations

import warnings

import numpy as np
import pandas as pd
import pytest
from predicted_tables import predicted_table

from gssm import metrics
from gssm.errors import GssmWarning, RequestError, SamplesError
from gssm.schema import REFERENCES
from gssm.training.classes import CLASSES, KOPPEN
from gssm.training.evaluate import (
    MIN_STATION_ROWS,
    evaluate,
    group_table,
    protocol_table,
    skill_table,
    station_table,
)
from gssm.training.past import with_past
from gssm.training.presets import WINDOW_DAYS
from gssm.training.sources import record_content
from gssm.training.train import train
from sample_tables import simulated_samples

POOLED = ("bias", "rmse", "ubrmse", "r2", "r", "spearman", "kge")
MEDIANS = ("station_r", "station_ubrmse", "station_bias", "station_anomaly_r")


def test_evaluate_has_a_row_per_member_and_one_for_the_ensemble() -> None:
    samples = simulated_samples()
    quick = ("random_forest", "xgboost")
    model = train(samples, preset="tiny", members=quick, evaluate=False)
    table = evaluate(model, samples)
    assert list(table.index) == [*quick, "soil_moisture"]
    assert list(table.columns[:-1]) == [
        *("N", "stations", "stations_used"),
        *POOLED,
        *MEDIANS,
    ]
    assert table.columns[-1] == "coverage"
    assert table["coverage"].isna().all()  # the model has no calibrated intervals
    assert (table["N"] == len(samples)).all()
    assert (table[["stations", "stations_used"]] == 8).all(axis=None)
    assert evaluate(model, samples.iloc[:3]).loc["soil_moisture", "N"] == 3
    with pytest.raises(SamplesError, match="no rows"):
        evaluate(model, samples.iloc[:0])


def test_rows_where_a_map_is_blank_are_not_scored() -> None:
    samples = simulated_samples()
    model = train(samples, preset="tiny", members=["xgboost"], evaluate=False)
    whole = evaluate(model, samples)
    assert whole.attrs == {"left_out": 0, "left_out_why": {}}
    # Snow on ten rows, no radar on ten, five of which are the same.
    blank = samples.assign(s2_mask=np.where(samples.index < 10, np.float32(2), np.float32(0)))
    blank.loc[5:14, "vv"] = np.nan
    with pytest.warns(
        GssmWarning, match=r"15 of the 240 rows are left .* \(no radar: 10, snow_or_frozen: 10\)\."
    ) as told:
        table = evaluate(model, blank)
    assert told[0].filename == __file__
    assert table.attrs == {"left_out": 15, "left_out_why": {"no radar": 10, "snow_or_frozen": 10}}
    pd.testing.assert_frame_equal(table, evaluate(model, samples.iloc[15:]))
    assert (table["N"] == 225).all()
    with pytest.raises(SamplesError, match=r"no value at any of the 240 rows \(water: 240\)"):
        evaluate(model, samples.assign(s2_mask=np.float32(1)))


def test_what_cannot_be_scored_is_refused() -> None:
    samples = simulated_samples()
    model = train(samples, preset="tiny", members=["xgboost"], evaluate=False)
    radians = samples.assign(incidence_angle=np.deg2rad(samples["incidence_angle"]))
    for table, says in (
        (None, "are a NoneType and no table"),
        (radians, "'incidence_angle' has a median of 0.6.* degree, and 15 to 60 is possible"),
        (samples.drop(columns="vh"), "no column 'vh'"),
        (samples.assign(vv=np.nan), "no value in the column 'vv'"),
    ):
        with pytest.raises(SamplesError, match=says):
            evaluate(model, table)
    with pytest.raises(RequestError, match=r"model is a str; give a gssm\.Model"):
        evaluate("default", samples)  # type: ignore[arg-type]


def test_rows_that_taught_the_model_are_told() -> None:
    samples = simulated_samples()
    samples.attrs["source"] = {"name": "table.csv", "sha256": "abc"}
    model = train(samples, preset="tiny", members=["xgboost"], networks=["NETA"], evaluate=False)
    with pytest.warns(GssmWarning, match="120 of the 240 rows are of the table"):
        evaluate(model, samples)
    with pytest.warns(GssmWarning, match="240 of the 240"):
        evaluate(model, samples.drop(columns="network"))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        evaluate(model, samples[samples["network"] == "NETB"])
        samples.attrs["source"] = {"name": "another.csv", "sha256": "def"}
        evaluate(model, samples)


def test_rows_of_a_filtered_table_that_taught_the_model_are_told() -> None:
    samples = simulated_samples()
    samples.attrs["source"] = {"name": "table.csv", "sha256": "abc"}
    record_content(samples)
    model = train(samples.iloc[:200], preset="tiny", members=["xgboost"], evaluate=False)
    assert model.provenance["training"]["table_sha256"] is None
    with pytest.warns(GssmWarning, match="240 of the 240 rows are of the table"):
        evaluate(model, samples)


def test_skill_table_against_the_metrics_one_by_one() -> None:
    predicted = predicted_table()
    row = skill_table(predicted).loc["soil_moisture"]
    observed, value = predicted["observed"], predicted["soil_moisture"]
    for name in POOLED:
        assert row[name] == pytest.approx(metrics.METRICS[name](observed, value))
    parts = [part for _, part in predicted.groupby("station")]
    each = {
        "station_r": [metrics.r(p["observed"], p["soil_moisture"]) for p in parts],
        "station_ubrmse": [metrics.ubrmse(p["observed"], p["soil_moisture"]) for p in parts],
        "station_bias": [abs(metrics.bias(p["observed"], p["soil_moisture"])) for p in parts],
        "station_anomaly_r": [
            metrics.anomaly_r(p["observed"], p["soil_moisture"], p["time"]) for p in parts
        ],
    }
    for name, values in each.items():
        assert row[name] == pytest.approx(np.median(values))
    assert row["coverage"] == pytest.approx(((observed - value).abs() <= 0.08).mean())
    assert 0 < row["coverage"] < 1


def test_skill_table_by_hand() -> None:
    n = MIN_STATION_ROWS
    # Station a is followed with an offset of 0.1; at b all goes the wrong way.
    rise = np.linspace(0.1, 0.3, n)
    predicted = pd.DataFrame(
        {
            "station": ["a"] * n + ["b"] * n,
            "observed": [*rise, *rise],
            "soil_moisture": [*(rise + 0.1), *rise[::-1]],
        }
    )
    row = skill_table(predicted).loc["soil_moisture"]
    assert row["bias"] == pytest.approx(0.05)
    assert row["station_r"] == pytest.approx(0.0)  # median of +1 and -1
    assert row["station_ubrmse"] == pytest.approx(rise.std())  # of 0 and twice the spread
    assert row["station_bias"] == pytest.approx(0.05)  # of 0.1 and 0
    assert np.isnan(row["station_anomaly_r"])  # without times
    assert "coverage" not in row
    with_gap = predicted.assign(soil_moisture=[*rise, *[np.nan] * n])
    assert skill_table(with_gap).loc["soil_moisture", ["N", "stations"]].tolist() == [n, 1]


def test_a_station_of_few_rows_counts_in_the_pool_only() -> None:
    predicted = predicted_table(stations=3)
    few = predicted.iloc[: 25 * 2 + MIN_STATION_ROWS - 1]
    row = skill_table(few).loc["soil_moisture"]
    assert row[["N", "stations", "stations_used"]].tolist() == [len(few), 3, 2]
    two = skill_table(predicted.iloc[:50]).loc["soil_moisture"]
    assert row["station_r"] == two["station_r"]
    assert row["r"] != two["r"]
    one_more = predicted.iloc[: 25 * 2 + MIN_STATION_ROWS]
    assert skill_table(one_more).loc["soil_moisture", "stations_used"] == 3


def test_skill_of_one_row_is_undefined_not_an_error() -> None:
    one = pd.DataFrame({"station": ["a"], "observed": [0.1], "soil_moisture": [0.2]})
    row = skill_table(one).loc["soil_moisture"]
    assert row["rmse"] == pytest.approx(0.1)
    assert row[["r", "r2", "spearman", *MEDIANS]].isna().all()
    nothing = one.assign(soil_moisture=np.nan)
    row = skill_table(nothing).loc["soil_moisture"]
    assert row["N"] == 0
    assert np.isnan(row["rmse"])
    assert station_table(nothing).empty


def test_a_constant_prediction_has_errors_but_no_correlation() -> None:
    predicted = predicted_table().assign(soil_moisture=np.float32(0.3))
    row = skill_table(predicted).loc["soil_moisture"]
    assert row[["r", "spearman", "kge", "station_r", "station_anomaly_r"]].isna().all()
    assert np.isfinite(row[["bias", "rmse", "ubrmse", "r2", "station_ubrmse"]]).all()


def test_the_order_of_rows_and_the_index_do_not_matter() -> None:
    predicted = predicted_table()
    shuffled = predicted.sample(frac=1, random_state=1)
    shuffled.index = shuffled.index // 2  # neither sorted nor unique
    for make in (skill_table, station_table, lambda t: group_table(t, "network")):
        pd.testing.assert_frame_equal(make(shuffled), make(predicted), rtol=1e-9)


def test_columns_can_be_named_and_context_is_not_scored() -> None:
    predicted = predicted_table().assign(reference=0.2, other=0.3)
    assert list(skill_table(predicted).index) == ["random_forest", "xgboost", "soil_moisture"]
    named = skill_table(predicted, ["reference", "soil_moisture"])
    assert list(named.index) == ["reference", "soil_moisture"]
    assert named["coverage"].isna().tolist() == [True, False]  # the intervals are the ensemble's
    with pytest.raises(SamplesError, match=r"no column 'nothing'.*gssm\.cross_validate"):
        skill_table(predicted, ["nothing"])
    with pytest.raises(SamplesError, match="no column 'soil_moisture'"):
        skill_table(predicted[["station", "observed", "reference"]])
    with pytest.raises(SamplesError, match="no column 'observed'"):
        station_table(predicted.drop(columns="observed"))


def test_rows_without_an_interval_do_not_count_as_covered() -> None:
    predicted = predicted_table()
    predicted["soil_moisture_uncertainty"] = 1.0
    predicted.loc[:9, "soil_moisture_uncertainty"] = np.nan
    assert skill_table(predicted).loc["soil_moisture", "coverage"] == 1
    predicted["soil_moisture_uncertainty"] = np.nan
    assert np.isnan(skill_table(predicted).loc["soil_moisture", "coverage"])


def test_station_table() -> None:
    predicted = predicted_table()
    table = station_table(predicted)
    assert list(table.columns) == [
        *("network", "latitude", "longitude", "N"),
        *POOLED,
        *("anomaly_r", "coverage", "land_cover", "koppen", "soil_texture"),
    ]
    assert table.index.name == "station"
    assert list(table.index) == sorted(set(predicted["station"]))
    own = predicted[predicted["station"] == "NETA/st3"]
    row = table.loc["NETA/st3"]
    assert (row["network"], row["N"], row["latitude"]) == ("NETA", 25, 41.5)
    assert (row["land_cover"], row["koppen"]) == (40, 7)
    assert np.isnan(row["soil_texture"])
    for name in POOLED:
        expected = metrics.METRICS[name](own["observed"], own["soil_moisture"])
        assert row[name] == pytest.approx(expected)
    expected = metrics.anomaly_r(own["observed"], own["xgboost"], own["time"])
    assert station_table(predicted, "xgboost").loc["NETA/st3", "anomaly_r"] == expected
    unnamed = station_table(predicted.drop(columns="network"))
    assert list(unnamed.columns[:3]) == ["latitude", "longitude", "N"]
    bare = station_table(predicted[["station", "observed", "soil_moisture"]])
    assert list(bare.columns) == ["N", *POOLED, "anomaly_r"]


def test_group_table() -> None:
    predicted = predicted_table()
    climate = group_table(predicted, "climate")
    assert list(climate.index) == ["B arid", "C temperate"]
    assert climate.index.name == "climate"
    assert climate["stations"].tolist() == [5, 3]
    arid = predicted[predicted["koppen"] == 7]
    pd.testing.assert_series_equal(
        climate.loc["B arid"], skill_table(arid).loc["soil_moisture"], check_names=False
    )
    assert list(group_table(predicted, "land_cover").index) == ["grassland", "cropland"]
    assert list(group_table(predicted, "network").index) == ["NETA", "NETB"]
    assert list(group_table(predicted, "soil_texture").index) == ["loam", "unknown"]
    by_fold = group_table(predicted, "fold", "xgboost")
    assert list(by_fold.index) == ["0", "1", "2", "3"]
    assert by_fold["N"].sum() == len(predicted)
    predicted["land_cover"] = 31  # no code of WorldCover
    assert list(group_table(predicted, "land_cover").index) == ["unknown"]
    with pytest.raises(SamplesError, match=r"no column 'koppen' to group by.*network, land"):
        group_table(predicted.drop(columns="koppen"), "climate")


def test_codes_of_the_climates() -> None:
    assert len(KOPPEN) == len(set(KOPPEN)) == 30
    # Ends of the main classes in the legend of Beck et al. 2018.
    assert [KOPPEN[code - 1] for code in (1, 3, 4, 7, 8, 16, 17, 28, 29, 30)] == [
        *("Af", "Aw", "BWh", "BSk", "Csa", "Cfc", "Dsa", "Dfd", "ET", "EF")
    ]
    names = CLASSES["climate"].names
    assert names is not None
    assert [names[code] for code in (3, 4, 7, 8, 16, 17, 28, 29)] == [
        *("A tropical", "B arid", "B arid", "C temperate", "C temperate"),
        *("D cold", "D cold", "E polar"),
    ]


def test_protocol_table() -> None:
    predicted = predicted_table()
    fewer = predicted.iloc[:50].drop(columns="soil_moisture_uncertainty")
    table = protocol_table({"station": predicted, "time": fewer})
    assert list(table.index) == ["station", "time"]
    assert table["N"].tolist() == [200, 50]
    assert table["coverage"].isna().tolist() == [False, True]
    assert table.loc["time", "r2"] == skill_table(fewer).loc["soil_moisture", "r2"]
    with pytest.raises(SamplesError, match="no column 'tabnet'"):
        protocol_table({"station": predicted}, "tabnet")


def test_a_history_model_is_scored_with_its_past() -> None:
    """Not as if every station had none."""
    samples = simulated_samples()
    model = train(samples, spec="l2-history", preset="tiny", members=["xgboost"], evaluate=False)
    given = with_past(samples, model.spec, window_days=WINDOW_DAYS)
    pd.testing.assert_frame_equal(evaluate(model, samples), evaluate(model, given))
    without = given.assign(**dict.fromkeys(REFERENCES, np.float32(np.nan)))
    assert not evaluate(model, without).equals(evaluate(model, given))
