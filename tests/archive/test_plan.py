"""What is planned, what is left out and why; no pixel is read."""

import tracemalloc
from dataclasses import replace

import pandas as pd
import pytest
import shapely
import shapely.affinity

from gssm.archive import plan as planning
from gssm.archive.acquisitions import record_open
from gssm.archive.area import in_degrees
from gssm.archive.jobs import Job, Settings
from gssm.archive.plan import MOST_FAILURES, Note, boxes_to_search, interleaved, plan, steps
from gssm.archive.repository import create_archive
from gssm.archive.rounds import Round
from gssm.archive.tiles import chunks_over, parse, squares_over
from gssm.errors import CatalogUnreachableError, RequestError
from planned import AREA, BOX, WIDE, catalogue, jobs_of, moved, notes_of, steps_of

SQUARE = parse("31UES")
LATER = pd.Timestamp("2024-01-01")


@pytest.fixture
def archive(tmp_path):
    return create_archive(str(tmp_path / "archive"), chunk=100)


@pytest.fixture
def folder(tmp_path):
    return catalogue(tmp_path / "catalogue")


def known(monkeypatch, rows):
    monkeypatch.setattr(planning, "read_rows", lambda archive, square: list(rows))


def test_a_job_has_its_acquisition_and_what_it_needs(archive, folder):
    found = jobs_of(steps_of(archive, folder))
    assert [job.square for job in found] == ["31UES"] * 7
    times = [job.row.time for job in found]
    assert times == sorted(times)
    for job in found:
        row = job.row
        by_collection = {}
        for item in job.items:
            by_collection.setdefault(item["collection"], set()).add(item["id"])
        assert by_collection.pop("sentinel-1-sigma0") == set(row.radar)
        assert by_collection.pop("dem") == set(row.elevation)
        assert set().union(*by_collection.values()) == set(row.partners)
        for item in job.items:
            age = pd.Timestamp(item["properties"]["datetime"]).timestamp() - row.time
            assert item["collection"] == "dem" or abs(age) <= 3 * 86_400
        assert list(row.coverage) == chunks_over(SQUARE, in_degrees(BOX), 100)
        assert row.status == "done"
        assert not row.provisional
        assert len(row.model_sha256) == 64


def test_an_area_decides_what_is_computed_and_not_what_an_acquisition_is(archive, tmp_path):
    folder = catalogue(tmp_path / "wide", bbox=(3.0, 50.7, 3.3, 50.9))
    one, *_ = jobs_of(steps_of(archive, folder))
    all_of_it, *_ = jobs_of(steps_of(archive, folder, area=None, squares=["31UES"]))
    assert one.row.digest == all_of_it.row.digest
    assert one.items == all_of_it.items
    assert set(one.row.coverage) < set(all_of_it.row.coverage)


def test_a_pass_over_the_end_of_a_month_is_one_job_of_the_month_it_began_in(archive, tmp_path):
    def slices(items):
        radar = [item for item in items if item.collection_id == "sentinel-1-sigma0"]
        rest = [item for item in items if item.collection_id != "sentinel-1-sigma0"]
        first = radar[0]
        before = pd.Timestamp("2023-06-30T23:59:50Z") - pd.Timestamp(first.datetime)
        one = moved(first, seconds=before.total_seconds())
        north = moved(one, seconds=25)
        shape = shapely.affinity.translate(shapely.geometry.shape(north.geometry), 0, 0.01)
        north.geometry, north.bbox = shapely.geometry.mapping(shape), list(shape.bounds)
        return [*rest, one, north]

    folder = catalogue(tmp_path / "c", start="2023-06-26", days=10, change=slices)
    whole, june, july = (
        jobs_of(steps_of(archive, folder, dates))
        for dates in ("2023-06/2023-07", "2023-06", "2023-07")
    )
    assert [len(job.row.radar) for job in whole] == [2]
    assert june == whole
    assert july == []


def test_what_the_ledger_has_makes_no_job(archive, folder, monkeypatch):
    first = jobs_of(steps_of(archive, folder))
    done = [replace(job.row, status="done", written="2023", valued=5) for job in first]
    known(monkeypatch, done)
    found = steps_of(archive, folder)
    assert jobs_of(found) == []
    assert [note.reason for note in notes_of(found, "known")] == ["already there"] * 7
    known(monkeypatch, [replace(row, model_sha256="other") for row in done])
    assert jobs_of(steps_of(archive, folder)) == []
    again = steps_of(archive, folder, settings=Settings(replace_any=True))
    assert len(jobs_of(again)) == 7
    known(monkeypatch, [replace(row, partners=()) for row in done])
    assert len(jobs_of(steps_of(archive, folder))) == 7


def test_more_of_a_square_is_a_job_for_all_that_is_known_of_it(archive, tmp_path, monkeypatch):
    folder = catalogue(tmp_path / "wide", bbox=(3.0, 50.7, 3.3, 50.9))
    east, west = in_degrees((3.2, 50.8, 3.22, 50.81)), in_degrees((3.1, 50.8, 3.12, 50.81))
    first = jobs_of(steps_of(archive, folder, area=east))
    known(monkeypatch, [replace(job.row, written="2023") for job in first])
    second = jobs_of(steps_of(archive, folder, area=west))
    assert len(second) == len(first)
    expected = {i for area in (east, west) for i in chunks_over(SQUARE, area, 100)}
    assert set(second[0].row.coverage) == expected


def test_without_sentinel2_an_acquisition_is_skipped_once(archive, tmp_path):
    folder = catalogue(
        tmp_path / "c",
        change=lambda items: [i for i in items if i.collection_id != "sentinel-2-l2a"],
    )
    found = steps_of(archive, folder)
    skipped = notes_of(found, "skipped")
    assert jobs_of(found) == []
    assert {note.reason for note in skipped} == {"no Sentinel-2 within 3D"}
    assert all(note.row.status == "skipped" for note in skipped)
    record_open(archive, SQUARE, [note.row for note in skipped])
    again = steps_of(archive, folder)
    assert notes_of(again, "skipped") == []
    assert len(notes_of(again, "known")) == len(skipped)


def test_what_failed_is_tried_again(archive, folder, monkeypatch):
    first = jobs_of(steps_of(archive, folder))
    known(monkeypatch, [replace(job.row, status="failed", reason="x") for job in first])
    assert jobs_of(steps_of(archive, folder)) == first


def test_an_acquisition_is_provisional_until_all_partners_can_have_come(
    archive, folder, monkeypatch
):
    one = jobs_of(steps_of(archive, folder))[2]
    time = pd.Timestamp(one.row.time, unit="s")
    for days, expected in ((4.99, True), (5.01, False)):
        now = time + pd.Timedelta(days=days)
        job = next(
            j for j in jobs_of(steps_of(archive, folder, now=now)) if j.row.key == one.row.key
        )
        assert job.row.provisional is expected
    written = replace(one.row, status="done", provisional=True, written="2023")
    known(monkeypatch, [written])
    settled = notes_of(steps_of(archive, folder, now=LATER), "settled")
    assert [note.row for note in settled] == [written]
    fewer = replace(written, partners=written.partners[:1])
    known(monkeypatch, [fewer])
    replaced = steps_of(archive, folder, now=LATER)
    assert one.row.key in {job.row.key for job in jobs_of(replaced)}
    assert notes_of(replaced, "settled") == []


def test_a_catalogue_that_fails_for_a_month_loses_that_month(archive, folder, monkeypatch):
    found_by = planning.search

    def broken(box, dates, **options):
        if dates[1].month == 7:
            raise CatalogUnreachableError("the STAC API did not answer.")
        return found_by(box, dates, **options)

    monkeypatch.setattr(planning, "search", broken)
    found = steps_of(archive, folder, "2023-05/2023-07")
    (note,) = notes_of(found, "unplanned")
    assert note.reason == "31UES 2023-06: the STAC API did not answer."
    assert [n.reason for n in notes_of(found, "month")] == ["2023-05", "2023-07"]
    with pytest.raises(CatalogUnreachableError, match="2023-06"):
        list(plan(archive, AREA, "2023-05/2023-07", catalog=folder))
    in_order = Round(AREA, "2023-05/2023-07", in_order=True)
    ended = list(steps(archive, [in_order], catalog=folder))
    assert [n.reason for n in notes_of(ended, "month")] == ["2023-05"]


def test_a_catalogue_that_is_down_is_not_asked_for_ever(archive, folder, monkeypatch):
    asked = []

    def down(*args, **options):
        asked.append(args)
        raise CatalogUnreachableError("no answer.")

    monkeypatch.setattr(planning, "search", down)
    with pytest.raises(CatalogUnreachableError, match="months one after the other"):
        steps_of(archive, folder, "2015/2023")
    assert len(asked) == MOST_FAILURES


def test_squares_come_in_turns_and_each_in_order(archive, tmp_path):
    folder = catalogue(tmp_path / "c", bbox=WIDE)
    area = in_degrees(WIDE)
    apart = [job.square for job in jobs_of(steps_of(archive, folder, area=area))]
    assert apart == sorted(apart)
    together = jobs_of(steps_of(archive, folder, area=area, abreast=2))
    assert [job.square for job in together[:4]] == ["31UDS", "31UES"] * 2
    for name in ("31UDS", "31UES"):
        times = [job.row.time for job in together if job.square == name]
        assert times == sorted(times)
        assert len(times) == 7


def test_planning_asks_as_late_as_it_can(archive, folder, monkeypatch):
    asked, found_by = [], planning.search

    def counted(box, dates, **options):
        asked.append(dates)
        return found_by(box, dates, **options)

    monkeypatch.setattr(planning, "search", counted)
    found = steps(archive, [Round(AREA, "2023-06/2023-12")], catalog=folder)
    assert asked == []
    assert isinstance(next(found), Job)
    assert len(asked) == 1
    list(found)
    assert len(asked) == 7


def test_a_planet_is_planned_in_the_memory_of_a_month(folder, monkeypatch):
    monkeypatch.setattr(planning, "search", lambda *a, **k: pages.pop() if pages else [])
    pages = []
    world = in_degrees((-180, -60, 180, 75))
    found = steps(None, [Round(world, "2016/2025")], catalog=folder)
    assert next(found).kind == "month"
    tracemalloc.start()
    for _ in range(200):
        next(found)
    before, _ = tracemalloc.get_traced_memory()
    for _ in range(400):
        next(found)
    after, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert after - before < 200_000


def test_turns_keep_what_each_source_gives_in_order():
    def source(name, number):
        return (Note(name, "month", str(i)) for i in range(number))

    sizes = {"a": 3, "b": 1, "c": 4, "d": 0, "e": 2}
    found = list(interleaved((source(*pair) for pair in sizes.items()), 2))
    for name, number in sizes.items():
        assert [n.reason for n in found if n.square == name] == [str(i) for i in range(number)]
    assert [n.square for n in found[:3]] == ["a", "b", "a"]


@pytest.mark.parametrize("name", ["31UES", "01KAB", "60KXG", "33XVM", "31XEL", "01WCT"])
def test_searches_hold_the_whole_square(name):
    square = next(iter(squares_over(_around(name))), None) or parse(name)
    boxes = boxes_to_search(square.footprint)
    west, south, east, north = square.footprint
    for longitude in (west, east, (west + ((east - west) % 360) / 2 + 180) % 360 - 180):
        assert any(_holds(box, longitude, (south + north) / 2) for box in boxes)
    for box in boxes:
        assert 0 < (box[2] - box[0]) % 360 <= 5


def _around(name):
    places = {"01KAB": (-179.9, -18.5), "60KXG": (179.9, -18.5), "33XVM": (14, 80.6)}
    places |= {"31XEL": (4, 82.5), "01WCT": (-179.9, 70), "31UES": (3.5, 51)}
    lon, lat = places[name]
    return shapely.box(lon - 0.01, lat - 0.01, lon + 0.01, lat + 0.01)


def _holds(box, longitude, latitude):
    west, south, east, north = box
    return (longitude - west) % 360 <= (east - west) % 360 and south <= latitude <= north


@pytest.mark.parametrize(
    ("settings", "cloud"),
    [
        (Settings(window="soon"), 60),
        (Settings(elevation="srtm"), 60),
        (Settings(max_failed=2), 60),
        (Settings(), 101),
    ],
)
def test_settings_that_cannot_be_served_are_refused_at_once(archive, folder, settings, cloud):
    with pytest.raises(RequestError):
        steps(archive, [], catalog=folder, settings=settings, max_cloud_cover=cloud)
