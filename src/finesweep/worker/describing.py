"""Describes trials and studies on their runs in MLflow, for people: no result depends on it."""

import logging
import time
from collections.abc import Callable
from functools import partial

from finesweep.config.run import TrackingConfig
from finesweep.monitor.description import of_study
from finesweep.monitor.markdown import of_trial
from finesweep.study.queue import TrialQueue
from finesweep.study.records import TrialRecord
from finesweep.study.remaining import is_over
from finesweep.tracking import TrackedRun, open_store

log = logging.getLogger(__name__)
DESCRIBE_EVERY_S = 10.0  # the study, while it runs; short trials would write little else


def describe_run(run: Callable[[], TrackedRun], text: Callable[[], str]) -> None:
    """Describes a run; whatever keeps it from that is only a line in the log."""
    try:
        run().describe(text())
    except Exception as error:
        log.warning("a run in MLflow is not described: %s: %s", type(error).__name__, error)


def describe_paused(queue: TrialQueue, parent: TrackedRun) -> None:
    """Describes each paused trial once more when the search is over: what became of it."""
    for trial in queue.trials():
        record = TrialRecord(trial)
        if record.is_paused and record.run_id:
            run = partial(TrackedRun, parent.client, record.run_id)
            describe_run(run, partial(of_trial, queue.study, trial))


class Describer:
    """Describes each trial that a worker has ended and, from time to time, its study."""

    def __init__(self, tracking: TrackingConfig, parent_run_id: str) -> None:
        self.tracking, self.parent_run_id = tracking, parent_run_id
        self._described_at = -DESCRIBE_EVERY_S  # when the study was, by the clock of this process

    def after(self, queue: TrialQueue, number: int) -> None:
        """Is called after each trial. Raises: StoreError if the study cannot be read."""
        trial = queue.trial(number)
        if run_id := TrialRecord(trial).run_id:
            describe_run(partial(self._run, run_id), partial(of_trial, queue.study, trial))
        if time.monotonic() - self._described_at > DESCRIBE_EVERY_S and not is_over(queue):
            describe_run(partial(self._run, self.parent_run_id), partial(of_study, queue.study, works=True))
            self._described_at = time.monotonic()

    def _run(self, run_id: str) -> TrackedRun:
        return TrackedRun(open_store(self.tracking), run_id)
