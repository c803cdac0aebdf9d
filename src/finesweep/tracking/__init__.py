"""Opens, writes, closes and reads MLflow runs; no other room imports mlflow.

Only `MlflowClient` is used: the fluent API has one global "active run", which several threads or studies of
one process would share.
"""

from finesweep.tracking.abandoned import close_trial_runs, kill_abandoned_runs
from finesweep.tracking.data_input import DataInput
from finesweep.tracking.deleted import changed_by_others, restore_deleted
from finesweep.tracking.mlmodel import Pipeline
from finesweep.tracking.opening import open_run, open_study_run, record_run, start_run, state_of
from finesweep.tracking.pages import page_of
from finesweep.tracking.reading import find_run, open_existing, read_all, read_history, read_values
from finesweep.tracking.registry import ALIAS, register
from finesweep.tracking.store import PatientClient, await_store, import_store, open_reader, open_store
from finesweep.tracking.tracked import STATUSES, TrackedRun, deliver_spooled
from finesweep.tracking.writes import EXPERIMENT, SIDE

__all__ = [
    "ALIAS",
    "EXPERIMENT",
    "SIDE",
    "STATUSES",
    "DataInput",
    "PatientClient",
    "Pipeline",
    "TrackedRun",
    "await_store",
    "changed_by_others",
    "close_trial_runs",
    "deliver_spooled",
    "find_run",
    "import_store",
    "kill_abandoned_runs",
    "open_existing",
    "open_reader",
    "open_run",
    "open_store",
    "open_study_run",
    "page_of",
    "read_all",
    "read_history",
    "read_values",
    "record_run",
    "register",
    "restore_deleted",
    "start_run",
    "state_of",
]
