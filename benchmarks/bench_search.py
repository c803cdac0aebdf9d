"""Compares a whole search, from the command to its end, with `Trainer.hyperparameter_search`.

    python benchmarks/bench_search.py [--rounds 5]      about five minutes a round

Both train the same six points (12 epochs) of a BERT-tiny with random weights, on rows that are as many and
as long as RTE's. finesweep's search also tracks, keeps checkpoints, and writes the file to hand in; its
caches are empty. `to the first step` ends when the first trial begins to train. `idle at the end` is the sum
of the seconds for which workers have no trial left while another one still runs.
"""

import json
import sqlite3
import sys
import time
from collections.abc import Sequence
from contextlib import closing
from dataclasses import replace
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import rows
from bench_workers import spans
from commands import ROOT, TRAIN, run
from measure import Sample, Section, Work, seconds

# Drawn by Optuna's RandomSampler(seed=0): rate from 1e-5 to 5e-4 (log), 1 to 3 epochs, batch of 8, 16, 32.
POINTS = [
    {"learning_rate": rate, "num_train_epochs": epochs, "per_device_train_batch_size": batch}
    for rate, epochs, batch in (
        (8.56e-5, 3, 8), (1.25e-4, 2, 16), (2.21e-4, 2, 16),
        (1.41e-5, 1, 32), (4.60e-4, 3, 16), (1.22e-4, 1, 8),
    )
]  # fmt: skip
Point = dict[str, Any]


def sweep_command(inputs: Path, points: Sequence[Point]) -> list[str]:
    keys = {key: "optimizer" if key == "learning_rate" else "trainer" for key in points[0]}
    queued = ", ".join(
        "{" + ", ".join(f"{keys[key]}.{key}: {value}" for key, value in one.items()) + "}" for one in points
    )
    return [
        *TRAIN, "-m", "data=rte", f"data.path={inputs}", "hydra.sweeper.study.name=bench",
        "model.name=bench", f"model.name_or_path={inputs}/model", "model.init=random", "model.max_length=512",
        "optimizer.learning_rate=tag(log,interval(1e-5,5e-4))",
        "trainer.num_train_epochs=range(1,4)", "trainer.per_device_train_batch_size=choice(8,16,32)",
        f"hydra.sweeper.study.n_trials={len(points)}", f"hydra.sweeper.enqueue=[{queued}]",
    ]  # fmt: skip


def library_command(inputs: Path, points: Sequence[Point]) -> list[str]:
    return [sys.executable, str(ROOT / "benchmarks/library_search.py"), str(inputs), json.dumps(points)]


def library(inputs: Path, points: Sequence[Point]) -> dict[str, Sample]:
    printed, begin = "", time.time()

    def search() -> None:
        nonlocal printed
        printed = run(library_command(inputs, points), Path(folder))

    with TemporaryDirectory() as folder:
        whole = seconds(search)
    first = json.loads(printed.splitlines()[-1])["first_step"] - begin
    return {"library": whole, "library, to the first step": replace(whole, value=first)}


def finesweep(inputs: Path, points: Sequence[Point]) -> dict[str, Sample]:
    with TemporaryDirectory() as name:
        folder, begin = Path(name), time.time()
        whole = seconds(partial(run, sweep_command(inputs, points), folder))
        assert (folder / "outputs/studies/bench/submission/RTE.tsv").exists()
        first, idle = first_step(folder) - begin, idle_at_the_end(folder)
    return {
        "finesweep": whole,
        "finesweep, to the first step": replace(whole, value=first),
        "finesweep, idle at the end": replace(whole, value=idle),
    }


def first_step(folder: Path) -> float:
    """Returns when the first trial began to train: its runtime is logged, in seconds, when it has."""
    asked = "select min(timestamp / 1000.0 - value) from metrics where key = 'train_runtime'"
    with closing(sqlite3.connect(folder / "mlruns/mlflow.db")) as database:
        return float(database.execute(asked).fetchone()[0])


def idle_at_the_end(folder: Path) -> float:
    from finesweep.study import studies

    trials = studies.load("bench", f"sqlite:///{folder}/mlruns/optuna.db").get_trials()
    ends = [max(end for _, end in own) for own in spans(trials).values()]
    return sum(max(ends) - end for end in ends)


def write_inputs(folder: Path, share: float = 1.0) -> Path:
    rows.write_rte(folder, share)
    rows.write_model(folder / "model")
    return folder


def variants(folder: Path, quick: bool) -> dict[str, Work]:
    write_inputs(folder, 0.2 if quick else 1.0)
    return {"library": partial(library, folder, POINTS), "finesweep": partial(finesweep, folder, POINTS)}


SECTIONS = [
    Section("search", "seconds for six trials on RTE's sizes, from the command", variants, "library", False)
]

if __name__ == "__main__":
    import bench_search
    import runner

    runner.main(bench_search.SECTIONS)
