"""Measures how long two workers are idle, compared with a loop that runs its trials in batches.

    python benchmarks/bench_workers.py [--trials 30] [--rows 1500]      about three minutes

The sweep is `python train.py -m`, with real trainings of one to ten epochs. Then a batch-synchronous loop
over joblib sleeps for the same durations, as hydra-optuna-sweeper would run them: two trials at a time, the
next two when both have ended. Prints one JSON line. `idle_*` is the share of the workers' time in which they
ran no trial, from the start of the first trial: `while_budget_left` until the last trial is taken, `whole` to
the end.
"""

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from pathlib import Path

from joblib import Parallel, delayed
from optuna.trial import FrozenTrial

from finesweep.study import storage as studies

TRAIN = Path(__file__).resolve().parent.parent / "train.py"
Span = tuple[float, float]  # start and end, seconds


def sweep(trials: int, rows: int, folder: Path) -> list[FrozenTrial]:
    command = [
        sys.executable, str(TRAIN), "-m", f"data.demo_rows={rows}", "trainer.num_train_epochs=range(1,11)",
        "trainer.per_device_train_batch_size=16", "optimizer.learning_rate=tag(log,interval(1e-4,1e-3))",
        "hydra.sweeper.study.sampler=random", f"hydra.sweeper.study.n_trials={trials}", "predict=false",
        "hydra.sweeper.workers=2", "tracking.system_metrics=false",
    ]  # fmt: skip
    subprocess.run(command, cwd=folder, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    trials_run = studies.load("quickstart", f"sqlite:///{folder}/mlruns/optuna.db").get_trials()
    return [trial for trial in trials_run if trial.datetime_start and trial.datetime_complete]


def spans(trials: list[FrozenTrial]) -> dict[str, list[Span]]:
    """Returns the spans of each worker's trials, by the worker's owner attribute."""
    by_worker: dict[str, list[Span]] = defaultdict(list)
    for trial in trials:
        assert trial.datetime_start and trial.datetime_complete
        span = trial.datetime_start.timestamp(), trial.datetime_complete.timestamp()
        by_worker[trial.user_attrs[studies.OWNER]].append(span)
    return by_worker


def idle(workers: dict[str, list[Span]], until: float) -> float:
    begin = min(start for own in workers.values() for start, _ in own)
    busy = sum(
        max(0.0, min(end, until) - start) for own in workers.values() for start, end in own if start < until
    )
    return 1 - busy / (len(workers) * (until - begin))


def in_batches(durations: list[float]) -> float:
    """Returns the idle share of two joblib workers that wait for each other after every pair of trials."""
    with Parallel(n_jobs=2) as pool:
        pool(delayed(time.sleep)(0) for _ in range(2))  # starts the processes, outside the measured time
        begin = time.monotonic()
        for index in range(0, len(durations), 2):
            pool(delayed(time.sleep)(duration) for duration in durations[index : index + 2])
        return 1 - sum(durations) / (2 * (time.monotonic() - begin))


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--trials", type=int, default=30)
    parser.add_argument("--rows", type=int, default=1500)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        trials = sweep(arguments.trials, arguments.rows, Path(folder))
    workers = spans(trials)
    every = [span for own in workers.values() for span in own]
    durations = [end - start for start, end in sorted(every)]
    print(json.dumps({
        "trials": len(trials),
        "workers": len(workers),
        "trial_seconds": {"min": round(min(durations), 1), "median": round(statistics.median(durations), 1),
                          "max": round(max(durations), 1)},
        "idle_while_budget_left": round(idle(workers, max(start for start, _ in every)), 4),
        "idle_whole": round(idle(workers, max(end for _, end in every)), 4),
        "idle_in_batches": round(in_batches(durations), 4),
    }))  # fmt: skip


if __name__ == "__main__":
    main()
