"""Recovery: no trial and no run stays RUNNING when its process is gone; a retry gets the checkpoints."""

import shutil
from pathlib import Path

from optuna.trial import Trial

from finesweep import tracking
from finesweep.config.run import TrackingConfig
from finesweep.hooks import RunState
from finesweep.study.queue import TrialQueue
from finesweep.study.records import TrialRecord
from finesweep.study.recovering import GONE, end_lost_trials


def recover(queue: TrialQueue, config: TrackingConfig, reason: str | None = GONE) -> int:
    """Ends the trials of dead workers in both stores, and has them tried again. Returns how many.

    reason: None if they were interrupted on purpose.
    """

    def close_run(number: int, state: RunState) -> None:
        tracking.close_trial_runs(config, queue.name, number, state)

    return end_lost_trials(queue, reason, close_run)


def adopt_checkpoints(queue: TrialQueue, trial: Trial, folder: Path) -> None:
    """Moves the checkpoints that a trial goes on from, of the last try that has some, into its folder."""
    number = TrialRecord(trial).goes_on_from
    while number is not None and not (folder / "training").exists():
        earlier = TrialRecord(queue.trial(number))
        if earlier.folder and (made := queue.places.find(earlier.folder) / "training").is_dir():
            folder.mkdir(parents=True, exist_ok=True)
            if queue.places.is_foreign(made):
                shutil.copytree(made, folder / "training")
            else:
                made.rename(folder / "training")
        number = earlier.goes_on_from
