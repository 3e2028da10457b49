"""The dates of squares as passes of a satellite, each once and in order of time."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from gssm.archive import groups
from gssm.archive.snapshots import Snapshot
from gssm.archive.tiles import Square
from gssm.archive.troubles import archiving
from gssm.errors import EmptySearchError
from gssm.pairing import SAME_PASS
from gssm.request import check_datetime


@dataclass(frozen=True, eq=False)
class Timeline:
    """Passes over squares, in order of time.

    Parameters
    ----------
    table
        A row for each pass: ``time`` (int64, seconds since 1970), and ``relative_orbit``,
        ``orbit_state`` and ``platform`` as they are stored.
    places
        (square, pass): place of the pass along the stored time of a square; -1 where it has
        none.
    """

    table: pd.DataFrame
    places: NDArray[np.int64]

    def select(self, keep: NDArray[np.bool_]) -> Timeline:
        """Return the passes of a mask."""
        return Timeline(self.table[keep].reset_index(drop=True), self.places[:, keep])

    @property
    def times(self) -> pd.DatetimeIndex:
        """Times, UTC."""
        seconds = self.table["time"].to_numpy(np.int64)
        return pd.DatetimeIndex(seconds.astype("datetime64[s]").astype("datetime64[ns]"))

    def coordinates(self) -> dict[str, NDArray[Any]]:
        """Orbit and platform of each pass, in words."""
        return {
            "relative_orbit": self.table["relative_orbit"].to_numpy(np.int16),
            "orbit_state": _words(self.table["orbit_state"], groups.ORBIT_STATES),
            "platform": _words(self.table["platform"], groups.PLATFORMS),
        }


def _words(codes: Any, words: Sequence[str]) -> NDArray[Any]:
    """Words of codes; empty for an unknown one, whose code is -1."""
    found: NDArray[Any] = np.array([*words, ""], object)[codes.to_numpy(np.int64)]
    return found


def read_timeline(snapshot: Snapshot, squares: Sequence[Square], datetime: Any = None) -> Timeline:
    """Read the dates of squares within a span of time; those of one pass are one.

    The slices of a pass follow each other: its time is that of the first over any square.

    Raises
    ------
    EmptySearchError
        There is none; the sentence says which there are.
    """
    with archiving(snapshot.archive.url):
        frames = [
            pd.DataFrame({name: snapshot.array(square, name)[:] for name in groups.ALONG_TIME})
            for square in squares
        ]
    stored = [frame.rename_axis("place").reset_index() for frame in frames]
    table = pd.concat([frame.assign(square=number) for number, frame in enumerate(stored)])
    return _in_span(snapshot, merge(table, len(squares)), datetime)


def merge(table: pd.DataFrame, squares: int) -> Timeline:
    """Make one pass of what is of one platform and orbit, minutes apart.

    Parameters
    ----------
    table
        A row for each date of each square: the columns of a `Timeline`, and the number of its
        ``square`` and its ``place`` along the square's time.
    squares
        Number of squares.
    """
    way = ["platform", "relative_orbit"]
    table = table.sort_values([*way, "time", "square"], kind="stable", ignore_index=True)
    changes = (table[way] != table[way].shift()).any(axis=1)
    apart = table["time"].diff() > SAME_PASS.total_seconds()
    # Of one square, two dates are two passes, whatever lies between them.
    table["passage"] = (changes | apart).cumsum()
    table["again"] = table.groupby(["passage", "square"]).cumcount()
    number = table.groupby(["passage", "again"]).ngroup().to_numpy()
    first = table.groupby(number).first().sort_values("time", kind="stable")
    rank = np.empty(len(first), np.int64)
    rank[first.index.to_numpy()] = np.arange(len(first))
    places = np.full((squares, len(first)), -1, np.int64)
    places[table["square"].to_numpy(), rank[number]] = table["place"].to_numpy()
    columns = first[list(groups.ALONG_TIME)].reset_index(drop=True)
    columns["time"] = _unique(columns["time"].to_numpy(np.int64))
    return Timeline(columns, places)


def _unique(times: NDArray[np.int64]) -> NDArray[np.int64]:
    """Let sorted times that are equal follow each other by a second.

    Two satellites can be at two places in the same second; an index must tell them apart.
    """
    steps = np.arange(len(times))
    unique: NDArray[np.int64] = np.maximum.accumulate(times - steps) + steps
    return unique


def _in_span(snapshot: Snapshot, timeline: Timeline, datetime: Any) -> Timeline:
    if datetime is None:
        return timeline
    start, end = check_datetime(datetime)
    times = timeline.times
    keep = np.asarray((times >= start) & (times <= end))
    if not keep.any():
        raise EmptySearchError(
            f"archive {snapshot.archive.url} has no date there from {start:%Y-%m-%d %H:%M} to "
            f"{end:%Y-%m-%d %H:%M}; it has {len(times)} from {times[0]:%Y-%m-%d} to "
            f"{times[-1]:%Y-%m-%d}."
        )
    return timeline.select(keep)
