"""Creates SQLite files whole, and checks whose tables a file has."""

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


def has_table(path: Path, table: str) -> bool:
    """Tells whether the database has this table. Raises: sqlite3.Error for a file that is no database."""
    if not path.is_file():  # opening a named pipe would wait for a writer
        raise sqlite3.OperationalError(f"{path} is not a regular file")
    with closing(sqlite3.connect(f"{path.resolve().as_uri()}?mode=ro", uri=True)) as connection:
        rows = connection.execute("SELECT 1 FROM sqlite_master WHERE type = 'table' AND name = ?", (table,))
        return rows.fetchone() is not None
