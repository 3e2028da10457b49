"""The benchmarks of the archive as far as seconds allow: few dates, squares and small chunks."""

import sys
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path

import pytest

from gssm.archive.costs import WRITTEN_BYTES

FOLDER = Path(__file__).parents[2] / "benchmarks"


@pytest.fixture
def benchmark(monkeypatch):
    """Give a module of the benchmarks by its name, which a folder of tests may have too."""
    monkeypatch.syspath_prepend(FOLDER)

    def module_of(name):
        spec = spec_from_file_location(f"benchmark_{name}", FOLDER / f"{name}.py")
        module = module_from_spec(spec)
        monkeypatch.setitem(sys.modules, spec.name, module)
        spec.loader.exec_module(module)
        return module

    return module_of


def test_both_read_the_same_pixel_and_every_line_has_a_figure(benchmark):
    lines = list(benchmark("archive_reading").point_series_against_cogs(dates=3, rounds=1))
    assert len(lines) == 5
    assert all(float(figure) > 0 for _, figure, _ in lines)


def test_a_billion_pixels_open_within_two_seconds(benchmark):
    (opened, seconds, _), _ = benchmark("archive_reading").opening(dates=20)
    assert "2 billion pixels" in opened
    assert float(seconds) < 2


def test_a_window_is_one_request_for_pixels_a_variable(benchmark):
    figures = {what: float(figure) for what, figure, _ in benchmark("archive_reading").window()}
    assert figures["S3: chunks read for a window of one chunk, a variable"] == 1
    assert figures["S3: other requests of the window, a variable"] <= 1


def test_the_stages_of_a_job_are_all_of_it(benchmark):
    figures = dict(line[:2] for line in benchmark("archive_writing").writing(side=260, chunk=100))
    for where in ("folder", "S3"):
        share = float(figures[f"{where}: all of writing, % of the job"])
        assert 0 < share < 100
    stored = float(figures["bytes a pixel, all"])
    names = [name for name in figures if name.startswith("bytes a pixel, ")][:-1]
    assert stored == pytest.approx(sum(float(figures[name]) for name in names), abs=0.01)
    assert len(names) == 6
    # Of a chunk each variable, each overview and each coordinate is an object at most.
    assert 5 < float(figures["S3: PUT of chunks"]) < 60


def test_stages_are_not_counted_twice(benchmark):
    writing = benchmark("archive_writing")
    clock = writing.Clock()
    inner = clock.timed("inner", lambda: sum(range(200_000)))
    outer = clock.timed("outer", lambda: inner() + sum(range(200_000)))
    start = clock.last
    outer()
    clock.charge()
    assert set(clock.seconds) == {"inner", "outer", "the rest"}
    assert sum(clock.seconds.values()) == pytest.approx(clock.last - start)
    assert min(clock.seconds["inner"], clock.seconds["outer"]) > 0


@pytest.mark.parametrize(
    ("side", "chunk", "number", "first"),
    [(3000, 1000, 4, (8, 1)), (260, 100, 1, (71, 2)), (100, 1000, 0, None)],
)
def test_chunks_that_a_scene_covers_whole(benchmark, side, chunk, number, first):
    found = benchmark("archive_writing").whole_chunks(side, chunk)
    assert len(found) == number
    assert not found or found[0] == first


@pytest.mark.slow
def test_dates_and_squares_grow_by_little(benchmark):
    size = benchmark("archive_size")
    figures = dict(line[:2] for line in size.dates((2, 70), cells=2))
    # Tables of 64 dates: those of the first are not written again.
    assert float(figures["70 dates: tables of chunks written, MB"]) < 0.1
    assert int(figures["70 dates: objects written beside pixels"]) < 40
    figures = dict(line[:2] for line in size.squares((3, 5)))
    assert 1 < float(figures["5 squares: bytes of a snapshot, kB a square"]) < 10


def test_jobs_are_planned_run_and_recorded(benchmark):
    found = benchmark("archive_size").planned_and_run(20)
    assert found["jobs"] == 36
    assert 0 < found["tasks"] <= 12


def test_a_year_adds_up(benchmark):
    planet = benchmark("planet")
    year = planet.SCENARIOS[planet.USUAL]
    assert planet.pixel_bytes() == pytest.approx(WRITTEN_BYTES, rel=0.1)
    assert planet.overview_chunks() == 3 * (25 + 9 + 4 + 1 + 1 + 1)
    # A place is seen as often as a pass over its square shows it.
    assert year.views / year.passes == pytest.approx(250 / (250 + 90), abs=0.01)
    assert year.pixels == pytest.approx(planet.LAND * 1e4 * year.views)
    assert year.pixels < 1e6 * year.chunks < 1.1 * year.pixels
    assert year.squares_of_one < 1000
    assert year.commit_load < 0.5 < 1 < planet.one_repository().commit_load


@pytest.mark.parametrize(
    ("figure", "limit", "expected"),
    [
        ("14.9", "<= 15", True),
        ("15.1", "<= 15", False),
        ("1", "= 1", True),
        ("2", "= 1", False),
        ("1,200", ">= 1000", True),
        ("whatever", "", True),
        ("3", "breaks", True),
    ],
)
def test_a_broken_limit_is_seen(benchmark, figure, limit, expected):
    assert benchmark("bounds").holds(figure, limit) is expected


def test_the_command_ends_with_one_where_a_limit_is_broken(benchmark, monkeypatch, capsys):
    archive = benchmark("archive")
    parts = {"good": lambda: iter([("a", "1", "<= 2")]), "bad": lambda: iter([("b", "3", "<= 2")])}
    monkeypatch.setattr(archive, "PARTS", parts)
    assert archive.main(["good"]) == 0
    assert archive.main([]) == 1
    assert capsys.readouterr().out.splitlines()[-1].endswith("<= 2  BROKEN")


def test_all_benchmarks_begin_with_what_takes_seconds(benchmark, monkeypatch):
    archive, run = benchmark("archive"), benchmark("run")
    assert set(archive.QUICK) < set(archive.PARTS)
    parts = {part: lambda part=part: iter([(part, "1", "")]) for part in archive.PARTS}
    monkeypatch.setitem(sys.modules, "archive", archive)
    monkeypatch.setattr(archive, "PARTS", parts)
    assert [line[0] for line in run.BENCHMARKS["archive"]()] == list(archive.QUICK)
