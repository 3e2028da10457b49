"""What a plan would read, write and cost, from what was measured on one core."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from gssm.archive.jobs import Job
from gssm.archive.plan import Note, Step

# docs/speed.md, "From COG to Zarr": pixels a second and core of the whole line, without and
# with references of the past, and bytes read a pixel.
SPEED, SPEED_WITH_PAST = 235_000, 174_000
READ_BYTES = 21
# A pixel with a value, its overviews and the tables of the archive included, compressed: 3.2
# in a simulated scene of 460 x 460 pixels and two dates. Before compression it is 10.7.
WRITTEN_BYTES = 3.2


@dataclass(frozen=True)
class Estimate:
    """What a plan comes to.

    ``known``, ``skipped`` and ``unplanned`` count acquisitions that are there, that cannot be
    mapped, and months for which the catalogue failed; ``images`` are openings, an image that
    ten jobs need ten times.
    """

    squares: int = 0
    jobs: int = 0
    known: int = 0
    skipped: int = 0
    unplanned: int = 0
    images: int = 0
    pixels: int = 0
    speed: int = SPEED
    reason: str = ""

    @property
    def read_gb(self) -> float:
        """Gigabytes to read."""
        return self.pixels * READ_BYTES / 1e9

    @property
    def written_gb(self) -> float:
        """Gigabytes to write."""
        return self.pixels * WRITTEN_BYTES / 1e9

    @property
    def core_hours(self) -> float:
        """Hours of one core."""
        return self.pixels / self.speed / 3600

    def cost(self, rate: float) -> float:
        """Return what it costs at a price of a core-hour."""
        return self.core_hours * rate

    def assumptions(self) -> str:
        """Say what the numbers rest on."""
        past = " with references of the past" if self.speed == SPEED_WITH_PAST else ""
        return (
            f"assumed: {self.speed} pixels a second and core{past}, measured on 2.5 GHz cores "
            f"with data at hand (docs/speed.md); {READ_BYTES} bytes read and {WRITTEN_BYTES:g} "
            "written a pixel; cloudy partners, catalogue searches and waiting for a network come "
            "on top."
        )


def estimate(found: Iterable[Step], chunk: int, model: str = "default") -> Estimate:
    """Count a plan; nothing is read or written.

    Parameters
    ----------
    found
        Of `gssm.archive.plan.steps`.
    chunk
        Pixels of a chunk's side.
    model
        Whose speed.
    """
    counts = dict.fromkeys(("jobs", "known", "skipped", "unplanned", "images", "pixels"), 0)
    squares: set[str] = set()
    reason = ""
    for step in found:
        squares.add(step.square)
        for name, number in _counted(step, chunk):
            counts[name] += number
        if isinstance(step, Note) and step.kind == "unplanned":
            reason = reason or step.reason
    speed = SPEED_WITH_PAST if reads_past(model) else SPEED
    return Estimate(squares=len(squares), speed=speed, reason=reason, **counts)


def _counted(step: Step, chunk: int) -> Iterator[tuple[str, int]]:
    if isinstance(step, Job):
        yield "jobs", 1
        yield "images", len(step.items)
        yield "pixels", len(step.row.coverage) * chunk**2
    elif step.kind == "settled":
        yield "known", 1
    elif step.kind != "month":
        yield step.kind, 1


def reads_past(model: str) -> bool:
    """Tell whether a model reads references of the past."""
    from gssm.models.bundle import resolve
    from gssm.models.ensemble import OF_THE_PAST

    return not OF_THE_PAST.isdisjoint(resolve(model).load().spec.features)
