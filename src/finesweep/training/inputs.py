"""What a run reads: data, tokenizer, encoded splits. Loaded once per process, not once per trial."""

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from datasets import Dataset
from filelock import FileLock
from transformers import PreTrainedTokenizerBase
from transformers.utils import logging as transformers_logging

from finesweep.config.run import RunConfig
from finesweep.data import Splits, encode
from finesweep.provenance.content import all_splits
from finesweep.training.model import load_tokenizer
from finesweep.training.preflight import check_data, check_model


@dataclass(frozen=True)
class Inputs:
    """Loaded and checked; `train` and `eval` are encoded."""

    splits: Splits
    tokenizer: PreTrainedTokenizerBase
    train: Dataset
    eval: Dataset

    @cached_property
    def content(self) -> dict[str, Any]:
        """Hashes of every split, for the run's provenance."""
        return all_splits(self.splits, self.train, self.eval)


_loaded: dict[str, Inputs] = {}  # the last one only: a sweep has one data set, and few tokenizers


def load_inputs(config: RunConfig) -> Inputs:
    """Raises: DataError, ModelError, ConfigError for what cannot be read or does not fit together."""
    model = config.model
    key = repr(
        (
            config.data,
            config.predict,
            model.name_or_path,
            model.revision,
            model.architecture,
            model.max_length,
        )
    )
    if key not in _loaded:
        inputs = _load(config)
        _loaded.clear()
        _loaded[key] = inputs
    return _loaded[key]


def _load(config: RunConfig) -> Inputs:
    transformers_logging.disable_progress_bar()  # a bar for every saved checkpoint
    transformers_logging.set_verbosity_error()  # a report that the new classifier's weights are new
    check_model(config.model)
    splits = check_data(config)
    cache_dir = Path(config.cache_dir)
    cache_dir.mkdir(parents=True, exist_ok=True)
    with FileLock(cache_dir / "inputs.lock"):  # the first worker encodes, the others wait and read
        tokenizer = load_tokenizer(config.model, splits, config.data.text_columns, cache_dir)
        train, evaluation = (encoded(config, tokenizer, rows) for rows in (splits.train, splits.eval))
    return Inputs(splits, tokenizer, train, evaluation)


def encoded(config: RunConfig, tokenizer: PreTrainedTokenizerBase, dataset: Dataset) -> Dataset:
    """Token ids of one split; made once, then read from the cache folder."""
    return encode(
        dataset, tokenizer, config.data.text_columns, config.model.max_length, Path(config.cache_dir)
    )
