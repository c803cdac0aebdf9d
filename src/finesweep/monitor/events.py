"""One line for each event of a trial, and words that the live table shares with it."""

from optuna.trial import FrozenTrial, TrialState

from finesweep.monitor.snapshot import Snapshot
from finesweep.study.budget import span
from finesweep.study.records import TrialRecord
from finesweep.study.space import params_of


def beginning(trial: FrozenTrial) -> str:
    how = marks(trial)
    head = f"trial {trial.number} started" + (f" ({how})" if how else "")
    return ": ".join(filter(None, [head, point(trial)]))


def ending(snapshot: Snapshot, trial: FrozenTrial) -> str:
    record, how = TrialRecord(trial), marks(trial)
    head, how = f"trial {trial.number}", f" ({how})" if how else ""
    start, end = span(trial) or (0.0, 0.0)
    seconds = f"{end - start:.0f} s"
    if trial.state is TrialState.FAIL and record.error is None:
        return (
            f"{head}{how} handed back after {seconds}: {_why_again(snapshot, trial)}; it will be tried again"
        )
    head += f" {trial.state.name}{how}" + ("" if record.reused_of is not None else f" in {seconds}")
    if trial.state is TrialState.FAIL:
        return f"{head}: {record.error}"
    parts = [values(snapshot, trial), best_so_far(snapshot), _count(snapshot, trial), point(trial)]
    return f"{head}: {' | '.join(filter(None, parts))}"


def _count(snapshot: Snapshot, trial: FrozenTrial) -> str:
    if TrialRecord(trial).confirms is not None:
        return f"{snapshot.confirmed}/{snapshot.to_confirm} confirming"
    return f"{snapshot.finished}/{snapshot.n_trials}"


def _why_again(snapshot: Snapshot, trial: FrozenTrial) -> str:
    """Says why a trial will be tried again: its own record does not, but that of its next try does."""
    own = TrialRecord(trial)
    retries = (t for t in map(TrialRecord, snapshot.trials) if t.retry_of == trial.number)
    retry = next(retries, None)
    if retry and retry.retry_overrides is not None and own.retry_overrides is None:
        return "a GPU's memory ran out, and the next batch is smaller"
    deaths_before = (own.worker_deaths or 0) if retry else 0
    if ((retry or own).worker_deaths or 0) > deaths_before:
        return "its worker died"
    return "interrupted"


def marks(trial: FrozenTrial, noun: str = "trial ") -> str:
    """Describes a trial that does not simply search: a retry, a confirmation, a reused value."""
    record, words = TrialRecord(trial), []
    if record.confirms is not None:
        words.append(f"confirms {noun}{record.confirms}, seed {record.seed}")
    if record.reused_of is not None:
        words.append(f"as {noun}{record.reused_of}, not trained again")
    if record.retry_of is not None:
        words.append(f"retry of {noun}{record.retry_of}")
    if record.retry_overrides is not None:
        words.append("smaller batch")
    return "; ".join(words)


def point(trial: FrozenTrial) -> str:
    """Writes a trial's point by the last part of each key; empty for a confirmation, whose point is known."""
    if TrialRecord(trial).confirms is not None:
        return ""
    return " ".join(
        f"{key.rpartition('.')[2]}={f'{value:.3g}' if isinstance(value, float) else value}"
        for key, value in params_of(trial).items()
    )


def best_so_far(snapshot: Snapshot) -> str:
    if not snapshot.ranked:
        return ""
    first = snapshot.ranked[0]
    front = f"front of {snapshot.front}, " if snapshot.front else ""
    return f"{front}best {snapshot.objectives[0]} {number(first.values[0])} (trial {first.number})"


def values(snapshot: Snapshot, trial: FrozenTrial) -> str:
    """Writes all objectives with their names."""
    if trial.values is None:  # pruned in a study of several objectives, or before its first evaluation
        return "no value"
    pairs = zip(snapshot.objectives, trial.values, strict=True)
    return ", ".join(f"{name} {number(value)}" for name, value in pairs)


def number(value: float) -> str:
    return f"{value:.4f}" if abs(value) < 100 else f"{value:.1f}"
