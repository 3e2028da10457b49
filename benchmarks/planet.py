"""What a year of all land would cost, on paper: the table of docs/archive.md.

    python benchmarks/planet.py             # prints it

Nothing is computed but arithmetic; what it rests on is in the constants, each with its source.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from gssm.archive.costs import READ_BYTES, SPEED_WITH_PAST
from gssm.archive.overviews import BLOCK, LEVELS
from gssm.archive.overviews import NAMES as OVERVIEW_VARIABLES
from gssm.archive.packing import PACKINGS
from gssm.archive.tiles import PIXELS

Line = tuple[str, str, str]

# Land without Antarctica, km2, and all coasts, km (CIA, The World Factbook).
LAND, COAST = 135e6, 356_000
# A square that owns pixels, km2: ground from 60 S to 84 N over the squares that
# `gssm.archive.tiles.squares_over` finds there (58 427).
SQUARE_AREA = 8_121
CHUNK_SIDE = 10  # km
# Sentinel-1 (ESA): days and orbits of a cycle, km of a swath in IW mode; km of the equator.
CYCLE, ORBITS, SWATH, EQUATOR = 12, 175, 250, 40_075
# Swaths overlap towards the poles: mean of 1 / cos(latitude) over this land, assumed.
OVERLAP = 1.3
# Bytes of a pixel by `benchmarks/archive.py writing` (simulated) and from a real site of
# 62 x 62 pixels and 49 dates, the larger of both.
BYTES = {
    "soil_moisture": 1.50,
    "soil_moisture_uncertainty": 0.60,
    "quality_flag": 0.19,
    "s2_age": 0.03,
    "landsat_age": 0.03,
}
# Of what has overviews: 1/4 + 1/16 + ..., which compress as the pixels do.
OVERVIEW_SHARE = 1 / 3
# `benchmarks/archive.py dates` and `squares`.
OBJECTS_OF_A_COMMIT, TABLES_OF_A_COMMIT, ROW_BYTES = 31, 0.5e6, 2_210
SNAPSHOT_OF_A_SQUARE, COMMIT_OF_A_SQUARE, COMMIT = 2_800, 1e-3, 0.05
REPOSITORIES = 60
# Days in which a year is to be made; a year keeps coming all the same.
DAYS = 30
# US dollars, list prices of the large clouds: a core-hour, a gigabyte-month, a thousand PUT and
# a thousand GET requests.
CORE_HOUR, GB_MONTH, PUTS, GETS = 0.05, 0.023, 0.005, 0.0004


@dataclass(frozen=True)
class Year:
    """A year of land: how many times one satellite in one direction looks down."""

    looks: float
    repositories: int = REPOSITORIES

    @property
    def squares(self) -> float:
        """Squares with land: area over area, and half of those that a coast crosses.

        A curve of length L crosses 4 L / (pi s) cells of side s on average.
        """
        return LAND / SQUARE_AREA + 2 * COAST / (math.pi * math.sqrt(SQUARE_AREA))

    @property
    def cycles(self) -> float:
        """Cycles of the orbit in a year."""
        return self.looks * 365.25 / CYCLE

    @property
    def views(self) -> float:
        """Times that a place is seen."""
        return self.cycles * SWATH / (EQUATOR / ORBITS) * OVERLAP

    @property
    def passes(self) -> float:
        """Acquisitions of a square: a swath that touches it, by whatever part."""
        side = math.sqrt(SQUARE_AREA)
        return self.cycles * (SWATH + side) / (EQUATOR / ORBITS) * OVERLAP

    @property
    def jobs(self) -> float:
        """Acquisitions of squares, each a job and a commit."""
        return self.squares * self.passes

    @property
    def pixels(self) -> float:
        """Pixels of land, each time that they are seen."""
        return LAND * 1e4 * self.views

    @property
    def chunks(self) -> float:
        """Chunks of land, each time: with those that a coast or the edge of a swath crosses."""
        land = LAND / CHUNK_SIDE**2 + 2 * COAST / (math.pi * CHUNK_SIDE)
        return land * self.views * (SWATH + CHUNK_SIDE) / SWATH

    @property
    def objects(self) -> float:
        """Objects of pixels: each variable of each chunk, and its part of overviews."""
        return self.chunks * len(PACKINGS) + self.jobs * overview_chunks()

    @property
    def puts(self) -> float:
        """Requests that write."""
        return self.objects + self.jobs * OBJECTS_OF_A_COMMIT

    @property
    def bytes(self) -> float:
        """Bytes of pixels and overviews."""
        return self.pixels * pixel_bytes()

    @property
    def core_hours(self) -> float:
        """Hours of a core, by docs/speed.md, with references of the past."""
        return self.pixels / SPEED_WITH_PAST / 3600

    @property
    def squares_of_one(self) -> float:
        """Squares of a repository."""
        return self.squares / self.repositories

    @property
    def snapshot(self) -> float:
        """Bytes of a snapshot: each commit writes one."""
        return self.squares_of_one * SNAPSHOT_OF_A_SQUARE

    @property
    def commit_seconds(self) -> float:
        """Seconds of a commit, during which no other goes through."""
        return COMMIT + self.squares_of_one * COMMIT_OF_A_SQUARE

    @property
    def commit_load(self) -> float:
        """Share of the time of a repository in which it is being committed to."""
        return self.jobs / self.repositories * self.commit_seconds / (DAYS * 86_400)

    @property
    def history(self) -> float:
        """Bytes of snapshots and tables of chunks, if no version were ever expired."""
        return self.jobs * (self.snapshot + TABLES_OF_A_COMMIT)


def pixel_bytes() -> float:
    """Bytes of a pixel, overviews included."""
    return sum(BYTES.values()) + OVERVIEW_SHARE * sum(BYTES[name] for name in OVERVIEW_VARIABLES)


def overview_chunks() -> int:
    """Chunks of the overviews of a whole square."""
    sides = (math.ceil(math.ceil(PIXELS / level) / BLOCK) for level in LEVELS)
    return len(OVERVIEW_VARIABLES) * sum(side**2 for side in sides)


SCENARIOS = {
    "one satellite, one direction": Year(1),
    "two satellites, Europe in both directions": Year((2 * (LAND - 10e6) + 4 * 10e6) / LAND),
    "two satellites, both directions": Year(4),
}
USUAL = "two satellites, Europe in both directions"


def about(value: float) -> str:
    """Two figures of a number: no more is known."""
    return f"{float(f'{value:.2g}'):,.0f}"


# What is told of a year: words, and the number as text.
ROWS: tuple[tuple[str, Callable[[Year], str]], ...] = (
    ("squares with land", lambda y: about(y.squares)),
    ("times that a place is seen", lambda y: f"{y.views:.0f}"),
    ("acquisitions of a square", lambda y: f"{y.passes:.0f}"),
    ("jobs, each a commit", lambda y: f"{y.jobs / 1e6:.1f} million"),
    ("pixels", lambda y: f"{about(y.pixels / 1e12)} x 10^12"),
    ("chunks of ground and date", lambda y: f"{about(y.chunks / 1e6)} million"),
    ("objects written", lambda y: f"{about(y.puts / 1e6)} million"),
    ("mean object", lambda y: f"{y.bytes / y.objects / 1e6:.2f} MB"),
    ("archive", lambda y: f"{about(y.bytes / 1e12)} TB"),
    ("read from catalogues", lambda y: f"{y.pixels * READ_BYTES / 1e15:.1f} PB"),
    ("core-hours", lambda y: about(y.core_hours)),
    (f"cores, to make it in {DAYS} days", lambda y: about(y.core_hours / 24 / DAYS)),
    ("computing", lambda y: f"${about(y.core_hours * CORE_HOUR)}"),
    ("writing (PUT)", lambda y: f"${about(y.puts / 1e3 * PUTS)}"),
    ("reading all of it once (GET)", lambda y: f"${about(y.objects / 1e3 * GETS)}"),
    ("keeping it, a month", lambda y: f"${about(y.bytes / 1e9 * GB_MONTH)}"),
    (f"squares of one of {REPOSITORIES} repositories", lambda y: about(y.squares_of_one)),
    ("its snapshot", lambda y: f"{y.snapshot / 1e6:.2f} MB"),
    ("a commit to it", lambda y: f"{y.commit_seconds:.2f} s"),
    ("share of the time that it is being committed to", lambda y: f"{y.commit_load:.1%}"),
    ("snapshots and tables until they are expired", lambda y: f"{y.history / 1e12:.1f} TB"),
    ("ledger of a square", lambda y: f"{y.passes * ROW_BYTES / 1e6:.2f} MB"),
)


def table() -> str:
    """Markdown table of the scenarios."""
    head = ["", *SCENARIOS]
    body = [[words, *(told(year) for year in SCENARIOS.values())] for words, told in ROWS]
    rows = [head, ["---"] * len(head), *body]
    return "\n".join("| " + " | ".join(row).strip() + " |" for row in rows).replace("|  |", "| |")


def one_repository() -> Year:
    """All land in a single repository."""
    return Year(SCENARIOS[USUAL].looks, repositories=1)


def lines() -> Iterator[Line]:
    """Tell the usual year, and where one repository for all of it breaks."""
    year, alone = SCENARIOS[USUAL], one_repository()
    for words, told in ROWS:
        yield f"a year of land: {words}", told(year), ""
    yield (
        "commits to one of 60 repositories, % of the time",
        f"{100 * year.commit_load:.1f}",
        "<= 50",
    )
    yield (
        "commits to a single repository, % of the time",
        f"{100 * alone.commit_load:.0f}",
        "breaks",
    )


if __name__ == "__main__":
    print(table())
