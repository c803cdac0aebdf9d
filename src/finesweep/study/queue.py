"""The queue of trials as one worker sees it: it takes a trial, runs it, and tells how it ended.

    next_trial -> run -> sign_off -> tell

Under the study's lock a worker only claims a trial; a point that needs nothing of what others do at that
moment is drawn without it. Whoever ends or recovers a trial holds that trial alone.

How a run ended is signed off before MLflow or Optuna are told: whoever recovers the trial of a worker that
died in between tells both the same. A recovery claims a trial, closes its MLflow run without holding it, and
then commits.
"""

from collections.abc import Iterator
from contextlib import contextmanager

import optuna
from optuna.exceptions import UpdateFinishedTrialError
from optuna.trial import FrozenTrial, TrialState

from finesweep.errors import StoreAway
from finesweep.hooks import TrialLost
from finesweep.study.claiming import claim_next
from finesweep.study.drawing import draw
from finesweep.study.ending import as_asked, end_trial
from finesweep.study.liveness import this_owner
from finesweep.study.opened import OpenedStudy
from finesweep.study.records import Outcome, TrialRecord
from finesweep.study.samplers import draws_alone

_held: set[tuple[str, str, int]] = set()  # storage, study and number of the trials that this process runs
LOST = "trial {} was taken over while its worker was out of sight"


class TrialQueue(OpenedStudy):
    """A study from which this process takes trials, and which it tells how they ended."""

    _has_read = False  # the trials so far

    def next_trial(self) -> optuna.Trial | None:
        """Takes the next trial and makes this process its owner; None when nothing is left to take.

        Raises: StoreError. A trial may then be RUNNING that nobody runs; a recovery, also by this process,
        hands it on.
        """
        if not self._has_read:
            self.skim()  # before the lock, for it takes long
            self._has_read = True
        with self.lock():
            claim = claim_next(self)
            trial = claim and (claim.done or (None if draws_alone(self.config) else draw(self, claim)))
        if claim is None:
            return None
        try:
            trial = trial or draw(self, claim)
        except UpdateFinishedTrialError as error:  # it took longer than the lease: another trial is taken
            raise StoreAway(LOST.format(claim.trial.number)) from error
        _held.add(self._key(trial.number))
        return trial

    def _key(self, number: int) -> tuple[str, str, int]:
        return self.config.storage, self.name, number

    def let_go(self, number: int) -> None:
        """Tells that this process no longer runs a trial. If it is RUNNING still, a recovery ends it."""
        _held.discard(self._key(number))

    def is_run_here(self, number: int) -> bool:
        """Tells whether this process runs a trial; if not, one that it owns was left, or never begun."""
        return self._key(number) in _held

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
