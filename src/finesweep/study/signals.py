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


def begin_again(study: Study) -> None:
    """Takes back an earlier stop of this very process: in a notebook, it may start another command.

    The caller holds the study's lock.
    """
    record = StudyRecord(study)
    if this_command() in (told := record.stopped_commands or []):
        record.stopped_commands = [command for command in told if command != this_command()]


class Stop:
    """A process's request to stop, set by its signals, or by the launching process in the study."""

    def __init__(self) -> None:
        self._requested = threading.Event()
        self._commands: tuple[str, ...] = ()  # whose workers listen here
        self._began: float | None = None  # when the work began that listens here, by the study's clock
        self.signal: int | None = None  # that asked this process; None if a person or the study did

    @property
    def requested(self) -> bool:
        return self._requested.is_set()

    @contextmanager
    def listening(self, *commands: str, began: float | None = None) -> Iterator[None]:
        """Handles signals while the body runs; does nothing where this process handles them already.

        commands: who may ask for a stop through the study; this process asks as the first of them.
        began: when the work began, by the study's clock; a person may have stopped all work since.
        A thread other than the main one cannot handle signals: there, only the study can ask for a stop.
        """
        if self._commands:
            yield
            return
        self._commands, self._began = commands, began
        self._requested.clear()
        self.signal = None
        is_main = threading.current_thread() is threading.main_thread()
        numbers = SIGNALS if is_main else []
        before = {number: signal.signal(number, self._on_signal) for number in numbers}
        try:
            yield
        finally:
            self._commands, self._began = (), None
            for number, handler in before.items():
                signal.signal(number, handler)

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        if self.requested:
            raise KeyboardInterrupt
        self.signal = None if number == signal.SIGINT else number
        self._requested.set()

    def write_to(self, study: Study) -> None:
        """Tells the workers of this command, on any host, through the study, whose lock the caller holds."""
        record = StudyRecord(study)
        if self._commands:
            record.stopped_commands = [*(record.stopped_commands or [])[-KEPT:], self._commands[0]]

    def read_from(self, record: StudyRecord) -> None:
        self.hear(record.stopped_commands or [], record.halted)

    def hear(self, stopped_commands: Sequence[str], halted: float | None) -> None:
        """Requests a stop if a command that is listened to was told to stop, or all work since it began.

        halted: when a person stopped all work on the study.
        """
        is_named = not {*self._commands}.isdisjoint(stopped_commands)
        is_halted = halted is not None and self._began is not None and halted > self._began
        if is_named or is_halted:
            self._requested.set()


stop = Stop()
