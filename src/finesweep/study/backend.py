"""Finds the storage behind a study of Optuna, with finesweep's cache between the two."""

from optuna.storages import BaseStorage, RDBStorage
from optuna.storages._cached_storage import _CachedStorage
from optuna.study import Study
from optuna.trial import FrozenTrial

from finesweep.errors import DatabaseGone
from finesweep.study.cache import TrialCache
from finesweep.study.patient_storage import PatientStorage
from finesweep.study.records import TrialRecord


def cached(storage: RDBStorage) -> BaseStorage:
    return TrialCache(storage, TrialRecord.started.key) if isinstance(storage, PatientStorage) else storage


def skim(study: Study) -> list[FrozenTrial]:
    """Lists all trials; of those that run, what they were when they began. It reads what has changed."""
    storage = study._storage
    return (
        storage.skim(study._study_id) if isinstance(storage, TrialCache) else study.get_trials(deepcopy=False)
    )


def backend_of(study: Study) -> BaseStorage:
    """Returns the storage of a study without Optuna's cache above it."""
    storage = study._storage
    return storage._backend if isinstance(storage, _CachedStorage) else storage


def add_trial(study: Study, template: FrozenTrial) -> FrozenTrial:
    """Adds a trial. Returns it as stored; it need not be the last one, for others add theirs."""
    trial_id = study._storage.create_new_trial(study._study_id, template_trial=template)
    return study._storage.get_trial(trial_id)


def address_of(study: Study) -> str:
    """Returns the storage's address; an empty text for a study in memory."""
    backend = backend_of(study)
    return backend.address if isinstance(backend, PatientStorage) else ""


def check_present(study: Study, kept: str) -> None:
    """Raises: DatabaseGone if the study's file was deleted or replaced since this process opened it.

    kept: the folders that still hold what was trained.
    """
    backend = backend_of(study)
    if isinstance(backend, PatientStorage) and backend.file and backend.file.is_gone:
        raise DatabaseGone(
            f"hydra.sweeper.study.storage: {backend.file.path} was deleted or replaced while it was in use, "
            "and the trials in it are lost; their runs are still in MLflow, checkpoints and result.json in "
            f"{kept}. Put a copy of it back and start the same command again, or start another study: "
            "hydra.sweeper.study.name=NAME"
        )
