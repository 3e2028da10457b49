"""The simulated archive of `gssm serve`: complete, made once, and nothing half-made is left."""

import fcntl
import os
import threading
import time
from contextlib import contextmanager
from pathlib import Path

import distributed
import numpy as np
import pytest

import gssm
from gssm.archive.acquisitions import read_rows, squares_of
from gssm.archive.past import past_computed
from gssm.archive.plan import Note, steps
from gssm.archive.recipe import read_recipe
from gssm.archive.repository import find_archive
from gssm.archive.rounds import Round
from gssm.archive.true_color import WHOLE, computed
from gssm.errors import ReadError, StoreWriteError
from gssm.web import demo
from gssm.web.demo import LEFT_OUT, cache_folder, find_demo, make_demo

SIZE, DATES = 60, 8


@contextmanager
def cluster_here(*_):
    """Stand for the processes of a cluster: threads of this one."""
    options = {"host": "127.0.0.1", "protocol": "tcp", "dashboard_address": "127.0.0.1:0"}
    with (
        distributed.LocalCluster(
            n_workers=1, threads_per_worker=2, processes=False, **options
        ) as local,
        distributed.Client(local, set_as_default=False) as client,
    ):
        yield client


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A small demo, its folder, and what was told of its making."""
    folder, told = tmp_path_factory.mktemp("cache") / "gssm", []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(demo, "cluster", cluster_here)
        assert find_demo(folder, size=SIZE, dates=DATES) is None
        found = make_demo(folder, size=SIZE, dates=DATES, report=lambda *w: told.append(w))
    return found, folder, told


def test_it_holds_maps_references_and_a_picture_and_leaves_dates_to_predict(made):
    found, folder, _ = made
    archive = find_archive(found.archive)
    (square,) = squares_of(archive)
    rows = read_rows(archive, square)
    assert {row.status for row in rows} == {"done"}
    assert len(rows) == DATES - LEFT_OUT
    assert all(row.valued > 0.5 * SIZE**2 and row.past for row in rows)
    assert past_computed(archive, square) == set(computed(archive, square))
    assert set(computed(archive, square).values()) == {WHOLE}

    recipe = read_recipe(archive)
    assert Path(recipe.catalog) == found.catalog
    planned = steps(archive, [Round(recipe.shape, "2023")], catalog=recipe.catalog)
    assert sum(not isinstance(step, Note) for step in planned) == LEFT_OUT
    assert folder in found.archive.parents


def test_its_numbers_are_those_of_predict(made):
    found, _, _ = made
    recipe = read_recipe(find_archive(found.archive))
    items = gssm.search(recipe.shape.bounds, "2023-06-03", catalog=recipe.catalog)
    past = gssm.search(recipe.shape.bounds, "2023-06/2023-09", catalog=recipe.catalog)
    box = recipe.shape.bounds
    references = gssm.history(past, bbox=box)
    cube = gssm.with_history(gssm.open_cube(items, bbox=box), references)
    alone = gssm.predict(cube).isel(time=0).load()
    archived = gssm.open_archive(str(found.archive)).isel(time=0).sel(x=alone.x, y=alone.y)
    inner = {"y": slice(3, -3), "x": slice(3, -3)}  # slopes of the rim have more to go by here
    values, expected = (d["soil_moisture"].isel(inner).values for d in (archived.load(), alone))
    np.testing.assert_allclose(values, expected, atol=6e-5)
    assert np.isfinite(values).mean() > 0.5


def test_progress_is_told_from_the_beginning_to_the_end(made):
    _, _, told = made
    labels = list(dict.fromkeys(label for label, _, _ in told))
    assert labels[0].startswith("simulating")
    counted = [(done, total) for _, done, total in told if total]
    assert counted == sorted(counted)
    assert counted[0][0] == 0
    assert counted[-1][0] == counted[-1][1]


def test_a_second_start_finds_it_and_makes_nothing(made, monkeypatch):
    found, folder, _ = made
    monkeypatch.setattr(demo, "_make", None)
    assert make_demo(folder, size=SIZE, dates=DATES) == found
    assert find_demo(folder, size=SIZE, dates=DATES) == found
    assert find_demo(folder, size=SIZE, dates=DATES + 1) is None
    assert sorted(p.name for p in folder.iterdir() if p.name.startswith(".")) == [".demo.lock"]


def stand_in(partial, place, *_):
    (partial / "archive").mkdir(parents=True)


def test_what_a_killed_start_left_is_removed_and_a_failed_one_leaves_nothing(tmp_path, monkeypatch):
    left = tmp_path / ".demo-partial-0123"
    (left / "catalogue").mkdir(parents=True)
    other = tmp_path / "mine"
    other.mkdir()

    def fail(partial, *_):
        stand_in(partial, None)
        raise ReadError("no.")

    monkeypatch.setattr(demo, "_make", fail)
    with pytest.raises(ReadError):
        make_demo(tmp_path)
    assert {p.name for p in tmp_path.iterdir()} == {"mine", ".demo.lock"}
    monkeypatch.setattr(demo, "_make", stand_in)
    found = make_demo(tmp_path)
    assert found.archive.is_dir()
    assert find_demo(tmp_path) == found


def test_of_two_that_start_at_once_one_waits_for_the_other(tmp_path, monkeypatch):
    calls, told, found = [], [], []

    def slow(partial, place, *_):
        calls.append(place)
        time.sleep(0.3)
        stand_in(partial, place)

    monkeypatch.setattr(demo, "_make", slow)
    threads = [
        threading.Thread(
            target=lambda: found.append(make_demo(tmp_path, report=lambda *w: told.append(w)))
        )
        for _ in range(2)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(calls) == 1
    assert found[0] == found[1]
    assert any("waiting" in label for label, _, _ in told)


def test_the_lock_is_let_go(tmp_path, monkeypatch):
    monkeypatch.setattr(demo, "_make", stand_in)
    make_demo(tmp_path)
    descriptor = os.open(tmp_path / ".demo.lock", os.O_RDWR)
    fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    os.close(descriptor)


def test_a_folder_that_cannot_be_is_refused_in_a_sentence(tmp_path):
    file = tmp_path / "file"
    file.touch()
    with pytest.raises(StoreWriteError, match=r"cannot be made in .*--data"):
        make_demo(file / "folder")


def test_what_fails_to_be_mapped_is_told():
    demo._refuse_failed(())
    with pytest.raises(ReadError, match=r"31UES: 404\); start it again"):
        demo._refuse_failed(["31UES: 404."])


@pytest.mark.parametrize(
    ("stated", "expected"),
    [
        ("/tmp/cache", "/tmp/cache/gssm"),
        ("relative", "{home}/.cache/gssm"),
        ("", "{home}/.cache/gssm"),
    ],
)
def test_the_cache_folder_is_that_of_the_user(stated, expected, monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CACHE_HOME", stated)
    monkeypatch.setenv("HOME", str(tmp_path))
    assert str(cache_folder()) == expected.format(home=tmp_path)
