from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from gssm.errors import GssmWarning, RequestError, SamplesError
from gssm.models.bundle import load_model
from gssm.schema import FeatureSpec
from gssm.training import train as train_module
from gssm.training.crossval import cross_validate
from gssm.training.fitting import shrunk_target
from gssm.training.presets import PAPER_WEIGHTS, PRESETS
from gssm.training.sources import record_content
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


def test_training_with_evaluation_is_reproducible_and_tells_its_skill(
    tmp_path: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gssm.training.baselines.TREES", 5)  # beside the scores, in the card
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


def test_networks_choose_rows() -> None:
    samples = simulated_samples(stations=12)
    samples.attrs["source"] = {"name": "made_up.parquet", "sha256": "0" * 64}
    record_content(samples)
    spec = FeatureSpec("mine", ("vv_db", "vh_db"))
    model = train(
        samples, preset="tiny", members=QUICK, networks=["NETA"], evaluate=False, spec=spec
    )
    training = model.provenance["training"]
    assert (training["rows"], training["stations"]) == (180, 6)
    assert training["networks"] == ["NETA"]
    assert training["table_sha256"] == "0" * 64
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
    "no vv": (lambda t: t.drop(columns="vv"), "no column 'vv', and every model reads 'vv' and"),
    "no vh": (lambda t: t.drop(columns="vh"), "no column 'vh', and every model reads 'vv' and"),
    "no radar": (lambda t: t.drop(columns=["vv", "vh"]), "no column 'vv' and 'vh'"),
    "empty vh": (lambda t: t.assign(vh=np.nan), "no value in the column 'vh'"),
    "texts": (lambda t: t.assign(s2_b4="dark"), "column 's2_b4' .* holds what is no nu"),
    "text labels": (lambda t: t.assign(soil_moisture="wet"), "column 'soil_moisture' .* holds"),
    "no times": (lambda t: t.assign(time="noon, once"), "column 'time' .* holds what is no time"),
    "twice": (lambda t: pd.concat([t, t[["vv"]]], axis=1), "more than one column 'vv'"),
    "nothing": (lambda t: None, "are a NoneType and no table"),
    "a path": (lambda t: "no/such.parquet", r"give gssm.read_samples\('no/such.parquet'\)"),
    "a Path": (lambda t: Path("no.parquet"), "are the path 'no.parquet' and no table"),
}


@pytest.mark.parametrize("case", BAD_TABLES)
def test_unusable_table_is_refused(case: str) -> None:
    change, says = BAD_TABLES[case]
    for verb in (train, cross_validate):
        with pytest.raises(SamplesError, match=says) as caught:
            verb(change(simulated_samples()), preset="tiny", members=QUICK)
        assert len(str(caught.value).splitlines()) == 1


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
    with pytest.raises(RequestError, match="networks is 5; give a name, or a list"):
        train(samples, networks=5)
    for verb in (train, cross_validate):
        with pytest.raises(RequestError, match="members names 'svm'"):
            verb(samples, members="svm")
        with pytest.raises(RequestError, match="seed is -1"):
            verb(samples, seed=-1)


def test_one_member_and_one_network_may_be_named_alone() -> None:
    samples = simulated_samples(stations=12)
    model = train(samples, preset="tiny", members="xgboost", networks="NETA", evaluate=False)
    assert list(model.members) == ["xgboost"]
    assert model.provenance["training"]["networks"] == ["NETA"]


def test_too_few_stations_to_score_can_still_teach() -> None:
    samples = simulated_samples(stations=3)
    with pytest.raises(SamplesError, match=r"2 independent stations .* or pass evaluate=False"):
        train(samples, preset="tiny", members="xgboost")
    assert train(samples, preset="tiny", members="xgboost", evaluate=False).intervals is None


def test_paper_preset_is_the_papers() -> None:
    paper = PRESETS["paper"]
    forest, boosting, tabnet = paper.random_forest, paper.xgboost, paper.tabnet
    assert (forest.trees, forest.max_depth, forest.min_samples_leaf) == (2500, 32, 7)
    assert (boosting.rounds, boosting.max_depth, boosting.learning_rate) == (2500, 19, 0.1)
    assert (tabnet.n_d, tabnet.n_a, tabnet.n_steps, tabnet.gamma) == (256, 256, 3, 1.143)
    assert paper.station_shrinkage == 0


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
    [
        ("s2_b4", 1e4, 0, "1"),
        ("landsat_b10", 1, -273.15, "K"),
        ("dsm", 100, 0, "m"),
        ("incidence_angle", np.pi / 180, 0, "degree"),
    ],
)
def test_a_table_in_other_units_is_refused(
    column: str, factor: float, offset: float, units: str
) -> None:
    samples = simulated_samples()
    samples[column] = samples[column] * factor + offset
    with pytest.raises(SamplesError, match=f"variable '{column}' has a median of .* {units}, and"):
        train(samples, preset="tiny", members=["xgboost"], evaluate=False)


def test_rows_that_a_map_leaves_blank_do_not_teach() -> None:
    samples = simulated_samples().reset_index(drop=True)
    spoilt = samples.copy()
    spoilt.loc[5, "vv"] = np.nan
    with pytest.warns(GssmWarning, match="no radar: 1"):
        model = train(spoilt, preset="tiny", members=["xgboost"], evaluate=False)
    rest = train(samples.drop(index=5), preset="tiny", members=["xgboost"], evaluate=False)
    assert model.provenance["training"]["rows"] == len(samples) - 1
    assert model.members["xgboost"].to_bytes() == rest.members["xgboost"].to_bytes()
