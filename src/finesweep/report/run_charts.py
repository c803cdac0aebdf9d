"""Charts of how the study ran: which worker did what when, and the front of several objectives."""

from bisect import bisect_right
from collections.abc import Iterator, Sequence
from functools import partial
from itertools import accumulate

from matplotlib.axes import Axes
from optuna.trial import FrozenTrial, TrialState

from finesweep.machine.process import ProcessIdentity
from finesweep.report.charts import MAX_LINKED, points, row_id, tips
from finesweep.report.facts import Facts
from finesweep.report.figure import BLUE, GREEN, GREY, ORANGE, PAPER, RED, chart, legend
from finesweep.study.budget import span
from finesweep.study.ranking import pareto_front
from finesweep.study.records import TrialRecord

MAX_LANES = 24  # workers with a lane each
Span = tuple[float, float]


def timeline(facts: Facts) -> Iterator[str]:
    """Yields the timeline; time in which no trial ran is left out."""
    ran = [trial for trial in facts.snapshot.trials if span(trial)]
    if not ran:
        return
    lanes = _lanes(ran)
    yield chart(
        f"{facts.prefix}timeline", "Timeline of the workers",
        f"Each bar is a trial, each line a {'place for one' if len(lanes) > MAX_LANES else 'worker'}; time "
        "in which no trial ran is left out.",
        partial(_timeline, facts, lanes), tips=tips(facts), height=1.3 + 0.24 * min(len(lanes), MAX_LANES),
    )  # fmt: skip


def _lanes(trials: Sequence[FrozenTrial]) -> dict[str, list[FrozenTrial]]:
    """Sorts trials by the process that ran them, in the order of their starts."""
    lanes: dict[str, list[FrozenTrial]] = {}
    for trial in sorted(trials, key=lambda trial: (_span(trial), trial.number)):
        lanes.setdefault(TrialRecord(trial).owner or "", []).append(trial)
    return lanes


def _packed(lanes: dict[str, list[FrozenTrial]]) -> dict[str, list[FrozenTrial]]:
    """Puts each trial into the first lane that is free, for there are too many processes."""
    free: list[float] = []
    packed: dict[str, list[FrozenTrial]] = {}
    for trial in sorted((t for lane in lanes.values() for t in lane), key=lambda t: (_span(t), t.number)):
        start, end = _span(trial)
        lane = next((index for index, until in enumerate(free) if until <= start), len(free))
        free[lane : lane + 1] = [end]
        packed.setdefault(str(lane + 1), []).append(trial)
    return packed


def _span(trial: FrozenTrial) -> Span:
    return span(trial) or (0.0, 0.0)


def _timeline(facts: Facts, lanes: dict[str, list[FrozenTrial]], axes: Axes) -> None:
    names = [f"{one.host[-10:]} {one.pid}".strip() for one in map(ProcessIdentity.parse, lanes)]
    if len(lanes) > MAX_LANES:
        lanes = _packed(lanes)
        names = list(lanes)
    clock = _BusyClock([_span(trial) for lane in lanes.values() for trial in lane])
    for place, lane in enumerate(reversed(lanes.values())):
        _draw_lane(facts, axes, place, lane, clock)
    axes.set_yticks(range(len(names)), reversed(names) if len(names) <= MAX_LANES else [""] * len(names))
    axes.set(xlabel=f"{clock.unit} of work")
    axes.grid(axis="y", visible=False)
    legend(axes)


def _draw_lane(
    facts: Facts, axes: Axes, place: int, lane: Sequence[FrozenTrial], clock: "_BusyClock"
) -> None:
    looks: dict[tuple[str, str], list[FrozenTrial]] = {}
    for trial in lane:
        looks.setdefault(_look(trial), []).append(trial)
    many = len(facts.snapshot.trials) > MAX_LINKED
    for (label, colour), trials in looks.items():
        times = [[clock.of(time) for time in _span(trial)] for trial in trials]
        bars = [(start, max(end - start, clock.total / 400)) for start, end in times]
        drawn = axes.broken_barh(
            bars, (place - 0.35, 0.7), color=colour, label=label, edgecolor=PAPER,
            linewidth=0.0 if many else 0.6,
        )  # fmt: skip
        if not many:
            drawn.set_urls([row_id(facts, trial) for trial in trials])


def _look(trial: FrozenTrial) -> tuple[str, str]:
    record = TrialRecord(trial)
    if trial.state is TrialState.FAIL:
        return ("failed", RED) if record.error else ("handed on", ORANGE)
    if trial.state is TrialState.PRUNED:
        return ("paused" if record.is_paused else "pruned"), GREY
    if trial.state is TrialState.RUNNING:
        return "running", ORANGE
    return ("confirms", GREEN) if record.confirms is not None else ("complete", BLUE)


class _BusyClock:
    """Tells how many minutes, or hours, of work had passed at a time."""

    def __init__(self, spans: Sequence[Span]) -> None:
        self.busy: list[Span] = []
        for start, end in sorted(spans):
            if self.busy and start <= self.busy[-1][1]:
                self.busy[-1] = (self.busy[-1][0], max(end, self.busy[-1][1]))
            else:
                self.busy.append((start, end))
        self.before = [0.0, *accumulate(end - start for start, end in self.busy)]
        seconds = self.before[-1] or 1.0
        self.unit, self.per = ("minutes", 60.0) if seconds < 7200 else ("hours", 3600.0)
        self.total = seconds / self.per

    def of(self, time: float) -> float:
        """time: within one of the spans."""
        index = bisect_right(self.busy, time, key=lambda one: one[0]) - 1
        return (self.before[index] + time - self.busy[index][0]) / self.per


def pareto_fronts(facts: Facts) -> Iterator[str]:
    """Yields one chart for each objective after the first, over the first."""
    for index, name in enumerate(facts.objectives if facts.complete else []):
        if index:
            yield chart(
                f"{facts.prefix}front{index}", f"{name} over {facts.objectives[0]}",
                "On the line: trials that no other beats in every objective."
                + (" One may be there for another objective." if len(facts.objectives) > 2 else ""),
                partial(_front, facts, index), tips=tips(facts),
            )  # fmt: skip


def _front(facts: Facts, index: int, axes: Axes) -> None:
    trials = facts.complete
    points(axes, facts, trials, [t.values[0] for t in trials], [t.values[index] for t in trials])
    front = sorted((trial.values[0], trial.values[index]) for trial in pareto_front(facts.study))
    axes.plot(*zip(*front, strict=True), color=RED, marker="D", markersize=5, label="front", zorder=4)
    axes.set(xlabel=facts.objectives[0], ylabel=facts.objectives[index])
    legend(axes)
