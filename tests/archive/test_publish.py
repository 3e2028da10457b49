import datetime as dt
import json
from dataclasses import replace

import numpy as np
import pandas as pd
import pyarrow.parquet
import pystac
import pytest
import rustac
import shapely
from archive.products import make_product
from jsonschema import Draft7Validator
from pystac.validation.local_validator import get_local_schema_cache
from referencing import Registry, Resource

from gssm import quality
from gssm.archive.export import export
from gssm.archive.ledger import Row
from gssm.archive.publish import publish
from gssm.archive.stac import collection, item_id, items, shape_in_degrees
from gssm.archive.tiles import parse
from gssm.errors import StoreExistsError, StoreWriteError

SQUARE, OTHER = parse("31UES"), parse("32ULB")
ACROSS = parse("01KAB")
HREF = "s3://bucket/archive"


def row(day, **changes):
    moment = dt.datetime(2024, 5, day, 5, 47, 12, tzinfo=dt.UTC)
    known = Row(
        time=int(moment.timestamp()),
        platform="sentinel-1a",
        relative_orbit=37,
        orbit_state="descending",
        radar=("S1A_a",),
        partners=("S2B_b", "LC08_c"),
        elevation=("dem_d",),
        model_sha256="ab" * 32,
        coverage=((0, 0), (0, 1)),
        written="2024-05-02T00:00:00Z",
        valued=7,
    )
    return replace(known, **changes)


ROWS = {SQUARE: [row(13), row(1), row(2, status="skipped")], OTHER: [row(1)]}


def read(path):
    return json.loads(path.read_text())


def contents(folder):
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


# Items and the Collection


def test_an_item_for_each_date_that_is_done():
    found = items(HREF, SQUARE, ROWS[SQUARE])
    assert [item.id for item in found] == [
        "31UES_20240501T054712_sentinel-1a_037",
        "31UES_20240513T054712_sentinel-1a_037",
    ]
    item = found[0]
    assert item.datetime == dt.datetime(2024, 5, 1, 5, 47, 12, tzinfo=dt.UTC)
    expected = {
        "platform": "sentinel-1a",
        "sat:relative_orbit": 37,
        "sat:orbit_state": "descending",
        "proj:code": "EPSG:32631",
        "proj:shape": [10_000, 10_000],
        "proj:transform": [10, 0, 500_000, 0, -10, 5_700_000],
        "grid:code": "MGRS-31UES",
        "gssm:source_items": ["LC08_c", "S1A_a", "S2B_b", "dem_d"],
        "gssm:model_sha256": "ab" * 32,
    }
    assert {name: item.properties[name] for name in expected} == expected
    zarr = item.assets["zarr"]
    assert zarr.href == HREF
    assert zarr.media_type == "application/vnd.zarr; version=3"
    assert zarr.extra_fields["xarray:open_kwargs"]["group"] == SQUARE.group
    assert zarr.extra_fields["icechunk:branch"] == "main"


def test_what_is_not_known_is_not_stated():
    item = items(HREF, SQUARE, [row(1, relative_orbit=-1, orbit_state="", written="")])[0]
    assert not [name for name in item.properties if name.startswith("sat:")]
    assert not [uri for uri in item.stac_extensions if "/sat/" in uri]
    assert "updated" not in item.properties


def test_the_footprint_is_the_ground_of_the_chunks_that_were_computed():
    whole = shape_in_degrees(SQUARE.grid, [], 1000)
    part = shape_in_degrees(SQUARE.grid, [(0, 0), (0, 1)], 1000)
    assert whole.buffer(1e-4).contains(part)
    assert part.area / whole.area == pytest.approx(0.02, rel=0.01)
    assert part.bounds[3] == pytest.approx(whole.bounds[3], abs=1e-3)
    item = items(HREF, SQUARE, [row(1)])[0]
    assert item.bbox == list(part.bounds)
    assert shapely.geometry.shape(item.geometry).equals(part)
    assert part.exterior.is_ccw


def test_a_square_across_180_degrees_is_cut_there():
    item = items(HREF, ACROSS, [row(1, coverage=())])[0]
    shape = shapely.geometry.shape(item.geometry)
    assert shape.geom_type == "MultiPolygon"
    assert shape.is_valid
    west, _, east, _ = item.bbox
    assert 178 < west < 180
    assert -180 < east < -178
    assert all(part.bounds[2] - part.bounds[0] < 2 for part in shape.geoms)
    assert {round(x, 6) for part in shape.geoms for x in part.bounds[::2]} >= {180, -180}


def test_the_collection_states_extent_terms_and_origin():
    found = collection(HREF, ROWS).to_dict()
    around, *each = found["extent"]["spatial"]["bbox"]
    assert len(each) == 2
    assert around[0] == min(box[0] for box in each)
    assert around[3] == max(box[3] for box in each)
    assert found["extent"]["temporal"]["interval"] == [
        ["2024-05-01T05:47:12Z", "2024-05-13T05:47:12Z"]
    ]
    assert found["sci:doi"] == "10.5281/zenodo.16956743"
    assert {link["rel"] for link in found["links"]} >= {"cite-as", "license"}
    flags = found["item_assets"]["quality_flag"]["classification:bitfields"]
    assert [1 << bits["offset"] for bits in flags] == [flag.mask for flag in quality.FLAGS]
    assert found["item_assets"]["soil_moisture"]["raster:scale"] == 1e-4


def test_an_archive_without_dates_has_a_collection():
    found = collection(HREF, {}).to_dict()
    assert found["extent"]["temporal"]["interval"] == [[None, None]]
    assert found["extent"]["spatial"]["bbox"] == [[-180, -90, 180, 90]]


# The catalogue


@pytest.fixture
def catalogue(tmp_path):
    publish(HREF, ROWS, tmp_path / "stac")
    return tmp_path / "stac"


def test_every_file_is_valid_by_the_schemas_of_stac(tmp_path):
    folder = tmp_path / "stac"
    publish(HREF, ROWS | {ACROSS: [row(1, coverage=())]}, folder)
    schemas = get_local_schema_cache()
    registry = Registry().with_resources(
        [(uri, Resource.from_contents(schema)) for uri, schema in schemas.items()]
    )
    kinds = {"Feature": "item", "Collection": "collection", "Catalog": "catalog"}
    checked = []
    for path in folder.rglob("*.json"):
        record = read(path)
        kind = kinds[record["type"]]
        uri = f"https://schemas.stacspec.org/v1.1.0/{kind}-spec/json-schema/{kind}.json"
        checker = Draft7Validator(schemas[uri], registry=registry)
        assert [error.message for error in checker.iter_errors(record)] == []
        checked.append(kind)
    assert sorted(checked) == ["catalog"] * 3 + ["collection"] + ["item"] * 4


def test_a_reader_finds_all_items_from_the_root(catalogue):
    root = pystac.Collection.from_file(str(catalogue / "collection.json"))
    found = {item.id: item for item in root.get_items(recursive=True)}
    assert set(found) == {item_id(s, r) for s in ROWS for r in ROWS[s] if r.status == "done"}
    item = found["31UES_20240501T054712_sentinel-1a_037"]
    assert item.get_collection().id == root.id
    assert item.get_parent().id == "31UES"


def test_no_file_says_where_it_lies(catalogue):
    for path in catalogue.rglob("*.json"):
        assert str(catalogue.parent) not in path.read_text()
        assert '"self"' not in path.read_text()


def test_all_items_in_one_table(catalogue):
    table = pyarrow.parquet.read_table(catalogue / "items.parquet").to_pydict()
    assert len(table["id"]) == 3
    back = rustac.read_sync(str(catalogue / "items.parquet"))["features"]
    one = next(item for item in back if item["id"] == "31UES_20240501T054712_sentinel-1a_037")
    written = read(catalogue / "31UES" / f"{one['id']}.json")
    assert one["properties"]["gssm:source_items"] == written["properties"]["gssm:source_items"]
    assert one["assets"]["zarr"]["href"] == HREF
    np.testing.assert_allclose(one["bbox"], written["bbox"])
    assert pd.Timestamp(one["properties"]["datetime"]) == pd.Timestamp("2024-05-01T05:47:12Z")


def test_publishing_again_changes_nothing(catalogue):
    before = contents(catalogue)
    times = {path: path.stat().st_mtime_ns for path in before}
    assert publish(HREF, ROWS, catalogue) == []
    backwards = {square: ROWS[square][::-1] for square in reversed(ROWS)}
    assert publish(HREF, backwards, catalogue) == []
    assert contents(catalogue) == before
    assert {path: path.stat().st_mtime_ns for path in before} == times


def test_a_date_that_was_replaced_updates_its_item(catalogue):
    before = contents(catalogue)
    better = {**ROWS, SQUARE: [row(13), row(1, partners=("S2C_new",))]}
    changed = publish(HREF, better, catalogue)
    path = catalogue / "31UES" / "31UES_20240501T054712_sentinel-1a_037.json"
    assert changed == [path, catalogue / "items.parquet"]
    assert read(path)["properties"]["gssm:source_items"] == ["S1A_a", "S2C_new", "dem_d"]
    assert {p: c for p, c in contents(catalogue).items() if p not in changed} == {
        p: c for p, c in before.items() if p not in changed
    }


def test_a_date_that_is_gone_takes_its_item_along(catalogue):
    notes = catalogue / "31UES" / "notes.json"
    notes.write_text('{"mine": true}')
    publish(HREF, {SQUARE: [row(13)]}, catalogue)
    assert {str(p.relative_to(catalogue)) for p in contents(catalogue)} == {
        "collection.json",
        "items.parquet",
        "31UES/catalog.json",
        "31UES/notes.json",
        "31UES/31UES_20240513T054712_sentinel-1a_037.json",
    }


def test_a_local_archive_and_its_cogs_are_named_relative_to_each_file(tmp_path):
    grid = SQUARE.grid[:70, :100]
    day = make_product(1, grid, ages=False)
    files = export(day, tmp_path / "maps", format="cog")
    cogs = {item_id(SQUARE, row(1)): {f.stem.partition("Z_")[2]: str(f) for f in files}}
    publish(tmp_path / "archive", ROWS, tmp_path / "stac", cogs=cogs)
    folder = tmp_path / "stac" / "31UES"
    assets = read(folder / "31UES_20240501T054712_sentinel-1a_037.json")["assets"]
    assert assets["zarr"]["href"] == "../../archive"
    one = assets["soil_moisture"]
    assert (folder / one["href"]).resolve() in files
    assert one["proj:shape"] == [70, 100]
    assert one["proj:transform"] == [10, 0, 500_000, 0, -10, 5_700_000]
    assert (one["data_type"], one["nodata"], one["raster:scale"]) == ("uint16", 65535, 1e-4)
    root = read(tmp_path / "stac" / "collection.json")["assets"]
    assert root["zarr"]["href"] == "../archive"
    assert root["items"]["href"] == "./items.parquet"
    back = rustac.read_sync(str(tmp_path / "stac" / "items.parquet"))["features"]
    hrefs = {item["assets"]["zarr"]["href"] for item in back}
    assert hrefs == {"../archive"}


def test_a_folder_of_somebody_else_is_refused(tmp_path):
    (tmp_path / "thesis.txt").write_text("mine")
    with pytest.raises(StoreExistsError, match=r"collection\.json"):
        publish(HREF, ROWS, tmp_path)
    assert contents(tmp_path) == {tmp_path / "thesis.txt": b"mine"}


def test_a_place_that_cannot_be_written_is_refused(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreWriteError, match="could not be written"):
        publish(HREF, ROWS, tmp_path / "file" / "stac")


def test_a_failure_between_files_leaves_whole_files(catalogue, monkeypatch):
    before = contents(catalogue)

    def fail(*_, **__):
        raise OSError("No space left on device")

    monkeypatch.setattr(rustac, "write_sync", fail)
    better = {**ROWS, SQUARE: [row(13), row(1, partners=("S2C_new",))]}
    with pytest.raises(StoreWriteError, match="No space left"):
        publish(HREF, better, catalogue)
    assert set(contents(catalogue)) == set(before)
    assert all(read(path) for path in catalogue.rglob("*.json"))
    monkeypatch.undo()
    assert publish(HREF, better, catalogue) == [catalogue / "items.parquet"]
