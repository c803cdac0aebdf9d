"""Opens MLflow's store, and finds or creates its experiments."""

import logging
import os
import sqlite3
import threading
import time
import zlib
from collections.abc import Iterator
from contextlib import closing, contextmanager
from functools import lru_cache
from pathlib import Path

os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")  # no word to anybody about a person's runs
os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")
os.environ.setdefault("MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT", "true")  # which belongs to --json
# `Patience` repeats calls, and says so. A request that MLflow repeated by itself could make two runs.
os.environ["MLFLOW_HTTP_REQUEST_MAX_RETRIES"] = "0"

from filelock import FileLock
from mlflow.environment_variables import MLFLOW_HTTP_REQUEST_TIMEOUT
from mlflow.exceptions import MlflowException
from mlflow.tracking import MlflowClient
from sqlalchemy.exc import SQLAlchemyError

from finesweep.config.run import TrackingConfig
from finesweep.errors import ConfigError, OutputError, StoreError
from finesweep.io.output import causes
from finesweep.io.patience import Patience, patient, reason, single_attempts
from finesweep.io.redaction import redact_urls
from finesweep.io.sqlite import create_database, has_table
from finesweep.tags import Tag

logging.getLogger("mlflow").setLevel(logging.WARNING)
logging.getLogger("mlflow.store.db.utils").setLevel(logging.CRITICAL)  # a traceback for each locked database
logging.getLogger("alembic").setLevel(logging.WARNING)

EXPERIMENT_TAGS = {Tag.EXPERIMENT_KIND: "custom_model_development"}  # the UI's side for training runs
SQLITE = "sqlite:///"
STORE = "MLflow's store (tracking.uri)"
RETRY_S = 30.0  # between two attempts to write into a store that is away, so that a training goes on
# Answers of MLflow to a request that is wrong, and stays wrong. Any other error is trouble of the store.
REFUSALS = {
    "INVALID_PARAMETER_VALUE",
    "INVALID_STATE",
    "RESOURCE_ALREADY_EXISTS",
    "RESOURCE_DOES_NOT_EXIST",
}
QUICK_S = 5  # that a server may take to answer a small write, before the write goes into the spool


@patient(
    "search_experiments", "get_experiment_by_name", "restore_experiment", "create_experiment", "search_runs",
    "create_run", "get_run", "update_run", "restore_run", "get_metric_history",
    "log_batch", "log_text", "log_artifact", "log_artifacts", "set_terminated",
)  # fmt: skip
class PatientClient(MlflowClient):
    """MLflow's client, whose calls are repeated while the store is locked, away or restarting."""

    def __init__(self, uri: str, patience: Patience, spool: Path) -> None:
        """spool: the folder of what could not be written yet."""
        self.patience, self.spool = patience, spool
        self._next_attempt = 0.0
        super().__init__(uri)

    @property
    def may_be_tried(self) -> bool:
        """Whether a write may be tried now: it is some time ago that one failed."""
        return time.monotonic() >= self._next_attempt

    def note_absence(self) -> None:
        self._next_attempt = time.monotonic() + RETRY_S

    def note_presence(self) -> None:
        self._next_attempt = 0.0

    def answers(self) -> bool:
        """Tells whether the store answers a question just now."""
        try:
            with single_attempts(), quick_answers():
                self.search_experiments(max_results=1)
            return True
        except (StoreError, MlflowException):
            return False

    @staticmethod
    def is_trouble(error: Exception) -> bool:
        """Tells whether the store, its server or its artifacts are the cause, and not the request.

        Each kind of artifact store has errors of its own; they are none of Python's for a wrong call.
        """
        if isinstance(error, MlflowException):
            return error.error_code not in REFUSALS
        return isinstance(error, OSError) or not isinstance(error, (TypeError, ValueError, LookupError))


def is_internal_error(error: BaseException) -> bool:
    """Tells whether a server answered with its status 500: it is there, and fails at this very request."""
    return any("too many 500 error responses" in str(cause) for cause in causes(error))


def open_store(config: TrackingConfig) -> PatientClient:
    """Gives a client of the tracking store. One process alone creates a SQLite file; the others wait.

    Raises: ConfigError if the store cannot be opened; OutputError if its file was deleted or replaced since
    this process opened it, which would go on writing into a file that nobody can see.
    """
    uri = absolute(config.uri)
    client = _client(uri, config.patience_s, Path(config.spool).resolve())
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


def await_store(config: TrackingConfig) -> PatientClient:
    """Opens a store that is known to exist, and waits while it is away. Raises: StoreError, ConfigError."""
    return Patience(config.patience_s, STORE).call(open_store, config)


def absolute(uri: str) -> str:
    """Makes a SQLite path absolute: MLflow keeps one store per address, and a relative one is ambiguous."""
    return f"{SQLITE}{Path(uri.removeprefix(SQLITE)).resolve()}" if uri.startswith(SQLITE) else uri


@lru_cache
def _client(uri: str, patience_s: float, spool: Path) -> PatientClient:
    try:
        if uri.startswith(SQLITE):
            path = Path(uri.removeprefix(SQLITE))
            if not path.exists():  # who only reads takes no lock
                path.parent.mkdir(parents=True, exist_ok=True)
                with FileLock(f"{path}.lock"):
                    if not path.exists():
                        create_database(path, _create_sqlite)
            if not has_table(path, "experiments"):
                raise ConfigError(
                    f"tracking.uri: {path} is a database, but not MLflow's; legal: another file"
                )
        # One folder for each store; its name must not tell a password.
        folder = spool / f"{zlib.crc32(redact_urls(uri).encode()):08x}"
        client = PatientClient(uri, Patience(patience_s, STORE), folder)
        with single_attempts():
            client.search_experiments(max_results=1)
        return client
    except (MlflowException, OSError, sqlite3.Error, SQLAlchemyError, StoreError) as error:
        raise ConfigError(
            f"tracking.uri: cannot open {redact_urls(uri)!r}: {reason(error)}; legal: "
            "sqlite:///FILE in a writable folder, the http(s) address of an MLflow server, or a database"
        ) from error


@contextmanager
def quick_answers() -> Iterator[None]:
    """Lets requests to a server fail within seconds in the body: for small writes, which a spool takes."""
    with _changes:  # two threads that overlap would restore each other's values
        before = os.environ.get(name := MLFLOW_HTTP_REQUEST_TIMEOUT.name)
        os.environ[name] = str(QUICK_S)
        try:
            yield
        finally:
            del os.environ[name]
            os.environ.update({} if before is None else {name: before})


_changes = threading.RLock()


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
