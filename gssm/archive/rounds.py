"""Areas and periods that are planned one after the other."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import pandas as pd
from shapely.geometry.base import BaseGeometry

from gssm.archive.tiles import Square, parse, squares_over
from gssm.request import DateRange, check_datetime


@dataclass(frozen=True)
class Round:
    """An area and a period that are planned before the next.

    Attributes
    ----------
    area
        Shape in degrees; None: the whole of `squares`.
    datetime
        As for `gssm.search`, or a function of a square that returns it (None: nothing).
    squares
        Names of squares; by default all that the area touches.
    in_order
        A month for which the catalogue fails ends its square: later dates would hide, from
        what looks at the newest one, that it is missing.
    """

    area: BaseGeometry | None
    datetime: Any
    squares: tuple[str, ...] = ()
    in_order: bool = False

    def places(self) -> list[Square]:
        """Squares of the round, in order."""
        if self.squares or self.area is None:
            return sorted({parse(name) for name in self.squares})
        return squares_over(self.area)

    def months(self, square: Square) -> list[DateRange]:
        """Months of a square, each with its first and last moment."""
        datetime = self.datetime(square) if callable(self.datetime) else self.datetime
        return [] if datetime is None else list(months_of(check_datetime(datetime)))


@lru_cache(maxsize=256)
def months_of(dates: DateRange) -> tuple[DateRange, ...]:
    """Cut a period into months, each with its first and last moment."""
    first, last = dates
    periods = pd.period_range(first, last, freq="M")
    return tuple((max(first, p.start_time), min(last, p.end_time)) for p in periods)


def rounds_size(rounds: Iterable[Round]) -> int:
    """Count the searches that rounds need: squares times months."""
    return sum(len(one.months(square)) for one in rounds for square in one.places())
