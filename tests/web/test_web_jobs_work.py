import shutil
import threading
from dataclasses import replace

import numpy as np
import pytest
import shapely
import zarr
from hypothesis import given
from hypothesis import strategies as st

import gssm
from gssm.archive.acquisitions import read_rows, squares_of
from gssm.archive.area import in_degrees
from gssm.archive.jobs import run_job
from gssm.archive.opening import Archive, find_archive, read_session
from gssm.archive.past import past_over
from gssm.archive.plan import plan
from gssm.archive.recipe import Recipe, read_recipe, write_recipe
from gssm.archive.repository import create_archive
from gssm.archive.snapshots import open_snapshot
from gssm.archive.tiles import parse
from gssm.errors import CatalogUnreachableError, EmptySearchError, GssmError, ReadError
from gssm.grid import geographic_bounds
from gssm.simulate import simulate_scene
from gssm.web import jobs_tasks
from gssm.web.catalog import Catalog
from gssm.web.jobs_work import Asked, ClusterLostError, Control, StoppedError, carry_out, order_of
from web_jobs import cluster_here, pixels, scene, settings_of

CHUNK, SQUARE = 50, parse("31UES")
CLOSE = {"soil_moisture": 0.51e-4, "soil_moisture_uncertainty": 0.51 * 2e-3}


@pytest.fixture(scope="module")
def client():
    with cluster_here(1) as found:
        yield found


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """Folder of a small scene and its archive, and its box."""
    folder = tmp_path_factory.mktemp("scene")
    return folder, scene(folder, size=40)


def ordered(folder, box, number=0, chunk=200):
    """Order of a date of the catalogue."""
    catalog = Catalog(settings_of(folder))
    date = catalog.dates(box, "2023-06")[number]
    return order_of(Asked(in_degrees(box), box, date), catalog.how(), chunk)


def carried_out(order, folder, client, report=lambda *_: None):
    """Archive of an order, and what was said of it."""
    said = carry_out(order, str(folder / "result"), client, Control(report))
    return find_archive(folder / "result"), said


def content(archive, square):
    """Arrays of a square where it was covered, its attributes, and its ledger without clocks."""
    group = zarr.open_group(read_session(archive).store, mode="r")[square.group]
    (row,) = read_rows(archive, square)
    corners = np.array(row.coverage)
    (top, left), (bottom, right) = corners.min(axis=0), corners.max(axis=0) + 1
    found = {}
    for name, one in group.members(max_depth=None):
        if not isinstance(one, zarr.Array) or name.startswith("ledger"):
            continue
        if one.ndim == 3:  # the coverage of this level, and a pixel around it
            side = 10_000 / one.shape[1]
            ends = [int(v * CHUNK / side) for v in (top, bottom, left, right)]
            window = (slice(max(ends[0] - 1, 0), ends[1] + 2), slice(ends[2] - 1, ends[3] + 2))
            found[name] = np.asarray(one[(slice(None), *window)])
        else:
            found[name] = np.asarray(one[...])
        found[f"{name} attributes"] = np.array(sorted(map(str, dict(one.attrs).items())))
    return found, replace(row, written="")


@pytest.fixture(scope="module")
def made(tmp_path_factory, place, client):
    """Archive of a job of some chunks, what was said of it, its news, and maps it opened."""
    heard, opened, real = [], [], jobs_tasks.open_map
    order = ordered(*place, chunk=CHUNK)
    folder = tmp_path_factory.mktemp("made")
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(jobs_tasks, "open_map", lambda *w: opened.append(w) or real(*w))
        archive, said = carried_out(order, folder, client, lambda *news: heard.append(news))
    return archive, said, heard, opened


def test_a_job_is_what_an_archive_of_the_same_chunks_is_bit_for_bit(tmp_path, place, made):
    folder, box = place
    archive, said, heard, _ = made
    built = create_archive(tmp_path / "built", chunk=CHUNK)
    jobs = list(plan(built, box, "2023-06-03", catalog=folder / "catalogue"))
    rows = [run_job(built, job) for job in jobs]
    assert [row.status for row in rows] == ["done"]
    (square,) = squares_of(archive)
    (ours, row), (theirs, other) = content(archive, square), content(built, square)
    assert row == other
    assert ours.keys() == theirs.keys()
    assert {"soil_moisture", "s2_age", "overviews/64/quality_flag", "time"} <= ours.keys()
    for name, array in theirs.items():
        np.testing.assert_array_equal(ours[name], array, err_msg=name)
    assert (ours["soil_moisture"] != 65535).any()
    total = sum(len(row.coverage) for row in rows)
    assert [news[:2] for news in heard if news[1]] == [(n, total) for n in range(total + 1)]
    assert heard[0] == (0, 0, "the images of the date are looked for")
    assert said == ""


def test_chunks_of_any_size_have_the_pixels_of_predict(tmp_path, place, made, client):
    folder, box = place
    fine, *_ = made
    coarse, _ = carried_out(ordered(folder, box, chunk=250), tmp_path, client)
    items = gssm.search(box, "2023-06-03", catalog=folder / "catalogue")
    alone = gssm.predict(gssm.open_cube(items, bbox=box)).isel(time=0).load()
    a, b = (pixels(one, SQUARE, alone) for one in (fine, coarse))
    for name in a:
        np.testing.assert_array_equal(a[name], b[name])
    inner = (slice(3, -3), slice(3, -3))  # slopes of the rim have more to go by in the archive
    for name, close in CLOSE.items():
        np.testing.assert_allclose(a[name][inner], alone[name].values[inner], atol=close)
    np.testing.assert_array_equal(a["quality_flag"][inner], alone["quality_flag"].values[inner])


def test_the_result_says_how_it_was_made_and_has_one_date(tmp_path, place, client):
    folder, box = place
    archive, _ = carried_out(ordered(folder, box, 1), tmp_path, client)
    recipe = read_recipe(archive)
    assert recipe.shape.equals(in_degrees(box))
    assert recipe.catalog == str(folder / "catalogue")
    assert archive.chunk == 200
    assert open_snapshot(archive.url).array(SQUARE, "time").shape == (1,)
    ((row,),) = (read_rows(archive, square) for square in squares_of(archive))
    assert row.key.startswith("20230608T")


def test_a_place_in_two_squares_is_mapped_in_both(tmp_path, client, monkeypatch):
    monkeypatch.setattr("gssm.simulate_ground.LEFT", 499_800.0)
    truth = simulate_scene(tmp_path / "catalogue", size=40, dates=1)
    archive = create_archive(tmp_path / "main", chunk=200)
    write_recipe(archive, Recipe(catalog=str(tmp_path / "catalogue")))
    box = geographic_bounds(32631, truth.odc.geobox.boundingbox.bbox)
    heard = []
    result, said = carried_out(
        ordered(tmp_path, box), tmp_path, client, lambda *news: heard.append(news)
    )
    assert [square.name for square in squares_of(result)] == ["31UDS", "31UES"]
    assert said == ""
    numbers = [len(row.coverage) for s in squares_of(result) for row in read_rows(result, s)]
    assert heard[-1][:2] == (sum(numbers), sum(numbers))
    valued = [row.valued for s in squares_of(result) for row in read_rows(result, s)]
    assert min(valued) > 500


def test_what_shows_nothing_of_a_square_is_left_out_and_told(tmp_path, client):
    # The margin around footprints reaches over 3 degrees east.
    box = scene(tmp_path, size=40, dates=1)
    west, south, _, north = box
    box = (2.995, south, west + 0.003, north)
    result, said = carried_out(ordered(tmp_path, box, chunk=CHUNK), tmp_path, client)
    assert [square.name for square in squares_of(result)] == ["31UES"]
    assert said == "left out: 31UDS: no image shows it"


def test_a_place_that_the_images_do_not_show_is_no_map(tmp_path, place, client):
    folder, box = place
    order = ordered(folder, box, chunk=CHUNK)
    west, south, _, _ = box
    area = shapely.to_geojson(shapely.box(west - 0.012, south, west - 0.01, south + 0.002))
    with pytest.raises(EmptySearchError, match="no map can be made: 31UES: no"):
        carried_out(replace(order, area=area), tmp_path, client)


def test_a_date_without_sentinel_2_is_no_map(tmp_path, client):
    box = scene(tmp_path, size=20, dates=1)
    order = ordered(tmp_path, box)
    (tmp_path / "catalogue" / "sentinel-2-l2a.json").unlink()
    with pytest.raises(EmptySearchError, match=r"no map can be made: .*no Sentinel-2 within 3D"):
        carried_out(order, tmp_path, client)


def test_another_acquisition_is_not_taken_for_the_one_that_was_asked_for(tmp_path, place, client):
    folder, box = place
    order = ordered(folder, box)
    for other in ({"platform": "sentinel-1c"}, {"time": order.date.time + 3600}):
        with pytest.raises(EmptySearchError, match="no image shows the place"):
            carried_out(replace(order, date=replace(order.date, **other)), tmp_path, client)


def test_a_catalogue_that_is_gone_is_told(tmp_path, place, client, monkeypatch):
    folder, box = place
    order = ordered(folder, box)

    def refuse(*_, **__):
        raise CatalogUnreachableError("https://example.org/secret did not answer.")

    monkeypatch.setattr("gssm.archive.plan.search", refuse)
    with pytest.raises(CatalogUnreachableError, match=r"31UDS|31UES"):
        carried_out(order, tmp_path, client)


@pytest.mark.filterwarnings("ignore::gssm.errors.GssmWarning")
def test_what_cannot_be_read_fails_the_job_and_is_not_committed(tmp_path, client):
    box = scene(tmp_path, size=40, dates=1)
    order = ordered(tmp_path, box)
    for file in (tmp_path / "catalogue").rglob("*B04*"):
        file.write_bytes(b"cut off")
    with pytest.raises(ReadError, match="could not be read") as caught:
        carried_out(order, tmp_path, client)
    assert isinstance(caught.value, GssmError)
    assert squares_of(find_archive(tmp_path / "result")) == []


def test_a_chunk_that_fails_is_tried_again_once(tmp_path, place, client, monkeypatch):
    folder, box = place
    order, failures = ordered(folder, box), [ReadError("once.")]
    opened = jobs_tasks.open_map

    def fails(*words):
        if failures:
            raise failures.pop()
        return opened(*words)

    monkeypatch.setattr(jobs_tasks, "open_map", fails)
    archive, _ = carried_out(order, tmp_path, client)
    assert squares_of(archive)
    assert not failures


def test_the_map_is_opened_once_for_all_chunks(made):
    _, _, heard, opened = made
    assert len(opened) == 1
    assert heard[-1][1] > 3
    assert len(jobs_tasks._maps) <= jobs_tasks.OPEN_MAPS


@pytest.mark.parametrize("when", ["planning", "chunks"])
def test_a_job_that_is_stopped_ends_though_its_worker_does_not(
    tmp_path, place, client, monkeypatch, when
):
    folder, box = place
    order = ordered(folder, box)
    stuck, let_go = threading.Event(), threading.Event()

    def hang(*_, **__):
        stuck.set()
        assert let_go.wait(60)
        raise ReadError("let go.")

    monkeypatch.setattr(jobs_tasks, {"planning": "steps", "chunks": "open_map"}[when], hang)
    control = Control(lambda *_: None)
    threading.Thread(target=lambda: stuck.wait(60) and control.stop(), daemon=True).start()
    try:
        with pytest.raises(StoppedError):
            carry_out(order, str(tmp_path / "result"), client, control)
    finally:
        let_go.set()
    with pytest.raises(StoppedError):  # one that was stopped before it began
        carry_out(order, str(tmp_path / "result"), client, control)


def test_a_lost_cluster_is_told_as_such(tmp_path, place, monkeypatch):
    folder, box = place
    order = ordered(folder, box)
    stuck, let_go = threading.Event(), threading.Event()

    def hang(*_):
        stuck.set()
        let_go.wait(60)

    monkeypatch.setattr(jobs_tasks, "open_map", hang)
    with cluster_here(1) as lost:
        threading.Thread(target=lambda: stuck.wait(60) and lost.close(timeout=1)).start()
        with pytest.raises(ClusterLostError, match="ask for the prediction again"):
            carry_out(order, str(tmp_path / "result"), lost, Control(lambda *_: None))
        let_go.set()


SIDES = st.sampled_from([20, 50, 100, 200, 250, 500, 1000])


@given(side=SIDES, chunk=SIDES, data=st.data())
def test_chunks_with_references_are_those_that_touch_a_chunk_that_has_them(side, chunk, data):
    cells = st.tuples(*[st.integers(0, 9)] * 2)
    computed = data.draw(st.sets(cells, max_size=4))
    coverage = data.draw(st.sets(cells, max_size=9))
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr("gssm.archive.past.past_computed", lambda *_: computed)
        found = past_over(Archive("/nowhere", side), SQUARE, coverage, chunk)
    side, chunk = side // 10, chunk // 10
    there = np.zeros((1000, 1000), bool)
    for i, j in computed:
        there[side * i : side * (i + 1), side * j : side * (j + 1)] = True
    touched = {
        (i, j)
        for i, j in coverage
        if there[chunk * i : chunk * (i + 1), chunk * j : chunk * (j + 1)].any()
    }
    assert found == touched


def test_references_of_the_past_are_those_of_the_served_archive(tmp_path, client):
    from gssm import quality
    from gssm.archive.past_run import fill_past

    truth = simulate_scene(tmp_path / "catalogue", size=30, dates=9)
    box = geographic_bounds(32631, truth.odc.geobox.boundingbox.bbox)
    # Of a square of small chunks it takes seconds to read which have references.
    archive = create_archive(tmp_path / "main", chunk=500)
    recipe = Recipe(catalog=str(tmp_path / "catalogue"))
    write_recipe(archive, recipe)
    without, _ = carried_out(ordered(tmp_path, box), tmp_path / "without", client)
    fill_past(archive, in_degrees(box), "2023-05/2023-09", recipe, client)
    order = ordered(tmp_path, box, chunk=CHUNK)
    with_past, _ = carried_out(order, tmp_path / "with", client)
    (job,) = plan(archive, box, "2023-06-03", catalog=tmp_path / "catalogue")
    run_job(archive, job)
    like = gssm.open_cube(gssm.search(box, "2023-06-03", catalog=order.recipe.catalog), bbox=box)
    served = pixels(archive, SQUARE, like)
    missing = quality.BY_MEANING["history_missing"].mask
    # Chunks that divide those of the references, and some that do not.
    coarse, _ = carried_out(replace(order, chunk=400), tmp_path / "coarse", client)
    for result, is_missing in ((without, True), (with_past, False), (coarse, False)):
        found = pixels(result, SQUARE, like)
        valued = np.isfinite(found["soil_moisture"])
        flags = found["quality_flag"][valued]
        assert valued.any()
        assert ((flags & missing != 0).mean() > 0.99) == is_missing
        same = all(np.array_equal(found[n], served[n], equal_nan=True) for n in found)
        assert same != is_missing
    (row,) = [r for s in squares_of(with_past) for r in read_rows(with_past, s)]
    assert row.past == len(row.coverage)
    shutil.rmtree(tmp_path / "catalogue")
