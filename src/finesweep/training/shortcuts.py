"""Faster ways to the same mathematics, chosen by name in `trainer.shortcuts`, each where it fits the model.

first_token       the last layer computes only what the classifier reads (`first_token.py`)
dropout16         dropout draws 16 bits for each element (`dropout.py`)
occurring_tokens  only embeddings of tokens that occur in the data are trained (`embeddings.py`)
token_batches     evaluations take batches of equally many tokens (`evaluation.py`)

Each is deterministic, leaves checkpoints as they are, and changes a result no more than another seed does.
"""

import logging
from collections.abc import Callable, Collection

import numpy as np
import torch
from transformers import PreTrainedModel

from finesweep.config.run import OptimizerConfig, OptimizerName
from finesweep.training import dropout, embeddings, first_token
from finesweep.training.batches import ReadyRows

log = logging.getLogger(__name__)


def shorten(model: PreTrainedModel, names: Collection[str]) -> None:
    """Applies the shortcuts that training and prediction share."""
    changes: dict[str, Callable[[PreTrainedModel], bool]] = {
        "first_token": first_token.apply, "dropout16": dropout.apply,
    }  # fmt: skip
    for name, change in changes.items():
        if name in names and not change(model):
            log.info("trainer.shortcuts: %s does not fit %s here", name, model.config.model_type)


def trim_embedding(
    model: PreTrainedModel, names: Collection[str], optimizer: OptimizerConfig, rows: list[ReadyRows]
) -> embeddings.OccurringEmbedding | None:
    """Applies `occurring_tokens`. rows: all that the model is going to see while it trains."""
    if "occurring_tokens" not in names or optimizer.name is not OptimizerName.adamw:
        return None
    occurring = np.unique(np.concatenate([part.values("input_ids") for part in rows]))
    return embeddings.apply(model, torch.from_numpy(occurring.astype(np.int64)))
