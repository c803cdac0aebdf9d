"""Opens a study for reading alone: without a lock, and without any right to write."""

import atexit
import shutil
import sqlite3
from pathlib import Path
from tempfile import mkdtemp
from urllib.parse import quote

import sqlalchemy
from optuna.study import Study

from finesweep.errors import ConfigError, first_line
from finesweep.io.redaction import redact_urls
from finesweep.io.sqlite import has_table
from finesweep.study.lock import SQLITE, check_storage
from finesweep.study.storage import ReadOnlyStorage, check_exists, find


def read_study(name: str, storage: str) -> Study:
    """Loads a study that is only read, for another user and from a read-only mount, too.

    Raises: StudyError, which lists the existing studies; ConfigError if the storage cannot be read.
    """
    check_storage(storage)
    check_exists(name, storage)
    try:
        return find(name, ReadOnlyStorage(_read_only(storage), storage), storage)
    except (OSError, RuntimeError, sqlite3.Error, sqlalchemy.exc.SQLAlchemyError, ImportError) as error:
        raise ConfigError(
            f"hydra.sweeper.study.storage: cannot read {redact_urls(storage)!r}: {first_line(error)}"
        ) from error


def _read_only(storage: str) -> str:
    if not storage.startswith(SQLITE):
        return storage
    path = Path(storage.removeprefix(SQLITE)).resolve()
    try:
        is_optunas = has_table(path, "studies")
    except sqlite3.OperationalError:  # SQLite needs to write an index file beside a database in WAL mode
        path = _copied(path)
        is_optunas = has_table(path, "studies")
    if not is_optunas:
        raise ConfigError(
            f"hydra.sweeper.study.storage: {path} is a database, but not Optuna's; legal: another file"
        )
    return f"{SQLITE}file:{quote(str(path))}?mode=ro&uri=true"


def _copied(path: Path) -> Path:
    """Copies the database and its log (`-wal`) to a folder that is removed when the process ends."""
    folder = Path(mkdtemp(prefix="finesweep-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    for part in (path, path.with_name(f"{path.name}-wal")):
        if part.exists():
            shutil.copyfile(part, folder / part.name)
    return folder / path.name
