from dataclasses import replace

import pandas as pd
import pystac
import pytest

import gssm
from gssm.archive.recipe import Recipe, write_recipe
from gssm.archive.repository import create_archive
from gssm.errors import ArchiveError, CatalogUnreachableError, RequestError
from gssm.simulate import simulate_items
from gssm.web import catalog as catalogs
from gssm.web.catalog import Catalog, box_around, moment_of
from gssm.web.problems import NotFoundError, TooMuchError
from gssm.web.settings import Limits
from web_jobs import settings_of

BOX, PERIOD = (3.02, 50.80, 3.05, 50.83), "2023-06-01/2023-06-20"


def save(folder, items):
    folder.mkdir(exist_ok=True)
    pystac.ItemCollection(items).save_object(str(folder / "items.json"))


@pytest.fixture
def folder(tmp_path):
    """Folder with a catalogue without pixels, and an archive that names it."""
    save(tmp_path / "catalogue", list(simulate_items(bbox=BOX, start="2023-06-01", days=20)))
    archive = create_archive(tmp_path / "main", chunk=200)
    write_recipe(archive, Recipe(catalog=str(tmp_path / "catalogue")))
    return tmp_path


@pytest.fixture
def searches(monkeypatch):
    """Boxes and periods that the catalogue is searched for."""
    asked, search = [], catalogs.search

    def counted(box, dates, **options):
        asked.append((box, dates))
        return search(box, dates, **options)

    monkeypatch.setattr(catalogs, "search", counted)
    return asked


def test_dates_are_those_of_matchups_with_the_nearest_partners(folder):
    dates = Catalog(settings_of(folder)).dates(BOX, PERIOD)
    items = gssm.search(BOX, PERIOD, catalog=folder / "catalogue")
    table = gssm.matchups(items)
    assert [date.time for date in dates] == list(table.index)
    times = {item.id: pd.Timestamp(item.datetime).tz_localize(None) for item in items}
    for date, (_, row) in zip(dates, table.iterrows(), strict=True):
        assert date.id == f"{date.time:%Y%m%dT%H%M%SZ}"
        assert moment_of(date.id) == date.time.floor("s")
        assert date.relative_orbit == row["relative_orbit"]
        assert date.orbit_state == row["orbit_state"]
        assert date.platform == row["platform"]
        assert date.reason == row["reason"]
        for short, role in (("s2", "sentinel2"), ("landsat", "landsat")):
            age, time = getattr(date, f"{short}_age"), getattr(date, f"{short}_time")
            if not row[role]:
                assert (age, time) == (None, None)
                continue
            assert age == row[f"{role}_offset_days"][0]
            assert time == times[row[role][0]]
            assert abs((time - date.time) / pd.Timedelta("1D") - age) < 1e-3
    assert any(date.landsat_time is None for date in dates)


def test_a_date_without_sentinel_2_says_why_there_is_no_map(folder):
    save(
        folder / "catalogue",
        [
            item
            for item in simulate_items(bbox=BOX, start="2023-06-01", days=20)
            if item.collection_id != "sentinel-2-l2a"
        ],
    )
    dates = Catalog(settings_of(folder)).dates(BOX, PERIOD)
    assert dates
    for date in dates:
        assert (date.s2_time, date.s2_age) == (None, None)
        assert date.reason == "no Sentinel-2 within 3D with at most 60 % cloud"


def test_where_and_when_there_is_nothing_there_are_no_dates(folder):
    catalog = Catalog(settings_of(folder))
    assert catalog.dates((10.0, 50.0, 10.1, 50.1), PERIOD) == ()
    assert catalog.dates(BOX, "2019-06") == ()


def test_the_same_is_asked_for_once_in_a_while(folder, searches, monkeypatch):
    catalog = Catalog(settings_of(folder))
    first = catalog.dates(BOX, PERIOD)
    assert catalog.dates(list(BOX), PERIOD) is first
    catalog.dates(BOX, "2023-06-01/2023-06-02")
    assert len(searches) == 2
    monkeypatch.setattr(catalog._dates, "_TTLCache__ttl", 0)
    catalog._dates.clear()
    assert catalog.dates(BOX, PERIOD) == first
    assert len(searches) == 3


def test_a_failure_is_not_remembered(folder, monkeypatch):
    catalog, search = Catalog(settings_of(folder)), catalogs.search

    def refuse(*_, **__):
        raise CatalogUnreachableError("the catalogue did not answer.")

    monkeypatch.setattr(catalogs, "search", refuse)
    with pytest.raises(CatalogUnreachableError):
        catalog.dates(BOX, PERIOD)
    monkeypatch.setattr(catalogs, "search", search)
    assert catalog.dates(BOX, PERIOD)


def test_a_date_is_found_in_a_list_that_was_asked_for_or_by_a_search(folder, searches):
    catalog = Catalog(settings_of(folder))
    one = Catalog(settings_of(folder)).dates(BOX, PERIOD)[1]
    searches.clear()
    assert catalog.find(BOX, one.id) == one
    ((_, (first, last)),) = searches
    assert first < one.time < last
    assert last - first < pd.Timedelta("1h")
    catalog.dates(BOX, PERIOD)
    searches.clear()
    assert catalog.find(BOX, one.id) == one
    assert searches == []


@pytest.mark.parametrize(
    "name",
    [
        *("20230101T000000Z", "20230603", "", "latest", "2023-06-03", "20239999T999999Z"),
        *("x" * 99, "99990101T000000Z", "00010101T000000Z", "\u0662" * 8 + "T000000Z"),
    ],
)
def test_a_date_that_is_none_is_not_found(folder, name):
    with pytest.raises(NotFoundError, match="there is no acquisition"):
        Catalog(settings_of(folder)).find(BOX, name)


def test_too_large_a_box_and_too_long_a_period_are_refused(folder, searches):
    catalog = Catalog(settings_of(folder, limits=Limits(box_km2=100, catalog_days=30)))
    with pytest.raises(TooMuchError, match="at most 100 km2"):
        catalog.dates((3.0, 50.0, 3.5, 50.5), PERIOD)
    with pytest.raises(TooMuchError, match="at most 30"):
        catalog.dates(BOX, "2023-01/2023-06")
    with pytest.raises(RequestError):
        catalog.dates((3.0, 50.0, 3.0, 50.5), PERIOD)
    assert searches == []


def test_the_recipe_of_the_first_archive_counts_where_the_settings_say_nothing(folder):
    other = create_archive(folder / "other", chunk=200)
    recipe = Recipe(catalog=str(folder / "catalogue"), window="5D", max_cloud_cover=20)
    write_recipe(other, recipe)
    archives = {"other": str(folder / "other"), "main": str(folder / "main")}
    how = Catalog(settings_of(folder, archives=archives)).how()
    assert (how.recipe, how.archive) == (recipe, other)
    stated = settings_of(folder, archives=archives, catalog="earth-search")
    assert Catalog(stated).how().recipe == replace(recipe, catalog="earth-search")
    model = settings_of(folder, archives=archives, model=str(folder))
    assert Catalog(model).how().recipe == replace(recipe, model=str(folder))


def test_an_archive_without_a_recipe_has_that_of_a_new_one(tmp_path):
    create_archive(tmp_path / "main", chunk=200)
    assert Catalog(settings_of(tmp_path)).how().recipe == Recipe()


def test_an_archive_that_is_gone_is_told_each_time(tmp_path):
    catalog = Catalog(settings_of(tmp_path))
    for _ in range(2):
        with pytest.raises(ArchiveError, match="there is none"):
            catalog.how()
    assert catalog.known is None


@pytest.mark.parametrize("place", [(3.0, 50.8), (180.0, 0.0), (-180.0, 10.0), (0.0, 90.0)])
def test_a_point_has_a_small_box_around_it(place):
    west, south, east, north = box_around(*place)
    assert 0 < (east - west) % 360 < 0.01
    assert 0 < north - south < 0.01
    assert south <= place[1] <= north
    assert (place[0] - west) % 360 <= (east - west) % 360
