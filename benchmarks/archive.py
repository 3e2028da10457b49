"""The archive against its limits: writing, reading, size, and a year of the whole land.

    python benchmarks/archive.py            # everything, half an hour and 5 GB of disk
    python benchmarks/archive.py series     # some of: writing, opening, series, window, ...

Each line says what was measured, the figure and the limit it is held against. Ends with 1
where a limit is broken. The server of S3 is the tests' own, on the loopback.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterator

import archive_reading
import archive_size
import archive_writing
import bounds
import planet

Line = tuple[str, str, str]

PARTS: dict[str, Callable[[], Iterator[Line]]] = {
    "writing": archive_writing.writing,
    "opening": archive_reading.opening,
    "series": archive_reading.point_series_against_cogs,
    "window": archive_reading.window,
    "scale": archive_size.scale,
    "dates": archive_size.dates,
    "squares": archive_size.squares,
    "planet": planet.lines,
}
# What takes seconds, for `benchmarks/run.py`.
QUICK = ("opening", "window")


def main(words: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("parts", nargs="*", metavar="part", help=f"some of: {', '.join(PARTS)}")
    parts = parser.parse_args(words).parts
    if unknown := set(parts) - set(PARTS):
        parser.error(f"there is no {', '.join(sorted(unknown))}; give some of: {', '.join(PARTS)}")
    broken = 0
    for part in parts or PARTS:
        for what, figure, limit in PARTS[part]():
            is_kept = bounds.holds(figure, limit)
            broken += not is_kept
            said = limit if is_kept else f"{limit}  BROKEN"
            print(f"{what:<66} {figure:>12}   {said}".rstrip(), flush=True)
    return int(broken > 0)


if __name__ == "__main__":
    sys.exit(main())
