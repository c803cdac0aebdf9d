"""train.py and the `finesweep` command, started as a person starts them."""

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
# A run of about a second: the demo's task, too few rows to learn much.
SMALL = (
    "data.demo_rows=200",
    "trainer.num_train_epochs=1",
    "trainer.threads=1",
    "tracking.system_metrics=false",
)

TRAIN = (str(ROOT / "train.py"),)


def start(*arguments: str, cwd: Path, program: tuple[str, ...] = TRAIN) -> subprocess.Popen[str]:
    """`python train.py ARGUMENTS`, or another program, in a process group as a terminal gives it."""
    command = [sys.executable, *program, *arguments]
    return subprocess.Popen(
        command,
        cwd=cwd,
        env=os.environ | {"HF_HUB_OFFLINE": "1", "PYTHONPATH": str(ROOT / "src")},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def train(*arguments: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    process = start(*arguments, cwd=cwd)
    stdout, stderr = process.communicate(timeout=280)
    return subprocess.CompletedProcess(arguments, process.returncode, stdout, stderr)


def finesweep(*arguments: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    process = start(*arguments, cwd=cwd, program=("-m", "finesweep.cli.main"))
    stdout, stderr = process.communicate(timeout=120)
    return subprocess.CompletedProcess(arguments, process.returncode, stdout, stderr)
