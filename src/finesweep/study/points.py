"""Lists the points that a study begins with: those of the sweep's file, and a whole grid."""

from typing import Any

from optuna.study import Study
from optuna.trial import TrialState

from finesweep.study.records import StudyRecord
from finesweep.study.request import SweepRequest
from finesweep.study.samplers import sampler_entry
from finesweep.study.space import check_point, grid, named, stored_point

EPOCHS = "trainer.num_train_epochs"


def first_points(sweep: SweepRequest) -> list[dict[str, Any]]:
    """Lists the points to enqueue, by Optuna's names.

    Side effect: lowers n_trials to their number for a sampler that enqueues all its points.
    Raises: ConfigError for a point outside of the space.
    """
    config, given = sweep.config.study, map(stored_point, sweep.config.enqueue)
    points = [check_point(point, sweep.space) for point in given]
    if sampler_entry(config.sampler).enqueues_all_points:
        planned = list(grid(sweep.space))
        if config.n_trials >= len(points) + len(planned):
            planned = _longest_first(planned)
        points += planned
        config.n_trials = min(config.n_trials, len(points))
    elif config.n_trials <= len(points):  # no other is trained; the first one is the baseline
        first, *others = points[: config.n_trials]
        points = [first, *_longest_first(others), *points[config.n_trials :]]
    return [named(point, sweep.space) for point in points]


def note_first_points(study: Study) -> None:
    """Notes how many points are queued before the first suggestion, unless a trial has begun."""
    trials, record = study.get_trials(deepcopy=False), StudyRecord(study)
    if record.first_points is None and all(trial.state is TrialState.WAITING for trial in trials):
        record.first_points = len(trials)


def _longest_first(points: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Orders the points of a whole study: a long one at the end would leave the other workers idle."""
    return sorted(points, key=lambda point: -float(point.get(EPOCHS, 0)))
