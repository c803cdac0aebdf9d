"""Opens the storage of all studies: a SQLite file, or a database on a server."""

import sqlite3
from pathlib import Path

import sqlalchemy
from optuna.storages import RDBStorage

from finesweep.config.study import StudyConfig
from finesweep.errors import ConfigError, StoreError
from finesweep.io.output import can_write
from finesweep.io.patience import Patience, reason
from finesweep.io.redaction import redact_urls
from finesweep.io.sqlite import create_database, has_table
from finesweep.study.lock import SQLITE, STORE, check_storage, study_lock
from finesweep.study.patient_storage import PatientStorage
from finesweep.study.server import connect_args, engine_args, is_made, is_refused

# What opening a storage raises: of the file, the driver, the server, or the versions of its tables.
UNUSABLE = (OSError, sqlite3.Error, sqlalchemy.exc.SQLAlchemyError, ImportError, RuntimeError, StoreError)
PATIENCE_S = 60.0  # of a process that only looks at a study
BUSY_S = 5  # that SQLite itself waits for a lock; it cannot be interrupted meanwhile


def check_place(url: str) -> None:
    """Raises: ConfigError for an address that is none, or a SQLite file that this user cannot create."""
    check_storage(url)
    path = Path(url.removeprefix(SQLITE))
    if url.startswith(SQLITE) and not path.exists() and not can_write(path.parent):
        raise ConfigError(
            f"hydra.sweeper.study.storage: cannot open {redact_urls(url)!r}: {path.parent} cannot be written"
        )


def open_storage(url: str, patience: Patience | None = None) -> PatientStorage:
    """Opens the storage of all studies. One process alone creates a SQLite file; the others wait.

    Raises: ConfigError if it cannot be opened: only later calls are repeated, for `patience`.
    """
    check_storage(url)
    patience = patience or Patience(PATIENCE_S, STORE)
    try:
        if not url.startswith(SQLITE):
            return Patience(patience.seconds, STORE, is_refused).call(_open_server, url, patience)
        path = Path(url.removeprefix(SQLITE))
        path.parent.mkdir(parents=True, exist_ok=True)
        with study_lock(url, "create"):
            if not path.exists():
                create_database(path, _create_sqlite)
        if not has_table(path, "studies"):  # Optuna would add its own tables to it
            raise ConfigError(f"hydra.sweeper.study.storage: {path} is a database, but not Optuna's; "
                              "legal: another file")  # fmt: skip
        return PatientStorage(url, patience, connect_args={"timeout": BUSY_S})
    except UNUSABLE as error:
        raise ConfigError(
            f"hydra.sweeper.study.storage: cannot open {redact_urls(url)!r}: {reason(error)}"
        ) from error


def _open_server(url: str, patience: Patience) -> PatientStorage:
    """Opens a database on a server; its tables are made under a lock, for which only the first ones wait."""
    if not is_made(url):
        with study_lock(url, "create"):
            RDBStorage(url, {"poolclass": sqlalchemy.NullPool, "connect_args": connect_args(url)})
    return PatientStorage(url, patience, **engine_args(url))


def _create_sqlite(path: Path) -> None:
    engine = RDBStorage(f"{SQLITE}{path}").engine
    with engine.connect() as connection:  # readers do not wait for writers; kept in the file
        connection.execute(sqlalchemy.text("PRAGMA journal_mode=WAL"))
    engine.dispose()


def patience_of(config: StudyConfig) -> Patience:
    return Patience(config.patience_s, STORE)
