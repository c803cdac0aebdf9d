"""Creates SQLite files whole, opens them for reading alone, and tells whose tables a file has."""

import atexit
import shutil
import sqlite3
import time
from collections.abc import Callable
from contextlib import closing, suppress
from pathlib import Path
from tempfile import mkdtemp
from urllib.parse import quote

from finesweep.io.atomic import remove_unfinished, staged

ATTEMPTS, PAUSE_S = 50, 0.05  # to copy a database while nobody writes
WAL = b"\x02\x02"  # at byte 18. Source: https://www.sqlite.org/fileformat.html


def create_database(path: Path, create: Callable[[Path], object]) -> None:
    """Has `create` fill a database file that then becomes `path`. The caller holds a lock.

    A database whose creation was cut off could not be opened any more.
    """
    remove_unfinished(path)
    with staged(path) as staging:
        create(staging)


# The databases that this process has connections to. It must not open such a file by itself: closing it would
# free SQLite's locks on it, and another process would remove the log that this one reads or writes.
# Source: https://www.sqlite.org/howtocorrupt.html#_posix_advisory_locks_canceled_by_a_separate_thread_doing_close_
_in_use: set[Path] = set()


class FileInUse:
    """The file of a database that this process has opened.

    Once it was deleted or replaced, connections go on writing into a file that nobody can see any more.
    """

    def __init__(self, path: Path) -> None:
        self.path, self._inode = path, _inode(path)
        _in_use.add(path.resolve())

    @property
    def is_gone(self) -> bool:
        return _inode(self.path) != self._inode


def _inode(path: Path) -> int | None:
    return path.stat().st_ino if path.exists() else None


def has_table(path: Path, table: str) -> bool:
    """Tells whether the database has this table. Raises: sqlite3.Error for a file that is no database."""
    if not path.is_file():  # opening a named pipe would wait for a writer
        raise sqlite3.OperationalError(f"{path} is not a regular file")
    with closing(sqlite3.connect(f"{path.resolve().as_uri()}?mode=ro", uri=True)) as connection:
        rows = connection.execute("SELECT 1 FROM sqlite_master WHERE type = 'table' AND name = ?", (table,))
        return rows.fetchone() is not None


def readable(path: Path) -> Path:
    """Returns the database, or a copy of it, that can be read without writing anything beside `path`.

    Raises: sqlite3.Error for a file that is no database, OSError if it cannot be read.
    """
    path = path.resolve()
    return copied(path) if must_be_copied(path) else path


def must_be_copied(path: Path) -> bool:
    """Tells whether the database could not be read where it is without writing beside it, or not at all.

    Raises: sqlite3.Error for a file that is no database, OSError if it cannot be read.
    """
    if not path.is_file():
        raise sqlite3.OperationalError(f"{path} is not a regular file")
    if path.resolve() in _in_use:
        return False
    # SQLite needs the log and its index beside a database in WAL mode: it would make them, or fail.
    if _in_wal_mode(path) and not all(path.with_name(path.name + end).exists() for end in ("-wal", "-shm")):
        return True
    try:
        has_table(path, "")
    except sqlite3.OperationalError as error:
        if "locked" not in str(error):  # else somebody writes: it can be read where it is
            return True
    _in_use.add(path.resolve())
    return False


def read_only_url(path: Path) -> str:
    """Returns the address of a database with which SQLAlchemy reads, and refuses every write."""
    # The driver is named, because MLflow would make the folder `file:` for an address without one.
    return f"sqlite+pysqlite:///file:{quote(str(path))}?mode=ro&uri=true"


def _in_wal_mode(path: Path) -> bool:
    with path.open("rb") as file:
        return file.read(20)[18:] == WAL


class Copy:
    """A copy of a database, which is made again whenever the database has changed.

    It lies in a folder that is removed when the process ends.
    """

    def __init__(self, path: Path, busy_s: float = 5.0) -> None:
        """busy_s: seconds for which SQLite waits for a lock."""
        self._parts = [path, path.with_name(f"{path.name}-wal")]  # the file and its log
        self._folder = Path(mkdtemp(prefix="finesweep-"))
        self._busy_s = busy_s
        self._seen: list[tuple[str, int, int]] = []
        atexit.register(shutil.rmtree, self._folder, ignore_errors=True)

    def renewed(self) -> Path:
        """Returns the copy. Raises: sqlite3.OperationalError if the database changes all the time."""
        for _ in range(ATTEMPTS):
            if self._state() == self._seen:
                return self._folder / self._parts[0].name
            self._seen = self._copy()
            if self._state() != self._seen:  # a writer came in between: file and log may not fit together
                time.sleep(PAUSE_S)
        raise sqlite3.OperationalError(f"{self._parts[0]} is locked: it changes all the time")

    def _state(self) -> list[tuple[str, int, int]]:
        found = ((part, part.stat()) for part in self._parts if part.exists())
        return [(part.name, stat.st_mtime_ns, stat.st_size) for part, stat in found]

    def _copy(self) -> list[tuple[str, int, int]]:
        """Copies all parts; returns the state in which they were before."""
        before = self._state()
        for part in self._folder.iterdir():
            part.unlink()
        for name, _, _ in before:
            with suppress(FileNotFoundError):  # a log that its last writer has removed
                shutil.copyfile(self._parts[0].with_name(name), self._folder / name)
        return before

    def connect(self) -> sqlite3.Connection:
        uri = f"{self.renewed().as_uri()}?mode=ro"
        return sqlite3.connect(uri, uri=True, timeout=self._busy_s, check_same_thread=False)


def copied(path: Path) -> Path:
    """Copies the database and its log to a folder that is removed when the process ends."""
    return Copy(path).renewed()
