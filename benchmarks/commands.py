"""Runs commands as a person does, to their very end, and watches memory and disk meanwhile."""

import ctypes
import os
import subprocess
import sys
import time
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path

import psutil

ROOT = Path(__file__).resolve().parent.parent
TRAIN = [sys.executable, str(ROOT / "train.py")]
FINESWEEP = [sys.executable, "-m", "finesweep.cli.main"]
PR_SET_CHILD_SUBREAPER = 36


def run(
    arguments: Sequence[str],
    folder: Path,
    environ: Mapping[str, str] = {},
    watch: Callable[[], object] | None = None,
) -> str:
    """Runs a command, and waits for what it leaves behind, too. Returns what it prints.

    watch: is called five times a second while the command runs.
    """
    adopt_orphans()
    before = {process.pid for process in psutil.Process().children()}
    with (folder / "stdout").open("w+") as output, (folder / "stderr").open("w+") as errors:
        environ = {**os.environ, "HF_HUB_OFFLINE": "1", **environ}
        process = subprocess.Popen(arguments, cwd=folder, env=environ, stdout=output, stderr=errors)
        while watch and process.poll() is None:
            watch()
            time.sleep(0.2)
        process.wait()
        for left in {child.pid for child in psutil.Process().children()} - before:
            with suppress(ChildProcessError):
                os.waitpid(left, 0)
        errors.seek(0)
        if process.returncode:
            raise SystemExit(f"{' '.join(arguments)}: failed\n{errors.read()}")
        output.seek(0)
        return output.read()


def adopt_orphans() -> None:
    """Makes a command's processes that outlive it children of this process (Linux), so that they count."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1)


class Peaks:
    """The highest memory and disk use of a command, in MB. Call it while the command runs."""

    def __init__(self, folders: Callable[[], Sequence[Path]]) -> None:
        self.folders = folders
        self.before = {process.pid for process in psutil.Process().children(recursive=True)}
        self.resident: dict[int, float] = defaultdict(float)  # of each process
        self.proportional = 0.0  # of all processes together; shared memory counts once
        self.disk: dict[str, float] = defaultdict(float)  # of each folder

    def __call__(self) -> None:
        total = 0.0
        for process in psutil.Process().children(recursive=True):
            if process.pid in self.before:
                continue
            with suppress(psutil.Error, OSError):  # it has just ended
                self.resident[process.pid] = max(self.resident[process.pid], resident_peak(process.pid))
                total += process.memory_full_info().pss / 1e6
        self.proportional = max(self.proportional, total)
        for folder in self.folders():
            self.disk[folder.name] = max(self.disk[folder.name], disk_use(folder))


def resident_peak(pid: int | str) -> float:
    """Returns the highest resident memory that a process has had, in MB."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) * 1024 / 1e6
    return 0.0  # it is ending


def disk_use(folder: Path) -> float:
    """Returns the MB of a folder; a file with several names counts once."""
    sizes = {}
    for path in folder.rglob("*"):
        with suppress(FileNotFoundError):
            stat = path.lstat()
            sizes[stat.st_ino] = stat.st_blocks * 512 / 1e6
    return sum(sizes.values())
