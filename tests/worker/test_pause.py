"""A sweep that pauses trials: what stores, disk and people are told, and what promoted ones become."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from optuna.trial import FrozenTrial
from processes import SMALL, finesweep, train
from sweeping import STORAGE, evaluate, runs, sweep

from finesweep.config.run import RunConfig, TrackingConfig
from finesweep.hooks import RunHooks
from finesweep.io import checkpoint
from finesweep.monitor.description import of_study
from finesweep.monitor.events import beginning, ending
from finesweep.monitor.listing import run_rows
from finesweep.monitor.markdown import of_trial
from finesweep.monitor.report import describe
from finesweep.monitor.snapshot import take_snapshot
from finesweep.monitor.table import totals
from finesweep.report.facts import gather
from finesweep.report.tables import lost, trials_table
from finesweep.study import studies
from finesweep.study.baseline import baseline_of
from finesweep.study.places import places_of
from finesweep.study.records import StudyRecord, TrialRecord
from finesweep.study.steering import stop_trial
from finesweep.tracking import open_store, read_all
from finesweep.worker.trial import RunningTrial

PAUSE = "hydra.sweeper.study.pruner=pause"
GRID = ("optimizer.learning_rate=1e-3,1e-4,1e-5", "trainer.num_train_epochs=1",
        "trainer.per_device_train_batch_size=8", "hydra.sweeper.study.sampler=grid", PAUSE)  # fmt: skip


def options(**values: float) -> str:
    text = ",".join(f"{key}:{value}" for key, value in values.items())
    return f"+hydra.sweeper.study.pruner_options={{{text}}}"


def falling(config: RunConfig, trial: RunHooks) -> float:
    """The smaller the learning rate, the worse, from the first evaluation on; it leaves a checkpoint."""
    assert isinstance(trial, RunningTrial) and trial.folder is not None
    (trial.folder / "training" / f"step-of-{trial.run_name}").mkdir(parents=True)
    level = 0.9 + config.optimizer.learning_rate
    return evaluate(trial, [level * step / 4 for step in range(1, 5)])


def kept(trial: FrozenTrial, study: Any) -> list[str]:
    folder = places_of(study).find(str(TrialRecord(trial).folder)) / "training"
    return sorted(path.name for path in folder.iterdir()) if folder.exists() else []


@pytest.fixture
def unfinished(no_finish: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """The search is over, but those that wait are not given up yet."""
    monkeypatch.setattr("finesweep.worker.finish.give_up_all", lambda queue: None)


@pytest.mark.usefixtures("unfinished")
def test_both_stores_the_disk_and_people_are_told_the_truth_of_paused_trials() -> None:
    study = sweep(falling, *GRID, options(min_resource=25))
    assert [trial.state.name for trial in study.trials] == ["PRUNED"] * 3 + ["PRUNED", "COMPLETE"]
    assert [TrialRecord(trial).continues for trial in study.trials] == [None, None, None, 0, 3]
    tracked, names = runs(), {row.trial: row.state for row in run_rows(study)}
    for trial in study.trials[:-1]:
        run = tracked[f"trial-{trial.number:04d}"]
        assert (run.info.status, run.data.tags["finesweep.state"]) == ("KILLED", "PAUSED")
    last = study.trials[-1]
    tags = tracked[f"trial-{last.number:04d}"].data.tags
    assert tags["finesweep.continues"] == str(TrialRecord(last).continues)
    assert "finesweep.retry_of" not in tags
    assert sorted(names.values()) == ["COMPLETE", "CONTINUED", "CONTINUED", "PAUSED", "PAUSED"]
    waiting = [trial for trial in study.trials if names[trial.number] == "PAUSED"]
    assert [kept(trial, study) for trial in waiting] == [[f"step-of-trial-{t.number:04d}"] for t in waiting]


@pytest.mark.usefixtures("unfinished")
def test_words_for_paused_trials() -> None:
    study = sweep(falling, *GRID, options(min_resource=25))
    snapshot, status = take_snapshot(study), describe(study)
    first, last = study.trials[0], study.trials[-1]
    assert ending(snapshot, first).startswith("trial 0 PAUSED at 25% in ")
    assert beginning(last).startswith(f"trial {last.number} started (continues trial ")
    assert totals(snapshot)[0].startswith("COMPLETE 1  PRUNED 0  ")
    assert totals(snapshot)[0].endswith("  PAUSED 2  CONTINUED 2")
    assert totals(snapshot)[1].startswith("1/3 finished")
    assert (status.finished, status.paused, status.continued, status.given_up) == (1, 2, 2, 0)
    assert status.outcomes == {"COMPLETE": 1, "PAUSED": 2, "CONTINUED": 2}
    assert of_trial(study, first).startswith("paused at 25 per cent of its training with accuracy ")
    assert "#### Paused" in of_study(study, works=False) and "#### Pruned" not in of_study(study, works=False)
    facts = gather(study)
    assert "2 paused and never went on" in " ".join(lost(facts))
    assert "continued" in trials_table(facts)


@pytest.mark.usefixtures("no_finish")
def test_no_more_trials_wait_than_the_bound_says() -> None:
    study = sweep(falling, *GRID, options(min_resource=25, max_paused=1))
    names = {row.trial: row.state for row in run_rows(study)}
    assert StudyRecord(study).given_up == [1, 2]
    assert [names[number] for number in (1, 2)] == ["GIVEN UP"] * 2
    assert [kept(study.trials[number], study) for number in (1, 2)] == [[], []]


@pytest.mark.usefixtures("no_finish")
def test_at_the_end_the_runs_of_paused_trials_say_what_became_of_them() -> None:
    study = sweep(falling, *GRID, options(min_resource=25))
    names, said = {row.trial: row.state for row in run_rows(study)}, runs()
    assert sorted(names.values()) == ["COMPLETE", "CONTINUED", "CONTINUED", "GIVEN UP", "GIVEN UP"]
    ends = {"GIVEN UP": "others were better there; it was given up, and its checkpoint is gone",
            "CONTINUED": "went on from it"}  # fmt: skip
    for number, name in names.items():
        if name in ends:
            note = said[f"trial-{number:04d}"].data.tags["mlflow.note.content"]
            assert note.startswith("paused ") and note.endswith(ends[name])


@pytest.mark.usefixtures("no_finish")
def test_a_trial_that_is_stopped_between_its_evaluation_and_its_checkpoint_is_pruned() -> None:
    def training(config: RunConfig, trial: RunHooks) -> float:
        assert isinstance(trial, RunningTrial)
        if trial.trial.number == 0:
            trial.evaluated(0.5, 0.25)
            stop_trial(trial.queue, 0)
            trial._write_heartbeat()
            trial.saved()
        return falling(config, trial)

    study = sweep(training, *GRID, options(min_resource=25))
    assert runs()["trial-0000"].data.tags["finesweep.state"] == "PRUNED"
    assert 0 not in {TrialRecord(trial).continues for trial in study.trials}


@pytest.mark.usefixtures("no_finish")
def test_the_point_that_a_search_is_measured_against_is_trained_to_its_end() -> None:
    """All others are better than it, and a first one at a rung always pauses."""
    study = sweep(
        falling, "optimizer.learning_rate=tag(log,interval(1e-4,1e-3))", *GRID[1:3], PAUSE,
        "hydra.sweeper.enqueue=[{optimizer.learning_rate: 1e-4}]", "trainer.evals_per_epoch=4",
        "hydra.sweeper.study.n_trials=6",
    )  # fmt: skip
    assert study.trials[0].state.name == "COMPLETE"
    assert getattr(baseline_of(study), "number", None) == 0
    assert "PRUNED" in {trial.state.name for trial in study.trials}


@pytest.mark.usefixtures("no_finish")
def test_trainings_that_nothing_could_stop_are_said(capsys: pytest.CaptureFixture[str]) -> None:
    sweep(falling, *GRID)
    said = "pruner=pause: trainings with num_train_epochs=1 and evals_per_epoch=1 have no evaluation at which"
    assert said in capsys.readouterr().err
    for name, is_said, given in (
        ("more", False, ["trainer.evals_per_epoch=4"]),
        ("uneven", False, ["trainer.num_train_epochs=1.5"]),  # its first evaluation is after two thirds
        ("late", True, ["trainer.evals_per_epoch=2", options(min_resource=75)]),
    ):
        fixed = [one for one in GRID if not any(one.startswith(key.partition("=")[0]) for key in given)]
        sweep(falling, *fixed, *given, f"hydra.sweeper.study.name={name}")
        assert ("have no evaluation" in capsys.readouterr().err) == is_said


@pytest.mark.long
def test_a_promoted_trial_has_the_weights_of_an_undisturbed_one_and_is_reproduced_exactly(
    tmp_path: Path,
) -> None:
    # The loss has no equal values, and some trial is best after its pause. The budget lets all go on. Of two
    # workers, the faster one would decide who is promoted.
    small = ("-m", *SMALL[:1], *SMALL[2:], "trainer.num_train_epochs=1", "trainer.evals_per_epoch=4",
             "model.dropout=0.1", "trainer.per_device_train_batch_size=8", "data.metric=log_loss",
             "hydra.sweeper.study.sampler=grid", "optimizer.learning_rate=1e-3,3e-4,1e-4,1e-5",
             "hydra.sweeper.keep_checkpoints=4", "hydra.sweeper.workers=1")  # fmt: skip
    paused_study = ("hydra.sweeper.study.name=paused", "hydra.sweeper.study.max_train_steps=80")
    done = train(*small, PAUSE, options(min_resource=25), *paused_study, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "PAUSED at 24%" in done.stderr and "(continues trial " in done.stderr  # 6 of 25 steps
    plain = train(*small, "hydra.sweeper.study.name=plain", cwd=tmp_path)
    assert plain.returncode == 0, plain.stderr
    study, undisturbed = (studies.load(name, STORAGE) for name in ("paused", "plain"))
    complete = [trial for trial in study.trials if trial.state.name == "COMPLETE"]
    promoted = [trial for trial in complete if TrialRecord(trial).continues is not None]
    before = [study.trials[TrialRecord(trial).continues].value for trial in promoted]  # type: ignore[index]
    assert any(trial.value < value for trial, value in zip(promoted, before, strict=True))  # trained since
    for trial in complete:
        (twin,) = (other for other in undisturbed.trials if other.params == trial.params)
        assert weights(trial, study) == weights(twin, undisturbed)
        assert metrics(trial) == metrics(twin)
    assert not list(tmp_path.rglob("training"))
    for trial in (promoted[0], study.trials[0]):
        run_id = str(TrialRecord(trial).run_id)
        verdict = json.loads(finesweep("reproduce", run_id, "--json", cwd=tmp_path).stdout)
        assert verdict["verdict"] == "EXACT", verdict


def weights(trial: FrozenTrial, study: Any) -> str:
    folder = places_of(study).find(str(TrialRecord(trial).checkpoint))
    return checkpoint.sha256(folder / "model.safetensors")


def metrics(trial: FrozenTrial) -> dict[int, dict[str, float]]:
    """Every metric of the trial's run by step, but for times: losses have all their digits."""
    logged = read_all(open_store(TrackingConfig()), str(TrialRecord(trial).run_id))
    return {
        step: {key: value for key, value in values.items() if not key.endswith(("runtime", "per_second"))}
        for step, values in logged.items()
    }


def test_a_run_that_pauses_goes_on_to_the_same_metrics(
    config: Callable[..., RunConfig], tmp_path: Path
) -> None:
    """Also between an evaluation and its checkpoint, nothing is trained twice."""
    from test_stop import Stopped, history

    from finesweep.hooks import TrialPaused, current_hooks
    from finesweep.training.run import run

    class Pausing(Stopped):
        def saved(self) -> None:
            raise TrialPaused

    alone = config("tracking.uri=sqlite:///a.db", "trainer.evals_per_epoch=2")
    run(alone, tmp_path / "a")
    again = config("tracking.uri=sqlite:///b.db", "trainer.evals_per_epoch=2")
    token = current_hooks.set(Pausing(after=10**9))  # type: ignore[arg-type]
    try:
        with pytest.raises(TrialPaused):
            run(again, tmp_path / "b")
    finally:
        current_hooks.reset(token)
    assert len(list((tmp_path / "b/training").glob("step-*"))) == 1
    run(again, tmp_path / "b")
    assert history(again) == history(alone)
