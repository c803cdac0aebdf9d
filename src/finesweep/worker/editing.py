"""Lets a command go on with a study whose ranges it changes, if `study.edit` asks for that."""

import sys
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from optuna.study import Study
from optuna.trial import FrozenTrial, TrialState

from finesweep.errors import StudyError
from finesweep.io.terminal import argument, show
from finesweep.monitor.stores import storage_of
from finesweep.monitor.wording import store_options
from finesweep.study import studies
from finesweep.study.editing import difference, outside
from finesweep.study.queue import TrialQueue
from finesweep.study.ranking import best_first
from finesweep.study.records import StudyRecord, TrialRecord
from finesweep.study.request import SweepRequest
from finesweep.study.selection import FINISHED, current
from finesweep.study.steering import asked
from finesweep.worker.recovery import recover
from finesweep.worker.retention import is_lost


def recover_if_edited(sweep: SweepRequest) -> None:
    """Hands the trials of dead workers on, before it is decided which trials lie in the new space."""
    with suppress(StudyError):  # it is still to be made
        record = StudyRecord(studies.load(sweep.name, sweep.config.study.storage))
        if record.identity is not None and difference(record, sweep.space):
            recover(TrialQueue(sweep.config.study, sweep.space, sweep.run.seed), sweep.run.tracking)


def edit(sweep: SweepRequest, attributes: dict[str, Any]) -> None:
    """Gives a study other ranges, if the command has others, and says the difference.

    attributes: those that the command gives the study, which has all of them afterwards, or none. The caller
    holds the study's lock, and has checked that nothing else differs.
    Raises: StudyError while trials run, whose workers search the former space.
    """
    try:
        study = studies.load(sweep.name, sweep.config.study.storage)
    except StudyError:  # it is still to be made
        return
    record, trials = StudyRecord(study), study.get_trials(deepcopy=False)
    if record.identity is None or not (changes := difference(record, sweep.space)):
        return
    _refuse_running(study, trials)
    numbers = outside(trials, sweep.space)
    show("\n  ".join([f"study {sweep.name}: its space is edited", *changes, _counted(trials, numbers)]),
         sys.stderr)  # fmt: skip
    steered = [*(record.steered or []), asked(study, f"edit {'; '.join(changes)}")]
    edited = StudyRecord.attributes(outside=numbers, steered=steered)
    record.write(attributes | edited | {StudyRecord.conclusion.key: None})


def _counted(trials: list[FrozenTrial], numbers: list[int]) -> str:
    finished = [trial for trial in trials if trial.state in FINISHED]
    count = sum(trial.number not in numbers for trial in finished)
    return f"{count} of its {len(finished)} finished trials lie in it, and count; the others are history"


def _refuse_running(study: Study, trials: list[FrozenTrial]) -> None:
    running = [str(trial.number) for trial in trials if trial.state is TrialState.RUNNING]
    if running:
        stopping = f"{argument(study.study_name)}{store_options(storage=storage_of(study))}"
        raise StudyError(
            f"hydra.sweeper.study.edit: trials {', '.join(running)} of study {study.study_name!r} run in its "
            f"former space; let them end, or stop them first: finesweep stop {stopping}"
        )


def train_lost_again(study: Study, top_k: int, tell: Callable[[str], object], may_edit: bool = False) -> bool:
    """Queues the points of the first trials of an edited study again whose weights are gone.

    Others were better before the edit, so their weights were not kept. The old trials become history, also
    those that a command queued which was killed before it noted that.
    top_k: how many are confirmed; the first one is needed in any case. tell: gets a line for each. may_edit:
    whether a study that was not edited may be.
    Returns whether such trials are still to be trained.
    """
    record = StudyRecord(study)
    if record.outside is None and not may_edit:
        return False
    _note_replaced(study)
    trials = current(study.get_trials(deepcopy=False))  # an edit since may have put some outside
    pending = sum(TrialRecord(t).again is not None and not t.state.is_finished() for t in trials)
    first = best_first(study)[: max(0, max(1, top_k) - pending)]
    lost = [trial for trial in first if is_lost(study, trial)]
    for trial in lost:
        attrs = TrialRecord.attributes(again=trial.number, retry_overrides=TrialRecord(trial).retry_overrides)
        study.enqueue_trial(trial.params, attrs)
        tell(f"trial {trial.number} will be trained again: it is among the first, and its weights are gone")
    _note_replaced(study)
    return bool(pending or lost)


def _note_replaced(study: Study) -> None:
    """Adds the trials whose points are trained again, or were, to those outside of the space."""
    record = StudyRecord(study)
    known = set(record.outside or [])
    tries = (one for one in study.get_trials(deepcopy=False) if one.state is not TrialState.FAIL)
    replaced = {again for one in tries if (again := TrialRecord(one).again) is not None}
    if not replaced <= known:
        record.outside = sorted(known | replaced)
