"""Faster ways to the same mathematics, chosen by name in `trainer.shortcuts`, each where it fits the model.

first_token       the last layer computes only what the classifier reads (`first_token.py`)
dropout16         on a CPU, dropout draws 16 bits for each element (`dropout.py`)
occurring_tokens  only embeddings of tokens that occur in the data are trained, by AdamW (`embeddings.py`)
token_batches     evaluations take batches of about equally many tokens (`evaluation.py`)

Each is deterministic, leaves checkpoints as they are, and changes a result no more than another seed does.
"""

import logging
from collections.abc import Sequence

import numpy as np
import torch
from transformers import PreTrainedModel

from finesweep.config.run import OptimizerName, RunConfig, TrainerConfig
from finesweep.machine import device
from finesweep.training import dropout, embeddings, first_token
from finesweep.training.batches import ReadyRows

log = logging.getLogger(__name__)


def shorten(model: PreTrainedModel, config: TrainerConfig) -> None:
    """Applies the shortcuts that training and prediction share."""
    if "first_token" in config.shortcuts and not first_token.apply(model):
        log.info("trainer.shortcuts: first_token does not fit %s", type(model).__name__)
    if "dropout16" in config.shortcuts and device.arguments(config)["use_cpu"]:  # a GPU draws fast
        dropout.apply(model)


def trim_embedding(
    model: PreTrainedModel, config: RunConfig, rows: Sequence[ReadyRows]
) -> embeddings.OccurringEmbedding | None:
    """Applies `occurring_tokens`. rows: all that the model is going to see while it trains."""
    # A decoder of its own, as T5's, begins with a token that is in no row.
    fits = config.optimizer.name is OptimizerName.adamw and not model.config.is_encoder_decoder
    if not fits or "occurring_tokens" not in config.trainer.shortcuts:
        return None
    occurring = np.unique(np.concatenate([part.tokens for part in rows]))
    return embeddings.apply(model, torch.from_numpy(occurring.astype(np.int64)))
