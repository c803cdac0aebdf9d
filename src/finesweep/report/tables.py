"""The tables of a study's page, which say in numbers what the charts show, and what was lost."""

from collections import Counter
from collections.abc import Iterator, Sequence

from optuna.trial import FrozenTrial, TrialState

from finesweep.monitor.events import marks
from finesweep.monitor.wording import scalar
from finesweep.report.charts import row_id
from finesweep.report.facts import Facts, stopped_at
from finesweep.report.headline import spread
from finesweep.report.markup import Cell, cell, figure_cell, listed, number, paragraph, table
from finesweep.report.published import SOURCE, published
from finesweep.study.budget import span
from finesweep.study.ranking import pareto_front
from finesweep.study.records import Progress, TrialRecord
from finesweep.study.selection import is_taken_off

MAX_LISTED = 30  # failures and prunings in words; the table has all


def trials_table(facts: Facts) -> str:
    """Writes all trials: the search best first, then what was pruned, failed or confirms, by number."""
    ranked = {trial.number: place for place, trial in enumerate(facts.snapshot.ranked)}
    ordered = sorted(
        facts.snapshot.trials, key=lambda trial: (ranked.get(trial.number, len(ranked)), trial.number)
    )
    heads = [
        "trial", "state", *facts.objectives, *facts.labels.values(), "% trained", "steps", "seconds",
        "note", "run",
    ]  # fmt: skip
    rows = [_row(facts, trial) for trial in ordered]
    return table(heads, rows, "All trials", [row_id(facts, trial) for trial in ordered])


def _row(facts: Facts, trial: FrozenTrial) -> list[Cell]:
    record, times, at = TrialRecord(trial), span(trial), stopped_at(trial)
    values = [number(value, 6) for value in trial.values or []] or ["–"] * len(facts.objectives)
    steps = (record.progress or Progress()).trained_steps
    return [
        figure_cell(trial.number),
        cell(_state(facts, trial)),
        *map(figure_cell, values),
        *(
            figure_cell(scalar(trial.params[name]) if name in trial.params else "–")
            for name in facts.dimensions
        ),
        figure_cell("–" if at is None else f"{at:.0f}"),
        figure_cell(steps or "–"),
        figure_cell(f"{times[1] - times[0]:.1f}" if times else "–"),
        cell(". ".join(filter(None, [marks(trial), record.error]))),
        cell(record.run_id or ""),
    ]


def _state(facts: Facts, trial: FrozenTrial) -> str:
    if is_taken_off(trial):
        return "taken off"
    handed_on = trial.state is TrialState.FAIL and TrialRecord(trial).error is None
    return "handed on" if handed_on else facts.snapshot.states[trial.number].lower()


def confirmed_table(facts: Facts) -> str:
    if not facts.confirmed:
        return ""
    rows = [
        [
            figure_cell(one.trial.number), figure_cell(number(one.mean)), figure_cell(number(one.std)),
            figure_cell(len(one.values)),
            cell(", ".join(f"{number(value)} (seed {seed})" for seed, value in sorted(one.values.items()))),
        ]
        for one in facts.confirmed
    ]  # fmt: skip
    return table(["trial", "mean", "sd", "n", "values"], rows, "Confirmed trials")


def front_table(facts: Facts) -> str:
    if len(facts.objectives) < 2 or not facts.complete:
        return ""
    front = pareto_front(facts.study)
    rows = [
        [
            figure_cell(trial.number),
            *(figure_cell(number(value)) for value in trial.values),
            *(figure_cell(scalar(trial.params.get(name, "–"))) for name in facts.dimensions),
        ]
        for trial in front
    ]
    return table(["trial", *facts.objectives, *facts.labels.values()], rows, "Pareto front")


def _stopped(trials: Sequence[FrozenTrial]) -> list[FrozenTrial]:
    """Lists the trials that a person has stopped; one that was complete by then is none of them."""
    ended = (TrialState.PRUNED, TrialState.FAIL)
    return [trial for trial in trials if TrialRecord(trial).stopped and trial.state in ended]


def lost(facts: Facts) -> list[str]:
    """Says what failed and why, what was handed on, and where trials were pruned by which rule."""
    trials = facts.snapshot.trials
    by_hand = _stopped(trials)
    given_back = [t for t in trials if t.state is TrialState.FAIL and TrialRecord(t).error is None]
    handed_on = [trial for trial in given_back if trial not in by_hand]
    parts = [_shortened(facts.status.failures, "failed"), *_pruned(facts, by_hand)]
    if by_hand:
        numbers = ", ".join(str(trial.number) for trial in by_hand[:MAX_LISTED])
        parts.append(paragraph(f"{len(by_hand)} stopped by a person: trials {numbers}."))
    if handed_on:
        parts.append(
            paragraph(f"{len(handed_on)} handed on: interrupted, or without their worker, and tried again.")
        )
    return parts


def _pruned(facts: Facts, by_hand: Sequence[FrozenTrial]) -> Iterator[str]:
    """Says where trials were pruned by which rule; by_hand: those that a person stopped, and no rule."""
    pruned = [t for t in facts.trained if t.state is TrialState.PRUNED and t not in by_hand]
    paused = [trial for trial in pruned if TrialRecord(trial).is_paused]
    if stopped := [trial for trial in pruned if not TrialRecord(trial).is_paused]:
        pruner = (facts.snapshot.record.history or [{}])[-1].get("pruner", "none")
        yield paragraph(
            f"{len(stopped)} pruned: the pruner {pruner!r} judged their evaluations against "
            f"those of other trials at the same share of training. They ended at: {_ends(stopped)}."
        )
    if paused:
        yield paragraph(
            f"{len(paused)} paused and never went on: at a rung, at least half of the trials there, or "
            f"whichever share its options say, were better. They ended at: {_ends(paused)}."
        )


def _ends(trials: Sequence[FrozenTrial]) -> str:
    """Says at which per cent of their own training trials ended, and how many at each."""
    counts = Counter(round(at) for trial in trials if (at := stopped_at(trial)) is not None)
    return ", ".join(f"{at}% ({count})" for at, count in sorted(counts.items())[:MAX_LISTED]) or "unknown"


def _shortened(lines: list[str], what: str) -> str:
    more = [f"and {len(lines) - MAX_LISTED} more; see the table"] if len(lines) > MAX_LISTED else []
    return (paragraph(f"{len(lines)} {what}:") + listed([*lines[:MAX_LISTED], *more])) if lines else ""


def published_table(facts: Facts) -> str:
    """Writes the study of a GLUE task beside the published BERT miniatures."""
    scores = published(facts.snapshot.record.glue_task, facts.snapshot.record.metric)
    if not scores or facts.best is None:
        return ""
    first = facts.confirmed[0] if facts.confirmed else None
    own = spread(first.mean, first.std) if first else number(facts.best.value)
    rows = [[cell(f"{facts.name} (validation)"), figure_cell(own)]]
    rows += [[cell(f"{model} (test)"), figure_cell(number(score))] for model, score in scores.items()]
    return table(["model", facts.snapshot.record.metric], rows, "Beside published models") + paragraph(
        f"The published scores are of GLUE's test split ({SOURCE}), each the best of 20 settings; this "
        "study's are of the validation split, so a small difference says nothing."
    )
