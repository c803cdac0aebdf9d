"""Creates SQLite files whole, checks whose tables a file has, and notices that one was deleted."""

import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

from finesweep.io.atomic import remove_unfinished, staged


def create_database(path: Path, create: Callable[[Path], object]) -> None:
    """Has `create` fill a database file that then becomes `path`. The caller holds a lock.

    A database whose creation was cut off could not be opened any more.
    """
    remove_unfinished(path)
    with staged(path) as staging:
        create(staging)


class FileInUse:
    """The file of a database that this process has opened.

    Once it was deleted or replaced, connections go on writing into a file that nobody can see any more.
    """

    def __init__(self, path: Path) -> None:
        self.path, self._inode = path, _inode(path)

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
