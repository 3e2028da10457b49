"""``gssm archive`` and ``gssm update`` as a user types them; exit codes and sentences."""

import contextlib
import json
import os
import re
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest
from typer.testing import CliRunner

from gssm.archive import plan as planning
from gssm.archive import run as running
from gssm.archive.acquisitions import read_rows, record_open
from gssm.archive.recipe import read_recipe
from gssm.archive.repository import archive_exists, find_archive
from gssm.archive.tiles import parse
from gssm.cli import app
from gssm.errors import CatalogUnreachableError
from planned import BOX, catalogue, cluster_here, pretend, refuse, row_of, write

SQUARE = parse("31UES")
WIDE_TERMINAL = {"COLUMNS": "200", "TERM": "dumb", "NO_COLOR": "1"}
WHOLE = " ".join(map(str, BOX))
AOI = "3.0200 50.8155 3.0225 50.8175"


def run(*words):
    return CliRunner().invoke(app, [str(word) for word in words], env=WIDE_TERMINAL)


@pytest.fixture(scope="module")
def client():
    with cluster_here() as here:
        yield here


@pytest.fixture
def here(client, monkeypatch):
    """Run on threads of this process, which are there at once."""
    monkeypatch.setattr("gssm.archive.clusters.cluster", lambda *_: contextlib.nullcontext(client))


@pytest.fixture
def stub(here, monkeypatch):
    """Write pixels of one value, and compute nothing."""
    monkeypatch.setattr("gssm.archive.run.run", with_work(running.run, write))


def with_work(function, work):
    return lambda *args, **options: function(*args, **options, work=work)


@pytest.fixture
def folder(tmp_path):
    """Four acquisitions."""
    return catalogue(tmp_path / "catalogue", days=12)


def built(tmp_path, folder, *more, datetime="2023-06", aoi=WHOLE, chunk=500):
    place = ("--archive", tmp_path / "archive", "--chunk", chunk)
    return run(
        "archive", "build", *place, "--aoi", aoi, "--datetime", datetime, "--catalog", folder, *more
    )


def test_a_scene_is_built_shown_and_left_as_it_is(here, tmp_path, scene):
    first = built(tmp_path, scene, aoi=AOI, chunk=100)
    assert first.exit_code == 0, first.output
    assert "2 acquisitions mapped, 0 skipped, 0 failed, 0 there before" in first.stdout
    again = run(
        "archive", "build", "--archive", tmp_path / "archive", "--aoi", AOI, "--datetime", "2023-06"
    )
    assert again.exit_code == 0, again.output
    assert "0 acquisitions mapped, 0 skipped, 0 failed, 2 there before" in again.stdout
    shown = run("archive", "status", "--archive", tmp_path / "archive")
    assert shown.exit_code == 0
    assert "31UES" in shown.stdout
    assert "1 squares: 2 done, 0 skipped, 0 failed; 0 provisional" in shown.stdout
    recipe = read_recipe(find_archive(str(tmp_path / "archive")))
    assert recipe.catalog == str(scene)


def test_an_update_goes_on_as_the_archive_was_built(stub, tmp_path, folder, monkeypatch):
    assert built(tmp_path, folder, datetime="2023-06-01/2023-06-05").exit_code == 0
    place = ("--archive", tmp_path / "archive")
    updated = run("update", *place)
    assert updated.exit_code == 0, updated.output
    assert "2 acquisitions mapped" in updated.stdout
    with monkeypatch.context() as patch:
        patch.setattr("gssm.archive.clusters.cluster", None)  # nothing to do needs none
        assert "0 acquisitions mapped" in run("update", *place).stdout
    assert run("update", *place, "--dry-run").exit_code == 0


def test_a_backfill_goes_as_far_as_its_budget(stub, tmp_path, folder):
    urgent = tmp_path / "urgent.geojson"
    urgent.write_text(json.dumps(polygon(*BOX)))
    words = (
        *("archive", "backfill", "--archive", tmp_path / "archive", "--catalog", folder),
        *("--since", "2023-05-15", "--until", "2023-07-10", "--chunk", 500),
        *("--priority", urgent, "--priority", "3.01 50.8 3.3 50.83", "--budget-jobs", 3),
    )
    first = run(*words)
    assert first.exit_code == 0, first.output
    assert "3 acquisitions mapped" in first.stdout
    assert "the budget is spent: run it again to go on" in first.stdout
    second = run(*words)
    assert "1 acquisitions mapped, 0 skipped, 0 failed, 3 there before" in second.stdout
    assert "budget" not in second.stdout
    assert run(*words, "--order", "random").exit_code == 2


def polygon(west, south, east, north):
    ring = [[west, south], [east, south], [east, north], [west, north], [west, south]]
    return {
        "type": "Feature",
        "properties": {},
        "geometry": {"type": "Polygon", "coordinates": [ring]},
    }


def test_a_dry_run_says_what_it_would_be_and_does_nothing(tmp_path, folder, monkeypatch):
    result = built(tmp_path, folder, "--dry-run", "--rate", 0.04)
    assert result.exit_code == 0, result.output
    for words in ("acquisitions to map │ 4", "core-hours", "at 0.04 a core-hour", "docs/speed.md"):
        assert words in result.stdout
    assert not archive_exists(str(tmp_path / "archive"))


def test_what_failed_decides_the_exit_code(here, tmp_path, folder, monkeypatch):
    monkeypatch.setattr("gssm.archive.run.run", with_work(running.run, refuse))
    failed = built(tmp_path, folder)
    assert failed.exit_code == 5
    assert "4 acquisitions failed; see `gssm archive status --status failed`" in failed.stderr
    place = ("--archive", tmp_path / "archive")
    shown = run("archive", "status", *place, "--status", "failed", "--csv", tmp_path / "rows.csv")
    assert "0 done, 0 skipped, 4 failed" in shown.stdout
    table = pd.read_csv(tmp_path / "rows.csv")
    assert table["reason"].str.contains("cannot be read.", regex=False).all()
    assert list(table["status"]) == ["failed"] * 4
    assert run("archive", "status", *place, "--csv", tmp_path / "rows.csv").exit_code == 2


def test_a_catalogue_that_fails_is_reported_at_the_end(here, tmp_path, folder, monkeypatch):
    found_by = planning.search

    def broken(box, dates, **options):
        if dates[1] > pd.Timestamp("2023-06-15"):
            raise CatalogUnreachableError("the STAC API did not answer.")
        return found_by(box, dates, **options)

    monkeypatch.setattr(planning, "search", broken)
    monkeypatch.setattr("gssm.archive.run.run", with_work(running.run, pretend))
    result = built(tmp_path, folder, datetime="2023-05/2023-06")
    assert result.exit_code == 4
    assert "31UES 2023-06: the STAC API did not answer." in result.stdout
    assert "run the same command again" in result.stderr
    assert not archive_exists(str(tmp_path / "archive"))  # nothing is known of the place yet


def test_the_status_of_one_square(tmp_path, folder):
    built(tmp_path, folder, "--dry-run")
    from gssm.archive.repository import create_archive

    archive = create_archive(str(tmp_path / "archive"), chunk=100)
    assert run("archive", "status", "--archive", archive.url).exit_code == 3
    record_open(archive, SQUARE, [replace(row_of(0), status="skipped", reason="cloudy")])
    shown = run("archive", "status", "--archive", archive.url, "--square", "31ues")
    assert "cloudy" in shown.stdout
    assert "0 done, 1 skipped, 0 failed" in shown.stdout
    assert run("archive", "status", "--archive", archive.url, "--status", "lost").exit_code == 2


SWAPPED = "50.80 3.02 50.83 3.05"


@pytest.mark.parametrize("more", [(), ("--dry-run",)])
@pytest.mark.parametrize(
    ("aoi", "datetime", "place"),
    [
        (SWAPPED, "2023-06", r"area \(50.8, 3.02, 50.83, 3.05\) in 2023-06-01/2023-06-30"),
        (WHOLE, "2024-05/2024-06", r"area \(3.02, 50.8, 3.05, 50.83\) in 2024-05-01/2024-06-30"),
    ],
)
def test_a_place_or_year_without_radar_is_refused_and_leaves_no_recipe(
    stub, tmp_path, folder, aoi, datetime, place, more
):
    refused = built(tmp_path, folder, *more, aoi=aoi, datetime=datetime)
    assert refused.exit_code == 3, refused.output
    assert re.search(f"error: no Sentinel-1 acquisition in {folder} over {place}", refused.stderr)
    assert "longitudes come before latitudes" in refused.stderr
    assert not archive_exists(str(tmp_path / "archive"))
    assert built(tmp_path, folder).exit_code == 0
    before = read_recipe(find_archive(str(tmp_path / "archive")))
    again = built(tmp_path, folder, *more, aoi=aoi, datetime=datetime)
    assert again.exit_code == 3, again.output
    assert read_recipe(find_archive(str(tmp_path / "archive"))) == before


def test_a_build_goes_on_over_months_without_radar(stub, tmp_path, folder):
    result = built(tmp_path, folder, datetime="2023-03/2023-08")
    assert result.exit_code == 0, result.output
    assert "4 acquisitions mapped" in result.stdout
    again = built(tmp_path, folder, datetime="2023-03/2023-08")
    assert again.exit_code == 0
    assert "4 there before" in again.stdout


def test_a_backfill_without_any_radar_is_refused(stub, tmp_path, folder):
    words = ("archive", "backfill", "--archive", tmp_path / "archive", "--catalog", folder)
    dates = ("--since", "2020-01-01", "--until", "2020-03-01", "--chunk", 500)
    result = run(*words, *dates, "--priority", WHOLE)
    assert result.exit_code == 3, result.output
    assert "2020-01-01/2020-03-01" in result.stderr
    assert not archive_exists(str(tmp_path / "archive"))


def test_the_status_says_of_which_place_and_catalogue(stub, tmp_path, folder):
    assert built(tmp_path, folder).exit_code == 0
    words = ("archive", "status", "--archive", str(tmp_path / "archive"))
    shown = run(*words).stdout
    assert f"catalogue {folder}; area (3.02, 50.8, 3.05, 50.83)" in shown
    narrow = CliRunner().invoke(app, [*words], env=WIDE_TERMINAL | {"COLUMNS": "80"}).stdout
    assert "…" not in narrow
    assert "2023-06-01" in narrow
    assert "2023-06-10" in narrow
    every = run(*words, "--square", "31UES").stdout
    assert re.search(r"│ \d+ (asc|desc) +│", every)


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        (("--aoi", "3 50 4"), 2, "neither a file nor four numbers"),
        (("--aoi", "3 52 4 51"), 2, "south below north"),
        (("--squares", "31ZZZ"), 2, "31ZZZ"),
        ((), 2, "say what to map with --aoi or --squares"),
        (("--squares", "31UES", "--window", "soon"), 2, "soon"),
        (("--squares", "31UES", "--model", "nowhere"), 2, "no model 'nowhere'"),
        (("--squares", "31UES", "--datetime", "someday"), 2, "someday"),
    ],
)
def test_bad_requests_are_one_sentence_and_leave_nothing(tmp_path, folder, words, code, message):
    result = run(
        *("archive", "build", "--archive", tmp_path / "archive", "--datetime", "2023-06"),
        *("--catalog", folder, *words),
    )
    assert result.exit_code == code, result.output
    assert message in result.stderr
    assert result.stderr.startswith("error:")
    assert not archive_exists(str(tmp_path / "archive"))


def test_no_archive_is_said_so(tmp_path):
    for words in (("update",), ("archive", "status")):
        result = run(*words, "--archive", tmp_path / "none")
        assert result.exit_code in (2, 5)
        assert "there is none" in result.stderr


def starts_workers(pid):
    """Tell whether a process has begun to start workers, which takes them a while."""
    with contextlib.suppress(OSError):  # a thread of it has ended meanwhile
        tasks = Path(f"/proc/{pid}/task").iterdir()
        children = [pid for task in tasks for pid in (task / "children").read_text().split()]
        return any("spawn_main" in Path(f"/proc/{pid}/cmdline").read_text() for pid in children)
    return False


def test_ctrl_c_ends_a_build_and_the_next_goes_on(tmp_path, scene):
    words = (
        *("archive", "build", "--archive", str(tmp_path / "archive"), "--chunk", "100"),
        *("--aoi", AOI, "--datetime", "2023-06", "--catalog", str(scene), "--workers", "1"),
    )
    process = subprocess.Popen(
        [sys.executable, "-m", "gssm.cli", *words],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        # A shell's background job ignores the signal, and so would all that it starts.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    limit = time.monotonic() + 60
    while not starts_workers(process.pid) and time.monotonic() < limit:
        time.sleep(0.05)
    os.killpg(process.pid, signal.SIGINT)  # as a terminal does: workers get it too
    _, stderr = process.communicate(timeout=60)
    assert process.returncode == 130, stderr
    assert "Traceback" not in stderr
    archive = find_archive(str(tmp_path / "archive"))
    assert {row.status for row in read_rows(archive, SQUARE)} <= {"done"}
