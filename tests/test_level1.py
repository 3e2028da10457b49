"""Metadata of Level-1 scenes: what is read, and what is refused and why."""

from __future__ import annotations

import json

import pytest

from gssm.errors import ItemError
from gssm.level1 import parse_mtd, parse_mtl, sentinel2_add_offset

# Names and groups of Collection 2; the numbers are made up.
GROUPS = {
    "PRODUCT_CONTENTS": {"LANDSAT_PRODUCT_ID": "LC09_SIMULATED", "PROCESSING_LEVEL": "L1TP"},
    "IMAGE_ATTRIBUTES": {"SPACECRAFT_ID": "LANDSAT_9", "SUN_ELEVATION": "41.5"},
    "LEVEL1_RADIOMETRIC_RESCALING": {
        "RADIANCE_MULT_BAND_10": "3.8E-04",
        "RADIANCE_ADD_BAND_10": "0.1",
        "REFLECTANCE_MULT_BAND_4": "2.0000E-05",
        "REFLECTANCE_ADD_BAND_4": "-0.100000",
    },
    "LEVEL1_THERMAL_CONSTANTS": {"K1_CONSTANT_BAND_10": "799.0", "K2_CONSTANT_BAND_10": "1329.2"},
}
MTD = """<?xml version="1.0"?>
<n1:Level-1C_User_Product xmlns:n1="https://example.com/PSD">
  <PRODUCT_URI>S2A_SIMULATED.SAFE</PRODUCT_URI>
  <PROCESSING_LEVEL>Level-1C</PROCESSING_LEVEL>
  <PROCESSING_BASELINE>{baseline}</PROCESSING_BASELINE>
  <QUANTIFICATION_VALUE unit="none">{quantification}</QUANTIFICATION_VALUE>
  {offsets}
</n1:Level-1C_User_Product>"""


def as_text(groups):
    lines = ["GROUP = LANDSAT_METADATA_FILE"]
    for name, group in groups.items():
        lines += [f"  GROUP = {name}"]
        lines += [f'    {key} = "{value}"' for key, value in group.items()]
        lines += [f"  END_GROUP = {name}"]
    return "\r\n".join([*lines, "END_GROUP = LANDSAT_METADATA_FILE", "END", "\0\0"])


def as_json(groups):
    return json.dumps({"LANDSAT_METADATA_FILE": groups})


def as_xml(groups):
    content = "".join(
        f"<{name}>" + "".join(f"<{k}>{v}</{k}>" for k, v in group.items()) + f"</{name}>"
        for name, group in groups.items()
    )
    root = "LANDSAT_METADATA_FILE"
    return f'<?xml version="1.0" encoding="UTF-8"?>\n<{root}>{content}</{root}>'


FORMS = [as_text, as_json, as_xml]


def changed(group, **values):
    return {**GROUPS, group: {**GROUPS[group], **values}}


def without(group):
    return {name: values for name, values in GROUPS.items() if name != group}


def mtd(baseline="05.10", quantification="10000", offsets=""):
    return MTD.format(baseline=baseline, quantification=quantification, offsets=offsets)


@pytest.mark.parametrize("write", FORMS)
def test_every_form_says_the_same(write):
    mtl = parse_mtl(write(GROUPS))
    assert (mtl.product, mtl.spacecraft, mtl.sun_elevation) == ("LC09_SIMULATED", "LANDSAT_9", 41.5)
    assert mtl.reflectance == {"4": (2e-5, -0.1)}
    assert mtl.radiance == {"10": (3.8e-4, 0.1)}
    assert mtl.thermal == {"10": (799.0, 1329.2)}


@pytest.mark.parametrize("write", FORMS)
def test_factors_of_level_2_files_are_not_taken_for_those_of_level_1(write):
    both = {
        **GROUPS,
        "LEVEL2_SURFACE_REFLECTANCE_PARAMETERS": {
            "REFLECTANCE_MULT_BAND_4": "2.75e-05",
            "REFLECTANCE_ADD_BAND_4": "-0.2",
        },
    }
    assert parse_mtl(write(both)).reflectance == {"4": (2e-5, -0.1)}


@pytest.mark.parametrize(
    ("groups", "reason"),
    [
        (without("LEVEL1_RADIOMETRIC_RESCALING"), "no group LEVEL1_RADIOMETRIC_RESCALING"),
        (without("PRODUCT_CONTENTS"), "no group PRODUCT_CONTENTS"),
        (without("IMAGE_ATTRIBUTES"), "LC09_SIMULATED has SUN_ELEVATION None"),
        (changed("PRODUCT_CONTENTS", PROCESSING_LEVEL="L2SP"), "of level L2SP"),
        (changed("IMAGE_ATTRIBUTES", SUN_ELEVATION="high"), "SUN_ELEVATION 'high'"),
        (changed("IMAGE_ATTRIBUTES", SUN_ELEVATION="NaN"), "SUN_ELEVATION 'NaN'"),
        (
            changed("LEVEL1_RADIOMETRIC_RESCALING", REFLECTANCE_MULT_BAND_5="2e-5"),
            "REFLECTANCE_ADD_BAND_5 None",
        ),
        (changed("LEVEL1_THERMAL_CONSTANTS", K1_CONSTANT_BAND_11="inf"), "K1_CONSTANT_BAND_11"),
    ],
)
@pytest.mark.parametrize("write", FORMS)
def test_an_mtl_that_cannot_serve_is_refused(write, groups, reason):
    with pytest.raises(ItemError, match=reason):
        parse_mtl(write(groups))


@pytest.mark.parametrize(
    "text", ["", "<html>Sign in</html>", "<html><br>", "{}", '{"a": 1}', '{"cut": {"of', "[]"]
)
def test_what_is_no_mtl_is_refused(text):
    with pytest.raises(ItemError, match=r"no MTL|no readable"):
        parse_mtl(text)


def test_offsets_are_read_by_band():
    stated = '<RADIO_ADD_OFFSET band_id="8">-1000</RADIO_ADD_OFFSET>'
    found = parse_mtd(mtd("03.01", offsets=stated))
    assert found.scale_offset("B8A") == (1e-4, -0.1)
    assert found.scale_offset("B8") == (1e-4, 0.0)


@pytest.mark.parametrize(
    ("baseline", "offset"), [("02.09", 0), ("03.01", 0), ("04.00", -1000), ("05.10", -1000)]
)
def test_without_a_list_of_offsets_the_baseline_decides(baseline, offset):
    assert set(parse_mtd(mtd(baseline)).offsets.values()) == {offset}
    assert sentinel2_add_offset(float(baseline)) == offset


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("not XML", "no readable XML"),
        ('<!DOCTYPE a [<!ENTITY b "c">]>' + mtd(), "DOCTYPE"),
        (mtd().replace("Level-1C<", "Level-2A<"), "of level Level-2A"),
        (mtd().replace("PROCESSING_BASELINE", "OTHER"), "PROCESSING_BASELINE None"),
        (mtd(quantification="0"), "QUANTIFICATION_VALUE 0"),
        (mtd(quantification="many"), "QUANTIFICATION_VALUE 'many'"),
        (mtd(offsets='<RADIO_ADD_OFFSET band_id="13">0</RADIO_ADD_OFFSET>'), "band_id '13'"),
        (mtd(offsets='<RADIO_ADD_OFFSET band_id="1">x</RADIO_ADD_OFFSET>'), "OFFSET 'x'"),
    ],
)
def test_product_metadata_that_cannot_serve_are_refused(text, reason):
    with pytest.raises(ItemError, match=reason):
        parse_mtd(text)


def test_a_band_that_sentinel_2_lacks_is_refused():
    with pytest.raises(ItemError, match="no band 'B13'"):
        parse_mtd(mtd()).scale_offset("B13")
