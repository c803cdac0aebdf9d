"""Trials whose worker died on another host: this sweep waits for them, or says that it left them."""

from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest
from optuna.trial import TrialState
from sweeping import STORAGE, sweep

from finesweep.config.run import RunConfig
from finesweep.config.study import StudyConfig
from finesweep.errors import SweepFailed
from finesweep.hooks import RunHooks
from finesweep.machine.process import this_process
from finesweep.study import clock, liveness, studies
from finesweep.study.liveness import BEAT_EVERY_S, GRACE_S, SILENT_S, Listener
from finesweep.study.lock import study_lock
from finesweep.study.queue import TrialQueue
from finesweep.study.records import TrialRecord
from finesweep.worker import worker
from finesweep.worker.concluding import refuse_unconcluded
from finesweep.worker.worker import Worker

OTHER = str(replace(this_process(), host="node-b", boot="of node-b"))
TWO = "hydra.sweeper.study.n_trials=2"


def lend(unheard: float = 0.0) -> None:
    """Has a worker of another host take a trial, and die; it was heard of so many seconds ago."""
    study = studies.load("quickstart", STORAGE)
    record = TrialRecord(study.ask())
    record.owner, record.heartbeat = OTHER, clock.now(study) - unheard


def test_an_owner_out_of_sight_is_alive_once_it_is_heard_of() -> None:
    listener, now = Listener(), 1000.0
    assert not listener.is_alive(OTHER, now, now)
    assert listener.may_be_dead(OTHER, now, now)
    beat = now + BEAT_EVERY_S
    assert listener.is_alive(OTHER, beat, beat)
    assert not listener.may_be_dead(OTHER, beat, beat)
    assert listener.may_be_dead(OTHER, beat, beat + SILENT_S)
    assert not listener.is_alive(OTHER, beat, beat + GRACE_S + 1)
    assert not listener.may_be_dead(OTHER, beat, beat + GRACE_S + 1)  # its lease has run out: it is dead


@pytest.mark.usefixtures("no_finish")
def test_a_sweep_waits_out_the_lease_of_a_dead_host_and_trains_its_trial(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The host dies just before this worker has nothing more to take: no heartbeat is missing yet."""
    monkeypatch.setattr(liveness, "SILENT_S", 2.0)
    monkeypatch.setattr(liveness, "GRACE_S", 3.0)
    trained: list[str] = []

    def training(config: RunConfig, trial: RunHooks) -> float:
        if not trained:
            lend()
        trained.append(trial.run_name)
        return 0.5

    study = sweep(training, TWO)
    assert [trial.state.name for trial in study.get_trials()] == ["COMPLETE", "FAIL", "COMPLETE"]
    assert len(trained) == 2


@pytest.mark.usefixtures("no_finish")
@pytest.mark.parametrize("unheard", [0.0, 60.0])
def test_a_sweep_that_leaves_the_trial_of_a_dead_host_says_so_and_fails(
    monkeypatch: pytest.MonkeyPatch, unheard: float
) -> None:
    """Its own worker does not wait, as one that is killed before it could."""
    monkeypatch.setattr(worker, "more_may_come", lambda queue: False)
    monkeypatch.setattr(liveness, "SILENT_S", 2.0)

    def training(config: RunConfig, trial: RunHooks) -> float:
        lend(unheard)
        return 0.5

    with pytest.raises(SweepFailed) as failed:
        sweep(training, TWO)
    said = str(failed.value)
    assert said.startswith("no worker is left, and the sweep is not over:\n  trial 1: its worker node-b:")
    assert "unless it is heard of again, a worker takes it up in" in said


@pytest.mark.usefixtures("no_finish")
def test_a_sweep_ends_well_while_a_worker_of_another_host_is_heard_of(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def training(config: RunConfig, trial: RunHooks) -> float:
        lend()
        return 0.5

    read, beats = {name: getattr(TrialQueue, name) for name in ("trials", "running")}, iter(range(1, 1000))

    def read_and_beat(name: str, self: TrialQueue) -> object:
        """The other worker gives a sign of life whenever this one looks."""
        for trial in read[name](self):
            if TrialRecord(trial).owner == OTHER and trial.state is TrialState.RUNNING:
                TrialRecord.writable(self.study, trial).heartbeat = clock.now(self.study) + next(beats) / 1000
        return read[name](self)

    for name in read:
        monkeypatch.setattr(TrialQueue, name, lambda self, name=name: read_and_beat(name, self))
    study = sweep(training, TWO)
    assert [trial.state.name for trial in study.get_trials()] == ["COMPLETE", "RUNNING"]


@pytest.mark.usefixtures("no_finish")
def test_a_sweep_whose_workers_failed_in_the_finish_step_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Worker, "_finish", lambda self: None)
    study = sweep(lambda config, trial: 0.5, "hydra.sweeper.study.n_trials=1")
    queue = TrialQueue(StudyConfig(name="quickstart", storage=STORAGE, n_trials=1), ())
    asked: Any = SimpleNamespace(name=study.study_name, config=SimpleNamespace(study=queue.config))
    prepared: Any = SimpleNamespace(queue=queue, nothing_to_do=False)
    with pytest.raises(SweepFailed, match="but not the last step"):
        refuse_unconcluded(asked, prepared)
    with study_lock(STORAGE, "quickstart:finish"):  # somebody else takes it
        refuse_unconcluded(asked, prepared)
    prepared.nothing_to_do = True
    refuse_unconcluded(asked, prepared)
