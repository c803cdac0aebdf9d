"""A store that stalls loses no finished work: it is waited for; past the patience trials are handed back."""

import json
import multiprocessing
import os
import signal
import sys
import threading
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

import pytest
from optuna.exceptions import StorageInternalError
from optuna.study import Study
from serving import free_port, mlflow_process
from stalling import lock, lock_for, locked, short_waits
from sweeping import evaluate, runs, sweep

from finesweep.config.run import RunConfig, TrackingConfig
from finesweep.errors import StoreError
from finesweep.hooks import RunHooks, RunState
from finesweep.io import patience
from finesweep.study.records import TrialRecord
from finesweep.study.selection import failures
from finesweep.study.storage import patience_of
from finesweep.tracking import open_run, open_store, store
from finesweep.worker import trial as trials

__all__ = ["short_waits"]
pytestmark = pytest.mark.usefixtures("no_finish", "short_waits")
GRID = ("optimizer.learning_rate=1e-3,1e-4", "trainer.num_train_epochs=1", "hydra.sweeper.study.sampler=grid",
        "trainer.per_device_train_batch_size=8")  # fmt: skip
SHORT = ("hydra.sweeper.study.patience_s=0.3", "tracking.patience_s=0.3")
OPTUNA, MLFLOW = "mlruns/optuna.db", "mlruns/mlflow.db"
FORK = multiprocessing.get_context("fork")


def is_first(trial: RunHooks) -> bool:
    return trial.run_name == "trial-0000"


def fine(config: RunConfig, trial: RunHooks) -> float:
    with Path("trained.log").open("a") as log:
        log.write(f"{trial.run_name}\n")
    return evaluate(trial, [0.5, 0.6])


def states(study: Study) -> list[str]:
    return [trial.state.name for trial in study.trials]


def check_nothing_is_lost(study: Study, tracking: TrackingConfig | None = None) -> None:
    """All is complete or was handed back for nothing, and both stores say the same."""
    assert sum(trial.state.name == "COMPLETE" for trial in study.trials) == 2
    assert failures(study.trials) == []
    assert not any(TrialRecord(trial).worker_deaths for trial in study.trials)
    tracked = runs(tracking)
    for trial in study.trials:
        run = tracked[f"trial-{trial.number:04d}"]
        expected = ("FINISHED", "COMPLETE") if trial.value is not None else ("KILLED", "INTERRUPTED")
        assert (run.info.status, run.data.tags["finesweep.state"]) == expected
        assert run.data.metrics.get("best_value") == trial.value
    assert list(Path("mlruns").glob("spool/*/*.jsonl")) == []


@pytest.mark.parametrize("database", [OPTUNA, MLFLOW])
def test_a_store_that_is_locked_for_a_while_is_waited_for(database: str) -> None:
    def training(config: RunConfig, trial: RunHooks) -> float:
        if is_first(trial):
            lock_for(database, 1.0)
        return fine(config, trial)

    study = sweep(training, *GRID)
    assert states(study) == ["COMPLETE", "COMPLETE"]
    check_nothing_is_lost(study)


def test_time_spent_waiting_is_not_the_trials(monkeypatch: pytest.MonkeyPatch) -> None:
    def training(config: RunConfig, trial: RunHooks) -> float:
        if is_first(trial):
            assert isinstance(trial, trials.RunningTrial)
            trial._started -= 1000  # it began so long ago, and has waited since
            monkeypatch.setattr(patience, "_waited_s", patience._waited_s + 1000)
        return fine(config, trial)

    study = sweep(training, *GRID, "hydra.sweeper.study.trial_timeout_s=900")
    assert states(study) == ["COMPLETE", "COMPLETE"]


def test_past_the_patience_for_mlflow_a_finished_trial_stays_finished_and_the_next_is_handed_back() -> None:
    held = []

    def locking(config: RunConfig, trial: RunHooks) -> float:
        if is_first(trial):
            held.append(lock(MLFLOW))
        return fine(config, trial)

    with pytest.raises(
        StoreError, match=r"trial 1: MLflow's store \(tracking.uri\).*database is locked.*handed back"
    ):
        sweep(locking, *GRID, *SHORT)
    spools = [file.read_text().splitlines() for file in Path("mlruns").glob("spool/*/*.jsonl")]
    kinds = sorted([json.loads(line)["kind"] for line in lines] for lines in spools)
    kept = sorted([kind for kind in run if kind != "description"] for run in kinds)
    assert kept == [["close"], ["metrics", "tags", "close"]]  # of the parent run, and of the trial's
    held.pop().close()
    study = sweep(fine, *GRID)
    assert states(study) == ["COMPLETE", "FAIL", "COMPLETE"]
    tracked = runs()
    assert tracked["trial-0000"].info.status == "FINISHED"
    assert tracked["trial-0000"].data.metrics["best_value"] == 0.6
    assert Path("trained.log").read_text().split() == ["trial-0000", "trial-0002"]
    assert not any(TrialRecord(trial).worker_deaths for trial in study.trials)


def sweep_and_fail(training: Callable[[RunConfig, RunHooks], float]) -> None:
    try:
        sweep(training, *GRID, *SHORT)
    except StoreError as error:
        Path("error.txt").write_text(str(error))
        sys.exit(2)


def test_past_the_patience_for_optuna_the_outcome_is_kept_in_the_folder_and_told_by_the_next_start() -> None:
    held = []

    def locking(config: RunConfig, trial: RunHooks) -> float:
        value = fine(config, trial)
        held.append(lock(OPTUNA))
        return value

    command = FORK.Process(target=sweep_and_fail, args=(locking,))
    command.start()
    command.join(200)
    assert command.exitcode == 2
    assert "trial 0: the studies' database" in Path("error.txt").read_text()
    assert "database is locked" in Path("error.txt").read_text()
    study = sweep(fine, *GRID)
    assert states(study) == ["COMPLETE", "COMPLETE"]
    check_nothing_is_lost(study)
    assert Path("trained.log").read_text().split() == ["trial-0000", "trial-0001"]


def test_an_error_of_a_store_removes_no_checkpoint() -> None:
    folders = []

    def training(config: RunConfig, trial: RunHooks) -> float:
        assert isinstance(trial, trials.RunningTrial) and trial.folder
        folders.append(trial.folder / "training")
        (folders[-1] / "step-000013").mkdir(parents=True, exist_ok=True)
        if is_first(trial):
            broken = StorageInternalError("An exception is raised during the commit.")
            raise patience_of(trial.config).trouble(broken)
        assert (folders[-1] / "step-000013").is_dir()
        return fine(config, trial)

    message = "trial 0: the studies' database.* cannot be used: StorageInternalError.*handed back"
    with pytest.raises(StoreError, match=message):
        sweep(training, *GRID)
    assert (folders[0] / "step-000013").is_dir()
    study = sweep(training, *GRID)
    assert states(study) == ["FAIL", "COMPLETE", "COMPLETE"]
    check_nothing_is_lost(study)
    assert runs()["trial-0000"].data.tags["finesweep.state"] == RunState.INTERRUPTED


def test_a_run_alone_whose_store_stays_locked_is_delivered_by_the_next_start(
    config: Callable[..., RunConfig],
) -> None:
    short = config("tracking.patience_s=0.3")
    open_store(short.tracking)
    with pytest.raises(StoreError, match="tracking.uri"), open_run(short, []) as tracked:
        held = lock(MLFLOW)
        tracked.log_metrics({"loss": 1.0}, step=1)
        tracked.log_metrics({"loss": 0.5}, step=2)
    held.close()
    with open_run(config(), []):
        pass
    run = open_store(TrackingConfig()).get_run(tracked.run_id)
    assert run.info.status == "FINISHED"
    assert run.data.metrics["loss"] == 0.5


def test_a_locked_store_is_reported_at_the_start_with_one_clear_error() -> None:
    sweep(fine, *GRID)
    with locked(OPTUNA), pytest.raises(StoreError, match="studies' database.*did not answer for 0.3 s"):
        sweep(fine, *GRID, "optimizer.weight_decay=0.1", "hydra.sweeper.study.name=other", *SHORT)


@pytest.mark.long
def test_an_mlflow_server_that_hangs_and_then_restarts_loses_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(store, "QUICK_S", 1)
    port = free_port()
    with ExitStack() as servers:
        server = servers.enter_context(mlflow_process(tmp_path, port))

        again = threading.Timer(1.0, lambda: servers.enter_context(mlflow_process(tmp_path, port)))

        def training(config: RunConfig, trial: RunHooks) -> float:
            if is_first(trial):
                os.killpg(server.pid, signal.SIGSTOP)
                threading.Timer(3.0, os.killpg, (server.pid, signal.SIGCONT)).start()
            else:
                servers.close()
                again.start()
            return fine(config, trial)

        study = sweep(training, *GRID, f"tracking.uri=http://127.0.0.1:{port}")
        again.join()  # the sweep may find the server before the thread does, which has to end it
        assert states(study) == ["COMPLETE", "COMPLETE"]
        check_nothing_is_lost(study, TrackingConfig(f"http://127.0.0.1:{port}"))
