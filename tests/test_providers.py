from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from gssm.catalogs import CATALOGS
from gssm.describe import Observation, describe
from gssm.errors import GssmWarning, ItemError
from gssm.pairing import observations
from gssm.records import make_record
from imagery import radar_item
from provider_rules import COMMAND, DOCUMENT, RULES, Rule, document, rules_for

Item = dict[str, Any]


@pytest.fixture(scope="module")
def stac(test_data: Path) -> Path:
    return test_data / "stac"


def items_of(file: Path) -> list[Item]:
    record = json.loads(file.read_text())
    found = record if isinstance(record, list) else record.get("features", [record])
    return [item for item in found if item.get("type") == "Feature"]


def walk(stac: Path) -> Iterator[tuple[str, Item]]:
    for file in sorted(stac.glob("*/**/*.json")):
        for item in items_of(file):
            yield file.relative_to(stac).parts[0], item


def test_every_real_item_is_described_or_refused_as_the_table_says(stac: Path) -> None:
    seen: Counter[int] = Counter()
    for folder, item in walk(stac):
        (rule,) = rules_for(folder, item)
        seen[RULES.index(rule)] += 1
        follow(rule, item)
    assert {r: seen[n] for n, r in enumerate(RULES)} == {r: r.items for r in RULES}
    assert seen.total() > 160


def follow(rule: Rule, item: Item) -> None:
    if rule.refused:
        with pytest.raises(ItemError, match=rule.refused) as caught:
            describe(item)
        assert repr(item["id"]) in str(caught.value)
        assert "\n" not in str(caught.value)
        return
    before = json.dumps(item)
    described = describe(item)
    assert json.dumps(item) == before
    west, south, east, north = described.footprint
    assert -180.01 < west < 180.01  # elevation tiles reach half a pixel further
    assert -90.01 < south < north < 90.01
    assert (east - west) % 360 < 15
    rule.check(item, described)


def test_the_document_is_written_from_the_table() -> None:
    assert DOCUMENT.read_text(encoding="utf-8") == document(), f"run: {COMMAND}"


def test_the_table_has_every_collection_of_every_named_catalogue() -> None:
    folders = {
        "planetary-computer": "planetary-computer",
        "earth-search": "earth-search-v1",
        "cdse": "cdse",
        "usgs": "usgs-landsatlook",
    }
    for name, catalog in CATALOGS.items():
        in_table = {r.collection for r in RULES if r.folder == folders[name]}
        for collections in catalog.collections.values():
            assert set(collections) <= in_table


def test_the_record_in_the_document_is_one() -> None:
    (example,) = re.findall(r"```yaml\n(.*?)```", document(), re.DOTALL)
    record = make_record(yaml.safe_load(example))
    assert set(record.rows) == {"our-sentinel-2", "our-landsat"}


@settings(max_examples=20)
@given(order=st.randoms(use_true_random=False))
def test_the_order_of_items_changes_nothing(stac: Path, order: Any) -> None:
    items = [item for folder, item in walk(stac) if folder in ("earth-search-v1", "cdse")]
    optical = [i for i in items if i.get("collection") in ("sentinel-2-l2a", "sentinel-2-c1-l2a")]
    usable = [i for i in optical if i.get("assets")]
    expected = [o.id for o in kept(*usable)]
    order.shuffle(usable)
    assert [o.id for o in kept(*usable)] == expected


def same_terms(seen: Observation) -> dict[str, Any]:
    """What must not depend on the provider; its storage (offset, address, id) may."""
    return {
        "role": seen.role,
        "level": seen.level,
        "platform": seen.platform,
        "tile": seen.tile,
        "epsg": seen.epsg,
        "datatake": seen.datatake,
        "bands": {v: (r.scale, r.nodata, r.minimum, r.kind) for v, r in seen.rasters.items()},
        "mask": seen.mask and (seen.mask.nodata, seen.mask.rule and seen.mask.rule.categories),
    }


def find(stac: Path, folder: str, text: str) -> Item:
    return next(item for f, item in walk(stac) if f == folder and text in item["id"])


def kept(*items: Item) -> list[Observation]:
    return [o for o in observations([radar_item(), *items]) if o.role != "sentinel1"]


def test_one_sentinel2_scene_of_three_collections_is_one_scene(stac: Path) -> None:
    v1 = find(stac, "earth-search-v1", "S2B_20EPT_20250731_0_L2A")
    c1 = find(stac, "earth-search-v1", "S2B_T20EPT_20250731T131905_L2A")
    v0 = find(stac, "earth-search-v0", "S2B_20EPT_20250731_0_L2A")
    seen = [describe(item) for item in (v1, c1, v0)]
    assert same_terms(seen[0]) == same_terms(seen[1]) == same_terms(seen[2])
    assert {s.baseline for s in seen} == {5.11}
    # The files of c1 still have the offset; those of the others do not.
    assert [s.rasters["s2_b4"].offset for s in seen] == [0.0, -0.1, 0.0]
    for order in ((v1, c1, v0), (v0, c1, v1)):
        (only,) = kept(*order)
        assert only.collection == "sentinel-2-c1-l2a"


def test_one_sentinel2_scene_of_two_providers_is_the_newest(stac: Path) -> None:
    old = find(stac, "planetary-computer", "S2B_MSIL2A_20200705T101559_R065_T32TMT")
    new = find(stac, "cdse", "S2B_MSIL2A_20200705T101559_N0500_R065_T32TMT")
    assert same_terms(describe(old)) == same_terms(describe(new))
    assert describe(old).time == pd.Timestamp(describe(new).time)
    (only,) = kept(old, new)
    assert (only.baseline, only.rasters["s2_b4"].offset) == (5.0, -0.1)


def test_one_landsat_scene_of_two_providers_is_the_same(stac: Path) -> None:
    usual = find(stac, "stactools-generated", "LC08_L2SP_047027_20201204")
    parts = [
        item
        for folder, item in walk(stac)
        if folder == "usgs-landsatlook" and "047027_20201204" in item["id"]
    ]
    assert [p["collection"] for p in parts] == ["landsat-c2l2-sr", "landsat-c2l2-st"]
    (joined,) = kept(*parts)
    plain = describe(usual)
    # Items of 2021 state no CRS; the files do.
    assert same_terms(joined) == {**same_terms(plain), "epsg": None}
    assert {v: r.offset for v, r in joined.rasters.items()} == {
        v: r.offset for v, r in plain.rasters.items()
    }
    assert joined.time == plain.time
    (reflectance,) = kept(parts[0])
    assert "landsat_b10" not in reflectance.rasters
    with pytest.warns(GssmWarning, match="holds only landsat_b10, and the item with the rest"):
        assert kept(parts[1]) == []


def test_two_sequences_of_earth_search_become_the_newest(stac: Path) -> None:
    folder = stac / "earth-search-v1" / "sentinel-2-l2a"
    items = [i for f in ("search10-0.json", "search10-1.json") for i in items_of(folder / f)]
    assert len(items) == 16
    for order in (items, items[::-1], items * 2):
        newest = kept(*order)
        assert len(newest) == 8
        assert {o.baseline for o in newest} == {5.0}


def test_level_1c_borrows_the_mask_of_level_2a(stac: Path) -> None:
    names = ("mixed-s1grd-s2-0.json", "mixed-s1grd-s2-1.json")
    items = [i for name in names for i in items_of(stac / "earth-search-v1" / name)]
    optical = [i for i in items if i["collection"].startswith("sentinel-2")]
    seen = kept(*optical)
    assert {o.level for o in seen} == {"l1"}
    assert len(seen) == 5
    for o in seen:
        (lender,) = (i for i in optical if i["id"] == o.id.replace("L1C", "L2A"))
        tile = lender["properties"]["grid:code"].removeprefix("MGRS-")
        assert o.mask is not None
        assert o.tile == tile
        assert f"{tile[:2]}/{tile[2]}/{tile[3:]}" in o.mask.href
        assert o.mask.href.endswith("SCL.tif")
    level1 = [i for i in optical if i["collection"] == "sentinel-2-l1c"]
    with pytest.warns(GssmWarning, match="offers no cloud mask, and no item of sentinel-2-l2a or"):
        assert kept(*level1) == []
