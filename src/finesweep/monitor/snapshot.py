"""A snapshot of a study: who runs what, how far it is, what is left."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property

from optuna.study import Study
from optuna.trial import FrozenTrial, TrialState

from finesweep.config.study import ConfirmConfig, StudyConfig
from finesweep.monitor.states import PAUSED, state_names
from finesweep.study import clock
from finesweep.study.budget import budgets, busy_seconds, span, spent
from finesweep.study.confirm import missing
from finesweep.study.liveness import is_gone, is_silent
from finesweep.study.pausing import Pausing
from finesweep.study.ranking import best_first, pareto_front
from finesweep.study.records import StudyRecord, TrialRecord
from finesweep.study.selection import count_finished, current, searching
from finesweep.study.stopping import Goal, goal_of

START_S = 120.0  # that the workers of a new command may take to their first trial


@dataclass(frozen=True)
class Snapshot:
    """The state of a study at one moment, read at once, so that all numbers fit together."""

    trials: Sequence[FrozenTrial]
    record: StudyRecord
    ranked: Sequence[FrozenTrial]  # best first
    front: int  # trials on the Pareto front; 0 with a single objective
    unconfirmed: int  # trials that will confirm another one and have not begun
    ended_by: str | None  # the budget of the search that is used up
    now: float
    goal: Goal

    @cached_property
    def search(self) -> list[FrozenTrial]:
        return searching(self.trials)

    @cached_property
    def running(self) -> list[FrozenTrial]:
        """The running trials that have an owner, who may have died since."""
        return [
            trial for trial in self.trials if trial.state is TrialState.RUNNING and TrialRecord(trial).owner
        ]

    @property
    def n_trials(self) -> int:
        return self.record.n_trials

    @property
    def objectives(self) -> list[str]:
        return list(self.record.objectives or [self.record.metric])

    @property
    def watched(self) -> str:
        """The metric of each evaluation; with several objectives, it need not be one of them."""
        return str((self.record.identity or {}).get("data.metric", self.record.metric))

    @cached_property
    def finished(self) -> int:
        """Finished trials of the search; those that are paused are not."""
        return count_finished(self.search) - self.paused

    @cached_property
    def states(self) -> dict[int, str]:
        """The state of each trial in words, by its number."""
        return state_names(self.trials, self.record.given_up or ())

    @cached_property
    def paused(self) -> int:
        """Trials of the search that wait with a checkpoint."""
        return sum(self.states[trial.number] == PAUSED for trial in self.search)

    @property
    def confirmed(self) -> int:
        """Finished trials that confirm another one."""
        return count_finished(current(self.trials)) - count_finished(self.search)

    @property
    def to_confirm(self) -> int:
        """Total confirmation trials: finished, running and still to come."""
        running = sum(TrialRecord(trial).confirms is not None for trial in self.running)
        return self.confirmed + running + self.unconfirmed

    @property
    def budgets(self) -> StudyConfig:
        return budgets(self.record)

    @property
    def search_is_over(self) -> bool:
        return self.ended_by is not None

    def is_gone(self, trial: FrozenTrial) -> bool:
        """Tells whether a running trial's worker has died, and nobody has recovered the trial yet."""
        record = TrialRecord(trial)
        return is_gone(record.owner, record.heartbeat, self.now)

    def is_silent(self, trial: FrozenTrial) -> bool:
        """Tells whether a running trial's worker cannot be seen, and is not heard of any more."""
        record = TrialRecord(trial)
        return is_silent(record.owner, record.heartbeat, self.now)

    @property
    def is_starting(self) -> bool:
        """Whether a command has just started, and its workers have not reached their first trial."""
        last = self.record.last_command
        since = datetime.fromisoformat(last.time).timestamp() if last else 0.0
        begun = any(start >= since for start, _ in filter(None, map(span, self.trials)))
        return not begun and not self.search_is_over and self.now - since < START_S

    @property
    def is_concluded(self) -> bool:
        """Whether the finish step has been taken for these trials."""
        conclusion, finished = self.record.conclusion, count_finished(self.trials)
        return conclusion is not None and conclusion.counts(finished, self.record.outside)

    @property
    def elapsed_s(self) -> float:
        """Seconds in which trials ran, over the study's whole life."""
        return busy_seconds(self.trials)


def take_snapshot(study: Study) -> Snapshot:
    record, trials = StudyRecord(study), study.get_trials(deepcopy=False)
    ranked = best_first(study)
    front = len(pareto_front(study)) if len(study.directions) > 1 else 0
    ended_by = search_ended_by(study, trials)
    unconfirmed = _unconfirmed(study, record, trials, len(ranked), ended_by is not None)
    goal = goal_of(record, study.directions)
    return Snapshot(trials, record, ranked, front, unconfirmed, ended_by, clock.now(study), goal)


def search_ended_by(study: Study, trials: Sequence[FrozenTrial]) -> str | None:
    """Names the budget of the study that has ended the search; None while the search goes on."""
    record = StudyRecord(study)
    config, goal = budgets(record), goal_of(record, study.directions)
    return spent(trials, config, goal=goal, pausing=Pausing.of(study, config))


def _unconfirmed(
    study: Study, record: StudyRecord, trials: Sequence[FrozenTrial], ranked: int, search_is_over: bool
) -> int:
    """Counts confirmation trials to come; during the search, those of `top_k` candidates."""
    config = record.confirm or ConfirmConfig()
    if not config.top_k:
        return 0
    left = len(missing(study, config, (record.identity or {})["seed"]))
    if search_is_over:
        return left
    candidates = min(config.top_k, record.n_trials)
    return min(left + config.seeds * max(0, candidates - ranked), config.seeds * candidates)
