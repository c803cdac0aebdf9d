"""Computes what a search of n trials would have given: the expected best of n draws from the trials' values.

Source: Dodge et al. (2019), Show Your Work: Improved Reporting of Experimental Results.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

RESAMPLES = 1000  # of the bootstrap
INTERVAL = 95  # per cent
MAX_POINTS = 40  # values of n; the curve is smooth
Floats = NDArray[np.float64]


@dataclass(frozen=True)
class BestOfN:
    """The expected best value of n trials, with a bootstrap interval. All arrays: [points]."""

    n: NDArray[np.int64]
    mean: Floats
    low: Floats
    high: Floats


def best_of_n(values: Sequence[float], maximize: bool) -> BestOfN:
    """Computes the curve from 1 to all trials; the same values give the same interval.

    values: finite, at least one. The draws are with replacement, as in the source.
    """
    sign = 1.0 if maximize else -1.0
    signed = sign * np.asarray(values, dtype=np.float64)
    count = len(signed)
    n = np.unique(np.geomspace(1, count, min(count, MAX_POINTS)).round().astype(np.int64))
    draws = np.random.default_rng(0).integers(0, count, (RESAMPLES, count))
    resampled = _expected_maximum(np.sort(signed[draws], axis=1), n)  # [resamples, points]
    tail = (100 - INTERVAL) / 2
    bounds = sign * np.percentile(resampled, [tail, 100 - tail], axis=0)  # [2, points]
    return BestOfN(n, expected_best(values, maximize, n), bounds.min(axis=0), bounds.max(axis=0))


def expected_best(values: Sequence[float], maximize: bool, n: Sequence[int] | NDArray[np.int64]) -> Floats:
    """Returns the expected best value of so many trials each. values: finite, at least one."""
    sign = 1.0 if maximize else -1.0
    signed = np.sort(sign * np.asarray(values, dtype=np.float64))
    return np.asarray(sign * _expected_maximum(signed[None], np.asarray(n, np.int64))[0])


def _expected_maximum(ordered: Floats, n: NDArray[np.int64]) -> Floats:
    """Returns E[max of n draws] of each row. ordered: [rows, values], ascending. Returns [rows, len(n)]."""
    count = ordered.shape[1]
    below = np.arange(count + 1) / count  # the empirical distribution, also left of the least value
    chances = np.diff(below[None, :] ** n[:, None], axis=1)  # [points, values]: that it is the greatest
    return np.asarray(ordered @ chances.T)
