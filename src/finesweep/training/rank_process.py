"""One of the processes that train a run together: it joins the others, trains, and reports what it does.

The process that started it talks to the study and to MLflow, gets the reports of rank 0, and ends them all.
"""

import logging
import os
import signal
import sys
import traceback
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from multiprocessing.connection import Connection
from pathlib import Path

from torch import distributed
from torch.distributed import TCPStore  # type: ignore[attr-defined]

from finesweep.config.run import RunConfig
from finesweep.errors import DataChanged, OutputError, first_line
from finesweep.hooks import current_watcher
from finesweep.io.output import explaining_removal, is_output_error
from finesweep.machine import device
from finesweep.training import ranks
from finesweep.training.fit import fit
from finesweep.training.inputs import Inputs, load_inputs
from finesweep.training.reports import (
    NoLog,
    ReportedLog,
    ReportedRecords,
    ReportedTrial,
    ReportedWatcher,
    Reports,
)
from finesweep.training.trainer import Trained

HOST = "127.0.0.1"
# The starting process sees a dead rank at once and ends the others. This is for one that lives and stands
# still, and longer than rank 0 may wait for a store.
STANDSTILL_S = 1800.0
# Sent to a whole process group, or job of a cluster: for the process that started the ranks.
NOT_FOR_RANKS = ("SIGINT", "SIGTERM", "SIGUSR1", "SIGUSR2", "SIGHUP")


@dataclass(frozen=True)
class Assignment:
    """What a rank is told when it is started."""

    index: int
    config: RunConfig
    folder: Path  # of the training
    resume: Path | None
    rows: dict[str, str]  # SHA-256 of each split, as the starting process has read it
    metrics: frozenset[str]  # further ones to score
    is_trial: bool
    is_watched: bool
    threads: int
    cores: Sequence[int]  # those that this process may use
    port: int  # of the store where the ranks meet


def main(assigned: Assignment, channel: Connection) -> Trained | None:
    """Is what a rank does. Raises: what `fit` raises, with a note of where."""
    for name in filter(partial(hasattr, signal), NOT_FOR_RANKS):
        signal.signal(getattr(signal, name), signal.SIG_IGN)
    if assigned.cores and hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, assigned.cores)
    _print_to(printed(assigned.folder, assigned.index))
    reports = Reports(channel)
    try:
        with explaining_removal(assigned.folder.parent):  # here: a pipe carries no causes
            inputs = _same_inputs(assigned)
            _log_to(reports, assigned.index)
            _join(assigned)
            return _fit(assigned, inputs, reports)
    except BaseException as error:
        error.add_note(f"in the process of rank {assigned.index}:\n{traceback.format_exc()}")
        if is_output_error(error) and not isinstance(error, OutputError):
            reason = f"rank {assigned.index}: {first_line(error)}"
            raise OutputError(f"{reason}; the disk takes no more: make room") from error
        raise


def printed(folder: Path, rank: int) -> Path:
    """Returns the file beside the training folder that has what a rank prints on stderr; torch's C++ does."""
    return folder.parent / f"rank-{rank}.log"


def _print_to(file: Path) -> None:
    with file.open("a") as stream:
        os.dup2(stream.fileno(), sys.stderr.fileno())


def _same_inputs(assigned: Assignment) -> Inputs:
    """Loads the run's inputs. Raises: DataChanged if they are no longer those of the starting process."""
    inputs = load_inputs(assigned.config)
    read = {name: split.sha256 for name, split in inputs.content.items()}
    if read != assigned.rows:
        raise DataChanged(
            f"data.path: {assigned.config.data.path or assigned.config.data.name}: rows were changed while "
            "the run's processes read them; start the same command again"
        )
    return inputs


def _log_to(reports: Reports, rank: int) -> None:
    """Sends messages of rank 0 to the run's log. The others would repeat them: only their errors are sent."""
    logging.captureWarnings(True)
    warnings.filterwarnings("ignore", "`broadcast_buffers` is deprecated", FutureWarning)  # accelerate's
    root = logging.getLogger()
    root.handlers = [ReportedRecords(reports)]  # type: ignore[arg-type]
    root.setLevel(logging.INFO if rank == 0 else logging.ERROR)


def _join(assigned: Assignment) -> None:
    """Joins the group, with the variables that torchrun sets, by which libraries know their place."""
    rank, count = str(assigned.index), str(assigned.config.trainer.num_processes)
    os.environ |= {"RANK": rank, "LOCAL_RANK": rank, "WORLD_SIZE": count, "LOCAL_WORLD_SIZE": count,
                   "MASTER_ADDR": HOST, "MASTER_PORT": str(assigned.port)}  # fmt: skip
    if sys.platform == "linux":  # all ranks are on this host
        for name in ("GLOO_SOCKET_IFNAME", "NCCL_SOCKET_IFNAME"):
            os.environ.setdefault(name, "lo")
    backend = device.join_group(assigned.config.trainer, assigned.index, assigned.threads)
    limit = timedelta(seconds=STANDSTILL_S + assigned.config.tracking.patience_s)
    store = TCPStore(HOST, assigned.port, int(count), is_master=False, timeout=limit)
    distributed.init_process_group(
        backend, store=store, rank=assigned.index, world_size=int(count), timeout=limit
    )


def _fit(assigned: Assignment, inputs: Inputs, reports: Reports) -> Trained | None:
    run = assigned.config, inputs, assigned.folder, assigned.resume
    if not ranks.is_first():
        return fit(*run, NoLog(), None, assigned.metrics)
    trial = ReportedTrial(reports) if assigned.is_trial else None
    current_watcher.set(ReportedWatcher(reports) if assigned.is_watched else None)
    try:
        return fit(*run, ReportedLog(reports), trial, assigned.metrics)
    finally:
        if trial:
            trial.report()
