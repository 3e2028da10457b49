"""A report of physical checks in words."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from gssm.checks.report import Report

VERDICTS = {True: "as expected", False: "NOT as expected", None: "cannot be told"}


def as_text(report: Report) -> str:
    """Return a line per check, and what a good map shows."""
    means = report.means
    valued = int(means["soil_moisture"].notna().sum())
    first, last = means.index.min(), means.index.max()
    lines = [
        f"{valued} of {len(means)} dates have a mean, {first:%Y-%m-%d} to {last:%Y-%m-%d}.",
        "",
    ]
    for finding in report.findings:
        lines.append(f"{finding.check}: {VERDICTS[finding.reached]}")
        lines.append(f"    {finding.says}")
        lines.append(f"    expected: {finding.expected}")
    return "\n".join(lines)
