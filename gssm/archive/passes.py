"""The images of a square and month: which ground they show, and what a job needs of them."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import Any

import pandas as pd
import shapely
from shapely.geometry.base import BaseGeometry

from gssm.archive.area import in_degrees
from gssm.archive.ledger import Index
from gssm.archive.tiles import Square, chunks_over
from gssm.catalogs import OPTICAL_ROLES
from gssm.describe import Observation, describe
from gssm.errors import ItemError
from gssm.pairing import Acquisition, acquisitions, observations

# Degrees (a kilometre and more) by which footprints may be drawn too small.
MARGIN = 0.02
# Where squares are.
WORLD = shapely.box(-180, -80, 180, 84)


class Images:
    """Items found for a square, described, with the chunks of it that each of them shows.

    Parameters
    ----------
    square, chunk
        Where, and pixels of a chunk's side.
    items
        What a search returned.
    """

    def __init__(self, square: Square, chunk: int, items: Iterable[Any]) -> None:
        self._square, self._chunk = square, chunk
        self._items = {(i.collection_id or "", i.id): i for i in items}
        self._written: dict[tuple[str, str], dict[str, Any]] = {}
        self._shown: dict[bytes, frozenset[Index]] = {}
        self.elevation: list[Observation] = []

    def passes(self, window: pd.Timedelta) -> list[Acquisition]:
        """Acquisitions over the square, in order of time.

        Raises
        ------
        EmptySearchError
            No radar image is usable.
        """
        if not self._items:
            return []
        described = observations(self._items.values())
        self.elevation = [o for o in described if o.role == "elevation"]
        over = [o for o in described if o.role != "elevation" and self.shown(o)]
        return acquisitions(over, window)

    def shown(self, o: Observation) -> frozenset[Index]:
        """Chunks of the square that an image touches."""
        ground = self._ground(o)
        if ground.wkb not in self._shown:
            chunks = chunks_over(self._square, ground, self._chunk) if ground.area else ()
            self._shown[ground.wkb] = frozenset(chunks)
        return self._shown[ground.wkb]

    def _ground(self, o: Observation) -> BaseGeometry:
        west, _, east, _ = o.footprint
        geometry = self._items[o.collection, o.id].geometry
        if geometry is None or west > east:  # across 180 providers draw shapes in many ways
            drawn = in_degrees(o.footprint)
        else:
            drawn = shapely.make_valid(shapely.geometry.shape(geometry))
        return shapely.intersection(drawn.buffer(MARGIN), WORLD)

    def needed(self, chosen: Iterable[Observation]) -> tuple[dict[str, Any], ...]:
        """Return the items of observations, and of those that lend them masks or bands.

        Dictionaries, unsigned and without links; those that jobs have in common are the same.
        """
        keys = dict.fromkeys((o.collection, o.id) for o in self._with_companions(list(chosen)))
        for key in keys:
            if key not in self._written:
                record = self._items[key].to_dict(include_self_link=False, transform_hrefs=False)
                self._written[key] = {**record, "links": []}
        return tuple(self._written[key] for key in keys)

    def _with_companions(self, chosen: list[Observation]) -> list[Observation]:
        """Add the cloud masks of Level-1 scenes, and the other halves of Landsat products."""
        optical = [o for o in chosen if o.role in OPTICAL_ROLES]
        lenders = {name for o in optical for name in o.mask_from}
        scenes = {(o.platform, o.tile, o.datatake) for o in optical if o.mask_from}
        products = {_product(o) for o in optical if o.role == "landsat"}
        if not lenders and not any(name.endswith("_ST") for _, name in self._items):
            return chosen
        for o in self._described():
            lends = o.collection in lenders and (o.platform, o.tile, o.datatake) in scenes
            if lends or (o.partial and _product(o) in products):
                chosen.append(o)
        return chosen

    def _described(self) -> Iterator[Observation]:
        for item in self._items.values():
            try:
                yield describe(item.to_dict(include_self_link=False, transform_hrefs=False))
            except ItemError:
                continue  # told by `observations`


def _product(o: Observation) -> str:
    return re.sub(r"_(SR|ST)$", "", o.id)
