"""The study's lock, over processes and hosts; it is freed when its holder is killed."""

import zlib
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import sqlalchemy
from filelock import Timeout

from finesweep.errors import ConfigError
from finesweep.io.locks import file_lock
from finesweep.io.patience import Patience

SQLITE, POSTGRESQL = "sqlite:///", "postgresql"
STORE = "the studies' database (hydra.sweeper.study.storage)"
# A server that vanishes without a word is noticed within half a minute. The system's own limits are hours.
# Source: https://www.postgresql.org/docs/current/libpq-connect.html#LIBPQ-PARAMKEYWORDS
TIMEOUTS = {
    "connect_timeout": 10,  # s
    "keepalives_idle": 10,  # s
    "keepalives_interval": 5,  # s
    "keepalives_count": 3,
    "tcp_user_timeout": 30_000,  # ms
}


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
    """Holds an advisory lock of PostgreSQL, which lives as long as its connection."""
    # Autocommit: the lock is the connection's, and a transaction open for as long would hold up others.
    engine = sqlalchemy.create_engine(
        storage,
        poolclass=sqlalchemy.NullPool,
        isolation_level="AUTOCOMMIT",
        connect_args=connect_args(storage),
    )
    key = zlib.crc32(f"finesweep:{name}".encode())
    function = sqlalchemy.func.pg_advisory_lock if wait else sqlalchemy.func.pg_try_advisory_lock
    with ExitStack() as stack:
        with Patience(0, STORE).naming(lambda error: isinstance(error, sqlalchemy.exc.SQLAlchemyError)):
            connection = stack.enter_context(engine.connect())
            got = connection.scalar(sqlalchemy.select(function(key)))
        if got is False:
            raise Busy
        yield


def connect_args(storage: str) -> dict[str, int]:
    """Returns libpq's limits for a server that does not answer; those that the address sets stay."""
    url = sqlalchemy.make_url(storage)
    if url.get_driver_name() not in ("psycopg", "psycopg2"):
        return {}
    return {name: limit for name, limit in TIMEOUTS.items() if name not in url.query}


def check_storage(storage: str) -> None:
    """Raises: ConfigError for a storage that finesweep cannot lock."""
    if not storage.startswith((SQLITE, POSTGRESQL)):
        raise ConfigError.at(
            "hydra.sweeper.study.storage",
            storage,
            "sqlite:///FILE, or postgresql://... for more than one host",
        )
