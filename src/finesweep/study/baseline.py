"""Finds the trial that a search is measured against: the first point that a person had it try."""

from collections.abc import Sequence

from optuna.study import Study
from optuna.trial import FrozenTrial, TrialState

from finesweep.study.backend import skim
from finesweep.study.ordinal import ordinal_of
from finesweep.study.records import StudyRecord, TrialRecord
from finesweep.study.selection import searching

GRID = "grid"  # enqueues all points, so that its first one is nobody's choice


def baseline_of(study: Study) -> FrozenTrial | None:
    """Returns the complete trial of the first enqueued point; None if there is none, or for a grid.

    A point of an earlier study, or one that was queued while the study ran, is no baseline.
    """
    trials = skim(study)
    if not _has_baseline(study, trials):
        return None
    tries = (trial for trial in searching(trials) if ordinal_of(trial, trials) == 0)
    return next((trial for trial in tries if trial.state is TrialState.COMPLETE), None)


def is_baseline(study: Study, number: int) -> bool:
    """Tells whether a trial trains the point that the search is measured against."""
    trials = skim(study)
    return ordinal_of(trials[number], trials) == 0 and _has_baseline(study, trials)


def _has_baseline(study: Study, trials: Sequence[FrozenTrial]) -> bool:
    first_command = next(iter(StudyRecord(study).history or []), {})
    if not trials or "fixed_params" not in trials[0].system_attrs or first_command.get("sampler") == GRID:
        return False
    first = TrialRecord(trials[0])
    return first.retry_of is None and first.origin is None and first.tried is None
