"""The records of studies and trials, and the keys under which version 0.1 stored them."""

from pathlib import Path

import optuna
import pytest
from optuna.trial import create_trial

from finesweep.config.study import ConfirmConfig
from finesweep.errors import StudyError
from finesweep.hooks import RunState
from finesweep.study.attributes import Attribute
from finesweep.study.records import Conclusion, Outcome, Progress, StudyRecord, TrialRecord

TRIAL_0_1 = {
    "owner": "host|1|2.00", "beat": 3.0, "ordinal": 4, "retry_of": 5, "error": "ValueError: no",
    "run_id": "r", "checkpoint": "c", "folder": "f", "overrides": ["seed=1"], "deaths": 1, "extra": ["a=1"],
    "reused_of": 6, "confirms": 7, "seed": 43,
    "live": {"step": 1, "max_steps": 9, "epoch": 0.5, "examples_per_s": 8.0, "trained_steps": 1,
             "value": 0.5},
    "outcome": {"state": "FAIL", "values": [], "checkpoint": None, "error": "e", "extra": ["a=1"]},
}  # fmt: skip
STUDY_0_1 = {
    "identity": {"seed": 42}, "n_trials": 6, "metric": "accuracy", "objectives": {"accuracy": "maximize"},
    "confirm": {"top_k": 2, "seeds": 3}, "glue_task": None, "artifacts": ["r"], "stop": ["host|1|2.00"],
    "history": [{"time": "2026-11-01T12:00:00", "host": "h", "workers": 2, "sampler": "gp",
                 "timeout_s": 60.0, "max_train_steps": None, "pruner": "none"}],
    "conclusion": {"trials": [6, 2], "best": 3, "predict": True, "submissions": ["s"],
                   "metrics": {"final_accuracy": 0.5}, "importances": {}},
}  # fmt: skip


def test_a_trial_of_version_0_1_is_read_by_the_keys_that_it_was_stored_under() -> None:
    record = TrialRecord(create_trial(value=1.0, user_attrs=TRIAL_0_1))
    assert (record.owner, record.heartbeat, record.worker_deaths) == ("host|1|2.00", 3.0, 1)
    assert record.progress == Progress(0.5, 1, 9, 1, 8.0, 0.5)
    assert record.outcome == Outcome(RunState.FAIL, error="e", retry_overrides=["a=1"])
    names = [name for name, value in vars(TrialRecord).items() if isinstance(value, Attribute)]
    assert TrialRecord.attributes(**{name: getattr(record, name) for name in names}) == TRIAL_0_1


def test_a_study_of_version_0_1_is_read_by_the_keys_that_it_was_stored_under(tmp_path: Path) -> None:
    study = optuna.create_study()
    for key, value in STUDY_0_1.items():
        study.set_user_attr(key, value)
    record = StudyRecord(study)
    assert (record.n_trials, record.metric, record.confirm) == (6, "accuracy", ConfirmConfig(2, 3))
    assert record.conclusion == Conclusion([6, 2], 3, True, ["s"], {"final_accuracy": 0.5})
    assert record.last_command is not None
    assert (record.last_command.sampler, record.last_command.timeout_s) == ("gp", 60.0)
    names = (
        "identity",
        "n_trials",
        "metric",
        "objectives",
        "glue_task",
        "artifacts",
        "history",
        "conclusion",
    )
    kept = StudyRecord.attributes(**{name: getattr(record, name) for name in names})
    kept |= StudyRecord.attributes(confirm=record.confirm, stopped_commands=record.stopped_commands)
    kept |= StudyRecord.attributes(conclusion=record.conclusion)
    assert kept == STUDY_0_1


def test_a_study_that_finesweep_did_not_make_is_refused_in_one_sentence() -> None:
    with pytest.raises(StudyError, match="not made by finesweep"):
        _ = StudyRecord(optuna.create_study(study_name="foreign")).n_trials


def test_what_is_written_is_read_again_and_a_frozen_trial_cannot_be_written() -> None:
    study = optuna.create_study()
    trial = study.ask()
    TrialRecord(trial).outcome = Outcome(RunState.COMPLETE, [1.0], "c")
    frozen = TrialRecord(study.get_trials()[0])
    assert frozen.outcome == Outcome(RunState.COMPLETE, [1.0], "c")
    with pytest.raises(TypeError, match="frozen"):
        frozen.run_id = "r"
