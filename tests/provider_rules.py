"""Provider x collection x trap -> what gssm does: the table that the tests walk and the docs show.

``python tests/provider_rules.py`` writes docs/catalogs.md from it.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from posixpath import basename
from typing import Any
from urllib.parse import urlsplit

import numpy as np
import pandas as pd

from gssm import schema
from gssm.describe import Observation, Raster

DOCUMENT = Path(__file__).resolve().parents[1] / "docs" / "catalogs.md"
COMMAND = "python tests/provider_rules.py"

Item = Mapping[str, Any]

S2_BANDS = ("B01", "B02", "B03", "B04", "B05", "B06", "B07", "B08", "B8A", "B09", "B11", "B12")


@dataclass(frozen=True)
class Rule:
    """One row: items of a provider's collection with a trap, and what becomes of them.

    ``folder`` is that of the test data; ``items`` how many real items the row covers there,
    0 where none has been seen. ``refused`` is the pattern of the reason, or ``check`` compares
    the description with what the item's names tell, without gssm's own tables.
    """

    provider: str
    folder: str
    collection: str | None
    trap: str
    does: str
    items: int
    applies: Callable[[Item], bool] = lambda item: True
    refused: str = ""
    check: Callable[[Item, Observation], None] = lambda item, seen: None


def file_name(raster: Raster) -> str:
    return basename(urlsplit(raster.href).path)


def assert_time_in_name(item: Item, seen: Observation) -> None:
    assert isinstance(seen.time, pd.Timestamp)
    assert seen.time.tzinfo is None
    assert f"{seen.time:%Y%m%d}" in item["id"]


def product_name(item: Item) -> str:
    """Name of the Sentinel-2 product as ESA writes it, or nothing."""
    stated = item.get("properties", {})
    return str(stated.get("s2:product_uri") or stated.get("sentinel:product_id") or item["id"])


def baseline_in_name(item: Item) -> float:
    found = re.search(r"_N(\d{2})(\d{2})_", product_name(item))
    return float(f"{found[1]}.{found[2]}") if found else float("nan")


def tile_in_name(item: Item) -> tuple[str, int]:
    """MGRS tile and the EPSG code of its zone: bands from N are north of the equator."""
    found = re.search(r"_T(\d{2})([A-Z])([A-Z]{2})_", product_name(item))
    assert found, item["id"]
    zone, band = int(found[1]), found[2]
    return found[1] + band + found[3], (32600 if band >= "N" else 32700) + zone


def sentinel2(offset: float, *, level: str = "l2") -> Callable[[Item, Observation], None]:
    """Every band from its own file with this offset; mask, tile, CRS, platform, time by name."""
    bands = S2_BANDS if level == "l2" else (*S2_BANDS, "B10")

    def check(item: Item, seen: Observation) -> None:
        tile, epsg = tile_in_name(item)
        assert (seen.role, seen.level, seen.tile, seen.epsg) == ("sentinel2", level, tile, epsg)
        assert seen.platform == f"sentinel-{item['id'][1:3].lower()}"
        assert seen.baseline == baseline_in_name(item)
        assert seen.datatake == re.search(r"MSIL\w\w_(\d{8}T\d{6})", product_name(item))[1]
        assert_time_in_name(item, seen)
        names = {b.replace("B0", "B").lower(): b for b in bands}
        assert set(seen.rasters) == {f"s2_{name}" for name in names}
        for name, band in names.items():
            raster = seen.rasters[f"s2_{name}"]
            assert re.search(rf"(^|_){band}(_\d\dm)?\.(tif|jp2)$", file_name(raster))
            assert (raster.scale, raster.offset, raster.nodata) == (1e-4, offset, 0)
            assert (raster.minimum, raster.kind) == (0, "raster")
        if level == "l1":
            assert seen.mask is None
        else:
            assert "SCL" in file_name(seen.mask)
            assert (seen.mask.nodata, seen.mask.scale) == (0, 1)
            missing = seen.mask.rule.classify(np.array([0, 1], np.uint8))
            assert missing.tolist() == [schema.MASK_MISSING] * 2

    return check


def landsat(bands: str) -> Callable[[Item, Observation], None]:
    """Bands 1-7 as reflectance and 10 as kelvin, by Collection 2; QA_PIXEL as the mask."""

    def check(item: Item, seen: Observation) -> None:
        found = re.match(r"LC0([89])_L2S[PR]_(\d{3})(\d{3})_(\d{8})", item["id"])
        assert found, item["id"]
        assert seen.platform == f"landsat-{found[1]}"
        assert seen.tile == f"{found[2]}/{found[3]}"
        assert_time_in_name(item, seen)
        assert seen.epsg == item["properties"].get("proj:epsg")
        assert {v.removeprefix("landsat_b") for v in seen.rasters} == set(bands.split())
        for variable, raster in seen.rasters.items():
            number = variable.removeprefix("landsat_b")
            product, numbers = ("SR", (2.75e-5, -0.2)) if number != "10" else ("ST", KELVIN)
            assert re.search(rf"_{product}_B{number}(_small)?\.TIF$", file_name(raster))
            assert (raster.scale, raster.offset, raster.nodata) == (*numbers, 0)
        assert file_name(seen.mask).endswith("QA_PIXEL.TIF")
        assert seen.mask.nodata == 1

    return check


KELVIN = (0.00341802, 149.0)
REFLECTIVE = "1 2 3 4 5 6 7"


def sentinel1(kind: str) -> Callable[[Item, Observation], None]:
    """VV and VH; the relative orbit of Sentinel-1A follows from the absolute one."""

    def check(item: Item, seen: Observation) -> None:
        assert seen.platform == "sentinel-1a"
        assert_time_in_name(item, seen)
        absolute = item["properties"]["sat:absolute_orbit"]
        assert seen.relative_orbit == (absolute - 73) % 175 + 1
        assert seen.orbit_state in ("ascending", "descending")
        assert seen.incidence_angle is None
        for polarization in ("vv", "vh"):
            raster = seen.rasters[polarization]
            assert polarization in file_name(raster).lower()
            assert raster.positive
            (assert_grd if kind == "grd" else assert_gamma0)(raster)
        if kind == "grd":
            angle = seen.rasters["incidence_angle"]
            assert angle.kind == "grd_angle"
            assert angle.href == dict(seen.rasters["vv"].sidecars)["annotation"]
            assert (seen.convention, seen.epsg) == ("sigma0", None)
        else:
            assert set(seen.rasters) == {"vv", "vh"}
            assert seen.convention == "gamma0"
            assert seen.epsg == item["properties"]["proj:epsg"]
            assert seen.rasters["vv"].nodata == {"rtc": -32768, "rtc-aws": 0}[kind]

    return check


def assert_grd(raster: Raster) -> None:
    assert (raster.kind, raster.nodata) == ("grd", 0)
    stem = file_name(raster).removesuffix(".tiff")
    beside = {name: urlsplit(href).path for name, href in raster.sidecars}
    assert basename(beside["annotation"]) == f"{stem}.xml"
    assert "/rfi" not in beside["annotation"]
    assert basename(beside["calibration"]) == f"calibration-{stem}.xml"
    assert basename(beside["noise"]) == f"noise-{stem}.xml"


def assert_gamma0(raster: Raster) -> None:
    assert (raster.kind, raster.scale, raster.offset) == ("raster", 1, 0)


def elevation(nodata: float | None) -> Callable[[Item, Observation], None]:
    def check(item: Item, seen: Observation) -> None:
        raster = seen.rasters["dsm"]
        assert set(seen.rasters) == {"dsm"}
        assert (raster.scale, raster.offset, raster.nodata) == (1, 0, nodata)
        assert raster.href.endswith(".tif")
        assert (seen.epsg, seen.mask) == (4326, None)

    return check


def has_assets(item: Item) -> bool:
    return bool(item.get("assets"))


def states(name: str, value: Any) -> Callable[[Item], bool]:
    return lambda item: has_assets(item) and item["properties"].get(name) == value


def since_04(item: Item) -> bool:
    return baseline_in_name(item) >= 4


def before_04(item: Item) -> bool:
    return baseline_in_name(item) < 4


def bands_like(pattern: str) -> Callable[[Item], bool]:
    return lambda item: bool(re.search(pattern, item["id"]))


def is_ew(item: Item) -> bool:
    return "_EW_" in item["id"]


def is_dual(item: Item) -> bool:
    return "_1SDV_" in item["id"] and not is_ew(item)


PC, ES1, ES0 = "Planetary Computer", "Earth Search v1", "Earth Search v0"
CDSE, USGS, OWN = "Copernicus (CDSE)", "USGS LandsatLook", "static (stactools)"
PC_DIR, ES1_DIR, ES0_DIR = "planetary-computer", "earth-search-v1", "earth-search-v0"
CDSE_DIR, USGS_DIR, OWN_DIR = "cdse", "usgs-landsatlook", "stactools-generated"

NO_ASSETS = "an answer limited to some fields: no assets"
BY_BASELINE = "offset -0.1 by the baseline; DN 0 stays no data; reflectance below 0 becomes 0"
EW = "refused: gssm reads IW only"
RTC_DOES = (
    "read as gamma0, no angle needed: it is worked out from relative orbit and orbit state "
    "(refused where these are missing too); -32768, zero and below are no data"
)
GRD_DOES = (
    "read as digital numbers with ground control points; annotation, calibration and noise from "
    "the assets or, where the annotation asset is that of radio interference, from the SAFE "
    "folder; the angle from the annotation; EPSG:4326 is not believed"
)

RULES: tuple[Rule, ...] = (
    Rule(
        PC, PC_DIR, "sentinel-2-l2a", "baseline before 04.00; no scale, no offset",
        "scale 1e-4, no offset", 36, before_04, check=sentinel2(0.0),
    ),
    Rule(
        PC, PC_DIR, "sentinel-2-l2a", "baseline 04.00 and later; no scale, no offset",
        BY_BASELINE, 5, since_04, check=sentinel2(-0.1),
    ),
    Rule(
        PC, PC_DIR, "sentinel-1-rtc", "no angle; gamma0; `proj:shape` and `s1:shape` swapped",
        RTC_DOES, 5, check=sentinel1("rtc"),
    ),
    Rule(
        PC, PC_DIR, "sentinel-1-grd", "no CRS; the annotation asset points into `rfi/`",
        GRD_DOES, 1, is_dual, check=sentinel1("grd"),
    ),
    Rule(PC, PC_DIR, "sentinel-1-grd", "EW mode, HH only", EW, 1, is_ew, refused="in EW mode"),
    Rule(
        PC, PC_DIR, None, "a GRD item outside of any collection", "refused: its rules are unknown",
        1, refused="names no collection",
    ),
    Rule(
        PC, PC_DIR, "landsat-c2-l2", "surface reflectance and temperature",
        "reflectance 2.75e-5 DN - 0.2, temperature 0.00341802 DN + 149 K; fill 0, of QA_PIXEL 1",
        7, bands_like("_L2SP_"), check=landsat(f"{REFLECTIVE} 10"),
    ),
    Rule(
        PC, PC_DIR, "landsat-c2-l2", "no thermal band (L2SR)", "the same; band 10 is missing",
        8, bands_like("_L2SR_"), check=landsat(REFLECTIVE),
    ),
    Rule(
        PC, PC_DIR, "landsat-c2-l1", "Landsat 1-5 MSS only: bands 1-4 are other colours",
        "refused: Landsat 8 and 9 only", 5, refused="is of landsat-5, not Landsat 8 or 9",
    ),
    Rule(
        PC, PC_DIR, "alos-dem", "no data only in the file", "-9999 is no data where the file is "
        "silent", 1, check=elevation(-9999),
    ),
    Rule(
        PC, PC_DIR, "nasadem", "no data only in the file; no platform", "-32768 is no data where "
        "the file is silent", 1, check=elevation(-32768),
    ),
    Rule(
        PC, PC_DIR, "cop-dem-glo-30", "no no-data value; pixels not square near the poles",
        "every value counts; the file's own grid", 5, check=elevation(None),
    ),
    Rule(
        ES1, ES1_DIR, "sentinel-2-l2a", "`boa_offset_applied: true` beside `offset: -0.1`",
        "no offset: it is not taken away twice", 15,
        states("earthsearch:boa_offset_applied", True), check=sentinel2(0.0),
    ),
    Rule(
        ES1, ES1_DIR, "sentinel-2-l2a", "`boa_offset_applied: false`, baseline before 04.00",
        "no offset; where a newer processing of the scene (sequence 1, a millisecond later) is "
        "there, that one", 8,
        lambda i: states("earthsearch:boa_offset_applied", False)(i) and before_04(i),
        check=sentinel2(0.0),
    ),
    Rule(
        ES1, ES1_DIR, "sentinel-2-l2a", "`boa_offset_applied: false`, baseline 04.00 and later: "
        "written of files with and without the offset (Element84/earth-search issues 66, 71)",
        "refused: use sentinel-2-c1-l2a", 0,
        lambda i: states("earthsearch:boa_offset_applied", False)(i) and since_04(i),
        refused="boa_offset_applied: false",
    ),
    Rule(
        ES1, ES1_DIR, "sentinel-2-c1-l2a", "Collection 1: the offset is left in", BY_BASELINE +
        "; goes before sentinel-2-l2a where both have the scene", 6, has_assets,
        check=sentinel2(-0.1),
    ),
    Rule(
        ES1, ES1_DIR, "sentinel-2-c1-l2a", NO_ASSETS, "refused: nothing to read", 10,
        lambda i: not has_assets(i), refused="has no assets",
    ),
    Rule(
        ES1, ES1_DIR, "sentinel-2-l1c", "top of atmosphere, band 10; no cloud mask at all",
        BY_BASELINE + "; the mask is that of the Level-2A item of the same scene (left out "
        "where there is none)", 5, check=sentinel2(-0.1, level="l1"),
    ),
    Rule(
        ES1, ES1_DIR, "sentinel-1-grd", "EW mode; bounding boxes with west > east", EW, 4, is_ew,
        refused="in EW mode",
    ),
    Rule(
        ES1, ES1_DIR, "sentinel-1-grd", "HH only", "refused: gssm needs VV and VH", 19,
        bands_like("_IW_GRDH_1SSH_"), refused="has the assets hh, .*gssm needs vv and vh",
    ),
    Rule(
        ES1, ES1_DIR, "sentinel-1-grd", "claims EPSG:4326 with a made-up transform; annotation "
        "asset points into `rfi/`", GRD_DOES, 0, is_dual, check=sentinel1("grd"),
    ),
    Rule(
        ES1, ES1_DIR, "landsat-c2-l2", "as Planetary Computer", "as Planetary Computer", 1,
        check=landsat(f"{REFLECTIVE} 10"),
    ),
    Rule(
        ES1, ES1_DIR, "cop-dem-glo-30", "no no-data value", "every value counts", 11, has_assets,
        check=elevation(None),
    ),
    Rule(
        ES1, ES1_DIR, "cop-dem-glo-30", NO_ASSETS, "refused: nothing to read", 10,
        lambda i: not has_assets(i), refused="has no assets",
    ),
    Rule(
        ES0, ES0_DIR, "sentinel-s2-l2a-cogs", "`sentinel:boa_offset_applied: true`", "no offset",
        1, states("sentinel:boa_offset_applied", True), check=sentinel2(0.0),
    ),
    Rule(
        ES0, ES0_DIR, "sentinel-s2-l2a-cogs", "baseline and tile only in `sentinel:product_id`",
        "read from there; no offset before 04.00", 1,
        states("sentinel:boa_offset_applied", None), check=sentinel2(0.0),
    ),
    Rule(
        CDSE, CDSE_DIR, "sentinel-2-l2a", "STAC 1.1, `B02_10m` names, CRS on assets only, baseline "
        "in `processing:version`, s3:// addresses; AOT carries the offset too",
        BY_BASELINE + "; native resolutions; AOT and WVP are not read", 6,
        check=sentinel2(-0.1),
    ),
    Rule(
        CDSE, CDSE_DIR, "sentinel-1-grd", "no real item seen yet", GRD_DOES, 0,
        check=sentinel1("grd"),
    ),
    Rule(
        CDSE, CDSE_DIR, "sentinel-2-l1c", "no real item seen yet", BY_BASELINE + "; the mask is "
        "that of the Level-2A item of the same scene", 0, check=sentinel2(-0.1, level="l1"),
    ),
    Rule(
        CDSE, CDSE_DIR, "cop-dem-glo-30-dged-cog", "no real item seen yet",
        "as Planetary Computer", 0, check=elevation(None),
    ),
    Rule(
        USGS, USGS_DIR, "landsat-c2l2-sr", "no scale factors, `LANDSAT_8`, `SR_B4.TIF` names, no "
        "CRS in old items; reflectance without temperature",
        "Collection 2 factors; joined with the temperature item of the product", 3,
        lambda i: i["id"].startswith("LC08") and "T" in i["properties"]["datetime"],
        check=landsat(REFLECTIVE),
    ),
    Rule(
        USGS, USGS_DIR, "landsat-c2l2-sr", "a date without a time of day",
        "refused: the time to the radar is unknown", 2,
        lambda i: "T" not in i["properties"]["datetime"], refused="a day without its hour",
    ),
    Rule(
        USGS, USGS_DIR, "landsat-c2l2-sr", "Landsat 7", "refused: Landsat 8 and 9 only", 1,
        bands_like("^LE07"), refused="is of landsat-7, not Landsat 8 or 9",
    ),
    Rule(
        USGS, USGS_DIR, "landsat-c2l2-st", "temperature without reflectance",
        "joined with the reflectance item of the product, left out where that is missing", 1,
        check=landsat("10"),
    ),
    Rule(
        USGS, USGS_DIR, "landsat-c2l1", "digital numbers; factors only in the MTL file; no real "
        "item seen yet", "top-of-atmosphere by the MTL asset; bands 1-11; refused without one", 0,
    ),
    Rule(
        OWN, OWN_DIR, "landsat-c2-l2", "as Planetary Computer", "as Planetary Computer", 2,
        check=landsat(f"{REFLECTIVE} 10"),
    ),
    Rule(
        OWN, OWN_DIR, "cop-dem-glo-30", "pixels not square", "the file's own grid", 1,
        check=elevation(None),
    ),
    Rule(
        OWN, OWN_DIR, "sentinel1-rtc-aws", "angle on the terrain, not on the ellipsoid",
        "gamma0; the angle comes from the orbit; 0 is no data", 1, check=sentinel1("rtc-aws"),
    ),
    Rule(
        OWN, OWN_DIR, "sentinel1-grd", "claims EPSG:4326 with a made-up transform", GRD_DOES, 1,
        check=sentinel1("grd"),
    ),
    Rule(
        OWN, OWN_DIR, None, "no collection named", "refused: give the items a collection", 7,
        refused="names no collection",
    ),
)  # fmt: skip


def rules_for(folder: str, item: Item) -> list[Rule]:
    """Rows that an item falls under: the tests want exactly one."""
    return [
        rule
        for rule in RULES
        if (rule.folder, rule.collection) == (folder, item.get("collection")) and rule.applies(item)
    ]


HEAD = f"""# Catalogues: what items say, and what gssm does

Written by `{COMMAND}` from the table that `tests/test_providers.py` walks over real items; do
not edit it by hand. "Real items" counts those that the row was tested with; 0 means that no
such item was at hand, and that the row rests on documentation and made-up items.

Named catalogues: `"planetary-computer"`, `"earth-search"`, `"cdse"`, `"usgs"`; any STAC API by
its URL; any STAC API or static catalogue by a record of your own, such as

```yaml
url: https://stac.example.org/v1      # or a folder, from the record's own place
collections:
  our-sentinel-2:
    like: sentinel-2-l2a              # start from a collection that gssm knows
    assets: {{s2_b4: red, s2_b8: [nir, B08]}}
  our-landsat:
    role: landsat                     # sentinel1, sentinel2, landsat, elevation
    level: l2                         # l2, l1, any
    assets: {{landsat_b4: red, landsat_b5: nir, landsat_b10: temperature}}
    scale: 0.0001                     # reflectance = scale * number + offset
    offset: 0                         # of Sentinel-2 also: baseline
    thermal: {{scale: 0.1, offset: 0}}  # kelvin
    nodata: -9999
    mask: {{assets: clouds, fill: 255, classes: {{0: clear, 1: cloud_or_shadow, 2: water}}}}
    crs: file                         # the items do not state it, the files do
```

read by `gssm.read_record(path)`, or written as a dictionary for
`gssm.records.make_record`. Further entries: `convention` (sigma0, gamma0; a radar
raster must state it), `angle` (scale and offset of an incidence angle raster), `kind` (raster,
grd, landsat_toa), `mask: scl`, `mask: qa_pixel`, `mask` with `bits`, `mask_from`. A Landsat record
with band 10 or 11 states `thermal`. A mistake is refused in one sentence.

Where several items show one acquisition (reprocessed, repeated across pages, two sequences,
several collections), the newest processing baseline is read, then the newest processing; the
halves of a tile that was downlinked in two pieces are both read. A cube has one level of each
sensor.

Where several collections have one pass of Sentinel-1, the one whose footprints show most of the
area is read alone; where they show the same of it, in the order sigma0, RTC, GRD (a collection of
your own first). What a file masks itself (a mask inside of the GeoTIFF) is no data, like its
nodata value; a mask in a file beside it (`.msk`) is not looked for, and a file with an alpha band
is refused as a file of two bands.

| Provider | Collection | What its items say | What gssm does | Real items |
|---|---|---|---|---|
"""


def document() -> str:
    rows = [
        f"| {r.provider} | {f'`{r.collection}`' if r.collection else 'none'} | {r.trap} | {r.does} "
        f"| {r.items} |\n"
        for r in RULES
    ]
    return HEAD + "".join(rows)


if __name__ == "__main__":
    DOCUMENT.write_text(document(), encoding="utf-8")
