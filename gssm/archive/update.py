"""What an archive lacks of the newest images, and of the oldest."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import pandas as pd
import shapely
from shapely.geometry.base import BaseGeometry

from gssm.archive.acquisitions import read_rows, squares_of
from gssm.archive.ledger import MOST_TRIES, Row
from gssm.archive.plan import LATENCY
from gssm.archive.recipe import Recipe
from gssm.archive.repository import Archive
from gssm.archive.rounds import Round, months_of
from gssm.archive.tiles import Square
from gssm.errors import ArchiveError, RequestError
from gssm.pairing import SAME_PASS
from gssm.request import DateRange, check_datetime, check_window

# What failed so long before the newest date is left to the building.
TRY_AGAIN = pd.Timedelta("30D")

ORDERS = ("newest", "oldest")


def update_rounds(archive: Archive, recipe: Recipe, now: pd.Timestamp) -> list[Round]:
    """Return what brings an archive up to date: of each square that it has, from `since` on.

    Two updates at once plan the same: what one of them commits first, the other finds there.

    Parameters
    ----------
    archive, recipe
        Whose; squares that it has no date of are left to the building.
    now
        Moment of planning (UTC).

    Raises
    ------
    ArchiveError
        It has no dates yet.
    """
    squares = squares_of(archive)
    window = check_window(recipe.window)
    starts = {s: since(read_rows(archive, s), window) for s in squares}
    known = {square: start for square, start in starts.items() if start is not None}
    if not known:
        raise ArchiveError(
            f"archive {archive.url}: it has no dates to go on from; build it first with "
            "`gssm archive build`."
        )

    def period(square: Square) -> DateRange | None:
        start = known.get(square)
        return None if start is None or start > now else (start, now)

    return recipe.rounds(period, [square.name for square in known])


def since(rows: Sequence[Row], window: pd.Timedelta) -> pd.Timestamp | None:
    """Return from when on a square may change; None where nothing is known of it.

    That is the newest date, mapped or skipped, minus the time in which partners and late
    images may have come to the catalogue; or the oldest date that is still provisional, or
    that failed not long ago, wholly or in part.
    """
    times = {
        status: [pd.Timestamp(row.time, unit="s") for row in rows if row.status == status]
        for status in ("done", "skipped")
    }
    known = times["done"] + times["skipped"]
    if not known:
        return None
    newest = max(known)
    provisional = [pd.Timestamp(row.time, unit="s") for row in rows if row.provisional]
    again = [
        pd.Timestamp(row.time, unit="s")
        for row in rows
        if row.status == "failed" or (row.failed and row.tries < MOST_TRIES)
    ]
    failed = [time for time in again if time > newest - TRY_AGAIN]
    return min([newest - window - LATENCY, *provisional, *failed]) - SAME_PASS


def backfill_rounds(
    areas: Sequence[BaseGeometry], first: str, last: pd.Timestamp, order: str = "newest"
) -> Iterator[Round]:
    """Return areas by priority, each month by month, as rounds to plan.

    A square that several areas share is mapped in all of them at once, since a date that is
    there in part would have to be computed again.

    Parameters
    ----------
    areas
        Shapes in degrees; the first comes first.
    first, last
        Date of the first image, and moment of the last.
    order
        ``"newest"`` months first, which people ask for first, or ``"oldest"``, which needs no
        sorting of the archive at the end.
    """
    if order not in ORDERS:
        raise RequestError(f"there is no order {order!r}; use {' or '.join(map(repr, ORDERS))}.")
    whole = shapely.union_all(list(areas))
    start, _ = check_datetime(first)
    dates: DateRange = check_datetime((start, last))
    months = months_of(dates)
    done: set[str] = set()
    for area in areas:
        names = tuple(s.name for s in Round(area, dates).places() if s.name not in done)
        done |= set(names)
        if names:
            ordered = reversed(months) if order == "newest" else months
            yield from (Round(whole, month, names) for month in ordered)
