"""One of the processes that train a run together: it joins the others, trains, and reports what it does.

The process that started it talks to the study and to MLflow, gets the reports of rank 0, and ends them all.
"""

import logging
import os
import pickle
import signal
import sys
import threading
import time
import traceback
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from logging.handlers import QueueHandler
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, SupportsFloat

from torch import distributed
from torch.distributed import TCPStore  # type: ignore[attr-defined]

from finesweep.config.run import RunConfig
from finesweep.errors import DataChanged
from finesweep.hooks import current_watcher
from finesweep.machine import device
from finesweep.training import ranks
from finesweep.training.fit import fit
from finesweep.training.inputs import Inputs, load_inputs
from finesweep.training.trainer import Trained

HOST = "127.0.0.1"
STOP, GO_ON = "stop", "go on"  # what the starting process says
REPORT_EVERY_S = 0.5  # steps are reported no more often, and before each evaluation
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


class Reports:
    """The pipe to the process that started this one; this process ends with that one."""

    def __init__(self, channel: Connection) -> None:
        self._channel, self._lock = channel, threading.Lock()
        self.stopping = threading.Event()
        self._answered = threading.Semaphore(0)
        threading.Thread(target=self._listen, daemon=True).start()

    def _listen(self) -> None:
        try:
            while True:
                if pickle.loads(self._channel.recv_bytes()) == STOP:
                    self.stopping.set()
                else:
                    self._answered.release()
        except (EOFError, OSError):
            os.kill(os.getpid(), signal.SIGKILL)  # whatever waits for the others then ends, too

    def tell(self, name: str, *values: Any) -> None:
        with self._lock:
            self._channel.send_bytes(pickle.dumps((name, values)))

    def ask(self, name: str, *values: Any) -> None:
        """Reports, and waits until it is taken note of: whoever does not agree ends this process."""
        self.tell(name, *values)
        self._answered.acquire()


class ReportedLog:
    """Receives metrics, in rank 0."""

    def __init__(self, reports: Reports) -> None:
        self._reports = reports

    def log_metrics(self, metrics: dict[str, float], step: int, epoch: float) -> None:
        self._reports.tell("metrics", metrics, step, epoch)


class NoLog:
    """Receives metrics, in the other ranks, which have the same."""

    def log_metrics(self, metrics: dict[str, float], step: int, epoch: float) -> None: ...


class ReportedTrial:
    """Implements `finesweep.hooks.StepHooks`, in rank 0. The starting process itself checks time limits."""

    def __init__(self, reports: Reports) -> None:
        self._reports = reports
        self._latest: dict[str, float | str] = {}
        self._reported = 0.0

    @property
    def stopping(self) -> bool:
        return self._reports.stopping.is_set()

    def check(self) -> None: ...

    def progress(self, **fields: float | str) -> None:
        self._latest |= fields
        if time.monotonic() - self._reported > REPORT_EVERY_S:
            self.report()

    def report(self) -> None:
        self._reported = time.monotonic()
        self._reports.tell("progress", self._latest)

    def evaluated(self, value: float, progress: float) -> None:
        self.report()
        self._reports.ask("evaluated", value, progress)


class ReportedWatcher:
    """Implements `finesweep.hooks.RunWatcher`, in rank 0. The loss that it shows is that of rank 0's rows."""

    def __init__(self, reports: Reports) -> None:
        self._reports, self._reported = reports, 0.0

    def stepped(
        self, step: int, max_steps: int, epoch: float, loss: SupportsFloat, examples_per_s: float,
        seconds_left: float,
    ) -> None:  # fmt: skip
        if time.monotonic() - self._reported > REPORT_EVERY_S:
            self._reported = time.monotonic()
            self._reports.tell("stepped", step, max_steps, epoch, float(loss), examples_per_s, seconds_left)

    def evaluated(self, step: int, max_steps: int, scores: dict[str, float]) -> None:
        self._reports.tell("scores", step, max_steps, scores)


class _ReportedRecords(QueueHandler):
    """Sends what is logged to the log of the run."""

    def enqueue(self, record: logging.LogRecord) -> None:
        self.queue.tell("record", record)  # type: ignore[attr-defined]  # it is `Reports`


def main(assigned: Assignment, channel: Connection) -> Trained | None:
    """Is what a rank does. Raises: what `fit` raises, with a note of where."""
    for name in NOT_FOR_RANKS:
        signal.signal(getattr(signal, name), signal.SIG_IGN)
    if assigned.cores and hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, assigned.cores)
    _print_to(printed(assigned.folder, assigned.index))
    reports = Reports(channel)
    try:
        inputs = _same_inputs(assigned)
        _log_to(reports, assigned.index)
        _join(assigned)
        return _fit(assigned, inputs, reports)
    except BaseException as error:
        error.add_note(f"in the process of rank {assigned.index}:\n{traceback.format_exc()}")
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
    root = logging.getLogger()
    root.handlers = [_ReportedRecords(reports)]  # type: ignore[arg-type]
    root.setLevel(logging.INFO if rank == 0 else logging.ERROR)


def _join(assigned: Assignment) -> None:
    """Joins the group, with the variables that torchrun sets, by which libraries know their place."""
    rank, count = str(assigned.index), str(assigned.config.trainer.num_processes)
    os.environ |= {"RANK": rank, "LOCAL_RANK": rank, "WORLD_SIZE": count, "LOCAL_WORLD_SIZE": count,
                   "MASTER_ADDR": HOST, "MASTER_PORT": str(assigned.port)}  # fmt: skip
    for name in ("GLOO_SOCKET_IFNAME", "NCCL_SOCKET_IFNAME"):  # all ranks are on this host
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
