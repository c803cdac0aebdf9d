"""Selects and counts the trials of a study by what they are for and what became of them."""

from collections.abc import Sequence

from optuna.trial import FrozenTrial, TrialState

from finesweep.study.cache import OUTSIDE
from finesweep.study.records import TrialRecord

FINISHED = (TrialState.COMPLETE, TrialState.PRUNED)


def searching(trials: Sequence[FrozenTrial]) -> list[FrozenTrial]:
    """Leaves out the trials that only confirm another one, and those outside of an edited space."""
    key = TrialRecord.confirms.key  # not through a record: this is called under the lock, for all trials
    return [trial for trial in current(trials) if trial.user_attrs.get(key) is None]


def current(trials: Sequence[FrozenTrial]) -> list[FrozenTrial]:
    """Leaves out the trials outside of a space that was edited, which are history."""
    return [trial for trial in trials if OUTSIDE not in trial.user_attrs]


def failures(trials: Sequence[FrozenTrial]) -> list[FrozenTrial]:
    """Lists the trials that failed for good; a trial that was enqueued again is none of them.

    Nor is one outside of an edited space: what made it fail may be what the edit took out.
    """
    failed = (trial for trial in current(trials) if trial.state is TrialState.FAIL)
    return [trial for trial in failed if TrialRecord(trial).error is not None]


def is_taken_off(trial: FrozenTrial) -> bool:
    """Tells whether a person has taken a trial off the queue: it is FAIL in Optuna, but nothing failed."""
    record = TrialRecord(trial)
    return trial.state is TrialState.FAIL and record.error is None and record.stopped is not None


def count_finished(trials: Sequence[FrozenTrial]) -> int:
    """Counts the trials that have ended with a value; a paused one that another continues is not one more."""
    numbers = continued(trials)
    return sum(trial.state in FINISHED and trial.number not in numbers for trial in trials)


def continued(trials: Sequence[FrozenTrial]) -> set[int]:
    """Returns the numbers of the paused trials from which another trial goes on, or went on."""
    key = TrialRecord.continues.key  # not through a record, as above
    return {number for trial in trials if (number := trial.user_attrs.get(key)) is not None}


def is_running(trials: Sequence[FrozenTrial]) -> bool:
    return any(trial.state is TrialState.RUNNING for trial in trials)
