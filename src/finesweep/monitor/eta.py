"""Estimates the time left of a trial and of a study, in seconds; None while nothing is known."""

import statistics
from collections.abc import Iterator

from optuna.trial import FrozenTrial

from finesweep.monitor.snapshot import Snapshot
from finesweep.study.budget import busy_seconds, seconds_of, span, train_steps
from finesweep.study.liveness import SILENT_S
from finesweep.study.records import Progress, TrialRecord
from finesweep.study.selection import FINISHED, continued


def of_trial(snapshot: Snapshot, trial: FrozenTrial) -> float | None:
    """Estimates from the steps left, at the trial's mean speed since it started."""
    record = TrialRecord(trial)
    progress, heartbeat = record.progress or Progress(), record.heartbeat
    began = _began(trial)
    if not progress.trained_steps or heartbeat is None or began is None:
        return None
    if progress.step is None or progress.max_steps is None:
        return None
    per_step = (heartbeat - began) / progress.trained_steps
    return max(0.0, (progress.max_steps - progress.step) * per_step - (snapshot.now - heartbeat))


def _began(trial: FrozenTrial) -> float | None:
    times = span(trial)
    return times[0] if times else None


def of_study(snapshot: Snapshot) -> float | None:
    """Estimates from the trials left and the mean duration of those that trained, over live workers."""
    durations = _durations(snapshot)
    if not durations or not (workers := _count_workers(snapshot)):
        return None
    mean = statistics.fmean(durations)
    begun = [_left(snapshot, trial, mean) for trial in snapshot.running if not snapshot.is_gone(trial)]
    by_trials = max([(_count_not_begun(snapshot) * mean + sum(begun)) / workers, *begun])
    return max(0.0, min([by_trials, *_until_budget(snapshot)]))


def _durations(snapshot: Snapshot) -> list[float]:
    """Returns the seconds of each trial that trained and has ended, those of its earlier tries included."""
    went_on = continued(snapshot.trials)
    ended = [one for one in snapshot.search if one.state in FINISHED and one.number not in went_on]
    trained = [one for one in ended if TrialRecord(one).reused_of is None and span(one)]
    return [seconds_of(one, snapshot.trials) for one in trained]


def _count_workers(snapshot: Snapshot) -> int:
    records = map(TrialRecord, snapshot.trials)
    return len({r.owner for r in records if snapshot.now - (r.heartbeat or 0.0) < SILENT_S})


def _count_not_begun(snapshot: Snapshot) -> int:
    if snapshot.search_is_over:
        return snapshot.unconfirmed
    running = sum(TrialRecord(trial).confirms is None for trial in snapshot.running)
    return max(0, snapshot.n_trials - snapshot.finished - snapshot.paused - running) + snapshot.unconfirmed


def _left(snapshot: Snapshot, trial: FrozenTrial, mean: float) -> float:
    own = of_trial(snapshot, trial)
    if own is None and (began := _began(trial)) is not None:
        return max(0.0, mean - (snapshot.now - began))
    return mean if own is None else own


def _until_budget(snapshot: Snapshot) -> Iterator[float]:
    """Yields the seconds until another budget than n_trials ends the search, if no confirmation follows."""
    if snapshot.search_is_over or snapshot.unconfirmed:
        return
    config, busy, steps = snapshot.budgets, busy_seconds(snapshot.search), train_steps(snapshot.search)
    if config.timeout_s is not None:
        yield config.timeout_s - busy
    if config.max_train_steps is not None and steps:
        yield busy * (config.max_train_steps / steps - 1)
