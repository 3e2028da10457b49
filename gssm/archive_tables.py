"""What the shell shows of an archive: tables, progress and summaries."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Column, Table

from gssm.shell import err, orbit_label, out

if TYPE_CHECKING:
    from gssm.archive.costs import Estimate
    from gssm.archive.recipe import Recipe
    from gssm.archive.run import Report, Summary


def rows_table(table: Any) -> Table:
    """Lay out acquisitions, a line each."""
    shown = Table(
        *(Column(name, no_wrap=True) for name in ("square", "time (UTC)")),
        *("platform", "orbit", "status", "valued", "reason"),
    )
    for row in table.itertuples():
        name = f"{row.status} (provisional)" if row.provisional else row.status
        orbit = orbit_label(row.relative_orbit, row.orbit_state)
        moment = f"{row.time:%Y-%m-%d %H:%M}"
        shown.add_row(row.square, moment, row.platform, orbit, name, f"{row.valued:,}", row.reason)
    return shown


def squares_table(table: Any) -> Table:
    """Lay out squares, a line each."""
    # In 80 columns the words of the head give way, never a date or a number.
    whole, kinds = ("square", "dates", "first", "last"), ("provisional", "skipped", "failed")
    shown = Table(
        *(Column(name, no_wrap=True) for name in whole),
        *(Column(name, overflow="fold") for name in kinds),
        Column("valued", no_wrap=True),
    )
    for name, rows in table.groupby("square"):
        done = rows[rows["status"] == "done"]
        first, last = (
            (f"{getattr(done['time'], end)():%Y-%m-%d}" if len(done) else "")
            for end in ("min", "max")
        )
        counts = rows["status"].value_counts()
        shown.add_row(
            *(str(name), str(len(done)), first, last, str(int(done["provisional"].sum()))),
            *(str(counts.get(kind, 0)) for kind in ("skipped", "failed")),
            f"{done['valued'].sum():,}",
        )
    return shown


def print_totals(table: Any) -> None:
    """Print the totals of a table of acquisitions."""
    counts = table["status"].value_counts()
    said = ", ".join(f"{counts.get(kind, 0)} {kind}" for kind in ("done", "skipped", "failed"))
    out.print(
        f"{table['square'].nunique()} squares: {said}; {int(table['provisional'].sum())} "
        f"provisional; {int(table['valued'].sum()):,} pixels with a value",
        highlight=False,
        soft_wrap=True,
    )


def print_recipe(recipe: Recipe | None) -> None:
    """Print where an archive is made from and of which places, if it says so."""
    from gssm.archive.onset import shown_area
    from gssm.network import redacted

    if recipe is None:
        return
    area = [] if recipe.shape is None else [shown_area(recipe.shape)]
    whole = [f"squares {', '.join(recipe.squares)}"] if recipe.squares else []
    out.print(
        f"catalogue {redacted(recipe.catalog)}; {' and '.join([*area, *whole]) or 'no area'}",
        highlight=False,
        soft_wrap=True,
    )


@contextmanager
def shown(total: int) -> Iterator[Report]:
    """Show a run while it goes on; the time left is judged by the months that are planned."""
    columns = (TextColumn("mapping"), BarColumn(), TextColumn("{task.description}"))
    with Progress(*columns, TimeElapsedColumn(), console=err, transient=True) as shown:
        task = shown.add_task("", total=max(1, total))

        def report(summary: Summary) -> None:
            left = ""
            if summary.months and summary.months < total:
                seconds = summary.seconds * (total - summary.months) / summary.months
                left = f", about {duration(seconds)} left"
            shown.update(
                task,
                completed=summary.months,
                description=f"{summary.done} done, {summary.skipped} skipped, {summary.failed} "
                f"failed, {summary.in_flight} in work{left}",
            )

        yield report


def duration(seconds: float) -> str:
    """Return a time for people."""
    hours, rest = divmod(round(seconds), 3600)
    return f"{hours} h {rest // 60:02d} min" if hours else f"{rest // 60} min {rest % 60:02d} s"


def print_summary(summary: Summary) -> None:
    """Print what a run has done, and why some of it failed."""
    out.print(
        f"{summary.done} acquisitions mapped, {summary.skipped} skipped, {summary.failed} failed, "
        f"{summary.known} there before; {summary.valued:,} pixels with a value in "
        f"{duration(summary.seconds)}"
        + (f"; {summary.stopped}: run it again to go on" if summary.stopped else ""),
        highlight=False,
        soft_wrap=True,
    )
    for reason in [*summary.failures[:5], *summary.unplanned[:5]]:
        out.print(f"  {reason}", highlight=False, soft_wrap=True, style="dim")


def print_estimate(e: Estimate, rate: float) -> None:
    """Print what a plan comes to, what that rests on, and its price where there is a rate."""
    rows = {
        "squares": f"{e.squares:,}",
        "acquisitions to map": f"{e.jobs:,}",
        "there already": f"{e.known:,}",
        "not to be mapped": f"{e.skipped:,}",
        "images to open": f"{e.images:,}",
        "pixels": f"{e.pixels / 1e6:,.1f} million",
        "to read": f"{_number(e.read_gb)} GB",
        "to write": f"{_number(e.written_gb)} GB",
        "core-hours": _number(e.core_hours),
    }
    if rate:
        rows["cost"] = f"{_number(e.cost(rate))} at {rate:g} a core-hour"
    table = Table("what", "how much")
    for name, value in rows.items():
        table.add_row(name, value)
    out.print(table)
    out.print(e.assumptions(), highlight=False, soft_wrap=True)


def _number(value: float) -> str:
    return f"{value:,.1f}" if value >= 10 else f"{value:.2g}"
