"""Opens a study for reading alone: without a lock, and without any right to write."""

import sqlite3
from pathlib import Path

import sqlalchemy
from optuna.study import Study

from finesweep.errors import ConfigError, first_line
from finesweep.io.redaction import redact_urls
from finesweep.io.sqlite import has_table, read_only_url, readable
from finesweep.study.lock import SQLITE, check_storage
from finesweep.study.storage import ReadOnlyStorage, check_exists, find
from finesweep.study.tables import check_tables


def read_study(name: str, storage: str) -> Study:
    """Loads a study that is only read, for another user and from a read-only mount, too.

    Raises: StudyError, which lists the existing studies; ConfigError if the storage cannot be read.
    """
    check_storage(storage)
    check_exists(name, storage)
    try:
        opened = ReadOnlyStorage(_read_only(storage), storage)
        check_tables(opened, storage)
        return find(name, opened, storage)
    except (OSError, RuntimeError, sqlite3.Error, sqlalchemy.exc.SQLAlchemyError, ImportError) as error:
        raise ConfigError(
            f"hydra.sweeper.study.storage: cannot read {redact_urls(storage)!r}: {first_line(error)}"
        ) from error


def _read_only(storage: str) -> str:
    if not storage.startswith(SQLITE):
        return storage
    path = readable(Path(storage.removeprefix(SQLITE)))
    if not has_table(path, "studies"):
        raise ConfigError(
            f"hydra.sweeper.study.storage: {storage.removeprefix(SQLITE)} is a database, but not Optuna's; "
            "legal: another file"
        )
    return read_only_url(path)
