"""Many trials in one worker: memory, open files, threads and what stays in temporary folders."""

import os
import subprocess
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import psutil
from aftermath import read
from processes import start

from causes.base import Came, fault

TRIALS = 200
EARLY = 60  # trials: caches and pools are filled by then
GROWTH_MIB = 30.0  # of 140 trials: 0.2 MiB each, for the study's records and the noise of the allocator
FEW = 5  # connections of a pool and threads that come and go; a leak would be at least one a trial
ARGUMENTS = (
    "-m", "data.demo_rows=100", 'data.eval_split="validation[:32]"', "trainer.num_train_epochs=1",
    "trainer.per_device_train_batch_size=64", "trainer.threads=1", "trainer.evals_per_epoch=1",
    "tracking.system_metrics=false", "predict=false", "hydra/launcher=basic",
    "hydra.sweeper.study.name=campaign", "hydra.sweeper.study.sampler=random",
    f"hydra.sweeper.study.n_trials={TRIALS}",
)  # fmt: skip


@dataclass(frozen=True)
class Held:
    """What one process holds."""

    mib: float
    files: int
    threads: int
    shared: frozenset[str]  # names in /dev/shm
    temporary: int  # entries of its TMPDIR


def _held(pid: int, temporary: Path) -> Held:
    process = psutil.Process(pid)
    with process.oneshot():
        memory, files, threads = process.memory_info().rss / 2**20, process.num_fds(), process.num_threads()
    shared = frozenset(name for name in os.listdir("/dev/shm") if str(pid) in name)
    return Held(memory, files, threads, shared, len(list(temporary.rglob("*"))))


@fault()
def two_hundred_trials_run_in_one_worker(folder: Path) -> Came:
    """Nothing may be leaked: what the worker holds early is compared with what it holds late."""
    (temporary := folder / "tmp").mkdir()
    log = (folder / "command.log").open("w")
    process = start(*ARGUMENTS, cwd=folder, environ={"TMPDIR": str(temporary)},
                    stdio=(subprocess.DEVNULL, log.fileno(), log.fileno()))  # fmt: skip
    early = late = None
    while process.poll() is None:
        done = len(read(folder).finished)
        with suppress(psutil.NoSuchProcess):
            if done >= EARLY and early is None:
                early = _held(process.pid, temporary)
            if EARLY < done < TRIALS:
                late = _held(process.pid, temporary)
        time.sleep(2)
    if early is None or late is None or process.wait():
        return Came(
            0, None, False, f"exit code {process.wait()}: {(folder / 'command.log').read_text()[-500:]}"
        )
    after = read(folder)
    left = [path.name for path in temporary.rglob("*") if "finesweep-cores" not in str(path)]
    shared = [name for name in os.listdir("/dev/shm") if str(process.pid) in name]
    right = len(after.finished) == TRIALS and not _grown(early, late) and not left and not shared
    detail = f"early {early}, late {late}, left behind {left + shared}"
    return Came(TRIALS - len(after.finished), None, right, detail)


def _grown(early: Held, late: Held) -> bool:
    return (
        late.mib - early.mib > GROWTH_MIB
        or late.files - early.files > FEW
        or late.threads - early.threads > FEW
        or len(late.shared) > len(early.shared)
        or late.temporary > early.temporary
    )
