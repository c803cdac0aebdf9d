"""Opens a study for reading alone: without a lock, and without any right to write."""

import atexit
import shutil
import sqlite3
from pathlib import Path
from tempfile import mkdtemp
from urllib.parse import quote

from optuna.study import Study

from finesweep.errors import ConfigError, first_line
from finesweep.io.patience import Patience
from finesweep.io.redaction import redact_urls
from finesweep.io.sqlite import has_table
from finesweep.study.lock import SQLITE, STORE, check_storage, connect_args
from finesweep.study.storage import BUSY_S, PATIENCE_S, UNUSABLE, PatientStorage, check_exists, find


def read_study(name: str, storage: str) -> Study:
    """Loads a study that is only read, for another user and from a read-only mount, too.

    Raises: StudyError, which lists the existing studies; ConfigError if the storage cannot be read.
    """
    check_storage(storage)
    check_exists(name, storage)
    try:
        return find(name, _open(storage), storage)
    except UNUSABLE as error:
        raise ConfigError(
            f"hydra.sweeper.study.storage: cannot read {redact_urls(storage)!r}: {first_line(error)}"
        ) from error


def _open(storage: str) -> PatientStorage:
    patience = Patience(PATIENCE_S, STORE)
    if storage.startswith(SQLITE):
        return PatientStorage(_read_only(storage), patience, {"timeout": BUSY_S}, is_read_only=True)
    return PatientStorage(storage, patience, connect_args(storage), is_read_only=True)


def _read_only(storage: str) -> str:
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
