"""The study: what has been tried, what is next, who does it.

    ask -> run -> tell; every step that must not happen twice is taken under the study's lock.

A trial is RUNNING only while its owner lives. The owner is written under the same lock as the trial, so a
RUNNING trial without an owner, seen under the lock, has lost it between the two.
"""

import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import optuna
import sqlalchemy
from optuna.storages import RDBStorage
from optuna.study import Study, StudyDirection
from optuna.trial import FrozenTrial, TrialState

from finesweep.config import Direction
from finesweep.errors import ConfigError, StudyError
from finesweep.sweep.config import Sampler, StudyConfig
from finesweep.sweep.lock import SQLITE, check_storage, study_lock
from finesweep.sweep.owner import is_gone, this_owner
from finesweep.sweep.samplers import make_sampler
from finesweep.sweep.space import Space

optuna.logging.set_verbosity(optuna.logging.WARNING)
optuna.logging.disable_default_handler()
optuna.logging.enable_propagation()

FINISHED = (TrialState.COMPLETE, TrialState.PRUNED)
# Names of the attributes that a trial carries.
OWNER, BEAT, ORDINAL, RETRY_OF, ERROR, RUN_ID = "owner", "beat", "ordinal", "retry_of", "error", "run_id"
CHECKPOINT, FOLDER, OVERRIDES = "checkpoint", "folder", "overrides"
DEATHS = "deaths"  # of the workers of this trial and of the tries before it
CONCLUSION = "conclusion"  # of the study: what its last finish step found


def open_storage(url: str) -> RDBStorage:
    """The storage of all studies; a SQLite file is created by one process alone, the others wait.

    Raises: ConfigError if it cannot be opened.
    """
    check_storage(url)
    connect = {"timeout": 60} if url.startswith(SQLITE) else {}
    try:
        if url.startswith(SQLITE):
            Path(url.removeprefix(SQLITE)).parent.mkdir(parents=True, exist_ok=True)
        with study_lock(url, "create"):
            storage = RDBStorage(url, engine_kwargs={"connect_args": connect})
            if url.startswith(SQLITE):
                with storage.engine.connect() as connection:
                    connection.execute(sqlalchemy.text("PRAGMA journal_mode=WAL"))
    except (OSError, sqlalchemy.exc.SQLAlchemyError, ImportError) as error:
        raise ConfigError(
            f"hydra.sweeper.study.storage: cannot open {url!r}: {str(error).splitlines()[0]}"
        ) from error
    return storage


def create(
    config: StudyConfig, direction: Direction, points: Sequence[dict[str, Any]], attrs: dict[str, Any]
) -> Study:
    """Finds the study, or makes it with its enqueued points and attributes; under the study's lock."""
    assert config.name is not None
    study = optuna.create_study(
        storage=open_storage(config.storage),
        study_name=config.name,
        direction=direction.value,
        load_if_exists=True,
    )
    for point in points:
        study.enqueue_trial(point, skip_if_exists=True)
    for key, value in attrs.items():
        study.set_user_attr(key, value)
    return study


def load(name: str, storage: str) -> Study:
    """Raises: StudyError, listing the studies there are."""
    if storage.startswith(SQLITE) and not Path(storage.removeprefix(SQLITE)).exists():
        raise StudyError(f"study {name!r}: there is no {storage} here; start a study with python train.py -m")
    opened = open_storage(storage)
    try:
        return optuna.load_study(study_name=name, storage=opened)
    except KeyError:
        names = sorted(optuna.get_all_study_names(opened))
        raise StudyError(
            f"study {name!r}: not in {storage}; there: {', '.join(names) or 'none'}; "
            "start one with python train.py -m"
        ) from None


class TrialLost(Exception):
    """Somebody else has taken this trial over: its worker was thought dead."""


class Ledger:
    """One worker's hold on the study: takes trials out, puts results in."""

    def __init__(self, config: StudyConfig, space: Space) -> None:
        assert config.name is not None
        self.config, self.space, self.name = config, space, config.name
        self.study = load(config.name, config.storage)

    def trials(self) -> list[FrozenTrial]:
        return self.study.get_trials(deepcopy=False)

    def next_trial(self) -> optuna.Trial | None:
        """The next trial to run, owned by this process; None when the budget is met or spoken for."""
        with study_lock(self.config.storage, self.name):
            trials = self.trials()
            taken = sum(trial.state in (*FINISHED, TrialState.RUNNING) for trial in trials)
            if taken >= self.config.n_trials or len(failures(trials)) >= self.config.max_failures:
                return None
            waiting = [trial for trial in trials if trial.state is TrialState.WAITING]
            if not waiting and self.config.sampler is Sampler.grid:
                return None
            ordinal = _ordinal(waiting[0], trials) if waiting else _next_ordinal(trials)
            self.study.sampler = make_sampler(self.config, ordinal)
            trial = self.study.ask(fixed_distributions=self.space)
            trial.set_user_attr(ORDINAL, ordinal)
            trial.set_user_attr(BEAT, time.time())
            trial.set_user_attr(OWNER, this_owner())
            return trial

    def complete(self, number: int, value: float) -> None:
        """Raises: TrialLost."""
        with study_lock(self.config.storage, self.name):
            self._check_mine(number)
            self.study.tell(number, value)

    def prune(self, number: int) -> None:
        """Raises: TrialLost."""
        with study_lock(self.config.storage, self.name):
            self._check_mine(number)
            self.study.tell(number, state=TrialState.PRUNED)

    def fail(self, number: int, error: str) -> None:
        """A trial that failed by itself; it is not tried again. Raises: TrialLost."""
        with study_lock(self.config.storage, self.name):
            trial = self._check_mine(number)
            self.set_attr(trial, ERROR, error)
            self.study.tell(number, state=TrialState.FAIL)

    def hand_back(self, number: int) -> None:
        """A trial that was interrupted: whoever is next goes on with it. Raises: TrialLost."""
        with study_lock(self.config.storage, self.name):
            self._requeue(self._check_mine(number), None)

    def recover(self, reason: str | None = "its worker is gone") -> list[FrozenTrial]:
        """Ends the RUNNING trials whose owner is gone and enqueues them again. Returns the ended ones.

        reason: None if they were interrupted on purpose, which costs none of their retries.
        """
        with study_lock(self.config.storage, self.name):
            running = [trial for trial in self.trials() if trial.state is TrialState.RUNNING]
            lost = [
                trial for trial in running if is_gone(trial.user_attrs.get(OWNER), trial.user_attrs.get(BEAT))
            ]
            for trial in lost:
                self._requeue(trial, reason)
            return lost

    def _requeue(self, trial: FrozenTrial, reason: str | None) -> None:
        """First the retry, then the end of the old one: the next recovery sees a kill between the two."""
        trials = self.trials()
        deaths = trial.user_attrs.get(DEATHS, 0) + (reason is not None)
        if deaths > self.config.max_retries:
            self.set_attr(trial, ERROR, f"{reason}, after {self.config.max_retries} retries")
        elif not any(other.user_attrs.get(RETRY_OF) == trial.number for other in trials):
            lineage = {RETRY_OF: trial.number, ORDINAL: _ordinal(trial, trials), DEATHS: deaths}
            # What was enqueued is not yet among the params if the worker died before it was suggested.
            params = trial.system_attrs.get("fixed_params", {}) | trial.params
            self.study.enqueue_trial(params, user_attrs=lineage)
        self.study.tell(trial.number, state=TrialState.FAIL)

    def _check_mine(self, number: int) -> FrozenTrial:
        trial = self.trials()[number]
        if trial.state is not TrialState.RUNNING or trial.user_attrs.get(OWNER) != this_owner():
            raise TrialLost(f"trial {number} was taken over while its worker was out of sight")
        return trial

    def set_attr(self, trial: FrozenTrial, key: str, value: Any) -> None:
        optuna.Trial(self.study, trial._trial_id).set_user_attr(key, value)


def failures(trials: Sequence[FrozenTrial]) -> list[FrozenTrial]:
    """Trials that failed for good; one that was enqueued again is none."""
    return [trial for trial in trials if trial.state is TrialState.FAIL and ERROR in trial.user_attrs]


def _next_ordinal(trials: Sequence[FrozenTrial]) -> int:
    return sum(RETRY_OF not in trial.user_attrs for trial in trials)


def _ordinal(trial: FrozenTrial, trials: Sequence[FrozenTrial]) -> int:
    """Which suggestion of the study this is; a retry is the same one again."""
    if ORDINAL in trial.user_attrs:
        return int(trial.user_attrs[ORDINAL])
    return sum(RETRY_OF not in other.user_attrs for other in trials[: trial.number])


def best_first(study: Study) -> list[FrozenTrial]:
    """The complete trials, best first; of equals, the earlier one."""
    sign = -1 if study.direction is StudyDirection.MAXIMIZE else 1
    complete = [trial for trial in study.get_trials(deepcopy=False) if trial.state is TrialState.COMPLETE]
    return sorted(complete, key=lambda trial: (sign * float(trial.value or 0.0), trial.number))


def count_finished(trials: Sequence[FrozenTrial]) -> int:
    return sum(trial.state in FINISHED for trial in trials)


def is_over(trials: Sequence[FrozenTrial], config: StudyConfig) -> bool:
    """Whether the budget is met, or a grid has no point left, and nobody is at work."""
    states = [trial.state for trial in trials]
    if TrialState.RUNNING in states or TrialState.COMPLETE not in states:
        return False
    exhausted = config.sampler is Sampler.grid and TrialState.WAITING not in states
    return exhausted or count_finished(trials) >= config.n_trials


def is_concluded(study: Study, trials: Sequence[FrozenTrial], predict: bool) -> bool:
    """Whether the finish step has been taken for just these trials, with predictions if they are wanted."""
    found = study.user_attrs.get(CONCLUSION, {})
    return found.get("finished") == count_finished(trials) and found.get("predict") in (True, predict)
