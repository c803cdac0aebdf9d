"""The last layer for the first token alone: the classifier of these models reads no other.

The keys and values of that layer need every token, but its query, its output and its feed-forward part only
the first one. The logits are those of the library up to float32's last digits; the weights have the same
names and shapes.
"""

from types import MethodType
from typing import Any

import torch
from transformers import PreTrainedModel
from transformers.models.bert.modeling_bert import BertCrossAttention

# Their layers are copies of BERT's, and their heads read `hidden_states[:, 0]`.
FAMILIES = ("bert", "roberta", "xlm-roberta", "camembert", "electra")


def apply(model: PreTrainedModel) -> bool:
    """Changes a sequence classifier's last layer in place. Returns False if the model is not of a family."""
    if model.config.model_type not in FAMILIES or not type(model).__name__.endswith("SequenceClassification"):
        return False
    encoder: Any = model.base_model.encoder
    last = encoder.layer[-1]
    if last.is_decoder or last.add_cross_attention:
        return False
    last.forward = MethodType(_forward, last)
    return True


def _forward(
    layer: Any, hidden_states: torch.Tensor, attention_mask: torch.Tensor | None = None, *_: Any, **__: Any
) -> torch.Tensor:
    """Returns the first token's hidden state [rows, 1, hidden]. hidden_states: [rows, tokens, hidden]."""
    first = hidden_states[:, :1]
    mask = None if attention_mask is None else attention_mask[:, :, :1]  # [rows, 1, 1, tokens]
    # The library's attention of some positions to others, on the weights of this layer's own attention.
    attend: Any = BertCrossAttention.forward
    attended, _weights = attend(
        layer.attention.self, first, encoder_hidden_states=hidden_states, attention_mask=mask
    )
    out: torch.Tensor = layer.feed_forward_chunk(layer.attention.output(attended, first))
    return out
