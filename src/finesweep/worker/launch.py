"""Prepares a study before its workers start, and prints the summary after they have ended."""

import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

from optuna.study import Study
from optuna.trial import TrialState

from finesweep import tracking
from finesweep.config.places import as_given
from finesweep.config.study import Ensemble, StudyConfig
from finesweep.data import Splits
from finesweep.data.overview import show, step_line
from finesweep.data.source import LABEL
from finesweep.errors import ConfigError, DatabaseGone, StoreError, StudyError, SweepFailed
from finesweep.hooks import RunState
from finesweep.io.terminal import show as show_line
from finesweep.machine.gpus import needs_torch
from finesweep.machine.placement import Placement
from finesweep.monitor import hosts
from finesweep.monitor.description import of_study
from finesweep.study import clock, studies
from finesweep.study.budget import keep_extended
from finesweep.study.from_studies import Start
from finesweep.study.identity import CONTENT, identity, record, refuse_other_study, without_shortcuts
from finesweep.study.liveness import BEAT_EVERY_S, Listener
from finesweep.study.lock import is_locked, study_lock
from finesweep.study.queue import TrialQueue
from finesweep.study.records import Limits, StudyRecord, TrialRecord
from finesweep.study.recovering import GONE
from finesweep.study.remaining import is_concluded, is_over
from finesweep.study.request import SweepRequest
from finesweep.study.samplers import sampler_entry, try_out
from finesweep.study.selection import failures, is_running
from finesweep.study.signals import begin_again, stop, this_command
from finesweep.study.sources import queue_starts, read_starts, told
from finesweep.study.space import check_point, grid, named, range_of, stored_point
from finesweep.study.storage import check_place, open_storage, patience_of
from finesweep.study.tables import check_tables
from finesweep.tasks import score_name, task_of
from finesweep.tracking import TrackedRun, deliver_spooled, open_store, open_study_run
from finesweep.training.data_inputs import data_inputs
from finesweep.training.preflight import check_data, check_folders
from finesweep.worker.describing import describe_run
from finesweep.worker.editing import edit, recover_if_edited, train_lost_again
from finesweep.worker.isolation import where_torch_is
from finesweep.worker.models import check_models
from finesweep.worker.recovery import recover
from finesweep.worker.retention import check_candidates

EPOCHS = "trainer.num_train_epochs"


@dataclass
class PreparedStudy:
    """A study that is ready for its workers, with everything that they need."""

    overrides: list[str]
    workers: int
    placement: Placement
    study: Study
    parent: TrackedRun
    queue: TrialQueue
    sweep: SweepRequest
    noted: float  # when its command was noted in the study, by the study's clock
    unfinished: RunState = RunState.FAIL  # what the parent run is when nobody works on, though work is left
    began: float = field(default_factory=time.time)

    @property
    def parent_run_id(self) -> str:
        return self.parent.run_id

    @contextmanager
    def closing(self) -> Iterator[None]:
        """Closes open trials, and the parent run if nobody else works, however the workers end."""
        state = RunState.FAIL
        reason: str | None = GONE
        try:
            with stop.listening(this_command(), began=self.noted):
                self.recover(reason)
                yield
                if stop.requested:
                    raise KeyboardInterrupt
            state = RunState.COMPLETE if is_over(self.queue) else self.unfinished
        except KeyboardInterrupt:
            state, reason = RunState.INTERRUPTED, None  # on purpose: it costs no retry
            raise
        except StoreError:
            state, reason = RunState.INTERRUPTED, None
            self.queue.patience.is_over = self.parent.client.patience.is_over = True  # workers have waited
            raise
        finally:
            self._close(state, reason)

    def _close(self, state: RunState, reason: str | None) -> None:
        """Raises: StoreError if a store is away, DatabaseGone; the next start then does the rest."""
        try:
            self.queue.check_present()
            self.parent.client.check_present("the trials' folders")
            self.recover(reason)
            works = is_running(self.queue.trials())
        except (StoreError, DatabaseGone):
            self.parent.close(RunState.INTERRUPTED)
            raise
        if not works:
            with suppress(StoreError):
                tracking.restore_deleted(self.sweep.run.tracking, [self.parent_run_id])
            self.parent.close(state)
        describe_run(lambda: self.parent, partial(of_study, self.study, works))
        deliver_spooled(self.parent.client)
        self._tell_what_was_deleted()

    def _tell_what_was_deleted(self) -> None:
        records = map(TrialRecord, self.queue.trials())
        trials = {record.run_id: record.name for record in records if record.run_id}
        with suppress(StoreError, ConfigError):  # of a store that is away, whose own error comes first
            for line in tracking.changed_by_others(
                self.sweep.run.tracking, self.sweep.name, trials, self.began
            ):
                show_line(line, sys.stderr)

    def recover(self, reason: str | None = GONE) -> int:
        return recover(self.queue, self.sweep.run.tracking, reason)

    @property
    def nothing_to_do(self) -> bool:
        return is_over(self.queue) and is_concluded(self.queue, self.sweep.run.predict)


Plan = Callable[[], tuple[int, Placement]]  # says how many workers, and where


def prepare(sweep: SweepRequest, plan: Plan) -> PreparedStudy:
    """Refuses what cannot work before anything is written; then creates or finds study and parent run.

    Raises: ConfigError, DataError, ModelError, OutputError, StudyError.
    """
    study_config = sweep.config.study
    points = _points(sweep)
    starts = read_starts(study_config, sweep.space)
    try_out(study_config, sweep.space)
    splits, workers, placement = check_ground(sweep, plan)
    patience = patience_of(study_config)
    shared = patience.call(without_shortcuts, sweep)
    given = replace(study_config)  # as the command has it, however often this is repeated
    study, parent = patience.call(_create, sweep, given, points, starts, splits, workers)
    noted = clock.now(study)
    tracking.kill_abandoned_runs(sweep.run.tracking)
    queue = TrialQueue(study_config, sweep.space, sweep.run.seed)
    if not is_over(queue):
        show(sweep.run.data, splits)
        step = step_line(sweep.run.trainer, is_searched=True)
        for line in (step, placement.note(workers), *told(starts)):
            if line:
                show_line(line, sys.stderr)
    describe_run(lambda: parent, lambda: of_study(study, works=not is_over(queue)))
    overrides = shared_overrides(sweep, shared, placement)
    return PreparedStudy(overrides, workers, placement, study, parent, queue, sweep, noted)


def check_ground(sweep: SweepRequest, plan: Plan) -> tuple[Splits, int, Placement]:
    """Reads the data, tries out the models, opens both stores, and plans the workers.

    Raises: ConfigError, DataError, ModelError.
    """
    splits = check_data(sweep.run)
    check_ensemble(sweep, splits)
    sweep.check_objectives(splits.labels or ["value"], splits.eval[LABEL][:])
    check_models(sweep.models, splits)
    tracking.import_store(sweep.run.tracking)  # while the server imports torch
    workers, placement = where_torch_is(plan) if needs_torch(sweep.run.trainer) else plan()
    storage = sweep.config.study.storage
    check_place(storage)
    open_store(sweep.run.tracking)  # first: what cannot be opened then leaves no database of the other store
    check_tables(open_storage(storage), storage)
    return splits, workers, placement


def check_ensemble(sweep: SweepRequest, splits: Splits) -> None:
    """Raises: ConfigError for an ensemble of adapters, or without rows that could say if it is better."""
    kind = sweep.config.study.ensemble
    if kind is Ensemble.none:
        return
    key = "hydra.sweeper.study.ensemble"
    if splits.final_eval is None:
        legal = "none, or with rows that choose nothing: data.holdout or data.final_eval_split"
        raise ConfigError.at(key, kind.value, legal)
    if sweep.run.peft is not None:
        raise ConfigError.at(key, kind.value, "none with peft: checkpoints of adapters are not put together")


def shared_overrides(sweep: SweepRequest, shared: Sequence[str], placement: Placement) -> list[str]:
    """Returns the overrides of every trial. On a CPU, the number of threads is a part of the training."""
    return [*sweep.overrides, *shared, *([] if placement.gpus else [f"trainer.threads={placement.threads}"])]


def _points(sweep: SweepRequest) -> list[dict[str, Any]]:
    """Lists the points to enqueue, by Optuna's names.

    Side effect: lowers n_trials to their number for a sampler that enqueues all its points.
    Raises: ConfigError for a point outside of the space.
    """
    config, points = sweep.config.study, list(map(stored_point, sweep.config.enqueue))
    for point in points:
        check_point(point, sweep.space)
    if sampler_entry(config.sampler).enqueues_all_points:
        planned = list(grid(sweep.space))
        if config.n_trials >= len(points) + len(planned):
            planned = _longest_first(planned)
        points += planned
        config.n_trials = min(config.n_trials, len(points))
    elif config.n_trials <= len(points):  # no other is trained; the first one is the baseline
        first, *others = points[: config.n_trials]
        points = [first, *_longest_first(others), *points[config.n_trials :]]
    return [named(point, sweep.space) for point in points]


def _longest_first(points: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Orders the points of a whole study: a long one at the end would leave the other workers idle."""
    return sorted(points, key=lambda point: -float(point.get(EPOCHS, 0)))


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
    # Two commands at once make one study, with one parent. Workers do not wait for this lock.
    with study_lock(config.storage, f"{sweep.name}:start"):
        refuse_other_study(sweep, requested, splits, may_edit=config.edit)
        check_folders(sweep.run.tracking, Path(sweep.folder))
        recover_if_edited(sweep)
        with study_lock(config.storage, sweep.name):
            _keep_extended(sweep)
            study = _edited_or_made(sweep, points, starts, _attributes(sweep, requested, splits))
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
    edit(sweep, attributes)
    study = studies.create(config, sweep.objectives, points, attributes)
    begin_again(study)
    queue_starts(study, starts, config, sweep.space)
    if not train_lost_again(study, config.confirm.top_k):
        check_candidates(study, config.confirm.top_k)
    return study


def _keep_extended(sweep: SweepRequest) -> None:
    """Keeps the budgets that a person extended, and says so."""
    config = sweep.config.study
    with suppress(StudyError):  # it is still to be made
        for line in keep_extended(config, StudyRecord(studies.load(sweep.name, config.storage))):
            show_line(f"hydra.sweeper.study.{line}", sys.stderr)


def _attributes(sweep: SweepRequest, requested: dict[str, Any], splits: Splits) -> dict[str, Any]:
    """Builds the study's attributes. They hold no overrides: a storage's address may contain a password."""
    score = score_name(task_of(sweep.run.data), splits.labels or ["value"])
    return StudyRecord.attributes(
        identity=requested,
        n_trials=sweep.config.study.n_trials,
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


def conclude(sweep: SweepRequest, prepared: PreparedStudy) -> None:
    """Prints the summary. Raises: SweepFailed if the sweep ended before its budget was met."""
    from finesweep.monitor.report import describe
    from finesweep.monitor.summary import print_summary

    print_summary(describe(prepared.study))
    trials = prepared.queue.trials()
    if is_over(prepared.queue):
        return
    if is_running(trials):
        return _refuse_stranded(prepared.queue)
    failed = failures(trials)
    causes = "\n".join(f"  trial {trial.number}: {TrialRecord(trial).error}" for trial in failed)
    if len(failed) < sweep.config.study.max_failures:
        raise SweepFailed(f"the sweep ended before its budget, or without a result.\n{causes}".rstrip())
    raise SweepFailed(
        f"{len(failed)} trials failed, and hydra.sweeper.study.max_failures is "
        f"{sweep.config.study.max_failures}; raise it to go on. The causes:\n{causes}"
    )


def refuse_unconcluded(sweep: SweepRequest, prepared: PreparedStudy) -> None:
    """Raises: SweepFailed if an engine's workers ended all trials, and then failed in the finish step."""
    is_left = is_over(prepared.queue) and not prepared.nothing_to_do
    if is_left and not is_locked(sweep.config.study.storage, f"{sweep.name}:finish"):
        raise SweepFailed(
            "all trials are finished, but not the last step, which predicts and draws the plots; "
            "the workers' logs say why, and the same command takes it"
        )


def _refuse_stranded(queue: TrialQueue) -> None:
    """Listens for the workers that still run trials, until one is heard of, or all are silent.

    Raises: SweepFailed if none is alive: nobody would take up their trials.
    """
    listener = Listener()
    while True:
        with queue.lock():  # a trial without an owner has then lost it
            trials, now = queue.trials(), clock.now(queue.study)
        running = [TrialRecord(trial) for trial in trials if trial.state is TrialState.RUNNING]
        if not running or any(listener.is_alive(r.owner, r.heartbeat, now) for r in running):
            return
        if all(record.owner is None for record in running):  # a worker was killed before it wrote its name
            raise SweepFailed("no worker is left, and the sweep is not over; the same command goes on")
        if lost := hosts.stranded(hosts.workers(trials, now)):
            causes = "\n".join(f"  {hosts.lost(worker)}" for worker in lost)
            raise SweepFailed(f"no worker is left, and the sweep is not over:\n{causes}")
        time.sleep(BEAT_EVERY_S / 2)
