"""Optuna's storage, whose calls are repeated while the database is locked, away or restarting."""

from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import quote

import optuna
import sqlalchemy
from optuna.distributions import BaseDistribution
from optuna.exceptions import StorageInternalError, UpdateFinishedTrialError
from optuna.storages import RDBStorage
from optuna.trial import FrozenTrial, TrialState
from sqlalchemy import Connection

from finesweep.io.patience import Patience, patient
from finesweep.io.sqlite import FileInUse
from finesweep.study import rows
from finesweep.study.lock import SQLITE
from finesweep.study.server import limit_servers_patience
from finesweep.study.transaction import Part, transaction

optuna.logging.set_verbosity(optuna.logging.WARNING)
optuna.logging.disable_default_handler()
optuna.logging.enable_propagation()


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
