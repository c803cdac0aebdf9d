"""A detached actor that runs a worker's command on a node of a Ray cluster, and removes itself afterwards."""

import ctypes
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import ray

PDEATHSIG = 1  # PR_SET_PDEATHSIG, man 2 prctl
LINGER_S = 10.0  # for which the actor's answer can be fetched; nobody fetches it after the driver was killed
PROJECT = "--project"


@dataclass(frozen=True)
class Ended:
    """How a worker's command ended."""

    host: str
    code: int
    log: str
    last: str  # line of the log


class CommandActor:
    """Runs a command in a process of its own. Ray repeats the constructor elsewhere if its node dies."""

    def __init__(self, command: Sequence[str], log: str, has_working_folder: bool) -> None:
        """log: path of the file for the command's output, to which the host's name is added.

        has_working_folder: whether Ray brought the project here, as this process's working folder.
        """
        self._command = [sys.executable, *command[1:]]  # the node's own Python
        if has_working_folder:
            self._command[self._command.index(PROJECT) + 1] = os.getcwd()
        self._log = Path(f"{log}-{socket.gethostname()}.log")
        self._log.parent.mkdir(parents=True, exist_ok=True)
        self._process: subprocess.Popen[bytes] | None = None
        self._code = 127  # what a shell says of a command that cannot be started
        self._over = threading.Event()
        self._handle = ray.get_runtime_context().current_actor
        threading.Thread(target=self._run, daemon=True).start()

    def is_here(self) -> bool:
        """Answers as soon as the cluster has had room for this actor."""
        return True

    def wait(self) -> Ended:
        """Returns when the command has ended."""
        self._over.wait()
        lines = self._log.read_text(errors="replace").split("\n")
        return Ended(socket.gethostname(), self._code, str(self._log), ([""] + [*filter(None, lines)])[-1])

    def kill(self) -> None:
        """Kills the command with all processes that it has started."""
        if self._process:
            os.killpg(self._process.pid, signal.SIGKILL)

    def _run(self) -> None:
        try:
            with self._log.open("ab") as log:
                self._process = subprocess.Popen(
                    self._command,
                    env=_without_slurm(),
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=log,
                    start_new_session=True,
                    preexec_fn=_end_with_parent,
                )
                self._code = self._process.wait()
        finally:
            self._over.set()
            time.sleep(LINGER_S)
            ray.kill(self._handle)


def _without_slurm() -> dict[str, str]:
    """Leaves out the SLURM job that Ray's nodes may run in: it is not the worker's to requeue or cancel."""
    return {name: value for name, value in os.environ.items() if not name.startswith("SLURM_")}


def _end_with_parent() -> None:
    """Has this process told to stop when the actor's process is killed: it then hands its trials back."""
    ctypes.CDLL(None).prctl(PDEATHSIG, signal.SIGTERM)
