"""Trains a run in several processes: starts them, passes on what rank 0 reports, and ends them together."""

import logging
import os
import pickle
import signal
import socket
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager, suppress
from functools import partial
from multiprocessing import connection
from pathlib import Path
from typing import Any

import torch
from torch import distributed
from torch.distributed import TCPStore  # type: ignore[attr-defined]

from finesweep.config.run import RunConfig
from finesweep.errors import ProcessDied
from finesweep.hooks import RunHooks, current_watcher
from finesweep.machine import fork_server
from finesweep.machine.fork_server import Started
from finesweep.training import rank_process
from finesweep.training.callback import MetricLog
from finesweep.training.inputs import Inputs
from finesweep.training.rank_process import HOST, Assignment
from finesweep.training.reports import GO_ON, STOP
from finesweep.training.trainer import Trained

POLL_S = 0.2  # between two looks at what the trial wants
# An error of a connection may be the consequence of another rank's end, which is then seen within this time.
GRACE_S = 2.0
ASKED = ("evaluated", "saved")  # reports whose answer rank 0 waits for
Calls = Mapping[str, Callable[..., object]]


def train(
    config: RunConfig,
    inputs: Inputs,
    folder: Path,
    resume: Path | None,
    log: MetricLog,
    hooks: RunHooks | None,
) -> Trained:
    """Trains in `trainer.num_processes` processes; all have ended when it returns or raises.

    Raises: ProcessDied if one was killed; what `fit` raises in one of them, and what `hooks` raise here.
    """
    threads, count = torch.get_num_threads(), config.trainer.num_processes
    rows = {name: split.sha256 for name, split in inputs.content.items()}
    metrics, is_watched = hooks.metrics if hooks else frozenset(), current_watcher.get() is not None
    started: list[Started] = []
    with _meeting_point(count) as port:
        try:
            for rank in range(count):
                assigned = Assignment(
                    rank, config, folder, resume, rows, metrics, hooks is not None, is_watched, threads,
                    cores_of(rank, count, threads), port,
                )  # fmt: skip
                started.append(fork_server.start(partial(rank_process.main, assigned), threads))
            trained = _Group(started, _calls(log, hooks)).watch(hooks)
        except BrokenProcessPool as error:
            raise ProcessDied(f"the processes of the training could not be started: {error}") from error
        finally:
            for one in started:
                if one.process.is_alive():  # else its pid may be another's
                    one.process.kill()
            for one in started:
                one.process.join()
                one.channel.close()
    for rank in range(count):
        rank_process.printed(folder, rank).unlink(missing_ok=True)
    return trained


def cores_of(rank: int, count: int, threads: int) -> list[int]:
    """Returns the cores of a rank: a share of its own if this process has just enough, else all of them."""
    if not hasattr(os, "sched_getaffinity"):  # not Linux
        return []
    cores = sorted(os.sched_getaffinity(0))
    return cores[rank * threads : (rank + 1) * threads] if len(cores) == count * threads else cores


@contextmanager
def _meeting_point(count: int) -> Iterator[int]:
    """Holds the store where the ranks find each other, on a free port of this host alone. Gives the port."""
    with socket.create_server((HOST, 0)) as listening:
        port = int(listening.getsockname()[1])
        store = TCPStore(
            HOST, port, count, is_master=True, wait_for_workers=False, master_listen_fd=listening.detach()
        )
    try:
        yield port
    finally:
        del store  # its thread and its port are gone then, whatever keeps this frame


def _log_here(record: logging.LogRecord) -> None:
    logger = logging.getLogger(record.name)
    if logger.isEnabledFor(record.levelno):
        logger.handle(record)


def _calls(log: MetricLog, hooks: RunHooks | None) -> Calls:
    """Returns what is done with each kind of report."""
    watcher = current_watcher.get()
    calls: dict[str, Callable[..., object]] = {
        "metrics": log.log_metrics,
        "record": _log_here,
    }
    if hooks:
        calls |= {"evaluated": hooks.evaluated, "saved": hooks.saved}
        calls["progress"] = lambda fields: hooks.progress(**fields)
    if watcher:
        calls |= {"stepped": watcher.stepped, "scores": watcher.evaluated}
    return calls


class _Group:
    """The processes of a run while it trains."""

    def __init__(self, started: list[Started], calls: Calls) -> None:
        self.calls = calls
        self.open = {one.channel: rank for rank, one in enumerate(started)}
        self.started = started
        self.failed: dict[int, BaseException] = {}  # by rank, in the order in which they were seen
        self.trained: Trained | None = None

    def watch(self, hooks: RunHooks | None) -> Trained:
        """Waits for rank 0's result. Raises: as `train`."""
        is_told = False
        while self.trained is None:
            self._read(POLL_S)
            if self.failed:
                raise self._cause()
            if hooks:
                hooks.check()
            if hooks and hooks.stopping and not is_told:
                is_told = True
                self._say(STOP)
        return self.trained

    def _read(self, seconds: float) -> None:
        for channel in connection.wait(list(self.open), seconds):
            assert isinstance(channel, connection.Connection)
            rank = self.open[channel]
            try:
                what, content = pickle.loads(channel.recv_bytes())
            except (EOFError, OSError):
                del self.open[channel]
                self.failed[rank] = self._death(rank)
                continue
            if isinstance(what, str):
                self._take(what, content)
                continue
            del self.open[channel]  # that was its last word
            if not what:
                self.failed[rank] = content
            elif rank == 0:
                self.trained = content

    def _take(self, name: str, values: tuple[Any, ...]) -> None:
        self.calls[name](*values)
        if name in ASKED:
            self._say(GO_ON)

    def _say(self, word: str) -> None:
        """Tells rank 0, which may have ended."""
        with suppress(OSError):  # it is seen with the next look
            self.started[0].channel.send_bytes(pickle.dumps(word))

    def _death(self, rank: int) -> ProcessDied:
        process = self.started[rank].process
        process.join(GRACE_S)
        code = process.exitcode or 0
        how = f"was killed by {signal.Signals(-code).name}" if code < 0 else f"ended with exit code {code}"
        of = f"rank {rank} of {len(self.started)}"
        return ProcessDied(f"a process of the training ({of}) {how}; it goes on from its last checkpoint")

    def _cause(self) -> BaseException:
        """Returns the first error that is no mere consequence of another rank's end."""
        until = time.monotonic() + GRACE_S
        while True:
            for error in self.failed.values():
                if not _may_follow(error):
                    return error
            left = until - time.monotonic()
            if left <= 0 or not self.open:
                return next(iter(self.failed.values()))
            self._read(left)


def _may_follow(error: BaseException) -> bool:
    """Tells whether an error is of the kind that torch raises when another rank has gone."""
    return type(error) is RuntimeError or isinstance(error, distributed.DistError)
