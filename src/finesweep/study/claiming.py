"""Claims the next trial of a study, against the budget. The caller holds the study's lock.

A trial is RUNNING only while its owner lives. The owner is written under the same lock as the trial, so a
RUNNING trial without an owner, seen under the lock, has lost it between the two.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import optuna
from optuna.exceptions import UpdateFinishedTrialError
from optuna.samplers import BaseSampler
from optuna.trial import FrozenTrial, TrialState

from finesweep.config.study import Pruner
from finesweep.errors import StoreAway
from finesweep.study import budget, clock, confirm
from finesweep.study.liveness import this_owner
from finesweep.study.lock import STORE
from finesweep.study.opened import OpenedStudy
from finesweep.study.ordinal import next_ordinal, ordinal_of
from finesweep.study.pausing import Pausing, add_continuation
from finesweep.study.records import TrialRecord, write_trial
from finesweep.study.remaining import to_confirm, too_many_failed
from finesweep.study.samplers import make_sampler
from finesweep.study.selection import current, is_running, searching


@dataclass
class Claim:
    """A trial that is RUNNING and has an owner. Its sampler has still to draw, or it is done."""

    trial: FrozenTrial
    sampler: BaseSampler | None = None
    seen: Sequence[FrozenTrial] = ()  # all trials, as the sampler sees them
    done: optuna.Trial | None = None


def claim_next(opened: OpenedStudy) -> Claim | None:
    """Claims the trial that comes next for this process; None when nothing is left to take."""
    opened.renew()
    config = opened.config
    counts_running = config.timeout_s or config.max_train_steps or config.pruner is Pruner.pause
    trials = opened.trials() if counts_running else opened.skim()
    pausing = Pausing.of(opened.study, config)  # what ends meanwhile then runs for all that follows
    if too_many_failed(opened, trials):
        return None
    if budget.spent(trials, config, spoken_for=True, goal=opened.goal, pausing=pausing):
        return _claim_confirmation(opened, trials)
    paused = budget.to_promote(trials, config, pausing, opened.goal)
    if paused is None or _comes_first(opened, trials):
        return _claim_suggestion(opened, trials)
    trial = add_continuation(opened.study, trials, paused)
    return Claim(trial._cached_frozen_trial, done=trial)


def _comes_first(opened: OpenedStudy, trials: Sequence[FrozenTrial]) -> bool:
    """Tells whether a trial waits that was begun before, or that a person tries within the budget."""
    records = [TrialRecord(trial) for trial in _waiting(trials)]
    is_tried = any(record.tried is not None for record in records)
    return any(record.has_begun for record in records) or (
        is_tried and budget.full(trials, opened.config) is None
    )


def _waiting(trials: Sequence[FrozenTrial]) -> list[FrozenTrial]:
    return [trial for trial in current(trials) if trial.state is TrialState.WAITING]


def _claim_confirmation(opened: OpenedStudy, trials: Sequence[FrozenTrial]) -> Claim | None:
    if is_running(searching(trials)) or not (missing := to_confirm(opened)):
        return None
    candidate, seed = missing[0]
    trial = confirm.add_confirmation(opened.study, opened.space, trials, candidate, seed)
    return Claim(trial._cached_frozen_trial, done=trial)


def _claim_suggestion(opened: OpenedStudy, trials: Sequence[FrozenTrial]) -> Claim:
    study, cache, following = opened.study, opened.cache, _first_waiting(trials)
    ordinal = ordinal_of(following, trials) if following else next_ordinal(trials)
    spread = opened.spread_index(ordinal)
    sampler = make_sampler(opened.config, ordinal, opened.space, opened.hashed_seeds, spread)
    trial_id = _take(opened, following) if following else cache.create_new_trial(study._study_id)
    attrs = TrialRecord.attributes(ordinal=ordinal, heartbeat=clock.now(study), owner=this_owner())
    write_trial(study, trial_id, attrs)
    claimed = cache.as_known(study._study_id, trial_id)
    claimed.state, claimed.user_attrs = TrialState.RUNNING, claimed.user_attrs | attrs
    return Claim(claimed, sampler, trials)


def _first_waiting(trials: Sequence[FrozenTrial]) -> FrozenTrial | None:
    """Finds the trial that is next in the queue: a retry, one that a person waits for, or any other."""
    waiting = _waiting(trials)
    retries = [trial for trial in waiting if TrialRecord(trial).has_begun]
    tried = [trial for trial in waiting if TrialRecord(trial).tried is not None]
    return next(iter(retries or tried or waiting), None)


def _take(opened: OpenedStudy, trial: FrozenTrial) -> int:
    """Starts a trial that waits, as Optuna's `ask` would start the first one. Returns its id.

    Raises: StoreAway if another worker has taken it: the study's lock was lost, so all is read again.
    """
    try:
        is_mine = opened.cache.set_trial_state_values(trial._trial_id, state=TrialState.RUNNING)
    except UpdateFinishedTrialError:
        is_mine = False
    if not is_mine:
        raise StoreAway(f"{STORE} lost the study's lock: another worker took trial {trial.number}")
    return trial._trial_id
