"""Abandoned runs: a process that notices a run of a killed process closes it."""

import os
import socket

import psutil
from mlflow.entities import Run

from finesweep.config.run import TrackingConfig
from finesweep.hooks import RunState
from finesweep.tags import Kind, Tag
from finesweep.tracking.store import open_store
from finesweep.tracking.tracked import RUNNING, TrackedRun, deliver_spooled


def process_identity() -> str:
    """Gives ``pid:start`` of this process; the start time tells it from a later one of the same pid."""
    return f"{os.getpid()}:{psutil.Process().create_time():.2f}"


def close_trial_runs(config: TrackingConfig, study: str, number: int, state: RunState) -> None:
    """Closes the runs that a dead worker left of one trial, also those that were closed as abandoned."""
    which = f"tags.`{Tag.STUDY}` = '{study}' and tags.`{Tag.TRIAL}` = '{number}'"
    for run in _search(config, which):
        if run.data.tags.get(Tag.STATE) != state or run.info.status == RUNNING:
            TrackedRun(open_store(config), run.info.run_id).end(state)


def kill_abandoned_runs(config: TrackingConfig) -> None:
    """Closes the runs and trials of this host whose process was killed and could not do it itself."""
    here = f"tags.`{Tag.HOST}` = '{socket.gethostname()}'"
    for run in _search(config, f"{here} and attributes.status = '{RUNNING}'"):
        pid, _, start = run.data.tags.get(Tag.PROCESS, "0:0").partition(":")
        if run.data.tags.get(Tag.KIND) != Kind.STUDY and not _lives(int(pid), float(start)):
            TrackedRun(open_store(config), run.info.run_id).end(RunState.INTERRUPTED)


def _search(config: TrackingConfig, which: str) -> list[Run]:
    """Finds runs, after delivering what the spool holds of them: it may say how they ended."""
    client = open_store(config)
    deliver_spooled(client)
    experiments = [experiment.experiment_id for experiment in client.search_experiments()]
    return list(client.search_runs(experiments, which))


def _lives(pid: int, start: float) -> bool:
    try:
        return abs(psutil.Process(pid).create_time() - start) < 5.0  # the clock may have been set since
    except psutil.NoSuchProcess:
        return False
