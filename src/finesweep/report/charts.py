"""The charts of one study: what was found when, what mattered, and what it cost."""

from collections.abc import Iterator, Sequence
from functools import partial
from typing import Any

from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator
from optuna.trial import FrozenTrial, TrialState

from finesweep.monitor.events import point, values
from finesweep.report.facts import Facts
from finesweep.report.figure import BLUE, GREEN, GREY, INK, PAPER, RED, chart, legend, mark_decades
from finesweep.study.best_of_n import RANGE, best_of_n
from finesweep.study.records import TrialRecord

MAX_LINKED = 300  # points of a chart: more would make the page heavy, and nobody finds one among them
LOGARITHMIC = 50  # trials from which on the axis of their number is logarithmic
LOOKS: dict[TrialState, dict[str, Any]] = {
    TrialState.PRUNED: {"marker": "v", "facecolors": "none", "edgecolors": GREY, "label": "pruned"},
    TrialState.COMPLETE: {"marker": "o", "color": BLUE, "edgecolors": PAPER, "label": "complete"},
}
MAX_CURVES = 60  # learning curves with their points


def row_id(facts: Facts, trial: FrozenTrial) -> str:
    return f"{facts.prefix}t{trial.number}"


def tips(facts: Facts) -> dict[str, str]:
    """Describes each trial in a line, by the id of its row."""
    return {
        row_id(facts, trial): ", ".join(
            filter(None, [f"trial {trial.number}", values(facts.snapshot, trial), point(trial)])
        )
        for trial in facts.snapshot.trials
    }


def points(
    axes: Axes, facts: Facts, trials: Sequence[FrozenTrial], x: Sequence[float], y: Sequence[float]
) -> None:
    """Draws trials as points: complete ones filled, others hollow triangles; each links to its row."""
    for state, look in LOOKS.items():
        chosen = [index for index, trial in enumerate(trials) if trial.state is state]
        if chosen:
            paused = {"label": "paused"} if all(TrialRecord(trials[i]).is_paused for i in chosen) else {}
            drawn = axes.scatter(
                [x[i] for i in chosen], [y[i] for i in chosen],
                s=26 if len(trials) <= 100 else 12, linewidths=0.8, zorder=3, **(look | paused),
            )  # fmt: skip
            if len(trials) <= MAX_LINKED:
                drawn.set_urls([row_id(facts, trials[index]) for index in chosen])


def scored(facts: Facts, index: int) -> tuple[list[FrozenTrial], list[float]]:
    """Lists the trials that have a value, in order, and their values of an objective."""
    trials = sorted([*facts.complete, *facts.pruned], key=lambda trial: trial.number)
    return trials, [trial.values[index] for trial in trials]


def search_charts(facts: Facts) -> Iterator[str]:
    """Yields history, best of n and importances."""
    shown, partly = tips(facts), len(facts.pruned)
    for index, name in enumerate(facts.objectives if facts.complete else []):
        of = f" of {name}" if len(facts.objectives) > 1 else ""
        yield chart(
            f"{facts.prefix}history{index}", f"History{of}",
            "Each trial's value in the order of the trials, and the best so far. A pruned or paused trial "
            "has the value of its last evaluation.",
            partial(_history, facts, index), tips=shown,
        )  # fmt: skip
        yield chart(
            f"{facts.prefix}bestof{index}", f"Best of n trials{of}",
            f"The best of n of these trials, drawn at random: on average, and in {RANGE}% of the draws "
            "(Dodge et al., 2019; Tang et al., 2020). It says nothing of further trials, takes these for "
            "independent ones, which those of a sampler that learns are not"
            + (f", and {partly} partly trained ones for whole." if partly else "."),
            partial(_best_of_n, facts, index),
        )  # fmt: skip
    if facts.importances:
        yield chart(
            f"{facts.prefix}importances", "Importance of the parameters",
            "Each parameter's share in reaching the best trials (PED-ANOVA). It does not say which values "
            "are good.",
            partial(_importances, facts), height=1.0 + 0.3 * len(facts.importances),
        )  # fmt: skip


def _history(facts: Facts, index: int, axes: Axes) -> None:
    trials, found = scored(facts, index)
    numbers = [float(trial.number) for trial in trials]
    points(axes, facts, trials, numbers, found)
    better = max if facts.maximizes(index) else min
    best: list[float] = []
    complete = sorted(facts.complete, key=lambda trial: trial.number)
    for trial in complete:
        best.append(better([trial.values[index], *best[-1:]]))
    steps = [*(trial.number for trial in complete), max(numbers)]
    axes.step(steps, [*best, best[-1]], where="post", color=RED, label="best so far")
    axes.set(xlabel="trial", ylabel=facts.objectives[index])
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    legend(axes)


def _best_of_n(facts: Facts, index: int, axes: Axes) -> None:
    curve = best_of_n(scored(facts, index)[1], facts.maximizes(index))
    axes.fill_between(curve.n, curve.low, curve.high, color=BLUE, alpha=0.2, linewidth=0)
    axes.plot(curve.n, curve.mean, color=BLUE, marker="o" if len(curve.n) == 1 else "")
    axes.set(xlabel="trials", ylabel=f"expected best {facts.objectives[index]}")
    if curve.n[-1] > LOGARITHMIC:
        axes.set_xscale("log")
        mark_decades(axes.xaxis, [float(n) for n in curve.n])
    else:
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))


def _importances(facts: Facts, axes: Axes) -> None:
    names = list(reversed(facts.importances))
    shares = [facts.importances[name] for name in names]
    bars = axes.barh([facts.labels[name] for name in names], shares, color=BLUE, height=0.6)
    axes.bar_label(bars, [f"{share:.2f}" for share in shares], padding=3, color=INK, fontsize=9)
    axes.set(xlabel="share", xlim=(0, max(shares) * 1.15))
    axes.grid(axis="y", visible=False)


def learning_curves(facts: Facts) -> Iterator[str]:
    if not facts.curves:
        return
    yield chart(
        f"{facts.prefix}curves", "Learning curves",
        "The measured evaluations of each trial over its own training"
        + (f"; of {len(facts.curves)} trials" if len(facts.curves) < len(facts.complete) else "")
        + ". Trials differ in epochs and batch size, so they are compared at equal shares.",
        partial(_learning_curves, facts), tips=tips(facts),
    )  # fmt: skip


def _learning_curves(facts: Facts, axes: Axes) -> None:
    by_number = {trial.number: trial for trial in facts.snapshot.trials}
    best = facts.best.trial if facts.best else None
    few = len(facts.curves) <= MAX_CURVES
    for number, curve in facts.curves.items():
        is_pruned = by_number[number].state is TrialState.PRUNED
        early = "paused" if TrialRecord(by_number[number]).is_paused else "pruned"
        colour, label = (GREY, early) if is_pruned else (BLUE, "complete")
        if number == best:
            colour, label = RED, f"best (trial {number})"
        (line,) = axes.plot(
            *zip(*curve, strict=True), color=colour, label=label, zorder=3 if number == best else 2,
            linestyle="--" if is_pruned else "-", linewidth=2.2 if number == best else 1.0 if few else 0.6,
            marker="." if few else "", alpha=1.0 if number == best else 0.6 if few else 0.3,
        )  # fmt: skip
        line.set_url(row_id(facts, by_number[number]) if few else None)
    axes.set(xlabel="per cent trained", ylabel=facts.snapshot.watched, xlim=(0, 102))
    legend(axes)


def confirmation(facts: Facts) -> Iterator[str]:
    if facts.confirmed:
        yield chart(
            f"{facts.prefix}confirmed", "Confirmed with new seeds",
            "Mean and standard deviation over new seeds, and each seed's value. Hollow: the value that the "
            "trial was chosen for, which counts no more, because it was the best of many.",
            partial(_confirmation, facts), height=1.2 + 0.4 * len(facts.confirmed),
        )  # fmt: skip


def _confirmation(facts: Facts, axes: Axes) -> None:
    for place, one in enumerate(reversed(facts.confirmed)):
        seeds = list(one.values.values())
        axes.errorbar(
            [one.mean], [place], xerr=[one.std or 0.0], fmt="o", color=GREEN, capsize=4, label="mean, sd"
        )
        axes.scatter(seeds, [place - 0.22] * len(seeds), s=12, color=BLUE, label="a seed")
        axes.scatter(
            one.trial.values[:1],
            [place],
            s=36,
            facecolors="none",
            edgecolors=RED,
            marker="D",
            label="chosen for",
        )
    axes.set_yticks(range(len(facts.confirmed)), [
        f"trial {one.trial.number} (n={len(one.values)})" for one in reversed(facts.confirmed)
    ])  # fmt: skip
    axes.set(xlabel=facts.objectives[0], ylim=(-0.6, len(facts.confirmed) - 0.4))
    legend(axes)
    axes.grid(axis="y", visible=False)
