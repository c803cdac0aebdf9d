"""One line for each event of a trial, and words that the live table shares with it."""

from optuna.trial import FrozenTrial, TrialState

from finesweep.monitor.snapshot import Snapshot
from finesweep.monitor.states import PAUSED
from finesweep.monitor.wording import number, short
from finesweep.study.budget import span
from finesweep.study.records import TrialRecord
from finesweep.study.selection import is_taken_off
from finesweep.study.space import params_of

COLUMNS = 100  # a line of an event fits into so many; only a cause of failure may be longer


def beginning(trial: FrozenTrial) -> str:
    how = marks(trial)
    head = f"trial {trial.number} started" + (f" ({how})" if how else "")
    return _cut(": ".join(filter(None, [head, point(trial)])))


def ending(snapshot: Snapshot, trial: FrozenTrial) -> str:
    record, how = TrialRecord(trial), marks(trial)
    head, how = f"trial {trial.number}", f" ({how})" if how else ""
    start, end = span(trial) or (0.0, 0.0)
    seconds = f"{end - start:.0f} s"
    if trial.state is TrialState.FAIL and record.error is None:
        if is_taken_off(trial):
            return _cut(f"{head}{how} leaves the queue")
        why = _why_again(snapshot, trial)
        return _cut(f"{head}{how} handed back after {seconds}: {why}")
    head += f" {_ended(trial)}{how}" + ("" if record.reused_of is not None else f" in {seconds}")
    if trial.state is TrialState.FAIL:
        return f"{head}: {record.error}"
    head = f"{head}: {values(snapshot, trial)}"
    rest = [_count(snapshot, trial), point(trial)]
    lines = [_joined(head, _best(snapshot, trial), *rest), _joined(head, *rest)]
    return next((line for line in lines if len(line) <= COLUMNS), _cut(lines[-1]))


def _ended(trial: FrozenTrial) -> str:
    """Says how a trial ended: a paused one with its share of the training, whatever came of it since."""
    if TrialRecord(trial).is_paused:
        return f"{PAUSED} at {trial.last_step}%"
    return trial.state.name


def _joined(*parts: str) -> str:
    return " | ".join(filter(None, parts))


def _cut(line: str) -> str:
    """Ends a line that is too long at a word."""
    return line if len(line) <= COLUMNS else f"{line[: COLUMNS - 3].rpartition(' ')[0]} ..."


def _best(snapshot: Snapshot, trial: FrozenTrial) -> str:
    """Names the best trial so far; its metric stands before it in the line."""
    if not snapshot.ranked or snapshot.front:
        return f"front of {snapshot.front}" if snapshot.front else ""
    first = snapshot.ranked[0]
    return "the best" if first.number == trial.number else f"best {number(first.values[0])} #{first.number}"


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
        return "a GPU's memory ran out; again with half the batch"
    deaths_before = (own.worker_deaths or 0) if retry else 0
    if ((retry or own).worker_deaths or 0) > deaths_before:
        return "its worker died; it will be tried again"
    return "interrupted; it will be tried again"


def marks(trial: FrozenTrial, noun: str = "trial ") -> str:
    """Describes a trial that does not simply search: a retry, a confirmation, one with a reused value, ..."""
    record, words = TrialRecord(trial), []
    if record.confirms is not None:
        words.append(f"confirms {noun}{record.confirms}, seed {record.seed}")
    if record.reused_of is not None:
        words.append(f"as {noun}{record.reused_of}, not trained again")
    if record.continues is not None:
        words.append(f"continues {noun}{record.continues}")
    if record.retry_of is not None:
        words.append(f"retry of {noun}{record.retry_of}")
    if record.retry_overrides is not None:
        words.append("smaller batch")
    if record.outside:
        words.append("outside of the edited space")
    if record.origin is not None:
        words.append(f"from {record.origin}")
    if record.tried is not None:
        words.append(f"queued by {record.tried.user}")
    if record.stopped is not None and trial.state is not TrialState.COMPLETE:
        words.append(f"stopped by {record.stopped.user}")
    return "; ".join(words)


def point(trial: FrozenTrial) -> str:
    """Writes a trial's point; empty for a confirmation, whose point is known."""
    return "" if TrialRecord(trial).confirms is not None else short(params_of(trial))


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
