"""Says which workers run trials of a study, on which hosts, and whether work is stranded."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from optuna.trial import FrozenTrial, TrialState

from finesweep.machine.process import ProcessIdentity
from finesweep.monitor.wording import duration
from finesweep.study.liveness import GRACE_S, is_gone, is_silent
from finesweep.study.records import TrialRecord

AT_WORK, SILENT, GONE = "at work", "silent", "gone"


@dataclass(frozen=True)
class Worker:
    """A worker, as the trial shows it that it runs; idle ones are not known to the study."""

    host: str
    pid: str
    trial: int
    state: str  # at work; silent: it cannot be seen from here, and its heartbeats are missing; gone
    unheard_s: float  # seconds since its last heartbeat

    @property
    def waits_for(self) -> str:
        """Says what happens to the trial of a worker that is not at work."""
        left = GRACE_S - self.unheard_s
        if self.state == GONE or left <= 0:
            return "a worker that starts now takes it up"
        return f"unless it is heard of again, a worker takes it up in {duration(left)}"


def workers(trials: Sequence[FrozenTrial], now: float) -> list[Worker]:
    """Lists the workers that run a trial. now: by the study's clock."""
    running = [trial for trial in trials if trial.state is TrialState.RUNNING]
    return [_worker(trial.number, record, now) for trial in running if (record := TrialRecord(trial)).owner]


def _worker(number: int, record: TrialRecord, now: float) -> Worker:
    owner, beat = str(record.owner), record.heartbeat
    process = ProcessIdentity.parse(owner)
    state = GONE if is_gone(owner, beat, now) else SILENT if is_silent(owner, beat, now) else AT_WORK
    return Worker(process.host, process.pid, number, state, round(now - (now if beat is None else beat), 1))


def stranded(known: Sequence[Worker]) -> list[Worker]:
    """Lists the workers that are silent or gone, if none is at work that would take up their trials."""
    return [] if any(worker.state == AT_WORK for worker in known) else list(known)


def at_work(known: Sequence[Worker]) -> str:
    """Writes how many workers each host has: `3 on 2 hosts: node-a 2, node-b 1`; empty if none is at work."""
    hosts = Counter(worker.host for worker in known if worker.state == AT_WORK)
    many = "s" if len(hosts) > 1 else ""
    names = ", ".join(f"{host} {count}" for host, count in sorted(hosts.items()))
    return f"{hosts.total()} on {len(hosts)} host{many}: {names}" if hosts else ""


def lost(worker: Worker) -> str:
    """Writes why a trial does not go on."""
    seen = "is gone" if worker.state == GONE else f"was last heard of {duration(worker.unheard_s)} ago"
    return f"trial {worker.trial}: its worker {worker.host}:{worker.pid} {seen}; {worker.waits_for}"
