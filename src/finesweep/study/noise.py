"""Computes how sure a study's result is, of the predictions that are kept beside its checkpoints."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from optuna.study import Study, StudyDirection
from optuna.trial import FrozenTrial

from finesweep.config.run import metric_key
from finesweep.config.study import ConfirmConfig
from finesweep.study.baseline import baseline_of
from finesweep.study.certainty import Certainty, Comparison, Interval
from finesweep.study.confirm import confirmed_candidates
from finesweep.study.places import Places
from finesweep.study.ranking import best_first, scored_once
from finesweep.study.records import StudyRecord, TrialRecord
from finesweep.tasks import Scorer, evaluated, resampling
from finesweep.tasks.evaluated import Evaluated
from finesweep.tasks.metrics import Judged, Metric

RUNNER_UP, BASELINE = "runner-up", "baseline"


def certainty_of(
    study: Study, places: Places, winner: FrozenTrial, scorer: Scorer | None, folder: Path | None = None
) -> Certainty | None:
    """Computes intervals of the winner's scores, and compares it with runner-up and baseline.

    scorer: that of the winner's final score; it has the rows that were scored last. None: nothing is known.
    folder: the winner's checkpoint, if it is not the one that its trial names.
    """
    if scorer is None:
        return None
    made, name = Certainty(winner.number), metric_key(StudyRecord(study).metric)
    made.chosen_of = max(1, len(scored_once(study)))
    made.final_chose = StudyRecord(study).final_chose or []
    if name not in scorer.metrics:
        made.missing.append(f"{name} is no score of rows")
        return made
    moved = {} if folder is None else {winner.number: folder}
    judge = Judge(study, places, scorer, scorer.metrics[name], moved)
    rows = judge.kept(winner)
    if scorer.evaluated:
        final = scorer.evaluated
        made.final = judge.interval(final, judge.too_slow(final), made.missing, "the final score: ")
    if isinstance(rows, str):
        made.missing.append(rows)
        return made
    slow = judge.too_slow(rows)
    made.interval = judge.interval(rows, slow, made.missing)
    if slow is None:
        _compare(made, judge, winner)
    return made


def _compare(made: Certainty, judge: "Judge", winner: FrozenTrial) -> None:
    """Notes how the winner compares with its rivals, and what cannot be said."""
    for other, role in _rivals(judge.study, winner):
        found = judge.compared(winner, other, role)
        if isinstance(found, str):
            made.missing.append(found)
        else:
            made.comparisons.append(found)


def _rivals(study: Study, winner: FrozenTrial) -> Iterator[tuple[FrozenTrial, str]]:
    """Yields the runner-up and the baseline, each with its role, without the winner."""
    confirmed = confirmed_candidates(study, StudyRecord(study).confirm or ConfirmConfig())
    ranked = [*(one.trial for one in confirmed), *best_first(study)]  # confirmed may be the winner alone
    second = next((trial for trial in ranked if trial.number != winner.number), None)
    baseline = baseline_of(study)
    if second and (baseline is None or second.number != baseline.number):
        yield second, RUNNER_UP
    if baseline and baseline.number != winner.number:
        yield baseline, BASELINE


@dataclass(frozen=True)
class Judge:
    """Scores the kept rows of a study's trials by one metric."""

    study: Study
    places: Places
    scorer: Scorer
    metric: Metric
    moved: Mapping[int, Path] = field(default_factory=dict)  # checkpoints that lie elsewhere, by trial

    def kept(self, trial: FrozenTrial) -> Evaluated | str:
        """Reads a trial's evaluated rows. Returns why there are none, if so."""
        path, lost = TrialRecord(trial).checkpoint, f"the predictions of trial {trial.number} were not kept"
        folder = self.moved.get(trial.number) or (self.places.find(path) if path else None)
        if folder is None or not folder.is_dir():
            return f"{lost}: its checkpoint is gone (hydra.sweeper.keep_checkpoints)"
        why = "its checkpoint is of an earlier version, or damaged"
        return evaluated.load(folder) or f"{lost}: {why} (it has no whole {evaluated.FILE})"

    def too_slow(self, rows: Evaluated) -> str | None:
        """Says that the metric takes too long for these rows to be resampled; None if it does not."""
        return resampling.too_slow(self.metric, self._judged(rows))

    def interval(
        self, rows: Evaluated, slow: str | None, missing: list[str], of: str = ""
    ) -> Interval | None:
        """Computes the interval of these rows' score, unless `too_slow` says why not.

        missing: gets the reason where there is none, behind `of`, which names the score.
        """
        judged = self._judged(rows)
        found = None if slow else resampling.interval(self.metric, judged)
        if found is None:
            missing.append(of + (slow or resampling.why_none(self.metric, judged)))
            return None
        return Interval(found.low, found.high, len(rows.references))

    def compared(self, winner: FrozenTrial, other: FrozenTrial, role: str) -> Comparison | str:
        """Compares the winner with another trial, row by row. Returns why not, if that cannot be."""
        rows, others = self.kept(winner), self.kept(other)
        if isinstance(rows, str):
            return rows
        if isinstance(others, str):
            return others
        if not rows.is_comparable(others):
            return f"trial {other.number} was evaluated on other rows"
        sign = 1 if self.study.directions[0] is StudyDirection.MAXIMIZE else -1
        p = resampling.p_value(self.metric, self._judged(rows), self._judged(others))
        if p is None:
            return (
                f"the metric has no score of too many exchanges with trial {other.number}: there is no test"
            )
        return Comparison(other.number, role, sign * (winner.values[0] - other.values[0]), p)

    def _judged(self, rows: Evaluated) -> Judged:
        return self.scorer.judged(rows.scores, rows.references)
