"""Prepares a study before its workers start: refuses what cannot work, then creates or finds the study."""

import sys
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from optuna.study import Study

from finesweep import tracking
from finesweep.config.places import as_given
from finesweep.config.study import StudyConfig
from finesweep.data import Splits
from finesweep.data.overview import show, step_line
from finesweep.errors import StudyError
from finesweep.io.terminal import show as show_line
from finesweep.machine.placement import Placement
from finesweep.monitor.description import of_study
from finesweep.study import clock, studies
from finesweep.study.budget import commanded, keep_extended
from finesweep.study.from_studies import Start
from finesweep.study.identity import CONTENT, identity, record, refuse_other_study, without_shortcuts
from finesweep.study.lock import study_lock
from finesweep.study.points import first_points, note_first_points
from finesweep.study.pruning import never_stopped
from finesweep.study.queue import TrialQueue
from finesweep.study.records import Limits, StudyRecord
from finesweep.study.remaining import is_over
from finesweep.study.request import SweepRequest
from finesweep.study.samplers import try_out
from finesweep.study.signals import begin_again
from finesweep.study.sources import choosers, queue_starts, read_starts, told
from finesweep.study.space import range_of
from finesweep.study.storage import patience_of
from finesweep.tasks import score_name, task_of
from finesweep.tracking import TrackedRun, open_study_run
from finesweep.training.data_inputs import data_inputs
from finesweep.training.preflight import check_folders
from finesweep.worker.describing import describe_run
from finesweep.worker.editing import edit, recover_if_edited, train_lost_again
from finesweep.worker.ground import Plan, check_ground
from finesweep.worker.prepared import PreparedStudy
from finesweep.worker.retention import check_candidates


def prepare(sweep: SweepRequest, plan: Plan) -> PreparedStudy:
    """Refuses what cannot work before anything is written; then creates or finds study and parent run.

    Raises: ConfigError, DataError, ModelError, OutputError, StudyError.
    """
    study_config = sweep.config.study
    points = first_points(sweep)
    starts = read_starts(study_config, sweep.space)
    try_out(study_config, sweep.space)
    splits, workers, placement = check_ground(sweep, plan)
    patience = patience_of(study_config)
    shared = patience.call(without_shortcuts, sweep)
    given = replace(study_config)  # as the command has it, however often this is repeated
    study, parent = patience.call(_create, sweep, given, points, starts, splits, workers)
    request = StudyRecord(study).request
    assert request is not None
    tracking.kill_abandoned_runs(sweep.run.tracking)
    queue = TrialQueue(study_config, sweep.space, sweep.run.seed)
    if not is_over(queue):
        show(sweep.run.data, splits)
        step = step_line(sweep.run.trainer, is_searched=True)
        for line in (step, placement.note(workers), never_stopped(sweep), *told(starts)):
            if line:
                show_line(line, sys.stderr)
    describe_run(lambda: parent, lambda: of_study(study, works=not is_over(queue)))
    overrides = shared_overrides(sweep, shared, placement)
    return PreparedStudy(overrides, workers, placement, study, parent, queue, sweep, request.began)


def shared_overrides(sweep: SweepRequest, shared: Sequence[str], placement: Placement) -> list[str]:
    """Returns the overrides of every trial. On a CPU, the number of threads is a part of the training."""
    return [*sweep.overrides, *shared, *([] if placement.gpus else [f"trainer.threads={placement.threads}"])]


def _create(
    sweep: SweepRequest,
    given: StudyConfig,
    points: list[dict[str, Any]],
    starts: list[Start],
    splits: Splits,
    workers: int,
) -> tuple[Study, TrackedRun]:
    """Creates the study and its parent run, or finds them, and notes this command in both.

    given: the budgets as the command has them, of which the study may keep others.
    Raises: StudyError if the study is another one, OutputError.
    """
    config, requested = sweep.config.study, identity(sweep, splits)
    chose = [*choosers(config, splits.final_eval), *([sweep.name] if splits.shared else [])]
    # Two commands at once make one study, with one parent. Workers do not wait for this lock.
    with study_lock(config.storage, f"{sweep.name}:start"):
        refuse_other_study(sweep, requested, splits, may_edit=config.edit)
        check_folders(sweep.run.tracking, Path(sweep.folder))
        recover_if_edited(sweep)
        with study_lock(config.storage, sweep.name):
            _keep_extended(sweep)
            attributes = _attributes(sweep, given, requested, splits)
            study = _edited_or_made(sweep, points, starts, attributes)
            if chose:
                StudyRecord(study).final_chose = sorted({*(StudyRecord(study).final_chose or []), *chose})
        parent = open_study_run(sweep.run.tracking, sweep.run.data.name, sweep.name, _parent_params(sweep))
        record(sweep, given, workers, study, parent)
        StudyRecord(study).request = replace(
            sweep.origin, parent_run_id=parent.run_id, began=clock.now(study)
        )
        hashes = {split: str(requested[key]) for split, key in CONTENT.items()}
        parent.log_inputs(data_inputs(as_given(sweep.run).data, splits, hashes))
    return study, parent


def _edited_or_made(
    sweep: SweepRequest, points: list[dict[str, Any]], starts: list[Start], attributes: dict[str, Any]
) -> Study:
    """Gives the study what the command asks of it. The caller holds the study's lock."""
    config = sweep.config.study
    _refuse_lost_candidates(sweep)
    edit(sweep, attributes)
    study = studies.create(config, sweep.objectives, points, attributes)
    begin_again(study)
    queue_starts(study, starts, config, sweep.space)
    note_first_points(study)
    train_lost_again(study, config.confirm.top_k, partial(show_line, file=sys.stderr), config.edit)
    return study


def _refuse_lost_candidates(sweep: SweepRequest) -> None:
    """Raises: ConfigError for more candidates than have weights, where none is trained again."""
    config = sweep.config.study
    try:
        study = studies.load(sweep.name, config.storage)
    except StudyError:  # it is still to be made
        return
    if StudyRecord(study).outside is None and not config.edit:
        check_candidates(study, config.confirm.top_k)


def _keep_extended(sweep: SweepRequest) -> None:
    """Keeps the budgets that a person extended, and says so."""
    config = sweep.config.study
    with suppress(StudyError):  # it is still to be made
        for line in keep_extended(config, StudyRecord(studies.load(sweep.name, config.storage))):
            show_line(f"hydra.sweeper.study.{line}", sys.stderr)


def _attributes(
    sweep: SweepRequest, given: StudyConfig, requested: dict[str, Any], splits: Splits
) -> dict[str, Any]:
    """Builds the study's attributes. They hold no overrides: a storage's address may contain a password."""
    score = score_name(task_of(sweep.run.data), splits.labels or ["value"])
    return StudyRecord.attributes(
        identity=requested,
        n_trials=sweep.config.study.n_trials,
        commanded=commanded(given),
        limits=Limits(sweep.config.study.timeout_s, sweep.config.study.max_train_steps),
        space=sweep.space,
        metric=next(iter(sweep.objectives)),
        objectives={name: direction.value for name, direction in sweep.objectives.items()},
        confirm=sweep.config.study.confirm,
        glue_task=sweep.run.data.glue_task,
        score=None if sweep.config.study.objectives else score,
    )


def _parent_params(sweep: SweepRequest) -> dict[str, Any]:
    study = sweep.config.study
    return {
        "study": sweep.name, "model.name": sweep.run.model.name, "data": sweep.run.data.name,
        "sampler": study.sampler, "pruner": study.pruner.value, "study.seed": study.seed,
        "metric": ", ".join(sweep.objectives),
        **{
            f"space.{key}": "; ".join(range_of(one) for one in sweep.space if one.key == key)
            for key in {one.key: None for one in sweep.space}
        },
    }  # fmt: skip
