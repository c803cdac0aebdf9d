"""Connections to PostgreSQL: one for each worker, which ends soon when the other side has vanished."""

from typing import Any

import sqlalchemy
from sqlalchemy import event, exc

from finesweep.io.output import causes

# A side that vanishes without a word is noticed within half a minute. The systems' own limits are hours.
# Source: https://www.postgresql.org/docs/current/libpq-connect.html#LIBPQ-PARAMKEYWORDS
TIMEOUTS = {
    "connect_timeout": 10,  # s
    "keepalives_idle": 10,  # s
    "keepalives_interval": 5,  # s
    "keepalives_count": 3,
    "tcp_user_timeout": 30_000,  # ms
}
# Of the server, which keeps what a vanished worker has locked until then.
# Source: https://www.postgresql.org/docs/current/runtime-config-connection.html#GUC-TCP-KEEPALIVES-IDLE
SERVERS_LIMITS = (
    "SELECT set_config('tcp_keepalives_idle', '10', false),"
    " set_config('tcp_keepalives_interval', '5', false),"
    " set_config('tcp_keepalives_count', '3', false), set_config('tcp_user_timeout', '30000', false)"
)
# What servers, PgBouncer among them, say when they have no connection left. libpq hides the code, 53300.
REFUSALS = ("too many", "remaining connection slots", "no more connections", "is starting up")


def engine_args(url: str) -> dict[str, Any]:
    """Returns arguments of the engine of one process: its threads take turns with one connection."""
    return {"pool_size": 1, "max_overflow": 0, "connect_args": connect_args(url)}


def connect_args(url: str) -> dict[str, Any]:
    """Returns libpq's limits for a server that does not answer; those that the address sets stay."""
    parts = sqlalchemy.make_url(url)
    if parts.get_driver_name() not in ("psycopg", "psycopg2"):
        return {}
    limits: dict[str, Any] = {name: limit for name, limit in TIMEOUTS.items() if name not in parts.query}
    if parts.get_driver_name() == "psycopg":
        limits["prepare_threshold"] = None  # behind PgBouncer, connections change
    return limits


def limit_servers_patience(engine: sqlalchemy.Engine) -> None:
    """Has the server notice, too, that this side has vanished; for the open connection and later ones."""
    event.listen(engine, "connect", limit_connection)
    with engine.connect() as connection:
        limit_connection(connection.connection.dbapi_connection)


def limit_connection(connection: Any, _: object = None) -> None:
    cursor = connection.cursor()
    cursor.execute(SERVERS_LIMITS)
    cursor.close()
    connection.commit()


def is_made(url: str) -> bool:
    """Tells whether Optuna's tables are there, complete. Raises: SQLAlchemyError if it cannot be asked."""
    engine = sqlalchemy.create_engine(url, poolclass=sqlalchemy.NullPool, connect_args=connect_args(url))
    try:
        with engine.connect() as connection:  # what Optuna writes last
            return bool(connection.scalar(sqlalchemy.text("SELECT count(*) FROM alembic_version")))
    except exc.ProgrammingError:
        return False


def is_refused(error: BaseException) -> bool:
    """Tells whether a server that is well has no connection left, or will answer in a moment."""
    return any(
        isinstance(cause, exc.OperationalError) and any(text in str(cause) for text in REFUSALS)
        for cause in causes(error)
    )
