from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from gssm.models.bundle import load_model
from gssm.training import blanking
from gssm.training.samples import read_samples
from sample_tables import simulated_samples


def test_partners_outside_the_window_are_blanked_with_their_age() -> None:
    samples = simulated_samples()
    blanked = blanking.blank_outside(samples, window_days=3.0)
    for sensor in blanking.SENSORS:
        old = samples[f"{sensor}_age"].abs() > 3
        columns = blanking.sensor_columns(samples, sensor)
        assert blanked.loc[old, columns].isna().all(axis=None)
        pd.testing.assert_frame_equal(blanked.loc[~old, columns], samples.loc[~old, columns])
    assert samples.notna().all(axis=None), "the input is never mutated"


def test_blanking_is_seeded_and_leaves_radar_and_labels_alone() -> None:
    samples = simulated_samples()
    once, again = blanking.blank(samples, seed=1), blanking.blank(samples, seed=1)
    pd.testing.assert_frame_equal(once, again)
    assert not once.equals(blanking.blank(samples, seed=2))
    kept = ["station", "time", "vv", "vh", "incidence_angle", "soil_moisture"]
    pd.testing.assert_frame_equal(once[kept], samples[kept])


def test_every_kind_of_gap_happens() -> None:
    samples = simulated_samples(each=60).assign(s2_age=0.0, landsat_age=0.0)
    missing = blanking.blank(samples, seed=0).isna()
    whole = {s: missing[blanking.sensor_columns(samples, s)].all(axis=1) for s in blanking.SENSORS}
    for sensor, share in blanking.WHOLE_SENSOR.items():
        assert whole[sensor].mean() == pytest.approx(share, abs=0.06)
    seen = missing[~whole["s2"]]
    assert (seen["s2_b1"] & seen["s2_b9"]).mean() == pytest.approx(0.3, abs=0.06)
    assert seen["s2_b4"].mean() == pytest.approx(0.05, abs=0.03)
    assert (missing["dsm"] == missing["slope"]).all()


def test_augmented_rows_start_with_the_intact_ones() -> None:
    samples = simulated_samples()
    rows = blanking.augment(samples, copies=2, seed=0)
    assert len(rows) == 3 * len(samples)
    pd.testing.assert_frame_equal(rows.iloc[: len(samples)], samples)
    np.testing.assert_array_equal(rows["soil_moisture"], np.tile(samples["soil_moisture"], 3))


GAPS = {
    "no Landsat": lambda table: [c for c in table.columns if c.startswith("landsat_")],
    "no B1 and B9": lambda table: ["s2_b1", "s2_b9"],
}


@pytest.mark.parametrize("window", [3.0, 15.0])
@pytest.mark.parametrize("gap", GAPS)
def test_gaps_shift_the_default_model_by_at_most_a_hundredth(
    test_data: object, gap: str, window: float
) -> None:
    samples = read_samples(f"{test_data}/stations/stations_l2.parquet")
    samples = blanking.blank_outside(samples.iloc[::3], window)
    model = load_model("default")
    before = model.predict(samples)["soil_moisture"]
    after = model.predict(samples.assign(**dict.fromkeys(GAPS[gap](samples), np.float32("nan"))))
    assert abs(float((after["soil_moisture"] - before).mean())) <= 0.01
