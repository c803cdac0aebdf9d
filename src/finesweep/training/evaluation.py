"""Evaluates rows in batches of about equally many tokens, from the longest rows to the shortest."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from typing import Any, NamedTuple, TypeVar, cast

import numpy as np
import torch
from datasets import Dataset
from numpy.typing import NDArray
from torch.nn import Module
from torch.utils.data import SequentialSampler
from transformers import EvalPrediction, PreTrainedTokenizerBase, Trainer
from transformers.trainer_pt_utils import LengthGroupedSampler
from transformers.trainer_utils import EvalLoopOutput

from finesweep.training import ranks
from finesweep.training.batches import ReadyRows

Array = NDArray[Any]
T = TypeVar("T")
# In one batch, padding included. More needs more memory and is no faster on a CPU, whose caches it leaves.
BATCH_TOKENS = 4096
PADDING = -100  # of the outputs and labels of tokens; Trainer's


class TokenBatchTrainer(Trainer):
    """A Trainer that can evaluate by tokens; `per_device_eval_batch_size` is then a batch's most rows."""

    by_tokens = False
    side_by_side = 1  # batches at a time on a CPU, each computed by one thread: more of them change no digit

    def ready(self, rows: Dataset) -> ReadyRows:
        """Returns encoded rows in the form that this trainer reads."""
        return ReadyRows(rows, cast(PreTrainedTokenizerBase, self.processing_class), self.model)

    def _get_eval_sampler(self, eval_dataset: Any) -> Any:
        if self.by_tokens or self.args.train_sampling_strategy != "group_by_length":
            return SequentialSampler(eval_dataset)
        generator = torch.Generator().manual_seed(self.args.seed)
        lengths = eval_dataset.lengths.tolist()
        return LengthGroupedSampler(self.args.eval_batch_size, lengths=lengths, generator=generator)

    def evaluation_order(self, rows: ReadyRows) -> Array:
        """Returns the number of each row in the order in which evaluations score them: int64 [rows]."""
        if self.by_tokens or ranks.count() > 1:
            return np.arange(len(rows))
        return np.asarray(list(self._get_eval_sampler(rows)))

    def evaluation_loop(
        self,
        dataloader: Any,
        description: str,
        prediction_loss_only: bool | None = None,
        ignore_keys: list[str] | None = None,
        metric_key_prefix: str = "eval",
    ) -> EvalLoopOutput:
        """Predicts and scores all rows, in the order of the rows."""
        rows = dataloader.dataset
        if not self.by_tokens and ranks.count() == 1:
            return super().evaluation_loop(
                dataloader, description, prediction_loss_only, ignore_keys, metric_key_prefix
            )
        parts = ranks.in_turn(self._outputs(rows))
        scored = self._scored(rows, parts) if ranks.is_first() else _Scored(np.empty(0), None, {})
        metrics = ranks.from_first(scored.metrics)
        named = {f"{metric_key_prefix}_{name}": float(value) for name, value in metrics.items()}
        return EvalLoopOutput(scored.logits, scored.labels, named, len(rows))

    def _outputs(self, rows: ReadyRows) -> Iterator["_Outputs"]:
        """Computes this rank's share: of n ranks, each n-th of the batches that one rank alone would have."""
        model = self._prepared()

        def compute(batch: Array) -> _Outputs:
            with torch.inference_mode():  # of the thread
                loss, outputs, true = self.prediction_step(model, rows.__getitems__(batch.tolist()), False)
                summed = None if loss is None else float(loss) * len(batch)
                return _Outputs(batch, _array(outputs), None if true is None else _array(true), summed)

        share = list(islice(self._batches(rows), ranks.index(), None, ranks.count()))
        for made in self._computed(compute, share):
            yield made
            self.control = self.callback_handler.on_prediction_step(self.args, self.state, self.control)

    def _prepared(self) -> Module:
        """Returns the model, which computes in the precision of the run.

        By accelerate's autocast: a training has asked for it, a prediction has not.
        """
        assert self.model is not None
        model: Module = self._wrap_model(self.model, training=False)
        if not self.accelerator._models:
            model = self.accelerator.prepare_model(model, evaluation_mode=True)
        return model.eval()

    def _computed(self, compute: Callable[[Array], T], batches: Sequence[Array]) -> Iterator[T]:
        """Yields what each batch gives, in order. The thread count of torch is a thread's own."""
        if self.side_by_side == 1:
            yield from map(compute, batches)
            return
        with ThreadPoolExecutor(self.side_by_side, initializer=torch.set_num_threads, initargs=(1,)) as pool:
            yield from pool.map(compute, batches)

    def _batches(self, rows: ReadyRows) -> Iterator[Array]:
        """Yields row numbers; the first batch has the longest row."""
        size = self.args.eval_batch_size
        if self.by_tokens:
            yield from token_batches(rows.lengths, size)
        else:  # as the library's loop, which evaluates some rows twice for ranks that have a batch less
            order = np.asarray(list(self._get_eval_sampler(rows)))
            yield from np.split(order, range(size, len(order), size))

    def _scored(self, rows: ReadyRows, parts: Iterable["_Outputs"]) -> "_Scored":
        """Puts the outputs of all batches in the order of the rows, and scores them if they have labels."""
        losses, logits, labels = [], _Gathered(len(rows)), _Gathered(len(rows))
        for part in parts:
            logits.put(part.batch, part.logits)
            if part.labels is not None and part.loss is not None:
                labels.put(part.batch, part.labels)
                losses.append(part.loss)
        assert logits.array is not None, "there are no rows"
        metrics: dict[str, Any] = {}
        if labels.array is not None:
            if self.compute_metrics is not None:
                metrics = self.compute_metrics(EvalPrediction(logits.array, labels.array))
            metrics["loss"] = sum(losses) / len(rows)
        return _Scored(logits.array, labels.array, metrics)


class _Outputs(NamedTuple):
    """What the model makes of one batch."""

    batch: Array  # the numbers of its rows
    logits: Array  # float32 [rows, outputs] or [rows, tokens, tags]
    labels: Array | None  # [rows, ...], padded like them
    loss: float | None  # summed over its rows; None without labels


class _Scored(NamedTuple):
    """The outputs of all rows, as `_Outputs` has them, and what is scored with them."""

    logits: Array
    labels: Array | None
    metrics: dict[str, Any]


def _array(outputs: Any) -> Array:
    """outputs: a tensor, or the model's outputs with the logits first."""
    tensor = outputs[0] if isinstance(outputs, tuple) else outputs
    array: Array = (tensor.float() if tensor.is_floating_point() else tensor).cpu().numpy()
    return array


class _Gathered:
    """The outputs of all rows, put in place batch by batch. The first batch has the longest rows."""

    def __init__(self, rows: int) -> None:
        self.rows = rows
        self.array: Array | None = None

    def put(self, batch: Array, values: Array) -> None:
        """batch: the numbers of its rows."""
        if self.array is None:
            self.array = np.full((self.rows, *values.shape[1:]), PADDING, values.dtype)
        place = (batch,) if values.ndim == 1 else (batch, slice(values.shape[1]))
        self.array[place] = values


def predict(trainer: TokenBatchTrainer, dataset: Dataset) -> Array:
    """Predicts logits, in the order of `dataset`: float32 [rows, outputs] or [rows, tokens, tags]."""
    return outputs(trainer, dataset)[0]


def outputs(trainer: TokenBatchTrainer, dataset: Dataset) -> tuple[Array, Array | None]:
    """Returns the same logits, and the rows' padded labels if they have any: [rows, ...]."""
    ordered, order = by_length(dataset)
    found = trainer.predict(trainer.ready(ordered))
    output, labels = found.predictions, found.label_ids
    logits = np.asarray(output[0] if isinstance(output, tuple) else output)
    places = np.argsort(order)
    return logits[places], None if labels is None else np.asarray(labels)[places]


def by_length(dataset: Dataset) -> tuple[Dataset, Array]:
    """Sorts rows from longest to shortest. Also returns each sorted row's original index, int64 [rows]."""
    order = order_by_length(dataset)
    return dataset.select(order), order


def order_by_length(dataset: Dataset) -> Array:
    """Returns the rows' indices, the longest row first: int64 [rows]."""
    return np.argsort(-np.asarray(dataset["length"][:]), kind="stable")


def token_batches(lengths: Array, most_rows: int) -> Iterator[Array]:
    """Yields row numbers, longest rows first: at most `most_rows`, and `BATCH_TOKENS` with padding.

    lengths: of each row, in tokens. A row that is longer than the limit is a batch of its own.
    """
    order = np.argsort(-lengths, kind="stable")
    start = 0
    while start < len(order):
        longest = max(1, int(lengths[order[start]]))
        count = min(most_rows, max(1, BATCH_TOKENS // longest))
        yield order[start : start + count]
        start += count
