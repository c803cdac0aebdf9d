"""Measures how long two workers are idle, compared with a loop that runs its trials in batches.

    python benchmarks/bench_workers.py [--rounds 5]

The sweep is `python train.py -m`, with real trainings of one to ten epochs. Then a batch-synchronous loop
over joblib sleeps for the same durations, as hydra-optuna-sweeper would run them: two trials at a time, the
next two when both have ended. Figures are shares of the workers' time in which they ran no trial, from the
start of the first trial: until the last trial is taken (`while budget is left`), and to the end.
"""

import time
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from commands import TRAIN, run
from measure import Sample, Section, Work, sample

TRIALS, ROWS, QUICK_TRIALS = 30, 1500, 8
Span = tuple[float, float]  # start and end, seconds


def sweep(trials: int, folder: Path) -> list[Any]:
    from finesweep.study import studies

    run([
        *TRAIN, "-m", f"data.demo_rows={ROWS}", "trainer.num_train_epochs=range(1,11)",
        "trainer.per_device_train_batch_size=16", "optimizer.learning_rate=tag(log,interval(1e-4,1e-3))",
        "hydra.sweeper.study.sampler=random", f"hydra.sweeper.study.n_trials={trials}", "predict=false",
        "hydra.sweeper.workers=2", "tracking.system_metrics=false",
    ], folder)  # fmt: skip
    return studies.load("quickstart", f"sqlite:///{folder}/mlruns/optuna.db").get_trials()


def spans(trials: Sequence[Any]) -> dict[str, list[Span]]:
    """Returns the spans of each worker's trials, by the worker."""
    from finesweep.study.records import TrialRecord

    by_worker: dict[str, list[Span]] = defaultdict(list)
    for trial in trials:
        if trial.datetime_start and trial.datetime_complete:
            span = trial.datetime_start.timestamp(), trial.datetime_complete.timestamp()
            by_worker[str(TrialRecord(trial).owner)].append(span)
    return by_worker


def idle(workers: Mapping[str, list[Span]], until: float) -> float:
    begin = min(start for own in workers.values() for start, _ in own)
    busy = sum(
        max(0.0, min(end, until) - start) for own in workers.values() for start, end in own if start < until
    )
    return 1 - busy / (len(workers) * (until - begin))


def in_batches(durations: Sequence[float]) -> float:
    """Returns the idle share of two joblib workers that wait for each other after every pair of trials."""
    from joblib import Parallel, delayed

    with Parallel(n_jobs=2) as pool:
        pool(delayed(time.sleep)(0) for _ in range(2))  # starts the processes, outside the measured time
        begin = time.monotonic()
        for index in range(0, len(durations), 2):
            pool(delayed(time.sleep)(duration) for duration in durations[index : index + 2])
        return 1 - sum(durations) / (2 * (time.monotonic() - begin))


def measured(trials: int) -> dict[str, Sample]:
    workers: dict[str, list[Span]] = {}

    def work() -> float:
        with TemporaryDirectory() as folder:
            workers.update(spans(sweep(trials, Path(folder))))
        return idle(workers, max(start for own in workers.values() for start, _ in own))

    while_left = sample(work)
    every = sorted(span for own in workers.values() for span in own)
    return {
        "in batches": sample(lambda: in_batches([end - start for start, end in every])),
        "while budget is left": while_left,
        "to the end": replace(while_left, value=idle(workers, max(end for _, end in every))),
    }


def variants(_: Path, quick: bool) -> dict[str, Work]:
    return {"workers": partial(measured, QUICK_TRIALS if quick else TRIALS)}


SECTIONS = [Section("workers", "share of two workers' time without a trial", variants, "in batches", False)]

if __name__ == "__main__":
    import runner

    runner.main(SECTIONS)
