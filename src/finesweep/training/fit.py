"""Builds the model and the trainer of a run and trains: what one process does, alone or as a rank."""

from collections.abc import Collection
from pathlib import Path

from transformers import set_seed

from finesweep.config.run import RunConfig
from finesweep.hooks import StepHooks
from finesweep.tasks import Scorer
from finesweep.training import ranks
from finesweep.training.callback import MetricLog, TrainingCallback
from finesweep.training.inputs import Inputs
from finesweep.training.model import load_model
from finesweep.training.trainer import Trained, build_trainer, publish, steps_per_epoch, train

APART = 1_000_003  # between the seeds of two ranks


def fit(
    config: RunConfig,
    inputs: Inputs,
    folder: Path,
    resume: Path | None,
    log: MetricLog,
    trial: StepHooks | None,
    metrics: Collection[str] = (),
) -> Trained | None:
    """Trains, and publishes the best checkpoint. Returns None in all ranks but the first, which publishes.

    folder, resume: as for `train`. metrics: names of further ones to score. Raises: as `train`.
    """
    model = load_model(config.model, inputs.tokenizer, inputs.task, inputs.names, config.seed, config.peft)
    scorer = Scorer(inputs.task, inputs.names, metrics)
    callback = TrainingCallback(config, scorer, steps_per_epoch(config, len(inputs.train)), log, trial)
    trainer = build_trainer(config, model, inputs, folder, callback)
    if not ranks.is_first():  # or all ranks would drop the same places of their rows
        set_seed((config.seed + APART * ranks.index()) % 2**32)
    train(trainer, callback, folder, resume)
    return publish(trainer, callback, folder) if ranks.is_first() else None
