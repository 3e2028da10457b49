import numpy as np
import pandas as pd
import pytest
import xarray as xr

import gssm
from gssm import schema
from gssm.errors import SamplesError
from gssm.features import comparable
from gssm.models.table import feature_matrix, samples_to_dataset
from gssm.physics import WaterCloud
from gssm.schema import REFERENCES, FeatureSpec
from gssm.training.blanking import blank_outside
from gssm.training.fitting import station_keys
from gssm.training.past import BRIGHTEST_BLUE, with_past
from helpers import no_compute
from sample_tables import simulated_samples

SPEC = "l2-history"


def clear_samples(**options):
    """Simulated samples none of which looks like cloud."""
    samples = simulated_samples(**options)
    for sensor, brightest in BRIGHTEST_BLUE.items():
        samples[f"{sensor}_b2"] = samples[f"{sensor}_b2"].clip(upper=brightest)
    return samples


SAMPLES = clear_samples(each=15)
PAST = with_past(SAMPLES, SPEC)


def references_of(table):
    return table[list(schema.REFERENCES)]


def test_the_references_of_a_station_are_statistics_of_its_rows():
    dataset = samples_to_dataset(SAMPLES)
    keys = station_keys(SAMPLES).to_numpy()
    for base in schema.HISTORY_BASES:
        values = pd.Series(comparable(dataset, base).values.astype(np.float64)).groupby(keys)
        count = values.transform("count").to_numpy()
        expected = {
            f"p{p:02}": values.transform("quantile", p / 100).to_numpy() for p in (5, 50, 95)
        }
        expected["sd"] = values.transform("std", ddof=0).to_numpy()
        for suffix, numbers in expected.items():
            found = PAST[f"{base}_{suffix}"].to_numpy()
            np.testing.assert_array_equal(np.isfinite(found), count >= 8)
            np.testing.assert_allclose(
                found, np.where(count >= 8, numbers, np.nan), rtol=1e-6, atol=1e-6
            )


def test_columns_are_added_and_nothing_else_is_touched():
    samples = SAMPLES.set_index(np.zeros(len(SAMPLES), dtype=int))
    samples.attrs = {"source": {"name": "a.parquet"}, "level": "l2"}
    before = samples.copy(deep=True)
    past = with_past(samples, SPEC)
    pd.testing.assert_frame_equal(samples, before)
    pd.testing.assert_frame_equal(past[samples.columns], before)
    assert past.attrs == samples.attrs
    assert list(past.columns) == [*samples.columns, *schema.REFERENCES]
    assert (references_of(past).dtypes == np.float32).all()
    np.testing.assert_array_equal(references_of(past), references_of(PAST))


@pytest.mark.parametrize("spec", ["l2", "paper33", FeatureSpec("mine", ("vv_db", "s2_ndvi"))])
def test_a_spec_without_a_past_leaves_the_table_alone(spec):
    assert with_past(SAMPLES, spec) is SAMPLES
    bare = SAMPLES.drop(columns="station")  # which nothing is asked of
    assert with_past(bare, spec) is bare


def test_references_that_are_there_are_kept():
    assert with_past(PAST, SPEC) is PAST
    known = SAMPLES.assign(vv_db_p05=np.float32(-17))
    past = with_past(known, SPEC)
    assert (past["vv_db_p05"] == -17).all()
    rest = [name for name in schema.REFERENCES if name != "vv_db_p05"]
    pd.testing.assert_frame_equal(past[rest], PAST[rest])
    assert list(past.columns) == [*SAMPLES.columns, "vv_db_p05", *rest]


def test_only_what_a_spec_asks_for_and_its_positions_need():
    spec = FeatureSpec("mine", ("vv_db", "vh_db_position", "s2_b12_sd"))
    past = with_past(SAMPLES, spec)
    assert list(past.columns[len(SAMPLES.columns) :]) == ["vh_db_p05", "vh_db_p95", "s2_b12_sd"]
    pd.testing.assert_series_equal(past["s2_b12_sd"], PAST["s2_b12_sd"])
    positions = feature_matrix(past, spec)[:, 1]
    assert np.isfinite(positions).all()
    np.testing.assert_array_equal(positions, feature_matrix(PAST, spec)[:, 1])


# --- nothing but the satellites' values of the station itself


@pytest.mark.parametrize("change", ["permuted", "unknown", "absent"])
def test_labels_are_not_read(change):
    label = SAMPLES["soil_moisture"]
    changed = {
        "permuted": SAMPLES.assign(soil_moisture=label.sample(frac=1, random_state=3).to_numpy()),
        "unknown": SAMPLES.assign(soil_moisture=np.nan),
        "absent": SAMPLES.drop(columns="soil_moisture"),
    }[change]
    pd.testing.assert_frame_equal(references_of(with_past(changed, SPEC)), references_of(PAST))


def test_a_station_is_alone_and_its_rows_have_no_order():
    keys = station_keys(SAMPLES)
    for key in keys.unique()[:3]:
        own = SAMPLES[keys == key].sample(frac=1, random_state=1)
        alone = references_of(with_past(own, SPEC))
        pd.testing.assert_frame_equal(alone.sort_index(), references_of(PAST)[keys == key])
    mixed = SAMPLES.sample(frac=1, random_state=2)
    pd.testing.assert_frame_equal(
        references_of(with_past(mixed, SPEC)).sort_index(), references_of(PAST)
    )


def test_stations_of_one_name_in_two_networks_are_two():
    twins = pd.concat(
        [SAMPLES.assign(network="A"), clear_samples(each=15, seed=9).assign(network="B")]
    )
    past = with_past(twins, SPEC)
    first = references_of(past)[past["network"] == "A"]
    pd.testing.assert_frame_equal(first, references_of(PAST))
    assert not np.array_equal(first, references_of(past)[past["network"] == "B"])


def test_a_station_with_few_values_has_no_reference():
    short = SAMPLES.groupby("station").head(7)
    assert references_of(with_past(short, SPEC)).isna().all(axis=None)
    assert with_past(short, SPEC, min_count=7)["vv_db_p05"].notna().all()


def test_what_a_table_lacks_has_no_reference():
    bare = SAMPLES[["station", "network", "vv", "vh", "incidence_angle"]]
    past = with_past(bare, SPEC)
    pd.testing.assert_frame_equal(past[["vv_db_p05", "vh_db_sd"]], PAST[["vv_db_p05", "vh_db_sd"]])
    for base in schema.HISTORY_BASES[2:]:
        assert past[f"{base}_p50"].isna().all()
    no_angle = with_past(SAMPLES.drop(columns="incidence_angle"), SPEC)
    assert no_angle["vv_db_p50"].isna().all()
    pd.testing.assert_series_equal(no_angle["s2_ndvi_p50"], PAST["s2_ndvi_p50"])


def test_the_water_cloud_of_the_recipe():
    other = with_past(SAMPLES, SPEC, WaterCloud(a_vv=(0.3, 0.2)))
    assert not np.array_equal(other["vv_soil_p50"], PAST["vv_soil_p50"], equal_nan=True)
    pd.testing.assert_series_equal(other["vv_db_p50"], PAST["vv_db_p50"])


# --- clouds


def cloudy(**columns):
    """The first row of each station with other values."""
    samples = SAMPLES.copy()
    first = ~station_keys(samples).duplicated()
    for name, value in columns.items():
        if name not in samples:
            samples[name] = np.float32(np.nan)
        samples.loc[first, name] = np.float32(value)
    return samples, first


def changed_bases(past, other):
    return {
        base
        for base in schema.HISTORY_BASES
        if not np.array_equal(past[f"{base}_sd"], other[f"{base}_sd"], equal_nan=True)
    }


S2 = {"s2_ndvi", "s2_ndmi", "s2_b12", "vv_soil", "vh_soil"}
LANDSAT = {"landsat_ndvi", "landsat_ndmi", "landsat_b7", "landsat_b10"}


@pytest.mark.parametrize(
    ("columns", "left_out"),
    [
        ({"s2_b2": 0.4, "s2_b4": 0.4}, "s2"),
        ({"landsat_b2": 0.4, "landsat_b4": 0.4}, "landsat"),
        ({"landsat_b10": 250}, "landsat"),
        ({"s2_b2": 0.19, "s2_b4": np.nan}, "s2"),
    ],
)
def test_what_looks_like_cloud_does_not_enter(columns, left_out):
    samples, first = cloudy(**columns)
    past = with_past(samples, SPEC)
    blanked = samples.copy()
    blanked.loc[first, [n for n in samples if n.startswith(f"{left_out}_")]] = np.nan
    pd.testing.assert_frame_equal(references_of(past), references_of(with_past(blanked, SPEC)))
    assert changed_bases(past, PAST) <= (S2 if left_out == "s2" else LANDSAT)
    assert changed_bases(past, PAST)
    # The rows themselves keep what they have.
    pd.testing.assert_frame_equal(past[samples.columns], samples)


def test_bright_red_soil_does_enter():
    samples, _ = cloudy(s2_b2=0.2, s2_b4=0.33)
    dataset, keys = samples_to_dataset(samples), station_keys(samples).to_numpy()
    ndvi = pd.Series(comparable(dataset, "s2_ndvi").values).groupby(keys).transform("median")
    np.testing.assert_allclose(with_past(samples, SPEC)["s2_ndvi_p50"], ndvi, rtol=1e-6)


def test_where_a_row_has_a_mask_the_mask_tells():
    white = {"s2_b2": 0.4, "s2_b4": 0.4}
    seen_clear, _ = cloudy(**white, s2_mask=schema.MASK_CLEAR)
    assert changed_bases(with_past(seen_clear, SPEC), with_past(cloudy(**white)[0], SPEC)) == S2
    clouded, _ = cloudy(s2_mask=schema.MASK_CLOUD)
    assert changed_bases(with_past(clouded, SPEC), PAST) == {"s2_ndvi", "s2_ndmi", "s2_b12"}
    frozen, first = cloudy(landsat_mask=schema.MASK_SNOW)
    past = with_past(frozen, SPEC)
    assert changed_bases(past, PAST) == set(schema.HISTORY_BASES)
    without = with_past(frozen[~first], SPEC)
    pd.testing.assert_frame_equal(references_of(past)[~first], references_of(without))


# --- refused


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda t: t.drop(columns="station"), "no column 'station'"),
        (lambda t: t.drop(columns="vh"), "no column 'vh'"),
        (lambda t: t.head(0), "no rows"),
    ],
)
def test_a_table_without_a_past_is_refused(change, says):
    with pytest.raises(SamplesError, match=says):
        with_past(change(SAMPLES), SPEC)


# --- table and cube


def table_of(cube, **pixel):
    """The series of one pixel as a table of samples."""
    series = cube.isel(pixel).compute()
    columns = {name: np.broadcast_to(a.values, series.sizes["time"]) for name, a in series.items()}
    return pd.DataFrame({"station": "here", "time": series.time.values, **columns})


def assert_one_past(table, references, **pixel):
    found = with_past(table, SPEC, min_count=references.attrs["min_count"])
    for name in schema.REFERENCES:
        expected = float(references[name].isel(pixel))
        np.testing.assert_array_equal(found[name], np.full(len(found), expected, np.float32))
    return found


def test_a_stored_history_serves_a_model_that_learnt_from_tables(scene, tmp_path):
    model = gssm.train(SAMPLES, spec=SPEC, preset="tiny", members=["xgboost"], evaluate=False)
    items = gssm.search((3.0200, 50.8155, 3.0245, 50.8185), "2023-06", catalog=scene)
    gssm.to_zarr(gssm.history(items, min_count=2), tmp_path / "history.zarr")
    references = xr.open_zarr(tmp_path / "history.zarr", consolidated=False)
    cube = gssm.open_cube(items)
    with no_compute():
        lazy = gssm.predict(gssm.with_history(cube, references), model)
    product, alone = lazy.compute(), gssm.predict(cube, model).compute()
    assert product.soil_moisture.notnull().mean() > 0.5
    np.testing.assert_array_equal(product.soil_moisture.notnull(), alone.soil_moisture.notnull())
    assert not np.array_equal(product.soil_moisture, alone.soil_moisture, equal_nan=True)
    assert_one_past(table_of(cube, y=17, x=16), references, y=17, x=16)


def test_a_pixel_and_its_table_have_one_past_on_real_ground(flanders):
    box = (3.0212, 50.8160, 3.0216, 50.8163)
    items = gssm.search(box, "2018-06-01/2018-08-15", catalog=flanders)
    cube = gssm.open_cube(items)
    references = gssm.history(cube, min_count=5).compute()
    for pixel in ({"y": 0, "x": 0}, {"y": 2, "x": 1}):
        past = assert_one_past(table_of(cube, **pixel), references, **pixel)
        assert np.isfinite(past[["vv_db_p05", "vv_soil_p05", "s2_ndvi_p95"]]).all(axis=None)


def test_the_past_of_real_stations(test_data):
    samples = gssm.read_samples(test_data / "stations" / "stations_l2.parquet")
    past = with_past(samples, SPEC)
    spec = schema.SPECS[SPEC]
    features = pd.DataFrame(feature_matrix(past, spec), columns=list(spec.features))
    missing = features.isna().mean()
    # Four stations have fewer than eight rows; wherever vegetation hides the soil, its
    # backscatter is missing, and so is its position.
    assert missing[list(schema.REFERENCES)].max() < 0.01
    positions = features[list(schema.POSITIONS)]
    assert (
        missing[list(schema.POSITIONS)].drop(["vv_soil_position", "vh_soil_position"]).max() < 0.01
    )
    inside = positions.where(positions.isna(), (positions >= -0.2) & (positions <= 1.2))
    assert inside.mean().min() > 0.9
    assert inside[["vv_db_position", "vh_db_position"]].mean().min() > 0.95


def test_partners_outside_the_window_stay_out():
    samples = simulated_samples()
    near = blank_outside(samples, 3.0)
    expected = with_past(near, "l2-history")[list(REFERENCES)]
    found = with_past(samples, "l2-history", window_days=3.0)
    pd.testing.assert_frame_equal(found[list(REFERENCES)], expected)
    # The rows themselves keep their partners; only the references do without.
    pd.testing.assert_frame_equal(found[list(samples)], samples)
    assert not found[list(REFERENCES)].equals(with_past(samples, "l2-history")[list(REFERENCES)])
