"""Ends a command when its workers have ended: prints the summary, and says what is left to be done."""

import time

from optuna.trial import TrialState

from finesweep.errors import SweepFailed
from finesweep.monitor import hosts
from finesweep.study import clock
from finesweep.study.liveness import BEAT_EVERY_S, Listener
from finesweep.study.lock import is_locked
from finesweep.study.queue import TrialQueue
from finesweep.study.records import TrialRecord
from finesweep.study.remaining import is_over
from finesweep.study.request import SweepRequest
from finesweep.study.selection import failures, is_running
from finesweep.worker.prepared import PreparedStudy


def conclude(sweep: SweepRequest, prepared: PreparedStudy) -> None:
    """Prints the summary. Raises: SweepFailed if the sweep ended before its budget was met."""
    from finesweep.monitor.report import describe
    from finesweep.monitor.summary import print_summary

    print_summary(describe(prepared.study))
    trials = prepared.queue.trials()
    if is_over(prepared.queue):
        return
    if is_running(trials):
        return _refuse_stranded(prepared.queue)
    failed = failures(trials)
    causes = "\n".join(f"  trial {trial.number}: {TrialRecord(trial).error}" for trial in failed)
    if len(failed) < sweep.config.study.max_failures:
        raise SweepFailed(f"the sweep ended before its budget, or without a result.\n{causes}".rstrip())
    raise SweepFailed(
        f"{len(failed)} trials failed, and hydra.sweeper.study.max_failures is "
        f"{sweep.config.study.max_failures}; raise it to go on. The causes:\n{causes}"
    )


def refuse_unconcluded(sweep: SweepRequest, prepared: PreparedStudy) -> None:
    """Raises: SweepFailed if an engine's workers ended all trials, and then failed in the finish step."""
    is_left = is_over(prepared.queue) and not prepared.nothing_to_do
    if is_left and not is_locked(sweep.config.study.storage, f"{sweep.name}:finish"):
        raise SweepFailed(
            "all trials are finished, but not the last step, which predicts and draws the plots; "
            "the workers' logs say why, and the same command takes it"
        )


def _refuse_stranded(queue: TrialQueue) -> None:
    """Listens for the workers that still run trials, until one is heard of, or all are silent.

    Raises: SweepFailed if none is alive: nobody would take up their trials.
    """
    listener = Listener()
    while True:
        with queue.lock():  # a trial without an owner has then lost it
            trials, now = queue.trials(), clock.now(queue.study)
        running = [TrialRecord(trial) for trial in trials if trial.state is TrialState.RUNNING]
        if not running or any(listener.is_alive(r.owner, r.heartbeat, now) for r in running):
            return
        if all(record.owner is None for record in running):  # a worker was killed before it wrote its name
            raise SweepFailed("no worker is left, and the sweep is not over; the same command goes on")
        if lost := hosts.stranded(hosts.workers(trials, now)):
            causes = "\n".join(f"  {hosts.lost(worker)}" for worker in lost)
            raise SweepFailed(f"no worker is left, and the sweep is not over:\n{causes}")
        time.sleep(BEAT_EVERY_S / 2)
