"""The picture beneath the maps: its colours, its overviews, and what becomes of broken runs."""

import contextlib
import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import xarray as xr
import zarr
from hypothesis import given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner

import gssm
from gssm.archive import true_color
from gssm.archive.jobs import Job
from gssm.archive.plan import plan
from gssm.archive.recipe import Recipe, write_recipe
from gssm.archive.repository import commit, create_archive, open_repository, read_session
from gssm.archive.tiles import chunk_window, parse
from gssm.archive.true_color import (
    BANDS,
    WHOLE,
    WITHOUT_OVERVIEWS,
    computed,
    stretched,
    write_true_color,
)
from gssm.archive.true_color_overviews import write_overviews
from gssm.archive.true_color_run import TrueColorSummary, fill_true_color
from gssm.cli import app
from gssm.describe import Observation
from gssm.errors import ArchiveError, RequestError
from gssm.grid import geographic_bounds
from gssm.simulate import simulate_scene
from planned import cluster_here, row_of, write

SQUARE, CHUNK = parse("31UES"), 500
CHUNKS = ((0, 0), (0, 1), (3, 1), (19, 19))
EPOCH = pd.Timestamp("1970-01-01")


@pytest.fixture(scope="module")
def client():
    with cluster_here(2) as here:
        yield here


@pytest.fixture(scope="module")
def scene_of(tmp_path_factory):
    """Catalogue of a small scene, and its box."""
    folder = tmp_path_factory.mktemp("true-color") / "catalogue"
    truth = simulate_scene(folder, size=60, dates=2)
    return folder, geographic_bounds(32631, truth.odc.geobox.boundingbox.bbox)


def mapped(url, folder, box):
    """Make an archive that has maps of the scene, of one value."""
    archive = create_archive(url, chunk=CHUNK)
    for job in plan(archive, box, "2023-06", catalog=folder):
        write(archive, job)
    recipe = Recipe(catalog=str(folder), max_cloud_cover=90)
    write_recipe(archive, recipe)
    return archive, recipe


@pytest.fixture(scope="module")
def filled(tmp_path_factory, scene_of, client):
    """Archive with a picture, and what the run said of it."""
    archive, recipe = mapped(tmp_path_factory.mktemp("filled") / "a", *scene_of)
    reports = []
    summary = fill_true_color(archive, recipe, client, report=reports.append)
    assert reports[-1] == summary
    return archive, recipe, summary


@pytest.fixture
def empty(tmp_path):
    """Archive with a map of some chunks, and no catalogue."""
    archive = create_archive(tmp_path / "a", chunk=CHUNK)
    write(archive, Job(SQUARE.name, row_of(0, coverage=CHUNKS), ()))
    return archive


def tip(archive):
    return open_repository(archive).lookup_branch("main")


def opened(archive, level=0, **options):
    group = f"{SQUARE.group}/true_color" + (f"/overviews/{level}" if level else "")
    store = read_session(archive).store
    return xr.open_zarr(store, group=group, consolidated=False, **options)


def stored(archive, path):
    root = zarr.open_group(read_session(archive).store, mode="r")
    return root[f"{SQUARE.group}/true_color/{path}"]


def test_colours_are_the_stretched_reflectance_of_the_images_that_are_named(filled, scene_of):
    archive, _, summary = filled
    folder, box = scene_of
    assert summary == TrueColorSummary(done=1, squares=1)
    items = gssm.search(box, "2023-06", catalog=folder, max_cloud_cover=90)
    cube = gssm.open_cube(items, bbox=box).load()
    picture = opened(archive, mask_and_scale=False).sel(x=cube.x, y=cube.y).load()
    colours = picture["true_color"].values
    assert list(picture["band"]) == [0, 1, 2]
    days = (picture["date"].values.astype("datetime64[D]")).astype(int)
    compared = 0
    for time in cube["time"]:
        one = cube.sel(time=time)
        moment = pd.Timestamp(time.values) - EPOCH
        seen = np.floor(moment / pd.Timedelta("1D") + one["s2_age"].values.astype(float) + 1e-6)
        same = (seen == days) & (colours[0] > 0)
        compared += same.sum()
        for place, (name, _) in enumerate(BANDS.values()):
            np.testing.assert_array_equal(
                colours[place][same], stretched(one[name].values)[same], err_msg=name
            )
    assert compared > 0.5 * colours[0].size
    assert len(np.unique(days[colours[0] > 0])) > 1


def test_the_least_clouded_image_goes_first_and_clouds_are_never_in_it(filled, scene_of):
    archive, _, _ = filled
    folder, box = scene_of
    listed = json.loads((Path(folder) / "sentinel-2-l2a.json").read_text())["features"]
    covers = {f["properties"]["datetime"][:10]: f["properties"]["eo:cloud_cover"] for f in listed}
    clearest = np.datetime64(min(covers, key=covers.get))
    items = gssm.search(box, "2023-06", catalog=folder, max_cloud_cover=90)
    masks = gssm.open_cube(items, bbox=box)[["s2_mask", "s2_age"]].load()
    picture = opened(archive).sel(x=masks.x, y=masks.y).load()
    days = picture["date"].values.astype("datetime64[D]")
    assert (days == clearest).mean() > 0.8
    # Where no image of any date shows the ground, nor does the picture.
    hidden = (masks["s2_mask"] > 2).all("time").values
    assert hidden.any()
    assert np.isnan(picture["true_color"].values[:, hidden]).all()
    assert np.isnat(picture["date"].values[hidden]).all()


def test_archives_without_a_picture_and_readers_of_maps_know_nothing_of_it(filled, empty):
    assert computed(empty, SQUARE) == {}
    archive, _, _ = filled
    assert list(computed(archive, SQUARE).values()) == [WHOLE]
    product = gssm.open_archive(archive.url)
    assert "true_color" not in product
    assert product.sizes["time"] == 2
    assert "true_color" not in gssm.open_archive(empty.url)


def test_what_it_says_of_itself(filled):
    archive, _, _ = filled
    whole = opened(archive)
    attrs = whole["true_color"].attrs
    assert attrs["reflectance_range"] == [0.0, 0.3]
    assert (attrs["gamma"], attrs["grid_mapping"]) == (1.5, "spatial_ref")
    assert "Copernicus Sentinel" in whole.attrs["acknowledgement"]
    assert whole.attrs["time_coverage_start"].startswith("2023-0")
    assert list(whole["wavelength"].values) == [0.665, 0.56, 0.49]
    assert whole["true_color"].dtype.kind == "f"  # 0 is a fill
    array = stored(archive, "true_color")
    assert (array.shape, array.chunks) == ((3, 10_000, 10_000), (3, CHUNK, CHUNK))
    for level in (2, 64):
        coarse = opened(archive, level)
        assert coarse["true_color"].sizes["y"] == -(-10_000 // level)
        assert float(coarse["x"][1] - coarse["x"][0]) == 10 * level
        assert coarse["spatial_ref"].attrs["crs_wkt"] == whole["spatial_ref"].attrs["crs_wkt"]


@settings(deadline=None)
@given(st.lists(st.floats(-0.2, 1.5), min_size=2, max_size=20))
def test_the_stretch_is_monotone_and_can_be_undone(values):
    reflectance = np.sort(np.array([*values, 0.0, 0.3]))
    colours = stretched(reflectance)
    assert (np.diff(colours.astype(int)) >= 0).all()
    assert (colours.min(), colours.max()) == (1, 255)
    back = 0.3 * ((colours - 1.0) / 254) ** 1.5
    # Half a step of 1/254, where the curve is steepest.
    np.testing.assert_allclose(back, np.clip(reflectance, 0, 0.3), atol=0.3 * 1.5 * 0.5 / 254)
    assert stretched(np.array([np.nan]))[0] == 0


def random_picture(index, seed=0):
    """A picture of a chunk, with a tenth of its pixels empty, and its days."""
    rng = np.random.default_rng([seed, *index])
    shown = rng.random((CHUNK, CHUNK)) > 0.1
    picture = rng.integers(1, 256, (3, CHUNK, CHUNK)).astype(np.uint8) * shown
    return picture.astype(np.uint8), np.where(shown, 19_500 + seed, 0).astype(np.uint16)


@pytest.fixture
def random_pictures(monkeypatch):
    monkeypatch.setattr(
        true_color, "_read", lambda _, index, chunk, images, failed: random_picture(index, *images)
    )


def mean(values, level):
    """Mean of the shown pixels under each coarser one, halves up: the definition."""
    side = values.shape[-1] // level
    blocks = values.reshape(3, side, level, side, level).astype(float)
    counts = (blocks > 0).sum(axis=(2, 4))
    sums = blocks.sum(axis=(2, 4))
    with np.errstate(invalid="ignore"):
        return np.where(counts > 0, np.floor(sums / counts + 0.5), 0).astype(np.uint8)


@pytest.mark.parametrize("order", [(0, 1, 2, 3), (3, 1, 0, 2)])
def test_overviews_are_means_of_the_pixels_in_whatever_order_they_came(
    empty, random_pictures, order
):
    for number, place in enumerate(order):
        assert write_true_color(empty, SQUARE, CHUNKS[place], ())
        if number == 1:  # as at the end of a run that was ended early
            assert write_overviews(empty, SQUARE)
            assert WITHOUT_OVERVIEWS not in computed(empty, SQUARE).values()
    assert write_overviews(empty, SQUARE)
    assert not write_overviews(empty, SQUARE)
    # Around each chunk, in whole pixels of the coarsest level; the last reaches beyond.
    for corner in ((0, 0), (64 * 22, 64 * 6), (64 * 148, 64 * 148)):
        pixels = around(corner)
        for level in (2, 4, 8, 16, 32, 64):
            window = [slice(at // level, (at + SIDE) // level) for at in corner]
            found = stored(empty, f"overviews/{level}/true_color")[:, *window]
            expected = mean(pixels, level)[:, : found.shape[1], : found.shape[2]]
            np.testing.assert_array_equal(found, expected, err_msg=f"{level} {corner}")
            assert found.any()


SIDE = 64 * 9


def around(corner):
    """Pixels of a window, `SIDE` wide, of random pictures."""
    pixels = np.zeros((3, SIDE + 2 * CHUNK, SIDE + 2 * CHUNK), np.uint8)
    for index in CHUNKS:
        y, x = (i * CHUNK - at + CHUNK for i, at in zip(index, corner, strict=True))
        if 0 < y <= SIDE + CHUNK and 0 < x <= SIDE + CHUNK:
            pixels[:, y : y + CHUNK, x : x + CHUNK] = random_picture(index)[0]
    return pixels[:, CHUNK:-CHUNK, CHUNK:-CHUNK]


def test_a_renewed_chunk_leaves_nothing_of_the_old_one(empty, random_pictures, monkeypatch):
    write_true_color(empty, SQUARE, (3, 1), ())
    write_overviews(empty, SQUARE)
    assert not write_true_color(empty, SQUARE, (3, 1), (1,))  # another run's stays
    window = (slice(None), *chunk_window((3, 1), CHUNK))
    np.testing.assert_array_equal(stored(empty, "true_color")[window], random_picture((3, 1))[0])
    assert write_true_color(empty, SQUARE, (3, 1), (1,), renew=True)
    assert computed(empty, SQUARE) == {(3, 1): WITHOUT_OVERVIEWS}
    monkeypatch.setattr(
        true_color, "_read", lambda *_: tuple(0 * part for part in random_picture((3, 1)))
    )
    assert write_true_color(empty, SQUARE, (3, 1), (), renew=True)
    assert write_overviews(empty, SQUARE)
    for level in (2, 16, 64):
        assert not stored(empty, f"overviews/{level}/true_color")[...].any()


def test_two_writers_of_one_chunk_lose_nothing(empty, random_pictures, monkeypatch):
    write_true_color(empty, SQUARE, (0, 0), ())
    calls = []

    def overtaken(session, archive, message):
        if not calls:
            calls.append(message)
            write_true_color(empty, SQUARE, (3, 1), (5,))
        return commit(session, archive, message)

    monkeypatch.setattr(true_color, "commit", overtaken)
    assert not write_true_color(empty, SQUARE, (3, 1), ())
    window = (slice(None), *chunk_window((3, 1), CHUNK))
    np.testing.assert_array_equal(stored(empty, "true_color")[window], random_picture((3, 1), 5)[0])


def test_ground_of_another_square_stays_empty(filled, monkeypatch, client):
    archive, recipe, _ = filled
    ((index, _),) = computed(archive, SQUARE).items()
    window = (slice(None), *chunk_window(index, CHUNK))
    before = stored(archive, "true_color")[window]
    ours = np.zeros((CHUNK, CHUNK), bool)
    ours[:, ::2] = True
    monkeypatch.setattr(true_color, "owned", lambda *_: ours)
    again = fill_true_color(
        archive, recipe, client, datetime="2023-06", squares=["31UES"], renew=True
    )
    assert again == TrueColorSummary(done=1, squares=1)
    after = stored(archive, "true_color")[window]
    np.testing.assert_array_equal(after, before * ours)
    assert after.any()
    monkeypatch.undo()
    fill_true_color(archive, recipe, client, renew=True)
    np.testing.assert_array_equal(stored(archive, "true_color")[window], before)


def test_what_cannot_be_read_is_told_and_made_by_the_next_run(tmp_path, scene_of, client):
    folder, box = scene_of
    broken = tmp_path / "catalogue"
    shutil.copytree(folder, broken)
    archive, recipe = mapped(tmp_path / "a", broken, box)
    for file in broken.glob("sentinel-2-l2a/*/B03.tif"):
        file.rename(file.with_suffix(".away"))
    failed = fill_true_color(archive, recipe, client)
    assert (failed.done, failed.squares) == (0, 0)
    assert all("could not be read" in reason for reason in failed.failed)
    assert computed(archive, SQUARE) == {}
    for file in broken.glob("sentinel-2-l2a/*/B03.away"):
        file.rename(file.with_suffix(".tif"))
    mended = fill_true_color(archive, recipe, client)
    assert mended == TrueColorSummary(done=len(failed.failed), squares=1)


@pytest.fixture
def imaged(empty, random_pictures, monkeypatch):
    """The archive of some chunks, with an image that shows all of them but one."""
    image = Observation("S2", "sentinel-2-l2a", "sentinel2", EPOCH, (0, 0, 1, 1), {})
    monkeypatch.setattr(
        "gssm.archive.true_color_run._images",
        lambda *_: ([image], lambda _: frozenset(CHUNKS[:-1])),
    )
    monkeypatch.setattr(true_color, "_read", lambda _, index, *rest: random_picture(index))
    return empty


def test_a_second_run_does_nothing_and_a_renewal_all(imaged, client):
    recipe = Recipe()
    first = fill_true_color(imaged, recipe, client)
    assert first == TrueColorSummary(done=3, imageless=1, squares=1)
    before = tip(imaged)
    assert fill_true_color(imaged, recipe, client) == replace(first, done=0, known=3, squares=0)
    assert tip(imaged) == before
    assert fill_true_color(imaged, recipe, client, renew=True) == first
    with pytest.raises(RequestError, match="no-date"):
        fill_true_color(imaged, recipe, client, datetime="no-date")


@pytest.mark.parametrize("after", [1, 3], ids=["the first chunk", "the last chunk"])
def test_a_run_that_was_ended_is_finished_by_the_next(imaged, client, after):
    def end(summary):
        if summary.done == after:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fill_true_color(imaged, Recipe(), client, report=end)
    ended = computed(imaged, SQUARE)
    assert len(ended) >= after
    summary = fill_true_color(imaged, Recipe(), client)
    assert summary.squares == (WITHOUT_OVERVIEWS in ended.values())
    assert summary.done + summary.known == 3
    assert list(computed(imaged, SQUARE).values()) == [WHOLE] * 3


def test_a_square_without_maps_is_refused(tmp_path):
    archive = create_archive(tmp_path / "a", chunk=CHUNK)
    with pytest.raises(ArchiveError, match="no square 31UES"):
        write_true_color(archive, SQUARE, (0, 0), ())
    assert not write_overviews(archive, SQUARE)


def test_the_command(tmp_path, scene_of, client, monkeypatch):
    monkeypatch.setattr("gssm.archive.clusters.cluster", lambda *_: contextlib.nullcontext(client))
    archive, _ = mapped(tmp_path / "a", *scene_of)
    words = ["archive", "background", "--archive", archive.url, "--squares", "31UES"]
    first, again = (CliRunner().invoke(app, words) for _ in range(2))
    assert first.exit_code == 0, first.output
    assert f"{len(computed(archive, SQUARE))} chunks made" in first.output
    assert "pictures of 0 chunks made" in again.output
    bare = create_archive(tmp_path / "b", chunk=CHUNK)
    told = CliRunner().invoke(app, ["archive", "background", "--archive", bare.url])
    assert told.exit_code == 5
    assert "gssm archive build" in told.output
