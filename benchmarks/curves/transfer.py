"""Measures what earlier studies give: searches a task starting from studies of all the others.

    python benchmarks/curves/transfer.py [--seeds 20] [--workers 2] [TASK ...]        make transfer

Each task in turn is searched three times, without points that a person knows: cold; starting from the
recipe's studies of all other tasks; and starting from a study that misleads: one of the same task, whose
scores are turned round.
"""

import argparse
import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np
import recorded
from figures import budget, interval
from methods import METHODS
from pool import pooled
from recorded import Training
from replay import Method, Replay, Replayed
from spaces import TASKS

EARLIER = 1000  # is added to the seed of earlier studies: they began with other points
COLD = Method()  # a start that spreads, and TPE
WARM, MISLED = "from the other tasks", "from a study that misleads"


@dataclass(frozen=True)
class Three:
    """The studies of one task and seed."""

    steps: int  # the budget
    cold: Replayed
    started: dict[str, Replayed]


def searched(job: tuple[str, int], folder: Path, tasks: Sequence[str], workers: int) -> Three:
    name, seed = job
    trainings = {task: recorded.read_for(task, seed) for task in tasks}
    steps = budget(TASKS[name], trainings[name])

    def study(names: Sequence[str] = ()) -> Replayed:
        return Replay(TASKS[name], trainings[name], COLD, seed, steps, folder, names).run(workers)

    def earlier(task: str, curves: Sequence[Training]) -> str:
        limit = budget(TASKS[task], curves)
        one = Replay(TASKS[task], curves, METHODS["recipe"], seed + EARLIER, limit, folder)
        one.run(workers)
        return one.queue.name

    others = [earlier(task, trainings[task]) for task in tasks if task != name]
    worst_first = earlier(name, [_turned(one) for one in trainings[name]])
    sources = {WARM: others, MISLED: [worst_first]}
    return Three(steps, study(), {kind: study(names) for kind, names in sources.items()})


def _turned(training: Training) -> Training:
    return replace(training, select=[1 - value for value in training.select])


def rows_of(name: str, studies: Sequence[Three]) -> list[str]:
    """Writes a row of the table for each kind of start."""
    ended = [(one, found) for one in studies if (found := one.cold.chosen(one.steps))]
    cold = [_trials(one.cold, found.select, one.steps) for one, found in ended]
    rows = []
    for kind in (WARM, MISLED):
        reached = [_trials(one.started[kind], found.select, one.steps) for one, found in ended]
        pairs = [(one.started[kind].chosen(one.steps), found) for one, found in ended]
        gains = np.array([mine.untouched - other.untouched for mine, other in pairs if mine])
        low, high = interval(gains)
        found_by = f"{np.isfinite(reached).mean():.0%}"
        gain = f"{gains.mean():+.3f} ({low:+.3f} to {high:+.3f})"
        cells = name, kind, f"{np.median(cold):g}", f"{np.median(reached):g}", found_by, gain
        rows.append("| " + " | ".join(cells) + " |")
    return rows


def _trials(study: Replayed, select: float, steps: int) -> float:
    """Returns after how many trials a study had found so good a one; infinite if not in so many steps."""
    found = study.as_good(select, steps)
    return found.trials if found else np.inf


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("tasks", nargs="*", metavar="TASK", help="at least two; all that are recorded")
    parser.add_argument("--seeds", type=int, default=20, help="studies for each task")
    parser.add_argument("--workers", type=int, default=2, help="workers of each study, on the virtual clock")
    parser.add_argument("--processes", type=int, default=os.cpu_count(), help="that replay at a time")
    given = parser.parse_args(arguments)
    there = [name for name in TASKS if recorded.file_of(name).exists()]
    tasks = given.tasks or there
    if {*tasks} - {*there} or len(tasks) < 2:
        parser.error(f"got {' '.join(tasks)}; legal: two or more of {', '.join(there)}")
    jobs = [(name, seed) for name in tasks for seed in range(given.seeds)]
    work = partial(searched, tasks=tasks, workers=given.workers)
    found = dict(zip(jobs, pooled(work, jobs, given.processes), strict=True))
    print("| task | starts | trials to its best, cold | trials to as good a one | studies that found it | "
          "untouched, less the cold start's |\n| --- | --- | --- | --- | --- | --- |")  # fmt: skip
    for name in tasks:
        print("\n".join(rows_of(name, [found[name, seed] for seed in range(given.seeds)])))


if __name__ == "__main__":
    main(sys.argv[1:])
