"""Measures a large study: seconds for the next suggestion, at 1,000 trials.

    python benchmarks/bench_study.py [--trials 1000] [--repeats 5]      about a minute

The study has three dimensions, twenty intermediate values for each trial, and the attributes that a worker
writes. Prints a JSON line with CPU and wall seconds of each: median, least and most. `ask_cold` is the first
`next_trial` of a worker, which reads the study; `ask_and_tell` is a later one and the report of its result.
`bench_startup.py` measures `finesweep status` and `best` on such studies.
"""

import argparse
import json
import random
import statistics
import tempfile
import time
from collections.abc import Callable, Iterable
from datetime import datetime, timedelta
from pathlib import Path

import optuna
from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.trial import FrozenTrial

from finesweep.config.run import Direction
from finesweep.config.study import Sampler, StudyConfig
from finesweep.hooks import RunState
from finesweep.study import storage as studies
from finesweep.study.queue import TrialQueue
from finesweep.study.records import Outcome, Progress, StudyRecord, TrialRecord
from finesweep.study.space import Dimension, Space

SPACE: Space = (
    Dimension("optimizer.learning_rate", "optimizer.learning_rate", FloatDistribution(1e-5, 1e-3, log=True)),
    Dimension("trainer.num_train_epochs", "trainer.num_train_epochs", IntDistribution(1, 6)),
    Dimension("batch", "trainer.per_device_train_batch_size", CategoricalDistribution([8, 16, 32, 64])),
)


def finished(index: int, rng: random.Random) -> FrozenTrial:
    value = rng.random()
    pruned = index % 3 == 1
    trial = optuna.trial.create_trial(
        state=optuna.trial.TrialState.PRUNED if pruned else optuna.trial.TrialState.COMPLETE,
        value=None if pruned else value,
        params={SPACE[0].name: 10 ** rng.uniform(-5, -3), SPACE[1].name: rng.randint(1, 6),
                SPACE[2].name: rng.choice([8, 16, 32, 64])},
        distributions={dimension.name: dimension.distribution for dimension in SPACE},
        intermediate_values={step: value * step / 100 for step in range(5, 35 if pruned else 101, 5)},
        user_attrs=TrialRecord.attributes(
            owner="host|boot|1|1|1", started=20.0 * index, heartbeat=20.0 * index + 20, ordinal=index,
            run_id=f"{index:032x}", folder=f"outputs/studies/s/trial-{index:04d}", checkpoint=None,
            overrides=["optimizer.learning_rate=1e-3", "trainer.num_train_epochs=3"],
            progress=Progress(step=100, max_steps=100, trained_steps=100, epoch=3.0),
            outcome=Outcome(RunState.COMPLETE, [value]),
        ),
    )  # fmt: skip
    trial.datetime_start = datetime.now() - timedelta(seconds=20)
    return trial


def build(trials: int, folder: Path) -> StudyConfig:
    config = StudyConfig(
        name="s", storage=f"sqlite:///{folder}/optuna.db", n_trials=trials + 1000, sampler=Sampler.tpe
    )
    attrs = StudyRecord.attributes(
        n_trials=config.n_trials, metric="accuracy", objectives={"accuracy": "maximize"}
    )
    study = studies.create(config, {"accuracy": Direction.maximize}, [], attrs)
    rng = random.Random(0)
    study.add_trials([finished(index, rng) for index in range(trials)])
    return config


def seconds(function: Callable[[], object]) -> tuple[float, float]:
    """Returns CPU and wall seconds."""
    cpu, wall = time.process_time(), time.perf_counter()
    function()
    return time.process_time() - cpu, time.perf_counter() - wall


def ask(queue: TrialQueue) -> None:
    trial = queue.next_trial()
    assert trial is not None
    queue.sign_off(trial.number, Outcome(RunState.COMPLETE, [0.5]))
    queue.tell(trial.number)


def spread(values: Iterable[float]) -> dict[str, float]:
    ordered = [round(value, 4) for value in sorted(values)]
    return {"median": statistics.median(ordered), "least": ordered[0], "most": ordered[-1]}


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--trials", type=int, default=1000)
    parser.add_argument("--repeats", type=int, default=5)
    arguments = parser.parse_args()
    timings: dict[str, list[tuple[float, float]]] = {"ask_cold": [], "ask_and_tell": []}
    with tempfile.TemporaryDirectory() as folder:
        config = build(arguments.trials, Path(folder))
        for _ in range(arguments.repeats):
            queue = TrialQueue(config, SPACE, run_seed=42)
            timings["ask_cold"].append(seconds(lambda queue=queue: queue.next_trial()))
            timings["ask_and_tell"] += [seconds(lambda queue=queue: ask(queue)) for _ in range(3)]
    for name, pairs in timings.items():
        cpu, wall = zip(*pairs, strict=True)
        print(
            json.dumps({"trials": arguments.trials, "what": name, "cpu": spread(cpu), "wall": spread(wall)})
        )


if __name__ == "__main__":
    main()
