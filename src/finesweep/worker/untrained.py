"""Records a run for a trial that does not train: its point is known, or it failed before its run was open."""

from finesweep import tracking
from finesweep.config.run import TrackingConfig
from finesweep.errors import DatabaseGone, OutputError
from finesweep.hooks import RunState
from finesweep.io.output import is_output_error
from finesweep.study.queue import TrialQueue
from finesweep.study.records import Outcome, TrialRecord
from finesweep.study.space import params_of
from finesweep.worker.trial import RunningTrial


def reuse(queue: TrialQueue, running: RunningTrial, config: TrackingConfig, experiment: str) -> None:
    """Ends a trial with the value of the earlier trial of the same point, and records a run that says so."""
    record = running.record
    assert record.reused_of is not None
    twin = queue.trial(record.reused_of)
    known = TrialRecord(twin)
    assert known.folder is not None and known.overrides is not None
    record.write_all(folder=known.folder, overrides=known.overrides)
    outcome = Outcome(RunState(twin.state.name), twin.values or [], known.checkpoint)
    tracked = _open(running, config, experiment)
    tracked.log_params(params_of(running.trial))
    if outcome.values:
        tracked.log_metrics({"best_value": outcome.values[0]}, step=0)
    running.sign_off(outcome)
    tracked.end_signed_off(outcome.state)


def record_failure(running: RunningTrial, error: Exception, config: TrackingConfig, experiment: str) -> None:
    """Records a FAILED run for a trial that failed before its run was open.

    Raises: OutputError where a disk is too full to note anything; whatever kept an open run from being
    closed. The next start then finds the trial without an owner.
    """
    if isinstance(error, DatabaseGone):
        raise error
    if is_output_error(error):
        text = f"trial {running.trial.number}: {error}; make room, and start the same command again"
        raise OutputError(text) from error
    if running.record.run_id is not None:
        raise error
    tracked = _open(running, config, experiment)
    tracked.end_signed_off(running.ending(RunState.FAIL, error), f"{type(error).__name__}: {error}")


def _open(running: RunningTrial, config: TrackingConfig, experiment: str) -> tracking.TrackedRun:
    tracked = tracking.record_run(config, experiment, running.run_name, running.tags)
    running.started(tracked.run_id)
    return tracked
