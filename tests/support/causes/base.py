"""What faults share: what came of one, the sweep that most of them disturb, and how it is judged.

A disturbed sweep is run to its end by the same command, left alone. Each result is then compared with that of
the same suggestion in an undisturbed sweep: its point, score, metrics and SHA-256 of the best weights.
"""

import os
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import psutil
from aftermath import SweepAftermath, problems, read
from campaign import Command, Plan
from optuna.trial import FrozenTrial, TrialState

from finesweep.machine.process import ProcessIdentity
from finesweep.study.records import TrialRecord

PLAN = Plan(n_trials=4, rows=200, cold=False)
LIMIT_S = 240


@dataclass(frozen=True)
class Came:
    """What came of a fault."""

    lost: int  # results that are no longer there, or are others than in an undisturbed sweep
    said: bool | None  # whether the fault was named; None: nothing had to be said
    right: bool  # whether the outcome is the right one
    detail: str = ""
    faults: int = 1  # how often it was caused


class Skipped(Exception):
    """The fault cannot be caused on this machine."""


Fault = Callable[[Path], Came]
FAULTS: dict[str, Fault] = {}
QUICK: set[str] = set()  # the short form in the suite: they start no process


def fault(quick: bool = False) -> Callable[[Fault], Fault]:
    """Makes a decorator of a function that causes one fault in an empty folder."""

    def added(function: Fault) -> Fault:
        FAULTS[function.__name__] = function
        if quick:
            QUICK.add(function.__name__)
        return function

    return added


@dataclass(frozen=True)
class Sweep:
    """The sweep that a fault disturbs: where it runs, and with which stores."""

    folder: Path
    plan: Plan = PLAN
    storage: str | None = None
    tracking: str | None = None
    logs: Path | None = None  # another folder for what the commands print

    def start(self, *more: str) -> Command:
        stores = {"hydra.sweeper.study.storage": self.storage, "tracking.uri": self.tracking}
        named = [f"{key}={address}" for key, address in stores.items() if address]
        return Command(self.folder, *self.plan.arguments, *named, *more, cold=self.plan.cold, logs=self.logs)

    def until_training(self, command: Command) -> None:
        command.wait(lambda: any(self.folder.glob("outputs/studies/campaign/trial-*/training/step-*")))

    def read(self) -> SweepAftermath:
        return read(self.folder, storage=self.storage, tracking=self.tracking)

    def workers(self) -> list[psutil.Process]:
        """Lists the processes that run a trial now."""
        owners = {TrialRecord(trial).owner for trial in self.running()} - {None}
        return [psutil.Process(int(ProcessIdentity.parse(str(owner)).pid)) for owner in owners]

    def running(self) -> list[FrozenTrial]:
        return [trial for trial in self.read().trials if trial.state is TrialState.RUNNING]

    def handed_back(self) -> bool:
        return any(trial.state is TrialState.FAIL for trial in self.read().trials)

    def finished(self) -> set[int]:
        return {trial.number for trial in self.read().finished}

    def finish(self, before: set[int], said: bool | None = None, faults: int = 1) -> Came:
        """Runs the same command, left alone, and judges the results; those of `before` must stay."""
        command = self.start()
        command.wait(lambda: command.over)
        return self.judge(before, said, faults, command.complaint() if command.code else "")

    def judge(self, before: set[int], said: bool | None, faults: int = 1, complaint: str = "") -> Came:
        after, wanted = self.read(), undisturbed(self.plan)
        found = [complaint] if complaint else problems(after, wanted, self.plan.n_trials)
        lost = _lost(after, wanted, before)
        return Came(len(lost), said, not found and not lost, "; ".join(found)[:1500], faults)


def _lost(after: SweepAftermath, wanted: SweepAftermath, before: set[int]) -> set[int | None]:
    """Lists the suggestions whose result is not the undisturbed one, or was there before and is no more."""
    other = {key for key, result in wanted.results.items() if after.results.get(key) != result}
    now = {trial.number for trial in after.finished}
    return other | {TrialRecord(after.trials[number]).ordinal for number in before - now}


@cache
def undisturbed(plan: Plan) -> SweepAftermath:
    """Runs the sweep of this plan once, and reads its results."""
    with tempfile.TemporaryDirectory(prefix="undisturbed-", ignore_cleanup_errors=True) as folder:
        sweep = Sweep(Path(folder), plan)
        command = sweep.start()
        command.wait(lambda: command.over)
        after = sweep.read()
        if command.code or (found := problems(after, after, plan.n_trials)):
            raise RuntimeError(f"the undisturbed sweep: {command.complaint() if command.code else found}")
        assert after.results  # read while the folder is there
        return after


@contextmanager
def mounted(disk: Path, options: str, device: str, *more: str) -> Iterator[None]:
    """Mounts a small disk. Raises: Skipped where that is not allowed."""
    disk.mkdir(exist_ok=True)
    mount = ["mount", *more, "-o", options, device, str(disk)]
    if os.geteuid() or subprocess.run(mount, capture_output=True).returncode:
        raise Skipped("this user may not mount a disk")
    try:
        yield
    finally:
        subprocess.run(["umount", "-l", str(disk)], check=False, capture_output=True)
