"""Which weights stay: the best few, and what may still win; never fewer than one whole copy of them."""

import json
from pathlib import Path

import pytest
from optuna.trial import TrialState, create_trial
from sweeping import STORAGE, evaluate, sweep

from finesweep.config.run import RunConfig
from finesweep.config.study import ConfirmConfig
from finesweep.errors import ConfigError
from finesweep.hooks import RunHooks
from finesweep.study import studies
from finesweep.study.records import Limits, StudyRecord, TrialRecord

pytestmark = pytest.mark.usefixtures("no_finish")
GRID = ("optimizer.learning_rate=1e-3,2e-3,3e-3,4e-3,5e-3", "trainer.num_train_epochs=1",
        "trainer.per_device_train_batch_size=8", "hydra.sweeper.study.sampler=grid")  # fmt: skip


def rising(config: RunConfig, trial: RunHooks) -> float:
    return evaluate(trial, [100 * config.optimizer.learning_rate])


def kept() -> set[str]:
    return {folder.name for folder in Path("weights").iterdir()}


def test_the_weights_of_the_best_few_stay_and_the_others_go() -> None:
    sweep(rising, *GRID, "hydra.sweeper.keep_checkpoints=2")
    assert kept() == {"trial-0003", "trial-0004"}


def test_candidates_stay_until_they_are_confirmed_and_what_confirms_them_goes() -> None:
    confirm = ("hydra.sweeper.study.confirm.top_k=3", "hydra.sweeper.study.confirm.seeds=1")
    sweep(rising, *GRID, "hydra.sweeper.keep_checkpoints=1", *confirm)
    assert kept() == {"trial-0002", "trial-0003", "trial-0004"}


def test_the_baseline_stays() -> None:
    known = "hydra.sweeper.enqueue=[{optimizer.learning_rate: 1e-4}]"
    sweep(rising, "optimizer.learning_rate=interval(1e-4,1e-2)", *GRID[1:], known,
          "hydra.sweeper.study.sampler=random", "hydra.sweeper.study.n_trials=4",
          "hydra.sweeper.keep_checkpoints=1")  # fmt: skip
    assert "trial-0000" in kept() and len(kept()) == 2


def test_nothing_goes_while_what_should_stay_is_damaged() -> None:
    def damaging(config: RunConfig, trial: RunHooks) -> float:
        if trial.run_name == "trial-0004":
            Path("weights/trial-0003/model.safetensors").write_bytes(b"torn")
        return rising(config, trial)

    sweep(damaging, *GRID, "hydra.sweeper.keep_checkpoints=2")
    assert kept() == {"trial-0002", "trial-0003", "trial-0004"}


def test_a_candidate_whose_weights_are_gone_is_refused_before_anything_is_confirmed() -> None:
    sweep(rising, *GRID, "hydra.sweeper.keep_checkpoints=1")
    with pytest.raises(ConfigError, match="confirm.top_k: got 2; legal: 1 or less.*trial 3 are gone"):
        sweep(rising, *GRID, "hydra.sweeper.keep_checkpoints=1", "hydra.sweeper.study.confirm.top_k=2",
              "hydra.sweeper.study.max_train_steps=9", "hydra.sweeper.enqueue=[]")  # fmt: skip
    record = StudyRecord(studies.load("quickstart", STORAGE))
    assert record.limits == Limits() and record.confirm == ConfirmConfig()  # nothing of it is left


def test_what_a_killed_command_left_is_nothing_that_a_person_asked_for(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """It had set its budget, and was killed before it was in the study's history."""
    sweep(rising, *GRID)

    def killed(*arguments: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr("finesweep.worker.launch.record", killed)
        sweep(rising, *GRID, "hydra.sweeper.study.max_train_steps=1")
    assert StudyRecord(studies.load("quickstart", STORAGE)).limits == Limits(None, 1)
    study = sweep(rising, *GRID)
    assert StudyRecord(study).limits == Limits() and len(study.trials) == 5
    assert "finesweep extend" not in capfd.readouterr().err


def test_what_a_kill_after_the_training_left_does_not_look_like_a_finished_trial(tmp_path: Path) -> None:
    sweep(rising, *GRID, "hydra.sweeper.study.n_trials=1")
    folder = tmp_path / "trial"
    (folder / "checkpoint").mkdir(parents=True)
    (folder / "result.json").write_text('{"status": "FINISHED", "value": 0.5, "checkpoint": "checkpoint"}')
    killed = create_trial(state=TrialState.FAIL, user_attrs=TrialRecord.attributes(folder=str(folder)))
    studies.load("quickstart", STORAGE).add_trial(killed)
    sweep(rising, *GRID)
    assert not (folder / "checkpoint").exists()
    result = json.loads((folder / "result.json").read_text())
    assert result == {"status": "KILLED", "value": 0.5, "checkpoint": None}
