"""`finesweep report` as a person types it, and the page among the artifacts of the study's run."""

import os
from pathlib import Path

import pytest
from searching import study_of
from sweeping import STORAGE, evaluate, runs, sweep

from finesweep.cli.main import finesweep as command
from finesweep.config.run import RunConfig, TrackingConfig
from finesweep.errors import ConfigError, OutputError, StudyError
from finesweep.hooks import RunHooks
from finesweep.report.curves import read_curves
from finesweep.report.publish import publish_page
from finesweep.study.reading import read_study
from finesweep.study.records import Conclusion, TrialRecord
from finesweep.study.storage import open_storage
from finesweep.tracking import TrackedRun, open_store

pytestmark = [pytest.mark.usefixtures("no_submission"), pytest.mark.xdist_group("report")]
GRID = ("optimizer.learning_rate=1e-3,2e-3", "trainer.num_train_epochs=1",
        "trainer.per_device_train_batch_size=8", "hydra.sweeper.study.sampler=grid")  # fmt: skip


def training(config: RunConfig, trial: RunHooks) -> float:
    return evaluate(trial, [0.4, 100 * config.optimizer.learning_rate])


def reported(*arguments: str) -> None:
    with command.make_context("finesweep", ["report", *arguments]) as context:
        command.invoke(context)


def artifact() -> Path:
    client = open_store(TrackingConfig())
    return Path(client.download_artifacts(runs()["quickstart"].info.run_id, "report.html"))


def test_a_finished_study_has_its_page_and_learning_curves_show_what_was_measured(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    study = sweep(training, *GRID)
    before = sorted(path.name for path in Path("mlruns").iterdir())
    capsys.readouterr()
    reported("quickstart")
    file = tmp_path / "quickstart.html"
    assert capsys.readouterr().out == f"{file}\n"
    assert file.read_bytes() == artifact().read_bytes()
    assert "<b>finished</b>" in file.read_text()
    assert sorted(path.name for path in Path("mlruns").iterdir()) == before  # no lock, nothing written
    client = open_store(TrackingConfig())
    for trial in study.trials:
        for step, value in ((10, 0.4), (20, 0.3)):
            client.log_metric(str(TrialRecord(trial).run_id), "eval_accuracy", value, step=step)
    curves, missing = read_curves(read_study("quickstart", STORAGE), TrackingConfig())
    assert curves == {0: [(50.0, 0.4), (100.0, 0.3)], 1: [(50.0, 0.4), (100.0, 0.3)]} and missing is None


@pytest.mark.parametrize("broken", ["gather", "page"])
def test_a_page_that_cannot_be_made_never_fails_a_study(
    broken: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    study = study_of(3)
    parent = TrackedRun(open_store(TrackingConfig()), "no such run")
    monkeypatch.setattr(f"finesweep.report.publish.{broken}", lambda *_: 1 / 0)
    publish_page(study, parent, Conclusion([3, 0], study.best_trial.number))
    assert "report.html left out: ZeroDivisionError" in caplog.text


def test_the_page_goes_where_it_is_told_and_bad_input_is_one_clear_error(tmp_path: Path) -> None:
    study_of(2, "quickstart", storage=open_storage(STORAGE))
    reported("quickstart", "--out", "new/folder")
    assert os.listdir("new/folder") == ["quickstart.html"]
    with pytest.raises(StudyError, match="there: quickstart"):
        reported("quickstart", "nosuch")
    with pytest.raises(ConfigError, match="got 'quickstart' twice"):
        reported("quickstart", "quickstart")
    (tmp_path / "file").touch()
    with pytest.raises(OutputError, match="--out: cannot write file/quickstart.html"):
        reported("quickstart", "--out", "file")
    reported("quickstart", "--tracking-uri", "sqlite:///no.db")
    page = Path("quickstart.html").read_text()
    assert "learning curves are left out: tracking.uri: there is no sqlite:///no.db here" in page
    assert not Path("no.db").exists()
