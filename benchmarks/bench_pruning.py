"""Measures what pruning saves and costs: each sweep runs twice, without a pruner and with one.

    python benchmarks/bench_pruning.py [--rounds 3]

The quickstart's space on its demo data. Space, sampler and seed are the same in both; each round has a study
seed of its own. Figures are training steps, and the study's best accuracy.
"""

import json
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from itertools import count
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from commands import FINESWEEP, TRAIN, run
from measure import Sample, Section, Work, sample

PRUNER = [
    "hydra.sweeper.study.pruner=median",
    "+hydra.sweeper.study.pruner_options={n_startup_trials:4,n_warmup_steps:30}",
]


def sweep(options: list[str], seed: int, folder: Path) -> dict[str, Any]:
    run([
        *TRAIN, "-m", "trainer.evals_per_epoch=4", "tracking.system_metrics=false", "predict=false",
        f"hydra.sweeper.study.seed={seed}", "hydra.sweeper.study.name=pruning", *options,
    ], folder)  # fmt: skip
    status: dict[str, Any] = json.loads(run([*FINESWEEP, "status", "pruning", "--json"], folder))
    return status


def measured(name: str, options: list[str], seed: Callable[[], int]) -> dict[str, Sample]:
    best = 0.0

    def work() -> float:
        nonlocal best
        with TemporaryDirectory() as folder:
            status = sweep(options, seed(), Path(folder))
        best = status["best"]["value"]
        return float(status["train_steps"])

    steps = sample(work)
    return {f"{name}: steps": steps, f"{name}: best accuracy": replace(steps, value=best)}


def variants(_: Path, quick: bool) -> dict[str, Work]:
    return {
        "no pruner": partial(measured, "no pruner", [], partial(next, count())),
        "median": partial(measured, "median", PRUNER, partial(next, count())),
    }


SECTIONS = [
    Section("pruning", "steps and best accuracy of the quickstart", variants, "no pruner: steps", False)
]

if __name__ == "__main__":
    import runner

    runner.main(SECTIONS)
