"""The available dates: every radar acquisition with its optical candidates."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import pandas as pd
from dask.base import compute

from gssm import schema
from gssm.catalogs import OPTICAL_ROLES, Bbox, Role
from gssm.describe import Observation, row_of
from gssm.errors import ItemError
from gssm.grid import make_grid, stated_bbox
from gssm.optical import read_masks
from gssm.pairing import Acquisition, acquisitions, observations
from gssm.request import check_bbox

# Clear share is measured on at most this many pixels a side.
MEASURE_PIXELS = 256
NO_CLEAR_PIXEL = "no clear Sentinel-2 pixel over the area"
UNREADABLE_MASKS = "the Sentinel-2 cloud masks could not be read"
MEASURE_CHUNK = (MEASURE_PIXELS, MEASURE_PIXELS)


def matchups(
    items: Iterable[Any],
    *,
    window: str = "3D",
    measure: bool = False,
    bbox: Sequence[float] | None = None,
) -> pd.DataFrame:
    """List every Sentinel-1 acquisition with its optical candidates: the available dates.

    Parameters
    ----------
    items
        What `search` returned.
    window
        Largest time between radar and optical image, either way.
    measure
        Read the cloud masks coarsely and add ``sentinel2_usable`` and
        ``landsat_usable``: the share of the area that some candidate shows clear of
        cloud, shadow, snow and water, which ``eo:cloud_cover`` does not tell.
    bbox
        Area to measure; the searched one by default.

    Returns
    -------
    pandas.DataFrame
        A row per acquisition, indexed by its time (UTC): platform, relative_orbit,
        orbit_state, sentinel1 (item ids), sentinel2 and landsat (candidate ids,
        nearest first), their signed offsets in days (optical minus radar), and
        ``reason``: why no map can be made, or empty.
    """
    described = observations(items)
    # As `gssm.open_cube` does: of a pass that two collections have, both take the same one.
    area = getattr(items, "extra_fields", {}).get("gssm:bbox") if bbox is None else bbox
    passes = acquisitions(described, window, check_bbox(area) if area else None)
    cloud_limit = getattr(items, "extra_fields", {}).get("gssm:max_cloud_cover", 100)
    table = pd.DataFrame([_row(a, window, cloud_limit) for a in passes]).set_index("time")
    if measure:
        box = check_bbox(bbox) if bbox is not None else stated_bbox(items, described)
        for role in OPTICAL_ROLES:
            clear, unreadable = _mask_shares(passes, role, box)
            table.insert(len(table.columns) - 1, f"{role}_usable", clear)
            if role == "sentinel2":
                empty = (table["reason"] == "") & (table["sentinel2_usable"] == 0)
                table.loc[empty, "reason"] = NO_CLEAR_PIXEL
                table.loc[empty & (np.array(unreadable) > 0), "reason"] = UNREADABLE_MASKS
    return table


def matched_items(items: Iterable[Any], table: pd.DataFrame) -> list[Any]:
    """Keep the items of the acquisitions that can be mapped (an empty ``reason``)."""
    mapped = table[table["reason"] == ""]
    wanted = {name for names in mapped["sentinel1"] for name in names}
    return [i for i in items if not _is_radar(i) or i.id in wanted]


def _is_radar(item: Any) -> bool:
    try:
        return row_of(item.to_dict(transform_hrefs=False)).role == "sentinel1"
    except ItemError:
        return False  # of no known collection; `observations` has named it


def _row(a: Acquisition, window: str, cloud_limit: float) -> dict[str, Any]:
    first = a.slices[0]
    row: dict[str, Any] = {
        "time": a.time,
        "platform": first.platform,
        "relative_orbit": first.relative_orbit,
        "orbit_state": first.orbit_state,
        "sentinel1": tuple(o.id for o in a.slices),
    }
    for role in OPTICAL_ROLES:
        partners: tuple[Observation, ...] = getattr(a, role)
        row[role] = tuple(o.id for o in partners)
        row[f"{role}_offset_days"] = tuple(round(a.offset_days(o), 3) for o in partners)
    limit = f" with at most {cloud_limit:g} % cloud" if cloud_limit < 100 else ""
    row["reason"] = "" if a.sentinel2 else f"no Sentinel-2 within {window}{limit}"
    return row


def _mask_shares(
    passes: Sequence[Acquisition], role: Role, bbox: Bbox
) -> tuple[list[float], list[float]]:
    """Shares of the box that some candidate shows clear, and that could not be read."""
    finest = make_grid(bbox, 10)
    coarsening = max(1, -(-max(finest.shape) // MEASURE_PIXELS))
    masks = read_masks(passes, role, make_grid(bbox, 10 * coarsening), MEASURE_CHUNK)
    kinds = (schema.MASK_CLEAR, schema.MASK_UNREADABLE)
    shares = compute(*((masks == kind).mean(axis=(1, 2)) for kind in kinds))
    clear, unreadable = ([round(float(v), 3) for v in share] for share in shares)
    return clear, unreadable
