"""What ends a search, and what is not trained twice."""

import time
from datetime import datetime, timedelta
from pathlib import Path

import optuna
import pytest
from optuna.trial import FrozenTrial, TrialState, create_trial
from sweeping import evaluate, runs, sweep

from finesweep.config.run import RunConfig
from finesweep.config.study import StudyConfig
from finesweep.hooks import RunHooks
from finesweep.monitor.report import describe
from finesweep.study.budget import busy_seconds, spent
from finesweep.study.records import TrialRecord

pytestmark = pytest.mark.usefixtures("no_finish")
SPACE = ("optimizer.learning_rate=interval(1e-4,1e-3)", "trainer.num_train_epochs=1",
         "trainer.per_device_train_batch_size=8", "hydra.sweeper.study.sampler=random")  # fmt: skip
FEW = ("trainer.num_train_epochs=range(1,3)", "optimizer.learning_rate=1e-3", *SPACE[2:])
trained: list[str] = []


def fine(config: RunConfig, trial: RunHooks) -> float:
    trained.append(trial.run_name)
    return evaluate(trial, [0.5, 0.5 + config.trainer.num_train_epochs / 10])


def test_training_steps_end_the_search_and_the_summary_says_so(capsys: pytest.CaptureFixture[str]) -> None:
    study = sweep(fine, *SPACE, "hydra.sweeper.study.max_train_steps=50")
    assert len(study.trials) == 3  # of 20 steps each
    assert describe(study).ended_by == "max_train_steps=50 (60 steps)"
    assert "ended by:     max_train_steps=50 (60 steps)" in capsys.readouterr().out
    assert len(sweep(fine, *SPACE, "hydra.sweeper.study.max_train_steps=50").trials) == 3
    assert len(sweep(fine, *SPACE, "hydra.sweeper.study.max_train_steps=70").trials) == 4


def test_seconds_end_the_search() -> None:
    def training(config: RunConfig, trial: RunHooks) -> float:
        time.sleep(0.3)
        return fine(config, trial)

    study = sweep(training, *SPACE, "hydra.sweeper.study.timeout_s=0.7")
    assert 1 <= len(study.trials) <= 3
    assert str(describe(study).ended_by).startswith("timeout_s=0.7")


def trial(start: float, end: float | None, beat: float | None = None, failed: bool = False) -> FrozenTrial:
    made = create_trial(value=1.0)
    made.state = TrialState.FAIL if failed else TrialState.COMPLETE
    made.datetime_start = datetime.fromtimestamp(start)
    made.datetime_complete = None if end is None else datetime.fromtimestamp(end)
    made.user_attrs = {} if beat is None else TrialRecord.attributes(heartbeat=beat)
    return made


def test_seconds_are_those_in_which_trials_ran() -> None:
    assert busy_seconds([]) == 0
    assert busy_seconds([trial(100, 110), trial(105, 120), trial(200, 201)]) == 21  # together, then a pause
    night = timedelta(hours=8).total_seconds()
    assert busy_seconds([trial(100, 110 + night, beat=110, failed=True)]) == 10  # found dead in the morning


def test_whichever_budget_comes_first() -> None:
    done = [trial(0, 10)]
    assert spent(done, StudyConfig(n_trials=2)) is None
    assert spent(done, StudyConfig(n_trials=1, timeout_s=5)) == "n_trials=1"
    assert spent(done, StudyConfig(n_trials=2, timeout_s=5)) == "timeout_s=5 (10 s)"


def test_a_point_that_was_evaluated_is_reused_and_marked() -> None:
    trained.clear()
    study = sweep(fine, *FEW, "hydra.sweeper.study.n_trials=6")
    assert sorted(trained) == sorted({f"trial-{t.number:04d}" for t in study.trials if not is_reused(t)})
    assert len(trained) == 2  # there are two points
    for reused in filter(is_reused, study.trials):
        twin = study.trials[TrialRecord(reused).reused_of]
        assert (reused.params, reused.value) == (twin.params, twin.value)
        run = runs()[f"trial-{reused.number:04d}"]
        assert run.info.status == "FINISHED"
        assert run.data.tags["finesweep.reused_of"] == str(twin.number)
        assert run.data.metrics["best_value"] == twin.value
    assert describe(study).reused == 4


def test_repeats_are_trained_where_that_is_asked_for() -> None:
    trained.clear()
    sweep(fine, *FEW, "hydra.sweeper.study.n_trials=6", "hydra.sweeper.study.repeat_trials=true")
    assert len(trained) == 6


def is_reused(trial: optuna.trial.FrozenTrial) -> bool:
    return TrialRecord(trial).reused_of is not None


def test_what_may_change_from_command_to_command_is_recorded(tmp_path: Path) -> None:
    sweep(fine, *SPACE, "hydra.sweeper.study.n_trials=1")
    study = sweep(fine, *SPACE[:3], "hydra.sweeper.study.sampler=tpe", "hydra.sweeper.study.pruner=median",
                  "hydra.sweeper.study.n_trials=2")  # fmt: skip
    history = describe(study).commands
    assert [(c["sampler"], c["pruner"], c["n_trials"], c["workers"]) for c in history] == [
        ("random", "none", 1, 1), ("tpe", "median", 2, 1)
    ]  # fmt: skip
    assert list(tmp_path.glob("mlruns/artifacts/demo/*/artifacts/commands.json"))
