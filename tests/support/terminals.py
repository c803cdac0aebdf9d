"""A pseudo-terminal, for what a person sees in a real one."""

import os
import pty
import signal
import subprocess
import time
from contextlib import suppress
from pathlib import Path

from processes import TRAIN, start


class Terminal:
    """A pseudo-terminal of 100 columns on a program's stderr."""

    def __init__(self, *arguments: str, program: tuple[str, ...] = TRAIN, cwd: Path) -> None:
        self._end, theirs = pty.openpty()
        terminal = {"TERM": "xterm", "COLUMNS": "100", "LINES": "24"}
        stdio = (theirs, subprocess.PIPE, theirs)
        self.process = start(*arguments, program=program, cwd=cwd, environ=terminal, stdio=stdio)
        os.close(theirs)

    def __enter__(self) -> "Terminal":
        return self

    def __exit__(self, *_: object) -> None:
        """Leaves nothing running, whatever the test came to."""
        with suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait(60)

    def read_until(self, text: str, seconds: float = 120) -> str:
        seen, deadline = "", time.monotonic() + seconds
        while text not in seen:
            assert time.monotonic() < deadline, seen
            seen += os.read(self._end, 4096).decode(errors="replace")
        return seen

    def read(self) -> str:
        """To the end of the program."""
        seen = ""
        with suppress(OSError):  # what Linux says when nobody has the other end any more
            while part := os.read(self._end, 4096):
                seen += part.decode(errors="replace")
        os.close(self._end)
        return seen
