"""Reads the learning curves of a study from the tracking store: measured values, nothing interpolated."""

from collections.abc import Sequence

from optuna.study import Study
from optuna.trial import FrozenTrial, TrialState

from finesweep.config.run import TrackingConfig, metric_key
from finesweep.config.study import ConfirmConfig
from finesweep.errors import FinesweepError, first_line
from finesweep.report.facts import Curves
from finesweep.study.confirm import winner
from finesweep.study.pausing import each_once
from finesweep.study.ranking import best_first
from finesweep.study.records import StudyRecord, TrialRecord
from finesweep.study.selection import FINISHED, searching
from finesweep.tracking import PatientClient, open_existing, read_values

MAX_CURVES = 200  # beyond, a picture is all lines, and a server is asked too often


def read_curves(study: Study, tracking: TrackingConfig) -> tuple[Curves, str | None]:
    """Returns the curves of a study whose store is only read, and why there are none."""
    if not _chosen(study):
        return {}, None
    try:
        return curves_of(study, open_existing(tracking))
    except FinesweepError as error:
        return {}, f"The learning curves are left out: {first_line(error)}"


def curves_of(study: Study, client: PatientClient) -> tuple[Curves, str | None]:
    """Returns the curves, and why there are none. Raises: StoreError."""
    chosen, record = _chosen(study), StudyRecord(study)
    metric = str((record.identity or {}).get("data.metric", record.metric))
    run_ids = [str(TrialRecord(trial).run_id) for trial in chosen]
    values = read_values(client, run_ids, f"eval_{metric_key(metric)}")
    curves = {
        trial.number: _curve(trial, steps) for trial, steps in zip(chosen, values, strict=True) if steps
    }
    missing = "The learning curves are left out: the tracking store has none of this study's runs."
    return curves, missing if chosen and not curves else None


def _chosen(study: Study) -> Sequence[FrozenTrial]:
    """Chooses the trials to draw: the best, the confirmed winner, and evenly from all others."""
    known = [
        trial
        for trial in each_once(searching(study.get_trials(deepcopy=False)))
        if trial.state in (*FINISHED, TrialState.RUNNING) and _is_measured(TrialRecord(trial))
    ]
    stride = -(-len(known) // MAX_CURVES) or 1
    first = winner(study, StudyRecord(study).confirm or ConfirmConfig())
    best = {trial.number for trial in (*best_first(study)[:1], first) if trial}
    return [trial for place, trial in enumerate(known) if place % stride == 0 or trial.number in best]


def _is_measured(record: TrialRecord) -> bool:
    progress = record.progress
    return record.run_id is not None and record.reused_of is None and bool(progress and progress.max_steps)


def _curve(trial: FrozenTrial, steps: dict[int, float]) -> list[tuple[float, float]]:
    progress = TrialRecord(trial).progress
    assert progress is not None and progress.max_steps
    return [(100 * step / progress.max_steps, value) for step, value in sorted(steps.items())]
