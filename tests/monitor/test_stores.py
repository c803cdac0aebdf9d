"""Printed commands name the MLflow store of the last command, wherever it was configured."""

import pytest
from sweeping import evaluate, sweep

from finesweep.monitor.report import describe
from finesweep.monitor.stores import tracking_of
from finesweep.monitor.wording import TRACKING
from finesweep.study.records import StudyRecord


@pytest.mark.usefixtures("no_finish")
def test_the_store_of_the_last_command_is_named_without_an_override() -> None:
    study = sweep(lambda _, trial: evaluate(trial, [0.5]), "hydra.sweeper.study.n_trials=1")
    record = StudyRecord(study)
    assert record.history and record.last_command
    assert record.last_command.tracking_uri == tracking_of(study) == TRACKING
    first, team = record.history[0], {"tracking_uri": "http://team:5000"}
    record.history = [first, first | team]  # as of a project whose config.yaml names a server
    assert describe(study).tracking_uri == "http://team:5000"
    del first["tracking_uri"]  # as of an earlier version
    record.history = [first]
    assert tracking_of(study) == TRACKING
