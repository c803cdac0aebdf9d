"""Ends the trials whose owner is gone: claims each, talks to MLflow without a lock, and commits."""

from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import TypeGuard

from optuna.exceptions import UpdateFinishedTrialError
from optuna.trial import FrozenTrial, TrialState

from finesweep.hooks import RunState
from finesweep.io.patience import single_attempts
from finesweep.machine.process import ProcessIdentity
from finesweep.study import clock, unwritten
from finesweep.study.ending import as_asked, end_trial
from finesweep.study.liveness import SILENT_S, is_gone, this_owner
from finesweep.study.queue import TrialQueue
from finesweep.study.records import Outcome, TrialRecord

GONE = "its worker is gone"


def end_lost_trials(queue: TrialQueue, reason: str | None, close_run: Callable[[int, RunState], None]) -> int:
    """Ends the RUNNING trials whose owner is gone: as they were signed off, else by enqueueing a retry.

    reason: None if they were interrupted on purpose, which costs none of their retries.
    close_run: closes the MLflow runs of a trial in a state. It is called without the lock, which a store
    that hangs would keep from all workers, and before Optuna is told, so that the next recovery repairs
    a kill between the two.
    Returns how many it ended. Raises: StoreError, and whatever `close_run` raises; others may then recover
    the trials.
    """
    claimed = queue.patience.call(_claim, queue)
    ended = 0
    try:
        for trial in claimed:
            record = TrialRecord(trial)
            signed = record.outcome or unwritten.read(record, queue.places)
            outcome = as_asked(record, signed or Outcome(RunState.INTERRUPTED))
            close_run(trial.number, outcome.state)
            # A trial that had not begun cannot be what its worker died of. One whose worker was told to stop
            # was killed by an engine that waited no longer.
            begun = record.started is not None and record.owner != this_owner()
            charged = begun and not signed and not record.told_to_stop
            death = outcome.death or (reason if charged else None)
            ended += queue.patience.call(_end_claimed, queue, trial.number, outcome, death)
    except BaseException:
        with suppress(Exception), single_attempts():
            _release(queue, [trial.number for trial in claimed])
        raise
    return ended


def _claim(queue: TrialQueue) -> list[FrozenTrial]:
    """Makes this process the one that recovers the lost trials; their owners can no longer end them."""
    if not (running := queue.running()):
        return []
    now, earlier_boots = clock.now(queue.study), clock.earlier_boots(queue.study)
    _correct_future(queue, running, now)
    lost = [trial for trial in running if _is_lost(queue, trial, now, earlier_boots)]
    return [mine for trial in lost if (mine := _claim_lost(queue, trial.number, now, earlier_boots))]


def _claim_lost(queue: TrialQueue, number: int, now: float, earlier_boots: set[str]) -> FrozenTrial | None:
    """Claims a trial if it is still lost; one that somebody holds at this moment is not."""
    with queue.holding(number, waits=False) as trial:
        if trial is None or not _is_lost(queue, trial, now, earlier_boots):
            return None
        TrialRecord.writable(queue.study, trial).write_all(recovered_since=now, recoverer=this_owner())
        return trial


def _is_lost(queue: TrialQueue, trial: FrozenTrial, now: float, earlier_boots: set[str]) -> bool:
    if trial.state is not TrialState.RUNNING:
        return False
    record = TrialRecord(trial)
    process, beat = record.owner, record.heartbeat
    if record.recoverer not in (None, this_owner()):
        process, beat = record.recoverer, record.recovered_since  # it may have died meanwhile
    elif record.owner == this_owner():  # taken by an attempt whose answer was lost, or left
        return not queue.is_run_here(trial.number)
    if process is not None and ProcessIdentity.parse(process).boot in earlier_boots:
        return True
    return is_gone(process, beat, now)


def _correct_future(queue: TrialQueue, running: Sequence[FrozenTrial], now: float) -> None:
    """Has owners and recoverers count as silent from now on whose last sign is in the future.

    A clock was wrong when they wrote it. Those that are alive will write another one.
    """
    silent, future = now - SILENT_S, now + SILENT_S
    for trial in running:
        record = TrialRecord(trial)
        with suppress(UpdateFinishedTrialError):  # another recovery has ended it since
            if (record.heartbeat or now) > future:
                TrialRecord.writable(queue.study, trial).heartbeat = silent
            if (record.recovered_since or now) > future:
                TrialRecord.writable(queue.study, trial).recovered_since = silent


def _end_claimed(queue: TrialQueue, number: int, outcome: Outcome, reason: str | None) -> bool:
    """Ends a trial that this process has claimed; returns False if somebody else has ended it since."""
    with queue.holding(number) as trial:
        if not _is_claimed(trial):
            return False
        end_trial(queue.study, trial, outcome, queue.config.max_retries, reason)
        return True


def _is_claimed(trial: FrozenTrial | None) -> TypeGuard[FrozenTrial]:
    if trial is None or trial.state is not TrialState.RUNNING:
        return False
    return TrialRecord(trial).recoverer == this_owner()


def _release(queue: TrialQueue, numbers: Sequence[int]) -> None:
    for number in numbers:
        with queue.holding(number) as trial:
            if _is_claimed(trial):
                TrialRecord.writable(queue.study, trial).recoverer = None
