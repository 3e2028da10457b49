"""Dates that could be predicted: what the catalogue lists over a place, with their partners."""

from __future__ import annotations

import datetime as dt
import re
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import cachetools
import pandas as pd

from gssm.archive.ledger import Row
from gssm.archive.opening import Archive, find_archive
from gssm.archive.recipe import Recipe, read_recipe, stated
from gssm.catalogs import OPTICAL_ROLES, Bbox
from gssm.errors import EmptySearchError
from gssm.matchups import matchups
from gssm.models.bundle import resolve
from gssm.pairing import SAME_PASS
from gssm.request import DateRange, check_bbox, check_datetime
from gssm.search import search
from gssm.web.asking import box_km2, check_area, check_period
from gssm.web.problems import NotFoundError
from gssm.web.settings import Settings

if TYPE_CHECKING:
    import pystac

# How long what a catalogue said is believed, for how many places and periods, and how long
# the recipe of an archive.
DATES_SECONDS, DATES_KEPT, RECIPE_SECONDS = 300.0, 64, 60.0
# Half a side of the box of a point.
POINT_DEGREES = 5e-4
# Of a pass, in years in which satellites can have looked.
ID, ID_FORMAT = re.compile(r"(?:19|20|21)\d{6}T\d{6}Z", re.ASCII), "%Y%m%dT%H%M%SZ"


@dataclass(frozen=True)
class Date:
    """One pass of Sentinel-1 over a place, with its nearest optical images.

    Attributes
    ----------
    time
        Of its first slice over the place (UTC).
    relative_orbit, orbit_state, platform
        Of Sentinel-1; None where no item says it.
    s2_time, landsat_time
        Of the nearest image; None where there is none within the window.
    s2_age, landsat_age
        Its time minus that of the radar, in days.
    reason
        Why no map can be made, or empty.
    """

    time: pd.Timestamp
    relative_orbit: int | None
    orbit_state: str | None
    platform: str | None
    s2_time: pd.Timestamp | None = None
    s2_age: float | None = None
    landsat_time: pd.Timestamp | None = None
    landsat_age: float | None = None
    reason: str = ""

    @property
    def id(self) -> str:
        """Name: its time, to the second."""
        return self.time.strftime(ID_FORMAT)

    @property
    def row(self) -> Row:
        """The pass as a ledger has it."""
        return Row(
            time=self.time.value // 10**9,
            platform=self.platform or "",
            relative_orbit=-1 if self.relative_orbit is None else self.relative_orbit,
            orbit_state=self.orbit_state or "",
        )


@dataclass(frozen=True)
class How:
    """How predictions are made: the recipe, and the archive that lends references of the past."""

    recipe: Recipe
    archive: Archive


class Catalog:
    """The catalogue of a server; it is asked once in a while for the same.

    Parameters
    ----------
    settings
        Archives, of which the first one's recipe counts; its catalogue and model, where the
        settings name none.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._how: cachetools.TTLCache[str, How] = cachetools.TTLCache(1, RECIPE_SECONDS)
        self._dates: cachetools.TTLCache[tuple[Bbox, DateRange], tuple[Date, ...]] = (
            cachetools.TTLCache(DATES_KEPT, DATES_SECONDS)
        )
        self._last: How | None = None
        self._lock = threading.Lock()

    @property
    def known(self) -> How | None:
        """How predictions were made when somebody asked last."""
        with self._lock:
            return self._last

    def how(self) -> How:
        """Return how predictions are made now.

        Raises
        ------
        ArchiveError
            The archive cannot be read.
        """
        with self._lock:
            known = self._how.get("")
        if known is not None:
            return known
        archive = find_archive(next(iter(self._settings.archives.values())))
        recipe = read_recipe(archive) or Recipe()
        model = None if self._settings.model == "default" else self._settings.model
        options = {"catalog": self._settings.catalog or None, "model": model}
        found = How(stated(recipe, options), archive)
        with self._lock:
            self._how[""] = self._last = found
        return found

    def dates(self, bbox: Sequence[float], datetime: Any) -> tuple[Date, ...]:
        """List the dates over a box and in a period, in order of time; none where there are none.

        Parameters
        ----------
        bbox
            West, south, east, north in degrees.
        datetime
            As for `gssm.search`.

        Raises
        ------
        RequestError
            The box or the period cannot be served, or is too large.
        CatalogUnreachableError
            The catalogue does not answer.
        """
        limits = self._settings.limits
        box, dates = check_bbox(bbox), check_datetime(datetime)
        check_area(box_km2(box), limits.box_km2)
        check_period(*dates, limits.catalog_days)
        with self._lock:
            known = self._dates.get((box, dates))
        if known is not None:
            return known
        found = self._searched(box, dates)
        with self._lock:
            self._dates[box, dates] = found
        return found

    def find(self, bbox: Sequence[float], name: str) -> Date:
        """Return the date of an id over a box, of a list that was asked for or by a search.

        Raises
        ------
        NotFoundError
            There is none.
        RequestError, CatalogUnreachableError
            As for `dates`.
        """
        box = check_bbox(bbox)
        moment = moment_of(name)
        with self._lock:
            lists = [found for (other, _), found in self._dates.items() if other == box]
        for found in (one for dates in lists for one in dates):
            if found.id == name:
                return found
        # With what comes before it, as a pass has the time of its first slice.
        for found in self.dates(box, (moment - SAME_PASS, moment + SAME_PASS)):
            if found.id == name:
                return found
        raise NotFoundError(
            f"there is no acquisition {name} over this place; ask /api/v1/catalog/dates for those "
            "that there are."
        )

    def _searched(self, box: Bbox, dates: DateRange) -> tuple[Date, ...]:
        how = self.how()
        recipe = how.recipe
        try:
            items = search(
                box,
                dates,
                catalog=recipe.catalog,
                level=resolve(recipe.model).load().spec.level,
                max_cloud_cover=recipe.max_cloud_cover,
                window=recipe.window,
            )
            table = matchups(items, window=recipe.window)
        except EmptySearchError:
            return ()
        times = {item.id: _moment(item) for item in items}
        return tuple(_date(row, times) for row in table.reset_index().to_dict("records"))


def box_around(lon: float, lat: float) -> Bbox:
    """Return a box of some pixels around a place, both in degrees."""
    half = POINT_DEGREES
    south, north = max(-90.0, lat - half), min(90.0, lat + half)
    return check_bbox((lon - half, south, lon + half, north))


def moment_of(name: str) -> pd.Timestamp:
    """Return the time that the id of a pass tells.

    Raises
    ------
    NotFoundError
        It is no such id.
    """
    try:
        if ID.fullmatch(name):
            return pd.Timestamp(dt.datetime.strptime(name, ID_FORMAT))
    except ValueError:
        pass
    raise NotFoundError(
        f"there is no acquisition {name[:40]!r}; an id is as of /api/v1/catalog/dates, such as "
        "20230603T173210Z."
    )


def _date(row: Mapping[Any, Any], times: dict[str, pd.Timestamp | None]) -> Date:
    nearest: dict[str, Any] = {}
    for role, short in zip(OPTICAL_ROLES, ("s2", "landsat"), strict=True):
        ids, offsets = row[role], row[f"{role}_offset_days"]
        nearest[f"{short}_time"] = times[ids[0]] if ids else None
        nearest[f"{short}_age"] = offsets[0] if ids else None
    orbit = row["relative_orbit"]
    return Date(
        time=row["time"],
        relative_orbit=None if pd.isna(orbit) else int(orbit),
        orbit_state=row["orbit_state"] or None,
        platform=row["platform"] or None,
        reason=row["reason"],
        **nearest,
    )


def _moment(item: pystac.Item) -> pd.Timestamp | None:
    stated_time = item.datetime or item.common_metadata.start_datetime
    if stated_time is None:
        return None
    moment = pd.Timestamp(stated_time)
    return moment.tz_convert("UTC").tz_localize(None) if moment.tzinfo else moment
