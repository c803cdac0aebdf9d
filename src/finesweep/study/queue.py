"""The queue of trials as one worker sees it: which trial is next, who runs it, how it ended.

    next_trial -> run -> sign_off -> tell

Under the study's lock a worker only claims a trial, against the budget; a point that needs nothing of what
others do at that moment is drawn without it. Whoever ends or recovers a trial holds that trial alone.

A trial is RUNNING only while its owner lives. The owner is written under the same lock as the trial, so a
RUNNING trial without an owner, seen under the lock, has lost it between the two. How a run ended is signed
off before MLflow or Optuna are told: whoever recovers the trial of a worker that died in between tells both
the same. A recovery claims a trial, closes its MLflow run without holding it, and then commits.

In PostgreSQL a locked section is one transaction, which is done whole or not at all, and repeated as a whole
while the server is away. For SQLite, both locks are one file lock, and each write is a transaction.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import optuna
from optuna.exceptions import UpdateFinishedTrialError
from optuna.samplers import BaseSampler
from optuna.trial import FrozenTrial, TrialState

from finesweep.config.study import Ensemble, Pruner, StopWhen, StudyConfig
from finesweep.errors import StoreAway, StudyError
from finesweep.hooks import TrialLost
from finesweep.io.patience import single_attempts
from finesweep.study import budget, clock, confirm
from finesweep.study.backend import backend_of, check_present
from finesweep.study.cache import TrialCache
from finesweep.study.editing import as_seen, difference
from finesweep.study.ending import as_asked, end_trial
from finesweep.study.heartbeat import with_last_signs
from finesweep.study.liveness import Listener, this_owner
from finesweep.study.lock import STORE, lock_key, study_lock
from finesweep.study.ordinal import next_ordinal, ordinal_of
from finesweep.study.patient_storage import PatientStorage
from finesweep.study.pausing import Pausing, add_continuation, each_once
from finesweep.study.places import Places
from finesweep.study.records import Conclusion, Outcome, StudyRecord, TrialRecord, write_trial
from finesweep.study.samplers import draws_alone, make_sampler
from finesweep.study.selection import FINISHED, count_finished, current, failures, is_running, searching
from finesweep.study.space import Space, suggest
from finesweep.study.stopping import goal_of
from finesweep.study.storage import patience_of
from finesweep.study.studies import load
from finesweep.study.transaction import IDLE, LIMITS, UNLIMITED, WAIT

GONE = "its worker is gone"
_held: set[tuple[str, str, int]] = set()  # storage, study and number of the trials that this process runs
LOST = "trial {} was taken over while its worker was out of sight"


@dataclass
class _Claim:
    """A trial that is RUNNING and has an owner. Its sampler has still to draw, or it is done."""

    trial: FrozenTrial
    sampler: BaseSampler | None = None
    seen: Sequence[FrozenTrial] = ()  # all trials, as the sampler sees them
    done: optuna.Trial | None = None


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
        self._listener = Listener()
        cache, backend = self.study._storage, backend_of(self.study)
        assert isinstance(cache, TrialCache) and isinstance(backend, PatientStorage)
        self.cache, self.backend = cache, backend
        self._has_read = self._is_edited = False
        record = StudyRecord(self.study)
        self.hashed_seeds, self.spreads = record.hashed_seeds is True, record.spread_start is True
        self._goal = goal_of(record, self.study.directions)

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

    def next_trial(self) -> optuna.Trial | None:
        """Takes the next trial and makes this process its owner; None when nothing is left to take.

        Raises: StoreError. A trial may then be RUNNING that nobody runs; a recovery, also by this process,
        hands it on.
        """
        if not self._has_read:
            self.skim()  # before the lock, for it takes long
            self._has_read = True
        with self.lock():
            claim = self._claim()
            trial = claim and (claim.done or (None if draws_alone(self.config) else self._draw(claim)))
        if claim is None:
            return None
        try:
            trial = trial or self._draw(claim)
        except UpdateFinishedTrialError as error:  # it took longer than the lease: another trial is taken
            raise StoreAway(LOST.format(claim.trial.number)) from error
        _held.add(self._key(trial.number))
        return trial

    def _renew(self) -> None:
        """Takes over the budgets that the study has now, which a person may have changed.

        Raises: StudyError if another command has edited its space.
        """
        record = StudyRecord(self.study)
        self.config = budget.renewed(self.config, record)
        self._is_edited = record.outside is not None
        if self._is_edited and difference(record, self.space):
            raise StudyError(f"study {self.name!r}: another command has edited the space that it searches")

    def _claim(self) -> "_Claim | None":
        self._renew()
        pausing = Pausing.of(self.study, self.config)
        counts_running = self.config.timeout_s or self.config.max_train_steps or pausing
        trials = self.trials() if counts_running else self.skim()
        if len(failures(trials)) >= self.config.max_failures:
            return None
        if self._spent(trials, spoken_for=True):
            return self._claim_confirmation(trials)
        paused = budget.to_promote(trials, self.config, pausing)
        if paused is None or self._comes_first(trials):
            return self._claim_suggestion(trials)
        trial = add_continuation(self.study, trials, paused)
        return _Claim(trial._cached_frozen_trial, done=trial)

    def _comes_first(self, trials: Sequence[FrozenTrial]) -> bool:
        """Tells whether a trial waits that was begun before, or that a person tries within the budget."""
        waiting = [TrialRecord(trial) for trial in current(trials) if trial.state is TrialState.WAITING]
        is_tried = any(record.tried is not None for record in waiting)
        return any(record.has_begun for record in waiting) or (
            is_tried and budget.full(trials, self.config) is None
        )

    def _key(self, number: int) -> tuple[str, str, int]:
        return self.config.storage, self.name, number

    def let_go(self, number: int) -> None:
        """Tells that this process no longer runs a trial. If it is RUNNING still, a recovery ends it."""
        _held.discard(self._key(number))

    def ended_by(self) -> str | None:
        """Names what has ended the search, for a person; None while it goes on."""
        return self._spent(self.skim())

    def _spent(self, trials: Sequence[FrozenTrial], spoken_for: bool = False) -> str | None:
        pausing = Pausing.of(self.study, self.config)
        return budget.spent(trials, self.config, spoken_for, self._goal, pausing)

    def _claim_suggestion(self, trials: Sequence[FrozenTrial]) -> "_Claim":
        waiting = [trial for trial in current(trials) if trial.state is TrialState.WAITING]
        retries = [trial for trial in waiting if TrialRecord(trial).has_begun]
        tried = [trial for trial in waiting if TrialRecord(trial).tried is not None]  # a person waits for it
        following = next(iter(retries or tried or waiting), None)
        ordinal = ordinal_of(following, trials) if following else next_ordinal(trials)
        sampler = make_sampler(self.config, ordinal, self.space, self.hashed_seeds, self.spreads)
        trial_id = self._take(following) if following else self.cache.create_new_trial(self.study._study_id)
        attrs = TrialRecord.attributes(ordinal=ordinal, heartbeat=clock.now(self.study), owner=this_owner())
        write_trial(self.study, trial_id, attrs)
        claimed = self.cache.as_known(self.study._study_id, trial_id)
        claimed.state, claimed.user_attrs = TrialState.RUNNING, claimed.user_attrs | attrs
        return _Claim(claimed, sampler, trials)

    def _take(self, trial: FrozenTrial) -> int:
        """Starts a trial that waits, as Optuna's `ask` would start the first one. Returns its id.

        Raises: StoreAway if another worker has taken it: the study's lock was lost, so all is read again.
        """
        try:
            is_mine = self.cache.set_trial_state_values(trial._trial_id, state=TrialState.RUNNING)
        except UpdateFinishedTrialError:
            is_mine = False
        if not is_mine:
            raise StoreAway(f"{STORE} lost the study's lock: another worker took trial {trial.number}")
        return trial._trial_id

    def _draw(self, claim: "_Claim") -> optuna.Trial:
        """Draws the point of a claimed trial and begins it. What fails halfway is drawn again by a retry."""
        assert claim.sampler is not None
        self.study._thread_local.cached_all_trials = None
        self.study.sampler = claim.sampler
        others = [one for one in claim.seen if one.number != claim.trial.number]
        seen = sorted([*each_once(others), claim.trial], key=lambda one: one.number)
        seen = as_seen(seen, self.space) if self._is_edited else seen
        with self.cache.drawing(claim.trial, seen) as attrs:
            trial = optuna.Trial(self.study, claim.trial._trial_id)
            suggest(trial, self.space)
            twin = self._evaluated_before(trial, claim.seen)
            now, twin_number = clock.now(self.study), twin.number if twin else None
            attrs |= TrialRecord.attributes(started=now, heartbeat=now, reused_of=twin_number)
        claim.trial.user_attrs |= attrs
        return trial

    def _evaluated_before(self, trial: optuna.Trial, trials: Sequence[FrozenTrial]) -> FrozenTrial | None:
        """Finds a finished trial of the same point.

        One with a smaller batch does not count: it is another training. Nor does one whose point an edit has
        trained again, or that paused at a point which a person tries.
        """
        mine = TrialRecord(trial)
        if self.config.repeat_trials or mine.retry_overrides is not None or mine.again is not None:
            return None
        trained = (
            other
            for other in each_once(searching(trials))
            if _is_known(other) and not (mine.tried is not None and TrialRecord(other).is_paused)
        )
        return next((other for other in trained if other.params == trial.params), None)

    def _claim_confirmation(self, trials: Sequence[FrozenTrial]) -> "_Claim | None":
        if is_running(searching(trials)) or not (missing := self.to_confirm()):
            return None
        candidate, seed = missing[0]
        trial = confirm.add_confirmation(self.study, self.space, trials, candidate, seed)
        return _Claim(trial._cached_frozen_trial, done=trial)

    def to_confirm(self) -> list[tuple[FrozenTrial, int]]:
        return confirm.missing(self.study, self.config.confirm, self.run_seed)

    def more_may_come(self) -> bool:
        """Tells whether a trial may come later.

        Trials that other workers still run decide which candidates are to be confirmed, which paused ones go
        on, and whether `stop_when` still ends the search; and a worker that is out of sight may be dead until
        it is heard of.
        """
        trials, running = self.skim(), map(TrialRecord, self.running())
        now = clock.now(self.study)
        if any(self._listener.may_be_dead(record.owner, record.heartbeat, now) for record in running):
            return len(failures(trials)) < self.config.max_failures
        more_follows = self.config.confirm.top_k > 0 or self.config.pruner is Pruner.pause
        more_follows = more_follows or self._is_stopped_early(trials)
        may_follow = more_follows and len(failures(trials)) < self.config.max_failures
        return may_follow and is_running(searching(trials))

    def _is_stopped_early(self, trials: Sequence[FrozenTrial]) -> bool:
        """Tells whether nothing but `stop_when` ends the search."""
        anyway = replace(self.config, stop_when=StopWhen.none)
        is_stopped = self.config.stop_when is not StopWhen.none
        return is_stopped and budget.spent(trials, anyway, spoken_for=True, goal=self._goal) is None

    def has_work(self) -> bool:
        """Tells whether a worker that started now would find a trial, or the finish step, to take."""
        self._renew()
        trials = self.skim()
        if len(failures(trials)) >= self.config.max_failures:
            return False
        if self._spent(trials, spoken_for=True) is None or self.to_confirm():
            return True
        return self.is_over() and not self.is_concluded(predict=False)

    def is_over(self) -> bool:
        """Tells whether a budget is used up, all is confirmed, there is a result, and nobody works."""
        self._renew()
        trials = self.skim()
        if is_running(trials) or not any(trial.state is TrialState.COMPLETE for trial in trials):
            return False
        return self._spent(trials) is not None and not self.to_confirm()

    def is_concluded(self, predict: bool) -> bool:
        """Tells whether the finish step was taken for these trials, with predictions if wanted."""
        conclusion = StudyRecord(self.study).conclusion
        return (
            conclusion is not None
            and conclusion.trials == self.counted()
            and conclusion.predict in (True, predict)
            and self._is_tried_together(conclusion)
        )

    def _is_tried_together(self, conclusion: Conclusion) -> bool:
        """Tells whether the kept checkpoints were tried as `study.ensemble` asks."""
        wanted, made = self.config.ensemble, conclusion.ensemble
        return wanted is Ensemble.none or (made is not None and made.kind == wanted.value)

    def counted(self) -> list[int]:
        """Returns what a conclusion counts: finished trials, candidates to confirm, and numbers left out."""
        outside = StudyRecord(self.study).outside or []
        return [count_finished(self.skim()), self.config.confirm.top_k, *outside]

    def sign_off(self, number: int, outcome: Outcome) -> Outcome:
        """Writes how a run ended into its trial. Returns what it wrote: a trial that was stopped is pruned.

        Raises: TrialLost; the caller must then tell neither store. StoreError.
        """
        return self.patience.call(self._sign_off, number, outcome)

    def _sign_off(self, number: int, outcome: Outcome) -> Outcome:
        with self._lost_if_ended(number), self.holding(number) as trial:
            record = TrialRecord.writable(self.study, self._check_mine(number, trial))
            record.outcome = outcome = as_asked(record, outcome)
        return outcome

    def tell(self, number: int) -> None:
        """Tells Optuna the outcome of a trial that was signed off. Raises: TrialLost, StoreError."""
        self.patience.call(self._tell, number)

    def _tell(self, number: int) -> None:
        with self._lost_if_ended(number), self.holding(number) as trial:
            assert trial is not None
            record = TrialRecord(trial)
            if trial.state.is_finished() and record.owner == this_owner() and record.outcome is not None:
                return  # told by an attempt that got no answer, or by who recovered the signed-off trial
            outcome = TrialRecord(self._check_mine(number, trial)).outcome
            assert outcome is not None, "signed off before it is told"
            end_trial(self.study, trial, outcome, self.config.max_retries, outcome.death)

    def is_run_here(self, number: int) -> bool:
        """Tells whether this process runs a trial; if not, one that it owns was left, or never begun."""
        return self._key(number) in _held

    def _check_mine(self, number: int, trial: FrozenTrial | None) -> FrozenTrial:
        record = TrialRecord(trial) if trial else None
        mine = record is not None and record.owner == this_owner() and record.recoverer is None
        if trial is None or trial.state is not TrialState.RUNNING or not mine:
            raise TrialLost(LOST.format(number))
        return trial

    @contextmanager
    def _lost_if_ended(self, number: int) -> Iterator[None]:
        """Raises TrialLost if another process ended the trial after the check: the lock can be lost, too."""
        try:
            yield
        except (UpdateFinishedTrialError, ValueError) as error:  # from a write, and from `tell`
            if not self.trial(number).state.is_finished():
                raise
            raise TrialLost(LOST.format(number)) from error


def _is_known(trial: FrozenTrial) -> bool:
    """Tells whether a finished trial's value is that of its point. One that a person ended says nothing."""
    record = TrialRecord(trial)
    is_stopped = trial.state is TrialState.PRUNED and record.stopped is not None
    trained_as_drawn = record.reused_of is None and record.retry_overrides is None
    return trial.state in FINISHED and trained_as_drawn and not is_stopped
