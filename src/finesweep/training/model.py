"""Builds a run's model, from a checkpoint or from sizes, with the output layer of the task."""

import logging
from typing import Any, cast

import torch
import transformers
from transformers import (
    AutoConfig,
    BertConfig,
    PretrainedConfig,
    PreTrainedModel,
    PreTrainedTokenizerBase,
    set_seed,
)

from finesweep.config.run import Init, LoraConfig, ModelConfig
from finesweep.errors import ConfigError, ModelError
from finesweep.io.hub import unusable
from finesweep.tasks import Task
from finesweep.training import adapters
from finesweep.training.freezing import freeze
from finesweep.training.positions import position_limit

log = logging.getLogger(__name__)
MOST = 0.5  # a larger share of new weights or tokens means that the files do not belong together
SHOWN = 3  # names of weights in a message
# The names of dropout rates in the configs of different architectures.
DROPOUTS = ("hidden_dropout_prob", "attention_probs_dropout_prob", "classifier_dropout",
            "dropout", "attention_dropout", "seq_classif_dropout")  # fmt: skip


def load_model(
    config: ModelConfig,
    tokenizer: PreTrainedTokenizerBase,
    task: Task,
    names: list[str],
    seed: int,
    lora: LoraConfig | None = None,
) -> PreTrainedModel:
    """Builds a float32 model of the task's class with an output for each name, partly frozen if configured.

    seed: draws the weights that do not come from the checkpoint. lora: adapters to train in their place.
    Raises: ModelError if the checkpoint cannot be read, ConfigError for a value that the model cannot have.
    """
    architecture = _architecture(config, tokenizer, task.head(names))
    model_class = getattr(transformers, task.model_class)
    set_seed(seed)  # for the new output layer, and for all weights if init is random
    if config.init is Init.random or config.name_or_path is None:
        model = model_class.from_config(architecture, dtype=torch.float32, trust_remote_code=False)
        new = set[str]()
    else:
        model, new = _load_weights(config, architecture, model_class)
    assert isinstance(model, PreTrainedModel)
    _check_length(config, model, tokenizer)
    _fit_embeddings(config, model, tokenizer, trained=lora is None)
    freeze(model, config.freeze)
    if lora:
        adapters.add(model, lora, new)
    if config.gradient_checkpointing and not model.supports_gradient_checkpointing:
        legal = f"false: {architecture.model_type} cannot recompute its activations"
        raise ConfigError.at("model.gradient_checkpointing", True, legal)
    return model


def _load_weights(
    config: ModelConfig, architecture: PretrainedConfig, model_class: Any
) -> tuple[Any, set[str]]:
    """Returns the model, and the names of the weights that are not from its files."""
    assert config.name_or_path is not None
    try:
        model, report = model_class.from_pretrained(
            config.name_or_path,
            config=architecture,
            revision=config.revision,
            dtype=torch.float32,
            ignore_mismatched_sizes=True,  # an output layer for another task is replaced
            output_loading_info=True,
            trust_remote_code=False,
        )
    except Exception as error:  # the libraries have no common class for files that they cannot read
        raise unusable(config.name_or_path, "weights", error) from error
    new = {*report["missing_keys"], *(key for key, *_ in report["mismatched_keys"])}
    _check_loaded(config, model, new)
    return model, new


def _check_loaded(config: ModelConfig, model: PreTrainedModel, names: set[str]) -> None:
    """Warns of weights of the encoder that the checkpoint lacks. Raises: ModelError if it lacks most."""
    encoder = {id(parameter) for parameter in model.base_model.parameters()}
    sizes = {name: p.numel() for name, p in model.named_parameters() if id(p) in encoder}
    missing = sorted(names & sizes.keys())
    share = sum(map(sizes.__getitem__, missing)) / max(1, sum(sizes.values()))
    if share > MOST:
        raise ModelError(
            f"model.name_or_path: {config.name_or_path}: its weights file lacks {share:.0%} of the weights "
            "that config.json describes; legal: files that belong together, or model.init=random"
        )
    if missing:
        log.warning(
            "model.name_or_path: %s: %d tensors (%.1f%% of the weights) are not in its weights file, or have "
            "another size there, and start at random: %s%s", config.name_or_path, len(missing), 100 * share,
            ", ".join(missing[:SHOWN]), ", ..." if len(missing) > SHOWN else "",
        )  # fmt: skip


def _architecture(
    config: ModelConfig, tokenizer: PreTrainedTokenizerBase, head: dict[str, Any]
) -> PretrainedConfig:
    if config.name_or_path is None:
        assert config.architecture is not None  # `check_model` refuses a config with neither of the two
        architecture: PretrainedConfig = BertConfig(**(vars(config.architecture) | head))
        architecture.vocab_size = len(tokenizer)
    else:
        try:
            architecture = AutoConfig.from_pretrained(
                config.name_or_path, revision=config.revision, trust_remote_code=False, **head
            )
            architecture.update(head)  # `from_pretrained` leaves out the keys that a config class lacks
        except Exception as error:  # the libraries have no common class for files that they cannot read
            raise unusable(config.name_or_path, "config.json", error) from error
    _set_dropout(config, architecture)
    _set_padding(architecture, tokenizer)
    return architecture


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


def _set_padding(architecture: PretrainedConfig, tokenizer: PreTrainedTokenizerBase) -> None:
    """Gives the model the tokenizer's padding token: a decoder classifies by the last token before it."""
    present = getattr(architecture, "pad_token_id", None)
    is_decoder = tokenizer.cls_token is None
    if present is None or present < 0 or (is_decoder and present != tokenizer.pad_token_id):
        architecture.pad_token_id = tokenizer.pad_token_id


def _check_length(config: ModelConfig, model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase) -> None:
    """Raises: ConfigError if `max_length` is more than the model or the tokenizer takes."""
    limits = [position_limit(model), tokenizer.model_max_length]
    room = min(limit for limit in limits if limit is not None)
    if config.max_length > room:
        raise ConfigError.at("model.max_length", config.max_length, f"8 to {room}, the model's limit")


def _fit_embeddings(
    config: ModelConfig, model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, trained: bool
) -> None:
    """Adds embeddings for tokens that the model has none for, as of a tokenizer that was extended.

    Raises: ModelError if most tokens of a pre-trained model would be new.
    """
    present = len(cast(torch.Tensor, model.get_input_embeddings().weight))
    needed = max(len(tokenizer), max(tokenizer.get_vocab().values()) + 1)
    if needed <= present:
        return
    if config.init is Init.pretrained and needed - present > MOST * needed:
        raise ModelError(
            f"model.name_or_path: {config.name_or_path}: the tokenizer has {needed} tokens, but config.json "
            f"says vocab_size {present}; use files that belong together"
        )
    if trained:
        model.resize_token_embeddings(needed)
    else:
        adapters.extend(model, needed)
    log.warning(
        "model.name_or_path: %s: the tokenizer has %d tokens more than the model has embeddings (%d); theirs "
        "are added, and untrained", config.name_or_path, needed - present, present,
    )  # fmt: skip
