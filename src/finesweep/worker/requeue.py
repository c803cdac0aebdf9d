"""Has SLURM start a worker's command again that ended before the work: at a signal, or for lack of time."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from finesweep.cluster import slurm
from finesweep.errors import StoreError, StudyError
from finesweep.io.patience import single_attempts
from finesweep.io.terminal import show
from finesweep.study.budget import train_steps
from finesweep.study.queue import TrialQueue
from finesweep.study.records import StudyRecord
from finesweep.study.remaining import has_work
from finesweep.study.selection import is_running
from finesweep.study.signals import stop
from finesweep.worker.allotment import Allotment

FRUITLESS = 2  # restarts, after which one that trains nothing is the last; a first start may only be slow


@contextmanager
def starting_again(queue: TrialQueue, allotment: Allotment, launched_by: str | None = None) -> Iterator[None]:
    """Asks for another start after the body, which runs workers, if they left work for lack of time.

    launched_by: the command that submitted this worker. Ctrl-C, a stop of that command, and one of all work
    are a person's: they ask for none. Where nothing is left, the workers of its array that have not begun are
    cancelled; in a person's own array, they may be of other studies.
    """
    task = slurm.this_task()
    if task is None:
        yield
        return
    steps = train_steps(queue.trials())
    try:
        yield
    except (KeyboardInterrupt, StoreError):  # a store that was away when the workers ended hides the signal
        if stop.signal is not None:
            _ask(task, queue, allotment, steps)
        raise
    record = StudyRecord(queue.study)
    if record.is_halted or launched_by in (record.stopped_commands or []):
        return
    if not allotment.admits(queue.skim()):
        _ask(task, queue, allotment, steps)
    elif launched_by and not _finds_work(queue) and not is_running(queue.skim()):
        slurm.cancel_waiting(task)


def _ask(task: str, queue: TrialQueue, allotment: Allotment, steps_before: int) -> None:
    """Asks SLURM, unless nothing is left, or start after start ends without a step of training."""
    with suppress(StoreError), single_attempts():  # a store that is away says neither; the next start will
        trials = queue.trials()
        if not _finds_work(queue):
            return
        fruitless = allotment.is_over and train_steps(trials) <= steps_before
        if fruitless and slurm.restarts() >= FRUITLESS:
            show(
                "the time limit is too short: no trial was trained for a single step. This worker gives up; "
                "raise hydra.launcher.time_limit_min, or lower hydra.launcher.signal_lead_s",
                sys.stderr,
            )
            return
    show(slurm.requeue(task), sys.stderr)


def _finds_work(queue: TrialQueue) -> bool:
    """Tells whether another start would find work; in a space that a command has edited, it finds none."""
    try:
        return has_work(queue)
    except StudyError:
        return False
