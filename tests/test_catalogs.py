from __future__ import annotations

import copy
import json
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from gssm import schema
from gssm.catalogs import COLLECTIONS, MASKS, resolve_catalog
from gssm.describe import Observation, describe
from gssm.errors import ItemError, UnknownCatalogError
from imagery import landsat_item, optical_item, radar_item


def stac_items(folder: Path, pattern: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    for file in sorted(folder.glob(pattern)):
        record = json.loads(file.read_text())
        kind = record.get("type") if isinstance(record, dict) else None
        found += record["features"] if kind == "FeatureCollection" else []
        found += [record] if kind == "Feature" else []
    assert found, f"no item at {folder}/{pattern}"
    return found


def by_id(folder: Path, pattern: str, name: str) -> dict[str, Any]:
    return next(item for item in stac_items(folder, pattern) if item["id"] == name)


def without(item: dict[str, Any], *path: str) -> dict[str, Any]:
    item = copy.deepcopy(item)
    holder = item
    for key in path[:-1]:
        holder = holder[key]
    del holder[path[-1]]
    return item


@pytest.fixture(scope="module")
def stac(test_data: Path) -> Path:
    return test_data / "stac"


def test_every_real_item_is_described_or_refused_with_a_sentence(stac: Path) -> None:
    outcomes: Counter[str] = Counter()
    for item in stac_items(stac, "**/*.json"):
        seen = described_or_refused(item)
        if isinstance(seen, str):
            assert item["id"] in seen
            assert len(seen) > len(item["id"]) + 20
            outcomes["refused"] += 1
        else:
            assert_canonical(seen)
            outcomes[seen.role] += 1
    # Sentinel-1 in the open catalogues is GRD, or RTC without an angle.
    assert outcomes.keys() == {"refused", "sentinel2", "landsat", "elevation"}
    assert outcomes["sentinel2"] > 50
    assert outcomes["landsat"] > 10


def described_or_refused(item: dict[str, Any]) -> Observation | str:
    try:
        return describe(item)
    except ItemError as error:
        return str(error)


def assert_canonical(seen: Observation) -> None:
    west, south, east, north = seen.footprint
    assert -180.01 < west < east < 180.01  # elevation tiles reach half a pixel further
    assert -90.01 < south < north < 90.01
    assert seen.time.tzinfo is None
    assert set(seen.rasters) <= set(schema.VARIABLES)
    assert all(raster.href for raster in seen.rasters.values())
    assert (seen.mask is not None) == (seen.role in MASKS)
    assert seen.platform == seen.platform.lower()


PC, ES = "planetary-computer", "earth-search-v1"


@pytest.mark.parametrize(
    ("pattern", "name", "baseline", "offset"),
    [
        # No offset in the item: the baseline decides.
        (
            f"{PC}/sentinel-2-l2a/items-limit1.json",
            "S2B_MSIL2A_20250312T014549_R074_T53NKG_20250312T041213",
            5.11,
            -0.1,
        ),
        (
            f"{PC}/sentinel-2-l2a/item-2015.json",
            "S2A_MSIL2A_20150704T101006_R022_T35XQA_20210411T133707",
            2.12,
            0.0,
        ),
        # boa_offset_applied: true stands beside `offset: -0.1`, which must not count again.
        (f"{ES}/sentinel-2-l2a/search10-0.json", "S2A_32TMT_20200305_1_L2A", 5.0, 0.0),
        (f"{ES}/sentinel-2-l2a/search10-0.json", "S2A_32TMT_20200305_0_L2A", 2.14, 0.0),
        # Collection 1 of Earth Search leaves the offset in.
        (f"{ES}/mixed-s1grd-s2-1.json", "S2B_T24MWV_20250731T130245_L2A", 5.11, -0.1),
    ],
)
def test_sentinel2_offset_of_real_items(
    stac: Path, pattern: str, name: str, baseline: float, offset: float
) -> None:
    items = stac_items(stac, pattern)
    seen = describe(next((i for i in items if i["id"] == name), items[0]))
    assert seen.baseline == baseline
    assert {r.offset for r in seen.rasters.values()} == {offset}
    assert {r.scale for r in seen.rasters.values()} == {1e-4}
    assert {r.nodata for r in seen.rasters.values()} == {0}
    assert {r.minimum for r in seen.rasters.values()} == {0}
    assert len(seen.rasters) == 12  # Level 2A has no band 10


@pytest.mark.parametrize(
    ("properties", "offset"),
    [
        ({"s2__processing_baseline": "03.01"}, 0.0),
        ({"s2__processing_baseline": "04.00"}, -0.1),
        ({"s2__processing_baseline": "05.11"}, -0.1),
        ({"s2__processing_baseline": "05.11", "earthsearch__boa_offset_applied": True}, 0.0),
        ({"s2__processing_baseline": "05.11", "earthsearch__boa_offset_applied": False}, -0.1),
        ({"s2__processing_baseline": "02.14", "earthsearch__boa_offset_applied": False}, 0.0),
        ({"s2__processing_baseline": None, "processing__version": "05.10"}, -0.1),
        (
            {
                "s2__processing_baseline": None,
                "s2__product_uri": "S2A_MSIL2A_20200301T090901_N0500_R050_T35UPU_20230630T033416",
            },
            -0.1,
        ),
    ],
)
def test_sentinel2_offset_by_baseline_never_by_date(
    properties: dict[str, Any], offset: float
) -> None:
    for time in ("2016-01-01T00:00:00Z", "2026-01-01T00:00:00Z"):
        assert describe(optical_item(time=time, **properties)).rasters["s2_b4"].offset == offset


def test_landsat_scales_and_missing_thermal_band(stac: Path) -> None:
    items = stac_items(stac, f"{PC}/landsat-c2-l2/items10-0.json")
    described = [describe(item) for item in items]
    # SR-only products: 8 of the 10 (README of the test data).
    assert [("landsat_b10" in o.rasters) for o in described].count(False) == 8
    full = describe(
        by_id(stac, f"{PC}/landsat-c2-l2/items-limit1.json", "LC09_L2SP_090091_20250310_02_T1")
    )
    assert sorted(full.rasters) == sorted(f"landsat_b{n}" for n in (1, 2, 3, 4, 5, 6, 7, 10))
    # Landsat Collection 2 Level 2 science product guide, LSDS-1619.
    reflectance, kelvin = full.rasters["landsat_b4"], full.rasters["landsat_b10"]
    assert (reflectance.scale, reflectance.offset) == (2.75e-5, -0.2)
    assert (kelvin.scale, kelvin.offset) == (0.00341802, 149.0)
    assert full.mask is not None
    assert full.mask.nodata == 1


@pytest.mark.parametrize(
    ("pattern", "reason"),
    [
        (f"{PC}/sentinel-1-grd/item-EW-HH.json", "Sentinel-1 GRD"),
        (f"{PC}/sentinel-1-grd/items-limit1.json", "Sentinel-1 GRD"),
        (f"{ES}/sentinel-1-grd/*.json", "Sentinel-1 GRD"),
        (f"{PC}/sentinel-1-rtc/items-limit1.json", "neither an incidence_angle asset nor"),
        (f"{PC}/landsat-c2-l1/items-limit1.json", "no record of the collection 'landsat-c2-l1'"),
        ("cdse/sentinel-2-l2a/item-2024.json", "no SCL or scl asset"),
        (f"{ES}/cop-dem-glo-30/search10-fields-0.json", "neither proj:code nor proj:epsg"),
    ],
)
def test_real_items_that_cannot_be_used_say_why(stac: Path, pattern: str, reason: str) -> None:
    for item in stac_items(stac, pattern):
        with pytest.raises(ItemError, match=reason):
            describe(item)


@pytest.mark.parametrize("platform", ["landsat-5", "landsat-7", "LANDSAT_7", None])
def test_only_landsat_8_and_9(platform: str | None) -> None:
    with pytest.raises(ItemError, match="not Landsat 8 or 9"):
        describe(landsat_item(platform=platform))


@pytest.mark.parametrize(
    ("item", "reason"),
    [
        (without(radar_item(), "collection"), "no record of the collection"),
        (without(without(radar_item(), "geometry"), "bbox"), "no geometry and no bbox"),
        ({**radar_item(), "geometry": None, "bbox": None}, "no geometry and no bbox"),
        (without(radar_item(), "properties", "proj:epsg"), "neither proj:code nor proj:epsg"),
        (radar_item(time=None), "no datetime"),
        (radar_item(time="yesterday"), "not a time"),
        (radar_item(sat__relative_orbit="A59"), "sat:relative_orbit 'A59', not a number"),
        (radar_item(sat__relative_orbit=99999), "sat:relative_orbit 99999, which is none"),
        (radar_item(view__incidence_angle="steep"), "view:incidence_angle 'steep', not a number"),
        ({**radar_item(), "geometry": {"type": "Blob"}}, "no usable geometry"),
        ({**radar_item(), "geometry": None, "bbox": [1, 2]}, "which is none"),
        (radar_item(sar__instrument_mode="EW"), "EW mode; gssm reads IW"),
        (radar_item(view__incidence_angle=None), "neither an incidence_angle asset nor"),
        (without(radar_item(), "assets", "vh"), "has the assets vv; gssm needs vv and vh"),
        (without(radar_item(), "assets"), "has the assets none; gssm needs vv and vh"),
        (without(optical_item(), "assets", "SCL"), "no SCL or scl asset"),
        (without(landsat_item(), "assets", "qa_pixel"), "no qa_pixel asset"),
        (optical_item(s2__processing_baseline=None), "no s2:processing_baseline"),
        ({"id": "bare", "collection": "dem", "bbox": [0, 0, 1, 1]}, "neither proj:code"),
    ],
)
def test_unusable_item_is_refused_with_one_sentence(item: dict[str, Any], reason: str) -> None:
    with pytest.raises(ItemError, match=reason) as caught:
        describe(item)
    assert "\n" not in str(caught.value)
    assert repr(item["id"]) in str(caught.value)


def test_hh_only_scene_of_a_calibrated_collection_is_refused() -> None:
    item = radar_item(sar__polarizations=["HH"])
    item["assets"] = {"hh": {"href": "/nowhere/hh.tif"}}
    with pytest.raises(ItemError, match="has the assets hh; gssm needs vv and vh"):
        describe(item)


@pytest.mark.parametrize("place", ["properties", "asset"])
@pytest.mark.parametrize("crs", [{"proj:epsg": 32631}, {"proj:code": "EPSG:32631"}])
def test_crs_under_either_name_in_either_place(place: str, crs: dict[str, Any]) -> None:
    item = without(optical_item(), "properties", "proj:epsg")
    (item["properties"] if place == "properties" else item["assets"]["B04"]).update(crs)
    assert describe(item).role == "sentinel2"


@pytest.mark.parametrize(
    ("bbox", "footprint"),
    [([3, 50, 4, 51], (3, 50, 4, 51)), ([3, 50, -10, 4, 51, 90], (3, 50, 4, 51))],
)
def test_footprint_from_a_flat_or_high_bbox(bbox: list[float], footprint: tuple[float]) -> None:
    assert describe({**radar_item(), "geometry": None, "bbox": bbox}).footprint == footprint


@pytest.mark.parametrize(
    ("properties", "time"),
    [
        ({"datetime": "2020-06-10T06:00:00Z"}, "2020-06-10T06:00"),
        ({"datetime": "2020-06-10T06:00:00"}, "2020-06-10T06:00"),
        ({"datetime": "2020-06-10T06:00:00+02:00"}, "2020-06-10T04:00"),
        (
            {
                "datetime": None,
                "start_datetime": "2020-06-10T06:00:00Z",
                "end_datetime": "2020-06-10T06:00:25Z",
            },
            "2020-06-10T06:00",
        ),
    ],
)
def test_time_is_utc(properties: dict[str, Any], time: str) -> None:
    item = radar_item()
    item["properties"] |= properties
    assert describe(item).time == pd.Timestamp(time)


CLEAR, WATER, SNOW, CLOUD, MISSING = (
    schema.MASK_CLEAR,
    schema.MASK_WATER,
    schema.MASK_SNOW,
    schema.MASK_CLOUD,
    schema.MASK_MISSING,
)


# Classes of Sen2Cor: 0 no data, 1 defective, 2 dark, 3 shadow, 4 vegetation, 5 soil, 6 water,
# 7 unclassified, 8 and 9 cloud, 10 cirrus, 11 snow; 12 and above do not exist.
def test_scene_classification() -> None:
    expected = [MISSING, MISSING, CLEAR, CLOUD, CLEAR, CLEAR, WATER, CLEAR, CLOUD, CLOUD, CLOUD]
    expected += [SNOW, MISSING, MISSING]
    values = np.array([*range(12), 12, 255], np.uint8)
    seen = MASKS["sentinel2"].classify(values)
    assert seen.dtype == np.uint8
    assert seen.tolist() == expected


@pytest.mark.parametrize(
    ("value", "category"),
    [
        # Values of QA_PIXEL, Landsat 8-9 Collection 2 data format control book, LSDS-1328.
        (1, MISSING),
        (21824, CLEAR),
        (21952, WATER),
        (21762, CLOUD),  # dilated cloud
        (22280, CLOUD),
        (23888, CLOUD),  # shadow
        (24088, CLOUD),  # cloud over shadow
        (30048, SNOW),
        (54596, CLOUD),  # cirrus
        (55052, CLOUD),  # cirrus and cloud
        (0b1010_0000, SNOW),  # snow on water
        (0b1000_1000, CLOUD),  # cloud over water
        (0b1000_0001, MISSING),  # fill wins over everything
        (0, CLEAR),
    ],
)
def test_qa_pixel(value: int, category: int) -> None:
    values = np.array([[value, 21824]], np.uint16)
    assert MASKS["landsat"].classify(values).tolist() == [[category, CLEAR]]


def test_catalogue_by_url_or_name() -> None:
    known = resolve_catalog("https://stac.example.org/v1")
    assert {n for names in known.collections.values() for n in names} == set(COLLECTIONS)
    assert resolve_catalog("planetary-computer").url.startswith("https://planetarycomputer")
    with pytest.raises(UnknownCatalogError, match="no catalogue 'plantary'; use 'planetary-comp"):
        resolve_catalog("plantary")


def test_an_asset_without_an_address_is_no_asset() -> None:
    item = radar_item()
    item["assets"]["vh"] = {"type": "image/tiff"}
    with pytest.raises(ItemError, match="gssm needs vv and vh"):
        describe(item)
