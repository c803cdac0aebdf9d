"""Computes what a search of n trials would have given: the best of n of them, without replacement.

Dodge et al. (2019), Show Your Work, draw with replacement, which is always too low for so few values, and
their bootstrap interval seldom holds the expected best of a new search where n is not small beside the number
of trials: Tang et al. (2020), Showing Your Work Doesn't Always Work. So the mean is theirs, without
replacement, and the range is that of the draws: it says nothing of other trials.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

RANGE = 95  # per cent of the draws
MAX_POINTS = 40  # values of n; the curve is smooth
Floats = NDArray[np.float64]
Integers = NDArray[np.int64]


@dataclass(frozen=True)
class BestOfN:
    """The expected best value of n trials, and the range of `RANGE` per cent of all draws. All: [points]."""

    n: Integers
    mean: Floats
    low: Floats
    high: Floats


def best_of_n(values: Sequence[float], maximize: bool) -> BestOfN:
    """Computes the curve from 1 to all trials. values: finite, at least one."""
    ordered, count = _worst_first(values, maximize), len(values)
    n = np.unique(np.geomspace(1, count, min(count, MAX_POINTS)).round().astype(np.int64))
    tail = (100 - RANGE) / 200
    reached = np.cumsum(_chances(count, n), axis=1)  # [points, values]: that the best is this one, or worse
    low, high = (ordered[_first_above(reached, share)] for share in (tail, 1 - tail))
    return BestOfN(n, expected_best(values, maximize, n), np.minimum(low, high), np.maximum(low, high))


def expected_best(values: Sequence[float], maximize: bool, n: Sequence[int] | Integers) -> Floats:
    """Returns the expected best value of so many trials each. values: finite; n: 1 to all of them."""
    return np.asarray(_chances(len(values), np.asarray(n, np.int64)) @ _worst_first(values, maximize))


def _worst_first(values: Sequence[float], maximize: bool) -> Floats:
    ordered = np.sort(np.asarray(values, dtype=np.float64))
    return ordered if maximize else ordered[::-1]


def _chances(count: int, n: Integers) -> Floats:
    """Returns the chance of each value, the worst first, to be the best of n draws: [points, values].

    n draws are among the i worst of N with the chance C(i, n) / C(N, n), 0 for i < n.
    """
    factorial = np.concatenate([[0.0], np.cumsum(np.log(np.arange(1, count + 1)))])  # its logarithm
    i, n = np.arange(count + 1)[None, :], n[:, None]
    logarithm = factorial[i] - factorial[np.maximum(i - n, 0)] - factorial[count] + factorial[count - n]
    return np.diff(np.where(i >= n, np.exp(logarithm), 0.0), axis=1)


def _first_above(reached: Floats, share: float) -> Integers:
    """Returns for each row the first place whose chance reaches a share, up to rounding."""
    return np.asarray(np.argmax(reached >= share - 1e-9, axis=1))
