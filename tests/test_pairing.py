from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gssm.errors import EmptySearchError, GssmWarning
from gssm.pairing import Acquisition, acquisitions, observations
from imagery import landsat_item, optical_item, radar_item

Item = dict[str, Any]


def passes(*items: dict[str, Any], window: str = "3D") -> list[Acquisition]:
    return acquisitions(observations(items), window)


def slice_at(name: str, time: str, west: float = 2.99, **properties: Any) -> dict[str, Any]:
    item = radar_item(name, time, **properties)
    return {**item, "geometry": None, "bbox": [west, 50.5, west + 0.06, 50.6]}


def names(*items: dict[str, Any]) -> list[list[str]]:
    return [[o.id for o in a.slices] for a in passes(*items)]


def test_slices_of_one_pass_are_one_acquisition() -> None:
    slices = [
        slice_at("late", "2020-06-10T06:00:25Z", 3.2),
        slice_at("early", "2020-06-10T06:00:00Z"),
    ]
    (only,) = passes(*slices)
    assert only.time == pd.Timestamp("2020-06-10T06:00")
    assert [o.id for o in only.slices] == ["early", "late"]


@pytest.mark.parametrize(
    "other",
    [
        slice_at("b", "2020-06-10T18:00:00Z", sat__relative_orbit=88),
        slice_at("b", "2020-06-10T06:00:00Z", 3.2, platform="sentinel-1b"),
        slice_at("b", "2020-06-11T06:00:00Z", 3.2),
        # No orbit number: the two passes of a day still differ in direction.
        slice_at(
            "b", "2020-06-10T18:00:00Z", sat__relative_orbit=None, sat__orbit_state="ascending"
        ),
    ],
)
def test_passes_that_differ_stay_apart(other: dict[str, Any]) -> None:
    first = slice_at("a", "2020-06-10T06:00:00Z", sat__orbit_state="descending")
    if other["properties"]["sat:relative_orbit"] is None:
        first["properties"]["sat:relative_orbit"] = None
    assert names(first, other) == [["a"], ["b"]]


@pytest.mark.parametrize(
    ("west", "times"),
    [
        # Noon in New Zealand is midnight in UTC; the pass is one solar day.
        (174.0, ("2020-06-09T23:59:50Z", "2020-06-10T00:00:15Z")),
        (-150.0, ("2020-06-10T03:59:50Z", "2020-06-10T04:00:15Z")),
        (2.99, ("2020-06-10T17:40:00Z", "2020-06-10T17:40:25Z")),
    ],
)
def test_a_pass_across_midnight_utc_is_one(west: float, times: tuple[str, str]) -> None:
    slices = [slice_at(f"s{i}", t, west + i / 10) for i, t in enumerate(times)]
    assert names(*slices) == [["s0", "s1"]]


@pytest.mark.parametrize(
    "silent",
    [
        {"sat__relative_orbit": None},
        {"sat__orbit_state": None},
        {"sat__orbit_state": "ASCENDING"},
        {"sat__relative_orbit": None, "sat__orbit_state": None},
    ],
)
def test_a_slice_that_leaves_out_its_orbit_is_of_the_pass_around_it(silent: dict[str, Any]) -> None:
    first = slice_at("first", "2020-06-10T06:00:00Z", sat__orbit_state="ascending")
    second = slice_at(
        "second", "2020-06-10T06:00:25Z", west=3.04, **{"sat__orbit_state": "ascending", **silent}
    )
    (only,) = passes(first, second)
    assert [o.id for o in only.slices] == ["first", "second"]
    assert {(o.relative_orbit, o.orbit_state) for o in only.slices} == {(8, "ascending")}
    # Not of another satellite, and not of an orbit that it does not name.
    second["properties"]["platform"] = "sentinel-1b"
    assert names(first, second) == [["first"], ["second"]]
    second["properties"] |= {"platform": "sentinel-1a", "sat:relative_orbit": 9}
    assert names(first, second) == [["first"], ["second"]]


def test_a_scene_served_twice_counts_once_with_the_newest_baseline() -> None:
    # Earth Search serves 02.14 and 05.00 of one scene, 1 ms apart.
    old = optical_item("old", "2020-06-09T11:00:00.000Z", s2__processing_baseline="02.14")
    new = optical_item("new", "2020-06-09T11:00:00.001Z", s2__processing_baseline="05.00")
    for pair in ([old, new], [new, old], [old, new, old]):
        (only,) = passes(radar_item(), *pair)
        assert [o.id for o in only.sentinel2] == ["new"]


@pytest.mark.parametrize(
    "change",
    [{"s2__mgrs_tile": "31UES"}, {"platform": "sentinel-2b"}, {"time": "2020-06-09T11:02:00Z"}],
)
def test_images_that_only_look_alike_are_both_kept(change: dict[str, Any]) -> None:
    (only,) = passes(radar_item(), optical_item("a"), optical_item("b", **change))
    assert {o.id for o in only.sentinel2} == {"a", "b"}


def test_candidates_nearest_first_either_side_within_the_window() -> None:
    days = {"in-3": -3, "in-1": -1, "in+2": 2, "in+3": 3, "out-": -3.001, "out+": 3.001}
    radar = pd.Timestamp("2020-06-10T06:00:00")
    images = [
        optical_item(name, (radar + pd.Timedelta(days=day)).isoformat() + "Z")
        for name, day in days.items()
    ]
    (only,) = passes(radar_item(), *images, landsat_item())
    assert [o.id for o in only.sentinel2] == ["in-1", "in+2", "in+3", "in-3"]
    assert [only.offset_days(o) for o in only.sentinel2] == [-1, 2, 3, -3]
    assert [o.id for o in only.landsat] == ["LC08"]


def test_window_of_zero_keeps_only_the_same_moment() -> None:
    same = optical_item("same", "2020-06-10T06:00:00Z")
    (only,) = passes(radar_item(), same, optical_item("other"), window="0D")
    assert [o.id for o in only.sentinel2] == ["same"]


def test_unusable_items_are_named_in_one_warning() -> None:
    broken = [radar_item(f"r{i}", sar__instrument_mode="EW") for i in range(5)]
    with pytest.warns(GssmWarning, match=r"5 item\(s\) left out: item 'r0'.*and 2 more") as caught:
        assert len(observations([radar_item(), *broken])) == 1
    assert len(caught) == 1


@pytest.mark.parametrize("thing", ["items.json", None, 5, [radar_item()]])
def test_what_is_no_item_is_named(thing: Any) -> None:
    with pytest.warns(GssmWarning, match=r"1 item\(s\) left out: .* is no STAC item; give what"):
        assert [o.id for o in observations([radar_item(), thing])] == ["S1"]


@pytest.mark.parametrize(
    ("items", "reason"),
    [
        ([], "search again"),
        ([optical_item()], "search again"),
        ([radar_item("ew", sar__instrument_mode="EW")], "'ew' was taken in EW mode"),
    ],
)
def test_no_radar_is_an_error_that_says_why(items: list[dict[str, Any]], reason: str) -> None:
    with pytest.raises(EmptySearchError, match=f"no usable Sentinel-1 item.*{reason}"):
        observations(items)


def test_both_halves_of_a_split_tile_stay_and_a_second_copy_does_not() -> None:
    def half(name: str, west: float) -> dict[str, Any]:
        item = optical_item(name, "2020-06-10T10:50:00Z")
        return {**item, "geometry": None, "bbox": [west, 50.5, west + 0.05, 50.6]}

    items = [slice_at("radar", "2020-06-10T06:00:00Z"), half("a", 2.95), half("b", 3.0)]
    (only,) = passes(*items, half("b-again", 3.0))
    assert [o.id for o in only.sentinel2] == ["a", "b"]


def test_one_pass_in_two_collections_is_read_from_one() -> None:
    sigma = slice_at("sigma", "2020-06-10T06:00:00Z")
    gamma = slice_at("gamma", "2020-06-10T06:00:00Z") | {"collection": "sentinel-1-rtc"}
    (only,) = passes(gamma, sigma)
    assert [o.id for o in only.slices] == ["sigma"]


GAMMA, SIGMA = "sentinel-1-rtc", "sentinel-1-grd"
AREA = (3.0, 50.0, 3.4, 50.4)


def cut(collection: str, *bounds: float, name: str = "", **properties: Any) -> dict[str, Any]:
    item = radar_item(name or collection, **properties)
    assets = {"vv": {"href": "/nowhere/measurement/iw-vv.tiff"}}
    assets["vh"] = {"href": "/nowhere/measurement/iw-vh.tiff"}
    changed = {"collection": collection, "geometry": None, "bbox": list(bounds), "assets": assets}
    return {**item, **changed}


def collections(items: Sequence[Item], area: Any = AREA) -> list[tuple[str, ...]]:
    found = acquisitions(observations(items), "3D", area)
    return [tuple(o.collection for o in a.slices) for a in found]


@pytest.mark.parametrize(
    ("west", "expected"),
    [
        (3.0, GAMMA),  # all of the area, as the other does
        (3.01, GAMMA),  # a box around a tilted image is not known better than this
        (3.1, SIGMA),
        (3.39, SIGMA),  # a corner
        (3.5, SIGMA),  # nothing of the area, and the other some
    ],
)
def test_of_two_collections_the_one_that_shows_most_of_the_area_is_read(
    west: float, expected: str
) -> None:
    gamma, sigma = cut(GAMMA, west, 49, 5, 51), cut(SIGMA, 2, 49, 4, 51)
    for order in ([gamma, sigma], [sigma, gamma]):
        assert collections(order) == [(expected,)]


def test_a_small_part_of_the_area_goes_before_none_of_it() -> None:
    items = [cut(GAMMA, 3.41, 49, 5, 51), cut(SIGMA, 2, 49, 3.004, 51)]
    assert collections(items) == [(SIGMA,)]


def test_without_an_area_the_collection_with_more_of_the_pass_is_read() -> None:
    late = "2020-06-10T06:00:25Z"
    gamma = cut(GAMMA, 2, 49, 4, 50)
    sigma = [cut(SIGMA, 2, 49, 4, 50, name="a"), cut(SIGMA, 2, 50, 4, 51, name="b", time=late)]
    assert collections([gamma, *sigma], None) == [(SIGMA, SIGMA)]
    # The area lies in the slice that both have.
    assert collections([gamma, *sigma], (3.0, 49.2, 3.4, 49.6)) == [(GAMMA,)]


def test_slices_of_one_collection_show_the_area_together() -> None:
    late = "2020-06-10T06:00:25Z"
    gamma = [
        cut(GAMMA, 2, 49, 4, 50.2, name="south"),
        cut(GAMMA, 2, 50.2, 4, 51, name="north", time=late),
    ]
    assert collections([cut(SIGMA, 2, 49, 4, 50.35), *gamma]) == [(GAMMA, GAMMA)]


def test_every_pass_decides_for_itself() -> None:
    later = "2020-06-22T06:00:00Z"
    first = [cut(GAMMA, 3.39, 49, 5, 51), cut(SIGMA, 2, 49, 4, 51)]
    second = [
        cut(GAMMA, 2, 49, 4, 51, name="c", time=later),
        cut(SIGMA, 2, 49, 4, 51, name="d", time=later),
    ]
    assert collections([*first, *second]) == [(SIGMA,), (GAMMA,)]


@pytest.mark.parametrize(
    ("area", "sigma"),
    [
        ((179.8, 50.0, -179.8, 50.4), (178.0, 49.0, -178.0, 51.0)),
        ((-179.9, 50.0, -179.5, 50.4), (178.0, 49.0, -178.0, 51.0)),
        ((179.5, 50.0, 179.9, 50.4), (178.0, 49.0, -178.0, 51.0)),
        ((-169.9, 50.0, -169.6, 50.4), (-171.0, 49.0, -169.0, 51.0)),
    ],
)
def test_the_area_may_lie_across_the_180th_meridian(area: Any, sigma: Any) -> None:
    items = [cut(GAMMA, 179.0, 49.0, 179.55, 51.0), cut(SIGMA, *sigma)]
    assert collections(items, area) == [(SIGMA,)]


shifts = st.floats(-1.0, 1.0, width=16)


@settings(max_examples=60)
@given(
    boxes=st.lists(
        st.tuples(st.sampled_from([GAMMA, SIGMA, "sentinel-1-sigma0"]), shifts, shifts),
        min_size=1,
        max_size=6,
    ),
    area=st.sampled_from([None, AREA]),
    order=st.randoms(use_true_random=False),
)
def test_a_pass_is_of_one_collection_whatever_the_order_of_items(
    boxes: list[tuple[str, float, float]], area: Any, order: Any
) -> None:
    items = [
        cut(key, 3.0 + dx, 50.0 + dy, 3.4 + dx, 50.4 + dy, name=f"i{n}", time=f"2020-06-10T06:0{n}")
        for n, (key, dx, dy) in enumerate(boxes)
    ]
    (first,) = acquisitions(observations(items), "3D", area)
    assert len({o.collection for o in first.slices}) == 1
    members = {item["id"] for item in items if item["collection"] == first.slices[0].collection}
    assert {o.id for o in first.slices} <= members
    order.shuffle(items)
    (again,) = acquisitions(observations(items), "3D", area)
    assert again == first


def scene(name: str, time: str, baseline: str, **properties: Any) -> dict[str, Any]:
    stated = {"s2__datatake_id": "GS2A_20200609T104500_025000_N05.00", "platform": "sentinel-2a"}
    return optical_item(name, time, s2__processing_baseline=baseline, **stated, **properties)


def test_a_scene_dated_by_datatake_and_by_tile_is_one() -> None:
    # Planetary Computer and Copernicus date an item by its datatake, Earth Search by its tile.
    early = scene("datatake", "2020-06-09T10:45:00Z", "02.14")
    late = scene("tile", "2020-06-09T10:58:20Z", "05.00")
    for pair in ((early, late), (late, early)):
        (only,) = passes(radar_item(), *pair)
        assert [o.id for o in only.sentinel2] == ["tile"]


def test_of_one_baseline_the_newest_processing_stays() -> None:
    times = {"first": "2020-06-09T20:00:00Z", "again": "2020-06-11T08:00:00Z"}
    items = [
        scene(name, "2020-06-09T10:45:00Z", "05.00", s2__generation_time=time)
        for name, time in times.items()
    ]
    for order in (items, items[::-1]):
        (only,) = passes(radar_item(), *order)
        assert [o.id for o in only.sentinel2] == ["again"]


def test_of_landsat_the_newest_processing_stays() -> None:
    old = landsat_item("LC08_L2SP_199024_20200609_20200610_02_RT")
    new = landsat_item("LC08_L2SP_199024_20200609_20200824_02_T1")
    (only,) = passes(radar_item(), new, old)
    assert [o.id for o in only.landsat] == [new["id"]]


def test_old_halves_of_a_tile_go_where_the_new_whole_is_there() -> None:
    def part(item: dict[str, Any], west: float, east: float) -> dict[str, Any]:
        return {**item, "geometry": None, "bbox": [west, 50.5, east, 50.6]}

    time = "2020-06-09T10:45:00Z"
    halves = [
        part(scene("a", time, "02.14"), 2.95, 3.0),
        part(scene("b", time, "02.14"), 3.0, 3.05),
    ]
    whole = part(scene("whole", time, "05.00"), 2.95, 3.05)
    (only,) = passes(slice_at("radar", "2020-06-10T06:00:00Z"), *halves, whole)
    assert [o.id for o in only.sentinel2] == ["whole"]
    # Where the new processing has one half only, the other comes from the old.
    half = part(scene("new-a", time, "05.00"), 2.95, 3.0)
    (only,) = passes(slice_at("radar", "2020-06-10T06:00:00Z"), *halves, half)
    assert [o.id for o in only.sentinel2] == ["new-a", "b"]


def test_an_item_repeated_across_pages_counts_once() -> None:
    item = slice_at("radar", "2020-06-10T06:00:00Z")
    assert names(item, item) == [["radar"]]


@pytest.mark.parametrize("west", [179.0, 179.96, -179.99])
def test_a_pass_across_the_180th_meridian_is_one(west: float) -> None:
    slices = [
        slice_at("a", "2020-06-10T18:00:00Z", 179.5),
        slice_at("b", "2020-06-10T18:00:25Z", west),
    ]
    slices[1]["bbox"][2] = (slices[1]["bbox"][2] + 180) % 360 - 180
    assert names(*slices) == [["a", "b"]]


def test_the_next_orbit_is_another_pass() -> None:
    unknown = {"sat__relative_orbit": None, "sat__orbit_state": "descending"}
    first = slice_at("a", "2020-06-10T06:00:00Z", **unknown)
    later = slice_at("b", "2020-06-10T07:39:00Z", **unknown)
    assert names(first, later) == [["a"], ["b"]]


def usgs(kind: str, product: str = "LC08_L2SP_199024_20200609_20200824_02_T1") -> dict[str, Any]:
    item = landsat_item(f"{product}_{kind}")
    keys = {"SR": ("red", "nir08", "qa_pixel"), "ST": ("lwir11", "qa_pixel")}[kind]
    item["assets"] = {key: {"href": f"/nowhere/{kind}/{key}.tif"} for key in keys}
    return {**item, "collection": f"landsat-c2l2-{kind.lower()}"}


def test_reflectance_and_temperature_of_one_landsat_product_are_one_image() -> None:
    for order in (("SR", "ST"), ("ST", "SR")):
        (only,) = passes(radar_item(), *map(usgs, order))
        (image,) = only.landsat
        assert sorted(image.rasters) == ["landsat_b10", "landsat_b4", "landsat_b5"]
        assert image.mask is not None
        assert image.mask.href == "/nowhere/SR/qa_pixel.tif"


def test_temperature_of_another_product_is_not_taken() -> None:
    other = usgs("ST", "LC08_L2SP_199024_20200525_20200824_02_T1")
    with pytest.warns(GssmWarning, match="holds only landsat_b10"):
        (only,) = passes(radar_item(), usgs("SR"), other)
    assert [sorted(o.rasters) for o in only.landsat] == [["landsat_b4", "landsat_b5"]]


def level1(name: str, tile: str = "31UDS") -> dict[str, Any]:
    item = scene(name, "2020-06-09T10:45:00Z", "05.00") | {"collection": "sentinel-2-l1c"}
    item["properties"]["s2:mgrs_tile"] = tile
    item["assets"] = {key: {"href": f"/nowhere/{name}/{key}.jp2"} for key in ("red", "cirrus")}
    return item


def test_level_1_takes_the_mask_of_level_2_of_the_same_scene_only() -> None:
    lender = scene("l2a", "2020-06-09T10:58:20Z", "05.00")
    (only,) = passes(radar_item(), level1("l1c"), lender)
    (image,) = only.sentinel2
    assert (image.id, sorted(image.rasters)) == ("l1c", ["s2_b10", "s2_b4"])
    assert image.rasters["s2_b10"].offset == -0.1
    assert image.mask is not None
    assert image.mask.href == "/nowhere/l2a/SCL.tif"
    for other in (level1("other", "31UES"), level1("other")):
        if other["properties"]["s2:mgrs_tile"] == "31UDS":
            other["properties"]["platform"] = "sentinel-2b"
        with pytest.warns(GssmWarning, match="'other' offers no cloud mask"):
            (only,) = passes(radar_item(), other, lender)
        assert only.sentinel2 == ()


def test_a_refused_address_is_named_without_its_login() -> None:
    item = optical_item()
    item["assets"]["B04"]["href"] = "http://user:secret@10.0.0.1/B04.tif?token=secret"
    with pytest.warns(GssmWarning, match="leads to 'http://10.0.0.1/B04.tif'") as caught:
        observations([radar_item(), item])
    assert "secret" not in str(caught[0].message)
