"""Ordinals: which suggestion of the study a trial is, from 0.

A retry has the ordinal of its first try, and what continues a paused trial that of the paused one.
"""

from collections.abc import Sequence

from optuna.trial import FrozenTrial

from finesweep.study.records import TrialRecord


def next_ordinal(trials: Sequence[FrozenTrial]) -> int:
    """Returns the ordinal of the next suggestion. trials: all trials of the study."""
    keys = {TrialRecord.retry_of.key, TrialRecord.confirms.key, TrialRecord.continues.key}
    return sum(keys.isdisjoint(trial.user_attrs) for trial in trials)


def ordinal_of(trial: FrozenTrial, trials: Sequence[FrozenTrial]) -> int:
    """Returns a trial's ordinal, also if it is not written yet. trials: all trials of the study."""
    known = TrialRecord(trial).ordinal
    return next_ordinal(trials[: trial.number]) if known is None else known
