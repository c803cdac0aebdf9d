"""Tells Optuna how a trial ended; a trial that shall be tried again is enqueued first.

The caller holds the trial.
"""

from optuna.study import Study
from optuna.trial import FrozenTrial, TrialState

from finesweep.hooks import RunState
from finesweep.study.backend import skim
from finesweep.study.ordinal import ordinal_of
from finesweep.study.records import Outcome, TrialRecord


def end_trial(
    study: Study, trial: FrozenTrial, outcome: Outcome, max_retries: int, reason: str | None = None
) -> None:
    """Tells Optuna the outcome of a RUNNING trial.

    reason: why an INTERRUPTED trial has lost its worker, which costs one of `max_retries`; None if it was
    interrupted on purpose, which costs none.
    """
    record = TrialRecord.writable(study, trial)
    if outcome.state is RunState.COMPLETE:
        if outcome.checkpoint is not None:
            record.checkpoint = outcome.checkpoint
        study.tell(trial.number, outcome.values)
    elif outcome.state in (RunState.PRUNED, RunState.PAUSED) or (  # which of them, the outcome says
        record.stopped is not None and _is_tried_again(outcome)
    ):
        if record.outcome is None:  # it could not be written when it ended; it alone says PAUSED
            record.outcome = outcome
        study.tell(trial.number, state=TrialState.PRUNED)
    elif outcome.state is RunState.INTERRUPTED:
        _requeue(study, trial, max_retries, reason)
    elif outcome.retry_overrides is not None:
        _requeue(study, trial, max_retries, None, outcome.retry_overrides)
    else:
        record.error = outcome.error or "unknown"
        study.tell(trial.number, state=TrialState.FAIL)


def as_asked(record: TrialRecord, outcome: Outcome) -> Outcome:
    """Returns how a trial ends whose run ended so: pruned if a person has stopped it, and it would go on."""
    goes_on = outcome.state is RunState.PAUSED or _is_tried_again(outcome)
    return Outcome(RunState.PRUNED) if goes_on and record.stopped is not None else outcome


def _is_tried_again(outcome: Outcome) -> bool:
    """Tells whether a trial that ended so is tried again, unless a person has stopped it."""
    return outcome.state is RunState.INTERRUPTED or outcome.retry_overrides is not None


def _requeue(
    study: Study,
    trial: FrozenTrial,
    max_retries: int,
    reason: str | None,
    retry_overrides: list[str] | None = None,
) -> None:
    """Enqueues a retry, then ends the old try: the next recovery repairs a kill between the two."""
    record = TrialRecord.writable(study, trial)
    worker_deaths = (record.worker_deaths or 0) + (reason is not None)
    retry_overrides = retry_overrides or record.retry_overrides
    if worker_deaths > max_retries:
        record.error = f"{reason}, after {max_retries} retries"
    elif record.confirms is not None:  # `confirm.missing` lists it again, so it needs no place in the queue
        record.worker_deaths = worker_deaths
        if retry_overrides is not None:
            record.retry_overrides = retry_overrides
    elif not any(TrialRecord(other).retry_of == trial.number for other in skim(study)):
        _enqueue_retry(study, trial, worker_deaths, retry_overrides)
    study.tell(trial.number, state=TrialState.FAIL)


def _enqueue_retry(
    study: Study, trial: FrozenTrial, worker_deaths: int, retry_overrides: list[str] | None
) -> None:
    trial = study._storage.get_trial(trial._trial_id)  # whole
    # A point without an owner may be half drawn (by an earlier version): it is drawn again, from its seed.
    drawn = trial.params if TrialRecord(trial).owner is not None else {}
    attrs = TrialRecord.attributes(
        retry_of=trial.number,
        ordinal=ordinal_of(trial, skim(study)),
        worker_deaths=worker_deaths,
        retry_overrides=retry_overrides,
        again=TrialRecord(trial).again,
        origin=TrialRecord(trial).origin,
    )
    study.enqueue_trial(trial.system_attrs.get("fixed_params", {}) | drawn, user_attrs=attrs)
