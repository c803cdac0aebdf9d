"""Finds how many tokens a model's position embeddings can hold."""

import re

from torch.nn import Embedding
from transformers import PreTrainedModel

# The names of position embeddings: `position_embeddings` (BERT), `embed_positions` (BART), `wpe` (GPT-2).
_NAME = re.compile(r"(^|\.)(position_embeddings|embed_positions|wpe)$")


def position_limit(model: PreTrainedModel) -> int | None:
    """Returns the largest number of tokens in a row; None if the architecture sets no limit.

    Some architectures do not use their first positions: RoBERTa's 514 positions hold 512 tokens, because
    counting starts behind the padding token's position; BART's table has two rows more than positions.
    """
    configured = getattr(model.config, "max_position_embeddings", None)
    limits = [configured] if isinstance(configured, int) and configured > 0 else []  # XLNet's is -1
    for name, module in model.named_modules():
        if _NAME.search(name) and isinstance(module, Embedding):
            unused = getattr(module, "offset", 0)
            if module.padding_idx is not None:
                unused = module.padding_idx + 1
            limits.append(module.num_embeddings - unused)
    return min(limits, default=None)
