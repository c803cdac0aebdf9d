"""Measures a large study: seconds for the next suggestion and for `finesweep status`, at 1,000 trials.

    python benchmarks/bench_study.py [--trials 1000] [--repeats 5]      about a minute

The study has three dimensions, twenty intermediate values for each trial, and the attributes that a worker
writes. Prints one JSON line with the seconds of every repeat: `ask_cold` is a worker's first `next_trial`,
which reads the study; `ask_and_tell` is a later one and the report of its result; `status` is the command,
from start to exit.
"""

import argparse
import json
import random
import subprocess
import sys
import tempfile
import time
from datetime import datetime, timedelta
from pathlib import Path

import optuna
from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.trial import FrozenTrial

from finesweep.config.run import Direction
from finesweep.config.study import Sampler, StudyConfig
from finesweep.study import storage as studies
from finesweep.study.queue import Outcome, TrialQueue
from finesweep.study.space import Dimension, Space

SPACE: Space = (
    Dimension("optimizer.learning_rate", "optimizer.learning_rate", FloatDistribution(1e-5, 1e-3, log=True)),
    Dimension("trainer.num_train_epochs", "trainer.num_train_epochs", IntDistribution(1, 6)),
    Dimension("batch", "trainer.per_device_train_batch_size", CategoricalDistribution([8, 16, 32, 64])),
)


def finished(index: int, rng: random.Random) -> FrozenTrial:
    value = rng.random()
    pruned = index % 3 == 0
    trial = optuna.trial.create_trial(
        state=optuna.trial.TrialState.PRUNED if pruned else optuna.trial.TrialState.COMPLETE,
        value=None if pruned else value,
        params={SPACE[0].name: 10 ** rng.uniform(-5, -3), SPACE[1].name: rng.randint(1, 6),
                SPACE[2].name: rng.choice([8, 16, 32, 64])},
        distributions={dimension.name: dimension.distribution for dimension in SPACE},
        intermediate_values={step: value * step / 100 for step in range(5, 35 if pruned else 101, 5)},
        user_attrs={
            studies.OWNER: "host|1|1.00", studies.BEAT: 1.0, studies.ORDINAL: index,
            studies.RUN_ID: f"{index:032x}",
            studies.FOLDER: f"outputs/studies/s/trial-{index:04d}", studies.CHECKPOINT: None,
            studies.OVERRIDES: ["optimizer.learning_rate=1e-3", "trainer.num_train_epochs=3"],
            studies.LIVE: {"step": 100, "max_steps": 100, "trained_steps": 100, "epoch": 3.0},
            studies.OUTCOME: {"state": "COMPLETE", "values": [value]},
        },
    )  # fmt: skip
    trial.datetime_start = datetime.now() - timedelta(seconds=20)
    return trial


def build(trials: int, folder: Path) -> StudyConfig:
    config = StudyConfig(
        name="s", storage=f"sqlite:///{folder}/optuna.db", n_trials=trials + 1000, sampler=Sampler.tpe
    )
    attrs = {"n_trials": config.n_trials, "metric": "accuracy", "objectives": {"accuracy": "maximize"}}
    study = studies.create(config, {"accuracy": Direction.maximize}, [], attrs)
    rng = random.Random(0)
    study.add_trials([finished(index, rng) for index in range(trials)])
    return config


def seconds(function: object, *arguments: object) -> float:
    start = time.perf_counter()
    function(*arguments)  # type: ignore[operator]
    return round(time.perf_counter() - start, 3)


def ask(queue: TrialQueue) -> None:
    trial = queue.next_trial()
    assert trial is not None
    queue.sign_off(trial.number, Outcome("COMPLETE", [0.5]))
    queue.tell(trial.number)


def status(config: StudyConfig) -> None:
    command = [sys.executable, "-m", "finesweep.cli.main", "status", "s", "--storage", config.storage]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--trials", type=int, default=1000)
    parser.add_argument("--repeats", type=int, default=5)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        config = build(arguments.trials, Path(folder))
        cold, warm = [], []
        for _ in range(arguments.repeats):
            queue = TrialQueue(config, SPACE)
            cold.append(seconds(queue.next_trial))
            warm += [seconds(ask, queue) for _ in range(3)]
        timings = {"ask_cold": cold, "ask_and_tell": warm}
        timings["status"] = [seconds(status, config) for _ in range(arguments.repeats)]
    print(json.dumps({"trials": arguments.trials} | timings))


if __name__ == "__main__":
    main()
