"""Joins a study that another command has made: a worker's command checks its own host, and makes nothing."""

import socket
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from functools import partial
from pathlib import Path

from optuna.study import Study

from finesweep import tracking
from finesweep.config.joining import Joining
from finesweep.errors import DataError, FinesweepError, ModelError, OutputError
from finesweep.hooks import RunState
from finesweep.io.terminal import show
from finesweep.machine.capacity import plan_workers
from finesweep.study import clock
from finesweep.study.identity import identity, refuse_other_study, without_shortcuts
from finesweep.study.queue import TrialQueue
from finesweep.study.records import Request, StudyRecord
from finesweep.study.remaining import is_over
from finesweep.study.request import SweepRequest
from finesweep.study.signals import stop
from finesweep.tracking import TrackedRun
from finesweep.training.preflight import check_folders
from finesweep.worker.allotment import Allotment
from finesweep.worker.ground import check_ground
from finesweep.worker.launch import shared_overrides
from finesweep.worker.prepared import PreparedStudy

POLL_S = 0.5  # how soon a stop of this command reaches its workers


def join(sweep: SweepRequest, joining: Joining) -> PreparedStudy:
    """Finds the study and its parent run, and plans workers for this host.

    Raises: ConfigError, DataError, ModelError, OutputError for what this host lacks, with its name;
    StudyError if the study is gone, or the configs that it was started with have been edited.
    """
    sweep.config = replace(sweep.config, workers=joining.workers)
    study_config = sweep.config.study
    plan = partial(plan_workers, sweep.run.trainer, sweep.config, parallel=True)
    with _naming_the_host():
        splits, workers, placement = check_ground(sweep, plan)
        check_folders(sweep.run.tracking, Path(sweep.folder))
    shared = without_shortcuts(sweep)
    refuse_other_study(sweep, identity(sweep, splits), splits)
    queue = TrialQueue(study_config, sweep.space, sweep.run.seed)
    study = queue.study
    study_config.n_trials = StudyRecord(study).n_trials  # `grid` has no more than its points
    queue.patience.call(_begin, queue, joining.command is None)
    request = _request_of(study)
    parent = TrackedRun(tracking.open_store(sweep.run.tracking), request.parent_run_id)
    noted = request.began if joining.command else clock.now(study)  # a person's own worker begins anew
    overrides = shared_overrides(sweep, shared, placement)
    return PreparedStudy(
        overrides, workers, placement, study, parent, queue, sweep, noted, unfinished=RunState.INTERRUPTED
    )


def _begin(queue: TrialQueue, is_a_persons: bool) -> None:
    """Notes this boot; a person who starts a worker takes back that all work was stopped."""
    with queue.lock():  # over the connection that is there
        clock.start(queue.study)
        record = StudyRecord(queue.study)
        if is_a_persons and record.request and record.is_halted:
            record.request = replace(record.request, began=clock.now(queue.study))


def _request_of(study: Study) -> Request:
    request = StudyRecord(study).request
    assert request is not None, "the command of a worker has read it"
    return request


def tell(prepared: PreparedStudy, ended: int, allotment: Allotment) -> None:
    """Prints how many trials this command ended, whether some are left, and if it had no time for them."""
    left = "" if is_over(prepared.queue) else "; the study is not over"
    if left and not allotment.admits(trials := prepared.queue.trials()):
        left += f", but {allotment.explain(trials)}"
    show(f"worker on {socket.gethostname()}: {ended} trials ended here{left}", sys.stderr)


@contextmanager
def _naming_the_host() -> Iterator[None]:
    """Adds this host's name to errors of what a host can lack: data, models and folders."""
    try:
        yield
    except (DataError, ModelError, OutputError) as error:
        raise type(error)(f"host {socket.gethostname()}: {error}") from error


@contextmanager
def passing_stops_on(prepared: PreparedStudy) -> Iterator[None]:
    """Tells this command's workers through the study if a signal asks it to stop, and shows nothing."""
    over = threading.Event()
    thread = threading.Thread(target=_pass_on, args=(prepared, over), daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


def _pass_on(prepared: PreparedStudy, over: threading.Event) -> None:
    while not stop.requested:
        if over.wait(POLL_S):
            return
    queue = prepared.queue
    while True:
        with suppress(FinesweepError):  # of a storage that is away for a moment
            with queue.lock():
                stop.write_to(queue.study)
            return
        if over.wait(POLL_S):
            return
