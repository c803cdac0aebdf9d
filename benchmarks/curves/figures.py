"""Computes the figures of replayed studies, and writes them as a table."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from recorded import Training
from replay import Replayed
from scipy import stats
from spaces import Task

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Row:
    """A method on a task, over all study seeds."""

    task: str
    method: str
    trials: float  # mean
    steps: float  # mean, as a share of the budget
    select: float  # mean of the chosen trials' selecting scores
    untouched: float  # mean of their scores on untouched rows
    regret: float  # mean: what the best selecting score of all recorded trainings has more
    worst: float  # the greatest regret of a seed
    as_grid: float | None  # median share of the budget after which it is as good as the grid; None: later
    gain: float  # mean untouched score, less that of the baseline
    low: float  # the ends of its interval
    high: float

    @property
    def verdict(self) -> str:
        return "win" if self.low > 0 else "loss" if self.high < 0 else "tie"


def budget(task: Task, trainings: Sequence[Training]) -> int:
    """Returns the optimizer steps of the published grid."""
    points = [dict(point) for point in task.grid]
    steps = {str(one.point): one.steps for one in trainings if dict(one.point) in points}
    return sum(steps.values())


def rows_of(
    task: Task, trainings: Sequence[Training], studies: dict[str, list[Replayed]], baseline: str
) -> list[Row]:
    """studies: by method, in the order of their seeds; `grid` and the baseline are among them."""
    steps = budget(task, trainings)
    grid, reference = _chosen(studies["grid"], steps)[0], _chosen(studies[baseline], steps)[1]
    return [_row(task.name, name, all_, steps, grid, reference) for name, all_ in studies.items()]


def _row(task: str, method: str, studies: list[Replayed], steps: int, grid: Array, reference: Array) -> Row:
    """grid, reference: by seed, what the grid selects with and the baseline's score on untouched rows."""
    select, untouched = _chosen(studies, steps)
    regrets = np.array([study.top for study in studies]) - select
    low, high = interval(untouched - reference)
    found = [study.as_good(one, steps) for study, one in zip(studies, grid, strict=True)]
    middle = float(np.median([one.steps / steps if one else np.inf for one in found]))
    return Row(
        task, method,
        trials=float(np.mean([study.trials for study in studies])),
        steps=float(np.mean([study.steps for study in studies])) / steps,
        select=float(select.mean()), untouched=float(untouched.mean()),
        regret=float(regrets.mean()), worst=float(regrets.max()),
        as_grid=middle if np.isfinite(middle) else None,
        gain=float((untouched - reference).mean()), low=low, high=high,
    )  # fmt: skip


def _chosen(studies: Sequence[Replayed], steps: int) -> tuple[Array, Array]:
    """Returns the selecting and the untouched score of each study's choice; 0 if no trial had ended."""
    chosen = [study.chosen(steps) for study in studies]
    pairs = [(one.select, one.untouched) if one else (0.0, 0.0) for one in chosen]
    select, untouched = np.array(pairs).T
    return select, untouched


def interval(differences: Array) -> tuple[float, float]:
    """Returns the ends of the 95% interval of a mean, by Student's t; the mean twice if all values are equal.

    A percentile bootstrap would be too narrow: of 20 normal values, it leaves the mean out in 7.4% of cases.
    """
    mean = float(differences.mean())
    if np.ptp(differences) == 0:
        return mean, mean
    low, high = stats.t.interval(0.95, len(differences) - 1, loc=mean, scale=stats.sem(differences))
    return float(low), float(high)


def table(rows: Sequence[Row], baseline: str) -> str:
    """Writes the rows as a table of Markdown."""
    head = ("task", "method", "trials", "steps", "selected", "regret", "worst seed", "as good as the grid",
            "untouched", f"less {baseline}'s", "")  # fmt: skip
    lines = [
        (
            row.task, row.method, f"{row.trials:.0f}", f"{row.steps:.0%}", f"{row.select:.3f}",
            f"{row.regret:.3f}", f"{row.worst:.3f}",
            "no" if row.as_grid is None else f"{row.as_grid:.0%}", f"{row.untouched:.3f}",
            f"{row.gain:+.3f} ({row.low:+.3f} to {row.high:+.3f})", row.verdict,
        )
        for row in rows
    ]  # fmt: skip
    return _markdown(head, lines)


def by_method(rows: Sequence[Row], baseline: str) -> str:
    """Writes a line for each method: on each task, its mean untouched score less that of the baseline."""
    tasks, methods = list(dict.fromkeys(row.task for row in rows)), dict.fromkeys(row.method for row in rows)
    found = {(row.method, row.task): row for row in rows}
    lines = []
    for method in methods:
        mine = [found[method, task] for task in tasks]
        verdicts = [row.verdict for row in mine]
        gains = [f"{row.gain:+.3f} ({row.low:+.3f} to {row.high:+.3f})" for row in mine]
        counts = (str(verdicts.count(verdict)) for verdict in ("win", "tie", "loss"))
        lines.append((method, *gains, " / ".join(counts)))
    return _markdown((f"less {baseline}", *tasks, "win / tie / loss"), lines)


def _markdown(head: Sequence[str], lines: Sequence[Sequence[str]]) -> str:
    every = [head, ("---",) * len(head), *lines]
    return "\n".join("| " + " | ".join(line) + " |" for line in every)
