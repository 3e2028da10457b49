from __future__ import annotations

import copy
import json
import socket
import time
from collections import Counter
from importlib import import_module
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

import gssm
from fault_server import Site, served
from gssm.errors import (
    CatalogUnreachableError,
    EmptySearchError,
    GssmWarning,
    RequestError,
    UnknownCatalogError,
)
from imagery import FOOTPRINT, landsat_item, optical_item, radar_item

BBOX = (3.0195, 50.8132, 3.0282, 50.8187)
SUMMER = "2018-05-01/2018-09-30"
AREA = (3.0, 50.52, 3.02, 50.54)
JUNE = "2020-06"


def write_folder(folder: Path, *items: Any) -> Path:
    (folder / "items.json").write_text(json.dumps({"type": "FeatureCollection", "features": items}))
    return folder


def found_ids(folder: Path, bbox: Any = AREA, datetime: Any = JUNE, **options: Any) -> list[str]:
    return [item.id for item in gssm.search(bbox, datetime, catalog=folder, **options)]


def test_counts_on_the_real_site(flanders: Path) -> None:
    items = gssm.search(BBOX, SUMMER, catalog=flanders)
    counts = Counter(item.collection_id for item in items)
    assert counts["sentinel-1-sigma0"] == 49  # README of the test data
    assert counts["dem"] == 1  # of 2010: elevation is found without dates
    assert items.extra_fields["gssm:bbox"] == list(BBOX)
    for item in items:
        assert all(Path(asset.href).is_file() for asset in item.assets.values())


def test_partners_reach_beyond_the_dates_by_the_window(flanders: Path) -> None:
    def days(window: str) -> dict[str, pd.Series[Any]]:
        items = gssm.search(
            BBOX, "2018-05-03/2018-05-10", catalog=flanders, max_cloud_cover=100, window=window
        )
        times = {(i.collection_id, i.datetime.replace(tzinfo=None)) for i in items if i.datetime}
        return {name: sorted(t for c, t in times if c == name) for name, _ in times}

    for window in ("0D", "3D"):
        found, margin = days(window), pd.Timedelta(window)
        first, last = pd.Timestamp("2018-05-03"), pd.Timestamp("2018-05-11")
        assert first <= found["sentinel-1-sigma0"][0]
        assert found["sentinel-1-sigma0"][-1] < last
        assert first - margin <= found["sentinel-2-l2a"][0]
        assert found["sentinel-2-l2a"][-1] < last + margin
    assert len(days("3D")["sentinel-2-l2a"]) > len(days("0D")["sentinel-2-l2a"])


@pytest.mark.parametrize(("limit", "expected"), [(0, 3), (60, 30), (100, 33)])
def test_cloud_cover_is_filtered_on_our_side(flanders: Path, limit: float, expected: int) -> None:
    items = gssm.search(BBOX, SUMMER, catalog=flanders, max_cloud_cover=limit)
    covers = [i.properties["eo:cloud_cover"] for i in items if i.collection_id == "sentinel-2-l2a"]
    assert max(covers) <= limit
    # Counted over the records of the folder, radar dates widened by three days.
    record = json.loads((flanders / "sentinel-2-l2a.json").read_text())
    by_hand = [
        f["id"]
        for f in record["features"]
        if "2018-04-28" <= f["properties"]["datetime"] < "2018-10-04"
        and f["properties"]["eo:cloud_cover"] <= limit
    ]
    assert len(covers) == len(by_hand) == expected


def test_optical_image_without_cloud_cover_is_kept(tmp_path: Path) -> None:
    folder = write_folder(tmp_path, radar_item(), optical_item(), landsat_item(eo__cloud_cover=90))
    assert found_ids(folder) == ["S1", "S2"]


def test_last_day_is_included_and_times_are_utc(tmp_path: Path) -> None:
    items = [
        radar_item("last second", "2020-06-30T23:59:59.9Z"),
        radar_item("next day", "2020-07-01T00:00:00Z"),
        radar_item("naive", "2020-06-01T00:00:00"),
        radar_item("may in UTC", "2020-06-01T01:00:00+02:00"),
        radar_item(
            "start in june",
            None,
            start_datetime="2020-06-05T06:00:00Z",
            end_datetime="2020-06-05T06:00:25Z",
        ),
        radar_item(
            "start in may",
            None,
            start_datetime="2020-05-05T06:00:00Z",
            end_datetime="2020-05-05T06:00:25Z",
        ),
    ]
    assert found_ids(write_folder(tmp_path, *items)) == ["last second", "naive", "start in june"]


@pytest.mark.parametrize(
    ("bbox", "area", "found"),
    [
        (list(FOOTPRINT), AREA, True),
        ([2.99, 50.5, -5, 3.05, 50.6, 300], AREA, True),
        ([2.99, 50.5, -5, 3.05, 50.6, 300], (4, 50.5, 4.1, 50.6), False),
        ([2.99, 50.5, -5, 3.05, 50.6, 300], (3, 51, 3.1, 51.1), False),
        (None, AREA, True),
        ([179, -1, -179, 1], (179.5, 0, 179.6, 0.1), True),
        ([179, -1, -179, 1], (-179.6, 0, -179.5, 0.1), True),
        ([179, -1, -179, 1], (0, 0, 0.1, 0.1), False),
    ],
)
def test_items_by_place(tmp_path: Path, bbox: Any, area: Any, found: bool) -> None:
    item = radar_item()
    if bbox is None:
        del item["bbox"]
    else:
        item["bbox"] = bbox
    folder = write_folder(tmp_path, item)
    if found:
        assert found_ids(folder, area) == ["S1"]
    else:
        with pytest.raises(EmptySearchError, match="no Sentinel-1 item"):
            found_ids(folder, area)


def test_an_item_listed_twice_is_found_once(tmp_path: Path) -> None:
    folder = write_folder(tmp_path, radar_item(), radar_item(), optical_item())
    (folder / "again.json").write_text((folder / "items.json").read_text())
    assert sorted(found_ids(folder)) == ["S1", "S2"]


def test_one_file_is_a_catalogue_too(tmp_path: Path) -> None:
    write_folder(tmp_path, radar_item())
    assert found_ids(tmp_path / "items.json") == ["S1"]


def test_relative_hrefs_start_at_their_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    item = radar_item()
    item["assets"]["vv"]["href"] = "./S1/vv.tif"
    folder = write_folder(tmp_path, item)
    monkeypatch.chdir(tmp_path.parent)
    (found,) = gssm.search(AREA, JUNE, catalog=Path(folder.name))
    assert found.assets["vv"].href == str(folder.resolve() / "S1" / "vv.tif")


def broken(**changes: Any) -> dict[str, Any]:
    item = copy.deepcopy(optical_item("broken"))
    for key, value in changes.items():
        if value is None:
            item.pop(key)
        else:
            item[key] = value
    return item


@pytest.mark.parametrize(
    "item",
    [
        broken(properties=None),
        broken(id=None),
        broken(stac_version=None),
        broken(properties={"datetime": None}),
        broken(properties={"datetime": None, "end_datetime": "2020-06-10T06:00:00Z"}),
        broken(properties={"datetime": "yesterday"}),
        broken(assets={"SCL": {"title": "without href"}}),
        5,
        None,
    ],
)
def test_a_broken_item_is_named_and_left_out(tmp_path: Path, item: Any) -> None:
    folder = write_folder(tmp_path, radar_item(), item)
    with pytest.warns(GssmWarning, match=r"item '.*' of .*items\.json left out"):
        assert found_ids(folder) == ["S1"]


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b'{"type": ', "items.json is not readable JSON"),
        (b"\xff\xfe\x00", "items.json is not readable JSON"),
        (b"", "items.json is not readable JSON"),
        (b"[]", "offers no collection that gssm knows"),
        (b'{"type": "FeatureCollection"}', "offers no collection that gssm knows"),
        (b'{"type": "FeatureCollection", "features": []}', "offers no collection that gssm knows"),
    ],
)
def test_folder_without_usable_json(tmp_path: Path, content: bytes, reason: str) -> None:
    (tmp_path / "items.json").write_bytes(content)
    with pytest.raises(UnknownCatalogError, match=reason):
        found_ids(tmp_path)


def test_folder_of_unknown_collections_names_them(tmp_path: Path) -> None:
    item = {**radar_item(), "collection": "modis-09A1"}
    with pytest.raises(UnknownCatalogError, match=r"offers: modis-09A1\); gssm reads sentinel-1-"):
        found_ids(write_folder(tmp_path, item))


@pytest.mark.parametrize(
    ("catalog", "reason"),
    [
        (Path("/nowhere/at/all"), "/nowhere/at/all does not exist"),
        ("/nowhere/at/all", "no catalogue '/nowhere/at/all'; use 'planetary-computer'"),
        ("planetary-computr", "no catalogue 'planetary-computr'"),
    ],
)
def test_unknown_catalogue(catalog: Any, reason: str) -> None:
    with pytest.raises(UnknownCatalogError, match=reason):
        gssm.search(AREA, JUNE, catalog=catalog)


@pytest.mark.parametrize(
    "catalog", [None, 5, 1.5, b"a", [], [None], {}, {"url": "a"}, [["a"]], ["cdse", 5], object()]
)
def test_what_cannot_name_a_catalogue(catalog: Any) -> None:
    with pytest.raises(UnknownCatalogError, match=r"catalog .* names no catalogue; give the name"):
        gssm.search(AREA, JUNE, catalog=catalog)


def test_a_name_too_long_for_a_path() -> None:
    with pytest.raises(UnknownCatalogError, match="there is no catalogue 'aaa"):
        gssm.search(AREA, JUNE, catalog="a" * 5000)


@pytest.mark.parametrize("url", ["http://", "http://[", "http://a:b/", "https://me:secret@h/x"])
def test_what_cannot_be_the_address_of_an_api(url: str) -> None:
    with pytest.raises(UnknownCatalogError, match="cannot be the address of a STAC API") as told:
        gssm.search(AREA, JUNE, catalog=url)
    assert "secret" not in str(told.value)


HREF = "https://example.com/a.tif"


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        *(({"id": None}, "no id of text"), ({"id": 5}, "no id of text")),
        *(({"properties": []}, "'P'"), ({"collection": 5}, "'P'"), ({"bbox": ["a"]}, "'P'")),
        *(({"assets": None}, "'P'"), ({"assets": {"vv": None}}, "'P'"), ({"links": 5}, "'P'")),
        *(({"assets": {"vv": {"href": h}}}, "'P'") for h in (None, 5, "", "http://[::1")),
        ({"assets": {"vv": {"href": "https://me:secret@example.com/a.tif"}}}, "no plain host"),
    ],
)
def test_a_broken_item_of_an_api_is_named_and_left_out(
    changes: dict[str, Any], reason: str
) -> None:
    site = Site(items=[{**radar_item(), "assets": {k: {"href": HREF} for k in ("vv", "vh")}}])
    site.items.append({**site.items[0], "id": "P", **changes})
    names = {"collection": "sentinel-1-sigma0"}  # the server of the tests sorts by it
    site.items[:] = [_Item(item, names) for item in site.items]
    with served(site), pytest.warns(GssmWarning, match=r"1 item\(s\) left out: ") as told:
        found = gssm.search(AREA, JUNE, catalog=site.url)
    assert [item.id for item in found] == ["S1"]
    text = " ".join(str(w.message) for w in told)
    assert reason in text
    assert "secret" not in text


class _Item(dict[str, Any]):
    """An item that a server finds by its collection, whatever it says."""

    def __init__(self, item: dict[str, Any], known: dict[str, Any]) -> None:
        super().__init__(item)
        self.known = known

    def __getitem__(self, key: str) -> Any:
        return self.known.get(key) or super().__getitem__(key)


def test_unknown_level(tmp_path: Path) -> None:
    with pytest.raises(UnknownCatalogError, match=r"level 'l3' is not offered by .*level='l2'"):
        found_ids(write_folder(tmp_path, radar_item()), level="l3")


@pytest.mark.parametrize(
    ("bbox", "datetime", "reason"),
    [
        ((10, 10, 11, 11), JUNE, "no Sentinel-1 item in .*move the box"),
        (AREA, "2019-06", "no Sentinel-1 item in .*2019-06-01/2019-06-30; widen the dates"),
    ],
)
def test_empty_search(tmp_path: Path, bbox: Any, datetime: str, reason: str) -> None:
    with pytest.raises(EmptySearchError, match=reason):
        found_ids(write_folder(tmp_path, radar_item(), optical_item()), bbox, datetime)


def test_a_request_is_checked_before_the_catalogue() -> None:
    with pytest.raises(RequestError, match="west > east"):
        gssm.search((4, 50, 3, 51), JUNE, catalog="nowhere")


def test_unreachable_server_is_named_after_bounded_retries(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(import_module("gssm.search"), "RETRIES", 1)
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{unused.getsockname()[1]}"
    begin = time.monotonic()
    with pytest.raises(CatalogUnreachableError, match=f"{url} did not answer.*check the URL"):
        gssm.search(AREA, JUNE, catalog=url)
    assert time.monotonic() - begin < 20


def in_folder(folder: Path, *items: Any) -> Path:
    folder.mkdir()
    return write_folder(folder, *items)


def test_several_catalogues_are_searched_together(tmp_path: Path) -> None:
    radar = in_folder(tmp_path / "radar", radar_item("radar", "2020-06-05T06:00:00Z"))
    optical = in_folder(
        tmp_path / "optical", optical_item("optical", "2020-06-05T10:00:00Z"), landsat_item("land")
    )
    found = gssm.search(AREA, JUNE, catalog=[radar, optical], window="30D")
    assert {item.id for item in found} == {"radar", "optical", "land"}
    with pytest.raises(EmptySearchError, match="no Sentinel-1 item"):
        gssm.search(AREA, JUNE, catalog=[optical])


def test_a_record_of_ones_own_finds_and_stays_with_its_items(tmp_path: Path) -> None:
    ours = {**radar_item("ours", "2020-06-05T06:00:00Z"), "collection": "our-radar"}
    in_folder(tmp_path / "items", ours, optical_item("optical", "2020-06-05T10:00:00Z"))
    record = tmp_path / "catalogue.yaml"
    record.write_text(
        "url: items\n"
        "collections:\n"
        "  our-radar: {like: sentinel-1-sigma0}\n"
        "  sentinel-2-l2a: {like: sentinel-2-l2a}\n"
    )
    for catalog in (record, str(record), gssm.read_record(record)):
        found = gssm.search(AREA, JUNE, catalog=catalog)
        assert {item.id for item in found} == {"ours", "optical"}
    # Saved and read again without the record, they are what they were.
    saved = tmp_path / "saved.json"
    saved.write_text(json.dumps(found.to_dict()))
    assert {item.id for item in gssm.search(AREA, JUNE, catalog=saved)} == {"ours", "optical"}
    assert len(gssm.matchups(found)) == 1


def test_a_box_across_the_180th_meridian_finds_both_sides(tmp_path: Path) -> None:
    def at(name: str, west: float, east: float) -> Any:
        item = copy.deepcopy(radar_item(name, "2020-06-05T06:00:00Z"))
        ring = [[west, 50], [east, 50], [east, 51], [west, 51], [west, 50]]
        item["geometry"] = {"type": "Polygon", "coordinates": [ring]}
        item["bbox"] = [west, 50, east, 51]
        return item

    items = (
        at("west of it", 178, 179.9),
        at("east of it", -179.9, -178),
        at("far", 170, 172),
        {**at("across", 179, 180), "bbox": [179, 50, -179, 51]},
    )
    write_folder(tmp_path, *items)
    for box in ((179.5, 50.2, -179.5, 50.4), (179.5, 50.2, 180.5, 50.4)):
        assert set(found_ids(tmp_path, box)) == {"west of it", "east of it", "across"}
    assert found_ids(tmp_path, (178.2, 50.2, 178.4, 50.4)) == ["west of it"]
