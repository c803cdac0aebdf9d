"""One line for what happened to a trial, and the words that its row in the table shares with it."""

from optuna.trial import FrozenTrial, TrialState

from finesweep.monitor.snapshot import Snapshot
from finesweep.study import storage as studies
from finesweep.study.space import params_of


def beginning(trial: FrozenTrial) -> str:
    how = marks(trial)
    head = f"trial {trial.number} started" + (f" ({how})" if how else "")
    return ": ".join(filter(None, [head, point(trial)]))


def ending(snapshot: Snapshot, trial: FrozenTrial) -> str:
    attrs, how = trial.user_attrs, marks(trial)
    head, how = f"trial {trial.number}", f" ({how})" if how else ""
    seconds = f"{trial.duration.total_seconds():.0f} s" if trial.duration else "0 s"
    if trial.state is TrialState.FAIL and studies.ERROR not in attrs:
        return (
            f"{head}{how} handed back after {seconds}: {_why_again(snapshot, trial)}; it will be tried again"
        )
    head += f" {trial.state.name}{how}" + ("" if studies.REUSED_OF in attrs else f" in {seconds}")
    if trial.state is TrialState.FAIL:
        return f"{head}: {attrs[studies.ERROR]}"
    parts = [values(snapshot, trial), best_so_far(snapshot), _count(snapshot, trial), point(trial)]
    return f"{head}: {' | '.join(filter(None, parts))}"


def _count(snapshot: Snapshot, trial: FrozenTrial) -> str:
    if studies.CONFIRMS in trial.user_attrs:
        return f"{snapshot.confirmed}/{snapshot.to_confirm} confirming"
    return f"{snapshot.finished}/{snapshot.n_trials}"


def _why_again(snapshot: Snapshot, trial: FrozenTrial) -> str:
    """Of a trial that ended without a result and without an error: what its next try knows of it."""
    attrs = trial.user_attrs
    retries = (t for t in snapshot.trials if t.user_attrs.get(studies.RETRY_OF) == trial.number)
    after = next((retry.user_attrs for retry in retries), attrs)
    if studies.RETRY_OVERRIDES in after and after is not attrs and studies.RETRY_OVERRIDES not in attrs:
        return "a GPU's memory ran out, and the next batch is smaller"
    if after.get(studies.WORKER_DEATHS, 0) > (0 if after is attrs else attrs.get(studies.WORKER_DEATHS, 0)):
        return "its worker died"
    return "interrupted"


def marks(trial: FrozenTrial, noun: str = "trial ") -> str:
    """What tells a trial from one that simply searches."""
    attrs, words = trial.user_attrs, []
    if studies.CONFIRMS in attrs:
        words.append(f"confirms {noun}{attrs[studies.CONFIRMS]}, seed {attrs[studies.SEED]}")
    if studies.REUSED_OF in attrs:
        words.append(f"as {noun}{attrs[studies.REUSED_OF]}, not trained again")
    if studies.RETRY_OF in attrs:
        words.append(f"retry of {noun}{attrs[studies.RETRY_OF]}")
    if studies.RETRY_OVERRIDES in attrs:
        words.append("smaller batch")
    return "; ".join(words)


def point(trial: FrozenTrial) -> str:
    """By the last part of each key, which a line has room for; a trial that confirms has a known one."""
    if studies.CONFIRMS in trial.user_attrs:
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
    """All objectives by name."""
    if trial.values is None:  # pruned in a study of several objectives, or before its first evaluation
        return "no value"
    pairs = zip(snapshot.objectives, trial.values, strict=True)
    return ", ".join(f"{name} {number(value)}" for name, value in pairs)


def number(value: float) -> str:
    return f"{value:.4f}" if abs(value) < 100 else f"{value:.1f}"
