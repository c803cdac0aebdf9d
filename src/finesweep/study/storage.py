"""Opens the storage of studies, makes and loads a study, and sorts its trials."""

import sqlite3
import warnings
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import quote

import optuna
import sqlalchemy
from optuna.distributions import BaseDistribution
from optuna.exceptions import ExperimentalWarning, StorageInternalError, UpdateFinishedTrialError
from optuna.storages import BaseStorage, RDBStorage
from optuna.storages._cached_storage import _CachedStorage
from optuna.study import Study, StudyDirection
from optuna.study._multi_objective import _get_pareto_front_trials_by_trials
from optuna.trial import FrozenTrial, TrialState
from sqlalchemy import Connection

from finesweep.config.run import Direction
from finesweep.config.study import StudyConfig
from finesweep.errors import ConfigError, DatabaseGone, StoreError, StudyError, did_you_mean
from finesweep.io.output import can_write
from finesweep.io.patience import Patience, patient, reason
from finesweep.io.redaction import redact_urls
from finesweep.io.sqlite import FileInUse, create_database, has_table
from finesweep.io.terminal import trainer
from finesweep.study import rows
from finesweep.study.cache import OUTSIDE, TrialCache
from finesweep.study.lock import SQLITE, STORE, check_storage, study_lock
from finesweep.study.records import StudyRecord, TrialRecord
from finesweep.study.server import connect_args, engine_args, is_made, is_refused, limit_servers_patience
from finesweep.study.transaction import Part, transaction

optuna.logging.set_verbosity(optuna.logging.WARNING)
optuna.logging.disable_default_handler()
optuna.logging.enable_propagation()

FINISHED = (TrialState.COMPLETE, TrialState.PRUNED)
# What opening a storage raises: of the file, the driver, the server, or the versions of its tables.
UNUSABLE = (OSError, sqlite3.Error, sqlalchemy.exc.SQLAlchemyError, ImportError, RuntimeError, StoreError)
PATIENCE_S = 60.0  # of a process that only looks at a study
BUSY_S = 5  # that SQLite itself waits for a lock; it cannot be interrupted meanwhile


@patient(
    "create_new_study", "get_study_id_from_name", "get_study_name_from_id", "get_study_directions",
    "get_study_user_attrs", "get_study_system_attrs", "set_study_user_attr", "set_study_system_attr",
    "get_all_studies", "get_trial", "set_trial_param", "set_trial_state_values", "set_trial_user_attr",
    "set_trial_system_attr", "set_trial_intermediate_value", "get_trial_id_from_study_id_trial_number",
    # The methods that Optuna's cache, which lies above this storage, calls in place of public ones.
    "_create_new_trial", "_get_trials", "_set_trial_param", "_get_best_trial_id",
    "read_trials", "read_attrs", "write", "write_study", "execute",
)  # fmt: skip
class PatientStorage(RDBStorage):
    """Optuna's storage, whose calls are repeated while the database is locked, away or restarting."""

    file: FileInUse | None = None  # of SQLite

    def __init__(
        self,
        url: str,
        patience: Patience,
        address: str = "",
        is_read_only: bool = False,
        **engine_kwargs: Any,
    ) -> None:
        """address: what a person calls the storage, if not by `url`."""
        self.patience, self.address = patience, address or url
        if url.startswith(SQLITE) and not is_read_only:
            # A deleted file is not made again, empty, by the next connection.
            path = Path(url.removeprefix(SQLITE)).resolve()
            self.file, url = FileInUse(path), f"{SQLITE}file:{quote(str(path))}?mode=rw&uri=true"
        try:
            super().__init__(url, engine_kwargs, skip_compatibility_check=True, skip_table_creation=True)
            self._check_version()
        except StorageInternalError as error:
            raise error.__cause__ or error from None
        if self.is_server:
            limit_servers_patience(self.engine)

    def _check_version(self) -> None:
        """Raises: RuntimeError if the tables are of another version of Optuna."""
        versions = self._version_manager
        if versions.get_current_version() != versions.get_head_version():
            versions.check_table_schema_compatibility()  # Optuna's own: it would need a second connection

    @staticmethod
    def is_trouble(error: Exception) -> bool:
        """Tells whether the database is the cause; else the error is an answer, such as an unknown name."""
        return isinstance(error, (StorageInternalError, sqlalchemy.exc.SQLAlchemyError, OSError))

    def _set_trial_param_without_commit(
        self,
        session: Any,
        trial_id: int,
        param_name: str,
        param_value_internal: float,
        distribution: BaseDistribution,
        previous_distribution: BaseDistribution | None = None,
    ) -> None:
        """Writes a parameter of a new trial; others may have had other choices, before an edit."""
        rows.write(session.connection(), trial_id, {}, {param_name: (param_value_internal, distribution)})

    @property
    def is_server(self) -> bool:
        return self.engine.dialect.name == "postgresql"

    @contextmanager
    def transaction(self, begin: str, **parameters: Any) -> Iterator[Sequence[Any]]:
        """Makes one transaction of the calls in the body by this thread; on a server, not in a file.

        begin: its first statement, which takes a lock; its rows are yielded. Unless the body ends well,
        nothing was done. Raises: StoreError.
        """
        whole = transaction(self.engine, self.scoped_session, begin, parameters)
        with (
            self.patience.naming(lambda error: isinstance(error, sqlalchemy.exc.SQLAlchemyError)),
            whole as found,
        ):
            yield found

    @contextmanager
    def connection(self, writes: bool = False) -> Iterator[Connection]:
        """Connects to the database: as a part of this thread's transaction, if it has begun one.

        writes: whether the body is a transaction of its own else; if not, each statement is one.
        """
        if self.scoped_session.registry.has() and isinstance(self.scoped_session(), Part):
            yield self.scoped_session().connection()
            return
        level = {} if writes or not self.is_server else {"isolation_level": "AUTOCOMMIT"}
        with self.engine.connect().execution_options(**level) as connection:
            yield connection
            connection.commit()

    def read_trials(
        self, study_id: int, included: Collection[int], after: int, known: Mapping[int, TrialState]
    ) -> list[FrozenTrial]:
        with self.connection() as connection:
            return rows.read_trials(connection, study_id, included, after, known)

    def get_trial(self, trial_id: int, whole: bool = True) -> FrozenTrial:
        """Reads a trial; if not whole, only its state and attributes."""
        with self.connection() as connection:
            return rows.read_trial(connection, trial_id, whole)

    def read_attrs(self, ids: Sequence[int], keys: tuple[str, ...]) -> dict[int, dict[str, Any]]:
        """Reads some attributes of these trials, by their ids."""
        with self.connection() as connection:
            return rows.read_attrs(connection, ids, keys)

    def write(
        self,
        trial_id: int,
        attrs: Mapping[str, Any],
        params: Mapping[str, Any] = {},
        systems: Mapping[str, Any] = {},
        steps: Mapping[int, float] = {},
    ) -> None:
        """Writes attributes, what a sampler drew, and intermediate values, at once.

        Raises: UpdateFinishedTrialError.
        """
        with self.connection(writes=True) as connection:
            state = rows.write(connection, trial_id, attrs, params, systems, steps)
        if state.is_finished():
            raise UpdateFinishedTrialError(f"trial {trial_id} is {state.name}")

    def write_study(self, study_id: int, attrs: Mapping[str, Any]) -> None:
        """Writes attributes of a study, at once."""
        with self.connection(writes=True) as connection:
            rows.write_study(connection, study_id, attrs)

    def execute(self, statement: str, **parameters: Any) -> Sequence[Any]:
        """Executes one statement and returns its first row."""
        with self.connection() as connection:
            return connection.execute(sqlalchemy.text(statement), parameters).one()


def cached(storage: RDBStorage) -> BaseStorage:
    return TrialCache(storage, TrialRecord.started.key) if isinstance(storage, PatientStorage) else storage


def skim(study: Study) -> list[FrozenTrial]:
    """Lists all trials; of those that run, what they were when they began. It reads what has changed."""
    storage = study._storage
    return (
        storage.skim(study._study_id) if isinstance(storage, TrialCache) else study.get_trials(deepcopy=False)
    )


def backend_of(study: Study) -> BaseStorage:
    """Returns the storage of a study without Optuna's cache above it."""
    storage = study._storage
    return storage._backend if isinstance(storage, _CachedStorage) else storage


def address_of(study: Study) -> str:
    """Returns the storage's address; an empty text for a study in memory."""
    backend = backend_of(study)
    return backend.address if isinstance(backend, PatientStorage) else ""


def check_present(study: Study, kept: str) -> None:
    """Raises: DatabaseGone if the study's file was deleted or replaced since this process opened it.

    kept: the folders that still hold what was trained.
    """
    backend = backend_of(study)
    if isinstance(backend, PatientStorage) and backend.file and backend.file.is_gone:
        raise DatabaseGone(
            f"hydra.sweeper.study.storage: {backend.file.path} was deleted or replaced while it was in use, "
            "and the trials in it are lost; their runs are still in MLflow, checkpoints and result.json in "
            f"{kept}. Put a copy of it back and start the same command again, or start another study: "
            "hydra.sweeper.study.name=NAME"
        )


def check_place(url: str) -> None:
    """Raises: ConfigError for an address that is none, or a SQLite file that this user cannot create."""
    check_storage(url)
    path = Path(url.removeprefix(SQLITE))
    if url.startswith(SQLITE) and not path.exists() and not can_write(path.parent):
        raise ConfigError(
            f"hydra.sweeper.study.storage: cannot open {redact_urls(url)!r}: {path.parent} cannot be written"
        )


def open_storage(url: str, patience: Patience | None = None) -> PatientStorage:
    """Opens the storage of all studies. One process alone creates a SQLite file; the others wait.

    Raises: ConfigError if it cannot be opened: only later calls are repeated, for `patience`.
    """
    check_storage(url)
    patience = patience or Patience(PATIENCE_S, STORE)
    try:
        if not url.startswith(SQLITE):
            return Patience(patience.seconds, STORE, is_refused).call(_open_server, url, patience)
        path = Path(url.removeprefix(SQLITE))
        path.parent.mkdir(parents=True, exist_ok=True)
        with study_lock(url, "create"):
            if not path.exists():
                create_database(path, _create_sqlite)
        if not has_table(path, "studies"):  # Optuna would add its own tables to it
            raise ConfigError(f"hydra.sweeper.study.storage: {path} is a database, but not Optuna's; "
                              "legal: another file")  # fmt: skip
        return PatientStorage(url, patience, connect_args={"timeout": BUSY_S})
    except UNUSABLE as error:
        raise ConfigError(
            f"hydra.sweeper.study.storage: cannot open {redact_urls(url)!r}: {reason(error)}"
        ) from error


def _open_server(url: str, patience: Patience) -> PatientStorage:
    """Opens a database on a server; its tables are made under a lock, for which only the first ones wait."""
    if not is_made(url):
        with study_lock(url, "create"):
            RDBStorage(url, {"poolclass": sqlalchemy.NullPool, "connect_args": connect_args(url)})
    return PatientStorage(url, patience, **engine_args(url))


def _create_sqlite(path: Path) -> None:
    engine = RDBStorage(f"{SQLITE}{path}").engine
    with engine.connect() as connection:  # readers do not wait for writers; kept in the file
        connection.execute(sqlalchemy.text("PRAGMA journal_mode=WAL"))
    engine.dispose()


def patience_of(config: StudyConfig) -> Patience:
    return Patience(config.patience_s, STORE)


def create(
    config: StudyConfig,
    objectives: Mapping[str, Direction],
    points: Sequence[dict[str, Any]],
    attrs: dict[str, Any],
) -> Study:
    """Finds the study, or makes it with its enqueued points and attributes; under the study's lock."""
    assert config.name is not None
    study = optuna.create_study(
        storage=cached(open_storage(config.storage, patience_of(config))),
        study_name=config.name,
        directions=[direction.value for direction in objectives.values()],
        load_if_exists=True,
    )
    if not study.user_attrs:  # it is new
        StudyRecord(study).write_all(hashed_seeds=True, spread_start=True)
    if study.metric_names is None:  # also of a study from before they were set
        with warnings.catch_warnings(category=ExperimentalWarning, action="ignore"):
            study.set_metric_names(list(objectives))
    for point in points:
        study.enqueue_trial(point, skip_if_exists=True)
    StudyRecord(study).write(attrs)
    return study


def load(name: str, storage: str, patience: Patience | None = None) -> Study:
    """Loads a study; its calls are repeated for `patience`. Raises: StudyError, which lists the studies."""
    check_exists(name, storage)
    opened = open_storage(storage, patience)
    try:
        return find(name, opened, storage)
    except StudyError:
        opened.engine.dispose()  # who waits for a study asks often, and would hold a connection for each time
        raise


def check_exists(name: str | None, storage: str) -> None:
    """Raises: StudyError if the SQLite file of a storage is not there. name: the study that is looked for."""
    if storage.startswith(SQLITE) and not Path(storage.removeprefix(SQLITE)).exists():
        what = "no studies" if name is None else f"study {name!r}"
        raise StudyError(f"{what}: there is no {storage} here; start a study with {trainer()} -m")


def find(name: str, opened: RDBStorage, storage: str) -> Study:
    """Finds a study in an opened storage; the address is for messages.

    Raises: StudyError, which lists the studies that are there.
    """
    try:
        return optuna.load_study(study_name=name, storage=cached(opened))
    except KeyError:
        names = sorted(optuna.get_all_study_names(opened))
        raise StudyError(
            f"study {name!r}: not in {redact_urls(storage)}; {did_you_mean(name, names)}"
            f"there: {', '.join(names) or 'none'}; start one with {trainer()} -m"
        ) from None


def searching(trials: Sequence[FrozenTrial]) -> list[FrozenTrial]:
    """Leaves out the trials that only confirm another one, and those outside of an edited space."""
    key = TrialRecord.confirms.key  # not through a record: this is called under the lock, for all trials
    return [trial for trial in current(trials) if trial.user_attrs.get(key) is None]


def current(trials: Sequence[FrozenTrial]) -> list[FrozenTrial]:
    """Leaves out the trials outside of a space that was edited, which are history."""
    return [trial for trial in trials if OUTSIDE not in trial.user_attrs]


def failures(trials: Sequence[FrozenTrial]) -> list[FrozenTrial]:
    """Lists the trials that failed for good; a trial that was enqueued again is none of them.

    Nor is one outside of an edited space: what made it fail may be what the edit took out.
    """
    failed = (trial for trial in current(trials) if trial.state is TrialState.FAIL)
    return [trial for trial in failed if TrialRecord(trial).error is not None]


def count_finished(trials: Sequence[FrozenTrial]) -> int:
    """Counts the trials that have ended with a value; a paused one that another continues is not one more."""
    numbers = continued(trials)
    return sum(trial.state in FINISHED and trial.number not in numbers for trial in trials)


def continued(trials: Sequence[FrozenTrial]) -> set[int]:
    """Returns the numbers of the paused trials from which another trial goes on, or went on."""
    key = TrialRecord.continues.key  # not through a record, as above
    return {number for trial in trials if (number := trial.user_attrs.get(key)) is not None}


def scored_once(study: Study) -> list[FrozenTrial]:
    """Lists the trials of the search that have a value, each point once: of a paused one, what went on."""
    search = searching(study.get_trials(deepcopy=False))
    went_on, key = continued(search), TrialRecord.reused_of.key
    return [one for one in search if one.values and one.number not in went_on and key not in one.user_attrs]


def is_running(trials: Sequence[FrozenTrial]) -> bool:
    return any(trial.state is TrialState.RUNNING for trial in trials)


def best_first(study: Study) -> list[FrozenTrial]:
    """Lists the complete trials of the search, best first; of equals, the earlier one.

    With several objectives: the Pareto front by the first objective, then the others.
    """
    ranked = sorted(_trained(study), key=lambda trial: (_loss(study, trial), trial.number))
    front = {trial.number for trial in pareto_front(study)} if len(study.directions) > 1 else set()
    return sorted(ranked, key=lambda trial: trial.number not in front)  # stable


def _trained(study: Study) -> list[FrozenTrial]:
    complete = study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
    return [trial for trial in searching(complete) if TrialRecord(trial).reused_of is None]


def _loss(study: Study, trial: FrozenTrial) -> float:
    """Gives the first objective with the sign that makes less better."""
    return float(trial.values[0]) * (-1 if study.directions[0] is StudyDirection.MAXIMIZE else 1)


def pareto_front(study: Study) -> list[FrozenTrial]:
    """Lists the complete trials that no other beats in every objective, best in the first objective first."""
    front = _get_pareto_front_trials_by_trials(_trained(study), study.directions)
    return sorted(front, key=lambda trial: (_loss(study, trial), trial.number))
