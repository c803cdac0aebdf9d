"""The study's lock, over processes and hosts; it is freed when its holder is killed."""

import zlib
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import sqlalchemy
from filelock import Timeout
from sqlalchemy import event

from finesweep.errors import ConfigError
from finesweep.io.locks import file_lock
from finesweep.io.patience import Patience
from finesweep.study.server import connect_args, limit_connection

SQLITE, POSTGRESQL = "sqlite:///", "postgresql"
STORE = "the studies' database (hydra.sweeper.study.storage)"


class Busy(Exception):
    """Another process holds the lock, and the caller did not want to wait."""


@contextmanager
def study_lock(storage: str, name: str, wait: bool = True) -> Iterator[None]:
    """Holds the lock `name` of this storage.

    Raises: Busy if `wait` is False and it is held; StoreError if a server cannot be asked.
    """
    if storage.startswith(SQLITE):
        with _file_lock(_lock_file(storage, name), wait):
            yield
    else:
        with _advisory_lock(storage, name, wait):
            yield


def is_locked(storage: str, name: str) -> bool:
    """Tells whether somebody holds the lock, without making a lock file.

    Who may not open the file, as another user, hears that nobody does.
    """
    if storage.startswith(SQLITE) and not _lock_file(storage, name).exists():
        return False
    try:
        with study_lock(storage, name, wait=False):
            return False
    except Busy:
        return True
    except OSError:
        return False


def _lock_file(storage: str, name: str) -> Path:
    path = Path(storage.removeprefix(SQLITE))
    return path.with_name(f"{path.name}.{zlib.crc32(name.encode()):08x}.lock")


@contextmanager
def _file_lock(path: Path, wait: bool) -> Iterator[None]:
    lock = file_lock(path, -1 if wait else 0)
    try:
        lock.acquire()
    except Timeout as error:
        raise Busy from error
    try:
        yield
    finally:
        lock.release()


@contextmanager
def _advisory_lock(storage: str, name: str, wait: bool) -> Iterator[None]:
    """Holds an advisory lock of PostgreSQL, which lives as long as a transaction of its own connection.

    One of the session would not do behind PgBouncer. A transaction that only has such a lock holds nobody up.
    """
    engine = sqlalchemy.create_engine(
        storage, poolclass=sqlalchemy.NullPool, connect_args=connect_args(storage)
    )
    event.listen(engine, "connect", limit_connection)
    take = "pg_advisory_xact_lock" if wait else "pg_try_advisory_xact_lock"
    # The holder may work for long without a word to the server, whose own limit would end that.
    query = f"SELECT set_config('idle_in_transaction_session_timeout', '0', true), {take}(:key)"
    with ExitStack() as stack:
        with Patience(0, STORE).naming(lambda error: isinstance(error, sqlalchemy.exc.SQLAlchemyError)):
            connection = stack.enter_context(engine.connect())
            _, got = connection.execute(sqlalchemy.text(query), {"key": lock_key(name)}).one()
        if got is False:
            raise Busy
        yield


def lock_key(name: str) -> int:
    """Returns the key of an advisory lock of PostgreSQL."""
    return zlib.crc32(f"finesweep:{name}".encode())


def check_storage(storage: str) -> None:
    """Raises: ConfigError for a storage that finesweep cannot lock."""
    if not storage.startswith((SQLITE, POSTGRESQL)):
        raise ConfigError.at(
            "hydra.sweeper.study.storage",
            storage,
            "sqlite:///FILE, or postgresql://... for more than one host",
        )
