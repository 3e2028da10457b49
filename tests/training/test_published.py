"""The table published with the paper, made up here in its layout: no value of it is known."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gssm.errors import GssmWarning, SamplesError
from gssm.physics import WaterCloud
from gssm.schema import LANDSAT_REFLECTANCE, SENTINEL2_BANDS, SPECS
from gssm.training.protocols import station_groups
from gssm.training.published import BOUNDS, published_layout
from gssm.training.samples import feature_matrix, read_samples

# Printed rows of the authors' notebook: VV and VH in dB, the angle normalised, NDVI, and
# the soil backscatter normalised; satellite values only.
PRINTED = np.array(
    [
        (-15.525184, -17.148355, 0.633795, 0.362877, 0.073716, 0.060385),
        (-10.897289, -19.925462, -0.421611, 0.262066, 0.178651, -0.030024),
        (-8.070395, -14.420784, 0.010330, 0.564133, 0.284283, 0.174871),
        (-17.864517, -22.273885, 0.244956, 0.154501, 0.005800, -0.096422),
    ]
)


def published_table(**changes: object) -> pd.DataFrame:
    """The 33 features, label, time, radar, angle, climate and network: 40 columns."""
    vv, vh, angle, ndvi, vv_soil, vh_soil = PRINTED.T
    rows = np.arange(len(PRINTED))
    columns = {
        "network": "NET",
        "date": pd.Timestamp("2020-06-10 23:00") + pd.to_timedelta(rows, "D"),
        "latitude": np.array([0.04, 0.04, 0.0401, 0.0402]),
        "longitude": -0.1,
        "soil_moisture": 0.1 + 0.05 * rows,
        "VV": vv,
        "VH": vh,
        "angle": angle,
        "VV_soil": vv_soil,
        "VH_soil": vh_soil,
        "NDVI": ndvi,
        "NDMI": 0.1,
        **{band.upper(): 0.05 + 0.01 * rows for band in SENTINEL2_BANDS},
        "B4": 0.3 * (1 - ndvi) / (1 + ndvi),
        "B8": 0.3,
        "landsat_NDVI": 0.4,
        "landsat_NDMI": 0.2,
        **{
            f"landsat_{band.upper()}": 0.1 + 0.02 * number + 0.01 * rows
            for number, band in enumerate(LANDSAT_REFLECTANCE)
        },
        "landsat_B10": 0.2951,
        "landsat_B11": 0.2932,
        "DSM": (np.array([0, 395, 3690, -5]) + 5) / 3695 * 2 - 1,
        "koppen_class": 0.07,
    }
    return pd.DataFrame({**columns, **changes})


def write(table: pd.DataFrame, folder: Path) -> Path:
    path = folder / "normalized_data.pkl"
    table.to_pickle(path)
    return path


def test_table_has_as_many_columns_as_the_published_one() -> None:
    assert published_table().shape[1] == 40


def test_normalised_columns_become_physical(tmp_path: Path) -> None:
    samples = read_samples(write(published_table(), tmp_path))
    assert samples["dsm"].tolist() == [0, 395, 3690, -5]
    np.testing.assert_allclose(samples["latitude"], [40, 40, 40.1, 40.2])
    np.testing.assert_allclose(samples["longitude"], -100)
    np.testing.assert_allclose(samples["landsat_b10"], 295.1)
    np.testing.assert_allclose(samples["landsat_b11"], 293.2)
    np.testing.assert_allclose(10 * np.log10(samples["vv"]), PRINTED[:, 0], atol=1e-5)
    np.testing.assert_allclose(10 * np.log10(samples["vh"]), PRINTED[:, 1], atol=1e-5)
    assert samples["incidence_angle"].between(30, 46).all()
    np.testing.assert_allclose(samples["s2_b8"], 0.3)
    assert samples["time"].iloc[1] == pd.Timestamp("2020-06-11 23:00")
    assert samples["koppen"].tolist() == [7] * 4
    assert samples.attrs["level"] == "l1"
    assert samples.attrs["source"]["name"] == "normalized_data.pkl"


def test_soil_backscatter_is_that_of_our_water_cloud_model(tmp_path: Path) -> None:
    samples = read_samples(write(published_table(), tmp_path))
    names = list(SPECS["paper33"].features)
    features = feature_matrix(samples, "paper33", WaterCloud(floor_db=-60))
    assert np.isfinite(features).all()
    for name, (low, high) in list(BOUNDS.items())[:2]:
        made = features[:, names.index(name)]
        # The printed digits, 5e-7 of 84 dB, and float32.
        np.testing.assert_allclose(made, samples[name], atol=1e-4)
        assert (low, high) == (-60.0, pytest.approx(24.2, abs=0.1))


@pytest.mark.parametrize("name", BOUNDS)
def test_bounds_are_met_at_both_ends(tmp_path: Path, name: str) -> None:
    own = {"vv_soil": "VV_soil", "vh_soil": "VH_soil", "dsm": "DSM", "incidence_angle": "angle"}
    table = published_table(**{own[name]: [-1.0, 1.0, 0.0, np.nan]})
    low, high = BOUNDS[name]
    values = read_samples(write(table, tmp_path))[name].tolist()
    assert values[:3] == pytest.approx([low, high, (low + high) / 2], abs=1e-4)
    assert np.isnan(values[3])


def test_places_stand_for_stations_without_names(tmp_path: Path) -> None:
    samples = read_samples(write(published_table(), tmp_path))
    assert samples["station"].tolist() == [
        "40.0000,-100.0000",
        "40.0000,-100.0000",
        "40.1000,-100.0000",
        "40.2000,-100.0000",
    ]
    assert station_groups(samples).tolist() == [0, 0, 1, 2]


@given(st.floats(-80, 80), st.floats(-180, 180))
def test_place_survives_how_it_was_stored(latitude: float, longitude: float) -> None:
    """One station in rows of float64 and of numbers printed and read: one key."""
    stored = [(latitude / 1000, longitude / 1000), (latitude * 0.001, longitude * 0.001)]
    rows = [(round(a * 1000, 5), round(o * 1000, 5)) for a, o in stored]
    table = pd.DataFrame(rows, columns=["latitude", "longitude"]) / 1000
    layout = published_layout(["VV_soil", "latitude", "longitude"])
    assert layout is not None
    (station,) = (maker for maker in layout.columns if maker.name == "station")
    keys = station.read(table)
    assert keys.nunique() == 1
    assert "-0.0000" not in keys[0]


def test_own_stations_are_kept(tmp_path: Path) -> None:
    table = published_table().rename(columns={"network": "Station_Name"})
    assert read_samples(write(table, tmp_path))["station"].tolist() == ["NET"] * 4


@pytest.mark.parametrize("prefix", ["", "S2_", "sentinel2_"])
def test_other_spellings_are_read(tmp_path: Path, prefix: str) -> None:
    table = published_table()
    bands = {band.upper(): prefix + band.upper() for band in (*SENTINEL2_BANDS, "ndvi", "ndmi")}
    other = table.rename(
        columns={**bands, "VV_soil": "vv soil", "date": "Time", "koppen_class": "Köppen"}
    )
    pd.testing.assert_frame_equal(
        read_samples(write(other, tmp_path)), read_samples(write(table, tmp_path))
    )


def test_the_same_table_as_parquet_is_the_same(tmp_path: Path) -> None:
    table = published_table()
    table.to_parquet(tmp_path / "table.parquet")
    pd.testing.assert_frame_equal(
        read_samples(tmp_path / "table.parquet"), read_samples(write(table, tmp_path))
    )


REFUSALS: dict[str, tuple[Callable[[pd.DataFrame], pd.DataFrame], str]] = {
    "not normalised": (lambda t: t.assign(DSM=300.0), "DSM in .* has the value 300 where"),
    "degrees": (lambda t: t.assign(latitude=40.0), "latitude in .* has the value 40 where"),
    "linear": (lambda t: t.assign(VV=0.05), "VV in .* has the median 0.05 where"),
    "digital numbers": (lambda t: t.assign(B4=900), "B4 in .* has the median 900 where"),
    "kelvin": (lambda t: t.assign(landsat_B10=295.0), "landsat_B10 .* the median 295 where"),
    "percent": (lambda t: t.assign(soil_moisture=25.0), "percent"),
    "two times": (lambda t: t.assign(time=t["date"]), "date and time in .* both be time"),
    "a text": (lambda t: t.assign(DSM="high"), "no number or no time"),
    "without a band": (
        lambda t: t.rename(columns={"landsat_B11": "landsat_ST", "B10": "cirrus"}),
        r"lacks the columns s2_b10, landsat_b11 \(and has cirrus, landsat_ST, which it does not",
    ),
    "without place": (lambda t: t.drop(columns="latitude"), "lacks the columns latitude"),
}


@pytest.mark.parametrize("case", REFUSALS)
def test_other_tables_of_that_name_are_refused(tmp_path: Path, case: str) -> None:
    change, says = REFUSALS[case]
    with pytest.raises(SamplesError, match=says):
        read_samples(write(change(published_table()), tmp_path))


def test_unknown_columns_are_kept_aside_and_named(tmp_path: Path) -> None:
    table = published_table(slope=0.5, Texture="clay")
    with pytest.warns(GssmWarning, match="has the columns slope, Texture, which gssm does not"):
        samples = read_samples(write(table, tmp_path))
    assert samples["published_slope"].tolist() == [0.5] * 4
    assert "slope" not in samples


def test_bands_that_repeat_another_are_named(tmp_path: Path) -> None:
    table = published_table()
    with pytest.warns(GssmWarning, match="landsat_B7 and landsat_B9 in .* the same value"):
        read_samples(write(table.assign(landsat_B9=table["landsat_B7"]), tmp_path))


def test_a_table_of_our_own_may_come_as_a_pickle_too(tmp_path: Path) -> None:
    from sample_tables import simulated_samples

    samples = simulated_samples(stations=2, each=5)
    samples.to_pickle(tmp_path / "own.pkl")
    back = read_samples(tmp_path / "own.pkl")
    pd.testing.assert_frame_equal(back[samples.columns], samples)
    assert back.attrs["level"] == "l2"


def test_table_of_many_rows_is_read_in_seconds(tmp_path: Path) -> None:
    rows = 20_000
    table = published_table().sample(rows, replace=True, random_state=0)
    table["date"] = pd.Timestamp("2020-01-01") + pd.to_timedelta(np.arange(rows), "h")
    samples = read_samples(write(table, tmp_path))
    assert len(samples) == rows
    assert samples["station"].nunique() == 3
