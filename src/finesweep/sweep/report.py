"""A study in numbers: what `status` and `best` print, and the summary at the end of a sweep."""

import shlex
from dataclasses import asdict, dataclass, field
from typing import Any

from optuna.study import Study
from optuna.trial import FrozenTrial, TrialState

from finesweep.errors import StudyError
from finesweep.sweep import study as studies

STATES = ("COMPLETE", "PRUNED", "FAIL", "RUNNING", "WAITING")


@dataclass
class Best:
    """`finesweep best --json`; fields may be added, these stay."""

    study: str
    metric: str
    direction: str
    value: float
    trial: int
    run_id: str
    params: dict[str, Any]
    command: str  # re-runs it without the sweep
    submission: str | None  # the first of `submissions`
    submissions: list[str] = field(default_factory=list)
    checkpoint: str | None = None
    final_metrics: dict[str, float] = field(default_factory=dict)


@dataclass
class Status:
    """`finesweep status --json`; fields may be added, these stay."""

    study: str
    n_trials: int
    finished: int
    states: dict[str, int]
    best: dict[str, Any] | None
    metric: str = ""
    failures: list[str] = field(default_factory=list)


def describe(study: Study) -> Status:
    if "n_trials" not in study.user_attrs:
        raise StudyError(f"study {study.study_name!r}: not made by finesweep, or cut off while it was made")
    trials = study.get_trials(deepcopy=False)
    states = {name: sum(trial.state is TrialState[name] for trial in trials) for name in STATES}
    return Status(
        study=study.study_name,
        n_trials=study.user_attrs["n_trials"],
        finished=states["COMPLETE"] + states["PRUNED"],
        states=states,
        best=asdict(best(study)) if states["COMPLETE"] else None,
        metric=study.user_attrs["metric"],
        failures=[f"trial {t.number}: {t.user_attrs[studies.ERROR]}" for t in studies.failures(trials)],
    )


def best(study: Study) -> Best:
    """Raises: StudyError if no trial is complete yet."""
    ranked = studies.best_first(study)
    if not ranked:
        raise StudyError(
            f"study {study.study_name!r}: no trial is complete yet; see: finesweep status {study.study_name}"
        )
    first = ranked[0]
    # The submission belongs to the finish step's winner; a later, better trial has none yet.
    found = study.user_attrs.get(studies.CONCLUSION, {})
    mine = found if found.get("best") == first.number else {}
    submissions = mine.get("submissions", [])
    return Best(
        study=study.study_name,
        metric=study.user_attrs["metric"],
        direction=study.direction.name.lower(),
        value=float(first.value or 0.0),
        trial=first.number,
        run_id=first.user_attrs[studies.RUN_ID],
        params=first.params,
        command=command(first),
        submission=next(iter(submissions), None),
        submissions=submissions,
        checkpoint=first.user_attrs.get(studies.CHECKPOINT),
        final_metrics=mine.get("metrics", {}),
    )


def command(trial: FrozenTrial) -> str:
    """Runs this trial again, alone."""
    return shlex.join(["python", "train.py", *trial.user_attrs[studies.OVERRIDES]])


def lines(found: Best) -> list[str]:
    """`finesweep best` for people."""
    params = "  ".join(f"{key}={_short(value)}" for key, value in found.params.items())
    final = "  ".join(
        f"{key}={value:.4f}" for key, value in found.final_metrics.items()
        if key.startswith("final_") and not key.endswith(("runtime", "per_second"))
    )  # fmt: skip
    rows = [
        ("best", f"{found.metric} {found.value:.4f} (trial {found.trial})"),
        ("parameters", params),
        ("final score", final),
        ("run", found.run_id),
        ("checkpoint", found.checkpoint or ""),
        ("submission", ", ".join(found.submissions)),
        ("run it again", found.command),
    ]
    return [f"{name + ':':14}{text}" for name, text in rows if text]


def _short(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def print_summary(status: Status) -> None:
    counts = "  ".join(f"{name} {count}" for name, count in status.states.items() if count)
    print(f"\nstudy {status.study}: {status.finished} of {status.n_trials} trials finished ({counts})")
    for failure in status.failures:
        print(f"  failed: {failure}")
    if status.best:
        print("\n".join(lines(Best(**status.best))))
    print(f"{'compare:':14}finesweep ui   (filter: tags.`finesweep.study` = '{status.study}')")
