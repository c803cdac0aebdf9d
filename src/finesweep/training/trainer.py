"""Trains a model: transformers' Trainer with grouped batches, a fused optimizer and verified checkpoints."""

import logging
import math
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, cast

import torch
from transformers import PreTrainedModel, PreTrainedTokenizerBase
from transformers.trainer_callback import PrinterCallback
from transformers.trainer_pt_utils import LengthGroupedSampler, get_length_grouped_indices

from finesweep.config.run import RunConfig, metric_key
from finesweep.data.source import LABEL
from finesweep.hooks import Noise
from finesweep.io import checkpoint
from finesweep.io.output import check_writable
from finesweep.tasks import Scorer, Task, evaluated, resampling
from finesweep.tasks.class_weights import class_weights
from finesweep.training import adapters, ranks
from finesweep.training.arguments import training_arguments
from finesweep.training.batches import ReadyRows, is_ready
from finesweep.training.callback import LossNotFinite, TrainingCallback
from finesweep.training.embeddings import OccurringEmbedding
from finesweep.training.evaluation import TokenBatchTrainer, order_by_length
from finesweep.training.inputs import Inputs
from finesweep.training.shortcuts import shorten, trim_embedding

log = logging.getLogger(__name__)
MAX_CHECKPOINTS = 3  # on disk at once: the best, the newest, and the one being written


@dataclass(frozen=True)
class Trained:
    """The result of a training."""

    checkpoint: Path  # of the best evaluation; loads with `from_pretrained`
    step: int  # of that evaluation
    value: float  # of `data.metric` in that evaluation
    metrics: dict[str, float]  # all metrics of that evaluation, and the training's throughput
    predictions: str  # a hash of that evaluation's predictions


class EpochSampler(LengthGroupedSampler):
    """Groups rows of similar length, in an order that depends on seed and epoch alone.

    The library's sampler draws the order from the global random state. A training that resumes within an
    epoch has another state, and would continue with other rows.
    """

    def __init__(self, batch_size: int, lengths: list[int], seed: int) -> None:
        super().__init__(batch_size, lengths=lengths, generator=torch.Generator())
        self.seed, self.epoch = seed, 0

    def set_epoch(self, epoch: int) -> None:
        self.epoch = epoch

    def __iter__(self) -> Iterator[int]:
        self.generator.manual_seed(self.seed * 1_000_003 + self.epoch)
        return iter(get_length_grouped_indices(self.lengths, self.batch_size, generator=self.generator))


class WholeCheckpointTrainer(TokenBatchTrainer):
    """A Trainer that writes checkpoints whole or not at all, and raises if a loss is not finite."""

    callback: TrainingCallback
    task: Task
    class_weights: torch.Tensor | None = None  # [labels] float32, on the model's device
    trimmed: OccurringEmbedding | None = None

    def create_optimizer(self, *args: Any, **kwargs: Any) -> torch.optim.Optimizer:
        optimizer = super().create_optimizer(*args, **kwargs)
        if self.trimmed is not None:
            self.trimmed.decay_with(optimizer)
        return optimizer

    def floating_point_ops(self, inputs: Any) -> int:
        return 0  # nobody reads the estimate, which walks through the whole model at each step

    def compute_loss(self, model: Any, inputs: Any, *args: Any, **kwargs: Any) -> Any:
        """Computes the weighted loss if there are class weights; else the model computes its own loss."""
        if self.class_weights is None:
            return super().compute_loss(model, inputs, *args, **kwargs)
        labels = inputs["labels"]
        outputs = model(**{name: value for name, value in inputs.items() if name != "labels"})
        loss = self.task.weighted_loss(outputs.logits, labels, self.class_weights.to(outputs.logits.device))
        return (loss, outputs) if kwargs.get("return_outputs") else loss

    def store_flos(self) -> None: ...  # nobody reads them, and of several ranks only the first saves

    def _save_checkpoint(self, model: torch.nn.Module, trial: Any) -> None:
        """Saves into a staging folder, which `checkpoint.save` then verifies and renames.

        Of several ranks, the first saves, with what belongs to each of them.
        """
        target = str(self.args.output_dir)
        losses = ranks.gathered(self.callback.summed_loss())
        states = ranks.gathered(self._random_state()) if ranks.count() > 1 else []
        if not ranks.is_first():
            return

        def write(staging: Path) -> None:
            self.args.output_dir = str(staging)
            super(WholeCheckpointTrainer, self)._save_checkpoint(model, trial)
            (inner,) = staging.iterdir()
            for path in inner.iterdir():
                path.rename(staging / path.name)
            inner.rmdir()
            (staging / "training_args.bin").unlink(missing_ok=True)  # a pickle that nothing here reads
            for name, content in states:
                (staging / name).write_bytes(content)
            self.callback.carry(staging, losses)

        try:
            checkpoint.save(write, Path(target), self.state.global_step)
        finally:
            self.args.output_dir = target

    def _random_state(self) -> tuple[str, bytes]:
        """Returns the library's file of this rank's random states: its name and its content."""
        with TemporaryDirectory() as folder:
            self._save_rng_state(folder)
            (file,) = Path(folder).iterdir()
            return file.name, file.read_bytes()

    def _save(self, output_dir: str | None = None, state_dict: Any = None) -> None:
        if not adapters.is_adapted(self.model):
            return super()._save(output_dir, state_dict)
        adapters.save(self.model, self.callback.config.model, Path(str(output_dir)))
        cast(PreTrainedTokenizerBase, self.processing_class).save_pretrained(str(output_dir))

    def _load_from_checkpoint(self, resume_from_checkpoint: str, model: Any = None) -> None:
        if adapters.is_adapted(self.model):
            adapters.resume(self.model, Path(resume_from_checkpoint))
        else:
            super()._load_from_checkpoint(resume_from_checkpoint, model)

    def _get_train_sampler(self, train_dataset: Any = None) -> EpochSampler:
        rows = cast(ReadyRows, self.train_dataset)
        together = self.args.train_batch_size * self.args.gradient_accumulation_steps * ranks.count()
        return EpochSampler(together, rows.lengths.tolist(), self.args.seed)

    def training_step(self, *args: Any, **kwargs: Any) -> torch.Tensor:
        loss = super().training_step(*args, **kwargs)  # scalar
        if loss.is_cuda:  # its value is read at the next log: reading it here would wait for the GPU
            self.callback.add_loss(loss.double())
            return loss
        value = loss.item()
        if not math.isfinite(value):
            raise LossNotFinite(f"loss is {value} at step {self.state.global_step + 1}")
        self.callback.add_loss(value)
        return loss


def build_trainer(
    config: RunConfig,
    model: PreTrainedModel,
    inputs: Inputs,
    folder: Path,
    callback: TrainingCallback,
) -> WholeCheckpointTrainer:
    """Builds the trainer of a run; its checkpoints go under `folder`."""
    ready = inputs.ready(model)
    shorten(model, config.trainer)
    trimmed = trim_embedding(model, config, ready)
    trainer = WholeCheckpointTrainer(
        model=model,
        args=training_arguments(config, folder),
        train_dataset=ready[0],
        eval_dataset=ready[1],
        processing_class=inputs.tokenizer,
        data_collator=is_ready,
        compute_metrics=callback.scorer,
        callbacks=[callback],
    )
    trainer.callback, trainer.task, trainer.trimmed = callback, inputs.task, trimmed
    if config.trainer.gradient_accumulation_steps * config.trainer.num_processes > 1:
        # The Trainer takes the loss of each model that takes keywords for a sum, divided by a step's labels.
        # BERT's is a batch's mean, though: gradients would be summed over the batches of a step.
        trainer.model_accepts_loss_kwargs = False
    trainer.by_tokens = "token_batches" in config.trainer.shortcuts
    callback.order = order_by_length(inputs.eval)[trainer.evaluation_order(ready[1])]
    weights = class_weights(inputs.task, inputs.names, inputs.splits.train[LABEL][:])
    if weights is not None:
        trainer.class_weights = torch.tensor(weights, dtype=torch.float32)
    trainer.remove_callback(PrinterCallback)
    return trainer


def train(
    trainer: WholeCheckpointTrainer, callback: TrainingCallback, folder: Path, resume: Path | None = None
) -> None:
    """Trains to the last epoch or to the callback's early stop; its checkpoints lie in `folder`.

    resume: an undamaged checkpoint of an interrupted try, from which the training goes on.
    Raises: OutputError before the first step if the disk has no room for all checkpoints; LossNotFinite,
    TrialPruned, KeyboardInterrupt.
    """
    if ranks.is_first():
        check_writable(folder, needed_bytes=_room_bytes(trainer.model))
    if resume and not callback.resume(resume):
        log.warning("the best checkpoint so far is damaged; the training starts again from the beginning")
        resume = None
    if not callback.patience_is_over:  # an interrupted try may have reached it
        trainer.train(resume_from_checkpoint=str(resume) if resume else None)


def publish(trainer: WholeCheckpointTrainer, callback: TrainingCallback, folder: Path) -> Trained:
    """Publishes the best evaluation's checkpoint of a training that is over.

    Side effects: writes `checkpoint/` beside `folder`, and removes `folder`.
    """
    throughput = _throughput(callback, cast(ReadyRows, trainer.train_dataset))
    best = callback.best_checkpoint(folder)
    published = checkpoint.publish(best, folder.parent / "checkpoint")
    checkpoint.keep_only(folder, {best})  # so a kill during rmtree leaves the best checkpoint, or none
    shutil.rmtree(folder)
    step, value, metrics = callback.best
    return Trained(published, step, value, metrics | throughput, callback.predictions.get(step, ""))


def noise_of(published: Path, scorer: Scorer) -> Noise | None:
    """Computes the noise of `data.metric` over the evaluated rows; None for checkpoints without them."""
    rows = evaluated.load(published)
    if rows is None:
        return None
    metric = scorer.metrics[metric_key(scorer.task.config.metric)]
    return resampling.noise(metric, scorer.judged(rows.scores, rows.references))


def _throughput(callback: TrainingCallback, rows: ReadyRows) -> dict[str, float]:
    """Computes the throughput of all tries together. rows: the encoded training split."""
    seconds, lengths = callback.seconds, rows.lengths.tolist()
    return {
        "train_runtime": seconds,
        "train_samples_per_second": len(lengths) * callback.epochs / seconds,
        "train_steps_per_second": callback.steps / seconds,
        "train_tokens_per_second": sum(lengths) * callback.epochs / seconds,
    }


def _room_bytes(model: Any) -> int:
    """Estimates the bytes of all checkpoints on disk: each has the weights and two optimizer moments."""
    saved = (p for p in model.parameters() if p.requires_grad or not adapters.is_adapted(model))
    weights: int = sum(p.numel() * p.element_size() for p in saved)
    return weights * 3 * MAX_CHECKPOINTS


def steps_per_epoch(config: RunConfig, rows: int) -> int:
    """Counts the optimizer steps of an epoch over `rows` training rows, of all processes together."""
    together = config.trainer.per_device_train_batch_size * config.trainer.num_processes
    return max(1, math.ceil(math.ceil(rows / together) / config.trainer.gradient_accumulation_steps))
