import numpy as np
import pandas as pd
import pytest
from compare import product_files as files
from compare.stations import field, measurements, one_at_a_time
from training.predicted_tables import predicted_table
from training.sample_tables import simulated_samples

from gssm import metrics
from gssm.compare.report import compare
from gssm.errors import EmptySearchError, GssmWarning, RequestError, SamplesError
from gssm.models.bundle import load_model
from gssm.training.evaluate import skill_table

PLACES = {"station", "network", "latitude", "longitude", "time", "observed"}


@pytest.fixture(scope="module")
def held_out():
    """A table of `cross_validate`, and what two members predicted for it."""
    return predicted_table(8, 30)


@pytest.fixture(scope="module")
def found(held_out):
    return compare({"forest": "random_forest", "booster": "xgboost"}, held_out, resamples=100)


def test_scores_are_those_of_the_pairs(found, held_out):
    assert found.products == ("forest", "booster")
    assert set(found.pairs.columns) == PLACES | {"forest", "booster"}
    observed, forest = held_out["observed"], held_out["random_forest"]
    scores = found.table.loc["forest"]
    assert scores["N"] == len(held_out)
    assert scores["r2"] == pytest.approx(metrics.r2(observed, forest), abs=1e-6)
    assert scores["bias"] == pytest.approx(metrics.bias(observed, forest), abs=1e-6)
    again = skill_table(held_out, ["random_forest"]).iloc[0]
    for score in ("station_r", "station_ubrmse", "station_anomaly_r", "kge", "spearman"):
        assert scores[score] == pytest.approx(again[score], abs=1e-5)
    for score in ("r2", "rmse", "station_r"):
        assert scores[f"{score}_low"] < scores[score] < scores[f"{score}_high"]
    assert found.dropped == {}
    assert found.stations("booster").index.tolist() == sorted(held_out["station"].unique())


def test_products_are_compared_on_the_same_rows(held_out):
    table = held_out.copy()
    table.loc[:49, "random_forest"] = np.nan
    table.loc[40:79, "xgboost"] = np.nan
    found = compare(["random_forest", "xgboost"], table, resamples=10)
    assert found.table["N"].tolist() == [160, 160]
    assert found.differences.loc["xgboost", "N"] == 160
    assert found.dropped == {
        "rows without a value of random_forest": 50,
        "rows without a value of xgboost": 30,
    }
    same = found.table.loc["random_forest", "rmse"] - found.table.loc["xgboost", "rmse"]
    assert found.differences.loc["xgboost", "rmse"] == pytest.approx(same)


def test_it_prints_the_shape_of_the_papers_table_4(found):
    table = found.paper_table()
    assert list(table.columns) == ["R²", "Bias (m³/m³)", "RMSE (m³/m³)", "ubRMSE (m³/m³)"]
    assert list(table.index) == ["forest", "booster"]
    lines = str(found).splitlines()
    assert lines[0] == (
        "Validation of forest and booster using 240 in situ soil moisture observations of 8 "
        "stations, 2020-01-01 to 2020-06-23."
    )
    assert lines[2].split() == [
        "Product",
        "R²",
        *("Bias", "(m³/m³)", "RMSE", "(m³/m³)", "ubRMSE", "(m³/m³)"),
    ]
    shown = dict(zip(table.columns, lines[3].split()[1:], strict=True))
    for name, value in table.loc["forest"].items():
        assert float(shown[name]) == pytest.approx(value, abs=5e-5)
    assert "[ ]: 95 % interval from resampling stations." in lines
    assert any(line.startswith("forest minus booster: R² ") for line in lines)
    assert lines[-1] == "Nothing was left out."


def test_few_pairs_are_the_papers_table_5():
    """Fourteen measurements: the paper gives no R² there, and nobody could an interval."""
    table = measurements(2, 7)
    found = compare(
        {"GSSM-10": "mine", "S2MP": "other"},
        table.assign(mine=table["soil_moisture"] - 0.018, other=table["soil_moisture"] + 0.025),
    )
    text = str(found)
    assert "using 14 in situ soil moisture observations of 2 stations" in text
    assert "R² is not given for fewer than 20 pairs." in text
    assert "No intervals: there are too few stations to resample." in text
    paper = found.paper_table()
    assert paper["R²"].isna().all()
    assert paper["Bias (m³/m³)"].tolist() == pytest.approx([-0.018, 0.025], abs=1e-6)
    assert "nan" not in text


def test_the_published_table_of_stations(test_data):
    """Table 4's shape on 26 853 rows: numbers as in docs/skill.md, to their last digit."""
    import gssm

    samples = gssm.read_samples(test_data / "stations" / "stations_l2.parquet")
    found = compare(["pred_reference"], samples, resamples=100)
    scores = found.table.loc["pred_reference"]
    assert (scores["N"], scores["stations"], scores["stations_used"]) == (26853, 147, 133)
    assert scores["r2"] == pytest.approx(0.403, abs=5e-4)
    assert scores["rmse"] == pytest.approx(0.0858, abs=5e-5)
    assert scores["station_r"] == pytest.approx(0.536, abs=5e-4)
    assert scores["station_ubrmse"] == pytest.approx(0.0559, abs=5e-5)
    assert 0.25 < scores["r2_low"] < 0.35 < 0.45 < scores["r2_high"] < 0.53


# --- a model as a product -----------------------------------------------------------------


def test_a_model_scores_only_what_taught_it_nothing(monkeypatch):
    samples = one_at_a_time(simulated_samples(6, 30))
    model = load_model("default")
    assert "USCRN" in model.provenance["training"]["networks"]
    # Station 5 is 100 m from station 0.
    samples.loc[samples["station"] == "st0", "network"] = "USCRN"
    samples.loc[3 * 30, ["vv", "vh"]] = np.nan
    found = compare({"gssm": model, "truth": "soil_moisture"}, samples, resamples=10)
    assert found.dropped == {
        "rows at, or within 2 km of, stations of networks that taught gssm": 60,
        "rows at which a map of gssm has no value": 1,
    }
    assert len(found.pairs) == 119
    assert found.pairs["gssm"].between(0, 1).all()
    assert found.table.loc["truth", "rmse"] == 0
    with pytest.raises(SamplesError, match="every row is of a network that taught 'gssm'"):
        compare({"gssm": model}, samples.assign(network="SCAN"))
    with pytest.warns(GssmWarning, match="has no column 'network'"):
        compare({"gssm": model}, samples.drop(columns="network"), resamples=10)


def test_a_model_needs_samples():
    with pytest.raises(SamplesError, match="vv"):
        compare({"gssm": load_model("default")}, measurements())


# --- products in files --------------------------------------------------------------------


def test_a_path_is_opened(tmp_path):
    wide = np.full((2, 4), 0.3)
    for day in ("20200601", "20200602", "20200603"):
        files.esa_cci(tmp_path, day, wide)
    found = compare({"cci": tmp_path}, measurements(6, 10), window="daily")
    # Six stations on three days, of which cells of a quarter of a degree hold all.
    assert found.table.loc["cci", "N"] == 18
    assert found.dropped == {"days without a value of cci": 12}


def test_hydroblocks_by_unit_is_expanded_around_each_station(tmp_path, monkeypatch):
    times = pd.date_range("2016-01-01", periods=20, freq="6h")
    catchments = np.full((40, 60), 7)
    catchments[:, 30:] = 12
    units = np.tile(np.arange(60) % 2, (40, 1))
    rng = np.random.default_rng(0)
    series = {n: rng.uniform(0.1, 0.4, (20, 2)) for n in (7, 12)}
    folder = files.smap_hb_units(tmp_path / "database", catchments, units, series, times)
    side = 1 / 3600
    stations = pd.DataFrame(
        {
            "station": np.repeat(["west", "east", "beyond"], 20),
            "longitude": np.repeat([-91.7 + 2.5 * side, -91.7 + 41.5 * side, -80.0], 20),
            "latitude": 37 - 20.5 * side,
            "time": np.tile(times, 3),
            "soil_moisture": 0.25,
        }
    )
    found = compare({"SMAP-HB": folder}, stations, window="1h", resamples=10)
    by_station = {s: own["SMAP-HB"].to_numpy() for s, own in found.pairs.groupby("station")}
    np.testing.assert_allclose(by_station["west"], series[7][:, 0], rtol=1e-6)
    np.testing.assert_allclose(by_station["east"], series[12][:, 1], rtol=1e-6)
    assert found.dropped == {"stations outside SMAP-HB": 1}


def test_an_archive_gives_the_pixels_of_the_stations(tmp_path):
    from archive.archives import CHUNK, SQUARE, row_of, write

    from gssm.archive.points import point_series
    from gssm.archive.repository import create_archive
    from gssm.archive.zones import transformer

    archive = create_archive(str(tmp_path / "archive"), chunk=CHUNK)
    for day in (0, 12):
        write(archive, row_of(day))
    left, _, _, top = SQUARE.bounds
    x, y = left + 10 * (4.5 * CHUNK), top - 10 * (3.5 * CHUNK)
    lon, lat = (float(v) for v in transformer(SQUARE.epsg, inverse=True).transform(x, y))
    own = point_series(archive.url, lon, lat)
    assert own["soil_moisture"].notna().any()
    stations = pd.DataFrame(
        {
            "station": ["here"] * len(own) + ["elsewhere"],
            "longitude": [lon] * len(own) + [-100.0],
            "latitude": [lat] * len(own) + [40.0],
            "time": [*own.index, own.index[0]],
            "soil_moisture": 0.25,
        }
    )
    found = compare({"archive": tmp_path / "archive"}, stations, window="1h", resamples=10)
    np.testing.assert_allclose(found.pairs["archive"], own["soil_moisture"].dropna())
    assert found.dropped["stations outside archive"] == 1
    with pytest.raises(EmptySearchError, match="stations outside archive: 1"):
        compare({"archive": tmp_path / "archive"}, stations[stations["station"] == "elsewhere"])


def test_maps_and_columns_beside_each_other():
    table = measurements(6, 40)
    wide = table.pivot(index="time", columns="station", values="soil_moisture")
    product = field(wide.to_numpy()[:, None, :].repeat(2, axis=1), wide.index)
    found = compare(
        {"column": "guess", "map": product}, table.assign(guess=0.3), window="1h", resamples=10
    )
    assert found.table.loc["map", "rmse"] == pytest.approx(0, abs=1e-6)
    assert found.differences.loc["map", "rmse"] > 0
    near = compare({"map": product}, table, method="nearest", max_distance=500, resamples=10)
    assert near.table.loc["map", "rmse"] == pytest.approx(0, abs=1e-6)


def test_three_sources_are_collocated():
    rng = np.random.default_rng(0)
    table = predicted_table(8, 60)
    truth = table["observed"].to_numpy()
    table["a"], table["b"] = (truth + rng.normal(0, s, len(truth)) for s in (0.01, 0.02))
    found = compare(["a", "b"], table, resamples=10)
    errors = found.collocation(("observed", "a", "b"), resamples=50)
    assert errors.loc["a", "error_std"] == pytest.approx(0.01, abs=0.004)
    assert errors.loc["b", "error_std"] == pytest.approx(0.02, abs=0.004)


# --- refusals -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("products", "says"),
    [
        ({}, "no product to compare"),
        (field(np.zeros((1, 2, 2)), ["2020-06-01"]), "has no name"),
        ({"observed": "random_forest"}, "cannot be called 'observed'"),
        ({"": "random_forest"}, "cannot be called ''"),
        ({"a": 3}, "is a int"),
    ],
)
def test_products_have_names_and_kinds(products, says, held_out):
    with pytest.raises(RequestError, match=says):
        compare(products, held_out)


def test_columns_are_soil_moisture(held_out):
    with pytest.raises(SamplesError, match="no column 'pred'"):
        compare(["pred"], held_out)
    with pytest.raises(SamplesError, match=r"it has pred_other"):
        compare(["pred"], held_out.assign(pred_other=0.2))
    with pytest.raises(SamplesError, match="holds no numbers"):
        compare({"a": "network"}, held_out)
    with pytest.raises(SamplesError, match="looks like percent"):
        compare({"a": "percent"}, held_out.assign(percent=20.0))
    with pytest.raises(EmptySearchError, match="no row has a measurement"):
        compare({"a": "nothing"}, held_out.assign(nothing=np.nan))


def test_options_are_checked(held_out):
    with pytest.raises(RequestError, match="no method 'bilinear'"):
        compare(["xgboost"], held_out, method="bilinear")
    with pytest.raises(RequestError, match="max_distance"):
        compare(["xgboost"], held_out, max_distance=0)
    with pytest.raises(RequestError, match="window"):
        compare(["xgboost"], held_out, window="12")
    with pytest.raises(RequestError, match="not in this comparison"):
        compare(["xgboost"], held_out, resamples=10).stations("forest")
