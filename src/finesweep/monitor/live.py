"""The live display of a study: a table that is redrawn on a terminal, one line per event elsewhere."""

import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress

from optuna.study import Study
from rich.console import Console, RenderableType
from rich.live import Live
from rich.text import Text

from finesweep.io.patience import describe, single_attempts
from finesweep.io.terminal import printable
from finesweep.monitor import notebook
from finesweep.monitor.events import beginning, ending
from finesweep.monitor.snapshot import Snapshot, take_snapshot
from finesweep.monitor.table import live_table
from finesweep.study.signals import stop

STOPPING = "stopping: running trials save and are handed back; Ctrl-C again ends them now"


class Watcher:
    """Takes snapshots of a study until `is_over`, which also waits between two of them."""

    def __init__(
        self, study: Study, ended: set[int], is_over: Callable[[Snapshot | None], bool],
        lock: Callable[[], AbstractContextManager[None]] = nullcontext,
    ) -> None:  # fmt: skip
        """`is_over` gets the last snapshot, or None if it could not be taken. lock: the study's, to write."""
        self.study, self.is_over, self.lock = study, is_over, lock
        self.told = False  # the workers, to stop
        self.console = Console(stderr=True, highlight=False)
        self.ended, self.begun = set(ended), set[int]()
        self.snapshot: Snapshot | None = None  # the last one that could be taken
        self.notes: dict[str, str] = {}  # under the table

    def say(self, text: str) -> None:
        """Prints a line; a terminal that is narrower breaks it between words."""
        self.console.print(Text(printable(text)), soft_wrap=not self.console.is_interactive)

    def watch(self) -> None:
        with self._screen() as show:
            while True:
                self.glance(show)
                if self.is_over(None if "storage" in self.notes else self.snapshot):
                    break
        self.glance(lambda: None)

    @contextmanager
    def _screen(self) -> Iterator[Callable[[], None]]:
        """Yields the function that draws the table; it does nothing where output cannot be redrawn."""
        if self.console.is_jupyter:
            yield notebook.screen(self._drawn)
            return
        if not self.console.is_interactive:
            yield lambda: None
            return
        live = Live(
            console=self.console, transient=True, auto_refresh=False,
            redirect_stdout=sys.stdout.isatty(),  # else stdout is a file, and stays one
        )  # fmt: skip
        with live:
            yield lambda: live.update(self._drawn(), refresh=True)

    def _drawn(self) -> RenderableType:
        notes = list(self.notes.values())
        return live_table(self.snapshot, self.console, notes) if self.snapshot else Text("\n".join(notes))

    def glance(self, show: Callable[[], None]) -> None:
        """Takes a snapshot and shows it. If the study cannot be read, the last table stays, with a note."""
        try:
            with single_attempts():  # the next glance is the next attempt
                if stop.requested:
                    self._note("stop", STOPPING)
                    show()  # the lock may be held while another point is drawn
                    self._tell_stop()
                snapshot = take_snapshot(self.study)
                stop.read_from(snapshot.record)
            self._say_events(snapshot)
            self.snapshot = snapshot
            self.notes.pop("storage", None)
            show()
        except Exception as error:
            self._note("storage", f"the study cannot be read just now: {describe(error)}")
            with suppress(Exception):
                show()

    def _tell_stop(self) -> None:
        if not self.told:
            with self.lock():
                stop.write_to(self.study)
            self.told = True

    def _note(self, about: str, text: str) -> None:
        if about not in self.notes and not self.console.is_interactive:
            self.say(text)
        self.notes[about] = printable(text)

    def _say_events(self, snapshot: Snapshot) -> None:
        """Prints what has begun or ended since the last snapshot."""
        for trial in snapshot.running:
            if trial.number not in self.begun and not self.console.is_interactive:
                self.say(beginning(trial))
            self.begun.add(trial.number)
        for trial in snapshot.trials:
            if trial.state.is_finished() and trial.number not in self.ended:
                self.ended.add(trial.number)
                self.say(ending(snapshot, trial))
