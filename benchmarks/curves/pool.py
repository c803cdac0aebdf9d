"""Replays studies in several processes."""

import os
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
    """Calls `work` with each job and a folder of the process. Returns the results in the jobs' order."""
    with (
        TemporaryDirectory(dir=MEMORY if MEMORY.is_dir() else None) as folder,
        ProcessPoolExecutor(processes, mp_context=get_context("fork")) as pool,
    ):
        return list(pool.map(partial(_alone, work, folder), jobs, chunksize=4))


def _alone(work: Callable[[Job, Path], Result], folder: str, job: Job) -> Result:
    own = Path(folder, str(os.getpid()))
    own.mkdir(exist_ok=True)
    return work(job, own)
