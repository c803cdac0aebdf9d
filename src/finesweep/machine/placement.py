"""Where a worker computes: cores of its own, or a GPU; said before torch has looked."""

import os
import tempfile
from dataclasses import dataclass
from pathlib import Path

from filelock import FileLock, Timeout

from finesweep.machine import determinism
from finesweep.tags import Tag


@dataclass(frozen=True)
class Placement:
    """What the workers of one machine share."""

    threads: int = 1  # of each worker, on a CPU
    gpus: int = 0  # that one machine's workers go round
    pin: bool = True  # each worker to cores of its own

    def take(self, index: int) -> dict[str, str]:
        """The place of the machine's `index`-th worker, until this process ends. Returns MLflow tags."""
        if self.gpus:
            gpu = _gpu(index, self.gpus)
            os.environ["CUDA_VISIBLE_DEVICES"] = gpu
            determinism.deterministic_cublas()
            return {Tag.WORKER: str(index), Tag.GPU: gpu}
        determinism.threads(self.threads)
        tags = {Tag.WORKER: str(index), Tag.THREADS: str(self.threads)}
        cores = _claim_cores(self.threads) if self.pin else []
        return tags | ({Tag.CORES: ",".join(map(str, cores))} if cores else {})


def _gpu(index: int, gpus: int) -> str:
    """By its name in CUDA_VISIBLE_DEVICES, where a cluster has set that; else by its number."""
    allotted = os.environ.get("CUDA_VISIBLE_DEVICES") or ",".join(map(str, range(gpus)))
    names = allotted.split(",")
    return names[index % len(names)]


_held: list[FileLock] = []  # until this process ends; the operating system frees them on a kill


def _claim_cores(count: int) -> list[int]:
    """Pins this process to cores that no other worker of this user has; to none where too few are free."""
    if not hasattr(os, "sched_setaffinity"):  # not Linux
        return []
    if _held:  # a worker was here before, in the same process
        return sorted(os.sched_getaffinity(0))
    folder = Path(tempfile.gettempdir()) / f"finesweep-cores-{os.getuid()}"
    folder.mkdir(mode=0o700, exist_ok=True)
    claimed: dict[int, FileLock] = {}
    for core in sorted(os.sched_getaffinity(0)):
        lock = FileLock(folder / f"{core}.lock", timeout=0)
        try:
            lock.acquire()
        except Timeout:
            continue
        claimed[core] = lock
        if len(claimed) == count:
            _held.extend(claimed.values())
            os.sched_setaffinity(0, claimed)
            return list(claimed)
    for lock in claimed.values():
        lock.release()
    return []
