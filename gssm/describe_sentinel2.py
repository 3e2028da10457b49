"""What a Sentinel-2 item says of its processing, whoever wrote it: baseline, offset, datatake."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from gssm.catalogs import SENTINEL2_OFFSET, SENTINEL2_OFFSET_BASELINE
from gssm.errors import ItemError

# Where providers write the product's own name, S2A_MSIL2A_<datatake>_N<baseline>_R..._T<tile>_...
_PRODUCT = ("s2:product_uri", "sentinel:product_id")
_BASELINE = ("s2:processing_baseline", "sentinel:processing_baseline", "processing:version")
_APPLIED = ("earthsearch:boa_offset_applied", "sentinel:boa_offset_applied")
# Of products that were made outside of ESA's processing, with the offset or without.
UNOFFICIAL = 99.0
_DATATAKE = ("s2:datatake_id", "eopf:datatake_id")


def offset(item: Mapping[str, Any]) -> float:
    """Decide the radiometric offset by processing baseline, once, and never by date.

    Baseline 04.00 and later add 1000 to the digital number. Earth Search takes it away again
    and says so; the ``raster:bands`` offset beside it would take it away twice and is not read.
    Where Earth Search says that it did not, its files are known to differ from its word
    (Element84/earth-search issues 66 and 71), so nothing is decided.
    """
    if is_offset_applied(item):
        return 0.0
    stated, named = baseline(item), _baseline_of_name(item)
    if stated is None or stated >= UNOFFICIAL:
        says = "no s2:processing_baseline" if stated is None else f"the baseline {stated:05.2f}"
        raise ItemError(
            f"item {item['id']!r} states {says}, so it is unknown whether its digital numbers "
            "carry the +1000 offset"
        )
    if named is not None and named != stated:
        raise ItemError(
            f"item {item['id']!r} states the baseline {stated:05.2f} and is named after "
            f"{named:05.2f}, so it is unknown whether its digital numbers carry the +1000 offset"
        )
    if stated < SENTINEL2_OFFSET_BASELINE:
        return 0.0
    if _applied(item) == "false":
        raise ItemError(
            f"item {item['id']!r} of baseline {stated:05.2f} says boa_offset_applied: false, which "
            "Earth Search writes of files with and without the +1000 offset; use the item of "
            "sentinel-2-c1-l2a instead"
        )
    return SENTINEL2_OFFSET


def is_offset_applied(item: Mapping[str, Any]) -> bool:
    """Tell whether the provider says that it has taken the offset away."""
    return _applied(item) == "true"


def _applied(item: Mapping[str, Any]) -> str:
    properties = item["properties"]
    return str(next((properties[name] for name in _APPLIED if name in properties), "")).lower()


def baseline(item: Mapping[str, Any]) -> float | None:
    """Return the processing baseline, such as 5.11, or None where it is not stated.

    Written ``"05.11"``, ``5.11``, ``"0511"`` or ``"N0511"``.
    """
    properties = item["properties"]
    stated = next((properties[name] for name in _BASELINE if properties.get(name)), None)
    if stated is None:
        return _baseline_of_name(item)
    found = re.fullmatch(r"N?(?:(\d\d?)\.(\d\d?)|(\d\d)(\d\d))", str(stated))
    return float(".".join(part for part in found.groups() if part)) if found else None


def _baseline_of_name(item: Mapping[str, Any]) -> float | None:
    found = re.search(r"_N(\d{2})(\d{2})_", product(item))
    return float(".".join(found.groups())) if found else None


def datatake(item: Mapping[str, Any]) -> str:
    """Return the start of the datatake, ``20200305T103021``, the same from every provider.

    Some providers date an item by its datatake, some by the moment over its tile, minutes
    later: the datatake and the tile name the scene.
    """
    properties = item["properties"]
    names = [str(properties.get(name) or "") for name in _DATATAKE]
    for name in (*names, product(item)):
        found = re.search(r"^(?:GS2[A-Z]|S2[A-Z]_MSIL\w\w)_(\d{8}T\d{6})", name)
        if found:
            return found.group(1)
    return ""


def tile(item: Mapping[str, Any]) -> str:
    """Return the MGRS tile, ``06VVN``, however the item writes it."""
    properties = item["properties"]
    stated = properties.get("s2:mgrs_tile") or properties.get("grid:code")
    in_name = re.search(r"_T(\d{2}[A-Z]{3})_", product(item))
    if not stated and in_name:
        stated = in_name.group(1)
    return str(stated).removeprefix("MGRS-").zfill(5) if stated else ""


def product(item: Mapping[str, Any]) -> str:
    """Return the product's own name, which some providers use as the id."""
    properties = item["properties"]
    stated = next((properties[name] for name in _PRODUCT if properties.get(name)), None)
    return str(stated or item["id"])
