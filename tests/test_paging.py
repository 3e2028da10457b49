"""Pages: all items, each once, in memory that their number does not blow up, and an end."""

from __future__ import annotations

import copy
import tracemalloc
from collections.abc import Iterator
from typing import Any

import pytest

import gssm
from fault_server import Handler, Rule, Site, served
from gssm import network
from gssm.errors import CatalogUnreachableError, UnknownCatalogError
from imagery import optical_item, radar_item

AREA = (3.0, 50.52, 3.02, 50.54)
MANY = 10_000


@pytest.fixture
def site(monkeypatch: pytest.MonkeyPatch) -> Iterator[Site]:
    monkeypatch.setattr(network, "BACKOFF_SECONDS", 0.01)
    with served(Site()) as running:
        yield running


def add(site: Site, item: dict[str, Any], count: int, **properties: Any) -> None:
    for key in item["assets"]:
        item["assets"][key]["href"] = f"{site.url}/files/{key}.tif"
    for number in range(count):
        one = copy.deepcopy(item)
        one["id"], one["properties"] = f"{item['id']}{number}", item["properties"] | properties
        site.items.append(one)


def peak_bytes(site: Site, count: int) -> int:
    """Memory at most while so many cloudy items are paged through, of which none is kept."""
    site.items.clear()
    add(site, radar_item(), 3)
    add(site, optical_item(), count, **{"eo:cloud_cover": 90})
    tracemalloc.start()
    found = gssm.search(AREA, "2020-06", catalog=site.url, max_cloud_cover=60)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert len(found) == 3
    return peak


@pytest.mark.timeout(60)
def test_ten_thousand_items_in_bounded_memory(site: Site) -> None:
    few = peak_bytes(site, MANY // 10)
    site.requests.clear()
    many = peak_bytes(site, MANY)
    assert site.count("/search") == 1 + MANY / 500
    assert many < 1.5 * few  # a few pages, however many there are
    assert len(gssm.search(AREA, "2020-06", catalog=site.url, max_cloud_cover=100)) == MANY + 3


def test_items_repeated_across_pages_are_found_once(site: Site) -> None:
    add(site, radar_item(), 30)
    site.items[10:10] = copy.deepcopy(site.items[:10])
    site.page_items = 10
    found = gssm.search(AREA, "2020-06", catalog=site.url)
    assert sorted(i.id for i in found) == sorted({i["id"] for i in site.items})


def test_a_page_that_fails_in_the_middle_is_asked_again_or_named(site: Site) -> None:
    add(site, radar_item(), 30)
    site.page_items = 10
    site.rules.append(Rule("/search", "500", times=1, after=1))
    assert len(gssm.search(AREA, "2020-06", catalog=site.url)) == 30
    site.rules[:] = [Rule("/search", "500", after=1)]
    with pytest.raises(CatalogUnreachableError, match=r"HTTP 500.*check the URL"):
        gssm.search(AREA, "2020-06", catalog=site.url)


def test_endless_pages_end(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gssm.paging.MOST_PAGES", 2)
    add(site, radar_item(), 30)
    site.page_items = 10
    with pytest.raises(CatalogUnreachableError, match="more than 2 pages; ask for a smaller box"):
        gssm.search(AREA, "2020-06", catalog=site.url)


def test_a_next_page_is_never_asked_for_by_other_means(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    add(site, radar_item(), 3)
    page = Handler.page

    def delete(handler: Handler, *args: Any) -> dict[str, Any]:
        found = page(handler, *args)
        link = {"rel": "next", "href": f"{site.url}/search", "method": "DELETE"}
        return {**found, "links": [link]}

    monkeypatch.setattr(Handler, "page", delete)
    with pytest.raises(CatalogUnreachableError, match="asked for by DELETE, no GET or POST"):
        gssm.search(AREA, "2020-06", catalog=site.url)
    assert {command for command, _, _ in site.requests} <= {"GET", "POST"}


def test_unknown_collections_are_named(site: Site) -> None:
    add(site, {**radar_item(), "collection": "modis"}, 1)
    with pytest.raises(UnknownCatalogError, match=r"offers: modis\)"):
        gssm.search(AREA, "2020-06", catalog=site.url)
