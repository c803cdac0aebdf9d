"""Freezes a part of the model's weights, so that they are not trained: `model.freeze`."""

import logging

import torch
from transformers import PreTrainedModel

from finesweep.errors import ConfigError

log = logging.getLogger(__name__)


def freeze(model: PreTrainedModel, what: str | int | None) -> None:
    """Freezes the embeddings, the whole encoder, or the embeddings and the `what` lowest layers.

    Raises: ConfigError if the model has no such part.
    """
    if what is None:
        return
    for part in _parts(model, what):
        part.requires_grad_(False)
    frozen = sum(p.numel() for p in model.parameters() if not p.requires_grad)
    total = sum(p.numel() for p in model.parameters())
    log.info("model.freeze=%s: %s of %s weights are not trained", what, f"{frozen:,}", f"{total:,}")


def _parts(model: PreTrainedModel, what: str | int) -> list[torch.nn.Module]:
    if model.base_model is model:
        raise ConfigError.at("model.freeze", what, f"null: {type(model).__name__} has no separate encoder")
    if what == "encoder":
        return [model.base_model]
    embeddings = [_embeddings(model)]
    if what == "embeddings":
        return embeddings
    assert isinstance(what, int)
    layers = _layers(model)
    if what > len(layers):
        raise ConfigError.at("model.freeze", what, f"null, embeddings, encoder, or 1 to {len(layers)} layers")
    return [*embeddings, *layers[:what]]


def _embeddings(model: PreTrainedModel) -> torch.nn.Module:
    """Returns the module of all embeddings, or of word embeddings if the model has no common module."""
    embeddings = getattr(model.base_model, "embeddings", None)
    return embeddings if isinstance(embeddings, torch.nn.Module) else model.get_input_embeddings()


def _layers(model: PreTrainedModel) -> torch.nn.ModuleList:
    """Finds the encoder's layers, from the lowest on. Raises: ConfigError."""
    count = getattr(model.config, "num_hidden_layers", None)
    for module in model.base_model.modules():
        if isinstance(module, torch.nn.ModuleList) and len(module) == count:
            return module
    raise ConfigError(
        f"model.freeze: a number of layers is not supported for {type(model).__name__}; "
        "legal: embeddings, encoder"
    )
