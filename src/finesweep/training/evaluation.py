"""Evaluates rows in batches of about equally many tokens, from the longest rows to the shortest."""

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar, cast

import numpy as np
import torch
from datasets import Dataset
from numpy.typing import NDArray
from torch.utils.data import SequentialSampler
from transformers import EvalPrediction, PreTrainedTokenizerBase, Trainer
from transformers.trainer_pt_utils import LengthGroupedSampler
from transformers.trainer_utils import EvalLoopOutput

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
        if not self.by_tokens:
            return super().evaluation_loop(
                dataloader, description, prediction_loss_only, ignore_keys, metric_key_prefix
            )
        loss, logits, labels = self._outputs(rows)
        metrics: dict[str, Any] = {}
        if labels is not None:
            if self.compute_metrics is not None:
                metrics = self.compute_metrics(EvalPrediction(predictions=logits, label_ids=labels))
            metrics["loss"] = loss
        named = {f"{metric_key_prefix}_{name}": float(value) for name, value in metrics.items()}
        return EvalLoopOutput(predictions=logits, label_ids=labels, metrics=named, num_samples=len(rows))

    def _outputs(self, rows: ReadyRows) -> tuple[float, Array, Array | None]:
        """Returns the rows' mean loss, NaN without labels; their logits; and their labels, None without.

        Logits are float32 [rows, outputs] or [rows, tokens, tags]; labels [rows, ...], padded like them.
        """
        assert self.model is not None
        model = self._wrap_model(self.model, training=False).eval()
        losses, logits, labels = [], _Gathered(len(rows)), _Gathered(len(rows))
        batches = list(token_batches(rows.lengths, self.args.eval_batch_size))

        def compute(batch: Array) -> tuple[Any, Any, Any]:
            with torch.inference_mode():  # of the thread
                return self.prediction_step(model, rows.__getitems__(batch.tolist()), False)

        for batch, (loss, outputs, true) in zip(batches, self._computed(compute, batches), strict=True):
            logits.put(batch, outputs)
            if true is not None:
                labels.put(batch, true)
                losses.append(float(loss) * len(batch))
            self.control = self.callback_handler.on_prediction_step(self.args, self.state, self.control)
        assert logits.array is not None, "there are no rows"
        return sum(losses) / len(rows) if losses else float("nan"), logits.array, labels.array

    def _computed(self, compute: Callable[[Array], T], batches: Sequence[Array]) -> Iterator[T]:
        """Yields what each batch gives, in order. The thread count of torch is a thread's own."""
        if self.side_by_side == 1:
            yield from map(compute, batches)
            return
        with ThreadPoolExecutor(self.side_by_side, initializer=torch.set_num_threads, initargs=(1,)) as pool:
            yield from pool.map(compute, batches)


class _Gathered:
    """The outputs of all rows, put in place batch by batch. The first batch has the longest rows."""

    def __init__(self, rows: int) -> None:
        self.rows = rows
        self.array: Array | None = None

    def put(self, batch: Array, outputs: Any) -> None:
        """batch: the numbers of its rows. outputs: a tensor, or the model's outputs with the logits first."""
        tensor = outputs[0] if isinstance(outputs, tuple) else outputs
        values = (tensor.float() if tensor.is_floating_point() else tensor).cpu().numpy()
        if self.array is None:
            self.array = np.full((self.rows, *values.shape[1:]), PADDING, values.dtype)
        place = (batch,) if values.ndim == 1 else (batch, slice(values.shape[1]))
        self.array[place] = values


def predict(trainer: TokenBatchTrainer, dataset: Dataset) -> Array:
    """Predicts logits, in the order of `dataset`: float32 [rows, outputs] or [rows, tokens, tags]."""
    ordered, order = by_length(dataset)
    output = trainer.predict(trainer.ready(ordered)).predictions
    logits = np.asarray(output[0] if isinstance(output, tuple) else output)
    restored = np.empty_like(logits)
    restored[order] = logits
    return restored


def by_length(dataset: Dataset) -> tuple[Dataset, Array]:
    """Sorts rows from longest to shortest. Also returns each sorted row's original index, int64 [rows]."""
    order = np.argsort(-np.asarray(dataset["length"][:]), kind="stable")
    return dataset.select(order), order


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
