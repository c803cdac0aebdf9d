"""Decides whether more trials can still matter: the gain that they promise, against the best score's noise.

The decision is a function of the trials that have finished, so all workers on all hosts come to the same.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, TrialState

from finesweep.study.records import StudyRecord, TrialRecord
from finesweep.study.selection import count_finished

MIN_TRIALS = 10  # finished ones; the best of fewer say too little of better ones
TAIL = 4  # the best quarter of the trials, and at least LEAST, tell how far the best lie apart
LEAST = 2
DISTINCT = 5  # values of complete trials; of fewer, how far the best lie apart is not known


@dataclass(frozen=True)
class Goal:
    """Which values are better, and which is the best that there can be."""

    maximizes: bool = True
    limit: float | None = None  # None: there is none, or it is not known


UPWARD = Goal()


def goal_of(record: StudyRecord, directions: Sequence[StudyDirection]) -> Goal:
    """Returns the goal of the first objective.

    All metrics but a person's own end at 1 or, if less is better, at 0.
    """
    maximizes = directions[0] is StudyDirection.MAXIMIZE
    metric = record.read(StudyRecord.metric.key)  # of a person's own: module.function
    is_known = metric is not None and "." not in metric
    return Goal(maximizes, float(maximizes) if is_known else None)


def expected_gain(values: Sequence[float], tried: int, left: int, goal: Goal) -> float:
    """Estimates by how much the best of `left` more trials exceeds the best value so far, on average.

    values: of complete trials, at least three. tried: all finished trials, pruned ones as well.
    As if trials were independent draws whose best values fall off exponentially, slower than the scores of a
    search do: the estimate is rather too high than too low, and a sampler that learns has better draws.
    Source: Weissman (1978), Estimation of Parameters and Large Quantiles Based on the k Largest Observations.
    """
    sign = 1.0 if goal.maximizes else -1.0
    ranked = sorted((sign * value for value in values), reverse=True)
    gain = _apart(ranked, tried) * math.log((tried + left) / tried)
    return gain if goal.limit is None else min(gain, abs(goal.limit - sign * ranked[0]))


def _apart(ranked: Sequence[float], tried: int) -> float:
    """Computes how far the best values lie above the next one, on average. ranked: the greatest first."""
    count = min(max(LEAST, math.ceil(tried / TAIL)), len(ranked) - 1)
    return math.fsum(value - ranked[count] for value in ranked[:count]) / count


def enough(search: Sequence[FrozenTrial], left: int, goal: Goal) -> str | None:
    """Says why `left` more trials cannot matter; None if they can, or if that is not known.

    search: the trials without those that confirm others. The noise is that of the best trial, over rows.
    Best values that are all equal, those of models at chance for example, say nothing about better ones,
    unless no value is better.
    """
    tried, sign = count_finished(search), 1.0 if goal.maximizes else -1.0
    complete = [trial for trial in search if _is_trained(trial)]
    values = [trial.values[0] for trial in complete]
    if left and goal.limit in values:
        return f"no {'greater' if goal.maximizes else 'smaller'} score than {goal.limit:g} exists"
    if tried < MIN_TRIALS or len(set(values)) < DISTINCT or left < 1:
        return None
    if _apart(sorted((sign * value for value in values), reverse=True), tried) == 0:
        return None
    noise = TrialRecord(max(complete, key=lambda trial: sign * trial.values[0])).noise
    gain = expected_gain(values, tried, left, goal)
    if noise is None or gain >= noise.std:
        return None
    gains = f"the expected gain of {left} more, {gain:.2g}"
    return f"{gains}, is below the noise of {noise.rows} rows, {noise.std:.2g}"


def _is_trained(trial: FrozenTrial) -> bool:
    return trial.state is TrialState.COMPLETE and TrialRecord(trial).reused_of is None
