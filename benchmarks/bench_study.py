"""Measures a study's own cost at 100, 1,000 and 10,000 trials, beside Optuna alone on the same study.

    python benchmarks/bench_study.py [study-100 study-1000 study-10000] [--quick]

The study has three dimensions, twenty intermediate values for each trial, and the attributes that a worker
writes. `first read` is the first suggestion and its result in a worker, which reads the study; `ask and tell`
are later ones. `bench_startup.py` measures `finesweep status` and `best` on such studies.
"""

import random
from datetime import datetime, timedelta
from functools import partial
from pathlib import Path

import optuna
from measure import Sample, Section, Work, seconds
from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.trial import FrozenTrial

from finesweep.config.run import Direction
from finesweep.config.study import StudyConfig
from finesweep.hooks import RunState
from finesweep.study import studies
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
        name="s", storage=f"sqlite:///{folder}/optuna.db", n_trials=trials + 1000, sampler="tpe"
    )
    attrs = StudyRecord.attributes(
        n_trials=config.n_trials, metric="accuracy", objectives={"accuracy": "maximize"}
    )
    study = studies.create(config, {"accuracy": Direction.maximize}, [], attrs)
    rng = random.Random(0)
    study.add_trials([finished(index, rng) for index in range(trials)])
    return config


def ask(queue: TrialQueue) -> None:
    trial = queue.next_trial()
    assert trial is not None
    queue.sign_off(trial.number, Outcome(RunState.COMPLETE, [0.5]))
    queue.tell(trial.number)


def finesweep(config: StudyConfig) -> dict[str, Sample]:
    queue = TrialQueue(config, SPACE, run_seed=42)
    return {what: seconds(partial(ask, queue)) for what in ("first read", "ask and tell")}


def optuna_alone(config: StudyConfig) -> dict[str, Sample]:
    assert config.name is not None
    sampler = optuna.samplers.TPESampler()
    study = optuna.load_study(study_name=config.name, storage=config.storage, sampler=sampler)

    def ask_and_tell() -> None:
        study.tell(study.ask({one.name: one.distribution for one in SPACE}), 0.5)

    return {f"Optuna alone, {what}": seconds(ask_and_tell) for what in ("first read", "ask and tell")}


def variants(trials: int, folder: Path, quick: bool) -> dict[str, Work]:
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    config = build(trials, folder)
    return {"Optuna alone": partial(optuna_alone, config), "finesweep": partial(finesweep, config)}


SECTIONS = [
    Section(f"study-{trials}", f"seconds, a study of {trials:,} trials", partial(variants, trials),
            "Optuna alone, ask and tell", in_quick=trials == 100)
    for trials in (100, 1000, 10_000)
]  # fmt: skip

if __name__ == "__main__":
    import runner

    runner.main(SECTIONS)
