from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from gssm.errors import RequestError, SamplesError
from gssm.models.bundle import load_model
from gssm.schema import FeatureSpec
from gssm.training import train as train_module
from gssm.training.fitting import ensemble_weights, shrunk_target, simplex_weights
from gssm.training.presets import PAPER_WEIGHTS, PRESETS
from gssm.training.train import train
from sample_tables import simulated_samples

QUICK = ("random_forest", "xgboost")


def test_two_trainings_give_the_same_bundle_bit_for_bit() -> None:
    samples = simulated_samples()
    once, again = (train(samples, preset="tiny", evaluate=False, seed=3) for _ in range(2))
    assert once.to_files() == again.to_files()
    assert train(samples, preset="tiny", evaluate=False, seed=4).sha256 != once.sha256
    assert once.weights == pytest.approx(PAPER_WEIGHTS)
    assert "skill" not in once.provenance


def test_training_with_evaluation_is_reproducible_and_tells_its_skill(tmp_path: object) -> None:
    samples = simulated_samples()
    lines: list[str] = []
    model = train(samples, preset="tiny", members=QUICK, progress=lines.append)
    again = train(samples, preset="tiny", members=QUICK)
    assert model.sha256 == again.sha256
    skill = model.provenance["skill"][0]
    assert (skill["protocol"], skill["folds"]) == ("station", 5)
    assert set(skill["scores"]) == {*QUICK, "soil_moisture"}
    assert any("fold 5 of 5" in line for line in lines)
    model.save(f"{tmp_path}/m")
    assert load_model(f"{tmp_path}/m").provenance == model.provenance


def test_networks_choose_rows_and_are_in_the_command() -> None:
    samples = simulated_samples(stations=12)
    samples.attrs["source"] = {"name": "made_up.parquet", "sha256": "0" * 64}
    spec = FeatureSpec("mine", ("vv_db", "vh_db"))
    model = train(
        samples, preset="tiny", members=QUICK, networks=["NETA"], evaluate=False, spec=spec
    )
    training = model.provenance["training"]
    assert (training["rows"], training["stations"]) == (180, 6)
    assert training["networks"] == ["NETA"]
    assert training["table_sha256"] == "0" * 64
    assert training["command"] == (
        "gssm train made_up.parquet --networks NETA --spec mine --preset tiny --out <folder>"
    )
    assert model.spec == spec
    assert "check them before sharing" in model.provenance["licence"]["labels"]["NETA"]


BAD_TABLES = {
    "few rows": (lambda t: t.iloc[:10], "at least 50"),
    "few stations": (lambda t: t[t["station"].isin(["st1", "st2", "st3"])], "3 independent"),
    "NaN label": (lambda t: t.assign(soil_moisture=t["soil_moisture"].where(t.index > 4)), "NaN"),
    "constant label": (lambda t: t.assign(soil_moisture=0.2), "in every row"),
    "percent": (lambda t: t.assign(soil_moisture=t["soil_moisture"] * 100), "percent divided"),
    "no labels": (lambda t: t.drop(columns="soil_moisture"), "no column 'soil_moisture'"),
    "no stations": (lambda t: t.drop(columns="station"), "no column 'station'"),
    "no radar": (lambda t: t.drop(columns="vv"), "no column 'vv'"),
}


@pytest.mark.parametrize("case", BAD_TABLES)
def test_unusable_table_is_refused(case: str) -> None:
    change, says = BAD_TABLES[case]
    with pytest.raises(SamplesError, match=says):
        train(change(simulated_samples()), preset="tiny", members=QUICK)


def test_unusable_options_are_refused() -> None:
    samples = simulated_samples()
    with pytest.raises(SamplesError, match=r"network 'NETC'; they have NETA, NETB"):
        train(samples, networks=["NETC"])
    with pytest.raises(SamplesError, match="no column 'network'"):
        train(samples.drop(columns="network"), networks=["NETA"])
    with pytest.raises(RequestError, match="no preset 'huge'; use one of 'default'"):
        train(samples, preset="huge")
    with pytest.raises(RequestError, match="members names 'svm'"):
        train(samples, members=["svm"])
    with pytest.raises(RequestError, match="seed is -1"):
        train(samples, seed=-1)


def test_paper_preset_is_the_papers() -> None:
    paper = PRESETS["paper"]
    forest, boosting, tabnet = paper.random_forest, paper.xgboost, paper.tabnet
    assert (forest.trees, forest.max_depth, forest.min_samples_leaf) == (2500, 32, 7)
    assert (boosting.rounds, boosting.max_depth, boosting.learning_rate) == (2500, 19, 0.1)
    assert (tabnet.n_d, tabnet.n_a, tabnet.n_steps, tabnet.gamma) == (256, 256, 3, 1.143)
    assert paper.station_shrinkage == 0


def test_weights_lie_on_the_simplex_and_find_the_best_mean() -> None:
    rng = np.random.default_rng(0)
    truth = rng.normal(size=500)
    good, bad = truth + rng.normal(0, 0.1, 500), truth + rng.normal(0, 0.2, 500)
    weights = simplex_weights({"a": good, "b": bad}, truth)
    assert sum(weights.values()) == pytest.approx(1, abs=2e-6)
    assert weights["a"] == pytest.approx(0.8, abs=0.04)  # inverse variances: 0.04 to 0.01
    # A member that only an extrapolating, negative weight could use gets none.
    useless = simplex_weights({"a": good, "b": 3 * good + 1}, truth)
    assert useless == {"a": 1.0, "b": 0.0}
    rounded = ensemble_weights({"a": good, "b": bad}, truth)
    assert rounded == {name: round(weight, 6) for name, weight in weights.items()}


def test_shrunk_target_moves_stations_together_and_keeps_changes() -> None:
    samples = simulated_samples()
    target = samples["soil_moisture"]
    names = samples["station"]
    np.testing.assert_array_equal(shrunk_target(samples, 0.0), target)
    half = pd.Series(shrunk_target(samples, 0.5))
    spread, halved = target.groupby(names).mean().std(), half.groupby(names).mean().std()
    assert halved == pytest.approx(spread / 2, rel=1e-3)
    assert half.mean() == pytest.approx(target.mean(), abs=1e-6)
    changes = [s - s.groupby(names).transform("mean") for s in (target, half)]
    np.testing.assert_allclose(*changes, atol=1e-6)


def test_train_has_at_most_eight_options() -> None:
    assert train_module.train.__kwdefaults__ is not None
    assert len(train_module.train.__kwdefaults__) <= 8


@pytest.mark.parametrize(
    ("column", "factor", "offset", "units"),
    [("s2_b4", 1e4, 0, "1"), ("landsat_b10", 1, -273.15, "K"), ("dsm", 100, 0, "m")],
)
def test_a_table_in_other_units_is_refused(
    column: str, factor: float, offset: float, units: str
) -> None:
    samples = simulated_samples()
    samples[column] = samples[column] * factor + offset
    with pytest.raises(SamplesError, match=f"variable '{column}' has a median of .* {units}, and"):
        train(samples, preset="tiny", members=["xgboost"], evaluate=False)
