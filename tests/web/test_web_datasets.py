from __future__ import annotations

import threading
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pandas as pd
import pytest
import shapely
from hypothesis import given
from hypothesis import strategies as st

from gssm.archive.repository import create_archive
from gssm.archive.tiles import parse, square_at
from gssm.errors import ArchiveError, RequestError
from gssm.web import datasets as module
from gssm.web import extents
from gssm.web.datasets import (
    Datasets,
    UnknownDatasetError,
    UnknownDateError,
    UnknownVersionError,
    dates_of,
    find_date,
    open_dataset,
)
from web_archives import (
    CHUNK,
    EAST,
    EVENING,
    LATER,
    MIDDLE,
    SQUARE,
    WEST,
    border_archive,
    lonlat,
    row_of,
    small_archive,
    write,
)

FIRST, SECOND, THIRD = "20240101T060000Z", "20240101T180000Z", "20240104T060000Z"


@pytest.fixture(scope="module")
def url(tmp_path_factory):
    return small_archive(tmp_path_factory.mktemp("small") / "archive").url


@pytest.fixture(scope="module")
def dataset(url):
    return open_dataset("flanders", url, "Flanders")


@pytest.fixture(scope="module")
def border(tmp_path_factory):
    return open_dataset("border", border_archive(tmp_path_factory.mktemp("b") / "archive").url)


def centre(index, square=SQUARE, chunk=CHUNK):
    lon, lat = lonlat(square, *((i + 0.5) * chunk for i in index))
    return float(lon), float(lat)


def test_a_dataset_says_where_and_when_it_is(dataset):
    assert (dataset.id, dataset.title, dataset.kind) == ("flanders", "Flanders", "archive")
    assert dataset.ids == (FIRST, SECOND, THIRD)
    assert dataset.start == pd.Timestamp("2024-01-01T06:00")
    assert dataset.end == pd.Timestamp("2024-01-04T06:00")
    assert dataset.squares == (SQUARE,)
    ground = shapely.geometry.shape(dataset.footprint)
    assert ground.is_valid
    assert ground.bounds == pytest.approx(dataset.bbox)
    for index in MIDDLE:
        assert ground.contains(shapely.Point(centre(index)))
    assert not ground.contains(shapely.Point(centre((19, 20))))
    # Four chunks of 200 pixels of 10 m.
    metres = np.cos(np.radians(ground.centroid.y)) * 111_320 * 111_250
    assert ground.area * metres == pytest.approx(16e6, rel=0.01)
    assert dataset.maxzoom == 14
    assert dataset.minzoom == extents.LOWEST_ZOOM
    assert not dataset.true_color


def test_a_footprint_ends_at_the_border_of_the_zone(border):
    parts = [shapely.Polygon(polygon[0]) for polygon in border.footprint["coordinates"]]
    assert len(parts) == 1, "both sides touch at 6 degrees, and are one"
    assert border.bbox[0] < 6 < border.bbox[2]


def test_a_pass_over_several_squares_is_one_date(border):
    assert border.squares == (WEST, EAST)
    assert border.ids == (FIRST,)
    (record,) = dates_of(border)
    assert record.id == FIRST
    assert (border.timeline.places >= 0).all()


def test_dates_of_a_place_are_those_that_were_computed_there(dataset):
    assert [r.id for r in dates_of(dataset)] == [FIRST, SECOND, THIRD]
    assert [r.id for r in dates_of(dataset, centre((20, 20)))] == [FIRST, SECOND, THIRD]
    # The pass of the evening has the western chunks alone.
    assert [r.id for r in dates_of(dataset, centre((20, 21)))] == [FIRST, THIRD]
    assert dates_of(dataset, centre((19, 20))) == []
    lon, lat = centre((21, 21))
    box = (lon - 0.001, lat - 0.001, lon + 0.001, lat + 0.001)
    assert [r.id for r in dates_of(dataset, box)] == [FIRST, THIRD]
    assert [r.id for r in dates_of(dataset, shapely.box(*box))] == [FIRST, THIRD]
    assert dates_of(dataset, (lon + 3, lat, lon + 3.1, lat + 0.1)) == []
    assert dates_of(dataset, (lon + 3, lat)) == []
    assert [r.id for r in dates_of(dataset, None, "2024-01-02/2024-02-01")] == [THIRD]
    assert dates_of(dataset, None, "2019") == []


def test_a_record_has_orbit_platform_and_ages(dataset):
    first, second, third = dates_of(dataset)
    assert (first.relative_orbit, first.orbit_state) == (37, "ascending")
    assert (second.relative_orbit, second.orbit_state) == (110, "descending")
    assert first.platform == "sentinel-1a"
    assert (first.provisional, third.provisional) == (False, True)
    assert first.time == pd.Timestamp("2024-01-01T06:00")


def test_ages_are_means_over_pixels_and_unknown_ones_none(dataset, monkeypatch):
    known = extents.held(dataset.snapshot, SQUARE)
    ages = np.array([[1.5, np.nan], [np.nan, np.nan], [-2.0, 3.0]])
    fake = extents.Held(known.covered, known.valued, known.provisional, ages, known.side)
    monkeypatch.setattr("gssm.web.dates.held", lambda *_: fake)
    assert [(r.s2_age, r.landsat_age) for r in dates_of(dataset)] == [
        (1.5, None),
        (None, None),
        (-2.0, 3.0),
    ]


def test_unknown_orbits_and_platforms_are_none(tmp_path):
    row = row_of(0, relative_orbit=-1, orbit_state="", platform="sentinel-9z")
    archive = small_archive(tmp_path / "a", [row])
    (record,) = dates_of(open_dataset("a", archive.url))
    assert (record.relative_orbit, record.orbit_state, record.platform) == (None, None, None)


def test_a_date_is_a_pass_a_day_or_the_latest(dataset):
    assert find_date(dataset, SECOND) == (1,)
    assert find_date(dataset, "2024-01-01") == (0, 1), "the later one on top"
    assert find_date(dataset, "2024-01-04") == (2,)
    assert find_date(dataset, "latest") == (2,)
    assert find_date(dataset, "20240101T060040Z") == (0,), "a later slice of the pass"


@pytest.mark.parametrize("text", ["2024-01-02", "20240101T120000Z", "20240101T055959Z"])
def test_dates_that_are_not_there_are_named(dataset, text):
    with pytest.raises(UnknownDateError, match=f"no date {text}.* 3 are from 2024-01-01"):
        find_date(dataset, text)


@pytest.mark.parametrize(
    "text", ["", "today", "2024-1-1", "2024-13-01", "20240101T250000Z", "../x"]
)
def test_what_is_no_date_is_refused(dataset, text):
    with pytest.raises(RequestError, match="date"):
        find_date(dataset, text)


def test_an_archive_without_dates_is_a_dataset(tmp_path):
    empty = open_dataset("empty", create_archive(str(tmp_path / "a"), chunk=CHUNK).url)
    assert (empty.ids, empty.bbox, empty.start, empty.end) == ((), None, None, None)
    assert empty.footprint == {"type": "MultiPolygon", "coordinates": []}
    assert empty.minzoom <= empty.maxzoom
    assert dates_of(empty) == []
    with pytest.raises(UnknownDateError, match="its 0 are at all"):
        find_date(empty, "latest")


def test_datasets_have_names(url):
    served = Datasets({"flanders": url})
    served.add("job-1", url, "A field", "job")
    assert [d.id for d in served.list()] == ["flanders", "job-1"]
    assert (served.get("job-1").title, served.get("job-1").kind) == ("A field", "job")
    assert served.get("flanders") is served.get("flanders")
    served.remove("job-1")
    with pytest.raises(UnknownDatasetError, match="no dataset 'job-1'"):
        served.get("job-1")
    with pytest.raises(UnknownDatasetError):
        served.remove("job-1")
    with pytest.raises(RequestError, match="there already"):
        served.add("flanders", url)


@pytest.mark.parametrize("name", ["", "Flanders", "../etc", "a b", "-a", "a" * 65, "s3://x"])
def test_names_that_are_no_part_of_an_address_are_refused(url, name):
    with pytest.raises(RequestError, match="cannot be part of an address"):
        Datasets({name: url})


def test_a_newer_version_is_seen_when_it_is_time_and_the_older_one_stays(tmp_path):
    archive = small_archive(tmp_path / "a", [row_of(0)])
    patient, eager = (Datasets({"a": archive.url}, refresh_seconds=s) for s in (3600, 0))
    old = eager.get("a")
    assert patient.get("a").version == old.version
    write(archive, row_of(1))
    new = eager.get("a")
    assert (old.ids, new.ids) == ((FIRST,), (FIRST, "20240102T060000Z"))
    assert new.version != old.version
    assert eager.get("a", old.version) is old
    assert patient.get("a").version == old.version, "it is not time yet"


def test_only_some_versions_stay(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "VERSIONS", 2)
    archive = small_archive(tmp_path / "a", [row_of(0)])
    served = Datasets({"a": archive.url}, refresh_seconds=0)
    seen = [served.get("a").version]
    for day in (1, 2):
        write(archive, row_of(day))
        seen.append(served.get("a").version)
    assert served.get("a", seen[1]).version == seen[1]
    with pytest.raises(UnknownVersionError, match="no version"):
        served.get("a", seen[0])
    with pytest.raises(UnknownVersionError):
        served.get("a", "x")


def test_where_an_archive_fails_what_is_at_hand_is_served(url, tmp_path, monkeypatch):
    served = Datasets({"a": url, "gone": str(tmp_path / "gone")}, refresh_seconds=0)
    before = served.get("a")
    with pytest.raises(ArchiveError, match="there is none"):
        served.get("gone")
    assert [d.id for d in served.list()] == ["a"]

    def fails(*_):
        raise ArchiveError("archive a: the storage does not answer; run again.")

    monkeypatch.setattr(module, "open_snapshot", fails)
    assert served.get("a") is before


def test_one_looks_for_a_newer_version_and_others_do_not_wait(url, monkeypatch):
    served = Datasets({"a": url}, refresh_seconds=0)
    before = served.get("a")
    opened, go = module.open_snapshot, threading.Event()
    looks = []

    def slow(where):
        looks.append(where)
        assert go.wait(10)
        return opened(where)

    monkeypatch.setattr(module, "open_snapshot", slow)
    with ThreadPoolExecutor(1) as pool:
        coming = pool.submit(served.get, "a")
        while not looks:
            time.sleep(0.001)
        assert served.get("a") is before
        go.set()
        assert coming.result() is before
    assert len(looks) == 1


def test_an_archive_is_opened_once_by_many(url, monkeypatch):
    served, opened, looks = Datasets({"a": url}), module.open_snapshot, []

    def counted(where):
        looks.append(where)
        time.sleep(0.02)
        return opened(where)

    monkeypatch.setattr(module, "open_snapshot", counted)
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda _: served.get("a"), range(16)))
    assert len({id(dataset) for dataset in found}) == len(looks) == 1


def test_no_tile_of_the_lowest_zoom_shows_too_many_squares():
    from rio_tiler.constants import WEB_MERCATOR_TMS

    lons, lats = np.meshgrid(np.arange(-5, 20, 0.4), np.arange(44, 55, 0.4))
    squares = sorted({square_at(*place) for place in zip(lons.flat, lats.flat, strict=True)})
    boxes = np.array([extents.box(square) for square in squares])
    zoom = extents.lowest_zoom(boxes)
    assert zoom > extents.LOWEST_ZOOM

    def most(zoom):
        counts = []
        for tile in WEB_MERCATOR_TMS.tiles(-5, 44, 20, 55, zooms=zoom):
            west, south, east, north = WEB_MERCATOR_TMS.bounds(tile)
            meets = (boxes[:, 0] < east) & (boxes[:, 2] > west)
            counts.append((meets & (boxes[:, 1] < north) & (boxes[:, 3] > south)).sum())
        return max(counts)

    assert most(zoom) <= extents.MOST_SQUARES < most(zoom - 1)


@given(lon=st.floats(-180, 179.99), lat=st.floats(-79.9, 83.9))
def test_a_square_s_box_holds_its_places_and_never_crosses_180(lon, lat):
    west, south, east, north = extents.box(square_at(lon, lat))
    assert -180 <= west <= lon <= east <= 180
    assert south <= lat <= north


@pytest.mark.parametrize(("name", "zoom"), [("31NAA", 14), ("31UES", 14), ("33XVG", 12)])
def test_pixels_of_the_native_zoom_are_no_larger_than_the_archive_s(name, zoom):
    box = extents.box(parse(name))
    assert extents.native_zoom(np.array([box])) == zoom
    ground = 2 * np.pi * 6_378_137 / 256 / 2**zoom * np.cos(np.radians(box[1]))
    assert ground <= 10 < 2 * ground


def test_a_date_over_more_of_a_square_keeps_its_own_chunks(tmp_path):
    rows = [row_of(0, coverage=MIDDLE[:1]), row_of(0, seconds=EVENING, coverage=MIDDLE, **LATER)]
    known = extents.held(
        open_dataset("a", small_archive(tmp_path / "a", rows).url).snapshot, SQUARE
    )
    assert known.covered.sum(axis=1).tolist() == [1, 4]
    assert known.chunks == frozenset(MIDDLE)
    assert (known.valued > 0).all()
