"""Working folders, deleted databases and deleted runs."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from mlflow.entities import ViewType
from sweeping import evaluate, runs, sweep

from finesweep.config.places import absolute_places
from finesweep.config.run import DataConfig, ModelConfig, RunConfig, TrackingConfig
from finesweep.errors import DatabaseGone
from finesweep.hooks import RunHooks
from finesweep.study.places import places_of
from finesweep.study.records import StudyRecord, TrialRecord
from finesweep.tracking import open_store
from finesweep.training import recording
from finesweep.training.run import run
from finesweep.worker.trial import RunningTrial

pytestmark = pytest.mark.usefixtures("no_finish")
POINT = ("optimizer.learning_rate=interval(1e-4,1e-3)", "trainer.num_train_epochs=1",
         "trainer.per_device_train_batch_size=8", "hydra.sweeper.study.sampler=random")  # fmt: skip


def fine(config: RunConfig, trial: RunHooks) -> float:
    return evaluate(trial, [0.5])


def test_a_sweep_whose_jobs_change_the_working_folder_uses_the_same_stores_and_folders(
    tmp_path: Path,
) -> None:
    study = sweep(fine, *POINT, "hydra.sweeper.study.n_trials=1", "hydra.job.chdir=true")
    assert [trial.state.name for trial in study.trials] == ["COMPLETE"]
    folder = TrialRecord(study.trials[0]).folder
    assert folder == "../outputs/studies/quickstart/trial-0000"
    assert places_of(study).find(folder) == tmp_path / "outputs/studies/quickstart/trial-0000"
    assert list(tmp_path.rglob("optuna.db")) == [tmp_path / "mlruns/optuna.db"]


def test_every_place_of_a_config_becomes_absolute(tmp_path: Path) -> None:
    (tmp_path / "bert").mkdir()
    config = RunConfig(model=ModelConfig(name_or_path="bert"), data=DataConfig(path="rows.csv"))
    placed = absolute_places(config, tmp_path)
    assert placed.tracking.uri == f"sqlite:///{tmp_path}/mlruns/mlflow.db"
    assert placed.tracking.artifacts == f"{tmp_path}/mlruns/artifacts"
    assert (placed.cache_dir, placed.data.path) == (f"{tmp_path}/mlruns/cache", f"{tmp_path}/rows.csv")
    assert placed.model.name_or_path == f"{tmp_path}/bert"
    hub = RunConfig(model=ModelConfig(name_or_path="org/bert"), tracking=TrackingConfig("http://server"))
    assert absolute_places(hub, tmp_path).model.name_or_path == "org/bert"
    assert absolute_places(hub, tmp_path).tracking.uri == "http://server"


@pytest.mark.parametrize("replaced", [False, True])
def test_a_database_that_is_deleted_while_a_sweep_runs_ends_it_with_an_error(replaced: bool) -> None:
    def training(config: RunConfig, trial: RunHooks) -> float:
        file = Path("mlruns/mlflow.db")
        kept = file.read_bytes()
        file.unlink()
        if replaced:
            Path("mlruns/other.db").write_bytes(kept)
            Path("mlruns/other.db").rename(file)
        return 0.5

    with pytest.raises(DatabaseGone, match="mlflow.db was deleted or replaced while it was in use"):
        sweep(training, *POINT, "hydra.sweeper.study.n_trials=1")


def test_a_study_deleted_while_its_sweep_runs_is_not_made_again_and_the_outcome_is_kept(
    tmp_path: Path,
) -> None:
    def training(config: RunConfig, trial: RunningTrial) -> float:
        for file in Path("mlruns").glob("optuna.db*"):
            file.unlink()
        trial._write_heartbeat()
        assert trial.stopping
        raise KeyboardInterrupt  # as the Trainer's callback does, once it has saved

    with pytest.raises(DatabaseGone, match="optuna.db was deleted.*result.json in the trials' folders"):
        sweep(training, *POINT, "hydra.sweeper.study.n_trials=1")  # type: ignore[arg-type]
    assert not list(Path("mlruns").glob("optuna.db"))
    kept = tmp_path / "outputs/studies/quickstart/trial-0000/outcome.json"
    assert json.loads(kept.read_text())["outcome"]["state"] == "INTERRUPTED"
    assert {name: run.info.status for name, run in runs().items()} == {
        "quickstart": "KILLED", "trial-0000": "KILLED",
    }  # fmt: skip


def test_a_plain_run_whose_store_is_deleted_keeps_its_result_and_ends_with_an_error(
    config: Callable[..., RunConfig], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    log_results = recording.log_results

    def deleting(*arguments: Any) -> None:
        Path("mlruns/mlflow.db").unlink()
        log_results(*arguments)

    monkeypatch.setattr(recording, "log_results", deleting)
    with pytest.raises(DatabaseGone, match=f"mlflow.db was deleted.*result.json are still in {tmp_path}/out"):
        run(config(), tmp_path / "out")
    result = json.loads((tmp_path / "out/result.json").read_text())
    assert result["status"] == "FINISHED" and Path(result["checkpoint"]).is_dir()
    assert not Path("mlruns/mlflow.db").exists()


@pytest.mark.parametrize(("which", "for_good"), [("trial", False), ("trial", True), ("parent", False)])
def test_a_run_deleted_while_its_sweep_runs_ends_nothing_and_the_person_is_told(
    which: str, for_good: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    def training(config: RunConfig, trial: RunningTrial) -> float:
        client = open_store(TrackingConfig())
        run_id = str(trial.record.run_id if which == "trial" else trial.tags["mlflow.parentRunId"])
        client.delete_run(run_id)
        if for_good:  # as `mlflow gc` does
            client._tracking_client.store._hard_delete_run(run_id)
        return evaluate(trial, [0.5])

    study = sweep(training, *POINT, "hydra.sweeper.study.n_trials=1")  # type: ignore[arg-type]
    assert [trial.state.name for trial in study.trials] == ["COMPLETE"]
    assert StudyRecord(study).conclusion is not None
    found = {name: run.info.status for name, run in runs().items()}
    assert found == {"quickstart": "FINISHED"} | ({} if for_good else {"trial-0000": "FINISHED"})
    name = "trial-0000" if which == "trial" else "quickstart"
    said = f"({name}) was deleted in MLflow; it is needed, so it is restored"
    gone = "the runs of trial 0 are not in MLflow's store"
    assert (gone if for_good else said) in capsys.readouterr().err


def test_runs_deleted_in_the_ui_are_restored_and_no_trial_is_orphaned() -> None:
    sweep(fine, *POINT, "hydra.sweeper.study.n_trials=1")
    client, before = open_store(TrackingConfig()), runs()
    client.delete_run(before["quickstart"].info.run_id)
    client.delete_run(before["trial-0000"].info.run_id)
    study = sweep(fine, *POINT, "hydra.sweeper.study.n_trials=2")
    assert len(study.trials) == 2
    found = client.search_runs(
        [e.experiment_id for e in client.search_experiments()], run_view_type=ViewType.ALL
    )
    parents = [run for run in found if run.info.run_name == "quickstart"]
    assert [run.info.run_id for run in parents] == [before["quickstart"].info.run_id]
    assert runs().keys() == {"quickstart", "trial-0000", "trial-0001"}
