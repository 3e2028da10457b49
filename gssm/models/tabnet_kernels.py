"""Compiled inner loops of TabNet: what no matrix product does; imports numba."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from gssm.models.compiled import compiled

Float32Array = NDArray[np.float32]

RESIDUAL = np.sqrt(0.5)

# exp(x) = 2^n exp(x - n ln 2): the argument at which a float32 ends, what rounds to a whole
# number, ln 2 in two parts, and the coefficients of Cephes' expf.
LOWEST, HIGHEST = np.float32(-87.3), np.float32(88.0)
LOG2_E, ROUND = np.float32(1.4426950408889634), np.float32(3 << 22)
LN2_HIGH, LN2_LOW = np.float32(0.693359375), np.float32(-2.12194440e-4)
EXP = tuple(
    np.float32(c)
    for c in (
        *(1.9875691500e-4, 1.3981999507e-3, 8.3334519073e-3),
        *(4.1665795894e-2, 1.6666665459e-1, 5.0000001201e-1),
    )
)


def _standardize(
    features: Float32Array,
    median: Float32Array,
    mean: Float32Array,
    scale: Float32Array,
    clip: np.float32,
    indicators: NDArray[np.int64],
    gain: Float32Array,
    offset: Float32Array,
    inputs: Float32Array,
) -> None:
    """Fill, standardise, clip, add indicators, and normalise as the first layer does."""
    count = features.shape[1]
    for row in range(features.shape[0]):
        for column in range(count):
            value = features[row, column]
            if np.isnan(value):
                value = median[column]
            value = min(max((value - mean[column]) / scale[column], -clip), clip)
            inputs[row, column] = value * gain[column] + offset[column]
        for index in range(indicators.size):
            column = count + index
            missing = np.isnan(features[row, indicators[index]])
            value = gain[column] if missing else np.float32(0)
            inputs[row, column] = value + offset[column]


def _gate(
    gates: Float32Array,
    bias: Float32Array,
    values: Float32Array,
    start: int,
    output: Float32Array,
) -> None:
    """Write the gated half of the products: ``glu(gates + bias)``, a row at a time.

    From column `start` on, `values` are added and the sum is scaled; not where `start`
    is negative. The exponential is that of Cephes (Moshier 1992), which leaves float32 one
    unit in the last place off at most, and which a compiler can take for many columns at once.
    """
    width = output.shape[1]
    one, half = np.float32(1), np.float32(RESIDUAL)
    for row in range(output.shape[0]):
        for column in range(width):
            x = -(gates[row, width + column] + bias[width + column])
            x = min(max(x, LOWEST), HIGHEST)
            n = (x * LOG2_E + ROUND) - ROUND
            x = (x - n * LN2_HIGH) - n * LN2_LOW
            y = EXP[0] * x + EXP[1]
            y = y * x + EXP[2]
            y = y * x + EXP[3]
            y = y * x + EXP[4]
            y = y * x + EXP[5]
            y = (y * x) * x + (x + one)
            power = np.int32((np.int32(n) + np.int32(127)) << np.int32(23)).view(np.float32)
            linear = gates[row, column] + bias[column]
            output[row, column] = linear / (one + y * power)
        if start >= 0:
            for column in range(width):
                output[row, column] = (output[row, column] + values[row, start + column]) * half


def _decide(output: Float32Array, final: Float32Array, total: Float32Array) -> None:
    """Add the part of a step's output that decides to the sums (n,)."""
    for row in range(output.shape[0]):
        value = np.float32(0)
        for column in range(final.size):
            value += max(output[row, column], np.float32(0)) * final[column]
        total[row] += value


def _attend(
    logits: Float32Array,
    bias: Float32Array,
    prior: Float32Array,
    inputs: Float32Array,
    gamma: np.float32,
    masked: Float32Array,
) -> None:
    """Sparsemax of logits and bias, its product with the inputs, and the next prior.

    The threshold of sparsemax (Martins and Astudillo 2016, arXiv:1602.02068) is the root of
    a piecewise linear, convex and falling function. Newton's method from below reaches it in
    a few steps, without the sort of the usual algorithm.
    """
    count = logits.shape[1]
    one = np.float32(1)
    for row in range(logits.shape[0]):
        highest = np.float32(-np.inf)
        for column in range(count):
            value = (logits[row, column] + bias[column]) * prior[row, column]
            logits[row, column] = value
            highest = max(highest, value)
        threshold = highest - one  # the root lies above: one alone would reach it there
        while True:
            total, above = np.float32(0), np.float32(0)
            for column in range(count):
                value = logits[row, column]
                inside = value > threshold
                total += value - highest if inside else np.float32(0)
                above += one if inside else np.float32(0)
            following = highest + (total - one) / above
            if following <= threshold:
                break
            threshold = following
        for column in range(count):
            mask = max(logits[row, column] - threshold, np.float32(0))
            masked[row, column] = mask * inputs[row, column]
            prior[row, column] *= gamma - mask


# Weights and clipped inputs are finite, so that no NaN has to be heeded; the order of a sum
# is free, but always the same for a row.
_SUMS = {"nnan", "nsz", "reassoc"}

standardize: Any = compiled(_standardize)
attend: Any = compiled(_attend, _SUMS)
gate: Any = compiled(_gate)
decide: Any = compiled(_decide, _SUMS)
