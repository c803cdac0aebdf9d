"""Stores that stall: SQLite files that another connection holds locked, and short waits for them."""

import sqlite3
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy
from sqlalchemy import event

from finesweep.io import patience
from finesweep.study import storage
from finesweep.tracking import store


def lock(path: Path | str) -> sqlite3.Connection:
    """Keeps all other connections from writing, until this one is closed or garbage."""
    connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
    connection.execute("BEGIN IMMEDIATE")
    return connection


@contextmanager
def locked(path: Path | str) -> Iterator[None]:
    connection = lock(path)
    try:
        yield
    finally:
        connection.close()


def lock_for(path: Path | str, seconds: float) -> None:
    threading.Timer(seconds, lock(path).close).start()


@pytest.fixture
def short_waits(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Lets SQLite give up at once: Optuna's connections wait 5 s for a lock, MLflow's 20 s."""
    monkeypatch.setattr(storage, "BUSY_S", 0.05)
    monkeypatch.setattr(store, "RETRY_S", 0.0)
    monkeypatch.setattr(patience, "LAST_PAUSE_S", 0.2)

    def shorten(connection: Any, cursor: Any, statement: str, parameters: Any, *_: Any) -> tuple[str, Any]:
        return statement.replace("busy_timeout = 20000", "busy_timeout = 50"), parameters

    event.listen(sqlalchemy.Engine, "before_cursor_execute", shorten, retval=True)
    yield
    event.remove(sqlalchemy.Engine, "before_cursor_execute", shorten)
