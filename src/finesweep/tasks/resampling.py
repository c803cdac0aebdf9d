"""Says how sure a metric's value is that was measured on some rows, and whether two models differ on them.

All of it is about rows alone: other rows of the same kind would give other values. That another seed would,
too, only trainings with other seeds tell.
"""

import math
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from finesweep.hooks import Noise
from finesweep.tasks.evaluated import take
from finesweep.tasks.metrics import Judged, Labels, Metric

Z = 1.959964  # 95% of a normal distribution lie within so many standard deviations
TAIL = 2.5  # per cent on each side of the interval
RESAMPLES = 500
FEW_RESAMPLES = 100  # for a standard error, which is then known within 7%
PERMUTATIONS = 500
ENOUGH = 50  # permutations with a difference as great; then p is known well enough
ROWS = ("reference", "predicted", "scores")  # the fields of `Judged` with an item for each row
MOST = 0.9  # the least share of draws that must have a score; else only rows of some kinds would count
FEW_ROWS = 5  # a label that is on fewer of them is missing from many draws, which score it 0
FEW_LABELS = 0.1  # the greatest share of such labels in a metric that scores labels one by one
SAME = 1e-12  # of a metric's values; differences below it are those of rounding
SLOW_S = 0.1  # for one computation of the metric: intervals and tests would take minutes
TRIES = 3  # at most, to time a metric: one that a busy machine held up is no slow one
Floats = NDArray[np.float64]


class Interval(NamedTuple):
    """The 95% interval of a metric over other rows of the same kind."""

    low: float
    high: float


def interval(metric: Metric, judged: Judged) -> Interval | None:
    """Computes Wilson's interval for a share of right rows, else the percentile bootstrap's over rows.

    The same rows give the same interval. None if that cannot be told: `why_none` says why.
    Source: Wilson (1927), Probable Inference; Efron and Tibshirani (1993), An Introduction to the Bootstrap.
    """
    if metric.right is not None:
        return _wilson(metric.right(judged))
    values = _resampled(metric, judged, RESAMPLES)
    return None if isinstance(values, str) else _middle(values)


def why_none(metric: Metric, judged: Judged) -> str:
    """Says why `interval` returns None for these rows."""
    return f"{_resampled(metric, judged, RESAMPLES)}: there is no interval"


def noise(metric: Metric, judged: Judged) -> Noise | None:
    """Computes the standard error over rows, of fewer resamples; None where they tell nothing."""
    rows = len(judged.reference)
    if metric.right is not None:
        low, high = _wilson(metric.right(judged))
        return Noise((high - low) / (2 * Z), rows)
    values = _resampled(metric, judged, FEW_RESAMPLES)
    return None if isinstance(values, str) else Noise(float(np.std(values)), rows)


def too_slow(metric: Metric, judged: Judged) -> str | None:
    """Says that the metric takes too long for these rows to be resampled; None if it does not."""
    taken = seconds(metric, judged, SLOW_S)
    why = f"the metric takes {taken:.1f} s for its rows, and would be computed hundreds of times"
    return why if taken > SLOW_S else None


def seconds(metric: Metric, judged: Judged, limit: float) -> float:
    """Measures how long one draw's computation takes, behind a first one, which may import a library.

    limit: in seconds; what takes less is not measured again. 0 for a share of right rows, which needs none.
    """
    if metric.right is not None:
        return 0.0
    compute, rows, taken = _of_draws(metric, judged), np.arange(len(judged.reference)), math.inf
    compute(rows)
    for _ in range(TRIES):
        began = time.perf_counter()
        compute(rows)
        taken = min(taken, time.perf_counter() - began)
        if not limit < taken < 10 * limit:
            break
    return taken


def p_value(metric: Metric, first: Judged, second: Judged) -> float | None:
    """Tests whether two models differ on the same rows; two-sided. None if too few exchanges have a score.

    For a share of right rows, McNemar's exact test; else a permutation test, which exchanges the two models'
    predictions on rows drawn at random, and ends early where many exchanges make as great a difference.
    Source: McNemar (1947); Besag and Clifford (1991), Sequential Monte Carlo p-values.
    """
    if metric.right is not None:
        from scipy import stats

        one, other = metric.right(first), metric.right(second)
        wins, losses = int((one & ~other).sum()), int((other & ~one).sum())
        return float(stats.binomtest(wins, wins + losses).pvalue) if wins + losses else 1.0
    values = metric.compute(first), metric.compute(second)
    if not all(map(math.isfinite, values)):
        return None
    if _is_same(np.array(values)):
        return 1.0
    observed = abs(values[0] - values[1]) - SAME * max(map(abs, values))
    return _share_reached(observed, _exchanged(metric, first, second))


def _share_reached(observed: float, differences: Iterator[float]) -> float | None:
    """Estimates the chance of a difference as great as `observed`; None if too few are numbers."""
    drawn = finite = reached = 0
    for difference in differences:
        drawn += 1
        finite += math.isfinite(difference)
        reached += difference >= observed  # no NaN is
        if reached == ENOUGH:
            break
    if finite < MOST * drawn:
        return None
    return reached / finite if reached == ENOUGH else (reached + 1) / (finite + 1)


def _wilson(right: NDArray[np.bool_]) -> Interval:
    count, share = len(right), float(right.mean())
    centre = (share + Z**2 / (2 * count)) / (1 + Z**2 / count)
    half = Z / (1 + Z**2 / count) * math.sqrt(share * (1 - share) / count + Z**2 / (4 * count**2))
    return Interval(max(0.0, centre - half), min(1.0, centre + half))


def _middle(values: Floats) -> Interval:
    low, high = np.percentile(values, [TAIL, 100 - TAIL])
    return Interval(float(low), float(high))


def _resampled(metric: Metric, judged: Judged, count: int) -> Floats | str:
    """Returns the metric of `count` draws of as many rows, with replacement, where it is a number.

    Says why not, where these values tell nothing of other rows.
    """
    if metric.by_label and (rare := _rare_labels(metric, judged)):
        return rare
    rows, generator = len(judged.reference), np.random.default_rng(0)
    drawn = replace(judged, labels=_labels(judged))
    draws, compute = (generator.integers(0, rows, rows) for _ in range(count)), _of_draws(metric, drawn)
    values = np.fromiter(map(compute, draws), np.float64)
    finite = values[np.isfinite(values)]
    if len(finite) < MOST * count:
        return f"the metric has no score of more than {1 - MOST:.0%} of the resamples"
    if _is_same(finite):
        return "all resamples of the rows score the same"
    low, high = _middle(finite)
    if _is_same(np.array([low, high])):
        return "nearly all resamples of the rows score the same"
    slack = SAME * max(abs(low), abs(high))
    if not low - slack <= _value(metric, judged) <= high + slack:
        return "nearly all resamples of the rows score less, or more, than the rows themselves"
    return finite


def _rare_labels(metric: Metric, judged: Judged) -> str | None:
    """Says that too many of the labels that a metric scores are on too few rows; None if not."""
    counts = _rows_of_labels(judged)
    if metric.is_binary and judged.positive is not None:
        counts = np.array([np.count_nonzero(judged.reference == judged.positive)])
    few = np.count_nonzero(counts < FEW_ROWS)
    if few <= FEW_LABELS * len(counts):
        return None
    return f"{few} of {len(counts)} scored labels {'is' if few == 1 else 'are'} on fewer than {FEW_ROWS} rows"


def _rows_of_labels(judged: Judged) -> NDArray[np.int64]:
    """Counts the rows of each label that is on any, for others score 0 in every draw: [labels]."""
    if isinstance(judged.reference, list):  # a list of tags for each row
        tags = [tag for row in judged.reference for tag in set(row)]
        return np.unique(tags, return_counts=True)[1]
    true = np.asarray(judged.reference)
    if true.ndim == 1:
        return np.unique(true, return_counts=True)[1]
    counts = true.sum(axis=0).astype(np.int64)
    return np.asarray(counts[counts > 0])


def _labels(judged: Judged) -> Labels | None:
    """Lists the labels of the rows; None if a row has not one label, or not one for each word."""
    both = [
        np.array([tag for row in part for tag in row], np.int64)
        if isinstance(part, list)
        else np.asarray(part)
        for part in (judged.reference, judged.predicted)
    ]
    if any(part.ndim != 1 or not np.issubdtype(part.dtype, np.integer) for part in both):
        return None
    true, said = map(np.unique, both)
    return Labels(true, np.union1d(true, said))


def _is_same(values: Floats) -> bool:
    """Whether values differ by rounding alone, in whatever unit they are."""
    return bool(np.ptp(values) <= SAME * np.abs(values).max())


def _of_draws(metric: Metric, judged: Judged) -> Callable[[NDArray[np.int64]], float]:
    """Returns a function that computes the metric of the rows that are drawn."""
    if metric.counted is None:
        return lambda rows: _value(metric, _chosen(judged, rows))
    counts, score = metric.counted.counts(judged), metric.counted.score
    return lambda rows: score(counts[rows].sum(axis=0))


def _value(metric: Metric, judged: Judged) -> float:
    """Computes the metric; NaN where a person's own function refuses such rows."""
    try:
        return metric.compute(judged)
    except Exception:
        return math.nan


def _chosen(judged: Judged, rows: NDArray[np.int64]) -> Judged:
    return replace(judged, **{name: take(getattr(judged, name), rows) for name in ROWS})


def _exchanged(metric: Metric, first: Judged, second: Judged) -> Iterator[float]:
    """Yields the difference of two models that exchange their predictions on about half of the rows."""
    rows, generator = len(first.reference), np.random.default_rng(0)
    compute = _of_draws(metric, _stacked(first, second))
    for _ in range(PERMUTATIONS):
        one = np.arange(rows) + rows * generator.integers(0, 2, rows)
        other = (one + rows) % (2 * rows)
        yield abs(compute(one) - compute(other))


def _stacked(first: Judged, second: Judged) -> Judged:
    """Puts the rows of the second model after those of the first."""
    pairs = {name: (getattr(first, name), getattr(second, name)) for name in ROWS}
    joined: dict[str, Any] = {
        name: np.concatenate(pair) if isinstance(pair[0], np.ndarray) else [*pair[0], *pair[1]]
        for name, pair in pairs.items()
    }
    return replace(first, **joined)
