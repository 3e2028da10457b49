"""Items -> observations -> radar acquisitions with their optical candidates."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd

from gssm.catalogs import COLLECTIONS, OPTICAL_ROLES
from gssm.describe import Observation, describe
from gssm.errors import EmptySearchError, GssmWarning, ItemError
from gssm.request import check_window

# Two items of one platform and tile closer in time than this are one acquisition,
# served twice (reprocessed, or repeated across overlapping rows).
SAME_ACQUISITION = pd.Timedelta("60s")
SAME_FOOTPRINT = 0.9


def observations(items: Iterable[Any]) -> list[Observation]:
    """Describe items canonically, newest processing only, ordered by time.

    Items that gssm cannot use are left out with one warning that names them and says
    why; where no Sentinel-1 item is left, the reasons become an error.
    """
    described, refused = [], []
    for item in items:
        record = item if isinstance(item, dict) else item.to_dict(transform_hrefs=False)
        try:
            described.append(describe(record))
        except ItemError as error:
            refused.append(str(error))
    if not any(o.role == "sentinel1" for o in described):
        raise EmptySearchError(
            "no usable Sentinel-1 item among the items"
            + (f": {'; '.join(refused[:3])}." if refused else "; search again.")
        )
    if refused:
        more = f" (and {len(refused) - 3} more)" if len(refused) > 3 else ""
        warnings.warn(
            f"{len(refused)} item(s) left out: {'; '.join(refused[:3])}{more}.",
            GssmWarning,
            stacklevel=3,
        )
    return _newest_processing(described)


def _newest_processing(described: list[Observation]) -> list[Observation]:
    """Keep one of each acquisition that is served twice: the highest baseline, then id.

    Two items of one tile, time and baseline whose footprints differ are the halves of
    a tile that was downlinked in two pieces: both stay.
    """
    kept: list[Observation] = []
    latest: dict[tuple[Any, ...], int] = {}
    for o in sorted(described, key=lambda o: (o.time, o.id)):
        place = o.tile or tuple(round(v, 4) for v in o.footprint)
        key = (o.role, o.platform, o.collection, place)
        previous = latest.get(key)
        if previous is not None and o.time - kept[previous].time <= SAME_ACQUISITION:
            if o.baseline > kept[previous].baseline:
                kept[previous] = o
                continue
            if o.baseline < kept[previous].baseline or _same_place(o, kept[previous]):
                continue
        latest[key] = len(kept)
        kept.append(o)
    return kept


def _same_place(a: Observation, b: Observation) -> bool:
    """Tell whether two footprints cover nearly the same ground."""
    (w, s, e, n), (west, south, east, north) = a.footprint, b.footprint
    common = max(0.0, min(e, east) - max(w, west)) * max(0.0, min(n, north) - max(s, south))
    larger = max((e - w) * (n - s), (east - west) * (north - south))
    return common > SAME_FOOTPRINT * larger


@dataclass(frozen=True)
class Acquisition:
    """One Sentinel-1 pass over the area: its slices, and the optical candidates near it.

    ``sentinel2`` and ``landsat`` are ordered nearest in time first.
    """

    time: pd.Timestamp
    slices: tuple[Observation, ...]
    sentinel2: tuple[Observation, ...]
    landsat: tuple[Observation, ...]

    def offset_days(self, other: Observation) -> float:
        """Time of another observation minus this acquisition's, in days."""
        return float((other.time - self.time) / pd.Timedelta("1D"))


def acquisitions(described: Sequence[Observation], window: str | pd.Timedelta) -> list[Acquisition]:
    """Group Sentinel-1 by solar day, orbit and platform; find its partners."""
    delta = check_window(window)
    groups: dict[tuple[Any, ...], list[Observation]] = {}
    for o in described:
        if o.role == "sentinel1":
            longitude = (o.footprint[0] + o.footprint[2]) / 2
            solar_day = (o.time + pd.Timedelta(hours=longitude / 15)).normalize()
            key = (solar_day, o.relative_orbit, o.orbit_state, o.platform)
            groups.setdefault(key, []).append(o)
    passes = []
    for members in groups.values():
        slices = _of_one_collection(members)
        time = min(o.time for o in slices)
        partners = {role: _nearest(described, role, time, delta) for role in OPTICAL_ROLES}
        passes.append(Acquisition(time, tuple(slices), **partners))
    return sorted(passes, key=lambda a: a.time)


def _of_one_collection(members: Sequence[Observation]) -> list[Observation]:
    """Slices of the collection that stands first in the table, where several have the pass.

    Mixing them would mix backscatter conventions within one image.
    """
    order = list(COLLECTIONS)
    first = min((o.collection for o in members), key=order.index)
    return [o for o in members if o.collection == first]


def _nearest(
    described: Iterable[Observation], role: str, time: pd.Timestamp, window: pd.Timedelta
) -> tuple[Observation, ...]:
    near = [o for o in described if o.role == role and abs(o.time - time) <= window]
    return tuple(sorted(near, key=lambda o: (abs(o.time - time), -o.baseline, o.id)))
