"""Processes that are killed, stopped, or started all at once."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import psutil
from campaign import Command, Plan
from processes import ROOT

from causes.base import LIMIT_S, Came, Skipped, Sweep, fault
from finesweep.study.liveness import GRACE_S

SMALL = Plan(n_trials=2, rows=100, cold=False)


def _wait(seconds: float, command: Command) -> None:
    until = time.monotonic() + seconds
    command.wait(lambda: time.monotonic() > until, seconds + 10)


@fault()
def launcher_alone_is_killed(folder: Path) -> Came:
    """Its workers finish what there is, and their processes end."""
    sweep = Sweep(folder)
    command = sweep.start()
    sweep.until_training(command)
    before, workers = sweep.finished(), sweep.workers()
    os.kill(command.process.pid, signal.SIGKILL)
    _, left = psutil.wait_procs(workers, timeout=LIMIT_S / 4)
    finished = len(sweep.finished()) == sweep.plan.n_trials
    with suppress(ProcessLookupError):
        os.killpg(command.process.pid, signal.SIGKILL)
    came = sweep.finish(before)
    if left or not finished:
        return Came(came.lost, None, False, f"workers that stay: {left}; all trials finished: {finished}")
    return came


@fault()
def one_worker_is_killed(folder: Path) -> Came:
    sweep = Sweep(folder)
    command = sweep.start()
    sweep.until_training(command)
    before = sweep.finished()
    for victim in sweep.workers()[:1]:
        victim.kill()
    command.wait(lambda: command.over)
    said = "a worker died" in command.log.read_text()
    return sweep.judge(before, said, complaint=command.complaint() if command.code else "")


@fault()
def one_worker_is_stopped_past_the_grace_period(folder: Path) -> Came:
    """Its process can be seen, so it keeps its trial; the other worker does the rest."""
    sweep = Sweep(folder)
    command = sweep.start()
    sweep.until_training(command)
    before = sweep.finished()
    for victim in sweep.workers()[:1]:
        victim.suspend()
        _wait(GRACE_S + 10, command)
        victim.resume()
    command.wait(lambda: command.over)
    tried = len(sweep.read().trials)
    came = sweep.judge(before, None, complaint=command.complaint() if command.code else "")
    return came if tried == sweep.plan.n_trials else Came(came.lost, None, False, f"{tried} trials")


@fault()
def a_container_is_stopped_past_the_grace_period(folder: Path) -> Came:
    """Its processes cannot be seen from outside: its lease ends, and its late results must not count."""
    sweep, log = Sweep(folder), folder / "container.log"
    with _in_a_container(sweep, log) as container:
        before = _stop_within_a_trial(sweep, container)
        command = sweep.start()
        command.wait(lambda: command.over, LIMIT_S + GRACE_S)
        os.killpg(container.pid, signal.SIGCONT)
        code = container.wait(LIMIT_S)
    complaint = command.complaint() if command.code else ""
    complaint += f"the container's command: {log.read_text()[-500:]}" if code else ""
    said = any("taken over" in path.read_text() for path in folder.glob("outputs/studies/campaign/*/*.log"))
    return sweep.judge(before, said, complaint=complaint)


def _stop_within_a_trial(sweep: Sweep, container: subprocess.Popen[bytes]) -> set[int]:
    """Stops the container while a trial is RUNNING, not between two. Returns the trials that it finished."""
    while container.poll() is None:
        os.killpg(container.pid, signal.SIGSTOP)
        if sweep.running():
            return sweep.finished()
        os.killpg(container.pid, signal.SIGCONT)
        time.sleep(0.2)
    raise RuntimeError("the container's command was over before it could be stopped")


@contextmanager
def _in_a_container(sweep: Sweep, log: Path) -> Iterator[subprocess.Popen[bytes]]:
    """Runs the sweep in a PID namespace of its own, until it trains."""
    arguments = [str(ROOT / "train.py"), *sweep.plan.arguments, "hydra/launcher=basic"]
    command = ["unshare", "--pid", "--fork", "--mount-proc", sys.executable, *arguments]
    with log.open("w") as output:
        outer = subprocess.Popen(
            command, cwd=sweep.folder, stdout=output, stderr=output, start_new_session=True
        )
    try:
        while not any(sweep.folder.glob("outputs/studies/campaign/trial-*/training/step-*")):
            if outer.poll() is not None:
                raise Skipped(f"no namespace for processes here: {log.read_text()[-300:]}")
            time.sleep(0.05)
        yield outer
    finally:
        with suppress(ProcessLookupError):
            os.killpg(outer.pid, signal.SIGKILL)


@fault()
def six_commands_start_at_once(folder: Path) -> Came:
    """Ten times, each in a fresh folder; the first time with two workers each."""
    came = [_six_commands(folder / str(index), [] if index == 0 else ["hydra/launcher=basic"])
            for index in range(10)]  # fmt: skip
    details = {one.detail for one in came if one.detail}
    return Came(sum(one.lost for one in came), None, all(one.right for one in came), "; ".join(details), 10)


def _six_commands(folder: Path, more: list[str]) -> Came:
    folder.mkdir()
    sweep = Sweep(folder, SMALL)
    commands = [sweep.start(*more) for _ in range(6)]
    for command in commands:
        command.wait(lambda command=command: command.over, 2 * LIMIT_S)
    failed = [command.complaint() for command in commands if command.code]
    return sweep.judge(set(), None, complaint=failed[0] if failed else "")
