"""Shows a sweep while it runs: a live table on a terminal, one plain line per event elsewhere.

The launching process, or `finesweep status --watch` on any host, reads the study alone. Workers print
nothing, so that their lines cannot mix with the table.
"""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from optuna.study import Study

from finesweep.errors import StoreError
from finesweep.monitor.live import Watcher
from finesweep.monitor.snapshot import Snapshot
from finesweep.study import studies
from finesweep.study.lock import is_locked
from finesweep.study.pausing import waiting
from finesweep.study.records import StudyRecord
from finesweep.study.remaining import ended_by
from finesweep.study.selection import count_finished, searching

POLL_S = 1.0
FOLLOW_S = 2.0  # from another shell: as often as workers tell of themselves
QUIET = 3  # snapshots in a row without a running trial; workers need a moment between two trials


@contextmanager
def watching(sweep: Any, prepared: Any) -> Iterator[None]:
    """Shows the study on stderr while the body runs, and tells its workers if a stop is requested."""
    ended = {trial.number for trial in prepared.queue.trials() if trial.state.is_finished()}
    over = threading.Event()
    study = studies.load(prepared.study.study_name, sweep.config.study.storage)
    watcher = Watcher(study, ended, lambda _: over.wait(POLL_S), prepared.queue.lock)
    watcher.say(f"study {sweep.name}: {_opening(sweep, prepared)}")
    thread = threading.Thread(target=watcher.watch, daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        try:
            thread.join()
        finally:  # a last Ctrl-C may come while the thread still waits for the storage
            watcher.console.show_cursor()


def _opening(sweep: Any, prepared: Any) -> str:
    n_trials = sweep.config.study.n_trials
    if prepared.nothing_to_do:
        ended = str(ended_by(prepared.queue))
        if ended.startswith("stop_when"):
            return f"{ended}; nothing to do; more with hydra.sweeper.study.stop_when=none"
        return f"all {n_trials} trials are finished, nothing to do; more with hydra.sweeper.study.n_trials=N"
    search, given_up = searching(prepared.queue.trials()), StudyRecord(prepared.study).given_up or ()
    paused = len(waiting(search, given_up))
    before = count_finished(search) - paused
    known = f", {before} finished before" if before else ""
    known += f", {paused} are paused" if paused else ""
    many = "s" if prepared.workers > 1 else ""
    sampler = sweep.config.study.sampler
    return f"{n_trials} trials{known}, {prepared.workers} worker{many}, sampler {sampler}"


def follow(study: Study, storage: str) -> None:
    """Shows the study on stderr until nobody is at work on it any more."""
    ended = {trial.number for trial in study.get_trials(deepcopy=False) if trial.state.is_finished()}
    quiet = 0

    def is_over(snapshot: Snapshot | None) -> bool:
        nonlocal quiet
        if snapshot is None or _somebody_works(snapshot, study.study_name, storage):
            quiet = 0
        else:
            quiet += QUIET if snapshot.is_concluded else 1
        if quiet < QUIET:
            time.sleep(FOLLOW_S)
        return quiet >= QUIET

    Watcher(study, ended, is_over).watch()


def _somebody_works(snapshot: Snapshot, name: str, storage: str) -> bool:
    if snapshot.is_starting or not all(map(snapshot.is_gone, snapshot.running)):
        return True
    try:
        return is_locked(storage, f"{name}:finish")
    except StoreError:  # a storage that is away for a moment
        return True
