"""The figure of a report: moisture of an area over time, with rain and its index."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from gssm.training.figure_parts import BLUE, GREEN, GREY, ORANGE, PURPLE, SKY, SOIL_MOISTURE_UNITS

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from gssm.checks.report import Report

ORBIT_COLOURS = (BLUE, ORANGE, GREEN, PURPLE)


def draw_series(report: Report) -> Figure:
    """Draw mean soil moisture by orbit above, the index of rain below."""
    from matplotlib.figure import Figure

    means = report.means
    has_rain = bool(means["api"].notna().any())
    figure = Figure(figsize=(9, 4.6 if has_rain else 3), layout="constrained")
    axes = figure.subplots(1 + has_rain, 1, sharex=True, squeeze=False)[:, 0]
    for number, (orbit, group) in enumerate(means.groupby("relative_orbit")):
        colour = ORBIT_COLOURS[number % len(ORBIT_COLOURS)]
        axes[0].plot(
            group.index, group["soil_moisture"], "o-", ms=3, lw=0.8, color=colour,
            label=f"orbit {orbit}",
        )  # fmt: skip
    axes[0].set_ylabel(f"mean soil moisture\n({SOIL_MOISTURE_UNITS})")
    axes[0].legend(frameon=False, ncols=len(ORBIT_COLOURS), loc="upper right")
    if has_rain:
        axes[1].fill_between(means.index, means["api"].to_numpy(np.float64), color=SKY, lw=0)
        axes[1].set_ylabel("antecedent precipitation\nindex (mm)")
        axes[1].set_ylim(bottom=0)
    for ax in axes:
        ax.grid(color=GREY, alpha=0.25, lw=0.5)
        ax.spines[["top", "right"]].set_visible(False)
    return figure
