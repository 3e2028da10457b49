from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from rio_tiler.colormap import cmap

from gssm.archive.packing import PACKINGS
from gssm.errors import RequestError
from gssm.quality import FLAGS, NO_VALUE
from gssm.web.colors import (
    CLASSES,
    FLAG_COLORS,
    NO_FLAG,
    RAMPS,
    VARIABLES,
    colormaps,
    legend,
    palette,
)

# Of the contract: dry to wet, by 0.05 m3 m-3.
CLASS_COLORS = [
    *("8f7131", "b08e42", "c2b94d", "afc35e", "96c973"),
    *("86c58e", "64b9b2", "478fcd", "3461c6", "264cb5"),
]
MOISTURE = PACKINGS["soil_moisture"]


def color_of(name, packed, **options):
    colors = palette(name, **options)
    return colors.colors[colors.lookup[packed]]


def rgb(color):
    return tuple(bytes.fromhex(color.lstrip("#")))


@pytest.mark.parametrize("number", range(10))
def test_classes_hold_their_lower_edge_and_not_their_upper_one(number):
    color = (*rgb(CLASS_COLORS[number]), 255)
    low, high = number * 500, (number + 1) * 500
    for packed in (low, low + 1, high - 1):
        assert tuple(color_of("soil_moisture", packed)) == color
    if number < 9:
        assert tuple(color_of("soil_moisture", high)) != color


def test_values_beyond_the_classes_take_those_at_the_ends():
    assert tuple(color_of("soil_moisture", 9_900)) == (*rgb(CLASS_COLORS[-1]), 255)
    narrow = {"span": (0.2, 0.3)}
    assert tuple(color_of("soil_moisture", 0, **narrow)) == (*rgb(CLASS_COLORS[0]), 255)
    assert tuple(color_of("soil_moisture", 3000, **narrow)) == (*rgb(CLASS_COLORS[-1]), 255)


@pytest.mark.parametrize("name", ["soil_moisture", "soil_moisture_uncertainty", "quality_flag"])
def test_no_value_is_transparent_and_every_value_opaque(name):
    how = PACKINGS[name]
    alpha = color_of(name, np.arange(1 << 8 * np.dtype(how.dtype).itemsize))[:, 3]
    assert alpha[how.fill] == 0
    assert (np.delete(alpha, how.fill) == 255).all()


@pytest.mark.parametrize("name", RAMPS)
def test_ramps_are_those_of_rio_tiler(name):
    colors = cmap.get(name)
    low, middle, high = (color_of("soil_moisture", v, colormap=name) for v in (0, 2500, 5000))
    assert tuple(low) == colors[0]
    assert tuple(high) == colors[255]
    assert np.abs(np.array(middle, int) - colors[127]).max() <= 4


@given(
    values=st.lists(st.integers(0, 10_000), min_size=2, max_size=2),
    low=st.floats(0, 0.4),
    width=st.floats(0.01, 0.6),
)
def test_wetter_is_never_of_an_earlier_colour(values, low, width):
    for name in ("gssm", "cividis"):
        colors = palette("soil_moisture", name, (low, low + width))
        drier, wetter = (int(colors.lookup[value]) for value in sorted(values))
        assert 1 <= drier <= wetter < len(colors.colors)


def test_a_flag_has_a_colour_of_its_own_and_why_there_is_no_value_comes_first():
    meanings = [flag.meaning for flag in FLAG_COLORS]
    assert sorted(meanings) == sorted(flag.meaning for flag in FLAGS)
    without = [flag.meaning for flag in FLAGS if not flag.keeps_value]
    assert sorted(meanings[: len(without)]) == sorted(without)
    assert len({flag.color for flag in (*FLAG_COLORS, NO_FLAG)}) == len(FLAGS) + 1
    assert tuple(color_of("quality_flag", 0))[:3] == rgb(NO_FLAG.color)
    by_meaning = {flag.meaning: flag for flag in FLAG_COLORS}
    for flag in FLAGS:
        assert tuple(color_of("quality_flag", flag.mask))[:3] == rgb(by_meaning[flag.meaning].color)


@given(st.integers(1, 0x3FFF))
def test_a_pixel_has_the_colour_of_its_most_important_flag(flags):
    masks = {flag.meaning: flag.mask for flag in FLAGS}
    first = next(flag for flag in FLAG_COLORS if flags & masks[flag.meaning])
    assert tuple(color_of("quality_flag", flags))[:3] == rgb(first.color)
    reason = NO_VALUE & flags != 0
    assert reason == (first.title.endswith("no value"))


def test_the_legend_of_classes_says_what_they_hold():
    found = legend("soil_moisture")
    assert (found["title"], found["units"], found["type"]) == ("Soil moisture", "m³ m⁻³", "classes")
    assert [entry["color"] for entry in found["entries"]] == [f"#{c}" for c in CLASS_COLORS]
    assert [(e["from"], e["to"]) for e in found["entries"]] == [
        (pytest.approx(0.05 * n), pytest.approx(0.05 * (n + 1))) for n in range(10)
    ]
    assert found["entries"][2]["label"] == "0.1 to 0.15"


def test_the_legend_of_a_ramp_has_its_colours():
    found = legend("soil_moisture_uncertainty")
    assert (found["type"], found["colormap"]) == ("ramp", "cividis")
    entries = found["entries"]
    # The half-widths of the default model are 0.1 to 0.21.
    assert (entries[0]["from"], entries[-1]["to"]) == (0.0, 0.3)
    for entry in entries:
        packed = round(entry["from"] / 2e-3)
        shown = color_of("soil_moisture_uncertainty", packed).astype(int)[:3]
        assert np.abs(shown - rgb(entry["color"])).max() <= 6
    narrow = legend("soil_moisture", "viridis", (0.1, None))
    assert [narrow["entries"][n]["from"] for n in (0, -1)] == [0.1, 0.5]


def test_the_legend_of_flags_begins_with_the_most_important():
    found = legend("quality_flag")
    assert found["type"] == "flags"
    assert [e["color"] for e in found["entries"]] == [f.color for f in (*FLAG_COLORS, NO_FLAG)]
    assert found["entries"][-1]["label"] == "No flag"


def test_an_image_has_no_legend():
    assert legend("true_color")["type"] == "image"
    assert legend("true_color")["entries"] == []


def test_colour_maps_are_listed():
    found = {entry["name"]: entry for entry in colormaps()}
    assert list(found) == [*CLASSES, *RAMPS]
    assert found["gssm"]["colors"] == [f"#{color}" for color in CLASS_COLORS]
    assert found["gssm"]["type"] == "classes"
    for name in RAMPS:
        assert rgb(found[name]["colors"][0]) == cmap.get(name)[0][:3]


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (("rain",), "variable 'rain' is not on any map"),
        (("soil_moisture", "nice"), "colormap 'nice' does not fit soil_moisture; give gssm"),
        (("quality_flag", "viridis"), "does not fit quality_flag; give flags"),
        (("quality_flag", None, (0.0, 1.0)), "leave out min and max"),
        (("true_color", "gssm"), "does not fit true_color; give none"),
        (("soil_moisture", None, (0.5, 0.5)), "not below"),
        (("soil_moisture", None, (None, -1.0)), "not below"),
        (("soil_moisture", None, (float("nan"), 1.0)), "not below"),
        (("soil_moisture", None, (0.0, float("inf"))), "not below"),
        (("soil_moisture", None, (-1.7e308, 1.7e308)), "no range of soil_moisture; give numbers"),
        (("soil_moisture", "viridis", (0.0, 5e-324)), "that are 0.001 apart"),
    ],
)
def test_colours_that_cannot_be_are_refused(arguments, sentence):
    for ask in (palette, legend):
        with pytest.raises(RequestError, match=sentence):
            ask(*arguments)


def test_variables_name_what_they_show():
    assert list(VARIABLES) == [
        "soil_moisture",
        "soil_moisture_uncertainty",
        "quality_flag",
        "true_color",
    ]
    assert MOISTURE.scale == 1e-4
