"""A study that a process has opened to work on it, and the locks under which its trials change.

In PostgreSQL a locked section is one transaction, which is done whole or not at all, and repeated as a whole
while the server is away. For SQLite, both locks are one file lock, and each write is a transaction.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from optuna.trial import FrozenTrial, TrialState

from finesweep.config.study import StudyConfig
from finesweep.errors import StudyError
from finesweep.io.patience import single_attempts
from finesweep.study import budget
from finesweep.study.backend import backend_of, check_present
from finesweep.study.cache import TrialCache
from finesweep.study.editing import difference
from finesweep.study.heartbeat import with_last_signs
from finesweep.study.liveness import Listener
from finesweep.study.lock import lock_key, study_lock
from finesweep.study.patient_storage import PatientStorage
from finesweep.study.places import Places
from finesweep.study.records import StudyRecord
from finesweep.study.samplers import draws_alone
from finesweep.study.space import Space
from finesweep.study.stopping import goal_of
from finesweep.study.storage import patience_of
from finesweep.study.studies import load
from finesweep.study.transaction import IDLE, LIMITS, UNLIMITED, WAIT

FAR = 2**12  # places of the sequence that TPE begins with; it takes over long before


class OpenedStudy:
    """A study with what a process needs to work on it: space, budgets as they are now, cache and storage."""

    def __init__(
        self, config: StudyConfig, space: Space, run_seed: int = 42, project: Path | None = None
    ) -> None:
        """project: the folder that the command was started in; by default, the working folder."""
        assert config.name is not None
        self.config, self.space, self.name, self.run_seed = config, space, config.name, run_seed
        self.places = Places(config.storage, project)
        self.patience = patience_of(config)
        self.study = self.patience.call(load, config.name, config.storage, self.patience)
        self.listener = Listener()
        cache, backend = self.study._storage, backend_of(self.study)
        assert isinstance(cache, TrialCache) and isinstance(backend, PatientStorage)
        self.cache, self.backend = cache, backend
        self.is_edited = False
        record = StudyRecord(self.study)
        self.hashed_seeds, self.spreads = record.hashed_seeds is True, record.spread_start is True
        self.first_points = record.first_points or 0
        self.goal = goal_of(record, self.study.directions)

    def spread_index(self, ordinal: int) -> int | None:
        """Returns the place of a suggestion in the sequence that TPE begins with; None in an older study.

        What the sampler adds to a queued point that lacks a value has a place far behind all others.
        """
        if not self.spreads:
            return None
        return ordinal - self.first_points + (FAR if ordinal < self.first_points else 0)

    def renew(self) -> None:
        """Takes over the budgets that the study has now, which a person may have changed.

        Raises: StudyError if another command has edited its space.
        """
        record = StudyRecord(self.study)
        self.config = budget.renewed(self.config, record)
        self.is_edited = record.outside is not None
        if self.is_edited and difference(record, self.space):
            raise StudyError(f"study {self.name!r}: another command has edited the space that it searches")

    @contextmanager
    def lock(self) -> Iterator[None]:
        """Holds the study's lock.

        In PostgreSQL the body is one transaction. So calls in it are made once: whoever wants them repeated
        takes the lock again.
        """
        if self.backend.is_server:
            idle = IDLE if draws_alone(self.config) else UNLIMITED  # a sampler may think for long
            with self._whole("pg_advisory_xact_lock(:key)", idle, key=lock_key(self.name)):
                yield
        else:
            with study_lock(self.config.storage, self.name):
                yield

    @contextmanager
    def holding(self, number: int, waits: bool = True) -> Iterator[FrozenTrial | None]:
        """Keeps others from ending or claiming a trial; its present state and attributes are yielded.

        In PostgreSQL the body is one transaction. waits: whether to wait for who holds it; else None is
        yielded then.
        """
        if not self.backend.is_server:
            with self.lock():
                yield self.backend.get_trial(self._id(number), whole=False)
            return
        skip = "" if waits else " SKIP LOCKED"
        row = f"1 FROM trials WHERE trial_id = :trial_id FOR UPDATE{skip}"
        with self._whole(row, IDLE, trial_id=self._id(number)) as found:
            yield self.backend.get_trial(self._id(number), whole=False) if found else None

    @contextmanager
    def _whole(self, lock: str, idle: str, **parameters: Any) -> Iterator[Sequence[Any]]:
        """Makes one transaction of the body. If it is undone, what was read in it is forgotten."""
        begin = f"SELECT {LIMITS}, {lock}"
        whole = self.backend.transaction(begin, idle=idle, wait=WAIT, **parameters)
        try:
            with single_attempts(), whole as rows:
                yield rows
        except BaseException:
            self.cache.forget()
            raise

    def close(self) -> None:
        """Gives the connection to a server back; the next call opens another one."""
        if self.backend.is_server:
            self.backend.engine.dispose()

    def check_present(self) -> None:
        """Raises: DatabaseGone if the study's file was deleted or replaced since this process opened it."""
        check_present(self.study, "the trials' folders")

    def trials(self) -> list[FrozenTrial]:
        return self.study.get_trials(deepcopy=False)

    def skim(self) -> list[FrozenTrial]:
        """Lists all trials; of those that run, what they were when they began."""
        return self.cache.skim(self.study._study_id)

    def running(self) -> list[FrozenTrial]:
        """Lists the trials that run, with the last signs of life of their owners and recoverers."""
        return with_last_signs(
            self.backend, [trial for trial in self.skim() if trial.state is TrialState.RUNNING]
        )

    def trial(self, number: int) -> FrozenTrial:
        return self.cache.get_trial(self._id(number))

    def _id(self, number: int) -> int:
        return self.cache.get_trial_id_from_study_id_trial_number(self.study._study_id, number)
