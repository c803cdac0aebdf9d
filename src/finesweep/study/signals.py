"""Signals: at the first one, trials save and are handed back; the second ends at once.

Ctrl-C is a person's. An engine ends a job by SIGTERM, and can announce a time limit by SIGUSR1 or SIGUSR2.
"""

import signal
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from types import FrameType

from optuna.study import Study

from finesweep.study.liveness import this_owner
from finesweep.study.records import StudyRecord

SIGNALS = [
    getattr(signal, name)
    for name in ("SIGINT", "SIGTERM", "SIGUSR1", "SIGUSR2")
    if hasattr(signal, name)  # Windows has fewer
]
KEPT = 200  # stops that a study remembers: a cluster may end as many workers at once


def this_command() -> str:
    """Names the launching process to its workers, wherever they are; no later process has the name."""
    return this_owner()


class Stop:
    """A process's request to stop, set by its signals, or by the launching process in the study."""

    def __init__(self) -> None:
        self._requested = threading.Event()
        self._commands: tuple[str, ...] = ()  # whose workers listen here
        self.signal: int | None = None  # that asked this process; None if a person or the study did

    @property
    def requested(self) -> bool:
        return self._requested.is_set()

    @contextmanager
    def listening(self, *commands: str) -> Iterator[None]:
        """Handles signals while the body runs; does nothing where this process handles them already.

        commands: who may ask for a stop through the study; this process asks as the first of them.
        A thread other than the main one cannot handle signals: there, only the study can ask for a stop.
        """
        if self._commands:
            yield
            return
        self._commands = commands
        self._requested.clear()
        self.signal = None
        is_main = threading.current_thread() is threading.main_thread()
        numbers = SIGNALS if is_main else []
        before = {number: signal.signal(number, self._on_signal) for number in numbers}
        try:
            yield
        finally:
            self._commands = ()
            for number, handler in before.items():
                signal.signal(number, handler)

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        if self.requested:
            raise KeyboardInterrupt
        self.signal = None if number == signal.SIGINT else number
        self._requested.set()

    def write_to(self, study: Study) -> None:
        """Tells the workers of this command, on any host, through the study."""
        record = StudyRecord(study)
        if self._commands:
            record.stopped_commands = [*(record.stopped_commands or [])[-KEPT:], self._commands[0]]

    def read_from(self, study: Study) -> None:
        self.hear(StudyRecord(study).stopped_commands or [])

    def hear(self, stopped_commands: Sequence[str]) -> None:
        """Requests a stop if a command that is listened to is among those that were told to stop."""
        if not {*self._commands}.isdisjoint(stopped_commands):
            self._requested.set()


stop = Stop()
