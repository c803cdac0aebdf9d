"""Heartbeats: a worker writes that it is alive and how far its trial is; others read these signs of life."""

import json
from collections.abc import Sequence
from copy import copy
from typing import NamedTuple

import optuna
from optuna.exceptions import UpdateFinishedTrialError
from optuna.storages import BaseStorage
from optuna.trial import FrozenTrial

from finesweep.study import clock
from finesweep.study.backend import backend_of
from finesweep.study.patient_storage import PatientStorage
from finesweep.study.records import Progress, StudyRecord, TrialRecord

BEAT, PROGRESS = TrialRecord.heartbeat.key, TrialRecord.progress.key
SIGNS = BEAT, *(one.key for one in (TrialRecord.owner, TrialRecord.recoverer, TrialRecord.recovered_since))
STOPPED = TrialRecord.stopped.key
# One statement writes the signs, unless the trial has ended, and reads what was asked of its worker.
STATEMENT = f"""
WITH signs AS (
  INSERT INTO trial_user_attributes (trial_id, key, value_json)
  SELECT trial_id, sign.key, sign.value FROM trials, (
    SELECT '{BEAT}' AS key, CAST({clock.SERVERS} AS text) AS value
    UNION ALL SELECT '{PROGRESS}', CAST(:progress AS text)
  ) AS sign
  WHERE trial_id = :trial_id AND state = 'RUNNING' AND sign.value IS NOT NULL
  ON CONFLICT (trial_id, key) DO UPDATE SET value_json = excluded.value_json
  RETURNING key
)
SELECT (SELECT count(*) FROM signs), (
  SELECT value_json FROM study_user_attributes
  WHERE study_id = :study_id AND key = '{StudyRecord.stopped_commands.key}'
), (
  SELECT value_json FROM study_user_attributes
  WHERE study_id = :study_id AND key = '{StudyRecord.halted.key}'
), (SELECT count(*) FROM trial_user_attributes WHERE trial_id = :trial_id AND key = '{STOPPED}')
"""


class Heard(NamedTuple):
    """What was asked of a worker, as a heartbeat has read it."""

    stopped_commands: Sequence[str]  # whose workers shall stop
    halted: float | None  # when a person stopped all work on the study, by its clock
    trial_is_stopped: bool  # by a person


def beat(trial: optuna.Trial, progress: Progress | None) -> Heard:
    """Writes a heartbeat; progress: None if it has not changed. Returns what is asked of the worker.

    Raises: UpdateFinishedTrialError if somebody else has ended the trial; StoreError.
    """
    backend = backend_of(trial.study)
    if not isinstance(backend, PatientStorage) or not backend.is_server:
        TrialRecord(trial).write_all(progress=progress, heartbeat=clock.now(trial.study))
        record = StudyRecord(trial.study)
        return Heard(record.stopped_commands or [], record.halted, _is_stopped(backend, trial))
    written, stopped, halted, trial_stopped = backend.execute(
        STATEMENT,
        progress=progress and json.dumps(progress.dump()),
        trial_id=trial._trial_id,
        study_id=trial.study._study_id,
    )
    if not written:
        raise UpdateFinishedTrialError(f"trial {trial.number} has ended")
    commands = json.loads(stopped) if stopped else []
    return Heard(commands, None if halted is None else json.loads(halted), trial_stopped > 0)


def _is_stopped(backend: BaseStorage, trial: optuna.Trial) -> bool:
    if not isinstance(backend, PatientStorage):  # in memory
        return STOPPED in backend.get_trial(trial._trial_id).user_attrs
    return bool(backend.read_attrs([trial._trial_id], (STOPPED,)))


def with_last_signs(backend: PatientStorage, trials: Sequence[FrozenTrial]) -> list[FrozenTrial]:
    """Returns copies of the trials that have the present signs of life."""
    attrs = backend.read_attrs([trial._trial_id for trial in trials], SIGNS)
    seen = [copy(trial) for trial in trials]
    for trial in seen:
        trial.user_attrs = trial.user_attrs | attrs[trial._trial_id]
    return seen
