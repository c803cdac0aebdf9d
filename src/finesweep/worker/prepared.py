"""A study that is ready for its workers, and what its command closes when they have ended."""

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from functools import partial

from optuna.study import Study

from finesweep import tracking
from finesweep.errors import ConfigError, DatabaseGone, StoreError
from finesweep.hooks import RunState
from finesweep.io.terminal import show as show_line
from finesweep.machine.placement import Placement
from finesweep.monitor.description import of_study
from finesweep.study.queue import TrialQueue
from finesweep.study.records import TrialRecord
from finesweep.study.recovering import GONE
from finesweep.study.remaining import is_concluded, is_over
from finesweep.study.request import SweepRequest
from finesweep.study.selection import is_running
from finesweep.study.signals import stop, this_command
from finesweep.tracking import TrackedRun, deliver_spooled
from finesweep.worker.describing import describe_run
from finesweep.worker.recovery import recover


@dataclass
class PreparedStudy:
    """A study that is ready for its workers, with everything that they need."""

    overrides: list[str]
    workers: int
    placement: Placement
    study: Study
    parent: TrackedRun
    queue: TrialQueue
    sweep: SweepRequest
    noted: float  # when its command was noted in the study, by the study's clock
    unfinished: RunState = RunState.FAIL  # what the parent run is when nobody works on, though work is left
    began: float = field(default_factory=time.time)

    @property
    def parent_run_id(self) -> str:
        return self.parent.run_id

    @contextmanager
    def closing(self) -> Iterator[None]:
        """Closes open trials, and the parent run if nobody else works, however the workers end."""
        state = RunState.FAIL
        reason: str | None = GONE
        try:
            with stop.listening(this_command(), began=self.noted):
                self.recover(reason)
                yield
                if stop.requested:
                    raise KeyboardInterrupt
            state = RunState.COMPLETE if is_over(self.queue) else self.unfinished
        except KeyboardInterrupt:
            state, reason = RunState.INTERRUPTED, None  # on purpose: it costs no retry
            raise
        except StoreError:
            state, reason = RunState.INTERRUPTED, None
            self.queue.patience.is_over = self.parent.client.patience.is_over = True  # workers have waited
            raise
        finally:
            self._close(state, reason)

    def _close(self, state: RunState, reason: str | None) -> None:
        """Raises: StoreError if a store is away, DatabaseGone; the next start then does the rest."""
        try:
            self.queue.check_present()
            self.parent.client.check_present("the trials' folders")
            self.recover(reason)
            works = is_running(self.queue.trials())
        except (StoreError, DatabaseGone):
            self.parent.close(RunState.INTERRUPTED)
            raise
        if not works:
            with suppress(StoreError):
                tracking.restore_deleted(self.sweep.run.tracking, [self.parent_run_id])
            self.parent.close(state)
        describe_run(lambda: self.parent, partial(of_study, self.study, works))
        deliver_spooled(self.parent.client)
        self._tell_what_was_deleted()

    def _tell_what_was_deleted(self) -> None:
        records = map(TrialRecord, self.queue.trials())
        trials = {record.run_id: record.name for record in records if record.run_id}
        with suppress(StoreError, ConfigError):  # of a store that is away, whose own error comes first
            for line in tracking.changed_by_others(
                self.sweep.run.tracking, self.sweep.name, trials, self.began
            ):
                show_line(line, sys.stderr)

    def recover(self, reason: str | None = GONE) -> int:
        return recover(self.queue, self.sweep.run.tracking, reason)

    @property
    def nothing_to_do(self) -> bool:
        return is_over(self.queue) and is_concluded(self.queue, self.sweep.run.predict)
