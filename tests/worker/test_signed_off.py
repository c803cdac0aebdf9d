"""A trial that is signed off is told the same way to both stores, whatever fails between."""

import errno
from pathlib import Path

import pytest
from sweeping import evaluate, runs, sweep

from finesweep.config.run import RunConfig
from finesweep.errors import StoreError
from finesweep.hooks import RunHooks, RunState
from finesweep.tracking import TrackedRun, open_store, store

pytestmark = pytest.mark.usefixtures("no_finish")
ONE = ("optimizer.learning_rate=interval(1e-4,1e-3)", "trainer.num_train_epochs=1",
       "trainer.per_device_train_batch_size=8", "hydra.sweeper.study.sampler=random",
       "hydra.sweeper.study.n_trials=1")  # fmt: skip


def fine(config: RunConfig, trial: RunHooks) -> float:
    return evaluate(trial, [0.5])


def test_a_run_that_could_not_be_closed_is_closed_by_the_next_recovery(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    end, ends = TrackedRun.end, []

    def full(run: TrackedRun, state: RunState, error: str | None = None) -> None:
        ends.append(state)
        if len(ends) == 1:
            raise OSError(errno.ENOSPC, "No space left on device")
        end(run, state, error)

    monkeypatch.setattr(TrackedRun, "end", full)
    study = sweep(fine, *ONE)
    assert [trial.state.name for trial in study.trials] == ["COMPLETE"]
    run = runs()["trial-0000"]
    assert (run.info.status, run.data.tags["finesweep.state"]) == ("FINISHED", "COMPLETE")
    (log,) = Path("outputs").rglob("trial-0000/*.log")
    assert "left to the next recovery" in log.read_text()


def test_trouble_of_mlflow_is_not_said_to_be_of_the_studys_database(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def training(config: RunConfig, trial: RunHooks) -> float:
        store._client.cache_clear()  # as in a process that opens the store for the first time
        monkeypatch.setattr(store, "has_table", locked)
        return fine(config, trial)

    def locked(*_: object) -> bool:
        raise store.sqlite3.OperationalError("database is locked")

    with pytest.raises(StoreError, match=r"MLflow's store \(tracking.uri\) did not answer.*locked"):
        sweep(training, *ONE, "hydra.sweeper.study.patience_s=0.2", "tracking.patience_s=0.1")


def test_a_trial_whose_run_is_deleted_while_it_trains_is_finished() -> None:
    def deleting(config: RunConfig, trial: RunHooks) -> float:
        open_store(config.tracking).delete_run(runs()[trial.run_name].info.run_id)
        return fine(config, trial)

    study = sweep(deleting, *ONE)
    assert [trial.state.name for trial in study.trials] == ["COMPLETE"]
    (log,) = Path("outputs").rglob("trial-0000/*.log")
    assert "was deleted; it is needed, so it is restored" in log.read_text()
    assert runs()["trial-0000"].info.status == "FINISHED"
