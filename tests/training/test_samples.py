"""The other station tables, and several tables in one."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from gssm.errors import GssmWarning, SamplesError
from gssm.training.layouts import LAYOUTS
from gssm.training.protocols import station_groups
from gssm.training.samples import concat_samples, feature_matrix, read_samples
from gssm.training.train import train
from sample_tables import simulated_samples

S2_L1C = ["B1", "B2", "B3", "B4", "B5", "B6", "B7", "B8", "B8A", "B9", "B10", "B11", "B12"]


def ten_day_means(rows: int = 3) -> pd.DataFrame:
    start = pd.Timestamp("2019-01-01") + pd.to_timedelta(10 * np.arange(rows), "D")
    return pd.DataFrame(
        {
            "network": "NET",
            "station": "Made_Up_3_SSW",
            "lat": 40.123456,
            "lon": -100.0,
            "StartDate": start.strftime("%Y-%m-%dT%H:%M:%S"),
            "EndDate": (start + pd.Timedelta("10D")).strftime("%Y-%m-%dT%H:%M:%S"),
            "InSituSM_m3m3_10daymean": [0.2, np.nan, 0.3][:rows],
            "VV": -10.0,
            "VH": -20.0,
            "angle": 38.0,
            **{band: 1000.0 + number for number, band in enumerate(S2_L1C)},
            "landcover": 71.5,
            "smap_ssm_mm": 6.3,
        }
    )


def scan_table(rows: int = 3) -> pd.DataFrame:
    return pd.DataFrame(
        {
            "date": pd.Timestamp("2017-01-14") + pd.to_timedelta(12 * np.arange(rows), "D"),
            "site": 2215.0,
            "id": 2215.0,
            "lat": 38.26,
            "lon": -119.13,
            "sm5_m3m3": 0.2,
            "VV_dB": -10.0,
            "VH_dB": -20.0,
            **{f"B{band}": 0.05 * band for band in range(1, 8)},
            "elev_ft": 1000,
            "ssm": 17.5,
        }
    )


def written(table: pd.DataFrame, path: Path) -> Path:
    table.to_parquet(path)
    return path


def test_ten_day_means_are_top_of_atmosphere_in_the_middle(tmp_path: Path) -> None:
    samples = read_samples(written(ten_day_means(), tmp_path / "means.parquet"))
    first = samples.iloc[0]
    assert samples.attrs["level"] == "l1"
    assert first["time"] == pd.Timestamp("2019-01-06")
    assert first["vv"] == pytest.approx(0.1)
    assert first["vh"] == pytest.approx(0.01)
    assert first["incidence_angle"] == 38
    assert first["s2_b1"] == pytest.approx(0.1)
    assert first["s2_b10"] == pytest.approx(0.101)
    assert first["s2_b12"] == pytest.approx(0.1012)
    assert np.isnan(first["s2_age"])
    assert first["latitude"] == 40.123456
    assert first["nlcd_code_mean"] == 71.5
    assert first["smap_ssm_mm"] == 6.3
    assert not {"land_cover", "landcover", "StartDate", "B4"} & set(samples.columns)
    assert samples["soil_moisture"].isna().tolist() == [False, True, False]


def test_scan_table_has_no_angle_and_metres(tmp_path: Path) -> None:
    samples = read_samples(written(scan_table(), tmp_path / "scan.parquet"))
    first = samples.iloc[0]
    assert samples.attrs["level"] == "l2"
    assert first["station"] == "SCAN:2215"
    assert first["network"] == "SCAN"
    assert first["time"] == pd.Timestamp("2017-01-14")
    assert first["dsm"] == pytest.approx(304.8)
    assert first["vv"] == pytest.approx(0.1)
    assert [first[f"landsat_b{band}"] for band in range(1, 8)] == pytest.approx(
        [0.05, 0.1, 0.15, 0.2, 0.25, 0.3, 0.35]
    )
    assert samples[["incidence_angle", "landsat_age"]].isna().all(axis=None)
    assert first["ssm"] == 17.5
    assert not {"id", "site", "B1", "elev_ft"} & set(samples.columns)


def test_site_without_number_is_refused(tmp_path: Path) -> None:
    table = scan_table().assign(site=[2215.0, np.nan, 2215.0])
    with pytest.raises(SamplesError, match="station is missing in 1 of 3"):
        read_samples(written(table, tmp_path / "scan.parquet"))
    with pytest.raises(SamplesError, match="no number or no time"):
        read_samples(written(scan_table().assign(site=1.5), tmp_path / "scan.parquet"))


def test_layouts_make_each_name_once() -> None:
    for layout in LAYOUTS.values():
        names = [column.name for column in layout.columns]
        assert len(names) == len(set(names))
        assert {"station", "time", "vv", "vh", "soil_moisture"} <= set(names)
        assert not set(layout.sources) & set(layout.dropped)


def tables(tmp_path: Path) -> list[pd.DataFrame]:
    own = simulated_samples(stations=2, each=5)
    own.attrs = {"level": "l2", "source": {"name": "own.parquet", "sha256": "0" * 64}}
    means = read_samples(written(ten_day_means(), tmp_path / "means.parquet"))
    scan = read_samples(written(scan_table(), tmp_path / "scan.parquet"))
    return [own, means, scan]


def test_optical_columns_of_another_level_are_missing(tmp_path: Path) -> None:
    own, means, scan = tables(tmp_path)
    samples = concat_samples([own, means.assign(vv_soil=-9.0), scan])
    assert len(samples) == 16
    assert samples.index.tolist() == list(range(16))
    l2, l1, last = samples[:10], samples[10:13], samples[13:]
    pd.testing.assert_frame_equal(l2[own.columns], own)
    assert l1.filter(regex="^(s2|landsat)_").isna().all(axis=None)
    assert l1["vv_soil"].isna().all()
    pd.testing.assert_series_equal(l1["vv"].reset_index(drop=True), means["vv"], check_exact=True)
    assert last["landsat_b4"].tolist() == scan["landsat_b4"].tolist()
    assert last["s2_b4"].isna().all()
    assert samples.attrs["level"] == "l2"
    sources = samples.attrs["sources"]
    assert [s["name"] for s in sources] == ["own.parquet", "means.parquet", "scan.parquet"]
    assert [s["level"] for s in sources] == ["l2", "l1", "l2"]
    assert [s["rows"] for s in sources] == [10, 3, 3]
    assert all(len(s["sha256"]) == 64 for s in sources)
    assert feature_matrix(samples, "l2").shape[0] == 16


def test_level_of_the_other_spec_keeps_the_other_columns(tmp_path: Path) -> None:
    own, means, scan = tables(tmp_path)
    samples = concat_samples([own, means, scan], level="l1")
    assert samples["s2_b10"].notna().sum() == 3
    assert samples["s2_b4"].notna().tolist() == [False] * 10 + [True] * 3 + [False] * 3
    assert samples["landsat_b4"].isna().all()
    assert samples["dsm"].notna().sum() == 13


def test_tables_are_put_together_in_steps_and_kept_in_a_file(tmp_path: Path) -> None:
    own, means, scan = tables(tmp_path)
    whole = concat_samples([own, means, scan])
    steps = concat_samples([concat_samples([own, means]), scan])
    pd.testing.assert_frame_equal(steps[whole.columns], whole)
    assert steps.attrs == whole.attrs
    back = read_samples(written(whole, tmp_path / "whole.parquet"))
    pd.testing.assert_frame_equal(back[whole.columns], whole)
    assert back.attrs["level"] == "l2"


def test_tables_are_not_changed(tmp_path: Path) -> None:
    before, after = tables(tmp_path), tables(tmp_path)
    concat_samples(after)
    for one, other in zip(before, after, strict=True):
        pd.testing.assert_frame_equal(one, other)
        assert one.attrs == other.attrs


def test_tables_that_cannot_be_put_together_are_refused(tmp_path: Path) -> None:
    own, means, _ = tables(tmp_path)
    with pytest.raises(SamplesError, match="no tables"):
        concat_samples([])
    with pytest.raises(SamplesError, match="no level 'l3'"):
        concat_samples([own], level="l3")
    own.attrs = {}
    with pytest.raises(SamplesError, match=r"table 1 .* set table.attrs\['level'\] to"):
        concat_samples([means, own])
    elsewhere = means.assign(latitude=means["latitude"] + 1)
    with pytest.raises(SamplesError, match="station NET/Made_Up_3_SSW is at different places"):
        concat_samples([means, elsewhere])


def test_model_is_trained_on_several_tables() -> None:
    parts = [simulated_samples(stations=8, each=30, seed=seed) for seed in (0, 1)]
    parts[1]["station"] = "other-" + parts[1]["station"]
    parts[1] = parts[1].drop(columns=["incidence_angle", "landsat_b10"])
    for part in parts:
        part.attrs["level"] = "l2"
    samples = concat_samples(parts)
    model = train(samples, preset="tiny", members=["xgboost"], evaluate=False)
    assert np.isfinite(model.predict(samples)["soil_moisture"]).all()


def test_repeated_rows_are_told_of_and_kept(tmp_path: Path) -> None:
    samples = simulated_samples(stations=2, each=5)
    again = samples.iloc[:3].copy()
    again.loc[0, "soil_moisture"] += 0.05
    path = written(pd.concat([samples, again]), tmp_path / "twice.parquet")
    with pytest.warns(GssmWarning, match="has 3 rows that repeat .*, 1 of them with another") as w:
        assert len(read_samples(path)) == 13
    assert w[0].filename == __file__


def test_real_ten_day_means(test_data: Path) -> None:
    samples = read_samples(test_data / "stations" / "stations_l1c_10day.parquet")
    assert len(samples) == 11118
    assert samples["station"].nunique() == 102
    assert samples["vv"].dropna().between(0.005, 2).all()
    assert samples["incidence_angle"].dropna().between(30, 46).all()
    # Top-of-atmosphere: the blue is brightened by the air, and cirrus is dark.
    assert samples["s2_b2"].min() > 0.06
    assert samples["s2_b10"].median() < 0.003
    assert samples["time"].min() == pd.Timestamp("2019-01-06")
    complete = ["vv", "s2_b4", "soil_moisture"]
    assert samples[complete].notna().all(axis=1).mean() == pytest.approx(0.66, abs=0.01)


def test_real_scan_table(test_data: Path) -> None:
    samples = read_samples(test_data / "stations" / "stations_scan_l8.parquet")
    assert len(samples) == 3431
    assert samples["station"].nunique() == 68
    # Surface reflectance: without the air, the blue is darker than the red.
    assert samples["landsat_b2"].median() < 0.6 * samples["landsat_b4"].median()
    assert samples["dsm"].between(15, 2400).all()
    assert samples["incidence_angle"].isna().all()
    assert samples["soil_moisture"].isna().sum() == 110


def test_real_tables_in_one_hold_neighbours_together(test_data: Path) -> None:
    names = ("stations_l2", "stations_l1c_10day", "stations_scan_l8")
    parts = [read_samples(test_data / "stations" / f"{name}.parquet") for name in names]
    samples = concat_samples(parts)
    assert len(samples) == sum(map(len, parts))
    pd.testing.assert_frame_equal(
        samples[: len(parts[0])][["vv", "s2_b4"]], parts[0][["vv", "s2_b4"]]
    )
    groups = pd.Series(station_groups(samples), index=samples["station"])
    for one, other in (("Murphy-10-W", "Murphy_10_W"), ("WESTSUMMIT", "SCAN:2139")):
        assert groups[one].unique().tolist() == groups[other].unique().tolist()
