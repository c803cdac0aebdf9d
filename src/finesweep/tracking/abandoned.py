"""Abandoned runs: a process that notices a run of a killed process closes it."""

import socket

import psutil
from mlflow.entities import Run

from finesweep.config.run import TrackingConfig
from finesweep.hooks import RunState
from finesweep.machine.process import ProcessIdentity, machine_id, this_process
from finesweep.tags import Kind, Tag
from finesweep.tracking.store import open_store
from finesweep.tracking.tracked import RUNNING, TrackedRun, deliver_spooled


def close_trial_runs(config: TrackingConfig, study: str, number: int, state: RunState) -> None:
    """Closes the runs that a dead worker left of one trial, also those that were closed as abandoned."""
    which = f"tags.`{Tag.STUDY}` = '{study}' and tags.`{Tag.TRIAL}` = '{number}'"
    for run in _search(config, which):
        if run.data.tags.get(Tag.STATE) != state or run.info.status == RUNNING:
            TrackedRun(open_store(config), run.info.run_id).end(state)


def kill_abandoned_runs(config: TrackingConfig) -> None:
    """Closes the runs and trials of this host whose process was killed and could not do it itself.

    Runs of another PID namespace stay as they are: nobody here can see whether their process lives.
    """
    here = f"tags.`{Tag.HOST}` = '{socket.gethostname()}'"
    for run in _search(config, f"{here} and attributes.status = '{RUNNING}'"):
        if run.data.tags.get(Tag.KIND) != Kind.STUDY and _is_abandoned(run.data.tags):
            TrackedRun(open_store(config), run.info.run_id).end(RunState.INTERRUPTED)


def _search(config: TrackingConfig, which: str) -> list[Run]:
    """Finds runs, after delivering what the spool holds of them: it may say how they ended."""
    client = open_store(config)
    deliver_spooled(client)
    experiments = [experiment.experiment_id for experiment in client.search_experiments()]
    return list(client.search_runs(experiments, which))


def _is_abandoned(tags: dict[str, str]) -> bool:
    text = tags.get(Tag.PROCESS, "")
    if "|" not in text:  # version 0.1: pid:start, whose start moves with the clock
        pid = text.partition(":")[0]
        return not (pid.isdecimal() and psutil.pid_exists(int(pid)))
    process = ProcessIdentity.parse(text)
    if (alive := process.is_alive()) is not None:
        return not alive
    machine = machine_id()
    was_booted_since = machine is not None and tags.get(Tag.MACHINE) == machine
    return was_booted_since and process.boot != this_process().boot
