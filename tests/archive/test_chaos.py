"""Processes that are killed and a storage that fails: the archive is as if nothing had been.

Ten disturbances; `make chaos` makes two hundred.
"""

import random
import shutil
import time

import pytest
import zarr
from chaos import CHUNK, HANGS, KILLS, disturb, place_of, undisturbed
from chaos_jobs import MARKS, SQUARES, hold, pixels_of, row_of, write_some
from chaos_processes import started
from chaos_watch import Watch, differences, truth_of

from gssm.archive import groups
from gssm.archive.acquisitions import read_rows, sort_square, write_acquisition
from gssm.archive.opening import find_archive, write_session
from gssm.archive.packing import PACKINGS
from gssm.archive.repository import create_archive
from gssm.archive.tiles import parse

SQUARE = parse(SQUARES[0])

pytestmark = pytest.mark.timeout(1200)  # of a machine that has much else to do


def archive_with(folder, days, name="archive"):
    archive = create_archive(folder / name, chunk=CHUNK)
    for day in days:
        write_acquisition(archive, SQUARE, row_of(day), pixels_of(row_of(day), SQUARE.name))
    return archive


def wait_for(there):
    until = time.monotonic() + HANGS
    while not there():
        assert time.monotonic() < until
        time.sleep(0.01)


@pytest.mark.parametrize(
    ("scheme", "jobs", "kinds"),
    [
        ("local", 40, (*KILLS, "worker", "client")),
        ("s3", 12, ("500", "503", "slow", "truncated", "scheduler")),
    ],
)
def test_after_kills_and_faults_the_archive_is_as_if_undisturbed(tmp_path, s3, scheme, jobs, kinds):
    peace = undisturbed(tmp_path, jobs)
    archive = place_of(scheme, tmp_path, s3)
    report = disturb(archive, peace, kinds, 1, tmp_path / "run", s3)
    assert report.wrong == []
    assert len(report.strikes) == len(kinds)
    assert report.watched["dates"] >= report.watched["versions"] > 1
    assert report.watched["through_reader"] > 0
    for name in SQUARES:
        times = [row.time for row in read_rows(archive, parse(name)) if row.status == "done"]
        assert len(times) == len(set(times)) > 1


@pytest.mark.parametrize("scheme", ["local", "s3"])
def test_two_writers_of_a_square_lose_nothing_of_each_other(tmp_path, s3, scheme):
    archive = place_of(scheme, tmp_path, s3)
    marks, start = tmp_path / "marks", tmp_path / "start"
    marks.mkdir()
    environment = {**s3.environment, MARKS: str(marks)}
    how = {"environment": environment, "log": tmp_path / "log"}
    # Both of them write one day.
    writers = [
        started(write_some, archive.url, str(start), first, last, **how)
        for first, last in (("0", "3"), ("2", "5"))
    ]
    try:
        wait_for(lambda: len(list(marks.iterdir())) == 2)
        start.touch()
        for writer in writers:
            writer.join(HANGS)
        assert [writer.exitcode for writer in writers] == [0, 0], (tmp_path / "log").read_text()
    finally:
        for writer in writers:
            writer.kill()
            writer.join()
    sort_square(archive, SQUARE)
    assert differences(archive_with(tmp_path, range(5), "one"), archive) == []


def test_a_killed_process_lets_go_of_the_lock(tmp_path):
    archive = archive_with(tmp_path, [])
    marks = tmp_path / "marks"
    marks.mkdir()
    holder = started(hold, archive.url, environment={MARKS: str(marks)}, log=tmp_path / "log")
    wait_for(lambda: list(marks.iterdir()))
    began = time.monotonic()
    holder.kill()
    holder.join()
    write_acquisition(archive, SQUARE, row_of(0), pixels_of(row_of(0), SQUARE.name))
    assert [row.status for row in read_rows(archive, SQUARE)] == ["done"]
    assert time.monotonic() - began < HANGS / 10


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    return archive_with(tmp_path_factory.mktemp("whole"), [1, 3])


def remove_overview(group):
    """Leave a date without a part of its overviews."""
    groups.array(group, "overviews/2/soil_moisture")[1] = PACKINGS["soil_moisture"].fill


def change_pixel(group):
    groups.array(group, "soil_moisture")[1, 300, 499] = 4321


def repeat_time(group):
    groups.array(group, "time")[1] = groups.array(group, "time")[0]


def append_in_part(group):
    """Make room for a date in one array, as a commit in the middle of a date would."""
    array = groups.array(group, "soil_moisture")
    array.resize((3, *array.shape[1:]))


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (remove_overview, "partial"),
        (change_pixel, "other content"),
        (repeat_time, "a time twice"),
        (append_in_part, "arrays of"),
    ],
)
def test_the_reader_that_watches_sees_what_is_wrong(tmp_path, whole, damage, said):
    archive = find_archive(shutil.copytree(whole.url, tmp_path / "archive"))
    watch = Watch(truth_of(whole))
    watch.look(archive, random.Random(0))
    watch.look_as_users_do(archive, random.Random(2))
    assert watch.dates >= 2
    session = write_session(archive)
    damage(zarr.open_group(session.store, mode="r+", path=SQUARE.group))
    session.commit("damaged")
    with pytest.raises(AssertionError, match=said):
        watch.look(archive, random.Random(0))
    assert differences(archive, whole)
    assert differences(whole, whole) == []


def test_the_reader_that_watches_sees_what_is_lost(tmp_path, whole):
    watch = Watch(truth_of(whole))
    watch.look(whole, random.Random(0))
    with pytest.raises(AssertionError, match="was there and is lost"):
        watch.look(archive_with(tmp_path, [1]), random.Random(0))
