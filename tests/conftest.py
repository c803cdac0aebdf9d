"""Shared by the tests: a folder of their own, the composed config, and train.py as a person starts it."""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from hydra import compose, initialize_config_dir

from finesweep.config import RunConfig, parse_config, register_schema

ROOT = Path(__file__).resolve().parent.parent
# A run of about a second: the demo's task, too few rows to learn much.
SMALL = (
    "data.demo_rows=200",
    "trainer.num_train_epochs=1",
    "trainer.threads=1",
    "tracking.system_metrics=false",
)


@pytest.fixture(autouse=True)
def own_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Every test writes its mlruns/ and outputs/ in a folder of its own."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    return tmp_path


@pytest.fixture
def no_finish(monkeypatch: pytest.MonkeyPatch) -> None:
    """For sweeps whose training is the test's own (`sweeping.sweep`): no weights to predict with."""
    monkeypatch.setattr("finesweep.sweep.finish._submit", lambda *_: {"submissions": [], "metrics": {}})


@pytest.fixture
def config() -> Callable[..., RunConfig]:
    """A run's config as train.py composes it from these overrides."""

    def composed(*overrides: str) -> RunConfig:
        register_schema()
        with initialize_config_dir(str(ROOT / "conf"), version_base="1.3"):
            return parse_config(compose("config", [*SMALL, *overrides]))

    return composed


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
    process = start(*arguments, cwd=cwd, program=("-m", "finesweep.cli"))
    stdout, stderr = process.communicate(timeout=120)
    return subprocess.CompletedProcess(arguments, process.returncode, stdout, stderr)
