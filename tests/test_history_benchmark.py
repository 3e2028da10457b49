"""The benchmarks that asv keeps, each once and small, as asv would call them."""

import importlib
import inspect
from pathlib import Path

import pytest

BENCHMARKS = Path(__file__).parents[1] / "benchmarks"


@pytest.fixture
def speed(monkeypatch, tmp_path):
    monkeypatch.syspath_prepend(BENCHMARKS)
    monkeypatch.chdir(tmp_path)
    module = importlib.import_module("history.speed")
    monkeypatch.setattr(module.engine, "ROUNDS", 1)
    monkeypatch.setattr(module.engine, "SIZE", 24)
    monkeypatch.setattr(module.run, "WHOLE_TILE", (499_980, 5_570_000, 519_980, 5_590_000))
    monkeypatch.setattr(module.Score, "params", module.Score.params[-1:])
    monkeypatch.setattr(module.Line, "size", 48)
    return module


@pytest.fixture
def archives(monkeypatch, tmp_path):
    monkeypatch.syspath_prepend(BENCHMARKS)
    monkeypatch.chdir(tmp_path)
    module = importlib.import_module("history.archives")
    monkeypatch.setattr(module.Archive, "dates", 2)
    monkeypatch.setattr(module.Plan, "days", 6)
    return module


@pytest.mark.filterwarnings("ignore::gssm.errors.GssmWarning")  # a scene without a past
@pytest.mark.parametrize(
    ("module", "group"),
    [
        *(("speed", group) for group in ("Import", "Graph", "Score", "Line")),
        *(("archives", group) for group in ("Archive", "Plan")),
    ],
)
def test_every_benchmark_runs(request, module, group):
    suite = getattr(request.getfixturevalue(module), group)
    cache = (suite().setup_cache(),) if hasattr(suite, "setup_cache") else ()
    kinds = ("time_", "timeraw_", "track_", "peakmem_")
    names = [name for name, _ in inspect.getmembers(suite) if name.startswith(kinds)]
    assert names
    for name in names:
        for param in getattr(suite, "params", (None,)):
            arguments = (*cache, *(() if param is None else (param,)))
            bench = suite()
            getattr(bench, "setup", lambda *_: None)(*arguments)
            found = getattr(bench, name)(*arguments)
            getattr(bench, "teardown", lambda *_: None)(*arguments)
            if name.startswith("track_"):
                assert found > 0
            if name.startswith("timeraw_"):
                compile(found, name, "exec")


def test_the_suite_is_all_that_is_there(speed, archives):
    own = {
        name
        for module in (speed, archives)
        for name, one in inspect.getmembers(module, inspect.isclass)
        if one.__module__ == module.__name__
    }
    assert own == {"Import", "Graph", "Score", "Line", "Archive", "Plan"}
    there = {path.stem for path in (BENCHMARKS / "history").glob("[!_]*.py")}
    assert there == {"speed", "archives"}
