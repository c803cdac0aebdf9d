"""Disks that are full, read-only or taken away, and files that may not grow."""

import resource
import shutil
import subprocess
import time
from pathlib import Path

import psutil
from campaign import Command

from causes.base import Came, Sweep, fault, mounted


def _said(command: Command) -> bool:
    """One clear error: no traceback, and not an exit code of 0."""
    text = command.log.read_text()
    return command.code in (1, 2) and "error: " in text and "Traceback" not in text


def _run(*command: str | Path) -> None:
    subprocess.run([str(part) for part in command], check=True, capture_output=True)


def _unmount(disk: Path, limit_s: float = 60) -> None:
    """Unmounts a disk once its last process has ended: workers may outlive their command for a moment."""
    until = time.monotonic() + limit_s
    while subprocess.run(["umount", str(disk)], capture_output=True).returncode:
        if time.monotonic() > until:
            raise RuntimeError(f"{disk} is in use by {_users(disk)}")
        time.sleep(0.1)


def _users(disk: Path) -> list[str]:
    def uses(process: psutil.Process) -> bool:
        opened = [file.path for file in process.open_files()]
        return any(Path(path).is_relative_to(disk) for path in [process.cwd(), *opened])

    return [" ".join(process.cmdline()) for process in psutil.process_iter() if uses(process)]


def _ends(sweep: Sweep, command: Command, before: set[int], said: bool) -> Came:
    text = command.log.read_text()[-500:]
    came = sweep.finish(before, said)
    return came if said else Came(came.lost, said, came.right, f"{text} {came.detail}")


@fault()
def files_may_not_be_large(folder: Path) -> Came:
    """Under RLIMIT_FSIZE no more checkpoint can be written; without it, the same command goes on."""
    sweep = Sweep(folder)
    command = sweep.start("hydra/launcher=basic")
    sweep.until_training(command)
    before, limit = sweep.finished(), 400_000  # bytes: below a checkpoint
    resource.prlimit(command.process.pid, resource.RLIMIT_FSIZE, (limit, limit))
    command.wait(lambda: command.over)
    return _ends(sweep, command, before, _said(command))


@fault()
def output_folders_are_deleted(folder: Path) -> Came:
    """Those of the trials that are training, until one has noticed."""
    sweep = Sweep(folder)
    command = sweep.start()
    sweep.until_training(command)
    before = sweep.finished()
    command.wait(lambda: _delete_training(folder / "outputs/studies/campaign") or sweep.handed_back())
    command.wait(lambda: command.over)
    return _ends(sweep, command, before, _said(command))


def _delete_training(study: Path) -> None:
    for training in study.glob("trial-*/training"):
        if not (training.parent / "checkpoint").exists():  # it is not finished yet
            shutil.rmtree(training.parent, ignore_errors=True)


@fault()
def disk_becomes_read_only(folder: Path) -> Came:
    """As ext4 does after an error, while trials run; the disk is then checked and mounted again."""
    image, disk = folder / "image", folder / "disk"
    _run("truncate", "--size=500M", image)
    _run("mkfs.ext4", "-q", "-F", image)
    with mounted(disk, "loop", str(image)):
        sweep = Sweep(disk, logs=folder)
        command = sweep.start()
        sweep.until_training(command)
        before = sweep.finished()
        _run("mount", "-o", "remount,abort", disk)
        command.wait(lambda: command.over)
        said = _said(command)
        _unmount(disk)
    subprocess.run(["e2fsck", "-fy", str(image)], capture_output=True)
    with mounted(disk, "loop", str(image)):
        return _ends(sweep, command, before, said)


@fault()
def no_inodes_are_left(folder: Path) -> Came:
    with mounted(disk := folder / "disk", "size=400m,nr_inodes=60", "tmpfs", "-t", "tmpfs"):
        sweep = Sweep(disk, logs=folder)
        command = sweep.start()
        command.wait(lambda: command.over)
        before, said = sweep.finished(), _said(command)
        _run("mount", "-o", "remount,nr_inodes=0", disk)
        return _ends(sweep, command, before, said)
