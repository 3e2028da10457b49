"""Sentinel-2 over the ground as Planetary Computer, Earth Search and Copernicus serve it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from provider_scenes.ground import (
    EPSG,
    SCL_BARE,
    SENTINEL2,
    SENTINEL2_TIME,
    Item,
    as_dn,
    item,
    sample,
    write,
)


def _sentinel2_files(
    folder: Path, offset: float, names: Mapping[str, Any] = SENTINEL2, suffix: str = ".tif"
) -> dict[str, tuple[str, list[float], int]]:
    """Bands by their common name: address, transform, pixel size. DN = 10^4 (rho - offset)."""
    files = {}
    for name, (band, metres) in names.items():
        values, place = sample(name, metres)
        dn = as_dn(values, 1e-4, offset)
        dn[:1, :] = 0  # no data beyond the swath
        files[name] = (write(folder / f"{band}{suffix}", dn, place, nodata=0), place, metres)
    return files


def _scl(folder: Path) -> str:
    values, place = sample("red", 20)
    classes = np.full(values.shape, SCL_BARE, np.uint8)
    return write(folder / "SCL.tif", classes, place, nodata=0)


def planetary_computer_sentinel2(folder: Path, baseline: str) -> list[Item]:
    """Planetary Computer L2A: no scale, no offset, only the baseline says which numbers."""
    code = baseline.replace(".", "")
    name = f"S2A_MSIL2A_20230610T104621_R051_T31UFS_N{code}"
    files = _sentinel2_files(folder / name, -0.1 if float(baseline) >= 4 else 0.0)
    assets: dict[str, Any] = {
        SENTINEL2[key][0]: {
            "href": href,
            "gsd": float(metres),
            "proj:transform": place,
            "eo:bands": [{"name": SENTINEL2[key][0], "common_name": key}],
        }
        for key, (href, place, metres) in files.items()
    }
    assets["SCL"] = {"href": _scl(folder / name), "gsd": 20.0}
    properties = {
        "datetime": SENTINEL2_TIME,
        "platform": "Sentinel-2A",
        "constellation": "Sentinel 2",
        "instruments": ["msi"],
        "proj:epsg": EPSG,
        "eo:cloud_cover": 0.5,
        "s2:mgrs_tile": "31UFS",
        "s2:processing_baseline": baseline,
        "s2:product_uri": f"S2A_MSIL2A_20230610T104621_N{code}_R051_T31UFS_X.SAFE",
        "s2:product_type": "S2MSI2A",
        "sat:orbit_state": "descending",
        "sat:relative_orbit": 51,
    }
    extensions = ["eo/v1.0.0", "sat/v1.0.0", "projection/v1.0.0"]
    return [item("sentinel-2-l2a", name, properties, assets, extensions=extensions)]


def earth_search_sentinel2(
    folder: Path, sequence: int, baseline: str, *, applied: bool
) -> list[Item]:
    """Earth Search v1: ``raster:bands`` states an offset, also where it was taken out already."""
    name = f"S2A_31UFS_20230610_{sequence}_L2A"
    has_offset = float(baseline) >= 4
    files = _sentinel2_files(folder / name, -0.1 if has_offset and not applied else 0.0)
    stated = {"nodata": 0, "data_type": "uint16", "scale": 1e-4, "offset": -0.1 * has_offset}
    assets: dict[str, Any] = {
        key: {
            "href": href,
            "proj:transform": place,
            "raster:bands": [{**stated, "spatial_resolution": metres}],
            "eo:bands": [{"name": key, "common_name": key}],
        }
        for key, (href, place, metres) in files.items()
    }
    assets["scl"] = {"href": _scl(folder / name)}
    assets["aot"] = {"href": files["red"][0], "raster:bands": [{"scale": 0.001, "offset": 0}]}
    properties = {
        # The sequences of one scene are a millisecond apart.
        "datetime": SENTINEL2_TIME.replace("024000", f"02{4 + sequence}000"),
        "platform": "sentinel-2a",
        "constellation": "sentinel-2",
        "instruments": ["msi"],
        "proj:epsg": EPSG,
        "eo:cloud_cover": 0.5,
        "grid:code": "MGRS-31UFS",
        "s2:processing_baseline": baseline,
        "s2:sequence": str(sequence),
        "earthsearch:boa_offset_applied": applied,
    }
    extensions = ["raster/v1.1.0", "eo/v1.1.0", "grid/v1.0.0", "projection/v1.1.0"]
    return [item("sentinel-2-l2a", name, properties, assets, extensions=extensions)]


def earth_search_collection1(folder: Path) -> list[Item]:
    """Earth Search Collection 1: the digital numbers as ESA wrote them, dated over the tile."""
    (record,) = earth_search_sentinel2(folder, 0, "05.11", applied=False)
    properties = dict(record["properties"])
    for name in ("earthsearch:boa_offset_applied", "s2:sequence"):
        del properties[name]
    return [
        {
            **record,
            "id": "S2A_T31UFS_20230610T104621_L2A",
            "collection": "sentinel-2-c1-l2a",
            "properties": properties,
        }
    ]


def cdse_sentinel2(folder: Path) -> list[Item]:
    """CDSE: STAC 1.1, JPEG 2000 in several resolutions, CRS and scale on assets only."""
    name = "S2A_MSIL2A_20230610T104621_N0511_R051_T31UFS_20230610T150000"
    files = _sentinel2_files(folder / name, -0.1)
    assets = {}
    for key, (_, place, native) in files.items():
        band = SENTINEL2[key][0]
        for metres in (10, 20, 60):
            if metres < native:
                continue
            values, place = sample(key, metres)
            path = folder / name / f"T31UFS_{band}_{metres}m.jp2"
            lossless = {"driver": "JP2OpenJPEG", "QUALITY": "100", "REVERSIBLE": "YES"}
            href = write(path, as_dn(values, 1e-4, -0.1), place, **lossless)
            assets[f"{band}_{metres}m"] = {
                "href": href,
                "type": "image/jp2",
                "bands": [{"name": band, "eo:common_name": key}],
                "gsd": metres,
                "nodata": 0,
                "data_type": "uint16",
                "proj:code": f"EPSG:{EPSG}",
                "proj:shape": list(values.shape),
                "proj:transform": place,
                "raster:scale": 1e-4,
                "raster:offset": -0.1,
            }
    scl = {"href": _scl(folder / name), "proj:code": f"EPSG:{EPSG}", "nodata": 0}
    assets |= {"SCL_20m": scl, "AOT_10m": {**assets["B04_10m"], "bands": []}}
    properties = {
        "datetime": SENTINEL2_TIME,
        "platform": "sentinel-2a",
        "constellation": "sentinel-2",
        "instruments": ["msi"],
        "gsd": 10,
        "eo:cloud_cover": 0.5,
        "grid:code": "MGRS-31UFS",
        "product:type": "S2MSI2A",
        "processing:level": "L2",
        "processing:version": "05.11",
        "sat:orbit_state": "descending",
        "sat:relative_orbit": 51,
    }
    extensions = ["eo/v2.0.0", "raster/v2.0.0", "projection/v2.0.0", "grid/v1.1.0"]
    return [
        item("sentinel-2-l2a", name, properties, assets, version="1.1.0", extensions=extensions)
    ]


def sentinel2_l1c(folder: Path, baseline: str) -> list[Item]:
    """Level-1C: thirteen bands at the top of the atmosphere; the L2A item lends its mask."""
    code = baseline.replace(".", "")
    name = "S2A_T31UFS_20230610T104621_L1C"
    offset = -0.1 if float(baseline) >= 4 else 0.0
    files = _sentinel2_files(folder / name, offset, {**SENTINEL2, "cirrus": ("B10", 60)})
    assets = {
        key: {
            "href": href,
            "gsd": metres,
            "proj:transform": place,
            "eo:bands": [{"name": {**SENTINEL2, "cirrus": ("B10",)}[key][0], "common_name": key}],
            "raster:bands": [{"data_type": "uint16", "nodata": 0, "scale": 1e-4, "offset": offset}],
        }
        for key, (href, place, metres) in files.items()
    }
    properties = {
        "datetime": SENTINEL2_TIME,
        "platform": "sentinel-2a",
        "constellation": "sentinel-2",
        "instruments": ["msi"],
        "proj:code": f"EPSG:{EPSG}",
        "eo:cloud_cover": 0.5,
        "grid:code": "MGRS-31UFS",
        "s2:processing_baseline": baseline,
        "s2:product_type": "S2MSI1C",
        "s2:product_uri": f"S2A_MSIL1C_20230610T104621_N{code}_R051_T31UFS_X.SAFE",
        "sat:orbit_state": "descending",
        "sat:relative_orbit": 51,
    }
    extensions = ["eo/v1.1.0", "raster/v1.1.0", "projection/v2.0.0", "grid/v1.1.0"]
    l1c = item("sentinel-2-l1c", name, properties, assets, version="1.1.0", extensions=extensions)
    return [l1c, *planetary_computer_sentinel2(folder, baseline)]
