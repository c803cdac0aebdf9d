"""Pieces of Markdown, as MLflow's UI shows it, and a trial in one line of it."""

from collections.abc import Sequence

from optuna.study import Study
from optuna.trial import FrozenTrial, TrialState

from finesweep.monitor.events import marks
from finesweep.monitor.wording import duration, number
from finesweep.study.budget import span
from finesweep.study.records import StudyRecord, TrialRecord
from finesweep.tracking import EXPERIMENT, SIDE

ESCAPED = {ord(character): f"\\{character}" for character in "\\`*_[]<>|"}


def of_trial(study: Study, trial: FrozenTrial) -> str:
    """Says in one line how a trial has ended, and why."""
    record = TrialRecord(trial)
    how = f" ({plain(words)})" if (words := marks(trial)) else ""
    metrics = list(StudyRecord(study).objectives or [StudyRecord(study).metric])
    if trial.state is TrialState.FAIL:
        if record.error is not None:
            return f"failed{how}: {code(record.error)}"
        return f"handed back{how}" + (": it is tried again as another trial" if not record.stopped else "")
    if trial.state is TrialState.PRUNED:
        step = trial.last_step
        value = "" if step is None else f" with {metrics[0]} {number(trial.intermediate_values[step])}"
        where = "" if step is None else f" at {step} per cent of its training"
        if record.is_paused:
            return f"paused{how}{where}{value}: others were better there; {_what_became(study, trial)}"
        why = ": others were better there" if record.stopped is None else ""
        return f"pruned{how}{where}{value}{why}"
    if trial.values is None:
        return f"{trial.state.name.lower()}{how}"
    values = ", ".join(f"{name} {number(value)}" for name, value in zip(metrics, trial.values, strict=True))
    return f"complete{how}: {values}" + (f" in {took(trial)}" if record.reused_of is None else "")


def _what_became(study: Study, paused: FrozenTrial) -> str:
    trials = study.get_trials(deepcopy=False)
    following = (one.number for one in trials if TrialRecord(one).continues == paused.number)
    if (number := next(following, None)) is not None:
        return f"trial {number} went on from it"
    if paused.number in (StudyRecord(study).given_up or ()):
        return "it was given up, and its checkpoint is gone"
    return "as one of the best, it would go on"


def link(trial: FrozenTrial) -> str:
    """Links a trial to the page of its run."""
    run_id = TrialRecord(trial).run_id
    name = f"trial {trial.number}"
    return f"[{name}](#/experiments/{EXPERIMENT}/runs/{run_id}?{SIDE})" if run_id else name


def took(trial: FrozenTrial) -> str:
    start, end = span(trial) or (0.0, 0.0)
    return duration(end - start)


def table(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Writes a table; spaces that stay keep its columns apart, which MLflow's style does not."""
    lines = [[f"{head}&nbsp;&nbsp;&nbsp;&nbsp;" for head in heads], ["---"] * len(heads), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def code(text: str) -> str:
    """Shows a text as it is; a long one is cut."""
    flat = " ".join(text.split()).replace("`", "'")
    return f"`{flat[:300]}{'...' if len(flat) > 300 else ''}`"


def plain(text: str) -> str:
    """Takes out what Markdown or HTML would read as something else."""
    return " ".join(text.split()).translate(ESCAPED)
