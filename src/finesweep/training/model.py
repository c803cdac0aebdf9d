"""Builds a run's model and tokenizer, from a checkpoint or from sizes, with the output layer of the task."""

from pathlib import Path
from typing import Any

import torch
import transformers
from transformers import (
    AutoConfig,
    AutoTokenizer,
    BertConfig,
    PretrainedConfig,
    PreTrainedModel,
    PreTrainedTokenizerBase,
    set_seed,
)

from finesweep.config.run import Architecture, Init, ModelConfig
from finesweep.data import Splits
from finesweep.errors import ConfigError, ModelError, first_line
from finesweep.io.hub import LEGAL_MODEL
from finesweep.tasks import Task
from finesweep.training.freezing import freeze
from finesweep.training.vocabulary import trained_tokenizer

# The names of dropout rates in the configs of different architectures.
DROPOUTS = ("hidden_dropout_prob", "attention_probs_dropout_prob", "classifier_dropout",
            "dropout", "attention_dropout", "seq_classif_dropout")  # fmt: skip


def load_tokenizer(
    config: ModelConfig, splits: Splits, text_columns: list[str], cache_dir: Path, pretokenized: bool = False
) -> PreTrainedTokenizerBase:
    """Loads the checkpoint's tokenizer, or trains one on the training split if `name_or_path` is null.

    pretokenized: texts are lists of words; byte-level tokenizers then need a space before each word.
    Raises: ModelError if there is no such checkpoint, or if its tokenizer cannot tell which word a piece
    belongs to.
    """
    if config.name_or_path is None:
        sizes = _sizes(config)
        return trained_tokenizer(splits.train, text_columns, sizes.vocab_size, cache_dir)
    spaced = {"add_prefix_space": True} if pretokenized else {}
    try:
        tokenizer = AutoTokenizer.from_pretrained(config.name_or_path, revision=config.revision, **spaced)
    except Exception as error:  # each library has its own error for a damaged file, some a bare Exception
        raise _unusable(config, "tokenizer", error) from error
    assert isinstance(tokenizer, PreTrainedTokenizerBase)
    if pretokenized and not tokenizer.is_fast:
        raise ModelError(
            f"model.name_or_path: {config.name_or_path}: its tokenizer cannot align pieces with words, which "
            "data.problem_type=token_classification needs; legal: a model with tokenizer.json"
        )
    return tokenizer


def load_model(
    config: ModelConfig, tokenizer: PreTrainedTokenizerBase, task: Task, names: list[str], seed: int
) -> PreTrainedModel:
    """Builds a float32 model of the task's class with an output for each name, partly frozen if configured.

    seed: draws the weights that do not come from the checkpoint.
    Raises: ModelError if the checkpoint cannot be read, ConfigError for a value that the model cannot have.
    """
    architecture = _architecture(config, tokenizer, task.head(names))
    model_class = getattr(transformers, task.model_class)
    set_seed(seed)  # for the new output layer, and for all weights if init is random
    if config.init is Init.random or config.name_or_path is None:
        model = model_class.from_config(architecture, dtype=torch.float32)
    else:
        model = _load_weights(config, architecture, model_class)
    assert isinstance(model, PreTrainedModel)
    freeze(model, config.freeze)
    if config.gradient_checkpointing and not model.supports_gradient_checkpointing:
        legal = f"false: {architecture.model_type} cannot recompute its activations"
        raise ConfigError.at("model.gradient_checkpointing", True, legal)
    return model


def _load_weights(config: ModelConfig, architecture: PretrainedConfig, model_class: Any) -> Any:
    try:
        return model_class.from_pretrained(
            config.name_or_path,
            config=architecture,
            revision=config.revision,
            dtype=torch.float32,
            ignore_mismatched_sizes=True,  # an output layer for another task is replaced
        )
    except Exception as error:  # SafetensorError, UnpicklingError, EOFError, ...
        raise _unusable(config, "weights", error) from error


def _architecture(
    config: ModelConfig, tokenizer: PreTrainedTokenizerBase, head: dict[str, Any]
) -> PretrainedConfig:
    if config.name_or_path is None:
        architecture: PretrainedConfig = BertConfig(**(vars(_sizes(config)) | head))
        architecture.vocab_size = len(tokenizer)
    else:
        try:
            architecture = AutoConfig.from_pretrained(config.name_or_path, revision=config.revision, **head)
        except Exception as error:
            raise _unusable(config, "config.json", error) from error
    _set_dropout(config, architecture)
    _check_fits(config, architecture, tokenizer)
    return architecture


def _sizes(config: ModelConfig) -> Architecture:
    if config.architecture is None:
        raise ConfigError(
            "model: neither name_or_path nor architecture is set; set model.name_or_path=DIR or a hub id"
        )
    return config.architecture


def _set_dropout(config: ModelConfig, architecture: PretrainedConfig) -> None:
    if config.dropout is None:
        return
    present = [name for name in DROPOUTS if hasattr(architecture, name)]
    if not present:
        raise ConfigError(
            f"model.dropout: {architecture.model_type} has no dropout rate that could be set; legal: null"
        )
    for name in present:
        setattr(architecture, name, config.dropout)


def _check_fits(
    config: ModelConfig, architecture: PretrainedConfig, tokenizer: PreTrainedTokenizerBase
) -> None:
    positions = getattr(architecture, "max_position_embeddings", None)
    if positions is not None:
        # RoBERTa's first positions belong to padding, so 514 positions hold 512 tokens.
        room = min(positions, tokenizer.model_max_length)
        if config.max_length > room:
            raise ConfigError.at("model.max_length", config.max_length, f"8 to {room}, the model's limit")
    if len(tokenizer) > architecture.vocab_size:
        raise ModelError(
            f"model.name_or_path: {config.name_or_path}: the tokenizer has {len(tokenizer)} tokens, "
            f"but config.json says vocab_size {architecture.vocab_size}; use files that belong together"
        )


def _unusable(config: ModelConfig, part: str, error: Exception) -> ModelError:
    return ModelError(
        f"model.name_or_path: no usable {part} in {config.name_or_path!r}: {first_line(error)}; {LEGAL_MODEL}"
    )
