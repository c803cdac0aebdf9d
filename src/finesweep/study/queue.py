"""A worker's hold on the study: which trial is next, who runs it, how it ended.

    next_trial -> run -> sign_off -> tell; what must not happen twice is done under the study's lock.

A trial is RUNNING only while its owner lives. The owner is written under the same lock as the trial, so a
RUNNING trial without an owner, seen under the lock, has lost it between the two. How a run ended is signed
off before MLflow or Optuna are told: whoever recovers the trial of a worker that died in between tells both
the same.
"""

import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import asdict, dataclass, field
from typing import Any

import optuna
from optuna.trial import FrozenTrial, TrialState

from finesweep.config.study import StudyConfig
from finesweep.hooks import TrialLost
from finesweep.study import budget, confirm
from finesweep.study.liveness import is_gone, this_owner
from finesweep.study.lock import study_lock
from finesweep.study.samplers import make_sampler
from finesweep.study.space import Space, distributions, suggest
from finesweep.study.storage import (
    BEAT,
    CHECKPOINT,
    CONCLUSION,
    CONFIRMS,
    ERROR,
    FINISHED,
    ORDINAL,
    OUTCOME,
    OWNER,
    RETRY_OF,
    RETRY_OVERRIDES,
    REUSED_OF,
    SEED,
    WORKER_DEATHS,
    count_finished,
    failures,
    is_running,
    load,
    searching,
)

GONE = "its worker is gone"


@dataclass
class Outcome:
    """How a run ended: the state that its MLflow run carries as a tag, and what Optuna is told."""

    state: str  # COMPLETE, PRUNED, FAIL or INTERRUPTED
    values: list[float] = field(default_factory=list)
    checkpoint: str | None = None
    error: str | None = None
    extra: list[str] | None = None  # FAIL, but try again with these overrides


class TrialQueue:
    def __init__(self, config: StudyConfig, space: Space, run_seed: int = 42) -> None:
        assert config.name is not None
        self.config, self.space, self.name, self.run_seed = config, space, config.name, run_seed
        self.study = load(config.name, config.storage)

    def lock(self) -> AbstractContextManager[None]:
        return study_lock(self.config.storage, self.name)

    def trials(self) -> list[FrozenTrial]:
        return self.study.get_trials(deepcopy=False)

    def next_trial(self) -> optuna.Trial | None:
        """The next trial to run, owned by this process; None when nothing is left to take."""
        with self.lock():
            trials = self.trials()
            if len(failures(trials)) >= self.config.max_failures:
                return None
            if budget.spent(trials, self.config, spoken_for=True):
                return self._next_confirmation(trials)
            return self._next_suggestion(trials)

    def _next_suggestion(self, trials: Sequence[FrozenTrial]) -> optuna.Trial:
        waiting = [trial for trial in trials if trial.state is TrialState.WAITING]
        retries = [trial for trial in waiting if RETRY_OF in trial.user_attrs]
        following = next(iter(retries or waiting), None)
        ordinal = _ordinal(following, trials) if following else _next_ordinal(trials)
        self.study.sampler = make_sampler(self.config, ordinal, self.space)
        trial = self._take(retries[0]) if retries else self.study.ask()
        suggest(trial, self.space)
        trial.set_user_attr(ORDINAL, ordinal)
        if twin := self._evaluated_before(trial, trials):
            trial.set_user_attr(REUSED_OF, twin.number)
        trial.set_user_attr(BEAT, time.time())
        trial.set_user_attr(OWNER, this_owner())
        return trial

    def _take(self, trial: FrozenTrial) -> optuna.Trial:
        """What `ask` does with the first trial that waits: what was begun goes before what was not."""
        self.study._storage.set_trial_state_values(trial._trial_id, state=TrialState.RUNNING)
        self.study._thread_local.cached_all_trials = None
        return optuna.Trial(self.study, trial._trial_id)

    def _evaluated_before(self, trial: optuna.Trial, trials: Sequence[FrozenTrial]) -> FrozenTrial | None:
        """The same point, trained to its end or until it was pruned. A smaller batch is another training."""
        if self.config.repeat_trials or RETRY_OVERRIDES in trial.user_attrs:
            return None
        trained = (
            other
            for other in searching(trials)
            if other.state in FINISHED and not {REUSED_OF, RETRY_OVERRIDES} & other.user_attrs.keys()
        )
        return next((other for other in trained if other.params == trial.params), None)

    def _next_confirmation(self, trials: Sequence[FrozenTrial]) -> optuna.Trial | None:
        """Taken and signed in one step; a dead worker's is simply missing again."""
        if is_running(searching(trials)) or not (wanted := self.to_confirm()):
            return None
        candidate, seed = wanted[0]
        attrs: dict[str, Any] = {
            CONFIRMS: candidate.number,
            SEED: seed,
            BEAT: time.time(),
            OWNER: this_owner(),
        }
        if RETRY_OVERRIDES in candidate.user_attrs:
            attrs[RETRY_OVERRIDES] = candidate.user_attrs[RETRY_OVERRIDES]
        if earlier := confirm.last_try(trials, candidate.number, seed):
            kept = {
                key: earlier.user_attrs[key]
                for key in (WORKER_DEATHS, RETRY_OVERRIDES)
                if key in earlier.user_attrs
            }
            attrs |= kept | {RETRY_OF: earlier.number}
        number = len(trials)
        self.study.add_trial(
            optuna.trial.create_trial(
                state=TrialState.RUNNING,
                params=candidate.params,
                distributions=distributions(self.space, candidate.params),
                user_attrs=attrs,
            )
        )
        return optuna.Trial(self.study, self.trials()[number]._trial_id)

    def to_confirm(self) -> list[tuple[FrozenTrial, int]]:
        return confirm.missing(self.study, self.config.confirm, self.run_seed)

    def more_may_come(self) -> bool:
        """Whether trials that others still run decide what is left for this worker: which ones to confirm."""
        trials = self.trials()
        may_confirm = self.config.confirm.top_k > 0 and len(failures(trials)) < self.config.max_failures
        return may_confirm and is_running(searching(trials))

    def is_over(self) -> bool:
        """Whether a budget is met, what is to be confirmed is, there is a result, and nobody is at work."""
        trials = self.trials()
        if is_running(trials) or not any(trial.state is TrialState.COMPLETE for trial in trials):
            return False
        return budget.spent(trials, self.config) is not None and not self.to_confirm()

    def is_concluded(self, predict: bool) -> bool:
        """Whether the finish step was taken for just these trials, with predictions if they are wanted."""
        found = self.study.user_attrs.get(CONCLUSION, {})
        return found.get("trials") == self.counted() and found.get("predict") in (True, predict)

    def counted(self) -> list[int]:
        """What a conclusion is drawn from: finished trials, and how many of them may have been confirmed."""
        return [count_finished(self.trials()), self.config.confirm.top_k]

    def sign_off(self, number: int, outcome: Outcome) -> None:
        """Raises: TrialLost, and then nothing of it may be told."""
        with self.lock():
            self._set_attr(self._check_mine(number), OUTCOME, asdict(outcome))

    def tell(self, number: int) -> None:
        """Raises: TrialLost."""
        with self.lock():
            trial = self._check_mine(number)
            self._tell(trial, Outcome(**trial.user_attrs[OUTCOME]))

    def recover(self, reason: str | None, close_run: Callable[[int, str], None]) -> int:
        """Ends the RUNNING trials whose owner is gone, as they were signed off; else they are tried again.

        reason: None if they were interrupted on purpose, which costs none of their retries.
        close_run: closes the MLflow runs of a trial as this state. Before Optuna's, so that the next recovery
        sees a kill in between.
        """
        with self.lock():
            lost = [trial for trial in self.trials() if _is_lost(trial)]
            for trial in lost:
                signed = trial.user_attrs.get(OUTCOME)
                outcome = Outcome(**signed) if signed else Outcome("INTERRUPTED")
                close_run(trial.number, outcome.state)
                self._tell(trial, outcome, None if signed else reason)
            return len(lost)

    def _tell(self, trial: FrozenTrial, outcome: Outcome, reason: str | None = None) -> None:
        if outcome.state == "COMPLETE":
            self._set_attr(trial, CHECKPOINT, outcome.checkpoint)
            self.study.tell(trial.number, outcome.values)
        elif outcome.state == "PRUNED":
            self.study.tell(trial.number, state=TrialState.PRUNED)
        elif outcome.state == "INTERRUPTED":
            self._requeue(trial, reason)
        elif outcome.extra is not None:
            self._requeue(trial, None, {RETRY_OVERRIDES: outcome.extra})
        else:
            self._set_attr(trial, ERROR, outcome.error)
            self.study.tell(trial.number, state=TrialState.FAIL)

    def _requeue(self, trial: FrozenTrial, reason: str | None, attrs: dict[str, Any] | None = None) -> None:
        """First the retry, then the end of the old one: the next recovery sees a kill between the two."""
        trials = self.trials()
        worker_deaths = trial.user_attrs.get(WORKER_DEATHS, 0) + (reason is not None)
        lineage = {key: trial.user_attrs[key] for key in (RETRY_OVERRIDES,) if key in trial.user_attrs}
        lineage |= {WORKER_DEATHS: worker_deaths} | (attrs or {})
        if worker_deaths > self.config.max_retries:
            self._set_attr(trial, ERROR, f"{reason}, after {self.config.max_retries} retries")
        elif CONFIRMS in trial.user_attrs:  # `_next_confirmation` finds it missing
            for key, value in lineage.items():
                self._set_attr(trial, key, value)
        elif not any(other.user_attrs.get(RETRY_OF) == trial.number for other in trials):
            lineage |= {RETRY_OF: trial.number, ORDINAL: _ordinal(trial, trials)}
            # A point that was not signed for may be half drawn: it is drawn again, from the same seed.
            drawn = trial.params if OWNER in trial.user_attrs else {}
            self.study.enqueue_trial(trial.system_attrs.get("fixed_params", {}) | drawn, user_attrs=lineage)
        self.study.tell(trial.number, state=TrialState.FAIL)

    def _check_mine(self, number: int) -> FrozenTrial:
        trial = self.trials()[number]
        if trial.state is not TrialState.RUNNING or trial.user_attrs.get(OWNER) != this_owner():
            raise TrialLost(f"trial {number} was taken over while its worker was out of sight")
        return trial

    def _set_attr(self, trial: FrozenTrial, key: str, value: Any) -> None:
        optuna.Trial(self.study, trial._trial_id).set_user_attr(key, value)


def _is_lost(trial: FrozenTrial) -> bool:
    return trial.state is TrialState.RUNNING and is_gone(
        trial.user_attrs.get(OWNER), trial.user_attrs.get(BEAT)
    )


def _next_ordinal(trials: Sequence[FrozenTrial]) -> int:
    return sum(RETRY_OF not in trial.user_attrs for trial in searching(trials))


def _ordinal(trial: FrozenTrial, trials: Sequence[FrozenTrial]) -> int:
    """Which suggestion of the study this is; a retry is the same one again."""
    if ORDINAL in trial.user_attrs:
        return int(trial.user_attrs[ORDINAL])
    return sum(RETRY_OF not in other.user_attrs for other in searching(trials[: trial.number]))
