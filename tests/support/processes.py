"""train.py and the `finesweep` command, started as a person starts them."""

import os
import signal
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

from forking import ForkedProcess, fits, server

ROOT = Path(__file__).resolve().parents[2]
# A run of about a second: the demo's task, too few rows to learn much.
SMALL = (
    "data.demo_rows=200",
    "trainer.num_train_epochs=1",
    "trainer.threads=1",
    "tracking.system_metrics=false",
)

TRAIN = (str(ROOT / "train.py"),)
FINESWEEP = ("-m", "finesweep.cli.main")


Process = subprocess.Popen[str] | ForkedProcess
_started: list[Process] = []


def start(
    *arguments: str,
    cwd: Path,
    program: tuple[str, ...] = TRAIN,
    cold: bool = False,
    stdio: tuple[int, int, int] = (subprocess.DEVNULL, subprocess.PIPE, subprocess.PIPE),
    environ: dict[str, str] | None = None,
) -> Process:
    """Starts `python train.py ARGUMENTS`, or another program, in a process group as a terminal gives it.

    It is forked (`forking.py`), unless `cold` asks for a new Python or the environment for another start-up.
    `environ` is added to its environment.
    """
    environ = os.environ | {"HF_HUB_OFFLINE": "1", "PYTHONPATH": str(ROOT / "src")} | (environ or {})
    command = [*program, *arguments]
    if not cold and fits(environ):
        _started.append(server().start(command, cwd, environ, stdio))
        return _started[-1]
    stdin, stdout, stderr = stdio
    process = subprocess.Popen(
        [sys.executable, *command],
        cwd=cwd,
        env=environ,
        stdin=stdin,
        stdout=stdout,
        stderr=stderr,
        text=True,
        start_new_session=True,
    )
    _started.append(process)
    return process


def end_all() -> None:
    """Ends what was started and still runs, as after a test that failed: another test would suffer from it.

    It would take a core, and streams that nobody has closed are a warning, and so an error, wherever they are
    found.
    """
    while _started:
        process = _started.pop()
        if process.poll() is None:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait(60)
        for stream in (process.stdout, process.stderr):
            if stream is not None:
                stream.close()


def train(*arguments: str, cwd: Path, cold: bool = False) -> subprocess.CompletedProcess[str]:
    return _finish(start(*arguments, cwd=cwd, cold=cold), 280)


def finesweep(*arguments: str, cwd: Path, cold: bool = False) -> subprocess.CompletedProcess[str]:
    return _finish(start(*arguments, cwd=cwd, program=FINESWEEP, cold=cold), 280)


def _finish(process: Process, seconds: float) -> subprocess.CompletedProcess[str]:
    stdout, stderr = process.communicate(timeout=seconds)
    assert process.returncode is not None
    return subprocess.CompletedProcess((), process.returncode, stdout, stderr)
