"""Steers a study from outside of it. What a person asks lies in the study, where its workers read it.

They do so with each heartbeat and before each trial, on any host. Each request is one write of the storage,
so after a kill it was made or not; it outlives everybody, and holds for whoever works on the study next.
"""

import socket
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from optuna.exceptions import UpdateFinishedTrialError
from optuna.study import Study
from optuna.trial import FrozenTrial, TrialState

from finesweep.config.rules import check_rules
from finesweep.config.study import StudyConfig
from finesweep.errors import ConfigError, NotSteered, StudyError
from finesweep.io.output import user
from finesweep.study import clock
from finesweep.study.budget import budgets
from finesweep.study.queue import TrialQueue
from finesweep.study.records import Limits, Steered, StudyRecord, TrialRecord
from finesweep.study.samplers import sampler_entry
from finesweep.study.space import check_point, named
from finesweep.study.storage import PATIENCE_S, searching


@dataclass(frozen=True)
class Queued:
    """A point that is queued next."""

    trial: int
    point: dict[str, Any]  # by Hydra's keys
    drawn: list[str]  # keys that the sampler chooses
    in_place_of: int | None  # a trial that waited with the same point, and is taken off the queue


def open_queue(name: str, storage: str) -> TrialQueue:
    """Opens a study to steer it. Raises: StudyError for one that is unknown, or not finesweep's."""
    queue = TrialQueue(StudyConfig(name=name, storage=storage, patience_s=PATIENCE_S), ())
    _ = StudyRecord(queue.study).n_trials
    return queue


def halt(queue: TrialQueue) -> None:
    """Has all workers save and hand their trials back. A command that begins later goes on."""
    with queue.lock():
        record = StudyRecord(queue.study)
        record.write_all(halted=clock.now(queue.study), steered=_with(record, asked(queue.study, "stop")))


def stop_trial(queue: TrialQueue, number: int) -> TrialState:
    """Ends a trial for good, as pruned: at its next step if it runs; one that waits leaves the queue.

    Returns the state that it is in. Raises: StudyError for an unknown trial, NotSteered for an ended one.
    """
    with queue.lock():
        trial = _trial(queue, number)
        try:
            record = TrialRecord.writable(queue.study, trial)
            record.stopped = asked(queue.study, f"stop trial {number}")
        except UpdateFinishedTrialError:
            raise NotSteered(_ended(queue, queue.trial(number))) from None
        if trial.state is TrialState.WAITING:  # a worker that finds it first stops it by what was written
            queue.cache.set_trial_state_values(trial._trial_id, TrialState.FAIL)
        return trial.state


def try_point(queue: TrialQueue, point: dict[str, Any]) -> Queued:
    """Queues a point before all others, but behind retries. point: by Hydra's keys, as Optuna stores values.

    Raises: ConfigError for a point outside of the study's space.
    """
    space = StudyRecord(queue.study).space
    if space is None:
        raise StudyError(
            f"study {queue.name!r}: was last started by an earlier version, which did not note its space; "
            "start its command once more, and points can be tried"
        )
    check_point(point, space, where="")
    fixed = named(point, space)
    with queue.lock():
        twin = next((one.number for one in queue.trials() if _waits_at(one, fixed)), None)
        by_hand = asked(queue.study, f"try {' '.join(f'{key}={value}' for key, value in point.items())}")
        queue.study.enqueue_trial(fixed, TrialRecord.attributes(tried=by_hand))
        number = queue.trials()[-1].number
    if twin is not None:
        with suppress(NotSteered):  # a worker has just taken it
            stop_trial(queue, twin)
    return Queued(
        number, point, [one.key for one in space if one.exists(point) and one.name not in fixed], twin
    )


def extend(queue: TrialQueue, given: dict[str, Any]) -> tuple[StudyConfig, StudyConfig]:
    """Sets budgets. Returns all budgets before and after. Raises: ConfigError for an illegal value."""
    with queue.lock():
        record = StudyRecord(queue.study)
        before = budgets(record)
        after = replace(before, **given)
        check_rules(after)
        _check_grid(queue, after)
        what = f"extend {' '.join(f'{key}={value}' for key, value in given.items())}"
        record.write_all(
            n_trials=after.n_trials,
            limits=Limits(after.timeout_s, after.max_train_steps),
            steered=_with(record, asked(queue.study, what)),
        )
    return before, after


def steered(study: Study) -> list[Steered]:
    """Lists what people asked of a study and of its trials, by time."""
    records = [TrialRecord(trial) for trial in study.get_trials(deepcopy=False)]
    of_trials = [one for record in records for one in (record.tried, record.stopped) if one]
    return sorted([*(StudyRecord(study).steered or []), *of_trials], key=lambda one: one.time)


def asked(study: Study, what: str) -> Steered:
    """Notes who asks for what, where and when."""
    time = datetime.fromtimestamp(clock.now(study)).astimezone()
    return Steered(what, user(), socket.gethostname(), time.isoformat(timespec="seconds"))


def _with(record: StudyRecord, one: Steered) -> list[Steered]:
    return [*(record.steered or []), one]


def _trial(queue: TrialQueue, number: int) -> FrozenTrial:
    trials = queue.trials()
    if number >= len(trials):
        legal = f"0 to {len(trials) - 1}" if trials else "none yet"
        raise StudyError(f"study {queue.name!r} has no trial {number}; there: {legal}")
    if trials[number].state.is_finished():
        raise NotSteered(_ended(queue, trials[number]))
    return trials[number]


def _ended(queue: TrialQueue, trial: FrozenTrial) -> str:
    """Says that a trial has ended, and which one goes on in its place."""
    retry = next((t.number for t in queue.trials() if TrialRecord(t).retry_of == trial.number), None)
    if retry is not None:
        return f"trial {trial.number} of {queue.name} was handed on; trial {retry} tries it again"
    return f"trial {trial.number} of {queue.name} has ended already: {trial.state.name}"


def _waits_at(trial: FrozenTrial, fixed: dict[str, Any]) -> bool:
    is_first_try = TrialRecord(trial).retry_of is None
    return (
        trial.state is TrialState.WAITING and is_first_try and trial.system_attrs.get("fixed_params") == fixed
    )


def _check_grid(queue: TrialQueue, budget: StudyConfig) -> None:
    """Raises: ConfigError for more trials than a sampler that enqueues all its points has points."""
    first_tries = [t for t in searching(queue.trials()) if TrialRecord(t).retry_of is None]
    if sampler_entry(budget.sampler).enqueues_all_points and budget.n_trials > len(first_tries):
        raise ConfigError.at(
            "n_trials", budget.n_trials, f"{len(first_tries)} or less: the sampler has no more points"
        )
