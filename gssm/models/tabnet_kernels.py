"""Compiled inner loops of TabNet: what no matrix product does; imports numba."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from gssm.models.compiled import compiled

Float32Array = NDArray[np.float32]


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


def _attend(
    logits: Float32Array,
    prior: Float32Array,
    inputs: Float32Array,
    gamma: np.float32,
    masked: Float32Array,
) -> None:
    """Sparsemax of the logits, its product with the inputs, and the next prior.

    The threshold of sparsemax (Martins and Astudillo 2016, arXiv:1602.02068) is the root of
    a piecewise linear, convex and falling function. Newton's method from below reaches it in
    a few steps, without the sort of the usual algorithm.
    """
    count = logits.shape[1]
    one = np.float32(1)
    for row in range(logits.shape[0]):
        highest = np.float32(-np.inf)
        for column in range(count):
            value = logits[row, column] * prior[row, column]
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
