"""What a rank reports to the process that started it, which talks to the study, to MLflow and to people."""

import logging
import os
import pickle
import signal
import threading
import time
from logging.handlers import QueueHandler
from multiprocessing.connection import Connection
from typing import Any, SupportsFloat

STOP, GO_ON = "stop", "go on"  # what the starting process says
REPORT_EVERY_S = 0.5  # steps are reported no more often, and before each evaluation


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

    def saved(self) -> None:
        self._reports.ask("saved")


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


class ReportedRecords(QueueHandler):
    """Sends what is logged to the log of the run."""

    def enqueue(self, record: logging.LogRecord) -> None:
        self.queue.tell("record", record)  # type: ignore[attr-defined]  # it is `Reports`
