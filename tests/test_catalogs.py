from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from gssm import schema
from gssm.catalogs import CATALOGS, COLLECTIONS, MASKS, of_level, resolve_catalog
from gssm.describe import describe
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
        ({"s2__processing_baseline": "05.11", "sentinel__boa_offset_applied": True}, 0.0),
        ({"s2__processing_baseline": "02.14", "earthsearch__boa_offset_applied": False}, 0.0),
        ({"s2__processing_baseline": None, "processing__version": "05.10"}, -0.1),
        ({"s2__processing_baseline": "05.11", "earthsearch__boa_offset_applied": "true"}, 0.0),
        # 209 and 301 are no baselines later than 04.00.
        ({"s2__processing_baseline": "0209"}, 0.0),
        ({"s2__processing_baseline": "N0301"}, 0.0),
        ({"s2__processing_baseline": "0400"}, -0.1),
        ({"s2__processing_baseline": 5.1}, -0.1),
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


def test_sentinel2_offset_that_earth_search_is_known_to_misstate_is_refused() -> None:
    stated = {"s2__processing_baseline": "05.11", "earthsearch__boa_offset_applied": False}
    with pytest.raises(ItemError, match=r"baseline 05.11 says boa_offset_applied: false.*c1-l2a"):
        describe(optical_item(**stated))


@pytest.mark.parametrize(
    ("properties", "reason"),
    [
        ({"s2__processing_baseline": float("nan")}, "states no s2:processing_baseline"),
        ({"s2__processing_baseline": "2.11.0"}, "states no s2:processing_baseline"),
        # Made with sen2cor by whoever serves it, of a Level-1C with the offset or without.
        ({"s2__processing_baseline": "99.99"}, "the baseline 99.99, so it is unknown"),
        (
            {
                "s2__processing_baseline": "02.11",
                "s2__product_uri": "S2A_MSIL2A_20200301T090901_N0500_R050_T35UPU_20230630T033416",
            },
            "the baseline 02.11 and is named after 05.00",
        ),
    ],
)
def test_sentinel2_offset_that_cannot_be_decided_is_refused(
    properties: dict[str, Any], reason: str
) -> None:
    with pytest.raises(ItemError, match=reason):
        describe(optical_item(**properties))


@pytest.mark.parametrize(
    ("item", "stated", "reason"),
    [
        # Harmonised by the server, under the name of a collection that is not.
        (optical_item(), {"raster:bands": [{"scale": 1e-4, "offset": 0}]}, "the offset 0 where"),
        (optical_item(), {"raster:offset": 0}, "the offset 0 where"),
        (optical_item(), {"bands": [{"raster:scale": 1e-3}]}, "the scale 0.001 where"),
        (optical_item(), {"raster:bands": [{"scale": "1e-4"}]}, "the scale '1e-4' where"),
        (landsat_item(), {"raster:bands": [{"scale": 1e-4, "offset": 0}]}, "the scale 0.0001"),
    ],
)
def test_asset_that_contradicts_its_collection_is_refused(
    item: dict[str, Any], stated: dict[str, Any], reason: str
) -> None:
    for key in {"B04", "red"} & set(item["assets"]):
        item["assets"][key] |= stated
    with pytest.raises(ItemError, match=f"{reason}.*give a record of the catalogue"):
        describe(item)


def test_asset_that_states_the_numbers_of_its_collection_is_read() -> None:
    item = optical_item(earthsearch__boa_offset_applied=True)
    item["assets"]["B04"]["raster:bands"] = [{"scale": 0.0001, "offset": -0.1}]
    assert describe(item).rasters["s2_b4"].offset == 0
    for nothing in ({"offset": 7}, ["offset"], [], None):
        item["assets"]["B04"]["raster:bands"] = nothing
        assert describe(item).rasters["s2_b4"].scale == 1e-4


def test_orbit_of_a_radar_item_however_it_is_written() -> None:
    stated = {"sat__relative_orbit": None, "sat__absolute_orbit": 24563, "view__incidence_angle": 0}
    seen = describe(radar_item(platform="SENTINEL_1A", sat__orbit_state="DESCENDING", **stated))
    assert (seen.platform, seen.relative_orbit, seen.orbit_state) == (
        "sentinel-1a",
        (24563 - 73) % 175 + 1,
        "descending",
    )
    rtc = {**radar_item(sat__orbit_state="Ascending"), "collection": "sentinel-1-rtc"}
    del rtc["properties"]["view:incidence_angle"]
    assert describe(rtc).orbit_state == "ascending"
    stated["sat__absolute_orbit"] = float("nan")
    assert describe(radar_item(**stated)).relative_orbit is None
    with pytest.raises(ItemError, match=r"sat:relative_orbit 7\.5, which is none"):
        describe(radar_item(sat__relative_orbit=7.5))


def test_grd_needs_no_orbit_for_its_angle() -> None:
    item = radar_item(view__incidence_angle=None, sat__relative_orbit=None)
    item |= {"collection": "sentinel-1-grd"}
    for key in ("vv", "vh"):
        item["assets"][key] = {"href": f"/nowhere/S1/measurement/iw-{key}.tiff"}
    angle = describe(item).rasters["incidence_angle"]
    assert (angle.kind, angle.href) == ("grd_angle", "/nowhere/S1/annotation/iw-vv.xml")


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
        (f"{PC}/sentinel-1-grd/item-EW-HH.json", "in EW mode"),
        (f"{ES}/sentinel-1-grd/*.json", "in EW mode|needs vv and vh"),
        (f"{PC}/landsat-c2-l1/items-limit1.json", "of landsat-5, not Landsat 8 or 9"),
        (f"{ES}/cop-dem-glo-30/search10-fields-0.json", "has no assets"),
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
        (without(radar_item(), "collection"), "names no collection"),
        ({**radar_item(), "collection": "mine"}, "no record of the collection 'mine'"),
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
        (radar_item(view__incidence_angle=None), "neither an incidence_angle asset, nor"),
        (radar_item(time="2020-06-10"), "a day without its hour"),
        (without(radar_item(), "assets", "vh"), "has the assets vv; gssm needs vv and vh"),
        (without(radar_item(), "assets"), "has no assets, so there is nothing to read"),
        (without(optical_item(), "assets", "SCL"), "no SCL or SCL_20m or scl asset"),
        (without(landsat_item(), "assets", "qa_pixel"), "no qa_pixel or QA_PIXEL.TIF asset"),
        (optical_item(s2__processing_baseline=None), "no s2:processing_baseline"),
        ({"id": "bare", "collection": "dem", "bbox": [0, 0, 1, 1]}, "has no assets"),
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


def test_classes_beyond_8_bits_are_missing() -> None:
    values = np.array([4, 260, -252, 11], np.int16)
    seen = MASKS["sentinel2"].classify(values)
    assert seen.dtype == np.uint8
    assert seen.tolist() == [CLEAR, MISSING, MISSING, SNOW]


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
    assert resolve_catalog("cdse").url == "https://stac.dataspace.copernicus.eu/v1"
    assert resolve_catalog("usgs").url == "https://landsatlook.usgs.gov/stac-server"
    with pytest.raises(UnknownCatalogError, match="no catalogue 'plantary'; use 'planetary-comp"):
        resolve_catalog("plantary")


def test_an_asset_without_an_address_is_no_asset() -> None:
    item = radar_item()
    item["assets"]["vh"] = {"type": "image/tiff"}
    with pytest.raises(ItemError, match="gssm needs vv and vh"):
        describe(item)


def test_every_named_collection_is_in_the_table() -> None:
    for catalog in CATALOGS.values():
        for role, names in catalog.collections.items():
            assert {COLLECTIONS[name].role for name in names} <= {role}


@pytest.mark.parametrize(
    ("catalog", "level", "expected"),
    [
        ("earth-search", "l2", ("sentinel-2-c1-l2a", "sentinel-2-l2a")),
        # Level-1C has no cloud mask: Level-2A lends it.
        ("earth-search", "l1", ("sentinel-2-c1-l2a", "sentinel-2-l2a", "sentinel-2-l1c")),
        ("cdse", "l1", ("sentinel-2-l2a", "sentinel-2-l1c")),
        ("planetary-computer", "l1", ()),
    ],
)
def test_collections_of_a_level(catalog: str, level: str, expected: tuple[str, ...]) -> None:
    kept = of_level(CATALOGS[catalog], level).collections
    assert kept["sentinel2"] == expected
    assert kept["sentinel1"] == CATALOGS[catalog].collections["sentinel1"]


def test_landsat_of_the_usgs_by_level() -> None:
    usgs = CATALOGS["usgs"]
    assert of_level(usgs, "l2").collections["landsat"] == ("landsat-c2l2-sr", "landsat-c2l2-st")
    assert of_level(usgs, "l1").collections["landsat"] == ("landsat-c2l1",)


@pytest.mark.parametrize(
    ("stated", "epsg"),
    [
        ({"proj:epsg": 32631}, 32631),
        ({"proj:epsg": "32731"}, 32731),
        ({"proj:code": "EPSG:32606"}, 32606),
        ({"proj:epsg": 3266}, 32606),  # zone 6, not zero-padded
        ({"proj:epsg": 3276}, 32706),
        ({"proj:epsg": 3031}, 3031),  # the Antarctic is no UTM zone
        ({"proj:code": "IAU_2015:30100"}, None),
        ({}, None),  # the files say it
    ],
)
def test_epsg_of_landsat(stated: dict[str, Any], epsg: int | None) -> None:
    item = without(landsat_item(), "properties", "proj:epsg")
    item["properties"] |= stated
    assert describe(item).epsg == epsg


def grd_item(folder: str = "/x", **assets: str) -> dict[str, Any]:
    item = radar_item(view__incidence_angle=None, sat__orbit_state="ascending")
    item["collection"] = "sentinel-1-grd"
    item["assets"] = {p: {"href": f"{folder}/measurement/iw-{p}.tiff"} for p in ("vv", "vh")}
    item["assets"] |= {key.replace("__", "-"): {"href": href} for key, href in assets.items()}
    return item


def test_sidecars_of_a_grd_scene_come_from_assets_or_the_safe_folder() -> None:
    rfi = "/x/annotation/rfi/rfi-iw-vv.xml"
    item = grd_item(schema__product__vv=rfi, schema__noise__vv="/elsewhere/noise.xml")
    seen = describe(item)
    assert dict(seen.rasters["vv"].sidecars) == {
        "annotation": "/x/annotation/iw-vv.xml",
        "calibration": "/x/annotation/calibration/calibration-iw-vv.xml",
        "noise": "/elsewhere/noise.xml",
    }
    assert seen.rasters["incidence_angle"].kind == "grd_angle"
    assert seen.rasters["incidence_angle"].href == "/x/annotation/iw-vv.xml"


def test_a_sidecar_beside_a_signed_address_keeps_the_signature() -> None:
    item = grd_item("https://a.blob.core.windows.net/s1/A.SAFE")
    item["assets"]["vv"]["href"] += "?sv=1&sig=abc%3D"
    sidecars = dict(describe(item).rasters["vv"].sidecars)
    assert sidecars["annotation"] == (
        "https://a.blob.core.windows.net/s1/A.SAFE/annotation/iw-vv.xml?sv=1&sig=abc%3D"
    )


def test_a_grd_scene_without_calibration_is_refused() -> None:
    item = grd_item()
    item["assets"]["vh"]["href"] = "/x/vh.tiff"
    with pytest.raises(ItemError, match="no annotation of vh among its assets"):
        describe(item)
    item = grd_item()
    item["properties"]["sar:product_type"] = "SLC"
    with pytest.raises(ItemError, match="is a SLC product; gssm reads GRD"):
        describe(item)


@pytest.mark.parametrize("collection", ["sentinel-1-rtc", "sentinel-1-sigma0"])
def test_a_calibrated_scene_needs_an_angle_or_its_orbit(collection: str) -> None:
    known = {"view__incidence_angle": None, "sat__orbit_state": "descending"}
    item = {**radar_item(**known), "collection": collection}
    assert describe(item).incidence_angle is None
    for missing in ("sat:relative_orbit", "sat:orbit_state"):
        with pytest.raises(ItemError, match="sat:relative_orbit with sat:orbit_state"):
            describe(without(item, "properties", missing))


def level1_item(**properties: Any) -> dict[str, Any]:
    keys = ("blue", "pan", "cirrus", "lwir11", "lwir12", "qa_pixel", "MTL.txt")
    item = landsat_item(**properties)
    item["assets"] = {key: {"href": f"/x/{key}"} for key in keys}
    return {**item, "collection": "landsat-c2l1"}


def test_landsat_level_1_names_its_mtl_and_bands() -> None:
    seen = describe(level1_item())
    assert (seen.role, seen.level) == ("landsat", "l1")
    assert sorted(seen.rasters) == [f"landsat_{b}" for b in ("b10", "b11", "b2", "b8", "b9")]
    for variable, raster in seen.rasters.items():
        band = variable.removeprefix("landsat_b")
        assert raster.sidecars == (("mtl", "/x/MTL.txt"), ("band", band))
        assert (raster.kind, raster.nodata, raster.scale) == ("landsat_toa", 0, 1)
    with pytest.raises(ItemError, match=r"no mtl\.txt or mtl\.json asset"):
        describe(without(level1_item(), "assets", "MTL.txt"))


@pytest.mark.parametrize("platform", ["landsat-7", "landsat-5", "landsat-4"])
def test_landsat_level_1_of_other_satellites_is_refused(platform: str) -> None:
    with pytest.raises(ItemError, match="not Landsat 8 or 9"):
        describe(level1_item(platform=platform))


@pytest.mark.parametrize(
    ("parts", "footprint"),
    [
        ([[(179, 0), (180, 0), (180, 1)], [(-180, 0), (-178, 0), (-180, 1)]], (179, 0, -178, 1)),
        ([[(179, 0), (-178, 0), (-178, 1), (179, 1)]], (179, 0, -178, 1)),
        ([[(-180, 0), (-178, 0), (-178, 1)]], (-180, 0, -178, 1)),
    ],
)
def test_footprint_across_the_180th_meridian_has_west_beyond_east(
    parts: list[list[tuple[float, float]]], footprint: tuple[float, ...]
) -> None:
    rings = [[[*part, part[0]]] for part in parts]
    geometry = {"type": "MultiPolygon", "coordinates": rings}
    assert describe({**radar_item(), "geometry": geometry}).footprint == footprint
