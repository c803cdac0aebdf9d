"""Causes faults, each in a fresh folder, and counts what came of them: python tests/support/faults.py

A fault is a function that takes an empty folder, causes one fault there, and returns a `Came`. To add one,
write such a function below and decorate it with `@fault()`. Names on the command line choose some.
The last line of the output is the count; the exit code is 1 if anything was lost, silent or wrong.
"""

import argparse
import json
import os
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import psutil
from aftermath import SweepAftermath, read
from campaign import Command, Plan

PLAN = Plan(n_trials=4, rows=200)
LIMIT_S = 240


@dataclass(frozen=True)
class Came:
    """What came of a fault."""

    lost: int  # finished results that are no longer there
    said: bool | None  # whether the fault was named; None: not judged
    right: bool  # whether the outcome is the right one
    detail: str = ""


Fault = Callable[[Path], Came]
FAULTS: dict[str, Fault] = {}
QUICK: set[str] = set()  # the short form in the suite: they start no process


def fault(quick: bool = False) -> Callable[[Fault], Fault]:
    def added(function: Fault) -> Fault:
        FAULTS[function.__name__] = function
        if quick:
            QUICK.add(function.__name__)
        return function

    return added


class Skipped(Exception):
    """The fault cannot be caused on this machine."""


def run(names: list[str], folder: Path) -> dict[str, Came | str]:
    """Returns for each fault what came of it, or why it was skipped."""
    results: dict[str, Came | str] = {}
    for name in names:
        (own := folder / name).mkdir(parents=True)
        try:
            results[name] = FAULTS[name](own)
        except Skipped as reason:
            results[name] = f"skipped: {reason}"
        except Exception as error:
            results[name] = Came(0, False, False, f"{type(error).__name__}: {error}")
        print(f"{name}: {results[name]}", file=sys.stderr, flush=True)
    return results


def count(results: dict[str, Came | str]) -> str:
    came = [result for result in results.values() if isinstance(result, Came)]
    lost, silent = sum(result.lost for result in came), sum(result.said is False for result in came)
    judged = sum(result.said is not None for result in came)
    right = sum(result.right for result in came)
    return (
        f"{len(came)} faults, {lost} finished results lost, {silent} of {judged} silent, "
        f"{right}/{len(came)} right values"
    )


# Checkpoints and records


def _checkpoints(folder: Path) -> Path:
    from finesweep.io import checkpoint

    def write(into: Path) -> None:
        (into / "model.safetensors").write_bytes(b"weights")

    for step in (999_999, 1_000_000):
        checkpoint.save(write, folder, step)
    return folder / "step-1000000"


def _falls_back(folder: Path) -> Came:
    """The newest checkpoint was harmed: the one before is used, the harmed one is set aside and named."""
    import logging

    from finesweep.io import checkpoint

    lines: list[str] = []
    handler = logging.Handler()
    handler.emit = lambda record: lines.append(record.getMessage())  # type: ignore[method-assign]
    logging.getLogger("finesweep").addHandler(handler)
    try:
        found = checkpoint.newest(folder)
    finally:
        logging.getLogger("finesweep").removeHandler(handler)
    right = found == folder / "step-999999"
    return Came(int(not right), any("damaged" in line for line in lines), right, "; ".join(lines)[:200])


@fault(quick=True)
def manifest_is_empty(folder: Path) -> Came:
    (_checkpoints(folder) / "manifest.json").write_text('{"files": {}}')
    return _falls_back(folder)


@fault(quick=True)
def manifest_is_nested_deeply(folder: Path) -> Came:
    (_checkpoints(folder) / "manifest.json").write_text("[" * 100_000)
    return _falls_back(folder)


@fault(quick=True)
def checkpoint_is_a_link_to_nothing(folder: Path) -> Came:
    newest = _checkpoints(folder)
    shutil.rmtree(newest)
    newest.symlink_to("nowhere")
    return _falls_back(folder)


@fault(quick=True)
def manifest_is_a_named_pipe(folder: Path) -> Came:
    manifest = _checkpoints(folder) / "manifest.json"
    manifest.unlink()
    os.mkfifo(manifest)
    return _falls_back(folder)


@fault(quick=True)
def record_is_a_named_pipe(folder: Path) -> Came:
    from finesweep.config.run import TrackingConfig
    from finesweep.errors import RunError
    from finesweep.reproduce.recorded_run import load_recorded_run

    os.mkfifo(folder / "run.json")
    try:
        load_recorded_run(str(folder), TrackingConfig())
    except RunError as error:
        return Came(0, "run.json" in str(error), True, str(error))
    return Came(0, False, False, "loaded")


@fault(quick=True)
def study_database_is_of_a_newer_schema(folder: Path) -> Came:
    import sqlite3
    from contextlib import closing

    from finesweep.errors import ConfigError
    from finesweep.study.storage import open_storage

    url = f"sqlite:///{folder}/optuna.db"
    open_storage(url).engine.dispose()
    with closing(sqlite3.connect(folder / "optuna.db")) as database:
        database.execute("UPDATE alembic_version SET version_num = 'v9.9.9'")
        database.commit()
    try:
        open_storage(url)
    except ConfigError as error:
        return Came(0, "optuna" in str(error), True, str(error))
    return Came(0, False, False, "opened")


# Sweeps. Each is disturbed, run to its end by the same command, and looked at.


def _start(folder: Path) -> Command:
    return Command(folder, *PLAN.arguments)


def _until_training(command: Command, folder: Path) -> None:
    command.wait(lambda: any(folder.glob("outputs/studies/campaign/trial-*/training/step-*")))


def _finished(folder: Path) -> set[int]:
    return {trial.number for trial in read(folder).finished}


def _ends_well(folder: Path, before: set[int], said: bool | None = None) -> Came:
    """Runs the same command, left alone: every suggestion must be finished, and none of `before` lost."""
    command = _start(folder)
    command.wait(lambda: command.over)
    after = read(folder)
    lost = len(before - {trial.number for trial in after.finished})
    right = command.code == 0 and after.is_over(PLAN.n_trials) and not _left_over(after)
    return Came(lost, said, right, "" if right else command.complaint())


def _left_over(after: SweepAftermath) -> list[str]:
    open_runs = [run.info.run_id for run in after.runs if run.info.status == "RUNNING"]
    return [*open_runs, *(f"trial {trial.number}" for trial in after.lost)]


@fault()
def launcher_alone_is_killed(folder: Path) -> Came:
    command = _start(folder)
    _until_training(command, folder)
    before = _finished(folder)
    workers = command.workers()
    os.kill(command.process.pid, signal.SIGKILL)
    psutil.wait_procs(workers, timeout=LIMIT_S)  # they finish what they have, or notice that they are alone
    command.kill()
    return _ends_well(folder, before)


@fault()
def one_worker_is_killed(folder: Path) -> Came:
    command = _start(folder)
    _until_training(command, folder)
    before = _finished(folder)
    victims = command.workers()
    if victims:
        victims[0].kill()
    command.wait(lambda: command.over)
    return _ends_well(folder, before, said="a worker died" in command.log.read_text())


@fault()
def files_may_not_be_large(folder: Path) -> Came:
    """Under RLIMIT_FSIZE no checkpoint can be written; without it, the same command goes on."""
    limit = 300_000  # bytes: below a checkpoint, above a database that is new

    def limited() -> None:
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))

    script = Path(__file__).resolve().parents[2] / "train.py"
    done = subprocess.run(
        [sys.executable, str(script), *PLAN.arguments],
        cwd=folder, preexec_fn=limited, capture_output=True, text=True, timeout=LIMIT_S,
    )  # fmt: skip
    said = done.returncode != 0 and "error" in done.stderr and "Traceback" not in done.stderr
    came = _ends_well(folder, set(), said)
    return came if said else Came(came.lost, False, came.right, done.stderr[-500:])


@fault()
def output_folder_is_deleted(folder: Path) -> Came:
    command = _start(folder)
    _until_training(command, folder)
    before = _finished(folder)
    shutil.rmtree(folder / "outputs", ignore_errors=True)
    command.wait(lambda: command.over)
    said = command.code != 0 or "damaged" in command.log.read_text()  # as the cause of a trial's failure
    return _ends_well(folder, before, said)


@fault()
def store_becomes_read_only(folder: Path) -> Came:
    disk = folder / "disk"
    with _mounted(disk, "size=400m"):
        command = _start(disk)
        _until_training(command, disk)
        before = _finished(disk)
        subprocess.run(["mount", "-o", "remount,ro", str(disk)], check=False, capture_output=True)
        time.sleep(1)
        command.kill()
        subprocess.run(["mount", "-o", "remount,rw", str(disk)], check=True)
        return _ends_well(disk, before)


@fault()
def no_inodes_are_left(folder: Path) -> Came:
    disk = folder / "disk"
    with _mounted(disk, "size=400m,nr_inodes=60"):
        command = _start(disk)
        command.wait(lambda: command.over)
        said = command.code != 0 and "Traceback" not in command.log.read_text()
        before = _finished(disk)
        subprocess.run(["mount", "-o", "remount,nr_inodes=0", str(disk)], check=True)
        return _ends_well(disk, before, said)


class _mounted:
    """Mounts a small tmpfs; the fault is skipped where that is not allowed."""

    def __init__(self, disk: Path, options: str) -> None:
        self.disk, self.options = disk, options

    def __enter__(self) -> None:
        self.disk.mkdir()
        mount = ["mount", "-t", "tmpfs", "-o", self.options, "tmpfs", str(self.disk)]
        if os.geteuid() or subprocess.run(mount, capture_output=True).returncode:
            raise Skipped("this user may not mount a tmpfs")

    def __exit__(self, *_: object) -> None:
        subprocess.run(["umount", "-l", str(self.disk)], check=False)


@fault()
def six_commands_start_at_once(folder: Path) -> Came:
    commands = [_start(folder) for _ in range(6)]
    for command in commands:
        command.wait(lambda command=command: command.over, 2 * LIMIT_S)
    failed = [command.complaint() for command in commands if command.code]
    came = _ends_well(folder, set())
    return came if not failed else Came(0, None, False, failed[0])


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("names", nargs="*", help="faults to cause; all of them without a name")
    parser.add_argument("--quick", action="store_true", help="only those that start no process")
    given = parser.parse_args()
    if unknown := set(given.names) - FAULTS.keys():
        parser.error(f"{', '.join(sorted(unknown))}: legal: {', '.join(FAULTS)}")
    names = given.names or [name for name in FAULTS if not given.quick or name in QUICK]
    with tempfile.TemporaryDirectory(prefix="faults-", ignore_cleanup_errors=True) as scratch:
        results = run(names, Path(scratch))
    print(json.dumps({name: str(result) for name, result in results.items()}, indent=1))
    print(count(results))
    came = [result for result in results.values() if isinstance(result, Came)]
    return int(any(result.lost or result.said is False or not result.right for result in came))


if __name__ == "__main__":
    sys.exit(main())
