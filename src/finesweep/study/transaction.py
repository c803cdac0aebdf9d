"""Makes one transaction of several calls of Optuna's storage, each of which would commit by itself."""

import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any

import sqlalchemy
from sqlalchemy import exc
from sqlalchemy.orm import Session, scoped_session

LOCK_NOT_AVAILABLE = "55P03"
# Of PostgreSQL, for one transaction: who has vanished, or was stopped, keeps a lock no longer than `idle`,
# and waits for one no longer than `wait`; who is there waits again.
LIMITS = (
    "set_config('idle_in_transaction_session_timeout', :idle, true), set_config('lock_timeout', :wait, true)"
)
IDLE, WAIT, UNLIMITED = "30s", "20s", "0"
AGAIN_S = 0.01  # after `lock_timeout`; another thread may take the connection meanwhile


class Part(Session):
    """A session that takes part in a transaction. When it was undone, nothing more can be done in it."""

    def rollback(self) -> None:
        super().rollback()
        self.bind = None


@contextmanager
def transaction(
    engine: sqlalchemy.Engine, sessions: scoped_session[Any], begin: str, parameters: Mapping[str, Any]
) -> Iterator[Sequence[Any]]:
    """Has the sessions of this thread take part in one transaction, and commits it in the end.

    begin: its first statement, which takes a lock; its rows are yielded.
    """
    with ExitStack() as stack:
        connection, rows = _begin(engine, begin, parameters)
        stack.callback(connection.close)
        whole = connection.get_transaction()
        sessions.remove()
        sessions.registry.set(Part(bind=connection, join_transaction_mode="rollback_only"))
        stack.callback(sessions.remove)
        yield rows
        assert whole is not None
        whole.commit()


def _begin(
    engine: sqlalchemy.Engine, statement: str, parameters: Mapping[str, Any]
) -> tuple[sqlalchemy.Connection, Sequence[Any]]:
    while True:
        connection = engine.connect()
        try:
            return connection, connection.execute(sqlalchemy.text(statement), parameters).all()
        except BaseException as error:
            connection.close()
            if not _is_only_locked(error):
                raise
        time.sleep(AGAIN_S)


def _is_only_locked(error: BaseException) -> bool:
    state = getattr(error.orig, "sqlstate", None) if isinstance(error, exc.DBAPIError) else None
    return state == LOCK_NOT_AVAILABLE
