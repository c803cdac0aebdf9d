"""Loads what a run reads: data, tokenizer, encoded splits; once per process, not once per trial."""

import hashlib
import inspect
import json
import logging
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
from datasets import Dataset
from transformers import PreTrainedModel, PreTrainedTokenizerBase
from transformers.utils import logging as transformers_logging

from finesweep.config.run import RunConfig
from finesweep.data import Splits, encode
from finesweep.data.load import files_state
from finesweep.data.overview import overview, step_line, suspicions
from finesweep.data.source import LABEL
from finesweep.errors import ConfigError, DataError
from finesweep.hooks import current_hooks
from finesweep.io.file_state import folder_state
from finesweep.io.locks import file_lock
from finesweep.provenance.content import all_splits
from finesweep.provenance.fields import Split
from finesweep.tasks import Task, task_of
from finesweep.training.batches import ReadyRows
from finesweep.training.evaluation import by_length
from finesweep.training.preflight import check_data, check_model
from finesweep.training.tokenizer import check_known, load_tokenizer

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Inputs:
    """The checked inputs of a run. `splits` has the rows as text; `train` and `eval` are encoded."""

    splits: Splits
    task: Task
    tokenizer: PreTrainedTokenizerBase
    train: Dataset
    eval: Dataset

    @property
    def names(self) -> list[str]:
        """The label names, ordered by id; for a regression, the name of its only output."""
        return self.splits.labels or ["value"]

    def ready(self, model: PreTrainedModel) -> tuple[ReadyRows, ReadyRows]:
        """Returns train, and eval from the longest row to the shortest, ready for batches; made once."""
        columns = tuple(inspect.signature(model.forward).parameters)
        if columns not in self._ready:
            parts = self.train, by_length(self.eval)[0]
            train, evaluation = (ReadyRows(rows, self.tokenizer, model) for rows in parts)
            self._ready[columns] = train, evaluation
        return self._ready[columns]

    @cached_property
    def _ready(self) -> dict[tuple[str, ...], tuple[ReadyRows, ReadyRows]]:
        return {}

    @property
    def scored_words(self) -> tuple[int, str]:
        """How many words of the evaluation rows have a token, and the SHA-256 of which ones those are."""
        numbers = [sorted({word for word in words if word >= 0}) for words in self.eval["words"][:]]
        return sum(map(len, numbers)), hashlib.sha256(json.dumps(numbers).encode()).hexdigest()

    @cached_property
    def content(self) -> dict[str, Split]:
        """Hashes of all splits, for the run's provenance."""
        return all_splits(self.splits, self.train, self.eval)


# By config and state of the files. It holds the last one only: a sweep has one data set and few tokenizers.
_loaded: dict[object, Inputs] = {}


def load_inputs(config: RunConfig) -> Inputs:
    """Loads the inputs of a run, once per process, and again when a file of data or model has changed.

    Raises: DataError, ModelError, ConfigError.
    """
    model = config.model
    parts = model.name_or_path, model.revision, model.architecture, model.max_length
    key = (
        repr((config.data, config.predict, *parts)),
        files_state(config.data),
        folder_state(model.name_or_path),
    )
    if key not in _loaded:
        inputs = _load(config)
        _loaded.clear()
        _loaded[key] = inputs
    return _loaded[key]


def quieten() -> None:
    """Silences transformers, which shows bars, and warns that a new classifier has new weights."""
    transformers_logging.disable_progress_bar()
    transformers_logging.set_verbosity_error()


def _load(config: RunConfig) -> Inputs:
    quieten()
    check_model(config.model)
    splits = _checked_splits(config)
    task = task_of(config.data).fitted(splits.train[LABEL][:])
    cache_dir = Path(config.cache_dir)
    cache_dir.mkdir(parents=True, exist_ok=True)
    with file_lock(cache_dir / "inputs.lock"):  # the first worker encodes, the others then read the cache
        columns, words = config.data.text_columns, task.is_pretokenized
        tokenizer = load_tokenizer(config.model, splits, columns, cache_dir, words)
        train = encoded(config, task, tokenizer, splits.train, "train")
        evaluation = encoded(config, task, tokenizer, splits.eval, "eval")
    check_known(config.model, tokenizer, train, pair=len(columns) == 2)
    _describe(config, task, splits, train)
    return Inputs(splits, task, tokenizer, train, evaluation)


def _checked_splits(config: RunConfig) -> Splits:
    try:
        return check_data(config)
    except (ConfigError, DataError) as error:
        if hooks := current_hooks.get():
            hooks.unreadable(error)
        raise


def _describe(config: RunConfig, task: Task, splits: Splits, train: Dataset) -> None:
    """Logs what the run is about to train on."""
    for line in overview(config.data, splits, task):
        log.info("%s", line)
    lengths, limit = np.asarray(train["length"][:]), config.model.max_length
    log.info(
        "tokens of train: mean %.0f, 95%% at most %.0f, longest %d; %d of %d rows reach model.max_length=%d",
        lengths.mean(), np.quantile(lengths, 0.95), lengths.max(), (lengths >= limit).sum(), len(lengths),
        limit,
    )  # fmt: skip
    if step := step_line(config.trainer):
        log.info("%s", step)
    if task.is_standardized:
        log.info(
            "numbers are standardized in training: losses are in that unit; scores and predictions in yours"
        )
    for line in suspicions(config.data, splits, task):
        log.warning("suspicious: %s", line)


def encoded(
    config: RunConfig, task: Task, tokenizer: PreTrainedTokenizerBase, rows: Dataset, split: str
) -> Dataset:
    """Encodes one split, or reads it from the cache. `split` names it in messages.

    Labelled rows of words without any token are left out. Raises: DataError if that leaves none.
    """
    columns, folder = config.data.text_columns, Path(config.cache_dir)
    dataset = encode(rows, tokenizer, columns, config.model.max_length, folder, task.is_pretokenized)
    if task.is_pretokenized:
        _warn_of_cut_words(dataset, split, config.model.max_length)
        if "labels" in dataset.column_names:
            return _with_tokens(dataset, split)
    return task.learned(dataset) if "labels" in dataset.column_names else dataset


def _warn_of_cut_words(rows: Dataset, split: str, max_length: int) -> None:
    """Warns if words are neither learned from nor scored, because they have no token."""
    cut = [
        count - sum(word >= 0 for word in words)
        for words, count in zip(rows["words"][:], rows["word_count"][:], strict=True)
    ]
    if any(cut):
        log.warning(
            "%s: %d words of %d rows are cut off by model.max_length=%d, or have no token: they are neither "
            "learned from nor scored, and predicted as O", split,
            sum(cut), sum(map(bool, cut)), max_length
        )  # fmt: skip


def _with_tokens(rows: Dataset, split: str) -> Dataset:
    """Leaves out rows without any token of a word: the loss of a batch of such rows would be 0/0, NaN.

    Tokenizers make no token of a word that consists of control or zero-width characters.
    """
    kept = [row for row, words in enumerate(rows["words"][:]) if max(words, default=-1) >= 0]
    left_out = len(rows) - len(kept)
    if not kept:
        raise DataError(f"{split}: the tokenizer makes no token of any word; see data.text_columns")
    if left_out:
        log.warning("%s: %d rows are left out, because the tokenizer makes no token of their words", split,
                    left_out)  # fmt: skip
    return rows.select(kept) if left_out else rows
