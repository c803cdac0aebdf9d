"""Places a worker process on GPUs, or on CPU cores, of its own, before it imports torch."""

import logging
import os
import time
from collections.abc import Callable
from dataclasses import dataclass

from finesweep.machine import claims, determinism, gpus
from finesweep.tags import Tag

log = logging.getLogger(__name__)
POLL_S = 2.0  # between two looks for GPUs that are free
VISIBLE = "CUDA_VISIBLE_DEVICES"
CLAIMED = "FINESWEEP_GPUS"  # what this process, or the worker that started it, has claimed


@dataclass(frozen=True)
class Placement:
    """The resources that the workers of one machine share."""

    threads: int = 1  # of each process, on a CPU
    gpus: int = 0  # of the machine, or those that a cluster allots. 0: the workers compute on the CPU
    pin: bool = True  # whether each CPU worker gets cores of its own
    processes: int = 1  # of each trial: each has a GPU, or `threads` cores
    workers_per_gpu: int = 1

    @property
    def capacity(self) -> int:
        """How many workers the GPUs have room for."""
        return self.gpus // self.processes * self.workers_per_gpu

    def take(self, index: int, is_needed: Callable[[], bool] = lambda: True) -> dict[str, str] | None:
        """Places this process as the machine's worker number `index`, until it ends. Returns MLflow tags.

        It waits until enough GPUs are free; returns None if `is_needed` denies meanwhile.
        """
        worker = {Tag.WORKER: str(index)}
        if not self.gpus:
            return worker | self._take_cores()
        taken = self._take_gpus(is_needed)
        return worker | {Tag.GPU: ",".join(taken)} if taken else None

    def claim_gpus(self) -> list[str]:
        """Claims the GPUs of a worker, or of a single run. Returns none if too few are free."""
        taken = claims.claim("gpus", gpus.allotted(self.gpus), self.processes, self.workers_per_gpu)
        if taken:
            os.environ[VISIBLE] = os.environ[CLAIMED] = ",".join(taken)
        return taken

    @property
    def has_gpus(self) -> bool:
        """Whether this process has claimed its GPUs, or its worker has, from which it has the environment."""
        return CLAIMED in os.environ and os.environ[CLAIMED] == os.environ.get(VISIBLE)

    def note(self, workers: int) -> str | None:
        """Says that GPUs are in use, if they leave no room for this many workers."""
        free = claims.count_free("gpus", gpus.allotted(self.gpus), self.workers_per_gpu) if self.gpus else 0
        room = free // self.processes
        if not self.gpus or room >= min(workers, self.capacity):
            return None
        return (
            f"GPUs: other processes of finesweep hold some of the {self.gpus}; there is room for {room} of "
            f"{workers} workers, and the others wait"
        )

    def _take_gpus(self, is_needed: Callable[[], bool]) -> list[str]:
        determinism.fix_cublas_workspace()
        waits = False
        while not (taken := self.claim_gpus()):
            if not waits:
                log.warning("waits for %d of the %d GPUs: other workers hold them", self.processes, self.gpus)
            waits = True
            if not is_needed():
                return []
            time.sleep(POLL_S)
        return taken

    def _take_cores(self) -> dict[str, str]:
        determinism.set_threads(self.threads)
        cores = _pin_to_free_cores(self.threads * self.processes) if self.pin else []
        tags = {Tag.THREADS: str(self.threads)}
        return tags | ({Tag.CORES: ",".join(map(str, cores))} if cores else {})


_allowed: list[str] = []  # the cores that this process had before it was pinned


def take_idle_cores() -> int | None:
    """Adds the cores that no worker has any more to those of this process, for threads that it starts now.

    Returns how many cores it has then; None if it was not given any.
    """
    if not claims.claimed("cores"):
        return None
    cores = claims.claim_rest("cores", dict(zip(_allowed, _allowed, strict=True)))
    os.sched_setaffinity(0, map(int, cores))
    return len(cores)


def _pin_to_free_cores(count: int) -> list[int]:
    """Pins this process to `count` cores that no other worker of this user has.

    Returns the cores; none, and pins nothing, where too few are free or the system cannot pin.
    """
    if not hasattr(os, "sched_setaffinity"):  # not Linux
        return []
    if not claims.claimed("cores"):  # else this process was a worker before
        _allowed[:] = map(str, sorted(os.sched_getaffinity(0)))
    cores = list(map(int, claims.claim("cores", dict(zip(_allowed, _allowed, strict=True)), count)))
    if cores:
        os.sched_setaffinity(0, cores)
    return cores
