"""Computes the final score and writes the prediction files of a chosen checkpoint."""

import json
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import torch
from datasets import Dataset
from transformers import PreTrainedTokenizerBase
from transformers.trainer_callback import PrinterCallback

from finesweep.config.run import RunConfig
from finesweep.errors import ModelError
from finesweep.hooks import current_hooks
from finesweep.io import checkpoint
from finesweep.io.atomic import write_text
from finesweep.provenance.content import column_hashes
from finesweep.tasks import Scorer, Task
from finesweep.tasks.glue_submission import write_submission
from finesweep.tasks.prediction_file import write_predictions
from finesweep.tasks.template import write_own_submission
from finesweep.tracking import TrackedRun
from finesweep.training.adapters import load_trained
from finesweep.training.arguments import training_arguments
from finesweep.training.batches import is_ready
from finesweep.training.evaluation import TokenBatchTrainer, predict
from finesweep.training.inputs import Inputs, encoded
from finesweep.training.preflight import submission_problem
from finesweep.training.shortcuts import shorten


@dataclass(frozen=True)
class Predicted:
    """The final score and the prediction files of a checkpoint."""

    metrics: dict[str, float]  # final_accuracy and so on; empty without data.final_eval_split
    submissions: list[Path]  # one file for each test split
    scorer: Scorer | None = None  # with the rows of the final score, if there is one
    folder: Path | None = None  # the checkpoint

    @property
    def hashes(self) -> dict[str, str]:
        """SHA-256 of each submission file, by file name."""
        return {path.name: checkpoint.sha256(path) for path in self.submissions}


def score_and_predict(
    config: RunConfig,
    inputs: Inputs,
    folder: Path,
    output_dir: Path,
    tracked: TrackedRun,
    cores: int | None = None,
    more: Collection[str] = (),
) -> Predicted:
    """Scores `data.final_eval_split`, predicts `data.test_split`, and logs both in the MLflow run.

    `folder` is the published checkpoint; it is verified first. Files go under `output_dir`/submission.
    cores: how many may compute, if more than the run had. more: names of further metrics to score.
    Raises: ModelError for a damaged checkpoint, SubmissionError for a test split that is not official.
    """
    if reason := checkpoint.find_damage(folder):
        raise ModelError(f"{folder}: the checkpoint is damaged: {reason}")
    with TemporaryDirectory() as scratch:
        trainer = predictor(config, inputs.task, inputs.tokenizer, folder, Path(scratch), cores)
        hooks = current_hooks.get()
        scorer = Scorer(inputs.task, inputs.names, {*hooks.metrics, *more} if hooks else more)
        trainer.compute_metrics = scorer
        metrics = _final_metrics(config, inputs, trainer)
        test = inputs.splits.test if config.predict else {}
        encoded = {split: _encoded(config, inputs, f"test {split}", rows) for split, rows in test.items()}
        predicted = {split: (rows, predict(trainer, rows)) for split, rows in encoded.items()}
    paths = [
        write(config, inputs, split, rows, logits, output_dir) for split, (rows, logits) in predicted.items()
    ]
    if metrics:
        tracked.log_metrics(metrics, step=0)
    if paths:
        _log(paths, folder, tracked)
    return Predicted(metrics, paths, scorer, folder)


def predictor(
    config: RunConfig,
    task: Task,
    tokenizer: PreTrainedTokenizerBase,
    folder: Path,
    scratch: Path,
    cores: int | None = None,
) -> TokenBatchTrainer:
    """Returns a trainer that predicts with the checkpoint `folder`; it scores nothing yet.

    On a CPU each core has a batch of its own (`token_batches`), so every number of cores gives the same
    predictions.
    Raises: ModelError if the checkpoint cannot be loaded, or lacks weights.
    """
    model = load_trained(folder, task.model_class, config.model)
    shorten(model, config.trainer)
    trainer = TokenBatchTrainer(
        model=model,
        # With grouping, the Trainer would return predictions in another order; `predict` sorts rows itself.
        args=training_arguments(config, scratch, sampling="sequential"),
        processing_class=tokenizer,
        data_collator=is_ready,
    )
    trainer.by_tokens = "token_batches" in config.trainer.shortcuts
    if trainer.args.use_cpu:
        trainer.side_by_side = cores or torch.get_num_threads()
    trainer.remove_callback(PrinterCallback)
    return trainer


def _final_metrics(config: RunConfig, inputs: Inputs, trainer: TokenBatchTrainer) -> dict[str, float]:
    rows: Dataset | None = inputs.splits.final_eval
    if rows is None:
        return {}
    encoded = _encoded(config, inputs, "final_eval", rows)
    output = trainer.evaluate(trainer.ready(encoded), metric_key_prefix="final")
    return {key: float(value) for key, value in output.items() if key.startswith("final_")}


def _encoded(config: RunConfig, inputs: Inputs, name: str, rows: Dataset) -> Dataset:
    """Encodes a split, and adds the hashes of the encoded rows to the run's provenance."""
    dataset = encoded(config, inputs.task, inputs.tokenizer, rows, name)
    inputs.content[name].encoded = column_hashes(dataset)  # the run's record holds the same object
    return dataset


def write(
    config: RunConfig, inputs: Inputs, split: str, rows: Dataset, logits: np.ndarray, output_dir: Path
) -> Path:
    """Writes the file for GLUE's server, or the prediction file of the task type for the user's own rows."""
    folder, glue_task = output_dir / "submission", config.data.glue_task
    if submission := inputs.splits.submission:
        return write_own_submission(folder, submission, inputs.task, logits, rows, inputs.names)
    if glue_task is None:
        return write_predictions(folder, split, *inputs.task.answers(logits, rows, inputs.names))
    predictions = inputs.task.decide(inputs.task.scores(logits))  # [rows]
    whole = submission_problem(config, split, len(predictions)) is None
    return write_submission(glue_task, split, predictions.tolist(), inputs.splits.labels, folder, whole)


def _log(paths: list[Path], folder: Path, tracked: TrackedRun) -> None:
    """Logs the files, and a source.json that says which run and checkpoint they come from."""
    for path in paths:
        tracked.log_file(path, "submission")
    source = {"run_id": tracked.run_id, "checkpoint": str(folder),
              "weights_sha256": checkpoint.weights_sha256(folder)}  # fmt: skip
    path = paths[0].parent / "source.json"
    write_text(path, json.dumps(source, indent=2) + "\n")
    tracked.log_file(path, "submission")
