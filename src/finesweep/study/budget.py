"""Computes how much of a study's budget is used up. Budgets bound the search; confirmations come on top."""

from collections.abc import Sequence

from optuna.trial import FrozenTrial, TrialState

from finesweep.config.study import ConfirmConfig, Pruner, StudyConfig
from finesweep.study.pausing import Pausing
from finesweep.study.records import Command, Progress, StudyRecord, TrialRecord
from finesweep.study.samplers import sampler_entry
from finesweep.study.storage import count_finished, is_running, searching


def spent(
    trials: Sequence[FrozenTrial],
    config: StudyConfig,
    spoken_for: bool = False,
    pausing: Pausing | None = None,
) -> str | None:
    """Names the budget of the search that is used up, for a person; None while each has something left.

    `spoken_for`: trials that are still running count as finished. `pausing`: of a study whose trials pause:
    when all points are started, the search goes on while paused ones do.
    """
    search = searching(trials)
    goes_on = to_promote(trials, config, pausing) is not None
    if not goes_on and (all_points := _all_points(search, config, spoken_for)):
        limit = _limit(search, config) if pausing else None  # else paused ones would have gone on
        return limit or all_points
    if any(t.state is TrialState.WAITING and TrialRecord(t).retry_of is not None for t in search):
        return None  # what was begun within the budget goes on to its end
    return None if goes_on else _limit(search, config)


def _limit(search: Sequence[FrozenTrial], config: StudyConfig) -> str | None:
    """Names, for a person, the seconds or steps that are used up; None while some are left."""
    if config.timeout_s is not None and (seconds := busy_seconds(search)) >= config.timeout_s:
        return f"timeout_s={config.timeout_s:g} ({seconds:.0f} s)"
    if config.max_train_steps is not None and (steps := train_steps(search)) >= config.max_train_steps:
        return f"max_train_steps={config.max_train_steps} ({steps} steps)"
    return None


def _all_points(search: Sequence[FrozenTrial], config: StudyConfig, spoken_for: bool) -> str | None:
    """Says, for a person, that no further point is started; None while one may be."""
    running = sum(trial.state is TrialState.RUNNING for trial in search)
    if count_finished(search) + (running if spoken_for else 0) >= config.n_trials:
        return f"n_trials={config.n_trials}"
    is_begun = not any(trial.state is TrialState.WAITING for trial in search) and (spoken_for or not running)
    if sampler_entry(config.sampler).enqueues_all_points and is_begun:
        return "all points of the grid"
    return None


def to_promote(trials: Sequence[FrozenTrial], config: StudyConfig, pausing: Pausing | None) -> int | None:
    """Returns the number of the paused trial that goes on next; None if none does, or none pauses.

    Once all points are started, the best paused one goes on even if it does not belong to the best of its
    rung: while steps or seconds are left, if the study bounds them; and at last, when nobody works any more,
    until there is a result, and as many complete trials as are to be confirmed. That last one may exceed the
    budget, as a running trial does.
    """
    if pausing is None:
        return None
    search, points = searching(trials), pausing.points(trials)
    lacks_results = not is_running(search) and _count_results(search) < max(1, config.confirm.top_k)
    if _limit(search, config) is not None:
        chosen = pausing.rungs.furthest(points) if lacks_results else None
    else:
        is_bounded = config.timeout_s is not None or config.max_train_steps is not None
        anyway = (is_bounded or lacks_results) and _all_points(search, config, spoken_for=True) is not None
        chosen = pausing.rungs.to_promote(points, anyway)
    return None if chosen is None else chosen.number


def _count_results(search: Sequence[FrozenTrial]) -> int:
    return sum(t.state is TrialState.COMPLETE and TrialRecord(t).reused_of is None for t in search)


def budgets(record: StudyRecord) -> StudyConfig:
    """Returns the budgets that the last command set. Raises: StudyError for a study of another program."""
    last = record.last_command or Command()
    return StudyConfig(
        n_trials=record.n_trials,
        sampler=last.sampler,
        pruner=Pruner(last.pruner),
        pruner_options=last.pruner_options,
        confirm=record.confirm or ConfirmConfig(),
        timeout_s=last.timeout_s,
        max_train_steps=last.max_train_steps,
    )


def train_steps(trials: Sequence[FrozenTrial]) -> int:
    """Counts optimizer steps over all trials; steps of an earlier try count in that try alone."""
    return sum((TrialRecord(trial).progress or Progress()).trained_steps for trial in trials)


def busy_seconds(trials: Sequence[FrozenTrial]) -> float:
    """Adds up the seconds in which at least one trial ran; time between two commands is not counted."""
    spans = sorted(filter(None, map(span, trials)))
    total, until = 0.0, 0.0
    for start, end in spans:
        total += max(0.0, end - max(start, until))
        until = max(until, end)
    return total


def span(trial: FrozenTrial) -> tuple[float, float] | None:
    """Returns when the trial began, and when it ended or was last heard of, by the study's clock.

    Optuna's own times are those of whichever host wrote them; trials of version 0.1 have no others.
    """
    record = TrialRecord(trial)
    if record.started is not None and record.heartbeat is not None:
        return record.started, max(record.started, record.heartbeat)
    return _optunas_span(trial, record.heartbeat)


def _optunas_span(trial: FrozenTrial, heartbeat: float | None) -> tuple[float, float] | None:
    if trial.datetime_start is None:
        return None
    start = trial.datetime_start.timestamp()
    end = start if heartbeat is None else heartbeat
    if trial.datetime_complete is not None:
        end = trial.datetime_complete.timestamp()
        if trial.state is TrialState.FAIL and heartbeat is not None:  # found dead, perhaps much later
            end = min(end, heartbeat)
    return start, max(start, end)
