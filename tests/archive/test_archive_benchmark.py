"""The benchmark of reading as far as seconds allow: a few dates."""

import importlib.util
from pathlib import Path

import pytest

FILE = Path(__file__).parents[2] / "benchmarks" / "archive.py"


@pytest.fixture(scope="module")
def benchmark():
    spec = importlib.util.spec_from_file_location("archive_benchmark", FILE)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_both_read_the_same_pixel_and_every_line_has_a_figure(benchmark):
    lines = list(benchmark.point_series_against_cogs(dates=3, rounds=1))
    assert len(lines) == 5
    assert all(float(figure) > 0 for _, figure, _ in lines)


def test_a_billion_pixels_open_within_two_seconds(benchmark):
    (opened, seconds, _), _ = benchmark.opening(dates=20)
    assert "2 billion pixels" in opened
    assert float(seconds) < 2
