"""Opens a study for reading alone: without a lock, and without any right to write."""

import atexit
import shutil
import sqlite3
from pathlib import Path
from tempfile import mkdtemp
from urllib.parse import quote

import sqlalchemy
from optuna.study import Study

from finesweep.errors import ConfigError
from finesweep.io.patience import Patience, reason
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
            f"hydra.sweeper.study.storage: cannot read {redact_urls(storage)!r}: {reason(error)}"
        ) from error


def _open(storage: str) -> PatientStorage:
    patience = Patience(PATIENCE_S, STORE)
    if not storage.startswith(SQLITE):
        return PatientStorage(storage, patience, is_read_only=True, connect_args=connect_args(storage))
    path = Path(storage.removeprefix(SQLITE)).resolve()
    try:
        _check_tables(path)
    except sqlite3.OperationalError:  # SQLite needs to write an index file beside a database in WAL mode
        copy = _Copy(path)
        _check_tables(copy.renewed())
        return PatientStorage(
            storage, patience, is_read_only=True, poolclass=sqlalchemy.NullPool, creator=copy.connect
        )
    url = f"{SQLITE}file:{quote(str(path))}?mode=ro&uri=true"
    return PatientStorage(url, patience, is_read_only=True, connect_args={"timeout": BUSY_S})


def _check_tables(path: Path) -> None:
    if not has_table(path, "studies"):
        raise ConfigError(
            f"hydra.sweeper.study.storage: {path} is a database, but not Optuna's; legal: another file"
        )


class _Copy:
    """A copy of a database, which is made again whenever the database has changed.

    It lies in a folder that is removed when the process ends.
    """

    def __init__(self, path: Path) -> None:
        self._parts = [path, path.with_name(f"{path.name}-wal")]  # the file and its log
        self._folder = Path(mkdtemp(prefix="finesweep-"))
        self._seen: list[tuple[int, int]] = []
        atexit.register(shutil.rmtree, self._folder, ignore_errors=True)

    def renewed(self) -> Path:
        there = [part for part in self._parts if part.exists()]
        seen = [(part.stat().st_mtime_ns, part.stat().st_size) for part in there]
        if seen != self._seen:
            for part in self._folder.iterdir():
                part.unlink()
            for part in there:
                shutil.copyfile(part, self._folder / part.name)
            self._seen = seen
        return self._folder / self._parts[0].name

    def connect(self) -> sqlite3.Connection:
        uri = f"{self.renewed().as_uri()}?mode=ro"
        return sqlite3.connect(uri, uri=True, timeout=BUSY_S, check_same_thread=False)
