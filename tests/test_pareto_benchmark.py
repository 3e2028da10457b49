"""The curve of skill against speed, on simulated samples and tiny members."""

import importlib
from pathlib import Path

import dask
import pytest
from training.sample_tables import simulated_samples

from gssm.training.presets import PRESETS

BENCHMARKS = Path(__file__).parents[1] / "benchmarks"


@pytest.mark.slow
def test_every_size_has_a_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(BENCHMARKS)
    pareto = importlib.import_module("pareto")
    monkeypatch.setattr(pareto, "SPEC", "l2")
    monkeypatch.setattr(pareto, "TEACHER", {"trees": 5})
    monkeypatch.setitem(pareto.PRESETS, "default", PRESETS["tiny"])
    sizes = {name: changes[:1] for name, changes in pareto.SIZES.items()}
    sizes["xgboost"] = ({"rounds": 3, "max_depth": 2}, {})
    monkeypatch.setattr(pareto, "SIZES", sizes)
    with dask.config.set(scheduler="synchronous"):
        head, *lines = pareto.pareto(simulated_samples(stations=10), list(sizes), seed=1)
    assert len(lines) == sum(map(len, sizes.values()))
    assert {line.split()[0] for line in lines} == set(sizes)
    assert any("rounds=3, max_depth=2" in line for line in lines)
    assert head.split()[2:] == ["R2", "RMSE", "st.", "r", "ubRMSE", "px/s"]
    assert len({line.split()[-5] for line in lines}) == len(lines), "R2 of different sizes"
    rates = [float(line.split()[-1].replace(",", "")) for line in lines]
    assert min(rates) > 0
