"""The queue of trials as one worker sees it: which trial is next, who runs it, how it ended.

    next_trial -> run -> sign_off -> tell; what must not happen twice is done under the study's lock.

A trial is RUNNING only while its owner lives. The owner is written under the same lock as the trial, so a
RUNNING trial without an owner, seen under the lock, has lost it between the two. How a run ended is signed
off before MLflow or Optuna are told: whoever recovers the trial of a worker that died in between tells both
the same. A recovery claims a trial under the lock, closes its MLflow run without it, and then commits.

Locked sections are repeated as a whole while the storage is away: PostgreSQL frees a lock when it restarts.
"""

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

import optuna
from optuna.exceptions import UpdateFinishedTrialError
from optuna.trial import FrozenTrial, TrialState

from finesweep.config.study import StudyConfig
from finesweep.errors import StoreAway
from finesweep.hooks import TrialLost
from finesweep.io.patience import single_attempts
from finesweep.study import budget, clock, confirm
from finesweep.study.ending import end_trial
from finesweep.study.liveness import is_running_out, this_owner
from finesweep.study.lock import SQLITE, STORE, study_lock
from finesweep.study.ordinal import next_ordinal, ordinal_of
from finesweep.study.places import Places
from finesweep.study.records import Outcome, StudyRecord, TrialRecord
from finesweep.study.samplers import make_sampler
from finesweep.study.space import Space, suggest
from finesweep.study.storage import (
    FINISHED,
    check_present,
    count_finished,
    failures,
    is_running,
    load,
    patience_of,
    searching,
)

GONE = "its worker is gone"
_held: set[tuple[str, str, int]] = set()  # storage, study and number of the trials that this process runs
LOST = "trial {} was taken over while its worker was out of sight"


class TrialQueue:
    def __init__(
        self, config: StudyConfig, space: Space, run_seed: int = 42, project: Path | None = None
    ) -> None:
        """project: the folder that the command was started in; by default, the working folder."""
        assert config.name is not None
        self.config, self.space, self.name, self.run_seed = config, space, config.name, run_seed
        self.places = Places(config.storage, project)
        self.patience = patience_of(config)
        self.study = self.patience.call(load, config.name, config.storage, self.patience)
        self.hashed_seeds = StudyRecord(self.study).hashed_seeds is True

    @contextmanager
    def lock(self) -> Iterator[None]:
        """Holds the study's lock.

        A PostgreSQL that restarts frees it. So calls in the body are made once there: whoever wants them
        repeated takes the lock again.
        """
        freed_by_restart = not self.config.storage.startswith(SQLITE)
        with study_lock(self.config.storage, self.name), ExitStack() as stack:
            if freed_by_restart:
                stack.enter_context(single_attempts())
            yield

    def check_present(self) -> None:
        """Raises: DatabaseGone if the study's file was deleted or replaced since this process opened it."""
        check_present(self.study, "the trials' folders")

    def trials(self) -> list[FrozenTrial]:
        return self.study.get_trials(deepcopy=False)

    def next_trial(self) -> optuna.Trial | None:
        """Takes the next trial and makes this process its owner; None when nothing is left to take.

        Raises: StoreError. A trial may then be RUNNING that nobody runs; a recovery, also by this process,
        hands it on.
        """
        with self.lock():
            if trial := self._next():
                _held.add(self._key(trial.number))
            return trial

    def _next(self) -> optuna.Trial | None:
        trials = self.trials()
        if len(failures(trials)) >= self.config.max_failures:
            return None
        if budget.spent(trials, self.config, spoken_for=True):
            return self._next_confirmation(trials)
        return self._next_suggestion(trials)

    def _key(self, number: int) -> tuple[str, str, int]:
        return self.config.storage, self.name, number

    def let_go(self, number: int) -> None:
        """Tells that this process no longer runs a trial. If it is RUNNING still, a recovery ends it."""
        _held.discard(self._key(number))

    def _next_suggestion(self, trials: Sequence[FrozenTrial]) -> optuna.Trial:
        waiting = [trial for trial in trials if trial.state is TrialState.WAITING]
        retries = [trial for trial in waiting if TrialRecord(trial).retry_of is not None]
        following = next(iter(retries or waiting), None)
        ordinal = ordinal_of(following, trials) if following else next_ordinal(trials)
        self.study.sampler = make_sampler(self.config, ordinal, self.space, self.hashed_seeds)
        trial = self._take(retries[0]) if retries else self.study.ask()
        suggest(trial, self.space)
        record = TrialRecord(trial)
        record.ordinal = ordinal
        if twin := self._evaluated_before(trial, trials):
            record.reused_of = twin.number
        record.started = record.heartbeat = clock.now(self.study)
        record.owner = this_owner()
        return trial

    def _take(self, trial: FrozenTrial) -> optuna.Trial:
        """Starts a waiting retry, as Optuna's `ask` would start the first waiting trial.

        Raises: StoreAway if another worker has taken it: the study's lock was lost, so all is read again.
        """
        try:
            is_mine = self.study._storage.set_trial_state_values(trial._trial_id, state=TrialState.RUNNING)
        except UpdateFinishedTrialError:
            is_mine = False
        if not is_mine:
            raise StoreAway(f"{STORE} lost the study's lock: another worker took trial {trial.number}")
        self.study._thread_local.cached_all_trials = None
        return optuna.Trial(self.study, trial._trial_id)

    def _evaluated_before(self, trial: optuna.Trial, trials: Sequence[FrozenTrial]) -> FrozenTrial | None:
        """Finds a finished trial of the same point.

        One with a smaller batch does not count: it is another training.
        """
        if self.config.repeat_trials or TrialRecord(trial).retry_overrides is not None:
            return None
        trained = (
            other
            for other in searching(trials)
            if other.state in FINISHED and _trained_as_drawn(TrialRecord(other))
        )
        return next((other for other in trained if other.params == trial.params), None)

    def _next_confirmation(self, trials: Sequence[FrozenTrial]) -> optuna.Trial | None:
        if is_running(searching(trials)) or not (missing := self.to_confirm()):
            return None
        candidate, seed = missing[0]
        return confirm.add_confirmation(self.study, self.space, trials, candidate, seed)

    def to_confirm(self) -> list[tuple[FrozenTrial, int]]:
        return confirm.missing(self.study, self.config.confirm, self.run_seed)

    def more_may_come(self) -> bool:
        """Tells whether a trial may come later.

        Trials that other workers still run decide which candidates are to be confirmed; and a worker that is
        out of sight and silent may be dead.
        """
        trials = self.trials()
        now = clock.now(self.study)
        if any(is_running_out(record.owner, record.heartbeat, now) for record in _running(trials)):
            return len(failures(trials)) < self.config.max_failures
        may_confirm = self.config.confirm.top_k > 0 and len(failures(trials)) < self.config.max_failures
        return may_confirm and is_running(searching(trials))

    def is_over(self) -> bool:
        """Tells whether a budget is used up, all is confirmed, there is a result, and nobody works."""
        trials = self.trials()
        if is_running(trials) or not any(trial.state is TrialState.COMPLETE for trial in trials):
            return False
        return budget.spent(trials, self.config) is not None and not self.to_confirm()

    def is_concluded(self, predict: bool) -> bool:
        """Tells whether the finish step was taken for these trials, with predictions if wanted."""
        conclusion = StudyRecord(self.study).conclusion
        return (
            conclusion is not None
            and conclusion.trials == self.counted()
            and conclusion.predict in (True, predict)
        )

    def counted(self) -> list[int]:
        """Returns the counts of a conclusion: finished trials, and the number of candidates to confirm."""
        return [count_finished(self.trials()), self.config.confirm.top_k]

    def sign_off(self, number: int, outcome: Outcome) -> None:
        """Writes how a run ended into its trial.

        Raises: TrialLost; the caller must then tell neither store. StoreError.
        """
        self.patience.call(self._sign_off, number, outcome)

    def _sign_off(self, number: int, outcome: Outcome) -> None:
        with self.lock(), self._lost_if_ended(number):
            TrialRecord.writable(self.study, self._check_mine(number)).outcome = outcome

    def tell(self, number: int) -> None:
        """Tells Optuna the outcome of a trial that was signed off. Raises: TrialLost, StoreError."""
        self.patience.call(self._tell, number)

    def _tell(self, number: int) -> None:
        with self.lock(), self._lost_if_ended(number):
            record = TrialRecord(trial := self.trials()[number])
            if trial.state.is_finished() and record.owner == this_owner() and record.outcome is not None:
                return  # told by an attempt that got no answer, or by who recovered the signed-off trial
            outcome = TrialRecord(self._check_mine(number)).outcome
            assert outcome is not None, "signed off before it is told"
            end_trial(self.study, trial, outcome, self.config.max_retries, outcome.death)

    def is_run_here(self, number: int) -> bool:
        """Tells whether this process runs a trial; if not, one that it owns was left, or never begun."""
        return self._key(number) in _held

    def _check_mine(self, number: int) -> FrozenTrial:
        trial = self.trials()[number]
        record = TrialRecord(trial)
        mine = record.owner == this_owner() and record.recoverer is None
        if trial.state is not TrialState.RUNNING or not mine:
            raise TrialLost(LOST.format(number))
        return trial

    @contextmanager
    def _lost_if_ended(self, number: int) -> Iterator[None]:
        """Raises TrialLost if another process ended the trial after the check: the lock can be lost, too."""
        try:
            yield
        except (UpdateFinishedTrialError, ValueError) as error:  # from a write, and from `tell`
            if not self.trials()[number].state.is_finished():
                raise
            raise TrialLost(LOST.format(number)) from error


def _trained_as_drawn(record: TrialRecord) -> bool:
    return record.reused_of is None and record.retry_overrides is None


def _running(trials: Sequence[FrozenTrial]) -> list[TrialRecord]:
    return [TrialRecord(trial) for trial in trials if trial.state is TrialState.RUNNING]
