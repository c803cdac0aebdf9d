"""Recovery: no trial and no run stays RUNNING when its process is gone."""

from finesweep import tracking
from finesweep.config.run import TrackingConfig
from finesweep.hooks import RunState
from finesweep.study.queue import GONE, TrialQueue


def recover(queue: TrialQueue, config: TrackingConfig, reason: str | None = GONE) -> int:
    """Ends the trials of dead workers in both stores, and has them tried again. Returns how many.

    reason: None if they were interrupted on purpose.
    """

    def close_run(number: int, state: RunState) -> None:
        tracking.close_trial_runs(config, queue.name, number, state)

    return queue.recover(reason, close_run)
