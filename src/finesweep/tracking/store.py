"""Opens MLflow's store, and finds or creates its experiments."""

import logging
import os
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from functools import lru_cache
from pathlib import Path

os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")  # no word to anybody about a person's runs
os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")
os.environ.setdefault("MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT", "true")  # which belongs to --json

from filelock import FileLock
from mlflow.environment_variables import MLFLOW_HTTP_REQUEST_MAX_RETRIES
from mlflow.exceptions import MlflowException
from mlflow.tracking import MlflowClient
from sqlalchemy.exc import SQLAlchemyError

from finesweep.config.run import TrackingConfig
from finesweep.errors import ConfigError, OutputError
from finesweep.io.redaction import redact_urls
from finesweep.io.sqlite import create_database, has_table
from finesweep.tags import Tag

logging.getLogger("mlflow").setLevel(logging.WARNING)
logging.getLogger("alembic").setLevel(logging.WARNING)

EXPERIMENT_TAGS = {Tag.EXPERIMENT_KIND: "custom_model_development"}  # the UI's side for training runs
SQLITE = "sqlite:///"


def open_store(config: TrackingConfig) -> MlflowClient:
    """Gives a client of the tracking store. One process alone creates a SQLite file; the others wait.

    Raises: ConfigError if the store cannot be opened; OutputError if its file was deleted or replaced since
    this process opened it, which would go on writing into a file that nobody can see.
    """
    uri = absolute(config.uri)
    client = _client(uri)
    if uri.startswith(SQLITE) and _inode(uri) != _inodes.setdefault(uri, _inode(uri)):
        raise OutputError(
            f"tracking.uri: {uri.removeprefix(SQLITE)} was deleted or replaced while it was in use, and the "
            "runs in it are lost; put a copy of it back, or start the same command again: it makes a new one"
        )
    return client


_inodes: dict[str, int | None] = {}  # of SQLite files, when this process opened them


def _inode(uri: str) -> int | None:
    path = Path(uri.removeprefix(SQLITE))
    return path.stat().st_ino if path.exists() else None


def absolute(uri: str) -> str:
    """Makes a SQLite path absolute: MLflow keeps one store per address, and a relative one is ambiguous."""
    return f"{SQLITE}{Path(uri.removeprefix(SQLITE)).resolve()}" if uri.startswith(SQLITE) else uri


@lru_cache
def _client(uri: str) -> MlflowClient:
    try:
        if uri.startswith(SQLITE):
            path = Path(uri.removeprefix(SQLITE))
            path.parent.mkdir(parents=True, exist_ok=True)
            with FileLock(f"{path}.lock"):
                if not path.exists():
                    create_database(path, _create_sqlite)
            if not has_table(path, "experiments"):
                raise ConfigError(
                    f"tracking.uri: {path} is a database, but not MLflow's; legal: another file"
                )
        client = MlflowClient(uri)
        with _few_retries():
            client.search_experiments(max_results=1)
        return client
    except (MlflowException, OSError, sqlite3.Error, SQLAlchemyError) as error:
        raise ConfigError(
            f"tracking.uri: cannot open {redact_urls(uri)!r}: {str(error).splitlines()[0]}; legal: "
            "sqlite:///FILE in a writable folder, the http(s) address of an MLflow server, or a database"
        ) from error


@contextmanager
def _few_retries() -> Iterator[None]:
    """Reports a server that does not answer within seconds, not after MLflow's seven retries (four minutes).

    Later requests keep those: a server may be restarted while a sweep runs.
    """
    name = MLFLOW_HTTP_REQUEST_MAX_RETRIES.name
    before = os.environ.get(name)
    os.environ[name] = "1"
    try:
        yield
    finally:
        os.environ.pop(name)
        os.environ.update({} if before is None else {name: before})


def _create_sqlite(path: Path) -> None:
    from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore  # heavy, and once for each file

    SqlAlchemyStore(f"{SQLITE}{path}", str(path.parent / "artifacts")).engine.dispose()
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA journal_mode=WAL")  # readers do not wait for writers; kept in the file


def experiment_id(config: TrackingConfig, name: str) -> str:
    """Finds or creates the experiment of this name; its artifacts lie under `tracking.artifacts`."""
    client = open_store(config)
    if experiment := client.get_experiment_by_name(name):
        if experiment.lifecycle_stage == "deleted":  # in the UI; its name stays taken
            client.restore_experiment(experiment.experiment_id)
        return str(experiment.experiment_id)
    location = None if config.is_server else (Path(config.artifacts).resolve() / name).as_uri()
    try:
        return str(client.create_experiment(name, location, tags=EXPERIMENT_TAGS))
    except MlflowException:  # another process was faster
        if experiment := client.get_experiment_by_name(name):
            return str(experiment.experiment_id)
        raise
