"""How a plan begins: whether the catalogue has anything at all, before an archive is touched."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import chain
from typing import Any

import shapely

from gssm.archive.plan import Note, Step
from gssm.archive.rounds import Round
from gssm.errors import EmptySearchError
from gssm.network import redacted
from gssm.request import check_datetime, span

# Notes that are no acquisition: of a month that is planned, or could not be.
OF_MONTHS = ("month", "unplanned")
MOST_SHOWN = 4


def begin(planned: Iterable[Step]) -> tuple[list[Note], Iterator[Step] | None]:
    """Take from a plan until its first acquisition, whether to map or there already.

    Returns
    -------
    notes, steps
        Of the months before it; and the plan from its beginning, those included, or None
        where there is no acquisition and the notes are all of it.
    """
    steps, notes = iter(planned), list[Note]()
    for step in steps:
        if not isinstance(step, Note) or step.kind not in OF_MONTHS:
            return notes, chain(notes, [step], steps)
        notes.append(step)
    return notes, None


def refusal(rounds: Sequence[Round], catalog: str) -> EmptySearchError:
    """Return the error of rounds for which a catalogue has no radar image."""
    dates = [check_datetime(one.datetime) for one in rounds]
    period = span((min(first for first, _ in dates), max(last for _, last in dates)))
    shapes = [one.area for one in rounds if one.area is not None]
    names = sorted({name for one in rounds for name in one.squares})
    place = shown_area(shapely.union_all(shapes)) if shapes else f"squares {', '.join(names)}"
    return EmptySearchError(
        f"no Sentinel-1 acquisition in {redacted(catalog)} over {place} in {period}; widen the "
        "dates, check that longitudes come before latitudes (west, south, east, north), or give "
        "another --catalog."
    )


def shown_area(shape: Any) -> str:
    """Bounds of the parts of an area in degrees, in words."""
    parts = list(getattr(shape, "geoms", [shape]))
    boxes = [f"({', '.join(f'{value:g}' for value in part.bounds)})" for part in parts]
    more = f" and {len(boxes) - MOST_SHOWN} more" if len(boxes) > MOST_SHOWN else ""
    return f"area {', '.join(boxes[:MOST_SHOWN])}{more}"
