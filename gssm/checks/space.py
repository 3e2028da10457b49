"""Whether fields look like fields, and seams show where work or images were divided."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from gssm.metrics import percentile_interval

Floats = NDArray[np.float64]
Mask = NDArray[np.bool_]

# Pixels between those that are compared with neighbours, for the texture of a map.
FAR = 10
# How often labels, or edges, are moved somewhere else, to compare with.
SHIFTS = 200
MOVES = 60
# Dates whose mean is the place's own.
MANY_DATES = 10
# Values that are looked at for seams.
MOST_VALUES = 2_000_000
# Pixels of a field below which its mean is left out.
MIN_PIXELS = 5
# Pixels from a step to those that it is set against: 60 m, at which the pixels of all images
# (10, 20, 30 and 60 m) repeat. A pixel of 20 m is two equal ones of 10, without a step between.
PERIOD = 6
# Ages of images (days) that differ by more come from another image.
ANOTHER_IMAGE = 0.5


@dataclass(frozen=True)
class Edges:
    """Where a seam may be: between a pixel and its right, or lower, neighbour.

    Parameters
    ----------
    right, down
        (dates or 1, rows, columns - 1) and (dates or 1, rows - 1, columns).
    """

    right: Mask
    down: Mask


def texture(values: Floats) -> pd.Series[float]:
    """Return the roughness of every map: neighbours' variance over that at a hundred metres.

    The semivariance of pixels beside each other by that of pixels `FAR` apart: 1 for noise, near
    0 for a smooth map; in between for fields with edges. NaN where a map has no pairs.

    Parameters
    ----------
    values
        (time, y, x) in any units.
    """
    near, far = _semivariance(values, 1), _semivariance(values, FAR)
    return pd.Series(np.divide(near, far, out=np.full(len(near), np.nan), where=far > 0))


def _semivariance(values: Floats, lag: int) -> Floats:
    pairs = [values[:, lag:] - values[:, :-lag], values[:, :, lag:] - values[:, :, :-lag]]
    squares = [np.where(np.isfinite(d), d, 0.0) ** 2 for d in pairs]
    counts = sum(np.isfinite(d).sum(axis=(1, 2)) for d in pairs)
    sums = sum(s.sum(axis=(1, 2)) for s in squares)
    empty = np.full(len(values), np.nan)
    return np.asarray(np.divide(sums, 2.0 * counts, out=empty, where=counts > 0))


def between_fields(values: Floats, labels: NDArray[Any], seed: int = 0) -> tuple[float, float]:
    """Return the share of a map's variance that lies between fields, and what chance gives.

    Parameters
    ----------
    values
        A map (y, x); NaN is left out.
    labels
        A number for each field, (y, x); NaN and 0 are no field.
    seed
        Of the shifts.

    Returns
    -------
    share, chance
        ``eta²``, the variance of the fields' means by that of all pixels; and its 95 % quantile
        over maps of labels moved by a random distance around the edges, whose fields have the
        same shapes and lie elsewhere. NaN with fewer than two fields.
    """
    rng = np.random.default_rng(seed)
    numbers = np.nan_to_num(np.asarray(labels, np.float64))
    _, codes = np.unique(numbers, return_inverse=True)
    codes = np.where(numbers == 0, -1, codes.reshape(numbers.shape))
    share = _eta_squared(values, codes)
    moved = [
        _eta_squared(
            values, np.roll(codes, tuple(rng.integers(1, size) for size in codes.shape), (0, 1))
        )
        for _ in range(SHIFTS)
    ]
    known = [value for value in moved if np.isfinite(value)]
    return share, float(np.quantile(known, 0.95)) if known else float("nan")


def _eta_squared(values: Floats, codes: NDArray[np.int64]) -> float:
    inside = np.isfinite(values) & (codes >= 0)
    counts = np.bincount(codes[inside])
    inside &= np.isin(codes, np.flatnonzero(counts >= MIN_PIXELS))
    v, c = values[inside], codes[inside]
    if not v.size or len(np.unique(c)) < 2 or v.var() == 0:
        return float("nan")
    n = np.bincount(c)
    means = np.divide(np.bincount(c, v), n, out=np.zeros(len(n)), where=n > 0)
    return float(np.var(means[c]) / np.var(v))


def mean_map(values: Floats) -> Floats:
    """Return the mean over time of what has a value, (y, x); NaN where nothing ever has."""
    counts = np.isfinite(values).sum(axis=0)
    sums = np.where(np.isfinite(values), values, 0.0).sum(axis=0)
    empty = np.full(counts.shape, np.nan)
    return np.asarray(np.divide(sums, counts, out=empty, where=counts > 0))


def age_edges(age: Floats) -> Edges:
    """Return the edges between pixels that come from images of other days, (time, y, x)."""
    return Edges(
        np.abs(np.diff(age, axis=2)) > ANOTHER_IMAGE, np.abs(np.diff(age, axis=1)) > ANOTHER_IMAGE
    )


def footprint_edges(parts: NDArray[Any]) -> Edges:
    """Return the edges between pixels that other images cover; (y, x), a number per cover."""
    return Edges((np.diff(parts, axis=1) != 0)[None], (np.diff(parts, axis=0) != 0)[None])


def seams(values: Floats, edges: Mapping[str, Edges], *, seed: int = 0) -> pd.DataFrame:
    """Return how much larger steps are across edges than beside them.

    Each step across an edge, |difference of two neighbours|, is set against the steps `PERIOD`
    pixels before and after it, in the same row or column and over no edge: steps of coarse
    pixels are as likely there. What lies beneath is not, where edges are few; so the same is
    done for the edges moved elsewhere. With `MANY_DATES` or more each pixel's own mean is taken
    out before, and with it the edges of fields (and a seam that were the same at all dates).

    Parameters
    ----------
    values
        (time, y, x); of long series evenly spaced dates are used.
    edges
        By name.
    seed
        Of the moves.

    Returns
    -------
    pandas.DataFrame
        A row per kind of edge: ``N`` steps, ``dates``, ``ratio`` of the mean steps, near 1
        without a seam, and ``moved_low`` and ``moved_high``, between which it lies for 95 % of
        the moved edges.
    """
    every = -(-values.size // MOST_VALUES)
    some = values[::every]
    if len(some) >= MANY_DATES:
        some = some - mean_map(some)
    rows = {}
    for name, edge in edges.items():
        used = Edges(*(e[::every] if len(e) > 1 else e for e in (edge.right, edge.down)))
        sums = _steps(some, used.right, 2) + _steps(some, used.down, 1)
        moved = [_ratio(_moved(some, used, move)) for move in _moves(values.shape[1:], seed)]
        low, high = percentile_interval(moved) if moved else (float("nan"), float("nan"))
        dates = int((sums[:, 2] > 0).sum())
        rows[name] = [float(sums[:, 2].sum()), dates, _ratio(sums), float(low), float(high)]
    columns = ["N", "dates", "ratio", "moved_low", "moved_high"]
    return pd.DataFrame.from_dict(rows, orient="index", columns=columns).rename_axis("seam")


def _moves(shape: tuple[int, ...], seed: int) -> list[tuple[int, int]]:
    """Return rows and columns to move by, in whole periods; both, as an edge may be a line."""
    rows, columns = (size // PERIOD for size in shape)
    every = [(PERIOD * i, PERIOD * j) for i in range(1, rows) for j in range(1, columns)]
    order = np.random.default_rng(seed).permutation(len(every))[:MOVES]
    return [every[number] for number in order]


def _moved(values: Floats, edges: Edges, move: tuple[int, int]) -> Floats:
    right, down = (np.roll(edge, move, (1, 2)) for edge in (edges.right, edges.down))
    return _steps(values, right, 2, edges.right) + _steps(values, down, 1, edges.down)


def _steps(values: Floats, edge: Mask, axis: int, avoided: Mask | None = None) -> Floats:
    """Return sums by date of steps across edges and of those beside, and their number."""
    step = np.moveaxis(np.abs(np.diff(values, axis=axis)), axis, -1)
    shape = np.diff(values, axis=axis).shape
    seam = np.moveaxis(np.broadcast_to(edge, shape), axis, -1)
    known = np.isfinite(step)
    if avoided is not None:  # where an edge was moved from is no place without one
        known &= ~np.moveaxis(np.broadcast_to(avoided, shape), axis, -1)
    parts = slice(PERIOD, -PERIOD), slice(None, -2 * PERIOD), slice(2 * PERIOD, None)
    across, before, after = (step[..., part] for part in parts)
    used = seam[..., parts[0]] & ~seam[..., parts[1]] & ~seam[..., parts[2]]
    for part in parts:
        used &= known[..., part]
    sums = (np.where(used, found, 0.0) for found in (across, (before + after) / 2, 1.0))
    return np.stack([total.sum(axis=(1, 2)) for total in sums], axis=1)


def _ratio(sums: Floats) -> float:
    across, beside, _ = sums.sum(axis=0)
    return float(across / beside) if beside > 0 else float("nan")
