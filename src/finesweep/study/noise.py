"""Computes how sure a study's result is, of the predictions that are kept beside its checkpoints."""

from collections.abc import Iterator
from dataclasses import dataclass

from optuna.study import Study, StudyDirection
from optuna.trial import FrozenTrial

from finesweep.config.run import metric_key
from finesweep.config.study import ConfirmConfig
from finesweep.study.baseline import baseline_of
from finesweep.study.certainty import Certainty, Comparison, Interval
from finesweep.study.confirm import confirmed_candidates
from finesweep.study.places import Places
from finesweep.study.records import StudyRecord, TrialRecord
from finesweep.study.storage import best_first
from finesweep.tasks import Scorer, evaluated, resampling
from finesweep.tasks.evaluated import Evaluated
from finesweep.tasks.metrics import Judged, Metric

RUNNER_UP, BASELINE = "runner-up", "baseline"


def certainty_of(
    study: Study, places: Places, winner: FrozenTrial, scorer: Scorer | None
) -> Certainty | None:
    """Computes intervals of the winner's scores, and compares it with runner-up and baseline.

    scorer: that of the winner's final score; it has the rows that were scored last. None: nothing is known.
    """
    if scorer is None:
        return None
    made, name = Certainty(winner.number), metric_key(StudyRecord(study).metric)
    if name not in scorer.metrics:
        made.missing.append(f"{name} is no score of rows")
        return made
    judge = Judge(study, places, scorer, scorer.metrics[name])
    made.final = judge.interval(scorer.evaluated) if scorer.evaluated else None
    rows = judge.kept(winner)
    if rows is None:
        made.missing.append(_not_kept(winner))
        return made
    made.interval = judge.interval(rows)
    if made.interval is None:
        made.missing.append("all resamples of the rows score the same: there is no interval")
    for other, role in _rivals(study, winner):
        found = judge.compared(winner, other, role)
        if isinstance(found, str):
            made.missing.append(found)
        else:
            made.comparisons.append(found)
    return made


def _rivals(study: Study, winner: FrozenTrial) -> Iterator[tuple[FrozenTrial, str]]:
    """Yields the runner-up and the baseline, each with its role, without the winner."""
    confirmed = confirmed_candidates(study, StudyRecord(study).confirm or ConfirmConfig())
    ranked = [one.trial for one in confirmed] or best_first(study)
    second = next((trial for trial in ranked if trial.number != winner.number), None)
    baseline = baseline_of(study)
    if second and (baseline is None or second.number != baseline.number):
        yield second, RUNNER_UP
    if baseline and baseline.number != winner.number:
        yield baseline, BASELINE


def _not_kept(trial: FrozenTrial) -> str:
    return f"the predictions of trial {trial.number} were not kept (hydra.sweeper.keep_checkpoints)"


@dataclass(frozen=True)
class Judge:
    """Scores the kept rows of a study's trials by one metric."""

    study: Study
    places: Places
    scorer: Scorer
    metric: Metric

    def kept(self, trial: FrozenTrial) -> Evaluated | None:
        """Reads a trial's evaluated rows; None if its checkpoint is gone, or of an earlier version."""
        path = TrialRecord(trial).checkpoint
        return evaluated.load(self.places.find(path)) if path else None

    def interval(self, rows: Evaluated) -> Interval | None:
        found = resampling.interval(self.metric, self._judged(rows))
        return found and Interval(found.low, found.high, len(rows.references))

    def compared(self, winner: FrozenTrial, other: FrozenTrial, role: str) -> Comparison | str:
        """Compares the winner with another trial, row by row. Returns why not, if that cannot be."""
        rows, others = self.kept(winner), self.kept(other)
        if rows is None or others is None:
            return _not_kept(other if rows else winner)
        if not rows.is_comparable(others):
            return f"trial {other.number} was evaluated on other rows"
        sign = 1 if self.study.directions[0] is StudyDirection.MAXIMIZE else -1
        p = resampling.p_value(self.metric, self._judged(rows), self._judged(others))
        return Comparison(other.number, role, sign * (winner.values[0] - other.values[0]), p)

    def _judged(self, rows: Evaluated) -> Judged:
        return self.scorer.judged(rows.scores, rows.references)
