"""A `Catalog` made by hand that cannot be, and levels that no catalogue has: one sentence."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import xarray as xr

import gssm
from cubes import make_cube
from gssm.catalogs import CATALOGS, COLLECTIONS, Catalog, Collection
from gssm.describe import describe
from gssm.errors import CubeError, UnknownCatalogError
from gssm.features import build_features
from gssm.records import make_record, stamp
from imagery import optical_item

URL, ROLES = "https://stac.example.org/v1", {"sentinel2": ("ours",)}
PLACE = ((3.0, 50.5, 3.01, 50.51), "2020-06")


@pytest.mark.parametrize(
    ("parts", "reason"),
    [
        ((None, None), "has as url NoneType"),
        (("", {}), "has as url str, and not an address"),
        ((Path("folder"), {}), "has as url P.*Path, and not an address"),
        ((URL, None), "has collections or rows that are no mapping"),
        ((URL, {}, None), "has collections or rows that are no mapping"),
        ((URL, {"sentinel2": None}), "has as sentinel2 collections None"),
        ((URL, {"sentinel2": "ours"}), "has as sentinel2 collections 'ours', which is no tuple"),
        ((URL, ROLES, {"ours": None}), "has as row 'ours' None, which is no Collection"),
        ((URL, ROLES, {"ours": Collection(None)}), "a row 'ours' without role"),
        *(
            ((URL, ROLES, {"ours": Collection("sentinel2", **{key: None})}), f"without {key}")
            for key in ("level", "convention", "kind", "assets", "scale", "offset", "mask_from")
        ),
    ],
)
def test_a_catalog_that_cannot_be_is_refused_when_it_is_made(
    parts: tuple[Any, ...], reason: str
) -> None:
    with pytest.raises(UnknownCatalogError, match=rf"{reason}.*; write it as a record, which gssm"):
        Catalog(*parts)


def test_what_may_be_none_may_be() -> None:
    row = Collection("sentinel1", nodata=None, thermal=None, angle=None, mask=None)
    assert Catalog(URL, {"sentinel1": ["ours"]}, {"ours": row}).rows["ours"] is row


def test_no_reason_to_refuse_is_none() -> None:
    entry = {"like": "sentinel-2-l2a", "refused": None}
    record = make_record({"url": URL, "collections": {"ours": entry}})
    item = {**optical_item(), "collection": "ours"}
    stamp(item["properties"], record, "ours")
    assert describe(item).collection == "ours"


@pytest.mark.parametrize(
    ("catalog", "level", "fix"),
    [
        ("usgs", "l2", "no Sentinel-2 collection there; add a catalogue that has one, such as"),
        ("usgs", "l1", "no Sentinel-2 collection there; add a catalogue that has one, such as"),
        ("planetary-computer", "l1", "such Sentinel-2 collection there; use level='l2', or add a"),
        (["usgs", "planetary-computer"], "l1", "collection there; use level='l2', or add a"),
        ("earth-search", "l3", "such Sentinel-2 collection there; use level='l2' or 'l1', or add"),
        ("cdse", None, "such Sentinel-2 collection there; use level='l2' or 'l1', or add"),
    ],
)
def test_only_levels_that_a_catalogue_has_are_proposed(catalog: Any, level: Any, fix: str) -> None:
    with pytest.raises(UnknownCatalogError, match=rf"level {level!r} is not offered by .*{fix}"):
        gssm.search(*PLACE, catalog=catalog, level=level)


def test_a_proposed_level_is_one_that_the_catalogue_has() -> None:
    for name, record in CATALOGS.items():
        with pytest.raises(UnknownCatalogError) as caught:
            gssm.search(*PLACE, catalog=name, level="l3")
        levels = {COLLECTIONS[name].level for name in record.collections["sentinel2"]}
        assert {level for level in ("l1", "l2") if repr(level) in str(caught.value)} == levels


def of_levels(**levels: str) -> xr.Dataset:
    cube = make_cube()
    return cube.assign(
        {name: cube[name].assign_attrs(processing_level=level) for name, level in levels.items()}
    )


def test_a_cube_of_one_other_level_may_have_a_model_of_it() -> None:
    with pytest.raises(CubeError, match="where a catalogue has it, or use a model of the cube's"):
        build_features(of_levels(s2_b4="l1", landsat_b4="l1"), "l2")


def test_a_cube_of_two_levels_has_no_model() -> None:
    cube = of_levels(s2_b4="l2", landsat_b4="l1")
    with pytest.raises(CubeError, match=r"'landsat_b4' is of level 'l1'.*or leave out") as caught:
        build_features(cube, "l2")
    assert "model" not in str(caught.value)
