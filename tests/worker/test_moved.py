"""A moved or copied project: places are found where they are now, and nothing is written elsewhere."""

import logging
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import pytest
from mlflow.tracking import MlflowClient
from mlflow.tracking._tracking_service import utils
from sweeping import STORAGE, evaluate, sweep

from finesweep.cli import main
from finesweep.config.places import as_given, in_project, reachable, relocated
from finesweep.config.run import RunConfig, TrackingConfig
from finesweep.data import Splits
from finesweep.errors import ConfigError
from finesweep.hooks import RunHooks
from finesweep.monitor import report
from finesweep.reproduce.rebuild import _placed
from finesweep.study.identity import _of_today
from finesweep.study.places import Places
from finesweep.study.reading import read_study
from finesweep.study.records import TrialRecord
from finesweep.tracking import TrackedRun, open_store, start_run
from finesweep.tracking.store import absolute
from finesweep.training.run import _training_identity, run

POINT = ("optimizer.learning_rate=interval(1e-4,1e-3)", "trainer.num_train_epochs=1",
         "trainer.per_device_train_batch_size=8", "hydra.sweeper.study.sampler=random")  # fmt: skip
TRIAL = "outputs/studies/quickstart/trial-0000"


def fine(config: RunConfig, trial: RunHooks) -> float:
    return evaluate(trial, [0.5])


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working folder: `old` in the test's folder."""
    (tmp_path / "old").mkdir()
    monkeypatch.chdir(tmp_path / "old")
    return tmp_path / "old"


@pytest.fixture
def move(project: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Path]:
    """Moves or copies the project to `new`, and goes there."""

    def moved(how: Callable[[Path, Path], object] = shutil.move) -> Path:
        new = project.with_name("new")
        how(project, new)
        utils._artifact_repos_cache.clear()  # MLflow remembers places: as in another process
        monkeypatch.chdir(new)
        return new

    return moved


def made(artifact: str = "old") -> str:
    """Makes a run with an artifact; returns its id."""
    tracked = start_run(TrackingConfig(), "demo", "a run", {"finesweep.kind": "run"})
    tracked.log_text(artifact, "a.txt")
    return tracked.run_id


def places(store: Path) -> set[str]:
    client = MlflowClient(f"sqlite:///{store}/mlruns/mlflow.db")
    experiments = client.search_experiments()
    found = client.search_runs([e.experiment_id for e in experiments])
    return {e.artifact_location for e in experiments} | {run.info.artifact_uri for run in found}


def test_moved_store_finds_its_artifacts_and_makes_the_old_place_never_again(
    project: Path, move: Callable[..., Path], caplog: pytest.LogCaptureFixture
) -> None:
    run_id = made()
    new = move()
    assert TrackedRun(open_store(TrackingConfig()), run_id).read_text("a.txt") == "old"
    TrackedRun(open_store(TrackingConfig()), made("new")).log_text("more", "b.txt")
    assert not project.exists()
    assert all(f"{new}/mlruns/artifacts" in place for place in places(new))
    assert [record.message for record in caplog.records if record.levelno >= logging.WARNING] == [
        f"{new}/mlruns/mlflow.db was moved here from {project}/mlruns; the places of its runs' artifacts are "
        "corrected"
    ]


def test_store_from_before_the_tag_is_understood_by_the_place_of_mlflows_own_experiment(
    move: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("finesweep.tags.Tag.STORE", "another.tag")
    run_id = made()
    monkeypatch.undo()
    new = move()
    monkeypatch.chdir(new)
    assert TrackedRun(open_store(TrackingConfig()), run_id).read_text("a.txt") == "old"


def test_copied_store_writes_nothing_into_the_original(project: Path, move: Callable[..., Path]) -> None:
    run_id = made()
    before = places(project)
    new = move(shutil.copytree)
    TrackedRun(open_store(TrackingConfig()), run_id).log_text("changed", "a.txt")
    made()
    assert [file.read_text() for file in project.rglob("a.txt")] == ["old"]
    assert places(project) == before
    assert len(list(new.rglob("a.txt"))) == 2


def test_copy_without_its_artifacts_is_refused_with_the_two_ways_out(
    project: Path, move: Callable[..., Path]
) -> None:
    made()

    def copy_file(old: Path, new: Path) -> None:
        shutil.copytree(old, new, ignore=shutil.ignore_patterns("artifacts"))

    new = move(copy_file)
    before = places(new)
    with pytest.raises(
        ConfigError, match="is a copy of .*, but without its artifacts; copy .* or use the orig"
    ):
        open_store(TrackingConfig())
    assert places(new) == before


def test_artifacts_in_another_place_are_left_alone(tmp_path: Path, move: Callable[..., Path]) -> None:
    elsewhere = TrackingConfig(artifacts=str(tmp_path / "elsewhere"))
    tracked = start_run(elsewhere, "there", "a run", {"finesweep.kind": "run"})
    client = open_store(elsewhere)
    client.create_experiment("cloud", "s3://bucket/runs")
    new = move()
    open_store(TrackingConfig())
    found = {place for place in places(new) if str(new) not in place}
    assert found == {
        f"file://{tmp_path}/elsewhere/there", f"file://{tmp_path}/elsewhere/there/{tracked.run_id}/artifacts",
        "s3://bucket/runs",
    }  # fmt: skip


def test_what_was_spooled_before_the_move_is_delivered_after_it(move: Callable[..., Path]) -> None:
    run_id = made()
    Path("weights.bin").write_text("w")
    tracked = TrackedRun(open_store(TrackingConfig()), run_id)
    file = {"path": str(Path("weights.bin").resolve()), "artifact_path": None}
    tracked._spool.append("file", file, "the store is away")
    move()
    tracked = TrackedRun(open_store(TrackingConfig()), run_id)
    tracked.deliver()
    assert tracked.read_text("weights.bin") == "w"


@pytest.mark.usefixtures("no_finish")
@pytest.mark.parametrize("recorded", ["relative", "absolute"])
def test_moved_project_names_files_that_are_there(
    recorded: str, move: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    if recorded == "absolute":  # as finesweep recorded them before
        monkeypatch.setattr(Places, "write", lambda self, path: str(path))
    file = Path("outputs/submission/test.tsv").resolve()
    file.parent.mkdir(parents=True)
    file.touch()
    predicted = SimpleNamespace(submissions=[file], metrics={}, scorer=None, folder=None)
    monkeypatch.setattr("finesweep.worker.finish._submit", lambda *_: predicted)
    sweep(fine, *POINT, "hydra.sweeper.study.n_trials=1", "hydra.sweeper.keep_checkpoints=1")
    new = move()
    best = report.best(read_study("quickstart", STORAGE))
    assert best.checkpoint == f"{new}/weights/trial-0000" and Path(best.checkpoint).is_dir()
    assert best.submissions == [f"{new}/outputs/submission/test.tsv"]


@pytest.mark.usefixtures("no_finish")
def test_copied_study_removes_no_weights_of_the_original(
    project: Path, move: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Places, "write", lambda self, path: str(path))
    sweep(fine, *POINT, "hydra.sweeper.study.n_trials=1")
    move(lambda old, new: shutil.copytree(old, new, ignore=shutil.ignore_patterns("weights")))
    sweep(fine, *POINT, "hydra.sweeper.study.n_trials=4", "hydra.sweeper.keep_checkpoints=1",
          "hydra.sweeper.study.repeat_trials=true")  # fmt: skip
    assert (project / "weights/trial-0000/model.safetensors").is_file()


@pytest.mark.usefixtures("no_finish")
def test_interrupted_trial_goes_on_from_its_checkpoints_after_the_move(move: Callable[..., Path]) -> None:
    found: list[bool] = []

    def training(config: RunConfig, trial: RunHooks) -> float:
        folder = Path("outputs/studies/quickstart", trial.run_name, "training")
        found.append((folder / "step-000001").is_dir())
        if not found[0] and len(found) == 1:
            (folder / "step-000001").mkdir(parents=True)
            raise KeyboardInterrupt
        return 0.5

    with pytest.raises(KeyboardInterrupt):
        sweep(training, *POINT, "hydra.sweeper.study.n_trials=1")
    move()
    study = sweep(training, *POINT, "hydra.sweeper.study.n_trials=1")
    assert found == [False, True]
    assert TrialRecord(study.trials[-1]).folder == "../outputs/studies/quickstart/trial-0001"


def test_moved_run_is_exported_and_one_without_its_artifacts_is_not_called_failed(
    config: Callable[..., RunConfig], move: Callable[..., Path], capsys: pytest.CaptureFixture[str]
) -> None:
    run_id = str(run(config(), Path("out").resolve()).run_id)
    new = move()
    main._invoke(["export", run_id, "exported"])
    assert (new / "exported/checkpoint/model.safetensors").is_file()
    shutil.rmtree(new / "mlruns/artifacts")
    with pytest.raises(Exception, match="its provenance.json cannot be read from .*bring its artifacts back"):
        main._invoke(["export", run_id, "again"])


def test_places_of_a_record_that_are_gone_are_those_of_the_project(tmp_path: Path) -> None:
    for name in ("rows", "models/bert"):
        (tmp_path / name).mkdir(parents=True)
    recorded = {
        "cache_dir": "/gone/mlruns/cache", "tracking": {"artifacts": "/gone/mlruns/artifacts"},
        "data": {"path": "/gone/rows"}, "model": {"name_or_path": "/gone/models/bert"},
    }  # fmt: skip
    assert _placed(recorded) == {
        "cache_dir": "mlruns/cache", "tracking": {"artifacts": "mlruns/artifacts"},
        "data": {"path": f"{tmp_path}/rows"}, "model": {"name_or_path": f"{tmp_path}/models/bert"},
    }  # fmt: skip
    kept = {
        "cache_dir": "c",
        "tracking": {},
        "data": {"path": "/gone/x"},
        "model": {"name_or_path": "org/bert"},
    }
    assert _placed(kept) == kept | {"tracking": {"artifacts": "mlruns/artifacts"}}


def test_model_of_a_moved_project_is_the_same_model(tmp_path: Path) -> None:
    (tmp_path / "models/bert").mkdir(parents=True)
    requested = {"model.name_or_path": "models/bert", "model content": {}, "data.positive_label": None}
    splits = cast(Splits, None)  # looked at for a positive label alone
    stored = {"model.name_or_path": "/gone/models/bert"}
    assert _of_today(stored, requested, splits)["model.name_or_path"] == "models/bert"
    other = {"model.name_or_path": "/gone/models/other"}
    assert _of_today(other, requested, splits)["model.name_or_path"] == "/gone/models/other"


def test_a_place_is_found_by_the_longest_end_that_is_there(tmp_path: Path) -> None:
    (tmp_path / TRIAL).mkdir(parents=True)
    (tmp_path / "trial-0000").mkdir()
    assert relocated(Path("/gone", TRIAL), [tmp_path], 2) == tmp_path / TRIAL
    assert relocated(Path("/gone/other/trial-0000"), [tmp_path], 2) == Path("/gone/other/trial-0000")
    assert relocated(tmp_path / "x", [tmp_path], 1) == tmp_path / "x"


def test_places_of_another_project_are_not_those_of_its_copy(tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / name / "mlruns").mkdir(parents=True)
        (tmp_path / name / "mlruns/optuna.db").touch()
    found = Places(f"sqlite:///{tmp_path}/b/mlruns/optuna.db", tmp_path / "b")
    assert found.is_foreign(tmp_path / "a" / TRIAL)
    assert not found.is_foreign(tmp_path / "b" / TRIAL) and not found.is_foreign(tmp_path / TRIAL)
    assert found.write(tmp_path / "b" / TRIAL) == f"../{TRIAL}"
    assert found.write(tmp_path / TRIAL) == str(tmp_path / TRIAL)
    server = Places("postgresql://host/db", tmp_path / "b")
    (tmp_path / "b" / TRIAL).mkdir(parents=True)
    assert server.find(f"/old/{TRIAL}") == tmp_path / "b" / TRIAL


def test_a_job_with_its_own_folder_records_places_of_the_project(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, config: Callable[..., RunConfig]
) -> None:
    given = config()
    (tmp_path / "job").mkdir()
    monkeypatch.chdir(tmp_path / "job")
    with in_project(tmp_path):
        placed = reachable(given)
        assert placed.cache_dir == f"{tmp_path}/mlruns/cache"
        assert as_given(placed) == given
    assert absolute("sqlite:///x.db") == f"sqlite:///{tmp_path}/job/x.db"


def test_an_absolute_place_inside_of_the_project_is_the_same_training_after_the_move(
    tmp_path: Path, config: Callable[..., RunConfig]
) -> None:
    def identity(project: str, path: Path) -> str:
        given = config()
        with in_project(tmp_path / project):
            return _training_identity(replace(given, data=replace(given.data, path=str(path))))

    before = identity("old", tmp_path / "old" / "table.csv")
    assert identity("new", tmp_path / "new" / "table.csv") == identity("new", Path("table.csv")) == before
    assert identity("new", tmp_path / "old" / "table.csv") != before
