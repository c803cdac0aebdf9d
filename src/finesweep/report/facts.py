"""Gathers what the page shows of a study, read at once, so that all its numbers fit together."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

from optuna.study import Study, StudyDirection
from optuna.trial import FrozenTrial, TrialState

from finesweep.config.study import ConfirmConfig
from finesweep.monitor.report import Best, Status, best, describe
from finesweep.monitor.snapshot import Snapshot, take_snapshot
from finesweep.monitor.states import CONTINUED
from finesweep.monitor.wording import axis_labels
from finesweep.report.markup import clean
from finesweep.study.budget import span
from finesweep.study.confirm import ConfirmedCandidate, confirmed_candidates
from finesweep.study.editing import as_seen
from finesweep.study.importance import importances
from finesweep.study.places import places_of
from finesweep.study.ranking import best_first
from finesweep.study.records import Conclusion, Progress, StudyRecord, TrialRecord
from finesweep.study.selection import count_finished

Curves = dict[int, list[tuple[float, float]]]  # trial -> per cent trained and value of each evaluation


@dataclass(frozen=True)
class Disk:
    """What the study keeps on this machine's disk."""

    kept: int  # checkpoints
    n_bytes: int  # of those
    removed: int  # checkpoints of trials that lost, or that lie on another machine


@dataclass(frozen=True)
class Facts:
    """All that the page shows of one study."""

    study: Study
    prefix: str  # of this study's ids on the page
    snapshot: Snapshot
    status: Status
    best: Best | None
    confirmed: Sequence[ConfirmedCandidate]
    curves: Curves
    curves_missing: str | None  # why there are none
    disk: Disk
    conclusion: Conclusion | None

    @property
    def name(self) -> str:
        return self.study.study_name

    @property
    def objectives(self) -> list[str]:
        return self.snapshot.objectives

    @property
    def is_concluded(self) -> bool:
        finished = count_finished(self.snapshot.trials)
        return self.conclusion is not None and self.conclusion.counts(finished, self.snapshot.record.outside)

    def maximizes(self, index: int = 0) -> bool:
        return self.study.directions[index] is StudyDirection.MAXIMIZE

    @cached_property
    def trained(self) -> list[FrozenTrial]:
        """Trials of the search, without those whose value was known before, or that another went on from."""
        search, space = self.snapshot.search, self.snapshot.record.space
        is_edited = self.snapshot.record.outside is not None
        seen = as_seen(search, space) if is_edited and space is not None else search
        known = (trial for trial in seen if TrialRecord(trial).reused_of is None)
        return [trial for trial in known if self.snapshot.states[trial.number] != CONTINUED]

    @cached_property
    def complete(self) -> list[FrozenTrial]:
        return [trial for trial in self.trained if trial.state is TrialState.COMPLETE]

    @cached_property
    def pruned(self) -> list[FrozenTrial]:
        """Pruned and paused trials that have a value: that of their last evaluation."""
        return [trial for trial in self.trained if trial.state is TrialState.PRUNED and trial.values]

    @cached_property
    def dimensions(self) -> list[str]:
        """Optuna's names of all parameters, the most important first."""
        known = [name for trial in self.snapshot.trials for name in trial.params]
        return list(dict.fromkeys([*self.importances, *known]))

    @cached_property
    def labels(self) -> dict[str, str]:
        """The names of all parameters as an axis has them."""
        return {name: clean(label) for name, label in axis_labels(self.dimensions).items()}

    @cached_property
    def importances(self) -> dict[str, float]:
        return self.conclusion.importances if self.conclusion else importances(self.study)

    @cached_property
    def device_seconds(self) -> float:
        """Seconds that trials had a device for, those of interrupted and failed tries included."""
        return sum(end - start for start, end in filter(None, map(span, self.snapshot.trials)))

    def identity(self, key: str) -> object:
        return (self.snapshot.record.identity or {}).get(key)


def gather(
    study: Study,
    curves: Curves | None = None,
    curves_missing: str | None = None,
    conclusion: Conclusion | None = None,
    prefix: str = "",
) -> Facts:
    """Reads everything about a study but its learning curves, which are in the tracking store.

    conclusion: of a finish step that the study does not hold yet.
    Raises: StudyError for a study that finesweep did not make.
    """
    record = StudyRecord(study)
    return Facts(
        study, prefix, take_snapshot(study), describe(study),
        _best(study, conclusion) if best_first(study) else None,
        confirmed_candidates(study, record.confirm or ConfirmConfig()),
        curves or {}, curves_missing, _disk(study), conclusion or record.conclusion,
    )  # fmt: skip


def _best(study: Study, conclusion: Conclusion | None) -> Best:
    found = best(study)
    if conclusion is None or conclusion.best != found.trial:
        return found
    submissions = [str(places_of(study).find(path)) for path in conclusion.submissions]
    return replace(
        found,
        submission=next(iter(submissions), None),
        submissions=submissions,
        final_metrics=conclusion.metrics,
        certainty=conclusion.certainty,
        ensemble=conclusion.ensemble,
    )


def _disk(study: Study) -> Disk:
    places, kept, n_bytes, removed = places_of(study), 0, 0, 0
    for record in map(TrialRecord, study.get_trials(deepcopy=False)):
        if record.checkpoint is None or record.reused_of is not None:
            continue
        folder = places.find(record.checkpoint)
        if folder.is_dir():
            kept, n_bytes = kept + 1, n_bytes + _size(folder)
        else:
            removed += 1
    return Disk(kept, n_bytes, removed)


def _size(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def stopped_at(trial: FrozenTrial) -> float | None:
    """Gives the per cent of its own training at which a trial ended, or is; None if that is unknown."""
    progress = TrialRecord(trial).progress or Progress()
    if progress.step is None or not progress.max_steps:
        return None
    return 100 * progress.step / progress.max_steps
