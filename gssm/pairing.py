"""Items -> observations -> radar acquisitions with their optical candidates."""

from __future__ import annotations

import re
import warnings
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import pandas as pd

from gssm.addresses import Origin, objection, reached
from gssm.catalogs import OPTICAL_ROLES, Bbox
from gssm.describe import Observation, describe
from gssm.errors import EmptySearchError, GssmWarning, ItemError
from gssm.network import redacted
from gssm.request import check_window

# Two items of one platform and tile closer in time than this are one acquisition,
# served twice (reprocessed, or repeated across overlapping rows).
SAME_ACQUISITION = pd.Timedelta("60s")
SAME_FOOTPRINT = 0.9
# The slices of a pass follow each other by 25 s; the next orbit comes 99 minutes later. Days
# would break at midnight, or with the sun at the 180th meridian.
SAME_PASS = pd.Timedelta("10min")
# Of two collections of one pass, shares of the area that differ by less than this part of the
# larger are the same: footprints are boxes around a tilted image, and drawn by each provider.
SAME_COVER = 0.05


def observations(items: Iterable[Any]) -> list[Observation]:
    """Describe items canonically, newest processing only, ordered by time.

    Items that gssm cannot use are left out with one warning that names them and says
    why; where no Sentinel-1 item is left, the reasons become an error.
    """
    described: dict[tuple[str, str], Observation] = {}
    refused: list[str] = []
    for item in items:
        is_pystac = hasattr(item, "to_dict")
        try:
            seen = describe(item.to_dict(transform_hrefs=False) if is_pystac else item)
            _refuse_addresses(seen)
        except ItemError as error:
            refused.append(str(error))
            continue
        described[seen.collection, seen.id] = seen  # pages of a search can repeat an item
    whole = _of_one_level(_join_parts(list(described.values()), refused), refused)
    if not any(o.role == "sentinel1" for o in whole):
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
    return _newest_processing(whole)


def _refuse_addresses(seen: Observation) -> None:
    """Refuse an item that leads where this process must not read; a search has seen to that.

    Of an item from memory a local path is the user's own.
    """
    origin = Origin(reached(), is_trusted=True)
    rasters = [*seen.rasters.values(), *((seen.mask,) if seen.mask else ())]
    for href in {raster.href for raster in rasters}:
        if reason := objection(href, origin):
            raise ItemError(f"item {seen.id!r} leads to {redacted(href)[:80]!r}: {reason}")


def _join_parts(described: list[Observation], refused: list[str]) -> list[Observation]:
    """Put surface temperature and surface reflectance of one Landsat product together.

    The USGS serves them as two items, ``..._SR`` and ``..._ST``.
    """
    wholes = {(o.role, _product(o)): o for o in described if not o.partial}
    for part in (o for o in described if o.partial):
        key = (part.role, _product(part))
        if key in wholes:
            whole = wholes[key]
            wholes[key] = replace(whole, rasters={**part.rasters, **whole.rasters})
        else:
            refused.append(
                f"item {part.id!r} holds only {', '.join(part.rasters)}, and the item with the "
                "rest of its scene is not among the items"
            )
    return [wholes[(o.role, _product(o))] for o in described if not o.partial]


def _product(o: Observation) -> str:
    return re.sub(r"_(SR|ST)$", "", o.id) if o.role == "landsat" else f"{o.collection}/{o.id}"


def _of_one_level(described: list[Observation], refused: list[str]) -> list[Observation]:
    """Lend the masks of Level-2 to Level-1 of the same scene, then keep one level a sensor.

    Where there are items of Level-1, those of Level-2 are there for their masks.
    """
    lenders: dict[tuple[str, ...], list[Observation]] = {}
    for o in described:
        if o.mask is not None and o.datatake:
            lenders.setdefault((o.platform, o.tile, o.datatake), []).append(o)
    roles_of_level1 = {o.role for o in described if o.level == "l1"}
    kept = []
    for o in described:
        if o.role in roles_of_level1 and o.level == "l2":
            continue
        if o.mask is None and o.mask_from:
            scene = lenders.get((o.platform, o.tile, o.datatake), [])
            near = [n for n in scene if n.collection in o.mask_from and _same_place(n, o)]
            if not near:
                refused.append(
                    f"item {o.id!r} offers no cloud mask, and no item of "
                    f"{' or '.join(o.mask_from)} that could lend one is among the items"
                )
                continue
            o = replace(o, mask=min(near, key=_newest_first).mask)
        kept.append(o)
    return kept


def _newest_processing(described: list[Observation]) -> list[Observation]:
    """Keep the newest processing of each acquisition that is served several times."""
    groups: dict[tuple[Any, ...], list[list[Observation]]] = {}
    for o in sorted(described, key=lambda o: (o.time, o.id)):
        clusters = groups.setdefault(_scene(o), [])
        same = clusters and (o.datatake or o.time - clusters[-1][-1].time <= SAME_ACQUISITION)
        if same:
            clusters[-1].append(o)
        else:
            clusters.append([o])
    kept = [o for clusters in groups.values() for cluster in clusters for o in _newest(cluster)]
    return sorted(kept, key=lambda o: (o.time, o.id))


def _scene(o: Observation) -> tuple[Any, ...]:
    """Name what two items share when they show the same acquisition of the same place.

    Providers date a Sentinel-2 item by its datatake or by the moment over its tile, minutes
    apart: the datatake and the tile are the same from all. The collections of Sentinel-1
    differ in convention and of elevation in surface: theirs stay apart.
    """
    if o.role in OPTICAL_ROLES and o.tile:
        return (o.role, o.platform, o.tile, o.datatake)
    return (o.role, o.platform, o.collection, tuple(round(v, 4) for v in o.footprint))


def _newest(cluster: list[Observation]) -> list[Observation]:
    """Keep the highest baseline; of one baseline every item that shows another place.

    Two items of one tile, time and baseline whose footprints differ are the halves of
    a tile that was downlinked in two pieces: both stay.
    """
    kept: list[Observation] = []
    for o in sorted(cluster, key=_newest_first):
        newer = [k for k in kept if k.baseline > o.baseline]
        if not any(_same_place(o, k) for k in kept) and _share_seen(o, newer) <= SAME_FOOTPRINT:
            kept.append(o)
    return kept


def _newest_first(o: Observation) -> tuple[Any, ...]:
    """Order by baseline, then date of processing (digits, the larger the later)."""
    digits = int(re.sub(r"\D", "", o.processed)[:14].ljust(14, "0") or 0)
    return (-o.baseline, -digits, o.rank, o.id)


def _same_place(a: Observation, b: Observation) -> bool:
    """Tell whether two footprints cover nearly the same ground."""
    one, other = _box(a.footprint, a.footprint[0]), _box(b.footprint, a.footprint[0])
    larger = max(one.area, other.area)
    return bool(one.intersection(other).area > SAME_FOOTPRINT * larger)


def _share_seen(o: Observation, others: Sequence[Observation]) -> float:
    """Share of a footprint that lies within those of others."""
    from shapely import union_all

    place = _box(o.footprint, o.footprint[0])
    if not others or not place.area:
        return 0.0
    seen = union_all([_box(k.footprint, o.footprint[0]) for k in others])
    return float(place.intersection(seen).area / place.area)


def _box(bounds: Bbox, longitude: float) -> Any:
    """Bounds in degrees as a polygon, by whole turns as near as can be to a longitude.

    So that what meets across the 180th meridian meets as polygons too.
    """
    from shapely import box

    west, south, east, north = bounds
    if west > east:
        east += 360
    turns = 360 * round((longitude - (west + east) / 2) / 360)
    return box(west + turns, south, east + turns, north)


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


def acquisitions(
    described: Sequence[Observation], window: str | pd.Timedelta, area: Bbox | None = None
) -> list[Acquisition]:
    """Group Sentinel-1 by pass, orbit and platform; find its partners.

    Of several collections that have a pass, the one that shows most of the area (west, south,
    east, north in degrees; by default all that they show together) is taken alone.
    """
    delta = check_window(window)
    groups: dict[tuple[Any, ...], list[list[Observation]]] = {}
    radar = [o for o in described if o.role == "sentinel1"]
    for o in sorted((_with_orbit(o, radar) for o in radar), key=lambda o: (o.time, o.id)):
        same = groups.setdefault((o.relative_orbit, o.orbit_state, o.platform), [])
        if same and o.time - same[-1][-1].time <= SAME_PASS:
            same[-1].append(o)
        else:
            same.append([o])
    passes = []
    for members in (members for same in groups.values() for members in same):
        slices = _of_one_collection(members, area)
        time = min(o.time for o in slices)
        partners = {role: _nearest(described, role, time, delta) for role in OPTICAL_ROLES}
        passes.append(Acquisition(time, tuple(slices), **partners))
    return sorted(passes, key=lambda a: a.time)


def _with_orbit(o: Observation, radar: Sequence[Observation]) -> Observation:
    """Take an orbit that one item leaves out from the others of its pass, which must be one.

    Else one pass would be two time steps, seconds apart.
    """
    if o.relative_orbit is not None and o.orbit_state:
        return o
    ways = {
        (n.relative_orbit, n.orbit_state)
        for n in radar
        if n.platform == o.platform
        and abs(n.time - o.time) <= SAME_PASS
        and n.relative_orbit is not None
        and n.orbit_state
        and o.relative_orbit in (None, n.relative_orbit)
        and o.orbit_state in ("", n.orbit_state)
    }
    if len(ways) != 1:
        return o
    relative_orbit, orbit_state = ways.pop()
    return replace(o, relative_orbit=relative_orbit, orbit_state=orbit_state)


def _of_one_collection(members: Sequence[Observation], area: Bbox | None) -> list[Observation]:
    """Slices of the collection that shows most of the area, where several have the pass.

    Mixing them would mix backscatter conventions within one image. Where they show the same
    of it, the collection that stands first in the table.
    """
    by_collection: dict[str, list[Observation]] = {}
    for o in members:
        by_collection.setdefault(o.collection, []).append(o)
    if len(by_collection) == 1:
        return list(members)
    longitude = (area or members[0].footprint)[0]
    covers = {name: _cover(slices, area, longitude) for name, slices in by_collection.items()}
    enough = (1 - SAME_COVER) * max(covers.values())
    best = min(
        (slices[0].rank, name) for name, slices in by_collection.items() if covers[name] >= enough
    )
    return by_collection[best[1]]


def _cover(slices: Sequence[Observation], area: Bbox | None, longitude: float) -> float:
    """Ground that slices show of an area, or at all, in square degrees."""
    from shapely import union_all

    shown = union_all([_box(o.footprint, longitude) for o in slices])
    return float((shown if area is None else shown.intersection(_box(area, longitude))).area)


def _nearest(
    described: Iterable[Observation], role: str, time: pd.Timestamp, window: pd.Timedelta
) -> tuple[Observation, ...]:
    near = [o for o in described if o.role == role and abs(o.time - time) <= window]
    return tuple(sorted(near, key=lambda o: (abs(o.time - time), -o.baseline, o.id)))
