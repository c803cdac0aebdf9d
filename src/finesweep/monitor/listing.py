"""Lists studies, and the runs of a study: the content of `finesweep studies --json` and `runs --json`."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from optuna.study import Study
from optuna.trial import FrozenTrial, TrialState

from finesweep.errors import StudyError
from finesweep.io.terminal import aligned
from finesweep.monitor.events import marks
from finesweep.monitor.states import state_names
from finesweep.monitor.wording import number, short
from finesweep.study.budget import span
from finesweep.study.pausing import waiting
from finesweep.study.ranking import best_first
from finesweep.study.records import StudyRecord, TrialRecord
from finesweep.study.selection import count_finished, failures, is_taken_off, searching
from finesweep.study.space import params_of

HANDED_ON = "HANDED ON"  # to another trial, which goes on: FAIL in Optuna, but nothing failed
TAKEN_OFF = "TAKEN OFF"  # the queue, by a person
SHORT = 8  # characters of a run's id, for people; any unique beginning is enough for a command


@dataclass
class StudyRow:
    """One study of `finesweep studies --json`; fields may be added, but none removed or renamed."""

    study: str
    finished: int  # trials of the search
    n_trials: int
    running: int
    failed: int
    metric: str
    value: float | None = None  # of the best trial
    trial: int | None = None
    run_id: str | None = None
    last_command: str | None = None  # when a command worked on it last, ISO format


@dataclass
class RunRow:
    """One run of `finesweep runs --json`; fields may be added, but none removed or renamed."""

    trial: int
    run_id: str | None  # None: the trial waits, or ended before its run was open
    state: str
    values: list[float] | None
    seconds: float | None
    params: dict[str, Any] = field(default_factory=dict)
    note: str = ""  # why it failed; what it repeats or confirms


def study_rows(found: Sequence[Study]) -> tuple[list[StudyRow], list[str]]:
    """Describes studies. Returns also the names of those that finesweep did not make."""
    rows, others = [], []
    for study in found:
        try:
            rows.append(_study_row(study))
        except StudyError:
            others.append(study.study_name)
    return rows, others


def _study_row(study: Study) -> StudyRow:
    record, trials = StudyRecord(study), study.get_trials(deepcopy=False)
    first, search = next(iter(best_first(study)), None), searching(trials)
    return StudyRow(
        study=study.study_name,
        finished=count_finished(search) - len(waiting(search, record.given_up or ())),
        n_trials=record.n_trials,
        running=sum(trial.state is TrialState.RUNNING for trial in trials),
        failed=len(failures(trials)),
        metric=record.metric,
        value=first.values[0] if first else None,
        trial=first.number if first else None,
        run_id=TrialRecord(first).run_id if first else None,
        last_command=record.last_command.time if record.last_command else None,
    )


def run_rows(study: Study) -> list[RunRow]:
    """Describes the runs of a study, in the order of its trials. Raises: StudyError for another's study."""
    record, trials = StudyRecord(study), study.get_trials(deepcopy=False)
    _ = record.metric
    states = state_names(trials, record.given_up or ())
    return [_run_row(trial, states[trial.number]) for trial in trials]


def _run_row(trial: FrozenTrial, state: str) -> RunRow:
    record, times = TrialRecord(trial), span(trial)
    nothing_failed = trial.state is TrialState.FAIL and record.error is None
    instead = TAKEN_OFF if is_taken_off(trial) else HANDED_ON
    return RunRow(
        trial=trial.number,
        run_id=record.run_id,
        state=instead if nothing_failed else state,
        values=trial.values,
        seconds=round(times[1] - times[0], 1) if times else None,
        params=params_of(trial),
        note="; ".join(filter(None, [marks(trial), record.error])),
    )


def studies_table(rows: Sequence[StudyRow]) -> str:
    cells = [
        (
            row.study,
            f"{row.finished}/{row.n_trials}",
            str(row.running or "-"),
            str(row.failed or "-"),
            "-" if row.value is None else f"{row.metric} {number(row.value)}",
            "-" if row.run_id is None else row.run_id[:SHORT],
            (row.last_command or "-")[:16].replace("T", " "),
        )
        for row in rows
    ]
    return aligned([("study", "trials", "running", "failed", "best", "run", "last command"), *cells])


def runs_table(rows: Sequence[RunRow], objectives: Sequence[str]) -> str:
    cells = [
        (
            str(row.trial),
            (row.run_id or "-")[:SHORT],
            row.state,
            *(map(number, row.values) if row.values else ["-"] * len(objectives)),
            "-" if row.seconds is None else f"{row.seconds:.0f}",
            "  ".join(filter(None, [short(row.params), row.note])),
        )
        for row in rows
    ]
    return aligned([("trial", "run", "state", *objectives, "s", "parameters"), *cells])
