"""The benchmark of scoring as far as seconds allow: tiny members, a small block."""

import importlib.util
from pathlib import Path

import pytest

FILE = Path(__file__).parents[1] / "benchmarks" / "engine.py"


@pytest.fixture
def engine(monkeypatch):
    spec = importlib.util.spec_from_file_location("engine", FILE)
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(__import__("sys").modules, "engine", module)
    spec.loader.exec_module(module)
    for name, value in (("ROUNDS", 1), ("SIZE", 24), ("TRAINING_ROWS", 300)):
        monkeypatch.setattr(module, name, value)
    return module


@pytest.mark.slow
def test_every_line_has_a_figure_and_gssm_scores_what_the_libraries_do(engine):
    features, _ = engine.training_rows(None)
    assert features.shape == (300, len(engine.SPEC.features))
    block = features[:200]
    found = list(engine.timings(engine.PRESETS["tiny"], None, block))
    assert {name for name, _, _ in found} == set(engine.MEMBERS)
    for name, kind, timing in found:
        assert timing.difference < 3e-6, (name, kind)
        assert timing.ours > 0
        assert timing.stock > 0
    lines = list(engine.lines(paper="tiny"))
    assert len(lines) == 6 * 2 + 2 + 3 + 1 + 2
    assert all(float(figure.replace(",", "")) > 0 for _, figure, _ in lines)
