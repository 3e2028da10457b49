"""What an update looks for, what it replaces, and in which order the past is filled in."""

from dataclasses import replace

import pandas as pd
import pytest
import shapely

from gssm.archive.acquisitions import read_rows, record_open
from gssm.archive.area import in_degrees
from gssm.archive.jobs import Settings
from gssm.archive.plan import LATENCY, steps
from gssm.archive.recipe import Recipe, extended, read_recipe, stated, write_recipe
from gssm.archive.repository import create_archive, open_repository
from gssm.archive.rounds import Round, rounds_size
from gssm.archive.run import run
from gssm.archive.settle import settle
from gssm.archive.tiles import parse
from gssm.archive.update import backfill_rounds, since, update_rounds
from gssm.errors import ArchiveError, RequestError
from planned import (
    AREA,
    BOX,
    WIDE,
    catalogue,
    cluster_here,
    jobs_of,
    notes_of,
    row_of,
    save,
    steps_of,
    write,
)

SQUARE = parse("31UES")
WINDOW = pd.Timedelta("3D")
RECIPE = Recipe(area=shapely.to_geojson(AREA))


@pytest.fixture
def archive(tmp_path):
    return create_archive(str(tmp_path / "archive"), chunk=500)


@pytest.fixture(scope="module")
def client():
    with cluster_here() as here:
        yield here


def day(number):
    return pd.Timestamp(row_of(number).time, unit="s")


@pytest.mark.parametrize(
    ("rows", "expected"),
    [
        ([], None),
        ([("failed", 0)], None),
        ([("done", 0), ("done", 20)], 15),
        ([("done", 0), ("skipped", 20)], 15),
        ([("done", 0, True), ("done", 20)], 0),
        ([("done", 18, True), ("done", 20)], 15),
        ([("failed", 2), ("done", 20)], 2),
        ([("failed", 2), ("done", 200)], 195),
    ],
)
def test_an_update_begins_where_something_may_have_changed(rows, expected):
    made = [
        replace(row_of(number), status=status, provisional=bool(flags))
        for status, number, *flags in rows
    ]
    start = since(made, WINDOW)
    if expected is None:
        assert start is None
    else:
        assert pd.Timedelta(0) <= day(expected) - start <= pd.Timedelta("1h")


def test_every_date_is_looked_at_once_no_partner_can_come_any_more():
    """However far apart updates are, one finds each date after its window has passed."""
    for step in (0.5, 1, 3, 7, 30):
        known, checked = [], set()
        for now in pd.date_range(day(0), day(120), freq=pd.Timedelta(days=step)):
            start = since([row for row in known], WINDOW) or day(0)
            for number in range(120):
                if start <= day(number) <= now:
                    if now >= day(number) + WINDOW + LATENCY:
                        checked.add(number)
                    if row_of(number) not in known:
                        known.append(row_of(number))
        late = int((day(120) - WINDOW - LATENCY - day(0)) / pd.Timedelta("1D")) - int(step) - 1
        assert set(range(max(0, late))) <= checked


def update(archive, folder, client, now):
    now = pd.Timestamp(now)
    rounds = update_rounds(archive, RECIPE, now)
    return run(archive, steps(archive, rounds, catalog=folder, now=now), client, work=write)


def test_a_better_partner_replaces_a_provisional_map(archive, tmp_path, client):
    folder = catalogue(tmp_path / "c", start="2023-06-01", days=12)
    everything = list(pystac_items(folder))

    def seen_at(moment):
        save(folder, [i for i in everything if i.datetime <= pd.Timestamp(moment, tz="UTC")])

    seen_at("2023-06-08T00:00")
    first = steps_of(archive, folder, now=pd.Timestamp("2023-06-08T00:00"))
    run(archive, first, client, work=write)
    before = {row.time: row for row in read_rows(archive, SQUARE)}
    provisional = [row for row in before.values() if row.provisional]
    assert 0 < len(provisional) < len(before)

    seen_at("2023-06-09T12:00")
    summary = update(archive, folder, client, "2023-06-09T12:00")
    assert summary.done > 0
    after = {row.time: row for row in read_rows(archive, SQUARE)}
    assert len(after) >= len(before)
    newest = provisional[-1]
    assert set(newest.partners) < set(after[newest.time].partners)
    # Nothing new: nothing is done, and nothing is committed.
    snapshots = commits(archive)
    assert update(archive, folder, client, "2023-06-09T12:10").done == 0
    assert commits(archive) == snapshots

    seen_at("2023-06-30")
    update(archive, folder, client, "2023-06-30")
    assert update(archive, folder, client, "2023-06-30").done == 0
    rows = read_rows(archive, SQUARE)
    assert not any(row.provisional for row in rows)
    assert len(rows) == len({row.time for row in rows}) == 4
    assert [row.time for row in rows] == sorted(row.time for row in rows)


def pystac_items(folder):
    import pystac

    return pystac.ItemCollection.from_file(str(folder / "items.json"))


def commits(archive):
    return len(list(open_repository(archive).ancestry(branch="main")))


def test_two_updates_at_once_write_each_date_once(archive, tmp_path, client):
    folder = catalogue(tmp_path / "c", days=20)
    run(archive, steps_of(archive, folder, "2023-06-01/2023-06-03"), client, work=write)
    now = pd.Timestamp("2024-01-01")
    # Both plan before either writes, as two that cron starts in the same second.
    both = [
        list(steps(archive, update_rounds(archive, RECIPE, now), catalog=folder, now=now))
        for _ in range(2)
    ]
    assert [s.row for s in both[0]] == [s.row for s in both[1]]
    interleaved = [step for pair in zip(*both, strict=True) for step in pair]
    summary = run(archive, interleaved, client, work=write)
    rows = read_rows(archive, SQUARE)
    assert len(rows) == len({row.time for row in rows}) == 7
    assert {row.status for row in rows} == {"done"}
    assert (summary.done, summary.skipped, summary.failed) == (6, 6, 0)


def test_an_update_needs_a_date_to_go_on_from(archive):
    with pytest.raises(ArchiveError, match="gssm archive build"):
        update_rounds(archive, RECIPE, day(0))
    record_open(archive, SQUARE, [replace(row_of(0), status="skipped", reason="x")])
    (one,) = update_rounds(archive, RECIPE, day(10))
    assert one.squares == ("31UES",)
    assert one.in_order
    assert update_rounds(archive, RECIPE, day(-30))[0].months(SQUARE) == []


def test_squares_that_are_mapped_whole_stay_so():
    recipe = Recipe(area=shapely.to_geojson(in_degrees(WIDE)), squares=("31UES",))
    whole, part = recipe.rounds("2023-06", ["31UDS", "31UES"])
    assert (whole.area, whole.squares) == (None, ("31UES",))
    assert part.squares == ("31UDS",)
    assert part.area.equals(in_degrees(WIDE))


def test_the_recipe_is_kept_and_its_area_grows(archive, tmp_path):
    assert read_recipe(archive) is None
    recipe = stated(RECIPE, {"catalog": str(tmp_path), "window": None, "max_cloud_cover": 30})
    assert (recipe.catalog, recipe.window, recipe.max_cloud_cover) == (str(tmp_path), "3D", 30)
    assert write_recipe(archive, recipe)
    assert not write_recipe(archive, recipe)
    assert read_recipe(archive) == recipe
    grown = extended(recipe, replace(recipe, area=shapely.to_geojson(in_degrees(WIDE))))
    assert grown.shape.equals(shapely.union_all([AREA, in_degrees(WIDE)]))
    assert extended(grown, replace(recipe, area="", squares=("31UES",))).squares == ("31UES",)
    write_recipe(archive, grown)
    assert read_recipe(archive) == grown
    assert read_recipe(archive).settings(True) == Settings(replace_any=True)
    with pytest.raises(RequestError, match="no catalogue 'nowhere'"):
        stated(RECIPE, {"catalog": "nowhere"})


def test_the_past_comes_by_priority_and_month():
    first, second = in_degrees((3.02, 50.8, 3.03, 50.81)), in_degrees(WIDE)
    rounds = list(backfill_rounds([first, second], "2023-04-10", day(0)))
    last = day(0)
    names = [one.squares for one in rounds]
    number = len(names) // 2
    assert names == [("31UES",)] * number + [("31UDS",)] * number
    months = [one.months(SQUARE) for one in rounds[:number]]
    assert all(len(month) == 1 for month in months)
    starts = [month[0][0] for month in months]
    assert starts == sorted(starts, reverse=True)
    assert starts[-1] == pd.Timestamp("2023-04-10")
    assert months[0][0][1] == last
    # A square of both areas is mapped in both at once.
    assert rounds[0].area.equals(shapely.union_all([first, second]))
    oldest = list(backfill_rounds([first, second], "2023-04-10", last, "oldest"))
    assert [one.months(SQUARE)[0][0] for one in oldest[:number]] == starts[::-1]
    assert rounds_size(rounds) == 2 * number
    with pytest.raises(RequestError, match="no order 'random'"):
        list(backfill_rounds([first], "2023-04-10", last, "random"))


def test_what_was_replaced_meanwhile_is_not_settled(archive, tmp_path, client):
    folder = catalogue(tmp_path / "c", days=4)
    now = pd.Timestamp("2023-06-03")
    run(archive, steps_of(archive, folder, now=now), client, work=write)
    rows = read_rows(archive, SQUARE)
    assert all(row.provisional for row in rows)
    found = steps_of(archive, folder, now=pd.Timestamp("2024-01-01"))
    assert len(notes_of(found, "settled")) + len(jobs_of(found)) == len(rows)
    assert settle(archive, SQUARE, [replace(row, radar=("other",)) for row in rows]) == 0


def test_an_area_may_be_a_box(archive, tmp_path):
    folder = catalogue(tmp_path / "c", days=4)
    found = steps(archive, [Round(in_degrees(BOX), "2023-06")], catalog=folder)
    assert jobs_of(list(found))
