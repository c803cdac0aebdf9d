"""Replays studies in several processes."""

from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TypeVar

Job = TypeVar("Job")
Result = TypeVar("Result")
MEMORY = Path("/dev/shm")  # where Linux has one: the studies' files


def pooled(work: Callable[[Job, Path], Result], jobs: Sequence[Job], processes: int) -> list[Result]:
    """Calls `work` with each job and a folder of its own. Returns the results in the jobs' order."""
    with ProcessPoolExecutor(processes, mp_context=get_context("fork")) as pool:
        return list(pool.map(partial(_alone, work), jobs, chunksize=4))


def _alone(work: Callable[[Job, Path], Result], job: Job) -> Result:
    with TemporaryDirectory(dir=MEMORY if MEMORY.is_dir() else None) as folder:
        return work(job, Path(folder))
