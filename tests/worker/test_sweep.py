"""A sweep as a person starts it: `python train.py -m`, real processes, real stores."""

import json
import os
import signal
import time
from pathlib import Path

import pytest
from gates import GATED, let_through, shut
from mlflow.entities import Run
from optuna.trial import FrozenTrial
from processes import SMALL, Process, finesweep, start, train
from sqlalchemy.exc import OperationalError

from finesweep.config.run import TrackingConfig
from finesweep.errors import StudyError
from finesweep.machine.process import ProcessIdentity
from finesweep.study import studies
from finesweep.study.records import TrialRecord
from finesweep.tracking import open_store

STORAGE = "sqlite:///mlruns/optuna.db"


def sweep(*arguments: str) -> list[str]:
    return ["-m", *SMALL[:1], *SMALL[3:], "trainer.num_train_epochs=1,2", *arguments]


def runs() -> dict[str, Run]:
    client = open_store(TrackingConfig())
    found = client.search_runs([e.experiment_id for e in client.search_experiments()])
    return {str(run.info.run_name): run for run in found}


@pytest.mark.slow
def test_a_sweep_ends_with_a_tracked_submitted_best_model_and_repeats_nothing(tmp_path: Path) -> None:
    first = train(*sweep("hydra.sweeper.study.n_trials=3", "data.holdout=0.2"), cwd=tmp_path, cold=True)
    assert first.returncode == 0, first.stderr
    assert "study quickstart: 3 of 3 trials finished (COMPLETE 3)" in first.stdout
    assert "trial 2 COMPLETE" in first.stderr
    assert first.stderr.count("\n") < 20  # one plain line per event, not a log

    tracked = runs()
    parent = tracked.pop("quickstart")
    assert sorted(tracked) == ["trial-0000", "trial-0001", "trial-0002"]
    assert parent.info.status == "FINISHED"
    for child in tracked.values():
        assert child.info.status == "FINISHED"
        assert child.data.tags["mlflow.parentRunId"] == parent.info.run_id
        assert child.data.params["trainer.threads"] == "1"
    client = open_store(TrackingConfig())
    assert "submission/test.tsv" in {a.path for a in client.list_artifacts(parent.info.run_id, "submission")}

    best = json.loads(finesweep("best", "quickstart", "--json", cwd=tmp_path).stdout)
    assert best["value"] == max(run.data.metrics["best_value"] for run in tracked.values())
    assert best["run_id"] in {run.info.run_id for run in tracked.values()}
    assert Path(best["submission"]).read_text().count("\n") == 1001
    assert (Path(best["checkpoint"]) / "model.safetensors").is_file()
    assert parent.data.tags["finesweep.best_run_id"] == best["run_id"]

    again = train(*sweep("hydra.sweeper.study.n_trials=3", "data.holdout=0.2"), cwd=tmp_path)
    assert again.returncode == 0
    assert "nothing to do" in again.stderr
    assert len(runs()) == 4

    assert best["final_metrics"]["final_accuracy"] > 0
    changed = ("data.holdout=0.2", "model.max_length=32")
    other = train(*sweep("hydra.sweeper.study.n_trials=3", *changed), cwd=tmp_path)
    assert other.returncode == 2
    assert "model.max_length: was 64, is 32" in other.stderr
    assert "hydra.sweeper.study.name=NAME" in other.stderr
    assert runs()["quickstart"].info.status == "FINISHED"


@pytest.mark.long
def test_the_best_run_is_made_again_by_name_and_from_its_yaml_without_a_sweep(tmp_path: Path) -> None:
    """Weights, submission and metrics are the same."""
    assert train(*sweep("hydra.sweeper.study.n_trials=2"), cwd=tmp_path).returncode == 0
    run_id = json.loads(finesweep("best", "quickstart", "--json", cwd=tmp_path).stdout)["run_id"]
    found = json.loads(finesweep("reproduce", "--best", "quickstart", "--json", cwd=tmp_path).stdout)
    assert (found["verdict"], found["run_id"]) == ("EXACT", run_id)
    assert found["predictions"].keys() == {"eval", "test.tsv"}
    (tmp_path / "best.yaml").write_text(finesweep("best", "quickstart", "--yaml", cwd=tmp_path).stdout)
    plain = ("--config-dir", ".", "--config-name", "best", "hydra.run.dir=plain")
    done = train(*plain, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    other = json.loads((tmp_path / "plain/result.json").read_text())["run_id"]
    diff_runs = json.loads(finesweep("diff", run_id, other, "--json", cwd=tmp_path).stdout)
    assert diff_runs["differences"] == []
    assert all(row["then"] == row["now"] for row in diff_runs["results"])


def running(tmp_path: Path, process: Process) -> FrozenTrial:
    """The first trial whose run is open."""
    deadline = time.monotonic() + 200
    while True:
        assert process.poll() is None and time.monotonic() < deadline, "no trial was ever seen running"
        try:
            for trial in studies.load("quickstart", STORAGE).get_trials(deepcopy=False):
                if trial.state.name == "RUNNING" and TrialRecord(trial).run_id is not None:
                    return trial
        except (StudyError, OperationalError, KeyError):  # the file is being made
            pass
        time.sleep(0.2)


@pytest.mark.long
@pytest.mark.parametrize("kill", [signal.SIGINT, signal.SIGKILL], ids=["ctrl-c", "kill -9"])
def test_an_interrupted_sweep_goes_on_and_leaves_nothing_running(
    tmp_path: Path, kill: signal.Signals
) -> None:
    shut(tmp_path)
    arguments = sweep("hydra.sweeper.study.n_trials=3", *GATED)
    process = start(*arguments, cwd=tmp_path)
    running(tmp_path, process)
    os.killpg(process.pid, kill)
    let_through(tmp_path)
    process.communicate(timeout=200)
    if kill is signal.SIGINT:
        assert process.returncode == 130
        assert {run.info.status for run in runs().values()} <= {"KILLED", "FINISHED"}

    done = train(*arguments, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    states = json.loads(finesweep("status", "quickstart", "--json", cwd=tmp_path).stdout)
    assert states["finished"] == states["states"]["COMPLETE"] == 3
    assert states["states"]["RUNNING"] == states["states"]["WAITING"] == 0
    assert states["states"]["FAIL"] >= 1
    trials = studies.load("quickstart", STORAGE).get_trials()
    assert {run.info.status for run in runs().values()} == {"FINISHED", "KILLED"}
    for trial in trials:
        if TrialRecord(trial).run_id is None:
            continue  # taken, and interrupted before its run was open
        expected = "FINISHED" if trial.state.name == "COMPLETE" else "KILLED"
        assert runs()[f"trial-{trial.number:04d}"].info.status == expected
    if kill is signal.SIGKILL:
        retried = next(
            t for t in trials if TrialRecord(t).retry_of is not None and t.state.name == "COMPLETE"
        )
        again = finesweep("reproduce", TrialRecord(retried).run_id, "--json", cwd=tmp_path)
        assert json.loads(again.stdout)["verdict"] == "EXACT"


def test_a_sweep_survives_the_death_of_a_worker(tmp_path: Path) -> None:
    """As the kernel does to it when memory runs out."""
    shut(tmp_path)
    process = start(*sweep("hydra.sweeper.study.n_trials=3", *GATED), cwd=tmp_path)
    victim = running(tmp_path, process)
    os.kill(int(ProcessIdentity.parse(str(TrialRecord(victim).owner)).pid), signal.SIGKILL)
    let_through(tmp_path)
    stdout, stderr = process.communicate(timeout=200)
    assert process.returncode == 0, stderr
    assert "a worker died" in stderr
    assert "3 of 3 trials finished" in stdout
    trials = studies.load("quickstart", STORAGE).get_trials()
    retry = next(trial for trial in trials if TrialRecord(trial).retry_of == victim.number)
    assert retry.params == victim.params
    assert runs()[f"trial-{victim.number:04d}"].info.status == "KILLED"
    assert runs()[f"trial-{retry.number:04d}"].data.tags["finesweep.retry_of"] == str(victim.number)


def test_a_failing_trial_fails_alone(tmp_path: Path) -> None:
    """A learning rate that diverges is one point of the grid."""
    diverging = ["optimizer.learning_rate=1e-3,1e30", "optimizer.max_grad_norm=0", "optimizer.warmup_steps=0"]
    fixed = ["trainer.per_device_train_batch_size=16", "hydra/launcher=basic"]
    done = train("-m", *SMALL, *diverging, *fixed, "hydra.sweeper.study.sampler=grid", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    status = json.loads(finesweep("status", "quickstart", "--json", cwd=tmp_path).stdout)
    assert (status["states"]["COMPLETE"], status["states"]["FAIL"]) == (1, 1)
    assert "LossNotFinite" in status["failures"][0]
    assert sorted(run.info.status for run in runs().values()) == ["FAILED", "FINISHED", "FINISHED"]


@pytest.mark.slow
def test_two_commands_at_once_share_one_budget(tmp_path: Path) -> None:
    arguments = sweep("hydra.sweeper.study.n_trials=4", "hydra/launcher=basic", "trainer.threads=1")
    both = [start(*arguments, cwd=tmp_path) for _ in range(2)]
    for process in both:
        _, stderr = process.communicate(timeout=200)
        assert process.returncode == 0, stderr
    states = json.loads(finesweep("status", "quickstart", "--json", cwd=tmp_path).stdout)["states"]
    assert states == {"COMPLETE": 4, "PRUNED": 0, "FAIL": 0, "RUNNING": 0, "WAITING": 0}
    tracked = runs()
    assert len(tracked) == 5  # one parent, four trials
    assert {run.info.status for run in tracked.values()} == {"FINISHED"}
