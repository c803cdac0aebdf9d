"""Compares ways to search by replaying studies over the recorded learning curves.

    python benchmarks/curves/compare.py [--seeds 20] [--workers 2] [--json FILE] [TASK ...]        make replay

Every study has as many optimizer steps as the published grid trains on the same task. Scores are those of the
chosen trial on rows that nobody selects on; for odd seeds the two halves of the rows change places.
Each method is compared with the baseline at equal steps: the interval is Student's t of the mean over study
seeds (95%); rows and trainings are the same in all of them. `constant` is no method and trains nothing: it is
a model that always says the commonest label.
"""

import argparse
import json
import os
import sys
from collections.abc import Sequence
from dataclasses import asdict
from functools import partial
from pathlib import Path

import recorded
from figures import Row, budget, by_method, rows_of, table
from methods import METHODS
from pool import pooled
from recorded import Training
from replay import Found, Replay, Replayed
from spaces import TASKS, Task

Job = tuple[str, str, int]  # task, method, seed of the study


def replayed(job: Job, folder: Path, workers: int, curves: Path) -> Replayed:
    name, method, seed = job
    task, trainings = TASKS[name], recorded.read_for(name, seed, curves)
    return Replay(task, trainings, METHODS[method], seed, budget(task, trainings), folder).run(workers)


def constant(task: Task, seed: int, trainings: Sequence[Training]) -> Replayed:
    """Returns, as a study of no trial, what a model scores that always says the commonest label."""
    select, untouched = reversed(task.constant) if seed % 2 else task.constant
    top = max(max(one.select) for one in trainings)
    return Replayed([Found(0, 0, select, untouched)], 0, 0, top)


def main(arguments: Sequence[str] | None = None) -> list[Row]:
    given = _parsed(arguments)
    methods = list(METHODS)
    seeds = range(given.seeds)
    jobs = [(task, method, seed) for task in given.tasks for method in methods for seed in seeds]
    work = partial(replayed, workers=given.workers, curves=given.curves)
    results = dict(zip(jobs, pooled(work, jobs, given.processes), strict=True))
    rows = []
    for task in given.tasks:
        studies = {method: [results[task, method, seed] for seed in seeds] for method in methods}
        studies["constant"] = [
            constant(TASKS[task], seed, recorded.read_for(task, seed, given.curves)) for seed in seeds
        ]
        rows += rows_of(TASKS[task], recorded.read(task, given.curves), studies, given.baseline)
    print(table(rows, given.baseline), by_method(rows, given.baseline), sep="\n\n")
    if given.json:
        given.json.write_text(json.dumps([asdict(row) for row in rows], indent=1) + "\n")
    return rows


def _parsed(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    there = [name for name in TASKS if recorded.file_of(name).exists()]
    parser.add_argument("tasks", nargs="*", metavar="TASK", help=f"{', '.join(TASKS)}; all that are recorded")
    parser.add_argument("--seeds", type=int, default=20, help="studies for each method and task")
    parser.add_argument("--workers", type=int, default=2, help="workers of each study, on the virtual clock")
    parser.add_argument("--processes", type=int, default=os.cpu_count(), help="that replay at a time")
    parser.add_argument("--baseline", choices=METHODS, default="grid", help="to compare the others with")
    parser.add_argument("--curves", type=Path, default=recorded.HERE, help="folder of the recorded curves")
    parser.add_argument("--json", type=Path, help="a file for the figures")
    given = parser.parse_args(arguments)
    given.tasks = given.tasks or there
    if unknown := [name for name in given.tasks if not recorded.file_of(name, given.curves).exists()]:
        parser.error(f"got {', '.join(unknown)}; legal: {', '.join(there)}")
    return given


if __name__ == "__main__":
    main(sys.argv[1:])
