from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from gssm import schema
from gssm.catalogs import COLLECTIONS, Catalog
from gssm.describe import describe
from gssm.errors import ItemError, UnknownCatalogError
from gssm.records import STAMP, make_record, parse_collection, read_record, stamp, to_entry
from imagery import landsat_item, optical_item, radar_item

YAML = """
url: https://stac.example.org/v1
collections:
  our-sentinel-2:
    like: sentinel-2-l2a
    assets: {s2_b4: red, s2_b8: [near-infrared, nir]}
  our-landsat:
    role: landsat
    assets: {landsat_b4: red, landsat_b10: surface_temperature}
    scale: 0.0001
    offset: 0
    nodata: -9999
    thermal: {scale: 0.1, offset: 273.15}
    mask: {assets: clouds, fill: 255, classes: {0: clear, 1: cloud_or_shadow, 2: water}}
    crs: file
  our-radar:
    role: sentinel1
    level: any
    convention: gamma0
    assets: {vv: VV, vh: VH, incidence_angle: angle}
    angle: {scale: 0.0005, offset: 29}
  our-terrain:
    role: elevation
    level: any
    assets: {dsm: height}
"""


def write(folder: Path, text: str) -> Path:
    file = folder / "catalogue.yaml"
    file.write_text(text)
    return file


@pytest.fixture
def record(tmp_path: Path) -> Catalog:
    return read_record(write(tmp_path, YAML))


def carried(item: dict[str, Any], record: Catalog, name: str, **keys: str) -> dict[str, Any]:
    item = {**copy.deepcopy(item), "collection": name}
    item["assets"] |= {key: {"href": href} for key, href in keys.items()}
    stamp(item["properties"], record, name)
    return json.loads(json.dumps(item))  # as a saved search hands it on


def test_a_record_names_its_collections_by_role(record: Catalog) -> None:
    assert record.url == "https://stac.example.org/v1"
    assert record.collections == {
        "sentinel1": ("our-radar",),
        "sentinel2": ("our-sentinel-2",),
        "landsat": ("our-landsat",),
        "elevation": ("our-terrain",),
    }


def test_items_of_a_record_are_described_by_it(record: Catalog) -> None:
    item = carried(optical_item(), record, "our-sentinel-2", red="/r.tif", nir="/n.tif")
    seen = describe(item)
    assert {v: r.href for v, r in seen.rasters.items()} == {"s2_b4": "/r.tif", "s2_b8": "/n.tif"}
    # The rest is as in the collection that it is like: the offset by baseline.
    assert seen.rasters["s2_b4"].offset == -0.1
    assert seen.rank < 0


def test_scales_masks_and_places_of_a_record(record: Catalog) -> None:
    files = {"red": "/r.tif", "surface_temperature": "/t.tif", "clouds": "/c.tif"}
    item = carried(landsat_item(), record, "our-landsat", **files)
    del item["properties"]["proj:epsg"]
    seen = describe(item)
    red, kelvin = seen.rasters["landsat_b4"], seen.rasters["landsat_b10"]
    assert (red.scale, red.offset, red.nodata) == (1e-4, 0, -9999)
    assert (kelvin.scale, kelvin.offset) == (0.1, 273.15)
    assert seen.mask is not None
    assert seen.mask.nodata == 255
    assert seen.mask.rule is not None
    classes = seen.mask.rule.classify(np.array([0, 1, 2, 255], np.uint8))
    expected = [schema.MASK_CLEAR, schema.MASK_CLOUD, schema.MASK_WATER, schema.MASK_MISSING]
    assert classes.tolist() == expected


def test_an_angle_raster_of_a_record_has_its_own_scale(record: Catalog) -> None:
    item = carried(radar_item(), record, "our-radar", VV="/v.tif", VH="/h.tif", angle="/a.tif")
    seen = describe(item)
    angle = seen.rasters["incidence_angle"]
    assert (angle.scale, angle.offset) == (0.0005, 29)
    assert (seen.rasters["vv"].scale, seen.convention) == (1, "gamma0")


@pytest.mark.parametrize("name", COLLECTIONS)
def test_a_row_survives_as_json(name: str) -> None:
    row = COLLECTIONS[name]
    entry = json.loads(json.dumps(to_entry(row)))
    assert parse_collection("it", "another name", entry) == row


def test_a_known_collection_needs_no_entries(tmp_path: Path) -> None:
    record = read_record(
        write(tmp_path, "url: http://localhost:8080\ncollections: {landsat-c2-l2: }")
    )
    assert record.rows["landsat-c2-l2"] == COLLECTIONS["landsat-c2-l2"]


def test_a_static_catalogue_lies_beside_its_record(tmp_path: Path) -> None:
    (tmp_path / "items").mkdir()
    record = read_record(write(tmp_path, "url: items\ncollections: {landsat-c2-l2: }"))
    assert record.url == str(tmp_path / "items")


def test_bits_of_a_mask_keep_their_order() -> None:
    mask: Any = {"assets": "qa", "fill": 1, "bits": {0: "missing", 4: "snow", 2: "cloud_or_shadow"}}
    rule = parse_collection("it", "x", {**OPTICAL, "mask": mask}).mask
    assert rule is not None
    seen = rule.classify(np.array([0b10100, 0b00100, 0], np.uint16))
    assert seen.tolist() == [schema.MASK_SNOW, schema.MASK_CLOUD, schema.MASK_CLEAR]


def test_an_item_that_carries_a_broken_row_is_refused() -> None:
    item = optical_item(**{STAMP.replace(":", "__"): {"role": "sentinel3"}})
    with pytest.raises(ItemError, match="gssm:collection of item 'S2' has the role 'sentinel3'"):
        describe(item)


THERMAL = {"scale": 0.1, "offset": 0}
OPTICAL = {"role": "landsat", "scale": 1, "offset": 0, "mask": "qa_pixel", "thermal": THERMAL}
MASK = {"assets": "m", "fill": 0, "classes": {1: "clear"}}


@pytest.mark.parametrize(
    ("entry", "reason"),
    [
        ({}, "has no role; choose from sentinel1"),
        ("fine", "is 'fine', not a mapping"),
        ({"role": "radar"}, "has the role 'radar'; choose from sentinel1, sentinel2"),
        ({"role": ["landsat"]}, "has the role"),
        ({"like": "sentinel-2"}, "is like 'sentinel-2'; choose from sentinel-1-sigma0"),
        ({"like": ["sentinel-2"]}, "is like"),
        ({**OPTICAL, "scales": 1}, "an entry 'scales' that gssm does not know; did you mean"),
        ({**OPTICAL, "colour": 1}, "an entry 'colour' that gssm does not know; it has role"),
        ({**OPTICAL, "level": 2}, "has the level 2; choose from l2, l1, any"),
        ({**OPTICAL, "convention": "beta0"}, "has the convention 'beta0'"),
        ({**OPTICAL, "scale": 0}, "has the scale 0; give a number"),
        ({**OPTICAL, "scale": True}, "has the scale True; give a number"),
        ({**OPTICAL, "scale": "1e-4"}, "YAML reads 1e-4 as text"),
        ({**OPTICAL, "offset": float("nan")}, "has the offset nan; give a number"),
        ({**OPTICAL, "offset": "baseline"}, "which only Sentinel-2 has"),
        ({**OPTICAL, "nodata": "none"}, "has the nodata 'none'; give a number"),
        ({"role": "landsat", "offset": 0, "mask": "qa_pixel"}, "has no scale; say how"),
        ({"role": "landsat", "scale": 1, "mask": "qa_pixel"}, "has no offset; say how"),
        ({"role": "landsat", "scale": 1, "offset": 0}, "has no mask; choose from scl, qa_pixel"),
        ({**OPTICAL, "mask": "fmask"}, "has the rule 'fmask'; choose from scl, qa_pixel"),
        ({**OPTICAL, "mask": 3}, "is 3, not a mapping"),
        ({**OPTICAL, "mask": {"assets": "m", "fill": 0}}, "needs a rule, or either classes or"),
        ({**OPTICAL, "mask": {**MASK, "bits": {1: "snow"}}}, "needs a rule, or either classes"),
        ({**OPTICAL, "mask": {"classes": {1: "clear"}}}, "needs assets and fill"),
        ({**OPTICAL, "mask": {**MASK, "fill": 0.5}}, "has the fill 0.5; give a whole number"),
        ({**OPTICAL, "mask": {**MASK, "fill": 1}}, "has the fill 1, which must mean missing"),
        (
            {**OPTICAL, "mask": {"assets": "m", "fill": 0, "bits": {3: "cloud_or_shadow"}}},
            "has the fill 0, which must mean missing",
        ),
        ({**OPTICAL, "mask": {**MASK, "classes": {300: "clear"}}}, "numbers from 0 to 255"),
        ({**OPTICAL, "mask": {**MASK, "classes": {1: "sunny"}}}, "mean 'sunny'; choose from clear"),
        ({**OPTICAL, "mask": {**MASK, "classes": ["clear"]}}, "a mapping of number to category"),
        ({**OPTICAL, "assets": {"red": "B4"}}, "has assets for red; a landsat collection has"),
        ({**OPTICAL, "assets": ["B4"]}, "give a mapping of variable to asset name"),
        ({**OPTICAL, "assets": {"landsat_b4": 4}}, "the asset of landsat_b4 4; give a name"),
        ({**OPTICAL, "assets": {"landsat_b4": []}}, "give a name or a list of names"),
        ({**OPTICAL, "thermal": {"scale": 1}}, "thermal of .* has no offset"),
        ({**OPTICAL, "kind": "grd"}, "the kind 'grd' and the role 'landsat'"),
        ({**OPTICAL, "kind": "landsat_toa"}, "needs role: landsat and level: l1"),
        ({"role": "sentinel1", "assets": {"vv": "a"}}, "has no assets for both vv and vh"),
        ({"role": "sentinel1"}, "has no convention; choose from sigma0, gamma0"),
        ({"like": "sentinel-1-rtc", "kind": "grd"}, "the kind 'grd', which becomes sigma0, and"),
        ({**OPTICAL, "thermal": None}, "has landsat_b10 and no thermal; give its scale and offset"),
        (
            {**OPTICAL, "thermal": None, "assets": {"landsat_b11": "lwir12"}},
            "has landsat_b11 and no thermal",
        ),
    ],
)
def test_a_mistake_in_a_collection_is_named_in_one_sentence(entry: Any, reason: str) -> None:
    content = {"url": "https://x.org", "collections": {"mine": entry}}
    with pytest.raises(UnknownCatalogError, match=reason) as caught:
        make_record(content)
    assert "collection 'mine' of the record" in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "is None, not a mapping; it has url, collections"),
        ("- a\n- b", "not a mapping"),
        ("url: https://x.org", "has no collections"),
        ("collections: {dem: }", "has no url"),
        ("url: https://x.org\ncollections: {}", "has no collections; give a mapping"),
        ("url: nowhere\ncollections: {dem: }", "'nowhere', which is no http address and no file"),
        ("url: 7\ncollections: {dem: }", "has the url 7; give the address"),
        ("url: https://x.org\ncollections: {5: {like: dem}}", "the name 5; give text, in quotes"),
        ("url: https://x.org\ncollection: {dem: }", "did you mean 'collections'"),
        ("url: a\nurl: b\ncollections: {dem: }", "the key 'url' stands there twice"),
        ("url: [", "is not YAML"),
        ("url: !!python/object/apply:os.getcwd []\ncollections: {dem: }", "is not YAML"),
        ("\x00", "is not YAML"),
    ],
)
def test_a_broken_record_is_refused_in_one_sentence(tmp_path: Path, text: str, reason: str) -> None:
    file = write(tmp_path, text)
    with pytest.raises(UnknownCatalogError, match=reason) as caught:
        read_record(file)
    assert str(file) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_record_that_is_no_file(tmp_path: Path) -> None:
    with pytest.raises(UnknownCatalogError, match="cannot be read"):
        read_record(tmp_path / "absent.yaml")
    (tmp_path / "big.yaml").write_text("#" * 1_000_001)
    with pytest.raises(UnknownCatalogError, match="larger than 1000000 bytes"):
        read_record(tmp_path / "big.yaml")
    (tmp_path / "binary.yaml").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(UnknownCatalogError, match="cannot be read"):
        read_record(tmp_path / "binary.yaml")


def test_a_server_cannot_say_how_its_items_are_read(record: Catalog) -> None:
    properties: dict[str, Any] = {STAMP: {"like": "dem"}}
    stamp(properties, record, "sentinel-2-l2a")
    assert properties == {}
    stamp(properties, record, "our-sentinel-2")
    assert properties[STAMP]["role"] == "sentinel2"
