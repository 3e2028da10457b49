"""The skill benchmark as far as seconds allow: its tables, on simulated samples."""

import importlib.util
from pathlib import Path

import dask
import numpy as np
import pytest
from training.sample_tables import simulated_samples

import gssm
from gssm.training.presets import PRESETS

FILE = Path(__file__).parents[1] / "benchmarks" / "skill.py"


@pytest.fixture(scope="module")
def skill():
    spec = importlib.util.spec_from_file_location("skill", FILE)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def samples():
    table = simulated_samples(stations=10)
    return table.assign(pred_reference=np.float32(0.2))


@pytest.fixture(scope="module")
def results(skill, samples):
    options = {"preset": "tiny", "members": ("random_forest", "xgboost"), "seed": skill.SEED}
    return {
        protocol: gssm.cross_validate(samples, protocol=protocol, folds=3, **options)
        for protocol in ("station", "random")
    }


def test_every_mark_says_met_or_by_how_much_not(skill, samples, results):
    lines = list(skill.marks(results))
    assert len(lines) == sum(mark[0] in results for mark in skill.MARKS) + 1
    assert all(("met" in line) or ("missed" in line) for line in lines)
    perfect = {"station": results["station"].assign(soil_moisture=samples["soil_moisture"])}
    assert all("missed" not in line for line in skill.marks(perfect) if "coverage" not in line)


def test_the_report_compares_on_the_same_rows(skill, samples, results, capsys):
    skill.report(samples, {"station": results["station"]})
    shown = capsys.readouterr().out
    for word in ("pred_reference", "baseline_latlon", "r2_low", "by network", "marks"):
        assert word in shown


def test_published_sizes_are_fitted_on_one_split(skill, samples, monkeypatch):
    monkeypatch.setitem(skill.PRESETS, "paper", PRESETS["tiny"])
    with dask.config.set(scheduler="synchronous"):
        table = skill.paper(samples)
    assert {"random_forest", "xgboost", "tabnet", "soil_moisture"} <= set(table)
    assert 0 < len(table) < len(samples)
    assert table.notna().all(axis=None)
