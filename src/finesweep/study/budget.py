"""Computes how much of a study's budget is used up. Budgets bound the search; confirmations come on top."""

import math
from collections.abc import Sequence
from dataclasses import asdict, replace
from typing import Any

from optuna.trial import FrozenTrial, TrialState

from finesweep.config.study import ConfirmConfig, Pruner, StopWhen, StudyConfig
from finesweep.study.pausing import Pausing, last_of
from finesweep.study.records import Command, Limits, Progress, StudyRecord, TrialRecord
from finesweep.study.samplers import sampler_entry
from finesweep.study.selection import count_finished, is_running, searching
from finesweep.study.stopping import UPWARD, Goal, enough

EXTENDED = ("n_trials", "timeout_s", "max_train_steps")  # what `finesweep extend` may change


def spent(
    trials: Sequence[FrozenTrial],
    config: StudyConfig,
    spoken_for: bool = False,
    goal: Goal = UPWARD,
    pausing: Pausing | None = None,
) -> str | None:
    """Names the budget of the search that is used up, for a person; None while each has something left.

    `spoken_for`: trials that are still running count as finished. `goal`: that of the study. `pausing`: of a
    study whose trials pause: when all points are started, the search goes on while paused ones do.
    """
    search = searching(trials)
    waiting = [trial for trial in search if trial.state is TrialState.WAITING]
    if any(TrialRecord(trial).again is not None for trial in waiting):
        return None  # the winner of an edited study, whose weights are gone
    goes_on = to_promote(trials, config, pausing, goal) is not None
    if not goes_on and (all_points := _all_points(search, config, spoken_for)):
        limit = _limit(search, config) if pausing else None  # else paused ones would have gone on
        return limit or all_points
    if any(TrialRecord(trial).retry_of is not None for trial in waiting):
        return None  # what was begun within the budget goes on to its end
    if goes_on:
        return None
    return _limit(search, config) or (None if waiting else _stopped(search, config, goal))


def full(trials: Sequence[FrozenTrial], config: StudyConfig) -> str | None:
    """Names, for a person, the budget for which no further point is started; None while one may be.

    Trials that are still running count as finished.
    """
    search = searching(trials)
    return _limit(search, config) or _all_points(search, config, spoken_for=True)


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


def _stopped(search: Sequence[FrozenTrial], config: StudyConfig, goal: Goal) -> str | None:
    """Says why `stop_when` ends the search, and what that saves; a trial that runs may still change it."""
    if config.stop_when is StopWhen.none:
        return None
    tried, left = count_finished(search), _trials_left(search, config)
    why = enough(search, left, goal)
    if why is None:
        return None
    saved = f"about {train_steps(search) // tried * left:,} training steps saved"
    return f"stop_when=noise after {tried} of {tried + left} trials: {why} ({saved})"


def _is_stopped(search: Sequence[FrozenTrial], config: StudyConfig, goal: Goal) -> bool:
    is_waiting = any(trial.state is TrialState.WAITING for trial in search)
    return not is_waiting and _stopped(search, config, goal) is not None


def _trials_left(search: Sequence[FrozenTrial], config: StudyConfig) -> int:
    """Estimates how many more trials the budgets allow, each as costly as those so far."""
    tried = max(1, count_finished(search))
    costs = (config.timeout_s, busy_seconds(search)), (config.max_train_steps, train_steps(search))
    rest = [math.ceil(tried * (limit / used - 1)) for limit, used in costs if limit is not None and used]
    return max(0, min([config.n_trials - count_finished(search), *rest]))


def to_promote(
    trials: Sequence[FrozenTrial], config: StudyConfig, pausing: Pausing | None, goal: Goal = UPWARD
) -> int | None:
    """Returns the number of the paused trial that goes on next; None if none does, or none pauses.

    Once no further point is started, the best paused one goes on even if it does not belong to the best of
    its rung: while steps or seconds are left, if the study bounds them; and at last, when nobody works any
    more, until there is a result besides the baseline, which never pauses, and as many complete trials as are
    to be confirmed. That last one may exceed the budget, as a running trial does.
    """
    if pausing is None:
        return None
    search, points = searching(trials), pausing.points(trials)
    lacks_results = not is_running(search) and _lacks_results(search, config, pausing)
    if _limit(search, config) is not None:
        chosen = pausing.rungs.furthest(points) if lacks_results else None
    else:
        is_bounded = config.timeout_s is not None or config.max_train_steps is not None
        is_full = _all_points(search, config, spoken_for=True) is not None
        is_stopped = lacks_results and not is_full and _is_stopped(search, config, goal)
        anyway = is_stopped or (is_full and (is_bounded or lacks_results))
        chosen = pausing.rungs.to_promote(points, anyway)
    return None if chosen is None else last_of(chosen, trials)


def _lacks_results(search: Sequence[FrozenTrial], config: StudyConfig, pausing: Pausing) -> bool:
    """Tells whether no trial but the baseline is complete, or fewer than are to be confirmed."""
    complete = [t for t in search if t.state is TrialState.COMPLETE and TrialRecord(t).reused_of is None]
    return len(complete) < config.confirm.top_k or all(t.number == pausing.baseline for t in complete)


def budgets(record: StudyRecord) -> StudyConfig:
    """Returns the budgets that the study has now. Raises: StudyError for a study of another program."""
    last = record.last_command or Command()
    limits = record.limits or Limits(last.timeout_s, last.max_train_steps)
    return StudyConfig(
        n_trials=record.n_trials,
        sampler=last.sampler,
        stop_when=StopWhen(last.stop_when),
        pruner=Pruner(last.pruner),
        pruner_options=last.pruner_options,
        confirm=record.confirm or ConfirmConfig(),
        **asdict(limits),
    )


def renewed(config: StudyConfig, record: StudyRecord) -> StudyConfig:
    """Returns a worker's config with the budgets that the study has now, which a person may have changed."""
    if record.limits is None:  # of a study from before they were noted
        return config
    return replace(config, n_trials=record.n_trials, **asdict(record.limits))


def keep_extended(config: StudyConfig, record: StudyRecord) -> list[str]:
    """Keeps budgets that a person extended since the last command, unless this command has others than it.

    So the same command goes on within them, and one with another budget sets it.
    Returns what to tell a person. Side effect: sets the budgets that are kept in the config.
    """
    last, now, told = record.commanded or commanded(record.last_command), budgets(record), []
    for name in EXTENDED if last and record.limits else ():
        extended, given = getattr(now, name), getattr(config, name)
        if extended in (given, last[name]):
            continue
        if given == last[name]:
            setattr(config, name, extended)
            told.append(f"{name} is {extended}, as finesweep extend set it; it was {given}")
        else:
            told.append(f"{name} is {given}; finesweep extend had set it to {extended}")
    return told


def commanded(command: StudyConfig | Command | None) -> dict[str, Any]:
    """Returns the budgets that a command asks for, and a person may extend; nothing for no command."""
    return {name: getattr(command, name) for name in EXTENDED} if command else {}


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


def seconds_of(trial: FrozenTrial, trials: Sequence[FrozenTrial]) -> float:
    """Adds up the tries of a trial: one that was interrupted, or paused, went on from its checkpoint.

    trials: all of the study.
    """
    start, end = span(trial) or (0.0, 0.0)
    earlier = TrialRecord(trial).goes_on_from
    return end - start + (0.0 if earlier is None else seconds_of(trials[earlier], trials))


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
