"""Finds the paused trials of a study, and takes the decisions of its rungs about them.

A paused trial is PRUNED in Optuna, so that samplers learn from it; its outcome says that it is paused. It
goes on as another trial, which `continues` it with the same point and ordinal. Whatever counts points leaves
the paused one out then. One that was given up has no checkpoint any more, and stays what it is.
"""

from collections import defaultdict
from collections.abc import Collection, Sequence
from copy import copy
from dataclasses import dataclass

import optuna
from optuna.study import Study, StudyDirection
from optuna.trial import FrozenTrial, TrialState, create_trial

from finesweep.config.study import Pruner, StudyConfig
from finesweep.study import clock
from finesweep.study.backend import add_trial
from finesweep.study.baseline import baseline_of
from finesweep.study.liveness import this_owner
from finesweep.study.ordinal import ordinal_of
from finesweep.study.records import StudyRecord, TrialRecord
from finesweep.study.rungs import Curve, Point, Rungs
from finesweep.study.selection import continued, searching


@dataclass(frozen=True)
class Pausing:
    """How the trials of a study pause."""

    rungs: Rungs
    given_up: Collection[int]  # numbers of the paused trials that cannot go on
    baseline: int | None = None  # the number of its complete trial, which no rung has judged

    @classmethod
    def of(cls, study: Study, config: StudyConfig) -> "Pausing | None":
        """Returns None for a study whose trials do not pause."""
        if config.pruner is not Pruner.pause:
            return None
        maximize = study.directions[0] is StudyDirection.MAXIMIZE
        baseline = baseline_of(study)
        return cls(
            Rungs(maximize, **config.pruner_options),
            StudyRecord(study).given_up or (),
            baseline.number if baseline else None,
        )

    def points(self, trials: Sequence[FrozenTrial]) -> list[Point]:
        """Returns what the rungs compare; its numbers are ordinals. trials: all of the study."""
        tries = _tries(trials).items()
        return [self._point(ordinal, each) for ordinal, each in tries if TrialRecord(each[-1]).error is None]

    def _point(self, ordinal: int, tries: Sequence[FrozenTrial]) -> Point:
        curves: list[Curve] = [TrialRecord(trial).curve or [] for trial in tries]
        longest = max(curves, key=lambda curve: curve[-1][0] if curve else 0.0)
        last = TrialRecord(tries[-1])
        waits = last.is_paused and tries[-1].number not in self.given_up
        losses = self.rungs.judged(longest)
        if waits and not losses:  # the first rung was an earlier one when it paused
            losses = {0: self.rungs.loss(longest)}
        return Point(ordinal, losses, waits)


def _tries(trials: Sequence[FrozenTrial]) -> dict[int, list[FrozenTrial]]:
    """Sorts the trials that train for the search by their ordinals."""
    tries: dict[int, list[FrozenTrial]] = defaultdict(list)
    for trial in searching(trials):
        ordinal = trial.user_attrs.get(TrialRecord.ordinal.key)
        if ordinal is not None and TrialRecord(trial).reused_of is None:
            tries[ordinal].append(trial)
    return tries


def last_of(point: Point, trials: Sequence[FrozenTrial]) -> int:
    """Returns the number of the trial that trained a point last."""
    return _tries(trials)[point.number][-1].number


class RungCheck:
    """Tells a running trial whether to pause, once at each rung."""

    def __init__(self, pausing: Pausing, study: Study, record: TrialRecord, number: int) -> None:
        """record: of the trial, which notes where it went on."""
        self.pausing, self.study, self.record, self.number = pausing, study, record, number
        self._judged: int | None = None  # the last rung for which it was told

    def pauses(self, curve: Curve) -> bool:
        """Tells whether the trial pauses here. curve: all of its evaluations so far."""
        losses = self.pausing.rungs.judged(curve)
        rung = max(losses, default=None)
        if rung is None or rung == self._judged:
            return False
        self._judged = rung
        trials = self.study.get_trials(deepcopy=False)
        share = self.pausing.rungs.shares[rung]
        if share <= self._settled(trials):
            return False
        mine = Point(ordinal_of(trials[self.number], trials), losses)
        others = [point for point in self.pausing.points(trials) if point.number != mine.number]
        if not self.pausing.rungs.goes_on(mine, [*others, mine]):
            return True
        self.record.went_on_at = max(share, curve[-1][0])
        return False

    def _settled(self, trials: Sequence[FrozenTrial]) -> float:
        """Returns the share of the training up to which all rungs are decided, whichever they are today.

        An earlier try went on there, or paused and was promoted.
        """
        settled, record = 0.0, TrialRecord(trials[self.number])
        while record.goes_on_from is not None:
            record = TrialRecord(trials[record.goes_on_from])
            curve = record.curve or []
            paused = [curve[-1][0], *map(self._share, self.pausing.rungs.judged(curve))] if curve else []
            settled = max([settled, record.went_on_at or 0.0, *(paused if record.is_paused else [])])
        return settled

    def _share(self, rung: int) -> float:
        return self.pausing.rungs.shares[rung]


def add_continuation(study: Study, trials: Sequence[FrozenTrial], number: int) -> optuna.Trial:
    """Adds a RUNNING trial that goes on from a paused one, with this process as its owner.

    Both are written in one step, so no kill loses a promotion or makes it twice: if the worker dies, the
    trial is tried again as any other. The caller holds the study's lock. trials: all trials of the study.
    """
    paused, now = trials[number], clock.now(study)
    record = TrialRecord(paused)
    attrs = TrialRecord.attributes(
        continues=number,
        ordinal=ordinal_of(paused, trials),
        started=now,
        heartbeat=now,
        owner=this_owner(),
        origin=record.origin,
        worker_deaths=record.worker_deaths,
        retry_overrides=record.retry_overrides,
    )
    template = create_trial(
        state=TrialState.RUNNING,
        params=paused.params,
        distributions=paused.distributions,
        user_attrs=attrs,
    )
    return optuna.Trial(study, add_trial(study, template)._trial_id)


def each_once(trials: Sequence[FrozenTrial]) -> list[FrozenTrial]:
    """Returns the trials as samplers see them: a paused one that another continues has failed there."""
    numbers = continued(trials)
    return [_failed(trial) if trial.number in numbers else trial for trial in trials]


def _failed(trial: FrozenTrial) -> FrozenTrial:
    seen = copy(trial)
    seen.state = TrialState.FAIL
    return seen


def waiting(trials: Sequence[FrozenTrial], given_up: Collection[int]) -> list[FrozenTrial]:
    """Lists the paused trials that may still go on."""
    numbers = continued(trials) | set(given_up)
    return [trial for trial in trials if TrialRecord(trial).is_paused and trial.number not in numbers]
