"""What the metadata of Level-1 scenes say of their numbers: Landsat MTL, Sentinel-2 MTD.

Landsat: USGS, Landsat 8-9 Data Users Handbook (LSDS-1574).
Sentinel-2: ESA, Sentinel-2 Products Specification Document (S2-PDGS-TAS-DI-PSD), Level-1C,
with the radiometric offset that processing baseline 04.00 brought in January 2022.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from xml.etree import ElementTree

from gssm.catalogs import SENTINEL2_OFFSET_BASELINE
from gssm.errors import ItemError

# Gain and addend of a band, or K1 and K2.
Pair = tuple[float, float]

# A Collection 2 MTL has the factors of Level-2 files under the same names in other groups.
LEVEL1_GROUPS = ("LEVEL1_RADIOMETRIC_RESCALING", "RADIOMETRIC_RESCALING")
THERMAL_GROUPS = ("LEVEL1_THERMAL_CONSTANTS", "TIRS_THERMAL_CONSTANTS", "THERMAL_CONSTANTS")
CONTENT_GROUPS = ("PRODUCT_CONTENTS", "PRODUCT_METADATA")

# band_id of the product metadata, in its order.
SENTINEL2_BANDS = (*(f"B{n}" for n in range(1, 9)), "B8A", "B9", "B10", "B11", "B12")
SENTINEL2_QUANTIFICATION = 10_000.0
SENTINEL2_RADIO_ADD_OFFSET = -1000.0

Groups = dict[str, dict[str, str]]


@dataclass(frozen=True)
class Mtl:
    """What the MTL file of a Landsat Level-1 scene says of the numbers in its images.

    Parameters
    ----------
    product
        Identifier, for messages.
    spacecraft
        Such as ``"LANDSAT_8"``.
    sun_elevation
        Degrees, at the centre of the scene.
    reflectance
        By band ``"1"`` ...: REFLECTANCE_MULT and REFLECTANCE_ADD, without the sun's angle.
    radiance
        By band: RADIANCE_MULT and RADIANCE_ADD (W m-2 sr-1 um-1).
    thermal
        By band: K1 (W m-2 sr-1 um-1) and K2 (K).
    """

    product: str
    spacecraft: str
    sun_elevation: float
    reflectance: Mapping[str, Pair]
    radiance: Mapping[str, Pair]
    thermal: Mapping[str, Pair]


def parse_mtl(text: str) -> Mtl:
    """Read an MTL file of Landsat Level-1, Collection 1 or 2, as text, JSON or XML.

    Raises
    ------
    ItemError
        It is no MTL file, it belongs to a Level-2 product, or a number that reflectance
        needs is absent or none.
    """
    read = _FORMS.get(text.lstrip()[:1], _text_groups)
    groups = read(text)
    contents = _first(groups, CONTENT_GROUPS)
    product = contents.get("LANDSAT_PRODUCT_ID") or groups.get("METADATA_FILE_INFO", {}).get(
        "LANDSAT_PRODUCT_ID", "?"
    )
    factors = _first(groups, LEVEL1_GROUPS)
    if not contents or not factors:
        raise ItemError(
            "the file is no MTL of Landsat Level-1: it has no group "
            f"{' or '.join(CONTENT_GROUPS if not contents else LEVEL1_GROUPS)}; give the "
            "..._MTL.txt or ..._MTL.json of the scene"
        )
    level = contents.get("PROCESSING_LEVEL") or contents.get("DATA_TYPE", "L1")
    if not level.startswith("L1"):
        raise ItemError(
            f"the MTL of {product} is of a product of level {level}, whose images are no Level-1 "
            "digital numbers; give the MTL of the Level-1 scene"
        )
    attributes = groups.get("IMAGE_ATTRIBUTES", {})
    spacecraft = contents.get("SPACECRAFT_ID") or attributes.get("SPACECRAFT_ID", "?")
    return Mtl(
        product=product,
        spacecraft=spacecraft,
        sun_elevation=_number(product, attributes, "SUN_ELEVATION"),
        reflectance=_pairs(product, factors, "REFLECTANCE_MULT_BAND_", "REFLECTANCE_ADD_BAND_"),
        radiance=_pairs(product, factors, "RADIANCE_MULT_BAND_", "RADIANCE_ADD_BAND_"),
        thermal=_pairs(
            product,
            _first(groups, THERMAL_GROUPS),
            "K1_CONSTANT_BAND_",
            "K2_CONSTANT_BAND_",
        ),
    )


@dataclass(frozen=True)
class Mtd:
    """What the product metadata of Sentinel-2 Level-1C says of the numbers in its images.

    Parameters
    ----------
    product
        Identifier, for messages.
    baseline
        Processing baseline, such as 4.0.
    quantification
        QUANTIFICATION_VALUE: digital numbers of a reflectance of one.
    offsets
        By band ``"B1"`` ... ``"B8A"`` ...: RADIO_ADD_OFFSET.
    """

    product: str
    baseline: float
    quantification: float
    offsets: Mapping[str, float]

    def scale_offset(self, band: str) -> Pair:
        """Scale and offset of a band: ``reflectance = scale * DN + offset``."""
        if band not in self.offsets:
            raise ItemError(
                f"{self.product} has no band {band!r}; Sentinel-2 has {', '.join(self.offsets)}"
            )
        return 1 / self.quantification, self.offsets[band] / self.quantification


def parse_mtd(text: str) -> Mtd:
    """Read the product metadata (``MTD_MSIL1C.xml``) of Sentinel-2 Level-1C.

    Where it lists no RADIO_ADD_OFFSET, the processing baseline says whether there is one.

    Raises
    ------
    ItemError
        It is no such file, of another level, or a number is absent or none.
    """
    elements = list(_root(text, "give MTD_MSIL1C.xml").iter())
    found = {e.tag.rpartition("}")[2]: (e.text or "").strip() for e in elements}
    product = found.get("PRODUCT_URI", "?")
    if not found.get("PROCESSING_LEVEL", "?").startswith("Level-1C"):
        raise ItemError(
            f"the product metadata of {product} is of level "
            f"{found.get('PROCESSING_LEVEL', 'unknown')}, not Level-1C; give MTD_MSIL1C.xml"
        )
    baseline = _number(product, found, "PROCESSING_BASELINE")
    quantification = _number(product, found, "QUANTIFICATION_VALUE")
    if quantification <= 0:
        raise ItemError(
            f"the metadata of {product} has QUANTIFICATION_VALUE {quantification:g}, "
            "by which nothing can be divided; download it again"
        )
    offsets = dict.fromkeys(SENTINEL2_BANDS, sentinel2_add_offset(baseline))
    for element in elements:
        if element.tag.rpartition("}")[2] == "RADIO_ADD_OFFSET":
            band = _band_of_id(product, element.get("band_id", "?"))
            offsets[band] = _number(
                product, {"RADIO_ADD_OFFSET": element.text or ""}, "RADIO_ADD_OFFSET"
            )
    return Mtd(product, baseline, quantification, offsets)


def sentinel2_add_offset(baseline: float) -> float:
    """RADIO_ADD_OFFSET of a processing baseline: -1000 from 04.00 on, 0 before."""
    return SENTINEL2_RADIO_ADD_OFFSET if baseline >= SENTINEL2_OFFSET_BASELINE else 0.0


def _json_groups(text: str) -> Groups:
    try:
        content = json.loads(text)
    except ValueError as error:
        raise ItemError(f"the MTL is no readable JSON ({error}); download it again") from error
    groups: Groups = {}
    for top in content.values():
        for name, group in top.items() if isinstance(top, dict) else ():
            if isinstance(group, dict):
                groups[name] = {key: str(value) for key, value in group.items()}
    return groups


def _xml_groups(text: str) -> Groups:
    root = _root(text, "give the ..._MTL.txt, ..._MTL.json or ..._MTL.xml of the scene")
    return {group.tag: {e.tag: (e.text or "").strip() for e in group} for group in root}


def _root(text: str, fix: str) -> ElementTree.Element:
    """Root of a document that declares no entities, which could grow without bound."""
    if "<!DOCTYPE" in text or "<!ENTITY" in text:
        raise ItemError(f"the metadata declare a DOCTYPE, which those of no scene do; {fix}")
    try:
        return ElementTree.fromstring(text)
    except (ElementTree.ParseError, ValueError) as error:
        raise ItemError(f"the metadata are no readable XML ({error}); {fix}") from error


def _text_groups(text: str) -> Groups:
    """Read the text form: keys by the name of the innermost group around them."""
    groups: Groups = {}
    name = ""
    for key, value in re.findall(r"^\s*(\w+)\s*=\s*(.*?)\s*$", text, re.MULTILINE):
        if key == "GROUP":
            name = value
        elif key != "END_GROUP":
            groups.setdefault(name, {})[key] = value.strip('"')
    if groups and not re.search(r"^\s*END\s*$", text, re.MULTILINE):
        raise ItemError("the MTL has no line END, so it was cut short; fetch it again")
    return groups


# By the first character of the file; anything else is the text form.
_FORMS = {"{": _json_groups, "<": _xml_groups}


def _first(groups: Groups, names: tuple[str, ...]) -> dict[str, str]:
    return next((groups[name] for name in names if name in groups), {})


def _pairs(product: str, group: Mapping[str, str], first: str, second: str) -> dict[str, Pair]:
    bands = [key.removeprefix(first) for key in group if key.startswith(first)]
    return {
        band: (_number(product, group, first + band), _number(product, group, second + band))
        for band in bands
    }


def _number(product: str, group: Mapping[str, str], name: str) -> float:
    stated = group.get(name)
    try:
        number = float(stated) if stated is not None else math.nan
    except ValueError:
        number = math.nan
    if not math.isfinite(number):
        raise ItemError(
            f"the metadata of {product} has {name} {stated!r} where a number is due; "
            "download it again"
        )
    return number


def _band_of_id(product: str, band_id: str) -> str:
    if not band_id.isdecimal() or int(band_id) >= len(SENTINEL2_BANDS):
        raise ItemError(
            f"the metadata of {product} has a RADIO_ADD_OFFSET of band_id {band_id!r}, where 0 to "
            f"{len(SENTINEL2_BANDS) - 1} is due; download it again"
        )
    return SENTINEL2_BANDS[int(band_id)]
