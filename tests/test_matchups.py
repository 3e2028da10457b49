from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from pyproj import Transformer

import gssm
from gssm.errors import EmptySearchError, RequestError
from helpers import no_compute
from imagery import LEFT, TOP, landsat_item, optical_item, radar_item, write_tif

BBOX = (3.0195, 50.8132, 3.0282, 50.8187)


@pytest.fixture(scope="module")
def summer(flanders: Path) -> Any:
    return gssm.search(BBOX, "2018-05-01/2018-09-30", catalog=flanders)


def test_the_available_dates_of_the_real_site(summer: Any) -> None:
    with no_compute():
        table = gssm.matchups(summer)
    assert len(table) == 49
    assert (table["reason"] == "").sum() == 41  # README of the test data: about 41
    assert set(table["reason"]) == {"", "no Sentinel-2 within 3D with at most 60 % cloud"}
    assert (table["sentinel2"].map(len) > 0).tolist() == (table["reason"] == "").tolist()
    assert table.index.is_monotonic_increasing
    assert table.index.is_unique
    # The README counts 11 with Landsat; cloud cover up to 60 percent lets in two more.
    assert (table["landsat"].map(len).gt(0) & (table["reason"] == "")).sum() == 13


def test_offsets_are_signed_and_nearest_first(summer: Any) -> None:
    times = {item.id: pd.Timestamp(item.datetime).tz_localize(None) for item in summer}
    both_signs = set()
    for time, row in gssm.matchups(summer).iterrows():
        for role in ("sentinel2", "landsat"):
            offsets = row[f"{role}_offset_days"]
            expected = [(times[name] - time) / pd.Timedelta("1D") for name in row[role]]
            np.testing.assert_allclose(offsets, expected, atol=6e-4)
            assert list(np.abs(offsets)) == sorted(np.abs(offsets))
            assert all(abs(offset) <= 3 for offset in offsets)
            both_signs |= set(np.sign(offsets))
    assert both_signs >= {-1.0, 1.0}


def test_measured_share_tells_what_cloud_cover_does_not(flanders: Path) -> None:
    items = gssm.search(BBOX, "2018-09-20/2018-09-26", catalog=flanders)
    images = {i.id: i for i in items if i.collection_id == "sentinel-2-l2a"}
    # README of the test data: 2018-09-23 has 1 % cloud and 0 % clear.
    (name,) = [name for name in images if "20180923" in name]
    assert images[name].properties["eo:cloud_cover"] < 2
    only = [i for i in items if i.collection_id != "sentinel-2-l2a" or i.id == name]
    table = gssm.matchups(only, measure=True, bbox=BBOX)
    paired = table[table["sentinel2"].map(len) > 0]
    assert len(paired) > 0
    assert (paired["sentinel2_usable"] == 0).all()
    assert (paired["reason"] == "no clear Sentinel-2 pixel over the area").all()


def test_measured_columns_on_the_real_site(flanders: Path) -> None:
    items = gssm.search(BBOX, "2018-07-01/2018-07-20", catalog=flanders)
    plain, table = gssm.matchups(items), gssm.matchups(items, measure=True)
    assert [c for c in table if c not in plain] == ["sentinel2_usable", "landsat_usable"]
    assert table.columns[-1] == "reason"
    for role in ("sentinel2", "landsat"):
        share = table[f"{role}_usable"]
        assert share.between(0, 1).all()
        assert (share[table[role].map(len) == 0] == 0).all()
    assert table["sentinel2_usable"].max() > 0.9


def radar_and_masks(folder: Path, scl: np.ndarray[Any, Any], qa: np.ndarray[Any, Any]) -> Any:
    image, landsat = optical_item(), landsat_item()
    image["assets"]["SCL"]["href"] = write_tif(folder / "SCL.tif", scl)
    landsat["assets"]["qa_pixel"]["href"] = write_tif(folder / "qa.tif", qa)
    return [radar_item(), image, landsat]


def test_share_is_that_of_clear_pixels_only(tmp_path: Path) -> None:
    # Columns of 10 m: vegetation, cloud, water, snow; the box is columns 1 to 6.
    scl = np.repeat(np.array([[4, 4, 4, 9, 6, 11, 4, 4]], np.uint8), 12, axis=0)
    items = radar_and_masks(tmp_path, scl, np.full((12, 8), 21824, np.uint16))
    to_degrees = Transformer.from_crs("EPSG:32631", "EPSG:4326", always_xy=True)
    west, south = to_degrees.transform(LEFT + 11, TOP - 109)
    east, north = to_degrees.transform(LEFT + 69, TOP - 11)
    table = gssm.matchups(items, measure=True, bbox=(west, south, east, north))
    # Columns 1, 2 and 6 are vegetation: 3 of 6.
    assert table["sentinel2_usable"].tolist() == [0.5]
    assert table["landsat_usable"].tolist() == [1.0]
    assert table["reason"].tolist() == [""]


def test_an_acquisition_without_candidate_is_listed_with_the_reason() -> None:
    items = [
        radar_item("paired"),
        radar_item("alone", "2020-06-22T06:00:00Z"),
        optical_item(),
        landsat_item("near", "2020-06-21T10:00:00Z"),
    ]
    table = gssm.matchups(items)
    assert table["sentinel1"].tolist() == [("paired",), ("alone",)]
    assert table["reason"].tolist() == ["", "no Sentinel-2 within 3D"]
    assert table["landsat"].tolist() == [(), ("near",)]
    assert gssm.matchups(items, window="0D")["reason"].tolist() == ["no Sentinel-2 within 0D"] * 2


def test_any_iterable_of_items_or_dictionaries(summer: Any) -> None:
    # Plain items do not know which cloud cover was searched for, and cannot tell it.
    expected = gssm.matchups(summer).replace({"reason": " with at most 60 % cloud"}, "", regex=True)
    pd.testing.assert_frame_equal(gssm.matchups(item for item in summer), expected)
    dictionaries = [item.to_dict(transform_hrefs=False) for item in summer]
    pd.testing.assert_frame_equal(gssm.matchups(json.loads(json.dumps(dictionaries))), expected)


def test_only_mapped_radar_is_kept(summer: Any) -> None:
    from gssm.matchups import matched_items

    kept = matched_items(summer, gssm.matchups(summer))
    assert sum(i.collection_id == "sentinel-1-sigma0" for i in kept) == 41
    assert len(summer) - len(kept) == 49 - 41


def test_bad_requests() -> None:
    with pytest.raises(EmptySearchError, match="no usable Sentinel-1"):
        gssm.matchups([])
    with pytest.raises(RequestError, match="not a duration"):
        gssm.matchups([radar_item()], window="3")
    with pytest.raises(RequestError, match="west > east"):
        gssm.matchups([radar_item()], measure=True, bbox=(4, 50, 3, 51))
