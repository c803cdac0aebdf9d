"""Opens a study for reading alone: without a lock, and without any right to write."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import optuna
import sqlalchemy
from optuna.study import Study

from finesweep.errors import ConfigError
from finesweep.io.patience import Patience, reason
from finesweep.io.redaction import redact_urls
from finesweep.io.sqlite import Copy, has_table, must_be_copied, read_only_url
from finesweep.study.backend import cached
from finesweep.study.lock import SQLITE, STORE, check_storage
from finesweep.study.patient_storage import PatientStorage
from finesweep.study.server import engine_args
from finesweep.study.storage import BUSY_S, PATIENCE_S, UNUSABLE
from finesweep.study.studies import check_exists, find
from finesweep.study.tables import check_tables


def read_study(name: str, storage: str) -> Study:
    """Loads a study that is only read, for another user and from a read-only mount, too.

    Raises: StudyError, which lists the existing studies; ConfigError if the storage cannot be read.
    """
    check_storage(storage)
    check_exists(name, storage)
    with _clear_errors(storage):
        opened = _open(storage)
        check_tables(opened, storage)
        return find(name, opened, storage)


def read_studies(storage: str) -> list[Study]:
    """Loads all studies of a storage for reading, by name. Raises: as `read_study`."""
    check_storage(storage)
    check_exists(None, storage)
    with _clear_errors(storage):
        opened = _open(storage)
        check_tables(opened, storage)
        names = sorted(optuna.get_all_study_names(opened))
        return [optuna.load_study(study_name=name, storage=cached(opened)) for name in names]


@contextmanager
def _clear_errors(storage: str) -> Iterator[None]:
    try:
        yield
    except UNUSABLE as error:
        raise ConfigError(
            f"hydra.sweeper.study.storage: cannot read {redact_urls(storage)!r}: {reason(error)}"
        ) from error


def _open(storage: str) -> PatientStorage:
    patience = Patience(PATIENCE_S, STORE)
    if not storage.startswith(SQLITE):
        return PatientStorage(storage, patience, is_read_only=True, **engine_args(storage))
    path = Path(storage.removeprefix(SQLITE)).resolve()
    if must_be_copied(path):
        copy = Copy(path, BUSY_S)
        _check_owner(copy.renewed(), storage)
        return PatientStorage(
            storage, patience, is_read_only=True, poolclass=sqlalchemy.NullPool, creator=copy.connect
        )
    _check_owner(path, storage)
    return PatientStorage(
        read_only_url(path), patience, storage, is_read_only=True, connect_args={"timeout": BUSY_S}
    )


def _check_owner(path: Path, storage: str) -> None:
    if not has_table(path, "studies"):
        raise ConfigError(
            f"hydra.sweeper.study.storage: {storage.removeprefix(SQLITE)} is a database, but not Optuna's; "
            "legal: another file"
        )
