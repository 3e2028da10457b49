"""Overviews are exact, whatever the order and the size of the chunks they are made from."""

from __future__ import annotations

import math
import tracemalloc
from collections.abc import Iterable, Mapping
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from odc.geo.geobox import GeoBox

from gssm.archive.overviews import LEVELS, NAMES, Index, Overview, Pyramid, overview_grid
from gssm.archive.packing import PACKINGS
from gssm.errors import CubeError, RequestError

SIDE = 200
DIVISORS = [size for size in range(1, SIDE + 1) if SIDE % size == 0 and size >= 8]
Arrays = Mapping[str, np.ndarray[Any, Any]]


def fill(name: str) -> int:
    return PACKINGS[name].fill


def nothing(side: int) -> dict[str, Any]:
    return {name: np.full((side, side), fill(name), PACKINGS[name].dtype) for name in NAMES}


def random_square(side: int, seed: int, missing: float = 0.3) -> dict[str, Any]:
    """Pixels of all kinds: with and without a value, with and without flags."""
    random = np.random.default_rng(seed)
    square = nothing(side)
    limits = {"soil_moisture": 10_001, "soil_moisture_uncertainty": 255, "quality_flag": 1 << 14}
    for name, limit in limits.items():
        there = random.random((side, side)) >= missing
        values = random.integers(0, limit, (side, side)) >> random.integers(0, 14, (side, side))
        square[name][there] = values[there]
    return square


def all_chunks(side: int, chunk: int) -> list[Index]:
    return [(row, column) for row in range(side // chunk) for column in range(side // chunk)]


def cut(square: Arrays, index: Index, chunk: int) -> dict[str, Any]:
    rows, columns = (slice(place * chunk, (place + 1) * chunk) for place in index)
    return {name: values[rows, columns] for name, values in square.items()}


def built(square: Arrays, indices: Iterable[Index], chunk: int, **options: int) -> list[Overview]:
    indices = list(indices)
    side = len(square["soil_moisture"])
    pyramid = Pyramid(indices, chunk, pixels=side, **options)
    return [part for index in indices for part in pyramid.add(index, cut(square, index, chunk))]


def assembled(parts: Iterable[Overview], side: int) -> dict[int, dict[str, Any]]:
    """Whole levels, of blocks that hold something and do not overlap."""
    levels = {level: nothing(-(-side // level)) for level in LEVELS}
    seen = set()
    for level, window, values in parts:
        assert values
        for name, block in values.items():
            target = levels[level][name][window]
            place = (level, name, window[0].start, window[1].start)
            assert place not in seen
            seen.add(place)
            assert block.shape == target.shape
            assert block.dtype == target.dtype
            assert (block != fill(name)).any()
            assert (target == fill(name)).all()
            target[:] = block
    return levels


def reference(square: Arrays, level: int) -> dict[str, Any]:
    """An overview in whole 64-bit numbers, straight from the pixels of the square."""
    starts = np.arange(0, len(square["soil_moisture"]), level)

    def under(join: np.ufunc, values: Any) -> Any:
        return join.reduceat(join.reduceat(values.astype(np.int64), starts, 0), starts, 1)

    result = {}
    for name, packed in square.items():
        valid = packed != fill(name)
        count = under(np.add, valid)
        if name == "quality_flag":
            values = under(np.bitwise_or, np.where(valid, packed, 0))
        else:
            total = under(np.add, np.where(valid, packed, 0))
            values = np.floor_divide(2 * total + count, 2 * np.maximum(count, 1))
        result[name] = np.where(count > 0, values, fill(name)).astype(packed.dtype)
    return result


def assert_equal(levels: dict[int, dict[str, Any]], square: Arrays) -> None:
    for level in LEVELS:
        expected = reference(square, level)
        for name in NAMES:
            np.testing.assert_array_equal(
                levels[level][name], expected[name], err_msg=f"{level} {name}", strict=True
            )


def only(square: Arrays, indices: Iterable[Index], chunk: int) -> dict[str, Any]:
    """The square with nothing outside of some chunks."""
    kept = nothing(len(square["soil_moisture"]))
    for index in indices:
        for name, values in cut(square, index, chunk).items():
            cut(kept, index, chunk)[name][:] = values
    return kept


def test_every_pixel_is_what_lies_under_it() -> None:
    side = 100
    square = random_square(side, seed=1, missing=0.7)
    levels = assembled(built(square, all_chunks(side, 20), 20), side)
    for level in LEVELS:
        for row in range(-(-side // level)):
            for column in range(-(-side // level)):
                rows = slice(row * level, (row + 1) * level)
                columns = slice(column * level, (column + 1) * level)
                for name in NAMES:
                    under = [int(v) for v in square[name][rows, columns].flat if v != fill(name)]
                    got = int(levels[level][name][row, column])
                    if not under:
                        assert got == fill(name)
                    elif name == "quality_flag":
                        assert got == int(np.bitwise_or.reduce(under))
                    else:
                        mean = Fraction(sum(under), len(under))
                        assert got == math.floor(mean + Fraction(1, 2))


@settings(max_examples=50)
@given(data=st.data())
def test_neither_order_nor_size_nor_coverage_of_chunks_matters(data: st.DataObject) -> None:
    chunk = data.draw(st.sampled_from(DIVISORS))
    block = data.draw(st.sampled_from([7, 32, 50, 1000]))
    random = np.random.default_rng(data.draw(st.integers(0, 1000)))
    chunks = all_chunks(SIDE, chunk)
    number = data.draw(st.integers(1, len(chunks)))
    kept = [chunks[place] for place in random.permutation(len(chunks))[:number]]
    square = random_square(SIDE, seed=number, missing=data.draw(st.sampled_from([0, 0.3, 0.99])))
    parts = built(square, kept, chunk, block=block)
    assert_equal(assembled(parts, SIDE), only(square, kept, chunk))


@pytest.mark.parametrize("chunk", [1, 2])
def test_smallest_chunks(chunk: int) -> None:
    square = random_square(50, seed=2)
    parts = built(square, all_chunks(50, chunk)[::-1], chunk)
    assert_equal(assembled(parts, 50), square)


def test_a_coarse_pixel_is_the_mean_of_pixels_and_not_of_means() -> None:
    square = nothing(128)
    square["soil_moisture"][:32] = 1000
    square["soil_moisture"][40, 40] = 9000  # alone in its pixels of 2 to 32
    levels = assembled(built(square, all_chunks(128, 32), 32), 128)
    values = levels[64]["soil_moisture"]
    assert values[0, 0] == round((1000 * 32 * 64 + 9000) / (32 * 64 + 1))
    assert values[0, 1] == 1000
    assert (values[1] == fill("soil_moisture")).all()


def test_largest_values_do_not_overflow() -> None:
    square = nothing(128)
    for name in NAMES:
        square[name][:] = fill(name) - 1
    for chunk in (128, 64, 8):
        for _, _, values in built(square, all_chunks(128, chunk), chunk):
            for name in NAMES:
                assert (values[name] == fill(name) - 1).all()


@pytest.mark.parametrize(
    ("pixels", "mean"),
    [([1, 2], 2), ([1, 1, 1, 2], 1), ([1, 1, 2, 2], 2), ([1, 2, 2, 2], 2), ([0, 1, 1], 1)],
)
def test_halves_are_rounded_up(pixels: list[int], mean: int) -> None:
    square = nothing(4)
    for place, value in zip([(0, 0), (0, 1), (1, 0), (1, 1)], pixels, strict=False):
        square["soil_moisture"][place] = value
    first = built(square, [(0, 0)], 4)[0]
    assert first.level == 2
    assert first.values["soil_moisture"][0, 0] == mean


def test_flags_are_those_of_all_computed_pixels_and_the_fill_is_none() -> None:
    square = nothing(8)
    square["quality_flag"][0, :3] = [0b01, 0b10, 0b100]
    square["quality_flag"][4:, 4:] = 0
    levels = assembled(built(square, all_chunks(8, 4), 4), 8)
    none = fill("quality_flag")
    assert levels[2]["quality_flag"][0].tolist() == [0b11, 0b100, none, none]
    # Flags count although none of these pixels has a value; no flag at all is 0.
    assert levels[4]["quality_flag"].tolist() == [[0b111, none], [none, 0]]
    assert levels[64]["quality_flag"].tolist() == [[0b111]]
    assert (levels[2]["soil_moisture"] == fill("soil_moisture")).all()


def test_only_what_has_a_value_is_handed_out() -> None:
    square = nothing(400)
    square["soil_moisture"][:200, :200] = 5
    square["quality_flag"][200:, 200:] = 0
    parts = built(square, all_chunks(400, 100), 100, block=50)
    found = {(p.window[0].start, p.window[1].start): set(p.values) for p in parts if p.level == 4}
    assert found == {(0, 0): {"soil_moisture"}, (50, 50): {"quality_flag"}}
    assert set(parts[-1].values) == {"soil_moisture", "quality_flag"}
    assert parts[-1].level == 64


def test_chunks_without_anything_are_named_too() -> None:
    pyramid = Pyramid([(0, 0), (0, 1)], 100, pixels=200)
    assert pyramid.missing == [(0, 0), (0, 1)]
    values = cut(random_square(200, seed=0), (0, 0), 100)
    ages = {"s2_age": np.zeros((100, 100), np.int16)}  # not in overviews
    assert pyramid.add((0, 0), values | ages) == []
    assert pyramid.missing == [(0, 1)]
    parts = pyramid.add((0, 1), {})
    assert pyramid.missing == []
    assert {part.level for part in parts} == set(LEVELS)
    assert Pyramid([(1, 1)], 100, pixels=200).add((1, 1), {}) == []


def test_a_replaced_chunk_gives_the_overviews_of_the_new_square() -> None:
    """What held the old chunk is made anew from all chunks, most of them read again."""
    old, new = random_square(SIDE, seed=3), random_square(SIDE, seed=4)
    mixed = {name: values.copy() for name, values in old.items()}
    for name, values in cut(new, (1, 2), 50).items():
        cut(mixed, (1, 2), 50)[name][:] = values
    chunks = all_chunks(SIDE, 50)
    pyramid = Pyramid(chunks, 50, pixels=SIDE)
    parts = pyramid.add((1, 2), cut(new, (1, 2), 50))
    for index in chunks:
        if index != (1, 2):
            parts += pyramid.add(index, cut(old, index, 50))
    levels = assembled(parts, SIDE)
    assert_equal(levels, mixed)
    before = assembled(built(old, chunks, 50), SIDE)
    changed = levels[2]["soil_moisture"] != before[2]["soil_moisture"]
    assert changed[25:50, 50:75].any()
    changed[25:50, 50:75] = False
    assert not changed.any()


def test_the_last_row_and_column_of_a_square_of_10000() -> None:
    chunk = nothing(1000)
    chunk["soil_moisture"][-16:, -16:] = 100
    chunk["soil_moisture"][-1, -1] = 100 + 16 * 16 * 10
    parts = Pyramid([(9, 9)]).add((9, 9), chunk)
    sides = {2: 5000, 4: 2500, 8: 1250, 16: 625, 32: 313, 64: 157}
    for level, window, values in parts:
        assert [part.stop for part in window] == [sides[level]] * 2
        assert list(values) == ["soil_moisture"]
    corner = {level: int(values["soil_moisture"][-1, -1]) for level, _, values in parts}
    # 16 x 16 pixels lie under the last pixel of 16, 32 and 64 alike.
    assert corner == {2: 740, 4: 260, 8: 140, 16: 110, 32: 110, 64: 110}
    windows = {level: window for level, window, _ in parts}
    assert windows[2] == (slice(4000, 5000), slice(4000, 5000))
    assert windows[8] == (slice(1000, 1250), slice(1000, 1250))
    assert windows[64] == (slice(0, 157), slice(0, 157))


def test_blocks_are_handed_out_with_their_last_chunk() -> None:
    square = random_square(800, seed=5)
    chunks = all_chunks(800, 200)
    pyramid = Pyramid(chunks, 200, pixels=800, block=200)
    handed = {index: pyramid.add(index, cut(square, index, 200)) for index in chunks}
    early = {index: [part.level for part in parts] for index, parts in handed.items() if parts}
    # A block of level 2 covers 2 x 2 chunks, one of level 4 all 16, as do the coarser ones.
    assert early == {(1, 1): [2], (1, 3): [2], (3, 1): [2], (3, 3): [2, 4, 8, 16, 32, 64]}


@pytest.mark.parametrize(("chunk", "block"), [(200, 200), (200, 100), (100, 200)])
def test_little_is_held_of_a_square(chunk: int, block: int) -> None:
    """A fifth of the side: 60 MB would be 2.4."""
    square = random_square(2000, seed=6)
    tracemalloc.start()
    pyramid = Pyramid(all_chunks(2000, chunk), chunk, pixels=2000, block=block)
    for index in all_chunks(2000, chunk):
        pyramid.add(index, cut(square, index, chunk))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 2.4e6


@pytest.mark.parametrize(
    ("coverage", "chunk", "options", "message"),
    [
        ([], 3, {}, "chunks of 3 pixels do not fill"),
        ([], 0, {}, "chunks of 0 pixels do not fill"),
        ([], 10, {"block": 0}, "blocks of 0"),
        ([(0, 10)], 10, {}, r"\(0, 10\) lies outside a square of 10 chunks"),
        ([(-1, 0)], 10, {}, r"\(-1, 0\) lies outside"),
    ],
)
def test_a_coverage_that_cannot_be(
    coverage: list[Index], chunk: int, options: dict[str, int], message: str
) -> None:
    with pytest.raises(RequestError, match=message):
        Pyramid(coverage, chunk, pixels=100, **options)


def test_a_chunk_is_added_once_and_only_if_announced() -> None:
    pyramid = Pyramid([(0, 0), (0, 1)], 10, pixels=20)
    pyramid.add((0, 0), nothing(10))
    for index in [(0, 0), (1, 1)]:
        with pytest.raises(RequestError, match="was added before, or is not one"):
            pyramid.add(index, nothing(10))


def test_a_refused_chunk_changes_nothing() -> None:
    square = random_square(20, seed=7)
    pyramid = Pyramid([(0, 0)], 20, pixels=20)
    good = cut(square, (0, 0), 20)
    unpacked = good["quality_flag"].astype(np.float32)
    for wrong in (unpacked, good["quality_flag"][:10], good["quality_flag"].astype(np.int16)):
        with pytest.raises(CubeError, match=r"quality_flag is .* packed chunk is uint16"):
            pyramid.add((0, 0), good | {"quality_flag": wrong})
    assert pyramid.missing == [(0, 0)]
    assert_equal(assembled(pyramid.add((0, 0), good), 20), square)


def test_a_chunk_is_not_changed() -> None:
    values = cut(random_square(20, seed=8), (0, 0), 20)
    for array in values.values():
        array.flags.writeable = False
    copies = {name: array.copy() for name, array in values.items()}
    Pyramid([(0, 0)], 20, pixels=20).add((0, 0), values)
    for name, array in values.items():
        np.testing.assert_array_equal(array, copies[name])


@pytest.mark.parametrize("level", LEVELS)
def test_the_grid_of_an_overview_keeps_the_corner(level: int) -> None:
    bounds = (499_980, 5_600_040, 599_980, 5_700_040)
    square = GeoBox.from_bbox(bounds, crs="EPSG:32631", resolution=10, tight=True)
    grid = overview_grid(square, level)
    side = -(-10_000 // level)
    assert grid.shape == (side, side)
    assert grid.crs == square.crs
    assert (grid.resolution.x, grid.resolution.y) == (10 * level, -10 * level)
    assert (grid.boundingbox.left, grid.boundingbox.top) == (499_980, 5_700_040)
    x, y = grid.coordinates["x"].values, grid.coordinates["y"].values
    # Centres: the mean of those of the pixels that lie under.
    fine_x, fine_y = (square.coordinates[axis].values for axis in "xy")
    np.testing.assert_array_equal(x[:3], fine_x[: 3 * level].reshape(3, level).mean(axis=1))
    np.testing.assert_array_equal(y[:3], fine_y[: 3 * level].reshape(3, level).mean(axis=1))
