"""Shows one training on stderr: a line that is redrawn on a terminal, plain lines now and then elsewhere."""

import logging
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import SupportsFloat, TextIO

from rich.console import Console
from rich.live import Live
from rich.text import Text

from finesweep.hooks import current_watcher
from finesweep.io.terminal import printable
from finesweep.monitor.wording import clock, number

REDRAW_S = 0.5  # a line takes 1 ms of the training's time
PLAIN_S = 15.0  # between two plain lines; evaluations have lines of their own


@contextmanager
def showing_training(evaluations: bool = True) -> Iterator[None]:
    """Shows the training that the body runs. evaluations: whether they get a line each."""
    line = TrainingLine(evaluations)
    token = current_watcher.set(line)
    try:
        yield
    finally:
        current_watcher.reset(token)
        line.close()


class TrainingLine:
    """The watcher (`finesweep.hooks.RunWatcher`) that prints on stderr."""

    def __init__(self, evaluations: bool) -> None:
        self.evaluations = evaluations
        self.console = Console(stderr=True, highlight=False)
        self.every_s = REDRAW_S if self.console.is_interactive else PLAIN_S
        self._next: float | None = None  # when a line is due
        self._live: Live | None = None
        self._streams: dict[logging.StreamHandler[TextIO], TextIO] = {}  # of logs, as they were

    def stepped(
        self, step: int, max_steps: int, epoch: float, loss: SupportsFloat, examples_per_s: float,
        seconds_left: float,
    ) -> None:  # fmt: skip
        now = time.monotonic()
        if self._next is None:
            self._next = now if self.console.is_interactive else now + PLAIN_S
        if now < self._next:
            return
        self._next = now + self.every_s
        parts = [f"step {step}/{max_steps}", f"epoch {epoch:.2f}", f"loss {float(loss):.4f}"]
        text = "  ".join([*parts, f"{examples_per_s:.0f} examples/s", f"ETA {clock(seconds_left)}"])
        if not self.console.is_interactive:
            self._say(text)
            return
        if self._live is None:
            self._open()
        assert self._live is not None
        self._live.update(Text(text, no_wrap=True, overflow="ellipsis"), refresh=True)

    def evaluated(self, step: int, max_steps: int, scores: dict[str, float]) -> None:
        if self.evaluations:
            shown = "  ".join(f"{key.removeprefix('eval_')} {number(value)}" for key, value in scores.items())
            self._say(f"step {step}/{max_steps} evaluated: {shown}")
        if step == max_steps:
            self.close()

    def close(self) -> None:
        """Removes the line from the terminal."""
        if self._live is not None:
            self._live.stop()
            self._live = None
            for handler, stream in self._streams.items():
                handler.setStream(stream)

    def _open(self) -> None:
        """Draws the line, and lets messages of logs pass above it as other output does."""
        before = {sys.stdout: "stdout", sys.stderr: "stderr"}
        logs = [one for one in logging.getLogger().handlers if isinstance(one, logging.StreamHandler)]
        self._streams = {handler: handler.stream for handler in logs if handler.stream in before}
        self._live = Live(
            console=self.console, transient=True, auto_refresh=False, redirect_stdout=sys.stdout.isatty()
        )
        self._live.start()
        for handler, stream in self._streams.items():
            handler.setStream(getattr(sys, before[stream]))

    def _say(self, text: str) -> None:
        self.console.print(Text(printable(text)), soft_wrap=not self.console.is_interactive)
