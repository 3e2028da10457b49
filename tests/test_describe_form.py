"""What is no STAC item, by the types of its parts, is refused in one sentence that names them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pystac
import pytest

import gssm
from gssm.describe import describe
from gssm.errors import EmptySearchError, GssmWarning, ItemError
from imagery import landsat_item, optical_item, radar_item

Item = dict[str, Any]
BBOX = (3.0, 50.52, 3.01, 50.53)


def with_asset(item: Item, key: str, asset: Any) -> Item:
    return {**item, "assets": {**item["assets"], key: asset}}


@pytest.mark.parametrize("href", [5, 0, True, ["a.tif"], {"href": "a.tif"}])
@pytest.mark.parametrize(
    ("make", "key"),
    [(radar_item, "vv"), (optical_item, "B04"), (optical_item, "SCL"), (landsat_item, "red")],
)
def test_an_address_that_is_no_text_is_refused(
    make: Callable[[], Item], key: str, href: Any
) -> None:
    with pytest.raises(ItemError, match=rf"has as href of the asset '{key}' .*, which is no text$"):
        describe(with_asset(make(), key, {"href": href}))


@pytest.mark.parametrize("asset", [{}, {"type": "image/tiff"}, {"href": None}, {"href": ""}, None])
@pytest.mark.parametrize(
    ("make", "key", "reason"),
    [
        (radar_item, "vv", "has the assets vh; gssm needs vv and vh"),
        (optical_item, "SCL", "has no SCL or .* so clouds cannot be masked"),
        (optical_item, "B04", r"has the asset 'B04' without an address \(href\)"),
        (landsat_item, "red", r"has the asset 'red' without an address \(href\)"),
    ],
)
def test_an_asset_without_an_address_is_refused(
    make: Callable[[], Item], key: str, reason: str, asset: Any
) -> None:
    with pytest.raises(ItemError, match=reason):
        describe(with_asset(make(), key, asset))


def test_an_asset_that_nothing_reads_may_lack_its_address() -> None:
    item = with_asset(optical_item(), "thumbnail", {"type": "image/png"})
    assert sorted(describe(item).rasters) == ["s2_b4", "s2_b8"]
    # One of the names of a band is enough.
    item = with_asset(optical_item(), "B04_10m", {"type": "image/jp2"})
    assert sorted(describe(item).rasters) == ["s2_b4", "s2_b8"]


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"id": None}, "has the id None, which is no text"),
        ({"id": 5}, "has the id 5, which is no text"),
        ({"collection": 5}, "'S1' has as collection 5, which is no text"),
        ({"collection": ["a"]}, r"'S1' has as collection \['a'\], which is no text"),
        ({"properties": [1]}, r"'S1' has as properties \[1\], which is no mapping"),
        ({"assets": [1]}, r"'S1' has as assets \[1\], which is no mapping"),
        ({"assets": {"vv": "a.tif"}}, "'S1' has as asset 'vv' 'a.tif', which is no mapping"),
    ],
)
def test_parts_of_another_type_are_named(changes: Item, reason: str) -> None:
    with pytest.raises(ItemError, match=reason) as caught:
        describe({**radar_item(), **changes})
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("time", [5, 1.5, True, ["2020-06-10"], "NaT", {}.keys()])
def test_a_datetime_of_another_type_is_no_time(time: Any) -> None:
    item = radar_item()
    item["properties"]["datetime"] = time
    with pytest.raises(ItemError, match=r"'S1' has (the datetime .*, not a time|no datetime)"):
        describe(item)


def test_open_cube_says_what_is_wrong_with_items_given_by_hand() -> None:
    broken = with_asset(radar_item(), "vv", {"href": 5})
    with pytest.raises(EmptySearchError, match=r"'S1' has as href of the asset 'vv' 5, which is"):
        gssm.open_cube([broken], bbox=BBOX)
    of_pystac = pystac.Item.from_dict(radar_item())
    of_pystac.assets["vv"].href = None
    with pytest.raises(EmptySearchError, match="has the assets vh; gssm needs vv and vh"):
        gssm.open_cube([of_pystac], bbox=BBOX)
    optical = with_asset(optical_item(), "B04", {"href": 5})
    with pytest.warns(GssmWarning, match="left out: item 'S2' has as href of the asset 'B04' 5"):
        cube = gssm.open_cube([radar_item(), optical], bbox=BBOX)
    assert cube.sizes["time"] == 1


def test_the_item_is_left_as_it_was() -> None:
    item = {**radar_item(), "assets": {**radar_item()["assets"], "note": None}}
    before = repr(item)
    describe(item)
    assert repr(item) == before
