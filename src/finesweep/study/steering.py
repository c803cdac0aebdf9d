"""Steers a study from outside of it. What a person asks lies in the study, where its workers read it.

They do so with each heartbeat and before each trial, on any host. A request is one write of the storage,
so after a kill it was made or not; it outlives everybody, and holds for whoever works on the study next. Only
a point that waits already takes two: the second takes its trial off the queue, and a kill leaves both there.
"""

import socket
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from optuna.study import Study
from optuna.trial import FrozenTrial, TrialState, create_trial

from finesweep.config.rules import check_rules
from finesweep.config.study import StudyConfig
from finesweep.errors import ConfigError, NotSteered, StudyError
from finesweep.io.output import user
from finesweep.study import clock
from finesweep.study.backend import add_trial
from finesweep.study.budget import budgets
from finesweep.study.drawing import known
from finesweep.study.opened import OpenedStudy
from finesweep.study.pausing import waiting
from finesweep.study.records import Limits, Steered, StudyRecord, TrialRecord
from finesweep.study.samplers import sampler_entry
from finesweep.study.selection import current, is_taken_off, searching
from finesweep.study.space import Space, check_point, named
from finesweep.study.storage import PATIENCE_S


@dataclass(frozen=True)
class Queued:
    """A point that is queued next."""

    trial: int
    point: dict[str, Any]  # by Hydra's keys
    drawn: list[str]  # keys that the sampler chooses
    in_place_of: int | None  # a trial that waited with the same point, and is taken off the queue
    behind: list[int]  # points that were tried before and still wait, which come first
    known: int | None  # the trial of the same point whose value it gets


def open_for_steering(name: str, storage: str) -> OpenedStudy:
    """Opens a study to steer it. Raises: StudyError for one that is unknown, or not finesweep's."""
    opened = OpenedStudy(StudyConfig(name=name, storage=storage, patience_s=PATIENCE_S), ())
    _ = StudyRecord(opened.study).n_trials
    return opened


def halt(opened: OpenedStudy) -> None:
    """Has all workers save and hand their trials back. A command that begins later goes on."""
    with opened.lock():
        record = StudyRecord(opened.study)
        record.write_all(halted=clock.now(opened.study), steered=_with(record, asked(opened.study, "stop")))


def stop_trial(opened: OpenedStudy, number: int) -> TrialState:
    """Ends a trial for good, as pruned: at its next step if it runs; one that waits leaves the queue.

    One that is paused goes on no more.
    Returns the state that it is in. Raises: StudyError for an unknown trial, NotSteered for an ended one.
    """
    with opened.lock():
        trial = _trial(opened, number)
        if trial.state is TrialState.WAITING:
            _take_off(opened, trial)
        elif trial.state.is_finished():
            _give_up(opened, trial)
    if trial.state is TrialState.RUNNING:
        _stop_running(opened, number)
    return trial.state


def try_point(opened: OpenedStudy, point: dict[str, Any]) -> Queued:
    """Queues a point before all others, but behind retries. point: by Hydra's keys, as Optuna stores values.

    Raises: ConfigError for a point outside of the study's space.
    """
    with opened.lock():  # an edit in between would leave the point outside of the space
        space = _space(opened)
        point = check_point(point, space, where="")
        fixed = named(point, space)
        trials = opened.trials()
        twin = next((one for one in trials if _waits_at(one, fixed)), None)
        by_hand = asked(opened.study, f"try {' '.join(f'{key}={value}' for key, value in point.items())}")
        attrs = TrialRecord.attributes(tried=by_hand)
        template = create_trial(
            state=TrialState.WAITING, system_attrs={"fixed_params": fixed}, user_attrs=attrs
        )
        number = add_trial(opened.study, template).number
        if twin is not None:
            _take_off(opened, twin)
    drawn = [one.key for one in space if one.exists(point) and one.name not in fixed]
    behind = [one.number for one in current(trials) if _waits_by_hand(one) and one is not twin]
    return Queued(number, point, drawn, twin.number if twin else None, behind, _known(opened, trials, fixed))


def _waits_by_hand(trial: FrozenTrial) -> bool:
    return trial.state is TrialState.WAITING and TrialRecord(trial).tried is not None


def _known(opened: OpenedStudy, trials: Sequence[FrozenTrial], fixed: dict[str, Any]) -> int | None:
    """Finds the trial whose value a point gets, unless the study's last command repeats trials."""
    last_command = next(reversed(StudyRecord(opened.study).history or [{}]))
    twin = None if last_command.get("repeat_trials") else known(fixed, trials, is_tried=True)
    return twin.number if twin else None


def _space(opened: OpenedStudy) -> Space:
    space = StudyRecord(opened.study).space
    if space is None:
        raise StudyError(
            f"study {opened.name!r}: was last started by an earlier version, which did not note its space; "
            "start its command once more, and points can be tried"
        )
    return space


def extend(opened: OpenedStudy, given: dict[str, Any]) -> tuple[StudyConfig, StudyConfig]:
    """Sets budgets. Returns all budgets before and after. Raises: ConfigError for an illegal value."""
    with opened.lock():
        record = StudyRecord(opened.study)
        before = budgets(record)
        after = replace(before, **given)
        check_rules(after)
        _check_grid(opened, after)
        what = f"extend {' '.join(f'{key}={shown(value)}' for key, value in given.items())}"
        record.write_all(
            n_trials=after.n_trials,
            limits=Limits(after.timeout_s, after.max_train_steps),
            steered=_with(record, asked(opened.study, what)),
        )
    return before, after


def shown(budget: float | None) -> str:
    """Writes a budget as it is typed."""
    return "null" if budget is None else f"{budget:.15g}"


def steered(study: Study) -> list[Steered]:
    """Lists what people asked of a study and of its trials, by time."""
    records = [TrialRecord(trial) for trial in study.get_trials(deepcopy=False)]
    of_trials = [one for record in records for one in (record.tried, record.stopped) if one]
    every = [*(StudyRecord(study).steered or []), *of_trials]
    return sorted(every, key=lambda one: datetime.fromisoformat(one.time))  # hosts differ in their time zones


def asked(study: Study, what: str) -> Steered:
    """Notes who asks for what, where and when."""
    time = datetime.fromtimestamp(clock.now(study)).astimezone()
    return Steered(what, user(), socket.gethostname(), time.isoformat(timespec="seconds"))


def _with(record: StudyRecord, one: Steered) -> list[Steered]:
    return [*(record.steered or []), one]


def _trial(opened: OpenedStudy, number: int) -> FrozenTrial:
    trials = opened.trials()
    if number >= len(trials):
        legal = f"0 to {len(trials) - 1}" if trials else "none yet"
        raise StudyError(f"study {opened.name!r} has no trial {number}; there: {legal}")
    return trials[number]


def _take_off(opened: OpenedStudy, trial: FrozenTrial) -> None:
    """Takes a trial that waits off the queue. The caller holds the study's lock, under which one is taken."""
    TrialRecord.writable(opened.study, trial).stopped = asked(opened.study, f"stop trial {trial.number}")
    # After a kill in between, a worker that finds it stops it by what was written.
    opened.cache.set_trial_state_values(trial._trial_id, TrialState.FAIL)


def _give_up(opened: OpenedStudy, trial: FrozenTrial) -> None:
    """Has a paused trial go on no more; a worker removes its checkpoint when it gives up others.

    The caller holds the study's lock. Raises: NotSteered for one that is not paused, or that went on.
    """
    record = StudyRecord(opened.study)
    given_up, told = record.given_up or [], asked(opened.study, f"stop trial {trial.number}")
    if trial.number not in [one.number for one in waiting(opened.trials(), given_up)]:
        raise NotSteered(_ended(opened, trial))
    record.write_all(given_up=sorted([*given_up, trial.number]), steered=_with(record, told))


def _stop_running(opened: OpenedStudy, number: int) -> None:
    """Notes in a trial that it shall end; waits for whoever ends it just now. Raises: NotSteered."""
    with opened.holding(number) as trial:
        runs = trial is not None and trial.state is TrialState.RUNNING
        if trial is not None and runs:
            told = asked(opened.study, f"stop trial {number}")
            TrialRecord.writable(opened.study, trial).stopped = told
    if not runs:
        raise NotSteered(_ended(opened, opened.trial(number)))


def _ended(opened: OpenedStudy, trial: FrozenTrial) -> str:
    """Says that a trial has ended, and which one goes on in its place."""
    for other in opened.trials():
        if TrialRecord(other).retry_of == trial.number:
            return f"trial {trial.number} of {opened.name} was handed on; trial {other.number} tries it again"
        if TrialRecord(other).continues == trial.number:
            return f"trial {trial.number} of {opened.name} was paused; trial {other.number} goes on from it"
    given_up = StudyRecord(opened.study).given_up or []
    state = "was given up" if trial.number in given_up else f"has ended already: {trial.state.name}"
    state = "was taken off the queue already" if is_taken_off(trial) else state
    return f"trial {trial.number} of {opened.name} {state}"


def _waits_at(trial: FrozenTrial, fixed: dict[str, Any]) -> bool:
    waits_first = trial.state is TrialState.WAITING and not TrialRecord(trial).has_begun
    return waits_first and trial.system_attrs.get("fixed_params") == fixed


def _is_first_try(trial: FrozenTrial) -> bool:
    return TrialRecord(trial).goes_on_from is None


def _check_grid(opened: OpenedStudy, budget: StudyConfig) -> None:
    """Raises: ConfigError for more trials than a sampler that enqueues all its points has points."""
    first_tries = [trial for trial in searching(opened.trials()) if _is_first_try(trial)]
    if sampler_entry(budget.sampler).enqueues_all_points and budget.n_trials > len(first_tries):
        raise ConfigError.at(
            "n_trials", budget.n_trials, f"{len(first_tries)} or less: the sampler has no more points"
        )
