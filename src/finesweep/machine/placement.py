"""Places a worker process on a GPU, or on CPU cores of its own, before it imports torch."""

import os
import tempfile
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from filelock import FileLock, Timeout

from finesweep.machine import determinism
from finesweep.tags import Tag


@dataclass(frozen=True)
class Placement:
    """The resources that the workers of one machine share."""

    threads: int = 1  # of each worker, on a CPU
    gpus: int = 0  # of the machine; its workers take them in turn. 0: the workers compute on the CPU
    pin: bool = True  # whether each CPU worker gets cores of its own

    def take(self, index: int) -> dict[str, str]:
        """Places this process as the machine's worker number `index`, until it ends. Returns MLflow tags."""
        worker = {Tag.WORKER: str(index)}
        return worker | (self._take_gpu(index) if self.gpus else self._take_cores())

    def _take_gpu(self, index: int) -> dict[str, str]:
        """A cluster names the allotted GPUs in CUDA_VISIBLE_DEVICES; without it, they have numbers."""
        allotted = os.environ.get("CUDA_VISIBLE_DEVICES") or ",".join(map(str, range(self.gpus)))
        names = allotted.split(",")
        os.environ["CUDA_VISIBLE_DEVICES"] = gpu = names[index % len(names)]
        determinism.fix_cublas_workspace()
        return {Tag.GPU: gpu}

    def _take_cores(self) -> dict[str, str]:
        determinism.set_threads(self.threads)
        cores = _pin_to_free_cores(self.threads) if self.pin else []
        tags = {Tag.THREADS: str(self.threads)}
        return tags | ({Tag.CORES: ",".join(map(str, cores))} if cores else {})


_held: list[FileLock] = []  # held until this process ends; a kill frees them, too
_allowed = set[int]()  # the cores that this process had before it was pinned


def take_idle_cores() -> int | None:
    """Adds the cores that no worker has any more to those of this process, for threads that it starts now.

    Returns how many cores it has then; None if it was not given any.
    """
    if not _held:
        return None
    idle = _lock_free_cores(_allowed, len(_allowed))
    _held.extend(idle.values())
    os.sched_setaffinity(0, {*os.sched_getaffinity(0), *idle})
    return len(os.sched_getaffinity(0))


def _pin_to_free_cores(count: int) -> list[int]:
    """Pins this process to `count` cores that no other worker of this user has.

    Returns the cores; none, and pins nothing, where too few are free or the system cannot pin.
    """
    if not hasattr(os, "sched_setaffinity"):  # not Linux
        return []
    if _held:  # this process was a worker before
        return sorted(os.sched_getaffinity(0))
    _allowed.update(os.sched_getaffinity(0))
    locks = _lock_free_cores(_allowed, count)
    if len(locks) < count:
        for lock in locks.values():
            lock.release()
        return []
    _held.extend(locks.values())
    os.sched_setaffinity(0, locks)
    return list(locks)


def _lock_free_cores(among: Iterable[int], count: int) -> dict[int, FileLock]:
    """Locks at most `count` cores that no worker of this user has. Returns the locks by core."""
    folder = Path(tempfile.gettempdir()) / f"finesweep-cores-{os.getuid()}"
    folder.mkdir(mode=0o700, exist_ok=True)
    locks: dict[int, FileLock] = {}
    for core in sorted(among):
        if len(locks) == count:
            break
        lock = FileLock(folder / f"{core}.lock", timeout=0)
        try:
            lock.acquire()
        except Timeout:
            continue
        locks[core] = lock
    return locks
