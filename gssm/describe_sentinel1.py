"""What a Sentinel-1 item offers: the files around a GRD image, and why a scene cannot be used."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit, urlunsplit

from gssm.catalogs import Collection
from gssm.errors import ItemError

POLARIZATIONS = ("vv", "vh")
ORBIT_STATES = ("ascending", "descending")

# Sidecar -> the asset that names it, and its place in a SAFE folder beside measurement/<name>.
_SIDECARS = {
    "annotation": ("schema-product-{}", "annotation/{}.xml"),
    "calibration": ("schema-calibration-{}", "annotation/calibration/calibration-{}.xml"),
    "noise": ("schema-noise-{}", "annotation/calibration/noise-{}.xml"),
}


def sidecars(
    item: Mapping[str, Any], polarization: str, measurement: str
) -> tuple[tuple[str, str], ...]:
    """Find annotation, calibration and noise of a GRD image among the assets of its item.

    Planetary Computer and Earth Search write the annotation of radio interference over that
    of the product (one key for two files): what lies in ``rfi/`` is not taken, and the
    place in the SAFE folder serves instead.
    """
    found = []
    for name, (asset, place) in _SIDECARS.items():
        stated = (item["assets"].get(asset.format(polarization)) or {}).get("href") or ""
        if not stated or re.search(r"(^|/)rfi[-/]", stated):
            stated = _beside(measurement, place)
        if not stated:
            raise ItemError(
                f"item {item['id']!r} has no {name} of {polarization} among its assets, without "
                "which its digital numbers cannot be calibrated"
            )
        found.append((name, stated))
    return tuple(found)


def _beside(measurement: str, place: str) -> str:
    """Address of a file of the same SAFE folder; query and signature stay."""
    parts = urlsplit(measurement)
    inside = re.fullmatch(r"(.*/)?measurement/([^/]+)\.tiff?", parts.path)
    if inside is None:
        return ""
    path = (inside.group(1) or "") + place.format(inside.group(2))
    return urlunsplit(parts._replace(path=path))


def refuse_unusable(
    item: Mapping[str, Any],
    collection: Collection,
    found: Mapping[str, Any],
    relative_orbit: int | None,
) -> None:
    """Refuse other modes, polarisations and products, and scenes without any angle."""
    name, properties = item["id"], item["properties"]
    mode = properties.get("sar:instrument_mode", "IW")
    if mode != "IW":
        raise ItemError(f"item {name!r} was taken in {mode} mode; gssm reads IW only")
    if not set(POLARIZATIONS) <= set(found):
        # What has no address is no asset.
        named = sorted(key for key, asset in item["assets"].items() if (asset or {}).get("href"))
        assets = ", ".join(named) or "none"
        raise ItemError(f"item {name!r} has the assets {assets}; gssm needs vv and vh")
    product = properties.get("sar:product_type", "GRD")
    if collection.kind == "grd" and product != "GRD":
        raise ItemError(f"item {name!r} is a {product} product; gssm reads GRD and calibrated ones")
    if collection.kind == "grd":
        return  # its annotation has the angle
    if "incidence_angle" in found or properties.get("view:incidence_angle") is not None:
        return
    orbit_state = str(properties.get("sat:orbit_state")).lower()
    if relative_orbit is None or orbit_state not in ORBIT_STATES:
        raise ItemError(
            f"item {name!r} has neither an incidence_angle asset, nor view:incidence_angle, nor "
            "sat:relative_orbit with sat:orbit_state to work it out from, without which the Water "
            "Cloud Model cannot run"
        )
