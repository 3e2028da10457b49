"""The load test of the web as far as seconds allow: few users, small archive, no clock."""

from __future__ import annotations

import asyncio
import sys
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path

import numpy as np
import pytest

FOLDER = Path(__file__).parents[2] / "benchmarks"
DATES = ("20240101T060000Z", "20240104T060000Z")
USERS, SECONDS = 3, 3


@pytest.fixture(scope="module")
def benchmark():
    """Give a module of the benchmarks by its name, which a folder of tests may have too."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(FOLDER)

        def module_of(name):
            spec = spec_from_file_location(f"benchmark_{name}", FOLDER / f"{name}.py")
            module = module_from_spec(spec)
            patch.setitem(sys.modules, spec.name, module)
            spec.loader.exec_module(module)
            return module

        yield module_of


@pytest.fixture(scope="module")
def archive(benchmark, tmp_path_factory):
    """Give the address of an archive of two squares, two dates and a chunk of each."""
    folder = tmp_path_factory.mktemp("web") / "archive"
    make = benchmark("web_archive").make_archive
    return make(folder, squares=2, dates=len(DATES), across=1).url


@pytest.fixture(scope="module")
def dataset(archive):
    from gssm.web.datasets import open_dataset

    return open_dataset("archive", archive)


@pytest.fixture
def shown(benchmark):
    """Give a map of a region, and the module that asks for it."""
    module = benchmark("web_load")
    zooms = tuple(range(9, 16))
    return module, module.Map(0, "/api/v1/datasets/a", "V", (2.6, 50.2, 3.4, 51.0), DATES, zooms)


def test_users_are_served_and_told_what_was_drawn_for_them(benchmark, archive):
    """What one asked for is at hand for the next who does the same."""
    web, load = benchmark("web"), benchmark("web_load")
    with web.served(archive, "own") as (server, port):
        first = web.measured(server, port, USERS, SECONDS)
        again = asyncio.run(load.load(load.read_map(port), USERS, SECONDS))
    assert (first["errors"], again["errors"]) == (0, 0), first["error"] or again["error"]
    assert first["cold"]["tiles"] + first["warm"]["tiles"] == first["asked"]
    assert first["asked"] == USERS * load.TILES * 2
    assert 0 < first["cold"]["p50"] <= first["cold"]["p95"] <= first["cold"]["max"]
    assert again["cold"]["tiles"] == 0
    assert again["warm"]["tiles"] == again["asked"]
    assert 100 < first["memory_start"] <= first["memory_most"] < 950
    assert 100 < first["memory_end"] <= first["memory_most"]
    assert first["server_cpu"] > 0 < first["cpu"]
    figures = {what: figure for what, figure, _ in web.lines_of(first)}
    assert figures["errors"] == "0"
    assert figures["tiles"] == str(first["asked"])


def test_tiles_of_every_zoom_read_few_blocks_of_the_right_level(benchmark, dataset):
    web, bounds = benchmark("web"), benchmark("bounds")
    lines = list(web.overviews(dataset, number=4))
    zooms = range(dataset.minzoom, dataset.maxzoom + 4)
    assert len(lines) == 2 * len(zooms)
    assert [line for line in lines if not bounds.holds(*line[1:])] == []
    levels = [int(what.partition("level ")[2].partition(":")[0]) for what, *_ in lines[::2]]
    assert levels == sorted(levels, reverse=True)
    assert {1, 2, 4, 8, 16, 32, 64} == set(levels)
    # Whole pixels lie nowhere but from the zoom before that of the archive's own.
    assert min(z for z, level in zip(zooms, levels, strict=True) if level == 1) == 13


def test_whoever_reads_another_level_is_found_out(benchmark, dataset, monkeypatch):
    web = benchmark("web")
    read = web.windows.read_packed

    def whole(*arguments, level, **options):
        return read(*arguments, level=1, **options)

    monkeypatch.setattr(web.windows, "read_packed", whole)
    with pytest.raises(AssertionError, match=r"reads .* and not level 64 alone"):
        list(web.overviews(dataset, number=2))


def test_a_user_asks_for_six_new_tiles_a_step(shown):
    module, region = shown
    first, same, other = (module.User(region, seed) for seed in (1, 1, 2))
    steps = [first.step() for _ in range(30)]
    assert steps == [same.step() for _ in range(30)]
    assert steps != [other.step() for _ in range(30)]
    asked = [tile for step in steps for tile in step]
    assert len(asked) == len(set(asked)) == 180
    for variable, date, z, x, y in asked:
        columns, rows = region.extent(z)
        assert variable in module.VARIABLES
        assert date in DATES
        assert x in columns
        assert y in rows
    assert len({z for _, _, z, _, _ in asked}) > 2
    assert all(len({tile[:3] for tile in step}) == 1 for step in steps)


def test_columns_and_rows_are_those_of_the_grid(shown):
    from rio_tiler.constants import WEB_MERCATOR_TMS

    _, region = shown
    west, south, east, north = region.bbox
    for z in region.zooms:
        columns, rows = region.extent(z)
        first, last = WEB_MERCATOR_TMS.tile(west, north, z), WEB_MERCATOR_TMS.tile(east, south, z)
        assert (columns[0], rows[0], columns[-1], rows[-1]) == (first.x, first.y, last.x, last.y)


@pytest.mark.parametrize("name", ["reader", "gdal"])
@pytest.mark.parametrize("zoom", [10, 13, 15])
def test_other_ways_to_warp_come_to_the_same_picture(benchmark, dataset, name, zoom, monkeypatch):
    web = benchmark("web")
    drawn = []

    def both(*arguments):
        drawn.append([web.WARPS[way](*arguments) for way in ("own", name)])
        return drawn[-1][0]

    monkeypatch.setattr(web.tiles, "on_tile", both)
    web.reads(dataset, zoom, web.places(dataset, 1)[0])
    ((own, other),) = drawn
    assert own.any()
    assert np.mean(own == other) > 0.98


def test_a_connection_that_the_server_ended_is_opened_anew(benchmark):
    """Once, and only before anything of an answer came."""
    load = benchmark("web_load")
    answer = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok"

    async def asked(second):
        answers = [answer, second, answer]

        async def serve(reader, writer):
            await reader.readuntil(b"\r\n\r\n")
            writer.write(answers.pop(0))
            if answers and answers[0] is second:
                await reader.readuntil(b"\r\n\r\n")
                writer.write(answers.pop(0))
            writer.close()

        seen = load.Seen()
        async with await asyncio.start_server(serve, "127.0.0.1", 0) as server:
            connection = load.Connection(server.sockets[0].getsockname()[1])
            try:
                found = [(await connection.get("/", seen))[2] for _ in range(2)]
            finally:
                connection.close()
                await asyncio.sleep(0)
        return found, seen.reopened

    assert asyncio.run(asked(b"")) == ([b"ok", b"ok"], 1)
    with pytest.raises(asyncio.IncompleteReadError):
        asyncio.run(asked(answer[:20]))


def test_a_percentile_is_one_of_the_values(benchmark):
    percentile = benchmark("web_load").percentile
    assert percentile(range(1, 101), 0.95) == 95
    assert percentile([3, 1, 2], 0.5) == 2
    assert percentile([7], 0.95) == 7
    assert percentile([], 0.95) == 0


@pytest.mark.parametrize(("change", "expected"), [({}, 0), ({"errors": 2, "error": "503"}, 1)])
def test_the_command_ends_with_one_where_a_limit_is_broken(
    benchmark, archive, monkeypatch, capsys, change, expected
):
    web = benchmark("web")
    fast = {"tiles": 100, "p50": 5.0, "p95": 9.0, "max": 20.0}
    found = {"warm": fast, "cold": fast, "seconds": 3.0, "asked": 200, "errors": 0, "error": ""}
    found |= {"late_steps": 0, "reopened": 0, "lag": 1.0, "bytes": 9, "server_cpu": 1.0, "cpu": 0.1}
    found |= {"memory_start": 200.0, "memory_end": 300.0, "memory_most": 310.0, **change}
    monkeypatch.setattr(web, "under_load", lambda *_: found)
    monkeypatch.setattr(web, "overviews", lambda _: iter(()))
    monkeypatch.setattr(web, "keep_to", lambda _: None)
    assert web.main(["--archive", archive]) == expected
    assert ("BROKEN" in capsys.readouterr().out) == bool(expected)
