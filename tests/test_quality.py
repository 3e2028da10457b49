import re
from pathlib import Path

import numpy as np
import pytest
import xarray as xr

from cubes import make_cube
from gssm import quality, schema
from gssm.errors import CubeError
from gssm.quality import BY_MEANING, FLAGS, quality_flag
from helpers import no_compute


def clean_cube():
    """Nothing to flag: every sensor there, bare soil, fresh partners."""
    cube = make_cube(missing=0)
    cube["s2_b4"][:] = 0.10
    cube["s2_b8"][:] = 0.12
    for name in ("s2_mask", "landsat_mask"):
        cube[name][:] = schema.MASK_CLEAR
    cube["read_failed"] = xr.zeros_like(cube.vv, dtype=bool).assign_attrs(units="1")
    return cube


HERE = {"time": 0, "y": 3, "x": 4}


def put(name, value):
    def change(cube):
        cube[name][{k: v for k, v in HERE.items() if k in cube[name].dims}] = value

    return change


CASES = {
    "sentinel2_missing": [put("s2_b8", np.nan)],
    "landsat_missing": [put("landsat_b5", np.nan)],
    "elevation_missing": [put("dsm", np.nan)],
    "cloud_or_shadow": [put("s2_mask", schema.MASK_CLOUD)],
    "snow_or_frozen": [put("s2_mask", schema.MASK_SNOW)],
    "water": [put("s2_mask", schema.MASK_WATER)],
    "vegetation_dominates_radar": [put("s2_b8", 0.6), put("s2_b4", 0.05), put("vh", 0.004)],
    "incidence_angle_out_of_range": [put("incidence_angle", 20.0)],
    "reused_old_partner": [put("s2_age", -4.2)],
    "read_failed": [put("read_failed", True)],
}


def test_a_clean_cube_has_no_flag():
    assert (quality_flag(clean_cube()) == 0).all()


@pytest.mark.parametrize("meaning", CASES)
def test_each_cause_sets_its_bit_there_and_only_there(meaning):
    cube = clean_cube()
    for change in CASES[meaning]:
        change(cube)
    flags = quality_flag(cube)
    mask = BY_MEANING[meaning].mask
    assert int(flags[HERE]) == mask
    flagged = int((flags & mask != 0).sum())
    assert flagged == (cube.sizes["time"] if meaning == "elevation_missing" else 1)


@pytest.mark.parametrize(
    ("sentinel2", "landsat", "water"),
    [
        (schema.MASK_WATER, schema.MASK_CLEAR, True),
        (schema.MASK_CLEAR, schema.MASK_WATER, False),  # Sentinel-2 is finer and decides
        (schema.MASK_CLOUD, schema.MASK_WATER, True),
        (schema.MASK_MISSING, schema.MASK_WATER, True),
    ],
)
def test_who_decides_on_water(sentinel2, landsat, water):
    cube = clean_cube()
    put("s2_mask", sentinel2)(cube)
    put("landsat_mask", landsat)(cube)
    assert bool(quality_flag(cube)[HERE] & BY_MEANING["water"].mask) == water


def test_bits_and_values_are_as_designed():
    assert [f.bit for f in FLAGS] == list(range(14))
    kept = {f.bit for f in FLAGS if f.keeps_value}
    assert kept == {0, 1, 2, 3, 6, 7, 9, 10, 12, 13}
    attrs = quality.ATTRS
    assert attrs["flag_masks"].tolist() == [1 << i for i in range(14)]
    assert attrs["flag_meanings"].split()[11] == "read_failed"


def test_lazy_and_the_same_for_any_chunks():
    cube = make_cube()
    with no_compute():
        lazy = quality_flag(cube.chunk({"time": 1, "y": 5, "x": 13}))
    assert lazy.dtype == np.uint16
    np.testing.assert_array_equal(lazy, quality_flag(cube))


def test_a_radar_only_cube_misses_every_partner():
    flags = quality_flag(make_cube(missing=0)[["vv", "vh", "incidence_angle"]])
    expected = sum(
        BY_MEANING[m].mask for m in ("sentinel2_missing", "landsat_missing", "elevation_missing")
    )
    assert (flags == expected).all()


def test_the_table_of_the_documentation_is_that_of_the_code():
    text = (Path(__file__).parents[1] / "docs" / "quality.md").read_text()
    rows = re.findall(r"^\| (\d+) \| (\d+) \| (\w+) \| (\S+) \|", text, re.MULTILINE)
    assert [(int(b), int(m), name, kept.strip("*") == "yes") for b, m, name, kept in rows] == [
        (f.bit, f.mask, f.meaning, f.keeps_value) for f in FLAGS
    ]


def averaged(cube):
    return cube.coarsen(y=2, x=2, boundary="trim").mean(keep_attrs=True)


@pytest.mark.parametrize("name", ["s2_mask", "landsat_mask"])
@pytest.mark.parametrize("lazily", [False, True])
def test_an_averaged_mask_is_refused(name, lazily):
    cube = clean_cube()
    put(name, schema.MASK_SNOW)(cube)  # one of four: water, if only a little more were snow
    cube = averaged(cube.chunk({"time": 1, "y": 12}) if lazily else cube)
    with no_compute():
        flags = quality_flag(cube) if lazily else None
    with pytest.raises(CubeError, match=f"^{name} holds 0.5, which is no class: masks cannot"):
        (flags if lazily else quality_flag(cube)).compute()


def test_a_mask_of_whole_numbers_may_be_floating_and_have_gaps():
    cube = make_cube()
    expected = quality_flag(cube)
    floating = cube.assign(s2_mask=cube.s2_mask.astype(np.float32).assign_attrs(units="1"))
    np.testing.assert_array_equal(quality_flag(floating), expected)
    for value in (np.nan, np.inf):
        floating["s2_mask"][HERE] = value
        assert quality_flag(floating).dtype == np.uint16
