from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import xarray as xr

from gssm import schema
from gssm.errors import SamplesError
from gssm.training.samples import feature_matrix, read_samples, samples_to_dataset
from sample_tables import simulated_samples


def published_layout(rows: int = 1) -> pd.DataFrame:
    bands = ["B1", "B2", "B3", "B4", "B5", "B6", "B7", "B8", "B8A", "B9", "B11", "B12"]
    radar = pd.Timestamp("2020-06-10 06:00")
    return pd.DataFrame(
        {
            "network": "NET",
            "station": "made-up",
            "latitude": 40.123456,
            "longitude": -100.0,
            "datetime": radar,
            "s1_datetime": radar,
            "soil_moisture": np.float32(0.2),
            "VV": np.float32(-10.0),
            "VH": np.float32(-20.0),
            "angle": np.float32(38.0),
            "s2_closest_datetime": radar - pd.Timedelta("36h"),
            **{f"Sentinel2_{band}": np.float32(0.1) for band in bands},
            **{f"Landsat_B{band}": np.float32(1.0) for band in range(2, 8)},
            "Landsat_B10": np.float32(4.3),
            "Landsat_closest_datetime": radar + pd.Timedelta("12h"),
            "DSM": 300.0,
            "Slope": 1.0,
            "Aspect": 90.0,
            "LandCover": 30,
            "Koppen": 7,
            "Soil_Texture_USDA": 7,
            "pred_reference": 0.19,
        },
        index=range(rows),
    )


def written(table: pd.DataFrame, path: Path) -> Path:
    writer = table.to_parquet if path.suffix == ".parquet" else table.to_csv
    writer(path, index=False)
    return path


def test_published_layout_is_rescaled_to_canonical_units(tmp_path: Path) -> None:
    samples = read_samples(written(published_layout(), tmp_path / "table.parquet"))
    first = samples.iloc[0]
    assert first["vv"] == pytest.approx(0.1)
    assert first["vh"] == pytest.approx(0.01)
    # DN 10000 of Landsat Collection 2 level 2: 10000 * 2.75e-5 - 0.2.
    assert first["landsat_b4"] == pytest.approx(0.075)
    assert first["landsat_b10"] == pytest.approx(43000 * 0.00341802 + 149)
    assert first["s2_age"] == -1.5
    assert first["landsat_age"] == 0.5
    assert first["latitude"] == 40.123456
    assert first["pred_reference"] == 0.19
    assert first["land_cover"] == 30
    assert first["time"] == pd.Timestamp("2020-06-10 06:00")
    assert not {"VV", "datetime", "DSM", "s1_datetime"} & set(samples.columns)
    assert samples.attrs["source"]["name"] == "table.parquet"


@pytest.mark.parametrize("suffix", [".parquet", ".csv"])
def test_own_table_makes_a_round_trip(tmp_path: Path, suffix: str) -> None:
    samples = simulated_samples(stations=2, each=5)
    samples["comment"] = "kept"
    back = read_samples(written(samples, tmp_path / f"own{suffix}"))
    pd.testing.assert_frame_equal(back[samples.columns], samples, rtol=1e-6)


def test_zoned_times_become_utc(tmp_path: Path) -> None:
    samples = simulated_samples(stations=1, each=2)
    samples["time"] = "2020-01-01T02:00:00+02:00"
    back = read_samples(written(samples, tmp_path / "zoned.csv"))
    assert list(back["time"]) == [pd.Timestamp("2020-01-01")] * 2


REFUSALS = {
    "percent": (lambda t: t.assign(soil_moisture=t["soil_moisture"] * 100), "percent"),
    "no rows": (lambda t: t.iloc[:0], "no rows"),
    "no station": (lambda t: t.drop(columns="station"), "no column 'station'"),
    "a text for a number": (lambda t: t.assign(vv="a"), "no number or no time"),
    "a text for a time": (lambda t: t.assign(time="yesterday"), "no number or no time"),
    "seconds for a time": (lambda t: t.assign(time=1577836800), "no number or no time"),
    "before the radar": (lambda t: t.assign(time="1999-01-01"), "before Sentinel-1"),
    "no times": (lambda t: t.assign(time=pd.NaT), "time is missing in 10 of 10"),
    "unnamed station": (lambda t: t.assign(station=None), "station is missing in 10 of 10"),
    "decibel": (lambda t: t.assign(vv=-12.5), "vv in bad.parquet has no value, or is negative"),
    "no radar": (lambda t: t.assign(vh=np.nan), "vh in bad.parquet has no value"),
    "no layout": (lambda t: t[["station", "vv", "vh"]], "time, incidence_angle, soil_moisture"),
}


@pytest.mark.parametrize("case", REFUSALS)
def test_unusable_table_is_refused(tmp_path: Path, case: str) -> None:
    change, says = REFUSALS[case]
    path = written(change(simulated_samples(stations=2, each=5)), tmp_path / "bad.parquet")
    with pytest.raises(SamplesError, match=says):
        read_samples(path)


def test_missing_or_foreign_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SamplesError, match="there is no samples table"):
        read_samples(tmp_path / "absent.parquet")
    (tmp_path / "table.pkl").write_bytes(b"\x80\x04.")
    with pytest.raises(SamplesError, match="save the table as one of these"):
        read_samples(tmp_path / "table.pkl")
    (tmp_path / "broken.parquet").write_bytes(b"not parquet")
    with pytest.raises(SamplesError, match="cannot be read"):
        read_samples(tmp_path / "broken.parquet")


def test_dataset_of_samples_has_units_and_time() -> None:
    samples = simulated_samples(stations=2, each=5)
    dataset = samples_to_dataset(samples)
    assert dict(dataset.sizes) == {"sample": 10}
    assert dataset["time"].dims == ("sample",)
    for name, array in dataset.data_vars.items():
        assert array.attrs["units"] == schema.VARIABLES[str(name)].units
        assert array.dtype == np.float32
    assert isinstance(dataset, xr.Dataset)


def test_feature_matrix_follows_the_spec_and_leaves_gaps() -> None:
    samples = simulated_samples(stations=2, each=5).drop(columns="s2_b1")
    features = feature_matrix(samples, "l2")
    names = list(schema.SPECS["l2"].features)
    assert features.shape == (10, len(names))
    assert features.dtype == np.float32
    vv_db = 10 * np.log10(samples["vv"].to_numpy())
    np.testing.assert_allclose(features[:, names.index("vv_db")], vv_db, atol=1e-4)
    assert np.isnan(features[:, names.index("s2_b1")]).all()
    assert np.isfinite(features[:, names.index("day_of_year_sin")]).all()


def test_real_table_is_physical(test_data: Path) -> None:
    samples = read_samples(test_data / "stations" / "stations_l2.parquet")
    assert len(samples) == 26853
    assert samples["station"].nunique() == 147
    assert samples["vv"].between(0, 1).all()
    assert samples["landsat_b10"].between(240, 350).all()
    assert samples["landsat_b5"].median() == pytest.approx(0.28, abs=0.05)
    ages = samples[["s2_age", "landsat_age"]].abs()
    assert (ages.max() <= 15).all()
    # The share of old partners that the data's own description gives.
    assert (ages["s2_age"] > 3).mean() == pytest.approx(0.34, abs=0.02)
    assert (ages["landsat_age"] > 3).mean() == pytest.approx(0.57, abs=0.02)
    assert {"pred_reference", "koppen", "soil_texture", "land_cover"} <= set(samples.columns)
