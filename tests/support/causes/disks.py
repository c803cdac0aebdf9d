"""Disks that are full, read-only or taken away, and files that may not grow."""

import resource
import shutil
from pathlib import Path

from campaign import Command

from causes.base import Came, Sweep, fault, mounted, remount


def _said(command: Command) -> bool:
    """One clear error: no traceback, and not an exit code of 0."""
    text = command.log.read_text()
    return command.code in (1, 2) and "error: " in text and "Traceback" not in text


def _ends(sweep: Sweep, command: Command, before: set[int], said: bool) -> Came:
    text = command.log.read_text()[-500:]
    came = sweep.finish(before, said)
    return came if said else Came(came.lost, said, came.right, f"{text} {came.detail}")


@fault()
def files_may_not_be_large(folder: Path) -> Came:
    """Under RLIMIT_FSIZE no checkpoint can be written; without it, the same command goes on."""
    sweep = Sweep(folder)
    command = sweep.start("hydra/launcher=basic")
    limit = 300_000  # bytes: below a checkpoint, above a database that is new
    resource.prlimit(command.process.pid, resource.RLIMIT_FSIZE, (limit, limit))
    command.wait(lambda: command.over)
    return _ends(sweep, command, set(), _said(command))


@fault()
def output_folder_is_deleted(folder: Path) -> Came:
    sweep = Sweep(folder)
    command = sweep.start()
    sweep.until_training(command)
    before = sweep.finished()
    shutil.rmtree(folder / "outputs", ignore_errors=True)
    command.wait(lambda: command.over)
    said = command.code == 0 or _said(command)
    return _ends(sweep, command, before, said)


@fault()
def store_becomes_read_only(folder: Path) -> Came:
    """The whole disk, while trials run."""
    with mounted(disk := folder / "disk", "size=400m"):
        sweep = Sweep(disk)
        command = sweep.start()
        sweep.until_training(command)
        before = sweep.finished()
        remount(disk, "ro")
        command.wait(lambda: command.over)
        said = _said(command)
        remount(disk, "rw")
        return _ends(sweep, command, before, said)


@fault()
def no_inodes_are_left(folder: Path) -> Came:
    with mounted(disk := folder / "disk", "size=400m,nr_inodes=60"):
        sweep = Sweep(disk)
        command = sweep.start()
        command.wait(lambda: command.over)
        before, said = sweep.finished(), _said(command)
        remount(disk, "nr_inodes=0")
        return _ends(sweep, command, before, said)
