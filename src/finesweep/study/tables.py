"""Checks that a database has the tables that the installed Optuna reads and writes."""

import optuna
import sqlalchemy
from optuna.storages import RDBStorage
from optuna.storages._rdb.models import BaseModel

from finesweep.errors import ConfigError
from finesweep.io.redaction import redact_urls


def check_tables(opened: RDBStorage, url: str) -> None:
    """Compares tables and columns; Optuna itself would fail in the middle of a search. url: for the message.

    Raises: ConfigError for the first that is not there.
    """
    inspector = sqlalchemy.inspect(opened.engine)
    there = inspector.get_table_names()
    for name, table in BaseModel.metadata.tables.items():
        columns = {column["name"] for column in inspector.get_columns(name)} if name in there else set()
        missing = [column for column in map(str, table.columns.keys()) if column not in columns]
        if missing:
            what = f"column {name}.{missing[0]}" if columns else f"table {name}"
            raise ConfigError(
                f"hydra.sweeper.study.storage: {redact_urls(url)!r} has no {what}, which Optuna "
                f"{optuna.__version__} needs: it was changed, or another version made it; put a copy of it "
                "back, or name another file"
            )
