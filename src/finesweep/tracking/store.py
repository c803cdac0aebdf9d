"""Opens MLflow's store, and finds or creates its experiments."""

import logging
import os
import sqlite3
import threading
import time
import zlib
from collections.abc import Iterator
from contextlib import closing, contextmanager
from functools import lru_cache, partial
from pathlib import Path

os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")  # no word to anybody about a person's runs
os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")
os.environ.setdefault("MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT", "true")  # which belongs to --json
# `Patience` repeats calls, and says so. A request that MLflow repeated by itself could make two runs.
os.environ["MLFLOW_HTTP_REQUEST_MAX_RETRIES"] = "0"

from mlflow.environment_variables import MLFLOW_HTTP_REQUEST_TIMEOUT
from mlflow.exceptions import MlflowException
from mlflow.tracking import MlflowClient
from sqlalchemy.exc import SQLAlchemyError

from finesweep.config.run import TrackingConfig
from finesweep.errors import ConfigError, DatabaseGone, StoreError
from finesweep.io.locks import file_lock
from finesweep.io.output import causes
from finesweep.io.patience import Patience, patient, reason, single_attempts
from finesweep.io.redaction import redact_urls
from finesweep.io.sqlite import (
    FileInUse,
    copied,
    create_database,
    has_table,
    read_only_url,
    readable,
)
from finesweep.machine.imports import import_all
from finesweep.tags import Tag
from finesweep.tracking.moved import Move, adopt, correct, find_move, may_correct
from finesweep.tracking.spool import carry

logging.getLogger("mlflow").setLevel(logging.WARNING)
logging.getLogger("mlflow.store.db.utils").setLevel(logging.CRITICAL)  # a traceback for each locked database
logging.getLogger("alembic").setLevel(logging.WARNING)

EXPERIMENT_TAGS = {
    Tag.EXPERIMENT_KIND: "custom_model_development",  # the UI's side for training runs
    Tag.NOTE: (
        "Trainings on one data set, made by finesweep.\n\n"
        "- A **study** is one search: a run whose page opens on the result (the best value, the winning "
        "parameters, a leaderboard, the commands). Its trials are the runs below it: open the arrow beside "
        f"its name. All studies: filter by ``tags.`{Tag.KIND}` = 'study'``.\n"
        f"- The trials of one study: ``tags.`{Tag.STUDY}` = 'NAME' and tags.`{Tag.KIND}` = 'trial'``; then "
        "*Chart view* draws all of them over epochs (`epoch`) or per cent of the training (`progress`).\n"
        f"- A training that was started alone: ``tags.`{Tag.KIND}` = 'run'``; one made again: "
        f"``tags.`{Tag.KIND}` = 'reproduction'``.\n"
        "- The checkpoints that were kept, with their scores, are in the tab *Models*."
    ),
}
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
    "create_run", "get_run", "update_run", "restore_run", "get_metric_history", "set_experiment_tag",
    "log_batch", "log_inputs", "log_text", "log_artifact", "log_artifacts", "set_terminated",
    "search_logged_models", "create_logged_model", "finalize_logged_model", "delete_logged_model",
    "log_model_artifacts", "log_outputs", "search_model_versions", "create_registered_model",
    "create_model_version", "set_registered_model_alias",
)  # fmt: skip
class PatientClient(MlflowClient):
    """MLflow's client, whose calls are repeated while the store is locked, away or restarting."""

    def __init__(self, uri: str, patience: Patience, spool: Path) -> None:
        """spool: the folder of what could not be written yet."""
        self.patience, self.spool = patience, spool
        self._next_attempt = 0.0
        self._file = FileInUse(Path(uri.removeprefix(SQLITE))) if uri.startswith(SQLITE) else None
        super().__init__(uri)

    @property
    def may_be_tried(self) -> bool:
        """Whether a write may be tried now: it is some time ago that one failed."""
        return time.monotonic() >= self._next_attempt

    @property
    def is_gone(self) -> bool:
        """Whether the store's file was deleted or replaced since this process opened it."""
        return self._file is not None and self._file.is_gone

    def check_present(self, kept: str) -> None:
        """Raises: DatabaseGone. kept: the folders that still hold what was trained."""
        if self._file and self._file.is_gone:
            raise DatabaseGone(
                f"tracking.uri: {self._file.path} was deleted or replaced while it was in use, and the runs "
                f"in it are lost; checkpoints and result.json are still in {kept}. Put a copy of it back, or "
                "start the same command again: it makes a new one"
            )

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

    Raises: ConfigError if the store cannot be opened; DatabaseGone if its file was deleted or replaced since
    this process opened it.
    """
    uri = absolute(config.uri)
    client = _client(uri, config.patience_s, Path(config.spool).resolve())
    client.check_present("the folders of runs and trials")
    return client


def import_store(config: TrackingConfig) -> None:
    """Imports what opening the store takes. A command does it while it would only wait."""
    if not config.is_server:
        import_all("mlflow.store.tracking.sqlalchemy_store")


def await_store(config: TrackingConfig) -> PatientClient:
    """Opens a store that is known to exist, and waits while it is away. Raises: StoreError, ConfigError."""
    return Patience(config.patience_s, STORE).call(open_store, config)


def absolute(uri: str) -> str:
    """Makes a SQLite path absolute: MLflow keeps one store per address, and a relative one is ambiguous."""
    return f"{SQLITE}{Path(uri.removeprefix(SQLITE)).resolve()}" if uri.startswith(SQLITE) else uri


def open_reader(config: TrackingConfig) -> PatientClient:
    """Gives a client that only reads: it takes no lock, and needs no right to write a SQLite file.

    Raises: ConfigError if the store cannot be opened.
    """
    uri = absolute(config.uri)
    if not uri.startswith(SQLITE):
        return open_store(config)
    with _clear_errors(uri):
        path = Path(uri.removeprefix(SQLITE))
        file = readable(path)
        _check_owner(file, uri)
        if move := find_move(path, file):
            if may_correct(path):
                return open_store(config)
            file = copied(path)
            correct(file, move)
        return _connected(read_only_url(file), config.patience_s, Path(config.spool))


@lru_cache
def _client(uri: str, patience_s: float, spool: Path) -> PatientClient:
    with _clear_errors(uri):
        if uri.startswith(SQLITE):
            path = Path(uri.removeprefix(SQLITE))
            if not path.exists():
                path.parent.mkdir(parents=True, exist_ok=True)
                with file_lock(Path(f"{path}.lock")):
                    if not path.exists():
                        create_database(path, _create_sqlite)
            _check_owner(path, uri)
        client = _connected(uri, patience_s, spool)
        if uri.startswith(SQLITE):
            _adopt(uri, spool, client)
        return client


def _check_owner(path: Path, uri: str) -> None:
    """Raises: ConfigError for a database of somebody else, to which MLflow would add its tables."""
    if not has_table(path, "experiments"):
        raise ConfigError(
            f"tracking.uri: {uri.removeprefix(SQLITE)} is a database, but not MLflow's; legal: another file"
        )


def _connected(uri: str, patience_s: float, spool: Path) -> PatientClient:
    client = PatientClient(uri, Patience(patience_s, STORE), _spool_of(uri, spool))
    with single_attempts():
        client.search_experiments(max_results=1)
    return client


@contextmanager
def _clear_errors(uri: str) -> Iterator[None]:
    try:
        yield
    except (MlflowException, OSError, sqlite3.Error, SQLAlchemyError, StoreError) as error:
        raise ConfigError(
            f"tracking.uri: cannot open {redact_urls(uri)!r}: {reason(error)}; legal: "
            "sqlite:///FILE in a writable folder, the http(s) address of an MLflow server, or a database"
        ) from error


def _spool_of(uri: str, spool: Path) -> Path:
    """Returns the folder of one store; its name must not tell a password."""
    return spool / f"{zlib.crc32(redact_urls(uri).encode()):08x}"


def _adopt(uri: str, spool: Path, client: PatientClient) -> None:
    adopt(Path(uri.removeprefix(SQLITE)), partial(_carry_spool, spool, client.spool))


def _carry_spool(spool: Path, new: Path, move: Move) -> None:
    """Takes over what could not be written before the store was moved; a copy has a spool of its own."""
    if not move.is_copy or spool.is_relative_to(move.projects[1]):
        carry(_spool_of(f"{SQLITE}{move.was}", spool), new, move.place)


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
    if (uri := absolute(config.uri)).startswith(
        SQLITE
    ):  # somebody may use it under another path, as a container
        client.patience.call(_adopt, uri, Path(config.spool).resolve(), client)
    if experiment := client.get_experiment_by_name(name):
        if experiment.lifecycle_stage == "deleted":  # in the UI; its name stays taken
            client.restore_experiment(experiment.experiment_id)
        for key in EXPERIMENT_TAGS.keys() - experiment.tags.keys():  # a description of one's own stays
            client.set_experiment_tag(experiment.experiment_id, key, EXPERIMENT_TAGS[key])
        return str(experiment.experiment_id)
    location = None if config.is_server else (Path(config.artifacts).resolve() / name).as_uri()
    tags = EXPERIMENT_TAGS
    if uri.startswith(SQLITE):  # a store that is found elsewhere was moved
        tags = tags | {Tag.STORE: str(Path(uri.removeprefix(SQLITE)).parent)}
    try:
        return str(client.create_experiment(name, location, tags=tags))
    except MlflowException:  # another process was faster
        if experiment := client.get_experiment_by_name(name):
            return str(experiment.experiment_id)
        raise
