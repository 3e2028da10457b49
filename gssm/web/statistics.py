"""Statistics of the pixels of an area on one date: exact, from counts of stored numbers."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gssm import quality
from gssm.archive.packing import PACKINGS
from gssm.archive.reading import refuse_empty_place
from gssm.archive.snapshots import squares_in
from gssm.errors import EmptySearchError
from gssm.web.areas import patches, read_patch
from gssm.web.datasets import Dataset, find_date
from gssm.web.lanes import Watch
from gssm.web.queries import MEAN_DIGITS, UNITS, number

PERCENTILES = (5, 10, 25, 50, 75, 90, 95)
# Width of a bar of the histogram in stored numbers (0.025 m3 m-3), and bars at least.
BAR, BARS = 250, 20
NAMES = ("soil_moisture", "soil_moisture_uncertainty")


def statistics(watch: Watch, dataset: Dataset, area: Any, date: str) -> dict[str, Any]:
    """Return statistics of soil moisture over an area; of a day of its passes, the last on top.

    Raises
    ------
    RequestError
        The area cannot serve.
    EmptySearchError
        The dataset has nothing there, or no centre of a pixel lies in the area.
    UnknownDateError
        There is no such date.
    """
    passes = find_date(dataset, date)
    if not squares_in(dataset.snapshot, area):
        shown = ", ".join(f"{value:g}" for value in area.bounds)
        refuse_empty_place(dataset.snapshot, f"the area within ({shown})")
    pixels, computed = 0, 0
    counts = {name: np.zeros(np.iinfo(PACKINGS[name].dtype).max + 1, np.int64) for name in NAMES}
    flagged = {flag.meaning: 0 for flag in quality.FLAGS}
    for patch in patches(area, dataset.snapshot.archive.chunk):
        watch.check()
        pixels += int(patch.mask.sum())
        stored = read_patch(dataset, patch, passes, NAMES)
        flags = stored["quality_flag"]
        by_flags = np.bincount(flags, minlength=PACKINGS["quality_flag"].fill + 1)
        by_flags[PACKINGS["quality_flag"].fill] = 0
        there = np.flatnonzero(by_flags)
        times = by_flags[there]
        computed += int(times.sum())
        for flag in quality.FLAGS:
            flagged[flag.meaning] += int(times[there & flag.mask > 0].sum())
        for name, count in counts.items():
            count += np.bincount(stored[name], minlength=len(count))
    if not pixels:
        raise EmptySearchError("the area holds no centre of a pixel of 10 m; give a larger one.")
    for name, count in counts.items():
        count[PACKINGS[name].fill] = 0
    width = Counted(counts["soil_moisture_uncertainty"], "soil_moisture_uncertainty")
    return {
        "dataset": dataset.id,
        "version": dataset.version,
        "date": date,
        "units": UNITS,
        "pixels": pixels,
        "computed": computed,
        **_summary(Counted(counts["soil_moisture"], "soil_moisture")),
        "mean_uncertainty": number(width.mean, MEAN_DIGITS),
        "flags": {
            n: round(found / computed, 6) if computed else 0.0 for n, found in flagged.items()
        },
    }


class Counted:
    """Pixels counted by their stored number.

    Parameters
    ----------
    counts
        int64, by the stored number; of the fill none.
    name
        Of the variable.
    """

    def __init__(self, counts: NDArray[np.int64], name: str) -> None:
        scale = PACKINGS[name].scale
        assert scale is not None
        self.counts, self.scale = counts, scale
        self.number = int(counts.sum())
        self._values = np.arange(len(counts), dtype=np.float64)

    @property
    def mean(self) -> float:
        """Mean, NaN of nothing."""
        if not self.number:
            return float("nan")
        return float(self.counts @ self._values) / self.number * self.scale

    @property
    def std(self) -> float:
        """Standard deviation, divided by the number; NaN of nothing."""
        if not self.number:
            return float("nan")
        away = self._values - self.mean / self.scale
        return float(np.sqrt(float(self.counts @ away**2) / self.number)) * self.scale

    def quantile(self, share: float) -> float:
        """Value below which a share lies, straight between two as `numpy.quantile` has it."""
        if not self.number:
            return float("nan")
        below = np.cumsum(self.counts)
        place = share * (self.number - 1)
        first = math.floor(place)
        low, high = (
            int(np.searchsorted(below, n, side="right")) for n in (first, math.ceil(place))
        )
        return (low + (high - low) * (place - first)) * self.scale

    def histogram(self) -> tuple[list[float], list[int]]:
        """Edges and numbers of pixels between them."""
        highest = int(np.flatnonzero(self.counts)[-1]) if self.number else 0
        bars = max(BARS, highest // BAR + 1)
        held = self.counts[: bars * BAR]
        padded = np.pad(held, (0, bars * BAR - len(held))).reshape(bars, BAR).sum(axis=1)
        edges = [round(n * BAR * self.scale, 4) for n in range(bars + 1)]
        return edges, [int(n) for n in padded]


def _summary(moisture: Counted) -> dict[str, Any]:
    edges, numbers = moisture.histogram()
    return {
        "valid": moisture.number,
        "mean": number(moisture.mean, MEAN_DIGITS),
        "std": number(moisture.std, MEAN_DIGITS),
        "min": number(moisture.quantile(0), MEAN_DIGITS),
        "max": number(moisture.quantile(1), MEAN_DIGITS),
        "median": number(moisture.quantile(0.5), MEAN_DIGITS),
        "percentiles": {
            f"p{share}": number(moisture.quantile(share / 100), MEAN_DIGITS)
            for share in PERCENTILES
        },
        "histogram": {"edges": edges, "counts": numbers},
    }
