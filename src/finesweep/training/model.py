"""A checkpoint, or sizes to be filled with random weights -> a sequence classifier and its tokenizer."""

from pathlib import Path

import torch
from transformers import (
    AutoConfig,
    AutoModelForSequenceClassification,
    AutoTokenizer,
    BertConfig,
    PretrainedConfig,
    PreTrainedModel,
    PreTrainedTokenizerBase,
    set_seed,
)

from finesweep.config.run import Architecture, Init, ModelConfig
from finesweep.data import Splits
from finesweep.errors import ConfigError, ModelError
from finesweep.io.hub import LEGAL_MODEL
from finesweep.training.vocabulary import trained_tokenizer

# The names that architectures give to their dropout rates.
DROPOUTS = ("hidden_dropout_prob", "attention_probs_dropout_prob", "classifier_dropout",
            "dropout", "attention_dropout", "seq_classif_dropout")  # fmt: skip


def load_tokenizer(
    config: ModelConfig, splits: Splits, text_columns: list[str], cache_dir: Path
) -> PreTrainedTokenizerBase:
    """The checkpoint's tokenizer, or one trained on the training split when `name_or_path` is null.

    Raises: ModelError if there is no such checkpoint.
    """
    if config.name_or_path is None:
        sizes = _sizes(config)
        return trained_tokenizer(splits.train, text_columns, sizes.vocab_size, cache_dir)
    try:
        tokenizer = AutoTokenizer.from_pretrained(config.name_or_path, revision=config.revision)
    except (OSError, ValueError, KeyError) as error:
        raise _unusable(config, "tokenizer", error) from error
    assert isinstance(tokenizer, PreTrainedTokenizerBase)
    return tokenizer


def load_model(
    config: ModelConfig, tokenizer: PreTrainedTokenizerBase, labels: list[str] | None, seed: int
) -> PreTrainedModel:
    """A float32 sequence classifier; `labels` None means regression, one output.

    Raises: ModelError for a checkpoint that cannot be read, ConfigError for a value it cannot have.
    """
    architecture = _architecture(config, tokenizer, labels)
    set_seed(seed)  # the classifier's head, and all weights of a random init
    if config.init is Init.random or config.name_or_path is None:
        model = AutoModelForSequenceClassification.from_config(architecture, dtype=torch.float32)
    else:
        try:
            model = AutoModelForSequenceClassification.from_pretrained(
                config.name_or_path,
                config=architecture,
                revision=config.revision,
                dtype=torch.float32,
                ignore_mismatched_sizes=True,  # a head of another task is replaced
            )
        except (OSError, ValueError, KeyError, RuntimeError) as error:
            raise _unusable(config, "weights", error) from error
    assert isinstance(model, PreTrainedModel)
    return model


def _architecture(
    config: ModelConfig, tokenizer: PreTrainedTokenizerBase, labels: list[str] | None
) -> PretrainedConfig:
    names = ["value"] if labels is None else labels
    settings = {
        "num_labels": len(names),
        "id2label": dict(enumerate(names)),
        "label2id": {name: index for index, name in enumerate(names)},
        "problem_type": "regression" if labels is None else "single_label_classification",
    }
    if config.name_or_path is None:
        architecture: PretrainedConfig = BertConfig(**(vars(_sizes(config)) | settings))
        architecture.vocab_size = len(tokenizer)
    else:
        try:
            architecture = AutoConfig.from_pretrained(
                config.name_or_path, revision=config.revision, **settings
            )
        except (OSError, ValueError, KeyError) as error:
            raise _unusable(config, "config.json", error) from error
    _set_dropout(config, architecture)
    _check_fits(config, architecture, tokenizer)
    return architecture


def _sizes(config: ModelConfig) -> Architecture:
    if config.architecture is None:
        raise ConfigError(
            "model: neither name_or_path nor architecture; set model.name_or_path=DIR or a hub id"
        )
    return config.architecture


def _set_dropout(config: ModelConfig, architecture: PretrainedConfig) -> None:
    if config.dropout is None:
        return
    present = [name for name in DROPOUTS if hasattr(architecture, name)]
    if not present:
        raise ConfigError(f"model.dropout: {architecture.model_type} has none; legal: null")
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
            raise ConfigError.at("model.max_length", config.max_length, f"8 to {room}, the model's positions")
    if len(tokenizer) > architecture.vocab_size:
        raise ModelError(
            f"model.name_or_path: {config.name_or_path}: the tokenizer has {len(tokenizer)} entries, "
            f"config.json says vocab_size {architecture.vocab_size}"
        )


def _unusable(config: ModelConfig, part: str, error: Exception) -> ModelError:
    return ModelError(
        f"model.name_or_path: no usable {part} in {config.name_or_path!r}: {str(error).splitlines()[0]}; "
        f"{LEGAL_MODEL}"
    )
