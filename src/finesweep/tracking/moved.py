"""A store that was moved or copied together with its artifacts: MLflow's tables hold absolute places."""

import logging
import os
import sqlite3
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn
from urllib.parse import unquote, urlsplit

from finesweep.errors import ConfigError
from finesweep.io.locks import file_lock
from finesweep.tags import Tag

log = logging.getLogger(__name__)

# Where places are stored: table, column, and which of its rows.
COLUMNS = (
    ("experiments", "artifact_location", "1"),
    ("runs", "artifact_uri", "1"),
    ("logged_models", "artifact_location", "1"),
    ("model_versions", "source", "1"),
    ("model_versions", "storage_location", "1"),
    ("trace_tags", "value", "key = 'mlflow.artifactLocation'"),
    ("experiment_tags", "value", f"key = '{Tag.STORE}'"),
)
BUSY_S = 20  # that SQLite waits for a lock


@dataclass(frozen=True)
class Move:
    """From where to where a store's file was moved or copied."""

    was: Path
    now: Path

    @property
    def is_copy(self) -> bool:
        return self.was.is_file()

    def place(self, stored: str) -> str:
        """Returns where a stored place is now, in the form that it had; what lies elsewhere stays.

        Raises: ConfigError for a copy without its artifacts: its runs would write into those of the original.
        """
        path = _local(stored)
        here = self._here(path) if path else None
        if here is None:
            return stored
        return here.as_uri() if stored.startswith("file:") else str(here)

    def _here(self, path: Path) -> Path | None:
        """Returns where a path has come along to; None if it has not."""
        if path.is_relative_to(self.was.parent):  # also if there is nothing yet, as for a new experiment
            here = self.now.parent / path.relative_to(self.was.parent)
            if here.exists() or not path.exists():
                return here
            return self._refuse_copy(path, here) if self.is_copy else None
        was, now = self.projects
        here = now / path.relative_to(was) if path.is_relative_to(was) else path
        return here if here != path and here.exists() else None

    @property
    def projects(self) -> tuple[Path, Path]:
        """The folders of the project, then and now: up to where the store's two places begin to agree."""
        was, now = self.was.parent, self.now.parent
        while was.name and was.name == now.name:
            was, now = was.parent, now.parent
        return was, now

    def _refuse_copy(self, path: Path, here: Path) -> NoReturn:
        raise ConfigError(
            f"tracking.uri: {self.now} is a copy of {self.was}, but without its artifacts; copy {path} to "
            f"{here}, or use the original: tracking.uri=sqlite:///{self.was}"
        )


def adopt(path: Path, carry: Callable[[Move], None]) -> None:
    """Corrects the places in a SQLite store that was moved or copied since they were written.

    carry: brings along what belongs to the store and lies outside of it.
    Side effects: the places are rewritten in one transaction, and a log line says so.
    Raises: ConfigError for a copy without its artifacts; sqlite3.Error, OSError.
    """
    if (move := find_move(path, path)) is None:  # who only reads takes no lock
        return
    if not may_correct(path):
        raise ConfigError(
            f"tracking.uri: {path} was moved here from {move.was.parent}, and the places of its artifacts "
            "must be corrected; run this once as a user who may write it"
        )
    with file_lock(Path(f"{path}.lock")):
        if (move := find_move(path, path)) is None:  # another process was faster
            return
        carry(move)
        correct(path, move)
    done = "copied" if move.is_copy else "moved"
    log.warning("%s was %s here from %s; the places of its runs' artifacts are corrected", path, done,
                move.was.parent)  # fmt: skip


def may_correct(path: Path) -> bool:
    """Tells whether this user may write the store."""
    return os.access(path, os.W_OK) and os.access(path.parent, os.W_OK)


def correct(file: Path, move: Move) -> None:
    """Rewrites the places in a store's file, or in a copy of it, in one transaction."""
    with closing(sqlite3.connect(file, timeout=BUSY_S)) as connection, connection:
        connection.execute("BEGIN IMMEDIATE")
        for column in COLUMNS:
            _rewrite(connection, move, *column)


def _rewrite(connection: sqlite3.Connection, move: Move, table: str, column: str, which: str) -> None:
    rows = connection.execute(f"SELECT rowid, {column} FROM {table} WHERE {which}").fetchall()
    places = [(move.place(stored), row) for row, stored in rows if stored is not None]
    connection.executemany(f"UPDATE {table} SET {column} = ? WHERE rowid = ?", places)


def find_move(path: Path, file: Path) -> Move | None:
    """Tells from where a store has come; None if it is where it was. file: the store, or a copy of it."""
    folder = _recorded_folder(path, file)
    if folder is None or folder == path.parent:
        return None
    was = folder / path.name
    # A file that has two names, as by a mount, has not moved.
    return None if was.is_file() and was.samefile(path) else Move(was, path)


def _recorded_folder(path: Path, file: Path) -> Path | None:
    """Reads in which folder the store was when its places were written; None if that is not known."""
    with closing(sqlite3.connect(f"{file.as_uri()}?mode=ro", uri=True, timeout=BUSY_S)) as connection:
        query = f"SELECT value FROM experiment_tags WHERE key = '{Tag.STORE}' LIMIT 1"
        if row := connection.execute(query).fetchone():
            return Path(row[0])
        query = "SELECT artifact_location FROM experiments WHERE experiment_id = 0"
        row = connection.execute(query).fetchone()
    # From before the tag: finesweep gives MLflow's own experiment the place `artifacts/0` beside the file.
    default = _local(row[0]) if row and row[0] else None
    if default is None or default.parts[-2:] != ("artifacts", "0"):
        return None
    folder = default.parent.parent
    # Somebody else may have given the store an artifact root elsewhere.
    return folder if not folder.is_dir() or (path.parent / "artifacts").is_dir() else None


def _local(place: str) -> Path | None:
    """Returns the path of a place in this machine's file system; None for any other."""
    path = unquote(urlsplit(place).path) if place.startswith("file:") else place
    return Path(path) if path.startswith("/") else None
