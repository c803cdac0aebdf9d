"""`finesweep worker STUDY`: joins a study from any folder, with nothing but the study."""

import os
import signal
import time
from pathlib import Path

import pytest
from gates import GATED, let_through, shut
from processes import FINESWEEP, SMALL, finesweep, start, train
from sweeping import STORAGE, runs
from test_sweep import running

from finesweep.study import studies
from finesweep.study.records import StudyRecord, TrialRecord
from finesweep.tags import Tag

SWEEP = (*SMALL, "hydra.sweeper.workers=1", "optimizer.learning_rate=1e-3,1e-4,3e-4",
         "hydra.sweeper.study.sampler=grid", "trainer.per_device_train_batch_size=8")  # fmt: skip


@pytest.fixture
def elsewhere(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("elsewhere")


def storage_of(project: Path) -> tuple[str, str]:
    return "--storage", f"sqlite:///{project}/mlruns/optuna.db"


@pytest.mark.slow
def test_a_worker_ends_what_a_killed_command_began(tmp_path: Path, elsewhere: Path) -> None:
    """The sweep, its one worker and all its processes are killed: the study alone says what is left."""
    process = start("-m", *SWEEP, cwd=tmp_path)
    running(tmp_path, process)
    os.killpg(process.pid, signal.SIGKILL)
    process.communicate(timeout=60)
    joined = finesweep("worker", "quickstart", *storage_of(tmp_path), cwd=elsewhere)
    assert joined.returncode == 0, joined.stderr
    assert "trials ended here" in joined.stderr and "not over" not in joined.stderr
    study = studies.load("quickstart", STORAGE)
    complete = [trial for trial in study.trials if trial.state.name == "COMPLETE"]
    assert sorted(trial.params["optimizer.learning_rate"] for trial in complete) == [1e-4, 3e-4, 1e-3]
    assert StudyRecord(study).conclusion is not None
    by_status = {run.info.status for name, run in runs().items() if "trial" in name}
    assert "RUNNING" not in by_status and list(elsewhere.iterdir()) == []
    parents = [run for run in runs().values() if Tag.PARENT_RUN_ID not in run.data.tags]
    assert [run.info.status for run in parents] == ["FINISHED"]
    again = finesweep("worker", "quickstart", *storage_of(tmp_path), cwd=elsewhere)
    assert (again.returncode, "0 trials ended here" in again.stderr) == (0, True), again.stderr


@pytest.mark.slow
def test_two_workers_beside_a_sweep_share_its_trials_and_stop_by_themselves(tmp_path: Path) -> None:
    """One is stopped by a signal: it ends or hands back its trial, and no other worker ends."""
    shut(tmp_path)
    rates = "optimizer.learning_rate=1e-3,9e-4,8e-4,7e-4,6e-4,5e-4"
    sweep = start("-m", *SWEEP, *GATED, rates, cwd=tmp_path)
    running(tmp_path, sweep)
    workers = [start("worker", "quickstart", cwd=tmp_path, program=FINESWEEP) for _ in range(2)]
    owners = set[str]()
    deadline = time.monotonic() + 150
    while len(owners) < 3:
        assert time.monotonic() < deadline, "three workers were never seen at once"
        trials = studies.load("quickstart", STORAGE).get_trials(deepcopy=False)
        owners = {str(TrialRecord(trial).owner) for trial in trials if trial.state.name == "RUNNING"}
        time.sleep(0.2)
    os.kill(workers[0].pid, signal.SIGTERM)
    let_through(tmp_path)
    said = [process.communicate(timeout=200) for process in (*workers, sweep)]
    assert [process.returncode for process in (*workers, sweep)] == [130, 0, 0], said
    study = studies.load("quickstart", STORAGE)
    assert sum(trial.state.name == "COMPLETE" for trial in study.trials) == 6
    handed_back = [trial for trial in study.trials if trial.state.name == "FAIL"]  # unless it was at its end
    assert [TrialRecord(trial).outcome.state for trial in handed_back] in ([], ["INTERRUPTED"])
    assert sum(TrialRecord(trial).worker_deaths or 0 for trial in study.trials) == 0


@pytest.mark.long
def test_a_worker_refuses_what_its_host_lacks_and_a_study_that_was_edited(
    tmp_path: Path, elsewhere: Path
) -> None:
    rows = tmp_path / "rows.csv"
    rows.write_text("text,label\n" + "".join(f"word{n % 7} text,{n % 2}\n" for n in range(60)))
    given = (
        "data=table",
        "data.path=rows.csv",
        "data.text_columns=[text]",
        "data.train_split=train",
        "data.holdout=0.3",
        "hydra.sweeper.study.n_trials=1",
        "hydra.sweeper.study.name=own",
    )
    assert train("-m", *SWEEP, *given, cwd=tmp_path).returncode == 0

    def refused(*options: str) -> str:
        answer = finesweep("worker", "own", *storage_of(tmp_path), *options, cwd=elsewhere)
        assert (answer.returncode, answer.stdout) == (2, ""), answer.stderr
        assert "Traceback" not in answer.stderr
        return answer.stderr

    kept = rows.read_text()
    rows.write_text(kept.replace("word1", "word8"))
    assert "data.train content: was" in refused()
    rows.unlink()
    assert f"host {os.uname().nodename}: " in (gone := refused()) and "rows.csv" in gone
    missing = refused("--project", "/nowhere/project")
    assert f"host {os.uname().nodename} has no folder /nowhere/project" in missing
    assert "--workers: got '0'; legal: auto, or a whole number" in refused("--workers", "0")
    unknown = finesweep("worker", "owm", *storage_of(tmp_path), cwd=elsewhere)
    assert unknown.returncode == 2 and "did you mean own?" in unknown.stderr
