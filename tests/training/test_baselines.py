from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from gssm.errors import SamplesError
from gssm.training.baselines import BASELINE_SAYS, BASELINES, baselines
from gssm.training.evaluate import skill_table
from gssm.training.fitting import station_keys
from gssm.training.protocols import Split, split
from sample_tables import simulated_samples


@pytest.fixture(scope="module")
def samples() -> pd.DataFrame:
    return simulated_samples(stations=8, each=50)


def test_columns_and_index(samples: pd.DataFrame) -> None:
    table = samples.set_axis(samples.index[::-1] // 2)  # neither sorted nor unique
    made = baselines(table, split(table, "station", 2, 0))
    assert list(made.columns) == list(BASELINES) == list(BASELINE_SAYS)
    assert list(made.columns[:3]) == ["baseline_mean", "baseline_latlon", "baseline_vv"]
    assert list(made.index) == list(table.index)
    assert made.notna().all(axis=None)
    assert (made.dtypes == np.float32).all()


def test_the_mean_is_that_of_the_training_rows(samples: pd.DataFrame) -> None:
    splits = split(samples, "station", 3, 0)
    made = baselines(samples, splits)["baseline_mean"].to_numpy()
    truth = samples["soil_moisture"].to_numpy(np.float64)
    for part in splits:
        np.testing.assert_allclose(made[part.test], truth[part.train].mean(), rtol=1e-6)


def test_held_out_labels_change_nothing(samples: pd.DataFrame) -> None:
    part = split(samples, "holdout", 1, 0)
    changed = samples.copy()
    changed.iloc[part[0].test, changed.columns.get_loc("soil_moisture")] = np.float32(0.9)
    once, again = baselines(samples, part), baselines(changed, part)
    pd.testing.assert_frame_equal(once, again)
    assert once.iloc[part[0].train].isna().all(axis=None)  # never held out


def test_they_learn_what_there_is_to_learn() -> None:
    """Stations of different moisture, whose VV rises with it."""
    samples = simulated_samples(stations=10, each=60)
    moisture = 0.5 * samples["soil_moisture"] + 0.1 * (pd.factorize(samples["station"])[0] % 2)
    samples["soil_moisture"] = moisture.astype(np.float32)
    samples["vv"] = (10 ** ((25 * moisture - 18) / 10)).astype(np.float32)

    def r2(protocol: str) -> pd.Series:
        made = baselines(samples, split(samples, protocol, 3, 0))
        made["station"], made["observed"] = station_keys(samples), samples["soil_moisture"]
        return skill_table(made, list(BASELINES))["r2"]

    rows, stations = r2("random"), r2("station")
    assert abs(rows["baseline_mean"]) < 0.02
    # Where stations are on both sides, their place gives the station away.
    assert rows["baseline_latlon"] > 0.4
    assert stations["baseline_latlon"] < 0.1
    assert min(rows["baseline_vv"], stations["baseline_vv"]) > 0.9
    assert min(rows["baseline_vv_season"], stations["baseline_vv_season"]) > 0.9


def test_the_seed_decides(samples: pd.DataFrame) -> None:
    splits = split(samples, "holdout", 1, 0)
    once = baselines(samples, splits, seed=3)
    pd.testing.assert_frame_equal(once, baselines(samples, splits, seed=3))
    other = baselines(samples, splits, seed=4)
    assert not once["baseline_vv"].equals(other["baseline_vv"])
    assert once["baseline_mean"].equals(other["baseline_mean"])


def test_what_the_table_lacks(samples: pd.DataFrame) -> None:
    splits = split(samples, "holdout", 1, 0)
    made = baselines(samples.drop(columns=["latitude", "time"]), splits)
    assert list(made.columns) == ["baseline_mean", "baseline_vv"]
    gaps = samples.copy()
    gaps.loc[gaps.index[::3], ["vv", "latitude"]] = np.nan
    made = baselines(gaps, splits)
    assert made.iloc[splits[0].test].notna().all(axis=None)


def test_a_split_without_rows_to_predict(samples: pd.DataFrame) -> None:
    everything = np.arange(len(samples))
    made = baselines(samples, [Split(everything, everything[:0])])
    assert made.isna().all(axis=None)
    assert baselines(samples, []).isna().all(axis=None)


def test_bad_splits_are_refused(samples: pd.DataFrame) -> None:
    rows = np.arange(len(samples))
    with pytest.raises(SamplesError, match="split 0 has no row to learn from"):
        baselines(samples, [Split(rows[:0], rows)])
    with pytest.raises(SamplesError, match="split 1 has 2 rows both to learn from and to predict"):
        baselines(samples, [Split(rows[5:], rows[:5]), Split(rows[3:], rows[:5])])
    with pytest.raises(SamplesError, match="of a table of 400 rows; split the same table"):
        baselines(samples, [Split(rows, rows + 1)])
    with pytest.raises(SamplesError, match="NaN or infinite"):
        baselines(samples.assign(soil_moisture=np.nan), [Split(rows[5:], rows[:5])])
