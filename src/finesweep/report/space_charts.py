"""The charts of the search space: a slice for each dimension, and surfaces over two of them."""

import math
from collections.abc import Iterator, Sequence
from functools import partial

import numpy as np
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import ListedColormap, Normalize, to_rgb
from matplotlib.ticker import MaxNLocator
from matplotlib.tri import Triangulation
from optuna.distributions import CategoricalDistribution, IntDistribution
from optuna.trial import FrozenTrial

from finesweep.report.charts import points, row_id, scored, tips
from finesweep.report.facts import Facts
from finesweep.report.figure import BLUE, INK, RED, chart, mark_decades
from finesweep.report.markup import clean

LEVELS = 8  # shades of a surface
CELLS = 12  # along each axis, of many trials: the median of each cell is drawn, not their noise
MIN_SHADED = 6  # points; fewer make no surface, but a few triangles
RATE, BATCH, EPOCHS = (
    "optimizer.learning_rate", "trainer.per_device_train_batch_size", "trainer.num_train_epochs"
)  # fmt: skip


def slices(facts: Facts) -> Iterator[str]:
    shown = tips(facts)
    for index, objective in enumerate(facts.objectives if facts.complete else []):
        for place, name in enumerate(facts.dimensions):
            if any(name in trial.params for trial in scored(facts, index)[0]):
                yield chart(
                    f"{facts.prefix}slice{index}-{place}", facts.labels[name].replace("\n", " | "),
                    f"{objective} of each trial over this parameter alone.",
                    partial(_slice, facts, index, name), tips=shown,
                )  # fmt: skip


def _slice(facts: Facts, index: int, name: str, axes: Axes) -> None:
    trials = [trial for trial in scored(facts, index)[0] if name in trial.params]
    x = _scale(axes, "x", name, facts.labels[name], trials)
    points(axes, facts, trials, x, [trial.values[index] for trial in trials])
    axes.set_ylabel(facts.objectives[index])


def _scale(axes: Axes, axis: str, name: str, label: str, trials: Sequence[FrozenTrial]) -> list[float]:
    """Sets the scale of an axis to that of a parameter. Returns where the trials stand on it.

    Whole numbers on a logarithmic scale, and choices of numbers, stand at their values, others at 0, 1, 2.
    """
    distribution = trials[0].distributions[name]
    found = [trial.params[name] for trial in trials]
    axes.set(**{f"{axis}label": label})
    if isinstance(distribution, CategoricalDistribution):
        choices = list(distribution.choices)
        places, labels = list(range(len(choices))), [_label(choice) for choice in choices]
        getattr(axes, f"set_{axis}ticks")(places, labels)
        if axis == "x" and sum(map(len, labels)) > 40:
            axes.tick_params("x", rotation=30)
        getattr(axes, f"set_{axis}lim")(-0.5, len(choices) - 0.5)
        return [float(choices.index(value)) for value in found]
    if isinstance(distribution, IntDistribution) and not distribution.log:
        getattr(axes, f"{axis}axis").set_major_locator(MaxNLocator(integer=True))
    if getattr(distribution, "log", False):
        getattr(axes, f"set_{axis}scale")("log")
        mark_decades(getattr(axes, f"{axis}axis"), found)
    return [float(value) for value in found]


def _label(choice: object) -> str:
    words = clean(choice)
    return words if len(words) <= 18 else f"{words[:8]}…{words[-8:]}"


def surfaces(facts: Facts) -> Iterator[str]:
    """Yields the learning rate against batch size and epochs; else the two most important parameters."""
    shown = tips(facts)
    for place, (first, second) in enumerate(_pairs(facts)):
        both = f"{facts.labels[first]} × {facts.labels[second]}"
        yield chart(
            f"{facts.prefix}surface{place}", both.replace("\n", " | "),
            f"{facts.objectives[0]} over two parameters"
            f"{_explained(len(_holding(facts, first, second)))}. The diamond is the best.",
            partial(_surface, facts, first, second), tips=shown,
        )  # fmt: skip


def _explained(trials: int) -> str:
    if trials < MIN_SHADED:
        return "; there are too few complete trials for a surface"
    return (
        ": the stronger the colour, the better; linear between complete trials, or between medians of many. "
        "Where the surface ends, nothing was tried"
    )


def _pairs(facts: Facts) -> list[tuple[str, str]]:
    together = [
        (first, second)
        for first, second in ((RATE, BATCH), (RATE, EPOCHS), tuple(facts.dimensions[:2]) or ("", ""))
        if len(_holding(facts, first, second)) > 1
    ] if len(facts.dimensions) > 1 else []  # fmt: skip
    usual = [pair for pair in together if RATE in pair and pair[1] in (BATCH, EPOCHS)]
    return list(dict.fromkeys(usual or together))


def _holding(facts: Facts, first: str, second: str) -> list[FrozenTrial]:
    """Lists the complete trials that have both parameters and differ from each other in both."""
    trials = [trial for trial in facts.complete if first in trial.params and second in trial.params]
    varied = all(len({trial.params[name] for trial in trials}) > 1 for name in (first, second))
    return trials if varied else []


def _surface(facts: Facts, first: str, second: str, axes: Axes) -> None:
    trials = _holding(facts, first, second)
    x = _scale(axes, "x", first, facts.labels[first], trials)
    y = _scale(axes, "y", second, facts.labels[second], trials)
    values = [trial.values[0] for trial in trials]
    _shade(axes, x, y, values, facts.maximizes())
    points(axes, facts, trials, x, y)
    chosen = max(values) if facts.maximizes() else min(values)
    at = values.index(chosen)
    best = axes.scatter([x[at]], [y[at]], s=70, marker="D", color=RED, edgecolors=INK, zorder=4)
    best.set_urls([row_id(facts, trials[at])])


def _shade(axes: Axes, x: list[float], y: list[float], values: list[float], maximize: bool) -> None:
    """Fills the area between the trials with shades of one colour; none where they lie in a line."""
    low, high = min(values), max(values)
    cells: dict[tuple[int, int], list[tuple[float, ...]]] = {}
    fine = CELLS if len(values) > CELLS**2 / 2 else 10_000
    flat = zip(_spread(axes.get_xscale(), x), _spread(axes.get_yscale(), y), strict=True)
    for (u, v), *point in zip(flat, x, y, values, strict=True):
        cells.setdefault((round(u * fine), round(v * fine)), []).append((u, v, *point))
    if len(cells) < MIN_SHADED or high <= low:
        return
    u, v, at_x, at_y, heights = np.array([np.median(cell, axis=0) for cell in cells.values()]).T
    try:
        triangles = Triangulation(u, v).triangles
    except (RuntimeError, ValueError):  # all on one line
        return
    shades = np.linspace(0.06, 0.75, LEVELS)
    colours = ListedColormap([(*to_rgb(BLUE), alpha) for alpha in (shades if maximize else shades[::-1])])
    norm = Normalize(low, high)
    axes.use_sticky_edges = False
    axes.margins(0.08)
    axes.tricontourf(
        Triangulation(at_x, at_y, triangles), heights,
        levels=np.linspace(low, high, LEVELS + 1), cmap=colours, norm=norm,
    )  # fmt: skip
    axes.figure.colorbar(ScalarMappable(norm, colours), ax=axes, pad=0.02, aspect=30)


def _spread(scale: str, values: list[float]) -> list[float]:
    """Brings an axis to 0 to 1 as it is drawn, so that triangles are not slivers."""
    drawn = [math.log(value) for value in values] if scale == "log" else values
    low, high = min(drawn), max(drawn)
    return [(value - low) / ((high - low) or 1.0) for value in drawn]
